//! Origins that do as they are told, and a group of two of them.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::sleep;
use tower::{BoxError, Service, ServiceExt};
use tower_edge::origin::{Group, GroupError, GroupPolicy, Member, MemberState, ServedBy};

pub(crate) type RequestBody = Full<Bytes>;

/// The time after which the origins' connections are given up.
pub(crate) const CONNECT_TIME: Duration = Duration::from_millis(3500);
/// The time for which their bodies may be silent.
pub(crate) const SILENCE: Duration = Duration::from_secs(15);

/// What an origin does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Answer(u16),
    Refuse,
    /// No connection comes about, and no refusal.
    Unreachable,
    /// A head never comes.
    Hang,
    /// A head comes, which says how long the body is, then nothing more, and then an error.
    HangBeforeBody,
    /// A head and a bit of the body come, then nothing more, and then an error.
    HangInBody,
    Panic,
}

/// An origin, by its name.
#[derive(Clone)]
pub(crate) struct Origin {
    name: &'static str,
    act: Arc<Mutex<Act>>,
    asked: Arc<AtomicUsize>,
    /// Whether this clone was polled ready and not yet called.
    ready: bool,
}

impl Origin {
    pub(crate) fn new(name: &'static str, act: Act) -> Self {
        Self { name, act: Arc::new(Mutex::new(act)), asked: Arc::default(), ready: false }
    }

    pub(crate) fn set(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The origin says no.
#[derive(Debug)]
pub(crate) struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection refused")
    }
}

impl std::error::Error for Refused {}

impl<B> Service<Request<B>> for Origin
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Refused>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been ready");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let act = *self.act.lock().unwrap();
        let name = self.name;
        Box::pin(async move {
            let body = request.into_body().collect().await.map_err(|_| Refused)?.to_bytes();
            match act {
                Act::Answer(status) => {
                    let text = [name.as_bytes(), &body].concat();
                    let body = Full::from(text).map_err(|never: Infallible| match never {}).boxed_unsync();
                    Ok(Response::builder().status(status).body(body).unwrap())
                }
                Act::Refuse => Err(Refused),
                Act::Unreachable => {
                    sleep(CONNECT_TIME).await;
                    Err(Refused)
                }
                Act::Hang => pending().await,
                Act::HangBeforeBody => Ok(Response::new(Promised(Box::pin(silent(true))).boxed_unsync())),
                Act::HangInBody => Ok(Response::new(silent(false).boxed_unsync())),
                Act::Panic => panic!("the origin panics"),
            }
        })
    }
}

/// A body of known length.
struct Promised(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>);

impl Body for Promised {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(9)
    }
}

fn silent(begun: bool) -> impl Body<Data = Bytes, Error = BoxError> + Send {
    StreamBody::new(stream::unfold(begun, |begun| async move {
        if begun {
            sleep(SILENCE).await;
            return Some((Err("the origin went silent".into()), true));
        }
        Some((Ok(Frame::data(Bytes::from_static(b"beg"))), true))
    }))
}

/// A primary called `eu` and a secondary called `us`.
pub(crate) struct Pair {
    pub(crate) eu: Origin,
    pub(crate) us: Origin,
    pub(crate) group: Group<RequestBody>,
}

impl Pair {
    pub(crate) fn new(eu: Act, us: Act) -> Self {
        Self::under(GroupPolicy::default(), eu, us)
    }

    pub(crate) fn under(policy: GroupPolicy, eu: Act, us: Act) -> Self {
        let (eu, us) = (Origin::new("eu", eu), Origin::new("us", us));
        let members = [Member::new("eu", eu.clone()), Member::new("us", us.clone())];
        Self { eu, us, group: Group::new(members, policy).unwrap() }
    }

    pub(crate) async fn get(&self) -> Reply {
        self.send(Method::GET, "").await
    }

    pub(crate) async fn send(&self, method: Method, body: &'static str) -> Reply {
        let request = Request::builder().method(method).uri("http://site/").body(Full::from(body)).unwrap();
        read(self.group.clone().oneshot(request).await).await
    }

    /// How often each was asked.
    pub(crate) fn asked(&self) -> (usize, usize) {
        (self.eu.asked(), self.us.asked())
    }

    pub(crate) fn primary(&self) -> MemberState {
        self.group.status()[0].state
    }

    /// Lets the primary fail until it is skipped.
    pub(crate) async fn open_primary(&self) {
        while self.primary() == MemberState::Closed {
            self.get().await;
        }
    }
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer(StatusCode, String),
    /// The head came, and this much of the body.
    BrokeOff(String),
    Failed(String),
}

pub(crate) fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer(StatusCode::from_u16(status).unwrap(), body.to_owned())
}

pub(crate) fn failed(why: &str) -> Reply {
    Reply::Failed(why.to_owned())
}

pub(crate) async fn read<B>(answer: Result<Response<B>, GroupError>) -> Reply
where
    B: Body<Data = Bytes>,
{
    let response = match answer {
        Ok(response) => response,
        Err(error) => return Reply::Failed(error.to_string()),
    };
    let served_by = response.extensions().get::<ServedBy>().expect("it says who served it").clone();
    let status = response.status();
    let mut body = std::pin::pin!(response.into_body());
    let mut text = String::new();
    while let Some(frame) = body.as_mut().frame().await {
        match frame {
            Ok(frame) => text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap()),
            Err(_) => return Reply::BrokeOff(text),
        }
    }
    assert!(text.starts_with(served_by.name()), "{text} {served_by:?}");
    Reply::Answer(status, text)
}
