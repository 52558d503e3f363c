//! What a request carries through all its states: its binding, its clocks, its quorums, and who
//! decided. Quorums come from policy and roster alone; nothing about an emergency enters them.

use std::collections::BTreeMap;

use bailiwick_envelope::approval::{Decision, RefusalCode};
use bailiwick_types::{Name, Role, Slot, Timestamp};

use super::binding::{Binding, BindingMismatch};
use crate::deadline::Deadlines;
use crate::policy::Policy;

/// A quorum and how many can decide in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bench {
    /// How many must approve; at least two, or nothing is ever approved.
    pub needed: u8,
    /// How many members there are.
    pub members: u8,
}

/// The quorums and clocks of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    workflow: Bench,
    legal_review: Bench,
    rights_panel: Option<Bench>,
    /// The clocks.
    pub deadlines: Deadlines,
}

impl Terms {
    /// The terms under a policy, for committees and a rights panel of so many members. The quorum
    /// does not depend on the deadlines: an emergency shortens those and nothing else.
    pub fn new(policy: &Policy, members: [u8; 2], panel: u8, deadlines: Deadlines) -> Self {
        let quorum = policy.quorum();
        let bench = |needed, members| Bench { needed, members };
        Self {
            workflow: bench(quorum.workflow, members[0]),
            legal_review: bench(quorum.legal_review, members[1]),
            rights_panel: quorum.rights_panel.map(|needed| bench(needed, panel)),
            deadlines,
        }
    }

    /// A committee's quorum.
    pub fn bench(&self, role: Role) -> Bench {
        match role {
            Role::Workflow => self.workflow,
            Role::LegalReview => self.legal_review,
        }
    }

    /// The rights panel's quorum, where the policy has a panel.
    pub fn rights_panel(&self) -> Option<Bench> {
        self.rights_panel
    }
}

/// For which seat somebody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seat {
    /// A slot of a committee.
    Committee(Role, Slot),
    /// A seat of the rights panel, from 1.
    Panel(u8),
}

/// Which of the three bodies a seat belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Body {
    Committee(Role),
    Panel,
}

impl Seat {
    fn body(self) -> Body {
        match self {
            Self::Committee(role, _) => Body::Committee(role),
            Self::Panel(_) => Body::Panel,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Committee(_, slot) => slot.number(),
            Self::Panel(seat) => seat,
        }
    }
}

/// A decision whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For which seat.
    pub seat: Seat,
    /// By whom: the immutable id in the verifier's own roster.
    pub person: Name,
    /// What it is bound to.
    pub binding: Binding,
    /// What was decided.
    pub decision: Decision,
}

/// Why a decision does not count: its sender is late, wrong, or tries to decide more than once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionRefusal {
    /// Bound to something else.
    #[error("decision.{0}")]
    Binding(#[from] BindingMismatch),
    /// By the person who entered the request.
    #[error("decision.person: entered the request, and may not decide on it")]
    SelfApproval,
    /// The person decided on this generation already.
    #[error("decision.person: decided already")]
    DecidedTwice,
    /// The person decided for another body, on this or an earlier generation.
    #[error("decision.person: decided for another committee or the panel")]
    TwoRoles,
    /// The seat decided already.
    #[error("decision.slot: decided already")]
    SeatTaken,
    /// There is no such seat.
    #[error("decision.slot: there is none with this number")]
    NoSuchSeat,
}

/// What a request carries through all its states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Docket {
    pub(super) binding: Binding,
    pub(super) entered_by: Name,
    pub(super) terms: Terms,
    /// The last event's log time.
    pub(super) last: Timestamp,
    pub(super) validated: bool,
    /// Until when the enforcing authority may object to an emergency's disclosure.
    pub(super) objection_until: Option<Timestamp>,
    /// The rights panel let this generation go on.
    pub(super) panel_cleared: bool,
    decisions: BTreeMap<Seat, (Name, Decision)>,
    bodies: BTreeMap<Name, Body>,
}

