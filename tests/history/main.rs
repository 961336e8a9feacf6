//! Invariants 3 and 4 over random histories: reads, changes of the origin, invalidations of every scope, writes, slow and broken
//! exchanges, revalidations, joins, viewers who leave, evictions, time passing; in virtual time, on one thread, each following
//! from its seed. **No read that starts after an invalidation or a write returned sees what came before it,** and every body
//! that ends well is the whole of one content, in the viewer's variant.
//!
//! - [`operation`]: what is done, from a seed. [`run`]: doing it. [`read`], [`write`], [`invalidate`]: each kind.
//! - [`site`]: the objects and what their contents look like. [`origin`]: who has them.
//! - [`truth`]: what a read may see. [`check`]: what it saw. [`record`]: what happened.
//!
//! `TOWER_EDGE_OPERATIONS` sets the number of operations in all, `TOWER_EDGE_SEED` runs the history of one seed alone.

mod check;
#[cfg(feature = "faults")]
mod faults;
mod frames;
mod invalidate;
mod minimal;
mod operation;
mod origin;
mod random;
mod read;
mod record;
mod run;
mod site;
mod truth;
mod write;

use std::time::Instant;

use self::operation::{OPERATIONS, operations};
use self::record::Tally;

/// How many operations there are in all, unless something else is asked for.
const DEFAULT: u64 = 20_000;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn no_read_sees_what_came_before_an_invalidation_or_a_write() {
    let started = Instant::now();
    let wanted = variable("TOWER_EDGE_OPERATIONS").unwrap_or(DEFAULT);
    let seeds = match variable("TOWER_EDGE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..wanted.div_ceil(u64::from(OPERATIONS)),
    };
    let mut tally = Tally::default();
    for seed in seeds.clone() {
        let record = run::run(seed, operations(seed, OPERATIONS), |edge| edge);
        if record.violation.is_some() {
            panic!("{}", minimal::explain(seed, |edge| edge));
        }
        tally.add(&record.tally);
    }
    let done = (seeds.end - seeds.start) * u64::from(OPERATIONS);
    println!("{done} operations, seeds {seeds:?}, {:.1} s\n{tally}", started.elapsed().as_secs_f64());
    if done >= DEFAULT {
        let seldom = |(what, least): &&(&str, u64)| tally.of(what) < least * done / 1_000_000;
        let seldom: Vec<_> = OFTEN.iter().filter(seldom).collect();
        assert!(seldom.is_empty(), "a checker that does not see these often shows little: {seldom:?}");
    }
}

/// How often each of these is seen at least, in a million operations.
const OFTEN: [(&str, u64); 47] = [
    ("answer: a part", 30_000),
    ("answer: gone", 9_000),
    ("answer: no such part", 500),
    ("answer: not modified", 10_000),
    ("answer: stale by a soft invalidation", 6_000),
    ("answer: whole", 100_000),
    ("change: untold", 30_000),
    ("forward: busy", 500),
    ("forward: only if cached", 3_000),
    ("forward: origin failed all", 1_000),
    ("forward: uncacheable", 10_000),
    ("forward: waited in vain", 9_000),
    ("hit", 50_000),
    ("invalidate: all", 1_000),
    ("invalidate: group", 2_000),
    ("invalidate: path", 5_000),
    ("invalidate: path of a host", 3_000),
    ("invalidate: repeated", 800),
    ("invalidate: soft", 10_000),
    ("invalidate: tag", 5_000),
    ("invalidate: url", 3_000),
    ("invalidate: wildcard", 1_000),
    ("invalidate: wildcard of a host", 1_000),
    ("invalidated: fills", 10_000),
    ("invalidated: objects", 30_000),
    ("joined", 30_000),
    ("miss", 90_000),
    ("miss: another part", 1_000),
    ("miss: another variant", 7_000),
    ("miss: stale", 6_000),
    ("miss: the viewer's wish", 1_000),
    ("read: cut short by the origin", 1_000),
    ("read: left before the end", 30_000),
    ("read: the body failed", 10_000),
    ("read: the origin's error", 5_000),
    ("read: whole", 100_000),
    ("revalidated", 5_000),
    ("stale: as the viewer allows", 200),
    ("stale: in place of an error", 1_000),
    ("stale: while revalidating", 10_000),
    ("write: answered with the new content", 4_000),
    ("write: done", 10_000),
    ("write: left before the answer", 2_000),
    ("write: of unknown outcome", 6_000),
    ("write: refused", 3_000),
    ("write: the answer's body failed", 400),
    ("write: what was sent is stored", 1_000),
];

#[test]
fn a_seed_has_one_history() {
    let told = |seed| {
        let record = run::run(seed, operations(seed, OPERATIONS), |edge| edge);
        record.events.iter().map(|event| format!("{event:?}")).collect::<Vec<_>>()
    };
    for seed in [3, 4] {
        let (one, other) = (told(seed), told(seed));
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        assert_eq!(differs.map(|at| (&one[at], &other[at])), None);
        assert_eq!(one.len(), other.len());
    }
}
