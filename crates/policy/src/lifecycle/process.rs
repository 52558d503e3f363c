//! The typestate: one struct per state, transitions that consume the old one, and the values that
//! they take as proof that a check was made.

use std::collections::BTreeSet;

use bailiwick_envelope::approval::{Decision, RefusalCode};
use bailiwick_types::{Name, Role, Slot, Timestamp};

use super::binding::{Binding, BindingMismatch, Correction, Narrowing};
use super::docket::{DecisionRefusal, Docket, Seat, Terms, Verdict};
use crate::evaluation::{Disposition, Evaluation};
use crate::rule::{Outcome, RuleId};

/// A request in the state `S`. What a state does not allow does not compile:
///
/// ```
/// use bailiwick_policy::lifecycle::{Approved, Process, Releasing};
/// use bailiwick_types::Timestamp;
///
/// fn release(process: Process<Approved>, at: Timestamp) -> Process<Releasing> {
///     process.inclusion_verified(at)
/// }
/// ```
/// Nothing is released that is only in review:
/// ```compile_fail,E0599
/// use bailiwick_policy::lifecycle::{InReview, Process, Releasing};
/// use bailiwick_types::Timestamp;
///
/// fn release(process: Process<InReview>, at: Timestamp) -> Process<Releasing> {
///     process.inclusion_verified(at)
/// }
/// ```
/// The rights panel sends back to the reviewers, it does not release:
/// ```compile_fail,E0599
/// use bailiwick_policy::lifecycle::{Escalated, Process, Releasing};
/// use bailiwick_types::Timestamp;
///
/// fn release(process: Process<Escalated>, at: Timestamp) -> Process<Releasing> {
///     process.inclusion_verified(at)
/// }
/// ```
/// A transition consumes the state that it leaves:
/// ```compile_fail,E0382
/// use bailiwick_policy::lifecycle::{Approved, Process, Releasing};
/// use bailiwick_types::Timestamp;
///
/// fn twice(process: Process<Approved>, at: Timestamp) -> [Process<Releasing>; 2] {
///     [process.inclusion_verified(at), process.inclusion_verified(at)]
/// }
/// ```
/// Nobody states by hand that the sender was verified:
/// ```compile_fail,E0423
/// use bailiwick_policy::lifecycle::{AuthorityCheck, AuthorityVerified, Process, Triage};
/// use bailiwick_types::Timestamp;
///
/// fn skip(process: Process<AuthorityCheck>, at: Timestamp) -> Process<Triage> {
///     process.authority_verified(at, AuthorityVerified(()))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process<S> {
    pub(super) docket: Docket,
    pub(super) state: S,
}

/// Received: nothing was looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received;
/// Intake logged it and a hold stands; who sent it is being established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityCheck;
/// The rules are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triage;
/// It went back to the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    pub(super) until: Timestamp,
}
/// It waits for the enforcing authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldForAuthority {
    pub(super) until: Timestamp,
}
/// Reviewers decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InReview;
/// The rights panel decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escalated;
/// Both quorums approved this binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved;
/// Approvers release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releasing {
    pub(super) released: BTreeSet<(Role, Slot)>,
}
/// It could not be released; the same scope may be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub(super) released: BTreeSet<(Role, Slot)>,
}
/// Enough approvers released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disclosed;
/// The recipient acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered;
/// Notice to the subject is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// How a request ended. No transition leaves an end; a refused order needs a new request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Refused, finally.
    Refused(RefusalCode),
    /// Nothing in scope.
    NoData,
    /// Withdrawn by the authority before anything was disclosed.
    Withdrawn,
    /// The order expired, or was not corrected or validated in time, before anything was disclosed.
    Lapsed,
    /// Annulled, objected to or not validated after it was disclosed: the recipient must delete.
    Recalled,
}

/// A hold stands on the records in scope. Only [`HoldPlaced::of`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPlaced(());

impl HoldPlaced {
    /// From an evaluation in which R27 passed.
    pub fn of(evaluation: &Evaluation) -> Option<Self> {
        passed(evaluation, RuleId::R27).then_some(Self(()))
    }
}

/// Authority and officer are known, and the officer signed. Only [`AuthorityVerified::of`] makes
/// one, so that an unsigned order never gets past the authority check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityVerified(());

impl AuthorityVerified {
    /// From an evaluation in which R01 and R02 passed.
    pub fn of(evaluation: &Evaluation) -> Option<Self> {
        let known = passed(evaluation, RuleId::R01) && passed(evaluation, RuleId::R02);
        known.then_some(Self(()))
    }
}

fn passed(evaluation: &Evaluation, rule: RuleId) -> bool {
    let found = evaluation.findings().get(&rule);
    found.is_some_and(|finding| finding.outcome == Outcome::Pass)
}

