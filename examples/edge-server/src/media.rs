//! What flags and behaviors say of video: [`Media`].

use std::sync::Arc;

use clap::ValueEnum;
use tower_edge::prefetch::{Manifests, Prefetch};
use tower_edge::{Behavior, CachePolicy, Slices, preset};

/// Segments fetched ahead of each track, at most.
pub(crate) const MOST_AHEAD: u64 = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) preset: Option<Preset>,
    /// Segments fetched ahead.
    pub(crate) prefetch: Option<usize>,
    /// Bytes of a slice of what is large.
    pub(crate) slice: Option<u64>,
}

/// Ready-made policies for video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Playlists (.m3u8) and segments
    Hls,
    /// Descriptions (.mpd) and segments
    Dash,
}

/// What the library takes as a slice.
pub(crate) fn slice_fits(size: u64, capacity: u64) -> Result<(), &'static str> {
    let fits = (4 << 10..=capacity / 8).contains(&size);
    if fits { Ok(()) } else { Err("not from 4KiB to an eighth of the capacity") }
}

impl Media {
    /// A policy with what concerns every kind of file.
    pub(crate) fn policy(self, policy: CachePolicy) -> CachePolicy {
        let manifests = |segments| Arc::new(Manifests::new(segments)) as Arc<dyn Prefetch>;
        CachePolicy {
            prefetch: self.prefetch.map(manifests).or(policy.prefetch),
            slices: self.slice.map(Slices::of).or(policy.slices),
            ..policy
        }
    }

    /// What the preset makes of a policy for some paths. It goes before the policy itself.
    pub(crate) fn behaviors(self, paths: &str, policy: &CachePolicy) -> Vec<Behavior> {
        match self.preset {
            Some(Preset::Hls) => preset::hls(paths, policy),
            Some(Preset::Dash) => preset::dash(paths, policy),
            None => Vec::new(),
        }
    }
}
