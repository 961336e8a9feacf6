//! Writes `performance.md` and its plots: `page SERVERS.json CRATES.json FOLDER`.

use std::cmp::Ordering;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Deserialize;
use servers::results::{Figure, Results, Server, short};

/// The in-process figures, as `cargo run --release -- --json FILE` writes them.
#[derive(Deserialize)]
struct Crates {
    turns: usize,
    sizes: Vec<Size>,
}

#[derive(Deserialize)]
struct Size {
    bytes: usize,
    peers: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    nanoseconds: f64,
    added: f64,
    to_ours: f64,
}

/// Figures in the plot: those of which more is better.
const PLOTTED: [Figure; 5] =
    [Figure::Hits1Kib, Figure::Hits64Kib, Figure::Hits1Mib, Figure::Http2Hits1Kib, Figure::Misses];

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const COLOURS: [RGBColor; 5] = [
    RGBColor(0x9a, 0x9a, 0x9a),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xcc, 0x79, 0xa7),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("page: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [servers, crates, folder] = args.as_slice() else {
        return Err("it is page SERVERS.json CRATES.json FOLDER".into());
    };
    let results = Results::load(servers)?;
    let text = fs::read_to_string(crates).map_err(|error| format!("{crates}: {error}"))?;
    let crates: Crates = serde_json::from_str(&text).map_err(|error| format!("{crates}: {error}"))?;
    let folder = Path::new(folder);
    plot(&folder.join("performance.svg"), &results)?;
    fs::write(folder.join("performance.md"), page(&results, &crates))?;
    Ok(())
}

fn page(results: &Results, crates: &Crates) -> String {
    let quick = if results.quick {
        "\n**From a quick run, which is for trying: not figures to quote.**\n"
    } else {
        ""
    };
    let Results { machine, date, tools, rounds, seconds, .. } = results;
    format!(
        "# Performance\n\
         <!-- Written by benches/compare/servers.sh --page. -->\n{quick}\n\
         {machine}; {date}; {tools}. `benches/compare/servers.sh --page` writes this page anew, on your machine.\n\
         Ratios within a run say something, absolute figures little.\n\n\
         ## Servers\n\n\
         One server at a time on one core; the load and the origin on another. {rounds} rounds in which they take turns, \
         {seconds} s a measurement, medians. In parentheses the ratio to bare hyper: the same server as the edge server's, \
         by the same allocator and built alike (profile `dist`), which gives the same bytes and fields and has no cache. 64 connections that are kept (16 for 1 MiB; 16 of 16 \
         streams for HTTP/2). A hit counts only if the origin heard nothing of it.\n\n{}\n\
         ![Ratios to bare hyper](performance.svg)\n\n\
         A miss is an exchange with the origin, which bare hyper does not have; nor does it store anything: its memory is \
         that of a process. nginx keeps its objects in files, which here are in memory, and count. Traffic Server keeps \
         each twice, in memory and in its storage, which here is in memory, too. Where a server's core is not in use to \
         about 100 %, it waited for its load, and could do more.\n\n\
         How each is set up is written in \
         [`peer.rs`](../benches/compare/servers/src/peer.rs), \
         [`nginx.conf`](../benches/compare/servers/nginx.conf) and \
         [`records.config`](../benches/compare/servers/records.config).\n\n\
         ## Crates\n\n\
         In process, in front of the same service, one thread, {} turns of 32 exchanges each, medians. Eight more before \
         each turn are not measured: they bring back into the processor's caches what the one before has driven out. *Added* is what \
         comes on top of the service itself; a ratio is to tower-edge.\n\n{}\
         ## Goals\n\n{}",
        results.table(),
        crates.turns,
        crate_tables(crates),
        goals(results, crates),
    )
}

fn crate_tables(crates: &Crates) -> String {
    let mut text = String::new();
    for size in &crates.sizes {
        text +=
            &format!("| a hit of {} KiB | ns | added | ratio |\n|---|---:|---:|---:|\n", size.bytes / 1024);
        for peer in &size.peers {
            text += &format!(
                "| {} | {:.0} | {:.0} | {:.2} |\n",
                peer.name, peer.nanoseconds, peer.added, peer.to_ours
            );
        }
        text.push('\n');
    }
    text
}

