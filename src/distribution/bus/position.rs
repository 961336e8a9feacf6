//! Places in a log: [`Position`].

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// Tells one log from another, and from itself before it lost something. Random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

/// A place in a log. Those of one incarnation are ordered; those of two are not.
///
/// As text, which a field can carry, it is the incarnation in hexadecimal, a hyphen and the number.
///
/// ```
/// use tower_edge::distribution::bus::Position;
///
/// let position: Position = "00000000000000a1-17".parse()?;
/// assert_eq!(position.number, 17);
/// assert_eq!(position.to_string(), "00000000000000a1-17");
/// assert!(position < "00000000000000a1-18".parse()?);
/// # Ok::<(), tower_edge::distribution::bus::ParsePositionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Of which log.
    pub incarnation: Incarnation,
    /// The number of a record, counted from 1 without gaps; 0 is before the first.
    pub number: u64,
}

impl Position {
    /// Behind every place in every log.
    pub(crate) const NOWHERE: Self = Self { incarnation: Incarnation(0), number: u64::MAX };

    /// Whether who has come here has also seen what is at `other`. Not known, so `false`, for another incarnation.
    pub fn has_reached(&self, other: &Self) -> bool {
        self >= other
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.incarnation == other.incarnation).then(|| self.number.cmp(&other.number))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation, self.number)
    }
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let parse = || {
            let (incarnation, number) = text.split_once('-')?;
            let hexadecimal = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
            if incarnation.len() != 16 || !incarnation.bytes().all(hexadecimal) {
                return None;
            }
            let canonical = number == "0" || !number.starts_with('0');
            if !canonical || !number.bytes().all(|c| c.is_ascii_digit()) {
                return None;
            }
            let incarnation = Incarnation(u64::from_str_radix(incarnation, 16).ok()?);
            Some(Self { incarnation, number: number.parse().ok()? })
        };
        parse().ok_or(ParsePositionError)
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePositionError;

impl fmt::Display for ParsePositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no position such as 00000000000000a1-17")
    }
}

impl Error for ParsePositionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_two_logs_are_not_ordered() {
        let at = |incarnation, number| Position { incarnation: Incarnation(incarnation), number };
        for (one, other, reached) in [
            (at(1, 5), at(1, 5), true),
            (at(1, 6), at(1, 5), true),
            (at(1, 4), at(1, 5), false),
            (at(2, 9), at(1, 5), false),
        ] {
            assert_eq!(one.has_reached(&other), reached, "{one} {other}");
        }
        assert_eq!(at(1, 5).partial_cmp(&at(2, 5)), None);
    }

    #[test]
    fn a_position_has_one_spelling() {
        for position in ["0000000000000001-0", "ffffffffffffffff-18446744073709551615"] {
            assert_eq!(
                position.parse::<Position>().map(|position| position.to_string()).as_deref(),
                Ok(position)
            );
        }
        for text in [
            "",
            "-",
            "1-1",
            "0000000000000001",
            "0000000000000001-",
            "0000000000000001-01",
            "0000000000000001-+1",
            "000000000000000A-1",
            "+000000000000001-1",
            "0000000000000001-18446744073709551616",
            "0000000000000001-1 ",
        ] {
            assert_eq!(text.parse::<Position>(), Err(ParsePositionError), "{text}");
        }
    }
}
