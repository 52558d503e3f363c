//! Snapshots to keep: one consistent state of a group in a file, and where in the log it stands.
//!
//! Not what followers get (`network`) and not what lets the log be purged (`state_machine`): this is
//! what a backup wraps. The file lies in the group's directory and is removed with its handle.

use std::fmt;
use std::io;
use std::sync::Arc;

use bailiwick_storage::{Disk, SnapshotReader, StoreView, write_snapshot};
use bailiwick_types::{GroupId, NodeId, Timestamp};

use crate::host::Host;
use crate::hosted::Hosted;
use crate::raft::{SnapshotMeta, decode, encode};
use crate::state_machine::{Applied, blocking};

/// Where a snapshot stands in its group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPosition {
    /// Term of the last entry in it.
    pub term: u64,
    /// Index of the last entry in it.
    pub index: u64,
    /// The log time of that entry.
    pub log_time: Timestamp,
    /// The voters then, by id.
    pub voters: Vec<NodeId>,
}

impl SnapshotPosition {
    pub(crate) fn of(applied: &Applied) -> Self {
        let mut voters: Vec<NodeId> = applied
            .membership
            .membership()
            .voter_ids()
            .map(NodeId)
            .collect();
        voters.sort();
        voters.dedup();
        Self {
            term: applied.last.map_or(0, |last| last.leader_id.term),
            index: applied.last.map_or(0, |last| last.index),
            log_time: applied.log_time,
            voters,
        }
    }
}

/// The position that a snapshot file names in its header.
///
/// # Errors
/// When the header is of another form.
pub(crate) fn announced(reader: &SnapshotReader) -> io::Result<SnapshotMeta> {
    decode(reader.metadata())
}

/// Term and index of the last entry that a snapshot file says it has.
///
/// # Errors
/// When its header is of another form: damage, or a program of another version.
pub fn snapshot_log_id(reader: &SnapshotReader) -> io::Result<(u64, u64)> {
    let last = announced(reader)?.last_log_id;
    Ok(last.map_or((0, 0), |last| (last.leader_id.term, last.index)))
}

/// Why no snapshot was written: this node's fault.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// This node has no such group.
    #[error("this node has no group {0}")]
    NoSuchGroup(GroupId),
    /// The group has applied nothing.
    #[error("group {0} is blank")]
    Blank(GroupId),
    /// The disk failed.
    #[error("the snapshot of group {group} was not written")]
    Storage {
        /// The group.
        group: GroupId,
        /// What the disk reported.
        source: io::Error,
    },
}

/// A snapshot file of this node; it goes when this is dropped.
pub struct SavedSnapshot {
    position: SnapshotPosition,
    reader: SnapshotReader,
    disk: Arc<dyn Disk>,
    path: String,
}

impl fmt::Debug for SavedSnapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SavedSnapshot({})", self.path)
    }
}

impl Drop for SavedSnapshot {
    fn drop(&mut self) {
        // Left behind, it is removed at the node's next start.
        let _ = self.disk.remove(&self.path);
    }
}

impl SavedSnapshot {
    /// Where it stands.
    pub fn position(&self) -> &SnapshotPosition {
        &self.position
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.reader.length()
    }

    /// At most `limit` of its bytes from an offset; empty at its end. Blocks.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn read(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        self.reader
            .read_raw(offset, limit)
            .map_err(io::Error::other)
    }
}

impl Host {
    /// Writes a snapshot of a view of the group. `name` tells several at once apart.
    ///
    /// # Errors
    /// [`SaveError`].
    pub async fn save_snapshot(
        &self,
        id: GroupId,
        view: StoreView,
        name: u64,
    ) -> Result<SavedSnapshot, SaveError> {
        let group = self.hosted(id).ok_or(SaveError::NoSuchGroup(id))?;
        let saved = blocking(move || save(&group, &view, name)).await;
        saved
            .map_err(|source| SaveError::Storage { group: id, source })?
            .ok_or(SaveError::Blank(id))
    }
}

fn save(group: &Hosted, view: &StoreView, name: u64) -> io::Result<Option<SavedSnapshot>> {
    let applied = Applied::of(view)?;
    if applied.last.is_none() {
        return Ok(None);
    }
    let path = group.machine.path(&format!("saved-{name:016x}.snapshot"));
    let disk = group.machine.disk().clone();
    write_snapshot(&*disk, &path, &encode(&applied.meta())?, view).map_err(io::Error::other)?;
    let reader = SnapshotReader::open(&*disk, &path).map_err(io::Error::other)?;
    Ok(Some(SavedSnapshot {
        position: SnapshotPosition::of(&applied),
        reader,
        disk,
        path,
    }))
}
