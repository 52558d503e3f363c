//! Reading a jurisdiction's transparency log.

use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_types::{Digest, ShardId};
use serde::{Deserialize, Serialize};

/// `Operation::ReadLog`; answers [`LogPage`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ReadLog {
    /// The home shard.
    pub shard: ShardId,
    /// The first leaf wanted.
    pub from: u64,
    /// At most this many, at most 1,000.
    pub limit: u32,
}

/// Leaves, opened, with their proofs under the latest cosigned checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogPage {
    /// The latest cosigned checkpoint as a signed note; none before the first.
    pub checkpoint: Option<String>,
    /// The leaves below the checkpoint's size, ascending from `from`.
    pub leaves: Vec<ProvenLeaf>,
}

/// A leaf with its inclusion proof.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProvenLeaf {
    /// Its index.
    pub index: u64,
    /// What is behind its commitments.
    pub leaf: OpenedLeaf,
    /// Inclusion proof under the page's checkpoint.
    pub proof: Vec<Digest>,
}
