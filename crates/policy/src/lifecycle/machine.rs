//! The same life cycle behind one type, for events as they come from a log: an event that the
//! typestate does not have in a state is a typed refusal, and time passes before each event.

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_types::{Name, Role, Slot, Timestamp};

use super::binding::{Binding, BindingMismatch, Correction, Narrowing};
use super::docket::{DecisionRefusal, Docket, Terms, Verdict};
use super::process::{
    Approved, AuthorityCheck, AuthorityVerified, Closed, Delivered, Disclosed, Ended, Escalated,
    Failed, HeldForAuthority, HoldPlaced, InReview, Incomplete, Process, Received, Releasing,
    Reviewed, Sorted, Triage, Triaged, narrowed,
};
use crate::vocabulary::words;

words! {
    /// The states of a request.
    State {
        /// Received.
        Received = "received",
        /// Who sent it is being established.
        AuthorityCheck = "authority-check",
        /// The rules are evaluated.
        Triage = "triage",
        /// It went back to the authority.
        Incomplete = "incomplete",
        /// It waits for the enforcing authority.
        HeldForAuthority = "held-for-authority",
        /// Reviewers decide.
        InReview = "in-review",
        /// The rights panel decides.
        Escalated = "escalated",
        /// Both quorums approved.
        Approved = "approved",
        /// Approvers release.
        Releasing = "releasing",
        /// It could not be released.
        Failed = "failed",
        /// Enough approvers released.
        Disclosed = "disclosed",
        /// The recipient acknowledged.
        Delivered = "delivered",
        /// Notice is settled.
        Closed = "closed",
        /// Refused, finally.
        Refused = "refused",
        /// Nothing in scope.
        NoData = "no-data",
        /// Withdrawn.
        Withdrawn = "withdrawn",
        /// Lapsed.
        Lapsed = "lapsed",
        /// Recalled.
        Recalled = "recalled",
    }
}

impl State {
    /// Whether nothing leads out of it.
    pub fn is_end(self) -> bool {
        use State as S;
        matches!(
            self,
            S::Refused | S::NoData | S::Withdrawn | S::Lapsed | S::Recalled
        )
    }

    /// Whether something was disclosed, so that only a recall can answer what comes later.
    pub fn is_disclosed(self) -> bool {
        matches!(self, Self::Disclosed | Self::Delivered | Self::Closed)
    }
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Intake logged it.
    IntakeLogged(HoldPlaced),
    /// Authority and officer are who they say.
    AuthorityVerified(AuthorityVerified),
    /// They are not.
    AuthorityRejected,
    /// The rules were evaluated.
    Triaged(Triaged),
    /// The authority corrected it.
    Corrected(Correction),
    /// The enforcing authority cleared it.
    EnforcingCleared,
    /// The enforcing authority objects.
    EnforcingObjected,
    /// A safeguard's trigger was found.
    SafeguardTriggered,
    /// Its scope is narrowed.
    Narrowed(Narrowing),
    /// A reviewer or a member of the rights panel decided.
    Decided(Verdict),
    /// An approver verified the inclusion of what it releases.
    InclusionVerified,
    /// An approver released.
    Released(Role, Slot),
    /// Nothing was found in scope.
    NothingInScope,
    /// It cannot be released for now.
    ReleaseImpossible,
    /// It is tried again.
    Retried(Binding),
    /// The recipient acknowledged.
    Acknowledged,
    /// Notice to the subject is settled.
    NoticeSettled,
    /// A competent authority validated an emergency order.
    Validated,
    /// The authority withdrew it.
    Withdrawn,
    /// The order was annulled.
    Annulled,
    /// Nothing but time.
    TimePassed,
}

impl Event {
    /// The event's word, for refusals and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::IntakeLogged(_) => "intake-logged",
            Self::AuthorityVerified(_) => "authority-verified",
            Self::AuthorityRejected => "authority-rejected",
            Self::Triaged(_) => "triaged",
            Self::Corrected(_) => "corrected",
            Self::EnforcingCleared => "enforcing-cleared",
            Self::EnforcingObjected => "enforcing-objected",
            Self::SafeguardTriggered => "safeguard-triggered",
            Self::Narrowed(_) => "narrowed",
            Self::Decided(_) => "decided",
            Self::InclusionVerified => "inclusion-verified",
            Self::Released(..) => "released",
            Self::NothingInScope => "nothing-in-scope",
            Self::ReleaseImpossible => "release-impossible",
            Self::Retried(_) => "retried",
            Self::Acknowledged => "acknowledged",
            Self::NoticeSettled => "notice-settled",
            Self::Validated => "validated",
            Self::Withdrawn => "withdrawn",
            Self::Annulled => "annulled",
            Self::TimePassed => "time-passed",
        }
    }
}

