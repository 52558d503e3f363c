//! openraft's state machine over one group's record store.
//!
//! A batch of entries is one transaction without a sync; the write-ahead log makes it durable. The
//! applied index, the membership and the log time are a row of the same transaction, in the table
//! [`APPLIED_TABLE`]. A snapshot is a view of the store: openraft's own snapshots (which let the log be
//! purged) only make the store durable, and a file is written when a follower needs one.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_storage::{
    Disk, RecordStore, RecordStoreOptions, SnapshotReader, StoreView, write_snapshot,
};
use bailiwick_types::Timestamp;
use bailiwick_types::store::{ReadStore, StoreError, Table, WriteStore};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{
    ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot,
};
use openraft::{EntryPayload, OptionalSend};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::machine::StateMachine;
use crate::measure::Recorders;
use crate::options::Fatal;
use crate::raft::{
    Entry, LogId, Outcome, SnapshotMeta, StoredMembership, Types, decode, encode, record_length,
};

/// The table of this crate in every group's record store; the state machines name theirs from 0 up.
pub(crate) const APPLIED_TABLE: Table = Table::new(u16::MAX);
pub(crate) const APPLIED_KEY: &[u8] = b"applied";
/// Version of the row under [`APPLIED_KEY`], and with it of all rows of the store: a change of any
/// row's form is a new version, and an unknown one does not open.
const APPLIED_VERSION: u8 = 1;
/// Most entries of one transaction.
const BATCH_ENTRIES: usize = 1024;
/// Most bytes of commands of one transaction: four full blocks.
const BATCH_BYTES: usize = 4 << 20;

/// What the store has applied; a row of the same transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    version: u8,
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) log_time: Timestamp,
}

impl Default for Applied {
    fn default() -> Self {
        Self {
            version: APPLIED_VERSION,
            last: None,
            membership: StoredMembership::default(),
            log_time: Timestamp::default(),
        }
    }
}

impl Applied {
    /// What a store says; the default for a blank one.
    pub(crate) fn of(view: &dyn ReadStore) -> io::Result<Self> {
        let Some(row) = view
            .get(APPLIED_TABLE, APPLIED_KEY)
            .map_err(io::Error::other)?
        else {
            return Ok(Self::default());
        };
        let applied: Self = decode(&row)?;
        if applied.version == APPLIED_VERSION {
            Ok(applied)
        } else {
            Err(crate::raft::malformed("record store of an unknown version"))
        }
    }

    /// Index of the first entry that is not applied.
    pub(crate) fn before(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last,
            last_membership: self.membership.clone(),
        }
    }
}

/// A snapshot under way between openraft and the network or the store.
pub(crate) enum SnapshotData {
    /// A consistent view of this node's store.
    View(StoreView),
    /// A received and checked file on this node's disk.
    File(String),
}

/// What opens a group's record store.
pub(crate) struct MachineOptions {
    pub(crate) disk: Arc<dyn Disk>,
    /// The group's directory on the disk.
    pub(crate) directory: String,
    pub(crate) store: RecordStoreOptions,
    pub(crate) machine: Arc<dyn StateMachine>,
    pub(crate) fatal: Fatal,
    /// Raised with every applied stamp.
    pub(crate) last_stamp: Arc<AtomicU64>,
    /// Bytes of commands after which the store is made durable.
    pub(crate) checkpoint_bytes: u64,
}

struct Inner {
    options: MachineOptions,
    store: RecordStore,
    applied: Mutex<Applied>,
    applied_index: watch::Sender<u64>,
    /// Index of the first entry that a power cut may take from the store.
    durable_before: AtomicU64,
    /// Bytes of entries applied since the last checkpoint.
    bytes_since: AtomicU64,
    /// Bytes of entries applied since the start.
    bytes: AtomicU64,
    checkpointing: Mutex<Instant>,
    /// Whether openraft may ask for a snapshot: one was built or installed.
    snapshotted: AtomicBool,
    recorders: Recorders,
}

/// One group's record store with the state machine that writes it. A clone is the same one.
#[derive(Clone)]
pub(crate) struct GroupMachine(Arc<Inner>);

