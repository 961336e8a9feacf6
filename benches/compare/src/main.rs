//! What a hit costs in process, beside other crates that cache: `cargo run --release` in this folder.
//!
//! All stand in front of the same service, are asked the same by the same loop, and have their answers read to the end. They
//! take turns, so that whatever else the machine does falls on all alike; medians count. A turn begins with exchanges that are
//! not measured, so that none pays for what the one before it left in the processor's caches. None is measured before it has
//! been seen to answer without asking its service. `--quick` takes fewer turns, `--json FILE` also writes the figures.

mod peer;
mod peers;
mod pingora;
mod site;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::peer::{Peer, TURN};
use crate::site::BoxError;

const KIB: usize = 1024;
const SIZES: [usize; 2] = [KIB, 64 * KIB];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), BoxError> {
    let mut rounds = 3000;
    let mut file = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => rounds = 300,
            "--json" => file = Some(args.next().ok_or("--json needs a file")?),
            other => return Err(format!("{other}: not --quick, nor --json FILE").into()),
        }
    }

    let mut sizes = Vec::new();
    for length in SIZES {
        let mut peers = peers::all(length)?;
        measure(&mut peers, rounds)?;
        sizes.push(show(length, rounds, &mut peers));
    }
    if let Some(file) = file {
        let text = serde_json::to_string_pretty(&json!({ "turns": rounds, "sizes": sizes }))?;
        std::fs::write(&file, text + "\n").map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(())
}

fn measure(peers: &mut [Peer], rounds: usize) -> Result<(), BoxError> {
    // Some need one for their timers, and to store.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for peer in peers.iter_mut() {
        peer.warm(&runtime)?;
    }
    let calls: Vec<usize> = peers.iter().map(Peer::calls).collect();
    for _ in 0..rounds {
        for peer in peers.iter_mut() {
            peer.take_turn(&runtime)?;
        }
    }
    for (peer, calls) in peers.iter().zip(calls) {
        if peer.asked_since(calls) {
            return Err(format!("{} has asked its service while it was measured", peer.name).into());
        }
    }
    Ok(())
}

fn show(length: usize, rounds: usize, peers: &mut [Peer]) -> Value {
    let medians: Vec<f64> = peers.iter_mut().map(Peer::median).collect();
    let (bare, ours) = (medians[0], medians[1]);
    println!(
        "\n{:<36} {:>11} {:>8} {:>8}   (medians of {rounds} turns of {TURN})",
        format!("a hit of {} KiB", length / KIB),
        "ns",
        "added",
        "to ours",
    );
    let rows = peers.iter().zip(&medians).map(|(peer, &median)| {
        println!("{:<36} {median:>11.0} {:>8.0} {:>8.2}", peer.name, median - bare, median / ours);
        json!({ "name": peer.name, "nanoseconds": median, "added": median - bare, "to_ours": median / ours })
    });
    let rows: Vec<Value> = rows.collect();
    json!({ "bytes": length, "peers": rows })
}
