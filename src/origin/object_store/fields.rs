//! Which attributes of an object are which fields of HTTP?

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE,
    ETAG, HeaderName, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue};
use object_store::{Attribute, Attributes, ObjectMeta};

use super::refusal::Refusal;
use crate::semantics::validation::EntityTag;

/// The field in which tags reach the edge, and the metadata they are kept in.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// What the names of fields with user metadata begin with.
const METADATA: &str = "x-amz-meta-";
/// S3 keeps so many bytes of user metadata, names included.
const MAX_METADATA: usize = 2 * 1024;

/// The attributes that are a field each.
const PAIRS: [(HeaderName, Attribute); 5] = [
    (CACHE_CONTROL, Attribute::CacheControl),
    (CONTENT_DISPOSITION, Attribute::ContentDisposition),
    (CONTENT_ENCODING, Attribute::ContentEncoding),
    (CONTENT_LANGUAGE, Attribute::ContentLanguage),
    (CONTENT_TYPE, Attribute::ContentType),
];

/// The fields that describe an object. An attribute that no field can hold is left out.
pub(super) fn of(meta: &ObjectMeta, attributes: &Attributes) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(tag) = entity_tag(meta.e_tag.as_deref()) {
        headers.insert(ETAG, tag);
    }
    if let Some(date) = date(meta.last_modified.into()) {
        headers.insert(LAST_MODIFIED, date);
    }
    for (attribute, value) in attributes {
        let Ok(value) = HeaderValue::from_str(value) else { continue };
        let name = match attribute {
            Attribute::Metadata(key) if key.eq_ignore_ascii_case(CACHE_TAG.as_str()) => Some(CACHE_TAG),
            Attribute::Metadata(key) => format!("{METADATA}{key}").parse().ok(),
            known => PAIRS.iter().find(|(_, attribute)| attribute == known).map(|(name, _)| name.clone()),
        };
        if let Some(name) = name {
            headers.insert(name, value);
        }
    }
    headers
}

/// A store's entity tag as HTTP has it: some stores leave the quotes out.
pub(super) fn entity_tag(tag: Option<&str>) -> Option<HeaderValue> {
    let tag = tag.filter(|tag| !tag.is_empty())?;
    let value = HeaderValue::from_str(tag).ok()?;
    if EntityTag::parse(&value).is_some() {
        return Some(value);
    }
    let quoted = HeaderValue::from_maybe_shared(Bytes::from(format!("\"{tag}\""))).ok()?;
    EntityTag::parse(&quoted).is_some().then_some(quoted)
}

/// The epoch is what a store says that does not know.
fn date(modified: SystemTime) -> Option<HeaderValue> {
    // What `httpdate` can write: it panics at years of five digits.
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (1..253_402_300_800).contains(&since).then(|| httpdate::fmt_http_date(modified))?.parse().ok()
}

