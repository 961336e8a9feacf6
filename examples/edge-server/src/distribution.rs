//! This server's edge as one of a distribution: [`Membership`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hyper::HeaderMap;
use tokio::time::timeout;
use tower_edge::Edge;
use tower_edge::distribution::bus::{
    Bus, BusInvalidator, Follower, FollowerSettings, Report, WithoutContact,
};
use tower_edge::distribution::viewer::{AddressTable, Locate};
use tower_edge::distribution::{Coordinates, Nearest, Parent, Parents, TierPolicy, Token};
use tower_edge::origin::GroupPolicy;
use tower_edge::origin::upstream::Upstream;

use crate::args::DistributionArgs;
use crate::config::{Config, Distribution, Problem};
use crate::site::{Source, erased};
use crate::token;

/// Longer than a log takes that is there. An edge may start without.
const JOIN_TIME: Duration = Duration::from_secs(5);
/// What writes have invalidated is told first, for as long as a heartbeat; then the log has its time to answer.
const LEAVE_TIME: Duration = Duration::from_secs(3);
/// An edge that has not reported for so long is not sent viewers.
const SILENCE: Duration = Duration::from_secs(5);

/// An edge location, as viewers are routed to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) at: Coordinates,
    pub(crate) url: Option<String>,
}

/// An edge that is cleared with others.
#[derive(Clone)]
pub(crate) struct Membership {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) invalidator: BusInvalidator,
    pub(crate) places: Arc<[Place]>,
    /// They say where addresses are. Clones share them.
    sources: Arc<RwLock<Sources>>,
    /// Those of the last configuration that was built, by their URLs: the next keeps their connections. Clones share them.
    parents: Arc<Mutex<BTreeMap<String, Upstream>>>,
    pub(crate) token: Option<Token>,
}

impl Membership {
    /// Has an edge follow a log.
    ///
    /// # Errors
    ///
    /// What cannot work.
    pub(crate) async fn new(
        edge: &Edge,
        name: &str,
        bus: Arc<dyn Bus>,
        without_contact: WithoutContact,
        places: Vec<Place>,
        token: Option<Token>,
    ) -> Result<Self, String> {
        let mut settings = FollowerSettings::default();
        settings.without_contact = without_contact;
        let follower = Follower::start(edge, Arc::clone(&bus), settings);
        let follower = Arc::new(follower.map_err(|error| error.to_string())?);
        if timeout(JOIN_TIME, follower.joined()).await.is_err() {
            match follower.trouble() {
                Some(error) => tracing::warn!("not in the distribution yet: {error}"),
                None => tracing::warn!("not in the distribution yet"),
            }
        }
        let invalidator = BusInvalidator::new(Arc::clone(&bus), name);
        let (places, sources, parents) = (places.into(), Arc::default(), Arc::default());
        Ok(Self { bus, follower, invalidator, places, sources, parents, token })
    }

    /// As flags say it; nothing if they don't.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) async fn join(
        edge: &Edge,
        name: &str,
        args: &DistributionArgs,
    ) -> Result<Option<Self>, String> {
        let Some(url) = &args.redis else { return Ok(None) };
        let bus = redis(url, &args.namespace, 0, false).map_err(|error| format!("--{error}"))?;
        let token = shown(args.edge_token_file.as_deref()).map_err(|error| format!("--{error}"))?;
        let place = args.at.map(|at| Place {
            name: name.to_owned(),
            region: args.region.clone().unwrap_or_default(),
            at,
            url: None,
        });
        let places = Vec::from_iter(place);
        Self::new(edge, name, bus, args.without_contact, places, token).await.map(Some)
    }

    /// As a file says it; nothing if it doesn't.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) async fn configured(edge: &Edge, config: &Config) -> Result<Option<Self>, Problem> {
        let Some(distribution) = &config.distribution else { return Ok(None) };
        let Named { bus, token, sources } = named(distribution)?;
        let (policy, places) = (distribution.without_contact, distribution.places.clone());
        let membership = Self::new(edge, &config.name, bus, policy, places, token).await;
        let problem =
            |reason| Problem { place: Some(distribution.place), reason: format!("distribution: {reason}") };
        let membership = membership.map_err(problem)?;
        membership.locate_by(sources);
        Ok(Some(membership))
    }

    /// Looks at what a file names, and joins nothing.
    pub(crate) fn check(config: &Config) -> Result<(), Problem> {
        let Some(distribution) = &config.distribution else { return Ok(()) };
        named(distribution).map(drop)
    }

    /// What is behind the edge: its parents, and `origin` where all of them fail.
    ///
    /// # Errors
    ///
    /// What is wrong with a parent.
    pub(crate) fn before(&self, origin: Source, name: &str, parents: &[String]) -> Result<Source, String> {
        if parents.is_empty() {
            return Ok(origin);
        }
        let token = self.token.clone().ok_or("parents need a token that shows that an edge asks them")?;
        let mut service = Parents::new(Arc::clone(&self.follower), token).otherwise("origin", origin);
        let mut known = self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        let mut built = BTreeMap::new();
        for parent in parents {
            // Its URL is all there is to set, since an edge keeps its name.
            let upstream = match known.get(parent) {
                Some(upstream) => upstream.clone(),
                None => {
                    let upstream = Upstream::builder(parent.as_str()).name(name).build();
                    upstream.map_err(|error| format!("parent {parent}: {error}"))?
                }
            };
            built.insert(parent.clone(), upstream.clone());
            service = service.parent(parent.as_str(), upstream);
        }
        *known = built;
        service.build(GroupPolicy::default()).map(erased).map_err(|error| error.to_string())
    }

    /// The edge in front of `origin`, for viewers and for other edges.
    pub(crate) fn parent(&self, edge: &Edge, origin: Source) -> Parent<Source> {
        let mut policy = TierPolicy::default();
        policy.token.clone_from(&self.token);
        Parent::new(edge, origin, Arc::clone(&self.follower), policy)
    }

    /// Where an address is.
    pub(crate) fn locate(&self, address: IpAddr) -> Option<Coordinates> {
        let sources = Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner));
        sources.locate(Some(address), &HeaderMap::new())
    }

    /// From now on by these.
    pub(crate) fn locate_by(&self, sources: Sources) {
        let mut current = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, sources);
        // What may be large goes when the lock is gone.
        drop(current);
        drop(old);
    }

    /// The edge for viewers at a place: of those that live and do not drain, or else of those of whom nobody knows, or else of
    /// all.
    pub(crate) async fn nearest(&self, viewer: Coordinates) -> Option<Place> {
        let members = self.bus.roll().await.map(|roll| roll.members).unwrap_or_default();
        let is_heard = |place: &Place, holds: fn(&Report) -> bool| {
            let mut members = members.iter();
            members.any(|(report, heard)| report.name == place.name && *heard <= SILENCE && holds(report))
        };
        let lives = |place: &Place| is_heard(place, |report| report.applied.is_some() && !report.is_draining);
        let may_live = |place: &Place| !is_heard(place, |report| report.is_draining);
        let of = |may: &dyn Fn(&Place) -> bool| {
            let at = self.places.iter().filter(|place| may(place)).map(|place| (place.at, place));
            at.collect::<Nearest<_>>().find(viewer).map(|place| Place::clone(place))
        };
        of(&lives).or_else(|| of(&may_live)).or_else(|| of(&|_| true))
    }

    /// Says that this edge is to get no more viewers.
    pub(crate) fn drain(&self) {
        self.follower.drain(true);
    }

    /// Stops following and takes the edge off the roll, so that receipts no longer wait for it.
    pub(crate) async fn leave(&self) {
        // If the log is away, receipts wait until the edge counts as silent.
        let _ = timeout(LEAVE_TIME, self.follower.leave()).await;
    }
}

