//! A configured edge server before a pair of origins, the first of which fails in every way there is, over real sockets.
//!
//! `cargo test -p edge-server --test failover -- --nocapture` shows what each way costs a viewer whose answer is not stored.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod primary;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use self::primary::{Fault, Origin};
use self::support::{TemporaryFile, command};

/// Longer than anything here takes, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many failures have the primary skipped.
const FAILURES: usize = 3;
/// For how long at first: for half of this at the least.
const SKIPPED: Duration = Duration::from_secs(2);
/// Misses while it is skipped.
const MISSES: usize = 30;

/// An edge server before a group; it ends with this value.
struct Edge {
    process: Child,
    address: SocketAddr,
    /// Every request is for a page of its own, and so a miss.
    pages: Cell<usize>,
    _file: TemporaryFile,
}

/// What a viewer got, and how long it took.
struct Answer {
    status: u16,
    body: String,
    whole: bool,
    took: Duration,
}

impl Edge {
    fn before(primary: &str, secondary: SocketAddr, skipped: Duration) -> Self {
        let file = TemporaryFile::new(&format!(
            r#"
            [[listener]]
            address = "127.0.0.1:0"
            [origin.primary]
            kind = "upstream"
            url = "http://{primary}"
            connect-time = "500ms"
            first-byte-time = "5s"
            between-bytes-time = "500ms"
            [origin.secondary]
            kind = "upstream"
            url = "http://{secondary}"
            [group.pair]
            members = ["primary", "secondary"]
            head-time = "300ms"
            failures = {FAILURES}
            back-off = "{}ms"
            longest-back-off = "1h"
            [[behavior]]
            path = "*"
            origin = "pair"
            "#,
            skipped.as_millis()
        ));
        let mut process = command(&["--config", file.path()]).stdout(Stdio::piped()).spawn().unwrap();
        let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let address = line.strip_prefix("edge    http://").unwrap().parse().unwrap();
        Self { process, address, pages: Cell::new(0), _file: file }
    }

    /// A page that is not stored.
    fn miss(&self) -> Answer {
        self.pages.set(self.pages.get() + 1);
        self.get(self.pages.get())
    }

    fn get(&self, page: usize) -> Answer {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /{page} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // A connection that is reset is one way for an answer to break off.
        let ended = stream.read_to_end(&mut answer).is_ok();
        let took = asked.elapsed();
        assert!(took < PATIENCE, "the viewer waits for ever");
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = ended && length.unwrap().parse() == Ok(body.len());
        Answer { status: head[9..12].parse().unwrap(), body: body.to_owned(), whole, took }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    /// Whose page it is; anything else is what no viewer should get.
    fn from(&self) -> &str {
        assert_eq!((self.status, self.whole), (200, true), "{:?}", self.body);
        &self.body
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    milliseconds(times[times.len() / 2])
}

/// What misses cost while the primary fails: the first, and once it is skipped. Every one gets the secondary's page.
fn row(fault: &str, edge: &Edge) {
    let first = edge.miss();
    assert_eq!(first.from(), "secondary", "{fault}");
    for _ in 1..FAILURES {
        assert_eq!(edge.miss().from(), "secondary", "{fault}");
    }
    let skipped = (0..MISSES).map(|_| {
        let answer = edge.miss();
        assert_eq!(answer.from(), "secondary", "{fault}");
        answer.took
    });
    print!("{fault:<22}{:9.1} ms {:9.1} ms", milliseconds(first.took), median(skipped.collect()));
}

/// How many requests reach a primary that fails for so long: those that have it skipped, and a probe each time it may be asked.
fn bound(failing: Duration) -> usize {
    FAILURES + failing.div_duration_f64(SKIPPED / 2) as usize
}

#[test]
fn no_viewer_notices_while_the_secondary_is_well() {
    println!("{:<22}{:>12} {:>12} {:>12} {:>12}  asked", "", "first miss", "skipped", "back after", "then");
    for fault in ["killed", "hung before the head", "hung before the body", "503"] {
        let (mut primary, secondary) = (Origin::start("primary"), Origin::start("secondary"));
        let edge = Edge::before(&primary.address.to_string(), secondary.address, SKIPPED);
        assert_eq!(edge.miss().from(), "primary");

        let (failing, asked) = (Instant::now(), primary.asked());
        match fault {
            "killed" => primary.kill(),
            "hung before the head" => primary.set(Fault::HangBeforeHead),
            "hung before the body" => primary.set(Fault::HangBeforeBody),
            _ => primary.set(Fault::Busy),
        }
        row(fault, &edge);
        let asked = primary.asked() - asked;
        assert!(asked <= bound(failing.elapsed()), "{fault}: {asked} in {:?}", failing.elapsed());
        assert!(fault == "killed" || asked >= FAILURES, "{fault}: {asked}");

        primary.set(Fault::None);
        if fault == "killed" {
            primary.revive();
        }
        let well = Instant::now();
        while edge.miss().from() != "primary" {
            assert!(well.elapsed() < PATIENCE, "{fault}: the primary is not found to be back");
            thread::sleep(Duration::from_millis(2));
        }
        let back = well.elapsed();
        let after = (0..MISSES).map(|_| {
            let answer = edge.miss();
            assert_eq!(answer.from(), "primary", "{fault}");
            answer.took
        });
        println!(" {:9.1} ms {:9.1} ms  {asked}", milliseconds(back), median(after.collect()));
    }

    let secondary = Origin::start("secondary");
    row("name that is none", &Edge::before("primary.invalid", secondary.address, SKIPPED));
    println!();
}

#[test]
fn an_answer_that_has_begun_breaks_off_and_the_next_are_the_secondary_s() {
    let (primary, secondary) = (Origin::start("primary"), Origin::start("secondary"));
    // No probe meets the same fault meanwhile.
    let hour = Duration::from_secs(3600);
    let edge = Edge::before(&primary.address.to_string(), secondary.address, hour);
    assert_eq!(edge.miss().from(), "primary");

    primary.set(Fault::HangInBody);
    let asked = primary.asked();
    for _ in 0..FAILURES {
        let answer = edge.miss();
        // What has been sent cannot be taken back, and must not pass for the whole.
        assert_eq!((answer.status, answer.body.as_str(), answer.whole), (200, "pri", false));
    }
    let broken = edge.pages.get();
    for _ in 0..MISSES {
        assert_eq!(edge.miss().from(), "secondary");
    }
    assert_eq!(edge.get(broken).from(), "secondary", "a part is not stored");
    assert_eq!(primary.asked() - asked, FAILURES);
}
