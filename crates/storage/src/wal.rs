//! Skeleton.
use crate::disk::Disk;
use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;
use std::{ops::Range, sync::Arc};
/// Options.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// a
    pub node: NodeId,
    /// a
    pub directory: String,
    /// a
    pub segment_bytes: u64,
    /// a
    pub cache_bytes: usize,
    /// a
    pub retained_bytes: u64,
}
impl WalOptions {
    /// Defaults.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            directory: "wal".to_owned(),
            segment_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            retained_bytes: 512 << 20,
        }
    }
}
/// Error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// closed
    #[error("the write-ahead log is closed")]
    Closed,
}
/// Statistics.
#[derive(Clone, Debug, Default)]
pub struct WalStatistics {
    /// a
    pub syncs: u64,
    /// a
    pub records: u64,
    /// a
    pub bytes: u64,
    /// pairs
    pub sync_latency: Vec<(u64, u64)>,
}
/// Record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// a
    pub index: u64,
    /// a
    pub payload: Bytes,
}
/// State.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// a
    pub first: Option<u64>,
    /// a
    pub last: Option<u64>,
    /// a
    pub purged: Option<(u64, Bytes)>,
    /// a
    pub vote: Option<Bytes>,
    /// a
    pub committed: Option<Bytes>,
}
/// Done.
pub type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;
/// Wal.
#[derive(Clone)]
pub struct Wal;
/// Group.
#[derive(Clone)]
pub struct GroupLog;
#[allow(missing_docs, clippy::unimplemented, unused)]
impl Wal {
    pub fn open(disk: Arc<dyn Disk>, options: WalOptions) -> Result<Self, WalError> {
        unimplemented!()
    }
    pub fn group(&self, group: GroupId) -> GroupLog {
        unimplemented!()
    }
    pub fn groups(&self) -> Vec<GroupId> {
        unimplemented!()
    }
    pub fn statistics(&self) -> WalStatistics {
        unimplemented!()
    }
    pub fn failed(&self) -> bool {
        unimplemented!()
    }
    pub fn close(self) {
        unimplemented!()
    }
}
#[allow(missing_docs, clippy::unimplemented, unused)]
impl GroupLog {
    pub fn append(&self, records: Vec<LogRecord>, done: Done) {
        unimplemented!()
    }
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        unimplemented!()
    }
    pub fn save_committed(&self, committed: Bytes) {
        unimplemented!()
    }
    pub fn truncate_after(&self, last: Option<u64>, done: Done) {
        unimplemented!()
    }
    pub fn purge(&self, upto: u64, marker: Bytes, done: Done) {
        unimplemented!()
    }
    pub fn remove(&self, done: Done) {
        unimplemented!()
    }
    pub fn state(&self) -> GroupState {
        unimplemented!()
    }
    pub fn last_record(&self) -> Result<Option<LogRecord>, WalError> {
        unimplemented!()
    }
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, WalError> {
        unimplemented!()
    }
}
