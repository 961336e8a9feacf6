//! Measures the edge server beside nginx, Varnish, Traffic Server and a bare hyper server, over loopback. `servers.sh`
//! installs and builds what it needs, and calls it.
//!
//! One server at a time runs, on one core; who asks and the origin have another. The servers take turns, round by round, so
//! that whatever else the machine does falls on all alike; medians count. No hit is counted unless the origin heard nothing.

mod client;
mod load;
mod peer;
mod process;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime};

use servers::results::{Figure, Results, Server};

use self::client::{Client, count, fill};
use self::load::Load;
use self::peer::{Peer, Programs, Running};
use self::process::{OTHER_CORE, Process, free_port};

const MIB: u64 = 1024 * 1024;

/// Hits by length: the figure, the path, the length, and the connections that ask.
const HITS: [(Figure, &str, u64, u32); 3] = [
    (Figure::Hits1Kib, "/1024/hit", 1024, 64),
    (Figure::Hits64Kib, "/65536/hit", 64 * 1024, 64),
    (Figure::Hits1Mib, "/1048576/hit", MIB, 16),
];

/// Cold objects of 64 MiB a round.
const COLD: usize = 3;

struct Plan {
    quick: bool,
    rounds: usize,
    seconds: u32,
    objects: usize,
    programs: Programs,
    json: Option<String>,
    only: Vec<Peer>,
}