/// Why an event changes nothing: whoever sent it is late or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefusal {
    /// The state has no such transition.
    #[error("event {event}: not possible while the request is {state}")]
    Illegal {
        /// The state.
        state: State,
        /// The event.
        event: &'static str,
    },
    /// The event is older than one before it.
    #[error("event time: before the request's last event")]
    TimeBackwards,
    /// The decision does not count.
    #[error(transparent)]
    Decision(#[from] DecisionRefusal),
    /// The retry is of something else.
    #[error("retry.{0}")]
    Retry(BindingMismatch),
    /// The revision is of another request.
    #[error("request: the revision is of another one, or of an older generation")]
    OtherRequest,
    /// The policy permits nothing.
    #[error("policy: it permits nothing, since a quorum or a mandatory rule is missing")]
    PolicyDenies,
    /// No later validation is awaited.
    #[error("validation: none is awaited")]
    NoValidation,
    /// The enforcing authority's time to object is over, or it had none.
    #[error("objection: the enforcing authority's time for it is over")]
    ObjectionLate,
}

/// A request in any state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestProcess {
    any: Any,
}

/// Every state's own struct.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Any {
    Received(Process<Received>),
    AuthorityCheck(Process<AuthorityCheck>),
    Triage(Process<Triage>),
    Incomplete(Process<Incomplete>),
    Held(Process<HeldForAuthority>),
    InReview(Process<InReview>),
    Escalated(Process<Escalated>),
    Approved(Process<Approved>),
    Releasing(Process<Releasing>),
    Failed(Process<Failed>),
    Disclosed(Process<Disclosed>),
    Delivered(Process<Delivered>),
    Closed(Process<Closed>),
    Ended(Ended, Box<Docket>),
}

impl Any {
    fn docket(&self) -> &Docket {
        match self {
            Self::Received(p) => &p.docket,
            Self::AuthorityCheck(p) => &p.docket,
            Self::Triage(p) => &p.docket,
            Self::Incomplete(p) => &p.docket,
            Self::Held(p) => &p.docket,
            Self::InReview(p) => &p.docket,
            Self::Escalated(p) => &p.docket,
            Self::Approved(p) => &p.docket,
            Self::Releasing(p) => &p.docket,
            Self::Failed(p) => &p.docket,
            Self::Disclosed(p) => &p.docket,
            Self::Delivered(p) => &p.docket,
            Self::Closed(p) => &p.docket,
            Self::Ended(_, docket) => docket,
        }
    }

    fn docket_mut(&mut self) -> &mut Docket {
        match self {
            Self::Received(p) => &mut p.docket,
            Self::AuthorityCheck(p) => &mut p.docket,
            Self::Triage(p) => &mut p.docket,
            Self::Incomplete(p) => &mut p.docket,
            Self::Held(p) => &mut p.docket,
            Self::InReview(p) => &mut p.docket,
            Self::Escalated(p) => &mut p.docket,
            Self::Approved(p) => &mut p.docket,
            Self::Releasing(p) => &mut p.docket,
            Self::Failed(p) => &mut p.docket,
            Self::Disclosed(p) => &mut p.docket,
            Self::Delivered(p) => &mut p.docket,
            Self::Closed(p) => &mut p.docket,
            Self::Ended(_, docket) => docket,
        }
    }
}

impl From<Sorted> for Result<Any, (Any, TransitionRefusal)> {
    fn from(sorted: Sorted) -> Self {
        Ok(match sorted {
            Sorted::Incomplete(p) => Any::Incomplete(p),
            Sorted::Held(p) => Any::Held(p),
            Sorted::InReview(p) => Any::InReview(p),
            Sorted::Escalated(p) => Any::Escalated(p),
            Sorted::Denied(p) => return Err((Any::Triage(p), TransitionRefusal::PolicyDenies)),
            Sorted::Ended(..) => unreachable!("ends are made with their docket"),
        })
    }
}

impl RequestProcess {
    /// A request as it is received, at a log time.
    pub fn new(binding: Binding, entered_by: Name, terms: Terms, at: Timestamp) -> Self {
        let any = Any::Received(Process::new(binding, entered_by, terms, at));
        Self { any }
    }

