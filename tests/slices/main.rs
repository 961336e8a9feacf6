//! Objects in slices against a server that has the whole at hand: whatever the sizes, the ranges, the changes at the origin,
//! evictions and invalidations, a viewer gets what that server gives of one state of the object, or a clean error.
//!
//! `TOWER_EDGE_CASES` sets the number of cases, `TOWER_EDGE_SEED` the first of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod check;
mod naive;
mod origin;
mod random;

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tower::{Layer, ServiceExt};
use tower_edge::{Cache, CachePolicy, Edge, Invalidation, ManualClock, Slices};

use self::check::{Given, History};
use self::naive::{Spec, Validator, Wish};
use self::origin::{Origin, Settings};
use self::random::Random;

const CASES: u64 = if cfg!(debug_assertions) { 600 } else { 20_000 };

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_a_viewer_gets_is_what_a_server_with_the_whole_object_gives() {
    let (cases, first) = (number("TOWER_EDGE_CASES", CASES), number("TOWER_EDGE_SEED", 1));
    let (mut answered, mut broken) = (0, 0);
    for seed in first..first + cases {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let case = async { tokio::time::timeout(Duration::from_secs(3600), case(seed)).await };
        match runtime.unwrap().block_on(case) {
            Ok(Ok((whole, errors))) => (answered, broken) = (answered + whole, broken + errors),
            Ok(Err(error)) => panic!("TOWER_EDGE_SEED={seed} TOWER_EDGE_CASES=1: {error}"),
            Err(_) => panic!("TOWER_EDGE_SEED={seed} TOWER_EDGE_CASES=1: somebody waits for ever"),
        }
    }
    println!("{cases} cases: {answered} answers as they should be, {broken} clean errors");
    assert!(answered > broken, "errors are no answers");
}

/// One edge, one object, a few viewers, and somebody who changes things.
async fn case(seed: u64) -> Result<(usize, usize), String> {
    let mut random = Random(seed);
    let settings = Settings {
        validator: [
            Validator::Strong,
            Validator::Strong,
            Validator::Date,
            Validator::Weak,
            Validator::Nothing,
        ][random.below(5) as usize],
        takes_ranges: !random.percent(15),
        states_length: !random.percent(15),
        varies: random.percent(20),
        fails: random.percent(25),
        control: [
            "max-age=60",
            "max-age=60",
            "max-age=0",
            "no-cache",
            "max-age=5, stale-while-revalidate=600",
            "no-store",
        ][random.below(6) as usize],
    };
    let size = 4096 + random.below(3) * random.below(2000);
    let slices = Slices {
        threshold: size + random.below(2 * size),
        read_ahead: random.below(4) as usize,
        ..Slices::of(size)
    };
    let policy = CachePolicy { slices: Some(slices), ..CachePolicy::default() };
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600));
    let edge = Edge::builder()
        .capacity((64 << 10) << random.below(4))
        .max_fills(1 + random.below(40))
        .policy(policy)
        .clock(clock.clone());
    let edge = edge.build().map_err(|error| error.to_string())?;
    let origin = Origin::new(settings, length(&mut random, size), random.split());
    let cache = edge.layer().layer(origin.clone());
    let history = RefCell::new(History::new(&origin));

    let viewers =
        (0..1 + random.below(4)).map(|_| viewer(random.split(), cache.clone(), &origin, &history, size));
    let viewers: Vec<_> = viewers.collect();
    let changes = changes(random.split(), &edge, &clock, &origin, &history, size);
    let (given, ()) = futures_util::join!(join_all(viewers), changes);
    let mut counts = (0, 0);
    for given in given {
        let (whole, errors) = given?;
        counts = (counts.0 + whole, counts.1 + errors);
    }
    Ok(counts)
}

/// Lengths around what makes a difference.
fn length(random: &mut Random, size: u64) -> usize {
    let around = random.below(12) * size;
    let length = match random.below(4) {
        0 => random.below(2),
        1 => around,
        2 => (around + random.below(3)).saturating_sub(1),
        _ => random.below(12 * size),
    };
    length as usize
}

