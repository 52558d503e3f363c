//! Which instants a request must meet. Every clock begins at receipt by log time, except the
//! enforcing authority's, which begins when it is notified. An emergency shortens the decision's
//! clock and waits for no window; it changes no quorum.

use std::time::Duration;

use bailiwick_types::Timestamp;

use crate::law::{CategoryTerms, Intake};
use crate::vocabulary::Priority;

/// Hours as a duration; at most ten years by the policy's own checks.
pub(crate) fn hours(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 3600)
}

/// The instants of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// An incomplete request lapses when it is not corrected this long after it went back.
    pub correct_within: Duration,
    /// The decision is due.
    pub decide_by: Timestamp,
    /// The request waits for the enforcing authority for this long after notifying it.
    pub window: Option<Duration>,
    /// After an emergency's notification the enforcing authority may object for this long.
    pub objection: Option<Duration>,
    /// An emergency order that nobody validated is recalled unless it is validated by then.
    pub validate_by: Option<Timestamp>,
    /// The order expires, and the request lapses with it unless it was disclosed before.
    pub expires_at: Timestamp,
}

/// The category has no emergency path under the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policy has no emergency path for this category of data")]
pub struct NoEmergencyError;

impl Deadlines {
    /// The instants of a request that was received at `received_at`; `validated` says whether a
    /// competent issuer or validator stands behind the order already.
    ///
    /// # Errors
    /// [`NoEmergencyError`] for an emergency where the terms have none.
    pub fn new(
        intake: &Intake,
        terms: &CategoryTerms,
        priority: Priority,
        validated: bool,
        received_at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Self, NoEmergencyError> {
        let emergency = priority == Priority::Emergency;
        let due = match emergency {
            true => terms.emergency_hours.ok_or(NoEmergencyError)?,
            false => terms.deadline_hours,
        };
        let notify = terms.notify;
        let later = terms
            .validate_within_hours
            .filter(|_| emergency && !validated);
        Ok(Self {
            correct_within: hours(intake.correct_within_hours),
            decide_by: received_at.plus(hours(due)),
            window: notify.filter(|_| !emergency).map(|n| hours(n.window_hours)),
            objection: notify
                .filter(|_| emergency)
                .map(|n| hours(n.objection_hours)),
            validate_by: later.map(|within| received_at.plus(hours(within))),
            expires_at,
        })
    }

    /// Whether the decision is overdue.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        now > self.decide_by
    }
}
