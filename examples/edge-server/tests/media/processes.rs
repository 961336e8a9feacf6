//! The processes around a test: nginx as the origin, the edge server, ffmpeg. Each ends with its handle.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const START: Duration = Duration::from_secs(20);

/// A child that does not outlive its handle.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program())))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The part of a process's output after `label`, as soon as it says it. The rest is read and dropped.
pub(crate) fn said(output: impl std::io::Read + Send + 'static, label: &'static str) -> String {
    let (found, rest) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix(label) {
                // Only the first is waited for.
                let _ = found.send(rest.trim().to_owned());
            }
        }
    });
    rest.recv_timeout(START).unwrap_or_else(|error| panic!("nothing after {label:?}: {error}"))
}

/// nginx, serving the files below `files`.
pub(crate) struct Nginx {
    process: Option<Process>,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

/// One line of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) target: String,
    pub(crate) status: u16,
    /// Of the body.
    pub(crate) bytes: u64,
}

impl Nginx {
    pub(crate) fn start() -> Self {
        Self::with("", &[])
    }

    /// With more in its `http` block, where `@LISTEN@` and so on stand for free addresses.
    pub(crate) fn with(more: &str, places: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Somebody else may take a free port between its choice and nginx's bind: then nginx ends, and another is tried.
        let started = (0..5).find_map(|_| Self::try_start(folder.path(), more, places));
        let (process, address) = started.unwrap_or_else(|| {
            panic!("nginx: {}", fs::read_to_string(folder.path().join("error.log")).unwrap_or_default())
        });
        Self { process: Some(process), address, folder }
    }

    fn try_start(folder: &Path, more: &str, places: &[&str]) -> Option<(Process, SocketAddr)> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let address = free();
        fs::create_dir_all(folder.join("files")).unwrap();
        let mut text =
            include_str!("nginx.conf").replace("@MORE@", more).replace("@LISTEN@", &address.to_string());
        for place in places {
            let address = free();
            fs::write(folder.join(place), address.to_string()).unwrap();
            text = text.replace(&format!("@{place}@"), &address.to_string());
        }
        let text = text.replace("@ROOT@", folder.to_str().unwrap());
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        let mut process = Process::start(command.arg("-e").arg(folder.join("error.log")));
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if process.0.try_wait().unwrap().is_some() || Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Some((process, address))
    }

    /// The address in place of `@PLACE@`.
    pub(crate) fn place(&self, place: &str) -> SocketAddr {
        fs::read_to_string(self.folder.path().join(place)).unwrap().parse().unwrap()
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// Everything it was asked, once it has ended: it logs an answer after its last byte.
    pub(crate) fn stop(&mut self, log: &str) -> Vec<Logged> {
        if let Some(mut process) = self.process.take() {
            // SIGQUIT lets it finish what it does.
            let asked = Command::new("kill").args(["-QUIT", &process.0.id().to_string()]).status();
            assert!(asked.unwrap().success());
            let deadline = Instant::now() + Duration::from_secs(3);
            while process.0.try_wait().unwrap().is_none() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
        self.logged(log)
    }

    /// What it has logged so far.
    pub(crate) fn logged(&self, log: &str) -> Vec<Logged> {
        let text = fs::read_to_string(self.folder.path().join(log)).unwrap();
        let line = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [target, status, bytes] = words[..] else { panic!("{line:?}") };
            Logged {
                target: target.to_owned(),
                status: status.parse().unwrap(),
                bytes: bytes.parse().unwrap(),
            }
        };
        text.lines().map(line).collect()
    }
}

/// A running edge server.
pub(crate) struct Edge {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Edge {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-server"));
        command.args(["--listen", "127.0.0.1:0"]).args(flags).stdout(Stdio::piped());
        let mut process = Process::start(&mut command);
        let url = said(process.0.stdout.take().unwrap(), "edge ");
        Self { process, address: url.strip_prefix("http://").unwrap().parse().unwrap() }
    }

    pub(crate) fn before(origin: SocketAddr, flags: &[&str]) -> Self {
        Self::start(&[&["--origin", &format!("http://{origin}")], flags].concat())
    }

    /// Bytes of memory that are resident.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// What ffmpeg writes to its standard output; it has to end well.
pub(crate) fn ffmpeg(arguments: &[&str]) -> String {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
        .args(arguments)
        .output()
        .expect("ffmpeg is there");
    assert!(output.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
