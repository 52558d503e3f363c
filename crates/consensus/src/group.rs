//! What a group is, who takes part in it, and how it is doing.

use bailiwick_types::{GroupId, Name, NodeId, Region, ShardId};
use serde::{Deserialize, Serialize};

/// Which state machine a group replicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GroupKind {
    /// The cluster's directory.
    Directory,
    /// One partition of a jurisdiction.
    Shard(ShardId),
}

/// A group as the directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// The group's number; never reused.
    pub id: GroupId,
    /// Which state machine.
    pub kind: GroupKind,
    /// The voters that a blank group begins with. Afterwards the group's own log says who votes.
    pub voters: Vec<NodeId>,
    /// The learners that a blank group begins with.
    pub learners: Vec<NodeId>,
}

/// How another vault node is reached, and who it has to prove to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The node's number.
    pub id: NodeId,
    /// Where its frames port listens, as `host:port`.
    pub address: String,
    /// Where it stands.
    pub region: Region,
    /// The id in its certificate's name.
    pub name: Name,
}

/// A group's leader as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The leader's number.
    pub id: NodeId,
    /// Its address; empty when this node knows no address for it.
    pub address: String,
}

/// How far a member is behind, in log entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The member.
    pub node: NodeId,
    /// Whether it votes.
    pub voter: bool,
    /// Entries that it has not acknowledged; known on the leader only.
    pub entries: Option<u64>,
}

/// How a group is doing on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub id: GroupId,
    /// Which state machine.
    pub kind: GroupKind,
    /// The leader, when known.
    pub leader: Option<NodeId>,
    /// The current term.
    pub term: u64,
    /// Index of the last entry in this node's log.
    pub last_log: u64,
    /// Index of the last committed entry that this node knows of.
    pub committed: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Index of the last entry that a snapshot on this node covers.
    pub snapshot: u64,
    /// Index of the last entry that is no longer in the log.
    pub purged: u64,
    /// The members; on the leader with what they lack.
    pub members: Vec<Lag>,
    /// Size of the record store's file in bytes.
    pub store_bytes: u64,
    /// False once the group has stopped here with an error.
    pub running: bool,
}
