//! The distribution that an edge is one of.

use std::path::PathBuf;

use tower_edge::distribution::Coordinates;
use tower_edge::distribution::bus::WithoutContact;

use super::report::Place as InFile;
use super::section::Section;
use super::words;
use crate::distribution::Place;
use crate::forms;

/// What makes this edge one of a distribution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) redis: String,
    pub(crate) namespace: String,
    pub(crate) copies: u32,
    pub(crate) trusts_restarts: bool,
    pub(crate) without_contact: WithoutContact,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) parents: Vec<String>,
    /// Where its edges are, as far as they are named.
    pub(crate) places: Vec<Place>,
    pub(crate) addresses: Option<(PathBuf, InFile)>,
    pub(crate) maxmind: Option<(PathBuf, InFile)>,
    pub(crate) place: InFile,
}

/// More replicas than that no Redis has that answers in time.
const MAX_COPIES: u64 = 100;

impl Distribution {
    /// `None` if there is none, or it is wrong. `name` is this edge's.
    pub(super) fn read(section: &Section<'_>, name: &str) -> Option<Self> {
        let redis = section.needed("redis", words);
        let namespace = section.text("namespace", words);
        let copies = section.number("copies", 0, MAX_COPIES).unwrap_or_default();
        let copies = u32::try_from(copies).expect("so few are in range");
        let trusts_restarts = section.flag("trust-restarts").unwrap_or_default();
        let without_contact = section.text("without-contact", forms::without_contact);
        let token_file = section.text("edge-token-file", words).map(|file| file.value.into());
        let parents = section.list("parents", forms::url);
        let addresses = section.text("addresses", words).map(|file| (file.value.into(), file.place));
        let maxmind = section.text("maxmind", words).map(|file| (file.value.into(), file.place));
        let own = section.coordinates("at");
        let region = section.text("region", words).map_or_else(String::new, |region| region.value);
        let mut places = Vec::from_iter(own.map(|at| Place { name: name.to_owned(), region, at, url: None }));
        for edge in section.sections("edge") {
            let (name, at) = (edge.needed("name", forms::name), edge.needed_coordinates("at"));
            let region = edge.text("region", words).map_or_else(String::new, |region| region.value);
            let url = edge.text("url", |text| Ok::<_, &str>(text.to_owned())).map(|url| {
                if let Err(reason) = forms::base(&url.value) {
                    edge.problem(url.place, format!("[[distribution.edge]] url: {:?}: {reason}", url.value));
                }
                url.value
            });
            let (Some(name), Some(at)) = (name, at) else { continue };
            if places.iter().any(|place: &Place| place.name == name.value) {
                edge.problem(name.place, format!("another edge is called {:?}", name.value));
            }
            places.push(Place { name: name.value, region, at, url });
        }
        // Ties are broken by name.
        places.sort_by(|one, other| one.name.cmp(&other.name));
        let parents = parents.unwrap_or_default();
        for (index, parent) in parents.iter().enumerate() {
            if parents[..index].iter().any(|before| before.value == parent.value) {
                section.problem(parent.place, format!("parents: {:?} is there twice", parent.value));
            }
        }
        let parents: Vec<_> = parents.into_iter().map(|parent| parent.value).collect();
        if !parents.is_empty() && token_file.is_none() {
            section
                .problem(section.place, "parents need an edge-token-file, by which they know their children");
        }
        let namespace = namespace.map_or_else(|| "default".to_owned(), |namespace| namespace.value);
        let without_contact = without_contact.map(|policy| policy.value).unwrap_or_default();
        let (redis, place) = (redis?.value, section.place);
        Some(Self {
            redis,
            namespace,
            copies,
            trusts_restarts,
            without_contact,
            token_file,
            parents,
            places,
            addresses,
            maxmind,
            place,
        })
    }
}

/// Latitude and longitude.
pub(super) fn coordinates(numbers: &[f64]) -> Result<Coordinates, String> {
    match *numbers {
        [latitude, longitude] => Coordinates::new(latitude, longitude).map_err(|error| error.to_string()),
        _ => Err("not latitude and longitude, as in [50.1, 8.7]".to_owned()),
    }
}
