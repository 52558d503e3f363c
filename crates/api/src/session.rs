//! Sessions, blocks and key certificates: what edges and members send, and what they read.

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::acknowledgement::SessionAcknowledgement;
use bailiwick_envelope::certificate::{CertificateBody, KeyCertificate, MemberSignature, Period};
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::offer::KeyOffer;
use bailiwick_types::{
    CertificateId, CommandKey, Digest, Name, Role, SessionId, ShardId, Slot, Threshold, Timestamp,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// `Operation::OpenSession`; answers [`crate::cluster::Accepted`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenSession {
    /// The shard.
    pub shard: ShardId,
    /// The header.
    pub header: SessionHeader,
}

/// `Operation::SessionStatus`: waits up to `wait_ms` for the session to leave `Pending`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadSession {
    /// The shard.
    pub shard: ShardId,
    /// The session.
    pub sid: SessionId,
    /// How long to wait, at most 30,000 ms.
    pub wait_ms: u32,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Not committed.
    Unknown,
    /// Committed; the members have not all answered.
    Pending,
    /// At least min(n, t + 1) members of each role opened their parts.
    Confirmed,
    /// Exactly t members of a role opened theirs, for 10 s.
    Degraded,
    /// Fewer than t members of a role opened theirs, for 60 s: nothing may be sealed under it.
    Failed,
}

/// `Operation::AppendBlock`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppendBlock {
    /// The shard.
    pub shard: ShardId,
    /// The block's wire form.
    pub block: Bytes,
}

/// The answer to an appended block: it is on disk on a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockStored {
    /// Indices, ascending, of records whose id was stored before; they were dropped.
    pub duplicates: Vec<u16>,
}

/// `Operation::AcknowledgeSession`; answers [`crate::cluster::Accepted`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AcknowledgeSession {
    /// The shard.
    pub shard: ShardId,
    /// The member's answer.
    pub acknowledgement: SessionAcknowledgement,
}

/// A role as an operator plans it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitteePlan {
    /// How many of how many.
    pub threshold: Threshold,
    /// The members, slots 1 to n in order.
    pub members: Vec<PlannedMember>,
}

/// A member as an operator plans it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMember {
    /// Its slot.
    pub slot: Slot,
    /// Its organisation.
    pub organisation: Name,
    /// Its id.
    pub name: Name,
    /// Its identity key.
    pub identity: IdentityKey,
}

/// `Operation::CallForKeys`; answers [`CallForKeysReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallForKeys {
    /// Makes a retry the same command.
    pub key: CommandKey,
    /// The home shard.
    pub shard: ShardId,
    /// The workflow committee.
    pub workflow: CommitteePlan,
    /// The legal-review committee.
    pub legal_review: CommitteePlan,
    /// Begin of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// The periods as (not_before, not_after, erase_by).
    pub periods: Vec<(Timestamp, Timestamp, Timestamp)>,
}

impl CallForKeys {
    /// The periods as the certificate will carry them.
    pub fn certificate_periods(&self) -> Vec<Period> {
        let period = |(not_before, not_after, erase_by): &(Timestamp, Timestamp, Timestamp)| {
            let (not_before, not_after, erase_by) = (*not_before, *not_after, *erase_by);
            Period {
                not_before,
                not_after,
                erase_by,
            }
        };
        self.periods.iter().map(period).collect()
    }
}

/// The answer to a call for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallForKeysReply {
    /// Names the draft in what follows.
    pub draft: Digest,
}

/// `Operation::OfferKeys`; answers [`crate::cluster::Accepted`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfferKeys {
    /// The home shard.
    pub shard: ShardId,
    /// The member's signed offer.
    pub offer: KeyOffer,
}

/// `Operation::SignCertificate`; answers [`crate::cluster::Accepted`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignCertificate {
    /// The home shard.
    pub shard: ShardId,
    /// The certificate.
    pub certificate: CertificateId,
    /// The member's signature.
    pub signature: MemberSignature,
}

/// `Operation::ReadCertificate`: all certificates of a jurisdiction and the drafts under way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ReadCertificates {
    /// The home shard.
    pub shard: ShardId,
}

/// The certificates of a jurisdiction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificates {
    /// The valid ones, oldest first.
    pub valid: Vec<LoggedCertificate>,
    /// Those still collecting offers or signatures.
    pub drafts: Vec<CertificateDraft>,
    /// The latest cosigned checkpoint as a signed note, if there is one.
    pub checkpoint: Option<String>,
}

/// A certificate with the proof that the log holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoggedCertificate {
    /// The certificate.
    pub certificate: KeyCertificate,
    /// Its leaf, opened.
    pub leaf: bailiwick_envelope::leaf::OpenedLeaf,
    /// The leaf's index in the log.
    pub leaf_index: u64,
    /// Inclusion proof of the leaf under the reply's checkpoint; empty without one.
    pub proof: Vec<Digest>,
}

/// A certificate on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificateDraft {
    /// The draft.
    pub draft: Digest,
    /// The plan, as it was called.
    pub call: CallForKeys,
    /// Members that offered keys.
    pub offered: Vec<(Role, Slot)>,
    /// The body, once all members have offered.
    pub body: Option<CertificateBody>,
    /// Members that signed it.
    pub signed: Vec<(Role, Slot)>,
}
