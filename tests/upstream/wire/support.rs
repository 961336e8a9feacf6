//! Origins on loopback: written by hand, or real servers; and what it takes to ask them.

use std::convert::Infallible;
use std::fmt::Write;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};
use tower::ServiceExt;
use tower_edge::origin::Upstream;
use tower_edge::origin::upstream::{Builder, Error, ErrorKind, Identity, Tls};

/// Longer than anything here takes, so that a failing test ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

/// A running origin; it ends, with all its connections, with this value.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Origin {
    /// Hands each connection to `answer`, with its number, from 0 on.
    pub(crate) async fn by_hand<F, R>(answer: F) -> Self
    where
        F: Fn(usize, TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    pub(crate) fn on<F, R>(listener: TcpListener, answer: F) -> Self
    where
        F: Fn(usize, TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tasks.spawn(answer(count.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Self { address, connections, accepting }
    }

    /// A server of HTTP/1.1 and HTTP/2 that says what it was sent.
    pub(crate) async fn echo() -> Self {
        Self::by_hand(|_, stream| serve(stream, String::new())).await
    }

    /// The same behind TLS, offering these protocols.
    pub(crate) async fn secure_echo(certificate: &Certificate, protocols: &[&str]) -> Self {
        Self::echo_behind(certificate.acceptor(protocols)).await
    }

    pub(crate) async fn echo_behind(acceptor: TlsAcceptor) -> Self {
        Self::by_hand(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                // A client that does not trust us ends here.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
                    serve(stream, format!("sni: {name}\n")).await;
                }
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it has taken.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers every request on a connection with what came, after `preface`.
pub(crate) async fn serve<S>(stream: S, preface: String)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let preface = preface.clone();
        async move { Ok::<_, Infallible>(echo(preface, request).await) }
    });
    // However it ends, the test sees what came of it.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn echo(preface: String, request: Request<Incoming>) -> Response<AnyBody> {
    let (parts, body) = request.into_parts();
    let mut text = preface;
    writeln!(text, "{} {} {:?}", parts.method, parts.uri, parts.version).unwrap();
    for (name, value) in &parts.headers {
        writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    let body = body.collect().await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "42".parse().unwrap());
    if parts.version == Version::HTTP_11 {
        // HTTP/2 has no such fields, and hyper's server sends none.
        trailers.insert("keep-alive", "x".parse().unwrap());
    }
    for (name, value) in body.trailers().into_iter().flatten() {
        writeln!(text, "trailer {name}: {}", value.to_str().unwrap()).unwrap();
    }
    writeln!(text, "body: {}", String::from_utf8_lossy(&body.to_bytes())).unwrap();
    let body = unmeasured(text);
    Response::builder()
        .header("trailer", "x-sum, keep-alive")
        .body(body.with_trailers(async { Some(Ok(trailers)) }).boxed_unsync())
        .unwrap()
}

/// A body that does not say how long it is. With a length, HTTP/1.1 has no trailers.
pub(crate) fn unmeasured(text: String) -> impl http_body::Body<Data = Bytes, Error = Infallible> {
    StreamBody::new(stream::iter([Ok(Frame::data(Bytes::from(text)))]))
}

/// A certificate made for the test, its own authority.
pub(crate) struct Certificate(rcgen::CertifiedKey<rcgen::KeyPair>);

impl Certificate {
    pub(crate) fn of(name: &str) -> Self {
        Self(rcgen::generate_simple_self_signed([name.to_owned()]).unwrap())
    }

    /// Trusts this certificate and no other.
    pub(crate) fn trusted(&self) -> Tls {
        Tls { system_roots: false, roots: vec![self.0.cert.pem().into_bytes()], ..Tls::default() }
    }

    /// What shows this certificate.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            certificates: self.0.cert.pem().into_bytes(),
            key: self.0.signing_key.serialize_pem().into_bytes(),
        }
    }

    pub(crate) fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        self.acceptor_asking(protocols, Arc::new(NoClientAuth))
    }

    /// Takes those alone who show `other`.
    pub(crate) fn acceptor_for(&self, other: &Self, protocols: &[&str]) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(other.0.cert.der().clone()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        self.acceptor_asking(protocols, verifier.unwrap())
    }

    fn acceptor_asking(&self, protocols: &[&str], verifier: Arc<dyn ClientCertVerifier>) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(self.0.signing_key.serialize_der().into());
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.0.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An upstream at `https://localhost`, on the origin's port, that trusts `certificate`.
pub(crate) fn secure(origin: &Origin, certificate: &Certificate) -> Builder {
    Upstream::builder(format!("https://localhost:{}", origin.address.port()))
        .tls(certificate.trusted())
        .resolver(only(vec![origin.address]))
}

/// A resolver with one answer.
pub(crate) fn only(
    addresses: Vec<SocketAddr>,
) -> impl Fn(&str, u16) -> std::future::Ready<std::io::Result<Vec<SocketAddr>>> + Send + Sync + 'static {
    move |_, _| std::future::ready(Ok(addresses.clone()))
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) text: String,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn ask<B>(upstream: &Upstream, request: Request<B>) -> Result<Answer, Error>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    let exchange = async {
        let (head, body) = upstream.clone().oneshot(request).await?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        Ok(Answer { head, text, trailers })
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
}

pub(crate) fn get(target: &str) -> Request<Empty<Bytes>> {
    Request::get(target).header("host", "site").body(Empty::new()).unwrap()
}

pub(crate) async fn kind_of(upstream: &Upstream) -> ErrorKind {
    ask(upstream, get("/")).await.unwrap_err().kind()
}

/// Up to the empty line, in lower case; empty if the connection ends before. A byte at a time, so that nothing behind it is
/// taken.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

/// Waits for something that is about to be so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in time: {what}"));
}
