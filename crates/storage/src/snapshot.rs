//! Skeleton.
use crate::{disk::Disk, record_store::RecordStore};
use bailiwick_types::store::{ReadStore, StoreError, Table};
/// Info.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Rows.
    pub rows: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of the file.
    pub bytes: u64,
}
/// Error.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Store.
    #[error("the record store failed")]
    Store(#[from] StoreError),
}
/// Reader.
pub struct SnapshotReader;
/// Receiver.
pub struct SnapshotReceiver;
#[allow(missing_docs, clippy::unimplemented, unused)]
pub fn write_snapshot(
    disk: &dyn Disk,
    path: &str,
    metadata: &[u8],
    view: &dyn ReadStore,
) -> Result<SnapshotInfo, SnapshotError> {
    unimplemented!()
}
#[allow(missing_docs, clippy::unimplemented, unused)]
pub fn write_snapshot_of(
    disk: &dyn Disk,
    path: &str,
    metadata: &[u8],
    view: &dyn ReadStore,
    tables: &[Table],
) -> Result<SnapshotInfo, SnapshotError> {
    unimplemented!()
}
#[allow(missing_docs, clippy::unimplemented, unused)]
impl SnapshotReader {
    pub fn open(disk: &dyn Disk, path: &str) -> Result<Self, SnapshotError> {
        unimplemented!()
    }
    pub fn metadata(&self) -> &[u8] {
        unimplemented!()
    }
    /// Length of the file in bytes.
    pub fn length(&self) -> u64 {
        unimplemented!()
    }
    /// Raw bytes of the file for sending, at most `limit`; empty at the end.
    pub fn read_raw(&self, offset: u64, limit: usize) -> Result<Vec<u8>, SnapshotError> {
        unimplemented!()
    }
    /// Replaces all tables of the store in one durable transaction; nothing changes on Err.
    pub fn load_into(self, store: &RecordStore) -> Result<SnapshotInfo, SnapshotError> {
        unimplemented!()
    }
}
#[allow(missing_docs, clippy::unimplemented, unused)]
impl SnapshotReceiver {
    /// Receives raw bytes into a temporary file beside `path`.
    pub fn create(disk: std::sync::Arc<dyn Disk>, path: &str) -> Result<Self, SnapshotError> {
        unimplemented!()
    }
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        unimplemented!()
    }
    /// Checks everything, syncs, renames to `path`.
    pub fn finish(self) -> Result<SnapshotInfo, SnapshotError> {
        unimplemented!()
    }
}