/// What a file names for a distribution.
struct Named {
    bus: Arc<dyn Bus>,
    token: Option<Token>,
    sources: Sources,
}

/// What says where addresses are, in the order in which it is asked.
pub(crate) type Sources = Arc<Vec<Arc<dyn Locate>>>;

fn named(distribution: &Distribution) -> Result<Named, Problem> {
    let Distribution { redis: url, namespace, copies, trusts_restarts, .. } = distribution;
    let problem = |reason| Problem { place: Some(distribution.place), reason };
    let bus = redis(url, namespace, *copies, *trusts_restarts).map_err(problem)?;
    let token = shown(distribution.token_file.as_deref()).map_err(problem)?;
    Ok(Named { bus, token, sources: sources(distribution)? })
}

/// Reads the files that say where addresses are.
///
/// # Errors
///
/// What is wrong with one.
pub(crate) fn sources(distribution: &Distribution) -> Result<Sources, Problem> {
    let at = |place| move |reason| Problem { place: Some(place), reason };
    // What the operator has written down counts first.
    let mut sources = Vec::new();
    if let Some((file, place)) = &distribution.addresses {
        sources.push(table(file).map_err(at(*place))?);
    }
    if let Some((file, place)) = &distribution.maxmind {
        sources.push(database(file).map_err(at(*place))?);
    }
    Ok(Arc::new(sources))
}

fn table(file: &Path) -> Result<Arc<dyn Locate>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("addresses: {}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    Ok(Arc::new(text.parse::<AddressTable>().map_err(|error| wrong(&error))?))
}

#[cfg(feature = "maxmind")]
fn database(file: &Path) -> Result<Arc<dyn Locate>, String> {
    let database = tower_edge::distribution::viewer::MaxMind::open(file);
    Ok(Arc::new(database.map_err(|error| format!("maxmind: {error}"))?))
}

#[cfg(not(feature = "maxmind"))]
fn database(_: &Path) -> Result<Arc<dyn Locate>, String> {
    Err("maxmind: needs the feature maxmind of edge-server".into())
}

/// What edges show each other.
fn shown(file: Option<&Path>) -> Result<Option<Token>, String> {
    let Some(file) = file else { return Ok(None) };
    let token = token::Token::find(Some(file)).map_err(|error| format!("edge-token-file: {error}"))?;
    let token = token.map(|token| Token::new(token.as_str())).transpose();
    token.map_err(|error| format!("edge-token-file: {}: {error}", file.display()))
}

#[cfg(feature = "redis")]
fn redis(url: &str, namespace: &str, copies: u32, trusts_restarts: bool) -> Result<Arc<dyn Bus>, String> {
    use tower_edge::distribution::bus::{Redis, RedisSettings};

    let mut settings = RedisSettings::default();
    namespace.clone_into(&mut settings.namespace);
    settings.copies = copies;
    settings.trust_restarts = trusts_restarts;
    Ok(Arc::new(Redis::new(url, settings).map_err(|error| error.to_string())?))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str, _: &str, _: u32, _: bool) -> Result<Arc<dyn Bus>, String> {
    Err("redis: needs the feature redis of edge-server".into())
}
