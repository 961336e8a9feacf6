//! `Location` and `Content-Location` of the answer to a write, resolved against its target (RFC 3986 §5.2, RFC 9111 §4.4).

use http::Uri;
use http::header::{CONTENT_LOCATION, LOCATION};
use tower_edge::semantics::writes::{also_invalidated, represents};

pub fn run(data: &[u8]) {
    let [response] = super::sections::<1>(data);
    for target in ["http://site.example/a/b?c", "https://site.example:8443/", "http://[::1]/a/b//"] {
        let target: Uri = target.parse().expect("a URI");
        for uri in also_invalidated(&target, &response) {
            // Only what is of the same origin, spelt as the target spells it, and not the target itself.
            assert_eq!((uri.scheme(), uri.authority()), (target.scheme(), target.authority()));
            assert_ne!(uri.path_and_query(), target.path_and_query());
            assert!(uri.path().starts_with('/'));
            let segments = || uri.path().split('/');
            assert!(!segments().any(|segment| matches!(segment, "." | "..")), "{uri}");
            assert_eq!(uri.to_string().parse::<Uri>().ok().as_ref(), Some(&uri));
        }
        if represents(&target, &response) {
            assert!(response.contains_key(CONTENT_LOCATION));
            let mut alone = response.clone();
            alone.remove(LOCATION);
            assert!(also_invalidated(&target, &alone).is_empty());
        }
    }
}
