//! What is done for which paths: behaviors.

use std::collections::BTreeMap;

use hyper::Method;
use tower_edge::CachePolicy;

use super::origins::{Group, Origin, find};
use super::report::Place;
use super::section::Section;
use crate::forms;
use crate::media::{MOST_AHEAD, Media, Preset, slice_fits};

/// What is done for the paths that match a pattern.
#[derive(Clone, Debug)]
pub(crate) struct Behavior {
    pub(crate) path: String,
    /// The name of an origin or of a group.
    pub(crate) origin: String,
    pub(crate) policy: CachePolicy,
    pub(crate) media: Media,
    /// The methods that are allowed; `None` for all.
    pub(crate) methods: Option<Vec<Method>>,
    pub(crate) https: Https,
    /// Whether what its origin sends as it is, is compressed.
    pub(crate) compress: bool,
    /// Taken from the front of the path before it goes to the origin.
    pub(crate) strip_prefix: String,
    /// Put in front of it after that.
    pub(crate) add_prefix: String,
    pub(crate) place: Place,
}

impl Behavior {
    /// As the edge has it: the rules of the preset, and that for the rest.
    pub(crate) fn rules(&self) -> Vec<tower_edge::Behavior> {
        let mut rules = self.media.behaviors(&self.path, &self.policy);
        rules.push(tower_edge::Behavior::new(self.path.as_str(), self.policy.clone()));
        rules
    }
}

/// What becomes of viewers without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Https {
    /// They are served.
    #[default]
    Any,
    /// They are sent to the same place with TLS.
    Redirect,
    /// They are refused.
    Only,
}

pub(super) fn behaviors(
    root: &Section<'_>,
    origins: &[Origin],
    groups: &[Group],
    policies: &BTreeMap<String, CachePolicy>,
    capacity: u64,
) -> Option<Vec<Behavior>> {
    let sources = || {
        origins
            .iter()
            .map(|origin| origin.name.as_str())
            .chain(groups.iter().map(|group| group.name.as_str()))
    };
    let mut behaviors: Vec<Behavior> = Vec::new();
    let mut is_whole = true;
    for section in root.sections("behavior") {
        let path = section.needed("path", pattern);
        let origin = section
            .needed("origin", |text| find(text, sources(), "origin or group").map(|()| text.to_owned()));
        let policy = section.text("policy", |text| {
            find(text, policies.keys().map(String::as_str), "policy").map(|()| policies[text].clone())
        });
        let media = media(&section, capacity);
        let methods = section.list("methods", method);
        let https = section
            .word("https", &[("any", Https::Any), ("redirect", Https::Redirect), ("only", Https::Only)]);
        let compress = section.flag("compress").unwrap_or(false);
        let strip_prefix = section.text("strip-prefix", prefix);
        let add_prefix = section.text("add-prefix", prefix);
        if !section.is_there() {
            root.problem(section.place, "there is no [[behavior]], so there would be nothing to see");
            return None;
        }
        let (Some(path), Some(origin)) = (path, origin) else {
            is_whole = false;
            continue;
        };
        if let Some(earlier) = behaviors.iter().find(|earlier| hides(&earlier.path, &path.value)) {
            let reason = format!("path {:?} never matches: {:?} is before it", path.value, earlier.path);
            section.problem(path.place, reason);
        }
        if let Some(strip) = &strip_prefix
            && !begins_with(&path.value, &strip.value)
        {
            let reason = format!("strip-prefix: not every path of {:?} begins with it", path.value);
            section.problem(strip.place, reason);
        }
        behaviors.push(Behavior {
            path: path.value,
            origin: origin.value,
            policy: media.policy(policy.map(|policy| policy.value).unwrap_or_default()),
            media,
            methods: methods.map(|methods| methods.into_iter().map(|method| method.value).collect()),
            https: https.unwrap_or_default(),
            compress,
            strip_prefix: strip_prefix.map(|prefix| prefix.value).unwrap_or_default(),
            add_prefix: add_prefix.map(|prefix| prefix.value).unwrap_or_default(),
            place: section.place,
        });
    }
    if is_whole && behaviors.iter().all(|behavior| behavior.path != "*") {
        let place = behaviors.last().map_or(root.place, |last| last.place);
        root.problem(place, "the last behavior must have path = \"*\", for all paths that no other takes");
    }
    Some(behaviors)
}

fn media(section: &Section<'_>, capacity: u64) -> Media {
    Media {
        preset: section.word("preset", &[("hls", Preset::Hls), ("dash", Preset::Dash)]),
        prefetch: section.number("prefetch", 1, MOST_AHEAD).map(|segments| segments as usize),
        slice: section.text("slice", |text| slice(text, capacity)).map(|size| size.value),
    }
}

/// Within what the library takes.
fn slice(text: &str, capacity: u64) -> Result<u64, &'static str> {
    let size = forms::size(text)?;
    slice_fits(size, capacity).map(|()| size)
}

/// Whether nothing is left for a pattern by one before it. Not every case: the one that happens.
fn hides(earlier: &str, later: &str) -> bool {
    earlier == "*"
        || earlier == later
        || earlier
            .strip_suffix('*')
            .is_some_and(|prefix| !prefix.contains(['*', '?']) && later.starts_with(prefix))
}

/// Whether all paths of a pattern begin with these whole segments.
fn begins_with(pattern: &str, prefix: &str) -> bool {
    pattern.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn pattern(text: &str) -> Result<String, &'static str> {
    if !text.starts_with(['/', '*', '?']) {
        return Err("a pattern starts with '/', '*' or '?', or it matches no path");
    }
    Ok(text.to_owned())
}

fn method(text: &str) -> Result<Method, &'static str> {
    match text.parse() {
        Ok(Method::CONNECT) => Err("CONNECT is for forward proxies"),
        Ok(method) => Ok(method),
        Err(_) => Err("not a method"),
    }
}

/// A run of whole segments.
fn prefix(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') || text.ends_with('/') {
        return Err("a prefix starts with '/' and does not end with it, such as /api");
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=:@".contains(&byte);
    let is_dots = |segment: &str| matches!(segment, "" | "." | "..");
    if !text.bytes().all(is_plain) || text[1..].split('/').any(is_dots) {
        return Err("a prefix has neither empty segments, dots alone, escapes nor wildcards");
    }
    Ok(text.to_owned())
}
