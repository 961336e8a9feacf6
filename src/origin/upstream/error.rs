//! What can go wrong with the origin, and what a viewer is told of it.

use std::error::Error;
use std::fmt;
use std::io;

use hyper::StatusCode;
use hyper_util::client::legacy;

/// Why the origin gave no answer.
#[derive(Debug)]
pub enum OriginError {
    /// No connection could be made.
    Connect(legacy::Error),
    /// No connection was made in time.
    ConnectTime,
    /// No head of an answer came in time.
    FirstByteTime,
    /// The exchange broke, or was not HTTP.
    Exchange(legacy::Error),
    /// The origin switched to a protocol nobody had asked for.
    Unasked101,
    /// The request's target cannot be sent.
    Target,
}

impl OriginError {
    /// RFC 9110 §15.6.3 and §15.6.5
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::ConnectTime | Self::FirstByteTime => StatusCode::GATEWAY_TIMEOUT,
            Self::Connect(_) | Self::Exchange(_) | Self::Unasked101 | Self::Target => StatusCode::BAD_GATEWAY,
        }
    }

    /// The text a viewer sees. It tells nothing about the origin.
    pub const fn page(&self) -> &'static str {
        match self {
            Self::ConnectTime | Self::FirstByteTime => "The origin did not answer in time.\n",
            Self::Connect(_) => "The origin cannot be reached.\n",
            Self::Exchange(_) | Self::Unasked101 | Self::Target => "The origin did not answer properly.\n",
        }
    }
}

impl From<legacy::Error> for OriginError {
    fn from(error: legacy::Error) -> Self {
        match error.is_connect() {
            true if timed_out(&error) => Self::ConnectTime,
            true => Self::Connect(error),
            false => Self::Exchange(error),
        }
    }
}

fn timed_out(error: &(dyn Error + 'static)) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::TimedOut;
        }
        cause = error.source();
    }
    false
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) | Self::Exchange(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
            Self::ConnectTime => f.write_str("no connection to the origin in time"),
            Self::FirstByteTime => f.write_str("no answer from the origin in time"),
            Self::Unasked101 => f.write_str("the origin switched protocols unasked"),
            Self::Target => f.write_str("the request's target cannot be sent to the origin"),
        }
    }
}

impl Error for OriginError {}
