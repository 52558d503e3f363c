//! Applying the directory's commands, and its one query.

use bailiwick_types::store::{ReadStore, StoreError, WriteStore};
use bailiwick_types::{
    ClusterId, Digest, GroupId, Jurisdiction, Name, NodeId, Region, ShardId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::command::NodeEntry;

/// The cluster as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster.
    pub cluster: ClusterId,
    /// The trust domain.
    pub trust_domain: Name,
    /// Grows by one with every change.
    pub version: u64,
    /// The nodes, by id.
    pub nodes: Vec<NodeEntry>,
    /// The directory's voters, by id: 1, 3 or 5; all other nodes are its learners.
    pub directory_voters: Vec<NodeId>,
    /// The jurisdictions, in order.
    pub jurisdictions: Vec<JurisdictionEntry>,
    /// The groups, by id, without the directory.
    pub groups: Vec<GroupEntry>,
}

/// A jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JurisdictionEntry {
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// Regions whose nodes may hold its records.
    pub allowed_regions: Vec<Region>,
    /// Voters of each group.
    pub replicas: u8,
    /// Its number of groups.
    pub partitions: u16,
    /// Digest of its policy when it was created.
    pub policy: Digest,
}

/// A Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// Its number, from 1; never reused.
    pub id: GroupId,
    /// Its shard.
    pub shard: ShardId,
    /// Its voters, by id.
    pub voters: Vec<NodeId>,
}

/// Applies one command of the directory and returns the encoded
/// [`super::DirectoryOutcome`].
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn apply(
    store: &mut dyn WriteStore,
    stamp: Timestamp,
    command: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let _ = (store, stamp, command);
    Err(StoreError("not written yet".to_owned()))
}

/// The cluster; `None` before it is initialised.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn description(store: &dyn ReadStore) -> Result<Option<ClusterView>, StoreError> {
    let _ = store;
    Err(StoreError("not written yet".to_owned()))
}
