//! What a miss adds to an origin that streams: `cargo bench --bench miss`.
//!
//! Each object is asked for once, without the layer and through it, in turns: the time to the first byte of the body and to
//! the last. The origin answers at once in one table; in the other after a millisecond, as one in the next rack does, and each
//! frame comes when the one before has been read.

mod support;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::runtime::Runtime;
use tower::{Layer, Service, service_fn};
use tower_edge::Edge;

use self::support::{KIB, MIB, Site, median, object};

const FRAME: usize = 16 * KIB;
const SIZES: [(&str, usize, usize); 4] =
    [("1 KiB", KIB, 2_000), ("64 KiB", 64 * KIB, 1_000), ("1 MiB", MIB, 300), ("8 MiB", 8 * MIB, 60)];
/// How much longer the first byte may take.
const GOAL: f64 = 1.05;

/// A body that comes frame by frame.
struct Stream {
    frame: Bytes,
    left: usize,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.left.min(self.frame.len());
        self.left -= length;
        Poll::Ready((length > 0).then(|| Ok(Frame::data(self.frame.slice(..length)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

/// The time to the first byte of an answer's body, and to the last.
async fn times<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> (Duration, Duration)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let start = Instant::now();
    let Ok(response) = service.call(request).await;
    let mut body = pin!(response.into_body());
    let mut first = None;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        assert!(frame.is_ok(), "a whole body");
        first.get_or_insert_with(|| start.elapsed());
    }
    (first.expect("a body"), start.elapsed())
}

fn table(title: &str, runtime: &Runtime, wait: Duration) {
    println!("\n{title:<26} first byte: without   through   ratio     last: without   through   ratio");
    for (name, size, turns) in SIZES {
        let headers = Site::new(size).headers;
        let frame = Bytes::from(vec![b'x'; FRAME]);
        let origin = move || {
            let response = Response::new(Stream { frame: frame.clone(), left: size });
            let (mut parts, body) = response.into_parts();
            parts.headers = headers.clone();
            async move {
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                Ok::<_, Infallible>(Response::from_parts(parts, body))
            }
        };
        let capacity = 64 * MIB as u64 + 16 * size as u64;
        let edge = Edge::builder().capacity(capacity).build().expect("a configuration that works");
        let through = origin.clone();
        let mut bare = service_fn(move |_: Request<Full<Bytes>>| origin());
        let mut layered = edge.layer().layer(service_fn(move |_| through()));
        let turns = if wait.is_zero() { turns } else { turns / 4 };
        let (mut without, mut with) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        runtime.block_on(async {
            for number in 0..turns as u64 {
                let (first, last) = times(&mut bare, object(number)).await;
                without[0].push(first);
                without[1].push(last);
                let (first, last) = times(&mut layered, object(number)).await;
                with[0].push(first);
                with[1].push(last);
            }
        });
        assert_eq!(edge.stats().hits, 0);
        let [first, last] = without.map(|times| median(times, 1) / 1_000.0);
        let [through_first, through_last] = with.map(|times| median(times, 1) / 1_000.0);
        println!(
            "{name:<26} {first:>16.1} {through_first:>11.1} {:>7.2} {last:>17.1} {through_last:>9.1} {:>7.2}",
            through_first / first,
            through_last / last
        );
    }
}

fn main() {
    if support::is_only_a_test() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    println!(
        "medians in µs; at most {GOAL} is wanted of the first byte, beside an origin that is somewhere else"
    );
    table("an origin at hand", &runtime, Duration::ZERO);
    table("an origin 1 ms away", &runtime, Duration::from_millis(1));
}
