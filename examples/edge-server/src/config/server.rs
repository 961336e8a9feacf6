//! The server itself: listeners, limits, the control port, what clearing costs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tower_edge::Tariff;
use tower_edge::distribution::viewer::Prefix;

use super::report::Place;
use super::section::{Section, one_of};
use super::words;
use crate::forms::{address, size, some_time};
use crate::trust::{Fields, Proxies};

/// Where viewers come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
    pub(crate) http2: bool,
    pub(crate) place: Place,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) place: Place,
}

pub(super) fn listeners(root: &Section<'_>) -> Option<Vec<Listener>> {
    let mut listeners: Vec<Listener> = Vec::new();
    for section in root.sections("listener") {
        let address = section.needed("address", address);
        let http2 = section.flag("http2").unwrap_or(true);
        let tls = tls(&section.section("tls"));
        if !section.is_there() {
            root.problem(section.place, "there is no [[listener]], so nobody could come in");
            continue;
        }
        let Some(address) = address else { continue };
        let taken = listeners.iter().any(|other| other.address == address.value && address.value.port() != 0);
        if taken {
            section.problem(address.place, format!("another listener has {}", address.value));
        }
        listeners.push(Listener { address: address.value, tls, http2, place: address.place });
    }
    if listeners.is_empty() { None } else { Some(listeners) }
}

fn tls(section: &Section<'_>) -> Option<Tls> {
    let certificate = section.needed("certificate", words);
    let key = section.needed("key", words);
    Some(Tls { certificate: certificate?.value.into(), key: key?.value.into(), place: section.place })
}

/// Where operators come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) address: SocketAddr,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) place: Place,
}

impl Control {
    /// `None` if it is wrong.
    #[allow(
        clippy::option_option,
        reason = "the outer one says whether it is right, the inner one whether it is there"
    )]
    pub(super) fn read(section: &Section<'_>) -> Option<Option<Self>> {
        let address = section.needed("address", address);
        let token_file = section.text("token-file", words).map(|file| PathBuf::from(file.value));
        if !section.is_there() {
            return Some(None);
        }
        let address = address?;
        if !address.value.ip().is_loopback() && token_file.is_none() {
            section.problem(address.place, "address: not a loopback address, so token-file is needed");
        }
        Some(Some(Self { address: address.value, token_file, place: address.place }))
    }
}

/// Proxies in front, and the fields in which they speak.
pub(super) fn proxies(root: &Section<'_>) -> Proxies {
    let words = [("x-forwarded", Fields::XForwarded), ("forwarded", Fields::Forwarded)];
    let trusted = root.list("trusted-proxies", str::parse::<Prefix>).unwrap_or_default();
    let fields = root.text("proxy-fields", |text| one_of(text, &words));
    if let Some(fields) = &fields
        && trusted.is_empty()
    {
        root.problem(
            fields.place,
            "proxy-fields: they count only from trusted-proxies, of which there are none",
        );
    }
    Proxies {
        trusted: trusted.into_iter().map(|prefix| prefix.value).collect(),
        fields: fields.map(|fields| fields.value).unwrap_or_default(),
    }
}

/// Fields of a request's head. For as many as hyper takes by itself it has room on the stack; for any other limit it
/// fetches room, and clears it, at each request.
pub(crate) const HEAD_FIELDS: usize = 100;

/// What viewers may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) head_size: u32,
    pub(crate) head_fields: usize,
    pub(crate) head_time: Duration,
    pub(crate) unread_time: Duration,
    pub(crate) shutdown_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_size: 64 * 1024,
            head_fields: HEAD_FIELDS,
            head_time: Duration::from_secs(10),
            unread_time: Duration::from_secs(60),
            shutdown_time: Duration::from_secs(10),
        }
    }
}

impl Limits {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let usual = Self::default();
        let time = |key, usual| section.text(key, some_time).map_or(usual, |time| time.value);
        Self {
            connections: section
                .number("connections", 1, 1_000_000)
                .map_or(usual.connections, |n| n as usize),
            head_size: section.text("head-size", head_size).map_or(usual.head_size, |size| size.value),
            head_fields: section.number("head-fields", 1, 1024).map_or(usual.head_fields, |n| n as usize),
            head_time: time("head-time", usual.head_time),
            unread_time: time("unread-time", usual.unread_time),
            shutdown_time: time("shutdown-time", usual.shutdown_time),
        }
    }
}

/// hyper's buffer has to be 8 KiB at least.
fn head_size(text: &str) -> Result<u32, &'static str> {
    let size = size(text)?;
    let ranged = u32::try_from(size).ok().filter(|size| (8 * 1024..=1024 * 1024).contains(size));
    ranged.ok_or("not from 8KiB to 1MiB")
}

/// Capacity and number of fills.
pub(super) fn cache(section: &Section<'_>) -> (u64, u64) {
    const LEAST: u64 = 64 * 1024;
    let capacity = |text: &str| match size(text)? {
        0..LEAST => Err("under 64KiB"),
        size => Ok(size),
    };
    (
        section.text("capacity", capacity).map_or(512 * 1024 * 1024, |size| size.value),
        section.number("max-fills", 1, 1_000_000).unwrap_or(1024),
    )
}

pub(super) fn tariff(section: &Section<'_>) -> Tariff {
    let usual = Tariff::default();
    Tariff {
        free_paths: section.number("free-paths", 0, u64::MAX).unwrap_or(usual.free_paths),
        price: section.number("price", 0, u64::MAX).unwrap_or(usual.price),
        budget: section.number("budget", 0, u64::MAX).or(usual.budget),
        paths_in_progress: section
            .number("paths-in-progress", 1, u64::MAX)
            .unwrap_or(usual.paths_in_progress),
        wildcards_in_progress: section
            .number("wildcards-in-progress", 1, u64::MAX)
            .unwrap_or(usual.wildcards_in_progress),
    }
}
