//! A member's refusal to release: which check failed, as data, and signed so that it stands on its
//! own. A refusal is not an error of the system; it is its purpose.
//!
//! ```text
//! refusal = E(rd, R, m, check, reason, time)      Sig(m, "refuse", refusal)
//! ```

use bailiwick_envelope::acknowledgement::role_and_slot;
use bailiwick_envelope::keys::{SignatureError, sign};
use bailiwick_envelope::{
    Canonical, DecodeError, Decoder, Encoder, IdentityKey, Signature, SignatureTag, canonical_serde,
};
use bailiwick_types::limits::TEXT_BYTES;
use bailiwick_types::{RequestId, Role, Slot, Timestamp};

use crate::checks::{
    CheckpointRefusal, FrozenRefusal, LabelRefusal, OwnReviewerRefusal, PartitionRefusal,
    PolicyRefusal, QuorumRefusal, ReleaseLoggedRefusal, RequestRefusal, SelectionRefusal,
};
use crate::keys::MemberKeys;
use crate::release::{MismatchError, ReleaseError};
use crate::trust::Seat;

/// Which check of section 8 failed, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant is the refusal of the check it is named after"
)]
pub enum ReleaseRefusal {
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointRefusal),
    #[error("request: {0}")]
    Request(#[from] RequestRefusal),
    #[error("quorum: {0}")]
    Quorum(#[from] QuorumRefusal),
    #[error("freeze: {0}")]
    Frozen(#[from] FrozenRefusal),
    #[error("own reviewer: {0}")]
    OwnReviewer(#[from] OwnReviewerRefusal),
    #[error("policy: {0}")]
    Policy(#[from] PolicyRefusal),
    #[error("selection: {0}")]
    Selection(#[from] SelectionRefusal),
    #[error("partitions: {0}")]
    Partitions(#[from] PartitionRefusal),
    #[error("labels: {0}")]
    Labels(#[from] LabelRefusal),
    #[error("release leaf: {0}")]
    Logged(#[from] ReleaseLoggedRefusal),
    #[error("checks: {0}")]
    Mismatch(#[from] MismatchError),
    #[error("release: {0}")]
    Release(#[from] ReleaseError),
}

impl ReleaseRefusal {
    /// The check's word, for counters and the signed refusal.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Checkpoint(_) => "checkpoint",
            Self::Request(_) => "request",
            Self::Quorum(_) => "quorum",
            Self::Frozen(_) => "freeze",
            Self::OwnReviewer(_) => "own-reviewer",
            Self::Policy(_) => "policy",
            Self::Selection(_) => "selection",
            Self::Partitions(_) => "partitions",
            Self::Labels(_) => "labels",
            Self::Logged(_) => "release-leaf",
            Self::Mismatch(_) => "mismatch",
            Self::Release(_) => "release",
        }
    }

    /// Whether the same checks may pass later without anybody doing wrong: the log has not come so
    /// far, or more approvals are on their way. The driver waits instead of refusing.
    pub fn may_pass_later(&self) -> bool {
        match self {
            Self::Checkpoint(
                CheckpointRefusal::NotFolded { .. } | CheckpointRefusal::TooFew { .. },
            )
            | Self::Request(RequestRefusal::NotIncluded { .. })
            | Self::Quorum(
                QuorumRefusal::TooFew { .. }
                | QuorumRefusal::SelectionNotLogged { .. }
                | QuorumRefusal::CertificateNotLogged(_)
                | QuorumRefusal::OtherCheckpoint,
            )
            | Self::Frozen(_)
            | Self::OwnReviewer(_)
            | Self::Partitions(_)
            | Self::Policy(PolicyRefusal::DayBudget { .. })
            | Self::Logged(
                ReleaseLoggedRefusal::NotLogged { .. }
                | ReleaseLoggedRefusal::Checkpoint
                | ReleaseLoggedRefusal::Frozen(_)
                | ReleaseLoggedRefusal::Budget(_),
            ) => true,
            Self::Checkpoint(_)
            | Self::Request(_)
            | Self::Quorum(_)
            | Self::Policy(_)
            | Self::Selection(_)
            | Self::Labels(_)
            | Self::Logged(_)
            | Self::Mismatch(_)
            | Self::Release(_) => false,
        }
    }
}

/// A member's signed refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRefusal {
    /// The request.
    pub request: RequestId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// Which check failed, as one word.
    pub check: String,
    /// How, for a person; without any identifier.
    pub reason: String,
    /// When, by the member's clock.
    pub refused_at: Timestamp,
    /// `Sig(m, "refuse", ..)` over the fields above.
    pub signature: Signature,
}

impl SignedRefusal {
    /// Signs a refusal.
    pub fn sign(
        request: RequestId,
        seat: Seat,
        refusal: &ReleaseRefusal,
        now: Timestamp,
        keys: &MemberKeys,
    ) -> Self {
        let mut reason = refusal.to_string();
        while reason.len() > TEXT_BYTES {
            reason.pop();
        }
        let mut signed = Self {
            request,
            role: seat.role,
            slot: seat.slot,
            check: refusal.check().to_owned(),
            reason,
            refused_at: now,
            signature: Signature([0; 64]),
        };
        signed.signature = sign(keys.signing_key(), SignatureTag::Refuse, |e| {
            signed.fields(e);
        });
        signed
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this refusal.
    pub fn verify(&self, member: &IdentityKey) -> Result<(), SignatureError> {
        member.verify(SignatureTag::Refuse, |e| self.fields(e), &self.signature)
    }

    fn fields(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.request.0)
            .u8(self.role.code())
            .u8(self.slot.number())
            .text(&self.check)
            .text(&self.reason)
            .u64(self.refused_at.0);
    }
}

impl Canonical for SignedRefusal {
    fn encode(&self, encoder: &mut Encoder) {
        self.fields(encoder);
        encoder.bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let request = RequestId(decoder.array("refusal.request")?);
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            request,
            role,
            slot,
            check: decoder.text("refusal.check", TEXT_BYTES)?,
            reason: decoder.text("refusal.reason", TEXT_BYTES)?,
            refused_at: Timestamp(decoder.u64("refusal.refused_at")?),
            signature: Signature(decoder.array("refusal.signature")?),
        })
    }
}

canonical_serde!(SignedRefusal);
