//! Directives for caches like this one: `CDN-Cache-Control` and other targeted fields (RFC 9213).
//!
//! [`effective`] picks the field that counts. Where a targeted field does, `Cache-Control` and `Expires` do not, not
//! even a `private` or `no-store` in them: the origin has said separately what this cache is to do. Everything else
//! stays as it was: the directives mean what they mean in `Cache-Control`, `Age` counts, a viewer's directives hold.
//!
//! A targeted field is a Structured Field, so it is taken whole or not at all. In a field that is well formed a
//! directive may still have a value of the wrong type (`max-age=5.0`, `private=(a)`); RFC 9213 §2.1 only forbids to send
//! that. It is read like its counterpart in `Cache-Control`: no lifetime left, all fields, no permission.
//!
//! `Age`, `Date` and `Expires` leave the edge as they are, and so does `Cache-Control`, even if the targeted lifetime is the
//! longer one and the viewer's cache gets a response that is stale by its own rules. RFC 9213 §2.3 lists three ways
//! to hide that. Each makes a copy look younger than it is, which only an origin that clears every copy can answer for;
//! to ask the edge again costs such a viewer a 304.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::directives::{Fields, ResponseCacheControl};
use super::members::{field_names, integer_seconds};

/// What a response says to this cache: the first of the fields in `targets` that is there and valid, or else
/// `Cache-Control` (RFC 9213 §2.2).
pub fn effective(response: &HeaderMap, targets: &[HeaderName]) -> ResponseCacheControl {
    targets
        .iter()
        .find_map(|target| parse(response, target))
        .unwrap_or_else(|| ResponseCacheControl::parse(response))
}

