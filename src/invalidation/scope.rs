//! What a rule is about, and by what number it is found again.

use std::hash::BuildHasher;

use smallvec::SmallVec;

use crate::key::{KeyBuf, authority_part, path_and_query, path_part, uri_part};

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Everything at this scheme, authority, path and query, as they stand in a key.
    Uri(Box<[u8]>),
    /// Everything at this path and query, as they stand in a key, on any host.
    Path(Box<[u8]>),
    /// Everything whose path and query begin like this.
    Prefix(Prefix),
    /// Everything with this tag or group.
    Label(Box<[u8]>),
    /// Everything.
    All,
}

/// The beginning of a path with its query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Prefix {
    /// The authority as it stands in a key; `None` for any.
    pub(crate) authority: Option<Box<[u8]>>,
    pub(crate) text: Box<str>,
}

impl Scope {
    pub(crate) fn path(path: &str, query: Option<&str>) -> Self {
        Self::Path(KeyBuf::of_path(path, query).as_bytes().into())
    }

    /// How long what it names is.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Uri(name) | Self::Path(name) | Self::Label(name) => name.len(),
            Self::Prefix(Prefix { authority, text }) => {
                authority.as_ref().map_or(0, |authority| authority.len()) + text.len()
            }
            Self::All => 0,
        }
    }
}

/// A scope as the rules keep it: 64 bits, whatever the length of what it names, which who writes chooses. Two scopes of
/// the same hash are one, so it may happen (once in 2^64 pairs) that too much goes, never too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Exact(u64),
    Label(u64),
    /// With its length, by which the beginning of a path is cut off before it is looked up.
    Prefix(u64, Reach, usize),
    All,
}

/// On which hosts a prefix counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Anywhere,
    OneHost,
}

/// Makes names. Seeded, so that nobody outside can choose two that meet.
#[derive(Debug, Default)]
pub(super) struct Names(foldhash::quality::RandomState);

impl Names {
    pub(super) fn of(&self, scope: &Scope) -> Name {
        match scope {
            Scope::Uri(uri) => Name::Exact(self.uri(uri)),
            Scope::Path(path) => Name::Exact(self.path(path)),
            Scope::Label(label) => Name::Label(self.label(label)),
            Scope::All => Name::All,
            Scope::Prefix(Prefix { authority, text }) => {
                let reach = authority.as_ref().map_or(Reach::Anywhere, |_| Reach::OneHost);
                Name::Prefix(self.prefix(authority.as_deref(), text.as_bytes()), reach, text.len())
            }
        }
    }

    /// The exact scopes that a key is in.
    pub(super) fn exact(&self, key: &[u8]) -> [u64; 2] {
        [self.uri(uri_part(key)), self.path(path_part(key))]
    }

    pub(super) fn label(&self, label: &[u8]) -> u64 {
        self.0.hash_one((2u8, label))
    }

    /// The prefix of a text.
    pub(super) fn prefix(&self, authority: Option<&[u8]>, text: &[u8]) -> u64 {
        self.0.hash_one((3u8, authority, text))
    }

    fn uri(&self, uri: &[u8]) -> u64 {
        self.0.hash_one((0u8, uri))
    }

    fn path(&self, path: &[u8]) -> u64 {
        self.0.hash_one((1u8, path))
    }
}

/// What prefixes are compared with: a key's path and query as one text, and its authority.
pub(super) struct Text<'a> {
    pub(super) authority: &'a [u8],
    pub(super) text: SmallVec<[u8; 128]>,
}

impl<'a> Text<'a> {
    pub(super) fn of(key: &'a [u8]) -> Self {
        let (path, query) = path_and_query(key);
        let mut text = SmallVec::from_slice(path);
        if let Some(query) = query {
            text.push(b'?');
            text.extend_from_slice(query);
        }
        Self { authority: authority_part(key), text }
    }
}
