//! What a hit costs among 1,000,000 stored objects beside 100, and what a bare map pays: `cargo bench --bench many`.
//!
//! Whatever answers out of so many objects has to bring what it reads into the processor's cache first: a line of the table, the
//! key, the object. So the same is measured of a service that has nothing but a `HashMap` of URLs and, in one block each, fields
//! and bodies, of which it copies the fields and hands out the body: it knows no freshness, `Vary`, eviction or invalidation, and
//! any of its objects costs it more than one of a few, too. The nanoseconds more are what to compare: the layer pays over twice the
//! map's, since it also unpacks fields, which it keeps ready for what is asked for often. All take turns, so that noise meets all.
//! Takes some 8 GiB of memory with glibc's allocator; `-- --objects 100000` takes less.

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tower::Service;

use self::support::{Site, TURN, cached, exchange, median, mixed, object, turn};

const FEW: u64 = 100;
const MANY: u64 = 1_000_000;
const TURNS: u64 = 5_000;
/// Bytes of a body.
const BODY: usize = 100;

/// The least that can be called a store: URLs, and for each one block with fields and body.
#[derive(Clone)]
struct Map {
    blocks: Arc<HashMap<String, Bytes, foldhash::quality::RandomState>>,
    headers: HeaderMap,
    /// Where the body begins in a block.
    body: usize,
}

impl Map {
    fn new(site: &Site, objects: u64) -> Self {
        let fields: Vec<u8> = site
            .headers
            .iter()
            .flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()].concat())
            .collect();
        let block = [&fields, &site.body[..]].concat();
        let blocks = (0..objects)
            .map(|number| (object(number).uri().to_string(), Bytes::copy_from_slice(&block)))
            .collect();
        Self { blocks: Arc::new(blocks), headers: site.headers.clone(), body: fields.len() }
    }
}

impl<B> Service<Request<B>> for Map {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let url = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let block = self.blocks.get(url).expect("one of its objects").clone();
        black_box(Bytes::copy_from_slice(&block[..self.body]));
        let mut response = Response::new(Full::new(block.slice(self.body..)));
        *response.headers_mut() = self.headers.clone();
        ready(Ok(response))
    }
}

/// Requests for any of the first so many objects, in no order.
fn among(objects: u64, turn: u64) -> Vec<Request<Full<Bytes>>> {
    (0..TURN as u64).map(|n| object(mixed(turn * TURN as u64 + n) % objects)).collect()
}

fn main() {
    if support::is_only_a_test() {
        return;
    }
    let many = std::env::args()
        .skip_while(|arg| arg != "--objects")
        .nth(1)
        .map_or(MANY, |number| number.parse().expect("a number of objects"));
    let site = || Site::new(BODY);
    let mut bare = site();
    let (mut few, mut all) = (cached(site(), FEW), cached(site(), many));
    let (mut few_of_map, mut map) = (Map::new(&bare, FEW), Map::new(&bare, many));
    // What happens once an object, or twice, is no part of it: the first hit on a body, and the first two that are noted.
    for number in (0..many).chain(0..many) {
        exchange(&mut all, object(number));
        exchange(&mut map, object(number));
    }
    let mut turns: [Vec<Duration>; 7] = Default::default();
    for number in 0..TURNS {
        let took = [
            turn(&mut bare, among(FEW, number)),
            turn(&mut few_of_map, among(FEW, number)),
            turn(&mut map, among(FEW, number)),
            turn(&mut map, among(many, number)),
            turn(&mut few, among(FEW, number)),
            turn(&mut all, among(FEW, number)),
            turn(&mut all, among(many, number)),
        ];
        turns.iter_mut().zip(took).for_each(|(turns, took)| turns.push(took));
    }
    let [bare, few_of_map, hot_of_map, any_of_map, few, hot, any] = turns.map(|turns| median(turns, TURN));
    println!("ns an exchange, {BODY} B objects (medians of {TURNS} turns of {TURN})");
    println!("{:<44} {bare:>6.0}", "one answer for all");
    println!("{:<44} {:>6} {:>6}", "", "map", "layer");
    println!("{:<44} {few_of_map:>6.0} {few:>6.0}", format!("{FEW} objects"));
    println!("{:<44} {hot_of_map:>6.0} {hot:>6.0}", format!("{many} objects, {FEW} asked for"));
    println!("{:<44} {any_of_map:>6.0} {any:>6.0}", format!("{many} objects, any asked for"));
    let ratio = |name: &str, of_map: f64, of_layer: f64, note: &str| {
        println!("{name:<44} {of_map:>6.2} {of_layer:>6.2}   {note}");
    };
    ratio("many beside few, the same asked for", hot_of_map / few_of_map, hot / few, "at most 1.3 wanted");
    ratio(
        "many beside few, any asked for",
        any_of_map / few_of_map,
        any / few,
        "of a smaller sum with the map",
    );
    println!("{:<44} {:>6.0} {:>6.0}", "ns more for any", any_of_map - few_of_map, any - few);
}
