//! A copy of what a writer sends, taken while it streams to the origin.

use std::sync::Arc;

use bytes::Bytes;

use super::growing::Growing;
use crate::store::Blocks;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Bounded like a fill: what does not fit is not copied, and the request goes on without.
#[derive(Debug)]
pub(crate) struct Copy {
    state: Mutex<State>,
    /// How long the body says it is.
    promised: Option<u64>,
    max_length: u64,
    /// Bytes held by all fills of the edge together, copies included, and how many these may be.
    in_flight: Arc<AtomicU64>,
    budget: u64,
}

#[derive(Debug, Default)]
struct State {
    body: Growing,
    /// Bytes counted in `in_flight`.
    counted: u64,
    end: End,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    NotYet,
    /// Every byte has come.
    Clean,
    /// It failed, was not as long as it said, or does not fit.
    GivenUp,
}

impl Copy {
    pub(super) fn new(
        promised: Option<u64>,
        max_length: u64,
        in_flight: Arc<AtomicU64>,
        budget: u64,
    ) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), promised, max_length, in_flight, budget })
    }

    /// Adds what goes to the origin now.
    pub(crate) fn push(&self, bytes: Bytes) {
        let mut state = self.state.lock();
        if state.end != End::NotYet {
            // There is no more after the end, or there was none.
            if !bytes.is_empty() {
                self.drop_it(&mut state);
            }
            return;
        }
        state.body.push(bytes);
        let held = state.body.held();
        self.count(&mut state, held);
        let received = state.body.received();
        if self.promised.is_some_and(|promised| received > promised)
            || received > self.max_length
            || self.in_flight.load(Ordering::Relaxed) > self.budget
        {
            self.drop_it(&mut state);
        }
    }

    /// The body has ended cleanly.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        if state.end == End::NotYet {
            if self.promised.is_none_or(|promised| promised == state.body.received()) {
                state.end = End::Clean;
            } else {
                self.drop_it(&mut state);
            }
        }
    }

    /// The body has failed.
    pub(crate) fn give_up(&self) {
        self.drop_it(&mut self.state.lock());
    }

    /// The whole body, if all of it has gone to the origin. Nothing is copied from here on.
    pub(crate) fn take(&self) -> Option<Blocks> {
        let mut state = self.state.lock();
        let blocks = if state.end == End::Clean { state.body.finish() } else { None };
        self.drop_it(&mut state);
        blocks
    }

    fn drop_it(&self, state: &mut State) {
        state.body = Growing::default();
        state.end = End::GivenUp;
        self.count(state, 0);
    }

    fn count(&self, state: &mut State, held: u64) {
        if held >= state.counted {
            self.in_flight.fetch_add(held - state.counted, Ordering::Relaxed);
        } else {
            self.in_flight.fetch_sub(state.counted - held, Ordering::Relaxed);
        }
        state.counted = held;
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(promised: Option<u64>) -> Arc<Copy> {
        Copy::new(promised, 8, Arc::default(), 1_000)
    }

    #[test]
    fn only_a_whole_body_can_be_taken() {
        type Case = (&'static str, Option<u64>, fn(&Copy), Option<u64>);
        let cases: [Case; 10] = [
            ("whole", Some(4), |copy| copy.end(), Some(4)),
            ("of unknown length", None, |copy| copy.end(), Some(4)),
            ("not ended", Some(4), |_| {}, None),
            ("short", Some(5), |copy| copy.end(), None),
            ("long", Some(3), |copy| copy.end(), None),
            ("failed", None, Copy::give_up, None),
            (
                "failed after its end",
                None,
                |copy| {
                    copy.end();
                    copy.give_up();
                },
                None,
            ),
            (
                "longer than its end",
                Some(4),
                |copy| {
                    copy.end();
                    copy.push(Bytes::from_static(b"x"));
                },
                None,
            ),
            (
                "too large",
                None,
                |copy| {
                    copy.push(Bytes::from_static(b"56789"));
                    copy.end();
                },
                None,
            ),
            (
                "taken before",
                None,
                |copy| {
                    copy.end();
                    copy.take();
                },
                None,
            ),
        ];
        for (name, promised, happens, taken) in cases {
            let copy = copy(promised);
            copy.push(Bytes::from_static(b"1234"));
            happens(&copy);
            assert_eq!(copy.take().map(|blocks| blocks.len()), taken, "{name}");
            assert_eq!(copy.in_flight.load(Ordering::Relaxed), 0, "{name}");
        }
    }

    #[test]
    fn what_is_copied_counts_as_bytes_in_flight_and_gives_way() {
        let in_flight = Arc::new(AtomicU64::new(0));
        let copy = Copy::new(None, 1_000, Arc::clone(&in_flight), 500);
        copy.push(Bytes::from(vec![b'x'; 300]));
        assert!(in_flight.load(Ordering::Relaxed) >= 300);
        // Others need the room.
        in_flight.fetch_add(500, Ordering::Relaxed);
        copy.push(Bytes::from_static(b"x"));
        assert_eq!(in_flight.load(Ordering::Relaxed), 500);
        copy.end();
        assert!(copy.take().is_none());

        let dropped = Copy::new(None, 1_000, Arc::clone(&in_flight), 5_000);
        dropped.push(Bytes::from_static(b"x"));
        drop(dropped);
        assert_eq!(in_flight.load(Ordering::Relaxed), 500);
    }
}
