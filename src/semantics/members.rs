//! The members of a line of `Cache-Control`, and what their arguments hold (RFC 9111 §5.2).

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;

use super::directives::Fields;

/// RFC 9111 §1.2.2: a larger number of seconds is taken as this one.
const MAX_SECONDS: u64 = 1 << 31;

/// One member of a `Cache-Control` line.
pub(super) struct Directive<'a> {
    pub(super) name: &'a [u8],
    pub(super) argument: Argument<'a>,
}

/// What follows a directive's name. RFC 9111 §5.2: recipients ought to take both the token and the quoted form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    None,
    Token(&'a [u8]),
    /// What stands between the quotes, escapes and all.
    Quoted(&'a [u8]),
    Malformed,
}

impl Argument<'_> {
    /// `delta-seconds` (RFC 9111 §1.2.2).
    pub(super) fn seconds(self) -> Option<Duration> {
        match self {
            Argument::Token(text) => delta_seconds(text),
            Argument::Quoted(text) => delta_seconds(&unescaped(text)),
            Argument::None | Argument::Malformed => None,
        }
    }

    /// The fields of `private` and `no-cache`. RFC 9111 §5.2.2.4 and §5.2.2.7 want the quoted form; anything that
    /// is not a list of names is taken as the unqualified directive.
    pub(super) fn fields(self) -> Fields {
        let Argument::Quoted(text) = self else {
            return Fields::All;
        };
        field_names(&unescaped(text))
    }
}

/// A list of field names, or all fields where it is anything else.
pub(super) fn field_names(list: &[u8]) -> Fields {
    let names: Result<Vec<_>, _> = list
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .map(HeaderName::from_bytes)
        .collect();
    match names {
        Ok(names) if !names.is_empty() => Fields::Named(names),
        _ => Fields::All,
    }
}

/// Reads a non-negative integer and nothing else, up to 2^31 (RFC 9111 §1.2.2).
pub(super) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    text.iter()
        .try_fold(0, |seconds: u64, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            Some((seconds * 10 + digit).min(MAX_SECONDS))
        })
        .map(Duration::from_secs)
}

/// The same for a number that is read already.
pub(super) fn integer_seconds(number: i64) -> Option<Duration> {
    let seconds = u64::try_from(number).ok()?;
    Some(Duration::from_secs(seconds.min(MAX_SECONDS)))
}

/// The members of every line of a field, which together are one list (RFC 9110 §5.3).
pub(super) fn directives(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = Directive<'_>> {
    headers.get_all(field).into_iter().flat_map(|line| Directives { rest: line.as_bytes() })
}

struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        // Bytes that cannot start a name are passed over rather than made part of it: `;no-store` is no-store.
        let start = self.rest.iter().position(is_token)?;
        let (before, rest) = self.rest.split_at(start);
        let end = rest.iter().position(|byte| !is_token(byte)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let (mut argument, rest) = split_argument(rest);
        self.rest = rest;
        if before.rsplit(|&byte| byte == b',').next().is_some_and(|junk| !junk.trim_ascii().is_empty()) {
            argument = Argument::Malformed;
        }
        Some(Directive { name, argument })
    }
}

/// Splits what follows a name into its argument and the members after it.
///
/// A quoted string hides its commas only if it is whole and ends the member. Otherwise its opening quote is a byte
/// like any other, so that `x="a, no-store` still says no-store.
fn split_argument(text: &[u8]) -> (Argument<'_>, &[u8]) {
    if let Some((quoted, rest)) = text.strip_prefix(b"=\"").and_then(split_quoted)
        && matches!(rest.trim_ascii_start(), [] | [b',', ..])
    {
        return (Argument::Quoted(quoted), rest);
    }
    let end = text.iter().position(|&byte| byte == b',').unwrap_or(text.len());
    let (member, rest) = text.split_at(end);
    let argument = match member.trim_ascii_end() {
        [] => Argument::None,
        [b'=', token @ ..] if !token.is_empty() && token.iter().all(is_token) => Argument::Token(token),
        _ => Argument::Malformed,
    };
    (argument, rest)
}

/// Splits at the quote that ends a quoted string (RFC 9110 §5.6.4).
fn split_quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = text.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((&text[..end], &text[end + 1..]))
}

/// RFC 9110 §5.6.4: a quoted pair stands for the octet after the backslash.
fn unescaped(quoted: &[u8]) -> Cow<'_, [u8]> {
    if !quoted.contains(&b'\\') {
        return Cow::Borrowed(quoted);
    }
    let mut bytes = quoted.iter();
    let mut unescaped = Vec::with_capacity(quoted.len());
    while let Some(&byte) = bytes.next() {
        unescaped.push(if byte == b'\\' { *bytes.next().unwrap_or(&byte) } else { byte });
    }
    Cow::Owned(unescaped)
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
