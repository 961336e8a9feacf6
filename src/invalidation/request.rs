//! What is to be cleared: [`Invalidation`].

use std::error::Error;
use std::fmt;

use http::{HeaderMap, Uri};

use super::label;
use super::scope::{Prefix, Scope};
use crate::key::{KeyBuf, KeyPolicy, Select, authority_part, origin_part, rewritten_uri};
use crate::semantics::labels::{MAX_TAG, normal_tag};

/// What is to be cleared.
///
/// Scopes are joined with [`and`](Self::and); one invalidation is one batch. Unless it is [`soft`](Self::soft), what it
/// names is gone: not served stale, and not revalidated.
///
/// ```
/// use tower_edge::Invalidation;
///
/// # fn main() -> Result<(), tower_edge::ScopeError> {
/// let all_of_it = Invalidation::paths(["/news/*", "/index.html"])?
///     .and(Invalidation::tags(["news"])?)
///     .reference("release-7");
/// # let _ = all_of_it;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    pub(crate) scopes: Vec<Scope>,
    /// Of what they name, that with a query.
    pub(crate) queries: Vec<Queried>,
    /// How many paths it counts for, and how many of them are wildcards.
    pub(crate) paths: u64,
    pub(crate) wildcards: u64,
    pub(crate) soft: bool,
    pub(crate) reference: Option<String>,
}

impl Invalidation {
    fn new(scopes: Vec<Scope>, paths: u64, wildcards: u64) -> Self {
        Self { scopes, queries: Vec::new(), paths, wildcards, soft: false, reference: None }
    }

    /// Objects at these paths, on any host: all their variants, whatever headers and cookies they are keyed by.
    ///
    /// A path is compared as it stands in a request, case and percent-encoding included. Its query is part of it: `/a`
    /// does not clear `/a?b`. A `*` at the end stands for anything, a query included; elsewhere it stands for itself.
    ///
    /// # Errors
    /// If a path does not start with `/`, or holds a character that cannot stand in a request's target; the error says
    /// which path, and where.
    pub fn paths<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Result<Self, ScopeError> {
        Self::of_paths(None, paths)
    }