/// The attributes that the fields of a PUT give its object. Of the fields that speak to a store, only those with user
/// metadata are read.
pub(super) fn attributes(request: &HeaderMap) -> Result<Attributes, Refusal> {
    const NOT_TEXT: Refusal = Refusal::Malformed("400: a field that describes the object is not ASCII\n");
    let mut attributes = Attributes::new();
    let mut metadata = 0;
    for name in request.keys() {
        let attribute = match name.as_str().strip_prefix(METADATA) {
            Some("") => continue,
            Some(key) => Attribute::Metadata(key.to_owned().into()),
            None => match PAIRS.iter().find(|(field, _)| field == name) {
                Some((_, attribute)) => attribute.clone(),
                None => continue,
            },
        };
        let lines: Result<Vec<_>, _> = request.get_all(name).iter().map(HeaderValue::to_str).collect();
        let value = lines.map_err(|_| NOT_TEXT)?.join(", ");
        if let Attribute::Metadata(key) = &attribute {
            metadata += key.len() + value.len();
        }
        attributes.insert(attribute, value.into());
    }
    if metadata > MAX_METADATA {
        return Err(Refusal::Malformed("400: over 2 KiB of user metadata\n"));
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::path::Path;

    use super::*;

    fn described(attributes: &[(Attribute, &'static str)]) -> HeaderMap {
        let meta = ObjectMeta {
            location: Path::default(),
            last_modified: (SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)).into(),
            size: 5,
            e_tag: Some("\"a\"".into()),
            version: None,
        };
        let attributes = attributes.iter().map(|(attribute, value)| (attribute.clone(), *value)).collect();
        of(&meta, &attributes)
    }

    #[test]
    fn attributes_become_fields() {
        let headers = described(&[
            (Attribute::ContentType, "text/html"),
            (Attribute::ContentEncoding, "br"),
            (Attribute::ContentLanguage, "de"),
            (Attribute::ContentDisposition, "inline"),
            (Attribute::CacheControl, "max-age=60"),
            (Attribute::Metadata("Author".into()), "me"),
            (Attribute::StorageClass, "STANDARD"),
        ]);
        let expected: HeaderMap = [
            ("accept-ranges", "bytes"),
            ("cache-control", "max-age=60"),
            ("content-disposition", "inline"),
            ("content-encoding", "br"),
            ("content-language", "de"),
            ("content-type", "text/html"),
            ("etag", "\"a\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("x-amz-meta-author", "me"),
        ]
        .iter()
        .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn tags_are_for_the_edge_alone() {
        let headers = described(&[(Attribute::Metadata("Cache-Tag".into()), "news, front")]);
        assert_eq!(headers[CACHE_TAG], "news, front");
        assert!(!headers.contains_key("x-amz-meta-cache-tag"));
    }

    #[test]
    fn metadata_cannot_be_another_field_or_a_second_line() {
        let headers = described(&[
            (Attribute::Metadata("a\r\nset-cookie".into()), "x"),
            (Attribute::Metadata("b".into()), "x\r\nset-cookie: y"),
            (Attribute::Metadata("set-cookie".into()), "x"),
        ]);
        assert!(!headers.contains_key("set-cookie") && !headers.contains_key("x-amz-meta-b"));
        assert_eq!(headers["x-amz-meta-set-cookie"], "x");
    }

    #[test]
    fn an_entity_tag_gets_the_quotes_it_lacks() {
        for (tag, expected) in [
            ("\"a\"", Some("\"a\"")),
            ("W/\"a\"", Some("W/\"a\"")),
            ("a-1-2", Some("\"a-1-2\"")),
            ("", None),
            ("a\"b", None),
            ("a\nb", None),
        ] {
            assert_eq!(entity_tag(Some(tag)).as_ref().and_then(|tag| tag.to_str().ok()), expected, "{tag}");
        }
        assert_eq!(entity_tag(None), None);
    }

    #[test]
    fn only_dates_that_say_something_are_told() {
        assert_eq!(date(SystemTime::UNIX_EPOCH), None);
        assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800)), None);
        assert!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)).is_some());
    }

    #[test]
    fn a_put_sets_what_describes_its_object_and_nothing_else() {
        let mut request = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("cache-control", "max-age=60"),
            ("cache-control", "public"),
            ("x-amz-meta-author", "me"),
            ("x-amz-meta-", "none"),
            ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "GLACIER"),
            ("authorization", "secret"),
            ("content-length", "5"),
        ] {
            request.append(name, HeaderValue::from_static(value));
        }
        let expected = [
            (Attribute::ContentType, "text/plain"),
            (Attribute::CacheControl, "max-age=60, public"),
            (Attribute::Metadata("author".into()), "me"),
        ];
        assert_eq!(attributes(&request), Ok(expected.into_iter().collect()));

        request.insert("x-amz-meta-big", HeaderValue::from_str(&"a".repeat(2048)).unwrap());
        assert_eq!(attributes(&request).map_err(Refusal::status), Err(http::StatusCode::BAD_REQUEST));
    }
}
