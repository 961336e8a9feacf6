//! A configured edge server before a pair of origins, the first of which fails in every way there is, over real sockets.
//!
//! `cargo test -p edge-server --test failover -- --nocapture` shows what each way costs a viewer whose answer is not stored.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod begun;
mod edge;
mod primary;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::edge::{Edge, median, milliseconds};
use self::primary::{Fault, Origin};

/// Longer than anything here takes, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many failures have the primary skipped.
const FAILURES: usize = 3;
/// For how long at first: for half of this at the least.
const SKIPPED: Duration = Duration::from_secs(2);
/// Misses while it is skipped.
const MISSES: usize = 30;

/// One test at a time: what is measured is not to be disturbed.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An edge server that skips a failing primary for so long at first.
fn edge(primary: &str, secondary: SocketAddr, skipped: Duration) -> Edge {
    let skipped = skipped.as_millis();
    let group = format!("failures = {FAILURES}\nback-off = \"{skipped}ms\"\nlongest-back-off = \"1h\"");
    Edge::before(primary, secondary, "500ms", &group)
}

/// What misses cost while the primary fails: the first, and once it is skipped. Every one gets the secondary's page.
fn row(fault: &str, edge: &Edge) {
    let first = edge.miss();
    assert_eq!(first.from(), "secondary", "{fault}");
    for _ in 1..FAILURES {
        assert_eq!(edge.miss().from(), "secondary", "{fault}");
    }
    let skipped = (0..MISSES).map(|_| {
        let answer = edge.miss();
        assert_eq!(answer.from(), "secondary", "{fault}");
        answer.took
    });
    print!(
        "{fault:<22}{:9.1} ms {:9.1} ms",
        milliseconds(first.took),
        milliseconds(median(skipped.collect()))
    );
}

/// How many requests reach a primary that fails for so long: those that have it skipped, and a probe each time it may be asked.
fn bound(failing: Duration) -> usize {
    FAILURES + failing.div_duration_f64(SKIPPED / 2) as usize
}

#[test]
fn no_viewer_notices_while_the_secondary_is_well() {
    let _alone = alone();
    println!("{:<22}{:>12} {:>12} {:>12} {:>12}  asked", "", "first miss", "skipped", "back after", "then");
    for fault in ["killed", "hung before the head", "hung before the body", "503"] {
        let (mut primary, secondary) = (Origin::start("primary"), Origin::start("secondary"));
        let edge = edge(&primary.address.to_string(), secondary.address, SKIPPED);
        assert_eq!(edge.miss().from(), "primary");

        let (failing, asked) = (Instant::now(), primary.asked());
        match fault {
            "killed" => primary.kill(),
            "hung before the head" => primary.set(Fault::HangBeforeHead),
            "hung before the body" => primary.set(Fault::HangBeforeBody),
            _ => primary.set(Fault::Busy),
        }
        row(fault, &edge);
        let asked = primary.asked() - asked;
        assert!(asked <= bound(failing.elapsed()), "{fault}: {asked} in {:?}", failing.elapsed());
        assert!(fault == "killed" || asked >= FAILURES, "{fault}: {asked}");

        primary.set(Fault::None);
        if fault == "killed" {
            primary.revive();
        }
        let well = Instant::now();
        while edge.miss().from() != "primary" {
            assert!(well.elapsed() < PATIENCE, "{fault}: the primary is not found to be back");
            thread::sleep(Duration::from_millis(2));
        }
        let back = well.elapsed();
        let after = (0..MISSES).map(|_| {
            let answer = edge.miss();
            assert_eq!(answer.from(), "primary", "{fault}");
            answer.took
        });
        println!(" {:9.1} ms {:9.1} ms  {asked}", milliseconds(back), milliseconds(median(after.collect())));
    }

    let secondary = Origin::start("secondary");
    row("name that is none", &edge("primary.invalid", secondary.address, SKIPPED));
    println!();
}

#[test]
fn an_answer_that_nobody_can_go_on_with_breaks_off_and_the_next_are_the_secondary_s() {
    let _alone = alone();
    let (primary, secondary) = (Origin::start("primary"), Origin::start("secondary"));
    // No probe meets the same fault meanwhile.
    let hour = Duration::from_secs(3600);
    let edge = edge(&primary.address.to_string(), secondary.address, hour);
    assert_eq!(edge.miss().from(), "primary");

    primary.set(Fault::HangInBody(3));
    let asked = primary.asked();
    let pages = [(); FAILURES].map(|()| edge.new_page());
    for page in pages {
        let answer = edge.get(page);
        // What has been sent cannot be taken back, and must not pass for the whole.
        assert_eq!((answer.status, &*answer.body, answer.whole), (200, &b"pri"[..], false));
    }
    for _ in 0..MISSES {
        assert_eq!(edge.miss().from(), "secondary");
    }
    assert_eq!(edge.get(pages[0]).from(), "secondary", "a part is not stored");
    assert_eq!(primary.asked() - asked, FAILURES);
}
