//! Times as XML Schema writes them.

use std::time::{Duration, SystemTime};

/// An `xs:duration`, without years and months, which have no fixed length.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('P')?;
    let (days, time) = text.split_once('T').unwrap_or((text, ""));
    let mut seconds = 0.0;
    for (mut rest, units) in
        [(days, &[('D', 86_400.0)][..]), (time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])]
    {
        for (unit, length) in units {
            if let Some((number, after)) = rest.split_once(*unit) {
                seconds += number.parse::<f64>().ok()? * length;
                rest = after;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// An `xs:dateTime` since 1970; without a zone, UTC.
pub(super) fn date_time(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once('T')?;
    let (time, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let days = days_since_epoch(date.next()??, date.next()??, date.next()??)?;
    let mut time = time.splitn(3, ':');
    let hour = below(time.next()?, 25)?;
    let minute = below(time.next()?, 60)?;
    let second: f64 = time.next().map_or(Some(0.0), |second| second.parse().ok())?;
    let whole = Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60);
    let at = SystemTime::UNIX_EPOCH
        + whole
        + Duration::try_from_secs_f64(second).ok().filter(|part| part.as_secs() < 61)?;
    let is_behind = match zone.as_bytes().first() {
        None | Some(b'Z') => return Some(at),
        Some(sign) => *sign == b'-',
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let offset = Duration::from_secs(below(hours, 15)? * 3600 + below(minutes, 60)? * 60);
    if is_behind { at.checked_add(offset) } else { at.checked_sub(offset) }
}

fn below(text: &str, limit: u64) -> Option<u64> {
    text.parse().ok().filter(|number| *number < limit)
}

/// In the calendar that XML Schema has, which is Gregorian.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1;
    // Those from 1 March of the year 0 to 1 January 1970.
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_days_and_times() {
        for (text, seconds) in [
            ("PT0S", Some(0.0)),
            ("PT9.5S", Some(9.5)),
            ("PT1H2M3S", Some(3723.0)),
            ("P1DT1S", Some(86_401.0)),
            ("P2D", Some(172_800.0)),
            ("P1Y", None),
            ("PT1X", None),
            ("PT-1S", None),
            ("PTNaNS", None),
            ("PT1e999S", None),
            ("1S", None),
            ("", None),
        ] {
            assert_eq!(duration(text), seconds.map(Duration::from_secs_f64), "{text}");
        }
    }

    #[test]
    fn moments_have_a_date_a_time_and_perhaps_a_zone() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0.0)),
            ("1994-11-06T08:49:37Z", Some(784_111_777.0)),
            ("1994-11-06T08:49:37", Some(784_111_777.0)),
            ("1994-11-06T08:49:37.250Z", Some(784_111_777.25)),
            ("1994-11-06T10:49:37+02:00", Some(784_111_777.0)),
            ("1994-11-06T03:19:37-05:30", Some(784_111_777.0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400.0)),
            ("2026-01-01T00:00:00Z", Some(1_767_225_600.0)),
            ("1969-12-31T00:00:00Z", None),
            ("1994-13-06T08:49:37Z", None),
            ("1994-11-06T99:49:37Z", None),
            ("1994-11-06T08:49:99Z", None),
            ("1994-11-06T08:49:37+99:00", None),
            ("1994-11-06T08:49:37+", None),
            ("1970-01-01T00:00:00+01:00", None),
            ("99999999999999999999-01-01T00:00:00Z", None),
            ("yesterday", None),
            ("T", None),
        ] {
            let expected = seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds));
            let found = date_time(text);
            if text.starts_with("1970-01-01T00:00:00+") {
                // Where the system can tell moments before 1970, it may.
                assert!(found.is_none_or(|at| at < SystemTime::UNIX_EPOCH));
            } else {
                assert_eq!(found, expected, "{text}");
            }
        }
    }
}
