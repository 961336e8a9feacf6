//! Where an edge is as on a machine of its own, with lines that can fail as lines do: [`Namespace`].
//!
//! A proxy can end a connection, or hold what is sent by it; but both ends go on being told by their own machine that all is
//! well. Here packets are lost, and TCP waits.

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What becomes of what is sent by a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The edge's device is down: new connections fail at once, and others stand still.
    Down,
    /// Nothing arrives on either side.
    Silent,
    /// Nothing arrives at the edge, and what it sends does.
    Deaf,
    /// Nothing that the edge sends arrives.
    Mute,
}

/// A network of an edge's own. It is joined to the network of this process by two lines: by one viewers and operators come
/// and the origin is asked, by the other the log is. Neither leads anywhere else.
pub(crate) struct Namespace {
    /// The network is there as long as somebody is in it. This ends with its standard input, so whatever ends this process.
    holder: Child,
    viewers: Line,
    log: Line,
}

struct Line {
    /// The devices of its ends.
    here: String,
    there: String,
    /// Their addresses, one after the other.
    first: u32,
}

/// For tests of networks (RFC 2544 §C.2.2): 16,384 times eight addresses, of which each line takes four.
const RANGE: u32 = 0xC612_0000;
const BLOCKS: u32 = 16_384;

/// Each line is between two only, so that all have the same.
const HERE: &str = "02:00:00:00:00:01";
const THERE: &str = "02:00:00:00:00:02";
/// What is sent there is taken by none.
const NOBODY: &str = "02:00:00:00:00:03";

impl Namespace {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let own = std::process::id();
        let (number, first) = (0..BLOCKS)
            .find_map(|_| {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let first = RANGE + own.wrapping_mul(64).wrapping_add(number) % BLOCKS * 8;
                let block = format!("{}/29", Ipv4Addr::from_bits(first));
                run("ip", &["-o", "address", "show", "to", &block]).is_empty().then_some((number, first))
            })
            .expect("a free block of addresses");
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo there && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| impossible("unshare", error));
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let _ = holder.wait();
            impossible("unshare --net", "it has ended, and said above why");
        }
        let line = |kind: char, first| {
            let (here, there) = (format!("te{own}{kind}{number}"), format!("te{own}{kind}{number}e"));
            Line { here, there, first }
        };
        let made = Self { holder, viewers: line('v', first), log: line('l', first + 4) };
        made.inside(&["ip", "link", "set", "lo", "up"]);
        for line in [&made.viewers, &made.log] {
            made.join(line);
        }
        made
    }

    fn join(&self, line: &Line) {
        let Line { here, there, .. } = line;
        run("ip", &["link", "add", here, "address", HERE, "type", "veth", "peer", there, "address", THERE]);
        run("ip", &["link", "set", there, "netns", &self.holder.id().to_string()]);
        run("ip", &["address", "add", &format!("{}/30", line.near()), "dev", here]);
        self.inside(&["ip", "address", "add", &format!("{}/30", line.far()), "dev", there]);
        run("ip", &["link", "set", here, "up"]);
        self.inside(&["ip", "link", "set", there, "up"]);
    }

    /// Where this process listens for the edge.
    pub(crate) fn origin(&self) -> Ipv4Addr {
        self.viewers.near()
    }

    pub(crate) fn log(&self) -> Ipv4Addr {
        self.log.near()
    }

    /// Where the edge listens.
    pub(crate) fn viewers(&self) -> Ipv4Addr {
        self.viewers.far()
    }

    /// For `nsenter`.
    pub(crate) fn entrance(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.holder.id())
    }

    fn inside(&self, command: &[&str]) -> String {
        run("nsenter", &[&[self.entrance().as_str()], command].concat())
    }

    /// Breaks the line to the log.
    pub(crate) fn lose(&self, loss: Loss) {
        match loss {
            Loss::Down => {
                self.inside(&["ip", "link", "set", &self.log.there, "down"]);
            }
            Loss::Silent => self.address(NOBODY, NOBODY),
            Loss::Deaf => self.address(NOBODY, HERE),
            Loss::Mute => self.address(THERE, NOBODY),
        }
    }

    pub(crate) fn mend(&self) {
        self.inside(&["ip", "link", "set", &self.log.there, "up"]);
        self.address(THERE, HERE);
    }

    /// To whom what is for the edge is sent, and what is for this process.
    fn address(&self, there: &str, here: &str) {
        let Line { here: near, there: far, .. } = &self.log;
        let neighbour = |address: Ipv4Addr, link: &str, device: &str| {
            ["ip", "neighbour", "replace", &address.to_string(), "lladdr", link, "dev", device]
                .map(str::to_owned)
        };
        let command = neighbour(self.log.far(), there, near);
        run("ip", &command.each_ref().map(String::as_str)[1..]);
        let command = neighbour(self.log.near(), here, far);
        self.inside(&command.each_ref().map(String::as_str));
    }

    /// Connections of the edge to the log that it holds, or makes.
    pub(crate) fn connections(&self) -> usize {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.holder.id())).unwrap();
        // In the machine's own order of bytes.
        let log = format!("{:08X}:", u32::from_ne_bytes(self.log.near().octets()));
        let is_one = |line: &&str| {
            let mut words = line.split_whitespace().skip(2);
            // Established, or a SYN is on its way: others are the system's.
            words.next().is_some_and(|remote| remote.starts_with(&log))
                && words.next().is_some_and(|state| state == "01" || state == "02")
        };
        table.lines().filter(is_one).count()
    }
}

impl Line {
    fn near(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first + 1)
    }

    fn far(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first + 2)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for line in [&self.viewers, &self.log] {
            // One end takes the other with it. It may not have been made.
            let _ = Command::new("ip").args(["link", "delete", &line.here]).stderr(Stdio::null()).status();
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let what = format!("{program} {}", arguments.join(" "));
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => impossible(&what, String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => impossible(&what, error),
    }
}

fn impossible(what: &str, why: impl Display) -> ! {
    panic!(
        "an edge cannot have a network of its own here, for which root, ip (iproute2), unshare and nsenter (util-linux) and \
         veth in the kernel are needed: {what}: {why}"
    )
}
