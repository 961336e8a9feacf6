//! One history: the operations of a list, done one after the other to an edge in virtual time, while what they began goes on.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use http::request::Parts;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::Layer;
use tower_edge::{
    Cache, CachePolicy, Clock, CustomKey, Edge, EdgeBuilder, InvalidationState, Invalidator, KeyPolicy,
    Limits, Receipt, Stale, Tariff, Writes,
};

use crate::invalidate::invalidate;
use crate::operation::{Kind, Operation, Pause};
use crate::origin::Origin;
use crate::random::{Random, mix};
use crate::read::read;
use crate::record::{Event, Record, Violation, What};
use crate::site::{COLOUR, Content, OBJECT_SIZE};
use crate::truth::Truth;
use crate::write::write;

/// What origin and viewers share: the operations, what is true, and what happened.
pub(crate) struct Site {
    operations: Vec<Operation>,
    truth: Mutex<Truth>,
    record: Mutex<Record>,
    started: Instant,
}

impl Site {
    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().expect("nobody panicked")
    }

    pub(crate) fn operation(&self, number: u32) -> &Operation {
        let at = self.operations.binary_search_by_key(&number, |operation| operation.number);
        &self.operations[at.expect("an operation of this list")]
    }

    /// What an operation makes of an object.
    pub(crate) fn written_by(&self, number: u32, object: usize) -> Content {
        let other = match &self.operation(number).kind {
            Kind::Write(write) => write.object != object,
            _ => false,
        };
        Content { object, id: 2 * number + 1 + u32::from(other) }
    }

    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn record(&self, operation: u32, object: Option<usize>, what: What) {
        let at = self.now();
        self.records().events.push(Event { at, operation, object, what });
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.records().tally.count(what);
    }

    pub(crate) fn violated(&self, operation: u32, object: usize, why: String) {
        self.records().violation.get_or_insert(Violation { operation, object, why });
    }

    fn records(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nobody panicked")
    }
}

/// What an operation is done to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) site: Arc<Site>,
    pub(crate) cache: Cache<Origin>,
    pub(crate) invalidator: Invalidator,
    pub(crate) policy: Arc<CachePolicy>,
}

/// The runtime's paused time, and a wall clock that goes with it.
#[derive(Debug)]
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600) + self.elapsed()
    }
}

/// Does these operations to an edge of the seed's making, and says what came of it. Ends with the first violation.
pub(crate) fn run(
    seed: u64,
    operations: Vec<Operation>,
    alter: impl Fn(EdgeBuilder) -> EdgeBuilder,
) -> Record {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let started = Instant::now();
        let site = Site { operations, truth: Mutex::new(Truth::new()), record: Mutex::default(), started };
        let site = Arc::new(site);
        let (policy, builder) = configuration(seed);
        let builder = builder.policy(policy.clone()).clock(VirtualClock(started));
        let edge = alter(builder).build().expect("an edge");
        let cache = edge.layer().layer(Origin(Arc::clone(&site)));
        let invalidator = edge.invalidator();
        let world = World { site: Arc::clone(&site), cache, invalidator, policy: Arc::new(policy) };
        drive(&world, &edge).await;
        std::mem::take(&mut *site.records())
    })
}

/// An edge, small in one way or another.
fn configuration(seed: u64) -> (CachePolicy, EdgeBuilder) {
    let random = &mut Random::new(mix(seed ^ 0xED6E));
    // What is keyed by more than its URL is one object to an invalidation all the same.
    let colour = |request: &Parts| Some(vec![request.headers.get(COLOUR)?.as_bytes().to_vec()]);
    let custom =
        random.percent(25).then(|| CustomKey::new(move |request| Some(colour(request).unwrap_or_default())));
    let policy = CachePolicy {
        key: KeyPolicy { custom, ..KeyPolicy::default() },
        stale: Stale {
            while_revalidate: random.pick(&[Duration::ZERO, Duration::from_secs(2)]),
            if_error: random.pick(&[Duration::ZERO, Duration::from_secs(5)]),
            if_disconnected: Duration::from_secs(5),
            ..Stale::default()
        },
        limits: Limits {
            object_size: Some(OBJECT_SIZE),
            variants: random.pick(&[2, 8]),
            follower_wait: random.pick(&[Duration::from_millis(40), Duration::from_secs(5)]),
            uncacheable_memo: random.pick(&[Duration::from_millis(300), Duration::from_secs(20)]),
            ..Limits::default()
        },
        writes: random.pick(&[Writes::Around, Writes::Through]),
        ..CachePolicy::default()
    };
    let tariff = Tariff { paths_in_progress: u64::MAX, wildcards_in_progress: u64::MAX, ..Tariff::default() };
    let builder = Edge::builder()
        .outcomes(true)
        .capacity(random.pick(&[64 << 10, 128 << 10, 1 << 20]))
        .max_fills(random.pick(&[8, 1024, 1024]))
        .tariff(tariff);
    (policy, builder)
}

async fn drive(world: &World, edge: &Edge) {
    let site = &world.site;
    let mut begun = JoinSet::new();
    let mut receipts: Vec<Receipt> = Vec::new();
    for Operation { number, pause, kind, .. } in &site.operations {
        match *pause {
            Pause::None => {}
            Pause::Turns(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            Pause::Time(time) => tokio::time::sleep(time).await,
        }
        while let Some(ended) = begun.try_join_next() {
            ended.expect("no panic");
        }
        if site.records().violation.is_some() {
            return;
        }
        let number = *number;
        match kind {
            Kind::Read(_) => drop(begun.spawn(read(world.clone(), number))),
            Kind::Write(_) => drop(begun.spawn(write(world.clone(), number))),
            Kind::Invalidate(what) => receipts.push(invalidate(world, number, what)),
            Kind::Change(object) => {
                let content = site.written_by(number, *object);
                site.truth().change(content, true);
                site.record(number, Some(*object), What::Changed { content: content.id });
                site.count("change: untold");
            }
        }
    }
    while let Some(ended) = begun.join_next().await {
        ended.expect("no panic");
    }
    settled(site, edge, &receipts).await;
}

/// When everyone has ended, nothing is left of it: no fill, no byte in flight, no invalidation in progress.
async fn settled(site: &Site, edge: &Edge, receipts: &[Receipt]) {
    let deadline = site.now() + Duration::from_secs(120);
    let left = || {
        let stats = edge.stats();
        let open = receipts.iter().filter(|receipt| receipt.state() != InvalidationState::Completed);
        (stats.fills, stats.bytes_in_flight, open.count())
    };
    while left() != (0, 0, 0) && site.now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if left() != (0, 0, 0) && site.records().violation.is_none() {
        let why = format!("fills, bytes in flight and open receipts two minutes later: {:?}", left());
        site.violated(u32::MAX, 0, why);
    }
    for receipt in receipts {
        let tally = &mut site.records().tally;
        (0..receipt.objects()).for_each(|_| tally.count("invalidated: objects"));
        (0..receipt.fills_revoked()).for_each(|_| tally.count("invalidated: fills"));
    }
}