fn main() -> ExitCode {
    match plan().and_then(|plan| run(&plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("servers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan() -> Result<Plan, Box<dyn Error>> {
    let (mut quick, mut edge, mut json, mut only) = (false, None, None, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--quick" => quick = true,
            "--edge" => edge = Some(PathBuf::from(value()?)),
            "--json" => json = Some(value()?),
            "--only" => {
                let name = value()?;
                let peer = Peer::ALL.into_iter().find(|peer| peer.name() == name);
                only.push(peer.ok_or_else(|| format!("there is no {name}"))?);
            }
            _ => return Err(format!("{arg}: not --quick, --edge, --json or --only").into()),
        }
    }
    let site = std::env::current_exe()?.with_file_name("site");
    let edge = edge.ok_or("--edge PROGRAM is needed")?;
    let (rounds, seconds, objects) = if quick { (3, 1, 20_000) } else { (4, 4, 200_000) };
    let only = if only.is_empty() { Peer::ALL.to_vec() } else { only };
    Ok(Plan { quick, rounds, seconds, objects, programs: Programs { edge, site }, json, only })
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::Builder::new().prefix("tower-edge-compare.").tempdir_in("/dev/shm")?;
    let miss = folder.path().join("miss.lua");
    fs::write(&miss, include_str!("../miss.lua"))?;

    let server = |peer: &Peer| Server {
        name: peer.name().to_owned(),
        version: peer.version(),
        samples: BTreeMap::new(),
    };
    let mut results = Results {
        date: date(),
        machine: machine(),
        tools: tools(),
        quick: plan.quick,
        rounds: plan.rounds,
        seconds: plan.seconds,
        objects: plan.objects,
        servers: plan.only.iter().map(server).collect(),
    };

    let port = free_port()?;
    let mut command = Command::new(&plan.programs.site);
    command.arg(format!("127.0.0.1:{port}"));
    let log = File::create(folder.path().join("origin"))?;
    let mut origin = Process::start(OTHER_CORE, &command, &log)?;
    origin.wait_for(port)?;

    for round in 0..=plan.rounds {
        for (peer, server) in plan.only.iter().zip(&mut results.servers) {
            let start = Instant::now();
            let files = folder.path().join("server");
            let running = peer.start(&plan.programs, port, &files)?;
            let measured = if round < plan.rounds {
                round_of(*peer, &running, port, plan.seconds, &miss, server)
            } else {
                // With a fresh process, so that nothing of the rounds is counted.
                memory_of(*peer, &running, plan.objects, server)
            };
            drop(running);
            fs::remove_dir_all(&files)?;
            measured.map_err(|error| format!("{}: {error}", peer.name()))?;
            let what = if round < plan.rounds { format!("round {}", round + 1) } else { "memory".into() };
            eprintln!("{what}: {}, {:.0} s", peer.name(), start.elapsed().as_secs_f64());
        }
    }

    println!("{}", results.table());
    if let Some(file) = &plan.json {
        results.save(file)?;
    }
    Ok(())
}

fn round_of(
    peer: Peer,
    running: &Running,
    origin: u16,
    seconds: u32,
    miss: &Path,
    server: &mut Server,
) -> Result<(), Box<dyn Error>> {
    for (figure, path, length, connections) in HITS {
        warm(peer, running, origin, path, length)?;
        let url = format!("http://127.0.0.1:{}{path}", running.port);
        let (load, used) = unasked(peer, origin, running, || load::wrk(&url, connections, seconds, None))?;
        server.add(figure, load.a_second);
        if figure == Figure::Hits1Kib {
            server.add(Figure::Percentile99, load.percentile_99.ok_or("no percentile")?);
            server.add(Figure::Processor, used / load.requests * 1e6);
            server.add(Figure::Busy, used * load.a_second / load.requests * 100.0);
        }
    }
    let url = format!("http://127.0.0.1:{}{}", running.http2_port, HITS[0].1);
    let (load, _) = unasked(peer, origin, running, || load::h2load(&url, seconds))?;
    server.add(Figure::Http2Hits1Kib, load.a_second);

    let before = count(origin)?;
    let url = format!("http://127.0.0.1:{}/", running.port);
    let name = format!("miss-{before}");
    let load = load::wrk(&url, 64, seconds, Some((miss, &name)))?;
    let asked = (count(origin)? - before) as f64;
    if peer != Peer::Hyper && asked < load.requests {
        return Err(format!("of {} misses, the origin heard {asked}", load.requests).into());
    }
    server.add(Figure::Misses, load.a_second);

    for number in 0..COLD {
        let path = format!("/{}/cold-{before}-{number}", 64 * MIB);
        let time = Client::new(running.port)?.get(&path, 64 * MIB)?;
        server.add(Figure::FirstByte, time.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Has an object stored, and sees that it is.
fn warm(peer: Peer, running: &Running, origin: u16, path: &str, length: u64) -> Result<(), Box<dyn Error>> {
    let mut client = Client::new(running.port)?;
    for _ in 0..100 {
        let before = count(origin)?;
        client.get(path, length)?;
        if peer == Peer::Hyper || count(origin)? == before {
            return Ok(());
        }
    }
    Err(format!("{path} is not stored").into())
}

/// Puts a load on the server, of which the origin must hear nothing. Also returns the seconds of processor that took.
fn unasked(
    peer: Peer,
    origin: u16,
    running: &Running,
    load: impl FnOnce() -> std::io::Result<Load>,
) -> Result<(Load, f64), Box<dyn Error>> {
    let (before, time) = (count(origin)?, running.process.processor_time());
    let load = load()?;
    let used = running.process.processor_time() - time;
    let asked = count(origin)? - before;
    if peer != Peer::Hyper && asked > 0 {
        return Err(format!("the origin was asked {asked} times for what is cached").into());
    }
    Ok((load, used.as_secs_f64()))
}

/// What it takes with so many objects. The bare server keeps none: its figure is what a process takes.
fn memory_of(
    peer: Peer,
    running: &Running,
    objects: usize,
    server: &mut Server,
) -> Result<(), Box<dyn Error>> {
    if peer != Peer::Hyper {
        fill(running.port, objects)?;
    }
    server.add(Figure::Memory, running.memory() as f64 / MIB as f64);
    Ok(())
}

fn date() -> String {
    let now = httpdate::fmt_http_date(SystemTime::now());
    // Tue, 24 Nov 2026 10:00:00 GMT
    now.get(5..16).unwrap_or(&now).to_owned()
}

fn machine() -> String {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{}, {cores} cores, Linux {kernel}", model.trim_start_matches([' ', '\t', ':']))
}

fn tools() -> String {
    let first = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(text.lines().next()?.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    };
    let wrk = first("wrk", "-v").unwrap_or_default();
    let h2load = first("h2load", "--version").unwrap_or_default();
    format!("{wrk}, {h2load}")
}
