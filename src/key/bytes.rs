//! The key as bytes: parts with their lengths in front.
//!
//! ```text
//! scheme 1 | authority 4+n | path 4+n | query 1 or 1+4+n | more parts: tag 1, name 4+n, value 4+n …
//! ^------------------- the URI --------------------^
//!                          ^-- path and query ---^
//! ```
//! The part for the URI and the part for path and query are runs of their own, so that an invalidation can look them
//! up as they stand.

use std::borrow::Borrow;

use bytes::BufMut;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use smallvec::SmallVec;

use super::authority::Target;
use super::{KeyPolicy, NoKey, Select};
use crate::request::Facts;

/// A key on its way to the store: on the stack for requests of ordinary length.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyBuf(SmallVec<[u8; ON_STACK]>);

const ON_STACK: usize = 128;

/// A key that is kept. Equal, and of equal hash, to the [`KeyBuf`] with the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey(Box<[u8]>);

const NO_QUERY: u8 = 0;
const QUERY: u8 = 1;

const FORWARDED: u8 = 1;
const HEADER: u8 = 2;
const COOKIE: u8 = 3;
const CUSTOM: u8 = 4;
const VARIANT: u8 = 5;
const RULE: u8 = 6;
const SLICE: u8 = 7;
const CREDENTIALS: u8 = 8;

/// Forwarding fields from which an origin may take the effective URI. The viewer's address is not among them.
static EFFECTIVE_URI: [HeaderName; 13] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-protocol"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-scheme"),
    HeaderName::from_static("x-url-scheme"),
    HeaderName::from_static("front-end-https"),
];

impl KeyBuf {
    /// The key of a request in the form in which it is forwarded.
    pub(crate) fn new(
        request: &Parts,
        facts: &Facts,
        policy: &KeyPolicy,
        default_https: bool,
    ) -> Result<Self, NoKey> {
        let mut key = Self::default();
        key.read(request, facts, policy, default_https)?;
        Ok(key)
    }

    /// The same into an empty key, which then need not be moved.
    pub(crate) fn read(
        &mut self,
        request: &Parts,
        facts: &Facts,
        policy: &KeyPolicy,
        default_https: bool,
    ) -> Result<(), NoKey> {
        let key = self;
        key.read_uri(&request.uri, &request.headers, default_https)?;
        if facts.forwarding {
            for name in &EFFECTIVE_URI {
                for value in request.headers.get_all(name) {
                    key.forwarding(name, value.as_bytes());
                }
            }
        }
        if let Some(mark) = policy.mark() {
            key.named(RULE, b"", &mark.to_be_bytes());
        }
        if let Some(select) = &policy.headers {
            key.headers(&request.headers, select);
        }
        if policy.cookies.is_some() {
            // What the rule leaves out is no longer in the request.
            for cookies in request.headers.get_all(header::COOKIE) {
                key.named(COOKIE, b"", cookies.as_bytes());
            }
        }
        if let Some(custom) = &policy.custom {
            for part in custom.parts(request).ok_or(NoKey::Bypass)? {
                key.named(CUSTOM, b"", &part);
            }
        }
        Ok(())
    }

    /// The part of the key that names the URI alone.
    pub(crate) fn of_uri(uri: &http::Uri, headers: &HeaderMap, default_https: bool) -> Result<Self, NoKey> {
        let mut key = Self::default();
        key.read_uri(uri, headers, default_https)?;
        Ok(key)
    }

    fn read_uri(&mut self, uri: &http::Uri, headers: &HeaderMap, default_https: bool) -> Result<(), NoKey> {
        let target = Target::of(uri, headers, default_https)?;
        let path = uri.path();
        if !path.starts_with('/') {
            return Err(NoKey::NotCanonical);
        }
        let authority = target.host.len() + if target.port.is_some() { PORT } else { 0 };
        let mut out = self.room(1 + 4 + authority + path_length(path, uri.query()));
        out.put_u8(u8::from(target.https));
        out.put_slice(&length_bytes(authority));
        let (host, mut out) = out.split_at_mut(target.host.len());
        host.copy_from_slice(target.host);
        host.make_ascii_lowercase();
        if let Some(port) = target.port {
            out.put_u8(b':');
            out.put_u16(port);
        }
        put_path(out, path, uri.query());
        Ok(())
    }

