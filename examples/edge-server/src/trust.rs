//! Who is believed about a viewer: [`Trust`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use clap::ValueEnum;
use hyper::header::HeaderMap;
use hyper::http::uri::Scheme;
use tower_edge::distribution::Token;
use tower_edge::distribution::viewer::Prefix;

/// The fields in which proxies say whom they speak for. Most write one kind and let a viewer's own of the other pass, so only
/// the kind counts that the operator names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fields {
    /// X-Forwarded-For and X-Forwarded-Proto
    #[default]
    XForwarded,
    /// Forwarded (RFC 7239)
    Forwarded,
}

/// Proxies in front that say whom they speak for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    pub(crate) trusted: Arc<[Prefix]>,
    pub(crate) fields: Fields,
}

/// Proxies are believed by their addresses, edges of the distribution by the token. What anybody else says counts for nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    pub(crate) proxies: Proxies,
    pub(crate) token: Option<Token>,
}

/// What is said of a viewer by those who are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The port is 0 if nobody says it.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) scheme: Option<Scheme>,
}

impl Trust {
    /// Nobody's word counts, so that there is nothing to ask.
    pub(crate) fn is_in_nobody(&self) -> bool {
        self.token.is_none() && self.proxies.trusted.is_empty()
    }

    /// Goes from the other end of the connection to whom that one names, and on from there as long as who speaks is believed. A
    /// name that cannot be read ends the way at who gave it.
    pub(crate) fn told(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Told {
        let trusts = |address| self.proxies.trusted.iter().any(|prefix| prefix.contains(address));
        // Who shows the token is believed for one step, wherever it is: whom it names is not it.
        let mut is_edge = self.token.as_ref().is_some_and(|token| token.is_shown(headers));
        let mut believes =
            |speaker: Option<IpAddr>| speaker.is_some_and(trusts) || std::mem::take(&mut is_edge);
        let (mut told, mut speaker) = (Told::default(), peer);
        let mut hops = match self.proxies.fields {
            Fields::XForwarded => items(headers, "x-forwarded-for"),
            Fields::Forwarded => items(headers, "forwarded"),
        };
        while believes(speaker) {
            let hop = hops.next();
            let (address, scheme) = match self.proxies.fields {
                // Proxies put their own scheme in place of what was there, or at the end.
                Fields::XForwarded => (hop, items(headers, "x-forwarded-proto").next()),
                Fields::Forwarded => {
                    let parameter = |name| hop.and_then(|hop| parameter(hop, name));
                    (parameter("for"), parameter("proto"))
                }
            };
            told.scheme = scheme.and_then(self::scheme).or(told.scheme);
            let Some(address) = address.and_then(node) else { break };
            (told.address, speaker) = (Some(address), Some(address.ip()));
        }
        told
    }
}

/// The items of a field's lists, the nearest hop's first. One that is empty is nobody's name, but not left out: before it stands
/// what somebody else wrote.
fn items<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).iter().rev().flat_map(|line| from_the_end(line.as_bytes(), b','))
}

/// The pieces between separators that are not in quotes, from the last on. Each hop writes behind what it was sent, so that
/// read from the end no quote that never closes can swallow what a proxy wrote.
fn from_the_end(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        let end = text.iter().enumerate().rev().find(|(at, byte)| {
            if **byte == b'"' {
                is_quoted = !is_quoted || is_escaped(&text[..*at]);
            }
            !is_quoted && **byte == separator
        });
        let (before, piece) = match end {
            Some((at, _)) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        rest = before;
        Some(piece.trim_ascii())
    })
}

/// Whether what follows is (RFC 9110 §5.6.4).
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The value of a parameter (RFC 7239 §4), without its quotes. One that is there twice has none.
fn parameter<'a>(element: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut values = from_the_end(element, b';').filter_map(|pair| {
        let (found, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        found.eq_ignore_ascii_case(name.as_bytes()).then_some(&value[1..])
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    // What is escaped is in no address and no scheme.
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// An address, with or without a port (RFC 7239 §6): IPv6 in brackets, or as `X-Forwarded-For` has it without.
fn node(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    let (address, port): (IpAddr, _) = match text.strip_prefix('[') {
        Some(text) => {
            let (address, port) = text.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.into(), port.strip_prefix(':'))
        }
        None => {
            let (address, port) = text.split_once(':')?;
            (address.parse::<Ipv4Addr>().ok()?.into(), Some(port))
        }
    };
    // A port may have been made unrecognisable.
    Some(SocketAddr::new(address, port.and_then(|port| port.parse().ok()).unwrap_or(0)))
}

