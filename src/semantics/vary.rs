//! Which of several stored responses fits a request? (RFC 9111 §4.1)

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::headers::only_line;
use super::normal::normal_form;
use crate::policy::Normalise;

/// The fields a response was chosen by, with the values its request had, in normal form.
///
/// Two of them are equal when they name the same fields with the same values, in whatever order and spelling.
#[derive(Clone, Debug, Default)]
pub struct Vary {
    /// Ordered by name, each name once.
    fields: Box<[Field]>,
    /// How the values were brought into normal form, and so how those of other requests are.
    normalise: Normalise,
}

#[derive(Clone, Debug)]
struct Field {
    name: HeaderName,
    /// In normal form; `None` when the request had no such field, which is not the same as an empty one.
    value: Option<Box<[u8]>>,
    /// The value as it was sent, if on one line and not in normal form. Most later requests spell it alike,
    /// and one comparison of bytes spares them the normal form.
    sent: Option<Box<[u8]>>,
}

/// `Vary` holds `*` or something that is not a field name: the response fits no other request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariesByAnything;

impl Vary {
    /// Reads a response's `Vary` and keeps what `request`, as the origin saw it, had in those fields.
    ///
    /// # Errors
    /// When no later request can be known to match.
    pub fn new(
        response: &HeaderMap,
        request: &HeaderMap,
        normalise: Normalise,
    ) -> Result<Self, VariesByAnything> {
        let mut names: SmallVec<[HeaderName; 4]> = SmallVec::new();
        for line in response.get_all(header::VARY) {
            for member in line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                match member {
                    b"" => {}
                    // `*` is a token, so it would pass for a field name.
                    b"*" => return Err(VariesByAnything),
                    _ => names.push(HeaderName::from_bytes(member).map_err(|_| VariesByAnything)?),
                }
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        // As large as it is to stay.
        let mut fields = Vec::with_capacity(names.len());
        fields.extend(names.into_iter().map(|name| Field::new(name, request, normalise)));
        Ok(Self { fields: fields.into_boxed_slice(), normalise })
    }

    /// Whether a response that varied this way answers `request`.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.fields.iter().all(|field| field.matches(request, self.normalise))
    }

    /// Whether the response was chosen by this field.
    pub fn names(&self, field: &HeaderName) -> bool {
        self.fields.iter().any(|chosen| chosen.name == *field)
    }

    /// Whether the response does not vary.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The fields the response was chosen by, with what its request had in them in normal form; `None` if it had no such
    /// field.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.fields.iter().map(|field| (&field.name, field.value.as_deref()))
    }

    /// Appends the values that `request` has in these fields, so that two requests append the same bytes
    /// exactly when they fit the same response.
    ///
    /// Names and values are preceded by their length, so that nothing in one field reads like another.
    pub fn fingerprint(&self, request: &HeaderMap, out: &mut Vec<u8>) {
        let mut append = |bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        for field in &self.fields {
            append(field.name.as_str().as_bytes());
            match normal_form(&field.name, request, self.normalise) {
                None => append(b"-"),
                Some(value) => {
                    append(b"+");
                    append(&value);
                }
            }
        }
    }

    /// Bytes held on the heap.
    pub fn weight(&self) -> usize {
        let length = |bytes: &Option<Box<[u8]>>| bytes.as_ref().map_or(0, |bytes| bytes.len());
        self.fields
            .iter()
            .map(|field| {
                size_of::<Field>() + field.name.as_str().len() + length(&field.value) + length(&field.sent)
            })
            .sum()
    }
}

impl PartialEq for Vary {
    fn eq(&self, other: &Self) -> bool {
        // How the values were spelt is not part of what the response varied by.
        self.fields
            .iter()
            .map(|field| (&field.name, &field.value))
            .eq(other.fields.iter().map(|field| (&field.name, &field.value)))
    }
}

impl Eq for Vary {}

impl Field {
    fn new(name: HeaderName, request: &HeaderMap, normalise: Normalise) -> Self {
        let value: Option<Box<[u8]>> =
            normal_form(&name, request, normalise).map(|value| value.as_slice().into());
        let sent = only_line(request, &name)
            .map(HeaderValue::as_bytes)
            .filter(|line| value.as_deref() != Some(*line))
            .map(Into::into);
        Self { name, value, sent }
    }

    fn matches(&self, request: &HeaderMap, normalise: Normalise) -> bool {
        let mut lines = request.get_all(&self.name).iter().map(HeaderValue::as_bytes);
        match (lines.next(), lines.next()) {
            (None, _) => return self.value.is_none(),
            // A normal form is its own normal form, so the second comparison holds too.
            (line, None) if self.sent.as_deref() == line || self.value.as_deref() == line => return true,
            _ => {}
        }
        normal_form(&self.name, request, normalise).as_deref() == self.value.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Lines, map};
    use super::*;

