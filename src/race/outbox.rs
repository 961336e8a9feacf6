//! Telling other edges of a write against fills that ask them.

use shuttle::future::block_on;

use super::play;
use super::stage::{Stage, ended, path};
use crate::sync::atomic::{AtomicBool, Ordering};

/// 1. A write opens the outbox, puts in its rule, puts it in force, and shuts the outbox.
/// 2. The follower takes the rule out, which by then is in force, has the log come to it, and empties the outbox.
/// 3. A fill that is as of the rule finds it in the outbox, or that the log has come to it.
#[test]
fn a_fill_that_goes_by_the_rule_of_a_write_knows_what_other_edges_may_not() {
    play(|| {
        let stage = Stage::new();
        stage.edge().outbox.follow(true);
        let begun = std::sync::Arc::new(AtomicBool::new(false));
        let begins = std::sync::Arc::clone(&begun);
        let write = stage.thread(|stage| stage.edge().invalidate([path()]));
        let follower = stage.thread(move |stage| {
            let outbox = &stage.edge().outbox;
            assert_eq!(block_on(outbox.next(1)), [path()]);
            assert_eq!(stage.edge().log.head(), 1, "told and not in force");
            begins.store(true, Ordering::SeqCst);
            outbox.arrives(1);
        });
        let fill = stage.edge().log.register();
        if fill.as_of() == 1 {
            let concerns = stage.edge().outbox.concerns(|| Some([path(), path()]));
            assert!(concerns || begun.load(Ordering::SeqCst), "asked for what may be old");
        }
        drop(fill);
        ended(write);
        ended(follower);
        assert!(!stage.edge().outbox.concerns(|| None));
    });
}
