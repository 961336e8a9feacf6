//! Writing through the edge against fills.

use http::Method;

use super::play;
use super::stage::{Stage, ended};
use crate::invalidation::Subject;
use crate::lookup::Use;

/// 1. A fill reads the origin.
/// 2. A write changes the origin, whose answer comes back through the edge.
/// 3. The fill publishes, before 2 ends or after. Others begin meanwhile, and read what is old or new.
/// 4. The one who wrote, and whoever asks after that, sees what was written, and it stays.
#[test]
fn who_has_written_does_not_read_what_was_before() {
    play(|| write_against_fills(false));
}

/// The same where the origin does what it is told and then breaks off: it may have happened.
#[test]
fn who_may_have_written_does_not_read_what_was_before() {
    play(|| write_against_fills(true));
}

fn write_against_fills(breaks_off: bool) {
    let stage = Stage::new();
    if breaks_off {
        stage.origin().break_off();
    }
    let before = stage.thread(|stage| stage.ask());
    let around = stage.thread(|stage| stage.ask());
    stage.write(Method::PUT);
    assert_eq!(stage.ask(), 1);
    ended(before);
    ended(around);
    assert_eq!(stage.asked_since(1), 1, "fills that began after the write");
    assert_eq!(stage.look(), Some((1, Use::Fresh)));
    stage.is_quiet();
}

/// Two writes overlap each other and a fill: what is read after both is the last.
#[test]
fn what_is_read_after_two_writes_is_the_last() {
    play(|| {
        let stage = Stage::new();
        let fill = stage.thread(|stage| stage.ask());
        let other = stage.thread(|stage| stage.write(Method::DELETE));
        stage.write(Method::PUT);
        stage.ask();
        ended(other);
        assert_eq!(stage.ask(), 2);
        ended(fill);
        assert_eq!(stage.look(), Some((2, Use::Fresh)));
        stage.is_quiet();
    });
}

/// 1. Two writes reach the origin, in one order.
/// 2. Their answers, each of which may be stored, come back in the same or the other.
/// 3. Whichever is kept is the last: if they overlapped, neither is.
#[test]
fn what_a_write_stores_is_kept_only_if_it_was_alone() {
    play(|| {
        let stage = Stage::new();
        let writers = [(), ()].map(|()| stage.thread(|stage| stage.write_and_keep()));
        let kept = writers.map(ended);
        for (version, stamp) in kept.iter().flatten() {
            let subject = Subject { key: stage.key().as_bytes(), labels: Some(&[]), stamp };
            assert!(*version == stage.origin().version() || !stage.edge().log.is_current(subject));
        }
    });
}