    /// The same on one host, with its port if it is not the scheme's own, such as `www.example.com`.
    ///
    /// # Errors
    /// Like [`paths`](Self::paths), and if the host is none.
    pub fn host_paths<P: AsRef<str>>(
        host: &str,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, ScopeError> {
        Self::of_paths(Some(host), paths)
    }

    fn of_paths<P: AsRef<str>>(
        host: Option<&str>,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, ScopeError> {
        let mut this = Self::new(Vec::new(), 0, 0);
        for path in paths {
            this.add_path(host, path.as_ref())?;
        }
        Ok(this)
    }

    fn add_path(&mut self, host: Option<&str>, path: &str) -> Result<(), ScopeError> {
        check_path(path)?;
        self.paths += 1;
        if path.contains('?') {
            self.queries.push(Queried::Path { host: host.map(str::to_owned), path: path.to_owned() });
        }
        if let Some(text) = path.strip_suffix('*') {
            self.wildcards += 1;
            // Two schemes may spell one host with different ports.
            let authorities = match host {
                Some(host) => {
                    let mut both = origins(host, "/")?.map(|key| Some(authority_part(&key).into())).to_vec();
                    both.dedup();
                    both
                }
                None => vec![None],
            };
            let prefix = |authority| Scope::Prefix(Prefix { authority, text: text.into() });
            self.scopes.extend(authorities.into_iter().map(prefix));
        } else if let Some(host) = host {
            self.scopes.extend(origins(host, path)?.map(Scope::Uri));
        } else {
            let (path, query) = match path.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (path, None),
            };
            self.scopes.push(Scope::path(path, query));
        }
        Ok(())
    }

    /// The object at one URL, such as `https://www.example.com/a?b`, in all its variants.
    ///
    /// # Errors
    /// If it is no absolute `http` or `https` URL.
    pub fn url(url: &str) -> Result<Self, ScopeError> {
        let (uri, key) = parse_url(url)?;
        let this = Self::new(vec![Scope::Uri(key.as_bytes().into())], 1, 0);
        Ok(Self { queries: vec![Queried::Url(uri)], ..this })
    }

    /// Objects with any of these tags, whose case does not matter.
    ///
    /// # Errors
    /// If a tag is empty, longer than 256 characters, or holds white space, a comma or anything but visible ASCII.
    pub fn tags<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> Result<Self, ScopeError> {
        let mut scopes = Vec::new();
        for tag in tags {
            scopes.push(Scope::Label(label::tag(&checked_tag(tag.as_ref())?)));
        }
        let paths = scopes.len() as u64;
        Ok(Self::new(scopes, paths, 0))
    }

    /// Objects of one origin, such as `https://www.example.com`, in any of these groups (RFC 9875).
    ///
    /// # Errors
    /// If the origin is none.
    pub fn groups<G: AsRef<str>>(
        origin: &str,
        groups: impl IntoIterator<Item = G>,
    ) -> Result<Self, ScopeError> {
        let wrong = || ScopeError::new(origin, 0, "is no origin such as https://www.example.com");
        let uri: Uri = origin.parse().map_err(|_| wrong())?;
        let key = KeyBuf::of_uri(&uri, &HeaderMap::new(), false).map_err(|_| wrong())?;
        let origin = origin_part(key.as_bytes());
        let group = |group: G| Scope::Label(label::group(origin, group.as_ref()));
        let scopes: Vec<_> = groups.into_iter().map(group).collect();
        let paths = scopes.len() as u64;
        Ok(Self::new(scopes, paths, 0))
    }

    /// Objects in any of these groups on one host, by either scheme. Each counts as one path.
    ///
    /// # Errors
    /// If the host is none.
    pub fn host_groups<G: AsRef<str>>(
        host: &str,
        groups: impl IntoIterator<Item = G>,
    ) -> Result<Self, ScopeError> {
        let origins = origins(host, "/")?;
        let mut this = Self::new(Vec::new(), 0, 0);
        for group in groups {
            let of = |key: &[u8]| Scope::Label(label::group(origin_part(key), group.as_ref()));
            this.scopes.extend(origins.iter().map(|key| of(key)));
            this.paths += 1;
        }
        Ok(this)
    }

    /// Every object. Counts as one path.
    pub fn all() -> Self {
        Self::new(vec![Scope::All], 1, 1)
    }

    /// What writes made. It counts for no path, unlike what an operator makes.
    pub(crate) fn by_writes(scopes: Vec<Scope>) -> Self {
        Self::new(scopes, 0, 0)
    }

    pub(crate) fn is_by_writes(&self) -> bool {
        self.paths == 0
    }

    /// This and what `other` names. The whole is soft only if both are.
    pub fn and(mut self, other: Self) -> Self {
        self.scopes.extend(other.scopes);
        self.queries.extend(other.queries);
        self.paths += other.paths;
        self.wildcards += other.wildcards;
        self.soft &= other.soft;
        self.reference = self.reference.or(other.reference);
        self
    }

    /// Makes stale instead of taking away: what is named may be revalidated, and served within its stale windows, which
    /// begin now.
    pub fn soft(mut self) -> Self {
        self.soft = true;
        self
    }

    /// The caller's own name for this invalidation. Made again under the same one it does nothing and returns the first
    /// receipt.
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }
}

/// A tag in the form in which it is compared.
pub(crate) fn checked_tag(tag: &str) -> Result<String, ScopeError> {
    normal_tag(tag.as_bytes()).ok_or_else(|| {
        let bad = |c: char| !c.is_ascii_graphic() || c == ',';
        let at = tag.find(bad).unwrap_or_else(|| tag.len().min(MAX_TAG));
        ScopeError::new(tag, at, "is not 1 to 256 visible ASCII characters without comma")
    })
}

/// A URL, and the key of what has no more than that in its key.
pub(crate) fn parse_url(url: &str) -> Result<(Uri, KeyBuf), ScopeError> {
    let parsed = url.parse::<Uri>().ok().and_then(|uri| {
        let key = KeyBuf::of_uri(&uri, &HeaderMap::new(), false).ok()?;
        Some((uri, key))
    });
    parsed.ok_or_else(|| ScopeError::new(url, 0, "is no absolute http or https URL"))
}

/// A path or URL with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Queried {
    Path { host: Option<String>, path: String },
    Url(Uri),
}

impl Queried {
    /// The scopes of what is stored for it, where a policy leaves parameters of a query out of the key.
    pub(super) fn as_keyed<'a>(&self, policy_for: impl Fn(&Uri) -> &'a KeyPolicy) -> Vec<Scope> {
        let keyed = match self {
            Self::Url(url) => {
                let keyed = rewritten_uri(url, policy_for(url));
                (keyed != *url).then(|| Invalidation::url(&keyed.to_string()))
            }
            Self::Path { host, path } => {
                // A beginning of a query may be that of any.
                let beginning = path.strip_suffix('*').and_then(|path| path.split_once('?'));
                let bare = beginning.map_or(path.as_str(), |(path, _)| path);
                bare.parse::<Uri>().ok().and_then(|uri| {
                    let policy = policy_for(&uri);
                    let keyed = rewritten_uri(&uri, policy);
                    let paths = match beginning {
                        Some((path, _)) if policy.query != Select::All => {
                            vec![path.to_owned(), format!("{path}?*")]
                        }
                        None if keyed != uri => vec![keyed.to_string()],
                        _ => return None,
                    };
                    Some(Invalidation::of_paths(host.as_deref(), paths))
                })
            }
        };
        // They are parts of what could be named.
        keyed.and_then(Result::ok).map_or_else(Vec::new, |keyed| keyed.scopes)
    }
}

