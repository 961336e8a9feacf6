//! Why the log did not do what it was asked: [`BusError`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::record::RecordError;

/// Why a [`Bus`](super::Bus) did not do what it was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BusError {
    /// The log cannot be reached, or did not answer in time. What was asked for may have been done.
    Unreachable(Arc<dyn Error + Send + Sync>),
    /// The log's server cannot serve as one: which of its settings, and why.
    Unfit {
        /// The setting, such as `maxmemory-policy`.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The log is in another incarnation than when it was last looked at. Nothing was done.
    Changed,
    /// The record is in the log, and fewer copies of it were confirmed than asked for.
    TooFewCopies {
        /// Replicas that confirmed it.
        confirmed: u32,
        /// Replicas that were to.
        wanted: u32,
    },
    /// The record cannot be written down.
    Record(RecordError),
}

impl BusError {
    /// The log cannot be reached, because of `cause`.
    pub fn unreachable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable(Arc::from(cause.into()))
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => write!(f, "the invalidation log cannot be reached: {cause}"),
            Self::Unfit { setting, reason } => write!(f, "the invalidation log's server: {setting} {reason}"),
            Self::Changed => f.write_str("the invalidation log is another than before"),
            Self::TooFewCopies { confirmed, wanted } => {
                write!(f, "{confirmed} replicas confirmed the invalidation, and {wanted} should")
            }
            Self::Record(error) => write!(f, "{error}"),
        }
    }
}

impl Error for BusError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(cause) => Some(cause.as_ref()),
            Self::Record(error) => Some(error),
            _ => None,
        }
    }
}
