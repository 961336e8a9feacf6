//! An origin that lets in whom it knows alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::configured::{Configured, Folder, LISTENER, catch_all};
use crate::support::run;

type Made = rcgen::CertifiedKey<rcgen::KeyPair>;

fn made(name: &str) -> Made {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
}

/// An origin that answers those who show `known`.
fn particular(own: &Made, known: &Made) -> SocketAddr {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(known.cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                // A stranger ends here.
                if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    let _ = stream.write_all(answer);
                }
            });
        }
    });
    address
}

#[test]
fn an_origin_is_shown_who_the_edge_is_and_a_new_certificate_is_taken_up() {
    let (own, known, stranger) = (made("localhost"), made("edge"), made("stranger"));
    let site = particular(&own, &known);
    let folder = Folder::new("identity");
    let ca = folder.write("ca.pem", &own.cert.pem());
    let show = |folder: &Folder, made: &Made| {
        (
            folder.write("edge.pem", &made.cert.pem()),
            folder.write("edge.key", &made.signing_key.serialize_pem()),
        )
    };
    let (certificate, key) = show(&folder, &stranger);
    let origin = format!(
        "[origin.o]\nkind = \"upstream\"\nurl = \"https://localhost:{}\"\nca-file = \"{ca}\"\n\
         client-certificate = \"{certificate}\"\nclient-key = \"{key}\"\n",
        site.port()
    );
    let text = [&origin, LISTENER, &catch_all("o")].concat();
    let edge = Configured::start(folder, 1, &text);
    assert!(edge.get("/x").starts_with("HTTP/1.1 502 "));
    show(&edge.folder, &known);
    edge.reload(&text, "reconfigured from");
    let answer = edge.get("/x");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    edge.folder.write("edge.key", &stranger.signing_key.serialize_pem());
    let output = run(&["check", &edge.file]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("o: tls.identity.key: "), "{error}");
}
