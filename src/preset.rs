//! Policies for content that several kinds of files make up: live and on-demand video.
//!
//! Each function gives the behaviors for the kinds of files below some paths, out of a policy of yours, of which they change
//! what the kind of file asks for:
//!
//! | | manifests | segments |
//! |---|---|---|
//! | lifetime the origin does not state | 1 s | an hour |
//! | longest lifetime | 10 s | yours |
//! | served while it is being refreshed | 2 s more | no |
//! | while the origin fails, or is out of reach | a minute more | yours |
//! | 404, whatever the origin says of it | 1 s | 1 s |
//! | `Cache-Control` of viewers | ignored | ignored |
//! | longest wait for another's request | 30 s | 30 s |
//! | what could not be stored is remembered | 1 s | 1 s |
//!
//! A shorter lifetime of the origin's own counts. Whoever asks for the segment that is just being made shares one request to
//! the origin with all others and gets the bytes as they come. So do those whose requests the origin holds until there is
//! something new (RFC 8216bis §6.2.5.2): `_HLS_msn`, `_HLS_part` and `_HLS_skip` are in the key whatever `query` says.
//!
//! ```
//! use tower_edge::{CachePolicy, Edge, preset};
//!
//! # fn main() -> Result<(), tower_edge::ConfigError> {
//! let edge = Edge::builder().behaviors(preset::hls("/live/*", &CachePolicy::default())).build()?;
//! assert!(edge.behavior_of(&"/live/a/index.m3u8".parse().expect("a path")).is_some());
//! assert!(edge.behavior_of(&"/live/a/logo.png".parse().expect("a path")).is_none());
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use http::StatusCode;

use crate::glob::Glob;
use crate::key::Select;
use crate::policy::{Behavior, CachePolicy, RequestDirectives};

/// How names of media segments end, those of HLS and DASH alike.
const SEGMENTS: [&str; 8] = [".ts", ".m4?", ".mp4", ".cmf?", ".aac", ".?c3", ".vtt", ".webm"];
/// The parameters by which a viewer tells what the origin is to wait for, or leave out (RFC 8216bis §6.2.5).
const DIRECTIVES: [&str; 3] = ["_HLS_msn", "_HLS_part", "_HLS_skip"];

const SECOND: Duration = Duration::from_secs(1);
/// What an origin may hold a request for, and its own time-out after that.
const HELD: Duration = Duration::from_secs(30);

/// HTTP Live Streaming (RFC 8216), its low-latency form included: `.m3u8`, and segments.
///
/// `paths` is a pattern that ends with `*`. Of another, the end tells which kind of file it is for.
pub fn hls(paths: &str, policy: &CachePolicy) -> Vec<Behavior> {
    media(paths, ".m3u8", policy)
}

/// MPEG-DASH: `.mpd`, and segments. `paths` is as for [`hls`].
pub fn dash(paths: &str, policy: &CachePolicy) -> Vec<Behavior> {
    media(paths, ".mpd", policy)
}

fn media(paths: &str, manifest: &str, policy: &CachePolicy) -> Vec<Behavior> {
    let mut kinds = vec![(manifest, manifests(policy))];
    let segments = segments(policy);
    kinds.extend(SEGMENTS.map(|end| (end, segments.clone())));
    match paths.strip_suffix('*') {
        Some(_) => {
            kinds.into_iter().map(|(end, policy)| Behavior::new(format!("{paths}{end}"), policy)).collect()
        }
        None => kinds
            .into_iter()
            .find(|(end, _)| Glob::new(&format!("*{end}")).matches(paths))
            .map(|(_, policy)| Behavior::new(paths, policy))
            .into_iter()
            .collect(),
    }
}

fn manifests(policy: &CachePolicy) -> CachePolicy {
    let mut policy = common(policy);
    policy.ttl.min = Duration::ZERO;
    policy.ttl.default = Some(SECOND);
    policy.ttl.max = policy.ttl.max.min(10 * SECOND);
    policy.stale.while_revalidate = 2 * SECOND;
    policy.stale.if_error = 60 * SECOND;
    policy.stale.if_disconnected = 60 * SECOND;
    policy.stale.retry_after = SECOND;
    policy.key.query = match policy.key.query {
        Select::All => Select::All,
        Select::None => Select::Only(DIRECTIVES.map(str::to_owned).into()),
        Select::Only(mut names) => {
            names.extend(DIRECTIVES.map(str::to_owned));
            Select::Only(names)
        }
        Select::AllBut(mut names) => {
            names.retain(|name| !DIRECTIVES.contains(&name.as_str()));
            Select::AllBut(names)
        }
    };
    policy
}

