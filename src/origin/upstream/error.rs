//! What can go wrong with the origin, and what a viewer is told of it.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;
use tower::BoxError;

/// Why the origin gave no answer, or not the whole of its body.
///
/// What it says of itself names no address and quotes nothing from the origin; the [`source`](StdError::source) does.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<BoxError>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The origin's name could not be resolved.
    Name,
    /// None of the origin's addresses took a connection.
    Connect,
    /// No connection was ready in time: resolved, made, and secured.
    ConnectTime,
    /// No secured connection could be made: the certificate is not to be trusted, or the origin does not speak TLS, or
    /// not the protocol that was to be spoken.
    Tls,
    /// As many exchanges as may be were under way, and none ended in time.
    Busy,
    /// No head of an answer came in time.
    FirstByteTime,
    /// Nothing more of the body came in time.
    BetweenBytesTime,
    /// The exchange broke, or was not HTTP.
    Exchange,
    /// The origin switched to a protocol nobody had asked for.
    UnaskedUpgrade,
    /// The request's target cannot be sent: it names no valid host or path.
    Target,
    /// The request has been here before.
    Loop,
}

impl Error {
    pub(super) fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) fn with(kind: ErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The status that tells a viewer.
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The text that tells a viewer: constant, and nothing of the origin in it.
    pub fn page(&self) -> &'static str {
        self.kind.page()
    }
}

impl ErrorKind {
    /// The status that tells a viewer (RFC 9110 §15.6.3 to §15.6.5, RFC 5842 §7.2).
    pub const fn status(self) -> StatusCode {
        match self {
            Self::ConnectTime | Self::FirstByteTime | Self::BetweenBytesTime => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Target => StatusCode::BAD_REQUEST,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Name | Self::Connect | Self::Tls | Self::Exchange | Self::UnaskedUpgrade => {
                StatusCode::BAD_GATEWAY
            }
        }
    }

    /// The text that tells a viewer.
    pub const fn page(self) -> &'static str {
        match self {
            Self::ConnectTime | Self::FirstByteTime | Self::BetweenBytesTime => {
                "The origin did not answer in time.\n"
            }
            Self::Busy => "The origin is busy.\n",
            Self::Target => "The request's target is not valid.\n",
            Self::Loop => "The request has been here before.\n",
            Self::Name | Self::Connect | Self::Tls => "The origin cannot be reached.\n",
            Self::Exchange | Self::UnaskedUpgrade => "The origin did not answer properly.\n",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Name => "the origin's name could not be resolved",
            Self::Connect => "no connection to the origin",
            Self::ConnectTime => "no connection to the origin in time",
            Self::Tls => "no secured connection to the origin",
            Self::Busy => "too many exchanges with the origin are under way",
            Self::FirstByteTime => "no answer from the origin in time",
            Self::BetweenBytesTime => "the origin went silent",
            Self::Exchange => "the exchange with the origin broke",
            Self::UnaskedUpgrade => "the origin switched protocols unasked",
            Self::Target => "the request's target cannot be sent to the origin",
            Self::Loop => "the request has been here before",
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
