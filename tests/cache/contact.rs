//! An edge that has lost contact with the log of its distribution uses what it has stored as its operator says, and what it
//! missed is in force before it does so again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower::{Layer, Service};
use tower_edge::distribution::bus::{
    Bus, BusError, BusFuture, BusInvalidateError, BusInvalidator, BusReader, EdgeState, Follower,
    FollowerSettings, Incarnation, Local, Position, Read, Record, Report, Reset, Roll, WithoutContact,
};
use tower_edge::{Cache, CachePolicy, Invalidation, KeyPolicy, Select};

use crate::slices::{self, Film};
use crate::support::{Origin, OriginDown, World, feed, get, read, request, response, streamed};

const AFTER: Duration = Duration::from_secs(5);

/// A log that can be cut off.
#[derive(Clone, Debug)]
struct Wire {
    log: Arc<Local>,
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    fn to(log: &Arc<Local>) -> Self {
        Self { log: Arc::clone(log), is_cut: Arc::default() }
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    fn holds(&self) -> Result<(), BusError> {
        if self.is_cut.load(Ordering::SeqCst) { Err(BusError::unreachable("cut")) } else { Ok(()) }
    }

    fn over<'a, T: 'a>(&'a self, call: BusFuture<'a, T>) -> BusFuture<'a, T> {
        Box::pin(async move {
            self.holds()?;
            let answer = call.await;
            self.holds().and(answer)
        })
    }
}

impl Bus for Wire {
    fn append<'a>(&'a self, record: &'a Record) -> BusFuture<'a, Position> {
        // What cannot be reached does nothing.
        Box::pin(async move {
            self.holds()?;
            self.log.append(record).await
        })
    }

    fn reader(&self) -> BusFuture<'_, Box<dyn BusReader>> {
        Box::pin(async move {
            self.holds()?;
            let reader = WireReader { wire: self.clone(), reader: self.log.reader().await? };
            Ok(Box::new(reader) as Box<dyn BusReader>)
        })
    }

    fn report<'a>(&'a self, report: &'a Report) -> BusFuture<'a, ()> {
        Box::pin(async move {
            self.holds()?;
            self.log.report(report).await
        })
    }

    fn leave<'a>(&'a self, id: &'a str) -> BusFuture<'a, ()> {
        self.over(self.log.leave(id))
    }

    fn roll(&self) -> BusFuture<'_, Roll> {
        self.over(self.log.roll())
    }

    fn renew(&self, seen: Incarnation) -> BusFuture<'_, ()> {
        self.over(self.log.renew(seen))
    }
}

struct WireReader {
    wire: Wire,
    reader: Box<dyn BusReader>,
}

impl BusReader for WireReader {
    fn read(&mut self, after: u64, patience: Duration) -> BusFuture<'_, Read> {
        Box::pin(async move {
            self.wire.holds()?;
            // As between machines, others have their turn before it is there.
            sleep(Duration::from_millis(10)).await;
            let read = self.reader.read(after, patience).await;
            self.wire.holds().and(read)
        })
    }
}

/// An edge that follows a log by a wire.
struct Followed {
    world: World,
    log: Arc<Local>,
    wire: Wire,
    follower: Follower,
}

impl Followed {
    async fn new(origin: Origin, without_contact: WithoutContact) -> Self {
        Self::by(origin, without_contact, Arc::new(Local::new())).await
    }

    async fn by(origin: Origin, without_contact: WithoutContact, log: Arc<Local>) -> Self {
        Self::around(World::new(origin), without_contact, log).await
    }

    async fn around(world: World, without_contact: WithoutContact, log: Arc<Local>) -> Self {
        let wire = Wire::to(&log);
        let mut settings = FollowerSettings::default();
        settings.without_contact = without_contact;
        let follower = Follower::start(&world.edge, Arc::new(wire.clone()), settings).unwrap();
        follower.joined().await;
        // Until the reading that waits is over, too.
        sleep(Duration::from_secs(2)).await;
        assert!(follower.is_trusted());
        Self { world, log, wire, follower }
    }

    /// Nothing comes and nothing goes, for longer than the edge may be without.
    async fn lose(&self) {
        self.wire.cut(true);
        sleep(Duration::from_secs(2)).await;
        self.world.pass(AFTER);
    }

    async fn regain(&self) {
        self.wire.cut(false);
        sleep(Duration::from_secs(3)).await;
    }

    fn invalidator(&self) -> BusInvalidator {
        BusInvalidator::new(self.log.clone(), "test")
    }
}

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=3600, stale-if-error=3600"), ("etag", "\"a\"")];

