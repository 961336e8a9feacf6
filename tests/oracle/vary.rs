//! Which stored response a request selects (RFC 9111 §4.1).

use std::collections::BTreeSet;

use super::fields::{Fields, is_token, trim};

/// The fields `Vary` names; `None` where it holds `*`, or (decision) something that is no field name.
pub(crate) fn names(response: &Fields) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for member in response.lines("vary").into_iter().flat_map(|line| line.split(',')).map(trim) {
        match member {
            "" => {}
            "*" => return None,
            name if is_token(name) => {
                names.insert(name.to_ascii_lowercase());
            }
            _ => return None,
        }
    }
    Some(names)
}

/// Whether the selecting fields of the request that was stored match those of another.
pub(crate) fn matches(names: &BTreeSet<String>, stored: &Fields, presented: &Fields) -> bool {
    // "If a header field is absent from a request, it can only match another request if it is also absent there."
    names.iter().all(|name| Normal::of(name, stored) == Normal::of(name, presented))
}

/// A field after the transformations §4.1 lists.
#[derive(PartialEq, Eq)]
enum Normal {
    Absent,
    /// "adding or removing whitespace where allowed", "combining multiple header field lines". Decision: empty members
    /// stay, order stays, quoted strings stay as they are.
    List(Vec<String>),
    /// "normalizing both values in a way that is known to have identical semantics": members and their weights in
    /// thousandths, of Accept-Encoding and Accept-Language.
    Weights(BTreeSet<(String, u32)>),
    /// RFC 9113 §8.2.3: the lines of Cookie combine with a semicolon.
    Cookies(String),
}

impl Normal {
    fn of(name: &str, request: &Fields) -> Self {
        let lines = request.lines(name);
        if lines.is_empty() {
            return Self::Absent;
        }
        if name == "cookie" {
            return Self::Cookies(lines.join("; "));
        }
        let combined = lines.join(",");
        let weights = match name {
            "accept-encoding" | "accept-language" => weights(&combined),
            _ => None,
        };
        weights.map_or_else(|| Self::List(list(&combined)), Self::Weights)
    }
}

/// Splits at commas outside of quoted strings (RFC 9110 §5.6.4), and trims the members.
fn list(combined: &str) -> Vec<String> {
    let mut members = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for char in combined.chars() {
        if char == ',' && !quoted {
            members.push(String::new());
            continue;
        }
        members.last_mut().expect("never empty").push(char);
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    let last = members.len() - 1;
    let space: &[char] = &[' ', '\t'];
    // The blanks after a quote that is never closed are in the string.
    members
        .iter()
        .enumerate()
        .map(|(at, member)| {
            let start = member.trim_start_matches(space);
            if quoted && at == last { start } else { start.trim_end_matches(space) }.to_owned()
        })
        .collect()
}

/// RFC 9110 §12.4.2, §12.5.3, §12.5.4. `None` when a member is malformed.
fn weights(combined: &str) -> Option<BTreeSet<(String, u32)>> {
    let mut set = BTreeSet::new();
    for member in combined.split(',').map(trim).filter(|member| !member.is_empty()) {
        let (name, weight) = match member.split_once(';') {
            None => (member, 1000),
            Some((name, weight)) => (trim(name), qvalue(trim(weight).to_lowercase().strip_prefix("q=")?)?),
        };
        if !is_token(name) {
            return None;
        }
        set.insert((name.to_ascii_lowercase(), weight));
    }
    Some(set)
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn qvalue(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !["0", "1"].contains(&whole)
        || fraction.len() > 3
        || !fraction.chars().all(|char| char.is_ascii_digit())
    {
        return None;
    }
    let thousandths: u32 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}
