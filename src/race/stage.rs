//! What the scenes are played with: an edge, its operator and its viewers.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Empty;
use shuttle::future::block_on;
use shuttle::thread::{self, JoinHandle};
use tower::{Layer, Service};

use super::origin::{Origin, TAG};
use crate::clock::ManualClock;
use crate::contact::Trust;
use crate::edge::{Edge, EdgeInner, State};
use crate::fill::{Answer, Exchange, Lead, Participant, Recorder, Turn, Wish};
use crate::invalidation::sweep::{self, Seen};
use crate::invalidation::{Invalidation, Receipt, Scope, Stamp, label};
use crate::key::KeyBuf;
use crate::lookup::{Look, Query, Use};
use crate::policy::CachePolicy;
use crate::request::Facts;
use crate::semantics::directives::RequestCacheControl;
use crate::store::Stored;
use crate::store::test_support::key;

const URI: &str = "http://example.test/x";
const PATH: &str = "/x";

/// What a purge of the object by its path is about, of another one by its path, and of the object by its tag.
pub(super) fn path() -> Scope {
    Scope::path(PATH, None)
}

pub(super) fn other_path() -> Scope {
    Scope::path("/y", None)
}

pub(super) fn tag() -> Scope {
    Scope::Label(label::tag(TAG))
}

#[derive(Clone)]
pub(super) struct Stage(Arc<Inner>);

