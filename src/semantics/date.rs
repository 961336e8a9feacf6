//! Which moment does an HTTP date name? (RFC 9110 §5.6.7)
//!
//! Written out here because RFC 9111 §4.2 wants dates matched in any case, and because a wrong name of the weekday,
//! which strict parsers refuse, leaves no doubt about the moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// Reads a date in one of the three forms of RFC 9110 §5.6.7; `None` for anything else, other time zones than GMT
/// and years before 1970 included. For `Expires` that means "already expired" (RFC 9111 §5.3).
pub fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.as_bytes().trim_ascii();
    imf_fixdate(text).or_else(|| rfc850_date(text)).or_else(|| asctime_date(text))?.to_system_time()
}

struct Date<'a> {
    year: u64,
    month: &'a [u8],
    day: &'a [u8],
    /// `08:49:37`
    time: &'a [u8],
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Date<'_>> {
    let fits = fits(text, b"???, ## ??? #### ##:##:## GMT") && is_weekday(&text[..3], 3);
    fits.then(|| Date {
        year: number(&text[12..16]),
        month: &text[8..11],
        day: &text[5..7],
        time: &text[17..25],
    })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(text: &[u8]) -> Option<Date<'_>> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    let (weekday, text) = text.split_at(comma);
    let fits = fits(text, b", ##-???-## ##:##:## GMT") && is_weekday(weekday, 9);
    fits.then(|| Date {
        // RFC 9110 §5.6.7 reads two digits as the past where they seem over 50 years ahead. That needs a clock. A
        // fixed turn at 70 differs only for years from 2070 on, which nobody sends in this form.
        year: match number(&text[9..11]) {
            year @ 0..70 => 2000 + year,
            year => 1900 + year,
        },
        month: &text[5..8],
        day: &text[2..4],
        time: &text[12..20],
    })
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(text: &[u8]) -> Option<Date<'_>> {
    let fits = fits(text, b"??? ??? _# ##:##:## ####") && is_weekday(&text[..3], 3);
    fits.then(|| Date {
        year: number(&text[20..24]),
        month: &text[4..7],
        day: &text[8..10],
        time: &text[11..19],
    })
}

/// Whether `text` has a digit for every `#`, a letter for every `?`, a digit or a space for `_`, and otherwise the
/// same bytes in any case.
fn fits(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(byte, shape)| match shape {
            b'#' => byte.is_ascii_digit(),
            b'?' => byte.is_ascii_alphabetic(),
            b'_' => byte.is_ascii_digit() || *byte == b' ',
            shape => byte.eq_ignore_ascii_case(shape),
        })
}

/// Whether `text` names a weekday by its first `letters` letters, or all of them if it has fewer.
fn is_weekday(text: &[u8], letters: usize) -> bool {
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
        .iter()
        .any(|name| text.eq_ignore_ascii_case(&name.as_bytes()[..letters.min(name.len())]))
}

/// The value of a run of digits, a leading space counting as zero.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit & 0x0f))
}

impl Date<'_> {
    fn to_system_time(&self) -> Option<SystemTime> {
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            .iter()
            .position(|name| self.month.eq_ignore_ascii_case(name.as_bytes()))?;
        let leap =
            self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let mut days_in = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        days_in[1] += u64::from(leap);

        let (day, hour) = (number(self.day), number(&self.time[..2]));
        let (minute, second) = (number(&self.time[3..5]), number(&self.time[6..]));
        // RFC 9110 §5.6.7: second 60 is a leap second.
        let valid = self.year >= 1970
            && (1..=days_in[month]).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        if !valid {
            return None;
        }

        let leap_years_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
        let days = (self.year - 1970) * 365 + leap_years_before(self.year) - leap_years_before(1970)
            + days_in[..month].iter().sum::<u64>()
            + day
            - 1;
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<SystemTime> {
        parse_date(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn all_three_forms_name_the_same_moment() {
        // RFC 9110 §5.6.7; RFC 9111 §4.2: in any case.
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
            "SUN, 06 NOV 1994 08:49:37 gmt",
            "sunday, 06-nov-94 08:49:37 gMT",
            "sun nov  6 08:49:37 1994",
            // The wrong weekday.
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), Some(UNIX_EPOCH + Duration::from_secs(784_111_777)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "foo",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1900 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Foo, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse_date(&HeaderValue::from_bytes(b"Sun, 06 Nov 1994 08:49:37 GM\xff").unwrap()), None);
    }

    #[test]
    fn dates_agree_with_httpdate() {
        for days in (0..2_932_896).step_by(37).chain([0, 58, 59, 60, 11_016, 11_017, 2_932_895]) {
            let moment = UNIX_EPOCH + Duration::from_secs(days * 86_400 + 86_399);
            assert_eq!(parse(&httpdate::fmt_http_date(moment)), Some(moment));
        }
    }

    #[test]
    fn two_digit_years_turn_at_seventy() {
        assert_eq!(parse("Thursday, 18-Aug-50 02:01:18 GMT"), parse("Thu, 18 Aug 2050 02:01:18 GMT"));
        assert_eq!(parse("Tuesday, 18-Aug-70 02:01:18 GMT"), parse("Tue, 18 Aug 1970 02:01:18 GMT"));
    }
}
