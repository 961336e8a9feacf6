//! Whether a member is worth asking, as its answers so far tell: [`Health`].
//!
//! ```text
//!            as many failures within the window as the policy says
//! Closed ───────────────────────────────────────────────────────────→ Open
//!    ↑                                                                 │ the back-off is over, and somebody asks
//!    └──── a good head ──── Probing ←──────────────────────────────────┘
//!                              └──── a failure: Open, and a longer back-off
//! ```
//!
//! A member closed by a probe is on probation: the next failure opens it again, and the back-off goes on growing, until
//! an answer has ended well.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::Mutex;

/// When a member of a [`Group`](super::Group) is skipped, and when it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// So many failures, with no answer that ended well between them, and the member is skipped. 3 by default; with 0 no
    /// member ever is.
    pub failures: u8,
    /// Failures longer ago than this do not count. 30 s by default.
    pub window: Duration,
    /// How long a member is skipped at first. Each time it fails its probe this doubles. 1 s by default.
    pub back_off: Duration,
    /// It doubles no further than this. A minute by default.
    pub longest_back_off: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            failures: 3,
            window: Duration::from_secs(30),
            back_off: Duration::from_secs(1),
            longest_back_off: Duration::from_secs(60),
        }
    }
}

/// Whether a member is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberState {
    /// It is asked.
    Closed,
    /// It failed, and is skipped for a while.
    Open {
        /// Until it is probed. Zero when the next request does that.
        retry_after: Duration,
    },
    /// One request finds out whether it is well again; the others skip it.
    Probing,
}

/// What is known of one member.
#[derive(Debug)]
pub(super) struct Health {
    policy: HealthPolicy,
    jitter: foldhash::quality::RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    circuit: Circuit,
    /// When it failed of late; no longer than `policy.failures`.
    failures: VecDeque<Instant>,
    /// How often it opened, ever. What was asked before it opened last tells nothing about now.
    generation: u64,
    /// How often it opened since an answer ended well.
    in_a_row: u32,
    answered: u64,
    failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed,
    Open { until: Instant },
    Probing { since: Instant },
}

impl Health {
    pub(super) fn new(policy: HealthPolicy) -> Self {
        let state = State {
            circuit: Circuit::Closed,
            failures: VecDeque::new(),
            generation: 0,
            in_a_row: 0,
            answered: 0,
            failed: 0,
        };
        Self { policy, jitter: foldhash::quality::RandomState::default(), state: Mutex::new(state) }
    }

    /// Leave to ask the member, unless it is to be skipped. Of those who ask when its back-off is over, one gets leave.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Ticket> {
        let mut state = self.state.lock();
        let probe = match state.circuit {
            Circuit::Closed => false,
            Circuit::Open { until } if until <= Instant::now() => {
                state.circuit = Circuit::Probing { since: until };
                true
            }
            Circuit::Open { .. } | Circuit::Probing { .. } => return None,
        };
        Some(Ticket { health: Arc::clone(self), generation: state.generation, probe })
    }

    /// Leave to ask the member in any case, for who has nobody else to ask.
    pub(super) fn admit_anyway(self: &Arc<Self>) -> Ticket {
        let generation = self.state.lock().generation;
        Ticket { health: Arc::clone(self), generation, probe: false }
    }

    /// When the member may be asked again; in the past if it may.
    pub(super) fn retry_at(&self) -> Instant {
        match self.state.lock().circuit {
            Circuit::Closed => Instant::now(),
            Circuit::Open { until } => until,
            Circuit::Probing { since } => since,
        }
    }

    /// The member's state, and how often it answered and failed.
    pub(super) fn snapshot(&self) -> (MemberState, u64, u64) {
        let state = self.state.lock();
        let circuit = match state.circuit {
            Circuit::Closed => MemberState::Closed,
            Circuit::Open { until } => {
                MemberState::Open { retry_after: until.saturating_duration_since(Instant::now()) }
            }
            Circuit::Probing { .. } => MemberState::Probing,
        };
        (circuit, state.answered, state.failed)
    }

    fn failed(&self, ticket: &Ticket) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.failed += 1;
        if ticket.generation != state.generation {
            return;
        }
        match state.circuit {
            Circuit::Closed if self.policy.failures > 0 => {
                state.failures.push_back(now);
                state.failures.retain(|failure| now.duration_since(*failure) <= self.policy.window);
                if state.failures.len() >= usize::from(self.policy.failures) {
                    self.open(&mut state, now);
                }
            }
            Circuit::Probing { .. } if ticket.probe => self.open(&mut state, now),
            // Who asked anyway has found out nothing new.
            Circuit::Closed | Circuit::Open { .. } | Circuit::Probing { .. } => {}
        }
    }

    fn open(&self, state: &mut State, now: Instant) {
        let doubled = 2_u32.saturating_pow(state.in_a_row);
        let back_off = self.policy.back_off.saturating_mul(doubled).min(self.policy.longest_back_off);
        state.generation += 1;
        state.in_a_row = state.in_a_row.saturating_add(1);
        state.failures.clear();
        // Between half of it and all of it, lest everybody who lost the same member probes it at the same moment.
        let part = 500 + (self.jitter.hash_one(state.generation) % 501) as u32;
        state.circuit = Circuit::Open { until: now + back_off / 1000 * part };
    }

    /// A head came that is no failure. Whoever asked and why, it shows that the member is there.
    fn answered(&self, ticket: &Ticket) {
        let mut state = self.state.lock();
        state.answered += 1;
        if ticket.generation != state.generation || state.circuit == Circuit::Closed {
            return;
        }
        let now = Instant::now();
        state.circuit = Circuit::Closed;
        state.failures.extend((1..self.policy.failures).map(|_| now));
    }

    fn ended(&self, ticket: &Ticket) {
        let mut state = self.state.lock();
        if ticket.generation == state.generation && state.circuit == Circuit::Closed {
            state.failures.clear();
            state.in_a_row = 0;
        }
    }

    /// The probe was given up, and found out nothing: the next who asks probes.
    fn given_up(&self, ticket: &Ticket) {
        let mut state = self.state.lock();
        if ticket.generation == state.generation
            && let Circuit::Probing { since } = state.circuit
        {
            state.circuit = Circuit::Open { until: since };
        }
    }
}

