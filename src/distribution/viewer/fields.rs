//! What somebody trusted says of a viewer: [`TrustedFields`].

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName};

use super::{Locate, Prefix};
use crate::distribution::Coordinates;
use crate::semantics::headers::only_line;

/// Takes a viewer's place from two fields that a proxy in front put into the request.
///
/// A viewer could send such fields, too. So they count only in what comes from the addresses of that proxy, which has to
/// take the viewer's own out, or replace them; a field that is there twice counts for nothing.
///
/// ```
/// use http::HeaderMap;
/// use tower_edge::distribution::viewer::{Locate, TrustedFields};
///
/// let source = TrustedFields::cloudfront(["192.0.2.0/24".parse()?]);
/// let mut fields = HeaderMap::new();
/// fields.insert("cloudfront-viewer-latitude", "48.85".parse()?);
/// fields.insert("cloudfront-viewer-longitude", "2.35".parse()?);
/// assert!(source.locate(Some("192.0.2.7".parse()?), &fields).is_some());
/// assert!(source.locate(Some("198.51.100.7".parse()?), &fields).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrustedFields {
    latitude: HeaderName,
    longitude: HeaderName,
    from: Vec<Prefix>,
}

impl TrustedFields {
    /// The fields `latitude` and `longitude`, in degrees, of requests that come from these addresses.
    pub fn new(latitude: HeaderName, longitude: HeaderName, from: impl IntoIterator<Item = Prefix>) -> Self {
        Self { latitude, longitude, from: from.into_iter().collect() }
    }

    /// The fields of CloudFront: `CloudFront-Viewer-Latitude` and `CloudFront-Viewer-Longitude`.
    pub fn cloudfront(from: impl IntoIterator<Item = Prefix>) -> Self {
        let [latitude, longitude] = ["cloudfront-viewer-latitude", "cloudfront-viewer-longitude"];
        Self::new(HeaderName::from_static(latitude), HeaderName::from_static(longitude), from)
    }
}

impl Locate for TrustedFields {
    fn locate(&self, address: Option<IpAddr>, fields: &HeaderMap) -> Option<Coordinates> {
        let address = address?;
        if !self.from.iter().any(|prefix| prefix.contains(address)) {
            return None;
        }
        let degrees = |name| only_line(fields, name)?.to_str().ok()?.trim().parse().ok();
        Coordinates::new(degrees(&self.latitude)?, degrees(&self.longitude)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_count_only_from_whom_they_are_trusted_and_if_they_make_sense() {
        let source = TrustedFields::cloudfront(["127.0.0.0/8".parse().unwrap()]);
        let proxy = Some("127.0.0.1".parse().unwrap());
        let (latitude, longitude) = ("cloudfront-viewer-latitude", "cloudfront-viewer-longitude");
        for (address, fields, found) in [
            (proxy, vec![(latitude, "1.5"), (longitude, "-2")], Some((1.5, -2.0))),
            (Some("10.0.0.1".parse().unwrap()), vec![(latitude, "1.5"), (longitude, "-2")], None),
            (None, vec![(latitude, "1.5"), (longitude, "-2")], None),
            (proxy, vec![(latitude, "1.5")], None),
            (proxy, vec![(latitude, "1.5"), (longitude, "-2"), (longitude, "-2")], None),
            (proxy, vec![(latitude, "nan"), (longitude, "-2")], None),
            (proxy, vec![(latitude, "90.5"), (longitude, "-2")], None),
            (proxy, vec![(latitude, "1.5"), (longitude, "")], None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(*name, value.parse().unwrap());
            }
            let place = found.map(|(latitude, longitude)| Coordinates::new(latitude, longitude).unwrap());
            assert_eq!(source.locate(address, &headers), place, "{address:?} {fields:?}");
        }
    }
}
