//! What invalidations cost: [`Meter`], [`Tariff`].

use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use crate::sync::Mutex;

/// What invalidations cost, and how many there may be. The defaults are CloudFront's.
///
/// Every path, wildcard, tag and group counts as one path, and so does everything at once. Money is counted in millionths
/// of a US dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// Paths a calendar month (UTC) that cost nothing.
    pub free_paths: u64,
    /// What a path costs after those, in millionths of a dollar.
    pub price: u64,
    /// What a month may cost at most, in millionths of a dollar. `None` for no limit.
    pub budget: Option<u64>,
    /// Paths that may be in progress at a time. Nothing else bounds the receipts in progress, some 200 bytes each.
    pub paths_in_progress: u64,
    /// Wildcards that may be in progress at a time.
    pub wildcards_in_progress: u64,
}

impl Default for Tariff {
    fn default() -> Self {
        Self {
            free_paths: 1_000,
            price: 5_000,
            budget: None,
            paths_in_progress: 3_000,
            wildcards_in_progress: 15,
        }
    }
}

/// What one invalidation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// The paths it counts for.
    pub paths: u64,
    /// How many of them cost something.
    pub billed_paths: u64,
    /// What they cost together, in millionths of a dollar.
    pub amount: u64,
}

/// What the invalidations of a calendar month come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The year and the month, UTC.
    pub month: (i64, u8),
    /// Paths so far.
    pub paths: u64,
    /// What they cost, in millionths of a dollar.
    pub amount: u64,
}

/// Why an invalidation was not made. Nothing of it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidateError {
    /// It names nothing.
    Empty,
    /// With it more paths would be in progress than the tariff allows.
    TooManyPaths {
        /// Paths in progress without it.
        in_progress: u64,
        /// What the tariff allows.
        limit: u64,
    },
    /// With it more wildcards would be in progress than the tariff allows.
    TooManyWildcards {
        /// Wildcards in progress without it.
        in_progress: u64,
        /// What the tariff allows.
        limit: u64,
    },
    /// With it the month would cost more than the budget.
    OverBudget {
        /// What the month would cost, in millionths of a dollar.
        amount: u64,
        /// What it may cost.
        budget: u64,
    },
}

impl fmt::Display for InvalidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the invalidation names nothing"),
            Self::TooManyPaths { in_progress, limit } => {
                write!(f, "too many paths: {in_progress} are in progress, and {limit} may be")
            }
            Self::TooManyWildcards { in_progress, limit } => {
                write!(f, "too many wildcards: {in_progress} are in progress, and {limit} may be")
            }
            Self::OverBudget { amount, budget } => {
                write!(f, "over budget: the month would cost {}, and may cost {}", usd(*amount), usd(*budget))
            }
        }
    }
}

impl Error for InvalidateError {}