/// What the rules said. Only [`Triaged::of`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triaged(Disposition);

impl Triaged {
    /// From an evaluation of the request.
    pub fn of(evaluation: &Evaluation) -> Self {
        Self(evaluation.disposition())
    }
}

/// Where triage leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sorted {
    Incomplete(Process<Incomplete>),
    Held(Process<HeldForAuthority>),
    InReview(Process<InReview>),
    Escalated(Process<Escalated>),
    Ended(Ended),
    /// The policy permits nothing: triage must be repeated under one that does.
    Denied(Process<Triage>),
}

/// Where a decision leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// More must decide.
    InReview(Process<InReview>),
    /// The rights panel must decide.
    Escalated(Process<Escalated>),
    /// Both quorums approved.
    Approved(Process<Approved>),
    /// It is refused.
    Ended(Ended),
}

impl<S> Process<S> {
    fn step<T>(mut self, at: Timestamp, state: T) -> Process<T> {
        self.docket.last = at;
        let docket = self.docket;
        Process { docket, state }
    }

    /// What decisions are bound to.
    pub fn binding(&self) -> &Binding {
        &self.docket.binding
    }
}

impl Process<Received> {
    /// A request as it is received, at a log time.
    pub fn new(binding: Binding, entered_by: Name, terms: Terms, at: Timestamp) -> Self {
        let docket = Docket::new(binding, entered_by, terms, at);
        let state = Received;
        Self { docket, state }
    }

    /// Intake logged it, and the hold stands (R27).
    pub fn intake_logged(self, at: Timestamp, _hold: HoldPlaced) -> Process<AuthorityCheck> {
        self.step(at, AuthorityCheck)
    }
}

impl Process<AuthorityCheck> {
    /// Authority and officer are who they say.
    pub fn authority_verified(self, at: Timestamp, _by: AuthorityVerified) -> Process<Triage> {
        self.step(at, Triage)
    }

    /// They are not: refused as not authentic.
    pub fn authority_rejected(self) -> Ended {
        Ended::Refused(RefusalCode::Authenticity)
    }
}

impl Process<Triage> {
    /// Goes where the rules lead.
    pub(crate) fn triaged(mut self, at: Timestamp, triaged: Triaged) -> Sorted {
        let deadlines = self.docket.terms.deadlines;
        if let Some(objection) = deadlines.objection {
            self.docket.objection_until = Some(at.plus(objection));
        }
        match triaged.0 {
            Disposition::Review => Sorted::InReview(self.step(at, InReview)),
            Disposition::Escalate { .. } => Sorted::Escalated(self.step(at, Escalated)),
            Disposition::HoldForAuthority => match deadlines.window {
                Some(window) => {
                    let until = at.plus(window);
                    Sorted::Held(self.step(at, HeldForAuthority { until }))
                }
                None => Sorted::InReview(self.step(at, InReview)),
            },
            Disposition::Incomplete { .. } => {
                let until = at.plus(deadlines.correct_within);
                Sorted::Incomplete(self.step(at, Incomplete { until }))
            }
            Disposition::Refuse { code, .. } => Sorted::Ended(Ended::Refused(code)),
            Disposition::Deny => Sorted::Denied(self),
        }
    }
}

/// A revision of another request than this one.
pub(crate) struct OtherRequest<S>(pub(crate) Process<S>);

impl Process<Incomplete> {
    /// The authority corrected it: triage begins again with the next generation.
    pub(crate) fn corrected(
        mut self,
        at: Timestamp,
        correction: Correction,
    ) -> Result<Process<Triage>, OtherRequest<Incomplete>> {
        if correction.from != self.docket.binding.request {
            return Err(OtherRequest(self));
        }
        self.docket.revise(correction.to);
        Ok(self.step(at, Triage))
    }
}

impl Process<HeldForAuthority> {
    /// The enforcing authority cleared it, or its window is over.
    pub(crate) fn cleared(self, at: Timestamp) -> Process<InReview> {
        self.step(at, InReview)
    }

    /// The enforcing authority objects.
    pub fn objected(self) -> Ended {
        Ended::Refused(RefusalCode::EnforcingAuthority)
    }
}

/// Narrows a request that waits or is in review; all earlier decisions are void.
pub(crate) fn narrowed<S>(
    mut process: Process<S>,
    at: Timestamp,
    narrowing: Narrowing,
) -> Result<Process<S>, OtherRequest<S>> {
    if narrowing.from != process.docket.binding.request {
        return Err(OtherRequest(process));
    }
    process.docket.revise(narrowing.to);
    process.docket.last = at;
    Ok(process)
}

impl Process<InReview> {
    /// A safeguard's trigger sends it to the rights panel.
    pub fn safeguard_triggered(self, at: Timestamp) -> Process<Escalated> {
        self.step(at, Escalated)
    }

