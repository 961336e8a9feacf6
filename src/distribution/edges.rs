//! Edges that come and go, and are cleared as one: [`Distribution`].

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{HeaderMap, Request};
use tokio::task::AbortHandle;

use super::builder::DistributionBuilder;
use super::bus::{Bus, BusError, BusInvalidator, Follower, FollowerSettings};
use super::coordinates::Coordinates;
use super::location::{DistributionStats, EdgeCondition, EdgeStatus, Location};
use super::nearest::Nearest;
use super::route::DistributionLayer;
use super::tier::{self, named};
use super::viewer::{self, Locate};
use crate::builder::EdgeBuilder;
use crate::edge::Edge;
use crate::error::ConfigError;
use crate::observe::Stats;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, RwLock};

/// Edge locations that are configured alike and cleared as one, of which each viewer is answered by the nearest.
///
/// Every edge has its own store, fills and figures. An [invalidation](Self::invalidator) reaches all of them, by a log that
/// each follows. Cheap to clone; every clone is the same distribution.
///
/// ```
/// use std::convert::Infallible;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_edge::Invalidation;
/// use tower_edge::distribution::viewer::AddressTable;
/// use tower_edge::distribution::{Coordinates, Distribution, Location};
///
/// async fn origin<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
///     let answer = Response::builder().header("cache-control", "max-age=60");
///     Ok(answer.body(Full::from("rendered")).expect("well-formed fields"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let viewers: AddressTable = "192.0.2.0/24, 48.85, 2.35, Paris".parse()?;
/// let distribution = Distribution::builder()
///     .edge(Location::new("shield", Coordinates::new(53.35, -6.26)?).for_edges_only())
///     .edge(Location::new("fra-1", Coordinates::new(50.11, 8.68)?).parents(["shield"]))
///     .edge(Location::new("nyc-1", Coordinates::new(40.71, -74.01)?).parents(["shield"]))
///     .locate(viewers)
///     .build()?;
/// distribution.joined().await;
/// let site = distribution.layer().layer(service_fn(origin));
///
/// let mut request = Request::get("http://example.com/").body(Empty::<Bytes>::new())?;
/// request.extensions_mut().insert("192.0.2.7".parse::<std::net::IpAddr>()?);
/// let response = site.oneshot(request).await?;
/// let status = response.headers().get_all("cache-status").iter().collect::<Vec<_>>();
/// assert_eq!(status, ["shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored"]);
///
/// let receipt = distribution.invalidator().invalidate(Invalidation::all()).await?;
/// assert_eq!(receipt.completed().await?.len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Distribution(pub(super) Arc<Inner>);

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) each: EdgeBuilder,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) following: FollowerSettings,
    pub(super) locate: Option<Arc<dyn Locate>>,
    pub(super) home: Option<Coordinates>,
    pub(super) patience: Duration,
}

pub(super) struct Inner {
    pub(super) settings: Settings,
    invalidator: BusInvalidator,
    roster: RwLock<Arc<Roster>>,
    /// One change at a time.
    changing: Mutex<()>,
}

/// The edges at one moment.
#[derive(Default)]
struct Roster {
    /// By their names.
    seats: Vec<Arc<Seat>>,
    /// Those that viewers are routed to.
    open: Nearest<Arc<Seat>>,
}

/// An edge, and what is known of it.
pub(super) struct Seat {
    pub(super) location: Location,
    pub(super) edge: Edge,
    /// The same as its children see it.
    pub(super) for_edges: Edge,
    pub(super) follower: Arc<Follower>,
    hash: u64,
    is_unhealthy: AtomicBool,
    joining: AbortHandle,
}

impl Distribution {
    /// Starts the configuration of a distribution.
    pub fn builder() -> DistributionBuilder {
        DistributionBuilder::default()
    }

    pub(super) fn new(settings: Settings) -> Self {
        let invalidator = BusInvalidator::new(Arc::clone(&settings.bus), settings.name.as_str());
        let (roster, changing) = (RwLock::default(), Mutex::default());
        Self(Arc::new(Inner { settings, invalidator, roster, changing }))
    }

    /// A layer that puts the nearest edge in front of a service.
    pub fn layer(&self) -> DistributionLayer {
        DistributionLayer::new(self.clone())
    }

