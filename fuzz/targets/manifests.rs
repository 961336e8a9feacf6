//! Manifests of HLS and DASH: where they are, in a line, and their text.

use std::time::{Duration, SystemTime};

use http::Uri;
use tower_edge::prefetch::{Manifest, dash, hls};

pub fn run(data: &[u8]) {
    let (first, text) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let base = std::str::from_utf8(first).ok().and_then(|first| first.parse::<Uri>().ok());
    let Some(base) = base else { return };
    let text = text.get(1..).unwrap_or_default();
    lists_its_own_origin(&base, &hls(&base, text));
    for now in [0, 1_767_225_600, u32::MAX.into()] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        lists_its_own_origin(&base, &dash(&base, text, now));
    }
}

fn lists_its_own_origin(base: &Uri, manifest: &Manifest) {
    assert!(!manifest.live || !manifest.tracks.is_empty());
    for track in &manifest.tracks {
        assert!(!track.segments.is_empty() && track.segments.len() <= 20_000);
        for uri in track.segments.iter().chain(&track.init) {
            assert_eq!((uri.scheme(), uri.authority()), (base.scheme(), base.authority()));
            assert!(uri.path().starts_with('/'));
        }
    }
}
