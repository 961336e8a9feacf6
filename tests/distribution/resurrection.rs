//! What was cleared does not come back from a parent that does not know of it yet.
//!
//! In one process, with the log's news held up on their way to the parent.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use tower::Layer;
use tower_edge::distribution::bus::{BusReceipt, Follower, Local, Position};
use tower_edge::distribution::{Announce, Parent, TierPolicy};
use tower_edge::{Cache, Clock, Edge, EdgeBuilder, Invalidation, SystemClock};

use crate::held::Held;
use crate::support::{Origin, edge, follow, get, invalidate, token};

const URI: &str = "http://site.example/x";

pub(crate) type Child = Cache<Announce<Parent<Origin>>>;

pub(crate) struct Tiers {
    pub(crate) bus: Arc<Local>,
    pub(crate) way: Arc<Held>,
    pub(crate) origin: Origin,
    pub(crate) shield: Arc<Follower>,
    pub(crate) child: Arc<Follower>,
    pub(crate) parent: Parent<Origin>,
    pub(crate) site: Child,
}

pub(crate) async fn tiers(origin: Origin, shield: EdgeBuilder, patience: Duration) -> Tiers {
    let bus = Arc::new(Local::new());
    let way = Held::on(&bus);
    let shield: Edge = shield.build().unwrap();
    let child = edge("fra-1").build().unwrap();
    let follower = follow(&shield, way.clone()).await;
    let mut policy = TierPolicy::default();
    (policy.token, policy.patience) = (Some(token()), patience);
    let parent = Parent::new(&shield, origin.clone(), Arc::clone(&follower), policy);
    let child_follower = follow(&child, bus.clone()).await;
    let site = child.layer().layer(Announce::new(parent.clone(), Arc::clone(&child_follower), token()));
    Tiers { bus, way, origin, shield: follower, child: child_follower, parent, site }
}

impl Tiers {
    /// The origin changes, and everything is cleared. The child knows of it, and the parent does not.
    pub(crate) async fn change_behind_the_parents_back(&self, cleared: Invalidation) -> BusReceipt {
        self.way.hold(true);
        self.origin.change();
        let receipt = invalidate(self.bus.clone(), cleared).await;
        self.child.reached(receipt.position().unwrap()).await;
        assert_ne!(self.shield.applied(), receipt.position());
        receipt
    }
}

/// What the child has at once, and what it has for good.
async fn refilled_from_a_parent_that_is_behind(shield: EdgeBuilder) -> [String; 2] {
    let tiers = tiers(Origin::cacheable(), shield, Duration::from_millis(100)).await;
    assert_eq!(get(&tiers.site, URI).await.body, "content 1");
    let receipt = tiers.change_behind_the_parents_back(Invalidation::all()).await;
    let at_once = get(&tiers.site, URI).await.body;
    tiers.way.hold(false);
    assert_eq!(receipt.completed().await.unwrap().len(), 2);
    let answer = get(&tiers.site, URI).await;
    assert!(answer.status().ends_with("fra-1; hit; ttl=600"), "{answer:?}");
    [at_once, answer.body]
}

#[tokio::test(start_paused = true)]
async fn a_child_does_not_refill_with_what_its_parent_does_not_know_to_be_cleared() {
    assert_eq!(refilled_from_a_parent_that_is_behind(edge("shield")).await, ["content 2", "content 2"]);
}

/// The same without the check: so the test above can fail.
#[cfg(feature = "faults")]
#[tokio::test(start_paused = true)]
async fn without_the_check_of_positions_what_was_cleared_comes_back_for_good() {
    let shield = edge("shield").leave_out(tower_edge::Check::Position);
    assert_eq!(refilled_from_a_parent_that_is_behind(shield).await, ["content 1", "content 1"]);
}

/// Notes how far an edge says it has come, whenever somebody asks for the time of day: for one, who puts a rule in force.
#[derive(Clone, Debug, Default)]
struct Spy {
    follower: Arc<OnceLock<Arc<Follower>>>,
    seen: Arc<Mutex<Vec<[Option<Position>; 2]>>>,
}

impl Clock for Spy {
    fn elapsed(&self) -> Duration {
        SystemClock::new().elapsed()
    }

