//! The log of invalidations that the edges of a distribution share, and how each of them follows it.
//!
//! A [`Bus`] is an ordered log. Whoever clears something appends a [`Record`] to it; on every edge a [`Follower`] reads the
//! log in order, applies what it reads to its own edge, and reports how far it has come. A [`BusInvalidator`] does the
//! appending, and its [`BusReceipt`] knows of every edge whether it has got there.
//!
//! [`Local`] is a log in memory, for the edges of one process. `Redis`, with the feature `redis`, is one for many machines.
//!
//! ```
//! use std::sync::Arc;
//! use tower_edge::distribution::bus::{BusInvalidator, Follower, FollowerSettings, Local};
//! use tower_edge::{Edge, Invalidation};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = Arc::new(Local::new());
//! let edges = [Edge::builder().name("fra-1").build()?, Edge::builder().name("nyc-1").build()?];
//! let followers = edges.each_ref().map(|edge| Follower::start(edge, bus.clone(), FollowerSettings::default()));
//! for follower in followers.iter().flatten() {
//!     follower.joined().await;
//! }
//! let invalidator = BusInvalidator::new(bus, "deploy");
//! let receipt = invalidator.invalidate(Invalidation::paths(["/news/*"])?).await?;
//! let edges = receipt.completed().await?;
//! assert_eq!(edges.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Positions
//!
//! Records are numbered without gaps, and the log has an [`Incarnation`]: a number that changes when the log may have lost
//! something, such as when its server came back empty. The two are a [`Position`]. A follower that finds another
//! incarnation, a log that ends before its own position, or a gap, treats everything it holds as invalidated and goes on
//! from the log's head. So what is lost in the log never means that something old is served.
//!
//! # Writes
//!
//! What a successful PUT, POST or DELETE through an edge clears (its target, what its answer names in `Location` and
//! `Content-Location`, and the groups in `Cache-Group-Invalidation`) it clears on that edge before its writer has the answer.
//! Then the edge's follower appends it, as it does all that came meanwhile, in one record: the other edges learn of it some
//! milliseconds later. So who reads by the edge that they wrote by reads what they wrote, and by another edge may for that
//! long read what was before (RFC 9111 §4.4 asks no more, and nobody waits for the log). Who needs more sends an invalidation
//! besides and waits for its receipt.
//!
//! While the log is away this waits for it, too: up to 1,024 names, or 256 KiB of them. What is more becomes one record that
//! clears everything. It is lost with the process, or if the edge stops following before the log is back; then other edges
//! keep what they have for its lifetime. Nobody has a receipt of what writes clear, and it is not in the history of
//! [`Invalidator`](crate::Invalidator).
//!
//! An edge that has [parents](super::Announce) asks them, from a write until it reads of it in the log, for nothing that the
//! write may be about but the origin's own answer.
//!
//! # Without contact
//!
//! An edge that cannot reach the log cannot know what was cleared. What it then does is the operator's choice:
//! [`WithoutContact`].

mod backoff;
mod error;
mod follower;
mod invalidator;
mod local;
mod position;
mod progress;
mod receipt;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod settings;
mod step;
mod telling;

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

pub use self::error::BusError;
pub use self::follower::Follower;
pub use self::invalidator::{BusInvalidateError, BusInvalidator};
pub use self::local::Local;
pub use self::position::{Incarnation, ParsePositionError, Position};
pub use self::progress::Progress;
pub use self::receipt::{BusReceipt, EdgeProgress, EdgeState};
pub use self::record::{Record, RecordError};
#[cfg(feature = "redis")]
pub use self::redis::{Concern, Redis, RedisSettings};
pub use self::settings::FollowerSettings;
pub use self::step::Reset;
pub use crate::contact::WithoutContact;
use crate::error::ConfigError;

/// What a [`Bus`] answers with.
pub type BusFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BusError>> + Send + 'a>>;

/// A log of invalidations that several edges follow. [`Local`] and `Redis` are two; another engine can be a third.
///
/// Every call ends within a bounded time, with an error if the log cannot be reached.
pub trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Appends a record, and says where once the log holds it as durably as it ever will. If there already is one under
    /// the same [reference](Record::reference), nothing is appended, and the position is that one's.
    fn append<'a>(&'a self, record: &'a Record) -> BusFuture<'a, Position>;

    /// A connection to read by. It belongs to one run of the log's server, so that what it reads is of one piece.
    fn reader(&self) -> BusFuture<'_, Box<dyn BusReader>>;

    /// Says that an edge is alive, and how far it has come.
    fn report<'a>(&'a self, report: &'a Report) -> BusFuture<'a, ()>;

    /// Strikes an edge off the roll, by its [id](Report::id): it serves nothing any more.
    fn leave<'a>(&'a self, id: &'a str) -> BusFuture<'a, ()>;

    /// Which edges have reported, and what.
    fn roll(&self) -> BusFuture<'_, Roll>;

    /// Gives the log another incarnation if it still is in `seen`, so that every follower starts over. For who comes back
    /// to a log that he had left for another: what was appended to the other is not in this one.
    fn renew(&self, seen: Incarnation) -> BusFuture<'_, ()>;
}

/// Reads a log. See [`Bus::reader`].
pub trait BusReader: Send {
    /// The state of the log, and the records behind number `after`, in order and at most some hundred. If there are none
    /// it waits for one, no longer than `patience`; then it returns none.
    fn read(&mut self, after: u64, patience: Duration) -> BusFuture<'_, Read>;
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The log's incarnation.
    pub incarnation: Incarnation,
    /// The number of the last record when the reading began; 0 if there never was one.
    pub head: u64,
    /// Numbered records.
    pub records: Vec<(u64, Result<Record, RecordError>)>,
}

/// What an edge says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Names this run of the edge: another process under the same name has another.
    pub id: String,
    /// The edge's name.
    pub name: String,
    /// Up to here the log is in force on the edge.
    pub applied: Option<Position>,
    /// Up to here nothing is left in its memory either.
    pub swept: Option<Position>,
    /// It is to get nothing new, and answers what it has begun with: receipts wait for it.
    pub is_draining: bool,
    /// So long after its last report it uses nothing stored without asking the origin. `None` if it does.
    pub trusts_for: Option<Duration>,
}

/// The edges that have reported.
#[derive(Clone, Debug)]
pub struct Roll {
    /// The log's incarnation.
    pub incarnation: Incarnation,
    /// How long the log has been in it. An edge that lives reports within its heartbeat: on a roll younger than that some may
    /// be missing.
    pub age: Duration,
    /// What each said last, and how long ago.
    pub members: Vec<(Report, Duration)>,
}

/// The longest that a setting of a follower or of a log may be.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Refuses a time so long that the sum of it and the clock's may be none.
fn check_length(setting: &str, time: Duration) -> Result<(), ConfigError> {
    if time > LONGEST {
        return Err(ConfigError::new(setting, "is over a day"));
    }
    Ok(())
}

/// A number nobody else has.
fn random() -> u64 {
    // Seeded by the system, and never twice the same.
    RandomState::new().hash_one(SystemTime::now())
}

fn random_incarnation() -> Incarnation {
    Incarnation(random())
}
