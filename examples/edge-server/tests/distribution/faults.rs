//! What happens to the Redis, to the edges and to the ways between them.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::namespace::Loss;
use crate::readers::{Tally, count};
use crate::site::Site;
use crate::truth::EDGES;

/// The key of the log of the namespace `default`.
pub(crate) const LOG: &str = "tower-edge:{default}:log";

#[derive(Clone, Copy, Debug)]
enum Fault {
    PausedRedis,
    KilledRedis,
    EmptyRedis,
    PausedEdge,
    KilledEdge,
    CutWay,
    HeldWay,
    LinkDown,
    /// Nothing comes through until receipts no longer wait for the edge.
    LostEdge,
    DeafEdge,
    MuteEdge,
    TrimmedLog,
}

const ALL: [Fault; 12] = [
    Fault::PausedRedis,
    Fault::KilledRedis,
    Fault::EmptyRedis,
    Fault::PausedEdge,
    Fault::KilledEdge,
    Fault::CutWay,
    Fault::HeldWay,
    Fault::LinkDown,
    Fault::LostEdge,
    Fault::DeafEdge,
    Fault::MuteEdge,
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
            Self::HeldWay => "way held",
            Self::LinkDown => "link down",
            Self::LostEdge => "link silent for long",
            Self::DeafEdge => "link lost to the edge",
            Self::MuteEdge => "link lost from the edge",
            Self::TrimmedLog => "log trimmed",
        }
    }

    /// It is over when this returns, and not yet mended by everybody.
    async fn strike(self, site: &Site, edge: usize, long: Duration) {
        let (edge, way, namespace) = (&site.edges[edge], &site.proxies[edge], &site.namespaces[edge]);
        let lose = async |loss, long| {
            block_in_place(|| namespace.lose(loss));
            sleep(long).await;
        };
        let mend = || block_in_place(|| namespace.mend());
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
            Self::CutWay => {
                way.cut();
                sleep(long / 2).await;
                way.mend();
            }
            Self::HeldWay => {
                way.hold();
                sleep(long).await;
                way.mend();
            }
            Self::LinkDown => {
                lose(Loss::Down, long).await;
                mend();
            }
            Self::LostEdge => {
                // Five seconds it may be silent, and as long it has to be seen to be.
                lose(Loss::Silent, Duration::from_secs(11) + long / 2).await;
                mend();
            }
            Self::DeafEdge => {
                lose(Loss::Deaf, long).await;
                mend();
            }
            Self::MuteEdge => {
                lose(Loss::Mute, long).await;
                mend();
            }
            Self::TrimmedLog => {
                // Not until the edge trusts nothing anyway.
                lose(Loss::Silent, long / 4).await;
                mend();
                // Until it has read: what came in between would clear what it has missed.
                for _ in 0..60 {
                    site.redis(|redis| redis.ask(&["XTRIM", LOG, "MAXLEN", "0"]));
                    sleep(Duration::from_millis(30)).await;
                }
            }
        }
    }
}
