//! Step 5: "policy: its own copy, digest equal, every rule evaluated by itself; its own disclosure
//! budget."

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_policy::{
    DecisionFact, Evaluation, InclusionFact, Policy, PolicyPins, RequestFacts, Stage, evaluate,
};
use bailiwick_types::{Jurisdiction, RequestId, SelectionId, Timestamp};

use crate::checks::quorum::QuorumCertificate;
use crate::checks::request::LoggedRequest;
use crate::facts::SECONDS_PER_DAY;
use crate::follower::LogFollower;
use crate::trust::{JurisdictionTrust, PolicyCopies, Seat};

/// The own policy copies permit the request, and the own budget has room. Only
/// [`PolicyPassed::verify`] makes one.
#[derive(Clone, Debug)]
pub struct PolicyPassed {
    request: RequestId,
    selection: SelectionId,
    evaluations: Vec<Evaluation>,
}

/// Why the member's own policy does not let it release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// The quorum is of another request.
    #[error("the quorum is of another request")]
    OtherRequest,
    /// There is no own copy of a policy.
    #[error("there is no own copy of the policy of {0}")]
    NoCopy(Jurisdiction),
    /// A rule stands in the way.
    #[error("the policy of {jurisdiction} does not permit it: {reason}")]
    Rule {
        /// Whose policy.
        jurisdiction: Jurisdiction,
        /// The refusal's code, where the rule has one.
        code: Option<RefusalCode>,
        /// Which rule, and why.
        reason: String,
    },
    /// The selection is larger than the member lets out for one request.
    #[error("{count} records are more than the {budget} that this member lets out for a request")]
    RequestBudget {
        /// Records of the selection.
        count: u32,
        /// The budget.
        budget: u32,
    },
    /// The day's budget is used up.
    #[error("{used} records of {budget} were let out today, {count} more are too many")]
    DayBudget {
        /// Records let out on this day of log time, for other requests.
        used: u64,
        /// Records of the selection.
        count: u32,
        /// The budget.
        budget: u32,
    },
}

impl PolicyPassed {
    /// Evaluates the custody jurisdiction's policy, and the forum's where it is another one, from
    /// the own copies; then the own budget, counted from the own releases in the log.
    ///
    /// # Errors
    /// [`PolicyRefusal`] names the rule or budget that stands in the way.
    pub fn verify(
        policies: &PolicyCopies,
        trust: &JurisdictionTrust,
        follower: &LogFollower,
        request: &LoggedRequest,
        quorum: &QuorumCertificate,
        seat: Seat,
        now: Timestamp,
    ) -> Result<Self, PolicyRefusal> {
        if quorum.request() != request.id() || quorum.checkpoint() != request.checkpoint() {
            return Err(PolicyRefusal::OtherRequest);
        }
        let asked = request.request();
        let copy = |of: Jurisdiction| policies.of(of).ok_or(PolicyRefusal::NoCopy(of));
        let (custody, forum) = (copy(asked.jurisdiction)?, copy(asked.forum)?);
        let decisions: Vec<DecisionFact> = quorum
            .decisions()
            .iter()
            .map(|decision| DecisionFact {
                role: decision.seat.role,
                slot: decision.seat.slot,
                key: decision.key,
            })
            .collect();
        let recipients = trust.recipient_facts();
        let facts = RequestFacts {
            request: asked,
            stage: Stage::Release,
            now,
            selected: Some(quorum.selection().count),
            decisions: &decisions,
            roster: trust.roster(),
            inclusion: Some(InclusionFact {
                request: request.id(),
                leaf_index: request.place().index,
                size: request.checkpoint().size,
            }),
            policies: Some(PolicyPins {
                forum: forum.digest(),
                custody: custody.digest(),
            }),
            recipients: &recipients,
            received_at: Some(request.place().logged_at),
            // The order itself does not travel yet: a policy with instruments permits nothing here.
            case: None,
        };
        let mut evaluations = vec![permitted(custody, &facts)?];
        if asked.forum != asked.jurisdiction {
            evaluations.push(permitted(forum, &facts)?);
        }
        check_budget(trust, follower, quorum, seat, now)?;
        Ok(Self {
            request: request.id(),
            selection: quorum.selection().id(),
            evaluations,
        })
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The selection.
    pub fn selection(&self) -> SelectionId {
        self.selection
    }

    /// Every rule's finding, custody first.
    pub fn evaluations(&self) -> &[Evaluation] {
        &self.evaluations
    }
}

fn permitted(policy: &Policy, facts: &RequestFacts<'_>) -> Result<Evaluation, PolicyRefusal> {
    let evaluation = evaluate(policy, facts);
    match evaluation.objection() {
        None => Ok(evaluation),
        Some((code, reason)) => Err(PolicyRefusal::Rule {
            jurisdiction: policy.jurisdiction(),
            code,
            reason,
        }),
    }
}

/// The member's own releases of the day are leaves of the log that it folded itself, so that no
/// counter of its own can be lost or reset.
pub(crate) fn check_budget(
    trust: &JurisdictionTrust,
    follower: &LogFollower,
    quorum: &QuorumCertificate,
    seat: Seat,
    now: Timestamp,
) -> Result<(), PolicyRefusal> {
    let (budget, count) = (trust.budget(), quorum.selection().count);
    if count > budget.records_per_request {
        let budget = budget.records_per_request;
        return Err(PolicyRefusal::RequestBudget { count, budget });
    }
    // Log time can run ahead of the own clock but never behind what was folded.
    let day = day_of(now.max(follower.log_time()));
    check_budget_of_day(trust, follower, quorum, seat, day)
}

/// The UTC day that an instant falls on.
pub(crate) fn day_of(at: Timestamp) -> u64 {
    at.seconds() / SECONDS_PER_DAY
}

/// Whether this release fits into what the member's leaves have left of a day's budget.
pub(crate) fn check_budget_of_day(
    trust: &JurisdictionTrust,
    follower: &LogFollower,
    quorum: &QuorumCertificate,
    seat: Seat,
    day: u64,
) -> Result<(), PolicyRefusal> {
    let (budget, count) = (trust.budget(), quorum.selection().count);
    let used = follower.facts().released_on(seat, day, quorum.request());
    if used.saturating_add(u64::from(count)) > u64::from(budget.records_per_day) {
        let budget = budget.records_per_day;
        return Err(PolicyRefusal::DayBudget {
            used,
            count,
            budget,
        });
    }
    Ok(())
}
