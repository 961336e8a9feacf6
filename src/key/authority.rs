//! The authority of a request, in canonical form (RFC 9110 §4.2.3, §7.2).

use http::header::{HOST, HeaderMap, HeaderValue};
use http::uri::{Scheme, Uri};

use super::NoKey;

/// The scheme and authority a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) https: bool,
    /// Not yet in lower case.
    pub(super) host: &'a [u8],
    /// `None` for the scheme's default.
    pub(super) port: Option<u16>,
}

impl<'a> Target<'a> {
    /// Reads the target from the URI (HTTP/2, absolute form) or from `Host` (origin form). Where both are there they
    /// must agree: an origin might believe either.
    pub(super) fn of(uri: &'a Uri, headers: &'a HeaderMap, default_https: bool) -> Result<Self, NoKey> {
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) => return Err(NoKey::NotCanonical),
            None => default_https,
        };
        let host = match host_line(headers)? {
            Some(line) => Some(Self::parse(line.as_bytes(), https)?),
            None => None,
        };
        let authority = match uri.authority() {
            Some(authority) => Some(Self::parse(authority.as_str().as_bytes(), https)?),
            None => None,
        };
        match (authority, host) {
            (Some(authority), Some(host)) if !authority.agrees(&host) => Err(NoKey::NotCanonical),
            (Some(target), _) | (None, Some(target)) => Ok(target),
            (None, None) => Err(NoKey::NotCanonical),
        }
    }

    fn parse(authority: &'a [u8], https: bool) -> Result<Self, NoKey> {
        let (host, port) = split_port(authority).ok_or(NoKey::NotCanonical)?;
        if host.is_empty() {
            return Err(NoKey::NotCanonical);
        }
        let default = if https { 443 } else { 80 };
        Ok(Self { https, host, port: port.filter(|port| *port != default) })
    }

    fn agrees(&self, other: &Target<'_>) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port == other.port
    }
}

/// The line of `Host`, of which there may be one at most.
fn host_line(headers: &HeaderMap) -> Result<Option<&HeaderValue>, NoKey> {
    if headers.len() == headers.keys_len() {
        // No name has two lines. As a rule this one comes first: to go there takes a tenth of hashing the name.
        return Ok(headers.iter().find(|(name, _)| **name == HOST).map(|(_, line)| line));
    }
    let mut lines = headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (_, Some(_)) => Err(NoKey::NotCanonical),
        (line, None) => Ok(line),
    }
}

/// The host and what follows it; `None` if it is not a host with or without a port.
fn split_port(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = match authority {
        [b'[', literal @ ..] => {
            let end = literal.iter().position(|&byte| !is_name_byte(byte) && !matches!(byte, b'[' | b':'))?;
            (literal[end] == b']').then_some(end + 2)?
        }
        _ => authority.iter().position(|&byte| !is_name_byte(byte)).unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_end);
    match rest {
        // An empty port is the default one (RFC 3986 §3.2.3).
        [] | [b':'] => Some((host, None)),
        [b':', digits @ ..] => Some((host, Some(port(digits)?))),
        _ => None,
    }
}

/// Of a name or an IPv4 address. Any other byte ends the host, and only a port may come after it.
fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)]
}

static NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

fn port(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0u16, |port, digit| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        port.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str, hosts: &[&str]) -> Result<(bool, String, Option<u16>), NoKey> {
        let uri: Uri = uri.parse().unwrap();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        Target::of(&uri, &headers, false)
            .map(|t| (t.https, String::from_utf8(t.host.to_ascii_lowercase()).unwrap(), t.port))
    }

    #[test]
    fn one_host_is_found_among_names_with_several_lines() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("accept", "a/b"), ("host", "a.example"), ("accept", "c/d")] {
            headers.append(name, value.parse().unwrap());
        }
        let uri = Uri::from_static("/x");
        assert_eq!(Target::of(&uri, &headers, false).map(|target| target.host), Ok(&b"a.example"[..]));
    }

    #[test]
    fn authority_has_one_canonical_form() {
        let plain = Ok((false, "a.example".to_owned(), None));
        for (uri, hosts) in [
            ("/x", &["a.example"][..]),
            ("/x", &["A.Example"]),
            ("/x", &["a.example:80"]),
            ("/x", &["a.example:"]),
            ("http://a.example/x", &[]),
            ("http://a.example:80/x", &["A.EXAMPLE"]),
        ] {
            assert_eq!(target(uri, hosts), plain, "{uri} {hosts:?}");
        }
        assert_eq!(target("/x", &["a.example:8080"]), Ok((false, "a.example".into(), Some(8080))));
        assert_eq!(target("https://a.example:443/", &[]), Ok((true, "a.example".into(), None)));
        assert_eq!(target("https://a.example:80/", &[]), Ok((true, "a.example".into(), Some(80))));
        assert_eq!(target("/", &["[::1]:8080"]), Ok((false, "[::1]".into(), Some(8080))));
    }

    #[test]
    fn what_is_not_canonical_has_no_key() {
        for (uri, hosts) in [
            ("/x", &[][..]),
            ("/x", &[""]),
            ("/x", &["a.example", "a.example"]),
            ("/x", &["a.example", "b.example"]),
            ("http://a.example/x", &["b.example"]),
            ("http://a.example/x", &["a.example:81"]),
            ("/x", &["a.example:port"]),
            ("/x", &["a.example:65536"]),
            ("/x", &["a.example:99999"]),
            ("/x", &["a.example:+80"]),
            ("/x", &["user@a.example"]),
            ("/x", &["a.example/evil"]),
            ("/x", &["a.example, b.example"]),
            ("/x", &["["]),
            ("/x", &["[::1"]),
            ("/x", &["[::1]x"]),
            ("ftp://a.example/x", &[]),
        ] {
            assert_eq!(target(uri, hosts), Err(NoKey::NotCanonical), "{uri} {hosts:?}");
        }
    }
}
