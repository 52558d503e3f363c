//! The rules' ids and what a rule can say. A refusal is data with a code, not an error.

use std::fmt;
use std::str::FromStr;

use bailiwick_envelope::approval::RefusalCode;

/// A rule of docs/legal-process.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RuleId {
    /// The authority is known, active, with a pinned key, and on the policy's allow-list. Always evaluated, listed or not.
    R01 = 1,
    /// The sender's key belongs to that authority and to the named officer.
    R02 = 2,
    /// The policy was in force at receipt.
    R03 = 3,
    /// The instrument is allowed for the derived category.
    R04 = 4,
    /// The issuer's role is allowed for the category.
    R05 = 5,
    /// A validator is present where the issuer may not issue alone.
    R06 = 6,
    /// The document is attached, its digest and signature valid, signed inside its validity.
    R07 = 7,
    /// The legal basis is cited.
    R08 = 8,
    /// The case reference and the offence are present.
    R09 = 9,
    /// The offence meets the threshold.
    R10 = 10,
    /// Dual criminality, listed offences excepted.
    R11 = 11,
    /// The offence is not on the speech or political list, else the rights panel decides.
    R12 = 12,
    /// The subject is a suspect where the policy demands it.
    R13 = 13,
    /// Identifiers are well-formed and unique.
    R14 = 14,
    /// The window is bounded, not in the future, within the policy's maximum; an IP attribution has its exact instant and port.
    R15 = 15,
    /// The number of subjects is within the policy's maximum; no ranges, no wildcards.
    R16 = 16,
    /// The kinds are among those that the policy and the instrument allow.
    R17 = 17,
    /// The forum reaches this custody directly. Always evaluated, listed or not.
    R18 = 18,
    /// No third country's law stands against it.
    R19 = 19,
    /// Not answered before: same authority, case and scope.
    R20 = 20,
    /// An emergency states a threat to life, was called back by another person, and is within the officer's cap.
    R21 = 21,
    /// The timer of the later validation is set.
    R22 = 22,
    /// The enforcing authority was notified, and its window is over or it cleared the request.
    R23 = 23,
    /// Notice to the subject, or a gag with its end, is recorded.
    R24 = 24,
    /// No marker of a protected subject, else the rights panel decides.
    R25 = 25,
    /// Nobody decides twice, in two roles, or on a request they entered; both quorums are met.
    R26 = 26,
    /// A hold was placed before review.
    R27 = 27,
    /// The request pins the policy versions that the verifier itself holds.
    R28 = 28,
    /// The request is logged, and its inclusion verified.
    R29 = 29,
    /// The recipient's key belongs to the verified authority or the desk.
    R30 = 30,
}

impl RuleId {
    /// All rules, in order.
    pub const ALL: [Self; 30] = [
        Self::R01,
        Self::R02,
        Self::R03,
        Self::R04,
        Self::R05,
        Self::R06,
        Self::R07,
        Self::R08,
        Self::R09,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
        Self::R16,
        Self::R17,
        Self::R18,
        Self::R19,
        Self::R20,
        Self::R21,
        Self::R22,
        Self::R23,
        Self::R24,
        Self::R25,
        Self::R26,
        Self::R27,
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

    /// Rules that the rights panel decides where they need a human; of the others a reviewer does.
    pub const ESCALATING: [Self; 4] = [Self::R12, Self::R19, Self::R21, Self::R25];

    /// The rule's id as in docs/legal-process.md.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::R01 => "R01",
            Self::R02 => "R02",
            Self::R03 => "R03",
            Self::R04 => "R04",
            Self::R05 => "R05",
            Self::R06 => "R06",
            Self::R07 => "R07",
            Self::R08 => "R08",
            Self::R09 => "R09",
            Self::R10 => "R10",
            Self::R11 => "R11",
            Self::R12 => "R12",
            Self::R13 => "R13",
            Self::R14 => "R14",
            Self::R15 => "R15",
            Self::R16 => "R16",
            Self::R17 => "R17",
            Self::R18 => "R18",
            Self::R19 => "R19",
            Self::R20 => "R20",
            Self::R21 => "R21",
            Self::R22 => "R22",
            Self::R23 => "R23",
            Self::R24 => "R24",
            Self::R25 => "R25",
            Self::R26 => "R26",
            Self::R27 => "R27",
            Self::R28 => "R28",
            Self::R29 => "R29",
            Self::R30 => "R30",
        }
    }

    /// What the rule demands, in one sentence.
    pub fn demand(self) -> &'static str {
        match self {
            Self::R01 => {
                "The authority is known, active, with a pinned key, and on the policy's allow-list. Always evaluated, listed or not."
            }
            Self::R02 => "The sender's key belongs to that authority and to the named officer.",
            Self::R03 => "The policy was in force at receipt.",
            Self::R04 => "The instrument is allowed for the derived category.",
            Self::R05 => "The issuer's role is allowed for the category.",
            Self::R06 => "A validator is present where the issuer may not issue alone.",
            Self::R07 => {
                "The document is attached, its digest and signature valid, signed inside its validity."
            }
            Self::R08 => "The legal basis is cited.",
            Self::R09 => "The case reference and the offence are present.",
            Self::R10 => "The offence meets the threshold.",
            Self::R11 => "Dual criminality, listed offences excepted.",
            Self::R12 => {
                "The offence is not on the speech or political list, else the rights panel decides."
            }
            Self::R13 => "The subject is a suspect where the policy demands it.",
            Self::R14 => "Identifiers are well-formed and unique.",
            Self::R15 => {
                "The window is bounded, not in the future, within the policy's maximum; an IP attribution has its exact instant and port."
            }
            Self::R16 => {
                "The number of subjects is within the policy's maximum; no ranges, no wildcards."
            }
            Self::R17 => "The kinds are among those that the policy and the instrument allow.",
            Self::R18 => {
                "The forum reaches this custody directly. Always evaluated, listed or not."
            }
            Self::R19 => "No third country's law stands against it.",
            Self::R20 => "Not answered before: same authority, case and scope.",
            Self::R21 => {
                "An emergency states a threat to life, was called back by another person, and is within the officer's cap."
            }
            Self::R22 => "The timer of the later validation is set.",
            Self::R23 => {
                "The enforcing authority was notified, and its window is over or it cleared the request."
            }
            Self::R24 => "Notice to the subject, or a gag with its end, is recorded.",
            Self::R25 => "No marker of a protected subject, else the rights panel decides.",
            Self::R26 => {
                "Nobody decides twice, in two roles, or on a request they entered; both quorums are met."
            }
            Self::R27 => "A hold was placed before review.",
            Self::R28 => "The request pins the policy versions that the verifier itself holds.",
            Self::R29 => "The request is logged, and its inclusion verified.",
            Self::R30 => "The recipient's key belongs to the verified authority or the desk.",
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