    /// Clears objects on every edge.
    pub fn invalidator(&self) -> BusInvalidator {
        self.0.invalidator.clone()
    }

    /// Adds an edge. Its store is empty; it opens when it has reached the head of the log.
    ///
    /// # Errors
    /// If there is one of that name, a parent is not there, or there is no tokio runtime.
    pub fn add(&self, location: Location) -> Result<(), ConfigError> {
        let inner = &self.0;
        let _changing = inner.changing.lock();
        let place = format!("edge {:?}", location.name);
        let seats = &inner.roster().seats;
        if find(seats, &location.name).is_some() {
            return Err(ConfigError::new(place, "is there twice"));
        }
        // So no edge can be its own parent, or its parent's.
        if let Some(parent) = location.parents.iter().find(|parent| find(seats, parent).is_none()) {
            let reason = format!("its parent {parent:?} is not there; parents come before their children");
            return Err(ConfigError::new(place, reason));
        }
        let edge = inner.settings.each.clone().name(location.name.as_str()).build()?;
        let bus = Arc::clone(&inner.settings.bus);
        let follower = Arc::new(Follower::start(&edge, bus, inner.settings.following.clone())?);
        let (joins, distribution) = (Arc::clone(&follower), Arc::downgrade(inner));
        let joining = tokio::spawn(async move {
            joins.joined().await;
            opened(&distribution);
        });
        let seat = Arc::new(Seat {
            hash: named(&location.name),
            for_edges: edge.for_edges(),
            edge,
            follower,
            location,
            is_unhealthy: AtomicBool::new(false),
            joining: joining.abort_handle(),
        });
        let mut seats = seats.clone();
        let at = seats.partition_point(|other| other.location.name < seat.location.name);
        seats.insert(at, seat);
        inner.set(seats);
        Ok(())
    }

    /// Removes an edge: nothing new is routed to it, requests that it is answering go on, and receipts no longer wait for
    /// it. Children that have it for a parent ask the next.
    ///
    /// # Errors
    /// If the log cannot be reached; then receipts wait for it until it counts as silent. Removed it is all the same, if there
    /// was one of that name.
    pub async fn remove(&self, name: &str) -> Result<bool, BusError> {
        let seat = {
            let _changing = self.0.changing.lock();
            let mut seats = self.0.roster().seats.clone();
            let Some(at) = seats.iter().position(|seat| seat.location.name == name) else {
                return Ok(false);
            };
            let seat = seats.remove(at);
            self.0.set(seats);
            seat
        };
        seat.follower.leave().await?;
        Ok(true)
    }

    /// Whether an edge is to get nothing new. Says whether there is one of that name.
    pub fn drain(&self, name: &str, drains: bool) -> bool {
        self.0.change(name, |seat| seat.follower.drain(drains))
    }

    /// Notes whether something is wrong with an edge. Says whether there is one of that name.
    pub fn set_healthy(&self, name: &str, is_healthy: bool) -> bool {
        self.0.change(name, |seat| seat.is_unhealthy.store(!is_healthy, Ordering::Relaxed))
    }

    /// Waits until every edge that there is now has reached the log. Bound it with a time-out, since the log may be away.
    pub async fn joined(&self) {
        let seats = self.0.roster().seats.clone();
        for seat in &seats {
            seat.follower.joined().await;
        }
        opened(&Arc::downgrade(&self.0));
    }

    /// The open edge that is nearest to a place.
    pub fn nearest(&self, viewer: Coordinates) -> Option<Location> {
        self.0.roster().open.find(viewer).map(|seat| seat.location.clone())
    }

    /// The open edge for a viewer of whom nothing but the address is known.
    pub fn nearest_to(&self, address: IpAddr) -> Option<Location> {
        self.0.pick(Some(address), &HeaderMap::new()).map(|seat| seat.location.clone())
    }

    /// The edge of a name, to look at. What clears it alone does not reach the others.
    pub fn edge(&self, name: &str) -> Option<Edge> {
        find(&self.0.roster().seats, name).map(|seat| seat.edge.clone())
    }

