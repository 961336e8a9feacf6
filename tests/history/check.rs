//! What a viewer may see: nothing from below the floors that were there when it asked, as a whole or as the part it asked for,
//! and in its own variant.

use std::ops::Range;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, StatusCode};
use tower_edge::{CachePolicy, Detail, Disposition, ForwardReason, Outcome};

use crate::operation::Read;
use crate::origin::{CONTENT, EXCHANGE, FETCHED, number as field};
use crate::record::What;
use crate::run::{Site, World};
use crate::site::Content;
use crate::truth::{Floors, Seen};

/// One read, as far as it is checked.
pub(crate) struct Viewer<'a> {
    site: &'a Site,
    policy: &'a CachePolicy,
    number: u32,
    read: &'a Read,
    request: HeaderMap,
    floors: Floors,
}

/// What the body is to be.
pub(crate) enum Expected {
    Nothing,
    Body(Vec<u8>),
}

impl<'a> Viewer<'a> {
    /// The read starts now.
    pub(crate) fn new(world: &'a World, number: u32, read: &'a Read, request: &HeaderMap) -> Self {
        let site = &*world.site;
        let floors = site.truth().floors(read.object);
        Self { site, policy: &world.policy, number, read, request: request.clone(), floors }
    }

    fn violated(&self, why: impl Into<String>) {
        self.site.violated(self.number, self.read.object, why.into());
    }

    /// Checks a head that just came.
    pub(crate) fn head(&self, head: &Parts, outcome: Outcome) -> Expected {
        let (content, exchange) = (told(&head.headers, CONTENT), told(&head.headers, EXCHANGE));
        self.site.record(self.number, Some(self.read.object), What::Head(spelt(head, outcome)));
        self.site.count(kind(outcome));
        let (Some(id), Some(exchange)) = (content, exchange) else {
            // The origin's error, or one that the edge made up. Of content it says nothing.
            if !head.status.is_server_error() {
                self.violated("an answer without content");
            }
            return Expected::Nothing;
        };
        let content = Content { object: self.read.object, id: id as u32 };
        let seen = Seen { content, exchange, fetched: field(&head.headers, FETCHED) };
        let forbidden = self.site.truth().forbids(&self.floors, seen);
        if let Some(why) = forbidden {
            self.violated(format!("{} sees {why}", spelt(head, outcome)));
        }
        self.softened(&head.headers, seen, outcome);
        self.site.count(match head.status {
            StatusCode::OK => "answer: whole",
            StatusCode::PARTIAL_CONTENT => "answer: a part",
            StatusCode::NOT_MODIFIED => "answer: not modified",
            StatusCode::NOT_FOUND => "answer: gone",
            StatusCode::RANGE_NOT_SATISFIABLE => "answer: no such part",
            _ => "answer: another",
        });
        self.expected(head, content)
    }

    /// A soft invalidation came before this read: what it made stale is no fresh hit.
    fn softened(&self, headers: &HeaderMap, seen: Seen, outcome: Outcome) {
        let Some(since) = self.site.truth().softened(&self.floors, seen) else { return };
        let validated = outcome.fwd_status == Some(StatusCode::NOT_MODIFIED) && !outcome.collapsed;
        let window = match outcome.detail {
            Some(Detail::StaleWhileRevalidate) => {
                directive(headers, "stale-while-revalidate").unwrap_or(self.policy.stale.while_revalidate)
            }
            Some(Detail::StaleIfError) => directive(headers, "stale-if-error")
                .unwrap_or(self.policy.stale.if_error)
                .max(self.policy.stale.if_disconnected),
            Some(Detail::MaxStale) => directive(&self.request, "max-stale").unwrap_or(Duration::MAX),
            _ if validated => return,
            _ => {
                let exchange = seen.exchange;
                self.violated(format!(
                    "what exchange {exchange} brought is fresh, and was made stale at {since:?}"
                ));
                return;
            }
        };
        self.site.count("answer: stale by a soft invalidation");
        let stale = self.site.now().saturating_sub(since);
        if stale > window {
            self.violated(format!("stale for {stale:?}, which is longer than {window:?}"));
        }
    }

