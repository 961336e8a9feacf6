//! The edge server as a process, before a site that may be put behind TLS.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};

/// A running edge server; it ends with this value.
pub(crate) struct Edge {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Edge {
    pub(crate) fn before_plain(site: SocketAddr, flags: &[&str]) -> Self {
        Self::start(command(&format!("http://{site}"), flags))
    }

    /// A loop: its origin is where it listens.
    pub(crate) fn before_itself() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-server"));
        command.args(["--listen", &free.to_string(), "--origin", &format!("http://{free}")]);
        Self::start(piped(command))
    }

    fn start(mut command: Command) -> Self {
        let mut process = command.spawn().unwrap();
        let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let url = line.strip_prefix("edge").unwrap().trim();
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { process, address }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(origin: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-server"));
    command.args(["--listen", "127.0.0.1:0", "--origin", origin]).args(flags);
    piped(command)
}

fn piped(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A site behind TLS, with a certificate made for it.
pub(crate) struct Secured {
    port: u16,
    certificate: PathBuf,
}

impl Secured {
    /// Offers these protocols by ALPN, and passes what is said on to `site`.
    pub(crate) async fn before(site: SocketAddr, protocols: &[&str]) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut secured = acceptor.accept(stream).await.unwrap();
                    let mut plain = TcpStream::connect(site).await.unwrap();
                    // Either side may just leave.
                    let _ = copy_bidirectional(&mut secured, &mut plain).await;
                });
            }
        });
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("edge-server-{}-{number}.pem", std::process::id());
        let certificate = std::env::temp_dir().join(name);
        fs::write(&certificate, cert.pem()).unwrap();
        Self { port, certificate }
    }

    /// An edge that trusts this site alone: the variable stands for the system's certificates.
    pub(crate) fn edge(&self, flags: &[&str]) -> Edge {
        let mut command = command(&format!("https://localhost:{}", self.port), flags);
        command.env("SSL_CERT_FILE", &self.certificate).env_remove("SSL_CERT_DIR");
        Edge::start(command)
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        // A file that cannot be removed is not what is tested here.
        let _ = fs::remove_file(&self.certificate);
    }
}
