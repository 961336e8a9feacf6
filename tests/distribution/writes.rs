//! What a write through one edge invalidates, the others learn.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer, Service, service_fn};
use tower_edge::distribution::bus::{Bus, Follower, Local, Record};
use tower_edge::{Cache, CachePolicy, Edge, Invalidation, Ttl, Writes};

use crate::held::{Appends, Held};
use crate::support::{Answer, Origin, ask, edge, follow, get, invalidate};

const URI: &str = "http://site.example/x";
const OTHER: &str = "http://site.example/other";
const SECOND: Duration = Duration::from_secs(1);

/// Two edges before one origin, each with its own way to the log.
struct Pair {
    bus: Arc<Local>,
    ways: [Arc<Held>; 2],
    edges: [Edge; 2],
    followers: [Arc<Follower>; 2],
    origin: Origin,
    sites: [Cache<Origin>; 2],
}

impl Pair {
    async fn before(origin: Origin) -> Self {
        let bus = Arc::new(Local::new());
        let ways = [Held::on(&bus), Held::on(&bus)];
        let edges = ["fra-1", "nyc-1"].map(|name| edge(name).build().unwrap());
        let followers = [follow(&edges[0], ways[0].clone()).await, follow(&edges[1], ways[1].clone()).await];
        let sites = edges.each_ref().map(|edge| edge.layer().layer(origin.clone()));
        Self { bus, ways, edges, followers, origin, sites }
    }

    async fn new() -> Self {
        Self::before(Origin::cacheable()).await
    }

    /// Both hold what the origin has at `uri`.
    async fn warm(&self, uri: &str) {
        for site in &self.sites {
            get(site, uri).await;
            assert!(get(site, uri).await.status().contains("; hit"));
        }
    }

