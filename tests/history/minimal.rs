//! A violation in few operations: those of its history without which it does not happen.

use tower_edge::EdgeBuilder;

use crate::operation::{OPERATIONS, Operation, operations};
use crate::run::run;

/// How often a history is done again, at most, to make it shorter.
const RUNS: usize = 600;

/// The operations of a seed that lead to a violation, and how many were done until the first.
pub(crate) fn minimal(
    seed: u64,
    alter: impl Fn(EdgeBuilder) -> EdgeBuilder,
) -> Option<(Vec<Operation>, u32)> {
    let all = operations(seed, OPERATIONS);
    let violation = run(seed, all.clone(), &alter).violation?;
    let mut kept: Vec<_> = all.into_iter().filter(|one| one.number <= violation.operation).collect();
    let mut runs = 0;
    let mut size = kept.len() / 2;
    // Without ever smaller pieces, as long as it happens all the same.
    while size > 0 {
        let mut at = 0;
        while at < kept.len() && runs < RUNS {
            let mut fewer = kept.clone();
            fewer.drain(at..(at + size).min(kept.len()));
            runs += 1;
            if run(seed, fewer.clone(), &alter).violation.is_some() {
                kept = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    Some((kept, violation.operation))
}

/// What went wrong with a seed, by as few operations as can be found.
pub(crate) fn explain(seed: u64, alter: impl Fn(EdgeBuilder) -> EdgeBuilder) -> String {
    let Some((operations, first)) = minimal(seed, &alter) else {
        return format!("seed {seed}: what happened did not happen again");
    };
    let count = operations.len();
    let record = run(seed, operations, &alter);
    format!(
        "seed {seed}, first seen by operation {first}; TOWER_EDGE_SEED={seed} does it again. In {count} operations:\n{}",
        record.explain().unwrap_or_default()
    )
}
