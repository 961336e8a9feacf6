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
