//! What the walk wants to know of a request, read in one pass over its fields.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH,
    COOKIE, FORWARDED, HOST, HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
    ORIGIN, PRAGMA, PROXY_AUTHORIZATION, RANGE, REFERER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::{Method, Uri};

/// What kind of request it is, as far as caching goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// GET or HEAD.
    Read,
    /// A method that changes the origin's state, or one nobody knows.
    Write,
    /// OPTIONS, TRACE, QUERY: safe, and not cached.
    Other,
    /// CONNECT, or a safe request that asks for another protocol.
    Tunnel,
}

/// The fields of a request that matter to the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `Cache-Control` or `Pragma`.
    pub(crate) directives: bool,
    /// `If-None-Match` or `If-Modified-Since`.
    pub(crate) conditional: bool,
    /// `If-Match` or `If-Unmodified-Since`: the origin's business (RFC 9111 §4.3.2).
    pub(crate) origin_condition: bool,
    pub(crate) range: bool,
    pub(crate) authorization: bool,
    /// A field from which the origin may take another effective URI.
    pub(crate) forwarding: bool,
    /// The request announces a body.
    pub(crate) body: bool,
    /// A field that some origins take for another method or URL.
    pub(crate) override_field: bool,
    pub(crate) event_stream: bool,
    pub(crate) upgrade: bool,
    /// `Connection` names fields that go no further.
    pub(crate) nominates: bool,
}

impl Facts {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut facts = Self::default();
        for (name, value) in headers {
            // By constant, a field costs a jump; by text, a comparison with every name of its length.
            match *name {
                CACHE_CONTROL | PRAGMA => facts.directives = true,
                IF_NONE_MATCH | IF_MODIFIED_SINCE => facts.conditional = true,
                IF_MATCH | IF_UNMODIFIED_SINCE => facts.origin_condition = true,
                RANGE => facts.range = true,
                AUTHORIZATION | PROXY_AUTHORIZATION => facts.authorization = true,
                FORWARDED => facts.forwarding = true,
                CONTENT_LENGTH => facts.body |= value.as_bytes() != b"0",
                TRANSFER_ENCODING => facts.body = true,
                UPGRADE => facts.upgrade = true,
                CONNECTION => facts.nominates |= !is_plain(value.as_bytes()),
                ACCEPT => facts.event_stream |= value.as_bytes().trim_ascii() == b"text/event-stream",
                // They say nothing of this, and nearly every request has them.
                HOST | USER_AGENT | ACCEPT_ENCODING | ACCEPT_LANGUAGE | COOKIE | REFERER | ORIGIN => {}
                _ => facts.read_extension(name.as_str()),
            }
        }
        facts
    }

    /// The fields that `http` has no constant for.
    fn read_extension(&mut self, name: &str) {
        if !name.starts_with("x-") {
            self.forwarding |= name == "front-end-https";
            return;
        }
        match name {
            "x-forwarded-host"
            | "x-forwarded-server"
            | "x-forwarded-proto"
            | "x-forwarded-protocol"
            | "x-forwarded-scheme"
            | "x-forwarded-ssl"
            | "x-forwarded-port"
            | "x-forwarded-prefix"
            | "x-host"
            | "x-scheme"
            | "x-url-scheme" => self.forwarding = true,
            "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
            | "x-original-url"
            | "x-rewrite-url"
            | "x-original-uri"
            | "x-original-host" => self.override_field = true,
            _ => {}
        }
    }

    pub(crate) fn class(&self, method: &Method) -> Class {
        match *method {
            Method::CONNECT => Class::Tunnel,
            // An origin may ignore `Upgrade` (RFC 9110 §7.8), and then a write is one all the same.
            _ if !crate::semantics::writes::is_safe(method) => Class::Write,
            _ if self.upgrade => Class::Tunnel,
            Method::GET | Method::HEAD => Class::Read,
            _ => Class::Other,
        }
    }
}

/// Whether a `Connection` says no more than what becomes of the connection.
fn is_plain(connection: &[u8]) -> bool {
    connection.eq_ignore_ascii_case(b"keep-alive") || connection.eq_ignore_ascii_case(b"close")
}

/// Whether a path may mean another path to the origin: a rule that matches it as it stands cannot be trusted.
pub(crate) fn path_is_ambiguous(uri: &Uri) -> bool {
    let path = uri.path();
    if !path.contains(['.', '%', '\\']) {
        return false;
    }
    let lower = path.to_ascii_lowercase().replace("%2e", ".");
    ["%2f", "%5c", "%00", "\\"].iter().any(|encoded| lower.contains(encoded))
        || lower.split('/').any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_and_upgrade_decide_the_class() {
        for (method, upgrade, class) in [
            ("GET", false, Class::Read),
            ("HEAD", false, Class::Read),
            ("POST", false, Class::Write),
            ("PURGE", false, Class::Write),
            ("get", false, Class::Write),
            ("OPTIONS", false, Class::Other),
            ("QUERY", false, Class::Other),
            ("CONNECT", false, Class::Tunnel),
            ("GET", true, Class::Tunnel),
            ("OPTIONS", true, Class::Tunnel),
            ("PUT", true, Class::Write),
        ] {
            let method: Method = method.parse().unwrap();
            let mut headers = HeaderMap::new();
            if upgrade {
                headers.insert("upgrade", "websocket".parse().unwrap());
            }
            assert_eq!(Facts::read(&headers).class(&method), class, "{method}");
        }
    }

    #[test]
    fn paths_that_mean_another_path_are_seen() {
        for (path, ambiguous) in [
            ("/a/b.html", false),
            ("/a/..b/c", false),
            ("/a%20b", false),
            ("/a/../b", true),
            ("/a/./b", true),
            ("/a/%2E%2e/b", true),
            ("/a%2Fb", true),
            ("/a%5cb", true),
            ("/a%00", true),
        ] {
            assert_eq!(path_is_ambiguous(&path.parse().unwrap()), ambiguous, "{path}");
        }
    }
}
