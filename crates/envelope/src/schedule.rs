//! Key periods in time (docs/cryptography.md section 4): "a period is one day where retention is up
//! to 3 months, else one week: a monthly key would keep a one-month record for two."
//!
//! ```text
//! erase_by = not_after + maximum retention     a record lives at least `minimum`, and no key is
//!                                              older than maximum retention plus one period
//! ```

use std::time::Duration;

use bailiwick_types::Timestamp;
use bailiwick_types::limits::CERTIFICATE_PERIODS;

use crate::certificate::{CertificateBody, Period};

/// One day.
pub const DAY: Duration = Duration::from_secs(86_400);
/// One week.
pub const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// The longest maximum retention with daily periods: three months.
pub const DAILY_RETENTION: Duration = Duration::from_secs(92 * 86_400);
/// The longest maximum retention at all: ten years and its leap days.
pub const RETENTION_CEILING: Duration = Duration::from_secs(3653 * 86_400);

/// How long a jurisdiction's records are kept. Only [`Retention::new`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    minimum: Duration,
    maximum: Duration,
}

/// Why there is no such retention: the policy's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// The minimum is longer than the maximum.
    #[error("the minimum retention is longer than the maximum")]
    MinimumOverMaximum,
    /// No or too long a maximum.
    #[error("the maximum retention is under one day or over ten years")]
    Maximum,
}

impl Retention {
    /// A duty to keep for `minimum`, and leave to keep for no longer than `maximum`.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub fn new(minimum: Duration, maximum: Duration) -> Result<Self, RetentionError> {
        if !(DAY..=RETENTION_CEILING).contains(&maximum) {
            return Err(RetentionError::Maximum);
        }
        if minimum > maximum {
            return Err(RetentionError::MinimumOverMaximum);
        }
        Ok(Self { minimum, maximum })
    }

    /// The duty.
    pub fn minimum(&self) -> Duration {
        self.minimum
    }

    /// The limit.
    pub fn maximum(&self) -> Duration {
        self.maximum
    }

    /// How long one key period may be at most: a day or a week.
    pub fn period(&self) -> Duration {
        if self.maximum <= DAILY_RETENTION {
            DAY
        } else {
            WEEK
        }
    }
}

/// Why periods are not made or not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No periods, or more than one certificate may carry.
    #[error("{0} periods are none or more than one certificate may carry")]
    Count(usize),
    /// A period is longer than its retention allows.
    #[error("period {period} is longer than {} days", allowed.as_secs() / 86_400)]
    TooLong {
        /// The period's index.
        period: usize,
        /// The longest allowed.
        allowed: Duration,
    },
    /// A period's keys would be destroyed before the duty to keep ends.
    #[error("the keys of period {period} are destroyed before the minimum retention")]
    ErasedEarly {
        /// The period's index.
        period: usize,
    },
    /// A period's keys would outlive the maximum retention plus one period.
    #[error("the keys of period {period} outlive the maximum retention plus one period")]
    OutlivesRetention {
        /// The period's index.
        period: usize,
    },
}

/// The periods of a certificate: `count` of them from `from` on, without a gap.
///
/// # Errors
/// [`ScheduleError::Count`].
pub fn periods(
    retention: &Retention,
    from: Timestamp,
    count: usize,
) -> Result<Vec<Period>, ScheduleError> {
    if !(1..=CERTIFICATE_PERIODS).contains(&count) {
        return Err(ScheduleError::Count(count));
    }
    let length = retention.period();
    let starts = std::iter::successors(Some(from), |start| Some(start.plus(length)));
    let period = |not_before: Timestamp| {
        let not_after = not_before.plus(length);
        Period {
            not_before,
            not_after,
            erase_by: not_after.plus(retention.maximum),
        }
    };
    Ok(starts.take(count).map(period).collect())
}

/// What every member checks before it signs a certificate: no key outlives the maximum retention
/// plus one period, none dies before the minimum.
///
/// # Errors
/// [`ScheduleError`] names the first period that is wrong.
pub fn check_retention(body: &CertificateBody, retention: &Retention) -> Result<(), ScheduleError> {
    if body.periods.is_empty() {
        return Err(ScheduleError::Count(0));
    }
    let allowed = retention.period();
    for (at, period) in body.periods.iter().enumerate() {
        if period.not_after.since(period.not_before) > allowed {
            return Err(ScheduleError::TooLong {
                period: at,
                allowed,
            });
        }
        if period.erase_by < period.not_after.plus(retention.minimum) {
            return Err(ScheduleError::ErasedEarly { period: at });
        }
        if period.erase_by > period.not_after.plus(retention.maximum) {
            return Err(ScheduleError::OutlivesRetention { period: at });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: u64) -> Duration {
        DAY * u32::try_from(days).expect("few days")
    }

    #[test]
    fn a_period_is_a_day_up_to_three_months_and_a_week_beyond() {
        let length = |maximum| Retention::new(DAY, days(maximum)).map(|r| r.period());
        assert_eq!(length(30), Ok(DAY));
        assert_eq!(length(92), Ok(DAY));
        assert_eq!(length(93), Ok(WEEK));
        assert_eq!(length(365), Ok(WEEK));
        assert_eq!(length(0), Err(RetentionError::Maximum));
        assert_eq!(length(4000), Err(RetentionError::Maximum));
        assert_eq!(
            Retention::new(days(31), days(30)),
            Err(RetentionError::MinimumOverMaximum)
        );
    }

    #[test]
    fn planned_periods_follow_each_other() {
        let retention = Retention::new(days(7), days(30)).expect("a retention");
        let start = Timestamp::from_seconds(1_795_478_400);
        let planned = periods(&retention, start, 31).expect("a month of days");
        assert_eq!(planned.len(), 31);
        assert!(
            planned
                .windows(2)
                .all(|pair| pair[0].not_after == pair[1].not_before)
        );
        for period in &planned {
            assert_eq!(period.erase_by.since(period.not_before), days(31));
        }
        assert_eq!(periods(&retention, start, 0), Err(ScheduleError::Count(0)));
        assert_eq!(
            periods(&retention, start, 41),
            Err(ScheduleError::Count(41))
        );
    }
}
