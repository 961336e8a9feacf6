//! What a key holds: one response, or those that a `Vary` tells apart.

use std::sync::Arc;

use http::HeaderMap;

use super::stored::Stored;
use crate::invalidation::{Check, Log};

/// The variants of one key, newest first. Cloning one costs one count.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    One(Arc<Stored>),
    Many(Arc<[Arc<Stored>]>),
}

/// What a slot has for a request.
#[derive(Debug)]
pub(crate) enum Selected {
    Variant(Arc<Stored>),
    /// There are variants, newest first, and none is for this request.
    Other(Vec<Arc<Stored>>),
    /// Nothing that may still be used.
    Nothing,
}

impl Slot {
    fn new(mut variants: Vec<Arc<Stored>>) -> Option<Self> {
        match variants.len() {
            0 => None,
            1 => variants.pop().map(Self::One),
            _ => Some(Self::Many(variants.into())),
        }
    }

    /// The variants `before` that no invalidation covers, and one more response; `None` if that one is older than what
    /// it would replace, or does not fit.
    pub(super) fn with(
        before: &[Arc<Stored>],
        stored: Arc<Stored>,
        max_variants: usize,
        room: u64,
    ) -> Option<Self> {
        let same = |other: &Arc<Stored>| other.head.vary == stored.head.vary;
        // A part is no reason to let go of the whole.
        let newer = |other: &Arc<Stored>| {
            other.head.order > stored.head.order || (other.is_whole() && !stored.is_whole())
        };
        if stored.weight() > room || before.iter().any(|other| same(other) && newer(other)) {
            return None;
        }
        let mut variants: Vec<_> = before.iter().filter(|other| !same(other)).cloned().collect();
        variants.push(stored);
        variants.sort_by_key(|variant| std::cmp::Reverse(variant.head.order));
        variants.truncate(max_variants.max(1));
        while variants.iter().map(|variant| variant.weight()).sum::<u64>() > room {
            variants.pop();
        }
        Self::new(variants)
    }

    pub(super) fn retain(&self, keep: impl Fn(&Stored) -> bool) -> Option<Self> {
        Self::new(self.variants().iter().filter(|stored| keep(stored)).cloned().collect())
    }

    pub(crate) fn variants(&self) -> &[Arc<Stored>] {
        match self {
            Self::One(stored) => std::slice::from_ref(stored),
            Self::Many(stored) => stored,
        }
    }

    pub(super) fn weight(&self) -> u64 {
        self.variants().iter().map(|stored| stored.weight()).sum()
    }

    /// The newest variant for a request, of those that no invalidation covers. Each is judged by its own `Vary`
    /// (RFC 9111 §4.1); one that does not vary gives way to one that does and matches.
    pub(crate) fn select(self, key: &[u8], request: &HeaderMap, log: &Log) -> Selected {
        let variants = match self {
            Self::One(stored) => {
                return match log.passes(Check::Lookup, stored.subject(key)) {
                    false => Selected::Nothing,
                    true if stored.head.vary.matches(request) => Selected::Variant(stored),
                    true => Selected::Other(vec![stored]),
                };
            }
            Self::Many(variants) => variants,
        };
        let current = || variants.iter().filter(|stored| log.passes(Check::Lookup, stored.subject(key)));
        let matching = || current().filter(|stored| stored.head.vary.matches(request));
        let best = matching().find(|stored| !stored.head.vary.is_empty()).or_else(|| matching().next());
        match best {
            Some(stored) => Selected::Variant(Arc::clone(stored)),
            None if current().next().is_some() => Selected::Other(current().cloned().collect()),
            None => Selected::Nothing,
        }
    }
}
