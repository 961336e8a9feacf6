//! By which tags and groups can a response be invalidated? (`Cache-Tag`, `Surrogate-Key`; RFC 9875)

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, List, ListEntry, Parser};

use crate::policy::{TagField, TagSeparator};

/// Where an application names groups of responses (RFC 9875 §2).
pub const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// Where the answer to a write names groups that are invalid now (RFC 9875 §3).
pub const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// A response has no more tags than this; what comes after is not read.
pub const MAX_TAGS: usize = 64;
/// A longer tag or group is passed over.
pub const MAX_TAG: usize = 256;

/// The tags in the fields that a policy names, after those that are `known` already, in lower case: tags have no case.
pub fn tags(response: &HeaderMap, fields: &[TagField], known: &[String]) -> Vec<String> {
    let mut tags = known.to_vec();
    for field in fields {
        for line in response.get_all(&field.name) {
            let is_separator = |byte: &u8| match field.separator {
                TagSeparator::Comma => *byte == b',',
                TagSeparator::Space => *byte == b' ' || *byte == b'\t',
            };
            for tag in line.as_bytes().split(is_separator) {
                if let Some(tag) = normal_tag(tag.trim_ascii())
                    && !tags.contains(&tag)
                {
                    tags.push(tag);
                }
            }
        }
    }
    tags.truncate(MAX_TAGS);
    tags
}

/// A tag as it is compared; `None` for what cannot be one.
pub fn normal_tag(tag: &[u8]) -> Option<String> {
    let valid = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    if tag.is_empty() || tag.len() > MAX_TAG || !tag.iter().all(valid) {
        return None;
    }
    Some(String::from_utf8_lossy(tag).to_ascii_lowercase())
}

/// The groups in a field of RFC 9875: a list of strings. One that is malformed names none.
pub fn groups(fields: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let mut value = Vec::new();
    for line in fields.get_all(name).iter().map(HeaderValue::as_bytes) {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(line);
    }
    let Ok(list) = Parser::new(&value).parse::<List>() else { return Vec::new() };
    let group = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(group) if group.as_str().len() <= MAX_TAG => Some(group.as_str().to_owned()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    list.iter().filter_map(group).take(MAX_TAGS).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::map;
    use super::*;

    #[test]
    fn tags_are_read_from_the_fields_a_policy_names() {
        let fields = TagField::defaults();
        for (lines, expected) in [
            (&[("cache-tag", "a, B ,a,,c d")][..], &["a", "b"][..]),
            (&[("cache-tag", "a"), ("cache-tag", "b")], &["a", "b"]),
            (&[("surrogate-key", "x  y\tZ a,b")], &["x", "y", "z"]),
            (&[("surrogate-key", "x"), ("cache-tag", "x, y")], &["x", "y"]),
            (&[("x-tag", "a")], &[]),
        ] {
            assert_eq!(tags(&map(lines), &fields, &[]), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_response_has_so_many_tags_of_such_a_length_and_no_more() {
        let many: String = (0..100).map(|n| format!("t{n},")).collect();
        let mut headers = HeaderMap::new();
        headers.insert("cache-tag", many.parse().unwrap());
        assert_eq!(tags(&headers, &TagField::defaults(), &[]).len(), MAX_TAGS);
        headers.insert("cache-tag", format!("{},ok", "x".repeat(257)).parse().unwrap());
        assert_eq!(tags(&headers, &TagField::defaults(), &[]), ["ok"]);
    }

    #[test]
    fn groups_are_a_list_of_strings() {
        // RFC 9875 §2: case-sensitive, and a malformed field is as good as absent.
        for (lines, expected) in [
            (&[("cache-groups", r#""a", "B";x=1"#)][..], &["a", "B"][..]),
            (&[("cache-groups", r#""a""#), ("cache-groups", r#""b""#)], &["a", "b"]),
            (&[("cache-groups", r#""a", token, 5, ("b")"#)], &["a"]),
            (&[("cache-groups", r#""a", "b"#)], &[]),
            (&[], &[]),
        ] {
            assert_eq!(groups(&map(lines), &CACHE_GROUPS), expected, "{lines:?}");
        }
    }
}
