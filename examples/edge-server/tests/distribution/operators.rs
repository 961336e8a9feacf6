//! Operators, who change what the origin has and then clear it everywhere.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::readers::{Tally, count};
use crate::site::Site;
use crate::truth::{EDGES, PATHS, Versions, name, tag};

/// Clears until so many invalidations are made, and everything has happened once. Those who are patient wait until it is completed.
pub(crate) async fn operate(site: &Site, tally: &Tally, seed: u64, is_patient: bool, enough: u64) {
    let mut chance = Chance::new(seed);
    let is_enough =
        || tally.taken.load(Ordering::Relaxed) >= enough && tally.rounds.load(Ordering::Relaxed) > 0;
    while !is_enough() && !tally.is_over() {
        sleep(Duration::from_millis(chance.below(200))).await;
        let wait = match (is_patient, chance.below(5)) {
            (true, _) => 30,
            (false, 0) => 1,
            (false, _) => 0,
        };
        clear_once(site, tally, &mut chance, wait).await;
    }
}

async fn clear_once(site: &Site, tally: &Tally, chance: &mut Chance, wait: u64) {
    let path = chance.below(PATHS as u64) as usize;
    let (what, paths): (Value, Vec<usize>) = match chance.below(10) {
        0 => (json!({ "all": true }), (0..PATHS).collect()),
        1 => (json!({ "paths": ["/b/*"] }), (PATHS / 2..PATHS).collect()),
        2 | 3 => {
            let tagged = (0..PATHS).filter(|other| tag(*other) == tag(path));
            (json!({ "tags": [format!("t{}", tag(path))] }), tagged.collect())
        }
        _ => (json!({ "paths": [name(path)] }), vec![path]),
    };
    // 1. It is changed; 2. it is cleared; 3. by then nobody gets what was before.
    let changed: Vec<_> = paths.into_iter().map(|path| (path, site.truth.change(path))).collect();
    let mut versions: Versions = site.truth.taken();
    for (path, version) in &changed {
        versions[*path] = versions[*path].max(*version);
    }
    let edge = chance.below(EDGES as u64) as usize;
    let Some(answer) = site.clear(edge, &what, wait).await else {
        return count(&tally.refused);
    };
    if answer.status != 201 {
        let problem =
            answer.text("content-type") == "application/problem+json" && answer.json()["status"] == 503;
        if answer.status != 503 || !problem {
            tally.wrong(format!("{what} was answered by {answer:?}"));
        }
        return count(&tally.refused);
    }
    for (path, version) in changed {
        site.truth.take(path, version);
    }
    count(&tally.taken);
    judge(site, tally, &answer.json(), &versions);
}

/// What the receipt says is so from now on.
fn judge(site: &Site, tally: &Tally, receipt: &Value, versions: &Versions) {
    let edges: Vec<_> = receipt["edges"].as_array().into_iter().flatten().collect();
    if receipt["state"] == "completed" {
        count(&tally.completed);
        // Those that are silent use nothing stored without the origin's word.
        (0..EDGES).for_each(|edge| site.truth.hold(edge, versions));
    }
    for (at, edge) in site.edges.iter().enumerate() {
        let mut named = edges.iter().filter(|named| named["name"] == edge.name.as_str());
        if named.any(|named| named["state"] == "applied" || named["state"] == "swept") {
            site.truth.hold(at, versions);
            if receipt["state"] != "completed" {
                count(&tally.acknowledged);
            }
        }
    }
    if edges.iter().any(|edge| edge["state"] == "silent") {
        count(&tally.silent);
    }
}