/// Reads a targeted field. RFC 9213 §2.1: one that is empty or malformed is as good as absent.
fn parse(response: &HeaderMap, field: &HeaderName) -> Option<ResponseCacheControl> {
    let mut lines = response.get_all(field).iter().map(HeaderValue::as_bytes);
    let mut value = lines.next()?.to_vec();
    for line in lines {
        // RFC 9651 §4.2: the lines are parsed as one.
        value.extend_from_slice(b", ");
        value.extend_from_slice(line);
    }
    // RFC 9651 §4.2.2: of two members with one key the dictionary holds the last.
    let members: Dictionary = Parser::new(&value).parse().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut control = ResponseCacheControl { targeted: true, ..ResponseCacheControl::default() };
    for (key, member) in &members {
        // Keys are lower case by the grammar. Parameters are ignored.
        let value = match member {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        match key.as_str() {
            "max-age" => control.max_age = Some(seconds(value).unwrap_or_default()),
            "s-maxage" => control.s_maxage = Some(seconds(value).unwrap_or_default()),
            "no-store" => control.no_store = true,
            "private" => control.private = Some(fields(value)),
            "no-cache" => control.no_cache = Some(fields(value)),
            "must-revalidate" => control.must_revalidate = true,
            "proxy-revalidate" => control.proxy_revalidate = true,
            "no-transform" => control.no_transform = true,
            "public" => control.public = is_true(value),
            "must-understand" => control.must_understand = is_true(value),
            "immutable" => control.immutable = is_true(value),
            "stale-while-revalidate" => control.stale_while_revalidate = seconds(value),
            "stale-if-error" => control.stale_if_error = seconds(value),
            _ => {}
        }
    }
    Some(control)
}

fn is_true(value: Option<&BareItem>) -> bool {
    matches!(value, Some(BareItem::Boolean(true)))
}

fn seconds(value: Option<&BareItem>) -> Option<std::time::Duration> {
    match value? {
        BareItem::Integer(seconds) => integer_seconds((*seconds).into()),
        _ => None,
    }
}

fn fields(value: Option<&BareItem>) -> Fields {
    match value {
        Some(BareItem::String(names)) => field_names(names.as_str().as_bytes()),
        _ => Fields::All,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");
    const OURS: HeaderName = HeaderName::from_static("our-cache-control");

    fn headers(lines: &[(HeaderName, &[u8])]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    fn cdn(lines: &[&[u8]]) -> Option<ResponseCacheControl> {
        let lines: Vec<_> = lines.iter().map(|line| (CDN, *line)).collect();
        parse(&headers(&lines), &CDN)
    }

    fn read(line: &str) -> ResponseCacheControl {
        cdn(&[line.as_bytes()]).unwrap_or_else(|| panic!("{line} is valid"))
    }

    #[test]
    fn what_is_empty_or_malformed_is_absent() {
        // RFC 9213 §2.1, RFC 9651 §4.2.
        let table: &[&[&[u8]]] = &[
            &[],
            &[b""],
            &[b"  "],
            &[b"max-age=60,"],
            &[b",max-age=60"],
            &[b"max-age=60, , no-store"],
            &[b"max-age=60; no-store;, x"],
            &[b"max-age =60"],
            &[b"max-age= 60"],
            &[b"max-age="],
            &[b"Max-Age=60"],
            &[b"max-age=60, &&&"],
            &[b"max-age=60, no-cache=\"a"],
            &[b"max-age=1234567890123456"],
            &[b"max-age=60, x=\xff"],
            &[b"max-age=60, x=\"\xc3\xa9\""],
            &[b"max-age=60", b"Bad"],
            &[b"max-age=60", b""],
        ];
        for lines in table {
            assert_eq!(cdn(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn a_lifetime_is_an_integer_or_none_left() {
        let table: &[(&str, Option<u64>)] = &[
            ("public", None),
            ("max-age=60", Some(60)),
            ("max-age=060", Some(60)),
            ("max-age=0", Some(0)),
            ("max-age=-0", Some(0)),
            ("max-age=2147483649", Some(1 << 31)),
            ("max-age=999999999999999", Some(1 << 31)),
            ("max-age=60;for=you", Some(60)),
            ("x, max-age=60 , y=(1 2);z", Some(60)),
            // Of the wrong type.
            ("max-age", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=60.0", Some(0)),
            ("max-age=\"60\"", Some(0)),
            ("max-age=(60)", Some(0)),
            ("max-age=@60", Some(0)),
            ("max-age=a60", Some(0)),
            // RFC 9651 §3.2: the last one.
            ("max-age=5, max-age=60", Some(60)),
            ("max-age=60, max-age=5", Some(5)),
            ("max-age=x, max-age=60", Some(60)),
        ];
        for (line, expected) in table {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(read(line).max_age, expected, "{line}");
            assert_eq!(read(&line.replace("max-age", "s-maxage")).s_maxage, expected, "{line}");
        }
        assert_eq!(
            cdn(&[b"max-age=5", b"no-store, max-age=60"]).unwrap().max_age,
            Some(Duration::from_secs(60))
        );
    }

    #[test]
    fn flags_restrict_whatever_their_value_and_permit_only_when_true() {
        for value in ["", "=?1", "=?0", "=1", "=\"x\"", "=()"] {
            let control = read(&format!(
                "no-store{value}, must-revalidate{value}, proxy-revalidate{value}, no-transform{value}"
            ));
            assert!(control.no_store && control.must_revalidate && control.proxy_revalidate, "{value}");
            assert!(control.no_transform, "{value}");
            let control = read(&format!("public{value}, must-understand{value}, immutable{value}"));
            let permits = value.is_empty() || value == "=?1";
            assert_eq!([control.public, control.must_understand, control.immutable], [permits; 3], "{value}");
        }
    }

    #[test]
    fn private_and_no_cache_name_fields_or_mean_everything() {
        let named = |names: &[&'static str]| {
            Fields::Named(names.iter().map(|name| HeaderName::from_static(name)).collect())
        };
        for (line, expected) in [
            ("private", Fields::All),
            ("private=?0", Fields::All),
            ("private=a", Fields::All),
            ("private=(\"a\")", Fields::All),
            ("private=\"\"", Fields::All),
            ("private=\"a b\"", Fields::All),
            ("private=\"A, b\"", named(&["a", "b"])),
            ("private, private=\"a\"", named(&["a"])),
        ] {
            assert_eq!(read(line).private, Some(expected.clone()), "{line}");
            assert_eq!(read(&line.replace("private", "no-cache")).no_cache, Some(expected), "{line}");
        }
    }

    #[test]
    fn stale_windows_of_the_wrong_type_are_absent() {
        let control = read("stale-while-revalidate=9, stale-if-error=7.5");
        assert_eq!(control.stale_while_revalidate, Some(Duration::from_secs(9)));
        assert_eq!(control.stale_if_error, None);
    }

    #[test]
    fn the_first_valid_target_counts_and_else_cache_control() {
        // RFC 9213 §2.2.
        let cache_control = http::header::CACHE_CONTROL;
        let targets = [OURS, CDN];
        for (ours, theirs, max_age, targeted) in [
            ("max-age=1", "max-age=2", 1, true),
            ("max-age=1,", "max-age=2", 2, true),
            ("", "max-age=2", 2, true),
            ("max-age=1,", "max-age=2,", 3, false),
        ] {
            let headers = headers(&[
                (cache_control.clone(), b"max-age=3, private"),
                (CDN, theirs.as_bytes()),
                (OURS, ours.as_bytes()),
            ]);
            let control = effective(&headers, &targets);
            assert_eq!(control.max_age, Some(Duration::from_secs(max_age)), "{ours} {theirs}");
            assert_eq!(control.targeted, targeted, "{ours} {theirs}");
            assert_eq!(control.private.is_none(), targeted, "{ours} {theirs}");
            assert_eq!(effective(&headers, &[]), ResponseCacheControl::parse(&headers));
        }
    }

    #[test]
    fn unknown_directives_alone_still_put_cache_control_out_of_force() {
        let headers = headers(&[(CDN, b"x"), (http::header::CACHE_CONTROL, b"max-age=3")]);
        let control = effective(&headers, &[CDN]);
        assert_eq!(control, ResponseCacheControl { targeted: true, ..ResponseCacheControl::default() });
    }
}
