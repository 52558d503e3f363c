//! The evaluation of one request under one policy: every rule's outcome with its evidence, and the
//! one question whether the policy permits it.

use std::collections::BTreeMap;

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_types::Digest;

use crate::facts::RequestFacts;
use crate::policy::Policy;
use crate::rule::{Outcome, RuleId};
use crate::rules;

/// What one rule said, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What the rule says.
    pub outcome: Outcome,
    /// What it looked at: counts, limits and digests, never an identifier.
    pub evidence: String,
}

/// Every rule's finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    policy: Digest,
    quorum_valid: bool,
    enabled: Vec<RuleId>,
    findings: BTreeMap<RuleId, Finding>,
}

/// Applies every enabled rule, and those that are always evaluated, to the facts of one request.
pub fn evaluate(policy: &Policy, facts: &RequestFacts<'_>) -> Evaluation {
    let enabled: Vec<RuleId> = policy.rules().iter().copied().collect();
    let findings = enabled
        .iter()
        .copied()
        .chain(RuleId::ALWAYS)
        .map(|rule| (rule, rules::apply(rule, policy, facts)))
        .collect();
    Evaluation {
        policy: policy.digest(),
        quorum_valid: policy.quorum().is_quorum(),
        enabled,
        findings,
    }
}

impl Evaluation {
    /// Whether the policy permits the request: every rule passes or is not applicable, at least
    /// one enabled rule passes, every mandatory rule is enabled, and the quorum is one.
    pub fn permits(&self) -> bool {
        let passed = |rule: &RuleId| {
            self.findings
                .get(rule)
                .is_some_and(|finding| finding.outcome == Outcome::Pass)
        };
        self.quorum_valid
            && self.missing().next().is_none()
            && self.enabled.iter().any(passed)
            && self.findings.values().all(|f| f.outcome.lets_pass())
    }

    /// Mandatory rules that the policy does not enable.
    pub fn missing(&self) -> impl Iterator<Item = RuleId> {
        RuleId::MANDATORY
            .into_iter()
            .filter(|rule| !self.enabled.contains(rule))
    }

    /// The findings in order of rule.
    pub fn findings(&self) -> &BTreeMap<RuleId, Finding> {
        &self.findings
    }

    /// The digest of the policy that was evaluated.
    pub fn policy(&self) -> Digest {
        self.policy
    }

    /// Why the policy does not permit the request: the first rule that stands in the way, with its
    /// code where it has one. `None` when it permits.
    pub fn objection(&self) -> Option<(Option<RefusalCode>, String)> {
        if self.permits() {
            return None;
        }
        if !self.quorum_valid {
            let reason = "the policy's quorum is below two of each role";
            return Some((None, reason.to_owned()));
        }
        if let Some(rule) = self.missing().next() {
            return Some((None, format!("the policy does not enable rule {rule}")));
        }
        let first = self
            .findings
            .iter()
            .find_map(|(rule, finding)| match &finding.outcome {
                Outcome::Fail { code, reason } => Some((Some(*code), format!("{rule}: {reason}"))),
                Outcome::NeedsHuman { reason } => Some((None, format!("{rule}: {reason}"))),
                Outcome::Pass | Outcome::NotApplicable => None,
            });
        first.or_else(|| Some((None, "no rule passes".to_owned())))
    }
}
