//! An edge location: [`Edge`], and its builder.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};

use crate::clock::{Clock, SystemClock};
use crate::contact::Contact;
use crate::error::ConfigError;
use crate::fill::Registry;
use crate::glob::Glob;
use crate::invalidation::{Invalidator, Ledger, LeftOut, Log, Outbox, Scope, Tariff, sweep};
use crate::key::KeyBuf;
use crate::layer::CacheLayer;
use crate::name;
use crate::observe::{Counters, Stats};
use crate::policy::{Behavior, CachePolicy};
use crate::request;
use crate::store::{MemoryStore, Memos};
use crate::sync::atomic::AtomicUsize;

/// One cache and all it remembers. Cheap to clone; every clone, and every layer made from one, shares the state.
///
/// ```
/// use tower_edge::Edge;
///
/// # fn main() -> Result<(), tower_edge::ConfigError> {
/// let edge = Edge::builder().name("fra-1").capacity(256 * 1024 * 1024).build()?;
/// let layer = edge.layer();
/// assert_eq!(edge.stats().requests, 0);
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Edge(pub(crate) Arc<EdgeInner>);

/// The rules of an edge, which are fixed, and the state it shares with those it was [reconfigured](Edge::reconfigured)
/// from and to.
pub(crate) struct EdgeInner {
    behaviors: Vec<(Glob, Arc<CachePolicy>)>,
    policy: Arc<CachePolicy>,
    /// Who asks by this handle is another edge, which stores what it gets.
    pub(crate) for_edges: bool,
    state: Arc<State>,
}

/// The live state of an edge. Each part has this one owner.
pub(crate) struct State {
    /// As it stands in `Cache-Status`: a token, or a quoted string.
    pub(crate) name: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) https: bool,
    pub(crate) store: MemoryStore,
    pub(crate) memos: Memos,
    pub(crate) fills: Arc<Registry>,
    pub(crate) log: Arc<Log>,
    pub(crate) outbox: Outbox,
    pub(crate) ledger: Ledger,
    pub(crate) sweeper: sweep::Sweeper,
    pub(crate) contact: Contact,
    pub(crate) counters: Counters,
    pub(crate) hasher: foldhash::quality::RandomState,
    capacity: u64,
    /// The largest object the store was made for.
    largest: u64,
    pub(crate) max_in_flight: u64,
    /// Fills that run ahead of viewers.
    pub(crate) ahead: Arc<AtomicUsize>,
}

impl EdgeInner {
    /// What outlives this handle.
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }
}

impl Deref for EdgeInner {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Edge {
    /// Starts the configuration of an edge.
    pub fn builder() -> EdgeBuilder {
        EdgeBuilder::default()
    }

    /// A layer that puts this edge in front of a service.
    pub fn layer(&self) -> CacheLayer {
        CacheLayer::from_edge(self.clone())
    }

    /// A handle that clears objects of this edge.
    pub fn invalidator(&self) -> Invalidator {
        Invalidator::new(self.clone())
    }

    /// This edge under other rules: what is stored, in flight, invalidated and counted is one and the same. This handle, and
    /// what was made from it, go on under theirs, so a request is answered under one set of rules from beginning to end.
    ///
    /// What is stored stays, with the lifetime it was stored with. Only where [headers, cookies or a custom
    /// function](crate::KeyPolicy) of the key change are objects no longer found; those that nobody asks for make room.
    ///
    /// ```
    /// use tower_edge::{Behavior, CachePolicy, Edge};
    ///
    /// # fn main() -> Result<(), tower_edge::ConfigError> {
    /// let edge = Edge::builder().name("fra-1").build()?;
    /// let images = Behavior::new("/images/*", CachePolicy::default());
    /// let reconfigured = edge.reconfigured(CachePolicy::default(), [images])?;
    /// assert_eq!(reconfigured.behavior_of(&"/images/a.png".parse().expect("a path")), Some(0));
    /// assert_eq!(edge.behavior_of(&"/images/a.png".parse().expect("a path")), None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If a setting cannot work, or an object may be larger than any that the edge was built for.
    pub fn reconfigured(
        &self,
        policy: CachePolicy,
        behaviors: impl IntoIterator<Item = Behavior>,
    ) -> Result<Self, ConfigError> {
        let state = Arc::clone(&self.0.state);
        let rules = Rules::new(policy, behaviors, state.capacity)?;
        if rules.largest > state.largest {
            let reason = format!(
                "{} bytes is over {}, the largest that this edge was built to hold",
                rules.largest, state.largest
            );
            return Err(ConfigError::new("limits.object_size", reason));
        }
        Ok(Self::of(rules, state))
    }

