//! What an approver found when it opened an order and evaluated the rules by itself
//! (docs/cryptography.md section 7): the disposition, and a digest of every rule's finding.
//!
//! ```text
//! assessment = Sig(m, "assess", rd, R, m, disposition, rule, code, findings, time)
//! ```

use bailiwick_types::{Digest, RequestId, Role, Slot, Timestamp};

use crate::acknowledgement::role_and_slot;
use crate::approval::RefusalCode;
use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::SignatureTag;

/// The highest number of a rule: R30.
pub const RULES: u8 = 30;

/// What one member says that triage should do with a request. Rules by number, 1 to 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssessedDisposition {
    /// Reviewers decide.
    Review,
    /// The rights panel decides first.
    Escalate {
        /// The first rule that asks for it.
        rule: u8,
    },
    /// It waits for the enforcing authority.
    HoldForAuthority,
    /// It goes back to the authority.
    Incomplete {
        /// The first rule that misses something.
        rule: u8,
    },
    /// It is refused.
    Refuse {
        /// The first rule that fails hard; 0 where the order cannot be opened or read at all.
        rule: u8,
        /// The code.
        code: RefusalCode,
    },
}

impl AssessedDisposition {
    /// The disposition as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Escalate { .. } => "escalate",
            Self::HoldForAuthority => "hold-for-authority",
            Self::Incomplete { .. } => "incomplete",
            Self::Refuse { .. } => "refuse",
        }
    }

    /// Disposition, rule and code; zero where there is none.
    fn codes(self) -> (u8, u8, u8) {
        match self {
            Self::Review => (1, 0, 0),
            Self::Escalate { rule } => (2, rule, 0),
            Self::HoldForAuthority => (3, 0, 0),
            Self::Incomplete { rule } => (4, rule, 0),
            Self::Refuse { rule, code } => (5, rule, code as u8),
        }
    }

    fn from_codes(codes: (u8, u8, u8)) -> Option<Self> {
        let known = |rule: u8| (1..=RULES).contains(&rule);
        match codes {
            (1, 0, 0) => Some(Self::Review),
            (2, rule, 0) if known(rule) => Some(Self::Escalate { rule }),
            (3, 0, 0) => Some(Self::HoldForAuthority),
            (4, rule, 0) if known(rule) => Some(Self::Incomplete { rule }),
            (5, rule, code) if rule <= RULES => {
                let code = RefusalCode::from_code(code)?;
                Some(Self::Refuse { rule, code })
            }
            _ => None,
        }
    }
}

/// A member's signed assessment of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// The request.
    pub request: RequestId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// What it says.
    pub disposition: AssessedDisposition,
    /// `H("findings", ..)` of every rule's finding under both policies.
    pub findings: Digest,
    /// When, by the member's clock.
    pub at: Timestamp,
    /// `Sig(m, "assess", ..)`.
    pub signature: Signature,
}

impl Assessment {
    /// Signs an assessment: the fields of `unsigned` but its signature.
    pub fn sign(mut unsigned: Self, key: &SigningKey) -> Self {
        unsigned.signature = sign(key, SignatureTag::Assess, |e| unsigned.fields(e));
        unsigned
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this assessment.
    pub fn verify(&self, member: &IdentityKey) -> Result<(), SignatureError> {
        member.verify(SignatureTag::Assess, |e| self.fields(e), &self.signature)
    }

    fn fields(&self, encoder: &mut Encoder) {
        let (disposition, rule, code) = self.disposition.codes();
        encoder
            .bytes(&self.request.0)
            .u8(self.role.code())
            .u8(self.slot.number())
            .u8(disposition)
            .u8(rule)
            .u8(code)
            .digest(&self.findings)
            .u64(self.at.0);
    }
}

impl Canonical for Assessment {
    fn encode(&self, encoder: &mut Encoder) {
        self.fields(encoder);
        encoder.bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let request = RequestId(decoder.array("assessment.request")?);
        let (role, slot) = role_and_slot(decoder)?;
        let codes = (
            decoder.u8("assessment.disposition")?,
            decoder.u8("assessment.rule")?,
            decoder.u8("assessment.code")?,
        );
        let disposition = AssessedDisposition::from_codes(codes);
        let unknown = DecodeError::value("assessment.disposition", "unknown disposition");
        Ok(Self {
            request,
            role,
            slot,
            disposition: disposition.ok_or(unknown)?,
            findings: decoder.digest("assessment.findings")?,
            at: Timestamp(decoder.u64("assessment.at")?),
            signature: Signature(decoder.array("assessment.signature")?),
        })
    }
}

canonical_serde!(Assessment);
