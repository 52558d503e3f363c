//! What approvers check and recipients open: the records of a selection, without and with their
//! ciphertext.

use bailiwick_envelope::Signature;
use bailiwick_envelope::block::BatchManifest;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::label::Label;
use bailiwick_envelope::release::{ReleaseIntent, SealedPartial};
use bailiwick_types::{Digest, KeyId, RequestId, Role, SessionId, ShardId, Slot};
use serde::{Deserialize, Serialize};

/// Most records of one page.
pub const PAGE_RECORDS: u32 = 1024;

/// `Operation::ReadEvidence`; answers [`Evidence`]. A further partition is asked by
/// [`crate::partition::ReadPart`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ReadEvidence {
    /// The home shard.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// The first record of the home shard's part of the selection wanted.
    pub from: u32,
    /// At most this many, at most [`PAGE_RECORDS`].
    pub limit: u32,
}

/// A page of a selection, for approvers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Every session of the page once.
    pub sessions: Vec<SessionHeader>,
    /// Every block of the page once.
    pub blocks: Vec<EvidenceBlock>,
    /// The records in order of the selection.
    pub records: Vec<EvidenceRecord>,
}

/// A block's manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvidenceBlock {
    /// The manifest.
    pub manifest: BatchManifest,
    /// The edge's signature of it.
    pub signature: Signature,
}

/// A record without its ciphertext.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvidenceRecord {
    /// Its place in the selection.
    pub index: u32,
    /// Its label.
    pub label: Label,
    /// The commitment to its plaintext.
    pub alpha: Digest,
    /// SHA-256 of its ciphertext.
    pub ciphertext_hash: Digest,
    /// Inclusion proof of its leaf under the manifest's root.
    pub proof: Vec<Digest>,
}

/// `Operation::AppendRelease`: a member's answer to an approved request; answers
/// [`MemberAnswered`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppendRelease {
    /// The home shard.
    pub shard: ShardId,
    /// What the member says.
    pub answer: MemberAnswer,
}

/// A member's answer to an approved request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MemberAnswer {
    /// It is about to release.
    Release(ReleaseIntent),
    /// It will not.
    Refuse {
        /// The request.
        request: RequestId,
        /// The member's role.
        role: Role,
        /// The member's slot.
        slot: Slot,
        /// Which check failed, in words.
        reason: String,
    },
}

/// What became of a member's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAnswered {
    /// The release leaf's index; none for a refusal.
    pub leaf_index: Option<u64>,
}

/// `Operation::PutPartial`; answers [`crate::cluster::Accepted`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PutPartial {
    /// The home shard.
    pub shard: ShardId,
    /// The sealed partial.
    pub partial: SealedPartial,
}

/// `Operation::ReadPartials`; answers [`Partials`]. Waits up to `wait_ms` for more than `known`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ReadPartials {
    /// The home shard.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// Begin after this many, in the order of arrival at this node.
    pub known: u32,
    /// How long to wait, at most 30,000 ms.
    pub wait_ms: u32,
}

/// Sealed partials in the order of their arrival.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Partials {
    /// The partials, as many as fit a message.
    pub partials: Vec<SealedPartial>,
    /// How many the node holds in all.
    pub held: u32,
}

/// `Operation::ReadCiphertext`; answers [`Ciphertexts`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ReadCiphertext {
    /// The shard: each that the request's subjects are in holds a part of the selection.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// The first record of this shard's part wanted.
    pub from: u32,
    /// At most this many, at most [`PAGE_RECORDS`].
    pub limit: u32,
}

/// A page of a released selection, for the recipient.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ciphertexts {
    /// The records in order of the selection.
    pub records: Vec<CiphertextRecord>,
    /// The key period of each session of the page.
    pub periods: Vec<(SessionId, KeyId)>,
}

/// A record with its ciphertext.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CiphertextRecord {
    /// Its place in the selection.
    pub index: u32,
    /// Its label.
    pub label: Label,
    /// The commitment to its plaintext.
    pub alpha: Digest,
    /// AES-256-GCM of rho and the padded plaintext.
    pub ciphertext: bytes::Bytes,
}