/// What was aimed at, and what came of it.
fn goals(results: &Results, crates: &Crates) -> String {
    let of = |name: &str, figure| {
        results.servers.iter().find(|server| server.name == name).and_then(|server| server.median(figure))
    };
    let ratio = |ours: &str, name: &str, figure| Some(of(ours, figure)? / of(name, figure)?);
    let best = |figure| {
        let peers = ["nginx", "Varnish", "Traffic Server"];
        peers.into_iter().max_by(|a, b| of(a, figure).partial_cmp(&of(b, figure)).unwrap_or(Ordering::Equal))
    };
    // Of the first size: bare service, ours, then the others.
    let others = || crates.sizes.first().and_then(|size| size.peers.get(2..)).into_iter().flatten();
    let fastest_of = |names: &[&str]| {
        let named = others().filter(|peer| names.iter().any(|name| peer.name.starts_with(name)));
        named.map(|peer| peer.to_ours).reduce(f64::min)
    };

    let mut text = String::from("| | goal | measured | bare hyper |\n|---|---:|---:|---:|\n");
    let mut row = |name: &str, goal: f64, measured: Option<f64>, limit: Option<f64>| {
        let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2}"));
        let missed = if measured.is_some_and(|value| value < goal) { " (missed)" } else { "" };
        text += &format!("| {name} | {goal:.2} | {}{missed} | {} |\n", number(measured), number(limit));
    };
    for (what, server, figure, goal) in [
        ("hits of 1 KiB, to bare hyper", Some("bare hyper"), Figure::Hits1Kib, 0.95),
        ("to nginx", Some("nginx"), Figure::Hits1Kib, 1.5),
        ("to Varnish", Some("Varnish"), Figure::Hits1Kib, 3.0),
        ("to Traffic Server", Some("Traffic Server"), Figure::Hits1Kib, 3.0),
        ("hits of 64 KiB, to the best of them", best(Figure::Hits64Kib), Figure::Hits64Kib, 1.0),
        ("hits of 1 MiB, to the best of them", best(Figure::Hits1Mib), Figure::Hits1Mib, 1.0),
    ] {
        let to = |ours| server.and_then(|server| ratio(ours, server, figure));
        row(what, goal, to("edge-server"), to("bare hyper"));
    }
    let shared = ["http-cache-tower", "tower-http-cache", "pingora-cache"];
    row("a hit in process: the fastest other HTTP cache to ours", 3.0, fastest_of(&shared), None);
    row(
        "axum-response-cache, which goes by method and URI alone, to ours",
        3.0,
        fastest_of(&["axum-response"]),
        None,
    );
    row("http-cache-tower to ours", 10.0, fastest_of(&["http-cache-tower 1"]), None);
    text + "\nThe last column is the limit: what the same server reaches that stores nothing and decides nothing.\n"
}

fn plot(file: &Path, results: &Results) -> Result<(), Box<dyn Error>> {
    const LABELS: i32 = 210;
    const BAR: i32 = 14;
    const FULL: f64 = 420.0;
    let group = BAR * results.servers.len() as i32 + 16;
    let height = 60 + group * PLOTTED.len() as i32;
    let root = SVGBackend::new(file, (760, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;

    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    root.draw(&Text::new("Ratio to bare hyper; longer is faster", (LABELS, 8), text(13)))?;
    for (number, figure) in PLOTTED.into_iter().enumerate() {
        let top = 32 + group * number as i32;
        let right = text(12).pos(Pos::new(HPos::Right, VPos::Center));
        let middle = top + BAR * results.servers.len() as i32 / 2;
        root.draw(&Text::new(figure.title(results.objects), (LABELS - 10, middle), right))?;
        let base = results.servers.first().and_then(|server| server.median(figure));
        for (server, (at, colour)) in results.servers.iter().zip((0..).zip(COLOURS)) {
            let Some(ratio) = ratio(server, figure, base) else { continue };
            let y = top + BAR * at;
            let end = LABELS + (ratio.min(1.2) * FULL) as i32;
            root.draw(&Rectangle::new([(LABELS, y), (end, y + BAR - 2)], colour.filled()))?;
            let label = format!("{} {}", server.name, short(ratio));
            let place = (end + 4, y + BAR / 2 - 1);
            root.draw(&Text::new(label, place, text(10).pos(Pos::new(HPos::Left, VPos::Center))))?;
        }
    }
    let one = LABELS + FULL as i32;
    root.draw(&PathElement::new([(one, 28), (one, height - 20)], INK.mix(0.4)))?;
    root.present()?;
    Ok(())
}

fn ratio(server: &Server, figure: Figure, base: Option<f64>) -> Option<f64> {
    Some(server.median(figure)? / base.filter(|base| *base > 0.0)?)
}