    /// Path and query as they stand in a key.
    pub(crate) fn of_path(path: &str, query: Option<&str>) -> Self {
        let mut key = Self::default();
        put_path(key.room(path_length(path, query)), path, query);
        key
    }

    /// Room for so many bytes. Appending part by part takes twice as long: each checks the room, and moves what comes after
    /// it.
    fn room(&mut self, length: usize) -> &mut [u8] {
        // To resize is to push byte by byte.
        self.0 = match length {
            ..=ON_STACK => SmallVec::from_buf_and_len([0; ON_STACK], length),
            _ => SmallVec::from_elem(0, length),
        };
        &mut self.0
    }

    /// The authority as it is written: `host` or `host:port`.
    pub(crate) fn authority(&self) -> Vec<u8> {
        let (host, port) = split_port(self.0.get(1 + 4..part_end(&self.0, 1)).unwrap_or_default());
        let mut spelt = host.to_vec();
        if let Some(port) = port {
            spelt.push(b':');
            spelt.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
        }
        spelt
    }

    fn forwarding(&mut self, name: &HeaderName, value: &[u8]) {
        if *name != header::FORWARDED {
            return self.named(FORWARDED, name.as_str().as_bytes(), value);
        }
        // RFC 7239 §4: of the parameters only `host` and `proto` change the effective URI. Splitting without regard to
        // quotes can only keep more apart, never put two requests together: what is between the separators stays.
        for pair in value.split(|byte| matches!(byte, b';' | b',')) {
            let pair = pair.trim_ascii();
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            if !name.eq_ignore_ascii_case(b"for") && !name.eq_ignore_ascii_case(b"by") {
                self.named(FORWARDED, b"forwarded", pair);
            }
        }
    }

    fn headers(&mut self, headers: &HeaderMap, select: &Select) {
        // Lines of one name keep their order; names are sorted, since their order says nothing.
        let mut lines: SmallVec<[(&HeaderName, &http::HeaderValue); 8]> = headers
            .iter()
            .filter(|(name, _)| !super::rewrite::is_needed(name))
            .filter(|(name, _)| select.takes(name.as_str().as_bytes(), <[u8]>::eq_ignore_ascii_case))
            .collect();
        lines.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        for (name, value) in lines {
            self.named(HEADER, name.as_str().as_bytes(), value.as_bytes());
        }
    }

    /// The key of a fill for one variant: what the request has in the fields the response varies by.
    pub(crate) fn for_variant(&self, fingerprint: &[u8]) -> Self {
        let mut key = self.clone();
        if !fingerprint.is_empty() {
            key.named(VARIANT, b"", fingerprint);
        }
        key
    }

    pub(crate) fn from_bytes(key: &[u8]) -> Self {
        Self(SmallVec::from_slice(key))
    }

    /// The key of one slice of one generation of an object.
    pub(crate) fn for_slice(&self, generation: u64, index: u64) -> Self {
        let mut key = self.clone();
        key.named(SLICE, &generation.to_be_bytes(), &index.to_be_bytes());
        key
    }

    /// The key of what is remembered of requests with credentials alone.
    pub(crate) fn for_credentials(&self) -> Self {
        let mut key = self.clone();
        key.named(CREDENTIALS, b"", b"");
        key
    }

