//! What a fill's task and its participants share.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use super::growing::Growing;
use super::registry::{Chain, Takes};
use crate::error::{BodyError, BodyErrorKind};
use crate::invalidation::{Log, Stamp, Subject};
use crate::store::{Blocks, Head, Stored};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, timeout};

/// With no reader left a fill goes on if no more than this is to come, or a twentieth of the whole.
const LITTLE_LEFT: u64 = 16 * 1024;
/// A fill that nobody takes part in waits this long for the origin's next sign of life.
const PATIENCE: Duration = Duration::from_secs(60);
/// A body that is not kept is read ahead of its fastest reader by this much.
const READ_AHEAD: u64 = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Fill {
    state: Mutex<State>,
    pub(super) stamp: Stamp,
    pub(super) order: u64,
    chain: Chain,
    /// An invalidation has counted it.
    revoked: AtomicBool,
    /// Bytes held by all fills of the edge together.
    in_flight: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Everyone who waits for the head or reads the body.
    participants: Slab<Seat>,
    task: Option<Waker>,
    /// The fill goes on without participants: nobody waits for it, or who did has an answer that needs no more of it.
    keep: bool,
}

#[derive(Debug, Default)]
struct Seat {
    waker: Option<Waker>,
    /// The first byte this reader still needs.
    position: Option<u64>,
}

#[derive(Debug)]
enum Phase {
    /// The origin has been asked.
    Asking,
    /// The head has come and may be shared.
    Flowing(Flow),
    /// The answer is a stored response: one that was there after all, or one that a 304 made fresh.
    Stored(Arc<Stored>),
    /// There is no answer to share.
    Unshared(Unshared),
}

#[derive(Debug)]
struct Flow {
    head: Arc<Head>,
    /// `Content-Length`, where there is one.
    length: Option<u64>,
    body: Growing,
    /// Bytes counted in `in_flight`.
    counted: u64,
    /// The body is not to be stored: bytes behind the readers are let go beyond this many.
    window: Option<u64>,
    end: Option<Result<(), BodyError>>,
}

/// Why a fill has no answer for those who waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unshared {
    /// The answer was for the one who asked. Everyone asks for themselves, at once.
    Private,
    /// The origin answered with an error that is not kept.
    Refused(http::StatusCode),
    /// The origin did not answer.
    Failed,
    /// It was asked for a slice of an object that is another by now.
    Changed,
}

/// What a participant gets when the head has come.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The head; the body is read through the [`Participant`].
    Flowing {
        head: Arc<Head>,
        length: Option<u64>,
    },
    Stored(Arc<Stored>),
    Unshared(Unshared),
}

/// What became of a frame that the task brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The body is still whole in memory.
    Whole,
    /// It is not, and will not be stored.
    Window,
}

impl Fill {
    pub(super) fn new(stamp: Stamp, order: u64, chain: Chain, keep: bool, in_flight: Arc<AtomicU64>) -> Self {
        let state = State { phase: Phase::Asking, participants: Slab::new(), task: None, keep };
        Self { state: Mutex::new(state), stamp, order, chain, revoked: AtomicBool::new(false), in_flight }
    }

    /// Takes part: the fill goes on at least while somebody does.
    pub(super) fn participate(self: &Arc<Self>) -> Participant {
        let (seat, task) = {
            let mut state = self.state.lock();
            (state.participants.insert(Seat::default()), state.task.take())
        };
        if let Some(task) = task {
            task.wake();
        }
        Participant { fill: Arc::clone(self), seat }
    }

    /// Whether somebody who comes now can have all of the answer, and takes it.
    pub(super) fn is_joinable(&self, takes: &Takes) -> bool {
        match &self.state.lock().phase {
            // What is yet to come is newer than any request that waits for it.
            Phase::Asking => true,
            Phase::Stored(stored) => takes.accepts(&stored.head),
            Phase::Flowing(flow) => {
                flow.body.is_complete() && flow.window.is_none() && !failed(flow) && takes.accepts(&flow.head)
            }
            Phase::Unshared(_) => false,
        }
    }

    /// Whether somebody who comes now can have all of it.
    pub(super) fn is_whole(&self) -> bool {
        match &self.state.lock().phase {
            Phase::Asking => true,
            Phase::Flowing(flow) => flow.body.is_complete() && flow.window.is_none() && !failed(flow),
            Phase::Stored(_) | Phase::Unshared(_) => false,
        }
    }

    /// Whether somebody takes part. If not, `cx` is woken when somebody does.
    pub(super) fn poll_joined(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.participants.is_empty() {
            return Poll::Ready(());
        }
        set_waker(&mut state.task, cx);
        Poll::Pending
    }

    /// Whether no invalidation is about it. As long as its tags are not known, any that is about tags may be.
    pub(super) fn may_be_joined(&self, key: &[u8], log: &Log) -> bool {
        self.judged(key, |subject| log.may_be_joined(subject))
    }

