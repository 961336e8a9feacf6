//! The fields of a stored response in one block of bytes. `http`'s map takes some 110 bytes a field beside its text; this takes
//! two or three, and holds no name that is [well known](super::names).
//!
//! ```text
//! names n | what Cache-Status said before: length n, text | lines
//! line: name 1 | its length n, its text, if no well-known one | the value's length n, its text
//! ```
//! A number n has seven bits in each byte, the lowest first; the eighth says that more follow.

use std::ops::Range;

use bytes::Bytes;
use http::header::{AGE, CACHE_STATUS};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::names;
use crate::signature::Signature;

/// The fields as they were received, but for `Age` and `Cache-Status`, of which each answer has its own.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Fields(Box<[u8]>);

/// The name stands in the line.
const OTHER: u8 = 0x7f;
/// The value is not to be shown in logs, or kept in tables of compression.
const SENSITIVE: u8 = 0x80;
/// A map's entry and its index.
const ENTRY: usize = 120;
/// What a name that is not well known takes in a map beside its text.
const NAME: usize = 32;
/// The text of an answer's fields, in the one allocation that all of them share.
type Text = SmallVec<[u8; 512]>;

impl Fields {
    /// What `Cache-Status` said (RFC 9211 §2: members are appended) is kept apart.
    pub(crate) fn pack(headers: &HeaderMap) -> Self {
        let mut before: Vec<u8> = Vec::new();
        for value in headers.get_all(CACHE_STATUS).iter().filter(|value| !value.is_empty()) {
            if !before.is_empty() {
                before.extend_from_slice(b", ");
            }
            before.extend_from_slice(value.as_bytes());
        }
        let is_kept = |name: &HeaderName| name != AGE && name != CACHE_STATUS;
        let mut packed = Text::new();
        put_number(&mut packed, headers.keys().filter(|name| is_kept(name)).count());
        put_text(&mut packed, &before);
        for (name, value) in headers.iter().filter(|(name, _)| is_kept(name)) {
            let sensitive = if value.is_sensitive() { SENSITIVE } else { 0 };
            let index = names::index(name);
            packed.push(index.unwrap_or(OTHER) | sensitive);
            if index.is_none() {
                put_text(&mut packed, name.as_str().as_bytes());
            }
            put_text(&mut packed, value.as_bytes());
        }
        Self(Box::from(packed.as_slice()))
    }

    /// The fields as a map.
    pub(crate) fn unpack(&self) -> HeaderMap {
        self.map(|_| true)
    }

    /// Those of these names.
    pub(crate) fn only(&self, names: &[HeaderName]) -> HeaderMap {
        self.map(|name| names.iter().any(|wanted| name.is(wanted)))
    }

    fn map(&self, is_wanted: impl Fn(Name<'_>) -> bool) -> HeaderMap {
        let mut lines = self.lines();
        let mut headers = HeaderMap::try_with_capacity(lines.names).unwrap_or_default();
        lines.append_to(&mut headers, &Bytes::copy_from_slice(&self.0), is_wanted);
        headers
    }

    /// The fields of an answer. `Age` and `Cache-Status` stand in front, for [`sign`](Self::sign). What the map holds is its
    /// own: the text is in one allocation, and no core waits for another to count who has it.
    pub(super) fn signed(&self, signature: &Signature<'_>) -> HeaderMap {
        let mut lines = self.lines();
        let mut text = Text::with_capacity(self.0.len() + signature.room(lines.before.len()));
        text.extend_from_slice(&self.0);
        let spelled = signature.spell(&self.0[lines.before.clone()], &mut text);
        let text = Bytes::from_owner(text);
        let mut headers = HeaderMap::try_with_capacity(lines.names + 2).unwrap_or_default();
        headers.insert(AGE, value(&text, spelled.age));
        headers.insert(CACHE_STATUS, value(&text, spelled.status));
        lines.append_to(&mut headers, &text, |_| true);
        headers
    }

    /// Signs a map made by [`signed`](Self::signed) anew.
    pub(super) fn sign(&self, headers: &mut HeaderMap, signature: &Signature<'_>) {
        let before = &self.0[self.lines().before];
        let mut text = SmallVec::<[u8; 64]>::new();
        if !before.is_empty() {
            text.reserve_exact(signature.room(before.len()));
        }
        let spelled = signature.spell(before, &mut text);
        let text = Bytes::from_owner(text);
        let mut fields = headers.iter_mut();
        if let (Some((age, its_age)), Some((status, its_status))) = (fields.next(), fields.next()) {
            debug_assert!(*age == AGE && *status == CACHE_STATUS);
            *its_age = value(&text, spelled.age);
            *its_status = value(&text, spelled.status);
        }
    }

    /// The first value of a field.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    pub(crate) fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.lines().filter(move |line| line.name.is(name)).map(|line| &self.0[line.value])
    }

