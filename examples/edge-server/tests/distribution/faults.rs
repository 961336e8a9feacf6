//! What happens to the Redis, to the edges and to the ways between them.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::readers::{Tally, count};
use crate::site::Site;
use crate::truth::EDGES;

/// The key of the log of the namespace `default`.
const LOG: &str = "tower-edge:{default}:log";

#[derive(Clone, Copy, Debug)]
enum Fault {
    PausedRedis,
    KilledRedis,
    EmptyRedis,
    PausedEdge,
    KilledEdge,
    CutWay,
    /// Until receipts no longer wait for the edge.
    LostEdge,
    HeldWay,
    TrimmedLog,
}

const ALL: [Fault; 9] = [
    Fault::PausedRedis,
    Fault::KilledRedis,
    Fault::EmptyRedis,
    Fault::PausedEdge,
    Fault::KilledEdge,
    Fault::CutWay,
    Fault::LostEdge,
    Fault::HeldWay,
    Fault::TrimmedLog,
];

/// One after the other until it is over, each of them before any comes again.
pub(crate) async fn happen(site: &Site, tally: &Tally, seed: u64) {
    let mut chance = Chance::new(seed);
    while !tally.is_over() {
        let mut deck = ALL;
        chance.shuffle(&mut deck);
        for fault in deck {
            // Sometimes there is time for everybody to come back, which takes as long as a silence lasts.
            let calm = if chance.below(3) == 0 { 7_000 } else { 1_500 };
            sleep(Duration::from_millis(200 + chance.below(calm))).await;
            if tally.is_over() {
                return;
            }
            let long = Duration::from_millis(50 + chance.below(4_500));
            fault.strike(site, chance.below(EDGES as u64) as usize, long).await;
            *tally.faults.lock().unwrap_or_else(PoisonError::into_inner).entry(fault.name()).or_default() +=
                1;
        }
        count(&tally.rounds);
    }
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::PausedRedis => "Redis paused",
            Self::KilledRedis => "Redis killed",
            Self::EmptyRedis => "Redis empty",
            Self::PausedEdge => "edge paused",
            Self::KilledEdge => "edge killed",
            Self::CutWay => "way cut",
            Self::LostEdge => "way cut for long",
            Self::HeldWay => "way held",
            Self::TrimmedLog => "log trimmed",
        }
    }

    /// It is over when this returns, and not yet mended by everybody.
    async fn strike(self, site: &Site, edge: usize, long: Duration) {
        let (edge, way) = (&site.edges[edge], &site.proxies[edge]);
        match self {
            Self::PausedRedis => {
                site.redis(|redis| redis.pause());
                sleep(long).await;
                site.redis(|redis| redis.resume());
            }
            Self::KilledRedis => {
                site.redis(|redis| redis.kill());
                sleep(long / 2).await;
                site.redis(|redis| redis.restart());
            }
            Self::EmptyRedis => site.redis(|redis| redis.replace()),
            Self::PausedEdge => {
                edge.pause();
                sleep(long).await;
                edge.resume();
            }
            Self::KilledEdge => {
                block_in_place(|| edge.kill());
                sleep(long / 4).await;
                block_in_place(|| edge.restart());
            }
            Self::CutWay | Self::LostEdge => {
                way.cut();
                // Five seconds it may be silent, and as long it has to be seen to be.
                let longer =
                    if matches!(self, Self::LostEdge) { Duration::from_secs(11) } else { Duration::ZERO };
                sleep(longer + long / 2).await;
                way.mend();
            }
            Self::HeldWay => {
                way.hold();
                sleep(long).await;
                way.mend();
            }
            Self::TrimmedLog => {
                way.cut();
                sleep(long).await;
                site.redis(|redis| redis.ask(&["XTRIM", LOG, "MAXLEN", "0"]));
                way.mend();
            }
        }
    }
}
