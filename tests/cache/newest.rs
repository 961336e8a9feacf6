//! A fill never overwrites what a fill that began later brought.

use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::oneshot;
use tower_edge::ResponseFuture;

use crate::support::{
    Feed, Origin, OriginBody, OriginDown, OriginResult, World, feed, read, request, response, settle,
    streamed,
};

const MINUTE: &[(&str, &str)] = &[("cache-control", "public, max-age=60"), ("etag", "\"v\"")];

/// An origin that answers each request when, and with what, the test says.
struct Held {
    world: World,
    answers: Arc<Mutex<Vec<Option<oneshot::Sender<OriginResult>>>>>,
}

impl Held {
    fn new() -> Self {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let held = Arc::clone(&answers);
        let world = World::new(Origin::new(move |_| -> BoxFuture<'static, OriginResult> {
            let (answer, answered) = oneshot::channel();
            held.lock().unwrap().push(Some(answer));
            async move { answered.await.unwrap_or(Err(OriginDown)) }.boxed()
        }));
        Self { world, answers }
    }

    /// Sends a request and sees it reach the origin.
    async fn begin(&self, headers: &[(&str, &str)]) -> ResponseFuture<OriginBody, OriginDown> {
        let before = self.world.origin.asked();
        let mut future = self.world.send(request("GET", "/a", headers));
        assert!(futures_util::poll!(&mut future).is_pending());
        settle().await;
        assert_eq!(self.world.origin.asked(), before + 1, "it asks the origin");
        future
    }

    async fn answer(&self, number: usize, answer: OriginResult) {
        let answering = self.answers.lock().unwrap()[number].take().unwrap();
        assert!(answering.send(answer).is_ok());
        settle().await;
    }

    /// A request that is answered with what it brings, at once.
    async fn bring(&self, headers: &[(&str, &str)], body: &'static str) {
        let number = self.world.origin.asked();
        let request = self.begin(headers).await;
        self.answer(number, Ok(response(200, MINUTE, body))).await;
        assert_eq!(read(request.await.unwrap()).await.unwrap().text(), body);
    }

    async fn assert_stored(&self, body: &str) {
        let reply = self.world.get("/a").await;
        assert!(reply.is_hit());
        assert_eq!(reply.text(), body);
    }
}

/// A request that is not collapsed with others, and whose answer is stored nevertheless.
const ALONE: &[(&str, &str)] = &[("authorization", "x")];

#[tokio::test(start_paused = true)]
async fn an_older_fill_that_is_answered_later_is_not_stored() {
    for (older, newer) in [(&[][..], ALONE), (ALONE, &[][..])] {
        let held = Held::new();
        let old = held.begin(older).await;
        held.bring(newer, "new").await;
        held.answer(0, Ok(response(200, MINUTE, "old"))).await;
        assert_eq!(read(old.await.unwrap()).await.unwrap().text(), "old");
        held.assert_stored("new").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_body_that_ends_later_is_not_stored() {
    let (feed, body) = feed();
    let held = Held::new();
    let old = held.begin(&[]).await;
    held.answer(0, Ok(streamed(MINUTE, body))).await;
    feed.send("old");
    // Wants an answer made now, and the one that flows was made before.
    held.bring(&[("cache-control", "no-cache")], "new").await;
    held.assert_stored("new").await;
    feed.end();
    assert_eq!(read(old.await.unwrap()).await.unwrap().text(), "old");
    held.assert_stored("new").await;
}

/// What becomes of the older fill: its answer, and the body that fails.
type Case = (&'static str, fn() -> (Option<Feed>, OriginResult));

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_an_older_fill_the_newer_answer_stays() {
    let cases: [Case; 5] = [
        ("not storable", || (None, Ok(response(200, &[("cache-control", "no-store")], "")))),
        ("gone", || (None, Ok(response(404, &[], "")))),
        ("refused", || (None, Ok(response(503, &[], "")))),
        ("down", || (None, Err(OriginDown))),
        ("dies", || {
            let (feed, body) = feed();
            feed.send("old");
            (Some(feed), Ok(streamed(MINUTE, body)))
        }),
    ];
    for (name, case) in cases {
        let held = Held::new();
        let old = held.begin(&[]).await;
        held.bring(ALONE, "new").await;
        let (feed, answer) = case();
        held.answer(0, answer).await;
        if let Some(feed) = feed {
            feed.fail("died");
        }
        if let Ok(old) = old.await {
            drop(read(old).await);
        }
        let reply = held.world.get("/a").await;
        assert_eq!((reply.is_hit(), reply.text()), (true, "new"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_304_does_not_bring_the_older_body_back() {
    let held = Held::new();
    held.bring(&[], "one").await;
    held.world.pass_seconds(61);
    let old = held.begin(&[]).await;
    held.bring(ALONE, "two").await;
    held.answer(1, Ok(response(304, MINUTE, ""))).await;
    assert_eq!(read(old.await.unwrap()).await.unwrap().text(), "one");
    held.assert_stored("two").await;
}

#[tokio::test(start_paused = true)]
async fn in_order_each_answer_takes_the_place_of_the_one_before() {
    let held = Held::new();
    let first = held.begin(&[]).await;
    let second = held.begin(ALONE).await;
    held.answer(0, Ok(response(200, MINUTE, "one"))).await;
    drop(read(first.await.unwrap()).await);
    held.assert_stored("one").await;
    held.answer(1, Ok(response(200, MINUTE, "two"))).await;
    drop(read(second.await.unwrap()).await);
    held.assert_stored("two").await;
}
