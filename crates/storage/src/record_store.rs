//! The record store: what applied commands made, in one redb file per Raft group.
//!
//! A write is one transaction that stays in memory, above the file, until [`RecordStore::checkpoint`]
//! puts all of them into it, sorted, in one durable transaction. The write-ahead log has their
//! commands, and is purged only behind a checkpoint. After a crash the store is as it was at the last
//! one. Reads are snapshots that neither writes nor checkpoints disturb. Every call may block on the
//! disk: keep them off asynchronous workers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bailiwick_types::store::{StoreError, WriteStore};
use redb::{Builder, Database, Durability, WriteTransaction};

use crate::disk::Disk;
use crate::overlay::{Existence, Layer, Writes};
use crate::redb_backend::DiskBackend;
use crate::redb_tables::{Base, FileStore, failed};
pub use crate::store_view::StoreView;
use crate::store_view::{Living, SharedLayer, Transaction, locked};

/// How a record store is kept.
#[derive(Clone, Debug)]
pub struct RecordStoreOptions {
    /// Bytes of the file's pages kept in memory.
    pub cache_bytes: usize,
    /// Bytes of rows above the file from which on a write first puts them into it. Twice as many may
    /// be in memory while that is under way.
    pub overlay_bytes: usize,
}

impl Default for RecordStoreOptions {
    /// 64 MiB of pages, 128 MiB of rows: some 280,000 records. Whoever owns the store calls
    /// [`RecordStore::checkpoint`] well before that, so that no write waits for the disk.
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            overlay_bytes: 128 << 20,
        }
    }
}

/// One group's records. A clone is the same store.
#[derive(Clone)]
pub struct RecordStore {
    inner: Arc<Inner>,
}

/// What the handles and the views share.
pub(crate) struct Inner {
    state: RwLock<State>,
    living: Living,
    /// Held by the one transaction that runs.
    writing: Mutex<()>,
    /// Held by the one checkpoint that runs; taken before `writing`.
    flushing: Mutex<()>,
    /// Locked for writing only while the file is compacted.
    database: RwLock<Database>,
    disk: Arc<dyn Disk>,
    path: String,
    overlay_bytes: usize,
}

/// What a new view sees.
struct State {
    /// The last committed transaction.
    sequence: u64,
    /// What was written since the last checkpoint began.
    active: SharedLayer,
    /// What the checkpoint under way, or one that failed, is to put into the file.
    frozen: Option<SharedLayer>,
    /// The file; none only while it is compacted.
    base: Option<Arc<Base>>,
}

impl Inner {
    // State is replaced in single steps, so a panic while it is locked leaves it true.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> RwLockReadGuard<'_, Database> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view_ends(&self, sequence: u64) {
        self.living.ends(sequence);
    }
}

/// Holds nothing but the turn.
fn turn(lock: &Mutex<()>) -> MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for RecordStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordStore({})", self.inner.path)
    }
}

