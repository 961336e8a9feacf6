//! How long and by what things are kept: named policies.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderName;
use tower_edge::{
    Authorization, CachePolicy, Edge, Heuristic, KeyPolicy, Limits, Normalise, RequestDirectives, Select,
    SetCookie, Stale, TagField, TagSeparator, Tags, Targeted, Ttl, Writes,
};

use super::section::{At, Section};
use super::words;
use crate::forms::{NO_FIELD, duration, field, size};

/// The policies, by their names.
pub(super) fn policies(root: &Section<'_>, capacity: u64) -> BTreeMap<String, CachePolicy> {
    let mut policies = BTreeMap::new();
    for (At { value: name, place }, section) in root.named("policy") {
        let policy = policy(&section);
        if !section.is_there() {
            continue;
        }
        // What the library has to say to it.
        if let Err(error) = Edge::builder().capacity(capacity).policy(policy.clone()).build() {
            let error = error.to_string();
            section.problem(place, error.strip_prefix("policy: ").unwrap_or(&error).replace('_', "-"));
        }
        policies.insert(name, policy);
    }
    policies
}

fn policy(section: &Section<'_>) -> CachePolicy {
    CachePolicy {
        ttl: ttl(&section.section("ttl")),
        error_ttl: section.by_status("error-ttl", duration),
        error_ttl_max: section.by_status("error-ttl-max", duration),
        heuristic: heuristic(&section.section("heuristic")),
        stale: stale(&section.section("stale")),
        key: KeyPolicy {
            query: select(section, "query").unwrap_or_default(),
            headers: select(section, "headers"),
            cookies: select(section, "cookies"),
            custom: None,
        },
        normalise: normalise(&section.section("normalise")),
        targeted: targeted(&section.section("targeted")),
        tags: tags(section),
        request_directives: section
            .word(
                "request-directives",
                &[("honour", RequestDirectives::Honour), ("ignore", RequestDirectives::Ignore)],
            )
            .unwrap_or_default(),
        set_cookie: section
            .word(
                "set-cookie",
                &[
                    ("no-store", SetCookie::DoNotStore),
                    ("strip", SetCookie::Strip),
                    ("store", SetCookie::Store),
                ],
            )
            .unwrap_or_default(),
        authorization: section
            .word(
                "authorization",
                &[("explicit", Authorization::Explicit), ("bypass", Authorization::Bypass)],
            )
            .unwrap_or_default(),
        writes: section
            .word("writes", &[("around", Writes::Around), ("through", Writes::Through)])
            .unwrap_or_default(),
        // Behaviors say these.
        prefetch: None,
        slices: None,
        limits: limits(&section.section("limits")),
    }
}

fn time(section: &Section<'_>, key: &'static str, usual: Duration) -> Duration {
    section.text(key, duration).map_or(usual, |time| time.value)
}

fn number(section: &Section<'_>, key: &'static str, usual: usize) -> usize {
    section.number(key, 0, 1 << 20).map_or(usual, |number| number as usize)
}

fn ttl(section: &Section<'_>) -> Ttl {
    let usual = Ttl::default();
    Ttl {
        min: time(section, "min", usual.min),
        default: section.text("default", duration).map(|time| time.value),
        max: time(section, "max", usual.max),
        override_origin: section.flag("override-origin").unwrap_or(usual.override_origin),
    }
}

fn heuristic(section: &Section<'_>) -> Heuristic {
    let usual = Heuristic::default();
    Heuristic {
        percent: section.number("percent", 0, 100).map_or(usual.percent, |percent| percent as u8),
        max: time(section, "max", usual.max),
    }
}

fn stale(section: &Section<'_>) -> Stale {
    let usual = Stale::default();
    Stale {
        while_revalidate: time(section, "while-revalidate", usual.while_revalidate),
        if_error: time(section, "if-error", usual.if_error),
        error_statuses: section.numbers("error-statuses", 400, 599).map_or(usual.error_statuses, |numbers| {
            numbers.into_iter().filter_map(|number| StatusCode::from_u16(number as u16).ok()).collect()
        }),
        if_disconnected: time(section, "if-disconnected", usual.if_disconnected),
        retry_after: time(section, "retry-after", usual.retry_after),
    }
}

/// `"all"`, `"none"`, or a table with one of `only` and `all-but`.
fn select(parent: &Section<'_>, key: &'static str) -> Option<Select> {
    if parent.is_text(key) {
        return parent.word(key, &[("all", Select::All), ("none", Select::None)]);
    }
    let section = parent.section(key);
    let name = |text: &str| match key {
        "headers" => text.parse::<HeaderName>().map(|_| text.to_owned()).map_err(|_| NO_FIELD),
        _ => words(text),
    };
    let names = |names: Vec<At<String>>| names.into_iter().map(|name| name.value).collect();
    let (only, all_but) = (section.list("only", name), section.list("all-but", name));
    match (only, all_but) {
        _ if !section.is_there() => None,
        (Some(only), None) => Some(Select::Only(names(only))),
        (None, Some(all_but)) => Some(Select::AllBut(names(all_but))),
        _ => {
            let reason = format!("{key}: \"all\", \"none\", {{ only = [...] }} or {{ all-but = [...] }}");
            section.problem(section.place, reason);
            None
        }
    }
}

fn normalise(section: &Section<'_>) -> Normalise {
    let usual = Normalise::default();
    Normalise {
        accept_encoding: section.flag("accept-encoding").unwrap_or(usual.accept_encoding),
        accept_language: section.flag("accept-language").unwrap_or(usual.accept_language),
    }
}

fn targeted(section: &Section<'_>) -> Targeted {
    let usual = Targeted::default();
    let fields = section.list("fields", field);
    Targeted {
        fields: fields.map_or(usual.fields, |fields| fields.into_iter().map(|field| field.value).collect()),
        forward: section.flag("forward").unwrap_or(usual.forward),
    }
}

fn tags(section: &Section<'_>) -> Tags {
    let mut tags = Vec::new();
    let sections = section.sections("tags");
    let are_there = sections.iter().any(Section::is_there);
    for section in sections {
        let name = section.needed("field", str::parse::<HeaderName>);
        let separator = section
            .word("separator", &[("comma", TagSeparator::Comma), ("space", TagSeparator::Space)])
            .unwrap_or(TagSeparator::Comma);
        tags.extend(name.map(|name| TagField { name: name.value, separator }));
    }
    if are_there { Tags(tags) } else { Tags::default() }
}

fn limits(section: &Section<'_>) -> Limits {
    let usual = Limits::default();
    Limits {
        object_size: section.text("object-size", size).map(|size| size.value).or(usual.object_size),
        variants: number(section, "variants", usual.variants),
        head_size: section.text("head-size", size).map_or(usual.head_size, |size| size.value as usize),
        head_fields: number(section, "head-fields", usual.head_fields),
        ranges: number(section, "ranges", usual.ranges),
        follower_wait: time(section, "follower-wait", usual.follower_wait),
        follower_retries: section
            .number("follower-retries", 0, 255)
            .map_or(usual.follower_retries, |retries| retries as u8),
        uncacheable_memo: time(section, "uncacheable-memo", usual.uncacheable_memo),
    }
}
