//! Where content comes from: origins, and groups of them.

use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;
use hyper::http::uri::{Authority, Scheme};
use tower_edge::origin::{GroupPolicy, HealthPolicy};

use super::nearest::nearest;
use super::report::Place;
use super::section::{At, Section};
use super::words;
use crate::forms::{duration, site, size, some_time, url};

/// An origin, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) place: Place,
}

/// What an origin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Upstream(Upstream),
    Bucket(Bucket),
    Demo,
}

/// An HTTP site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// It sees its own name in `Host`, not the viewer's.
    pub(crate) rewrite_host: bool,
    /// Certificates it is to be trusted by, instead of those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    /// What it is shown when it asks who the edge is: a chain of certificates, and the key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) http2: bool,
    pub(crate) connect_time: Duration,
    pub(crate) first_byte_time: Duration,
    pub(crate) between_bytes_time: Duration,
    pub(crate) quiet_time: Duration,
}

/// A bucket of an S3-compatible store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) bucket: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) prefix: String,
    pub(crate) index: Option<String>,
    pub(crate) error_pages: Vec<(StatusCode, String)>,
    pub(crate) writes: bool,
    pub(crate) part_size: u64,
    pub(crate) parallel: u64,
    pub(crate) connect_time: Duration,
    pub(crate) first_byte_time: Duration,
    pub(crate) between_bytes_time: Duration,
}

#[derive(Clone, Copy)]
enum Word {
    Upstream,
    Bucket,
    Demo,
}

pub(super) fn origins(root: &Section<'_>) -> Vec<Origin> {
    let mut origins = Vec::new();
    for (At { value: name, place }, section) in root.named("origin") {
        let kinds = [("upstream", Word::Upstream), ("bucket", Word::Bucket), ("demo", Word::Demo)];
        let kind = section.needed("kind", |text| super::section::one_of(text, &kinds));
        let Some(kind) = kind else {
            if section.is_there() {
                section.with_any_keys();
            } else {
                // For the record of all keys.
                let _ = (upstream(&section), bucket(&section));
                root.problem(section.place, "there is no [origin.NAME]");
            }
            continue;
        };
        let kind = match kind.value {
            Word::Upstream => upstream(&section).map(Kind::Upstream),
            Word::Bucket => bucket(&section).map(Kind::Bucket),
            Word::Demo => Some(Kind::Demo),
        };
        // One whose settings are wrong can be named all the same.
        origins.push(Origin { name, kind: kind.unwrap_or(Kind::Demo), place });
    }
    origins
}

fn upstream(section: &Section<'_>) -> Option<Upstream> {
    let url = section.needed("url", site);
    let rewrite_host = section.word("host", &[("keep", false), ("rewrite", true)]).unwrap_or(false);
    let ca_file = section.text("ca-file", words).map(|file| file.value.into());
    let identity = identity(section);
    let http2 = section.flag("http2").unwrap_or(false);
    let connect_time = connect_time(section);
    let (first_byte_time, between_bytes_time) = answer_times(section);
    let quiet_time = time(section, "quiet-time", Duration::from_secs(600));
    let At { value: (scheme, authority), place } = url?;
    if scheme == Scheme::HTTP && (ca_file.is_some() || identity.is_some()) {
        section.problem(place, "url: without https:// there are no certificates");
    }
    Some(Upstream {
        scheme,
        authority,
        rewrite_host,
        ca_file,
        identity,
        http2,
        connect_time,
        first_byte_time,
        between_bytes_time,
        quiet_time,
    })
}

fn identity(section: &Section<'_>) -> Option<(PathBuf, PathBuf)> {
    let file = |key| section.text(key, words).map(|file| PathBuf::from(file.value));
    match (file("client-certificate"), file("client-key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            section.problem(section.place, "client-certificate and client-key need each other");
            None
        }
    }
}

fn time(section: &Section<'_>, key: &'static str, usual: Duration) -> Duration {
    section.text(key, some_time).map_or(usual, |time| time.value)
}

fn connect_time(section: &Section<'_>) -> Duration {
    time(section, "connect-time", Duration::from_millis(3500))
}

fn answer_times(section: &Section<'_>) -> (Duration, Duration) {
    (
        time(section, "first-byte-time", Duration::from_secs(30)),
        time(section, "between-bytes-time", Duration::from_secs(15)),
    )
}

