//! What is under way in a shard, and how far its keys reach: what an operator watches. Pure over one
//! view, like [`crate::query`]; bounded, so that it may be asked every few seconds.

use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{Role, Threshold, Timestamp};

use crate::requests::OPEN_LIMIT;
use crate::rows::{PeriodRow, RequestRow, array, demand, parse};
use crate::tables::{OPEN_REQUESTS, PERIODS, REQUESTS};
use crate::view::RequestState;

/// Most key periods looked at: the certificates of more than ten years of days.
const PERIOD_ROWS: usize = 4096;

/// What is under way in a shard, and how far its keys reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Requests that wait for decisions.
    pub in_review: u64,
    /// Requests that both quorums approved and that no member has released yet.
    pub approved: u64,
    /// Requests that some members have released, and not yet a quorum of each role.
    pub releasing: u64,
    /// Whether a valid certificate covers the present.
    pub covered: bool,
    /// Whole key periods that follow the present without a gap.
    pub periods_ahead: u64,
    /// The end of the last period that the present reaches without a gap; the present itself when
    /// not even that is covered.
    pub covered_until: Timestamp,
    /// How many members of each role must act for what is sealed at present.
    pub thresholds: Option<[(Role, Threshold); 2]>,
}

/// Looks ahead from `now`.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn outlook(store: &dyn ReadStore, now: Timestamp) -> Result<Outlook, StoreError> {
    let mut outlook = Outlook {
        covered_until: now,
        ..Outlook::default()
    };
    for (_, rd) in store.scan_prefix(OPEN_REQUESTS, &[], OPEN_LIMIT as usize)? {
        let rd: [u8; 32] = array(OPEN_REQUESTS, &rd)?;
        let row: RequestRow = demand(store, REQUESTS, &rd)?;
        match row.state_at(now) {
            RequestState::InReview => outlook.in_review += 1,
            RequestState::Approved => outlook.approved += 1,
            RequestState::Releasing => outlook.releasing += 1,
            _ => {}
        }
    }
    let mut periods = Vec::new();
    for (_, row) in store.scan_prefix(PERIODS, &[], PERIOD_ROWS)? {
        let row: PeriodRow = parse(PERIODS, &row)?;
        if row.not_after > now {
            if row.not_before <= now {
                let of = |role| (role, row.threshold(role));
                outlook.thresholds = Some(Role::ALL.map(of));
            }
            periods.push((row.not_before, row.not_after));
        }
    }
    periods.sort_unstable();
    outlook.follow(&periods);
    Ok(outlook)
}

impl Outlook {
    /// Follows periods in order of their begin, from the present, up to the first gap.
    fn follow(&mut self, periods: &[(Timestamp, Timestamp)]) {
        for (begin, end) in periods {
            if *begin > self.covered_until {
                return;
            }
            if *end <= self.covered_until {
                continue;
            }
            if self.covered {
                self.periods_ahead += 1;
            }
            self.covered = true;
            self.covered_until = *end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(now: u64, periods: &[(u64, u64)]) -> (bool, u64, u64) {
        let mut outlook = Outlook {
            covered_until: Timestamp(now),
            ..Outlook::default()
        };
        let stamps = |(begin, end): &(u64, u64)| (Timestamp(*begin), Timestamp(*end));
        let periods: Vec<_> = periods.iter().map(stamps).collect();
        outlook.follow(&periods);
        let until = outlook.covered_until.0;
        (outlook.covered, outlook.periods_ahead, until)
    }

    #[test]
    fn periods_count_up_to_the_first_gap() {
        let days = [(0, 10), (10, 20), (20, 30), (40, 50)];
        assert_eq!(followed(5, &days), (true, 2, 30));
        assert_eq!(followed(25, &days), (true, 0, 30));
    }

    #[test]
    fn a_gap_at_present_is_not_covered() {
        assert_eq!(followed(5, &[]), (false, 0, 5));
        assert_eq!(followed(5, &[(10, 20), (20, 30)]), (false, 0, 5));
    }

    #[test]
    fn two_certificates_of_the_same_days_count_once() {
        assert_eq!(followed(5, &[(0, 10), (0, 10), (10, 20)]), (true, 1, 20));
    }
}
