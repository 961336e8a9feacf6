//! What the tests of the rules are written with.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Header lines, name and value.
pub(crate) type Lines = &'static [(&'static str, &'static str)];

pub(crate) const MONDAY: &str = "Mon, 06 Nov 2023 08:00:00 GMT";
pub(crate) const TUESDAY: &str = "Tue, 07 Nov 2023 08:00:00 GMT";
pub(crate) const WEDNESDAY: &str = "Wed, 08 Nov 2023 08:00:00 GMT";

pub(crate) fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |&(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
    };
    lines.iter().map(line).collect()
}
