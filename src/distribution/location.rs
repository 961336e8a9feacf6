//! An edge location of a distribution, as its operator sees it: [`Location`], [`EdgeStatus`].

use super::bus::Position;
use super::coordinates::Coordinates;
use crate::observe::Stats;

/// Where an edge of a distribution is, and whom it asks.
///
/// ```
/// use tower_edge::distribution::{Coordinates, Location};
///
/// let shield = Location::new("shield", Coordinates::new(53.35, -6.26)?).for_edges_only();
/// let edge = Location::new("fra-1", Coordinates::new(50.11, 8.68)?).region("eu").parents(["shield"]);
/// assert_eq!(edge.name(), "fra-1");
/// # let _ = shield;
/// # Ok::<(), tower_edge::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    pub(super) name: String,
    pub(super) region: String,
    pub(super) coordinates: Coordinates,
    pub(super) parents: Vec<String>,
    pub(super) takes_viewers: bool,
}

impl Location {
    /// An edge location. The name is the edge's, in `Cache-Status` and on the roll.
    pub fn new(name: impl Into<String>, coordinates: Coordinates) -> Self {
        let (name, region) = (name.into(), String::new());
        Self { name, region, coordinates, parents: Vec::new(), takes_viewers: true }
    }

    /// A region, such as `eu`. For operators; nothing follows from it.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// The edges that this one asks, rather than the origin: for each thing the one that all would choose for it, and where
    /// that takes none, the next. The origin is asked when none does.
    #[must_use]
    pub fn parents(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.parents = names.into_iter().map(Into::into).collect();
        self
    }

    /// No viewer is routed here: an origin shield.
    #[must_use]
    pub fn for_edges_only(mut self) -> Self {
        self.takes_viewers = false;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its region; empty without one.
    pub fn region_name(&self) -> &str {
        &self.region
    }

    /// Where it is.
    pub fn coordinates(&self) -> Coordinates {
        self.coordinates
    }
}

/// Whether an edge is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EdgeCondition {
    /// It has not reached the log yet, or is not known on its roll. Not asked: receipts would not wait for it.
    Joining,
    /// It is asked.
    Open,
    /// It gets nothing new, by its operator's wish.
    Draining,
    /// It gets nothing new as long as others can, since something is wrong with it.
    Unhealthy,
}

/// How one edge of a distribution does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EdgeStatus {
    /// Where it is.
    pub location: Location,
    /// Whether it is asked.
    pub condition: EdgeCondition,
    /// Up to here the log is in force on it.
    pub applied: Option<Position>,
    /// What it has done, and what it holds.
    pub stats: Stats,
}

/// How a distribution does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DistributionStats {
    /// Its edges, by their names.
    pub edges: Vec<EdgeStatus>,
    /// All of them together. What one edge answered another counts on both.
    pub total: Stats,
}
