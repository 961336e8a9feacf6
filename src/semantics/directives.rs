//! `Cache-Control`, as it stands in a request or a response (RFC 9111 §5.2).

use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;

/// Which fields a directive is about: `no-cache` and `private` may name some (RFC 9111 §5.2.2.4, §5.2.2.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fields {
    /// The whole response.
    All,
    /// Only these fields.
    Named(Vec<HeaderName>),
}

/// The directives of a response (RFC 9111 §5.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ResponseCacheControl {
    pub no_store: bool,
    pub no_cache: Option<Fields>,
    pub private: Option<Fields>,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub no_transform: bool,
    pub immutable: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

/// The directives of a request (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RequestCacheControl {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub no_transform: bool,
    pub max_age: Option<Duration>,
    /// `Some(Duration::MAX)` where the directive has no argument: any staleness will do.
    pub max_stale: Option<Duration>,
    pub min_fresh: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl ResponseCacheControl {
    /// Reads every `Cache-Control` line of a response.
    pub fn parse(headers: &HeaderMap) -> Self {
        let _ = headers;
        todo!()
    }
}

impl RequestCacheControl {
    /// Reads every `Cache-Control` line of a request, or `Pragma: no-cache` where there is none (RFC 9111 §5.4).
    pub fn parse(headers: &HeaderMap) -> Self {
        let _ = headers;
        todo!()
    }
}
