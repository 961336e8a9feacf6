//! Processes of ours: started on a core, looked at, and ended by their id.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The server that is measured has this core to itself.
pub(crate) const SERVER_CORE: &str = "0";
/// Who asks, and the origin, share the other.
pub(crate) const OTHER_CORE: &str = "1";

const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(5);

/// A process. It and its children end when this is dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// # Errors
    ///
    /// It cannot be started.
    pub(crate) fn start(core: &str, command: &Command, log: &fs::File) -> io::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        // taskset becomes the program, so the id is the program's.
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", core]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                pinned.env(key, value);
            }
        }
        pinned.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(Self { child: pinned.spawn()?, name })
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// It ended, or did not listen in time.
    pub(crate) fn wait_for(&mut self, port: u16) -> io::Result<()> {
        let start = Instant::now();
        while start.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("{} ended: {status}", self.name)));
            }
            if TcpStream::connect(local(port)).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("{} does not listen on port {port}", self.name)))
    }

    /// This process and all that descend from it.
    pub(crate) fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
            .collect();
        let mut next = 0;
        while next < family.len() {
            let of = family[next];
            family.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| pid));
            next += 1;
        }
        family
    }

    /// Processor time of all of them so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let ticks = self.family().into_iter().filter_map(|pid| {
            let stat = stat(pid)?;
            Some(stat.get(11)?.parse::<u64>().ok()? + stat.get(12)?.parse::<u64>().ok()?)
        });
        // The kernel counts for everyone in hundredths (USER_HZ).
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// Bytes of memory of all of them; what several share is counted once.
    pub(crate) fn resident(&self) -> u64 {
        let kib = self.family().into_iter().filter_map(|pid| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        });
        kib.sum::<u64>() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = self.family();
        signal("-TERM", &family[..1]);
        let start = Instant::now();
        while start.elapsed() < END {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        // What is left: a parent that was killed may leave children behind.
        let left: Vec<u32> = family.into_iter().filter(|pid| stat(*pid).is_some()).collect();
        if !left.is_empty() {
            signal("-KILL", &left);
        }
        let _ = self.child.wait();
    }
}

fn signal(which: &str, to: &[u32]) {
    // Whoever is gone already needs no signal.
    let _ =
        Command::new("kill").arg(which).args(to.iter().map(u32::to_string)).stderr(Stdio::null()).status();
}

/// The fields of `/proc/PID/stat` behind the name, which may contain anything; state is the first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(line.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A port that was free a moment ago.
///
/// # Errors
///
/// There is none.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}
