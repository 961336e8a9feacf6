//! A whole object is cut as it comes.

use bytes::Bytes;

use super::{Cinema, Film, SIZE, content, policy};
use crate::support::services::next;
use crate::support::{Feed, Origin, World, feed, get, read, settle, streamed};

const LENGTH: usize = 100_000;

/// A film of four slices that comes whole, as it is fed.
fn flowing() -> (Feed, World) {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let world = World::with_policy(
        Origin::new(move |_| {
            let fields = [
                ("cache-control", "max-age=60"),
                ("etag", "\"a\""),
                ("content-length", "16384"),
                ("accept-ranges", "bytes"),
            ];
            let answer = streamed(&fields, body.lock().unwrap().take().expect("asked once"));
            async move { Ok(answer) }
        }),
        policy(),
    );
    (feed, world)
}

/// How much a body has to give at the moment. The next slice may have to be asked for first.
async fn at_hand<B>(body: &mut B) -> usize
where
    B: http_body::Body<Data = Bytes, Error = tower_edge::BodyError> + Unpin,
{
    let (mut length, mut waited) = (0, 0);
    while waited < 3 {
        match next(body).await {
            Some(Some(frame)) => (length, waited) = (length + frame.expect("no error yet").len(), 0),
            Some(None) => break,
            None => waited += 1,
        }
    }
    length
}

#[tokio::test]
async fn a_whole_object_is_stored_in_slices_though_it_is_too_large_for_one() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    let whole = cinema.world.get("/film").await;
    assert_eq!((whole.status.as_u16(), &whole.body[..]), (200, &content(0, LENGTH)[..]));
    assert_eq!(whole.header("content-length"), Some("100000"));
    assert!(whole.outcome().stored);
    settle().await;
    assert!(cinema.range("bytes=50000-60000").await.is_hit());
    let again = cinema.world.get("/film").await;
    assert!(again.is_hit());
    assert_eq!(again.body, content(0, LENGTH));
    assert_eq!(cinema.asked(), ["whole"]);
}

#[tokio::test]
async fn slices_of_a_range_are_joined_by_those_who_want_the_whole() {
    let cinema = Cinema::new(Film::new(0, LENGTH));
    cinema.range("bytes=8192-8192").await;
    let whole = cinema.world.get("/film").await;
    assert_eq!(whole.body, content(0, LENGTH));
    // Every slice once.
    assert_eq!(cinema.world.origin.asked(), LENGTH.div_ceil(SIZE as usize));
}

#[tokio::test]
async fn who_comes_while_the_whole_flows_shares_it() {
    let (feed, world) = flowing();
    let film: Bytes = vec![b'x'; 16384].into();
    let mut first = {
        let response = tokio::spawn(world.send(get("/film")));
        settle().await;
        feed.send(film.slice(..1000));
        response.await.unwrap().unwrap()
    };
    assert_eq!(at_hand(first.body_mut()).await, 1000);
    let mut second = world.send(get("/film")).await.unwrap();
    assert_eq!(at_hand(second.body_mut()).await, 1000);
    feed.send(film.slice(1000..9000));
    assert_eq!(at_hand(first.body_mut()).await, 8000);
    // Within what has come, and in the slice that comes.
    let mut third =
        world.send(crate::support::request("GET", "/film", &[("range", "bytes=4090-8999")])).await.unwrap();
    assert_eq!(at_hand(third.body_mut()).await, 4910);
    feed.send(film.slice(9000..));
    feed.end();
    assert_eq!(read(first).await.unwrap().body.len(), 7384);
    assert_eq!(read(second).await.unwrap().body.len(), 15384);
    assert_eq!(world.origin.asked(), 1);
    settle().await;
    assert_eq!(world.edge.stats().fills, 0);
    assert_eq!(world.edge.stats().bytes_in_flight, 0);
}

#[tokio::test]
async fn a_body_that_nobody_reads_on_is_read_no_further() {
    let (feed, world) = flowing();
    for _ in 0..16 {
        feed.send(vec![b'x'; 1024]);
    }
    let mut first = world.send(get("/film")).await.unwrap();
    let beginning = next(first.body_mut()).await.unwrap().unwrap().unwrap();
    settle().await;
    // The slice that is read comes whole, the next waits for somebody to want it.
    assert_eq!(feed.unread(), 12);
    assert_eq!((beginning.len() + at_hand(first.body_mut()).await) as u64, 4 * SIZE);
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_readers_have_left_is_let_go() {
    let (feed, world) = flowing();
    for _ in 0..8 {
        feed.send(vec![b'x'; 1024]);
    }
    let mut first = world.send(get("/film")).await.unwrap();
    next(first.body_mut()).await.unwrap().unwrap().unwrap();
    drop(first);
    settle().await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert!(feed.is_dropped());
    assert_eq!(world.edge.stats().fills, 0);
}

#[tokio::test]
async fn reading_ahead_of_a_whole_that_flows_asks_for_nothing_more() {
    for read_ahead in 0..4 {
        let slices = tower_edge::Slices { read_ahead, threshold: 2 * SIZE, ..tower_edge::Slices::of(SIZE) };
        let cinema = Cinema::with(Film::new(0, LENGTH), super::sliced(slices));
        assert_eq!(cinema.world.get("/film").await.body, content(0, LENGTH));
        assert_eq!(cinema.asked(), ["whole"], "{read_ahead}");
        // And slice by slice, what is not stored once each.
        let slices = Cinema::with(Film::new(0, LENGTH), super::sliced(slices));
        slices.range("bytes=0-0").await;
        assert_eq!(slices.world.get("/film").await.body, content(0, LENGTH));
        assert_eq!(slices.world.origin.asked(), LENGTH.div_ceil(SIZE as usize), "{read_ahead}");
    }
}
