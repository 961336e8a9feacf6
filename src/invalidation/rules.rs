//! The rules of the log, indexed so that one object is judged in a few look-ups, however many rules wait for their sweep.

use std::collections::HashMap;
use std::time::Duration;

use crate::key::{KeyBuf, authority_part, path_and_query, path_part, uri_part};

/// More rules than this cannot be pending; the log then falls back to invalidating everything.
pub(super) const MAX_RULES: usize = 65_536;
/// Nor may what they are about take more than this many bytes: who writes chooses how long a path is.
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Prefixes are tried one by one, so fewer of them may wait.
const MAX_PREFIXES: usize = 256;

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
    pub(super) authority: Option<Box<[u8]>>,
    pub(super) text: Box<str>,
}

impl Scope {
    pub(crate) fn path(path: &str, query: Option<&str>) -> Self {
        Self::Path(KeyBuf::of_path(path, query).as_bytes().into())
    }
}

impl Prefix {
    fn matches(&self, key: &[u8]) -> bool {
        if self.authority.as_ref().is_some_and(|authority| **authority != *authority_part(key)) {
            return false;
        }
        let (path, query) = path_and_query(key);
        let wanted = self.text.as_bytes();
        match wanted.split_at_checked(path.len()) {
            None => path.starts_with(wanted),
            Some((start, [])) => path == start,
            Some((start, [b'?', rest @ ..])) => {
                path == start && query.is_some_and(|query| query.starts_with(rest))
            }
            Some(_) => false,
        }
    }
}

/// The last rules for one scope. Older ones for the same scope say nothing more.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    hard: u64,
    soft: u64,
    /// When the soft one came.
    soft_at: Duration,
}

impl Last {
    fn note(&mut self, number: u64, soft: Option<Duration>) {
        match soft {
            Some(at) => (self.soft, self.soft_at) = (number, at),
            None => self.hard = number,
        }
    }

    fn number(&self) -> u64 {
        self.hard.max(self.soft)
    }
}

#[derive(Debug, Default)]
pub(super) struct Rules {
    uris: HashMap<Box<[u8]>, Last>,
    paths: HashMap<Box<[u8]>, Last>,
    prefixes: Vec<(Prefix, Last)>,
    labels: HashMap<Box<[u8]>, Last>,
    /// The last rule about any label, for objects whose labels are not known yet.
    any_label: Last,
    all: Last,
    /// The last rule that retired.
    retired: u64,
    /// Bytes of the scopes.
    bytes: usize,
}

impl Scope {
    fn bytes(&self) -> usize {
        match self {
            Self::Uri(bytes) | Self::Path(bytes) | Self::Label(bytes) => bytes.len(),
            Self::Prefix(prefix) => prefix.text.len(),
            Self::All => 0,
        }
    }
}

impl Rules {
    pub(super) fn add(&mut self, scope: Scope, number: u64, soft: Option<Duration>) {
        // What is named again is counted again, until the next retirement counts anew.
        self.bytes += scope.bytes();
        let last = match scope {
            Scope::Uri(uri) => self.uris.entry(uri).or_default(),
            Scope::Path(path) => self.paths.entry(path).or_default(),
            Scope::Label(label) => {
                self.any_label.note(number, soft);
                self.labels.entry(label).or_default()
            }
            Scope::All => &mut self.all,
            Scope::Prefix(prefix) => {
                let at = self.prefixes.iter().position(|(other, _)| *other == prefix).unwrap_or_else(|| {
                    self.prefixes.push((prefix, Last::default()));
                    self.prefixes.len() - 1
                });
                &mut self.prefixes[at].1
            }
        };
        last.note(number, soft);
        if self.len() > MAX_RULES || self.prefixes.len() > MAX_PREFIXES || self.bytes > MAX_BYTES {
            *self = Self { all: Last { hard: number, ..self.all }, retired: self.retired, ..Self::default() };
        }
    }

