//! How long a response lives, and how old it is (RFC 9111 §4.2, RFC 5861).

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

pub use super::date::parse_date;
use super::directives::{Fields, ResponseCacheControl};
use super::members::delta_seconds;
use super::status::{heuristically_cacheable, is_server_error};
use crate::policy::CachePolicy;

/// RFC 9111 §1.2.2: times on the wire stop here.
const LONGEST: Duration = Duration::from_secs(1 << 31);

/// Where a lifetime came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Source {
    SMaxAge,
    MaxAge,
    Expires,
    Heuristic,
    /// [`Ttl::default`](crate::Ttl::default) or [`CachePolicy::error_ttl`].
    Policy,
    /// [`Ttl::override_origin`](crate::Ttl::override_origin), against `no-store`, `no-cache` or `private`.
    Override,
    /// Nothing gives a lifetime: stale from the start.
    None,
}

impl Source {
    /// Whether the origin itself stated the lifetime.
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::SMaxAge | Self::MaxAge | Self::Expires)
    }
}

/// Everything about a stored response's time that can be known when it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// RFC 9111 §4.2.1, within the policy's bounds.
    pub lifetime: Duration,
    /// Where `lifetime` came from.
    pub source: Source,
    /// `corrected_initial_age` of RFC 9111 §4.2.3.
    pub initial_age: Duration,
    /// Unqualified `no-cache`: never used without asking the origin.
    pub always_validate: bool,
    /// How long past its lifetime it may be served while a fill refreshes it.
    pub while_revalidate: Duration,
    /// How long past its lifetime it may stand in for an error answer.
    pub if_error: Duration,
    /// How long past its lifetime it may be served when the origin cannot be reached.
    pub if_disconnected: Duration,
    /// The origin forbids stale answers even to a request that would take one (RFC 9111 §4.2.4). The windows above
    /// are zero then, unless the response names its own beside `s-maxage`.
    pub stale_forbidden: bool,
}

/// When a response came.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// `response_time` of RFC 9111 §4.2.3, by the wall clock.
    pub at: SystemTime,
    /// `response_delay`: the time since the request was sent.
    pub delay: Duration,
}

/// Works out the terms on which a response is stored.
pub fn terms(
    status: StatusCode,
    headers: &HeaderMap,
    control: &ResponseCacheControl,
    policy: &CachePolicy,
    received: Received,
) -> Terms {
    // RFC 9110 §6.6.1: a response without a date is taken to be from when it came.
    let date = headers.get(DATE).and_then(parse_date).unwrap_or(received.at);
    let (lifetime, source) = lifetime(status, headers, control, policy, date);
    let no_cache = control.no_cache == Some(Fields::All) && source != Source::Override;
    let is_capped = longest_error(status, policy).is_some();
    let forbidden = no_cache || control.must_revalidate || control.proxy_revalidate || is_capped;

    // RFC 9111 §5.2.2.10: s-maxage implies proxy-revalidate. A window the same response names is the more exact
    // statement and holds all the same; the policy's windows do not. Nor do they hold for an error answer, which
    // would stand in for an error.
    let by_policy = control.s_maxage.is_none() && !is_server_error(status);
    let window = |named: Option<Duration>, policy: Duration| match named {
        _ if forbidden => Duration::ZERO,
        Some(named) => named,
        None if by_policy => policy,
        None => Duration::ZERO,
    };
    Terms {
        lifetime,
        source,
        initial_age: initial_age(headers, date, received),
        always_validate: no_cache,
        while_revalidate: window(control.stale_while_revalidate, policy.stale.while_revalidate),
        if_error: window(control.stale_if_error, policy.stale.if_error),
        // RFC 5861 §4: not to be reached at all is an error, too.
        if_disconnected: window(control.stale_if_error, policy.stale.if_disconnected),
        stale_forbidden: forbidden || control.s_maxage.is_some(),
    }
}

impl Terms {
    /// `current_age` of RFC 9111 §4.2.3, for a response that has been stored for `resident`.
    pub fn age(&self, resident: Duration) -> Duration {
        self.initial_age.saturating_add(resident)
    }

    /// Whether a response of this age may be used without asking the origin (RFC 9111 §4.2).
    pub fn is_fresh(&self, age: Duration) -> bool {
        !self.always_validate && self.lifetime > age
    }

    /// How far a response of this age is past its lifetime.
    pub fn staleness(&self, age: Duration) -> Duration {
        age.saturating_sub(self.lifetime)
    }
}

