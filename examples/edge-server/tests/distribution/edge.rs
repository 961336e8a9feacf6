//! An edge server as a process, which ends with its value.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::namespace::Namespace;

/// Can be killed and started again: then it has other addresses.
pub(crate) struct Edge {
    pub(crate) name: String,
    flags: Vec<String>,
    /// Of its namespace, if it has one.
    entrance: Option<String>,
    running: Mutex<Running>,
}

struct Running {
    process: Child,
    viewers: SocketAddr,
    control: SocketAddr,
}

/// What operators show an edge that they do not share a machine with.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) fn command() -> Command {
    command_in(None)
}

fn command_in(entrance: Option<&str>) -> Command {
    let edge = env!("CARGO_BIN_EXE_edge-server");
    let mut command = Command::new(if entrance.is_some() { "nsenter" } else { edge });
    command.stdin(Stdio::null()).env_remove("EDGE_CONTROL_TOKEN").env("RUST_LOG", "warn");
    if let Some(entrance) = entrance {
        // It becomes what it runs: the process is the edge.
        command.args([entrance, edge]).env("EDGE_CONTROL_TOKEN", TOKEN);
    }
    command
}

impl Edge {
    /// Waits until it says where it listens.
    pub(crate) fn start(name: &str, flags: &[&str]) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, None, name, flags)
    }

    /// The same in a network of its own.
    pub(crate) fn start_in(namespace: &Namespace, name: &str, flags: &[&str]) -> Self {
        Self::start_at(namespace.viewers(), Some(namespace.entrance()), name, flags)
    }

    fn start_at(at: Ipv4Addr, entrance: Option<String>, name: &str, flags: &[&str]) -> Self {
        let at = SocketAddr::new(IpAddr::V4(at), 0).to_string();
        let given = ["--listen", &at, "--control", &at, "--name", name];
        let flags: Vec<_> = given.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        let running = Mutex::new(Running::start(&flags, entrance.as_deref()));
        Self { name: name.to_owned(), flags, entrance, running }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Running) -> T) -> T {
        act(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn viewers(&self) -> SocketAddr {
        self.with(|running| running.viewers)
    }

    pub(crate) fn control(&self) -> SocketAddr {
        self.with(|running| running.control)
    }

    /// As by `kill -9`.
    pub(crate) fn kill(&self) {
        self.with(|running| {
            running.process.kill().unwrap();
            running.process.wait().unwrap();
        });
    }

    /// After it was killed.
    pub(crate) fn restart(&self) {
        let started = Running::start(&self.flags, self.entrance.as_deref());
        self.with(|running| *running = started);
    }

    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.with(|running| running.process.id()).to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Running {
    fn start(flags: &[String], entrance: Option<&str>) -> Self {
        let mut process = command_in(entrance).args(flags).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut addresses = (process, Vec::new());
        // An edge that ends before it has said them has said on standard error why.
        for label in ["edge", "origin", "control"] {
            let line = lines.next().and_then(Result::ok).unwrap_or_default();
            let Some(address) = line.strip_prefix(label).and_then(|url| url.trim().strip_prefix("http://"))
            else {
                let _ = (addresses.0.kill(), addresses.0.wait());
                panic!("{flags:?} says {line:?} where {label} should be");
            };
            addresses.1.push(address.parse().unwrap());
        }
        let (process, addresses) = addresses;
        Self { process, viewers: addresses[0], control: addresses[2] }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
