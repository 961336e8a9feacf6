//! An origin whose answer is its version.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use http::header::CACHE_CONTROL;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tower::Service;

use crate::sync;

/// The tag of its answers.
pub(super) const TAG: &str = "t";

/// Answers GET with its version, which any other method changes.
#[derive(Clone, Default)]
pub(super) struct Origin(Arc<State>);

#[derive(Default)]
struct State {
    version: sync::atomic::AtomicU64,
    /// The first version is for one viewer only.
    private: AtomicBool,
    /// It does what it is told to, and breaks the connection off.
    silent: AtomicBool,
    /// It never answers, or no more than a head.
    hanging: AtomicBool,
    stalling: AtomicBool,
}

impl Origin {
    pub(super) fn version(&self) -> u64 {
        self.0.version.load(sync::atomic::Ordering::SeqCst)
    }

    pub(super) fn change(&self) -> u64 {
        self.0.version.fetch_add(1, sync::atomic::Ordering::SeqCst) + 1
    }

    pub(super) fn begin_private(&self) {
        self.0.private.store(true, Ordering::SeqCst);
    }

    pub(super) fn break_off(&self) {
        self.0.silent.store(true, Ordering::SeqCst);
    }

    pub(super) fn hang(&self) {
        self.0.hanging.store(true, Ordering::SeqCst);
    }

    pub(super) fn stall(&self) {
        self.0.stalling.store(true, Ordering::SeqCst);
    }
}

/// The origin did not answer.
#[derive(Debug)]
pub(super) struct Silent;

impl<B> Service<Request<B>> for Origin {
    type Response = Response<UnsyncBoxBody<Bytes, Infallible>>;
    type Error = Silent;
    type Future = BoxFuture<'static, Result<Self::Response, Silent>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Silent>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.method() != Method::GET {
            self.change();
            let silent = self.0.silent.load(Ordering::SeqCst);
            return ready(if silent { Err(Silent) } else { Ok(Response::default()) }).boxed();
        }
        if self.0.hanging.load(Ordering::SeqCst) {
            return pending().boxed();
        }
        let version = self.version();
        let private = version == 0 && self.0.private.load(Ordering::SeqCst);
        let control = if private { "private" } else { "max-age=60, stale-while-revalidate=60" };
        let response = Response::builder().header(CACHE_CONTROL, control).header("cache-tag", TAG);
        let body = match self.0.stalling.load(Ordering::SeqCst) {
            true => StreamBody::new(stream::pending()).boxed_unsync(),
            false => Full::from(version.to_string()).boxed_unsync(),
        };
        ready(Ok(response.body(body).expect("well-formed fields"))).boxed()
    }
}