impl GroupMachine {
    /// Opens the store. Blocks.
    pub(crate) fn open(options: MachineOptions) -> io::Result<Self> {
        options.disk.create_directory(&options.directory)?;
        let path = format!("{}/records.redb", options.directory);
        let store =
            RecordStore::open(&options.disk, &path, &options.store).map_err(io::Error::other)?;
        let applied = Applied::of(&store.read().map_err(io::Error::other)?)?;
        let index = applied.last.map_or(0, |last| last.index);
        let before = applied.before();
        options
            .last_stamp
            .fetch_max(applied.log_time.micros(), Ordering::Relaxed);
        Ok(Self(Arc::new(Inner {
            options,
            store,
            applied: Mutex::new(applied),
            applied_index: watch::Sender::new(index),
            durable_before: AtomicU64::new(before),
            bytes_since: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            checkpointing: Mutex::new(Instant::now()),
            snapshotted: AtomicBool::new(false),
            recorders: Recorders::default(),
        })))
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        // Nothing panics while holding it; a poisoned value is still whole.
        self.0
            .applied
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Index of the last applied entry; 0 for none.
    pub(crate) fn applied_index(&self) -> u64 {
        *self.0.applied_index.borrow()
    }

    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.0.applied_index.subscribe()
    }

    /// Bytes of entries applied since the start.
    pub(crate) fn applied_bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// What the group measures of itself.
    pub(crate) fn recorders(&self) -> &Recorders {
        &self.0.recorders
    }

    /// Removes what snapshots left behind when the process ended. Blocks.
    pub(crate) fn remove_leftovers(&self) -> io::Result<()> {
        for name in self.disk().list(&self.0.options.directory)? {
            if name.contains(".snapshot") {
                self.disk().remove(&self.path(&name))?;
            }
        }
        Ok(())
    }

    /// The stamp of the last applied command.
    pub(crate) fn log_time(&self) -> Timestamp {
        self.applied().log_time
    }

    pub(crate) fn view(&self) -> Result<StoreView, StoreError> {
        self.0.store.read()
    }

    pub(crate) fn store_bytes(&self) -> u64 {
        self.0.store.file_bytes().unwrap_or(0)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.0.options.disk
    }

