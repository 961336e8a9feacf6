//! The forms that values take, in flags and in the configuration alike.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::http::HeaderName;
use hyper::http::uri::{Authority, Scheme, Uri};
use tower_edge::distribution::bus::WithoutContact;

/// A site by its scheme, host and port, and nothing else.
pub(crate) fn site(text: &str) -> Result<(Scheme, Authority), &'static str> {
    let uri: Uri = text.parse().map_err(|_| "not a URL")?;
    if uri.scheme().is_none_or(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err("must start with http:// or https://");
    }
    // `Uri` drops fragments.
    if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
        return Err("must be only a scheme, a host and a port");
    }
    let parts = uri.into_parts();
    let authority = parts.authority.ok_or("names no host")?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err("names no host, or a user");
    }
    if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none_or(|port| port == 0)
    {
        return Err("has a port that is none");
    }
    Ok((parts.scheme.ok_or("names no scheme")?, authority))
}

/// The same, as it was written.
pub(crate) fn url(text: &str) -> Result<String, &'static str> {
    site(text).map(|_| text.to_owned())
}

/// Where viewers find a site: its scheme, host and port, and perhaps a path to put theirs behind.
pub(crate) fn base(text: &str) -> Result<(), &'static str> {
    let uri: Uri = text.parse().map_err(|_| "not a URL")?;
    if uri.scheme().is_none_or(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err("must start with http:// or https://");
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("has a query or a fragment");
    }
    let authority = uri.authority().ok_or("names no host")?;
    site(&format!("{}://{authority}", uri.scheme_str().unwrap_or_default())).map(drop)
}

/// Where to listen.
pub(crate) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "not an address and a port, such as 127.0.0.1:8080 or [::]:443")
}

/// RFC 9110 §7.6.3: a pseudonym in `Via` is a token.
pub(crate) fn name(text: &str) -> Result<String, &'static str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(token) {
        return Err("a name is 1 to 64 letters, digits, '-', '.' or '_'");
    }
    Ok(text.to_owned())
}

pub(crate) const NO_FIELD: &str = "not the name of a header field";

/// The name of a field that is read as RFC 9213 has it, which `Cache-Control` is not.
pub(crate) fn field(text: &str) -> Result<HeaderName, &'static str> {
    let name: HeaderName = text.parse().map_err(|_| NO_FIELD)?;
    if name == hyper::header::CACHE_CONTROL {
        Err("Cache-Control counts anyway, after these")
    } else {
        Ok(name)
    }
}

pub(crate) fn size(text: &str) -> Result<u64, &'static str> {
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

pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "a duration is a whole number and ms, s, m, h or d";
    let (number, unit) = number_and_unit(text).ok_or(WRONG)?;
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(WRONG),
    };
    // RFC 9111 §1.2.2: no lifetime needs to be longer than 2^31 seconds.
    let millis = number.checked_mul(unit).filter(|millis| *millis <= 1000 << 31).ok_or("too long")?;
    Ok(Duration::from_millis(millis))
}

/// A duration that is not zero.
pub(crate) fn some_time(text: &str) -> Result<Duration, &'static str> {
    match duration(text)? {
        Duration::ZERO => Err("is zero: nobody could be in time"),
        time => Ok(time),
    }
}

/// What an edge does without contact: a word, and for all but one so long after the last.
pub(crate) fn without_contact(text: &str) -> Result<WithoutContact, &'static str> {
    const WRONG: &str = "must be serve, revalidate:TIME or refuse:TIME, such as revalidate:5s";
    // An edge reports every second, and a reading may have begun one before that.
    const LEAST: Duration = Duration::from_secs(3);
    if text == "serve" {
        return Ok(WithoutContact::Serve);
    }
    let (what, after) = text.split_once(':').ok_or(WRONG)?;
    let after = duration(after)?;
    if after < LEAST {
        return Err("there is contact every second or so: it can be missed after 3s at least");
    }
    match what {
        "revalidate" => Ok(WithoutContact::Revalidate { after }),
        "refuse" => Ok(WithoutContact::Refuse { after }),
        _ => Err(WRONG),
    }
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
        assert_eq!(duration("3500ms"), Ok(Duration::from_millis(3500)));
        for text in ["", "60", "s", "1w", "-1s", "1e3s", "100000d", "18446744073709551615d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn contact_is_missed_after_some_time() {
        let after = Duration::from_secs(5);
        for (text, policy) in [
            ("serve", WithoutContact::Serve),
            ("revalidate:5s", WithoutContact::Revalidate { after }),
            ("refuse:5000ms", WithoutContact::Refuse { after }),
        ] {
            assert_eq!(without_contact(text), Ok(policy), "{text}");
        }
        for text in ["", "serve:5s", "revalidate", "refuse:", "refuse:2s", "forget:5s", "revalidate:5"] {
            assert!(without_contact(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_an_authority() {
        for (text, authority) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://example.com/", "example.com"),
            ("http://[::1]:81", "[::1]:81"),
        ] {
            assert_eq!(site(text).unwrap().1.as_str(), authority);
        }
        for text in [
            "",
            "example.com",
            "127.0.0.1:3000",
            "http://",
            "http:///x",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://a@b",
            "http://a:0",
            "http://a:x",
            "http://a:70000",
        ] {
            assert!(site(text).is_err(), "{text}");
        }
    }

    #[test]
    fn viewers_are_sent_to_a_url_without_a_query() {
        for text in ["https://nyc-1.example.com", "http://192.0.2.1:8080/", "https://[2001:db8::1]/nyc/1"] {
            assert_eq!(base(text), Ok(()), "{text}");
        }
        for (text, reason) in [
            ("", "not a URL"),
            ("nyc 1", "not a URL"),
            ("nyc-1.example.com", "must start with http:// or https://"),
            ("/nyc", "must start with http:// or https://"),
            ("ftp://a", "must start with http:// or https://"),
            ("https://", "not a URL"),
            ("https:///x", "not a URL"),
            ("https://:443", "names no host, or a user"),
            ("https://u:p@a/", "names no host, or a user"),
            ("https://a:0", "has a port that is none"),
            ("https://a:70000/x", "has a port that is none"),
            ("https://a/?b", "has a query or a fragment"),
            ("https://a?", "has a query or a fragment"),
            ("https://a/#b", "has a query or a fragment"),
            ("https://a#", "has a query or a fragment"),
        ] {
            assert_eq!(base(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn a_targeted_field_is_another_field_than_cache_control() {
        assert_eq!(field("Surrogate-Control").unwrap(), "surrogate-control");
        for text in ["", "two words", "a:", "Cache-Control"] {
            assert!(field(text).is_err(), "{text}");
        }
    }
}
