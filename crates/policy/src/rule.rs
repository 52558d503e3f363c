//! The rules' ids and what a rule can say. A refusal is data with a code, not an error.

use std::fmt;
use std::str::FromStr;

use bailiwick_envelope::approval::RefusalCode;

/// A rule of docs/legal-process.md that this version can evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RuleId {
    /// The authority is on the policy's allow-list. Always evaluated, listed or not.
    R01 = 1,
    /// Identifiers are well-formed and unique.
    R14 = 14,
    /// The window is bounded, not in the future, within the policy's maximum.
    R15 = 15,
    /// The number of subjects is within the policy's maximum.
    R16 = 16,
    /// The kinds are among those that the policy allows.
    R17 = 17,
    /// The forum reaches this custody directly. Always evaluated, listed or not.
    R18 = 18,
    /// Nobody decides twice, in two roles, or on a request they entered; both quorums are met.
    R26 = 26,
    /// The request pins the policy versions that the verifier itself holds.
    R28 = 28,
    /// The request is logged, and its inclusion verified.
    R29 = 29,
    /// The recipient's key belongs to the verified authority or the desk.
    R30 = 30,
}

impl RuleId {
    /// All rules, in order.
    pub const ALL: [Self; 10] = [
        Self::R01,
        Self::R14,
        Self::R15,
        Self::R16,
        Self::R17,
        Self::R18,
        Self::R26,
        Self::R28,
        Self::R29,
        Self::R30,
    ];

    /// Rules without which no policy permits anything.
    pub const MANDATORY: [Self; 8] = [
        Self::R14,
        Self::R15,
        Self::R16,
        Self::R17,
        Self::R26,
        Self::R28,
        Self::R29,
        Self::R30,
    ];

    /// Rules over allow-lists: they are evaluated whether a policy lists them or not, so that
    /// leaving one out cannot mean "everybody".
    pub const ALWAYS: [Self; 2] = [Self::R01, Self::R18];

    /// The rule's id as in docs/legal-process.md.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::R01 => "R01",
            Self::R14 => "R14",
            Self::R15 => "R15",
            Self::R16 => "R16",
            Self::R17 => "R17",
            Self::R18 => "R18",
            Self::R26 => "R26",
            Self::R28 => "R28",
            Self::R29 => "R29",
            Self::R30 => "R30",
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text is no rule that this version can evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rule that this version can evaluate")]
pub struct ParseRuleError;

impl FromStr for RuleId {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|rule| rule.as_str() == text)
            .ok_or(ParseRuleError)
    }
}

/// What a rule says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rule holds.
    Pass,
    /// The rule does not hold.
    Fail {
        /// The refusal's code.
        code: RefusalCode,
        /// Field and reason, without any identifier.
        reason: String,
    },
    /// The rule cannot be decided without a person; nothing is permitted until one has.
    NeedsHuman {
        /// What the person must look at.
        reason: String,
    },
    /// The rule is not about this request at this stage.
    NotApplicable,
}

impl Outcome {
    /// Whether the rule stands in the way of nothing.
    pub fn lets_pass(&self) -> bool {
        matches!(self, Self::Pass | Self::NotApplicable)
    }

    pub(crate) fn fail(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self::Fail {
            code,
            reason: reason.into(),
        }
    }
}
