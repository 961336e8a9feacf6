//! A table of addresses and places: [`AddressTable`].

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;

use super::Locate;
use super::prefix::{Prefix, number};
use crate::distribution::Coordinates;

/// Where addresses are, by their longest prefix in a table.
///
/// As text it has a line for each prefix: the prefix, latitude and longitude, between commas. What comes behind them, such
/// as a name, is not read. Nor are empty lines, and those that begin with `#`.
///
/// ```
/// use tower_edge::distribution::viewer::AddressTable;
///
/// let table: AddressTable = "# Documentation's networks\n\
///     192.0.2.0/24, 50.11, 8.68, Frankfurt\n\
///     192.0.2.128/25, 52.52, 13.40, Berlin\n\
///     2001:db8::/32, 40.71, -74.01, New York\n"
///     .parse()?;
/// let berlin = table.find("192.0.2.200".parse()?).ok_or("nowhere")?;
/// assert_eq!(berlin.latitude(), 52.52);
/// assert_eq!(table.find("198.51.100.1".parse()?), None);
///
/// let error = "192.0.2.0/24, 50.11, 8.68\n10.0.0.1/8, 0, 0".parse::<AddressTable>().unwrap_err();
/// assert_eq!(error.to_string(), "line 2: 10.0.0.1/8: the address has more than its first 8 bits set");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AddressTable {
    /// Where runs of addresses begin that have one answer, in order. Those before the first have none.
    starts: Box<[u128]>,
    places: Box<[Option<Coordinates>]>,
}

impl AddressTable {
    /// A table of prefixes and places. Of those under the same prefix the last counts.
    pub fn new(entries: impl IntoIterator<Item = (Prefix, Coordinates)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        // The shorter first, so that each lies within the last one before it that has not ended. The sort is stable.
        entries.sort_by_key(|(prefix, _)| (prefix.first(), std::cmp::Reverse(prefix.last())));
        let mut runs = Runs::default();
        let mut open: Vec<(u128, Coordinates)> = Vec::new();
        for (prefix, place) in entries {
            runs.close(&mut open, |last| last < prefix.first());
            runs.begin(prefix.first(), Some(place));
            open.push((prefix.last(), place));
        }
        runs.close(&mut open, |_| true);
        Self { starts: runs.starts.into(), places: runs.places.into() }
    }

    /// Where an address is.
    pub fn find(&self, address: IpAddr) -> Option<Coordinates> {
        let address = number(address);
        let run = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        *self.places.get(run)?
    }
}

#[derive(Default)]
struct Runs {
    starts: Vec<u128>,
    places: Vec<Option<Coordinates>>,
}

impl Runs {
    fn begin(&mut self, start: u128, place: Option<Coordinates>) {
        if self.starts.last() == Some(&start) {
            self.places.pop();
        } else {
            self.starts.push(start);
        }
        self.places.push(place);
    }

    /// Behind the end of a prefix the one around it goes on.
    fn close(&mut self, open: &mut Vec<(u128, Coordinates)>, has_ended: impl Fn(u128) -> bool) {
        while let Some((last, _)) = open.pop_if(|(last, _)| has_ended(*last)) {
            let around = open.last().map(|(_, place)| *place);
            // Behind the last address of all there is nothing.
            if let Some(next) = last.checked_add(1) {
                self.begin(next, around);
            }
        }
    }
}

impl FromStr for AddressTable {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        let mut entries = Vec::new();
        let mut lines = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason| TableError { line: number, reason };
            let (prefix, place) = entry(line).map_err(wrong)?;
            if let Some(before) = lines.insert(prefix, number) {
                return Err(wrong(format!("the same prefix is in line {before}")));
            }
            entries.push((prefix, place));
        }
        Ok(Self::new(entries))
    }
}

fn entry(line: &str) -> Result<(Prefix, Coordinates), String> {
    let mut columns = line.split(',').map(str::trim);
    let (Some(prefix), Some(latitude), Some(longitude)) = (columns.next(), columns.next(), columns.next())
    else {
        return Err("not a prefix, a latitude and a longitude, between commas".into());
    };
    let place = format!("{latitude},{longitude}").parse().map_err(|error| format!("{error}"))?;
    Ok((prefix.parse().map_err(|error| format!("{prefix}: {error}"))?, place))
}

/// Why a text is no [`AddressTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    line: usize,
    reason: String,
}

impl TableError {
    /// The line that is wrong, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl Error for TableError {}

impl Locate for AddressTable {
    fn locate(&self, address: Option<IpAddr>, _: &HeaderMap) -> Option<Coordinates> {
        self.find(address?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_named_with_the_reason() {
        for (text, message) in [
            ("192.0.2.0/24", "line 1: not a prefix, a latitude and a longitude, between commas"),
            ("# x\n\n10.0.0.0/8,91,0", "line 3: latitude: 91 is not from -90 to 90"),
            ("10.0.0.0/8,0,-181", "line 1: longitude: -181 is not from -180 to 180"),
            ("10.0.0.0/8,north,0", "line 1: coordinates: \"north,0\" is not as in 50.11,8.68"),
            ("x,0,0", "line 1: x: not an address, or a prefix such as 192.0.2.0/24"),
            ("10.0.0.0/8,0,0\n10.0.0.0/8,1,1", "line 2: the same prefix is in line 1"),
            ("10.0.0.1,0,0\n::ffff:10.0.0.1,1,1", "line 2: the same prefix is in line 1"),
        ] {
            assert_eq!(text.parse::<AddressTable>().unwrap_err().to_string(), message);
        }
        assert!("".parse::<AddressTable>().is_ok());
    }

    proptest! {
        /// Prefixes of a few bits, so that they nest and touch; at the ends of all addresses, too.
        #[test]
        fn the_longest_prefix_wins(
            prefixes in prop::collection::vec((0_u128..64, 122_u8..=128, any::<bool>()), 0..40),
        ) {
            let prefixes: Vec<_> = prefixes
                .into_iter()
                .zip(0_u8..)
                .map(|((low, bits, top), n)| {
                    let rest = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
                    let base = if top { u128::MAX - 63 } else { 0 };
                    let address = std::net::Ipv6Addr::from((base + low) & !rest);
                    let prefix: Prefix = format!("{address}/{bits}").parse().unwrap();
                    (prefix, bits, Coordinates::new(n.into(), 0.0).unwrap())
                })
                .collect();
            let table = AddressTable::new(prefixes.iter().map(|(prefix, _, place)| (*prefix, *place)));
            for number in (0..70).chain(u128::MAX - 70..=u128::MAX) {
                let address = IpAddr::V6(number.into());
                let holding = prefixes.iter().filter(|(prefix, ..)| prefix.contains(address));
                // Of the longest the last, as `max_by_key` has it.
                let longest = holding.max_by_key(|(_, bits, _)| *bits).map(|(.., place)| *place);
                prop_assert_eq!(table.find(address), longest, "{}", address);
            }
        }
    }
}
