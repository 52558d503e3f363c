//! The evaluation of one request under one policy: every rule's outcome with its evidence, the one
//! question whether the policy permits it, and what triage does with it.

use std::collections::BTreeMap;
use std::fmt;

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_types::Digest;

use crate::facts::RequestFacts;
use crate::policy::Policy;
use crate::rule::{Outcome, RuleId};
use crate::rules::{self, Context};

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
    demanded: &'static [RuleId],
    enabled: Vec<RuleId>,
    findings: BTreeMap<RuleId, Finding>,
}

/// Applies every enabled rule, and those that are always evaluated, to the facts of one request.
pub fn evaluate(policy: &Policy, facts: &RequestFacts<'_>) -> Evaluation {
    let enabled: Vec<RuleId> = policy.rules().iter().copied().collect();
    let context = Context::new(policy, facts);
    let findings = enabled
        .iter()
        .copied()
        .chain(RuleId::ALWAYS)
        .map(|rule| (rule, rules::apply(rule, &context)))
        .collect();
    Evaluation {
        policy: policy.digest(),
        quorum_valid: policy.quorum().is_quorum(),
        demanded: match policy.law() {
            Some(_) => &RuleId::ALL,
            None => &RuleId::MANDATORY,
        },
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

    /// Mandatory rules that the policy does not enable. With instruments every rule is mandatory.
    pub fn missing(&self) -> impl Iterator<Item = RuleId> {
        let demanded = self.demanded.iter().copied();
        demanded.filter(|rule| !self.enabled.contains(rule) && !RuleId::ALWAYS.contains(rule))
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

    /// What triage does with a request that was evaluated so.
    ///
    /// A hard rule refuses before anything else is asked for; what the authority can correct goes
    /// back to it; what the enforcing authority must see waits for it; the rest is for people.
    pub fn disposition(&self) -> Disposition {
        if !self.quorum_valid || self.missing().next().is_some() {
            return Disposition::Deny;
        }
        let mut incomplete = None;
        for (rule, finding) in &self.findings {
            match &finding.outcome {
                Outcome::Fail { code, .. } if is_correctable(*code) => {
                    incomplete = incomplete.or(Some(*rule));
                }
                Outcome::Fail { code, .. } => {
                    return Disposition::Refuse {
                        rule: *rule,
                        code: *code,
                    };
                }
                _ => {}
            }
        }
        if let Some(rule) = incomplete {
            return Disposition::Incomplete { rule };
        }
        let asks = |rule: &RuleId| {
            let found = self.findings.get(rule);
            found.is_some_and(|f| matches!(f.outcome, Outcome::NeedsHuman { .. }))
        };
        if asks(&RuleId::R23) {
            return Disposition::HoldForAuthority;
        }
        match RuleId::ESCALATING.iter().find(|rule| asks(rule)) {
            Some(rule) => Disposition::Escalate { rule: *rule },
            None => Disposition::Review,
        }
    }
}

/// Whether the authority can mend what the code says, and ask again with the same request.
pub(crate) fn is_correctable(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::Incomplete
            | RefusalCode::ManifestErrors
            | RefusalCode::InsufficientInformation
    )
}

/// What triage does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Reviewers decide.
    Review,
    /// The rights panel decides first.
    Escalate {
        /// The first rule that asks for it.
        rule: RuleId,
    },
    /// It waits for the enforcing authority.
    HoldForAuthority,
    /// It goes back to the authority.
    Incomplete {
        /// The first rule that misses something.
        rule: RuleId,
    },
    /// It is refused.
    Refuse {
        /// The first rule that fails hard.
        rule: RuleId,
        /// The code.
        code: RefusalCode,
    },
    /// The policy itself permits nothing: its quorum or its rules are incomplete.
    Deny,
}

impl fmt::Display for Disposition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Review => formatter.write_str("review"),
            Self::Escalate { rule } => write!(formatter, "escalate ({rule})"),
            Self::HoldForAuthority => formatter.write_str("hold"),
            Self::Incomplete { rule } => write!(formatter, "incomplete ({rule})"),
            Self::Refuse { rule, code } => write!(formatter, "refuse {} ({rule})", code.as_str()),
            Self::Deny => formatter.write_str("deny"),
        }
    }
}
