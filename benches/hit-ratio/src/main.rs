//! How many requests, and how many of their bytes, the store answers, against its capacity; beside LRU and what nobody can
//! beat. `cargo run --release` in this folder; `-- --help` says the rest.
//!
//! The store is the Edge's own, asked through its layer by an origin whose objects have the sizes of the trace. LRU and
//! the offline optimum weigh an object as the Edge does, head and key included.

mod edge;
mod lru;
mod offline;
mod options;
mod plot;
#[cfg(test)]
mod tests;
mod trace;

use std::process::ExitCode;

use self::edge::ThroughEdge;
use self::lru::Lru;
use self::offline::{Offline, Value};
use self::trace::Trace;

const HELP: &str = "hit-ratio [--requests NUMBER] [--seed NUMBER] [--svg FILE] [--options] [TRACE.csv ...]

Replays traces and prints hit ratios against capacity. Without a file: generated ones.
  TRACE.csv           lines of time,key,size; a first line that is not such is passed over
  --requests NUMBER   of each generated trace (500000)
  --seed NUMBER       of the generated traces (1)
  --svg FILE          draws what is printed
  --options           instead of the Edge: quick_cache with various options";

/// Capacities, as shares of the weight of everything that a trace asks for.
const SHARES: [f64; 6] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.4];
/// A larger share than this of the capacity no object may have, here as in the Edge.
const LARGEST: u64 = 8;

/// Something that keeps what it was asked for.
trait Keeper {
    /// Whether it had the object.
    fn ask(&mut self, key: u32, size: u64) -> bool;
}

/// Of all requests, and of all bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Ratio {
    objects: f64,
    bytes: f64,
}

impl Ratio {
    fn of(trace: &Trace, mut ask: impl FnMut(u32, u64) -> bool) -> Self {
        let (mut hits, mut bytes, mut all) = (0u64, 0u64, 0u64);
        for &(key, size) in &trace.requests {
            let hit = ask(key, size);
            hits += u64::from(hit);
            bytes += if hit { size } else { 0 };
            all += size;
        }
        Self { objects: hits as f64 / trace.requests.len() as f64, bytes: bytes as f64 / all as f64 }
    }
}

/// The ratios of one trace at one capacity.
struct Row {
    capacity: u64,
    edge: Ratio,
    lru: Ratio,
    /// The best for requests, and the best for bytes.
    best: Ratio,
}

struct Arguments {
    requests: usize,
    seed: u64,
    svg: Option<String>,
    options: bool,
    files: Vec<String>,
}

impl Arguments {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut read = Self { requests: 500_000, seed: 1, svg: None, options: false, files: Vec::new() };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} wants a value"));
            match arg.as_str() {
                "--requests" => read.requests = number(&value()?)?,
                "--seed" => read.seed = number(&value()?)?,
                "--svg" => read.svg = Some(value()?),
                "--options" => read.options = true,
                "--help" | "-h" => return Err(HELP.into()),
                _ if arg.starts_with('-') => return Err(format!("{arg} is unknown\n\n{HELP}")),
                _ => read.files.push(arg),
            }
        }
        Ok(read)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Says whether no trace has, over all capacities, less than LRU has.
fn run() -> Result<bool, String> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let traces = if arguments.files.is_empty() {
        Trace::generated(arguments.requests, arguments.seed)
    } else {
        arguments.files.iter().map(|file| Trace::read(file)).collect::<Result<_, _>>()?
    };
    let overhead = edge::overhead();
    println!("An object weighs its size and {overhead} bytes.");
    if arguments.options {
        traces.iter().for_each(|trace| options::compare(trace, overhead));
        return Ok(true);
    }
    let mut good = true;
    let mut results = Vec::new();
    for trace in &traces {
        println!("\n{trace}");
        println!("{:>9}   {:>26}   {:>26}", "", "objects", "bytes");
        println!(
            "{:>9}   {:>8} {:>8} {:>8}   {:>8} {:>8} {:>8}",
            "capacity", "Edge", "LRU", "optimum", "Edge", "LRU", "optimum"
        );
        let rows = rows(trace, overhead);
        for Row { capacity, edge, lru, best } in &rows {
            let below = edge.objects < lru.objects || edge.bytes < lru.bytes;
            println!(
                "{:>5.1} MiB   {:>8.4} {:>8.4} {:>8.4}   {:>8.4} {:>8.4} {:>8.4}   {}",
                *capacity as f64 / (1024.0 * 1024.0),
                edge.objects,
                lru.objects,
                best.objects,
                edge.bytes,
                lru.bytes,
                best.bytes,
                if below { "below LRU" } else { "" }
            );
        }
        let mean = |above: fn(&Row) -> f64| rows.iter().map(above).sum::<f64>() / rows.len() as f64 * 100.0;
        let objects = mean(|row| row.edge.objects - row.lru.objects);
        let bytes = mean(|row| row.edge.bytes - row.lru.bytes);
        println!("on average {objects:+.2} points of objects beside LRU, {bytes:+.2} of bytes");
        good &= objects >= 0.0 && bytes >= 0.0;
        results.push((trace, rows));
    }
    if let Some(file) = &arguments.svg {
        plot::draw(file, &results)?;
    }
    Ok(good)
}

fn rows(trace: &Trace, overhead: u64) -> Vec<Row> {
    let everything = trace.weight(overhead);
    let row = |share: f64| {
        let capacity = ((everything as f64 * share) as u64).max(edge::LEAST);
        let mut edge = ThroughEdge::new(capacity);
        let mut lru = Lru::new(capacity, overhead);
        Row {
            capacity,
            edge: Ratio::of(trace, |key, size| edge.ask(key, size)),
            lru: Ratio::of(trace, |key, size| lru.ask(key, size)),
            best: Ratio {
                objects: Offline::new(trace, capacity, overhead, Value::Request).ratio().objects,
                bytes: Offline::new(trace, capacity, overhead, Value::Byte).ratio().bytes,
            },
        }
    };
    SHARES.into_iter().map(row).collect()
}
