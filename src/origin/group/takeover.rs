//! Who goes on with a body whose member does not: [`Takeover`].
//!
//! ```text
//!              it breaks off, or is silent for the policy's time       a member has just the bytes that are left
//! the member's ─────────────────────────────────────────────→ asking ────────────────────────────────────────→ that member's
//!              ←─────────────────────────────────────────────    │
//!              it was only silent, and goes on                   └── nobody has: the error goes on; silence goes on, too
//! ```
//!
//! A body that is silent is kept while the others are asked: it may still be the first to go on.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Method;
use http::header::UPGRADE;
use http::request::Parts;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;

use super::body::Leg;
use super::turns::Indices;
use crate::error::{BodyError, BodyErrorKind};
use crate::origin::Viewer;
use crate::semantics::rest::Promise;

/// How often one member is asked for one answer.
const TIMES: usize = 2;
/// So many frames are read for nothing before others have their turn on the thread.
const FRAMES: usize = 32;

/// What is left of a body, and what to ask for it with.
pub(super) struct Rest {
    /// The request that was answered.
    head: Parts,
    promise: Promise,
    bytes: Range<u64>,
    /// Every member, as they come for this request.
    order: Indices,
    /// Who was asked, each time.
    asked: Indices,
    /// Who was since the body last went on.
    tried: Indices,
    /// Whose the body is.
    of: usize,
}

impl Rest {
    /// What an answer that promises these bytes may leave. `asked` is who was asked for it, in this order.
    pub(super) fn of(mut head: Parts, promise: Promise, order: Indices, asked: Indices) -> Option<Self> {
        if head.method != Method::GET || head.headers.contains_key(UPGRADE) {
            return None;
        }
        // The connection of a viewer who leaves while others read is not held for them.
        if let Some(viewer) = head.extensions.get_mut::<Viewer>() {
            viewer.let_go();
        }
        let (bytes, of) = (promise.bytes(), *asked.last()?);
        Some(Self { head, promise, bytes, order, asked, tried: Indices::new(), of })
    }

    /// Who may be asked: those first who were asked least, and the one whose body it is last of them.
    pub(super) fn order(&self) -> Indices {
        let times = |member| self.asked.iter().filter(|asked| **asked == member).count();
        let may_be_asked = |member: &usize| times(*member) < TIMES && !self.tried.contains(member);
        let mut order: Indices = self.order.iter().copied().filter(may_be_asked).collect();
        order.sort_by_key(|member| (times(*member), *member == self.of));
        order
    }

    /// What `member` is asked, and of which representation it is to have which bytes.
    pub(super) fn ask(&mut self, member: usize) -> (Parts, Promise, Range<u64>) {
        self.asked.push(member);
        self.tried.push(member);
        let mut head = self.head.clone();
        self.promise.ask_for(&self.bytes, &mut head.headers);
        (head, self.promise.clone(), self.bytes.clone())
    }
}

/// Those who may go on with a body.
pub(super) trait Successors: Send + Sync {
    /// Asks one more of them, in need one that is to be skipped, too. `None` if there is none to ask.
    fn go_on(self: Arc<Self>, rest: &mut Rest, is_in_need: bool) -> Option<Asking>;
}

/// The body with what is left, if the one who is asked has just that.
pub(super) type Asking = Pin<Box<dyn Future<Output = Option<Leg>> + Send>>;

/// Goes on with a body as long as anybody can.
pub(super) struct Takeover {
    successors: Arc<dyn Successors>,
    rest: Rest,
    silence: Silence,
    asking: Option<Asking>,
    /// Why the body broke off. While there is nothing of the kind, it may go on.
    broke: Option<BoxError>,
    /// Nobody is left to ask about this silence.
    is_alone: bool,
    is_taken_over: bool,
    has_ended: bool,
}

impl Takeover {
    pub(super) fn new(successors: Arc<dyn Successors>, rest: Rest, limit: Option<Duration>) -> Self {
        Self {
            successors,
            rest,
            silence: Silence { limit, timer: None, state: Sound::Heard },
            asking: None,
            broke: None,
            is_alone: false,
            is_taken_over: false,
            has_ended: false,
        }
    }

