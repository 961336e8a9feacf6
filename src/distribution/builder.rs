//! Configures a [`Distribution`]: [`DistributionBuilder`].

use std::sync::Arc;
use std::time::Duration;

use super::bus::{Bus, FollowerSettings, Local};
use super::coordinates::Coordinates;
use super::edges::{Distribution, Settings};
use super::location::Location;
use super::viewer::Locate;
use crate::builder::EdgeBuilder;
use crate::error::ConfigError;

/// Configures a [`Distribution`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `build`"]
pub struct DistributionBuilder {
    pub(super) settings: Settings,
    locations: Vec<Location>,
}

impl Default for DistributionBuilder {
    fn default() -> Self {
        let settings = Settings {
            name: "tower-edge".into(),
            each: EdgeBuilder::default(),
            bus: Arc::new(Local::new()),
            following: FollowerSettings::default(),
            locate: None,
            home: None,
            patience: Duration::from_millis(100),
        };
        Self { settings, locations: Vec::new() }
    }
}

impl DistributionBuilder {
    /// The distribution's name, which stands in the records of its invalidations. `tower-edge` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// What every edge is like, but for its name: its policy, behaviors, capacity. Each has a store of its own of that
    /// capacity.
    pub fn each(mut self, edge: EdgeBuilder) -> Self {
        self.settings.each = edge;
        self
    }

    /// Adds an edge location. Parents come before their children.
    pub fn edge(mut self, location: Location) -> Self {
        self.locations.push(location);
        self
    }

    /// The log that its edges follow, by default one in memory. One that others follow, too, makes this a part of a larger
    /// distribution.
    pub fn bus(mut self, bus: Arc<dyn Bus>) -> Self {
        self.settings.bus = bus;
        self
    }

    /// How edges follow the log.
    pub fn following(mut self, settings: FollowerSettings) -> Self {
        self.settings.following = settings;
        self
    }

    /// Says where viewers are. Without it, and where it cannot say, they are at [`home`](Self::home).
    pub fn locate(mut self, source: impl Locate) -> Self {
        self.settings.locate = Some(Arc::new(source));
        self
    }

    /// Where viewers are taken to be of whom nothing is known. Without it they get the open edge whose name comes first.
    pub fn home(mut self, coordinates: Coordinates) -> Self {
        self.settings.home = Some(coordinates);
        self
    }

    /// How long a request waits at a parent that has not come as far in the log as its child, before the origin answers it.
    /// 100 milliseconds by default.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Checks the configuration and builds the distribution, inside a tokio runtime. Edges open as soon as they have
    /// reached the log, for which [`Distribution::joined`] waits; until one has, requests go to the origin.
    ///
    /// # Errors
    /// If a setting cannot work, or there is no runtime.
    pub fn build(self) -> Result<Distribution, ConfigError> {
        let distribution = Distribution::new(self.settings);
        for location in self.locations {
            distribution.add(location)?;
        }
        Ok(distribution)
    }
}
