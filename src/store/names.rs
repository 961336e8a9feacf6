//! The names of fields that responses often have: a stored response holds a byte for each.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use http::HeaderName;

const fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

/// In order. Being constants, they are cloned without a count.
static NAMES: [HeaderName; 114] = [
    name("accept-ch"),
    name("accept-patch"),
    name("accept-post"),
    name("accept-ranges"),
    name("access-control-allow-credentials"),
    name("access-control-allow-headers"),
    name("access-control-allow-methods"),
    name("access-control-allow-origin"),
    name("access-control-expose-headers"),
    name("access-control-max-age"),
    name("allow"),
    name("alt-svc"),
    name("cache-control"),
    name("cache-groups"),
    name("cache-tag"),
    name("cdn-cache-control"),
    name("cf-cache-status"),
    name("cf-ray"),
    name("clear-site-data"),
    name("content-digest"),
    name("content-disposition"),
    name("content-encoding"),
    name("content-language"),
    name("content-length"),
    name("content-location"),
    name("content-md5"),
    name("content-security-policy"),
    name("content-security-policy-report-only"),
    name("content-type"),
    name("critical-ch"),
    name("cross-origin-embedder-policy"),
    name("cross-origin-opener-policy"),
    name("cross-origin-resource-policy"),
    name("date"),
    name("deprecation"),
    name("digest"),
    name("document-policy"),
    name("etag"),
    name("expires"),
    name("last-modified"),
    name("link"),
    name("location"),
    name("nel"),
    name("origin-agent-cluster"),
    name("p3p"),
    name("permissions-policy"),
    name("pragma"),
    name("priority"),
    name("proxy-status"),
    name("referrer-policy"),
    name("refresh"),
    name("report-to"),
    name("reporting-endpoints"),
    name("repr-digest"),
    name("retry-after"),
    name("server"),
    name("server-timing"),
    name("set-cookie"),
    name("sourcemap"),
    name("speculation-rules"),
    name("strict-transport-security"),
    name("sunset"),
    name("supports-loading-mode"),
    name("surrogate-control"),
    name("surrogate-key"),
    name("timing-allow-origin"),
    name("vary"),
    name("via"),
    name("warning"),
    name("www-authenticate"),
    name("x-amz-cf-id"),
    name("x-amz-cf-pop"),
    name("x-amz-id-2"),
    name("x-amz-request-id"),
    name("x-amz-server-side-encryption"),
    name("x-amz-storage-class"),
    name("x-amz-version-id"),
    name("x-aspnet-version"),
    name("x-azure-ref"),
    name("x-cache"),
    name("x-cache-hits"),
    name("x-cdn"),
    name("x-content-type-options"),
    name("x-correlation-id"),
    name("x-dns-prefetch-control"),
    name("x-download-options"),
    name("x-drupal-cache"),
    name("x-frame-options"),
    name("x-generator"),
    name("x-github-request-id"),
    name("x-goog-generation"),
    name("x-goog-hash"),
    name("x-goog-metageneration"),
    name("x-goog-storage-class"),
    name("x-goog-stored-content-encoding"),
    name("x-goog-stored-content-length"),
    name("x-guploader-uploadid"),
    name("x-ms-blob-type"),
    name("x-ms-lease-status"),
    name("x-ms-request-id"),
    name("x-ms-version"),
    name("x-permitted-cross-domain-policies"),
    name("x-pingback"),
    name("x-powered-by"),
    name("x-redirect-by"),
    name("x-request-id"),
    name("x-response-time"),
    name("x-robots-tag"),
    name("x-runtime"),
    name("x-served-by"),
    name("x-timer"),
    name("x-ua-compatible"),
    name("x-varnish"),
    name("x-xss-protection"),
];

/// Where each is: a hash is made faster than seven names are compared. The names are ours, so nobody makes them collide.
static PLACES: LazyLock<HashMap<&HeaderName, u8, RandomState>> =
    LazyLock::new(|| NAMES.iter().zip(0..).collect());

/// The place of a name, under 127.
pub(super) fn index(name: &HeaderName) -> Option<u8> {
    PLACES.get(name).copied()
}

/// The name at a place.
pub(super) fn at(index: u8) -> Option<&'static HeaderName> {
    NAMES.get(usize::from(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_at_its_place() {
        assert!(NAMES.is_sorted_by(|one, next| one.as_str() < next.as_str()) && NAMES.len() < 127);
        for (place, name) in NAMES.iter().enumerate() {
            let index = index(name).unwrap();
            assert_eq!(usize::from(index), place);
            assert_eq!(at(index), Some(name));
        }
        assert_eq!(index(&HeaderName::from_static("x-of-somebody")), None);
        assert_eq!(at(127), None);
    }
}
