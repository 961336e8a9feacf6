//! An origin that lets in whom it knows alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::configured::{Configured, Folder, LISTENER, catch_all};
use crate::support::run;

type Made = rcgen::CertifiedKey<rcgen::KeyPair>;

fn made(name: &str) -> Made {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
}

/// An origin that answers those who show `known`.
fn particular(own: &Made, known: &Made) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(known.cert.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    secured(own, verifier.build().unwrap())
}

fn secured(own: &Made, verifier: Arc<dyn ClientCertVerifier>) -> SocketAddr {
    let provider = Arc::new(ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
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
    assert!(error.contains("o: client-key: "), "{error}");
}

#[test]
fn who_vouches_for_an_origin_by_the_system_does_not_beside_a_ca_file() {
    let (own, other) = (made("localhost"), made("other"));
    let site = secured(&own, WebPkiClientVerifier::no_client_auth());
    for (ca_file, status) in [(None, 200), (Some(&own), 200), (Some(&other), 502)] {
        let folder = Folder::new("vouched");
        let system = folder.write("system.pem", &own.cert.pem());
        let ca_file = ca_file
            .map(|ca| format!("ca-file = \"{}\"\n", folder.write("ca.pem", &ca.cert.pem())))
            .unwrap_or_default();
        let origin = format!(
            "[origin.o]\nkind = \"upstream\"\nurl = \"https://localhost:{}\"\n{ca_file}",
            site.port()
        );
        let text = [&origin, LISTENER, &catch_all("o")].concat();
        let edge = Configured::start_with(folder, 1, &text, &[("SSL_CERT_FILE", &system)]);
        let answer = edge.get("/x");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{ca_file}{answer}");

        edge.folder.write("ca.pem", "nothing");
        let output = run(&["check", &edge.file]);
        let error = String::from_utf8(output.stderr).unwrap();
        let expected = if ca_file.is_empty() { "" } else { "o: ca-file: holds no certificate" };
        assert!(error.contains(expected), "{error}");
    }
}
