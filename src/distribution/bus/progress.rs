//! What a follower tells of itself: [`Progress`].

use super::Position;
use super::step::Reset;

/// How far an edge has followed a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Up to here the log is in force on the edge. `None` before it has first reached the log.
    pub applied: Option<Position>,
    /// Up to here nothing is left in its memory either. What other edges' writes invalidate is not waited for.
    pub swept: Option<Position>,
    /// Up to here the log may be in force on the edge: it is being applied. What the edge asks others for from now on has
    /// to be as new as that.
    pub begun: Option<Position>,
    /// The edge is on the roll with its position: receipts wait for it.
    pub is_on_roll: bool,
    /// The edge is to get nothing new, as its reports say.
    pub is_draining: bool,
    /// How often everything was treated as invalidated, since the log could not tell what was.
    pub resets: u64,
    /// Why it was the last time.
    pub last_reset: Option<Reset>,
    /// Records that could not be read, for each of which everything was treated as invalidated.
    pub unreadable: u64,
}
