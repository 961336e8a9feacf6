//! Large objects are fetched and stored in slices: each when somebody needs it, once, and never those of two states of the
//! object together.

mod basics;
mod changes;
mod many;
mod rules;
mod whole;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use tower_edge::{CachePolicy, Limits, Slices};

use crate::support::{Origin, OriginBody, Reply, Seen, World, response};

/// The smallest there are.
pub(super) const SIZE: u64 = 4096;

/// What an origin serves at the moment.
#[derive(Clone, Debug)]
pub(super) struct Film {
    pub(super) content: Bytes,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) takes_ranges: bool,
}

impl Film {
    /// Of so many bytes, that differ with the `generation`.
    pub(super) fn new(generation: usize, length: usize) -> Self {
        let fields = vec![
            ("cache-control", "max-age=60".to_owned()),
            ("content-type", "video/mp4".to_owned()),
            ("etag", format!("\"{generation}\"")),
        ];
        Self { content: content(generation, length), fields, takes_ranges: true }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.fields.push((name, value.to_owned()));
        }
        self
    }

    /// What an origin answers that does everything right.
    pub(super) fn answer(&self, seen: &Seen) -> Response<OriginBody> {
        let mut fields: Vec<(&str, &str)> =
            self.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let tag = self.fields.iter().find(|(name, _)| *name == "etag").map(|(_, tag)| tag.as_str());
        if let (Some(condition), Some(tag)) = (seen.headers.get("if-none-match"), tag)
            && condition == tag
        {
            return response(304, &fields, "");
        }
        let is_other =
            seen.headers.get("if-range").is_some_and(|condition| Some(condition.to_str().unwrap()) != tag);
        let range = seen.headers.get("range").filter(|_| self.takes_ranges && !is_other);
        let Some(range) = range else {
            if self.takes_ranges {
                fields.push(("accept-ranges", "bytes"));
            }
            return response(200, &fields, self.content.clone());
        };
        let total = self.content.len() as u64;
        // Of several, the last is enough here.
        let range = range
            .to_str()
            .unwrap()
            .rsplit_once(',')
            .map_or(range.to_str().unwrap().to_owned(), |(_, last)| format!("bytes={last}"));
        let Range { start, end } = parse(&range, total);
        if total == 0 && range.starts_with("bytes=-") {
            return response(200, &fields, "");
        }
        if start >= end {
            return response(416, &[("content-range", &format!("bytes */{total}"))], "");
        }
        let content_range = format!("bytes {start}-{}/{total}", end - 1);
        fields.push(("content-range", &content_range));
        response(206, &fields, self.content.slice(start as usize..end as usize))
    }
}

/// `bytes=a-b`, as the edge asks.
pub(super) fn parse(range: &str, total: u64) -> Range<u64> {
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let last = last.parse::<u64>().unwrap_or(u64::MAX - 1);
    match first.parse::<u64>() {
        Ok(first) => first..(last + 1).min(total),
        Err(_) => total.saturating_sub(last)..total,
    }
}

pub(super) fn content(generation: usize, length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 251 + generation * 7) as u8).collect::<Vec<_>>().into()
}

/// An edge in front of an origin whose one object can be changed.
pub(super) struct Cinema {
    pub(super) world: World,
    pub(super) film: Arc<Mutex<Film>>,
}

impl Cinema {
    pub(super) fn new(film: Film) -> Self {
        Self::with(film, policy())
    }

    pub(super) fn with(film: Film, policy: CachePolicy) -> Self {
        let film = Arc::new(Mutex::new(film));
        let shown = Arc::clone(&film);
        let origin = Origin::new(move |seen| {
            let answer = shown.lock().unwrap().answer(&seen);
            async move { Ok(answer) }
        });
        Self { world: World::with_policy(origin, policy), film }
    }

    pub(super) fn show(&self, film: Film) {
        *self.film.lock().unwrap() = film;
    }

    pub(super) async fn range(&self, range: &str) -> Reply {
        self.world.get_with("/film", &[("range", range)]).await
    }

    /// The ranges that the origin was asked for, `whole` for none.
    pub(super) fn asked(&self) -> Vec<String> {
        let seen = self.world.origin.seen();
        let range = |seen: &Seen| {
            seen.headers.get("range").map_or("whole".to_owned(), |range| range.to_str().unwrap().to_owned())
        };
        seen.iter().map(range).collect()
    }
}

pub(super) fn policy() -> CachePolicy {
    sliced(Slices { threshold: 2 * SIZE, read_ahead: 0, ..Slices::of(SIZE) })
}

pub(super) fn sliced(slices: Slices) -> CachePolicy {
    let limits = Limits { object_size: Some(64 * 1024), ..Limits::default() };
    CachePolicy { slices: Some(slices), limits, ..CachePolicy::default() }
}
