//! The bytes of an object in slices, one slice after the other: [`Sliced`].

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::{Missed, Piece, Slicing};
use crate::error::{BodyError, BodyErrorKind};

/// How often a slice is got once more, when what came of it broke off.
const RESUMES: u8 = 2;

/// What one reader of an object in slices holds: the slice it reads, and those fetched ahead of it.
pub(crate) struct Sliced(Mutex<Reading>);

struct Reading {
    slicing: Arc<Slicing>,
    here: Option<(u64, Piece)>,
    /// The slice that is waited for.
    coming: Option<(u64, Coming)>,
    /// It was asked for when it was needed, and not ahead.
    is_needed: bool,
    ahead: VecDeque<(u64, Ahead)>,
    /// Which slice was got last, and how often it may be got once more.
    resumes: (u64, u8),
}

type Coming = Pin<Box<dyn Future<Output = Result<Piece, Missed>> + Send>>;

enum Ahead {
    Coming(Coming),
    Come(Result<Piece, Missed>),
}

impl Sliced {
    pub(crate) fn new(slicing: Slicing) -> Self {
        Self(Mutex::new(Reading {
            slicing: Arc::new(slicing),
            here: None,
            coming: None,
            is_needed: true,
            ahead: VecDeque::new(),
            resumes: (0, RESUMES),
        }))
    }

    /// Waits for the beginning of the slice with the byte `at`.
    pub(crate) fn poll_ready(&mut self, at: u64, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let reading = self.reading();
        let runtime = reading.slicing.runtime.clone();
        let _inside = runtime.enter();
        reading.poll_slice(at / reading.size(), cx).map_err(Into::into)
    }

    /// The longest run of bytes at hand from the start of `range`.
    pub(crate) fn poll_run(
        &mut self,
        range: &Range<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let reading = self.reading();
        // Whoever reads a body need not do so in the runtime.
        let runtime = reading.slicing.runtime.clone();
        let _inside = runtime.enter();
        reading.poll_run(range, cx)
    }

    fn reading(&mut self) -> &mut Reading {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn size(&self) -> u64 {
        self.slicing.stored.generation().map_or(u64::MAX, |generation| generation.size)
    }

    fn poll_run(
        &mut self,
        range: &Range<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let index = range.start / self.size();
        let slice = self.slicing.stored.slice(index);
        let here = range.start..range.end.min(slice.end);
        loop {
            if let Err(missed) = ready!(self.poll_slice(index, cx)) {
                return Poll::Ready(Some(Err(missed.into())));
            }
            self.poll_ahead(index, range.end, cx);
            let ended = match &mut self.here {
                Some((_, Piece::Stored(stored))) => match stored.run(&here) {
                    run if run.is_empty() => BodyError::new(BodyErrorKind::Length),
                    run => return Poll::Ready(Some(Ok(run))),
                },
                Some((_, Piece::Fill(participant))) => match ready!(participant.poll_read(&here, cx)) {
                    Some(Ok(run)) => return Poll::Ready(Some(Ok(run))),
                    Some(Err(error)) => error,
                    None => BodyError::new(BodyErrorKind::Length),
                },
                None => BodyError::new(BodyErrorKind::Aborted),
            };
            // Its validator says that what another exchange brings are the same bytes.
            self.here = None;
            match self.resumes.1.checked_sub(1) {
                Some(left) => self.resumes.1 = left,
                None => return Poll::Ready(Some(Err(ended))),
            }
        }
    }

    /// Gets a slice, and lets go of the one before when it is there.
    fn poll_slice(&mut self, index: u64, cx: &mut Context<'_>) -> Poll<Result<(), Missed>> {
        if self.here.as_ref().is_some_and(|(here, _)| *here == index) {
            return Poll::Ready(Ok(()));
        }
        while self.ahead.front().is_some_and(|(ahead, _)| *ahead < index) {
            self.ahead.pop_front();
        }
        if self.coming.as_ref().is_none_or(|(coming, _)| *coming != index) {
            let coming = match self.ahead.pop_front() {
                Some((ahead, Ahead::Come(Ok(piece)))) if ahead == index => return self.arrive(index, piece),
                Some((ahead, Ahead::Come(Err(Missed::Changed)))) if ahead == index => {
                    return Poll::Ready(Err(Missed::Changed));
                }
                // It has its seat: a slice that nobody holds may be evicted before it is asked for again.
                Some((ahead, Ahead::Coming(coming))) if ahead == index => {
                    self.is_needed = false;
                    coming
                }
                Some((ahead, _)) if ahead == index => self.fetch(index),
                other => {
                    if let Some(other) = other {
                        self.ahead.push_front(other);
                    }
                    self.fetch(index)
                }
            };
            self.coming = Some((index, coming));
        }
        let Some((_, coming)) = &mut self.coming else { return Poll::Ready(Err(Missed::Failed)) };
        let mut come = ready!(coming.as_mut().poll(cx));
        if !std::mem::replace(&mut self.is_needed, true) && matches!(come, Err(Missed::Failed | Missed::Busy))
        {
            // What was fetched ahead of need had less right to a fill, and less patience.
            let mut coming = self.fetch(index);
            let polled = coming.as_mut().poll(cx);
            self.coming = Some((index, coming));
            come = ready!(polled);
        }
        self.coming = None;
        match come {
            Ok(piece) => self.arrive(index, piece),
            Err(missed) => Poll::Ready(Err(missed)),
        }
    }

    fn fetch(&mut self, index: u64) -> Coming {
        self.is_needed = true;
        Box::pin(Arc::clone(&self.slicing).fetch(index, true))
    }

    fn arrive(&mut self, index: u64, piece: Piece) -> Poll<Result<(), Missed>> {
        self.here = Some((index, piece));
        if self.resumes.0 != index {
            self.resumes = (index, RESUMES);
        }
        Poll::Ready(Ok(()))
    }

    /// Fetches the slices that follow, as far as the range goes.
    fn poll_ahead(&mut self, index: u64, end: u64, cx: &mut Context<'_>) {
        let read_ahead = self.slicing.policy.slices.map_or(0, |slices| slices.read_ahead);
        let mut next = self.ahead.back().map_or(index, |(ahead, _)| *ahead) + 1;
        while self.ahead.len() < read_ahead && self.slicing.stored.slice(next).start < end {
            let coming = Box::pin(Arc::clone(&self.slicing).fetch(next, false));
            self.ahead.push_back((next, Ahead::Coming(coming)));
            next += 1;
        }
        for (_, ahead) in &mut self.ahead {
            if let Ahead::Coming(coming) = ahead
                && let Poll::Ready(come) = coming.as_mut().poll(cx)
            {
                *ahead = Ahead::Come(come);
            }
        }
    }
}

impl fmt::Debug for Sliced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sliced").finish_non_exhaustive()
    }
}