    /// The rule later than `since` that takes something away.
    pub(super) fn hard(&self, key: &[u8], labels: Option<&[Box<[u8]>]>, since: u64) -> Option<u64> {
        let last = self.last(key, labels, |last| last.hard).map_or(0, |last| last.hard);
        // What was last checked before rules that are gone was out of the store when they were applied to it.
        Some(last.max(self.retired)).filter(|number| *number > since)
    }

    /// The rule later than `since` that makes something stale, and when it came.
    pub(super) fn soft(
        &self,
        key: &[u8],
        labels: Option<&[Box<[u8]>]>,
        since: u64,
    ) -> Option<(u64, Duration)> {
        let last = self.last(key, labels, |last| last.soft)?;
        (last.soft > since).then_some((last.soft, last.soft_at))
    }

    /// Of all that matches, the last by `number`.
    fn last(&self, key: &[u8], labels: Option<&[Box<[u8]>]>, number: impl Fn(&Last) -> u64) -> Option<Last> {
        let exact = |map: &HashMap<Box<[u8]>, Last>, part: fn(&[u8]) -> &[u8]| {
            if map.is_empty() { None } else { map.get(part(key)).copied() }
        };
        let labelled = match labels {
            None => Some(self.any_label),
            Some(_) if self.labels.is_empty() => None,
            Some(labels) => {
                labels.iter().filter_map(|label| self.labels.get(label)).copied().max_by_key(&number)
            }
        };
        let prefixed = self
            .prefixes
            .iter()
            .filter(|(prefix, _)| prefix.matches(key))
            .map(|(_, last)| *last)
            .max_by_key(&number);
        [Some(self.all), exact(&self.uris, uri_part), exact(&self.paths, path_part), labelled, prefixed]
            .into_iter()
            .flatten()
            .max_by_key(&number)
    }

    pub(super) fn retire(&mut self, number: u64) {
        self.uris.retain(|_, last| last.number() > number);
        self.paths.retain(|_, last| last.number() > number);
        self.labels.retain(|_, last| last.number() > number);
        self.prefixes.retain(|(_, last)| last.number() > number);
        // Nothing grows with `all` and `any_label`, so they stay.
        self.retired = self.retired.max(number);
        let maps = [&self.uris, &self.paths, &self.labels];
        self.bytes = maps.into_iter().flat_map(HashMap::keys).map(|scope| scope.len()).sum();
        self.bytes += self.prefixes.iter().map(|(prefix, _)| prefix.text.len()).sum::<usize>();
    }

    pub(super) fn retired(&self) -> u64 {
        self.retired
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.uris.len() + self.paths.len() + self.labels.len() + self.prefixes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_runs_over_path_and_query() {
        let key = |uri: &str| {
            KeyBuf::of_uri(&uri.parse().unwrap(), &http::HeaderMap::new(), false).unwrap().as_bytes().to_vec()
        };
        for (prefix, uri, matches) in [
            ("/", "http://a/", true),
            ("/", "http://a/x?q", true),
            ("/im", "http://a/images/1", true),
            ("/images/", "http://a/images/1", true),
            ("/images/", "http://a/images", false),
            ("/images/", "http://a/Images/1", false),
            ("/x", "http://a/x?q", true),
            ("/x?", "http://a/x?q", true),
            ("/x?", "http://a/x?", true),
            ("/x?", "http://a/x", false),
            ("/x?q=1", "http://a/x?q=12", true),
            ("/x?q=1", "http://a/x?q=2", false),
            ("/x?q", "http://a/xyz", false),
            ("/xy", "http://a/x?y", false),
        ] {
            let prefix = Prefix { authority: None, text: prefix.into() };
            assert_eq!(prefix.matches(&key(uri)), matches, "{prefix:?} {uri}");
        }
        let here = Prefix { authority: Some(authority_part(&key("http://a/")).into()), text: "/".into() };
        assert!(here.matches(&key("http://a/x")) && here.matches(&key("https://a/x")));
        assert!(!here.matches(&key("http://b/x")));
    }
}
