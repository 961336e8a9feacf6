//! What became of an invalidation on every edge: [`BusReceipt`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::invalidator::Shared;
use super::{BusError, Incarnation, Position, Report, Roll};
use crate::invalidation::InvalidationState;

/// What became of an invalidation on the edges that follow a log.
///
/// It knows what the log's roll says, so asking it asks the log.
#[derive(Clone)]
pub struct BusReceipt {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
    pub(super) reference: Option<Arc<str>>,
    pub(super) created: SystemTime,
    pub(super) position: watch::Receiver<Option<Position>>,
}

/// How far an edge has got with an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeState {
    /// It has not answered for longer than it may. If it [serves on without contact](super::WithoutContact::Serve) it may
    /// serve what was cleared; else it uses nothing stored without the origin's word.
    Silent,
    /// It has not come to it.
    Pending,
    /// In force.
    Applied,
    /// In force, and nothing it is about is left in memory.
    Swept,
}

/// An edge, and how far it has got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EdgeProgress {
    /// Names this run of the edge.
    pub id: String,
    /// The edge's name.
    pub name: String,
    /// How far it has got.
    pub state: EdgeState,
    /// How long ago it last reported.
    pub heard: Duration,
}

/// Looks at the roll grow further apart between these.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(250);

impl BusReceipt {
    /// What tells the invalidation from every other.
    pub fn id(&self) -> String {
        shown(self.id)
    }

    /// The caller's reference.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// When it was made.
    pub fn created(&self) -> SystemTime {
        self.created
    }

    /// Where it stands in the log. `None` as long as it waits for the log to come back.
    pub fn position(&self) -> Option<Position> {
        *self.position.borrow()
    }

    /// How far each edge has got now.
    ///
    /// # Errors
    /// If the log cannot be reached.
    pub async fn edges(&self) -> Result<Vec<EdgeProgress>, BusError> {
        let roll = self.shared.roll().await?;
        Ok(self.judge(&roll))
    }

    /// Whether every edge that lives has applied and swept it by now, and how far each has got.
    ///
    /// # Errors
    /// If the log cannot be reached.
    pub async fn state(&self) -> Result<(InvalidationState, Vec<EdgeProgress>), BusError> {
        let roll = self.shared.roll().await?;
        let edges = self.judge(&roll);
        let state = match self.position().is_some() && self.have_all(EdgeState::Swept, &roll, &edges) {
            true => InvalidationState::Completed,
            false => InvalidationState::InProgress,
        };
        Ok((state, edges))
    }

    /// Waits until it is in force on every edge that lives, and names the edges. Bound it with a time-out.
    ///
    /// # Errors
    /// If the log cannot be reached for longer than an edge may be silent.
    pub async fn applied(&self) -> Result<Vec<EdgeProgress>, BusError> {
        self.until(EdgeState::Applied).await
    }

    /// Waits until every edge that lives has applied and swept it, and names the edges, with those that are silent. Bound it
    /// with a time-out.
    ///
    /// # Errors
    /// If the log cannot be reached for longer than an edge may be silent.
    pub async fn completed(&self) -> Result<Vec<EdgeProgress>, BusError> {
        self.until(EdgeState::Swept).await
    }

    async fn until(&self, state: EdgeState) -> Result<Vec<EdgeProgress>, BusError> {
        // Without its sender nobody will append it: the invalidator is gone.
        let mut position = self.position.clone();
        if position.wait_for(Option::is_some).await.is_err() {
            return Err(BusError::unreachable(
                "the invalidation was still queued when its invalidator was dropped",
            ));
        }
        let mut failing = Duration::ZERO;
        let mut wait = FIRST_LOOK;
        loop {
            match self.shared.roll().await {
                Ok(roll) => {
                    failing = Duration::ZERO;
                    let edges = self.judge(&roll);
                    if self.have_all(state, &roll, &edges) {
                        return Ok(edges);
                    }
                }
                Err(error) if failing >= self.shared.silence => return Err(error),
                Err(_) => failing += wait,
            }
            sleep(wait).await;
            wait = (wait * 3 / 2).min(LONGEST_WAIT);
        }
    }

    /// Whether every edge has got there, but for those that are silent for certain.
    fn have_all(&self, state: EdgeState, roll: &Roll, edges: &[EdgeProgress]) -> bool {
        let has = |edge: &EdgeProgress| match edge.state {
            EdgeState::Silent => self.shared.silences.lock().is_certain(edge, self.shared.silence),
            reached => reached >= state,
        };
        // On a new log, edges that nobody knows of may trust themselves as long as those that it knows.
        let trusts_for = roll.members.iter().filter_map(|(report, _)| report.trusts_for).max();
        roll.age >= self.shared.silence.max(trusts_for.unwrap_or_default()) && edges.iter().all(has)
    }

