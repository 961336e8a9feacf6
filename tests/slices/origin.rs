//! An origin whose object changes, and which fails now and then.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Frame, SizeHint};
use tower::{BoxError, Service};

use crate::naive::{Reply, Spec, State, Validator, Wish};
use crate::random::Random;

/// What stays the same in one case.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) validator: Validator,
    pub(crate) takes_ranges: bool,
    pub(crate) states_length: bool,
    pub(crate) varies: bool,
    pub(crate) fails: bool,
    pub(crate) control: &'static str,
}

#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) settings: Settings,
    pub(crate) now: Arc<Mutex<Now>>,
}

pub(crate) struct Now {
    pub(crate) number: usize,
    pub(crate) length: usize,
    random: Random,
}

impl Origin {
    pub(crate) fn new(settings: Settings, length: usize, random: Random) -> Self {
        Self { settings, now: Arc::new(Mutex::new(Now { number: 0, length, random })) }
    }

    /// The object as it is now.
    pub(crate) fn state(&self, variant: usize) -> State {
        let now = self.now.lock().unwrap();
        state(&self.settings, now.number, now.length, variant)
    }

    fn answer(&self, method: &Method, headers: &HeaderMap) -> Result<Response<Frames>, BoxError> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("text").to_owned());
        let variant = usize::from(self.settings.varies && text("x-variant").as_deref() == Some("1"));
        let state = self.state(variant);
        let mut random = self.now.lock().unwrap().random.split();
        if self.settings.fails && random.percent(8) {
            return Err("down".into());
        }
        let mut response = Response::builder().header("cache-control", self.settings.control);
        if self.settings.fails && random.percent(4) {
            return Ok(response
                .status(503)
                .body(Frames::of(Bytes::from("later"), &mut random))
                .expect("valid"));
        }
        response = response.header("x-state", state.name()).header("date", "Thu, 01 Jan 2026 00:00:00 GMT");
        if let Some(tag) = state.tag() {
            response = response.header("etag", tag);
        }
        if let Some(modified) = state.modified() {
            response = response.header("last-modified", modified);
        }
        if self.settings.takes_ranges {
            response = response.header("accept-ranges", "bytes");
        }
        if self.settings.varies {
            response = response.header("vary", "x-variant");
        }
        let number = |value: Option<String>| -> Option<usize> {
            let names =
                |state: &State| value.is_some() && (value == state.tag() || value == state.modified());
            (0..=state.number).find(|number| names(&State { number: *number, ..state.clone() }))
        };
        // RFC 9110 §13.1.3: the edge's own condition.
        let since = number(text("if-modified-since")).filter(|_| text("if-none-match").is_none());
        let wish = Wish {
            head: method == Method::HEAD,
            variant,
            ranges: text("range")
                .filter(|_| self.settings.takes_ranges)
                .map_or(Vec::new(), |range| read(&range)),
            if_none_match: number(text("if-none-match")),
            if_range: text("if-range").map(|condition| number(Some(condition)).unwrap_or(usize::MAX)),
        };
        let length = state.content.len();
        let reply = if since == Some(state.number) && state.tag().is_none() {
            Reply::NotModified
        } else {
            state.reply(&wish)
        };
        let (status, body) = match reply {
            Reply::NotModified => (304, Bytes::new()),
            Reply::Unsatisfiable => {
                response = response.header("content-range", format!("bytes */{length}"));
                (416, Bytes::new())
            }
            Reply::Whole => (200, state.content.clone()),
            Reply::Parts(parts) => match parts.as_slice() {
                [part] => {
                    let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                    response = response.header("content-range", range);
                    (206, state.bytes(part))
                }
                parts => {
                    response = response.header("content-type", "multipart/byteranges; boundary=origin");
                    (206, state.multipart(parts))
                }
            },
        };
        let length = body.len() as u64;
        let mut frames = Frames::of(if wish.head { Bytes::new() } else { body }, &mut random);
        if status != 304 && (status != 200 || self.settings.states_length || wish.head) {
            response = response.header("content-length", length);
            frames.left = Some(length).filter(|_| !wish.head);
        }
        if self.settings.fails && random.percent(10) {
            frames.break_off(&mut random);
        }
        Ok(response.status(status).body(frames).expect("valid"))
    }
}

pub(crate) fn state(settings: &Settings, number: usize, length: usize, variant: usize) -> State {
    let byte = |at: usize| (at * 31 + at / 251 + number * 57 + variant * 113 + at / 65_536) as u8;
    let content = (0..length).map(byte).collect::<Vec<_>>().into();
    State { number, variant, validator: settings.validator, content }
}

/// Reads what the test itself, or the edge, has written.
fn read(range: &str) -> Vec<Spec> {
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX - 1);
    let specs = range.strip_prefix("bytes=").expect("bytes").split(',');
    let spec = |spec: &str| match spec.split_once('-').expect("a range") {
        ("", suffix) => Spec::Suffix(number(suffix)),
        (first, "") => Spec::From(number(first)),
        (first, last) => Spec::FromTo(number(first), number(last)),
    };
    specs.map(spec).collect()
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<Frames>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Frames>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (origin, (head, _)) = (self.clone(), request.into_parts());
        let mut random = origin.now.lock().unwrap().random.split();
        Box::pin(async move {
            random.pause().await;
            let answer = origin.answer(&head.method, &head.headers);
            random.pause().await;
            answer
        })
    }
}

/// A body in frames of any size, with pauses.
pub(crate) struct Frames {
    frames: VecDeque<Result<Bytes, BoxError>>,
    /// What is left, as far as the head says how much there is.
    left: Option<u64>,
    random: Random,
}

impl Frames {
    fn of(mut body: Bytes, random: &mut Random) -> Self {
        let mut frames = VecDeque::new();
        let most = 1 + random.below(20_000);
        while !body.is_empty() {
            let length = (1 + random.below(most) as usize).min(body.len());
            frames.push_back(Ok(body.split_to(length)));
        }
        Self { frames, left: None, random: random.split() }
    }

    /// An error somewhere, or an end that comes too soon.
    fn break_off(&mut self, random: &mut Random) {
        let kept = random.below(self.frames.len() as u64 + 1) as usize;
        self.frames.truncate(kept);
        self.frames.push_back(Err("broken".into()));
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.random.percent(30) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = self.frames.pop_front();
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left -= frame.len() as u64;
        }
        Poll::Ready(frame.map(|frame| frame.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or(SizeHint::default(), SizeHint::with_exact)
    }
}