#[tokio::test(start_paused = true)]
async fn an_edge_that_serves_on_serves_what_was_cleared_until_contact_is_back() {
    let edge = Followed::new(Origin::numbered(FRESH), WithoutContact::Serve).await;
    edge.world.get("/").await;
    edge.lose().await;
    edge.invalidator().invalidate(Invalidation::all()).await.unwrap();
    assert!(edge.world.get("/").await.is_hit());
    assert!(edge.follower.trouble().is_some());
    edge.regain().await;
    assert!(!edge.world.get("/").await.is_hit());
    assert_eq!(edge.follower.progress().resets, 1, "it replayed");
}

#[tokio::test(start_paused = true)]
async fn without_contact_each_request_validates_for_itself() {
    let origin = Origin::new(|seen| async move {
        let conditional = seen.headers.contains_key("if-none-match");
        Ok(if conditional { response(304, FRESH, "") } else { response(200, FRESH, "a") })
    });
    let edge = Followed::new(origin, WithoutContact::Revalidate { after: AFTER }).await;
    let Followed { world, .. } = &edge;
    world.get("/").await;
    assert!(world.get("/").await.is_hit());
    edge.lose().await;
    assert!(!edge.follower.is_trusted());
    for asked in 2..=4 {
        let reply = world.get("/").await;
        assert_eq!((reply.text(), reply.is_hit(), world.origin.asked()), ("a", false, asked));
        assert_eq!(world.origin.seen()[asked - 1].headers["if-none-match"], "\"a\"");
    }
    let answers = futures_util::join!(world.get("/"), world.get("/"));
    assert_eq!((answers.0.text(), world.origin.asked()), ("a", 6), "nobody shares a fill");
    assert_eq!(world.ask(request("GET", "/", &[("cache-control", "only-if-cached")])).await.status, 504);
    assert!(!world.ask(request("HEAD", "/", &[])).await.is_hit());
    edge.regain().await;
    assert!(world.get("/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn without_contact_the_head_of_an_object_in_slices_is_validated_and_its_slices_are_used() {
    let film = Film::new(0, 100_000);
    let origin = Origin::new(move |seen| {
        let answer = film.answer(&seen);
        async move { Ok(answer) }
    });
    let world = World::with_policy(origin, slices::policy());
    let without = WithoutContact::Revalidate { after: AFTER };
    let edge = Followed::around(world, without, Arc::new(Local::new())).await;
    let range = async |range: &str| edge.world.get_with("/film", &[("range", range)]).await;
    range("bytes=0-4095").await;
    assert!(range("bytes=0-0").await.is_hit());
    edge.lose().await;
    for (asked, (wanted, length)) in
        [("bytes=1-1", 1), ("bytes=0-8191", 8192), ("bytes=0-8191", 8192)].into_iter().enumerate()
    {
        let before = edge.world.origin.asked();
        let reply = range(wanted).await;
        assert_eq!((reply.body.len(), reply.is_hit()), (length, false), "{wanted}");
        assert_eq!(edge.world.origin.seen()[before].headers["if-none-match"], "\"0\"", "{wanted}");
        // Of the slices, only the one that was not there is asked for.
        assert_eq!(edge.world.origin.asked() - before, if asked == 1 { 2 } else { 1 }, "{wanted}");
    }
    edge.invalidator().invalidate(Invalidation::paths(["/film"]).unwrap()).await.unwrap();
    edge.regain().await;
    let before = edge.world.origin.asked();
    assert_eq!(range("bytes=0-8191").await.body.len(), 8192);
    assert_eq!(
        edge.world.origin.asked() - before,
        2,
        "what was stored without contact is under the rule, too"
    );
}

#[tokio::test(start_paused = true)]
async fn without_contact_nothing_stored_stands_in_for_a_failing_origin() {
    let origin = Origin::new(|seen| async move {
        if seen.number == 0 { Ok(response(200, FRESH, "a")) } else { Err(OriginDown) }
    });
    let edge = Followed::new(origin, WithoutContact::Revalidate { after: AFTER }).await;
    edge.world.get("/").await;
    edge.lose().await;
    assert_eq!(edge.world.send(get("/")).await.map(drop), Err(OriginDown));
    edge.regain().await;
    assert!(edge.world.get("/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn without_contact_a_fill_under_way_is_not_joined() {
    let (body, fed) = feed();
    let fed = std::sync::Mutex::new(Some(fed));
    let origin = Origin::new(move |_| {
        let answer = match fed.lock().unwrap().take() {
            Some(fed) => streamed(FRESH, fed),
            None => response(200, FRESH, "new"),
        };
        async move { Ok(answer) }
    });
    let edge = Followed::new(origin, WithoutContact::Revalidate { after: AFTER }).await;
    let first = edge.world.send(get("/")).await.unwrap();
    let head = edge.world.ask(request("HEAD", "/", &[])).await;
    assert_eq!((head.outcome().collapsed, edge.world.origin.asked()), (true, 1), "with contact it is");
    edge.lose().await;
    let reply = timeout(AFTER, edge.world.get("/")).await.expect("not by the fill under way");
    assert_eq!(reply.text(), "new");
    let head = edge.world.ask(request("HEAD", "/", &[])).await;
    assert_eq!((head.outcome().collapsed, edge.world.origin.asked()), (false, 3));
    body.send("old");
    body.end();
    assert_eq!(read(first).await.unwrap().text(), "old");
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_refuses_uses_and_stores_nothing_without_contact() {
    let edge = Followed::new(Origin::numbered(FRESH), WithoutContact::Refuse { after: AFTER }).await;
    let Followed { world, .. } = &edge;
    world.get("/").await;
    edge.lose().await;
    for path in ["/", "/", "/new", "/new"] {
        let reply = world.get(path).await;
        assert_eq!(reply.header("cache-status"), Some("test; fwd=bypass; detail=no-contact"), "{path}");
    }
    assert_eq!((world.origin.asked(), world.edge.stats().objects), (5, 1));
    assert!(!world.origin.seen()[1].headers.contains_key("if-none-match"), "as if there were no cache");
    edge.regain().await;
    assert!(world.get("/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_without_contact_is_under_what_came_meanwhile() {
    let origin = Origin::numbered(FRESH);
    let edge = Followed::new(origin, WithoutContact::Revalidate { after: AFTER }).await;
    edge.lose().await;
    assert_eq!(edge.world.get("/").await.text(), "answer 0");
    edge.invalidator().invalidate(Invalidation::paths(["/"]).unwrap()).await.unwrap();
    edge.regain().await;
    assert_eq!(edge.world.get("/").await.text(), "answer 1");
    assert!(edge.world.get("/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn contact_is_back_when_all_that_was_missed_is_in_force_and_no_sooner() {
    let edge = Followed::new(Origin::numbered(FRESH), WithoutContact::Revalidate { after: AFTER }).await;
    let Followed { world, wire, .. } = &edge;
    world.get("/").await;
    edge.lose().await;
    let invalidator = edge.invalidator();
    for n in 0..1_000 {
        // The last of all is about what is stored.
        let path = if n < 999 { "/elsewhere" } else { "/" };
        invalidator.invalidate(Invalidation::paths([path]).unwrap()).await.unwrap();
    }
    wire.cut(false);
    timeout(AFTER, async {
        while !edge.follower.is_trusted() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    assert!(!world.get("/").await.is_hit());
    assert_eq!(edge.follower.applied().unwrap().number, 1_000);
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_cannot_report_is_without_contact_though_it_can_read() {
    #[derive(Debug)]
    struct Mute(Arc<Local>);
    impl Bus for Mute {
        fn append<'a>(&'a self, record: &'a Record) -> BusFuture<'a, Position> {
            self.0.append(record)
        }
        fn reader(&self) -> BusFuture<'_, Box<dyn BusReader>> {
            self.0.reader()
        }
        fn report<'a>(&'a self, _: &'a Report) -> BusFuture<'a, ()> {
            Box::pin(async { Err(BusError::unreachable("mute")) })
        }
        fn leave<'a>(&'a self, id: &'a str) -> BusFuture<'a, ()> {
            self.0.leave(id)
        }
        fn roll(&self) -> BusFuture<'_, Roll> {
            self.0.roll()
        }
        fn renew(&self, seen: Incarnation) -> BusFuture<'_, ()> {
            self.0.renew(seen)
        }
    }
    let world = World::new(Origin::numbered(FRESH));
    let mut settings = FollowerSettings::default();
    settings.without_contact = WithoutContact::Revalidate { after: AFTER };
    let follower = Follower::start(&world.edge, Arc::new(Mute(Arc::default())), settings).unwrap();
    timeout(AFTER, async {
        while follower.applied().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    // A receipt would not wait for it.
    assert!(!follower.is_trusted());
}

#[tokio::test(start_paused = true)]
async fn an_edge_too_far_behind_starts_over() {
    let log = Arc::new(Local::keeping(2));
    let edge = Followed::by(Origin::numbered(FRESH), WithoutContact::Serve, log).await;
    edge.world.get("/").await;
    edge.lose().await;
    for _ in 0..3 {
        edge.invalidator().invalidate(Invalidation::paths(["/elsewhere"]).unwrap()).await.unwrap();
    }
    edge.regain().await;
    assert_eq!(edge.follower.progress().last_reset, Some(Reset::Gap));
    assert!(!edge.world.get("/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_log_in_another_incarnation_starts_the_edge_over() {
    let edge = Followed::new(Origin::numbered(FRESH), WithoutContact::Serve).await;
    edge.world.get("/").await;
    let before = edge.follower.applied().unwrap();
    edge.log.renew(before.incarnation).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(edge.follower.progress().last_reset, Some(Reset::OtherLog));
    assert_eq!(edge.follower.applied().partial_cmp(&Some(before)), None);
    assert!(!edge.world.get("/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_receipt_waits_for_a_silent_edge_as_long_as_that_trusts_itself() {
    let edge = Followed::new(Origin::numbered(FRESH), WithoutContact::Revalidate { after: AFTER * 4 }).await;
    edge.wire.cut(true);
    let receipt = edge.invalidator().silence(AFTER).invalidate(Invalidation::all()).await.unwrap();
    sleep(AFTER * 3).await;
    let states = |edges: Vec<tower_edge::distribution::bus::EdgeProgress>| edges[0].state;
    assert_eq!(states(receipt.edges().await.unwrap()), EdgeState::Pending, "it may serve what it has");
    let began = tokio::time::Instant::now();
    let edges = timeout(AFTER * 10, receipt.completed()).await.unwrap().unwrap();
    assert_eq!(states(edges), EdgeState::Silent);
    // It could have been the log that was away: it gets that long to show itself.
    assert!(began.elapsed() >= AFTER, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_log_is_in_force_here_and_goes_out_in_order() {
    let edge = Followed::new(Origin::numbered(FRESH), WithoutContact::Serve).await;
    let own = edge.world.edge.clone();
    let over_the_wire = || BusInvalidator::new(Arc::new(edge.wire.clone()), "test");
    let invalidator = over_the_wire().queueing(3, [own.clone()]);
    edge.world.get("/").await;
    edge.wire.cut(true);
    let refused = over_the_wire().invalidate(Invalidation::all()).await;
    assert!(matches!(refused, Err(BusInvalidateError::Bus(BusError::Unreachable(_)))), "{refused:?}");
    assert!(edge.world.get("/").await.is_hit());
    let make = |path| invalidator.invalidate(Invalidation::paths([path]).unwrap());
    let first = make("/").await.unwrap();
    assert!(!edge.world.get("/").await.is_hit());
    let second = make("/b").await.unwrap();
    assert_eq!((first.position(), invalidator.queued()), (None, 2));
    let full = over_the_wire().queueing(0, [own]).invalidate(Invalidation::all()).await;
    assert!(matches!(full, Err(BusInvalidateError::QueueFull { limit: 0 })), "{full:?}");
    edge.wire.cut(false);
    // The log is back, and those that wait are not there yet: it goes behind them.
    let third = make("/c").await.unwrap();
    timeout(AFTER * 4, third.completed()).await.unwrap().unwrap();
    let numbers = [first, second, third].map(|receipt| receipt.position().unwrap().number);
    assert_eq!((numbers, invalidator.queued()), ([1, 2, 3], 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_cleared_is_found_by_the_rules_of_a_reconfigured_edge() {
    let edge = Followed::new(Origin::numbered(FRESH), WithoutContact::Serve).await;
    let key = KeyPolicy { query: Select::None, ..KeyPolicy::default() };
    let policy = CachePolicy { key, ..CachePolicy::default() };
    let reconfigured = edge.world.edge.reconfigured(policy, []).unwrap();
    let mut cache = reconfigured.layer().layer(edge.world.origin.clone());
    let is_hit = async |cache: &mut Cache<Origin>| {
        read(cache.call(get("/?a=b")).await.unwrap()).await.unwrap().is_hit()
    };
    assert!(!is_hit(&mut cache).await && is_hit(&mut cache).await);
    assert!(edge.follower.reconfigured(&reconfigured));
    assert!(!edge.follower.reconfigured(&World::new(Origin::numbered(FRESH)).edge), "another edge");
    let invalidation = Invalidation::paths(["/?c=d"]).unwrap();
    let receipt = edge.invalidator().invalidate(invalidation).await.unwrap();
    timeout(AFTER, receipt.applied()).await.unwrap().unwrap();
    assert!(!is_hit(&mut cache).await, "whatever the query, it is one object");
}
