//! Joining against invalidating.

use super::play;
use super::stage::{Stage, ended, path, tag};
use crate::invalidation::Scope;
use crate::lookup::Use;

/// 1. A viewer leads a fill, which reads the origin.
/// 2. The origin changes, and a purge puts its rule in force and returns.
/// 3. Two viewers ask, one of them perhaps before 2. The fill of 1 is there to be joined, perhaps with its head, perhaps
///    about to end.
/// 4. Who asked after 2 gets the origin's new answer, and the origin is asked for it once: they share the fill that takes
///    the other's place, and the other's end does not take it away.
#[test]
fn who_asks_after_a_purge_does_not_join_a_fill_from_before() {
    play(|| purge_against_joins(path()));
    play(|| purge_against_joins(tag()));
}

fn purge_against_joins(scope: Scope) {
    let stage = Stage::new();
    let early = stage.thread(|stage| stage.ask());
    let between = stage.thread(|stage| stage.ask());
    stage.change_and_purge(scope);
    assert_eq!(stage.ask(), 1);
    ended(early);
    ended(between);
    assert_eq!(stage.asked_since(1), 1, "fills that began after the purge");
    // Nothing new was lost.
    assert_eq!(stage.look(), Some((1, Use::Fresh)));
    stage.is_quiet();
}

/// The same with a soft rule, where the fill of 1 is one that looks again and finds an object after all.
#[test]
fn who_asks_after_a_soft_invalidation_does_not_join_what_was_found_before() {
    play(|| {
        let stage = Stage::new();
        let early = [(), ()].map(|()| stage.thread(|stage| stage.ask()));
        stage.change_and_purge_softly();
        assert_eq!(stage.ask(), 1);
        for early in early {
            ended(early);
        }
        assert_eq!(stage.look(), Some((1, Use::Fresh)));
        stage.is_quiet();
    });
}
