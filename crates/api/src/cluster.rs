//! The cluster: its nodes, groups and jurisdictions; administration; a node's status.

use bailiwick_envelope::{EncapsulationKey, IdentityKey};
use bailiwick_types::{
    ClusterId, CommandKey, Digest, GroupId, Jurisdiction, Name, NodeId, Region, ShardId, Timestamp,
};
use serde::{Deserialize, Serialize};

/// What any node answers to whoever looks for a leader (`Operation::Directory`, empty request).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterDescription {
    /// The cluster, once it is initialised.
    pub cluster: Option<ClusterId>,
    /// Grows with every change of the directory.
    pub version: u64,
    /// The node that answered.
    pub answered_by: NodeId,
    /// The nodes.
    pub nodes: Vec<NodeDescription>,
    /// The groups.
    pub groups: Vec<GroupDescription>,
}

impl ClusterDescription {
    /// The group of a shard.
    pub fn group(&self, shard: ShardId) -> Option<&GroupDescription> {
        self.groups.iter().find(|group| group.shard == Some(shard))
    }

    /// A node by its id.
    pub fn node(&self, id: NodeId) -> Option<&NodeDescription> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The home shards of all jurisdictions, in order.
    pub fn home_shards(&self) -> Vec<ShardId> {
        let shards = self.groups.iter().filter_map(|group| group.shard);
        shards.filter(|shard| shard.partition == 0).collect()
    }
}

/// One vault node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDescription {
    /// Its number.
    pub id: NodeId,
    /// Its id, as in its certificate name.
    pub name: Name,
    /// Where it stands.
    pub region: Region,
    /// Where it listens: `host:port`.
    pub address: String,
}

/// One Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDescription {
    /// Its number; 0 is the directory.
    pub id: GroupId,
    /// The shard; none for the directory.
    pub shard: Option<ShardId>,
    /// Its voters.
    pub voters: Vec<NodeId>,
    /// The leader, as far as the answering node knows.
    pub leader: Option<NodeId>,
}

/// `Operation::AdministerCluster`: initialise a blank cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initialise {
    /// Drawn by the operator's command, so that a retry is the same command.
    pub cluster: ClusterId,
    /// Its nodes.
    pub nodes: Vec<NodeDescription>,
}

/// `Operation::CreateJurisdiction`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateJurisdiction {
    /// Makes a retry the same command.
    pub key: CommandKey,
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// Regions whose nodes may hold its records; empty allows none.
    pub allowed_regions: Vec<Region>,
    /// Voters of each of its groups.
    pub replicas: u8,
    /// Groups by subject hash; 1 for most.
    pub partitions: u16,
    /// Digest of its policy.
    pub policy: Digest,
}

/// `Operation::Enrol`: who may act in a jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// Makes a retry the same command.
    pub key: CommandKey,
    /// The shard.
    pub shard: ShardId,
    /// Who.
    pub who: Enrolment,
}

/// An identity's enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Enrolment {
    /// An edge with the key that signs its headers and manifests.
    Edge {
        /// Its id.
        name: Name,
        /// Its key.
        key: IdentityKey,
    },
    /// A disclosure workflow's service.
    Intake {
        /// Its id.
        name: Name,
    },
    /// A recipient with its key.
    Recipient {
        /// Its id.
        name: Name,
        /// Its X-Wing key.
        key: EncapsulationKey,
        /// SHA-256 of the certificate that vouches for the key.
        certificate: Digest,
    },
}

/// `Operation::Revoke`: the enrolment of this identity ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// Makes a retry the same command.
    pub key: CommandKey,
    /// The shard.
    pub shard: ShardId,
    /// Which kind of identity.
    pub kind: EnrolmentKind,
    /// Its id.
    pub name: Name,
}

/// The kind of an enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnrolmentKind {
    /// An edge.
    Edge,
    /// An intake service.
    Intake,
    /// A recipient.
    Recipient,
}

/// `Operation::ChangePolicy`: the digest of the policy that new requests must pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePolicy {
    /// Makes a retry the same command.
    pub key: CommandKey,
    /// The shard.
    pub shard: ShardId,
    /// Digest of the policy file.
    pub digest: Digest,
    /// Its version.
    pub version: u32,
}

/// What `Operation::Status` answers (empty request).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// Its id, as in its certificate name.
    pub name: Name,
    /// Where it stands.
    pub region: Region,
    /// The program's version.
    pub version: String,
    /// When its process started.
    pub started_at: Timestamp,
    /// Its groups.
    pub groups: Vec<GroupStatus>,
}

/// One group on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group.
    pub id: GroupId,
    /// The shard; none for the directory.
    pub shard: Option<ShardId>,
    /// The leader that this node follows or is.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// Index of the last entry in this node's log.
    pub last_log: u64,
    /// Index up to which this node applied.
    pub applied: u64,
    /// The voters.
    pub voters: Vec<NodeId>,
    /// Records in the shard, as applied here.
    pub records: u64,
    /// Leaves in its log, as applied here.
    pub leaves: u64,
    /// Whether releases are frozen.
    pub frozen: bool,
}

/// The answer to a command that needs no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted;