    /// What the second edge answers, as soon as that is not what it has.
    async fn the_other_learns(&self) -> Answer {
        let learns = async {
            loop {
                let answer = get(&self.sites[1], URI).await;
                if !answer.status().contains("; hit") {
                    break answer;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SECOND * 10, learns).await.expect("it learns of it")
    }

    async fn written(&self) -> Vec<Record> {
        written(&self.bus).await
    }
}

/// What is in the log.
pub(crate) async fn written(bus: &Local) -> Vec<Record> {
    let read = bus.reader().await.unwrap().read(0, Duration::ZERO).await.unwrap();
    read.records.into_iter().map(|(_, record)| record.unwrap()).collect()
}

/// The origin's content changes by it.
pub(crate) async fn put<S, R>(origin: &Origin, site: &S, uri: &str) -> Answer
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    S::Error: std::fmt::Debug,
    R: http_body::Body,
    R::Error: Into<BoxError>,
{
    origin.change();
    ask(site, Request::put(uri).body(Full::default()).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn what_is_put_through_one_edge_is_read_through_the_other_once_it_knows() {
    let pair = Pair::new().await;
    pair.warm(URI).await;
    pair.warm(OTHER).await;
    pair.ways[1].hold(true);
    put(&pair.origin, &pair.sites[0], URI).await;
    assert_eq!(get(&pair.sites[0], URI).await.body, "content 2", "by the same edge at once");
    sleep(SECOND).await;
    assert_eq!(get(&pair.sites[1], URI).await.body, "content 1", "the news is on its way");
    pair.ways[1].hold(false);
    assert_eq!(pair.the_other_learns().await.body, "content 2");
    for site in &pair.sites {
        assert!(get(site, OTHER).await.status().contains("; hit"), "nothing else is gone");
    }
    let [record] = &pair.written().await[..] else { panic!("one record") };
    assert_eq!(record.author(), pair.followers[0].id());
}

#[tokio::test(start_paused = true)]
async fn what_the_answer_names_goes_everywhere() {
    let fields = &[
        ("cache-control", "max-age=600"),
        ("content-location", "/other"),
        ("cache-groups", "\"g\""),
        ("cache-group-invalidation", "\"g\""),
    ];
    const GROUPED: &str = "http://site.example/of-the-group";
    let pair = Pair::before(Origin::new(fields)).await;
    pair.warm(OTHER).await;
    pair.warm(GROUPED).await;
    put(&pair.origin, &pair.sites[0], URI).await;
    sleep(SECOND).await;
    for uri in [OTHER, GROUPED] {
        assert_eq!(get(&pair.sites[1], uri).await.body, "content 2", "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_put_left_in_the_store_outlives_its_own_record() {
    let ttl = Ttl { default: Some(SECOND * 600), ..Ttl::default() };
    let policy = CachePolicy { writes: Writes::Through, ttl, ..CachePolicy::default() };
    let edges = ["fra-1", "nyc-1"].map(|name| edge(name).policy(policy.clone()).build().unwrap());
    let bus = Arc::new(Local::new());
    let followers = [follow(&edges[0], bus.clone()).await, follow(&edges[1], bus.clone()).await];
    let site = edges[0].layer().layer(service_fn(keeps));
    let sent = Request::put(URI).header("content-length", "3").body(Full::from("new")).unwrap();
    assert!(ask(&site, sent).await.status().contains("stored"));
    sleep(SECOND).await;
    assert_eq!(followers[0].applied(), followers[1].applied());
    assert_eq!(followers[0].applied().unwrap().number, 1);
    let answer = get(&site, URI).await;
    assert_eq!(answer.body, "new");
    assert!(answer.status().contains("fra-1; hit"), "{answer:?}");
    assert_eq!(edges[0].stats().invalidations, 2, "everything at first, and the write's once");
    assert_eq!(edges[1].stats().invalidations, 2, "the other puts it in force, too");
    for edge in &edges {
        assert_eq!(edge.invalidator().history().len(), 1, "writes have no receipt");
    }
    // What another edge's write clears goes.
    let other = edges[1].layer().layer(service_fn(keeps));
    ask(&other, Request::delete(URI).body(Full::default()).unwrap()).await;
    sleep(SECOND).await;
    assert_eq!(get(&site, URI).await.body, "from the origin");
}

/// Says of a PUT that it kept what was sent.
async fn keeps<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: http_body::Body,
{
    let is_read = request.method() == http::Method::GET;
    let _ = request.into_body().collect().await.map(|_| ());
    let response = Response::builder().header("cache-control", "max-age=600").header("etag", "\"1\"");
    Ok(response.body(Full::from(if is_read { "from the origin" } else { "" })).unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_the_log_does_not_take_waits_for_it() {
    for appends in [Appends::Fail, Appends::LoseTheAnswer, Appends::LoseTheRecord] {
        let pair = Pair::new().await;
        pair.warm(URI).await;
        pair.ways[0].append_as(appends);
        put(&pair.origin, &pair.sites[0], OTHER).await;
        sleep(SECOND * 5).await;
        put(&pair.origin, &pair.sites[0], URI).await;
        put(&pair.origin, &pair.sites[0], URI).await;
        sleep(SECOND * 5).await;
        let is_away = appends != Appends::LoseTheAnswer;
        assert_eq!(get(&pair.sites[1], URI).await.status().contains("; hit"), is_away, "{appends:?}");
        assert_eq!(pair.followers[0].trouble().is_some(), appends == Appends::Fail, "{appends:?}");
        pair.ways[0].append_as(Appends::Work);
        if is_away {
            assert_eq!(pair.the_other_learns().await.body, "content 4", "{appends:?}");
        }
        sleep(SECOND * 5).await;
        // What came while the first waited is one; what was done is not done again.
        assert_eq!(pair.written().await.len(), 2, "{appends:?}");
        assert!(pair.followers[0].trouble().is_none(), "{appends:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_may_wait_for_the_log_clears_everything_elsewhere() {
    for (writes, goes) in [(1_024, false), (1_025, true)] {
        let pair = Pair::new().await;
        pair.ways[0].append_as(Appends::Fail);
        // It is on its way, and the others wait behind it.
        put(&pair.origin, &pair.sites[0], "http://site.example/first").await;
        sleep(SECOND).await;
        pair.warm(URI).await;
        for n in 0..writes {
            put(&pair.origin, &pair.sites[0], &format!("http://site.example/{n}")).await;
        }
        pair.ways[0].append_as(Appends::Work);
        sleep(SECOND * 5).await;
        assert_eq!(pair.written().await.len(), 2, "{writes}");
        assert_ne!(get(&pair.sites[1], URI).await.status().contains("; hit"), goes, "{writes}");
        assert!(get(&pair.sites[0], URI).await.status().contains("; hit"), "here only what was written");
    }
}

#[tokio::test(start_paused = true)]
async fn writes_and_what_an_operator_clears_are_in_the_log_as_they_came() {
    let pair = Pair::new().await;
    for tag in ["one", "two"] {
        put(&pair.origin, &pair.sites[0], URI).await;
        sleep(Duration::from_millis(1)).await;
        invalidate(pair.bus.clone(), Invalidation::tags([tag]).unwrap()).await;
    }
    put(&pair.origin, &pair.sites[1], URI).await;
    sleep(SECOND).await;
    let records = pair.written().await;
    let authors: Vec<_> = records.iter().map(Record::author).collect();
    let [fra, nyc] = pair.followers.each_ref().map(|follower| follower.id());
    assert_eq!(authors, [fra, "test", fra, "test", nyc]);
    for (edge, follower) in pair.edges.iter().zip(&pair.followers) {
        assert_eq!(follower.applied().unwrap().number, 5);
        assert_eq!(edge.invalidator().history().len(), 3, "everything at first, and the operator's");
        assert_eq!(follower.progress().swept.unwrap().number, 4, "of writes nobody has a receipt");
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_leaves_tells_first() {
    let pair = Pair::new().await;
    pair.warm(URI).await;
    put(&pair.origin, &pair.sites[0], URI).await;
    let Pair { bus, followers: [fra, _nyc], sites, .. } = pair;
    Arc::into_inner(fra).unwrap().leave().await.unwrap();
    assert_eq!(written(&bus).await.len(), 1);
    sleep(SECOND).await;
    assert_eq!(get(&sites[1], URI).await.body, "content 2");
}
