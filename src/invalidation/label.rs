//! Tags and groups as the log compares them.

/// A tag, of any origin.
pub(crate) fn tag(tag: &str) -> Box<[u8]> {
    [b"t", tag.as_bytes()].concat().into()
}

/// A group, which is one of its origin's (RFC 9875 §2): `origin` as it stands in a key.
pub(crate) fn group(origin: &[u8], group: &str) -> Box<[u8]> {
    [b"g", origin, group.as_bytes()].concat().into()
}

pub(crate) fn is_tag(label: &[u8]) -> bool {
    label.starts_with(b"t")
}

/// What [`tag`] was made of.
pub(crate) fn tag_name(label: &[u8]) -> String {
    name(label.get(1..))
}

/// What [`group`] was made of.
pub(crate) fn group_name(origin: &[u8], label: &[u8]) -> String {
    name(label.get(1 + origin.len()..))
}

fn name(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