    fn judge(&self, roll: &Roll) -> Vec<EdgeProgress> {
        let later = self.position().map(|position| self.shared.seen.lock().later_than(position.incarnation));
        let judge = |(report, heard): &(Report, Duration)| {
            let has = |at: Option<Position>| match (at, self.position(), &later) {
                (Some(at), Some(position), Some(later)) => {
                    at.has_reached(&position) || later.contains(&at.incarnation)
                }
                _ => false,
            };
            let state = match (has(report.swept), has(report.applied)) {
                (true, true) => EdgeState::Swept,
                _ if is_silent(report, *heard, self.shared.silence) => EdgeState::Silent,
                (_, true) => EdgeState::Applied,
                _ => EdgeState::Pending,
            };
            EdgeProgress { id: report.id.clone(), name: report.name.clone(), state, heard: *heard }
        };
        roll.members.iter().map(judge).collect()
    }
}

/// The id of a receipt.
pub(super) fn shown(id: u64) -> String {
    format!("D{id:016X}")
}

impl fmt::Debug for BusReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BusReceipt");
        shown.field("id", &self.id()).field("position", &self.position()).finish_non_exhaustive()
    }
}

/// Until then an edge may use what it has stored.
fn is_silent(report: &Report, heard: Duration, silence: Duration) -> bool {
    heard > silence.max(report.trusts_for.unwrap_or_default())
}

/// Edges that were silent when the roll was last looked at, and since when they have been found so.
///
/// An edge can seem silent because the log was away, and everybody with it. So it has to have been silent while somebody
/// here could look: for that long again.
#[derive(Debug, Default)]
pub(super) struct Silences(HashMap<String, Instant>);

impl Silences {
    pub(super) fn note(&mut self, roll: &Roll, silence: Duration) {
        let now = Instant::now();
        let silent = roll.members.iter().filter(|(report, heard)| is_silent(report, *heard, silence));
        let still = silent.map(|(report, heard)| {
            let known = self.0.get(&report.id).copied();
            // If it has spoken since, its silence begins anew.
            let since = known.filter(|since| now.duration_since(*since) <= *heard).unwrap_or(now);
            (report.id.clone(), since)
        });
        self.0 = still.collect();
    }

    fn is_certain(&self, edge: &EdgeProgress, silence: Duration) -> bool {
        self.0.get(&edge.id).is_some_and(|since| since.elapsed() >= silence)
    }
}

/// The incarnations of a log in the order in which they came to be known here.
///
/// An edge that is in a later one than an invalidation was made in has, on its way there, treated everything it held as
/// invalidated. Of an edge in an earlier one, or one that is not known here, that cannot be said.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<Incarnation>);

/// More would have to come while somebody waits for a receipt of before.
const MAX_SEEN: usize = 64;

impl Seen {
    pub(super) fn note(&mut self, incarnation: Incarnation) {
        if !self.0.contains(&incarnation) {
            if self.0.len() == MAX_SEEN {
                self.0.remove(0);
            }
            self.0.push(incarnation);
        }
    }

    fn later_than(&self, incarnation: Incarnation) -> Vec<Incarnation> {
        let at = self.0.iter().position(|seen| *seen == incarnation);
        at.map_or_else(Vec::new, |at| self.0[at + 1..].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(5);

    fn roll(heard: Duration) -> Roll {
        let report = Report {
            id: "a/1".into(),
            name: "a".into(),
            applied: None,
            swept: None,
            is_draining: false,
            trusts_for: None,
        };
        Roll { incarnation: Incarnation(1), age: Duration::MAX, members: vec![(report, heard)] }
    }

    #[test]
    fn what_came_later_is_known_by_what_was_seen_before_it() {
        let mut seen = Seen::default();
        for incarnation in [1, 2, 1, 3, 2] {
            seen.note(Incarnation(incarnation));
        }
        for (incarnation, later) in [(1, vec![2, 3]), (2, vec![3]), (3, vec![]), (4, vec![])] {
            let later: Vec<_> = later.into_iter().map(Incarnation).collect();
            assert_eq!(seen.later_than(Incarnation(incarnation)), later, "{incarnation}");
        }
        for n in 0..MAX_SEEN as u64 {
            seen.note(Incarnation(10 + n));
        }
        assert_eq!(seen.0.len(), MAX_SEEN);
        assert!(seen.later_than(Incarnation(1)).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_certain_when_somebody_has_listened_for_as_long() {
        let mut silences = Silences::default();
        let edge =
            EdgeProgress { id: "a/1".into(), name: "a".into(), state: EdgeState::Silent, heard: SILENCE };
        silences.note(&roll(SILENCE), SILENCE);
        assert!(silences.0.is_empty(), "just not");
        silences.note(&roll(SILENCE * 2), SILENCE);
        assert!(!silences.is_certain(&edge, SILENCE), "the log may have been away as long");
        tokio::time::advance(SILENCE).await;
        silences.note(&roll(SILENCE * 3), SILENCE);
        assert!(silences.is_certain(&edge, SILENCE));
        // It has spoken between two looks, and is silent again.
        tokio::time::advance(SILENCE * 4).await;
        silences.note(&roll(SILENCE * 2), SILENCE);
        assert!(!silences.is_certain(&edge, SILENCE));
        silences.note(&roll(Duration::ZERO), SILENCE);
        assert!(silences.0.is_empty());
    }
}
