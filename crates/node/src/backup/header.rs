//! What a snapshot file says of itself, as JSON, so that a person can read it with `head`.
//!
//! Version 1; the version stands before it in the file. It carries no identifier of a subject.

use bailiwick_types::{
    ClusterId, Digest, GroupId, Jurisdiction, Name, NodeId, Region, ShardId, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A snapshot file's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotHeader {
    /// The version of the program that wrote it.
    pub program: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's trust domain.
    pub trust_domain: Name,
    /// The group.
    pub group: GroupId,
    /// The shard's jurisdiction; none for the directory.
    pub jurisdiction: Option<Jurisdiction>,
    /// The shard's partition; 0 for the directory.
    pub partition: u16,
    /// Regions whose nodes may hold it; empty for the directory, which every node holds.
    pub allowed_regions: Vec<Region>,
    /// The node that wrote it.
    pub node: NodeId,
    /// When, by that node's clock (RFC 3339).
    pub taken_at: String,
    /// Whether it surely has everything that was acknowledged before it was asked for: a quorum was
    /// asked. Without it, everything that this voter knew of.
    pub linearizable: bool,
    /// Term of the last log entry in it.
    pub term: u64,
    /// Index of the last log entry in it.
    pub index: u64,
    /// The group's log time, in microseconds since 1970.
    pub log_time: Timestamp,
    /// Sealed records in it.
    pub records: u64,
    /// Leaves of the transparency log; 0 for the directory.
    pub leaves: u64,
    /// The root over them.
    pub root: Digest,
    /// The last cosigned checkpoint that was known, as a signed note.
    pub checkpoint: Option<String>,
}

impl SnapshotHeader {
    /// The shard; none for the directory.
    pub fn shard(&self) -> Option<ShardId> {
        let (jurisdiction, partition) = (self.jurisdiction?, self.partition);
        Some(ShardId {
            jurisdiction,
            partition,
        })
    }

    /// What the group is called in names of files and in sentences.
    pub fn subject(&self) -> String {
        match (self.jurisdiction, self.partition) {
            (None, _) => "directory".to_owned(),
            (Some(jurisdiction), 0) => jurisdiction.to_string(),
            (Some(jurisdiction), partition) => format!("{jurisdiction}-{partition}"),
        }
    }

    /// The name of its file: subject, time and index, so that names sort by age.
    pub fn file_name(&self) -> String {
        let at: String = self
            .taken_at
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        format!(
            "{}-{at}-{:012}.{}",
            self.subject(),
            self.index,
            super::EXTENSION
        )
    }
}
