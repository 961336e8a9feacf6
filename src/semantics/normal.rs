//! One spelling for requests that ask for the same thing. (RFC 9111 §4.1)
//!
//! A response that varies is reused for every request with the same *normal* values, and the origin sees the normal
//! form of what it may choose by, so that no answer is chosen by something the cache does not compare.
//!
//! [`rewrite`] is for a request on its way to the origin. A lookup leaves the request alone and compares: usually the
//! bytes are those of the request that filled the object, and a hit needs neither the form nor memory for it.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::headers::only_line;
use crate::policy::Normalise;

/// A field value in normal form. Usual values take no allocation.
pub type NormalValue = SmallVec<[u8; 256]>;

/// The normal form of a field, all its lines combined, or `None` if the field is absent, which is not the same as
/// empty. The normal form is made of bytes a field value may have, and is its own normal form.
///
/// `normalise` says whether weighted lists are put in order; the white space of a field never counts.
pub fn normal_form(name: &HeaderName, headers: &HeaderMap, normalise: Normalise) -> Option<NormalValue> {
    let mut lines = headers.get_all(name).iter();
    let mut combined = NormalValue::from_slice(lines.next()?.as_bytes());
    // RFC 9110 §5.2 combines lines with a comma, RFC 9113 §8.2.3 those of `Cookie` with a semicolon.
    let separator: &[u8] = if *name == header::COOKIE { b"; " } else { b"," };
    for line in lines {
        combined.extend_from_slice(separator);
        combined.extend_from_slice(line.as_bytes());
    }
    Some(if *name == header::COOKIE {
        combined
    } else if is_ordered(name, normalise) {
        weighted_list(&combined).unwrap_or_else(|| without_space_at_commas(&combined))
    } else {
        without_space_at_commas(&combined)
    })
}

/// Puts the fields that `normalise` names in normal form.
pub fn rewrite(headers: &mut HeaderMap, normalise: Normalise) {
    for name in [header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE] {
        if !is_ordered(&name, normalise) {
            continue;
        }
        let Some(value) = normal_form(&name, headers, normalise) else {
            continue;
        };
        if only_line(headers, &name).is_none_or(|line| line.as_bytes() != value.as_slice()) {
            let value = HeaderValue::from_bytes(&value).expect("parts of field values make a field value");
            headers.insert(name, value);
        }
    }
}

fn is_ordered(name: &HeaderName, normalise: Normalise) -> bool {
    (*name == header::ACCEPT_ENCODING && normalise.accept_encoding)
        || (*name == header::ACCEPT_LANGUAGE && normalise.accept_language)
}

/// Drops optional white space around list commas and at the ends. Quoted strings are left as they are.
fn without_space_at_commas(value: &[u8]) -> NormalValue {
    let mut normal = NormalValue::new();
    let mut quoted = false;
    let mut escaped = false;
    // The length up to which `normal` must not be trimmed: a quoted string ends there.
    let mut kept = 0;
    for &byte in value {
        if quoted {
            normal.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    quoted = false;
                    kept = normal.len();
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b',' => {
                trim_end(&mut normal, kept);
                normal.push(byte);
            }
            b' ' | b'\t' if normal.last().is_none_or(|&last| last == b',') => {}
            _ => {
                quoted = byte == b'"';
                normal.push(byte);
            }
        }
    }
    if !quoted {
        trim_end(&mut normal, kept);
    }
    normal
}

fn trim_end(value: &mut NormalValue, kept: usize) {
    while value.len() > kept && matches!(value.last(), Some(b' ' | b'\t')) {
        value.pop();
    }
}

/// The members of `Accept-Encoding` or `Accept-Language` (RFC 9110 §12.5.3, §12.5.4): in lower case, the most wanted
/// first, equals by name, each once. Order in the field means nothing; weight does, and `q=0` refuses.
///
/// `None` when a member is malformed: what an origin makes of it is unknown.
fn weighted_list(value: &[u8]) -> Option<NormalValue> {
    let mut members: SmallVec<[(u16, &[u8]); 16]> = SmallVec::new();
    for member in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if !member.is_empty() {
            members.push(weighted(member)?);
        }
    }
    members.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| lower(a.1).cmp(lower(b.1))));
    members.dedup_by(|a, b| a.0 == b.0 && a.1.eq_ignore_ascii_case(b.1));

    let mut normal = NormalValue::new();
    for (position, (weight, name)) in members.into_iter().enumerate() {
        if position > 0 {
            normal.push(b',');
        }
        normal.extend(lower(name));
        match weight {
            1000 => {}
            0 => normal.extend_from_slice(b";q=0"),
            _ => {
                normal.extend_from_slice(b";q=0.");
                let digits = [weight / 100, weight / 10 % 10, weight % 10].map(|digit| b'0' + digit as u8);
                let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
                normal.extend_from_slice(&digits[..digits.len() - zeros]);
            }
        }
    }
    Some(normal)
}

/// One member: its weight in thousandths and its name (RFC 9110 §12.4.2).
fn weighted(member: &[u8]) -> Option<(u16, &[u8])> {
    let (name, weight) = match member.iter().position(|&byte| byte == b';') {
        Some(at) => (member[..at].trim_ascii_end(), parse_weight(member[at + 1..].trim_ascii_start())?),
        None => (member, 1000),
    };
    let is_token = !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    is_token.then_some((weight, name))
}