/// The lifetime within the policy's bounds, and where it is from.
fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    control: &ResponseCacheControl,
    policy: &CachePolicy,
    date: SystemTime,
) -> (Duration, Source) {
    let ttl = &policy.ttl;
    let stated = stated_lifetime(headers, control, date);
    let default = ttl.default.filter(|_| takes_default(status, control));

    let restricted = control.private == Some(Fields::All)
        || control.no_cache == Some(Fields::All)
        || control.no_store_holds(status);
    if ttl.override_origin && restricted && takes_default(status, control) {
        let default = default.filter(|_| stated.is_none()).unwrap_or_default();
        let floor = ttl.min.max(default).min(ttl.max);
        if !floor.is_zero() {
            return (floor, Source::Override);
        }
    }

    let (lifetime, source) = if let Some((lifetime, source)) = stated {
        (lifetime.max(ttl.min), source)
    } else if let Some(default) = default {
        (default.max(ttl.min), Source::Policy)
    } else if let Some(guess) = heuristic_lifetime(status, headers, control, policy, date) {
        (guess, Source::Heuristic)
    } else {
        (Duration::ZERO, Source::None)
    };
    let remembered = policy.error_ttl.iter().find(|(of, _)| *of == status);
    let (lifetime, source) = match remembered {
        Some(&(_, remembered)) if remembered > lifetime => (remembered, Source::Policy),
        _ => (lifetime, source),
    };
    let longest = longest_error(status, policy).unwrap_or(ttl.max).min(ttl.max);
    (lifetime.min(longest), source)
}

/// The bound that the policy sets for answers of this status.
fn longest_error(status: StatusCode, policy: &CachePolicy) -> Option<Duration> {
    policy.error_ttl_max.iter().find(|(of, _)| *of == status).map(|&(_, longest)| longest)
}

/// `freshness_lifetime` of RFC 9111 §4.2.1, as the origin states it.
fn stated_lifetime(
    headers: &HeaderMap,
    control: &ResponseCacheControl,
    date: SystemTime,
) -> Option<(Duration, Source)> {
    if let Some(lifetime) = control.s_maxage {
        return Some((lifetime, Source::SMaxAge));
    }
    // RFC 9111 §5.3: Expires is ignored beside max-age, even where that is the shorter one.
    if let Some(lifetime) = control.max_age {
        return Some((lifetime, Source::MaxAge));
    }
    // RFC 9213 §2.2: nor is it for caches that have a field of their own.
    if control.targeted {
        return None;
    }
    let mut lines = headers.get_all(EXPIRES).iter();
    let expires = parse_date(lines.next()?);
    // RFC 9111 §4.2.1: lines that differ make the response stale, and so does what is no date (§5.3).
    let agreed = lines.all(|line| parse_date(line) == expires);
    let lifetime = expires.filter(|_| agreed).and_then(|expires| expires.duration_since(date).ok());
    Some((lifetime.unwrap_or_default().min(LONGEST), Source::Expires))
}

/// Whether [`Ttl::default`](crate::Ttl::default) is for answers like this one: what RFC 9110 §15.1 lets a cache keep
/// on its own account, except errors, which have [`CachePolicy::error_ttl`].
fn takes_default(status: StatusCode, control: &ResponseCacheControl) -> bool {
    let error = status.is_client_error() || is_server_error(status);
    !error && (control.public || heuristically_cacheable(status))
}

/// RFC 9111 §4.2.2: a part of the time since the response last changed.
fn heuristic_lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    control: &ResponseCacheControl,
    policy: &CachePolicy,
    date: SystemTime,
) -> Option<Duration> {
    if policy.heuristic.percent == 0 || !(control.public || heuristically_cacheable(status)) {
        return None;
    }
    let modified = headers.get(LAST_MODIFIED).and_then(parse_date)?;
    let unchanged = date.duration_since(modified).ok()?.as_secs();
    let guess = unchanged.saturating_mul(u64::from(policy.heuristic.percent)) / 100;
    Some(Duration::from_secs(guess).min(policy.heuristic.max))
}

/// `corrected_initial_age` of RFC 9111 §4.2.3.
fn initial_age(headers: &HeaderMap, date: SystemTime, received: Received) -> Duration {
    // Date has no fractions; without cutting them here a response would be old by the fraction it came at.
    let apparent = received.at.duration_since(date).unwrap_or_default().as_secs();
    let corrected = stated_age(headers).saturating_add(received.delay);
    Duration::from_secs(apparent).max(corrected).min(LONGEST)
}

