//! Clearing stored objects: [`Invalidator`], [`Invalidation`].
//!
//! An invalidation is in force when the call returns: no request that starts afterwards sees an answer whose fetch
//! from the origin began before. Removing the objects from memory is the work of a sweep in the background.
//!
//! ```
//! use tower_edge::{Edge, Invalidation};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let edge = Edge::builder().build()?;
//! let invalidator = edge.invalidator();
//! invalidator.invalidate(Invalidation::paths(["/index.html", "/news?page=1"])?);
//! invalidator.invalidate(Invalidation::all());
//! # Ok(())
//! # }
//! ```

pub(crate) mod log;
pub(crate) mod sweep;

use std::error::Error;
use std::fmt;

pub(crate) use self::log::{Log, Registration, Scope, Stamp};
use crate::edge::Edge;

/// What is to be cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    scopes: Vec<Scope>,
}

impl Invalidation {
    /// Objects at exactly these paths, on any host: all their variants, whatever headers and cookies they are keyed by. A
    /// query is part of the path: `/a` does not clear `/a?b`.
    ///
    /// # Errors
    /// If a path does not start with `/`, or holds a character that cannot stand in a request's target; the error says
    /// which path, and where.
    pub fn paths<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PathError> {
        let scopes = paths.into_iter().map(|path| path_scope(path.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { scopes })
    }

    /// Every object.
    pub fn all() -> Self {
        Self { scopes: vec![Scope::All] }
    }
}

/// The longest path an invalidation may name.
const MAX_PATH: usize = 4_000;

fn path_scope(path: &str) -> Result<Scope, PathError> {
    let wrong = |position, reason| Err(PathError { path: path.to_owned(), position, reason });
    if !path.starts_with('/') {
        return wrong(0, "does not start with '/'");
    }
    if path.len() > MAX_PATH {
        return wrong(MAX_PATH, "is longer than 4000 characters");
    }
    if let Some((at, _)) = path.char_indices().find(|(_, c)| !c.is_ascii_graphic()) {
        return wrong(at, "has a character that must be percent-encoded");
    }
    if let Some(at) = path.find('#') {
        return wrong(at, "has a fragment, which no request carries");
    }
    if let Some(at) = path.find('*') {
        return wrong(at, "has a wildcard, which is not supported yet");
    }
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    Ok(Scope::path(path, query))
}

/// A path that no invalidation can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    path: String,
    position: usize,
    reason: &'static str,
}

impl PathError {
    /// The byte of the path where it goes wrong.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {:?} {} (at byte {})", self.path, self.reason, self.position)
    }
}

impl Error for PathError {}

/// A handle that clears objects of an edge. Cheap to clone; works wherever it is called from.
#[derive(Clone, Debug)]
pub struct Invalidator {
    edge: Edge,
}

impl Invalidator {
    pub(crate) fn new(edge: Edge) -> Self {
        Self { edge }
    }

    /// Puts an invalidation in force. When this returns, nothing it names that was fetched before is served again.
    pub fn invalidate(&self, invalidation: Invalidation) {
        self.edge.invalidate(invalidation.scopes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_path_is_named_with_its_place() {
        for (path, position) in [("x", 0), ("", 0), ("/a b", 2), ("/é", 1), ("/a#b", 2), ("/a/*", 3)] {
            let error = Invalidation::paths([path]).unwrap_err();
            assert_eq!(error.position(), position, "{error}");
            assert!(error.to_string().contains(&format!("{path:?}")), "{error}");
        }
        assert!(Invalidation::paths(["/", "/a?b=c&d", "/%C3%A9"]).is_ok());
    }
}
