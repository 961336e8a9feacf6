//! Fields as text, and the three forms of a date, read the slow way.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Field lines in the order they came: the name in lower case, each byte of the value as the character of that number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(pub(crate) Vec<(String, String)>);

impl Fields {
    /// The values of every line of a field.
    pub(crate) fn lines(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The first line of a field. Decision: a field that is no list and has several lines counts by its first one.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.lines(name).first().copied()
    }

    /// The line of a field that has one and no more.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        match self.lines(name)[..] {
            [line] => Some(line),
            _ => None,
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.lines(name).is_empty()
    }

    /// The same fields as the crate takes them.
    pub(crate) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.0 {
            let bytes: Vec<u8> = value.chars().map(|char| char as u8).collect();
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name the generator chose");
            map.append(name, HeaderValue::from_bytes(&bytes).expect("bytes a value may have"));
        }
        map
    }
}

/// OWS of RFC 9110 §5.6.3.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// `tchar` of RFC 9110 §5.6.2.
pub(crate) fn is_tchar(char: char) -> bool {
    "!#$%&'*+-.^_`|~".contains(char) || char.is_ascii_alphanumeric()
}

pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_tchar)
}

/// Nanoseconds since 1970 named by a date of RFC 9110 §5.6.7, in any case (RFC 9111 §4.2).
///
/// Decisions: the weekday must be one, but not the right one; years before 1970 are no dates; second 60 is read as the
/// first of the next minute; two-digit years turn at 70.
pub(crate) fn date(text: &str) -> Option<i128> {
    const WEEKDAYS: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    const TWO_DIGIT_YEARS_TURN_AT: i128 = 70;

    let text = trim(text).to_lowercase();
    let words: Vec<&str> = text.split(' ').collect();
    let short = |word: &str| WEEKDAYS.iter().any(|day| &day[..3] == word);
    match words[..] {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [weekday, day, month, year, time, "gmt"] if weekday.strip_suffix(',').is_some_and(short) => {
            moment(digits(year, 4)?, month, digits(day, 2)?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [weekday, date, time, "gmt"]
            if weekday.strip_suffix(',').is_some_and(|day| WEEKDAYS.contains(&day)) =>
        {
            let [day, month, year] = date.split('-').collect::<Vec<_>>()[..] else { return None };
            let year = digits(year, 2)?;
            let century = if year < TWO_DIGIT_YEARS_TURN_AT { 2000 } else { 1900 };
            moment(century + year, month, digits(day, 2)?, time)
        }
        // Sun Nov  6 08:49:37 1994
        [weekday, month, "", day, time, year] if short(weekday) => {
            moment(digits(year, 4)?, month, digits(day, 1)?, time)
        }
        [weekday, month, day, time, year] if short(weekday) => {
            moment(digits(year, 4)?, month, digits(day, 2)?, time)
        }
        _ => None,
    }
}

fn digits(text: &str, count: usize) -> Option<i128> {
    (text.len() == count && text.chars().all(|char| char.is_ascii_digit())).then(|| text.parse().ok())?
}

fn moment(year: i128, month: &str, day: i128, time: &str) -> Option<i128> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let leap = |year: i128| year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let days_in = |year, month| match month {
        1 if leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };

    let month = MONTHS.iter().position(|name| *name == month)?;
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>()[..] else { return None };
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    if year < 1970 || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut days = day - 1;
    for year in 1970..year {
        days += if leap(year) { 366 } else { 365 };
    }
    for month in 0..month {
        days += days_in(year, month);
    }
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000)
}
