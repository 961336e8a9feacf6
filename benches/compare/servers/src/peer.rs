//! The servers that are measured, each set up for one core and everything in memory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, SERVER_CORE, free_port};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The same answers, and no cache.
    Hyper,
    Edge,
    Nginx,
    Varnish,
    TrafficServer,
}

/// One that runs.
pub(crate) struct Running {
    pub(crate) process: Process,
    /// HTTP/1.1.
    pub(crate) port: u16,
    /// HTTP/2 by prior knowledge.
    pub(crate) http2_port: u16,
    /// A folder in memory where it keeps objects, if it does.
    files: PathBuf,
}

impl Running {
    /// Memory of its processes, and of its files in memory.
    pub(crate) fn memory(&self) -> u64 {
        self.process.resident() + in_files(&self.files)
    }
}

impl Peer {
    pub(crate) const ALL: [Self; 5] =
        [Self::Hyper, Self::Edge, Self::Nginx, Self::Varnish, Self::TrafficServer];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hyper => "bare hyper",
            Self::Edge => "edge-server",
            Self::Nginx => "nginx",
            Self::Varnish => "Varnish",
            Self::TrafficServer => "Traffic Server",
        }
    }

    /// As it says itself.
    pub(crate) fn version(self) -> String {
        let (program, argument) = match self {
            Self::Hyper => return locked("hyper"),
            Self::Edge => return locked("tower-edge"),
            Self::Nginx => ("nginx", "-v"),
            Self::Varnish => ("varnishd", "-V"),
            Self::TrafficServer => ("traffic_server", "-V"),
        };
        let Ok(output) = Command::new(program).arg(argument).output() else { return "unknown".to_owned() };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        // nginx/1.22.1, (varnish-7.1.1, "Traffic Server 9.2.9"
        let numbers = |word: &str| {
            let from = word.find(|c: char| c.is_ascii_digit())?;
            let number = word[from..].trim_end_matches(|c: char| !c.is_ascii_digit());
            number.contains('.').then(|| number.to_owned())
        };
        text.split_whitespace().find_map(numbers).unwrap_or_else(|| "unknown".to_owned())
    }

    /// Starts it in front of the origin. What it writes goes below `folder`, which is in memory.
    ///
    /// # Errors
    ///
    /// It is not installed, or refuses.
    pub(crate) fn start(self, programs: &Programs, origin: u16, folder: &Path) -> io::Result<Running> {
        fs::create_dir_all(folder)?;
        let port = free_port()?;
        let mut http2_port = port;
        let command = match self {
            Self::Hyper => {
                let mut command = Command::new(&programs.site);
                command.arg(format!("127.0.0.1:{port}")).arg("--as-a-hit");
                command
            }
            Self::Edge => {
                let mut command = Command::new(&programs.edge);
                command
                    .arg(format!("--origin=http://127.0.0.1:{origin}"))
                    .arg(format!("--listen=127.0.0.1:{port}"))
                    .arg("--capacity=2GiB");
                command
            }
            Self::Nginx => {
                http2_port = free_port()?;
                nginx(port, http2_port, origin, folder)?
            }
            Self::Varnish => varnish(port, origin, folder),
            Self::TrafficServer => traffic_server(port, origin, folder)?,
        };
        let log = File::create(folder.join("output"))?;
        let started = Process::start(SERVER_CORE, &command, &log).and_then(|mut process| {
            process.wait_for(port)?;
            Ok(process)
        });
        let process = started.map_err(|error| {
            let output = fs::read_to_string(folder.join("output")).unwrap_or_default();
            io::Error::other(format!("{}: {error}\n{output}", self.name()))
        })?;
        Ok(Running { process, port, http2_port, files: folder.join("cache") })
    }
}

/// The version of a crate in our lock file.
fn locked(name: &str) -> String {
    let mut lines = include_str!("../../Cargo.lock").lines();
    lines.find(|line| *line == format!("name = \"{name}\""));
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.unwrap_or("unknown").trim_matches('"').to_owned()
}

/// Programs of this repository.
pub(crate) struct Programs {
    pub(crate) edge: PathBuf,
    pub(crate) site: PathBuf,
}

