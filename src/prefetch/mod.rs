//! What is fetched before anybody asks for it: [`Prefetch`], and [`Manifests`], which knows HLS and DASH.
//!
//! An edge whose [`CachePolicy::prefetch`](crate::CachePolicy::prefetch) is set asks it once for each stored response, after a
//! viewer was answered with it, in a task of its own: nobody waits for that. What it names is fetched like what a viewer
//! asks for, if it is not there, and counted in [`Stats::prefetched`](crate::Stats::prefetched). At most 16 a response, and 64
//! at a time; what is more is left out. Nothing follows from what was fetched ahead, until a viewer has it.
//!
//! The origin gets such a request with the fields of the one that led to it, but for those that are about one viewer or that
//! request (`Cookie`, `Authorization`, `Referer`, `X-Forwarded-For`, conditions, ranges, `Cache-Control`), and without its
//! extensions. Nothing follows from requests with `Authorization`.
//!
//! ```
//! use std::sync::Arc;
//! use tower_edge::{CachePolicy, Edge, prefetch::Manifests, preset};
//!
//! # fn main() -> Result<(), tower_edge::ConfigError> {
//! let policy = CachePolicy { prefetch: Some(Arc::new(Manifests::new(2))), ..CachePolicy::default() };
//! let edge = Edge::builder().behaviors(preset::hls("/live/*", &policy)).build()?;
//! assert_eq!(edge.stats().prefetched, 0);
//! # Ok(())
//! # }
//! ```

mod dash;
mod hls;
mod lists;
mod times;
mod xml;

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Uri};

pub use self::dash::dash;
pub use self::hls::hls;
use self::lists::Lists;
use crate::store::Stored;
use crate::sync::Mutex;

/// Names what is likely to be wanted next.
pub trait Prefetch: fmt::Debug + Send + Sync {
    /// What to fetch now that a viewer was served with this. What is not on the same origin is left out.
    fn after(&self, served: &Served<'_>) -> Vec<Uri>;
}

/// A stored 200 that a viewer was served with.
#[derive(Debug)]
pub struct Served<'a> {
    uri: &'a Uri,
    stored: &'a Stored,
    headers: HeaderMap,
    at: SystemTime,
}

impl<'a> Served<'a> {
    pub(crate) fn new(uri: &'a Uri, stored: &'a Stored, at: SystemTime) -> Self {
        Self { uri, stored, headers: stored.head.fields.unpack(), at }
    }

    /// Its URI, absolute, as it is keyed.
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// The fields of the response.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The length of the body.
    pub fn length(&self) -> u64 {
        self.stored.total()
    }

    /// The body. One of more than 256 KiB is copied; of one in [slices](crate::Slices) there is nothing.
    pub fn body(&self) -> Bytes {
        self.stored.body.single().unwrap_or_else(|| {
            let mut whole = Vec::new();
            let mut rest = 0..self.stored.body.len();
            while !rest.is_empty() {
                let run = self.stored.body.run(&rest);
                rest.start += run.len() as u64;
                whole.extend_from_slice(&run);
            }
            whole.into()
        })
    }

    /// The time.
    pub fn at(&self) -> SystemTime {
        self.at
    }
}

/// What a manifest lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// More is to come.
    pub live: bool,
    /// What is played side by side, or instead of each other.
    pub tracks: Vec<Track>,
}

/// A run of segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// The initialization section of the last segment.
    pub init: Option<Uri>,
    /// In the order in which they are played, each initialization section before the first segment that needs it. Parts of
    /// files are not among them.
    pub segments: Vec<Uri>,
}

/// Fetches the segments that come next by the manifests of HLS and DASH.
///
/// After a manifest: the last segments of a live one, the first of another. After a segment: those after it in the manifest
/// that listed it last. Manifests with a `Content-Encoding`, or over 1 MiB, are not read, nor more than 4 MiB of URIs out of
/// one. At most 50,000 segments, of 16 MiB of URIs, are remembered; the oldest manifests are forgotten first, and one that
/// has more by itself is not remembered.
#[derive(Debug)]
pub struct Manifests {
    segments: usize,
    lists: Mutex<Lists>,
}

const LARGEST_MANIFEST: u64 = 1 << 20;
/// What one manifest lists: of few bytes references can be many long ones.
const MOST_LISTED: usize = 4 << 20;

/// The bytes of a URI.
fn bytes_of(uri: &Uri) -> usize {
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    authority + uri.path_and_query().map_or(0, |path| path.as_str().len())
}

impl Manifests {
    /// So many segments ahead, of each track.
    pub fn new(segments: usize) -> Self {
        Self { segments, lists: Mutex::default() }
    }

    fn after_manifest(&self, manifest: Manifest, uri: &Uri) -> Vec<Uri> {
        let mut next = Vec::new();
        for Track { init, segments } in &manifest.tracks {
            if manifest.live {
                next.extend(init.clone());
                next.extend_from_slice(&segments[segments.len().saturating_sub(self.segments)..]);
            } else {
                next.extend(segments.iter().take(self.segments).cloned());
            }
        }
        self.lists.lock().remember(uri, manifest);
        next
    }
}

impl Prefetch for Manifests {
    fn after(&self, served: &Served<'_>) -> Vec<Uri> {
        let Some(kind) = Kind::of(served) else {
            return self.lists.lock().after(served.uri(), self.segments);
        };
        if served.length() > LARGEST_MANIFEST || served.headers().contains_key(CONTENT_ENCODING) {
            return Vec::new();
        }
        let manifest = match kind {
            Kind::Hls => hls(served.uri(), &served.body()),
            Kind::Dash => dash(served.uri(), &served.body(), served.at()),
        };
        self.after_manifest(manifest, served.uri())
    }
}

enum Kind {
    Hls,
    Dash,
}

impl Kind {
    /// By the name, or the media type (RFC 8216 §4, ISO/IEC 23009-1 Annex C).
    fn of(served: &Served<'_>) -> Option<Self> {
        let media_type =
            served.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let path = served.uri().path();
        match media_type.as_str() {
            _ if path.ends_with(".m3u8") => Some(Self::Hls),
            _ if path.ends_with(".mpd") => Some(Self::Dash),
            "application/vnd.apple.mpegurl" | "application/x-mpegurl" | "audio/mpegurl" => Some(Self::Hls),
            "application/dash+xml" => Some(Self::Dash),
            _ => None,
        }
    }
}
