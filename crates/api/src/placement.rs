//! Where groups are: leaders that hand over, nodes that begin, and what lies in a data folder.

use bailiwick_types::{Digest, Name, NodeId, Region, ShardId};
use serde::{Deserialize, Serialize};

/// `Operation::BeginNode`: the caller begins with this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginNode {
    /// The caller's number.
    pub node: NodeId,
    /// What it drew when its disk was blank.
    pub disk: Digest,
}

/// `Operation::TransferGroup`: the group's leader hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferGroup {
    /// The shard; none for the directory.
    pub shard: Option<ShardId>,
    /// To whom; to the voter that has most of the log when absent.
    pub to: Option<NodeId>,
}

/// Who leads now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// The new leader.
    pub leader: NodeId,
}

/// What lies in a node's data folder (`Operation::CheckPlacement`, empty request).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderReport {
    /// The node.
    pub node: NodeId,
    /// Its id, as in its certificate name.
    pub name: Name,
    /// Where it stands.
    pub region: Region,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The shards that have anything there, in order.
    pub shards: Vec<ShardId>,
    /// What must not be there.
    pub violations: Vec<Violation>,
    /// What could not be looked into, and why; the file that holds it belongs where it is.
    pub unread: Vec<Violation>,
}

/// A file and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its path below the data folder.
    pub file: String,
    /// What is wrong.
    pub reason: String,
}