fn bucket(section: &Section<'_>) -> Option<Bucket> {
    const MIB: u64 = 1024 * 1024;
    let part_size = |text: &str| match size(text)? {
        size if (5 * MIB..=1024 * MIB).contains(&size) => Ok(size),
        _ => Err("not from 5MiB, under which S3 takes no part, to 1GiB"),
    };
    let bucket = section.needed("bucket", words);
    let endpoint = section.text("endpoint", url);
    let region = section.text("region", words);
    let prefix = section.text("prefix", words);
    let index = section.text("index", words);
    let error_pages = section.by_status("error-page", words);
    let writes = section.flag("writes").unwrap_or(false);
    let part_size = section.text("part-size", part_size).map_or(8 * MIB, |size| size.value);
    let parallel = section.number("parallel", 1, 256).unwrap_or(8);
    let connect_time = connect_time(section);
    let (first_byte_time, between_bytes_time) = answer_times(section);
    if let Some((status, _)) = error_pages.iter().find(|(status, _)| !status.is_client_error()) {
        section.problem(section.place, format!("error-page: {} is not of the 400s", status.as_u16()));
    }
    Some(Bucket {
        bucket: bucket?.value,
        endpoint: endpoint.map(|endpoint| endpoint.value),
        region: region.map(|region| region.value),
        prefix: prefix.map(|prefix| prefix.value).unwrap_or_default(),
        index: index.map(|index| index.value),
        error_pages,
        writes,
        part_size,
        parallel,
        connect_time,
        first_byte_time,
        between_bytes_time,
    })
}

/// How long a body may be silent until another member is asked for the rest of it.
const BODY_TIME: Duration = Duration::from_secs(5);

/// Origins with the same content, by a name of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Names of origins, at least one.
    pub(crate) members: Vec<String>,
    pub(crate) policy: GroupPolicy,
    pub(crate) place: Place,
}

pub(super) fn groups(root: &Section<'_>, origins: &[Origin], edge: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for (At { value: name, place }, section) in root.named("group") {
        let members = section.list("members", words);
        let usual = GroupPolicy::default();
        let statuses = section.numbers("statuses", 400, 599).map_or(usual.statuses, |numbers| {
            numbers.into_iter().filter_map(|number| StatusCode::from_u16(number as u16).ok()).collect()
        });
        let head_time = section.text("head-time", some_time).map(|time| time.value);
        let body_time = section.text("body-time", some_time).map_or(BODY_TIME, |time| time.value);
        let health = health(&section);
        if !section.is_there() {
            continue;
        }
        let members = members.unwrap_or_default();
        if members.is_empty() {
            section.problem(section.place, "members is missing or empty");
        }
        if origins.iter().any(|origin| origin.name == name) {
            section.problem(place, format!("{name:?} is an origin already"));
        }
        for (index, member) in members.iter().enumerate() {
            if let Err(reason) =
                find(&member.value, origins.iter().map(|origin| origin.name.as_str()), "origin")
            {
                section.problem(member.place, reason);
            }
            if members[..index].iter().any(|before| before.value == member.value) {
                section.problem(member.place, format!("{:?} is there twice", member.value));
            }
        }
        let members = members.into_iter().map(|member| member.value).collect();
        let policy = GroupPolicy {
            statuses,
            head_time,
            body_time: Some(body_time),
            health,
            proxy_status: Some(edge.to_owned()),
        };
        groups.push(Group { name, members, policy, place });
    }
    groups
}

fn health(section: &Section<'_>) -> HealthPolicy {
    let usual = HealthPolicy::default();
    let time = |key, usual| section.text(key, some_time).map_or(usual, |time| time.value);
    let health = HealthPolicy {
        failures: section.number("failures", 0, 255).map_or(usual.failures, |number| number as u8),
        window: section.text("window", duration).map_or(usual.window, |time| time.value),
        back_off: time("back-off", usual.back_off),
        longest_back_off: time("longest-back-off", usual.longest_back_off),
    };
    if health.longest_back_off < health.back_off {
        section.problem(section.place, "longest-back-off is shorter than back-off");
    }
    health
}

/// Whether a name is one of those there are.
pub(super) fn find<'a>(
    name: &str,
    mut known: impl Iterator<Item = &'a str> + Clone,
    what: &str,
) -> Result<(), String> {
    let nearest = nearest(name, known.clone());
    if known.any(|known| known == name) {
        return Ok(());
    }
    Err(match nearest {
        Some(meant) => format!("there is no {what} {name:?}; did you mean {meant:?}?"),
        None => format!("there is no {what} {name:?}"),
    })
}