    fn of(Rules { behaviors, policy, .. }: Rules, state: Arc<State>) -> Self {
        Self(Arc::new(EdgeInner { behaviors, policy, for_edges: false, state }))
    }

    /// This edge as other edges see it, which store what they get: they see tags and the fields for caches alone, and nothing
    /// that a soft invalidation made stale.
    pub(crate) fn for_edges(&self) -> Self {
        let EdgeInner { behaviors, policy, state, .. } = &*self.0;
        let (behaviors, policy, state) = (behaviors.clone(), Arc::clone(policy), Arc::clone(state));
        Self(Arc::new(EdgeInner { behaviors, policy, for_edges: true, state }))
    }

    /// Which of its behaviors, counted from 0 in their order, has the policy for a URI. `None` if the edge's own policy
    /// applies.
    ///
    /// For a service that decides more by path than caching, so that both decide alike.
    pub fn behavior_of(&self, uri: &Uri) -> Option<usize> {
        self.0.behavior_of(uri)
    }

    /// What the edge has done, and what it holds.
    pub fn stats(&self) -> Stats {
        let (objects, bytes) = self.0.store.usage();
        let (fills, bytes_in_flight) = self.0.fills.usage();
        Stats { objects, bytes, fills, bytes_in_flight, ..self.0.counters.snapshot() }
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl EdgeInner {
    /// The policy of the first behavior that matches.
    pub(crate) fn policy_for(&self, uri: &Uri) -> &Arc<CachePolicy> {
        self.behavior_of(uri).map_or(&self.policy, |index| &self.behaviors[index].1)
    }

    /// The first behavior that matches. A path that may mean another path to the origin matches none.
    fn behavior_of(&self, uri: &Uri) -> Option<usize> {
        if self.behaviors.is_empty() || request::path_is_ambiguous(uri) {
            return None;
        }
        self.behaviors.iter().position(|(pattern, _)| pattern.matches(uri.path()))
    }

    /// The largest body that is stored under a policy.
    pub(crate) fn max_object(&self, policy: &CachePolicy) -> u64 {
        max_object(policy, self.capacity)
    }

    /// The URI's run of the keys of everything at `uri`.
    pub(crate) fn uri_scope(&self, uri: &Uri, headers: &HeaderMap) -> Option<Scope> {
        let key = KeyBuf::of_uri(uri, headers, self.https).ok()?;
        Some(Scope::Uri(key.as_bytes().into()))
    }

    /// Objects longer than this are kept in slices, under a policy that has any.
    pub(crate) fn slice_threshold(&self, policy: &CachePolicy) -> Option<u64> {
        policy.slices.map(|slices| slices.threshold.min(self.max_object(policy)))
    }

    /// Puts in force what a write through this edge invalidates, tells the other edges of its distribution, and has the
    /// objects swept.
    pub(crate) fn invalidate(self: &Arc<Self>, scopes: impl IntoIterator<Item = Scope>) {
        self.told(scopes, |scopes| self.log.append(scopes, None));
    }

    /// The same, and the number of the rules, unless others that cover `key` came after `since`.
    pub(crate) fn invalidate_alone(
        self: &Arc<Self>,
        scopes: impl IntoIterator<Item = Scope>,
        key: &[u8],
        since: u64,
    ) -> Option<u64> {
        self.told(scopes, |scopes| self.log.append_alone(scopes, key, since))
    }

    /// Puts in force what a write through another edge invalidates.
    pub(crate) fn invalidate_as_told(self: &Arc<Self>, scopes: impl IntoIterator<Item = Scope>) {
        self.log.append(scopes, None);
        self.invalidated();
    }

    /// The outbox is shut until the rules are in force: so nobody reads in the distribution's log of what is not, nor sees the
    /// rules and takes the outbox for empty.
    fn told<I: IntoIterator<Item = Scope>, T>(
        self: &Arc<Self>,
        scopes: I,
        append: impl FnOnce(&mut dyn Iterator<Item = Scope>) -> T,
    ) -> T {
        // What another edge does here on behalf of its viewer it tells itself.
        let mut outbox = if self.for_edges { None } else { self.outbox.open() };
        let appended = append(&mut scopes.into_iter().inspect(|scope| {
            if let Some(outbox) = &mut outbox {
                outbox.put(scope);
            }
        }));
        drop(outbox);
        self.invalidated();
        appended
    }

    fn invalidated(self: &Arc<Self>) {
        self.counters.invalidated();
        sweep::start(self.state());
    }
}

const MAX_OBJECT: u64 = 64 * 1024 * 1024;
/// An object may take this part of the capacity, so that it cannot sweep out everything else.
const OBJECT_SHARE: u64 = 8;
/// Fills may hold this part of the capacity.
const IN_FLIGHT_SHARE: u64 = 4;
const MIN_CAPACITY: u64 = 64 * 1024;
/// Under this a slice costs more to ask for than to send.
const MIN_SLICE: u64 = 4 * 1024;
/// Each viewer may hold so many slices besides the one it reads.
const MAX_READ_AHEAD: usize = 16;

fn max_object(policy: &CachePolicy, capacity: u64) -> u64 {
    policy.limits.object_size.unwrap_or(MAX_OBJECT.min(capacity / OBJECT_SHARE))
}

/// Configures an [`Edge`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `build`"]
pub struct EdgeBuilder {
    name: String,
    capacity: u64,
    max_fills: u64,
    https: bool,
    policy: CachePolicy,
    behaviors: Vec<Behavior>,
    tariff: Tariff,
    clock: Arc<dyn Clock>,
    left_out: LeftOut,
}

impl Default for EdgeBuilder {
    fn default() -> Self {
        Self {
            name: "tower-edge".into(),
            capacity: 512 * 1024 * 1024,
            max_fills: 1024,
            https: false,
            policy: CachePolicy::default(),
            behaviors: Vec::new(),
            tariff: Tariff::default(),
            clock: Arc::new(SystemClock::new()),
            left_out: LeftOut::default(),
        }
    }
}

impl EdgeBuilder {
    /// The edge's name in `Cache-Status`, such as `fra-1`. `tower-edge` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Bytes the store may hold, heads and keys included. 512 MiB by default.
    ///
    /// A thirty-second of it, at most 64 MiB, is set aside for the fields of what is asked for most, ready to be sent.
    ///
    /// Fills in flight may hold another quarter of it. Past that, each fill may still hold 256 KiB and one frame of the
    /// origin's; [`max_fills`](Self::max_fills) bounds how many there are.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// How many fills may run at a time; past that, requests are forwarded and not stored. 1024 by default.
    pub fn max_fills(mut self, fills: u64) -> Self {
        self.max_fills = fills;
        self
    }

    /// The scheme of requests that do not say theirs (HTTP/1.1 in origin form) is `https`. Set it where the edge is
    /// behind TLS.
    pub fn https(mut self, https: bool) -> Self {
        self.https = https;
        self
    }

    /// The policy for paths that no behavior matches.
    pub fn policy(mut self, policy: CachePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Adds a behavior after those already there.
    pub fn behavior(mut self, behavior: Behavior) -> Self {
        self.behaviors.push(behavior);
        self
    }

    /// Adds several, such as those of a [`preset`](crate::preset).
    pub fn behaviors(mut self, behaviors: impl IntoIterator<Item = Behavior>) -> Self {
        self.behaviors.extend(behaviors);
        self
    }

    /// What invalidations cost, and how many there may be.
    pub fn tariff(mut self, tariff: Tariff) -> Self {
        self.tariff = tariff;
        self
    }

    /// Takes the time from `clock`. For tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Leaves out a check of the log, so that invalidations do not hold. For the tests of this crate, which must be able to
    /// fail.
    #[cfg(feature = "faults")]
    #[doc(hidden)]
    pub fn leave_out(mut self, check: crate::invalidation::Check) -> Self {
        self.left_out.add(check);
        self
    }

    /// Checks the configuration and builds the edge.
    ///
    /// # Errors
    /// If a setting cannot work; the error names it.
    pub fn build(self) -> Result<Edge, ConfigError> {
        let name = name::item("name", &self.name)?;
        if self.capacity < MIN_CAPACITY {
            return Err(ConfigError::new("capacity", format!("is under {MIN_CAPACITY} bytes")));
        }
        if self.max_fills == 0 {
            return Err(ConfigError::new("max_fills", "is zero: nothing would ever be stored"));
        }
        let rules = Rules::new(self.policy, self.behaviors, self.capacity)?;
        let log = Arc::new(Log::leaving_out(self.left_out));
        let state = State {
            name,
            clock: self.clock,
            https: self.https,
            store: MemoryStore::new(self.capacity, rules.largest),
            memos: Memos::new(),
            fills: Arc::new(Registry::new(Arc::clone(&log), self.max_fills)),
            log,
            outbox: Outbox::default(),
            ledger: Ledger::new(self.tariff),
            sweeper: sweep::Sweeper::default(),
            contact: Contact::default(),
            counters: Counters::default(),
            hasher: foldhash::quality::RandomState::default(),
            capacity: self.capacity,
            largest: rules.largest,
            max_in_flight: self.capacity / IN_FLIGHT_SHARE,
            ahead: Arc::default(),
        };
        Ok(Edge::of(rules, Arc::new(state)))
    }
}

/// Policies that make sense, and the largest object they let in.
struct Rules {
    behaviors: Vec<(Glob, Arc<CachePolicy>)>,
    policy: Arc<CachePolicy>,
    largest: u64,
}

impl Rules {
    fn new(
        policy: CachePolicy,
        behaviors: impl IntoIterator<Item = Behavior>,
        capacity: u64,
    ) -> Result<Self, ConfigError> {
        let mut largest = check(&policy, capacity, "policy")?;
        let mut checked = Vec::new();
        for Behavior { pattern, policy } in behaviors {
            let place = format!("behavior {pattern:?}");
            if !pattern.starts_with(['/', '*', '?']) {
                return Err(ConfigError::new(
                    place,
                    "a pattern starts with '/', '*' or '?', or it matches no path",
                ));
            }
            largest = largest.max(check(&policy, capacity, &place)?);
            checked.push((Glob::new(&pattern), Arc::new(policy)));
        }
        Ok(Self { behaviors: checked, policy: Arc::new(policy), largest })
    }
}

/// The largest object a policy lets in, if the policy makes sense.
fn check(policy: &CachePolicy, capacity: u64, place: &str) -> Result<u64, ConfigError> {
    let wrong = |setting: &str, reason: String| Err(ConfigError::new(format!("{place}: {setting}"), reason));
    let share = capacity / OBJECT_SHARE;
    let object = max_object(policy, capacity);
    if object > share {
        let reason = format!(
            "{object} bytes is over an eighth of the capacity ({share} bytes), so it could not be held"
        );
        return wrong("limits.object_size", reason);
    }
    if object == 0 {
        return wrong("limits.object_size", "is zero".into());
    }
    if policy.ttl.min > policy.ttl.max {
        return wrong("ttl.min", format!("{:?} is over ttl.max ({:?})", policy.ttl.min, policy.ttl.max));
    }
    if policy.limits.variants == 0 {
        return wrong("limits.variants", "is zero".into());
    }
    if policy.heuristic.percent > 100 {
        return wrong("heuristic.percent", format!("{} is over 100", policy.heuristic.percent));
    }
    if policy.limits.follower_wait == Duration::ZERO {
        return wrong("limits.follower_wait", "is zero: nobody could share a fill".into());
    }
    let Some(slices) = policy.slices else { return Ok(object) };
    if slices.size < MIN_SLICE {
        return wrong("slices.size", format!("{} is under {MIN_SLICE} bytes", slices.size));
    }
    if slices.size > share {
        let reason = format!(
            "{} bytes is over an eighth of the capacity ({share} bytes), so no slice could be held",
            slices.size
        );
        return wrong("slices.size", reason);
    }
    if slices.threshold < slices.size {
        let reason = format!("{} bytes is under slices.size ({} bytes)", slices.threshold, slices.size);
        return wrong("slices.threshold", reason);
    }
    if slices.read_ahead > MAX_READ_AHEAD {
        return wrong("slices.read_ahead", format!("{} is over {MAX_READ_AHEAD}", slices.read_ahead));
    }
    Ok(object.max(slices.size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Limits, Slices, Ttl};

    #[test]
    fn a_configuration_that_cannot_work_is_refused_by_name() {
        let sized = |object_size| CachePolicy {
            limits: Limits { object_size: Some(object_size), ..Limits::default() },
            ..CachePolicy::default()
        };
        let backwards = CachePolicy {
            ttl: Ttl { min: Duration::from_secs(2), max: Duration::from_secs(1), ..Ttl::default() },
            ..CachePolicy::default()
        };
        let sliced = |slices| CachePolicy { slices: Some(slices), ..CachePolicy::default() };
        let edge = || Edge::builder().capacity(8 << 20);
        for (builder, setting) in [
            (edge().name(""), "name"),
            (edge().name("a\nb"), "name"),
            (edge().capacity(1), "capacity"),
            (edge().max_fills(0), "max_fills"),
            (edge().policy(sized((1 << 20) + 1)), "policy: limits.object_size"),
            (edge().policy(backwards), "policy: ttl.min"),
            (edge().policy(sliced(Slices::of(4095))), "policy: slices.size"),
            (edge().policy(sliced(Slices::of((1 << 20) + 1))), "policy: slices.size"),
            (
                edge().policy(sliced(Slices { threshold: 4095, ..Slices::of(4096) })),
                "policy: slices.threshold",
            ),
            (
                edge().policy(sliced(Slices { read_ahead: 17, ..Slices::of(4096) })),
                "policy: slices.read_ahead",
            ),
            (edge().behavior(Behavior::new("/a", sized(0))), "behavior \"/a\": limits.object_size"),
            (edge().behavior(Behavior::new("a", CachePolicy::default())), "behavior \"a\""),
        ] {
            assert_eq!(builder.build().unwrap_err().setting(), setting);
        }
        assert!(edge().policy(sized(1 << 20)).build().is_ok());
        assert!(edge().policy(sliced(Slices::default())).build().is_ok());
    }

    #[test]
    fn the_first_behavior_that_matches_decides() {
        let named = |seconds| CachePolicy {
            ttl: Ttl { default: Some(Duration::from_secs(seconds)), ..Ttl::default() },
            ..CachePolicy::default()
        };
        let edge = Edge::builder()
            .policy(named(0))
            .behavior(Behavior::new("/a/*.png", named(1)))
            .behavior(Behavior::new("/a/*", named(2)))
            .build()
            .unwrap();
        for (path, seconds) in [("/a/x.png", 1), ("/a/x", 2), ("/b", 0), ("/a/../a/x", 0), ("/a/x%2f", 0)] {
            let policy = edge.0.policy_for(&path.parse().unwrap());
            assert_eq!(policy.ttl.default, Some(Duration::from_secs(seconds)), "{path}");
        }
    }
}
