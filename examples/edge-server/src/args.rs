//! The flags and commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use hyper::http::HeaderName;
use tower_edge::distribution::Coordinates;
use tower_edge::distribution::bus::WithoutContact;
use tower_edge::distribution::viewer::Prefix;

use crate::client::Call;
use crate::forms;
use crate::media::{MOST_AHEAD, Preset};
use crate::trust::Fields;

/// What this process is to do.
#[derive(Debug)]
pub(crate) enum Task {
    Serve(Box<Args>),
    /// Serve as a file says.
    Configured(PathBuf),
    /// Say what is wrong with such a file.
    Check(PathBuf),
    /// Serve a distribution in one process.
    DemoDistribution(DemoArgs),
    /// Ask or tell a server that is running.
    Call(Call),
}

// Not a line of documentation on `Args`, since clap would show it instead.
/// An HTTP edge cache in front of a site. Without --origin it brings a demonstration site along. The commands talk to one
/// that was started with --control.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 if all went well; 1 if a server did not do as it was told, or is not there; \
                  2 if a flag, a file or an address cannot be used."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,

    /// A file to be configured by, instead of flags; SIGHUP has it read again
    #[arg(long, value_name = "FILE", exclusive = true)]
    config: Option<PathBuf>,

    #[command(flatten)]
    args: Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with a configuration file, and with the files it names
    Check {
        /// The file
        file: PathBuf,
    },
    /// Serve an origin, a shield and three edges on loopback, with the latency of the world between them
    DemoDistribution(DemoArgs),
    #[command(flatten)]
    Call(Call),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where to listen for operators; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = forms::address)]
    pub(crate) control: SocketAddr,
}

/// What makes an edge one of a distribution.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct DistributionArgs {
    /// The Redis through which this edge and others are cleared as one, such as redis://127.0.0.1:6379
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,

    /// Tells distributions in one Redis apart
    #[arg(long, value_name = "NAME", default_value = "default", requires = "redis")]
    pub(crate) namespace: String,

    /// Where this edge is, such as 50.1,8.7: latitude and longitude
    #[arg(long, value_name = "PLACE", requires = "redis", allow_hyphen_values = true)]
    pub(crate) at: Option<Coordinates>,

    /// The region it is in, such as eu
    #[arg(long, requires = "redis")]
    pub(crate) region: Option<String>,

    /// An edge of the distribution to ask rather than the origin, which is asked when all of them fail; may be repeated
    #[arg(long = "parent", value_name = "URL", value_parser = forms::url, requires = "edge_token_file", requires = "redis")]
    pub(crate) parents: Vec<String>,

    /// What to do once the Redis has been out of reach for some time: serve goes on, revalidate:5s asks the origin about
    /// everything stored, refuse:5s uses nothing stored
    #[arg(long, value_name = "WHAT", default_value = "serve", value_parser = forms::without_contact, requires = "redis")]
    pub(crate) without_contact: WithoutContact,

    /// A file with the token that the edges show each other: 32 random bytes or more, in hexadecimal or base64
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) edge_token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The site to stand in front of, such as http://127.0.0.1:3000 or https://example.com
    #[arg(long, value_name = "URL")]
    pub(crate) origin: Option<String>,

    /// Speak HTTP/2 to the origin, even without TLS; with TLS, both sides agree on it by themselves
    #[arg(long)]
    pub(crate) origin_http2: bool,

    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = forms::address)]
    pub(crate) listen: SocketAddr,

    /// The edge's name in Cache-Status and Via
    #[arg(long, default_value = "tower-edge", value_parser = forms::name)]
    pub(crate) name: String,

    /// Memory for stored responses, such as 64MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = forms::size)]
    pub(crate) capacity: u64,

    /// How long to keep answers that do not say so themselves, such as 60s, 5m or 1h
    #[arg(long, value_name = "DURATION", value_parser = forms::duration)]
    pub(crate) ttl: Option<Duration>,

    /// How long the origin may take to begin its answer
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = forms::some_time)]
    pub(crate) first_byte_time: Duration,

    /// The Host the origin sees
    #[arg(long, value_name = "WHICH", default_value = "keep")]
    pub(crate) origin_host: OriginHost,

    /// What to do with answers that set a cookie
    #[arg(long, value_name = "WHAT", default_value = "no-store")]
    pub(crate) set_cookie: Cookies,

    /// Compress text, JSON and the like, in br or gzip, where the origin does not
    #[arg(long)]
    pub(crate) compress: bool,

    /// What becomes of what viewers write
    #[arg(long, value_name = "WHERE", default_value = "around")]
    pub(crate) writes: Writes,

    /// A field that counts before Cache-Control (RFC 9213), instead of CDN-Cache-Control; may be repeated, the first
    /// one present counts
    #[arg(long, value_name = "FIELD", value_parser = forms::field)]
    pub(crate) targeted: Vec<HeaderName>,

    /// Ready-made rules for video: playlists live for seconds, segments long, and many viewers of one share one request
    #[arg(long, value_name = "KIND")]
    pub(crate) preset: Option<Preset>,

    /// So many segments of each track are fetched before anybody asks for them
    #[arg(long, value_name = "SEGMENTS", value_parser = clap::value_parser!(u64).range(1..=MOST_AHEAD))]
    pub(crate) prefetch: Option<u64>,

    /// Large objects are fetched and kept in slices of this size, each when somebody needs it, such as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = forms::size)]
    pub(crate) slice: Option<u64>,

    /// A proxy in front, such as a load balancer or what ends TLS, by its address or as 10.0.0.0/8, that is believed about where
    /// viewers are and whether they have TLS; may be repeated
    #[arg(long = "trusted-proxy", value_name = "ADDRESSES")]
    pub(crate) trusted_proxies: Vec<Prefix>,

    /// The fields in which those proxies say it; the others are taken for a viewer's own, and removed
    #[arg(long, value_name = "WHICH", default_value = "x-forwarded", requires = "trusted_proxies")]
    pub(crate) proxy_fields: Fields,

    #[command(flatten)]
    pub(crate) control: ControlArgs,

    #[command(flatten)]
    pub(crate) distribution: DistributionArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ControlArgs {
    /// Where to listen for operators, such as 127.0.0.1:9090; nowhere by default
    #[arg(long, value_name = "ADDRESS", value_parser = forms::address)]
    pub(crate) control: Option<SocketAddr>,

    /// A file with the token operators must show: 32 random bytes or more, in hexadecimal or base64. Without it
    /// EDGE_CONTROL_TOKEN counts; without either only a loopback address is allowed
    #[arg(long, value_name = "FILE", requires = "control")]
    pub(crate) control_token_file: Option<PathBuf>,
}

