//! An origin that has one object, and gives it as it is told to.

use std::collections::VecDeque;
use std::future::pending;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::time::{Sleep, sleep};
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_edge::origin::{Group, GroupBody, GroupPolicy, Member};

/// How long the object is.
pub(crate) const LENGTH: u64 = 100;
/// And a frame of it.
const FRAME: u64 = 10;

pub(crate) type Answer = Response<Piece>;

/// How long a member of [`group`] may take.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(2);
/// And be silent.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(5);

/// The object, by a number that all its bytes depend on.
pub(crate) fn object(content: u8) -> Vec<u8> {
    (0..LENGTH as u8).map(|position| position.wrapping_mul(7).wrapping_add(content)).collect()
}

/// How a body ends that gives no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By an error.
    Error,
    /// As if it were whole.
    Clean,
    /// It does not.
    Hang,
    /// It goes on, later.
    Pause(Duration),
    /// By an error, later.
    Late(Duration),
    /// Each frame comes so long after the last.
    Trickle(Duration),
    /// Bytes come that there are not.
    Long,
    /// Trailers come.
    Trailers,
}

/// What an origin has and does.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) content: u8,
    pub(crate) tag: &'static str,
    /// Whether it knows `Range` and `If-Range`.
    pub(crate) ranges: bool,
    pub(crate) conditions: bool,
    /// Where its bodies stop, each time it is asked: at this byte of the object, in this way. Then they are whole.
    pub(crate) stops: Arc<Mutex<VecDeque<(u64, End)>>>,
    /// What becomes of its answers to ranges.
    pub(crate) mend: Option<fn(&mut Answer)>,
    pub(crate) head_after: Duration,
    /// The fields it was asked with.
    pub(crate) asked: Arc<Mutex<Vec<HeaderMap>>>,
    /// How many of its bodies are somebody's.
    pub(crate) open: Arc<AtomicUsize>,
}

impl Keeper {
    pub(crate) fn well() -> Self {
        Self {
            content: 0,
            tag: "\"a\"",
            ranges: true,
            conditions: true,
            stops: Arc::default(),
            mend: None,
            head_after: Duration::ZERO,
            asked: Arc::default(),
            open: Arc::default(),
        }
    }

    pub(crate) fn stopping(stops: &[(u64, End)]) -> Self {
        Self { stops: Arc::new(Mutex::new(stops.iter().copied().collect())), ..Self::well() }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The values of a field it was asked with, each time.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let value = |fields: &HeaderMap| Some(fields.get(name)?.to_str().unwrap().to_owned());
        self.asked.lock().unwrap().iter().map(|fields| value(fields).unwrap_or_default()).collect()
    }

    pub(crate) fn member<B: Send + 'static>(&self, name: &str) -> Member<B> {
        Member::new(name, self.service())
    }

    pub(crate) fn service<B: Send + 'static>(
        &self,
    ) -> impl Service<Request<B>, Response = Answer, Error = BoxError, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static {
        let keeper = self.clone();
        service_fn(move |request: Request<B>| {
            let keeper = keeper.clone();
            async move {
                keeper.asked.lock().unwrap().push(request.headers().clone());
                let stop = keeper.stops.lock().unwrap().pop_front();
                sleep(keeper.head_after).await;
                if stop == Some((0, End::Hang)) && keeper.head_after.is_zero() {
                    pending::<()>().await;
                }
                Ok::<_, BoxError>(keeper.answer(request.headers(), stop))
            }
        })
    }

    fn answer(&self, request: &HeaderMap, stop: Option<(u64, End)>) -> Answer {
        let changed = self.conditions && request.get(IF_RANGE).is_some_and(|tag| tag != self.tag);
        let range = request.get(RANGE).filter(|_| self.ranges && !changed).map(|range| {
            let (first, last) = range.to_str().unwrap()["bytes=".len()..].split_once('-').unwrap();
            first.parse().unwrap()..last.parse::<u64>().unwrap() + 1
        });
        let (status, bytes) = match &range {
            Some(bytes) => (StatusCode::PARTIAL_CONTENT, bytes.clone()),
            None => (StatusCode::OK, 0..LENGTH),
        };
        self.open.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Piece {
            object: Bytes::from(object(self.content)),
            bytes: bytes.clone(),
            stop,
            timer: None,
            open: Arc::clone(&self.open),
        });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::from_static(self.tag));
        headers.insert(CONTENT_LENGTH, (bytes.end - bytes.start).into());
        if let Some(Range { start, end }) = range {
            let range = format!("bytes {start}-{}/{LENGTH}", end - 1);
            headers.insert(CONTENT_RANGE, range.parse().unwrap());
            if let Some(mend) = self.mend {
                mend(&mut response);
            }
        }
        response
    }
}

