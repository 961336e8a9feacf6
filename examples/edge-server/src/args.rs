//! The flags, and the forms their values take.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use hyper::http::HeaderName;
use hyper::http::uri::{Authority, Scheme, Uri};

/// An HTTP edge cache in front of a site. Without --origin it brings a demonstration site along.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The site to stand in front of, such as http://127.0.0.1:3000
    #[arg(long, value_name = "URL", value_parser = origin)]
    pub(crate) origin: Option<Authority>,

    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// The edge's name in Cache-Status and Via
    #[arg(long, default_value = "tower-edge", value_parser = name)]
    pub(crate) name: String,

    /// Memory for stored responses, such as 64MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = size)]
    pub(crate) capacity: u64,

    /// How long to keep answers that do not say so themselves, such as 60s, 5m or 1h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,

    /// The Host the origin sees
    #[arg(long, value_name = "WHICH", default_value = "keep")]
    pub(crate) origin_host: OriginHost,

    /// What to do with answers that set a cookie
    #[arg(long, value_name = "WHAT", default_value = "no-store")]
    pub(crate) set_cookie: Cookies,

    /// What becomes of what viewers write
    #[arg(long, value_name = "WHERE", default_value = "around")]
    pub(crate) writes: Writes,

    /// A field that counts before Cache-Control (RFC 9213), instead of CDN-Cache-Control; may be repeated, the first
    /// one present counts
    #[arg(long, value_name = "FIELD", value_parser = field)]
    pub(crate) targeted: Vec<HeaderName>,
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

impl Args {
    /// The flags of this process; or the exit status, once the help or the one line of error is printed.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            if error.use_stderr() {
                eprintln!("edge-server: {}", one_line(&error.to_string()));
                ExitCode::from(2)
            } else {
                // `--help` and `--version`. Nothing is left to do if standard output is closed.
                let _ = error.print();
                ExitCode::SUCCESS
            }
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

fn origin(text: &str) -> Result<Authority, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "not a URL")?;
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => {}
        _ => return Err("must start with http://"),
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("must be only a scheme, a host and a port");
    }
    let authority = uri.into_parts().authority.ok_or("names no host")?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err("names no host, or a user");
    }
    if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none_or(|port| port == 0)
    {
        return Err("has a port that is none");
    }
    Ok(authority)
}

/// RFC 9110 §7.6.3: a pseudonym in `Via` is a token.
fn name(text: &str) -> Result<String, &'static str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(token) {
        return Err("a name is 1 to 64 letters, digits, '-', '.' or '_'");
    }
    Ok(text.to_owned())
}

/// The name of a field that is read as RFC 9213 has it, which `Cache-Control` is not.
fn field(text: &str) -> Result<HeaderName, &'static str> {
    let name: HeaderName = text.parse().map_err(|_| "not the name of a header field")?;
    if name == hyper::header::CACHE_CONTROL {
        Err("Cache-Control counts anyway, after these")
    } else {
        Ok(name)
    }
}

fn size(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "a size is a whole number and B, KB, KiB, MB, MiB, GB or GiB";
    let (number, unit) = number_and_unit(text).ok_or(WRONG)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return Err(WRONG),
    };
    number.checked_mul(unit).ok_or("too large")
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "a duration is a whole number and s, m, h or d";
    let (number, unit) = number_and_unit(text).ok_or(WRONG)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(WRONG),
    };
    // RFC 9111 §1.2.2: no lifetime needs to be longer than 2^31 seconds.
    let seconds = number.checked_mul(unit).filter(|seconds| *seconds <= 1 << 31).ok_or("too long")?;
    Ok(Duration::from_secs(seconds))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("1KiB", 1024), ("1kb", 1000), ("512MiB", 512 << 20), ("2 GiB", 2 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "1TiBs", "99999999999GiB", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, seconds) in [("0s", 0), ("60s", 60), ("5m", 300), ("1h", 3600), ("1d", 86_400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "60", "s", "1w", "-1s", "1e3s", "100000d", "18446744073709551615d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_an_authority() {
        for (text, authority) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://example.com/", "example.com"),
            ("http://[::1]:81", "[::1]:81"),
        ] {
            assert_eq!(origin(text).unwrap().as_str(), authority);
        }
        for text in [
            "",
            "example.com",
            "127.0.0.1:3000",
            "https://example.com",
            "http://",
            "http:///x",
            "http://a/b",
            "http://a?b",
            "http://a@b",
            "http://a:0",
            "http://a:x",
            "http://a:70000",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_targeted_field_is_another_field_than_cache_control() {
        assert_eq!(field("Surrogate-Control").unwrap(), "surrogate-control");
        for text in ["", "two words", "a:", "Cache-Control"] {
            assert!(field(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_report_of_many_lines_becomes_one() {
        let report =
            "error: invalid value 'x' for '--which'\n  [possible values: a, b]\n\nFor more information…";
        assert_eq!(one_line(report), "invalid value 'x' for '--which' [possible values: a, b] (see --help)");
    }
}
