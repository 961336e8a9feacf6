//! The errors of this crate: [`ConfigError`] when an edge is built, [`BodyError`] while a body is read.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why an edge cannot be built: which setting, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: String,
    reason: String,
}

impl ConfigError {
    pub(crate) fn new(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { setting: setting.into(), reason: reason.into() }
    }

    /// The setting that is wrong, such as `behavior "/a": limits.object_size`.
    pub fn setting(&self) -> &str {
        &self.setting
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.reason)
    }
}

impl Error for ConfigError {}

/// Why a body ended before its end. Whoever reads it must not take what came so far for the whole.
#[derive(Clone, Debug)]
pub struct BodyError {
    kind: BodyErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What ended a body early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// The origin's body ended in an error; it is the [`source`](Error::source).
    Origin,
    /// The origin's body was shorter or longer than its `Content-Length`.
    Length,
    /// The exchange with the origin was given up.
    Aborted,
    /// The origin's object is another than the one whose beginning was sent.
    Changed,
    /// The body is too large to be kept, and this reader fell too far behind the others.
    TooSlow,
}

impl BodyError {
    pub(crate) fn new(kind: BodyErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn origin(source: Box<dyn Error + Send + Sync>) -> Self {
        Self { kind: BodyErrorKind::Origin, source: Some(source.into()) }
    }

    /// What ended the body.
    pub fn kind(&self) -> BodyErrorKind {
        self.kind
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BodyErrorKind::Origin => "the origin's body failed",
            BodyErrorKind::Length => "the origin's body does not have its promised length",
            BodyErrorKind::Aborted => "the exchange with the origin was given up",
            BodyErrorKind::Changed => "the origin's object has changed while it was read",
            BodyErrorKind::TooSlow => "read too slowly: the bytes are no longer held",
        })
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
