//! The cache key: what makes two requests ask for the same thing.
//!
//! A key is built from the request in the very form that is forwarded: [`rewrite`] first drops from the request
//! what the policy leaves out of the key, then [`KeyBuf`] reads what is left. Scheme, authority, path and query are
//! always in it, as typed parts with their lengths in front, so that no two requests can spell the same bytes.

mod authority;
mod bytes;
mod rewrite;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;

pub(crate) use self::bytes::{
    CacheKey, KeyBuf, authority_part, is_slice, more_parts, origin_part, path_and_query, path_part, uri_part,
};
pub(crate) use self::rewrite::{rewrite, rewritten_uri, spell_authority};

/// Which parts of a request make its key. What a rule leaves out is not forwarded either, so that the origin
/// cannot answer differently because of something the key does not know.
///
/// Headers and cookies are by default neither chosen nor dropped: they reach the origin as they came, and the
/// origin's `Vary` tells its answers apart.
///
/// ```
/// use tower_edge::{KeyPolicy, Select};
///
/// // Campaign parameters do not make another object.
/// let key = KeyPolicy {
///     query: Select::AllBut(vec!["utm_source".into(), "utm_campaign".into()]),
///     ..KeyPolicy::default()
/// };
/// # let _ = key;
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyPolicy {
    /// Query parameters, by their raw names. All by default. A pair that holds `;` or `%3b` is always kept.
    pub query: Select,
    /// Header fields. `None` leaves them to the origin's `Vary`. Fields that HTTP itself needs (conditions, ranges,
    /// `Host`, `Authorization`, `Cache-Control`, content negotiation by `Accept-Encoding`, …) are never dropped.
    pub headers: Option<Select>,
    /// Cookies, by name. `None` leaves them to the origin's `Vary`.
    pub cookies: Option<Select>,
    /// More parts, worked out by your own function.
    pub custom: Option<CustomKey>,
}

impl KeyPolicy {
    /// Whether requests are keyed and forwarded as they come.
    fn takes_all(&self) -> bool {
        matches!(self, Self { query: Select::All, headers: None, cookies: None, custom: None })
    }

    /// Tells the keys of one rule for headers, cookies and custom parts from those of another, since what a rule leaves out
    /// leaves no trace in a key. `None` without such a rule.
    ///
    /// The query needs none: what is left of it is in the key, and the origin sees no other.
    fn mark(&self) -> Option<u64> {
        let Self { query: _, headers, cookies, custom } = self;
        if headers.is_none() && cookies.is_none() && custom.is_none() {
            return None;
        }
        let custom = custom.as_ref().map(|custom| custom.id);
        Some(foldhash::quality::FixedState::default().hash_one((headers, cookies, custom)))
    }
}

/// A choice of named things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Select {
    /// Every one.
    #[default]
    All,
    /// Not one.
    None,
    /// These, and no other.
    Only(Vec<String>),
    /// All but these.
    AllBut(Vec<String>),
}

impl Select {
    fn takes(&self, name: &[u8], same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => names.iter().any(|own| same(own.as_bytes(), name)),
            Self::AllBut(names) => !names.iter().any(|own| same(own.as_bytes(), name)),
        }
    }
}

type KeyFn = dyn Fn(&Parts) -> Option<Vec<Vec<u8>>> + Send + Sync;

/// A function that adds parts to the key, or says that the request is not to be cached.
#[derive(Clone)]
pub struct CustomKey {
    parts: Arc<KeyFn>,
    /// Tells functions apart. Clones are the same one.
    id: u64,
}

impl CustomKey {
    /// `parts` gets the request as it will be forwarded and returns parts that are added to scheme, authority, path
    /// and query, each on its own; `None` bypasses the cache.
    pub fn new(parts: impl Fn(&Parts) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { parts: Arc::new(parts), id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    pub(crate) fn parts(&self, request: &Parts) -> Option<Vec<Vec<u8>>> {
        (self.parts)(request)
    }
}

impl fmt::Debug for CustomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomKey(..)")
    }
}

/// Why a request has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// It has no canonical form: no `Host`, two of them, one that contradicts the target, a bad port.
    NotCanonical,
    /// The custom function said so.
    Bypass,
}
