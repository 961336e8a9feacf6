//! The two servers under test: Debian's nginx as the origin, and the edge server in front of it.
//!
//! Both listen on free loopback ports and end with their handle, also when the test panics.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::site::Site;

const START: Duration = Duration::from_secs(10);

/// nginx, serving a [`Site`].
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    access_log: PathBuf,
    _process: Process,
}

/// The edge server in front of an [`Nginx`].
pub(crate) struct EdgeServer {
    pub(crate) address: SocketAddr,
    _process: Process,
}

/// One line of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    /// Whether the request carried a validator.
    pub(crate) conditional: bool,
}

impl Nginx {
    pub(crate) fn start(site: &Site) -> Self {
        // Somebody else may take a free port between its choice and nginx's bind: then nginx ends, and another is tried.
        (0..5).find_map(|_| Self::try_start(site)).unwrap_or_else(|| {
            let errors = fs::read_to_string(site.root.join("error.log")).unwrap_or_default();
            panic!("nginx does not start:\n{errors}")
        })
    }

    fn try_start(site: &Site) -> Option<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("loopback has a free port");
        let root = site.root.to_str().expect("the target directory's name is UTF-8");
        let configuration =
            include_str!("nginx.conf").replace("@LISTEN@", &address.to_string()).replace("@ROOT@", root);
        let configuration_path = site.root.join("nginx.conf");
        fs::write(&configuration_path, configuration).expect("the tree can be written");
        let mut process = Process::start(
            Command::new("nginx")
                .arg("-p")
                .arg(&site.root)
                .arg("-c")
                .arg(&configuration_path)
                .arg("-e")
                .arg(site.root.join("error.log")),
        );
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if process.has_ended() || Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Some(Self { address, access_log: site.root.join("access.log"), _process: process })
    }

    /// Every request so far.
    ///
    /// nginx logs a request after its last byte was sent, so an answer may arrive before its line. It runs as one
    /// process here and finishes one request before it reads the next: once the line of a request sent now is
    /// there, all the earlier ones are.
    pub(crate) fn log(&self) -> Vec<Logged> {
        let marker = format!("/marker-{}", self.raw_log().lines().count());
        Client::new(self.address).get(&marker);
        let deadline = Instant::now() + START;
        loop {
            let log = self.raw_log();
            if log.ends_with('\n') && log.contains(&marker) {
                return log.lines().filter(|line| !line.contains("/marker-")).map(parse).collect();
            }
            assert!(Instant::now() < deadline, "nginx does not log");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn raw_log(&self) -> String {
        fs::read_to_string(&self.access_log).expect("nginx opened its log before it listened")
    }
}

fn parse(line: &str) -> Logged {
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, status, if_none_match, if_modified_since] = words[..] else {
        panic!("a line nginx.conf does not describe: {line:?}");
    };
    Logged {
        method: method.to_owned(),
        target: target.to_owned(),
        status: status.parse().expect("a status is a number"),
        conditional: (if_none_match, if_modified_since) != ("0", "0"),
    }
}

impl EdgeServer {
    pub(crate) fn start(nginx: &Nginx) -> Self {
        let origin = format!("http://{}", nginx.address);
        Self::with(&["--origin", &origin, "--listen", "127.0.0.1:0", "--name", "e2e"])
    }

    /// By a file, which is written into the site's tree.
    pub(crate) fn by_file(site: &Site, configuration: &str) -> Self {
        let file = site.root.join("edge.toml");
        fs::write(&file, configuration).expect("the tree can be written");
        Self::with(&["--config", file.to_str().expect("the target directory's name is UTF-8")])
    }

    fn with(flags: &[&str]) -> Self {
        let mut process = Process::start(
            Command::new(env!("CARGO_BIN_EXE_edge-server")).args(flags).stdout(Stdio::piped()),
        );
        let stdout = process.child.stdout.take().expect("it was asked for");
        let (found, address) = mpsc::channel();
        // Reads to the end, so that the server never waits for a reader of its output.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = announced(&line) {
                    let _ = found.send(address);
                }
            }
        });
        let address =
            address.recv_timeout(START).expect("the edge server prints a line with `edge` and its address");
        Self { address, _process: process }
    }
}

/// The address in a line such as `edge    http://127.0.0.1:8080`.
fn announced(line: &str) -> Option<SocketAddr> {
    if !line.split_whitespace().any(|word| word == "edge") {
        return None;
    }
    let (_, rest) = line.split_once("http://")?;
    let end = rest
        .find(|character: char| !(character.is_ascii_digit() || ".:".contains(character)))
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// A child that does not outlive its handle.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        Self { child }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