/// What becomes of an answer with `Set-Cookie`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cookies {
    /// Hand it to its viewer and do not keep it
    NoStore,
    /// Keep it without the cookie
    Strip,
    /// Keep it with the cookie: only for cookies that identify nobody
    Store,
}

/// What becomes of what viewers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Writes {
    /// It goes to the origin, which the next read asks
    Around,
    /// What a PUT sent is kept besides, if the origin's answer has a validator: the next read is a hit
    Through,
}

/// The `Host` of requests to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OriginHost {
    /// The viewer's
    Keep,
    /// The origin's own
    Rewrite,
}

impl Task {
    /// What the command line says; or the exit status, once the help or the one line of error is printed.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        let CommandLine { command, config, args } = CommandLine::try_parse().map_err(|error| {
            if error.use_stderr() {
                eprintln!("edge-server: {}", one_line(&error.to_string()));
                ExitCode::from(2)
            } else {
                // `--help` and `--version`. Nothing is left to do if standard output is closed.
                let _ = error.print();
                ExitCode::SUCCESS
            }
        })?;
        Ok(match (command, config) {
            (Some(Command::Check { file }), _) => Self::Check(file),
            (Some(Command::DemoDistribution(args)), _) => Self::DemoDistribution(args),
            (Some(Command::Call(call)), _) => Self::Call(call),
            (None, Some(file)) => Self::Configured(file),
            (None, None) => Self::Serve(Box::new(args)),
        })
    }
}

/// The first paragraph of clap's report; usage and advice follow it.
fn one_line(report: &str) -> String {
    let report = report.strip_prefix("error: ").unwrap_or(report);
    let first = report.split("\n\n").next().unwrap_or(report);
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line} (see --help)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_many_lines_becomes_one() {
        let report =
            "error: invalid value 'x' for '--which'\n  [possible values: a, b]\n\nFor more information…";
        assert_eq!(one_line(report), "invalid value 'x' for '--which' [possible values: a, b] (see --help)");
    }
}
