//! How many instructions a hit and a miss take beside the same service without the layer: `cargo bench --bench instructions`.
//!
//! Times are noisy and instructions are not: this ends with 1 when one of them takes noticeably more of them than
//! `benches/instructions.txt` says. What is compared is the ratio to the bare service in the same run, since the absolute
//! numbers change with the compiler and libc. `-- --renew` takes what was counted as what is expected. Counted by
//! valgrind's callgrind, on the plainest instruction set, so that the processor makes no difference.

mod support;

use std::convert::Infallible;
use std::fmt::Write;
use std::process::{Command, ExitCode};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tower::Service;
use tower_edge::Cache;

use self::support::{ETAG, KIB, Site, cached, exchange, object, request};

/// How much a ratio may grow before it is a failure, in percent.
const TOLERANCE: f64 = 2.0;
/// The same where a table of fields has over 1,032 bytes: those glibc's malloc finds in ways that depend on what was
/// allocated before.
const LOOSE: f64 = 10.0;
const EXCHANGES: usize = 500;
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// A process that finds this in its environment is one that is counted.
const COUNTED: &str = "TOWER_EDGE_COUNTED";
/// Newer instructions would be used by some processors' memcpy and not by others'. Two spellings, for old and new libcs.
const PLAIN: &str =
    "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-ERMS,-FSRM,-AVX2_Usable,-AVX512F_Usable,-AVX_Fast_Unaligned_Load";

type Case = (&'static str, f64, fn() -> Site, fn() -> Request<Full<Bytes>>);

const CASES: [Case; 8] = [
    ("get", TOLERANCE, page, || request(&Method::GET, &[])),
    ("get-by-a-server", TOLERANCE, page, || {
        let mut request = request(&Method::GET, &[]);
        request.extensions_mut().insert("what a server knows of the viewer");
        request
    }),
    ("get-40-fields", LOOSE, || page().with_fields(40), || request(&Method::GET, &[])),
    ("get-no-vary", TOLERANCE, || page().varying_by(""), || request(&Method::GET, &[])),
    ("head", TOLERANCE, page, || request(&Method::HEAD, &[])),
    ("304", TOLERANCE, page, || request(&Method::GET, &[("if-none-match", ETAG)])),
    ("range", LOOSE, page, || request(&Method::GET, &[("range", "bytes=0-1023")])),
    // Of 1 KiB, so that what is counted is not for the most part the copy that the store keeps.
    (MISS, TOLERANCE, || Site::new(KIB), || request(&Method::GET, &[])),
];
/// The case in which each object is asked for once.
const MISS: &str = "miss";

/// With six fields.
fn page() -> Site {
    let mut site = Site::new(64 * KIB);
    site.headers.remove("last-modified");
    site.headers.remove("x-content-type-options");
    site
}

fn main() -> ExitCode {
    if support::is_only_a_test() {
        return ExitCode::SUCCESS;
    }
    if let Ok(name) = std::env::var(COUNTED) {
        be_counted(&name);
        return ExitCode::SUCCESS;
    }
    match compare(std::env::args().any(|arg| arg == "--renew")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::from(2)
        }
    }
}