    /// The rule under which it will not be stored, told once.
    pub(super) fn newly_revoked_by(&self, key: &[u8], log: &Log) -> Option<u64> {
        let rule = self.judged(key, |subject| log.revoked_by(subject))?;
        (!self.revoked.swap(true, Ordering::Relaxed)).then_some(rule)
    }

    fn judged<T>(&self, key: &[u8], judge: impl FnOnce(Subject<'_>) -> T) -> T {
        let head = match &self.state.lock().phase {
            Phase::Flowing(flow) => Some(Arc::clone(&flow.head)),
            Phase::Stored(stored) => Some(Arc::clone(&stored.head)),
            Phase::Asking | Phase::Unshared(_) => None,
        };
        // Judged anew: what was true of a fill without tags need not be of one with them.
        let stamp = Stamp::new(self.stamp.as_of());
        judge(Subject { key, labels: head.as_ref().map(|head| &*head.labels), stamp: &stamp })
    }

    // What the task does.

    /// The head has come; the body begins at `first` of what it is a part of.
    pub(super) fn flow(&self, head: Arc<Head>, length: Option<u64>, first: u64) {
        let body = Growing::starting_at(first);
        self.settle(Phase::Flowing(Flow { head, length, body, counted: 0, window: None, end: None }));
    }

    pub(super) fn answer_stored(&self, stored: Arc<Stored>) {
        self.settle(Phase::Stored(stored));
    }

    pub(super) fn unshared(&self, why: Unshared) {
        self.settle(Phase::Unshared(why));
    }

    fn settle(&self, phase: Phase) {
        let wakers = {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Asking) {
                return;
            }
            state.phase = phase;
            state.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Adds a frame, and wakes who waits for it if `wake` says so. The body stops being kept when it is longer than
    /// `max_length`, or the fills of the edge hold more than `budget` together.
    pub(super) fn push(&self, frame: Bytes, max_length: u64, budget: u64, wake: bool) -> Kept {
        let (kept, wakers) = {
            let mut state = self.state.lock();
            let State { phase: Phase::Flowing(flow), participants, .. } = &mut *state else {
                return Kept::Window;
            };
            flow.body.push(frame);
            flow.count(&self.in_flight);
            if flow.window.is_none()
                && (flow.body.received() > max_length || self.in_flight.load(Ordering::Relaxed) > budget)
            {
                flow.window = Some(flow.body.held().max(READ_AHEAD));
            }
            if let Some(window) = flow.window {
                flow.slide(participants, window);
                flow.count(&self.in_flight);
            }
            let kept = if flow.window.is_some() { Kept::Window } else { Kept::Whole };
            (kept, if wake { state.wakers() } else { Vec::new() })
        };
        wakers.into_iter().for_each(Waker::wake);
        kept
    }

    /// The body, if it is still whole in memory. All of it must have come.
    pub(super) fn whole(&self) -> Option<Blocks> {
        match &mut self.state.lock().phase {
            Phase::Flowing(flow) if flow.window.is_none() => flow.body.finish(),
            _ => None,
        }
    }

    /// Ends the body, for good.
    pub(super) fn end(&self, end: Result<(), BodyError>) {
        if let Phase::Flowing(flow) = &mut self.state.lock().phase
            && flow.end.is_none()
        {
            flow.end = Some(end);
        }
        let wakers = self.state.lock().wakers();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The store holds the body now, and counts it.
    pub(super) fn handed_over(&self) {
        if let Phase::Flowing(flow) = &mut self.state.lock().phase {
            self.in_flight.fetch_sub(std::mem::take(&mut flow.counted), Ordering::Relaxed);
        }
    }

    /// Ends whatever has not ended: the task is going away.
    pub(super) fn abort(&self) {
        self.unshared(Unshared::Failed);
        self.end(Err(BodyError::new(BodyErrorKind::Aborted)));
    }

    /// Resolves when the fill is not worth going on with: nobody takes part any more, and nothing else keeps it running
    /// or what does has waited for the origin too long.
    pub(super) async fn abandoned(&self) {
        loop {
            self.left().await;
            if !self.is_kept() || timeout(PATIENCE, self.joined()).await.is_err() {
                return;
            }
        }
    }

    /// Resolves when nobody takes part.
    pub(super) async fn left(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.participants.is_empty() {
                return Poll::Ready(());
            }
            set_waker(&mut state.task, cx);
            Poll::Pending
        })
        .await;
    }

    /// Resolves when somebody takes part.
    async fn joined(&self) {
        poll_fn(|cx| self.poll_joined(cx)).await;
    }

    /// Whether the fill goes on without participants.
    fn is_kept(&self) -> bool {
        let state = self.state.lock();
        match &state.phase {
            Phase::Flowing(flow) => flow.window.is_none() && (state.keep || flow.little_is_left()),
            _ => state.keep,
        }
    }

    /// Resolves when the next frame may be read: always, while the body is kept; else when the fastest reader is near.
    pub(super) async fn wanted(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            let State { phase: Phase::Flowing(flow), participants, task, .. } = &mut *state else {
                return Poll::Ready(());
            };
            // Who has read nothing yet will want the beginning.
            let first = flow.body.first();
            let fastest = participants.iter().map(|(_, seat)| seat.position.unwrap_or(first)).max();
            match fastest {
                Some(fastest)
                    if flow.window.is_some() && flow.body.end() > fastest.saturating_add(READ_AHEAD) =>
                {
                    set_waker(task, cx);
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.handed_over();
    }
}

impl State {
    /// Everyone to wake. They are woken after the lock is let go.
    fn wakers(&mut self) -> Vec<Waker> {
        self.participants.iter_mut().filter_map(|(_, seat)| seat.waker.take()).collect()
    }
}

impl Flow {
    fn count(&mut self, in_flight: &AtomicU64) {
        let held = self.body.held();
        if held >= self.counted {
            in_flight.fetch_add(held - self.counted, Ordering::Relaxed);
        } else {
            in_flight.fetch_sub(self.counted - held, Ordering::Relaxed);
        }
        self.counted = held;
    }

    /// Lets go of what every reader has behind it, and of more where that is not enough: a reader that is too far
    /// behind gets an error rather than hold up the others.
    fn slide(&mut self, participants: &Slab<Seat>, window: u64) {
        let end = self.body.end();
        let slowest = participants.iter().map(|(_, seat)| seat.position.unwrap_or(0)).min().unwrap_or(end);
        self.body.release_before(slowest.min(end));
        self.body.release_before(end.saturating_sub(window));
    }

    fn little_is_left(&self) -> bool {
        let Some(length) = self.length else { return false };
        let left = length.saturating_sub(self.body.end());
        self.window.is_none() && left <= LITTLE_LEFT.max(length / 20)
    }
}

fn failed(flow: &Flow) -> bool {
    matches!(flow.end, Some(Err(_)))
}

fn set_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}

/// A seat at a fill. Dropping it gives the seat up, and the last one to do so ends the fill.
#[derive(Debug)]
pub(crate) struct Participant {
    fill: Arc<Fill>,
    seat: usize,
}

impl Participant {
    /// The tries that this fill is one of.
    pub(crate) fn chain(&self) -> Chain {
        self.fill.chain.clone()
    }

    /// The viewer's answer does not need all of the body that the edge asked for: the fill goes on without it.
    pub(crate) fn let_run(&self) {
        self.fill.state.lock().keep = true;
    }

    /// Waits for the head.
    pub(crate) async fn answer(&self) -> Answer {
        poll_fn(|cx| {
            let mut state = self.fill.state.lock();
            let answer = match &state.phase {
                Phase::Asking => {
                    set_waker(&mut state.participants[self.seat].waker, cx);
                    return Poll::Pending;
                }
                Phase::Flowing(flow) => Answer::Flowing { head: Arc::clone(&flow.head), length: flow.length },
                Phase::Stored(stored) => Answer::Stored(Arc::clone(stored)),
                Phase::Unshared(why) => Answer::Unshared(*why),
            };
            Poll::Ready(answer)
        })
        .await
    }

    /// Reads from the start of `range`, whose end may lie beyond the body's. `None` at the body's end.
    pub(crate) fn poll_read(
        &mut self,
        range: &Range<u64>,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.fill.state.lock();
        let State { phase: Phase::Flowing(flow), participants, task, .. } = &mut *state else {
            return Poll::Ready(Some(Err(BodyError::new(BodyErrorKind::Aborted))));
        };
        let seat = &mut participants[self.seat];
        let before = seat.position.replace(range.start);
        if range.start < flow.body.start() {
            return Poll::Ready(Some(Err(BodyError::new(BodyErrorKind::TooSlow))));
        }
        let run = flow.body.run(range);
        let read = if !run.is_empty() {
            seat.position = Some(range.start + run.len() as u64);
            Poll::Ready(Some(Ok(run)))
        } else {
            match &flow.end {
                Some(Ok(())) => Poll::Ready(None),
                Some(Err(error)) => Poll::Ready(Some(Err(error.clone()))),
                None => {
                    set_waker(&mut seat.waker, cx);
                    Poll::Pending
                }
            }
        };
        // Who begins beyond what has come is waited for as much as who has read it.
        let waker = if flow.window.is_some() && seat.position != before { task.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        read
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.fill.state.lock();
            state.participants.remove(self.seat);
            // The task looks whether anybody is left, and whether the slowest or fastest reader is another now.
            state.task.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
