//! The commands that ask and tell a running server, through its control port.

mod everywhere;
mod port;
mod show;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args, Subcommand};
use hyper::StatusCode;
use hyper::http::uri::{Authority, Scheme, Uri};
use serde::Deserialize;
use serde_json::Value;

use self::port::{Failure, Port};
use crate::api;

/// How long `--wait` waits.
const WAIT: Duration = Duration::from_secs(600);
/// Between two looks at how far it has got, in seconds.
const LOOK: u64 = 1;

#[derive(Debug, Subcommand)]
pub(crate) enum Call {
    /// Clear stored responses; in force at once
    Invalidate(Invalidate),
    /// List invalidations, newest first, or show one
    Invalidations {
        /// Such as I00000001, or D0123456789ABCDEF of a distribution
        id: Option<String>,
        #[command(flatten)]
        to: To,
    },
    /// What is stored for a URL
    Objects {
        /// Such as http://www.example.com/index.html
        url: String,
        #[command(flatten)]
        to: To,
    },
    /// What this month's invalidations come to
    Usage {
        #[command(flatten)]
        to: To,
    },
    /// What the edge has done, and what it holds
    Stats {
        #[command(flatten)]
        to: To,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("scope").required(true).multiple(true))]
pub(crate) struct Invalidate {
    /// As in a request, case and query included; a trailing * stands for anything
    #[arg(group = "scope", value_name = "PATH")]
    paths: Vec<String>,

    /// Whatever has this tag; may be repeated
    #[arg(long = "tag", group = "scope", value_name = "TAG")]
    tags: Vec<String>,

    /// Whatever of --host is in this group (RFC 9875); may be repeated
    #[arg(long = "group", group = "scope", value_name = "GROUP", requires = "host")]
    groups: Vec<String>,

    /// Everything (of --host, if there is one)
    #[arg(long, group = "scope")]
    all: bool,

    /// Paths, groups and everything of this host only, such as www.example.com
    #[arg(long)]
    host: Option<String>,

    /// Make stale instead of taking away
    #[arg(long)]
    soft: bool,

    /// Your name for it: made again under the same one it does nothing
    #[arg(long)]
    reference: Option<String>,

    /// Wait until nothing of it is left in memory
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    to: To,
}

/// Which server, and how to talk to it.
#[derive(Debug, Args)]
pub(crate) struct To {
    /// The control port, as an address or an http:// URL
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", value_parser = address)]
    control: Authority,

    /// A file with its token; without it EDGE_CONTROL_TOKEN counts
    #[arg(long, value_name = "FILE")]
    control_token_file: Option<PathBuf>,

    /// Print the answer in JSON
    #[arg(long)]
    json: bool,
}

fn address(text: &str) -> Result<Authority, &'static str> {
    const WRONG: &str = "not an address such as 127.0.0.1:9090 or http://127.0.0.1:9090";
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = url.parse().map_err(|_| WRONG)?;
    if uri.scheme() != Some(&Scheme::HTTP) || uri.path() != "/" || uri.query().is_some() {
        return Err(WRONG);
    }
    uri.into_parts().authority.filter(|authority| !authority.as_str().contains('@')).ok_or(WRONG)
}

/// 0 if the server did as it was told, 1 if not.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(call: Call) -> ExitCode {
    match answer(call).await {
        Ok(text) => {
            // Nobody may be reading, and it is done all the same.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("edge-server: {failure}");
            ExitCode::from(1)
        }
    }
}

async fn answer(call: Call) -> Result<String, Failure> {
    match call {
        Call::Invalidate(invalidate) => invalidate.run().await,
        Call::Invalidations { id: Some(id), to } if id.starts_with('D') => {
            to.text(&everywhere::ask(&to.port()?, &id, 0).await?, show::distribution_receipt)
        }
        Call::Invalidations { id: Some(id), to } => {
            let path = format!("/invalidations/{}", port::encoded(&id));
            to.text(&to.port()?.get(&path).await?, show::receipt)
        }
        Call::Invalidations { id: None, to } => {
            to.text(&to.port()?.get("/invalidations").await?, show::receipts)
        }
        Call::Objects { url, to } => {
            let path = format!("/objects?url={}", port::encoded(&url));
            to.text(&to.port()?.get(&path).await?, show::objects)
        }
        Call::Usage { to } => to.text(&to.port()?.get("/usage").await?, show::usage),
        Call::Stats { to } => to.text(&to.port()?.get("/stats").await?, show::stats),
    }
}

impl To {
    fn port(&self) -> Result<Port, Failure> {
        Port::new(self.control.clone(), self.control_token_file.as_deref())
    }

    /// An answer, for people or in JSON.
    fn text<T: for<'de> Deserialize<'de>>(
        &self,
        answer: &Value,
        show: impl Fn(&T) -> String,
    ) -> Result<String, Failure> {
        if self.json {
            Ok(format!("{answer:#}\n"))
        } else {
            port::understood(answer).map(|answer| show(&answer))
        }
    }
}

impl Invalidate {
    async fn run(self) -> Result<String, Failure> {
        let Self { paths, tags, groups, all, host, soft, reference, wait, to } = self;
        let port = to.port()?;
        let asked = api::InvalidationRequest { paths, tags, groups, all, host, soft, reference };
        let mut answer = match port.post("/invalidations", &asked).await {
            // It is one of a distribution, and what is said to it is said to all.
            Err(Failure::Refused { status: StatusCode::CONFLICT, .. }) => {
                let answer = everywhere::invalidate(&port, &asked, wait).await?;
                return to.text(&answer, show::distribution_receipt);
            }
            answer => answer?,
        };
        if wait {
            answer = completed(&port, answer).await?;
        }
        to.text(&answer, show::receipt)
    }
}

/// Waits until an invalidation is completed, and says how far it has got.
async fn completed(port: &Port, mut answer: Value) -> Result<Value, Failure> {
    let started = Instant::now();
    let mut progress = Progress::default();
    loop {
        let receipt: api::Receipt = port::understood(&answer)?;
        if receipt.state == api::State::Completed {
            progress.end();
            return Ok(answer);
        }
        progress.say(&show::progress(&receipt));
        if started.elapsed() > WAIT {
            progress.end();
            return Err(Failure::Unfinished(format!("{} is in force", receipt.id)));
        }
        answer = port.get(&format!("/invalidations/{}?wait={LOOK}", port::encoded(&receipt.id))).await?;
    }
}

/// A line on standard error: written over on a terminal, and where it is none, written again when it says something new.
#[derive(Default)]
struct Progress {
    last: String,
}

impl Progress {
    fn say(&mut self, line: &str) {
        if line == self.last {
            return;
        }
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
        line.clone_into(&mut self.last);
    }

    fn end(&self) {
        if !self.last.is_empty() && io::stderr().is_terminal() {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_port_is_named_by_address_or_url() {
        for (text, authority) in [
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("http://127.0.0.1:9090", "127.0.0.1:9090"),
            ("http://[::1]:9090/", "[::1]:9090"),
            ("localhost:9090", "localhost:9090"),
        ] {
            assert_eq!(address(text).unwrap().as_str(), authority);
        }
        for text in ["", "https://127.0.0.1:9090", "http://a/x", "http://u@a", "a?b", "http://"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
