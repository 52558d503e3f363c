//! A reviewer's signed decision (docs/cryptography.md section 7):
//! `Sig(reviewer, "approve", rd, selection, R, m, [(certid, roster)], decision, checklist, time)`.

use bailiwick_types::limits::LIVE_CERTIFICATES;
use bailiwick_types::{CertificateId, Digest, RequestId, Role, SelectionId, Slot, Timestamp};
use serde::{Deserialize, Serialize};

use crate::acknowledgement::role_and_slot;
use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::SignatureTag;

/// A certificate and the version of its roster that a decision is under. Roster 0 is the
/// certificate's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RosterReference {
    /// The certificate.
    pub certificate: CertificateId,
    /// The roster's version.
    pub roster: u32,
}

impl Canonical for RosterReference {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.bytes(&self.certificate.0).u32(self.roster);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let certificate = CertificateId(decoder.array("roster.certificate")?);
        Ok(Self {
            certificate,
            roster: decoder.u32("roster.version")?,
        })
    }
}

/// Why a request is refused: the codes of docs/legal-process.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[allow(
    missing_docs,
    reason = "the codes are the field's words; docs/legal-process.md explains each"
)]
pub enum RefusalCode {
    Authenticity = 1,
    InvalidIssuingAuthority = 2,
    Incomplete = 3,
    ManifestErrors = 4,
    InsufficientInformation = 5,
    ServiceNotCovered = 6,
    OffenceNotCovered = 7,
    Overbroad = 8,
    NotReachableUseMla = 9,
    ConflictOfLaw = 10,
    ImmunityOrPrivilege = 11,
    PressOrExpression = 12,
    PoliticalOffence = 13,
    FundamentalRights = 14,
    NeBisInIdem = 15,
    NotSuspect = 16,
    DataNotHeld = 17,
    Expired = 18,
    DeFactoImpossibility = 19,
    EnforcingAuthority = 20,
    Duplicate = 21,
}

impl RefusalCode {
    /// All codes, in order.
    pub const ALL: [Self; 21] = [
        Self::Authenticity,
        Self::InvalidIssuingAuthority,
        Self::Incomplete,
        Self::ManifestErrors,
        Self::InsufficientInformation,
        Self::ServiceNotCovered,
        Self::OffenceNotCovered,
        Self::Overbroad,
        Self::NotReachableUseMla,
        Self::ConflictOfLaw,
        Self::ImmunityOrPrivilege,
        Self::PressOrExpression,
        Self::PoliticalOffence,
        Self::FundamentalRights,
        Self::NeBisInIdem,
        Self::NotSuspect,
        Self::DataNotHeld,
        Self::Expired,
        Self::DeFactoImpossibility,
        Self::EnforcingAuthority,
        Self::Duplicate,
    ];

    /// The code with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as u8 == code)
    }

    /// The code's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authenticity => "authenticity",
            Self::InvalidIssuingAuthority => "invalid_issuing_authority",
            Self::Incomplete => "incomplete",
            Self::ManifestErrors => "manifest_errors",
            Self::InsufficientInformation => "insufficient_information",
            Self::ServiceNotCovered => "service_not_covered",
            Self::OffenceNotCovered => "offence_not_covered",
            Self::Overbroad => "overbroad",
            Self::NotReachableUseMla => "not_reachable_use_mla",
            Self::ConflictOfLaw => "conflict_of_law",
            Self::ImmunityOrPrivilege => "immunity_or_privilege",
            Self::PressOrExpression => "press_or_expression",
            Self::PoliticalOffence => "political_offence",
            Self::FundamentalRights => "fundamental_rights",
            Self::NeBisInIdem => "ne_bis_in_idem",
            Self::NotSuspect => "not_suspect",
            Self::DataNotHeld => "data_not_held",
            Self::Expired => "expired",
            Self::DeFactoImpossibility => "de_facto_impossibility",
            Self::EnforcingAuthority => "enforcing_authority",
            Self::Duplicate => "duplicate",
        }
    }
}

