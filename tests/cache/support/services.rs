//! Origins that are hard to live with, and readers that watch every frame.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use tower::{BoxError, Service, ServiceExt};

use super::{Reply, RequestBody, read, settle};

/// Lets services be ready, or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    wakers: Vec<Waker>,
}

impl Gate {
    pub(crate) fn close(&self) {
        self.0.lock().unwrap().closed = true;
    }

    pub(crate) fn open(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.closed = false;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A service that is ready when its gate is open, after a few polls, and that panics when it is called without having
/// said that it is ready. A clone has not said so.
#[derive(Debug)]
pub(crate) struct Strict<S> {
    inner: S,
    gate: Gate,
    yields: usize,
    polled: usize,
    ready: bool,
}

impl<S> Strict<S> {
    pub(crate) fn new(inner: S, gate: &Gate, yields: usize) -> Self {
        Self { inner, gate: gate.clone(), yields, polled: 0, ready: false }
    }
}

impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), &self.gate, self.yields)
    }
}

impl<S, R> Service<R> for Strict<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut gate = self.gate.0.lock().unwrap();
        if gate.closed {
            gate.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        drop(gate);
        if self.polled < self.yields {
            self.polled += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been ready");
        self.inner.call(request)
    }
}

/// Lets others run this many times.
pub(crate) async fn pause(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// A body that lets others run before each of its frames and before its end.
pub(crate) fn yielding(
    frames: impl IntoIterator<Item = Bytes> + Send + 'static,
    yields: usize,
) -> impl Body<Data = Bytes, Error = BoxError> + Send {
    let frames = frames.into_iter().collect::<std::collections::VecDeque<_>>();
    StreamBody::new(stream::unfold(frames, move |mut frames| async move {
        pause(yields).await;
        let frame = frames.pop_front()?;
        Some((Ok(Frame::data(frame)), frames))
    }))
}

/// A body that can be polled but never waits: `frame` at once, over and over.
pub(crate) fn endless(frame: Bytes) -> impl Body<Data = Bytes, Error = BoxError> + Send {
    StreamBody::new(stream::repeat_with(move || Ok(Frame::data(frame.clone()))))
}

/// Polls a future at most this many times, and lets others run after each. What it came to, if it did; else it is
/// dropped where it stands.
pub(crate) async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(output) = futures_util::poll!(future.as_mut()) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Sends a request and reads all of its answer.
pub(crate) async fn whole<S, B>(cache: S, request: Request<RequestBody>) -> Result<Reply, String>
where
    S: Service<Request<RequestBody>, Response = http::Response<B>>,
    S::Error: std::fmt::Display,
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let response = cache.oneshot(request).await.map_err(|error| error.to_string())?;
    read(response).await.map_err(|error| error.to_string())
}

/// The next frame of a body, if it is there once everyone has done what they can; `None` if there is nothing yet.
pub(crate) async fn next<B>(body: &mut B) -> Option<Option<Result<Bytes, B::Error>>>
where
    B: Body<Data = Bytes> + Unpin,
{
    settle().await;
    let frame = body.frame().now_or_never()?;
    Some(frame.map(|frame| frame.map(|frame| frame.into_data().expect("data"))))
}

/// All that a body has to give at the moment, as text.
pub(crate) async fn at_hand<B>(body: &mut B) -> String
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    let mut text = String::new();
    while let Some(Some(frame)) = next(body).await {
        text.push_str(std::str::from_utf8(&frame.expect("no error yet")).expect("text"));
    }
    text
}
