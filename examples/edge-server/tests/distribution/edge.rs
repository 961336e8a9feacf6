//! An edge server as a process, which ends with its value.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Can be killed and started again: then it has other addresses.
pub(crate) struct Edge {
    pub(crate) name: String,
    flags: Vec<String>,
    running: Mutex<Running>,
}

struct Running {
    process: Child,
    viewers: SocketAddr,
    control: SocketAddr,
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-server"));
    command.stdin(Stdio::null()).env_remove("EDGE_CONTROL_TOKEN").env("RUST_LOG", "warn");
    command
}

impl Edge {
    /// Waits until it says where it listens.
    pub(crate) fn start(name: &str, flags: &[&str]) -> Self {
        let given = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--name", name];
        let flags: Vec<_> = given.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        let running = Mutex::new(Running::start(&flags));
        Self { name: name.to_owned(), flags, running }
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
        let started = Running::start(&self.flags);
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
    fn start(flags: &[String]) -> Self {
        let mut process = command().args(flags).stdout(Stdio::piped()).spawn().unwrap();
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
