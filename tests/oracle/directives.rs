//! `Cache-Control` (RFC 9111 §5.2), read by the grammar.

use super::fields::{Fields, is_tchar, is_token, trim};

/// RFC 9111 §1.2.2: the number that stands for all larger ones.
pub(crate) const MANY_SECONDS: i128 = 1 << 31;

/// Decisions, where the RFC leaves one or the text is malformed: what stores less and serves for a shorter time.
mod decided {
    /// RFC 9111 §4.2.1 offers the first of several lifetimes or "stale"; the shortest is between the two.
    pub(crate) const SHORTEST_OF_SEVERAL: fn(i128, i128) -> i128 = min;
    /// §5.2.1.3: the request that asks for more freshness.
    pub(crate) const LONGEST_MIN_FRESH: fn(i128, i128) -> i128 = max;
    /// §4.2.1: a lifetime nobody can read is over.
    pub(crate) const UNREADABLE_LIFETIME: Option<i128> = Some(0);
    /// Any other number nobody can read was not sent.
    pub(crate) const UNREADABLE_WINDOW: Option<i128> = None;
    /// A directive that permits something counts only without an argument, one that forbids in any spelling.
    pub(crate) const PERMISSION_WITH_ARGUMENT_COUNTS: bool = false;

    fn min(one: i128, other: i128) -> i128 {
        one.min(other)
    }
    fn max(one: i128, other: i128) -> i128 {
        one.max(other)
    }
}

/// The members of a field, all lines as one list (RFC 9110 §5.3).
pub(crate) struct Directives(Vec<(String, Argument)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Argument {
    None,
    Token(String),
    /// Without quotes and escapes.
    Quoted(String),
    /// The member does not fit the grammar. Its name is the first token in it.
    Malformed,
}

/// `private` and `no-cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Absent,
    Whole,
    /// In lower case, sorted, each once.
    Named(Vec<String>),
}

impl Directives {
    pub(crate) fn of(fields: &Fields, name: &str) -> Self {
        Self(fields.lines(name).into_iter().flat_map(members).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Argument> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, argument)| argument)
    }

    /// A directive that restricts.
    pub(crate) fn forbids(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// A directive that permits.
    pub(crate) fn permits(&self, name: &str) -> bool {
        self.all(name).any(|argument| *argument == Argument::None || decided::PERMISSION_WITH_ARGUMENT_COUNTS)
    }

    /// `max-age`, `s-maxage`.
    pub(crate) fn lifetime(&self, name: &str) -> Option<i128> {
        let all = self.all(name).filter_map(|argument| argument.seconds().or(decided::UNREADABLE_LIFETIME));
        all.reduce(decided::SHORTEST_OF_SEVERAL)
    }

    /// `stale-while-revalidate`, `stale-if-error`.
    pub(crate) fn window(&self, name: &str) -> Option<i128> {
        let all = self.all(name).filter_map(|argument| argument.seconds().or(decided::UNREADABLE_WINDOW));
        all.reduce(decided::SHORTEST_OF_SEVERAL)
    }

    pub(crate) fn min_fresh(&self) -> Option<i128> {
        self.all("min-fresh").filter_map(Argument::seconds).reduce(decided::LONGEST_MIN_FRESH)
    }

    /// RFC 9111 §5.2.1.2: without an argument "a stale response of any age".
    pub(crate) fn max_stale(&self) -> Option<i128> {
        let any = |argument: &Argument| (*argument == Argument::None).then_some(i128::MAX);
        let all = self.all("max-stale").filter_map(|argument| any(argument).or(argument.seconds()));
        all.reduce(decided::SHORTEST_OF_SEVERAL)
    }

    /// RFC 9111 §5.2.2.4, §5.2.2.7. Decision: an argument that is no quoted list of names is none.
    pub(crate) fn scope(&self, name: &str) -> Scope {
        let mut named = Vec::new();
        for argument in self.all(name) {
            let Argument::Quoted(list) = argument else { return Scope::Whole };
            let names: Vec<_> = list.split(',').map(trim).filter(|name| !name.is_empty()).collect();
            if names.is_empty() || !names.iter().all(|name| is_token(name)) {
                return Scope::Whole;
            }
            named.extend(names.into_iter().map(str::to_lowercase));
        }
        named.sort();
        named.dedup();
        if named.is_empty() { Scope::Absent } else { Scope::Named(named) }
    }
}

impl Argument {
    /// `delta-seconds` (RFC 9111 §1.2.2). "recipients ought to be able to use both" forms (§5.2).
    fn seconds(&self) -> Option<i128> {
        let (Argument::Token(text) | Argument::Quoted(text)) = self else { return None };
        delta_seconds(text)
    }
}

pub(crate) fn delta_seconds(text: &str) -> Option<i128> {
    let is_number = !text.is_empty() && text.chars().all(|char| char.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(i128::MAX).min(MANY_SECONDS))
}

/// `[ cache-directive *( OWS "," OWS cache-directive ) ]`
fn members(line: &str) -> Vec<(String, Argument)> {
    let mut members = Vec::new();
    let mut rest = Some(line.to_owned());
    while let Some(text) = rest {
        let end = quoted_member(&text).or_else(|| text.find(','));
        let member = &text[..end.unwrap_or(text.len())];
        rest = end.filter(|end| *end < text.len()).map(|end| text[end + 1..].to_owned());
        // Decision: a member is known by the first token in it, whatever stands before.
        if let Some(start) = member.find(is_tchar) {
            let name: String = member[start..].chars().take_while(|char| is_tchar(*char)).collect();
            let argument = argument(&name, trim(member));
            members.push((name.to_ascii_lowercase(), argument));
        }
    }
    members
}

/// `cache-directive = token [ "=" ( token / quoted-string ) ]`
fn argument(name: &str, member: &str) -> Argument {
    let Some(after) = member.strip_prefix(name) else { return Argument::Malformed };
    if after.is_empty() {
        return Argument::None;
    }
    let Some(value) = after.strip_prefix('=') else { return Argument::Malformed };
    if is_token(value) {
        return Argument::Token(value.to_owned());
    }
    match quoted_string(value) {
        Some((text, length)) if length == value.len() => Argument::Quoted(text),
        _ => Argument::Malformed,
    }
}

/// Where a member ends that ends in a whole quoted string. Decision: only such a string hides the commas in it.
fn quoted_member(text: &str) -> Option<usize> {
    let name = text.find(is_tchar)?;
    if text[..name].contains(',') {
        return None;
    }
    let equals = name + text[name..].find(|char| !is_tchar(char))?;
    let string = text[equals..].strip_prefix('=')?;
    let (_, length) = quoted_string(string)?;
    let end = equals + 1 + length;
    let after = text[end..].trim_start_matches([' ', '\t']);
    (after.is_empty() || after.starts_with(',')).then(|| text.len() - after.len())
}

/// The quoted string (RFC 9110 §5.6.4) that `text` begins with, every quoted-pair as the octet after the backslash,
/// and its length.
fn quoted_string(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    if chars.next()?.1 != '"' {
        return None;
    }
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, at + 1)),
            '\\' => value.push(chars.next()?.1),
            char => value.push(char),
        }
    }
    None
}