    fn wall(&self) -> SystemTime {
        if let Some(follower) = self.follower.get() {
            self.seen.lock().unwrap().push([follower.begun(), follower.applied()]);
        }
        SystemClock::new().wall()
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_says_that_it_has_come_to_a_record_before_the_rule_is_in_force() {
    let spy = Spy::default();
    let bus = Arc::new(Local::new());
    let follower = follow(&edge("fra-1").clock(spy.clone()).build().unwrap(), bus.clone()).await;
    let before = follower.applied();
    spy.follower.set(Arc::clone(&follower)).unwrap();
    let receipt = invalidate(bus, Invalidation::all()).await;
    receipt.completed().await.unwrap();
    assert_eq!(spy.seen.lock().unwrap()[..], [[receipt.position(), before]]);
}

#[tokio::test(start_paused = true)]
async fn the_origin_answers_for_a_parent_that_is_behind_which_stores_nothing_of_it() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), Duration::from_millis(100)).await;
    get(&tiers.site, URI).await;
    tiers.change_behind_the_parents_back(Invalidation::all()).await;
    let began = tokio::time::Instant::now();
    let answer = get(&tiers.site, URI).await;
    assert_eq!(answer.status(), "shield; fwd=bypass; detail=behind, fra-1; fwd=uri-miss; stored");
    assert_eq!(began.elapsed(), Duration::from_millis(100));
    // The parent still has what it may give to its own viewers, who know nothing newer.
    assert_eq!(get(&tiers.parent, URI).await.body, "content 1");
    tiers.way.hold(false);
    tiers.shield.reached(tiers.child.applied().unwrap()).await;
    assert_eq!(get(&tiers.parent, URI).await.status(), "shield; fwd=uri-miss; stored");
    assert_eq!(tiers.origin.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_catches_up_meanwhile_answers_itself() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), Duration::from_millis(100)).await;
    get(&tiers.site, URI).await;
    tiers.change_behind_the_parents_back(Invalidation::all()).await;
    let catches_up = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        tiers.way.hold(false);
    };
    let (answer, ()) = tokio::join!(get(&tiers.site, URI), catches_up);
    assert_eq!(answer.body, "content 2");
    assert_eq!(answer.status(), "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn what_only_went_stale_is_not_fresh_again_by_way_of_a_parent() {
    // Both may serve stale for long, and the parent would.
    let origin =
        Origin::new(&[("cache-control", "max-age=600, stale-while-revalidate=600, stale-if-error=600")]);
    let tiers = tiers(origin, edge("shield"), Duration::from_millis(100)).await;
    get(&tiers.site, URI).await;
    tiers.origin.change();
    let soft = Invalidation::all().soft();
    let receipt = invalidate(tiers.bus.clone(), soft).await;
    receipt.completed().await.unwrap();
    let stale = get(&tiers.site, URI).await;
    assert_eq!(stale.body, "content 1", "{stale:?}");
    assert!(stale.status().ends_with("; detail=stale-while-revalidate"), "{stale:?}");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let refreshed = get(&tiers.site, URI).await;
    assert_eq!(refreshed.body, "content 2", "{refreshed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_follows_another_log_does_not_answer_from_its_store() {
    let tiers = tiers(Origin::cacheable(), edge("shield"), Duration::from_secs(100)).await;
    get(&tiers.site, URI).await;
    let stranger = edge("nyc-1").build().unwrap();
    let follower = follow(&stranger, Arc::new(Local::new())).await;
    let site = stranger.layer().layer(Announce::new(tiers.parent.clone(), follower, token()));
    tiers.origin.change();
    // At once: it would wait for ever.
    let began = tokio::time::Instant::now();
    let answer = get(&site, URI).await;
    assert_eq!(answer.status(), "shield; fwd=bypass; detail=behind, nyc-1; fwd=uri-miss; stored");
    assert_eq!((answer.body.as_str(), began.elapsed()), ("content 2", Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_position_goes_on_to_the_parents_parent() {
    // The regional edge follows slowly, and the shield behind it does, too.
    let shield = tiers(Origin::cacheable(), edge("shield"), Duration::ZERO).await;
    let region = edge("region").build().unwrap();
    let region_way = Held::on(&shield.bus);
    let follower = follow(&region, region_way.clone()).await;
    let mut policy = TierPolicy::default();
    (policy.token, policy.patience) = (Some(token()), Duration::ZERO);
    let up = Announce::new(shield.parent.clone(), Arc::clone(&follower), token());
    let parent = Parent::new(&region, up, follower, policy);
    let child = edge("nyc-1").build().unwrap();
    let follower = follow(&child, shield.bus.clone()).await;
    let site = child.layer().layer(Announce::new(parent, Arc::clone(&follower), token()));
    assert_eq!(get(&site, URI).await.body, "content 1");
    region_way.hold(true);
    let receipt = shield.change_behind_the_parents_back(Invalidation::all()).await;
    follower.reached(receipt.position().unwrap()).await;
    let answer = get(&site, URI).await;
    assert_eq!(
        (answer.body.as_str(), answer.status().as_str()),
        (
            "content 2",
            "shield; fwd=bypass; detail=behind, region; fwd=bypass; detail=behind, nyc-1; fwd=uri-miss; stored"
        )
    );
}
