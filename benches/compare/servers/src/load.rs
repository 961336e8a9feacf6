//! Load, by wrk and h2load: how many answers a second, and how late the latest hundredth.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::process::OTHER_CORE;

/// What a generator saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) a_second: f64,
    pub(crate) requests: f64,
    /// Microseconds. h2load does not tell.
    pub(crate) percentile_99: Option<f64>,
}

/// HTTP/1.1, by wrk. A script may choose the paths.
///
/// # Errors
///
/// It cannot be run, or an answer was an error.
pub(crate) fn wrk(
    url: &str,
    connections: u32,
    seconds: u32,
    script: Option<(&Path, &str)>,
) -> io::Result<Load> {
    let mut command = Command::new("taskset");
    command.args(["-c", OTHER_CORE, "wrk", "--threads=1", "--latency"]);
    command.arg(format!("--connections={connections}")).arg(format!("--duration={seconds}s"));
    if let Some((script, _)) = script {
        command.arg("--script").arg(script);
    }
    command.arg(url);
    if let Some((_, argument)) = script {
        command.args(["--", argument]);
    }
    let text = run(command)?;
    if let Some(trouble) =
        text.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx"))
    {
        return Err(io::Error::other(format!("wrk, of {url}: {}", trouble.trim())));
    }
    let word = |line: &str, at: usize| line.split_whitespace().nth(at).map(str::to_owned);
    let find = |what: &str, at| text.lines().find(|line| line.contains(what)).and_then(|line| word(line, at));
    let parsed = || {
        Some(Load {
            a_second: find("Requests/sec:", 1)?.parse().ok()?,
            requests: find(" requests in ", 0)?.parse().ok()?,
            percentile_99: Some(microseconds(&find("99%", 1)?)?),
        })
    };
    parsed().ok_or_else(|| io::Error::other(format!("wrk said: {text}")))
}

/// HTTP/2 without TLS, by h2load.
///
/// # Errors
///
/// It cannot be run, or an answer was an error.
pub(crate) fn h2load(url: &str, seconds: u32) -> io::Result<Load> {
    let mut command = Command::new("taskset");
    command.args(["-c", OTHER_CORE, "h2load", "--threads=1", "--clients=16", "--max-concurrent-streams=16"]);
    command.arg(format!("--duration={seconds}")).arg(url);
    let text = run(command)?;
    let numbers = |what: &str| {
        let line = text.lines().find(|line| line.starts_with(what))?;
        Some(line.split([' ', ',']).filter_map(|word| word.parse::<f64>().ok()).collect::<Vec<_>>())
    };
    let parsed = || {
        // requests: total, started, done, succeeded, failed, errored, timeout
        let requests = numbers("requests:")?;
        let (succeeded, failed) = (*requests.get(3)?, *requests.get(4)?);
        (succeeded > 0.0 && failed == 0.0).then_some(Load {
            a_second: numbers("finished in")?.first().copied()?,
            requests: succeeded,
            percentile_99: None,
        })
    };
    parsed().ok_or_else(|| io::Error::other(format!("h2load, of {url}, said: {text}")))
}

fn run(mut command: Command) -> io::Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(io::Error::other(format!(
        "{command:?} ended with {}: {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// As wrk writes them: `873.00us`, `1.23ms`, `2.00s`.
fn microseconds(text: &str) -> Option<f64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1e3)
    } else {
        (text.strip_suffix('s')?, 1e6)
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::microseconds;

    #[test]
    fn wrks_times_are_read() {
        for (text, expected) in [("873.00us", 873.0), ("1.50ms", 1500.0), ("2.00s", 2e6)] {
            assert_eq!(microseconds(text), Some(expected), "{text}");
        }
        assert_eq!(microseconds("2 weeks"), None);
    }
}
