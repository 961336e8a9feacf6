//! The checker finds what it looks for: with any one of the log's checks left out, a read sees the past within 1,000
//! operations, whatever the seed.

use tower_edge::Check;

use crate::minimal::explain;
use crate::operation::{OPERATIONS, operations};
use crate::run::run;

const SEEDS: u64 = 20;

#[test]
fn a_check_left_out_is_found_within_a_thousand_operations() {
    for check in [Check::Lookup, Check::Publish, Check::Join] {
        let found = (0..SEEDS).map(|seed| {
            let record = run(seed, operations(seed, OPERATIONS), |edge| edge.leave_out(check));
            record.violation.unwrap_or_else(|| panic!("seed {seed} is blind without {check:?}"))
        });
        let found: Vec<_> = found.collect();
        let needed: Vec<_> = found.iter().map(|violation| violation.operation + 1).collect();
        println!("without {check:?} a violation is found after {needed:?} operations");
        // Not only what came out of an old exchange, but what the origin had replaced.
        assert!(found.iter().any(|violation| violation.why.contains("had been replaced")), "{check:?}");
        println!("{}", explain(0, |edge| edge.leave_out(check)));
    }
}