fn usd(millionths: u64) -> String {
    format!("US${}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
}

/// Counts what invalidations cost, month by month.
#[derive(Debug)]
pub(crate) struct Meter {
    tariff: Tariff,
    usage: Mutex<Usage>,
}

impl Meter {
    pub(crate) fn new(tariff: Tariff) -> Self {
        Self { tariff, usage: Mutex::default() }
    }

    pub(crate) fn usage(&self, now: SystemTime) -> Usage {
        let mut usage = self.usage.lock();
        roll_over(&mut usage, now);
        *usage
    }

    /// Charges an invalidation of so many `paths` and `wildcards` among them, or says why it may not be made.
    pub(super) fn charge(
        &self,
        (paths, wildcards): (u64, u64),
        in_progress: (u64, u64),
        now: SystemTime,
    ) -> Result<Charge, InvalidateError> {
        let tariff = &self.tariff;
        if in_progress.0.saturating_add(paths) > tariff.paths_in_progress {
            let (in_progress, limit) = (in_progress.0, tariff.paths_in_progress);
            return Err(InvalidateError::TooManyPaths { in_progress, limit });
        }
        if in_progress.1.saturating_add(wildcards) > tariff.wildcards_in_progress {
            let (in_progress, limit) = (in_progress.1, tariff.wildcards_in_progress);
            return Err(InvalidateError::TooManyWildcards { in_progress, limit });
        }
        let mut usage = self.usage.lock();
        roll_over(&mut usage, now);
        let free = tariff.free_paths.saturating_sub(usage.paths);
        let billed_paths = paths.saturating_sub(free);
        let amount = billed_paths.saturating_mul(tariff.price);
        let total = usage.amount.saturating_add(amount);
        if let Some(budget) = tariff.budget
            && amount > 0
            && total > budget
        {
            return Err(InvalidateError::OverBudget { amount: total, budget });
        }
        usage.paths = usage.paths.saturating_add(paths);
        usage.amount = total;
        Ok(Charge { paths, billed_paths, amount })
    }
}

fn roll_over(usage: &mut Usage, now: SystemTime) {
    let month = month_of(now);
    // A clock that is set back does not make a new month of an old one.
    if usage.month < month {
        *usage = Usage { month, ..Usage::default() };
    }
}

/// The year and month of a moment, UTC: days since March 1st of the year 0, in eras of 400 years.
fn month_of(now: SystemTime) -> (i64, u8) {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let days = i64::try_from(seconds / 86_400).unwrap_or(i64::MAX / 2) + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (month, after) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + after, u8::try_from(month).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(date: &str) -> SystemTime {
        httpdate::parse_http_date(date).unwrap()
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        for (date, month) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", (1970, 1)),
            ("Tue, 29 Feb 2000 23:59:59 GMT", (2000, 2)),
            ("Wed, 01 Mar 2000 00:00:00 GMT", (2000, 3)),
            ("Sat, 31 Dec 2022 23:59:59 GMT", (2022, 12)),
            ("Mon, 23 Nov 2026 12:00:00 GMT", (2026, 11)),
            ("Mon, 28 Feb 2101 12:00:00 GMT", (2101, 2)),
            ("Tue, 01 Mar 2101 12:00:00 GMT", (2101, 3)),
        ] {
            assert_eq!(month_of(at(date)), month, "{date}");
        }
    }

    #[test]
    fn a_month_has_free_paths_and_then_a_price() {
        let meter = Meter::new(Tariff::default());
        let now = at("Mon, 23 Nov 2026 12:00:00 GMT");
        let charge = |paths| meter.charge((paths, 0), (0, 0), now).unwrap();
        assert_eq!(charge(999), Charge { paths: 999, billed_paths: 0, amount: 0 });
        assert_eq!(charge(3), Charge { paths: 3, billed_paths: 2, amount: 10_000 });
        assert_eq!(meter.usage(now), Usage { month: (2026, 11), paths: 1_002, amount: 10_000 });
        assert_eq!(meter.usage(now + Duration::from_secs(8 * 86_400)).paths, 0);
    }

    #[test]
    fn over_a_limit_nothing_is_charged() {
        let tariff = Tariff { free_paths: 1, budget: Some(10_000), ..Tariff::default() };
        let meter = Meter::new(tariff);
        let now = at("Mon, 23 Nov 2026 12:00:00 GMT");
        let over_budget = InvalidateError::OverBudget { amount: 15_000, budget: 10_000 };
        assert_eq!(meter.charge((4, 0), (0, 0), now), Err(over_budget));
        assert!(meter.charge((3, 0), (0, 0), now).is_ok());
        assert!(over_budget.to_string().contains("US$0.015000"), "{over_budget}");
        let meter = Meter::new(Tariff::default());
        let too_many = InvalidateError::TooManyPaths { in_progress: 2_999, limit: 3_000 };
        assert_eq!(meter.charge((2, 0), (2_999, 0), now), Err(too_many));
        let too_many = InvalidateError::TooManyWildcards { in_progress: 15, limit: 15 };
        assert_eq!(meter.charge((1, 1), (15, 15), now), Err(too_many));
        assert_eq!(meter.usage(now).paths, 0);
    }
}
