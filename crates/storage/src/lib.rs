//! Write-ahead log, record store, snapshots and the disk trait.
//!
//! - [`disk`]: the one way to a disk, and [`OsDisk`]; [`SimulatedDisk`] loses what was not synced.
//! - [`wal`]: one log per node, shared by all its Raft groups; one `fdatasync` per drained batch.
//! - [`record_store`]: what applied commands made, in one redb file per group and, since the last
//!   checkpoint, in memory.
//! - [`snapshot`]: all rows of a record store in one checked file.
//! - [`backup`]: a snapshot with a header in words and a digest over all, for keeping elsewhere.
//!
//! This crate knows nothing of Raft, keys or records: payloads are bytes. It follows
//! docs/architecture.md, "Building blocks" and "Traps that others fell into".

pub mod backup;
pub mod disk;
mod overlay;
pub mod record_store;
mod redb_backend;
mod redb_tables;
pub mod simulated_disk;
pub mod snapshot;
mod store_view;
pub mod wal;

pub use backup::{BackupEncoder, BackupError, BackupFile};
pub use disk::{Disk, DiskFile, OsDisk};
pub use record_store::{RecordStore, RecordStoreOptions, StoreView};
pub use simulated_disk::SimulatedDisk;
pub use snapshot::{
    SnapshotError, SnapshotInfo, SnapshotReader, SnapshotReceiver, write_snapshot,
    write_snapshot_of,
};
pub use wal::{
    Done, GroupLog, GroupState, LogRecord, SYNC_LATENCY_BOUNDS_US, SegmentContents, Wal, WalError,
    WalOptions, WalStatistics, inspect_entries, inspect_segment,
};