    /// The state.
    pub fn state(&self) -> State {
        match &self.any {
            Any::Received(_) => State::Received,
            Any::AuthorityCheck(_) => State::AuthorityCheck,
            Any::Triage(_) => State::Triage,
            Any::Incomplete(_) => State::Incomplete,
            Any::Held(_) => State::HeldForAuthority,
            Any::InReview(_) => State::InReview,
            Any::Escalated(_) => State::Escalated,
            Any::Approved(_) => State::Approved,
            Any::Releasing(_) => State::Releasing,
            Any::Failed(_) => State::Failed,
            Any::Disclosed(_) => State::Disclosed,
            Any::Delivered(_) => State::Delivered,
            Any::Closed(_) => State::Closed,
            Any::Ended(Ended::Refused(_), _) => State::Refused,
            Any::Ended(Ended::NoData, _) => State::NoData,
            Any::Ended(Ended::Withdrawn, _) => State::Withdrawn,
            Any::Ended(Ended::Lapsed, _) => State::Lapsed,
            Any::Ended(Ended::Recalled, _) => State::Recalled,
        }
    }

    /// The code of a refused request.
    pub fn refusal(&self) -> Option<RefusalCode> {
        match self.any {
            Any::Ended(Ended::Refused(code), _) => Some(code),
            _ => None,
        }
    }

    /// What decisions are bound to.
    pub fn binding(&self) -> &Binding {
        &self.any.docket().binding
    }

    /// The quorums and clocks.
    pub fn terms(&self) -> &Terms {
        &self.any.docket().terms
    }

    /// How many of a committee approve the current generation.
    pub fn approvals(&self, role: Role) -> u8 {
        self.any.docket().approvals(role)
    }

    /// Lets log time pass, then applies an event. A refused event leaves the request as time left
    /// it.
    ///
    /// # Errors
    /// [`TransitionRefusal`] says why the event changes nothing.
    pub fn apply(&mut self, at: Timestamp, event: Event) -> Result<(), TransitionRefusal> {
        if at < self.any.docket().last {
            return Err(TransitionRefusal::TimeBackwards);
        }
        self.pass_time(at);
        if event == Event::TimePassed {
            return Ok(());
        }
        let placeholder = Any::Ended(Ended::Lapsed, Box::new(self.any.docket().clone()));
        let any = std::mem::replace(&mut self.any, placeholder);
        let (any, result) = match transition(any, at, event) {
            Ok(any) => (any, Ok(())),
            Err((any, refusal)) => (any, Err(refusal)),
        };
        self.any = any;
        result
    }

    /// What time alone changes: an order expires, a correction or validation is missed, a window is
    /// over.
    fn pass_time(&mut self, at: Timestamp) {
        let state = self.state();
        self.any.docket_mut().last = at;
        if state.is_end() {
            return;
        }
        let docket = self.any.docket();
        let end = if state.is_disclosed() {
            docket.validation_missed(at).then_some(Ended::Recalled)
        } else {
            let expired = at >= docket.terms.deadlines.expires_at;
            (expired || docket.validation_missed(at)).then_some(Ended::Lapsed)
        };
        let end = end.or(match &self.any {
            Any::Incomplete(p) if at >= p.state.until => Some(Ended::Lapsed),
            _ => None,
        });
        if let Some(end) = end {
            self.any = Any::Ended(end, Box::new(self.any.docket().clone()));
            return;
        }
        if let Any::Held(held) = &self.any
            && at >= held.state.until
        {
            self.any = Any::InReview(held.clone().cleared(at));
        }
    }
}

type Step = Result<Any, (Any, TransitionRefusal)>;

fn transition(any: Any, at: Timestamp, event: Event) -> Step {
    let docket = any.docket().clone();
    let end = |ended| Ok(Any::Ended(ended, Box::new(docket.clone())));
    match (any, event) {
        (Any::Received(p), Event::IntakeLogged(hold)) => {
            Ok(Any::AuthorityCheck(p.intake_logged(at, hold)))
        }
        (Any::AuthorityCheck(p), Event::AuthorityVerified(by)) => {
            Ok(Any::Triage(p.authority_verified(at, by)))
        }
        (Any::AuthorityCheck(p), Event::AuthorityRejected) => end(p.authority_rejected()),
        (Any::Triage(p), Event::Triaged(triaged)) => match p.triaged(at, triaged) {
            Sorted::Ended(ended) => end(ended),
            sorted => sorted.into(),
        },
        (Any::Incomplete(p), Event::Corrected(correction)) => match p.corrected(at, correction) {
            Ok(p) => Ok(Any::Triage(p)),
            Err(other) => Err((Any::Incomplete(other.0), TransitionRefusal::OtherRequest)),
        },
        (Any::Held(p), Event::EnforcingCleared) => Ok(Any::InReview(p.cleared(at))),
        (Any::Held(p), Event::EnforcingObjected) => end(p.objected()),
        (Any::Held(p), Event::Narrowed(narrowing)) => match narrowed(p, at, narrowing) {
            Ok(p) => Ok(Any::Held(p)),
            Err(other) => Err((Any::Held(other.0), TransitionRefusal::OtherRequest)),
        },
        (any, event) => review(any, at, event),
    }
}