impl RecordStore {
    /// Opens the store in a file, which is created durably if there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails or the file is damaged beyond its last checkpoint.
    pub fn open(
        disk: &Arc<dyn Disk>,
        path: &str,
        options: &RecordStoreOptions,
    ) -> Result<Self, StoreError> {
        let mut builder = Builder::new();
        builder.set_cache_size(options.cache_bytes);
        let is_new = !disk.exists(path).map_err(failed)?;
        // A new store gets its name only when redb has made it whole: half of one does not open.
        let unfinished = format!("{path}.new");
        let file = if is_new {
            disk.create(&unfinished)
        } else {
            disk.open(path)
        };
        let backend = DiskBackend(file.map_err(failed)?);
        let database = builder.create_with_backend(backend).map_err(failed)?;
        if is_new {
            disk.rename(&unfinished, path).map_err(failed)?;
        }
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        disk.sync_directory(directory).map_err(failed)?;
        let state = State {
            sequence: 0,
            active: SharedLayer::default(),
            frozen: None,
            base: Some(Arc::new(Base::of(&database)?)),
        };
        let inner = Inner {
            state: RwLock::new(state),
            living: Living::default(),
            writing: Mutex::new(()),
            flushing: Mutex::new(()),
            database: RwLock::new(database),
            disk: Arc::clone(disk),
            path: path.to_owned(),
            overlay_bytes: options.overlay_bytes,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Runs one transaction: all of `change`, or nothing if it returns an error. Readers see it when
    /// this returns; a crash loses it unless a checkpoint follows. One runs at a time.
    ///
    /// # Errors
    /// What `change` returns, and [`StoreError`] when the disk fails.
    pub fn write<T>(
        &self,
        change: impl FnOnce(&mut dyn WriteStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if locked(&self.inner.state().active).bytes() >= self.inner.overlay_bytes {
            self.checkpoint()?;
        }
        let _turn = turn(&self.inner.writing);
        let mut transaction = Transaction {
            view: self.read()?,
            writes: Writes::default(),
        };
        let value = change(&mut transaction)?;
        self.commit(transaction.writes);
        Ok(value)
    }

    /// Makes a transaction's writes visible.
    fn commit(&self, writes: Writes) {
        let inner = &self.inner;
        let (sequence, active) = {
            let state = inner.state();
            (state.sequence, state.active.clone())
        };
        // Views that begin from now on, until the state is replaced below, see `sequence`.
        let oldest = inner.living.oldest(sequence);
        active
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .merge(writes, sequence + 1, oldest);
        inner.state_mut().sequence = sequence + 1;
    }

    /// Runs one transaction on the file itself, after all before it: for changes that are too large
    /// to be kept in memory. Durable when it returns, with all writes before it.
    ///
    /// # Errors
    /// As [`RecordStore::write`].
    pub fn write_durably<T>(
        &self,
        change: impl FnOnce(&mut dyn WriteStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _flushing = turn(&self.inner.flushing);
        let _writing = turn(&self.inner.writing);
        self.flush()?;
        self.freeze();
        self.flush()?;
        let database = self.inner.database();
        let mut value = None;
        self.transact(&database, |store| {
            value = Some(change(store)?);
            Ok(())
        })?;
        let base = Arc::new(Base::of(&database)?);
        // Older views keep the file as it was.
        self.inner.state_mut().base = Some(base);
        value.ok_or_else(|| StoreError("the change was not run".to_owned()))
    }

    /// Makes all writes so far durable.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails; the state after a crash is then an older one.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let _flushing = turn(&self.inner.flushing);
        // What an earlier checkpoint that failed left comes first.
        self.flush()?;
        {
            let _writing = turn(&self.inner.writing);
            self.freeze();
        }
        self.flush()
    }

    /// Ends the layer that is written, for a flush. The writer's turn must be held, and nothing
    /// frozen be left.
    fn freeze(&self) {
        let mut state = self.inner.state_mut();
        if !locked(&state.active).is_empty() {
            state.frozen = Some(std::mem::take(&mut state.active));
        }
    }

    /// Puts the frozen layer into the file, durably. The flushing turn must be held.
    fn flush(&self) -> Result<(), StoreError> {
        let Some(frozen) = self.inner.state().frozen.clone() else {
            return Ok(());
        };
        let database = self.inner.database();
        self.transact(&database, |store| put(store, &locked(&frozen)))?;
        let base = Arc::new(Base::of(&database)?);
        let mut state = self.inner.state_mut();
        state.base = Some(base);
        state.frozen = None;
        Ok(())
    }

    /// Runs one durable transaction on the file.
    fn transact(
        &self,
        database: &Database,
        change: impl FnOnce(&mut FileStore<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut transaction: WriteTransaction = database.begin_write().map_err(failed)?;
        let durable = transaction.set_durability(Durability::Immediate);
        durable.map_err(failed)?;
        // Stores where free pages are, so that a start after a crash need not walk the file.
        transaction.set_quick_repair(true);
        let mut store = FileStore::new(&transaction)?;
        let result = change(&mut store);
        drop(store);
        match result {
            Ok(()) => transaction.commit().map_err(failed),
            Err(error) => {
                transaction.abort().map_err(failed)?;
                Err(error)
            }
        }
    }

    /// A snapshot of the state after the last write. While it lives, the space of what is
    /// overwritten is not reused.
    ///
    /// # Errors
    /// [`StoreError`] when the file could not be read after it was compacted.
    pub fn read(&self) -> Result<StoreView, StoreError> {
        let state = self.inner.state();
        let base = state.base.clone();
        let base = base.ok_or_else(|| StoreError("the file could not be read again".to_owned()))?;
        let layers = [Some(state.active.clone()), state.frozen.clone()];
        self.inner.living.begins(state.sequence);
        Ok(StoreView::new(
            state.sequence,
            layers.into_iter().flatten().collect(),
            base,
            self.inner.clone(),
        ))
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn file_bytes(&self) -> Result<u64, StoreError> {
        let file = self.inner.disk.open(&self.inner.path).map_err(failed)?;
        file.length().map_err(failed)
    }

    /// Gives unused space of the file back, durably; false if there was none. Takes as long as the
    /// file is large, and writes and new snapshots wait for it.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails or a [`StoreView`] is still alive.
    pub fn compact(&self) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let _flushing = turn(&inner.flushing);
        let mut state = inner.state_mut();
        let base = state.base.take().map(Arc::try_unwrap);
        if let Some(Err(base)) = base {
            state.base = Some(base);
            return Err(StoreError("a view is still alive".to_owned()));
        }
        drop(base);
        let mut database = inner
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let compacted = database.compact().map_err(failed);
        state.base = Some(Arc::new(Base::of(&database)?));
        compacted
    }
}

/// Puts a layer's rows into the file's tables, in order.
fn put(store: &mut FileStore<'_>, layer: &Layer) -> Result<(), StoreError> {
    for changed in layer.result() {
        if changed.dropped {
            store.drop_table(changed.table)?;
        }
        if changed.exists == Existence::Exists {
            store.create(changed.table)?;
        }
        for (key, value) in changed.rows {
            match value {
                Some(value) => store.put(changed.table, key, value)?,
                None => store.delete(changed.table, key)?,
            }
        }
    }
    Ok(())
}
