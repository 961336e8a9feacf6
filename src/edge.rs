//! An edge location: [`Edge`].

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use http::{HeaderMap, Uri};

use crate::builder::EdgeBuilder;
use crate::clock::Clock;
use crate::contact::Contact;
use crate::error::ConfigError;
use crate::fill::Registry;
use crate::glob::Glob;
use crate::invalidation::{Invalidator, Ledger, Log, Outbox, Scope, sweep};
use crate::key::KeyBuf;
use crate::layer::CacheLayer;
use crate::observe::{Counters, Stats};
use crate::policy::{Behavior, CachePolicy};
use crate::request;
use crate::rules::{Rules, max_object};
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
    /// Answers have their outcome among their extensions.
    pub(crate) outcomes: bool,
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
    pub(crate) capacity: u64,
    /// The largest object the store was made for.
    pub(crate) largest: u64,
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

    pub(crate) fn of(Rules { behaviors, policy, .. }: Rules, state: Arc<State>) -> Self {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::Ttl;

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