    /// What the body of this head has to be.
    fn expected(&self, head: &Parts, content: Content) -> Expected {
        let exists = self.site.truth().exists(content).unwrap_or(true);
        let variant = if exists { content.variant(self.read.colour) } else { 0 };
        let etag = content.etag(variant).filter(|_| exists);
        let told = head.headers.get("etag");
        if told.is_some_and(|told| etag.as_deref().is_none_or(|etag| told != etag)) {
            self.violated(format!("{told:?} is the tag of another variant than {etag:?}"));
        }
        let named = |name| {
            self.request.get(name).is_some_and(|named| etag.as_deref().is_some_and(|etag| named == etag))
        };
        let whole = content.body(variant);
        let length = whole.len() as u64;
        let body = match head.status {
            StatusCode::OK | StatusCode::NOT_FOUND if exists == (head.status == StatusCode::OK) => whole,
            StatusCode::NOT_MODIFIED => {
                if !named("if-none-match") {
                    self.violated("not modified, and the viewer has another copy");
                }
                return Expected::Nothing;
            }
            StatusCode::PARTIAL_CONTENT if exists => {
                if self.request.contains_key("if-range") && !named("if-range") {
                    self.violated("a part of another content than the viewer has");
                }
                let told = head.headers.get("content-range").and_then(|value| value.to_str().ok());
                let range = asked(&self.request, length);
                let (first, last) = (range.start, range.end.saturating_sub(1));
                if told != Some(&*format!("bytes {first}-{last}/{length}")) {
                    self.violated(format!("the part {told:?} is not {range:?} of {length}"));
                }
                whole.get(range.start as usize..range.end as usize).map(<[u8]>::to_vec).unwrap_or_default()
            }
            StatusCode::RANGE_NOT_SATISFIABLE if asked(&self.request, length).is_empty() => {
                return Expected::Nothing;
            }
            status => {
                self.violated(format!("{status} for content {}, which does not go together", content.id));
                return Expected::Nothing;
            }
        };
        let told = field(&head.headers, "content-length");
        if told.is_some_and(|told| told != body.len() as u64) {
            self.violated(format!("a length of {told:?}, which is {}", body.len()));
        }
        if self.read.head { Expected::Nothing } else { Expected::Body(body) }
    }

    /// Checks a body that ended as if it were whole.
    pub(crate) fn body(&self, head: &Parts, outcome: Outcome, read: &[u8], expected: &[u8]) -> &'static str {
        if read == expected {
            return "read: whole";
        }
        // The origin's own body goes to the one it is for as it comes; the length it does not reach gives it away.
        let shared = outcome.is_hit() || outcome.collapsed || outcome.stored;
        if !shared && expected.starts_with(read) && field(&head.headers, "content-length").is_some() {
            return "read: cut short by the origin";
        }
        let at = read.iter().zip(expected).position(|(read, expected)| read != expected);
        let at = at.unwrap_or(read.len().min(expected.len()));
        let begins = String::from_utf8_lossy(&read[..read.len().min(40)]).into_owned();
        self.violated(format!(
            "{} bytes that begin with {begins:?} where {} are expected, other from {at} on",
            read.len(),
            expected.len(),
        ));
        "read: wrong"
    }
}

/// The range a request asks for, in a content of this length. Empty if there is none.
fn asked(request: &HeaderMap, length: u64) -> Range<u64> {
    let range = request.get("range").and_then(|value| value.to_str().ok()).unwrap_or("bytes=-");
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap_or_default();
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..length.min(last + 1).max(first),
        (Ok(first), Err(_)) => first..length.max(first),
        (Err(_), Ok(last)) => length.saturating_sub(last)..length,
        (Err(_), Err(_)) => 0..0,
    }
}

/// A number that an answer has in a field or, if it is what a PUT sent, in `Cache-Control`.
fn told(headers: &HeaderMap, name: &str) -> Option<u64> {
    field(headers, name).or_else(|| directive(headers, name).map(|number| number.as_secs()))
}

/// The seconds a directive of `Cache-Control` gives.
fn directive(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let value = headers.get("cache-control")?.to_str().ok()?;
    let seconds = value.split(", ").find_map(|one| one.strip_prefix(name)?.strip_prefix('='))?;
    seconds.parse().ok().map(Duration::from_secs)
}

fn spelt(head: &Parts, outcome: Outcome) -> String {
    let seen = |name| match field(&head.headers, name) {
        Some(number) => number.to_string(),
        None => "none".to_owned(),
    };
    let status = head.headers.get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let control = head.headers.get("cache-control").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let what = if outcome.is_hit() { "hit" } else { "answer" };
    format!(
        "{what} {}: content {}, exchange {}, fetched by {} ({control}; {status})",
        head.status,
        seen(CONTENT),
        seen(EXCHANGE),
        seen(FETCHED)
    )
}

/// How a read was answered, in a word.
fn kind(outcome: Outcome) -> &'static str {
    let Outcome { disposition, detail, collapsed, fwd_status, .. } = outcome;
    match (disposition, detail) {
        (_, Some(Detail::StaleWhileRevalidate)) => "stale: while revalidating",
        (_, Some(Detail::StaleIfError)) => "stale: in place of an error",
        (_, Some(Detail::MaxStale)) => "stale: as the viewer allows",
        (_, Some(Detail::OnlyIfCached)) => "forward: only if cached",
        (_, Some(Detail::Busy)) => "forward: busy",
        (_, Some(Detail::Timeout)) => "forward: waited in vain",
        (_, Some(Detail::Uncacheable)) => "forward: uncacheable",
        (_, Some(Detail::OriginError)) => "forward: origin failed all",
        (Disposition::Hit, _) => "hit",
        _ if collapsed => "joined",
        _ if fwd_status == Some(StatusCode::NOT_MODIFIED) => "revalidated",
        (Disposition::Forward(ForwardReason::VaryMiss), _) => "miss: another variant",
        (Disposition::Forward(ForwardReason::Stale), _) => "miss: stale",
        (Disposition::Forward(ForwardReason::Request), _) => "miss: the viewer's wish",
        (Disposition::Forward(ForwardReason::Partial), _) => "miss: another part",
        (Disposition::Forward(ForwardReason::UriMiss), _) => "miss",
        _ => "forward: other",
    }
}