/// Leave to ask a member, once. Dropped without a word (the viewer left), it says nothing about the member.
#[derive(Debug)]
pub(super) struct Ticket {
    health: Arc<Health>,
    generation: u64,
    probe: bool,
}

impl Ticket {
    /// No answer came, a bad one, or one that broke off.
    pub(super) fn failed(mut self) {
        self.health.failed(&self);
        self.probe = false;
    }

    /// A head came that is no failure. Its body is still to be read.
    pub(super) fn answered(&mut self) {
        self.health.answered(self);
        self.probe = false;
    }

    /// The body ended as it should.
    pub(super) fn ended(self) {
        self.health.ended(&self);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.probe {
            self.health.given_up(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const POLICY: HealthPolicy = HealthPolicy {
        failures: 3,
        window: Duration::from_secs(30),
        back_off: Duration::from_secs(1),
        longest_back_off: Duration::from_secs(10),
    };

    fn health() -> Arc<Health> {
        Arc::new(Health::new(POLICY))
    }

    fn fail(health: &Arc<Health>, times: usize) {
        for _ in 0..times {
            health.admit().expect("it is not skipped").failed();
        }
    }

    fn answer(health: &Arc<Health>) -> Ticket {
        let mut ticket = health.admit().expect("it is not skipped");
        ticket.answered();
        ticket
    }

    fn retry_after(health: &Arc<Health>) -> Duration {
        match health.snapshot().0 {
            MemberState::Open { retry_after } => retry_after,
            state => panic!("it is {state:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it() {
        let health = health();
        fail(&health, 2);
        answer(&health).ended();
        fail(&health, 2);
        // A head alone proves little: its body may break off.
        drop(answer(&health));
        assert!(health.admit().is_some());
        fail(&health, 1);
        assert!(health.admit().is_none());
        assert_eq!(health.snapshot().1, 2);
        assert_eq!(health.snapshot().2, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_long_ago_do_not_count() {
        let health = health();
        fail(&health, 1);
        advance(Duration::from_secs(20)).await;
        fail(&health, 1);
        advance(Duration::from_secs(20)).await;
        fail(&health, 1);
        assert!(health.admit().is_some(), "two of three are within the window");
        fail(&health, 1);
        assert!(health.admit().is_none(), "three are");
    }

    #[tokio::test(start_paused = true)]
    async fn the_back_off_doubles_up_to_its_bound_and_a_good_end_resets_it() {
        let health = health();
        fail(&health, 3);
        for seconds in [1, 2, 4, 8, 10, 10] {
            let longest = Duration::from_secs(seconds);
            let after = retry_after(&health);
            assert!(longest / 2 <= after && after <= longest, "{after:?} {longest:?}");
            advance(after - Duration::from_millis(1)).await;
            assert!(health.admit().is_none());
            advance(Duration::from_millis(1)).await;
            fail(&health, 1);
        }
        advance(Duration::from_secs(10)).await;
        answer(&health).ended();
        fail(&health, 3);
        assert!(retry_after(&health) <= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn back_offs_are_spread() {
        let mut spread: Vec<_> = (0..20)
            .map(|_| {
                let health = health();
                fail(&health, 3);
                retry_after(&health)
            })
            .collect();
        spread.sort_unstable();
        spread.dedup();
        assert!(spread.len() > 10, "{spread:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_probes() {
        let health = health();
        fail(&health, 3);
        advance(POLICY.back_off).await;
        let probe = health.admit().expect("the back-off is over");
        assert!(health.admit().is_none());
        assert_eq!(health.snapshot().0, MemberState::Probing);
        drop(probe);
        let mut probe = health.admit().expect("the first probe was given up");
        assert!(health.admit().is_none());
        probe.answered();
        assert!(health.admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probes_body_that_breaks_off_opens_it_again_for_longer() {
        let health = health();
        fail(&health, 3);
        advance(POLICY.back_off).await;
        answer(&health).failed();
        let after = retry_after(&health);
        assert!(POLICY.back_off <= after && after <= POLICY.back_off * 2, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_it_opened_tells_nothing() {
        let health = health();
        let (mut early, late) = (answer(&health), health.admit().unwrap());
        fail(&health, 3);
        let after = retry_after(&health);
        early.answered();
        early.ended();
        late.failed();
        assert_eq!(retry_after(&health), after);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_anyway_may_close_it_and_does_not_put_its_retry_off() {
        let health = health();
        fail(&health, 3);
        let after = retry_after(&health);
        health.admit_anyway().failed();
        assert_eq!(retry_after(&health), after);
        health.admit_anyway().answered();
        assert_eq!(health.snapshot().0, MemberState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn with_no_number_of_failures_it_stays_closed() {
        let health = Arc::new(Health::new(HealthPolicy { failures: 0, ..POLICY }));
        fail(&health, 100);
        assert_eq!(health.snapshot().0, MemberState::Closed);
    }
}