/// The keys of a path on a host, by either scheme.
fn origins(host: &str, path: &str) -> Result<[Box<[u8]>; 2], ScopeError> {
    let key = |scheme: &str| {
        let uri: Uri = format!("{scheme}://{host}{path}").parse().ok()?;
        let key = KeyBuf::of_uri(&uri, &HeaderMap::new(), false).ok()?;
        (uri.authority()?.as_str() == host).then(|| key.as_bytes().into())
    };
    match (key("http"), key("https")) {
        (Some(http), Some(https)) => Ok([http, https]),
        _ => Err(ScopeError::new(host, 0, "is no host")),
    }
}

/// The longest path an invalidation may name.
const MAX_PATH: usize = 4_000;

fn check_path(path: &str) -> Result<(), ScopeError> {
    let wrong = |position, reason| Err(ScopeError::new(path, position, reason));
    if !path.starts_with('/') {
        return wrong(0, "does not start with '/'");
    }
    if path.len() > MAX_PATH {
        return wrong(MAX_PATH, "is longer than 4000 characters");
    }
    // `http::Uri`, and so a request, has `"` in a path and "`" in a query, though RFC 3986 does not.
    let query = path.find('?').unwrap_or(path.len());
    let encoded = |at, c: char| match c {
        '<' | '>' => true,
        '"' => at > query,
        '`' => at < query,
        _ => !c.is_ascii_graphic(),
    };
    if let Some((at, _)) = path.char_indices().find(|&(at, c)| encoded(at, c)) {
        return wrong(at, "has a character that must be percent-encoded");
    }
    match path.find('#') {
        Some(at) => wrong(at, "has a fragment, which no request carries"),
        None => Ok(()),
    }
}

/// A path, URL, tag, host or origin that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeError {
    text: String,
    position: usize,
    reason: &'static str,
}

impl ScopeError {
    fn new(text: &str, position: usize, reason: &'static str) -> Self {
        Self { text: text.to_owned(), position, reason }
    }

    /// The byte where it goes wrong.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} (at byte {})", self.text, self.reason, self.position)
    }
}

impl Error for ScopeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_named_is_an_error_with_its_place() {
        for (path, position) in [
            ("x", 0),
            ("", 0),
            ("/a b", 2),
            ("/\u{e9}", 1),
            ("/a#b", 2),
            ("/a<", 2),
            ("/`?`", 1),
            ("/\"?a\"", 4),
        ] {
            let error = Invalidation::paths([path]).unwrap_err();
            assert_eq!(error.position(), position, "{error}");
            assert!(error.to_string().contains(&format!("{path:?}")), "{error}");
        }
        assert!(Invalidation::paths(["/", "/a?b=c&d", "/%C3%A9", "/*", "/a*b", "/a/*"]).is_ok());
        // Whatever a request can carry can be named, with a host and without.
        for c in (0..=127).map(char::from).filter(|c| *c != '#') {
            for path in [format!("/{c}x"), format!("/?{c}x")] {
                let carried = format!("http://a{path}").parse::<Uri>().is_ok();
                assert_eq!(Invalidation::paths([&path]).is_ok(), carried, "{path}");
                assert_eq!(Invalidation::host_paths("a", [&path]).is_ok(), carried, "{path}");
            }
        }
        for (tag, position) in [("", 0), ("a b", 1), ("a,b", 1), ("\u{e9}", 0)] {
            assert_eq!(Invalidation::tags([tag]).unwrap_err().position(), position, "{tag}");
        }
        for url in ["/a", "a.example/x", "ftp://a/x", ""] {
            assert!(Invalidation::url(url).is_err(), "{url}");
        }
        for host in ["", "a/b", "user@a", "a b", "a:x"] {
            assert!(Invalidation::host_paths(host, ["/x"]).is_err(), "{host}");
        }
        assert!(Invalidation::groups("www.example.com/", ["g"]).is_err());
    }

    #[test]
    fn a_batch_counts_every_path_and_each_wildcard() {
        let batch = Invalidation::paths(["/a", "/b/*"]).unwrap().and(Invalidation::tags(["t"]).unwrap());
        assert_eq!((batch.paths, batch.wildcards), (3, 1));
        let here = Invalidation::host_paths("a.example", ["/a", "/b/*"]).unwrap();
        assert_eq!((here.paths, here.wildcards), (2, 1));
    }
}
