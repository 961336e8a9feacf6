//! The viewer's conditions and ranges against the response at hand (RFC 9110 §13, §14; RFC 9111 §4.3.2).

use super::fields::{Fields, date, trim};
use super::rfc9111::SECOND;

/// `entity-tag = [ weak ] opaque-tag`. Decision: blanks between the quotes are taken.
#[derive(PartialEq, Eq)]
struct Tag {
    weak: bool,
    opaque: String,
}

/// The entity tag a text begins with, and what follows it.
fn tag(text: &str) -> Option<(Tag, &str)> {
    let weak = text.starts_with("W/");
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
    Some((Tag { weak, opaque: opaque.to_owned() }, rest))
}

fn only_tag(text: &str) -> Option<Tag> {
    tag(trim(text)).filter(|(_, rest)| rest.is_empty()).map(|(tag, _)| tag)
}

/// `#entity-tag`. Decision: what is no entity tag is passed over to the next comma.
fn tags(list: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return tags;
        }
        let (found, after) = match tag(rest) {
            Some((tag, after)) => (Some(tag), after),
            None => (None, rest),
        };
        let (junk, next) = after.split_once(',').unwrap_or((after, ""));
        if trim(junk).is_empty() {
            tags.extend(found);
        }
        rest = next;
    }
}

/// Whether the answer is 304 (RFC 9110 §13.2.2, steps 3 and 4).
pub(crate) fn not_modified(request: &Fields, status: u16, response: &Fields, received: i128) -> bool {
    // Decision: §13.2.1 conditions apply to what would be a 2xx; a 304 stands for a 200 (§15.4.5), or the 203 made of one.
    if ![200, 203].contains(&status) {
        return false;
    }
    if request.has("if-none-match") {
        let etag = response.first("etag").filter(|etag| !etag.is_empty());
        return request.lines("if-none-match").into_iter().map(trim).any(|line| {
            // §13.1.2: "*" where there is a current representation.
            line == "*"
                // Decision: what was sent comes back, be it an entity tag or not.
                || etag == Some(line)
                // §13.1.2, §8.8.3.2: weak comparison.
                || etag.and_then(only_tag).is_some_and(|etag| tags(line).iter().any(|tag| tag.opaque == etag.opaque))
        });
    }
    // §13.1.3: ignored where it is no valid date, or has more than one member.
    let Some(line) = request.only("if-modified-since") else { return false };
    let Some(since) = date(line) else { return false };
    // RFC 9111 §4.3.2: Last-Modified, else Date, else the time of receipt.
    match response.first("last-modified").or(response.first("date")) {
        Some(value) => date(value).is_some_and(|modified| modified <= since),
        // Decision: the second the condition names is meant to its end.
        None => received < since + SECOND,
    }
}

/// §14.2, §13.1.5: the ranges, as first byte and the one after the last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    Whole,
    Parts(Vec<(u64, u64)>),
    Unsatisfiable,
}

pub(crate) fn ranges(request: &Fields, response: &Fields, length: u64, most: usize) -> Ranges {
    let Some(range) = request.only("range") else { return Ranges::Whole };
    if request.has("if-range") && !request.only("if-range").is_some_and(|value| if_range(value, response)) {
        return Ranges::Whole;
    }
    // §14.1: names of units are case-insensitive; §14.2: unknown units are ignored.
    let Some((unit, set)) = range.split_once('=') else { return Ranges::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Ranges::Whole;
    }
    // §5.6.1: empty members are passed over.
    let specs: Vec<&str> = set.split(',').map(trim).filter(|spec| !spec.is_empty()).collect();
    let mut satisfiable: Vec<(u64, u64)> = Vec::new();
    for spec in &specs {
        // §14.2: a malformed ranges-specifier is ignored as a whole.
        match range_spec(spec, length) {
            None => return Ranges::Whole,
            Some(Satisfied::No) => {}
            // Decision: no Content-Range can say "the end of nothing".
            Some(Satisfied::ByNothing) => return Ranges::Whole,
            Some(Satisfied::By(first, end)) => satisfiable.push((first, end)),
        }
    }
    // §14.2, §17.15. Decision: too many, or not in order, or overlapping.
    let in_order = satisfiable.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    if specs.is_empty() || specs.len() > most || !in_order {
        return Ranges::Whole;
    }
    if satisfiable.is_empty() { Ranges::Unsatisfiable } else { Ranges::Parts(satisfiable) }
}

enum Satisfied {
    No,
    ByNothing,
    By(u64, u64),
}

/// §14.1.2
fn range_spec(spec: &str, length: u64) -> Option<Satisfied> {
    let (first, last) = spec.split_once('-')?;
    let length = u128::from(length);
    let (first, end) = match (first, last) {
        ("", suffix) => match position(suffix)? {
            0 => return Some(Satisfied::No),
            _ if length == 0 => return Some(Satisfied::ByNothing),
            suffix => (length - suffix.min(length), length),
        },
        (first, "") => (position(first)?, length),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            // "An int-range is invalid if the last-pos value is present and less than first-pos."
            if last < first {
                return None;
            }
            (first, (last + 1).min(length))
        }
    };
    // "satisfiable if it is less than the current length"
    let by = Satisfied::By(u64::try_from(first).unwrap_or(u64::MAX), u64::try_from(end).unwrap_or(u64::MAX));
    Some(if first < length { by } else { Satisfied::No })
}

/// Decision: positions that do not fit 64 bits are all the same, and past any end.
fn position(text: &str) -> Option<u128> {
    let is_number = !text.is_empty() && text.chars().all(|char| char.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u128::MAX).min(u128::from(u64::MAX)))
}

/// §13.1.5
fn if_range(value: &str, response: &Fields) -> bool {
    if let Some(tag) = only_tag(value) {
        // "using the strong comparison function"
        let etag = response.first("etag").and_then(only_tag);
        return etag.is_some_and(|etag| !etag.weak && !tag.weak && etag == tag);
    }
    let (Some(condition), Some(modified)) = (date(value), response.first("last-modified").and_then(date))
    else {
        return false;
    };
    // §8.8.2.2: strong if the date of the message is at least a second later.
    let strong = response.first("date").and_then(date).is_some_and(|date| date - modified >= SECOND);
    strong && condition == modified
}