/// What a reviewer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Disclose exactly this selection for exactly this request.
    Approve,
    /// Do not.
    Refuse(RefusalCode),
}

impl Decision {
    pub(crate) fn codes(self) -> (u8, u8) {
        match self {
            Self::Approve => (1, 0),
            Self::Refuse(code) => (2, code as u8),
        }
    }

    pub(crate) fn from_codes(codes: (u8, u8)) -> Result<Self, DecodeError> {
        match codes {
            (1, 0) => Ok(Self::Approve),
            (2, code) => RefusalCode::from_code(code)
                .map(Self::Refuse)
                .ok_or(DecodeError::value("decision.code", "unknown refusal code")),
            _ => Err(DecodeError::value("decision", "neither approve nor refuse")),
        }
    }
}

/// What a reviewer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalStatement {
    /// The request.
    pub request: RequestId,
    /// The frozen selection.
    pub selection: SelectionId,
    /// The committee that the reviewer decides for.
    pub role: Role,
    /// The slot that the reviewer decides for.
    pub slot: Slot,
    /// Every certificate and roster involved, ascending and distinct.
    pub rosters: Vec<RosterReference>,
    /// The decision.
    pub decision: Decision,
    /// Digest of the reviewer's checklist.
    pub checklist: Digest,
    /// When, by the reviewer's clock.
    pub decided_at: Timestamp,
}

impl Canonical for ApprovalStatement {
    fn encode(&self, encoder: &mut Encoder) {
        let (decision, code) = self.decision.codes();
        encoder
            .bytes(&self.request.0)
            .bytes(&self.selection.0)
            .u8(self.role.code())
            .u8(self.slot.number())
            .items(&self.rosters)
            .u8(decision)
            .u8(code)
            .digest(&self.checklist)
            .u64(self.decided_at.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let request = RequestId(decoder.array("approval.request")?);
        let selection = SelectionId(decoder.array("approval.selection")?);
        let (role, slot) = role_and_slot(decoder)?;
        let rosters: Vec<RosterReference> = decoder.items("approval.rosters", LIVE_CERTIFICATES)?;
        if !rosters.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(DecodeError::value(
                "approval.rosters",
                "repeated or out of order",
            ));
        }
        let codes = (
            decoder.u8("approval.decision")?,
            decoder.u8("approval.code")?,
        );
        Ok(Self {
            request,
            selection,
            role,
            slot,
            rosters,
            decision: Decision::from_codes(codes)?,
            checklist: decoder.digest("approval.checklist")?,
            decided_at: Timestamp(decoder.u64("approval.decided_at")?),
        })
    }
}

/// A signed decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What was signed.
    pub statement: ApprovalStatement,
    /// The reviewer's key.
    pub reviewer: IdentityKey,
    /// The signature.
    pub signature: Signature,
}

impl Approval {
    /// Signs a statement on the reviewer's own device.
    pub fn sign(statement: ApprovalStatement, key: &SigningKey) -> Self {
        let signature = sign(key, SignatureTag::Approve, |e| statement.encode(e));
        Self {
            statement,
            reviewer: IdentityKey::of(key),
            signature,
        }
    }

    /// Verifies the signature by the key that the approval names. Whether that key is a reviewer of
    /// the slot is the certificate's and the trust file's to say.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this statement.
    pub fn verify(&self) -> Result<(), SignatureError> {
        let fill = |e: &mut Encoder| self.statement.encode(e);
        self.reviewer
            .verify(SignatureTag::Approve, fill, &self.signature)
    }
}

impl Canonical for Approval {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .list(|e| self.statement.encode(e))
            .bytes(&self.reviewer.0)
            .bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            statement: ApprovalStatement::from_bytes(decoder.bytes("approval.statement")?)?,
            reviewer: IdentityKey(decoder.array("approval.reviewer")?),
            signature: Signature(decoder.array("approval.signature")?),
        })
    }
}

canonical_serde!(Approval, RosterReference);