fn review(any: Any, at: Timestamp, event: Event) -> Step {
    let docket = any.docket().clone();
    let after = |reviewed| match reviewed {
        Reviewed::InReview(p) => Any::InReview(p),
        Reviewed::Escalated(p) => Any::Escalated(p),
        Reviewed::Approved(p) => Any::Approved(p),
        Reviewed::Ended(ended) => Any::Ended(ended, Box::new(docket)),
    };
    match (any, event) {
        (Any::InReview(p), Event::SafeguardTriggered) => {
            Ok(Any::Escalated(p.safeguard_triggered(at)))
        }
        (Any::InReview(p), Event::Narrowed(narrowing)) => match narrowed(p, at, narrowing) {
            Ok(p) => Ok(Any::InReview(p)),
            Err(other) => Err((Any::InReview(other.0), TransitionRefusal::OtherRequest)),
        },
        (Any::InReview(p), Event::Decided(verdict)) => match p.decide(at, verdict) {
            Ok(reviewed) => Ok(after(reviewed)),
            Err((p, refusal)) => Err((Any::InReview(p), refusal.into())),
        },
        (Any::Escalated(p), Event::Decided(verdict)) => match p.decide(at, verdict) {
            Ok(reviewed) => Ok(after(reviewed)),
            Err((p, refusal)) => Err((Any::Escalated(p), refusal.into())),
        },
        (any, event) => release(any, at, event),
    }
}

fn release(any: Any, at: Timestamp, event: Event) -> Step {
    let docket = any.docket().clone();
    let end = |ended| Ok(Any::Ended(ended, Box::new(docket.clone())));
    match (any, event) {
        (Any::Approved(p), Event::InclusionVerified) => {
            Ok(Any::Releasing(p.inclusion_verified(at)))
        }
        (Any::Releasing(p), Event::Released(role, slot)) => Ok(match p.released(at, role, slot) {
            Ok(p) => Any::Disclosed(p),
            Err(p) => Any::Releasing(p),
        }),
        (Any::Releasing(p), Event::NothingInScope) => end(p.nothing_in_scope()),
        (Any::Releasing(p), Event::ReleaseImpossible) => Ok(Any::Failed(p.impossible(at))),
        (Any::Failed(p), Event::Retried(binding)) => match p.retried(at, &binding) {
            Ok(p) => Ok(Any::Releasing(p)),
            Err((p, mismatch)) => Err((Any::Failed(p), TransitionRefusal::Retry(mismatch))),
        },
        (Any::Disclosed(p), Event::Acknowledged) => Ok(Any::Delivered(p.acknowledged(at))),
        (Any::Delivered(p), Event::NoticeSettled) => Ok(Any::Closed(p.notice_settled(at))),
        (any, event) => anywhere(any, at, event),
    }
}

/// What can happen in many states: withdrawal before disclosure, recall after it, validation, and
/// the objection to an emergency.
fn anywhere(mut any: Any, at: Timestamp, event: Event) -> Step {
    let process = RequestProcess { any };
    let state = process.state();
    any = process.any;
    let docket = any.docket().clone();
    let ended = |ended| Ok(Any::Ended(ended, Box::new(docket.clone())));
    let illegal = TransitionRefusal::Illegal {
        state,
        event: event.as_str(),
    };
    if state.is_end() {
        return Err((any, illegal));
    }
    match event {
        Event::Withdrawn if !state.is_disclosed() => ended(Ended::Withdrawn),
        Event::Annulled if state.is_disclosed() => ended(Ended::Recalled),
        Event::EnforcingObjected => match docket.objection_until {
            Some(until) if at < until && state.is_disclosed() => ended(Ended::Recalled),
            Some(until) if at < until => ended(Ended::Refused(RefusalCode::EnforcingAuthority)),
            Some(_) => Err((any, TransitionRefusal::ObjectionLate)),
            None => Err((any, illegal)),
        },
        Event::Validated => {
            if docket.terms.deadlines.validate_by.is_none() || docket.validated {
                return Err((any, TransitionRefusal::NoValidation));
            }
            any.docket_mut().validated = true;
            Ok(any)
        }
        _ => Err((any, illegal)),
    }
}