fn parse_weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), fraction @ ..] = parameter else {
        return None;
    };
    let digits = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut weight = u16::from(*whole - b'0') * 1000;
    for (digit, worth) in digits.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += u16::from(*digit - b'0') * worth;
    }
    (weight <= 1000).then_some(weight)
}

fn lower(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.iter().map(u8::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|&line| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    fn normal(name: &'static str, lines: &[&'static str]) -> Option<String> {
        let name = HeaderName::from_static(name);
        let headers = map(&name, lines);
        normal_form(&name, &headers, Normalise::default())
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn requests_that_ask_for_the_same_thing_have_one_spelling() {
        // RFC 9111 §4.1
        for (name, lines, expected) in [
            // Any field: lines combined, white space at commas dropped, the rest kept.
            ("foo", &[][..], None),
            ("foo", &[""], Some("")),
            ("foo", &["1, 2"], Some("1,2")),
            ("foo", &["1", "2"], Some("1,2")),
            ("foo", &[" 1 ,\t2 "], Some("1,2")),
            ("foo", &["2,1"], Some("2,1")),
            ("foo", &["1,,2"], Some("1,,2")),
            ("foo", &["a  b"], Some("a  b")),
            ("foo", &["A"], Some("A")),
            ("foo", &["\"a , b\" , c"], Some("\"a , b\",c")),
            ("foo", &["\"a \\\" , b \" , c"], Some("\"a \\\" , b \",c")),
            ("foo", &["\"a , b "], Some("\"a , b ")),
            // RFC 9113 §8.2.3
            ("cookie", &["a=1", "b=2"], Some("a=1; b=2")),
            ("cookie", &["a=1 , 2"], Some("a=1 , 2")),
            // Weighted lists: order, case, spelling of weights and empty members do not count.
            ("accept-encoding", &[""], Some("")),
            ("accept-encoding", &["gzip, deflate, br"], Some("br,deflate,gzip")),
            ("accept-encoding", &["BR", "gzip,,deflate"], Some("br,deflate,gzip")),
            ("accept-encoding", &["gzip ; Q=0.50, br;q=1.000"], Some("br,gzip;q=0.5")),
            ("accept-encoding", &["gzip, Gzip"], Some("gzip")),
            ("accept-encoding", &["identity;q=0.000, *;q=0"], Some("*;q=0,identity;q=0")),
            ("accept-encoding", &["gzip;q=0.125"], Some("gzip;q=0.125")),
            ("accept-encoding", &["gzip;q=0.001"], Some("gzip;q=0.001")),
            ("accept-language", &["en, de"], Some("de,en")),
            ("accept-language", &["de-CH;q=0.9 , EN"], Some("en,de-ch;q=0.9")),
            // A malformed member: only what holds for any field.
            ("accept-encoding", &["gzip, br;q=2"], Some("gzip,br;q=2")),
            ("accept-encoding", &["gzip, br;q=1.001"], Some("gzip,br;q=1.001")),
            ("accept-encoding", &["gzip, br;q=0.1234"], Some("gzip,br;q=0.1234")),
            ("accept-encoding", &["gzip, br;x=1"], Some("gzip,br;x=1")),
            ("accept-language", &["en, ;q=1"], Some("en,;q=1")),
        ] {
            let form = normal(name, lines);
            assert_eq!(form.as_deref(), expected, "{name}: {lines:?}");
            if let Some(form) = form {
                let again = normal(name, &[Box::leak(form.clone().into_boxed_str())]);
                assert_eq!(again, Some(form), "{name}: {lines:?}, once more");
            }
        }
    }

    #[test]
    fn fields_the_policy_leaves_alone_keep_their_order() {
        let off = Normalise { accept_encoding: false, accept_language: false };
        for name in [header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE] {
            let mut headers = map(&name, &["b , A;q=1.0", "c"]);
            let form = normal_form(&name, &headers, off);
            assert_eq!(form.as_deref(), Some(&b"b,A;q=1.0,c"[..]), "{name}");
            rewrite(&mut headers, off);
            assert_eq!(headers, map(&name, &["b , A;q=1.0", "c"]), "{name}");
        }
    }

    #[test]
    fn a_request_is_rewritten_into_normal_form() {
        for (lines, expected) in [
            (&[][..], &[][..]),
            (&["gzip, br"], &["br,gzip"]),
            (&["gzip", "br"], &["br,gzip"]),
            (&["br,gzip"], &["br,gzip"]),
            (&[""], &[""]),
        ] {
            let mut headers = map(&header::ACCEPT_ENCODING, lines);
            rewrite(&mut headers, Normalise::default());
            assert_eq!(headers, map(&header::ACCEPT_ENCODING, expected), "{lines:?}");
        }
        let mut headers = map(&header::ACCEPT, &["text/plain, */*"]);
        rewrite(&mut headers, Normalise::default());
        assert_eq!(headers[header::ACCEPT], "text/plain, */*");
    }
}
