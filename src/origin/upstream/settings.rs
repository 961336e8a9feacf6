//! What the operator decides about an origin: plain data, checked by [`Builder::build`](super::Builder::build).

use std::fmt;
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::error::ConfigError;

/// Which protocol is spoken to the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// With TLS, HTTP/2 if the origin has it (by ALPN), else HTTP/1.1. Without TLS, HTTP/1.1.
    #[default]
    Negotiated,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS by prior knowledge (RFC 9113 §3.3). Upgrades, such as to WebSocket, are then ordinary requests.
    Http2,
}

/// The `Host` (or `:authority`) the origin is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostField {
    /// The viewer's, for an origin that knows the site by its public name.
    #[default]
    Keep,
    /// The origin's own, from its URL. The viewer's is in `X-Forwarded-Host`.
    Origin,
    /// This one, with or without a port.
    Name(String),
}

/// How an origin proves who it is, and the edge to it. Verification cannot be switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whether to trust the certificates the system trusts. On by default.
    pub system_roots: bool,
    /// Files of PEM, as their bytes, with certificates to trust besides.
    pub roots: Vec<Vec<u8>>,
    /// The name to ask for (SNI) and to find in the certificate. By default that of [`HostField::Name`], else the one in the
    /// origin's URL; never a viewer's: connections are shared by viewers of all hosts.
    pub name: Option<String>,
    /// What the edge shows an origin that asks for a client's certificate. Nothing by default.
    pub identity: Option<Identity>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { system_roots: true, roots: Vec::new(), name: None, identity: None }
    }
}

/// A certificate and its key, by which the edge proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The chain, its own first: a file of PEM, as its bytes.
    pub certificates: Vec<u8>,
    /// The key: a file of PEM, as its bytes.
    pub key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No log is to have the key.
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// How long to wait for the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection: resolved, made and secured. 3.5 s by default.
    pub connect: Duration,
    /// For the head of the answer, from the end of the request on. 30 s by default.
    pub first_byte: Duration,
    /// For more of the body, once a reader waits for it. 15 s by default.
    pub between_bytes: Duration,
    /// The same for an answer that goes on for as long as there is news, and is quiet in between: an event stream
    /// (`text/event-stream`) or an answer of gRPC. 10 minutes by default.
    pub quiet: Duration,
    /// For anything to pass through a tunnel, either way. 10 minutes by default.
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(3500),
            first_byte: Duration::from_secs(30),
            between_bytes: Duration::from_secs(15),
            quiet: Duration::from_secs(600),
            tunnel: Duration::from_secs(600),
        }
    }
}

/// How many connections there may be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Exchanges at a time, tunnels among them; so there are never more connections of HTTP/1.1. Who comes when all are
    /// taken waits as long as for a connection. 1,024 by default.
    pub exchanges: usize,
    /// Exchanges at a time on one connection of HTTP/2; past that, another is made. 100 by default.
    pub streams: usize,
    /// Unused connections of HTTP/1.1 that are kept. 256 by default.
    pub idle: usize,
    /// How long an unused connection of HTTP/1.1 is kept. 4 s by default: less than the 5 s after which common servers close
    /// it, so that a request is not sent into a connection that is just being closed.
    pub idle_time: Duration,
    /// How long a connection takes new requests. Those on it when the time is over go on. Nothing longer than this keeps the
    /// edge from following a name to its new addresses. 60 s by default.
    pub life: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            exchanges: 1024,
            streams: 100,
            idle: 256,
            idle_time: Duration::from_secs(4),
            life: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    /// How long the body under this head may be silent.
    pub(super) fn silence(&self, head: &HeaderMap) -> Duration {
        let content_type = head.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (media_type, _) = content_type.split_once(';').unwrap_or((content_type, ""));
        // `application/grpc+proto` and the like say how the messages are encoded. gRPC-Web is another type.
        let (media_type, _) = media_type.split_once('+').unwrap_or((media_type, ""));
        let is = |name| media_type.trim().eq_ignore_ascii_case(name);
        if is("text/event-stream") || is("application/grpc") { self.quiet } else { self.between_bytes }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (name, time) in [
            ("connect", self.connect),
            ("first_byte", self.first_byte),
            ("between_bytes", self.between_bytes),
            ("quiet", self.quiet),
            ("tunnel", self.tunnel),
        ] {
            if time.is_zero() {
                return Err(ConfigError::new(format!("timeouts.{name}"), "zero leaves the origin no time"));
            }
        }
        Ok(())
    }
}

impl Pool {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // More than a semaphore can count to is as good as no limit, and a mistake.
        if self.exchanges == 0 || self.exchanges > tokio::sync::Semaphore::MAX_PERMITS {
            return Err(ConfigError::new("pool.exchanges", "must be at least 1, and a number one can mean"));
        }
        if self.streams == 0 {
            return Err(ConfigError::new("pool.streams", "must be at least 1"));
        }
        Ok(())
    }
}
