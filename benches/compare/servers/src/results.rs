//! What was measured, as it is kept in a file and shown.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

/// What is measured of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Hits a second over HTTP/1.1, by length.
    Hits1Kib,
    Hits64Kib,
    Hits1Mib,
    /// The same over HTTP/2.
    Http2Hits1Kib,
    /// Microseconds, of hits of 1 KiB.
    Percentile99,
    /// Microseconds of the server's processor a hit of 1 KiB.
    Processor,
    /// Percent of its core that the server used for hits of 1 KiB.
    Busy,
    /// A second, of 1 KiB.
    Misses,
    /// Milliseconds to the first byte of 64 MiB that are not in the cache.
    FirstByte,
    /// MiB with many objects of 4 KiB.
    Memory,
}

impl Figure {
    pub const ALL: [Self; 10] = [
        Self::Hits1Kib,
        Self::Hits64Kib,
        Self::Hits1Mib,
        Self::Http2Hits1Kib,
        Self::Percentile99,
        Self::Processor,
        Self::Busy,
        Self::Misses,
        Self::FirstByte,
        Self::Memory,
    ];

    /// What it is, for a reader.
    #[must_use]
    pub fn title(self, objects: usize) -> String {
        match self {
            Self::Hits1Kib => "hits a second, 1 KiB".into(),
            Self::Hits64Kib => "hits a second, 64 KiB".into(),
            Self::Hits1Mib => "hits a second, 1 MiB".into(),
            Self::Http2Hits1Kib => "hits a second, 1 KiB, HTTP/2".into(),
            Self::Percentile99 => "99th percentile, 1 KiB (µs)".into(),
            Self::Processor => "processor time a hit, 1 KiB (µs)".into(),
            Self::Busy => "its core in use, 1 KiB (%)".into(),
            Self::Misses => "misses a second, 1 KiB".into(),
            Self::FirstByte => "first byte of 64 MiB, cold (ms)".into(),
            Self::Memory => format!("memory, {objects} objects of 4 KiB (MiB)"),
        }
    }

    /// Whether a ratio of it says anything.
    #[must_use]
    pub fn compares(self) -> bool {
        self != Self::Busy
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub date: String,
    pub machine: String,
    pub tools: String,
    /// Not for publication: it was short.
    pub quick: bool,
    pub rounds: usize,
    pub seconds: u32,
    pub objects: usize,
    /// The first is what all are compared with.
    pub servers: Vec<Server>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    pub name: String,
    pub version: String,
    pub samples: BTreeMap<Figure, Vec<f64>>,
}

impl Server {
    pub fn add(&mut self, figure: Figure, sample: f64) {
        self.samples.entry(figure).or_default().push(sample);
    }

    /// `None` if it was not measured.
    #[must_use]
    pub fn median(&self, figure: Figure) -> Option<f64> {
        let mut samples = self.samples.get(&figure)?.clone();
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        let upper = *samples.get(middle)?;
        Some(if samples.len().is_multiple_of(2) { f64::midpoint(samples[middle - 1], upper) } else { upper })
    }
}

impl Results {
    /// # Errors
    ///
    /// The file, and what is wrong with it.
    pub fn load(file: &str) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))
    }

    /// # Errors
    ///
    /// The file, and why it cannot be written.
    pub fn save(&self, file: &str) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::write(file, text + "\n").map_err(|error| format!("{file}: {error}"))
    }

    /// A table in Markdown: a figure a row, with its ratio to the first server's.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from("| |");
        for server in &self.servers {
            text += &format!(" {} {} |", server.name, server.version);
        }
        text += &format!("\n|---|{}\n", "---:|".repeat(self.servers.len()));
        for figure in Figure::ALL {
            text += &format!("| {} |", figure.title(self.objects));
            let base = self.servers.first().and_then(|first| first.median(figure));
            for server in &self.servers {
                let cell = match (server.median(figure), base) {
                    (Some(value), Some(base)) if figure.compares() && base > 0.0 => {
                        format!("{} ({:.2})", short(value), value / base)
                    }
                    (Some(value), _) => short(value),
                    (None, _) => "–".into(),
                };
                text += &format!(" {cell} |");
            }
            text.push('\n');
        }
        text
    }
}

/// Three digits that count, or the whole number.
#[must_use]
pub fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        let mut server = Server { name: String::new(), version: String::new(), samples: BTreeMap::new() };
        assert_eq!(server.median(Figure::Misses), None);
        for (sample, median) in [(5.0, 5.0), (1.0, 3.0), (2.0, 2.0)] {
            server.add(Figure::Misses, sample);
            assert_eq!(server.median(Figure::Misses), Some(median));
        }
    }
}
