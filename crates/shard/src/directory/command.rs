//! The directory's commands, outcomes and rejections.

use bailiwick_types::codec::{self, CodecError};
use bailiwick_types::{
    ClusterId, CommandKey, Digest, GroupId, Jurisdiction, Name, NodeId, Region, ShardId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::jurisdictions::ChangeJurisdiction;
use super::standing::{Autopilot, DiskId};

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
    /// A group's wanted voter is replaced by a node that the jurisdiction allows.
    ReplaceVoter {
        /// The group; 0 is the directory.
        group: GroupId,
        /// The voter that goes.
        remove: NodeId,
        /// The node that comes.
        add: NodeId,
    },
    /// A node begins with a disk. The first one counts for good: a node whose disk was wiped has
    /// forgotten its votes and must come back under a new id.
    BeginNode {
        /// The node.
        node: NodeId,
        /// What it drew when its disk was blank.
        disk: DiskId,
    },
    /// No group shall be on the node any more, or groups may be there again.
    DrainNode {
        /// The node.
        node: NodeId,
        /// Whether it drains.
        draining: bool,
    },
    /// The directory's leader has, or has again, or has no more contact with a node.
    NodeContact {
        /// The node.
        node: NodeId,
        /// When it was last heard of, once that is longer ago than the grace; `None` when it is back.
        lost_since: Option<Timestamp>,
    },
    /// Who is in fact a member of a group, as its leader's committed log says.
    GroupMembers {
        /// The group; 0 is the directory.
        group: GroupId,
        /// Voters and learners; of the directory, where every node is one or the other, the voters.
        members: Vec<NodeId>,
    },
    /// A jurisdiction's rules change.
    ChangeJurisdiction(ChangeJurisdiction),
    /// A jurisdiction takes no records and requests any more; what it has stays where it is.
    RetireJurisdiction {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// Its version as the caller saw it.
        expected: u64,
    },
    /// A retired jurisdiction's groups leave all nodes, with everything in them. Its code never
    /// comes back.
    DeleteJurisdiction {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// Its version as the caller saw it.
        expected: u64,
    },
    /// How the cluster judges its nodes.
    ConfigureAutopilot(Autopilot),
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
    /// The jurisdiction exists, or was deleted and never comes back.
    #[error("jurisdiction {0} exists already, or did: a code is used once")]
    JurisdictionExists(Jurisdiction),
    /// No such jurisdiction.
    #[error("jurisdiction {0} does not exist")]
    UnknownJurisdiction(Jurisdiction),
    /// The jurisdiction was changed by somebody else meanwhile.
    #[error("{jurisdiction} is at version {found}, not {expected}: look at it again")]
    Version {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// What the caller saw.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// The jurisdiction is not in the state that the change begins from.
    #[error("jurisdiction {jurisdiction} is {state}")]
    JurisdictionState {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// Its state.
        state: super::jurisdictions::JurisdictionState,
    },
    /// A jurisdiction names too many regions.
    #[error("{count} regions: a jurisdiction allows at most {limit}")]
    Regions {
        /// How many it names.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The node began with another disk: what it promised is forgotten.
    #[error(
        "node {0} began with another disk: a node whose disk was wiped is replaced under a new id"
    )]
    OtherDisk(NodeId),
    /// Without this node a group would lack voters.
    #[error(
        "without node {node} {eligible} nodes are left for {jurisdiction}, {needed} are needed"
    )]
    NodeNeeded {
        /// The node.
        node: NodeId,
        /// The jurisdiction whose groups would lack voters.
        jurisdiction: Jurisdiction,
        /// Sound nodes in its regions without this one.
        eligible: usize,
        /// Voters needed.
        needed: u8,
    },
    /// A setting of the autopilot is impossible.
    #[error("{field}: {reason}")]
    Autopilot {
        /// The setting.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
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
