//! What every path has, and what every edge must give at least.

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const EDGES: usize = 3;
pub(crate) const PATHS: usize = 12;
const TAGS: usize = 3;

/// A version for each path.
pub(crate) type Versions = [u64; PATHS];

/// A path of the site: six in each of two folders.
pub(crate) fn name(path: usize) -> String {
    format!("/{}/{}", if path < PATHS / 2 { "a" } else { "b" }, path % (PATHS / 2))
}

pub(crate) fn tag(path: usize) -> usize {
    path % TAGS
}

pub(crate) fn path_of(name: &str) -> Option<usize> {
    (0..PATHS).find(|path| crate::truth::name(*path) == name)
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    versions: [AtomicU64; PATHS],
    /// The log has taken an invalidation that was made when the path had this version already.
    taken: [AtomicU64; PATHS],
    /// Such an invalidation is in force on the edge.
    floors: [[AtomicU64; PATHS]; EDGES],
}

impl Truth {
    /// What the origin has now.
    pub(crate) fn version(&self, path: usize) -> u64 {
        self.versions[path].load(Ordering::SeqCst)
    }

    /// The path has another content from now on.
    pub(crate) fn change(&self, path: usize) -> u64 {
        self.versions[path].fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn take(&self, path: usize, version: u64) {
        self.taken[path].fetch_max(version, Ordering::SeqCst);
    }

    /// What the log has taken by now. Edges follow it in order: whoever has come to a later record has come to these.
    pub(crate) fn taken(&self) -> Versions {
        std::array::from_fn(|path| self.taken[path].load(Ordering::SeqCst))
    }

    /// So much is in force on an edge.
    pub(crate) fn hold(&self, edge: usize, versions: &Versions) {
        for (floor, version) in self.floors[edge].iter().zip(versions) {
            floor.fetch_max(*version, Ordering::SeqCst);
        }
    }

    /// The oldest version that an edge may give to a request that begins now.
    pub(crate) fn floor(&self, edge: usize, path: usize) -> u64 {
        self.floors[edge][path].load(Ordering::SeqCst)
    }
}