/// Changes the object, invalidates it, and lets time pass.
async fn changes(
    mut random: Random,
    edge: &Edge,
    clock: &ManualClock,
    origin: &Origin,
    history: &RefCell<History>,
    size: u64,
) {
    for _ in 0..random.below(5) {
        for _ in 0..random.below(8) {
            random.pause().await;
        }
        match random.below(4) {
            0 => clock.advance(Duration::from_secs(random.below(70))),
            1 => {
                edge.invalidator()
                    .invalidate(Invalidation::url("http://site.example/film").unwrap())
                    .unwrap();
                history.borrow_mut().invalidated();
            }
            _ => {
                let length = if random.percent(50) { None } else { Some(length(&mut random, size)) };
                let mut now = origin.now.lock().unwrap();
                now.number += 1;
                now.length = length.unwrap_or(now.length);
                drop(now);
                history.borrow_mut().changed(origin);
            }
        }
    }
}

/// Asks a few times, one after the other, and compares.
async fn viewer(
    mut random: Random,
    cache: Cache<Origin>,
    origin: &Origin,
    history: &RefCell<History>,
    size: u64,
) -> Result<(usize, usize), String> {
    let mut counts = (0, 0);
    for _ in 0..1 + random.below(5) {
        random.pause().await;
        let wish = wish(&mut random, origin, size);
        let request = request(&wish, origin);
        let began = history.borrow_mut().now();
        let given = given(&mut random, cache.clone(), request).await;
        match history.borrow_mut().check(origin, &wish, began, &given)? {
            true => counts.0 += 1,
            false => counts.1 += 1,
        }
    }
    Ok(counts)
}

fn wish(random: &mut Random, origin: &Origin, size: u64) -> Wish {
    let (number, length) = {
        let now = origin.now.lock().unwrap();
        (now.number, now.length as u64)
    };
    let position = |random: &mut Random| match random.below(3) {
        0 => random.below(length + 10),
        1 => (random.below(12) * size + random.below(3)).saturating_sub(1),
        _ => random.below(size),
    };
    let mut ranges = Vec::new();
    let mut first = 0;
    for _ in 0..[0, 1, 1, 1, 1, 2, 3][random.below(7) as usize] {
        ranges.push(match random.below(5) {
            0 => Spec::From(position(random)),
            1 => Spec::Suffix(position(random)),
            _ => {
                // Often apart and ascending, so that they are served.
                first = if random.percent(80) { first + position(random) } else { position(random) };
                let last = first + position(random);
                let spec = Spec::FromTo(first, last);
                first = last + 1;
                spec
            }
        });
    }
    let some = |random: &mut Random, chance| {
        random.percent(chance).then(|| random.below(number as u64 + 1) as usize)
    };
    Wish {
        head: random.percent(8),
        variant: usize::from(origin.settings.varies && random.percent(50)),
        if_range: if ranges.is_empty() { None } else { some(random, 10) },
        if_none_match: some(random, 10),
        ranges,
    }
}

fn request(wish: &Wish, origin: &Origin) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().uri("/film").header("host", "site.example");
    request = request.method(if wish.head { "HEAD" } else { "GET" }).header("x-variant", wish.variant);
    let named = |number| origin::state(&origin.settings, number, 0, wish.variant);
    if let Some(tag) = wish.if_none_match.and_then(|number| named(number).tag()) {
        request = request.header("if-none-match", tag);
    }
    if let Some(state) = wish.if_range.map(named) {
        request = request.header("if-range", state.tag().or(state.modified()).unwrap_or("\"none\"".into()));
    }
    if let Some(range) = wish.range_field() {
        request = request.header("range", range);
    }
    request.body(Empty::new()).unwrap()
}

/// Reads an answer, now fast, now slowly.
async fn given(random: &mut Random, cache: Cache<Origin>, request: Request<Empty<Bytes>>) -> Given {
    let Ok(response) = cache.oneshot(request).await else { return Given::Nothing };
    let (head, mut body) = response.into_parts();
    let (mut bytes, slow) = (Vec::new(), random.percent(50));
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().expect("data")),
            Err(_) => return Given::Broken(head, bytes.into()),
        }
        if slow {
            random.pause().await;
        }
    }
    Given::Whole(head, bytes.into())
}
