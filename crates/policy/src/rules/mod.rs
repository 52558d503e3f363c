//! The rules as pure functions (docs/legal-process.md, "Rules"). Each says what it looked at
//! without naming a person or an identifier.
//!
//! A rule about the order reads [`CaseFacts`]; where a verifier was handed none, the rule fails. A
//! rule of the forum's law is not applicable under the policy of a custody jurisdiction that is
//! another state: the forum's own policy is evaluated beside it.

mod order;
mod process;
mod request;
mod safeguards;

use std::collections::BTreeSet;

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_types::Name;

use crate::case::CaseFacts;
use crate::evaluation::Finding;
use crate::facts::RequestFacts;
use crate::law::{CategoryTerms, Instrument, Law};
use crate::policy::Policy;
use crate::rule::{Outcome, RuleId};
use crate::vocabulary::{DataCategory, Priority};

/// What every rule is given: the facts, and what is derived from them once.
pub(crate) struct Context<'a> {
    policy: &'a Policy,
    facts: &'a RequestFacts<'a>,
    category: DataCategory,
    instrument: Option<&'a Instrument>,
    is_forum: bool,
}

impl<'a> Context<'a> {
    pub(crate) fn new(policy: &'a Policy, facts: &'a RequestFacts<'a>) -> Self {
        let request = facts.request;
        let minutes = policy.identify_minutes();
        let is_forum = policy.jurisdiction() == request.forum;
        let named = facts.case.map(|case| &case.order.instrument);
        let instruments = policy.law().map(|law| &law.instruments);
        Self {
            policy,
            facts,
            category: DataCategory::of(request.purpose, &request.scope, minutes),
            instrument: named
                .zip(instruments)
                .and_then(|(name, instruments)| instruments.get(name))
                .filter(|_| is_forum),
            is_forum,
        }
    }

    /// The terms of the order's instrument for the derived category; nothing where this policy is
    /// not the forum's or knows no instruments, or where R04 fails.
    ///
    /// # Errors
    /// A failed finding where the policy has instruments and nobody handed in the order.
    fn terms(&self) -> Result<Option<&'a CategoryTerms>, Finding> {
        if self.policy.law().is_none() || !self.is_forum {
            return Ok(None);
        }
        if self.facts.case.is_none() {
            return Err(unknown_case());
        }
        let instrument = self.instrument;
        Ok(instrument.and_then(|instrument| instrument.terms(self.category)))
    }

    /// The forum's law and the case, for a rule that is about both.
    ///
    /// # Errors
    /// Not applicable under another state's policy and where R04 fails; failed where the case or the
    /// law is missing.
    fn forum(&self) -> Result<Forum<'a>, Finding> {
        if !self.is_forum {
            let evidence = "the forum's own policy says";
            return Err(finding(Outcome::NotApplicable, evidence));
        }
        let case = self.case()?;
        let law = self.law()?;
        // R04 fails in exactly this case, and is mandatory wherever there are instruments.
        let terms = self
            .terms()?
            .ok_or_else(|| finding(Outcome::NotApplicable, "no terms apply; R04 says"))?;
        Ok(Forum { case, law, terms })
    }

    fn case(&self) -> Result<&'a CaseFacts, Finding> {
        self.facts.case.ok_or_else(unknown_case)
    }

    fn law(&self) -> Result<&'a Law, Finding> {
        self.policy.law().ok_or_else(|| {
            let reason = "policy: it states no instruments, so the rule has nothing to go by";
            let outcome = Outcome::fail(RefusalCode::InsufficientInformation, reason);
            finding(outcome, "no instruments")
        })
    }

    fn is_emergency(case: &CaseFacts) -> bool {
        case.order.priority == Priority::Emergency
    }

    /// Whether enough distinct persons of the rights panel approved: none of them entered the
    /// request or decided on it in a committee.
    fn panel_cleared(&self) -> bool {
        let Some(needed) = self.policy.quorum().rights_panel else {
            return false;
        };
        let panel: BTreeSet<&Name> = self
            .facts
            .case
            .map_or(&[][..], |case| &case.panel)
            .iter()
            .collect();
        let decided: BTreeSet<&Name> = self
            .facts
            .decisions
            .iter()
            .filter_map(|one| self.facts.roster.reviewer(one.role, one.slot, &one.key))
            .chain([&self.facts.request.entered_by])
            .collect();
        needed >= 2 && panel.is_disjoint(&decided) && panel.len() >= usize::from(needed)
    }

    /// What only the rights panel can decide: passed when it did, else in need of it.
    fn escalated(&self, reason: &str) -> Outcome {
        if self.panel_cleared() {
            return Outcome::Pass;
        }
        let reason = reason.to_owned();
        Outcome::NeedsHuman { reason }
    }
}

