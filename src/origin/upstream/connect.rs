//! New connections: a name becomes addresses, one of them a connection, and that speaks HTTP.

use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::body::Outgoing;
use super::error::{Error, ErrorKind};
use super::resolve::Resolve;
use super::settings::Protocol;
use super::tls::{HTTP_2, Secure};

/// RFC 8305 §5: how much later than the last one the next address is tried.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses that are tried.
const ADDRESSES: usize = 16;
const HEAD_BYTES: usize = 64 * 1024;
const HEAD_FIELDS: usize = 128;
/// How long a connection of HTTP/2 with requests on it may be silent before it is asked whether it lives, and then
/// again before it is given up.
const PING_TIME: Duration = Duration::from_secs(10);

/// How to get a connection to the origin. Each time the name is resolved anew.
pub(super) struct Connector {
    host: String,
    port: u16,
    resolver: Arc<dyn Resolve>,
    secure: Option<Secure>,
    protocol: Protocol,
}

/// A new connection, by the protocol it speaks. A task drives it until it is closed, or nobody can send on it any more.
pub(super) enum Made {
    Http1(http1::SendRequest<Outgoing>),
    Http2(http2::SendRequest<Outgoing>),
}

impl Connector {
    pub(super) fn new(
        host: &str,
        port: u16,
        resolver: Arc<dyn Resolve>,
        secure: Option<Secure>,
        protocol: Protocol,
    ) -> Self {
        Self { host: host.to_owned(), port, resolver, secure, protocol }
    }

    /// Whether a new connection may turn out to be of HTTP/2.
    pub(super) fn may_speak_http_2(&self) -> bool {
        match self.protocol {
            Protocol::Negotiated => self.secure.is_some(),
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        }
    }

    /// A new connection; one of HTTP/1.1, if only that will do.
    pub(super) async fn connect(&self, http_1: bool) -> Result<Made, Error> {
        let addresses = self.addresses().await?;
        let stream = dial(&addresses).await.map_err(|error| Error::with(ErrorKind::Connect, error))?;
        // Requests are written whole; a delay would gather nothing. A connection that refuses will show soon enough.
        let _ = stream.set_nodelay(true);
        let Some(secure) = &self.secure else {
            return start(stream, !http_1 && self.protocol == Protocol::Http2).await;
        };
        let stream = secure
            .connector(http_1)
            .connect(secure.name.clone(), stream)
            .await
            .map_err(|error| Error::with(ErrorKind::Tls, error))?;
        let http_2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        if self.protocol == Protocol::Http2 && !http_2 {
            return Err(Error::with(ErrorKind::Tls, "the origin does not offer h2"));
        }
        start(stream, http_2).await
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let literal = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        match self.resolver.resolve(&self.host, self.port).await {
            Ok(addresses) if addresses.is_empty() => Err(Error::with(ErrorKind::Name, "no address")),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(Error::with(ErrorKind::Name, error)),
        }
    }
}

/// The first connection that comes about. An address that fails, or takes long, has the next one tried; one that takes
/// long may still win.
async fn dial(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().take(ADDRESSES);
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect(*address));
        }
        let head_start = async {
            match waiting.len() {
                0 => pending().await,
                _ => sleep(ATTEMPT_DELAY).await,
            }
        };
        tokio::select! {
            ended = attempts.next() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = Some(error),
                // Nothing is under way, and nothing is left to try.
                None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = head_start => {}
        }
    }
}

/// Limits on what the origin may send are set here, so that no default of a library decides them.
async fn start<T>(stream: T, http_2: bool) -> Result<Made, Error>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Error::with(ErrorKind::Connect, error);
    let stream = TokioIo::new(stream);
    // How a connection ends is told to those whose requests were on it.
    if http_2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(PING_TIME)
            .keep_alive_timeout(PING_TIME)
            .handshake(stream)
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        Ok(Made::Http2(sender))
    } else {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .max_header_size(HEAD_BYTES)
            .max_headers(HEAD_FIELDS)
            .handshake(stream)
            .await
            .map_err(broken)?;
        tokio::spawn(connection.with_upgrades());
        Ok(Made::Http1(sender))
    }
}