impl Docket {
    pub(super) fn new(binding: Binding, entered_by: Name, terms: Terms, at: Timestamp) -> Self {
        Self {
            binding,
            entered_by,
            terms,
            last: at,
            validated: false,
            objection_until: None,
            panel_cleared: false,
            decisions: BTreeMap::new(),
            bodies: BTreeMap::new(),
        }
    }

    /// "narrowing voids all earlier decisions": the next generation begins without any, but nobody
    /// may change the body that they once decided for.
    pub(super) fn revise(&mut self, binding: Binding) {
        self.binding = binding;
        self.decisions.clear();
        self.panel_cleared = false;
    }

    pub(super) fn record(&mut self, verdict: Verdict) -> Result<(), DecisionRefusal> {
        self.binding.check(&verdict.binding)?;
        let (seat, person) = (verdict.seat, verdict.person);
        if person == self.entered_by {
            return Err(DecisionRefusal::SelfApproval);
        }
        if self
            .decisions
            .values()
            .any(|(decided, _)| *decided == person)
        {
            return Err(DecisionRefusal::DecidedTwice);
        }
        if self
            .bodies
            .get(&person)
            .is_some_and(|body| *body != seat.body())
        {
            return Err(DecisionRefusal::TwoRoles);
        }
        if self.decisions.contains_key(&seat) {
            return Err(DecisionRefusal::SeatTaken);
        }
        let members = self.bench(seat.body()).map_or(0, |bench| bench.members);
        if seat.number() == 0 || seat.number() > members {
            return Err(DecisionRefusal::NoSuchSeat);
        }
        self.bodies.insert(person.clone(), seat.body());
        self.decisions.insert(seat, (person, verdict.decision));
        Ok(())
    }

    fn bench(&self, body: Body) -> Option<Bench> {
        match body {
            Body::Committee(role) => Some(self.terms.bench(role)),
            Body::Panel => self.terms.rights_panel(),
        }
    }

    fn counted(&self, body: Body, approve: bool) -> u8 {
        let of = |(seat, (_, decision)): &(&Seat, &(Name, Decision))| {
            seat.body() == body && (*decision == Decision::Approve) == approve
        };
        // A body has at most 255 seats.
        self.decisions.iter().filter(of).count() as u8
    }

    fn met(&self, body: Body) -> bool {
        self.bench(body)
            .is_some_and(|bench| bench.needed >= 2 && self.counted(body, true) >= bench.needed)
    }

    fn impossible(&self, body: Body) -> bool {
        self.bench(body).is_none_or(|bench| {
            let left = bench.members.saturating_sub(self.counted(body, false));
            left < bench.needed
        })
    }

    /// Both committees' quorums approve exactly this binding.
    pub(super) fn quorums_met(&self) -> bool {
        Role::ALL
            .into_iter()
            .all(|role| self.met(Body::Committee(role)))
    }

    /// So many refused that a committee cannot approve any more.
    pub(super) fn approval_impossible(&self) -> bool {
        let roles = Role::ALL.into_iter();
        roles.map(Body::Committee).any(|body| self.impossible(body))
    }

    pub(super) fn panel_met(&self) -> bool {
        self.met(Body::Panel)
    }

    pub(super) fn panel_impossible(&self) -> bool {
        self.impossible(Body::Panel)
    }

    /// How many of each committee approve, for those who watch.
    pub(super) fn approvals(&self, role: Role) -> u8 {
        self.counted(Body::Committee(role), true)
    }

    /// The first refusal's code.
    pub(super) fn refusal(&self) -> Option<RefusalCode> {
        self.decisions
            .values()
            .find_map(|(_, decision)| match decision {
                Decision::Refuse(code) => Some(*code),
                Decision::Approve => None,
            })
    }

    /// Whether an emergency order that nobody validated is past the time for it.
    pub(super) fn validation_missed(&self, at: Timestamp) -> bool {
        let due = self.terms.deadlines.validate_by;
        !self.validated && due.is_some_and(|due| at >= due)
    }
}