    fn vary(lines: &[&'static str], request: Lines) -> Result<Vary, VariesByAnything> {
        let response = lines.iter().map(|&line| (header::VARY, HeaderValue::from_static(line))).collect();
        Vary::new(&response, &map(request), Normalise::default())
    }

    #[test]
    fn a_star_or_a_malformed_member_fits_no_other_request() {
        // RFC 9111 §4.1, RFC 9110 §12.5.5
        for lines in [
            &["*"][..],
            &["*, *"],
            &["*", "*"],
            &[", *"],
            &["", "*"],
            &["*, foo"],
            &["foo, *"],
            &["foo bar"],
            &["foo;bar"],
            &["\"foo\""],
        ] {
            assert_eq!(vary(lines, &[]), Err(VariesByAnything), "{lines:?}");
        }
    }

    #[test]
    fn a_response_without_selecting_fields_fits_every_request() {
        for lines in [&[][..], &[""], &[" , ,"]] {
            let vary = vary(lines, &[("foo", "1")]).unwrap();
            assert!(vary.is_empty(), "{lines:?}");
            assert!(vary.matches(&map(&[("foo", "2")])), "{lines:?}");
            assert_eq!(vary.weight(), 0);
        }
    }

    #[test]
    fn a_request_matches_when_every_selecting_field_does() {
        // RFC 9111 §4.1: stored `Vary`, its request, another request, whether that one matches.
        let cases: &[(&[&str], Lines, Lines, bool)] = &[
            (&["foo"], &[("foo", "1")], &[("foo", "1")], true),
            (&["Foo"], &[("foo", "1")], &[("foo", "2")], false),
            (&["foo"], &[("foo", "1")], &[], false),
            (&["foo"], &[], &[("foo", "1")], false),
            (&["foo"], &[], &[], true),
            (&["foo"], &[("foo", "")], &[], false),
            (&["foo"], &[], &[("foo", "")], false),
            (&["foo"], &[("foo", "1")], &[("foo", "1"), ("bar", "2")], true),
            (&["foo, bar"], &[("foo", "1"), ("bar", "2")], &[("foo", "1")], false),
            (&["foo", "bar"], &[("foo", "1"), ("bar", "2")], &[("foo", "1")], false),
            (&["foo, FOO"], &[("foo", "1")], &[("foo", "1")], true),
            (&["foo"], &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
            (&["foo"], &[("foo", "1"), ("foo", "2")], &[("foo", "1, 2")], true),
            (&["foo"], &[("foo", "1,2")], &[("foo", " 1, 2 ")], true),
            (&["foo"], &[("foo", "1")], &[("foo", "1"), ("foo", "2")], false),
            (&["foo"], &[("foo", "1,2")], &[("foo", "2,1")], false),
            (
                &["accept-encoding"],
                &[("accept-encoding", "gzip, br")],
                &[("accept-encoding", "br,gzip")],
                true,
            ),
            (
                &["accept-encoding"],
                &[("accept-encoding", "gzip, br")],
                &[("accept-encoding", "gzip, br;q=0")],
                false,
            ),
            (&["accept-language"], &[("accept-language", "en, de")], &[("accept-language", "eN, De")], true),
        ];
        for &(lines, stored, presented, expected) in cases {
            let vary = vary(lines, stored).unwrap();
            let (stored, presented) = (map(stored), map(presented));
            assert!(vary.matches(&stored), "{lines:?} {stored:?} matches itself");
            assert_eq!(vary.matches(&presented), expected, "{lines:?} {stored:?} {presented:?}");

            let (mut one, mut other) = (Vec::new(), Vec::new());
            vary.fingerprint(&stored, &mut one);
            vary.fingerprint(&presented, &mut other);
            assert_eq!(one == other, expected, "fingerprint: {lines:?} {stored:?} {presented:?}");
        }
    }

    #[test]
    fn order_and_spelling_of_the_field_do_not_count() {
        let one = vary(&["a, b"], &[("a", "1, 2"), ("b", "3")]).unwrap();
        let other = vary(&["B", "A, a"], &[("a", "1,2"), ("b", "3")]).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn nothing_in_one_field_reads_like_another_in_a_fingerprint() {
        let vary = vary(&["a, b"], &[]).unwrap();
        let requests: &[Lines] = &[
            &[],
            &[("a", "")],
            &[("b", "")],
            &[("a", "x")],
            &[("b", "x")],
            &[("a", "-")],
            &[("a", "x"), ("b", "y")],
            &[("a", "xy"), ("b", "")],
            &[("a", ""), ("b", "xy")],
        ];
        let prints: std::collections::HashSet<Vec<u8>> = requests
            .iter()
            .map(|&request| {
                let mut print = Vec::new();
                vary.fingerprint(&map(request), &mut print);
                print
            })
            .collect();
        assert_eq!(prints.len(), requests.len());
    }
}