    /// The same with another value of one field.
    pub(crate) fn with(&self, name: HeaderName, value: HeaderValue) -> Self {
        let mut headers = self.unpack();
        headers.insert(name, value);
        if let Ok(before) = HeaderValue::from_bytes(&self.0[self.lines().before]) {
            headers.insert(CACHE_STATUS, before);
        }
        Self::pack(&headers)
    }

    /// Bytes held.
    pub(super) fn weight(&self) -> usize {
        self.0.len()
    }

    /// About as many bytes as an answer's map of them takes.
    pub(super) fn unpacked(&self) -> usize {
        let lines = self.lines();
        // Spelled in the text, which the other values hold on to, and in one of its own when it is signed anew.
        let before = 2 * lines.before.len();
        let each = lines.map(|line| match line.name {
            Name::Known(_) => ENTRY,
            Name::Other(name) => ENTRY + NAME + name.len(),
        });
        2 * ENTRY + each.sum::<usize>() + self.0.len().max(size_of::<Text>()) + before
    }

    fn lines(&self) -> Lines<'_> {
        let mut lines = Lines { bytes: &self.0, at: 0, names: 0, before: 0..0 };
        lines.names = lines.number();
        lines.before = lines.text();
        lines
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.unpack().fmt(f)
    }
}

fn put_number(packed: &mut Text, mut number: usize) {
    while number > 0x7f {
        packed.push(number as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}

fn put_text(packed: &mut Text, text: &[u8]) {
    put_number(packed, text.len());
    packed.extend_from_slice(text);
}

/// A value out of a text that was put together of values.
fn value(text: &Bytes, at: Range<usize>) -> HeaderValue {
    HeaderValue::from_maybe_shared(text.slice(at)).expect("a copy of a field value")
}

/// What is read of a packed block, line by line.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How many names there are.
    names: usize,
    /// Where that stands which `Cache-Status` said before.
    before: Range<usize>,
}

struct Line<'a> {
    name: Name<'a>,
    value: Range<usize>,
    is_sensitive: bool,
}

#[derive(Clone, Copy)]
enum Name<'a> {
    Known(&'static HeaderName),
    Other(&'a [u8]),
}

impl Name<'_> {
    fn is(self, name: &HeaderName) -> bool {
        match self {
            Self::Known(known) => known == name,
            Self::Other(other) => other == name.as_str().as_bytes(),
        }
    }
}

