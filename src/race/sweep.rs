//! Sweeping, and the retirement of rules, against everything else.

use super::play;
use super::stage::{Stage, ended, other_path, path};
use crate::invalidation::InvalidationState;
use crate::invalidation::sweep::{Seen, claims};
use crate::lookup::Use;

/// 1. A fill reads the origin, and looks at the log.
/// 2. A purge puts its rule in force.
/// 3. A sweep goes through the store, and the receipt says that all is done.
/// 4. The fill puts its answer where the sweep has been.
/// 5. When it has ended, nothing that was purged is left in memory.
#[test]
fn a_sweep_and_an_insertion_leave_nothing_old_between_them() {
    play(|| {
        let stage = Stage::new();
        let fill = stage.thread(|stage| stage.ask());
        let receipt = stage.change_and_purge_for_a_receipt();
        stage.sweep(&mut Seen::default());
        assert_eq!(receipt.state(), InvalidationState::Completed);
        ended(fill);
        assert!(!stage.held().contains(&0), "what was purged is held");
        stage.sweep_out();
        stage.is_quiet();
    });
}

/// 1. A viewer who asks after a purge takes the old object out of the store.
/// 2. The sweep removes it, and the rule retires.
/// 3. The viewer asks the log, which knows no rule about it any more, and must not use it.
#[test]
fn what_was_taken_before_the_sweep_is_not_used_after_the_rule_has_retired() {
    play(|| {
        let stage = Stage::with_stored();
        stage.change_and_purge(path());
        let sweep = stage.thread(|stage| stage.sweep_out());
        let viewer = stage.thread(|stage| stage.look());
        assert_eq!(stage.look(), None);
        assert_eq!(ended(viewer), None);
        ended(sweep);
        assert!(stage.held().is_empty());
        stage.is_quiet();
    });
}

/// 1. A purge of what is stored puts its rule in force.
/// 2. A sweep begins, and ends.
/// 3. Whoever is told by the receipt that all is done finds that it is.
#[test]
fn a_receipt_is_completed_when_nothing_is_left_in_memory() {
    play(|| {
        let stage = Stage::with_stored();
        let sweep = stage.thread(|stage| stage.sweep(&mut Seen::default()));
        let receipt = stage.change_and_purge_for_a_receipt();
        if receipt.state() == InvalidationState::Completed {
            assert!(stage.held().is_empty(), "what was purged is held");
        }
        ended(sweep);
    });
}

/// 1. Fills begin, and end.
/// 2. Rules about something else come, the sweep goes round, and they retire.
/// 3. No rule retires too early for an answer that must be judged by it: that would be lost, since what was last checked
///    before a retired rule is not used.
#[test]
fn rules_about_other_objects_retire_and_nothing_is_lost() {
    play(|| {
        let stage = Stage::new();
        let fill = stage.thread(|stage| {
            stage.ask();
            // Not even for a while.
            assert_eq!(stage.look(), Some((0, Use::Fresh)));
        });
        let sweep = stage.thread(|stage| {
            let mut seen = Seen::default();
            stage.sweep(&mut seen);
            stage.sweep(&mut seen);
        });
        stage.edge().invalidate([other_path()]);
        stage.edge().invalidate([other_path()]);
        ended(fill);
        ended(sweep);
        assert_eq!(stage.look(), Some((0, Use::Fresh)));
        stage.sweep_out();
        assert_eq!(stage.look(), Some((0, Use::Fresh)));
        assert_eq!(stage.asked_since(0), 1);
        stage.is_quiet();
    });
}

/// 1. A sweeper has seen every rule, and is about to stop.
/// 2. Somebody makes a rule, and starts a sweep unless one is running.
/// 3. Either the one of 1 sees the rule, or the one of 2 sees that it has stopped. Never two run, and never is a rule left
///    that nobody sweeps.
#[test]
fn a_rule_that_comes_as_the_sweeper_stops_is_swept() {
    play(|| {
        let stage = Stage::with_stored();
        let operators = [(), ()].map(|()| {
            stage.thread(|stage| {
                stage.change_and_purge(path());
                if claims(stage.edge()) {
                    let mut seen = Seen::default();
                    while !stage.sweep(&mut seen) {
                        shuttle::thread::yield_now();
                    }
                }
            })
        });
        for operator in operators {
            ended(operator);
        }
        assert!(!stage.edge().log.is_pending(), "a rule is left");
        assert!(stage.held().is_empty());
        assert!(claims(stage.edge()), "nobody runs, and it says somebody does");
    });
}
