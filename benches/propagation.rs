//! How long it takes from `invalidate` until an invalidation is in force on every edge of a distribution, through a Redis on
//! loopback, and what that costs Redis.
//!
//! `cargo bench --features redis --bench propagation` needs `redis-server`, and starts one of its own. All edges are in this
//! process, each with connections of its own, so that with many of them the machine's cores are what is measured.

#![allow(clippy::unwrap_used, reason = "what fails ends the benchmark")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower_edge::distribution::bus::{BusInvalidator, Follower, FollowerSettings, Redis, RedisSettings};
use tower_edge::{Edge, Invalidation};

const ROUNDS: usize = 400;
const EDGES: [usize; 3] = [3, 10, 50];
const IDLE: Duration = Duration::from_secs(5);

fn main() {
    // `cargo test --benches` runs this, too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if Command::new("redis-server").arg("--version").output().is_err() {
        println!("redis-server is not installed: nothing measured");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!(
        "| appendfsync | edges | appended | in force on all | p99 | receipt applied | receipt completed | commands | Redis CPU | idle commands/s | idle CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for fsync in ["no AOF", "always"] {
        for edges in EDGES {
            runtime.block_on(measure(fsync, edges));
        }
    }
}

async fn measure(fsync: &str, count: usize) {
    let server = Server::start(fsync);
    let edges: Vec<_> = (1..=count)
        .map(|number| Edge::builder().name(format!("edge-{number}")).capacity(1 << 20).build().unwrap())
        .collect();
    let bus = || Arc::new(Redis::new(&server.url(), RedisSettings::default()).unwrap());
    let follow = |edge| Follower::start(edge, bus(), FollowerSettings::default()).unwrap();
    let followers: Vec<_> = edges.iter().map(follow).collect();
    let joined = join_all(followers.iter().map(Follower::joined));
    timeout(Duration::from_secs(30), joined).await.expect("every edge joins");
    let invalidator = BusInvalidator::new(bus(), "bench").silence(Duration::from_millis(1_500));
    let invalidate = || invalidator.invalidate(Invalidation::paths(["/news/*"]).unwrap());
    // The log has to be older than an edge may be silent before a receipt is completed.
    invalidate().await.unwrap().completed().await.unwrap();

    let mut appended = Vec::new();
    let mut in_force = Vec::new();
    let before = server.usage().await;
    let began = Instant::now();
    for round in 0..ROUNDS {
        let start = Instant::now();
        let position = invalidate().await.unwrap().position().unwrap();
        appended.push(start.elapsed());
        join_all(followers.iter().map(|follower| follower.reached(position))).await;
        in_force.push(start.elapsed());
        // Not in step with anything.
        sleep(Duration::from_millis(20 + (round as u64 * 7) % 13)).await;
    }
    let (took, after) = (began.elapsed(), server.usage().await);
    sleep(Duration::from_secs(1)).await;
    let idle_before = server.usage().await;
    sleep(IDLE).await;
    let idle_after = server.usage().await;
    let idle = idle_after.since(idle_before).times(IDLE.as_secs_f64().recip());
    // What the same time would have cost without an invalidation is not theirs.
    let theirs = after.since(before).since(idle.times(took.as_secs_f64()));
    let each = theirs.times((ROUNDS as f64).recip());

    let (mut applied, mut completed) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS / 4 {
        let start = Instant::now();
        let receipt = invalidate().await.unwrap();
        receipt.applied().await.unwrap();
        applied.push(start.elapsed());
        receipt.completed().await.unwrap();
        completed.push(start.elapsed());
        sleep(Duration::from_millis(20 + (round as u64 * 7) % 13)).await;
    }
    println!(
        "| {fsync} | {count} | {} | {} | {} | {} | {} | {:.0} | {:.0} µs | {:.0} | {:.2} % |",
        millis(&mut appended, 50),
        millis(&mut in_force, 50),
        millis(&mut in_force, 99),
        millis(&mut applied, 50),
        millis(&mut completed, 50),
        each.commands,
        each.cpu * 1e6,
        idle.commands,
        idle.cpu * 100.0,
    );
}

fn millis(times: &mut [Duration], percent: usize) -> String {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    format!("{:.2} ms", times[at].as_secs_f64() * 1e3)
}

/// What a Redis has done: commands, and seconds of CPU.
#[derive(Clone, Copy)]
struct Used {
    commands: f64,
    cpu: f64,
}

impl Used {
    fn since(self, before: Self) -> Self {
        Self { commands: self.commands - before.commands, cpu: self.cpu - before.cpu }
    }

    fn times(self, factor: f64) -> Self {
        Self { commands: self.commands * factor, cpu: self.cpu * factor }
    }
}

/// A Redis in a directory of its own.
struct Server {
    process: Child,
    dir: PathBuf,
    port: u16,
}

impl Server {
    fn start(fsync: &str) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let dir = std::env::temp_dir().join(format!("tower-edge-propagation-{port}"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"]).arg(&dir);
        if fsync == "always" {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { process, dir, port };
        let patience = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < patience, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    async fn usage(&self) -> Used {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(b"INFO\r\nQUIT\r\n").await.unwrap();
        let mut info = String::new();
        stream.read_to_string(&mut info).await.unwrap();
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<f64>().ok()).expect(name)
        };
        let cpu = field("used_cpu_sys") + field("used_cpu_user");
        Used { commands: field("total_commands_processed"), cpu }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
