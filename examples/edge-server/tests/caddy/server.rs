//! Debian's Caddy, serving a [`Site`] on the loopback, with TLS and without.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::processes::Process;
use crate::site::Site;

const START: Duration = Duration::from_secs(10);

/// The running server. It ends with this value.
pub(crate) struct Caddy {
    pub(crate) plain: SocketAddr,
    /// Behind a certificate for `localhost`, which is [`authority`](Self::authority)'s own.
    pub(crate) secured: SocketAddr,
    pub(crate) authority: PathBuf,
    access_log: PathBuf,
    _process: Process,
}

/// One line of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) protocol: String,
    pub(crate) status: u64,
}

impl Caddy {
    pub(crate) fn start(site: &Site) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("localhost is a name");
        fs::write(site.root.join("site.pem"), cert.pem()).expect("the tree can be written");
        fs::write(site.root.join("site.key"), signing_key.serialize_pem()).expect("the tree can be written");
        // Somebody else may take a free port between its choice and Caddy's bind: then Caddy ends, and others are tried.
        (0..5).find_map(|_| Self::try_start(site)).unwrap_or_else(|| {
            let errors = fs::read_to_string(site.root.join("caddy.log")).unwrap_or_default();
            panic!("Caddy does not start:\n{errors}")
        })
    }

    fn try_start(site: &Site) -> Option<Self> {
        let free = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
            (listener.local_addr().expect("it is bound"), listener)
        };
        let ((plain, held), (secured, also_held)) = (free(), free());
        drop((held, also_held));
        let root = site.root.to_str().expect("the target directory's name is UTF-8");
        let configuration = include_str!("Caddyfile")
            .replace("@PLAIN@", &plain.port().to_string())
            .replace("@SECURED@", &secured.port().to_string())
            .replace("@ROOT@", root);
        let file = site.root.join("Caddyfile");
        fs::write(&file, configuration).expect("the tree can be written");
        let said = File::create(site.root.join("caddy.log")).expect("the tree can be written");
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file).stderr(said);
        // What it keeps for itself stays in the tree, too.
        for home in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(home, &site.root);
        }
        let mut process = Process::start(&mut command);
        let deadline = Instant::now() + START;
        while TcpStream::connect(plain).and(TcpStream::connect(secured)).is_err() {
            if process.has_ended() || Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let authority = site.root.join("site.pem");
        Some(Self { plain, secured, authority, access_log: site.root.join("access.log"), _process: process })
    }

    /// Every request so far, but for the tests' own, which end in `?direct`.
    ///
    /// Caddy logs a request when its handler is done, and handlers run side by side: the line of an answer that has arrived may
    /// come after that of a request sent now. So `expected` lines are waited for, too.
    pub(crate) fn log(&self, expected: usize) -> Vec<Logged> {
        let deadline = Instant::now() + START;
        let marker = format!("/marker-{}", fs::metadata(&self.access_log).map_or(0, |log| log.len()));
        Client::new(self.plain).get(&marker);
        loop {
            let log = fs::read_to_string(&self.access_log).unwrap_or_default();
            let lines: Vec<Logged> =
                log.lines().map(parse).filter(|logged| !is_own(&logged.target)).collect();
            if log.ends_with('\n') && log.contains(&marker) && lines.len() >= expected {
                return lines;
            }
            assert!(Instant::now() < deadline, "not {expected} requests: {lines:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn is_own(target: &str) -> bool {
    target.starts_with("/marker-") || target.ends_with("?direct")
}

fn parse(line: &str) -> Logged {
    // The last line may still be on its way.
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |name: &str| line["request"][name].as_str().unwrap_or_default().to_owned();
    let status = line["status"].as_u64().unwrap_or_default();
    Logged { method: text("method"), target: text("uri"), protocol: text("proto"), status }
}
