//! What a follower does with what it has read: the rule, which neither waits nor acts.

use super::{Incarnation, Position, Read, Record, RecordError};

/// Why a follower treated everything its edge held as invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reset {
    /// It had no position yet: the edge may hold what was cleared before.
    First,
    /// The log is in another incarnation: its server lost its data, was started anew, or is another.
    OtherLog,
    /// The log ends before the edge's position: it lost what the edge has already applied, and perhaps more. The log is
    /// given another incarnation then, so this is seen as [`OtherLog`](Self::OtherLog).
    WentBack,
    /// Records that the edge has not seen are gone.
    Gap,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Invalidate everything, then go on from `to`. If `renew`, the log has to be given another incarnation first, and
    /// nothing is done before it has one.
    Reset { why: Reset, to: Position, renew: bool },
    /// Apply these in order, one number after the other. None if there is nothing new.
    Apply(Vec<(Position, Result<Record, RecordError>)>),
}

/// Incarnations that a follower has been in and left, newest last.
#[derive(Debug, Default)]
pub(super) struct Left(Vec<Incarnation>);

/// More would have to come in turn before one is taken for new again.
const MAX_LEFT: usize = 64;

impl Left {
    pub(super) fn add(&mut self, incarnation: Incarnation) {
        self.0.retain(|left| *left != incarnation);
        if self.0.len() == MAX_LEFT {
            self.0.remove(0);
        }
        self.0.push(incarnation);
    }

    fn has(&self, incarnation: Incarnation) -> bool {
        self.0.contains(&incarnation)
    }
}

/// Decides by what the follower `had` and what it has read behind that.
pub(super) fn step(had: Option<Position>, left: &Left, read: Read) -> Step {
    let Read { incarnation, head, records } = read;
    let reset = |why| {
        let to = Position { incarnation, number: head };
        // Who had not come as far as a log that went back once was has missed what it lost, and cannot tell.
        let renew = left.has(incarnation) || why == Reset::WentBack;
        Step::Reset { why, to, renew }
    };
    let Some(had) = had else {
        return reset(Reset::First);
    };
    if had.incarnation != incarnation {
        return reset(Reset::OtherLog);
    }
    if head < had.number {
        return reset(Reset::WentBack);
    }
    if records.is_empty() && head > had.number {
        return reset(Reset::Gap);
    }
    let mut number = had.number;
    for (next, _) in &records {
        if number.checked_add(1) != Some(*next) {
            return reset(Reset::Gap);
        }
        number = *next;
    }
    let at = |number| Position { incarnation, number };
    Step::Apply(records.into_iter().map(|(number, record)| (at(number), record)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(incarnation: u64, number: u64) -> Position {
        Position { incarnation: Incarnation(incarnation), number }
    }

    fn read(incarnation: u64, head: u64, numbers: &[u64]) -> Read {
        let records = numbers.iter().map(|number| (*number, Err(RecordError::Corrupt))).collect();
        Read { incarnation: Incarnation(incarnation), head, records }
    }

    #[test]
    fn what_was_missed_is_replayed_and_what_may_be_lost_clears_everything() {
        let left = Left::default();
        for (had, read, expected) in [
            // Nothing new, one after the other, and what came while it was read.
            (Some(at(1, 5)), read(1, 5, &[]), Ok(vec![])),
            (Some(at(1, 0)), read(1, 0, &[]), Ok(vec![])),
            (Some(at(1, 5)), read(1, 7, &[6, 7]), Ok(vec![6, 7])),
            (Some(at(1, 5)), read(1, 9, &[6, 7]), Ok(vec![6, 7])),
            (Some(at(1, 5)), read(1, 5, &[6]), Ok(vec![6])),
            (None, read(1, 0, &[]), Err((Reset::First, at(1, 0)))),
            (None, read(1, 9, &[8, 9]), Err((Reset::First, at(1, 9)))),
            // Another log, whatever its numbers.
            (Some(at(1, 5)), read(2, 5, &[]), Err((Reset::OtherLog, at(2, 5)))),
            (Some(at(1, 5)), read(2, 7, &[6, 7]), Err((Reset::OtherLog, at(2, 7)))),
            (Some(at(1, 5)), read(1, 4, &[]), Err((Reset::WentBack, at(1, 4)))),
            (Some(at(1, 5)), read(1, 0, &[6]), Err((Reset::WentBack, at(1, 0)))),
            // Trimmed: some, and all.
            (Some(at(1, 5)), read(1, 9, &[8, 9]), Err((Reset::Gap, at(1, 9)))),
            (Some(at(1, 5)), read(1, 9, &[]), Err((Reset::Gap, at(1, 9)))),
            (Some(at(1, 5)), read(1, 6, &[]), Err((Reset::Gap, at(1, 6)))),
            (Some(at(1, 5)), read(1, 9, &[6, 8]), Err((Reset::Gap, at(1, 9)))),
            (Some(at(1, 5)), read(1, 9, &[5, 6]), Err((Reset::Gap, at(1, 9)))),
            (Some(at(1, u64::MAX)), read(1, u64::MAX, &[0]), Err((Reset::Gap, at(1, u64::MAX)))),
        ] {
            let shown = format!("{had:?} {read:?}");
            match (step(had, &left, read), expected) {
                (Step::Apply(records), Ok(numbers)) => {
                    let applied: Vec<_> = records.iter().map(|(position, _)| position.number).collect();
                    assert_eq!(applied, numbers, "{shown}");
                }
                (Step::Reset { why, to, renew }, Err(reset)) => {
                    let renews = why == Reset::WentBack;
                    assert_eq!(((why, to), renew), (reset, renews), "{shown}")
                }
                (step, expected) => panic!("{shown}: {step:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_log_that_was_left_for_another_is_not_taken_up_as_it_is() {
        let mut left = Left::default();
        left.add(Incarnation(1));
        let renews =
            |left: &Left, read| matches!(step(Some(at(2, 3)), left, read), Step::Reset { renew: true, .. });
        assert!(renews(&left, read(1, 5, &[])));
        assert!(!renews(&left, read(3, 5, &[])));
        // One that is left again and again takes no more room than one.
        (0..MAX_LEFT).for_each(|_| left.add(Incarnation(4)));
        assert!(renews(&left, read(1, 5, &[])));
        for n in 0..MAX_LEFT as u64 {
            left.add(Incarnation(10 + n));
        }
        assert!(!renews(&left, read(1, 5, &[])), "bounded");
        assert!(renews(&left, read(10, 5, &[])));
    }
}
