//! May this response be stored, and shown to others? (RFC 9111 §3)

use http::{HeaderMap, Method, StatusCode};

use super::directives::ResponseCacheControl;
use crate::policy::CachePolicy;

/// One exchange with the origin, as far as its heads tell.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Exchange<'a> {
    pub method: &'a Method,
    /// As the origin saw it.
    pub request: &'a HeaderMap,
    pub status: StatusCode,
    /// As the origin sent it.
    pub response: &'a HeaderMap,
    /// Parsed from `response`.
    pub control: &'a ResponseCacheControl,
    pub policy: &'a CachePolicy,
    /// The body's length as far as it is known beforehand.
    pub length: Option<u64>,
    /// The largest body the edge stores.
    pub max_length: u64,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum NotStored {
    Method,
    Status,
    NoStore,
    Private,
    NoCache,
    Vary,
    Authorization,
    SetCookie,
    NoFreshness,
    EventStream,
    Partial,
    HeadTooLarge,
    BodyTooLarge,
    ContentLength,
}

/// Says whether a shared cache may store the response, under `policy`.
///
/// # Errors
/// The first reason found against it.
pub fn storable(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    let _ = exchange;
    todo!()
}
