//! Which segments come after which, by the manifests seen last.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use http::Uri;

use super::{Manifest, bytes_of};

/// Segments remembered, of all manifests together.
const MOST: usize = 50_000;
/// And manifests, which are looked through.
const MOST_MANIFESTS: usize = 1_000;
/// And bytes of their URIs.
const MOST_BYTES: usize = 16 << 20;

#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The latest last.
    manifests: VecDeque<(u64, Manifest)>,
    /// Where a segment stands: in which manifest, track and place.
    places: HashMap<u64, (u64, usize, usize)>,
    bytes: usize,
    hasher: foldhash::quality::RandomState,
}

impl Lists {
    /// In place of what the manifest listed before.
    pub(super) fn remember(&mut self, uri: &Uri, manifest: Manifest) {
        let number = self.hasher.hash_one(uri);
        self.forget(number);
        let listed = manifest.tracks.iter().map(|track| track.segments.len()).sum::<usize>();
        // Nor is one remembered that would leave no room for any other, and none for itself.
        if listed == 0 || listed > MOST {
            return;
        }
        self.bytes += bytes_listed(&manifest);
        for (track, listed) in manifest.tracks.iter().enumerate() {
            for (place, segment) in listed.segments.iter().enumerate() {
                self.places.insert(self.hasher.hash_one(segment), (number, track, place));
            }
        }
        self.manifests.push_back((number, manifest));
        while (self.places.len() > MOST || self.manifests.len() > MOST_MANIFESTS || self.bytes > MOST_BYTES)
            && let Some((oldest, _)) = self.manifests.front()
        {
            self.forget(*oldest);
        }
    }

    /// So many segments after this one.
    pub(super) fn after(&self, segment: &Uri, segments: usize) -> Vec<Uri> {
        let found = self.places.get(&self.hasher.hash_one(segment)).and_then(|&(number, track, place)| {
            let (_, manifest) = self.manifests.iter().find(|(other, _)| *other == number)?;
            manifest.tracks.get(track)?.segments.get(place + 1..)
        });
        found.unwrap_or_default().iter().take(segments).cloned().collect()
    }

    fn forget(&mut self, number: u64) {
        let Some(at) = self.manifests.iter().position(|(other, _)| *other == number) else { return };
        let Some((_, manifest)) = self.manifests.remove(at) else { return };
        self.bytes -= bytes_listed(&manifest);
        for segment in manifest.tracks.iter().flat_map(|track| &track.segments) {
            let hash = self.hasher.hash_one(segment);
            // Another manifest may have listed it since.
            if self.places.get(&hash).is_some_and(|(owner, ..)| *owner == number) {
                self.places.remove(&hash);
            }
        }
    }
}

fn bytes_listed(manifest: &Manifest) -> usize {
    manifest.tracks.iter().flat_map(|track| &track.segments).map(bytes_of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefetch::Track;

    fn uri(path: &str) -> Uri {
        format!("http://a.example{path}").parse().unwrap()
    }

    fn listing(range: std::ops::Range<usize>) -> Manifest {
        let segments = range.map(|number| uri(&format!("/{number}"))).collect();
        Manifest { live: true, tracks: vec![Track { init: None, segments }] }
    }

    #[test]
    fn what_comes_next_is_what_the_latest_manifest_says() {
        let mut lists = Lists::default();
        lists.remember(&uri("/m"), listing(1..4));
        assert_eq!(lists.after(&uri("/1"), 1), [uri("/2")]);
        assert_eq!(lists.after(&uri("/2"), 5), [uri("/3")]);
        assert!(lists.after(&uri("/3"), 1).is_empty() && lists.after(&uri("/x"), 1).is_empty());
        lists.remember(&uri("/m"), listing(2..6));
        assert!(lists.after(&uri("/1"), 1).is_empty());
        assert_eq!(lists.after(&uri("/3"), 2), [uri("/4"), uri("/5")]);
        assert_eq!(lists.places.len(), 4);
    }

    #[test]
    fn the_oldest_manifests_are_forgotten_first() {
        let mut lists = Lists::default();
        for number in 0..6 {
            lists.remember(&uri(&format!("/m{number}")), listing(number * 10_000..(number + 1) * 10_000));
        }
        assert!(lists.after(&uri("/5"), 1).is_empty());
        assert_eq!(lists.after(&uri("/10000"), 1), [uri("/10001")]);
        assert!(lists.places.len() <= MOST);
    }

    #[test]
    fn a_manifest_too_long_to_be_remembered_displaces_no_other() {
        let mut lists = Lists::default();
        lists.remember(&uri("/m"), listing(0..3));
        lists.remember(&uri("/long"), listing(10..MOST + 11));
        assert_eq!(lists.after(&uri("/0"), 1), [uri("/1")]);
        assert!(lists.after(&uri("/10"), 1).is_empty());
    }

    #[test]
    fn what_is_remembered_has_so_many_bytes() {
        let mut lists = Lists::default();
        for manifest in 0..100 {
            let segment = |n| uri(&format!("/{manifest}/{n}{}", "a".repeat(60_000)));
            let segments = (0..20).map(segment).collect();
            lists.remember(
                &uri(&format!("/m{manifest}")),
                Manifest { live: true, tracks: vec![Track { init: None, segments }] },
            );
        }
        let held: usize = lists.manifests.iter().map(|(_, manifest)| bytes_listed(manifest)).sum();
        assert_eq!(held, lists.bytes);
        assert!((MOST_BYTES / 2..=MOST_BYTES).contains(&held), "{held}");
    }
}