impl Lines<'_> {
    fn number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.bytes[self.at];
            self.at += 1;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }

    fn text(&mut self) -> Range<usize> {
        let length = self.number();
        let start = self.at;
        self.at += length;
        start..self.at
    }

    /// Appends what is left, with values out of `text`, which begins with the same bytes.
    fn append_to(&mut self, headers: &mut HeaderMap, text: &Bytes, is_wanted: impl Fn(Name<'_>) -> bool) {
        for line in self.filter(|line| is_wanted(line.name)) {
            let mut value = value(text, line.value);
            if line.is_sensitive {
                value.set_sensitive(true);
            }
            match line.name {
                Name::Known(name) => headers.append(name, value),
                Name::Other(name) => {
                    headers.append(HeaderName::from_lowercase(name).expect("a copy of a field name"), value)
                }
            };
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        let name = match names::at(first & !SENSITIVE) {
            Some(name) => Name::Known(name),
            None => Name::Other(&self.bytes[self.text()]),
        };
        Some(Line { name, value: self.text(), is_sensitive: first & SENSITIVE != 0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::outcome::Outcome;

    fn names() -> impl Strategy<Value = HeaderName> {
        let known = vec!["etag", "set-cookie", "x-cache", "vary", "content-length", "cache-status", "age"];
        let token = select(&b"abcxyz019!#$%&'*+-.^_`|~"[..]);
        let any = prop_oneof![20 => vec(token.clone(), 1..20), 1 => vec(token, 1..300)];
        prop_oneof![
            select(known).prop_map(HeaderName::from_static),
            any.prop_map(|name| HeaderName::from_bytes(&name).unwrap()),
        ]
    }

    fn values() -> impl Strategy<Value = HeaderValue> {
        let byte = prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xffu8];
        let long = (0..200_000usize).prop_map(|length| vec![b'x'; length]);
        (prop_oneof![20 => vec(byte, 0..300), 1 => long], any::<bool>()).prop_map(|(bytes, is_sensitive)| {
            let mut value = HeaderValue::from_bytes(&bytes).unwrap();
            value.set_sensitive(is_sensitive);
            value
        })
    }

    fn maps() -> impl Strategy<Value = HeaderMap> {
        vec((names(), values()), 0..40).prop_map(|lines| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value);
            }
            headers
        })
    }

    /// Lines, in their order.
    fn lines(headers: &HeaderMap) -> Vec<(HeaderName, Vec<u8>, bool)> {
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.clone(), value.as_bytes().to_vec(), value.is_sensitive())
        };
        headers.iter().map(line).collect()
    }

    fn sign(outcome: &Outcome, age: u64) -> Signature<'_> {
        Signature { name: "edge", outcome, age }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_packed_is_unpacked(headers in maps()) {
            let packed = Fields::pack(&headers);
            let mut expected = HeaderMap::new();
            for (name, value) in headers.iter().filter(|(name, _)| **name != AGE && **name != CACHE_STATUS) {
                expected.append(name, value.clone());
            }
            prop_assert_eq!(lines(&packed.unpack()), lines(&expected));
            for name in headers.keys() {
                let found: Vec<_> = packed.get_all(name).collect();
                let values: Vec<_> = expected.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                prop_assert_eq!(&found, &values);
                prop_assert_eq!(packed.get(name), values.first().copied());
                prop_assert_eq!(lines(&packed.only(std::slice::from_ref(name))).len(), values.len());
            }
            prop_assert_eq!(&Fields::pack(&packed.unpack()).unpack(), &packed.unpack());
        }

        #[test]
        fn a_signed_map_has_age_and_status_in_front(headers in maps(), age: u64, ttl: i64) {
            let packed = Fields::pack(&headers);
            let outcome = Outcome::hit(ttl);
            let mut signed = packed.signed(&sign(&outcome, age));
            let before = headers.get_all(CACHE_STATUS).iter().map(HeaderValue::as_bytes);
            let before: Vec<_> = before.filter(|value| !value.is_empty()).collect();
            for age in [age, 7] {
                packed.sign(&mut signed, &sign(&outcome, age));
                let mut members = before.join(&b", "[..]);
                if !members.is_empty() {
                    members.extend_from_slice(b", ");
                }
                members.extend_from_slice(format!("edge{outcome}").as_bytes());
                let found = lines(&signed);
                prop_assert_eq!(&found[0], &(AGE, age.to_string().into_bytes(), false));
                prop_assert_eq!(&found[1], &(CACHE_STATUS, members, false));
                prop_assert_eq!(&found[2..], &lines(&packed.unpack())[..]);
            }
        }
    }

    #[test]
    fn many_fields_come_back() {
        let headers: HeaderMap = (0..1_000)
            .map(|n| (HeaderName::try_from(format!("x-{n}")).unwrap(), HeaderValue::from(n)))
            .collect();
        assert_eq!(lines(&Fields::pack(&headers).unpack()), lines(&headers));
    }

    #[test]
    fn one_field_is_replaced_and_the_others_stay() {
        let headers = [("cache-status", "a; hit"), ("content-length", "5"), ("x-of-somebody", "1")];
        let headers = HeaderMap::from_iter(
            headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        let packed = Fields::pack(&headers).with(http::header::CONTENT_LENGTH, HeaderValue::from(1000));
        assert_eq!(packed.get(&http::header::CONTENT_LENGTH), Some(&b"1000"[..]));
        assert_eq!(packed.get(&HeaderName::from_static("x-of-somebody")), Some(&b"1"[..]));
        let outcome = Outcome::hit(9);
        assert_eq!(packed.signed(&sign(&outcome, 1))[CACHE_STATUS], "a; hit, edge; hit; ttl=9");
    }

    #[test]
    fn well_known_names_take_a_byte() {
        let headers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))]);
        // The number of names, no status, the name, the length and the value.
        assert_eq!(Fields::pack(&headers).weight(), 1 + 1 + 1 + 1 + 3);
    }

    #[test]
    fn packed_fields_hold_nothing_of_the_read_buffer() {
        let buffer = Bytes::from(vec![b'x'; 16 * 1024]);
        let value = HeaderValue::from_maybe_shared(buffer.slice(..10)).unwrap();
        let packed = Fields::pack(&HeaderMap::from_iter([(http::header::ETAG, value)]));
        assert!(buffer.is_unique() && packed.weight() < 20);
    }
}