    /// A path in the group's directory.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.0.options.directory)
    }

    /// Reports a failed disk and turns the failure into openraft's.
    fn failed(&self, error: &StoreError) -> io::Error {
        let text = error.to_string();
        (self.0.options.fatal)(&text);
        io::Error::other(text)
    }

    /// Makes everything applied so far durable. Blocks.
    pub(crate) fn checkpoint(&self) -> io::Result<()> {
        // One at a time: a second caller finds the work done.
        let mut last = self
            .0
            .checkpointing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = self.applied().before();
        if self.0.durable_before.load(Ordering::Acquire) >= before {
            return Ok(());
        }
        self.0.bytes_since.store(0, Ordering::Relaxed);
        self.0
            .store
            .checkpoint()
            .map_err(|error| self.failed(&error))?;
        self.0.durable_before.fetch_max(before, Ordering::AcqRel);
        *last = Instant::now();
        Ok(())
    }

    /// Whether enough was applied, or long enough ago, to make it durable.
    pub(crate) fn checkpoint_due(&self, period: Duration) -> bool {
        let changed = self.0.durable_before.load(Ordering::Acquire) < self.applied().before();
        let full = self.0.bytes_since.load(Ordering::Relaxed) >= self.0.options.checkpoint_bytes;
        // Held means that a checkpoint runs right now.
        let old = self
            .0
            .checkpointing
            .try_lock()
            .is_ok_and(|last| last.elapsed() >= period);
        changed && (full || old)
    }

    /// Makes sure that the store survives a power cut with everything up to an index.
    pub(crate) async fn ensure_durable(&self, index: u64) -> io::Result<()> {
        if self.0.durable_before.load(Ordering::Acquire) <= index {
            let machine = self.clone();
            blocking(move || machine.checkpoint()).await?;
        }
        if self.0.durable_before.load(Ordering::Acquire) <= index {
            return Err(io::Error::other(
                "the log cannot be purged ahead of the record store",
            ));
        }
        Ok(())
    }

    /// Applies entries in one transaction. Blocks.
    fn apply_batch(&self, entries: &[Entry]) -> io::Result<Vec<Outcome>> {
        let begun = Instant::now();
        let mut applied = self.applied().clone();
        let machine = &self.0.options.machine;
        let mut bytes = 0;
        let result = self.0.store.write(|store| {
            let mut outcomes = Vec::with_capacity(entries.len());
            for entry in entries {
                if applied
                    .last
                    .is_some_and(|last| last.index >= entry.log_id.index)
                {
                    return Err(StoreError(format!(
                        "entry {} does not follow",
                        entry.log_id
                    )));
                }
                applied.last = Some(entry.log_id);
                bytes += record_length(entry);
                outcomes.push(apply_entry(&mut applied, machine.as_ref(), store, entry)?);
            }
            let row = encode(&applied).map_err(|error| StoreError(error.to_string()))?;
            store.put(APPLIED_TABLE, APPLIED_KEY, &row)?;
            Ok(outcomes)
        });
        let outcomes = result.map_err(|error| self.failed(&error))?;
        self.0
            .bytes_since
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.become_applied(applied);
        self.0.recorders.apply.record(begun.elapsed());
        Ok(outcomes)
    }

    fn become_applied(&self, applied: Applied) {
        let index = applied.last.map_or(0, |last| last.index);
        self.0
            .options
            .last_stamp
            .fetch_max(applied.log_time.micros(), Ordering::Relaxed);
        *self.applied() = applied;
        self.0.applied_index.send_replace(index);
    }

    async fn apply_and_respond(
        &self,
        entries: Vec<Entry>,
        responders: Vec<Option<ApplyResponder<Types>>>,
    ) -> io::Result<()> {
        let machine = self.clone();
        let outcomes = blocking(move || machine.apply_batch(&entries)).await?;
        for (outcome, responder) in outcomes.into_iter().zip(responders) {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    /// Replaces the store by a snapshot. Blocks.
    fn install(&self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let disk = self.disk().as_ref();
        let path = match data {
            SnapshotData::File(path) => path,
            SnapshotData::View(view) => {
                let path = self.path("copied.snapshot");
                write_snapshot(disk, &path, &encode(meta)?, &view).map_err(io::Error::other)?;
                path
            }
        };
        let reader = SnapshotReader::open(disk, &path).map_err(io::Error::other)?;
        if decode::<SnapshotMeta>(reader.metadata())? != *meta {
            return Err(crate::raft::malformed(
                "snapshot of another log position than announced",
            ));
        }
        reader.load_into(&self.0.store).map_err(|error| {
            (self.0.options.fatal)(&error.to_string());
            io::Error::other(error)
        })?;
        let applied = Applied::of(&self.view().map_err(|error| self.failed(&error))?)?;
        if applied.meta() != *meta {
            return Err(crate::raft::malformed(
                "snapshot of another log position than it says",
            ));
        }
        self.0
            .durable_before
            .store(applied.before(), Ordering::Release);
        self.become_applied(applied);
        self.0.snapshotted.store(true, Ordering::Release);
        // It is in the store now; a leftover is removed at the next start.
        let _ = disk.remove(&path);
        Ok(())
    }
}

pub(crate) fn apply_entry(
    applied: &mut Applied,
    machine: &dyn StateMachine,
    store: &mut dyn WriteStore,
    entry: &Entry,
) -> Result<Outcome, StoreError> {
    match &entry.payload {
        EntryPayload::Blank => Ok(Outcome::default()),
        EntryPayload::Membership(membership) => {
            applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            Ok(Outcome::default())
        }
        EntryPayload::Normal(proposal) => {
            // Two proposals under way may reach the log in the other order than they were stamped.
            applied.log_time = applied.log_time.max(proposal.stamp);
            let outcome = machine.apply(store, applied.log_time, &proposal.command)?;
            Ok(Outcome(Bytes::from(outcome)))
        }
    }
}

/// Runs what blocks off the async workers.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Makes the store durable up to where it stood when it was asked for.
pub(crate) struct SnapshotBuilder {
    machine: GroupMachine,
    applied: Applied,
    view: Option<StoreView>,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<openraft::alias::SnapshotOf<Types, SnapshotData>> {
        let machine = self.machine.clone();
        blocking(move || machine.checkpoint()).await?;
        self.machine.0.snapshotted.store(true, Ordering::Release);
        let view = match self.view.take() {
            Some(view) => view,
            None => return Err(io::Error::other("a builder builds one snapshot")),
        };
        Ok(Snapshot {
            meta: self.applied.meta(),
            snapshot: SnapshotData::View(view),
        })
    }
}

impl RaftStateMachine<Types> for GroupMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.applied();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let (mut batch, mut responders, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            bytes += record_length(&entry);
            batch.push(entry);
            responders.push(responder);
            if batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
                bytes = 0;
                self.apply_and_respond(std::mem::take(&mut batch), std::mem::take(&mut responders))
                    .await?;
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.apply_and_respond(batch, responders).await
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            machine: self.clone(),
            applied: self.applied().clone(),
            view: self.view().ok(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let (machine, meta) = (self.clone(), meta.clone());
        blocking(move || machine.install(&meta, snapshot)).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::alias::SnapshotOf<Types, SnapshotData>>> {
        if !self.0.snapshotted.load(Ordering::Acquire) {
            return Ok(None);
        }
        // Called in turn with `apply`, so that the view is of exactly what was applied. It may be
        // newer than the snapshot that openraft knows of, which serves a follower all the better.
        let view = self.view().map_err(|error| self.failed(&error))?;
        Ok(Some(Snapshot {
            meta: self.applied().meta(),
            snapshot: SnapshotData::View(view),
        }))
    }
}
