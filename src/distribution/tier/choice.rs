//! Which of several parents is asked for what? The same one by every child, so that each thing is fetched by one of them.

use http::{HeaderMap, Uri, header};
use smallvec::SmallVec;

/// The parents in the order in which they are asked for a key, by rendezvous hashing: each has a weight for each key, and the
/// heaviest comes first. Where one goes or comes, only the keys move that are its own.
pub(in crate::distribution) fn by_preference(
    key: u64,
    parents: impl IntoIterator<Item = u64>,
) -> SmallVec<[usize; 8]> {
    let weights: SmallVec<[u64; 8]> = parents.into_iter().map(|parent| mixed(parent ^ mixed(key))).collect();
    let mut order: SmallVec<[usize; 8]> = (0..weights.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(weights[*at]));
    order
}

/// What stands for a parent.
pub(in crate::distribution) fn named(name: &str) -> u64 {
    hashed([name.as_bytes()])
}

/// What stands for what a request asks for: its authority, path and query.
pub(in crate::distribution) fn asked(uri: &Uri, headers: &HeaderMap) -> u64 {
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = || headers.get(header::HOST).map(|host| host.as_bytes());
    let authority = authority.or_else(host).unwrap_or_default();
    hashed([authority, uri.path().as_bytes(), uri.query().unwrap_or_default().as_bytes()])
}

/// FNV-1a, of 64 bits: it is the same on every machine and in every version.
fn hashed<const N: usize>(parts: [&[u8]; N]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // Behind each part something that is in none.
        for byte in part.iter().map(u8::to_ascii_lowercase).chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// The last steps of SplitMix64: every bit of the hash counts for every bit of the weight.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 10_000;

    fn firsts(parents: &[&str]) -> Vec<String> {
        let names: Vec<_> = parents.iter().map(|name| named(name)).collect();
        (0..KEYS)
            .map(|n| {
                let uri = format!("http://a.example/{n}").parse().unwrap();
                let order = by_preference(asked(&uri, &HeaderMap::new()), names.iter().copied());
                parents[order[0]].to_owned()
            })
            .collect()
    }

    #[test]
    fn parents_have_equal_shares_and_only_the_keys_of_one_that_goes_move() {
        let all = firsts(&["a", "b", "c", "d"]);
        for parent in ["a", "b", "c", "d"] {
            let share = all.iter().filter(|first| *first == parent).count() as u64;
            assert!((KEYS / 4 - KEYS / 40..KEYS / 4 + KEYS / 40).contains(&share), "{parent}: {share}");
        }
        let fewer = firsts(&["d", "a", "c"]);
        assert!(all.iter().zip(&fewer).all(|(before, after)| before == after || before == "b"));
    }

    #[test]
    fn what_is_asked_for_is_told_by_authority_path_and_query() {
        let hash = |target: &str, host: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, host.parse().unwrap());
            }
            asked(&target.parse().unwrap(), &headers)
        };
        // One way for each child, and another version's as well: these numbers stay.
        assert_eq!(hash("/a?b", Some("Example.com")), hash("http://example.com/a?b", None));
        assert_eq!(hash("/a?b", Some("example.com")), hash("https://example.com/a?b", None));
        assert_ne!(hash("/a?b", Some("a")), hash("/a", Some("a")));
        assert_ne!(hash("/ab", Some("a")), hash("/b", Some("aa")));
        assert_eq!(named("fra-1"), 0x4dae_9968_6235_3646);
    }
}