fn segments(policy: &CachePolicy) -> CachePolicy {
    let mut policy = common(policy);
    policy.ttl.default = Some(policy.ttl.default.unwrap_or(3600 * SECOND));
    // What was there once does not change: there is nothing to refresh.
    policy.stale.while_revalidate = Duration::ZERO;
    policy
}

fn common(policy: &CachePolicy) -> CachePolicy {
    let mut policy = policy.clone();
    for ttls in [&mut policy.error_ttl, &mut policy.error_ttl_max] {
        ttls.retain(|(status, _)| *status != StatusCode::NOT_FOUND);
        ttls.push((StatusCode::NOT_FOUND, SECOND));
    }
    policy.request_directives = RequestDirectives::Ignore;
    policy.limits.follower_wait = policy.limits.follower_wait.max(HELD);
    policy.limits.uncacheable_memo = SECOND;
    policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyPolicy;

    fn policy_of(behaviors: &[Behavior], path: &str) -> Option<CachePolicy> {
        let found = behaviors.iter().find(|behavior| Glob::new(&behavior.pattern).matches(path));
        found.map(|behavior| behavior.policy.clone())
    }

    #[test]
    fn each_kind_of_file_has_its_lifetime() {
        let (hls, dash) = (hls("/live/*", &CachePolicy::default()), dash("/live/*", &CachePolicy::default()));
        let seconds = |behaviors: &[Behavior], path: &str| {
            policy_of(behaviors, path).and_then(|policy| policy.ttl.default).map(|ttl| ttl.as_secs())
        };
        for (path, by_hls, by_dash) in [
            ("/live/index.m3u8", Some(1), None),
            ("/live/manifest.mpd", None, Some(1)),
            ("/live/a/0001.ts", Some(3600), Some(3600)),
            ("/live/0001.m4s", Some(3600), Some(3600)),
            ("/live/0001.m4v", Some(3600), Some(3600)),
            ("/live/init.mp4", Some(3600), Some(3600)),
            ("/live/0001.cmfv", Some(3600), Some(3600)),
            ("/live/0001.ec3", Some(3600), Some(3600)),
            ("/live/en.vtt", Some(3600), Some(3600)),
            ("/live/poster.png", None, None),
            ("/vod/index.m3u8", None, None),
        ] {
            assert_eq!((seconds(&hls, path), seconds(&dash, path)), (by_hls, by_dash), "{path}");
        }
    }

    #[test]
    fn a_pattern_that_ends_otherwise_is_for_one_kind_of_file() {
        let patterns = |paths: &str| -> Vec<String> {
            hls(paths, &CachePolicy::default()).into_iter().map(|behavior| behavior.pattern).collect()
        };
        assert_eq!(patterns("/live/*.m3u8"), ["/live/*.m3u8"]);
        assert_eq!(patterns("/live/one.ts"), ["/live/one.ts"]);
        assert!(patterns("/live/*.png").is_empty());
    }

    #[test]
    fn what_the_origin_waits_for_is_in_the_key_whatever_the_policy_says() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (query, expected) in [
            (Select::All, Select::All),
            (Select::None, Select::Only(names(&DIRECTIVES))),
            (Select::Only(names(&["t"])), Select::Only(names(&["t", "_HLS_msn", "_HLS_part", "_HLS_skip"]))),
            (Select::AllBut(names(&["t", "_HLS_part"])), Select::AllBut(names(&["t"]))),
        ] {
            let policy =
                CachePolicy { key: KeyPolicy { query, ..KeyPolicy::default() }, ..CachePolicy::default() };
            let found = policy_of(&hls("*", &policy), "/a.m3u8").map(|policy| policy.key.query);
            assert_eq!(found, Some(expected));
        }
    }
}