/// Some proxies say how a WebSocket came.
fn scheme(text: &[u8]) -> Option<Scheme> {
    match text.to_ascii_lowercase().as_slice() {
        b"https" | b"wss" => Some(Scheme::HTTPS),
        b"http" | b"ws" => Some(Scheme::HTTP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";
    const SECRET: &str = "0123456789abcdef";

    fn trust(fields: Fields) -> Trust {
        let trusted = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"];
        let trusted = trusted.iter().map(|prefix| prefix.parse().unwrap()).collect();
        Trust { proxies: Proxies { trusted, fields }, token: Some(Token::new(SECRET).unwrap()) }
    }

    /// Lines of `name: value`; those that are not text are `\u{ff}`.
    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<_>>();
        let mut headers = HeaderMap::new();
        for (name, text) in lines {
            headers.append(*name, HeaderValue::from_bytes(&value(text)).unwrap());
        }
        headers
    }

    fn told(fields: Fields, peer: &str, lines: &[(&'static str, &str)]) -> (String, String) {
        let told = trust(fields).told(&headers(lines), Some(peer.parse().unwrap()));
        let address = told.address.map_or(String::new(), |address| address.to_string());
        (address, told.scheme.map_or(String::new(), |scheme| scheme.to_string()))
    }

    #[test]
    fn the_viewer_is_the_last_address_that_is_not_trusted() {
        for (peer, lines, viewer) in [
            (PROXY, &["203.0.113.9"][..], "203.0.113.9:0"),
            (PROXY, &["6.6.6.6, 203.0.113.9"], "203.0.113.9:0"),
            (PROXY, &["6.6.6.6", "203.0.113.9"], "203.0.113.9:0"),
            (PROXY, &["203.0.113.9, 10.1.1.1, 192.0.2.7"], "203.0.113.9:0"),
            (PROXY, &["203.0.113.9", "10.1.1.1 ,\t2001:db8::1"], "203.0.113.9:0"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9:0"),
            ("2001:db8::2", &["2001:db9::1"], "[2001:db9::1]:0"),
            (PROXY, &["203.0.113.9:4711"], "203.0.113.9:4711"),
            (PROXY, &["[2001:db9::1]:4711"], "[2001:db9::1]:4711"),
            (PROXY, &["[2001:db9::1]"], "[2001:db9::1]:0"),
            // All are trusted: the farthest.
            (PROXY, &["10.2.2.2, 10.1.1.1"], "10.2.2.2:0"),
            // Who cannot be read is not passed over.
            (PROXY, &["6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1:0"),
            (PROXY, &["6.6.6.6, unknown"], ""),
            (PROXY, &["6.6.6.6,"], ""),
            (PROXY, &["6.6.6.6", ""], ""),
            (PROXY, &["6.6.6.6, 203.0.113.9 10.0.0.1"], ""),
            (PROXY, &["6.6.6.6, 010.0.0.1"], ""),
            (PROXY, &["\u{ff}, 203.0.113.9"], "203.0.113.9:0"),
            (PROXY, &["\", 203.0.113.9"], "203.0.113.9:0"),
            (PROXY, &[], ""),
            ("192.0.2.8", &["203.0.113.9"], ""),
            ("192.0.2.8", &["203.0.113.9, 10.0.0.1"], ""),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(told(Fields::XForwarded, peer, &lines).0, viewer, "{peer} {lines:?}");
        }
    }

    #[test]
    fn the_nearest_says_the_scheme() {
        for (peer, lines, scheme) in [
            (PROXY, &["https"][..], "https"),
            (PROXY, &["http"], "http"),
            (PROXY, &["HTTPS"], "https"),
            (PROXY, &["wss"], "https"),
            (PROXY, &["http, https"], "https"),
            (PROXY, &["http", "https"], "https"),
            (PROXY, &["https, ftp"], ""),
            (PROXY, &["https,"], ""),
            (PROXY, &[], ""),
            ("192.0.2.8", &["https"], ""),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-proto", *line)).collect();
            assert_eq!(told(Fields::XForwarded, peer, &lines).1, scheme, "{peer} {lines:?}");
        }
    }

    #[test]
    fn forwarded_says_both_for_each_hop() {
        for (peer, lines, viewer, scheme) in [
            (PROXY, &["for=203.0.113.9;proto=https;by=10.0.0.1"][..], "203.0.113.9:0", "https"),
            (PROXY, &["For=\"203.0.113.9:4711\"; Proto=HTTPS"], "203.0.113.9:4711", "https"),
            (PROXY, &["for=\"[2001:db9::1]:_x\""], "[2001:db9::1]:0", ""),
            (PROXY, &["for=6.6.6.6;proto=http, for=203.0.113.9;proto=https"], "203.0.113.9:0", "https"),
            (PROXY, &["for=203.0.113.9;proto=https, for=10.1.1.1;proto=http"], "203.0.113.9:0", "https"),
            (PROXY, &["for=203.0.113.9;proto=https", "for=10.1.1.1"], "203.0.113.9:0", "https"),
            (PROXY, &["for=203.0.113.9, for=10.1.1.1;proto=https"], "203.0.113.9:0", "https"),
            (PROXY, &["proto=https"], "", "https"),
            (PROXY, &["for=unknown;proto=https"], "", "https"),
            (PROXY, &["for=6.6.6.6, for=_hidden;proto=http"], "", "http"),
            // A viewer's quote reaches into nothing.
            (PROXY, &["for=\", for=203.0.113.9"], "203.0.113.9:0", ""),
            (PROXY, &["for=\"\\, for=203.0.113.9;host=\"a\""], "203.0.113.9:0", ""),
            (PROXY, &["for=6.6.6.6;host=\", for=203.0.113.9;host=\"a\""], "203.0.113.9:0", ""),
            // Nor does one in the name of a host.
            (PROXY, &["host=\"a\\\", for=6.6.6.6\";for=203.0.113.9"], "203.0.113.9:0", ""),
            (PROXY, &["host=\"a,for=6.6.6.6\\\"b\";for=203.0.113.9"], "203.0.113.9:0", ""),
            (PROXY, &["for=203.0.113.9;host=\"a,b;for=6.6.6.6\""], "203.0.113.9:0", ""),
            (PROXY, &["for=6.6.6.6;for=203.0.113.9"], "", ""),
            (PROXY, &["for"], "", ""),
            (PROXY, &["203.0.113.9"], "", ""),
            ("192.0.2.8", &["for=203.0.113.9;proto=https"], "", ""),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            let expected = (viewer.to_owned(), scheme.to_owned());
            assert_eq!(told(Fields::Forwarded, peer, &lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn only_the_kind_counts_that_proxies_write() {
        let lines = [
            ("forwarded", "for=198.51.100.1;proto=http"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
        ];
        let address = |text: &str, scheme: &str| (text.to_owned(), scheme.to_owned());
        assert_eq!(told(Fields::XForwarded, PROXY, &lines), address("203.0.113.9:0", "https"));
        assert_eq!(told(Fields::Forwarded, PROXY, &lines), address("198.51.100.1:0", "http"));
        assert_eq!(told(Fields::XForwarded, PROXY, &lines[..1]), address("", ""));
        assert_eq!(told(Fields::Forwarded, PROXY, &lines[1..]), address("", ""));
    }

    #[test]
    fn an_edge_names_its_viewer_also_through_a_proxy() {
        const EDGE: &str = "198.51.100.1";
        for (peer, shown, list, viewer) in [
            (EDGE, SECRET, "203.0.113.9", "203.0.113.9:0"),
            (EDGE, SECRET, "6.6.6.6, 203.0.113.9", "203.0.113.9:0"),
            (PROXY, SECRET, "203.0.113.9, 198.51.100.1", "203.0.113.9:0"),
            (PROXY, SECRET, "6.6.6.6, 203.0.113.9, 198.51.100.1", "203.0.113.9:0"),
            (PROXY, "0123456789abcdee", "203.0.113.9, 198.51.100.1", "198.51.100.1:0"),
            (EDGE, "0123456789abcdee", "203.0.113.9", ""),
        ] {
            let lines = [("tower-edge-token", shown), ("x-forwarded-for", list)];
            assert_eq!(told(Fields::XForwarded, peer, &lines).0, viewer, "{peer} {list}");
        }
    }
}
