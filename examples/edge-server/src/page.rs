//! Bodies of answers: the origins', and the pages this server makes itself, constant text that nobody stores.

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tower::BoxError;
use tower_edge::origin::{GroupError, upstream};

use crate::site::BadTarget;

/// A body from the edge, or a page.
pub(crate) type EdgeBody = tower_edge::Body<OriginBody>;

pub(crate) fn page(status: StatusCode, text: &'static str) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::from(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of an answer from an origin of any kind.
pub(crate) type OriginBody = UnsyncBoxBody<Bytes, BrokeOff>;

/// Takes a body's type from it.
pub(crate) fn erased_body<R>(body: R) -> OriginBody
where
    R: hyper::body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    body.map_err(|error| BrokeOff(error.into())).boxed_unsync()
}

/// Why an origin's body broke off. A boxed error itself is none.
#[derive(Debug)]
pub(crate) struct BrokeOff(BoxError);

impl fmt::Display for BrokeOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for BrokeOff {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The page for an origin's failure, whatever is wrapped around it.
pub(crate) fn sorry(error: &BoxError) -> Response<EdgeBody> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<upstream::Error>() {
            return page(error.status(), error.page());
        }
        if let Some(error) = error.downcast_ref::<BadTarget>() {
            return page(error.status(), error.page());
        }
        if error.downcast_ref::<GroupError>().is_some_and(|error| error.is_head_time()) {
            return page(StatusCode::GATEWAY_TIMEOUT, "The origin did not answer in time.\n");
        }
        cause = error.source();
    }
    page(StatusCode::BAD_GATEWAY, "The origin did not answer properly.\n")
}
