//! Compression of what the origin sends as it is, on the origin's side of the cache: [`Asked`].
//!
//! Each coding is stored as a variant of its own, by `Vary: Accept-Encoding`, and is made once. tower-http's layer does the
//! coding; what makes that safe behind a cache is decided here:
//!
//! - A compressed body is another representation, so its strong `ETag` becomes weak (RFC 9110 §8.8.3): conditions still
//!   match, and no part of one coding is joined to another's. What is said of the bytes as they were goes: their length,
//!   their digests, `Accept-Ranges`.
//! - A 304 to a weak tag of ours names the origin's strong one, and is about the stored, compressed variant all the same.
//! - Who asks for the head is told what who asks for the whole is.

use std::convert::Infallible;

use futures_util::FutureExt;
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, VARY,
};
use hyper::{Method, Request, Response, StatusCode};
use tower::{Layer, Service, service_fn};
use tower_http::compression::CompressionLayer;

use crate::page::{OriginBody, erased_body};

/// Shorter bodies gain less than their head says of it.
const LEAST: u64 = 1000;

/// What of a request decides how its answer is coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    coding: Option<Coding>,
    method: Method,
    /// The one tag it has, if that is weak.
    weak_tag: Option<HeaderValue>,
    /// What a PUT sends would be compressed when it is read.
    sends_text: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Brotli,
    Gzip,
}

impl Asked {
    /// Reads a request on its way to the origin, and has it name a tag of ours as the origin knows it, too.
    pub(crate) fn of<B>(request: &mut Request<B>) -> Self {
        let sends_text = *request.method() == Method::PUT && is_text(request.headers());
        Self {
            coding: preferred(request.headers()),
            method: request.method().clone(),
            weak_tag: name_both_ways(request.headers_mut()),
            sends_text,
        }
    }

    /// The answer as it is stored and sent.
    pub(crate) fn answer(self, mut response: Response<OriginBody>) -> Response<OriginBody> {
        if response.status() == StatusCode::NOT_MODIFIED {
            self.not_modified(response.headers_mut());
            return response;
        }
        if self.sends_text && response.status().is_success() {
            // A cache that keeps what is written would give it to readers as it was sent. They are to ask for their coding.
            vary(response.headers_mut());
            return response;
        }
        if !matches!(self.method, Method::GET | Method::HEAD | Method::POST) || !is_compressible(&response) {
            return response;
        }
        vary(response.headers_mut());
        let Some(coding) = self.coding else { return response };
        let is_head = self.method == Method::HEAD;
        let mut response = if is_head { response } else { coding.apply(response) };
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        forget_bytes(headers);
        weaken(headers);
        response
    }

    /// RFC 9111 §4.3.4: whatever it names replaces what is stored.
    fn not_modified(&self, headers: &mut HeaderMap) {
        forget_bytes(headers);
        if headers.contains_key(VARY) {
            vary(headers);
        }
        let is_ours = |tag: &HeaderValue| {
            let weak = self.weak_tag.as_ref().and_then(|weak| weak.as_bytes().strip_prefix(b"W/"));
            weak == Some(tag.as_bytes())
        };
        if headers.get(ETAG).is_some_and(is_ours) {
            weaken(headers);
        }
    }
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn apply(self, response: Response<OriginBody>) -> Response<OriginBody> {
        // What the layer would decide is decided.
        let layer = CompressionLayer::new().compress_when(|_, _, _: &HeaderMap, _: &_| true);
        let mut response = Some(response);
        let mut coder = layer.layer(service_fn(move |_: Request<()>| {
            std::future::ready(Ok::<_, Infallible>(response.take().expect("it is asked once")))
        }));
        let mut request = Request::new(());
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(self.name()));
        let Some(Ok(coded)) = coder.call(request).now_or_never() else {
            unreachable!("an answer that is there has neither to be waited for nor an error")
        };
        coded.map(erased_body)
    }
}

