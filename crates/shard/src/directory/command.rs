//! The directory's commands, outcomes and rejections.

use bailiwick_types::codec::{self, CodecError};
use bailiwick_types::{
    ClusterId, CommandKey, Digest, GroupId, Jurisdiction, Name, NodeId, Region, ShardId,
};
use serde::{Deserialize, Serialize};

/// One command of the directory, encoded with [`bailiwick_types::codec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryCommand {
    /// Makes a retry the same command.
    pub key: CommandKey,
    /// The authenticated peer's id.
    pub by: Name,
    /// What to do.
    pub body: DirectoryCommandBody,
}

impl DirectoryCommand {
    /// The command's encoding.
    ///
    /// # Errors
    /// [`CodecError`] when it is longer than the codec's limit.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }
}

/// What a command of the directory does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryCommandBody {
    /// The cluster begins.
    Initialise {
        /// The cluster.
        cluster: ClusterId,
        /// The trust domain of every identity in it.
        trust_domain: Name,
        /// Its first nodes.
        nodes: Vec<NodeEntry>,
    },
    /// A node joins. Its id must be above every id ever used.
    AddNode {
        /// The node.
        node: NodeEntry,
    },
    /// A node has another address.
    ChangeAddress {
        /// The node.
        node: NodeId,
        /// Its new address, `host:port`.
        address: String,
    },
    /// A node that no group uses leaves for good.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// A jurisdiction's groups are placed.
    CreateJurisdiction(CreateJurisdiction),
    /// A group's voter is replaced by a node that the jurisdiction allows.
    ReplaceVoter {
        /// The group; not the directory.
        group: GroupId,
        /// The voter that goes.
        remove: NodeId,
        /// The node that comes.
        add: NodeId,
    },
}

/// A vault node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its number, from 1; never reused.
    pub id: NodeId,
    /// Its id, as in its certificate name.
    pub name: Name,
    /// Where it stands.
    pub region: Region,
    /// Where it listens for frames: `host:port`, at most 256 bytes.
    pub address: String,
}

/// A jurisdiction to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateJurisdiction {
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// Regions whose nodes may hold its records; empty allows none.
    pub allowed_regions: Vec<Region>,
    /// Voters of each of its groups: odd, 1 to 7.
    pub replicas: u8,
    /// Groups by subject hash: 1 to 64.
    pub partitions: u16,
    /// Digest of its policy.
    pub policy: Digest,
}

/// What applying a command of the directory gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryOutcome {
    /// Done.
    Accepted {
        /// The directory's version afterwards.
        version: u64,
    },
    /// A jurisdiction's groups, by partition.
    Created {
        /// The directory's version afterwards.
        version: u64,
        /// The groups.
        groups: Vec<(GroupId, ShardId)>,
    },
    /// Nothing was changed, and why.
    Rejected(DirectoryRejection),
}

impl DirectoryOutcome {
    /// The outcome's encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self).expect("an outcome is under 64 KiB, far below the codec's limit")
    }

    /// The outcome of an encoding.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are no outcome.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
}

/// Why a command of the directory is rejected: the operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DirectoryRejection {
    /// The bytes are no command.
    #[error("the command does not decode")]
    Malformed,
    /// No cluster yet.
    #[error("the cluster is not initialised")]
    NotInitialised,
    /// There is a cluster.
    #[error("the cluster is initialised already, as {0}")]
    AlreadyInitialised(ClusterId),
    /// The key was used for another command.
    #[error("the command key was used for another command")]
    KeyReused,
    /// No nodes, or too many.
    #[error("a cluster has 1 to {limit} nodes")]
    NodeCount {
        /// The limit.
        limit: usize,
    },
    /// The id is 0, stands twice, or was used before.
    #[error("node id {0} is 0 or was used before")]
    NodeId(NodeId),
    /// The name or address belongs to another node, or the address is empty or too long.
    #[error("node {0}: its name or address is taken or malformed")]
    NodeTaken(NodeId),
    /// No such node.
    #[error("node {0} does not exist")]
    UnknownNode(NodeId),
    /// The node still has groups.
    #[error("node {0} still has groups")]
    NodeInUse(NodeId),
    /// The jurisdiction exists.
    #[error("jurisdiction {0} exists already")]
    JurisdictionExists(Jurisdiction),
    /// Not an odd number from 1 to 7.
    #[error("{0} replicas: a group has an odd number of voters, 1 to 7")]
    Replicas(u8),
    /// Not 1 to 64.
    #[error("{0} partitions: a jurisdiction has 1 to 64")]
    Partitions(u16),
    /// Too few nodes stand in allowed regions.
    #[error("{eligible} nodes stand in the allowed regions, {needed} are needed")]
    TooFewNodes {
        /// Nodes in allowed regions.
        eligible: usize,
        /// Voters needed.
        needed: u8,
    },
    /// No such group.
    #[error("group {0} does not exist")]
    UnknownGroup(GroupId),
    /// The node that goes is no voter, or the one that comes is one already.
    #[error("group {0}: the node that goes is no voter or the one that comes is one")]
    Voters(GroupId),
    /// The node that comes stands in a region that the jurisdiction does not allow.
    #[error("node {node} stands in {region}, which the jurisdiction does not allow")]
    RegionNotAllowed {
        /// The node.
        node: NodeId,
        /// Its region.
        region: Region,
    },
}