/// Bytes of the object, as they come.
pub(crate) struct Piece {
    object: Bytes,
    bytes: Range<u64>,
    stop: Option<(u64, End)>,
    timer: Option<Pin<Box<Sleep>>>,
    open: Arc<AtomicUsize>,
}

impl Body for Piece {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some((stop, end)) = self.stop
            && self.bytes.start >= stop
        {
            let timer = match end {
                End::Pause(pause) | End::Trickle(pause) | End::Late(pause) => {
                    self.timer.get_or_insert_with(|| Box::pin(sleep(pause)))
                }
                End::Hang => return Poll::Pending,
                End::Error => {
                    self.stop = Some((stop, End::Clean));
                    return Poll::Ready(Some(Err("it broke off".into())));
                }
                End::Clean => return Poll::Ready(None),
                End::Long => return Poll::Ready(Some(Ok(Frame::data(vec![0; LENGTH as usize + 1].into())))),
                End::Trailers => {
                    self.stop = Some((stop, End::Clean));
                    let trailers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"t\""))]);
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            };
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
            self.stop = match end {
                End::Trickle(_) => Some((stop + FRAME, end)),
                End::Late(_) => Some((stop, End::Error)),
                _ => None,
            };
            if matches!(end, End::Late(_)) {
                return self.poll_frame(cx);
            }
        }
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let start = self.bytes.start;
        let stop = self.stop.map_or(LENGTH, |(stop, _)| stop);
        self.bytes.start = (start - start % FRAME + FRAME).min(self.bytes.end).min(stop);
        let data = self.object.slice(start as usize..self.bytes.start as usize);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.end - self.bytes.start)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

const NAMES: [&str; 3] = ["eu", "us", "ap"];

pub(crate) fn group<B: Send + 'static>(keepers: &[&Keeper]) -> Group<B> {
    let members = keepers.iter().zip(NAMES).map(|(keeper, name)| keeper.member(name));
    let policy =
        GroupPolicy { head_time: Some(HEAD_TIME), body_time: Some(BODY_TIME), ..GroupPolicy::default() };
    Group::new(members.collect::<Vec<_>>(), policy).unwrap()
}

pub(crate) fn get(fields: &[(&'static str, &'static str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get("http://site/").body(Full::default()).unwrap();
    request.headers_mut().extend(
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
    );
    request
}

pub(crate) async fn begun(group: &Group<Full<Bytes>>, request: Request<Full<Bytes>>) -> GroupBody {
    group.clone().oneshot(request).await.unwrap().into_body()
}

/// What came of a body, and the error if it broke off. It is never longer than it says.
pub(crate) async fn read(mut body: GroupBody) -> (Vec<u8>, Option<String>) {
    let mut data = Vec::new();
    while !body.is_end_stream() {
        let left = body.size_hint().exact().unwrap();
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => {
                let Ok(frame) = frame.into_data() else { continue };
                assert_eq!(body.size_hint().exact(), Some(left - frame.len() as u64));
                data.extend_from_slice(&frame);
            }
            Some(Err(error)) => {
                assert!(body.frame().await.is_none());
                return (data, Some(error.to_string()));
            }
        }
    }
    (data, None)
}

pub(crate) fn whole() -> (Vec<u8>, Option<String>) {
    (object(0), None)
}

pub(crate) fn broken(length: usize, why: &str) -> (Vec<u8>, Option<String>) {
    (object(0)[..length].to_vec(), Some(why.to_owned()))
}