    fn named(&mut self, tag: u8, name: &[u8], value: &[u8]) {
        self.0.push(tag);
        self.part(name);
        self.part(value);
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&length_bytes(bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_key(&self) -> CacheKey {
        CacheKey(Box::from(self.0.as_slice()))
    }
}

impl CacheKey {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

// `[u8]` and `Box<[u8]>` hash alike, so the store finds a `CacheKey` by the bytes of a `KeyBuf`.
impl Borrow<[u8]> for CacheKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// A colon and the number.
const PORT: usize = 1 + 2;

/// The host of an authority in a key, and its port. From the front: what ends an IPv6 literal may look like a port.
fn split_port(authority: &[u8]) -> (&[u8], Option<u16>) {
    let colon = match authority {
        [b'[', ..] => authority.iter().position(|&byte| byte == b']').map(|end| end + 1),
        _ => authority.iter().position(|&byte| byte == b':'),
    };
    match colon.and_then(|colon| authority.split_at_checked(colon)) {
        Some((host, [b':', high, low])) => (host, Some(u16::from_be_bytes([*high, *low]))),
        _ => (authority, None),
    }
}

fn path_length(path: &str, query: Option<&str>) -> usize {
    4 + path.len() + 1 + query.map_or(0, |query| 4 + query.len())
}

fn put_path(mut out: &mut [u8], path: &str, query: Option<&str>) {
    out.put_slice(&length_bytes(path.len()));
    out.put_slice(path.as_bytes());
    match query {
        None => out.put_u8(NO_QUERY),
        Some(query) => {
            out.put_u8(QUERY);
            out.put_slice(&length_bytes(query.len()));
            out.put_slice(query.as_bytes());
        }
    }
}

fn length_bytes(length: usize) -> [u8; 4] {
    // A head over 4 GiB does not exist: hyper stops at 400 KiB and `http` at 64 KiB for a URI.
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn part_end(key: &[u8], at: usize) -> usize {
    let length = key.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    at + 4 + length as usize
}

/// The run of a key that says path and query.
pub(crate) fn path_part(key: &[u8]) -> &[u8] {
    let start = part_end(key, 1);
    key.get(start..uri_end(key, start)).unwrap_or_default()
}

/// The run of a key that says scheme, authority, path and query.
pub(crate) fn uri_part(key: &[u8]) -> &[u8] {
    key.get(..uri_end(key, part_end(key, 1))).unwrap_or(key)
}

/// The run of a key that says the authority, without its length.
pub(crate) fn authority_part(key: &[u8]) -> &[u8] {
    key.get(5..part_end(key, 1)).unwrap_or_default()
}

/// The run of a key that says scheme and authority.
pub(crate) fn origin_part(key: &[u8]) -> &[u8] {
    key.get(..part_end(key, 1)).unwrap_or(key)
}

/// The path of a key, and its query if it has one.
pub(crate) fn path_and_query(key: &[u8]) -> (&[u8], Option<&[u8]>) {
    let start = part_end(key, 1);
    let end = part_end(key, start);
    let path = key.get(start + 4..end).unwrap_or_default();
    let query = match key.get(end) {
        Some(&QUERY) => key.get(end + 5..part_end(key, end + 1)),
        _ => None,
    };
    (path, query)
}

/// What a key has beside the URI: names of header fields, and values. What a custom function added has no name.
pub(crate) fn more_parts(key: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    // The mark of a rule is nothing that a request has.
    tagged_parts(key).filter(|(tag, ..)| !matches!(*tag, RULE | SLICE)).map(|(_, name, value)| (name, value))
}

/// Whether a key is that of a slice.
pub(crate) fn is_slice(key: &[u8]) -> bool {
    tagged_parts(key).any(|(tag, ..)| tag == SLICE)
}

fn tagged_parts(key: &[u8]) -> impl Iterator<Item = (u8, &[u8], &[u8])> {
    let mut at = uri_part(key).len();
    std::iter::from_fn(move || {
        let tag = *key.get(at)?;
        let name_end = part_end(key, at + 1);
        let value_end = part_end(key, name_end);
        let name = if tag == COOKIE { b"cookie" } else { key.get(at + 5..name_end)? };
        let value = key.get(name_end + 4..value_end)?;
        at = value_end;
        Some((tag, name, value))
    })
}

fn uri_end(key: &[u8], path: usize) -> usize {
    let query = part_end(key, path);
    match key.get(query) {
        Some(&QUERY) => part_end(key, query + 1),
        _ => query + 1,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::key::CustomKey;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn key_with(policy: &KeyPolicy, uri: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let parts = parts(uri, headers);
        let facts = Facts::read(&parts.headers);
        KeyBuf::new(&parts, &facts, policy, false).unwrap().as_bytes().to_vec()
    }

    fn key(uri: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        key_with(&KeyPolicy::default(), uri, headers)
    }

    #[test]
    fn http1_and_http2_requests_have_the_same_key() {
        assert_eq!(key("/a?b", &[("host", "X.example:80")]), key("http://x.example/a?b", &[]));
    }

    #[test]
    fn the_authority_of_a_key_is_spelt_in_one_way() {
        for (host, spelt) in [
            ("A.Example", "a.example"),
            ("a.example:80", "a.example"),
            ("a.example:", "a.example"),
            ("a.example:08080", "a.example:8080"),
            // As numbers in the key these ports are `::` and `]:`.
            ("a.example:14906", "a.example:14906"),
            ("[::A]:23866", "[::a]:23866"),
            ("[::1]:80", "[::1]"),
            ("[::1]:0", "[::1]:0"),
        ] {
            let parts = parts("/x", &[("host", host)]);
            let key = KeyBuf::of_uri(&parts.uri, &parts.headers, false).unwrap();
            assert_eq!(key.authority(), spelt.as_bytes(), "{host}");
        }
    }

    #[test]
    fn requests_for_different_things_have_different_keys() {
        let host = [("host", "a")];
        let keys = [
            key("/x", &host),
            key("/x?", &host),
            key("/x?a", &host),
            key("/x/", &host),
            key("/X", &host),
            key("/%78", &host),
            key("https://a/x", &[]),
            key("/x", &[("host", "a:81")]),
            key("/x", &[("host", "ab")]),
            key("/x", &[("host", "a"), ("x-forwarded-host", "b")]),
            key("/x", &[("host", "a"), ("x-forwarded-proto", "b")]),
            key("/x", &[("host", "a"), ("forwarded", "host=b")]),
            key("/x", &[("host", "a"), ("forwarded", "proto=https")]),
        ];
        for (i, one) in keys.iter().enumerate() {
            for other in &keys[i + 1..] {
                assert_ne!(one, other);
            }
        }
    }

    #[test]
    fn the_viewers_address_is_not_in_the_key() {
        let plain = key("/x", &[("host", "a")]);
        assert_eq!(plain, key("/x", &[("host", "a"), ("forwarded", "for=192.0.2.1")]));
        assert_eq!(plain, key("/x", &[("host", "a"), ("x-forwarded-for", "192.0.2.1")]));
    }

    #[test]
    fn path_and_uri_are_runs_of_the_key() {
        let policy = KeyPolicy {
            headers: Some(Select::Only(vec!["x-device".into()])),
            custom: Some(CustomKey::new(|_| Some(vec![b"more".to_vec()]))),
            ..KeyPolicy::default()
        };
        for uri in ["/a/b", "/a/b?", "/a/b?c=d"] {
            let full = key_with(&policy, uri, &[("host", "h"), ("x-device", "tv")]);
            let plain = key(uri, &[("host", "h")]);
            assert_eq!(uri_part(&full), plain);
            let uri: http::Uri = uri.parse().unwrap();
            assert_eq!(path_part(&full), KeyBuf::of_path(uri.path(), uri.query()).as_bytes());
        }
    }

    #[test]
    fn chosen_headers_and_cookies_are_in_the_key() {
        let policy = KeyPolicy {
            headers: Some(Select::Only(vec!["X-Device".into()])),
            cookies: Some(Select::All),
            ..KeyPolicy::default()
        };
        let with = |headers: &[(&str, &str)]| key_with(&policy, "http://h/", headers);
        assert_ne!(with(&[("x-device", "tv")]), with(&[("x-device", "phone")]));
        assert_ne!(with(&[("x-device", "")]), with(&[]));
        assert_ne!(with(&[("cookie", "a=1")]), with(&[("cookie", "a=2")]));
        assert_eq!(with(&[("x-other", "1")]), with(&[]));
    }

    #[test]
    fn a_custom_key_can_bypass() {
        let policy = KeyPolicy { custom: Some(CustomKey::new(|_| None)), ..KeyPolicy::default() };
        let parts = parts("http://h/", &[]);
        let facts = Facts::read(&parts.headers);
        assert_eq!(KeyBuf::new(&parts, &facts, &policy, false).unwrap_err(), NoKey::Bypass);
    }
}
