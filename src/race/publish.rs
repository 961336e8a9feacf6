//! Publishing against invalidating.

use std::time::Duration;

use super::play;
use super::stage::{Stage, ended, other_path, path, tag};
use crate::edge::State;
use crate::fill::Turn;
use crate::invalidation::Scope;
use crate::lookup::Use;

/// 1. A fill reads the origin.
/// 2. The origin changes, and a purge puts its rule in force and returns.
/// 3. The fill looks at the log, publishes, and looks again: any of these before 2 or after.
/// 4. Nobody who asks after 2 finds what was read in 1.
#[test]
fn what_is_published_around_a_purge_is_not_found_after_it() {
    play(|| purge_against_a_fill(path()));
    // The tag is not known before the head has come.
    play(|| purge_against_a_fill(tag()));
}

fn purge_against_a_fill(scope: Scope) {
    let stage = Stage::new();
    let fill = stage.thread(|stage| stage.ask());
    let viewer = stage.thread(|stage| (stage.look(), stage.look()));
    stage.change_and_purge(scope);
    stage.look();
    ended(fill);
    ended(viewer);
    // What is there now, all can use.
    let found = stage.look();
    assert!(matches!(found, None | Some((1, Use::Fresh))), "{found:?}");
    stage.is_quiet();
}

/// 1. A rule about something else waits for its sweep, and so a viewer has the object checked.
/// 2. A purge of the object puts its rule in force and returns.
/// 3. The viewer notes that the object was good, as of before 2.
/// 4. Who asks after 2 has it checked again.
#[test]
fn a_check_under_way_does_not_hide_the_rule_that_comes() {
    play(|| {
        let stage = Stage::with_stored();
        stage.edge().invalidate([other_path()]);
        let viewer = stage.thread(|stage| stage.look());
        stage.change_and_purge(path());
        assert_eq!(stage.look(), None);
        ended(viewer);
        assert_eq!(stage.look(), None);
    });
}

/// 1. A soft rule about an object is put in force, and returns.
/// 2. Two viewers have the object checked: one finds what the other has noted, half of it or all.
/// 3. Neither is told that it is fresh.
#[test]
fn what_one_viewer_notes_of_a_soft_rule_holds_for_the_next() {
    play(|| {
        let stage = Stage::with_stored();
        stage.change_and_purge_softly();
        let viewer = stage.thread(|stage| stage.look());
        stage.look();
        ended(viewer);
        stage.look();
    });
}

/// The same as the first with a soft rule: what was read before it may be found, but not as fresh, not even when the
/// sweep has been and the rule has retired.
#[test]
fn what_is_published_around_a_soft_invalidation_is_not_fresh_after_it() {
    play(|| {
        let stage = Stage::new();
        let fill = stage.thread(|stage| stage.ask());
        let sweep = stage.thread(|stage| stage.sweep(&mut Default::default()));
        stage.change_and_purge_softly();
        stage.look();
        ended(fill);
        ended(sweep);
        stage.look();
        stage.sweep_out();
        stage.look();
        stage.is_quiet();
    });
}

/// 1. Two fills of a key begin, one after the other.
/// 2. They end, in whatever order.
/// 3. What the store has is the answer of the one that began later.
#[test]
fn the_fill_that_began_later_wins_the_store() {
    play(|| {
        let stage = Stage::new();
        let leads = [(), ()].map(|()| stage.edge().fills.lead_alone().expect("room for two fills"));
        let fills = leads.map(|lead| {
            stage.thread(|stage| {
                let _viewer = lead.participate();
                stage.exchange(lead);
            })
        });
        for fill in fills {
            ended(fill);
        }
        let slot = stage.edge().store.get(stage.key()).expect("stored");
        let orders: Vec<_> = slot.variants().iter().map(|stored| stored.head.order).collect();
        assert_eq!(orders, [2]);
        stage.is_quiet();
    });
}

/// 1. A fill reads an answer that is for its viewer only.
/// 2. The origin changes its mind, and the object is purged.
/// 3. The fill notes that nobody need wait for this key.
/// 4. Who asks after 2 does not believe it.
#[test]
fn what_is_noted_of_an_answer_from_before_a_purge_is_not_believed_after_it() {
    play(|| {
        let stage = Stage::new();
        stage.origin().begin_private();
        let fill = stage.thread(|stage| {
            let Turn::Lead(lead) = stage.edge().fills.join_or_lead(stage.key(), &Default::default()) else {
                panic!("nobody else leads");
            };
            let _viewer = lead.participate();
            stage.exchange(lead);
        });
        let sweep = stage.thread(|stage| stage.sweep(&mut Default::default()));
        stage.change_and_purge(path());
        let noted = |stage: &Stage| {
            let State { memos, log, .. } = &***stage.edge();
            memos.look(stage.key(), Duration::ZERO, log)
        };
        assert_eq!(noted(&stage), None);
        ended(fill);
        ended(sweep);
        assert_eq!(noted(&stage), None);
        stage.is_quiet();
    });
}