    /// The next frame of `leg`, or of who takes its place.
    pub(super) fn poll_frame(
        &mut self,
        leg: &mut Leg,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while !self.has_ended {
            if self.broke.is_none() {
                match self.poll_leg(leg, cx) {
                    Poll::Ready(Ok(Some(frame))) => return Poll::Ready(Some(Ok(frame))),
                    Poll::Ready(Ok(None)) => break,
                    Poll::Ready(Err(error)) => {
                        leg.failed();
                        self.broke = Some(error);
                        // Whoever could not go on with it when it was only silent may be asked once more.
                        if self.asking.is_none() {
                            self.rest.tried.clear();
                        }
                    }
                    Poll::Pending => {
                        let is_asking = self.asking.is_some();
                        if !is_asking && (self.is_alone || self.silence.poll(cx).is_pending()) {
                            return Poll::Pending;
                        }
                    }
                }
            }
            if self.asking.is_none() && !self.rest.bytes.is_empty() {
                let is_in_need = self.broke.is_some();
                self.asking = Arc::clone(&self.successors).go_on(&mut self.rest, is_in_need);
            }
            match (&mut self.asking, self.broke.take()) {
                (Some(asking), broke) => {
                    self.broke = broke;
                    let answer = ready!(asking.as_mut().poll(cx));
                    self.asking = None;
                    if let Some(successor) = answer {
                        leg.failed();
                        *leg = successor;
                        self.rest.of = *self.rest.asked.last().expect("the body's member was asked");
                        self.broke = None;
                        self.is_taken_over = true;
                        self.heard();
                    }
                }
                (None, Some(error)) => {
                    self.has_ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                (None, None) => {
                    self.is_alone = true;
                    return Poll::Pending;
                }
            }
        }
        self.has_ended = true;
        Poll::Ready(None)
    }

    /// The next of what is left, and whether `leg` has all of it.
    fn poll_leg(
        &mut self,
        leg: &mut Leg,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        let short_or_long = || Poll::Ready(Err(BodyError::new(BodyErrorKind::Length).into()));
        for _ in 0..FRAMES {
            let left = self.rest.bytes.end - self.rest.bytes.start;
            if left == 0 && leg.goes_on {
                return Poll::Ready(Ok(None));
            }
            let frame = match ready!(leg.poll_frame(cx)) {
                Some(frame) => frame?,
                None if left == 0 => {
                    leg.ended();
                    return Poll::Ready(Ok(None));
                }
                None => return short_or_long(),
            };
            let mut data = match frame.into_data() {
                Ok(data) => data,
                Err(_) if left > 0 => return short_or_long(),
                // They may be about the part.
                Err(_) if self.is_taken_over => continue,
                Err(trailers) => return Poll::Ready(Ok(Some(trailers))),
            };
            if data.is_empty() {
                continue;
            }
            self.heard();
            let before = leg.before.min(data.len() as u64);
            leg.before -= before;
            data.advance(before as usize);
            if data.len() as u64 > left {
                if !leg.goes_on {
                    // Whatever that is, nothing of it is left.
                    self.rest.bytes.start = self.rest.bytes.end;
                    return short_or_long();
                }
                data.truncate(left as usize);
            }
            if data.is_empty() {
                continue;
            }
            self.rest.bytes.start += data.len() as u64;
            if self.rest.bytes.is_empty() && leg.is_end_stream() {
                leg.ended();
            }
            return Poll::Ready(Ok(Some(Frame::data(data))));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The body goes on.
    fn heard(&mut self) {
        self.silence.state = Sound::Heard;
        self.asking = None;
        self.is_alone = false;
        self.rest.tried.clear();
    }

    /// Whether `leg` has given all there is.
    pub(super) fn is_end_stream(&self, leg: &Leg) -> bool {
        self.has_ended || (self.rest.bytes.is_empty() && (leg.goes_on || leg.is_end_stream()))
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.bytes.end - self.rest.bytes.start)
    }
}

/// How long nothing came while somebody waited.
struct Silence {
    limit: Option<Duration>,
    /// Most bodies never have one wait.
    timer: Option<Pin<Box<Sleep>>>,
    state: Sound,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sound {
    Heard,
    Waiting,
    Silent,
}

impl Silence {
    /// Ready when it has been too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        if self.state == Sound::Silent {
            return Poll::Ready(());
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if self.state == Sound::Heard {
            self.state = Sound::Waiting;
            timer.as_mut().reset(Instant::now() + limit);
        }
        ready!(timer.as_mut().poll(cx));
        self.state = Sound::Silent;
        Poll::Ready(())
    }
}