/// Counts every case and compares. Says whether all is as expected.
fn compare(renew: bool) -> Result<bool, String> {
    let expected = std::fs::read_to_string(EXPECTED).unwrap_or_default();
    let mut counted =
        String::from("# Instructions of an exchange, by `cargo bench --bench instructions -- --renew`.\n");
    let mut good = true;
    println!("{:<16} {:>8} {:>8} {:>7} {:>9}", "instructions", "without", "through", "ratio", "expected");
    for (name, tolerance, ..) in CASES {
        let (without, through) = (count(name, "without")?, count(name, "through")?);
        let ratio = through as f64 / without as f64;
        writeln!(counted, "{name} {without} {through} {ratio:.3}").expect("a string takes everything");
        let Some(before) = expected_ratio(&expected, name) else {
            println!("{name:<16} {without:>8} {through:>8} {ratio:>7.3} {:>9}", "-");
            good = false;
            continue;
        };
        let change = (ratio / before - 1.0) * 100.0;
        println!("{name:<16} {without:>8} {through:>8} {ratio:>7.3} {before:>9.3}  {change:+.1} %");
        good &= change <= tolerance;
    }
    if renew {
        std::fs::write(EXPECTED, counted).map_err(|error| format!("{EXPECTED}: {error}"))?;
        println!("written to {EXPECTED}");
        return Ok(true);
    }
    if !good {
        eprintln!(
            "instructions: a hit or a miss takes noticeably more instructions, beside the bare service, than \
             benches/instructions.txt says. If it is worth it, or the compiler or libc is another: \
             cargo bench --bench instructions -- --renew"
        );
    }
    Ok(good)
}

fn expected_ratio(expected: &str, name: &str) -> Option<f64> {
    let line = expected.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.split(' ').next_back()?.parse().ok()
}

/// The instructions of one exchange, as counted in a process of its own.
fn count(name: &str, side: &str) -> Result<u64, String> {
    let out = format!("{}/callgrind-{name}-{side}", env!("CARGO_TARGET_TMPDIR"));
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*measured*", &format!("--callgrind-out-file={out}")])
        .arg(this)
        .env(COUNTED, format!("{name} {side}"))
        .env("GLIBC_TUNABLES", PLAIN)
        .output()
        .map_err(|error| format!("valgrind (Debian: apt install valgrind): {error}"))?;
    if !run.status.success() {
        return Err(format!("{name} {side}: {}", String::from_utf8_lossy(&run.stderr)));
    }
    let report = std::fs::read_to_string(&out).map_err(|error| format!("{out}: {error}"))?;
    let total = report.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
    match total {
        Some(total) if total > 0 => Ok(total / EXCHANGES as u64),
        _ => Err(format!("{out} counts nothing: is `measured` inlined?")),
    }
}

fn be_counted(which: &str) {
    let (name, side) = which.split_once(' ').expect("a case and a side");
    let (.., site, request) = *CASES.iter().find(|case| case.0 == name).expect("a case of this file");
    // Once outside of what is counted: what happens only the first time is no part of a hit.
    let requests = |number| vec![request(); number];
    match side {
        "without" => {
            let mut site = site();
            exchange(&mut site, request());
            measured(&mut site, requests(EXCHANGES));
        }
        _ if name == MISS => {
            let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
            let mut site = cached(site(), 1);
            // Until the store's tables and the runtime's lists are as large as they stay for the rest.
            let (before, counted) = (1..1_000, 1_000..1_000 + EXCHANGES as u64);
            missed(&runtime, &mut site, before.map(object).collect());
            measured_misses(&runtime, &mut site, counted.map(object).collect());
        }
        _ => {
            let mut site = cached(site(), 1);
            exchange(&mut site, request());
            measured(&mut site, requests(EXCHANGES));
        }
    }
}

/// What callgrind counts, found by this name.
#[inline(never)]
fn measured<S, B>(service: &mut S, requests: Vec<Request<Full<Bytes>>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    for request in requests {
        exchange(service, request);
    }
}

/// The same where each answer takes a task, and so a runtime.
#[inline(never)]
fn measured_misses(runtime: &Runtime, site: &mut Cache<Site>, requests: Vec<Request<Full<Bytes>>>) {
    missed(runtime, site, requests);
}

fn missed(runtime: &Runtime, site: &mut Cache<Site>, requests: Vec<Request<Full<Bytes>>>) {
    runtime.block_on(async {
        for request in requests {
            let Ok(response) = site.call(request).await;
            assert!(response.headers()["cache-status"].as_bytes().ends_with(b"; stored"));
            response.collect().await.expect("a whole body");
        }
    });
}