/// What a rule of the forum's law looks at.
struct Forum<'a> {
    case: &'a CaseFacts,
    law: &'a Law,
    terms: &'a CategoryTerms,
}

/// Applies one rule.
pub(crate) fn apply(rule: RuleId, context: &Context<'_>) -> Finding {
    let (policy, facts) = (context.policy, context.facts);
    let found = match rule {
        RuleId::R01 => Ok(order::authority_known(context)),
        RuleId::R02 => order::sender_is_officer(context),
        RuleId::R03 => Ok(order::in_force_at_receipt(context)),
        RuleId::R04 => order::instrument_for_category(context),
        RuleId::R05 => order::issuer_allowed(context),
        RuleId::R06 => order::validator_present(context),
        RuleId::R07 => order::document_valid(context),
        RuleId::R08 => order::legal_basis_cited(context),
        RuleId::R09 => order::reference_and_offence(context),
        RuleId::R10 => safeguards::offence_threshold(context),
        RuleId::R11 => safeguards::dual_criminality(context),
        RuleId::R12 => safeguards::speech_or_political(context),
        RuleId::R13 => safeguards::subject_is_suspect(context),
        RuleId::R14 => Ok(request::identifiers_unique(facts)),
        RuleId::R15 => Ok(request::window_bounded(context)),
        RuleId::R16 => Ok(request::subjects_and_records(context)),
        RuleId::R17 => Ok(request::kinds_allowed(context)),
        RuleId::R18 => Ok(request::forum_reaches(context)),
        RuleId::R19 => safeguards::no_conflict(context),
        RuleId::R20 => process::not_answered_before(context),
        RuleId::R21 => process::emergency_stated(context),
        RuleId::R22 => process::validation_timed(context),
        RuleId::R23 => process::enforcing_authority_notified(context),
        RuleId::R24 => process::notice_recorded(context),
        RuleId::R25 => safeguards::protected_subject(context),
        RuleId::R26 => Ok(request::separate_persons(policy, facts)),
        RuleId::R27 => process::hold_placed(context),
        RuleId::R28 => Ok(request::policies_pinned(policy, facts)),
        RuleId::R29 => Ok(request::logged_and_included(facts)),
        RuleId::R30 => Ok(request::recipient_belongs(facts)),
    };
    // Not being about this request, or lacking what it looks at, is a finding like any other.
    found.unwrap_or_else(|early| early)
}

pub(crate) fn finding(outcome: Outcome, evidence: impl Into<String>) -> Finding {
    Finding {
        outcome,
        evidence: evidence.into(),
    }
}

/// The verifier was handed nothing of the order: nothing is assumed about it.
pub(crate) fn unknown_case() -> Finding {
    let reason = "order: nothing of it was handed to this verifier";
    finding(
        Outcome::fail(RefusalCode::InsufficientInformation, reason),
        "none",
    )
}

/// A rule's finding, or an early one: not applicable, or without what the rule looks at.
type Ruling = Result<Finding, Finding>;

fn passed(evidence: impl Into<String>) -> Ruling {
    Ok(finding(Outcome::Pass, evidence))
}

fn failed(code: RefusalCode, reason: &str, evidence: impl Into<String>) -> Ruling {
    Ok(finding(Outcome::fail(code, reason), evidence))
}

fn not_applicable(evidence: impl Into<String>) -> Ruling {
    Ok(finding(Outcome::NotApplicable, evidence))
}

fn needs_human(reason: &str, evidence: impl Into<String>) -> Ruling {
    let reason = reason.to_owned();
    Ok(finding(Outcome::NeedsHuman { reason }, evidence))
}
