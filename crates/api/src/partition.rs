//! Messages about partitions of a jurisdiction (docs/decisions/0008-partitions.md): between the
//! leaders of a home group and of a further partition, and from a partition to an approver.

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::certificate::KeyCertificate;
use bailiwick_envelope::partition::PartitionRoot;
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::selection::Selection;
use bailiwick_types::{Category, CertificateId, Digest, KeyId, Name, RequestId, ShardId};
use serde::{Deserialize, Serialize};

use crate::evidence::Evidence;
use crate::log::ProvenLeaf;

/// `Operation::FreezePart`; answers [`FrozenPart`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FreezePart {
    /// The partition.
    pub shard: ShardId,
    /// The request.
    pub request: DisclosureRequest,
    /// How many leaves of the partition's log the home log has committed to.
    pub known: u64,
}

/// A partition's part of a selection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenPart {
    /// The part.
    pub selection: Selection,
    /// Its leaf in the partition's log.
    pub leaf_index: u64,
    /// The key periods of its records.
    pub kids: Vec<KeyId>,
    /// How far the partition's log has come, when it is further than `known`.
    pub root: Option<PartitionRoot>,
}

/// `Operation::ReadPartInputs`; answers [`PartInputs`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ReadPartInputs {
    /// The partition.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// The first record of the part wanted.
    pub from: u32,
}

/// Record inputs of a part, in order; empty at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartInputs {
    /// Each with its kind; at most 32,768.
    pub inputs: Vec<(Digest, Category)>,
}

/// `Operation::MirrorHome`; answers [`Mirrored`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MirrorHome {
    /// The partition.
    pub shard: ShardId,
    /// What it takes over.
    pub what: Mirror,
    /// How many leaves of the partition's log the home log has committed to.
    pub known: u64,
}

/// What a further partition takes over from its home group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Mirror {
    /// Who may act, and whether the jurisdiction is frozen.
    Settings {
        /// Size of the home log when it was so.
        leaves: u64,
        /// The enrolled edges with their keys.
        edges: Vec<(Name, IdentityKey)>,
        /// The enrolled intake services.
        intakes: Vec<Name>,
        /// Why and by whom the jurisdiction is frozen, if it is.
        frozen: Option<(String, Name)>,
    },
    /// A valid certificate.
    Certificate(Box<KeyCertificate>),
}

/// What a further partition has after it took something over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mirrored {
    /// The certificates that it knows.
    pub certificates: Vec<CertificateId>,
    /// How far its log has come, when it is further than `known`.
    pub root: Option<PartitionRoot>,
}

/// `Operation::CheckRelease`; answers [`crate::cluster::Accepted`] when ciphertext of the request may
/// be handed to this recipient.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckRelease {
    /// The home shard.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// Who asks for the ciphertext.
    pub recipient: Name,
}

/// `Operation::ReadPart`; answers [`PartPage`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ReadPart {
    /// The further partition.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// The first record of the part wanted.
    pub from: u32,
    /// At most this many, at most 512.
    pub limit: u32,
    /// Leaves of the tree of the partition's log under which everything is to be proven.
    pub size: u64,
}

/// A page of a part, for approvers, everything proven in the partition's log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartPage {
    /// The part's own leaf.
    pub part: ProvenLeaf,
    /// The records; their indices count within the part.
    pub evidence: Evidence,
    /// The leaf of each block, in the order of the evidence's blocks.
    pub blocks: Vec<ProvenLeaf>,
}
