//! The answers this server gives itself: constant text, never stored by anyone.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tower::BoxError;
use tower_edge::origin::{GroupError, upstream};

/// A body from the edge, or a page.
pub(crate) type Body<B> = Either<B, Full<Bytes>>;

pub(crate) fn page<B>(status: StatusCode, text: &'static str) -> Response<Body<B>> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The page for an origin's failure, whatever is wrapped around it.
pub(crate) fn sorry<B>(error: &BoxError) -> Response<Body<B>> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<upstream::Error>() {
            return page(error.status(), error.page());
        }
        if error.downcast_ref::<GroupError>().is_some_and(|error| error.is_head_time()) {
            return page(StatusCode::GATEWAY_TIMEOUT, "The origin did not answer in time.\n");
        }
        cause = error.source();
    }
    page(StatusCode::BAD_GATEWAY, "The origin did not answer properly.\n")
}