    /// How the edges do, each and in all.
    pub fn stats(&self) -> DistributionStats {
        let seats = &self.0.roster().seats;
        let edges: Vec<_> = seats.iter().map(|seat| seat.status()).collect();
        let mut total = Stats::default();
        for edge in &edges {
            total += edge.stats;
        }
        DistributionStats { edges, total }
    }
}

fn find<'a>(seats: &'a [Arc<Seat>], name: &str) -> Option<&'a Arc<Seat>> {
    seats.iter().find(|seat| seat.location.name == name)
}

/// An edge has reached the log, or left it.
fn opened(distribution: &Weak<Inner>) {
    if let Some(inner) = distribution.upgrade() {
        let _changing = inner.changing.lock();
        inner.set(inner.roster().seats.clone());
    }
}

impl Inner {
    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.read())
    }

    /// Has the edges be these, or others be open. The caller holds `changing`.
    fn set(&self, seats: Vec<Arc<Seat>>) {
        let of = |condition| {
            let takes = |seat: &&Arc<Seat>| seat.location.takes_viewers && seat.condition() == condition;
            let place = |seat: &Arc<Seat>| (seat.location.coordinates, Arc::clone(seat));
            seats.iter().filter(takes).map(place).collect::<Nearest<_>>()
        };
        let mut open = of(EdgeCondition::Open);
        if open.places().is_empty() {
            // All at once: then it may be who says so.
            open = of(EdgeCondition::Unhealthy);
        }
        let roster = Arc::new(Roster { seats, open });
        // The old one is dropped when the lock is gone.
        let _old = std::mem::replace(&mut *self.roster.write(), roster);
    }

    fn change(&self, name: &str, change: impl FnOnce(&Seat)) -> bool {
        let _changing = self.changing.lock();
        let roster = self.roster();
        let seat = find(&roster.seats, name);
        if let Some(seat) = seat {
            change(seat);
            self.set(roster.seats.clone());
        }
        seat.is_some()
    }

    /// The edge for a request.
    pub(super) fn route<B>(&self, request: &Request<B>) -> Option<Arc<Seat>> {
        self.pick(viewer::address(request.extensions()), request.headers())
    }

    fn pick(&self, address: Option<IpAddr>, fields: &HeaderMap) -> Option<Arc<Seat>> {
        let Settings { locate, home, .. } = &self.settings;
        let roster = self.roster();
        let viewer = locate.as_ref().and_then(|source| source.locate(address, fields)).or(*home);
        let seat = match viewer {
            Some(viewer) => roster.open.find(viewer),
            None => roster.open.places().first(),
        };
        seat.cloned()
    }

    /// The parent that a child asks. `None` if it asks the origin.
    pub(super) fn parent_of<B>(&self, child: &Seat, request: &Request<B>) -> Option<Arc<Seat>> {
        let names = &child.location.parents;
        if names.is_empty() {
            return None;
        }
        let roster = self.roster();
        let parents: Vec<_> = names.iter().filter_map(|name| find(&roster.seats, name)).collect();
        let key = tier::asked(request.uri(), request.headers());
        let order = tier::by_preference(key, parents.iter().map(|parent| parent.hash));
        let mut parents = order.into_iter().map(|at| parents[at]);
        parents.find(|parent| parent.condition() == EdgeCondition::Open).cloned()
    }
}

impl Seat {
    fn condition(&self) -> EdgeCondition {
        let progress = self.follower.progress();
        if !progress.is_on_roll || progress.applied.is_none() {
            EdgeCondition::Joining
        } else if progress.is_draining {
            EdgeCondition::Draining
        } else if self.is_unhealthy.load(Ordering::Relaxed) {
            EdgeCondition::Unhealthy
        } else {
            EdgeCondition::Open
        }
    }

    fn status(&self) -> EdgeStatus {
        EdgeStatus {
            location: self.location.clone(),
            condition: self.condition(),
            applied: self.follower.applied(),
            stats: self.edge.stats(),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.joining.abort();
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roster = self.0.roster();
        let edges: Vec<_> = roster.seats.iter().map(|seat| &seat.location.name).collect();
        let name = &self.0.settings.name;
        f.debug_struct("Distribution").field("name", name).field("edges", &edges).finish_non_exhaustive()
    }
}