/// The settings are those of `ngx_http_core_module` (sendfile, open_file_cache, keepalive_requests), `ngx_http_proxy_module`
/// (proxy_cache_path, use_temp_path) and `ngx_http_upstream_module` (keepalive, and what it needs of proxy_*).
/// One worker, no access log, the cache on a file system in memory.
fn nginx(port: u16, http2_port: u16, origin: u16, folder: &Path) -> io::Result<Command> {
    let file = folder.join("nginx.conf");
    let text = include_str!("../nginx.conf")
        .replace("@PORT@", &port.to_string())
        .replace("@HTTP2@", &http2_port.to_string())
        .replace("@ORIGIN@", &origin.to_string())
        .replace("@FOLDER@", &folder.display().to_string());
    fs::write(&file, text)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
    Ok(command)
}

/// The settings are those of varnishd(1) (malloc storage; `vsl_mask`, whose records are Varnish's access log; `http2` as a feature) and
/// the user's guide on sizing (threads ready before they are needed: two pools, the default, of 100).
fn varnish(port: u16, origin: u16, folder: &Path) -> Command {
    let quiet = [
        "Begin",
        "End",
        "Link",
        "SessOpen",
        "SessClose",
        "ReqStart",
        "ReqMethod",
        "ReqURL",
        "ReqProtocol",
        "ReqHeader",
        "ReqUnset",
        "ReqAcct",
        "RespProtocol",
        "RespStatus",
        "RespReason",
        "RespHeader",
        "RespUnset",
        "BereqMethod",
        "BereqURL",
        "BereqProtocol",
        "BereqHeader",
        "BereqUnset",
        "BereqAcct",
        "BerespProtocol",
        "BerespStatus",
        "BerespReason",
        "BerespHeader",
        "BackendOpen",
        "BackendClose",
        "VCL_call",
        "VCL_return",
        "VCL_use",
        "Timestamp",
        "Hit",
        "TTL",
        "Storage",
        "Length",
        "Fetch_Body",
    ];
    let mask = quiet.map(|tag| format!("-{tag}")).join(",");
    let mut command = Command::new("varnishd");
    command
        .args(["-F", "-j", "none", "-a"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-b")
        .arg(format!("127.0.0.1:{origin}"))
        .arg("-n")
        .arg(folder.join("varnish"))
        .args(["-s", "malloc,2g", "-p", "feature=+http2", "-p"])
        .arg(format!("vsl_mask={mask}"));
    command
}

/// The settings are those of the administrator's guide on performance tuning, and `records.config`. One event thread on the one core, a
/// RAM cache for everything, no log. Its storage has to be a file besides, and lies in memory, too.
fn traffic_server(port: u16, origin: u16, folder: &Path) -> io::Result<Command> {
    for name in ["etc", "share", "var", "run", "log", "cache"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let at = folder.display();
    let write = |name: &str, text: String| fs::write(folder.join(name), text);
    write(
        "runroot.yaml",
        format!(
            "prefix: {at}\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nsysconfdir: {at}/etc\n\
             datadir: {at}/share\nincludedir: /usr/include\nlibdir: /usr/lib/trafficserver\n\
             libexecdir: /usr/lib/trafficserver/modules\nlocalstatedir: {at}/var\nruntimedir: {at}/run\n\
             logdir: {at}/log\ncachedir: {at}/cache\n"
        ),
    )?;
    let records = include_str!("../records.config").replace("@PORT@", &port.to_string());
    write("etc/records.config", records)?;
    write("etc/remap.config", format!("map / http://127.0.0.1:{origin}/\n"))?;
    write("etc/storage.config", format!("{at}/cache 3G\n"))?;
    write("etc/plugin.config", String::new())?;
    write(
        "etc/ip_allow.yaml",
        "ip_allow:\n  - { apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL }\n".into(),
    )?;
    let mut command = Command::new("traffic_server");
    command.env("TS_RUNROOT", folder);
    Ok(command)
}

/// What the files below a folder take.
fn in_files(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => in_files(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