/// RFC 9111 §5.1: the first member of a list, and nothing where that is not a number.
fn stated_age(headers: &HeaderMap) -> Duration {
    headers
        .get(AGE)
        .and_then(|line| line.as_bytes().split(|&byte| byte == b',').next())
        .and_then(|age| delta_seconds(age.trim_ascii()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Heuristic, Stale, Ttl};
    use http::HeaderName;
    use std::time::UNIX_EPOCH;

    /// Header lines, name and value.
    type Lines<'a> = &'a [(&'a str, &'a str)];

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    fn with(status: u16, lines: Lines<'_>, policy: &CachePolicy, received: Received) -> Terms {
        let headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let control = ResponseCacheControl::parse(&headers);
        terms(StatusCode::from_u16(status).unwrap(), &headers, &control, policy, received)
    }

    fn at_once() -> Received {
        Received { at: now(), delay: Duration::ZERO }
    }

    fn lifetime_under(policy: &CachePolicy, status: u16, lines: Lines<'_>) -> (u64, Source) {
        let terms = with(status, lines, policy, at_once());
        (terms.lifetime.as_secs(), terms.source)
    }

    #[test]
    fn lifetime_is_what_the_origin_states_first() {
        // RFC 9111 §4.2.1, §5.3.
        let cc = "cache-control";
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let in_ten = ("expires", "Sun, 06 Nov 1994 08:49:47 GMT");
        let in_five = ("expires", "Sun, 06 Nov 1994 08:49:42 GMT");
        let table: &[(Lines<'_>, (u64, Source))] = &[
            (&[], (0, Source::None)),
            (&[(cc, "s-maxage=1, max-age=2"), in_ten], (1, Source::SMaxAge)),
            (&[(cc, "s-maxage=x, max-age=2")], (0, Source::SMaxAge)),
            (&[(cc, "max-age=2"), in_ten], (2, Source::MaxAge)),
            (&[(cc, "max-age=0"), in_ten], (0, Source::MaxAge)),
            (&[(cc, "max-age=-1"), in_ten], (0, Source::MaxAge)),
            (&[(cc, "max-age=2"), ("expires", "0")], (2, Source::MaxAge)),
            (&[(cc, "public"), in_ten, date], (10, Source::Expires)),
            (&[in_ten], (10, Source::Expires)),
            (&[in_ten, ("date", "foo")], (10, Source::Expires)),
            (&[in_ten, ("date", "Sun, 06 Nov 1994 08:49:47 GMT")], (0, Source::Expires)),
            (&[in_ten, ("date", "Sun, 06 Nov 1994 08:50:47 GMT")], (0, Source::Expires)),
            (&[in_ten, in_ten], (10, Source::Expires)),
            (&[in_ten, in_five], (0, Source::Expires)),
            (&[in_ten, ("expires", "0")], (0, Source::Expires)),
            (&[("expires", "0")], (0, Source::Expires)),
            (&[("expires", "")], (0, Source::Expires)),
            (&[("expires", "Sun, 06 Nov 1994 08:49:47 UTC")], (0, Source::Expires)),
            (&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")], (31_536_000, Source::Expires)),
        ];
        for (lines, expected) in table {
            assert_eq!(lifetime_under(&CachePolicy::default(), 200, lines), *expected, "{lines:?}");
        }
    }

    #[test]
    fn lifetime_is_guessed_for_some_statuses_only() {
        // RFC 9111 §4.2.2, RFC 9110 §15.1.
        let hour_ago = ("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT");
        let table: &[(u16, Lines<'_>, (u64, Source))] = &[
            (200, &[hour_ago], (360, Source::Heuristic)),
            (404, &[hour_ago], (360, Source::Heuristic)),
            (201, &[hour_ago], (0, Source::None)),
            (302, &[hour_ago], (0, Source::None)),
            (503, &[hour_ago], (0, Source::None)),
            (599, &[hour_ago, ("cache-control", "public")], (360, Source::Heuristic)),
            (200, &[hour_ago, ("cache-control", "max-age=1")], (1, Source::MaxAge)),
            (200, &[hour_ago, ("expires", "0")], (0, Source::Expires)),
            (200, &[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")], (86_400, Source::Heuristic)),
            (200, &[("last-modified", "Sun, 06 Nov 1994 09:49:37 GMT")], (0, Source::None)),
            (200, &[("last-modified", "yesterday")], (0, Source::None)),
        ];
        for (status, lines, expected) in table {
            assert_eq!(
                lifetime_under(&CachePolicy::default(), *status, lines),
                *expected,
                "{status} {lines:?}"
            );
        }
        let off = CachePolicy { heuristic: Heuristic { percent: 0, max: HOUR }, ..CachePolicy::default() };
        assert_eq!(lifetime_under(&off, 200, &[hour_ago]), (0, Source::None));
    }

    #[test]
    fn an_error_is_remembered_no_longer_than_the_policy_lets_it() {
        let second = Duration::from_secs(1);
        let policy = CachePolicy {
            error_ttl: vec![(StatusCode::NOT_FOUND, HOUR)],
            error_ttl_max: vec![(StatusCode::NOT_FOUND, second)],
            stale: Stale { while_revalidate: MINUTE, if_error: MINUTE, ..Stale::default() },
            ..CachePolicy::default()
        };
        for lines in [
            &[][..],
            &[("cache-control", "max-age=60")],
            &[("cache-control", "max-age=60, stale-while-revalidate=60, stale-if-error=60")],
            &[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")],
        ] {
            let found = with(404, lines, &policy, at_once());
            assert_eq!(found.lifetime, second, "{lines:?}");
            assert_eq!((found.while_revalidate, found.if_error, found.if_disconnected), Default::default());
            assert!(found.stale_forbidden);
        }
        // Nor longer than anything.
        let short = CachePolicy { ttl: Ttl { max: second / 2, ..Ttl::default() }, ..policy.clone() };
        assert_eq!(with(404, &[("cache-control", "max-age=60")], &short, at_once()).lifetime, second / 2);
        // Another status has its own.
        assert_eq!(lifetime_under(&policy, 410, &[("cache-control", "max-age=60")]).0, 60);
        assert_eq!(
            with(200, &[("cache-control", "max-age=60")], &policy, at_once()).while_revalidate,
            MINUTE
        );
    }

    #[test]
    fn policy_bounds_and_replaces_lifetimes() {
        let policy = CachePolicy {
            ttl: Ttl { min: MINUTE, default: Some(HOUR), max: HOUR * 2, override_origin: false },
            error_ttl: vec![
                (StatusCode::NOT_FOUND, Duration::from_secs(90)),
                (StatusCode::BAD_GATEWAY, HOUR * 9),
            ],
            ..CachePolicy::default()
        };
        let cc = |value| [("cache-control", value)];
        let hour_ago = [("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT")];
        let table: &[(u16, Lines<'_>, (u64, Source))] = &[
            (200, &cc("max-age=1"), (60, Source::MaxAge)),
            (200, &cc("max-age=90"), (90, Source::MaxAge)),
            (200, &cc("max-age=99999"), (7200, Source::MaxAge)),
            (200, &[], (3600, Source::Policy)),
            (200, &hour_ago, (3600, Source::Policy)),
            (301, &[], (3600, Source::Policy)),
            (302, &[], (0, Source::None)),
            (302, &cc("public"), (3600, Source::Policy)),
            (410, &[], (0, Source::None)),
            (410, &hour_ago, (360, Source::Heuristic)),
            (503, &[], (0, Source::None)),
            (404, &[], (90, Source::Policy)),
            (404, &cc("max-age=5"), (90, Source::Policy)),
            (404, &cc("max-age=100"), (100, Source::MaxAge)),
            (404, &hour_ago, (360, Source::Heuristic)),
            (502, &[], (7200, Source::Policy)),
        ];
        for (status, lines, expected) in table {
            assert_eq!(lifetime_under(&policy, *status, lines), *expected, "{status} {lines:?}");
        }
    }

    #[test]
    fn override_gives_no_store_a_lifetime() {
        let ttl = Ttl { min: MINUTE, default: Some(HOUR), max: HOUR, override_origin: true };
        let policy = CachePolicy { ttl, ..CachePolicy::default() };
        let cc = |value| [("cache-control", value)];
        let table: &[(u16, Lines<'_>, (u64, Source))] = &[
            (200, &cc("no-store"), (3600, Source::Override)),
            (200, &cc("no-cache, max-age=0"), (60, Source::Override)),
            (200, &cc("private, max-age=900"), (60, Source::Override)),
            (200, &cc("private=\"a\", max-age=900"), (900, Source::MaxAge)),
            (200, &cc("max-age=900"), (900, Source::MaxAge)),
            (500, &cc("no-store"), (0, Source::None)),
        ];
        for (status, lines, expected) in table {
            assert_eq!(lifetime_under(&policy, *status, lines), *expected, "{status} {lines:?}");
        }
        assert!(!with(200, &cc("no-cache"), &policy, at_once()).always_validate);

        let floorless = Ttl { min: Duration::ZERO, default: None, ..ttl };
        let policy = CachePolicy { ttl: floorless, ..CachePolicy::default() };
        assert!(with(200, &cc("no-cache, max-age=9"), &policy, at_once()).always_validate);
    }

    #[test]
    fn age_is_the_larger_of_what_date_and_age_tell() {
        // RFC 9111 §4.2.3, §5.1.
        let ago = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        let ahead = ("date", "Sun, 06 Nov 1994 08:59:27 GMT");
        let table: &[(Lines<'_>, u64, u64)] = &[
            (&[], 0, 0),
            (&[], 3, 3),
            (&[ago], 0, 10),
            (&[ago], 3, 10),
            (&[ago], 12, 12),
            (&[ahead], 0, 0),
            (&[("age", "5")], 3, 8),
            (&[ago, ("age", "5")], 3, 10),
            (&[ago, ("age", "9")], 3, 12),
            (&[("age", "5, 9")], 0, 5),
            (&[("age", " 5 ,9")], 0, 5),
            (&[("age", "5"), ("age", "9")], 0, 5),
            (&[("age", "99999999999999999999")], 3, 1 << 31),
            (&[ago, ("age", "-7")], 0, 10),
            (&[ago, ("age", "abc")], 0, 10),
            (&[ago, ("age", "7200.0")], 0, 10),
            (&[ago, ("age", "")], 0, 10),
            (&[("date", "foo")], 0, 0),
        ];
        for (lines, delay, age) in table {
            let received =
                Received { at: now() + Duration::from_millis(900), delay: Duration::from_secs(*delay) };
            let terms = with(200, lines, &CachePolicy::default(), received);
            assert_eq!(terms.initial_age.as_secs(), *age, "{lines:?}");
        }
        let terms = with(200, &[], &CachePolicy::default(), Received { at: now(), delay: Duration::MAX });
        assert_eq!(terms.age(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn the_origin_has_the_last_word_on_stale_windows() {
        // RFC 9111 §4.2.4, §5.2.2; RFC 5861.
        let stale = Stale {
            while_revalidate: Duration::from_secs(1),
            if_error: Duration::from_secs(2),
            if_disconnected: Duration::from_secs(3),
            ..Stale::default()
        };
        let policy = CachePolicy { stale, ..CachePolicy::default() };
        // Windows while revalidating, on errors, when disconnected; whether stale is forbidden.
        let table: &[(u16, &str, [u64; 3], bool)] = &[
            (200, "max-age=9", [1, 2, 3], false),
            (200, "max-age=9, stale-while-revalidate=7", [7, 2, 3], false),
            (200, "max-age=9, stale-if-error=7", [1, 7, 7], false),
            (200, "max-age=9, stale-if-error=0", [1, 0, 0], false),
            (200, "max-age=9, stale-if-error=x", [1, 2, 3], false),
            (200, "max-age=9, must-revalidate, stale-if-error=7", [0, 0, 0], true),
            (200, "max-age=9, proxy-revalidate, stale-while-revalidate=7", [0, 0, 0], true),
            (200, "max-age=9, no-cache, stale-while-revalidate=7", [0, 0, 0], true),
            (200, "max-age=9, no-cache=\"a\"", [1, 2, 3], false),
            (200, "s-maxage=9", [0, 0, 0], true),
            (200, "s-maxage=9, stale-while-revalidate=7", [7, 0, 0], true),
            (200, "s-maxage=9, stale-if-error=7", [0, 7, 7], true),
            (503, "max-age=9", [0, 0, 0], false),
            (503, "max-age=9, stale-if-error=7", [0, 7, 7], false),
            (999, "max-age=9", [0, 0, 0], false),
        ];
        for (status, value, windows, forbidden) in table {
            let terms = with(*status, &[("cache-control", value)], &policy, at_once());
            let found = [terms.while_revalidate, terms.if_error, terms.if_disconnected];
            assert_eq!(found.map(|window| window.as_secs()), *windows, "{value}");
            assert_eq!(terms.stale_forbidden, *forbidden, "{value}");
        }
    }
}