    /// Records a reviewer's decision. The first objection escalates; after the panel let the
    /// generation go on, further objections only count.
    ///
    /// # Errors
    /// [`DecisionRefusal`], with the request as it was.
    pub fn decide(
        mut self,
        at: Timestamp,
        verdict: Verdict,
    ) -> Result<Reviewed, (Self, DecisionRefusal)> {
        let objection = matches!(verdict.decision, Decision::Refuse(_));
        if matches!(verdict.seat, Seat::Panel(_)) {
            return Err((self, DecisionRefusal::NoSuchSeat));
        }
        if let Err(refusal) = self.docket.record(verdict) {
            return Err((self, refusal));
        }
        if self.docket.approval_impossible() {
            let code = self
                .docket
                .refusal()
                .unwrap_or(RefusalCode::DeFactoImpossibility);
            return Ok(Reviewed::Ended(Ended::Refused(code)));
        }
        if objection && !self.docket.panel_cleared {
            return Ok(Reviewed::Escalated(self.step(at, Escalated)));
        }
        Ok(match self.docket.quorums_met() {
            true => Reviewed::Approved(self.step(at, Approved)),
            false => Reviewed::InReview(self.step(at, InReview)),
        })
    }
}

impl Process<Escalated> {
    /// Records a decision of the rights panel: its quorum sends the request back to the reviewers,
    /// who decide as before; it never approves by itself.
    ///
    /// # Errors
    /// [`DecisionRefusal`], with the request as it was.
    pub fn decide(
        mut self,
        at: Timestamp,
        verdict: Verdict,
    ) -> Result<Reviewed, (Self, DecisionRefusal)> {
        if !matches!(verdict.seat, Seat::Panel(_)) {
            return Err((self, DecisionRefusal::NoSuchSeat));
        }
        let refused = match verdict.decision {
            Decision::Refuse(code) => Some(code),
            Decision::Approve => None,
        };
        if let Err(refusal) = self.docket.record(verdict) {
            return Err((self, refusal));
        }
        if self.docket.panel_impossible() {
            let code = refused.unwrap_or(RefusalCode::FundamentalRights);
            return Ok(Reviewed::Ended(Ended::Refused(code)));
        }
        if !self.docket.panel_met() {
            return Ok(Reviewed::Escalated(self.step(at, Escalated)));
        }
        self.docket.panel_cleared = true;
        Ok(match self.docket.quorums_met() {
            true => Reviewed::Approved(self.step(at, Approved)),
            false => Reviewed::InReview(self.step(at, InReview)),
        })
    }
}

impl Process<Approved> {
    /// An approver verified the inclusion of what it releases. The only way to `Releasing`.
    pub fn inclusion_verified(self, at: Timestamp) -> Process<Releasing> {
        let released = BTreeSet::new();
        self.step(at, Releasing { released })
    }
}

impl Process<Releasing> {
    /// An approver released. Disclosed when a quorum of each committee did.
    pub(crate) fn released(
        mut self,
        at: Timestamp,
        role: Role,
        slot: Slot,
    ) -> Result<Process<Disclosed>, Self> {
        self.state.released.insert((role, slot));
        self.docket.last = at;
        let enough = Role::ALL.into_iter().all(|role| {
            let bench = self.docket.terms.bench(role);
            let members =
                |(of, slot): &&(Role, Slot)| *of == role && slot.number() <= bench.members;
            let released = self.state.released.iter().filter(members).count();
            bench.needed >= 2 && released >= usize::from(bench.needed)
        });
        match enough {
            true => Ok(self.step(at, Disclosed)),
            false => Err(self),
        }
    }

    /// Nothing was found in scope.
    pub fn nothing_in_scope(self) -> Ended {
        Ended::NoData
    }

    /// It cannot be released for now.
    pub fn impossible(mut self, at: Timestamp) -> Process<Failed> {
        let released = std::mem::take(&mut self.state.released);
        self.step(at, Failed { released })
    }
}

impl Process<Failed> {
    /// Tries again with exactly the same binding.
    ///
    /// # Errors
    /// [`BindingMismatch`], with the request as it was.
    pub fn retried(
        mut self,
        at: Timestamp,
        binding: &Binding,
    ) -> Result<Process<Releasing>, (Self, BindingMismatch)> {
        if let Err(mismatch) = self.docket.binding.check(binding) {
            return Err((self, mismatch));
        }
        let released = std::mem::take(&mut self.state.released);
        Ok(self.step(at, Releasing { released }))
    }
}

impl Process<Disclosed> {
    /// The recipient acknowledged.
    pub fn acknowledged(self, at: Timestamp) -> Process<Delivered> {
        self.step(at, Delivered)
    }
}

impl Process<Delivered> {
    /// The notice to the subject is settled.
    pub fn notice_settled(self, at: Timestamp) -> Process<Closed> {
        self.step(at, Closed)
    }
}
