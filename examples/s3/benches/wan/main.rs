//! Transfer acceleration over a wide-area path: `cargo bench -p s3-example --bench wan`, as root.
//!
//! An S3 server stands behind a link of 150 ms there and back, on which one packet in a thousand is lost (`link.py`), so that
//! TCP behaves as it would, under the congestion control of most systems (cubic) and under one that loses less to losses
//! (BBR). A PUT of 64 MiB goes there straight, over a connection that has carried 8 MiB before. Two go through the edge, which
//! is on the near side: one while it has made a single connection, which has carried nothing, and one over the connections of
//! the first, as between an edge in service and its bucket. It fails if the second is not three times as fast as the straight
//! one, or if there can be no such link here. With cubic this takes minutes.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

#[path = "../../src/bucket.rs"]
#[expect(dead_code, reason = "the example fills its bucket")]
mod bucket;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, ObjectStoreExt};

const SIZE: usize = 64 * 1024 * 1024;
const GOAL: f64 = 3.0;
const CONTROLS: [&str; 2] = ["bbr", "cubic"];
/// No PUT takes longer.
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve().await,
        ["straight", endpoint] => straight(endpoint).await,
        ["through", edge] => through(edge).await,
        // What `cargo bench` says; `cargo test --benches` does not.
        ["--bench", ..] => compare(),
        _ => println!("run it with cargo bench"),
    }
}

fn compare() {
    println!("PUT of {} MiB, 75 ms each way, one packet in 1000 lost", SIZE >> 20);
    let ratios = CONTROLS.map(measure);
    for (control, ratio) in CONTROLS.iter().zip(ratios) {
        assert!(ratio >= GOAL, "{control}: less than {GOAL} times as fast");
    }
}

/// How many times faster an edge in service is under this control.
fn measure(control: &str) -> f64 {
    // Long enough to be nobody else's, short enough for a device.
    let (near, far) = (format!("near{}", std::process::id()), format!("far{}", std::process::id()));
    let link = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/wan/link.py");
    let _link = Running::start(Command::new("python3").args([link, &near, &far, control]), "ready");
    let own = std::env::current_exe().unwrap();
    let server = Running::start(inside(&far).arg(&own).arg("serve"), "http://");
    let endpoint = server.line.as_str();
    let edge = Running::start(
        inside(&near)
            .arg(env!("CARGO_BIN_EXE_s3-example"))
            .args(["--listen", "127.0.0.1:0", "--writes", "--bucket", bucket::NAME, "--endpoint", endpoint])
            .env("AWS_ACCESS_KEY_ID", bucket::ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", bucket::SECRET_KEY),
        "edge",
    );
    let site = edge.line.rsplit(' ').next().unwrap();

    let [straight] = seconds(inside(&near).arg(&own).args(["straight", endpoint]));
    let [cold, warm] = seconds(inside(&near).arg(&own).args(["through", site]));
    println!("{control:<6} straight            {straight:6.1} s");
    println!("       by an edge          {cold:6.1} s  {:4.1} times as fast", straight / cold);
    println!("       by one in service   {warm:6.1} s  {:4.1} times as fast", straight / warm);
    straight / warm
}

fn inside(namespace: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]);
    command
}

/// A process that ends when its standard input does, or when it is ended.
struct Running {
    process: Child,
    line: String,
}

impl Running {
    /// Starts a process, and waits for the line that says it is ready.
    fn start(command: &mut Command, ready: &str) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let running = Self { process, line: line.trim().to_owned() };
        if !running.line.starts_with(ready) {
            eprintln!("{command:?} does not run: there is nothing to measure");
            drop(running);
            std::process::exit(1);
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // The link takes its namespaces down; the others do not read.
        let started = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            if started.elapsed() > Duration::from_secs(2) {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a process that measures has printed.
fn seconds<const N: usize>(command: &mut Command) -> [f64; N] {
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = String::new();
    process.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(process.wait().unwrap().success(), "{command:?}");
    let figures: Vec<_> = printed.lines().map(|line| line.parse().unwrap()).collect();
    figures.try_into().unwrap()
}

async fn serve() {
    let bucket = bucket::start_on("10.99.0.2".parse().unwrap()).await.unwrap();
    println!("{}", bucket.endpoint);
    // Until the end of standard input, in a thread of its own.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

/// Bytes that nobody could make less of.
fn content() -> Bytes {
    let mut state = 1_u32;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_ne_bytes()
    });
    words.take(SIZE / 4).flatten().collect()
}

async fn straight(endpoint: &str) {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let store = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name(bucket::NAME)
        .with_access_key_id(bucket::ACCESS_KEY)
        .with_secret_access_key(bucket::SECRET_KEY)
        .with_client_options(ClientOptions::new().with_timeout(PATIENCE))
        .with_allow_http(true)
        .build()
        .unwrap();
    let content = content();
    store.put(&"warm".into(), content.slice(..SIZE / 8).into()).await.unwrap();
    let started = Instant::now();
    store.put(&"straight".into(), content.into()).await.unwrap();
    println!("{}", started.elapsed().as_secs_f64());
}

async fn through(edge: &str) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let put = async |key: &str, content: Bytes| {
        let request = Request::put(format!("{edge}/{key}")).body(Full::new(content)).unwrap();
        let answer = tokio::time::timeout(PATIENCE, client.request(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
    };
    put("first", "first".into()).await;
    let content = content();
    for key in ["cold", "warm"] {
        let started = Instant::now();
        put(key, content.clone()).await;
        println!("{}", started.elapsed().as_secs_f64());
    }
}
