//! What does a request get that failed?

use std::error::Error as _;
use std::io;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use object_store::Error;

use super::body::ObjectBody;

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The path is that of no object a store could have.
    NotAKey,
    /// There is no such object.
    NoObject,
    /// The store does not let us.
    Denied,
    /// Not this method; these are allowed.
    Method(&'static str),
    /// A condition of the request does not hold.
    Condition,
    /// The request asks for something that cannot be told from what was meant.
    Malformed(&'static str),
    /// The body is not what was promised of it.
    Broken(&'static str),
    /// The body stopped coming.
    Stalled,
    /// The body is larger than the parts it may have.
    TooLarge,
    /// The body is in a form that would be stored as if it were the object.
    Framed,
    /// The store cannot do this.
    NotSupported(&'static str),
    /// The store did not answer in time.
    TimedOut,
    /// The store failed.
    Failed,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NotAKey | Self::Malformed(_) | Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::NoObject => StatusCode::NOT_FOUND,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Condition => StatusCode::PRECONDITION_FAILED,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Framed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotSupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed => StatusCode::BAD_GATEWAY,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotAKey => "400: this path is that of no object\n",
            Self::NoObject => "404: there is no such object\n",
            Self::Denied => "403: the store does not allow this\n",
            Self::Method(_) => "405: this method is not allowed here\n",
            Self::Condition => "412: a condition does not hold\n",
            Self::Malformed(text) | Self::Broken(text) | Self::NotSupported(text) => text,
            Self::Stalled => "408: the body stopped coming\n",
            Self::TooLarge => "413: too large to be stored in parts\n",
            Self::Framed => "415: chunks with signatures are not taken out of the body\n",
            Self::TimedOut => "504: the store did not answer in time\n",
            Self::Failed => "502: the store failed\n",
        }
    }

    /// The answer: a constant text, kept by nobody.
    pub(super) fn response(self) -> Response<ObjectBody> {
        let text = Bytes::from_static(self.text().as_bytes());
        let length = HeaderValue::from(text.len());
        let mut response = Response::new(ObjectBody::full(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, length);
        if let Self::Method(allowed) = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } => Self::NoObject,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Self::Denied,
            Error::Precondition { .. } | Error::AlreadyExists { .. } => Self::Condition,
            Error::InvalidPath { .. } => Self::NotAKey,
            Error::NotSupported { .. } | Error::NotImplemented { .. } => {
                Self::NotSupported("501: the store cannot do this\n")
            }
            error => from_cause(&error),
        }
    }
}

impl From<tokio::time::error::Elapsed> for Refusal {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::TimedOut
    }
}

/// What is at the bottom of an error that has no name: a time-out of the store's own client, or a folder's trouble with a key
/// that can be none of its files.
fn from_cause(error: &Error) -> Refusal {
    let mut cause = error.source();
    while let Some(error) = cause {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => return Refusal::TimedOut,
            Some(io::ErrorKind::PermissionDenied) => return Refusal::Denied,
            Some(
                io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidFilename,
            ) => return Refusal::NoObject,
            _ if error.is::<tokio::time::error::Elapsed>() => return Refusal::TimedOut,
            _ => cause = error.source(),
        }
    }
    Refusal::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_a_store_has_its_status() {
        let (path, source) = (String::new, || Box::new(io::Error::other("test")));
        let kind = |kind| Error::Generic { store: "test", source: Box::new(io::Error::from(kind)) };
        let named = || String::from("x");
        for (error, status) in [
            (Error::NotFound { path: path(), source: source() }, 404),
            (Error::PermissionDenied { path: path(), source: source() }, 403),
            (Error::Unauthenticated { path: path(), source: source() }, 403),
            (Error::Precondition { path: path(), source: source() }, 412),
            (Error::AlreadyExists { path: path(), source: source() }, 412),
            (Error::NotSupported { source: source() }, 501),
            (Error::NotImplemented { operation: named(), implementer: named() }, 501),
            (kind(io::ErrorKind::TimedOut), 504),
            (kind(io::ErrorKind::NotADirectory), 404),
            (kind(io::ErrorKind::PermissionDenied), 403),
            (Error::Generic { store: "test", source: source() }, 502),
        ] {
            let text = error.to_string();
            assert_eq!(Refusal::from(error).status(), status, "{text}");
        }
    }

    #[test]
    fn an_answer_to_a_failure_is_kept_by_nobody_and_tells_nothing_of_the_store() {
        let response = Refusal::Method("GET, HEAD").response();
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        assert!(Refusal::Failed.response().headers().get(ALLOW).is_none());
    }
}
