//! Leaders that go away against those who follow them.

use shuttle::future::block_on;

use super::play;
use super::stage::{Stage, ended, read};
use crate::fill::{Answer, Lead, Turn};
use crate::lookup::Use;

fn lead(stage: &Stage) -> Lead {
    match stage.edge().fills.join_or_lead(stage.key(), &Default::default()) {
        Turn::Lead(lead) => lead,
        turn => panic!("{turn:?}"),
    }
}

/// 1. A leader goes away without an answer.
/// 2. Two viewers come: they follow it, and are told, or find it gone.
/// 3. One of them leads, and the other follows that one or finds its answer. Nobody waits for ever.
#[test]
fn who_follows_a_leader_that_goes_away_has_an_answer_all_the_same() {
    play(|| {
        let stage = Stage::new();
        let lead = lead(&stage);
        let viewers = [(), ()].map(|()| stage.thread(|stage| stage.ask()));
        drop(lead);
        for viewer in viewers {
            assert_eq!(ended(viewer), 0);
        }
        assert_eq!(stage.asked_since(0), 1, "fills that asked the origin");
        assert_eq!(stage.look(), Some((0, Use::Fresh)));
        stage.is_quiet();
    });
}

/// 1. The origin does not answer.
/// 2. The viewer who led leaves, and so does one who joined, if he came in time.
/// 3. The exchange ends when nobody is left to wait for it: nothing runs for nobody.
#[test]
fn a_fill_ends_when_its_last_viewer_leaves() {
    play(|| {
        let stage = Stage::new();
        stage.origin().hang();
        let lead = lead(&stage);
        let viewer = lead.participate();
        let exchange = stage.thread(|stage| stage.exchange(lead));
        let joins = stage.thread(|stage| drop(stage.edge().fills.join(stage.key(), &Default::default())));
        drop(viewer);
        ended(joins);
        ended(exchange);
        stage.is_quiet();
    });
}

/// 1. A viewer leads, and leaves while the answer comes.
/// 2. Another joins: in time to keep the exchange going, or too late.
/// 3. Either has all of the answer or none, and who has none gets it from the next fill.
#[test]
fn who_joins_as_the_leader_leaves_has_all_of_the_answer() {
    play(|| {
        let stage = Stage::new();
        let lead = lead(&stage);
        let viewer = lead.participate();
        let exchange = stage.thread(|stage| stage.exchange(lead));
        let joins = stage.thread(|stage| stage.ask());
        drop(viewer);
        assert_eq!(ended(joins), 0);
        ended(exchange);
        assert_eq!(stage.look(), Some((0, Use::Fresh)));
        stage.is_quiet();
    });
}

/// 1. Two viewers follow the same fill.
/// 2. Its head comes, while they are about to wait, wait, or have been told. The body does not.
/// 3. Both have the head. When they leave, the fill ends.
#[test]
fn nobody_who_follows_misses_the_head() {
    play(|| {
        let stage = Stage::new();
        stage.origin().stall();
        let lead = lead(&stage);
        let viewers = [lead.participate(), lead.participate()];
        let viewers = viewers.map(|viewer| stage.thread(move |_| block_on(viewer.answer())));
        stage.exchange(lead);
        for viewer in viewers {
            assert!(matches!(ended(viewer), Answer::Flowing { .. }));
        }
        stage.is_quiet();
    });
}

/// 1. Two viewers follow the same fill.
/// 2. It answers, while they are about to read on, wait, or have been told.
/// 3. Both read all of the answer.
#[test]
fn nobody_who_follows_misses_the_end() {
    play(|| {
        let stage = Stage::new();
        let lead = lead(&stage);
        let viewers = [lead.participate(), lead.participate()];
        let reads = viewers.map(|viewer| stage.thread(move |_| read(viewer)));
        stage.exchange(lead);
        for read in reads {
            assert_eq!(ended(read), Some(0));
        }
        stage.is_quiet();
    });
}