struct Inner {
    edge: Edge,
    origin: Origin,
    key: KeyBuf,
    policy: CachePolicy,
    /// Whoever asks from now on must see nothing older. Like everything here that is `std`'s, it is no point at which
    /// another thread may go on.
    floor: AtomicU64,
    /// The same of what is fresh.
    fresh_floor: AtomicU64,
    /// Fills that asked the origin, by what their answers are as of.
    asked: std::sync::Mutex<Vec<u64>>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        let edge = Edge::builder().capacity(1 << 20).clock(clock).build().expect("an edge");
        Self(Arc::new(Inner {
            edge,
            origin: Origin::default(),
            key: key(URI),
            policy: CachePolicy::default(),
            floor: AtomicU64::new(0),
            fresh_floor: AtomicU64::new(0),
            asked: Default::default(),
        }))
    }

    /// A stage whose edge has stored the first version.
    pub(super) fn with_stored() -> Self {
        let stage = Self::new();
        assert_eq!(stage.ask(), 0);
        assert_eq!(stage.look(), Some((0, Use::Fresh)));
        stage
    }

    pub(super) fn edge(&self) -> &Arc<EdgeInner> {
        &self.0.edge.0
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub(super) fn key(&self) -> &KeyBuf {
        &self.0.key
    }

    pub(super) fn thread<T>(&self, act: impl FnOnce(Self) -> T + Send + 'static) -> JoinHandle<T>
    where
        T: Send + 'static,
    {
        let stage = self.clone();
        thread::spawn(move || act(stage))
    }

    // What the operator does.

    /// The origin changes, and then what the edge has of it is purged.
    pub(super) fn change_and_purge(&self, scope: Scope) {
        let version = self.0.origin.change();
        self.edge().invalidate([scope]);
        self.0.floor.fetch_max(version, Ordering::SeqCst);
    }

    /// The same with a receipt.
    pub(super) fn change_and_purge_for_a_receipt(&self) -> Receipt {
        let version = self.0.origin.change();
        let purge = Invalidation::paths([PATH]).expect("a path");
        let receipt = self.0.edge.invalidator().invalidate(purge).expect("within the tariff");
        self.0.floor.fetch_max(version, Ordering::SeqCst);
        receipt
    }

    /// The same softly: what is old may be used, and is not fresh.
    pub(super) fn change_and_purge_softly(&self) {
        let version = self.0.origin.change();
        let soft = Invalidation::paths([PATH]).expect("a path").soft();
        self.0.edge.invalidator().invalidate(soft).expect("within the tariff");
        self.0.fresh_floor.fetch_max(version, Ordering::SeqCst);
    }

    /// The origin is written to through the edge.
    pub(super) fn write(&self, method: Method) {
        let before = self.0.origin.version();
        let request = Request::builder().method(method).uri(URI).body(Empty::<Bytes>::new());
        let mut cache = self.0.edge.layer().layer(self.0.origin.clone());
        // Whether the origin answered, the one who wrote knows that it has happened.
        let _ = block_on(cache.call(request.expect("a request")));
        self.0.floor.fetch_max(before + 1, Ordering::SeqCst);
    }

    /// What a write whose answer is the object has in the store: its version, as of when it is if nobody else wrote
    /// meanwhile.
    pub(super) fn write_and_keep(&self) -> Option<(u64, Stamp)> {
        let since = self.edge().log.head();
        let version = self.0.origin.change();
        let as_of = self.edge().invalidate_alone([path()], self.0.key.as_bytes(), since)?;
        Some((version, Stamp::new(as_of)))
    }

    /// One round of the sweep.
    pub(super) fn sweep(&self, seen: &mut Seen) -> bool {
        block_on(sweep::round(self.edge(), seen))
    }

    /// Sweeps until there is nothing left to do.
    pub(super) fn sweep_out(&self) {
        let mut seen = Seen::default();
        while !self.sweep(&mut seen) {}
        assert!(!self.edge().log.is_pending(), "every rule has retired");
    }

    // What viewers do.

    /// What a request finds in the store, and what it is good for.
    pub(super) fn look(&self) -> Option<(u64, Use)> {
        let floor = self.0.floor.load(Ordering::SeqCst);
        let fresh_floor = self.0.fresh_floor.load(Ordering::SeqCst);
        let (stored, use_) = self.looked()?;
        let version = version_of(&stored);
        assert!(version >= floor, "found version {version}, {floor} was in force");
        assert!(use_ != Use::Fresh || version >= fresh_floor, "found version {version} fresh");
        Some((version, use_))
    }

    fn looked(&self) -> Option<(Arc<Stored>, Use)> {
        let headers = HeaderMap::new();
        let query = Query {
            key: &self.0.key,
            headers: &headers,
            facts: &Facts::read(&headers),
            control: &RequestCacheControl::default(),
            policy: &self.0.policy,
        };
        match self.edge().look(query, Duration::ZERO, Trust::Full) {
            Look::Answer { stored, use_, .. } => Some((stored, use_)),
            Look::Ask(_) | Look::Unsatisfiable => None,
        }
    }

    /// A request and its answer: from the store, from another's fill, or from its own. Never older than what was in force
    /// when it began.
    pub(super) fn ask(&self) -> u64 {
        let floor = self.0.floor.load(Ordering::SeqCst).max(self.0.fresh_floor.load(Ordering::SeqCst));
        let version = self.answer();
        assert!(version >= floor, "answered with version {version}, {floor} was in force");
        version
    }

    fn answer(&self) -> u64 {
        if let Some((version, Use::Fresh)) = self.look() {
            return version;
        }
        let mut wish = Wish::default();
        loop {
            match self.edge().fills.join_or_lead(&self.0.key, &wish) {
                Turn::Lead(lead) => {
                    if let Some((stored, Use::Fresh)) = self.looked() {
                        let version = version_of(&stored);
                        lead.found(stored);
                        return version;
                    }
                    let viewer = lead.participate();
                    self.exchange(lead);
                    return read(viewer).expect("the exchange goes on while its viewer stays");
                }
                Turn::Follow(viewer) => {
                    let chain = viewer.chain();
                    match read(viewer) {
                        Some(version) => return version,
                        None => wish.retry = Some((chain, u8::MAX)),
                    }
                }
                turn => panic!("{turn:?}"),
            }
        }
    }

    /// The exchange with the origin that a lead is for, to its end.
    pub(super) fn exchange(&self, lead: Lead) {
        self.0.asked.lock().expect("not poisoned").push(lead.as_of());
        let (edge, policy) = (Arc::clone(self.edge()), Arc::new(self.0.policy.clone()));
        let recorder = Recorder::new(lead, edge, policy, self.0.key.clone(), self.0.key.clone());
        let request = Request::get(URI).body(()).expect("a request");
        let exchange = Exchange { recorder, origin: self.0.origin.clone(), request, whole: None };
        // Nobody is told but the viewers.
        let (tell, _told) = tokio::sync::oneshot::channel();
        block_on(exchange.run(tell));
    }

    /// How many fills that began at `as_of` or later asked the origin.
    pub(super) fn asked_since(&self, as_of: u64) -> usize {
        self.0.asked.lock().expect("not poisoned").iter().filter(|began| **began >= as_of).count()
    }

    /// What is held in memory, whether it may be used or not.
    pub(super) fn held(&self) -> Vec<u64> {
        let slot = self.edge().store.get(&self.0.key);
        slot.map_or_else(Vec::new, |slot| slot.variants().iter().map(|stored| version_of(stored)).collect())
    }

    /// Nobody is at anything any more, and so nothing is left of what they were at.
    pub(super) fn is_quiet(&self) {
        let State { fills, log, .. } = &***self.edge();
        assert_eq!(fills.usage(), (0, 0), "fills running, and the bytes they hold");
        assert!(fills.join(&self.0.key, &Default::default()).is_none(), "a fill is still registered");
        assert_eq!(log.settled(), log.head(), "a fill is still noted in the log");
    }
}

/// What a thread came to. If it panicked, so has the scene.
pub(super) fn ended<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("the scene has ended")
}

/// Reads an answer to its end. `None` if there is none to be shared, or if it breaks off.
pub(super) fn read(mut viewer: Participant) -> Option<u64> {
    match block_on(viewer.answer()) {
        Answer::Stored(stored) => Some(version_of(&stored)),
        Answer::Unshared(_) => None,
        Answer::Flowing { .. } => {
            let mut body = Vec::new();
            loop {
                let rest = body.len() as u64..u64::MAX;
                match block_on(poll_fn(|cx| viewer.poll_read(&rest, cx))) {
                    None => return Some(version(&body)),
                    Some(Ok(bytes)) => body.extend_from_slice(&bytes),
                    Some(Err(_)) => return None,
                }
            }
        }
    }
}

fn version_of(stored: &Stored) -> u64 {
    version(&stored.body.single().expect("a short body is in one piece"))
}

fn version(body: &[u8]) -> u64 {
    std::str::from_utf8(body).ok().and_then(|text| text.parse().ok()).expect("a version")
}