/// The coding a viewer would rather have than none (RFC 9110 §12.5.3); Brotli, if it has no preference.
fn preferred(headers: &HeaderMap) -> Option<Coding> {
    // In thousandths: none, Brotli, gzip.
    let mut weights = [0; 3];
    for line in headers.get_all(ACCEPT_ENCODING) {
        for member in line.to_str().ok()?.split(',') {
            let (name, weight) = member.split_once(';').unwrap_or((member, "q=1"));
            let index = match name.trim().to_ascii_lowercase().as_str() {
                "identity" => 0,
                "br" => 1,
                "gzip" | "x-gzip" => 2,
                _ => continue,
            };
            let weight: f32 = weight
                .trim()
                .strip_prefix(['q', 'Q'])?
                .trim_start()
                .strip_prefix('=')?
                .trim()
                .parse()
                .ok()?;
            weights[index] = (weight.clamp(0.0, 1.0) * 1000.0) as u32;
        }
    }
    let [none, brotli, gzip] = weights;
    match brotli.max(gzip) {
        0 => None,
        most if none > most => None,
        most if most == brotli => Some(Coding::Brotli),
        _ => Some(Coding::Gzip),
    }
}

/// The weak tag of a condition that names no other. Origins that compare letter by letter know theirs only.
fn name_both_ways(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(IF_NONE_MATCH).iter();
    let (Some(weak), None) = (lines.next().cloned(), lines.next()) else { return None };
    let strong = weak.as_bytes().strip_prefix(b"W/")?;
    let opaque = strong.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if opaque.contains(&b'"') {
        return None;
    }
    let both = [weak.as_bytes(), b", ", strong].concat();
    headers.insert(IF_NONE_MATCH, HeaderValue::from_bytes(&both).ok()?);
    Some(weak)
}

/// Whether an answer is worth compressing and may be.
fn is_compressible<B>(response: &Response<B>) -> bool {
    let (status, headers) = (response.status(), response.headers());
    let has_whole = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
        );
    let is_long = headers.get(CONTENT_LENGTH).is_none_or(|length| {
        length.to_str().ok().and_then(|length| length.parse().ok()).is_some_and(|length: u64| length >= LEAST)
    });
    has_whole
        && is_long
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && is_text(headers)
        && !forbids(headers)
}

/// RFC 9110 §7.7, RFC 9111 §5.2.2.6; also where it is said to edges alone (RFC 9213).
fn forbids(headers: &HeaderMap) -> bool {
    let lines =
        [CACHE_CONTROL, HeaderName::from_static("cdn-cache-control")].map(|name| headers.get_all(name));
    let mut directives = lines.iter().flatten().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Whether a type is of text, or what else compresses well. An event stream is none: each event is to come when it is sent. Nor
/// is gRPC, which has codings of its own.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.split_once('/') {
        Some(("text", "event-stream")) => false,
        Some(("application", name)) if name.starts_with("grpc") => false,
        Some(
            ("text", _)
            | ("font", "ttf" | "otf" | "collection")
            | ("image", "bmp" | "x-icon" | "vnd.microsoft.icon"),
        ) => true,
        Some(("application", name)) => {
            matches!(
                name,
                "javascript"
                    | "ecmascript"
                    | "x-javascript"
                    | "json"
                    | "xml"
                    | "wasm"
                    | "x-ndjson"
                    | "rtf"
                    | "x-font-ttf"
                    | "vnd.ms-fontobject"
                    | "vnd.apple.mpegurl"
                    | "x-mpegurl"
            ) || name.ends_with("+json")
                || name.ends_with("+xml")
        }
        // SVG, among others.
        Some((_, name)) => name.ends_with("+xml") || name.ends_with("+json"),
        None => false,
    }
}

/// Removes what is said of the bytes as they were.
fn forget_bytes(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        headers.remove(name);
    }
}

fn vary(headers: &mut HeaderMap) {
    let is_there = headers.get_all(VARY).iter().any(|line| {
        let mut names = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes()))
    });
    if !is_there {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

fn weaken(headers: &mut HeaderMap) {
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    // Two letters in front of a value leave it one.
    if let Some(weak) = strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok())
    {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_what_is_like_it_is_compressed() {
        for (kind, expected) in [
            ("text/html; charset=utf-8", true),
            ("Application/JSON", true),
            ("application/problem+json", true),
            ("image/svg+xml", true),
            ("application/vnd.apple.mpegurl", true),
            ("text/event-stream", false),
            ("application/grpc", false),
            ("application/grpc+json", false),
            ("application/grpc-web+json", false),
            ("image/png", false),
            ("text", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_text(&headers), expected, "{kind}");
        }
        assert!(!is_text(&HeaderMap::new()));
    }
}
