//! The configuration, as `edge.toml` has it: [`Config`].
//!
//! [`Config::read`] is pure: text in, everything that is wrong with it or a configuration out. `section` reads tables key by
//! key, `report` says where something is wrong, and the other files are the parts of the schema. `edge.toml` beside this
//! crate's manifest describes every key.

mod behaviors;
mod distribution;
mod nearest;
mod origins;
mod policies;
mod report;
mod section;
mod server;
#[cfg(test)]
mod tests;

use std::path::Path;

use toml::de::DeTable;

pub(crate) use self::behaviors::{Behavior, Https};
pub(crate) use self::distribution::Distribution;
#[cfg(feature = "bucket")]
pub(crate) use self::origins::Bucket;
pub(crate) use self::origins::{Group, Kind, Origin};
pub(crate) use self::report::{Place, Problem, Report};
pub(crate) use self::server::{Control, HEAD_FIELDS, Limits, Listener, Tls};

use self::report::Notes;
use self::section::Section;
use crate::forms;
use crate::trust::Proxies;

/// Everything that a file says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) name: String,
    /// A filter, as `RUST_LOG` has it.
    pub(crate) log: Option<String>,
    /// Where redirects to `https://` lead, if not where a listener is.
    pub(crate) https_port: Option<u16>,
    /// Whose word on viewers counts.
    pub(crate) proxies: Proxies,
    pub(crate) capacity: u64,
    pub(crate) max_fills: u64,
    pub(crate) limits: Limits,
    pub(crate) tariff: tower_edge::Tariff,
    pub(crate) control: Option<Control>,
    pub(crate) distribution: Option<Distribution>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) origins: Vec<Origin>,
    pub(crate) groups: Vec<Group>,
    /// In order; the last takes every path.
    pub(crate) behaviors: Vec<Behavior>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub(crate) fn load(path: &Path) -> Result<Self, Report> {
        let file = path.display().to_string();
        let problem = |reason| Report::new(&file, vec![Problem { place: None, reason }]);
        let text = std::fs::read(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(text).map_err(|_| problem("is not UTF-8".to_owned()))?;
        Self::read(&text).map_err(|problems| Report::new(&file, problems))
    }

    /// Reads the text of a file.
    pub(crate) fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let notes = Notes::new(text);
        let config = Self::read_noting(text, &notes);
        let problems = notes.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }

    /// What is another than before though it counts at the start alone. Where it stands in the file does not matter.
    pub(crate) fn differs_where_fixed(&self, before: &Self) -> Option<&'static str> {
        let listeners = |config: &Self| -> Vec<_> {
            let files = |tls: &Tls| (tls.certificate.clone(), tls.key.clone());
            let listeners = config.listeners.iter();
            listeners
                .map(|listener| (listener.address, listener.tls.as_ref().map(files), listener.http2))
                .collect()
        };
        let control = |config: &Self| {
            config.control.as_ref().map(|control| (control.address, control.token_file.clone()))
        };
        let distribution = |config: &Self| {
            let distribution = config.distribution.clone();
            distribution.map(|distribution| Distribution {
                // They are read again.
                addresses: None,
                maxmind: None,
                place: Place::default(),
                ..distribution
            })
        };
        let differs: [(&str, bool); 8] = [
            ("name", self.name != before.name),
            ("log", self.log != before.log),
            ("cache", (self.capacity, self.max_fills) != (before.capacity, before.max_fills)),
            ("limits", self.limits != before.limits),
            ("tariff", self.tariff != before.tariff),
            ("control", control(self) != control(before)),
            ("distribution", distribution(self) != distribution(before)),
            ("listener", listeners(self) != listeners(before)),
        ];
        differs.into_iter().find_map(|(key, differs)| differs.then_some(key))
    }

    /// With what a running server is known by, and asks, as it was at the start.
    pub(crate) fn keeping(mut self, started: &Self) -> Self {
        for group in &mut self.groups {
            group.policy.proxy_status = Some(started.name.clone());
        }
        let mut distribution = started.distribution.clone();
        if let (Some(kept), Some(new)) = (&mut distribution, self.distribution) {
            (kept.addresses, kept.maxmind) = (new.addresses, new.maxmind);
        }
        Self { name: started.name.clone(), distribution, ..self }
    }

    fn read_noting(text: &str, notes: &Notes<'_>) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let place = notes.place(&error.span().unwrap_or_default());
            notes.problem(place, error.message().replace('\n', ", "));
        }
        if !errors.is_empty() {
            // What is wrong with the values would be guesswork.
            return None;
        }
        read_root(Section::root(&table, notes))
    }
}

fn read_root(root: Section<'_>) -> Option<Config> {
    let name = root.text("name", forms::name).map_or_else(|| "tower-edge".to_owned(), |name| name.value);
    let log = root.text("log", filter).map(|log| log.value);
    let https_port = root.number("https-port", 1, u64::from(u16::MAX)).map(|port| port as u16);
    let proxies = server::proxies(&root);
    let (capacity, max_fills) = server::cache(&root.section("cache"));
    let limits = Limits::read(&root.section("limits"));
    let tariff = server::tariff(&root.section("tariff"));
    let control = Control::read(&root.section("control"));
    let distribution = Distribution::read(&root.section("distribution"), &name);
    let listeners = server::listeners(&root);
    let origins = origins::origins(&root);
    let groups = origins::groups(&root, &origins, &name);
    let policies = policies::policies(&root, capacity);
    let behaviors = behaviors::behaviors(&root, &origins, &groups, &policies, capacity);
    Some(Config {
        name,
        log,
        https_port,
        proxies,
        capacity,
        max_fills,
        limits,
        tariff,
        control: control?,
        distribution,
        listeners: listeners?,
        origins,
        groups,
        behaviors: behaviors?,
    })
}

fn filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A string that says something.
fn words(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) }
}
