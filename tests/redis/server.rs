//! A Redis of the test's own, in a directory of its own, on a port that was free.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) struct Server {
    port: u16,
    dir: PathBuf,
    options: Vec<String>,
    process: Option<Child>,
}

/// How a server keeps what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Every record on disk before it answers.
    All,
    Nothing,
}

impl Server {
    pub(crate) fn start(keeps: Keeps) -> Self {
        Self::with(keeps, &[])
    }

    pub(crate) fn with(keeps: Keeps, options: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tower-edge-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let appends = if keeps == Keeps::All { "yes" } else { "no" };
        let mut all: Vec<_> = ["--appendonly", appends, "--appendfsync", "always"].map(str::to_owned).into();
        all.extend(options.iter().map(|option| (*option).to_owned()));
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut server = Self { port, dir, options: all, process: None };
        server.restart();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Starts it, with what is in its directory, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--dir"])
            .arg(&self.dir)
            .args(&self.options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.process = Some(process);
        let patience = Instant::now() + Duration::from_secs(20);
        while self.try_ask(&["PING"]).as_deref() != Some("PONG") {
            assert!(Instant::now() < patience, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// As by `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Another takes its place: at the same address, with nothing.
    pub(crate) fn replace(&mut self) {
        self.kill();
        clear(&self.dir);
        self.restart();
    }

    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// What `redis-cli` gets for an answer.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        self.try_ask(command).expect("it answers")
    }

    fn try_ask(&self, command: &[&str]) -> Option<String> {
        let port = self.port.to_string();
        let asked =
            Command::new("redis-cli").args(["-p", &port]).args(command).stderr(Stdio::null()).output();
        let answer = String::from_utf8(asked.expect("redis-cli is installed").stdout).unwrap();
        let answer = answer.trim_end().to_owned();
        (!answer.is_empty() && !answer.starts_with("Could not connect")).then_some(answer)
    }
}

fn clear(dir: &Path) {
    std::fs::remove_dir_all(dir).unwrap();
    std::fs::create_dir_all(dir).unwrap();
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
