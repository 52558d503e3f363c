//! The record store: what applied commands made, in one redb file per Raft group.
//!
//! A write is one transaction that the disk need not have yet: the write-ahead log has its commands,
//! and is purged only behind [`RecordStore::checkpoint`], which makes all writes so far durable. After
//! a power cut the store is as it was at the last checkpoint. Reads are snapshots that writes do not
//! disturb. Every call may block on the disk: keep them off asynchronous workers. Keys and values are
//! plain bytes, which stays readable through redb's announced changes of its typed encodings.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bailiwick_types::store::{ReadStore, Row, StoreError, Table, WriteStore};
use redb::{
    AccessGuard, Builder, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    ReadableTable, TableDefinition, TableError, TableHandle, WriteTransaction,
};

use crate::disk::Disk;
use crate::redb_backend::DiskBackend;

type Bytes = &'static [u8];
type SharedTable = Arc<ReadOnlyTable<Bytes, Bytes>>;

/// How a record store is kept.
#[derive(Clone, Debug)]
pub struct RecordStoreOptions {
    /// Bytes of pages kept in memory, for reads and for what is not written yet.
    pub cache_bytes: usize,
}

impl Default for RecordStoreOptions {
    /// 64 MiB.
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
        }
    }
}

/// One group's records. A clone is the same store.
#[derive(Clone)]
pub struct RecordStore {
    inner: Arc<Inner>,
}

struct Inner {
    /// Locked for writing only while the file is compacted.
    database: RwLock<Database>,
    /// The tables as of the last commit; locked for the whole of a write.
    tables: Mutex<BTreeSet<Table>>,
    disk: Arc<dyn Disk>,
    path: String,
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
        let transaction = database.begin_read().map_err(failed)?;
        let tables = names(transaction.list_tables().map_err(failed)?)?;
        drop(transaction);
        let inner = Inner {
            database: RwLock::new(database),
            tables: Mutex::new(tables),
            disk: Arc::clone(disk),
            path: path.to_owned(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Runs one transaction: all of `change`, or nothing if it returns an error. Readers see it when
    /// this returns; a power cut loses it unless a checkpoint follows. One runs at a time.
    ///
    /// # Errors
    /// What `change` returns, and [`StoreError`] when the disk fails.
    pub fn write<T>(
        &self,
        change: impl FnOnce(&mut dyn WriteStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.transact(Durability::None, change)
    }

    /// As [`RecordStore::write`], and durable when it returns, with all writes before it.
    ///
    /// # Errors
    /// As [`RecordStore::write`].
    pub fn write_durably<T>(
        &self,
        change: impl FnOnce(&mut dyn WriteStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.transact(Durability::Immediate, change)
    }

    /// Makes all writes so far durable.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails; the state after a power cut is then an older one.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.transact(Durability::Immediate, |_| Ok(()))
    }

    /// A snapshot of the state after the last write. While it lives, the space of what is
    /// overwritten is not reused.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    pub fn read(&self) -> Result<StoreView, StoreError> {
        let database = self
            .inner
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let transaction = database.begin_read().map_err(failed)?;
        Ok(StoreView {
            transaction,
            tables: Mutex::new(BTreeMap::new()),
            _store: Arc::clone(&self.inner),
        })
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
        let mut database = self
            .inner
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        database.compact().map_err(failed)
    }

    fn transact<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut dyn WriteStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = self
            .inner
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        // Replaced as a whole after a commit, so a panic while it is locked leaves it true.
        let mut tables = self
            .inner
            .tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut transaction = database.begin_write().map_err(failed)?;
        transaction.set_durability(durability).map_err(failed)?;
        if matches!(durability, Durability::Immediate) {
            // Stores where free pages are, so that a start after a crash need not walk the file.
            transaction.set_quick_repair(true);
        }
        let mut store = TransactionStore {
            transaction: &transaction,
            open: RefCell::new(BTreeMap::new()),
            known: tables.clone(),
        };
        let result = change(&mut store);
        let known = std::mem::take(&mut store.known);
        drop(store);
        match result {
            Ok(value) => {
                transaction.commit().map_err(failed)?;
                *tables = known;
                Ok(value)
            }
            Err(error) => {
                transaction.abort().map_err(failed)?;
                Err(error)
            }
        }
    }
}

/// One consistent state, which later writes do not change.
pub struct StoreView {
    transaction: ReadTransaction,
    /// Tables opened so far; `None` for what does not exist.
    tables: Mutex<BTreeMap<Table, Option<SharedTable>>>,
    /// Dropped last: redb ends the snapshots of a database that is closed.
    _store: Arc<Inner>,
}

impl fmt::Debug for StoreView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StoreView")
    }
}

impl StoreView {
    fn table(&self, table: Table) -> Result<Option<SharedTable>, StoreError> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = tables.get(&table) {
            return Ok(open.clone());
        }
        let name = table.to_string();
        let open = match self.transaction.open_table(definition(&name)) {
            Ok(open) => Some(Arc::new(open)),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        tables.insert(table, open.clone());
        Ok(open)
    }
}

impl ReadStore for StoreView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.table(table)?
            .map_or(Ok(None), |open| value(&*open, key))
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let open = self.table(table)?;
        open.map_or(Ok(Vec::new()), |open| rows(&*open, from, to, limit))
    }

    fn last(&self, table: Table) -> Result<Option<Row>, StoreError> {
        self.table(table)?.map_or(Ok(None), |open| last_row(&*open))
    }

    fn tables(&self) -> Result<Vec<Table>, StoreError> {
        let names = names(self.transaction.list_tables().map_err(failed)?)?;
        Ok(names.into_iter().collect())
    }
}

/// One write transaction. Opening a table costs more than a row, so each is opened once.
struct TransactionStore<'transaction> {
    transaction: &'transaction WriteTransaction,
    open: RefCell<BTreeMap<Table, redb::Table<'transaction, Bytes, Bytes>>>,
    known: BTreeSet<Table>,
}

impl<'transaction> TransactionStore<'transaction> {
    /// Reads a table; the default if it does not exist, for redb would create it.
    fn with<T: Default>(
        &self,
        table: Table,
        read: impl FnOnce(&redb::Table<'transaction, Bytes, Bytes>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if !self.known.contains(&table) {
            return Ok(T::default());
        }
        let mut open = self.open.borrow_mut();
        read(opened(self.transaction, &mut open, table)?)
    }
}

/// The open table, opened if this is its first use in the transaction.
fn opened<'map, 'transaction>(
    transaction: &'transaction WriteTransaction,
    open: &'map mut BTreeMap<Table, redb::Table<'transaction, Bytes, Bytes>>,
    table: Table,
) -> Result<&'map mut redb::Table<'transaction, Bytes, Bytes>, StoreError> {
    use std::collections::btree_map::Entry;
    match open.entry(table) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let name = table.to_string();
            let open = transaction.open_table(definition(&name)).map_err(failed)?;
            Ok(entry.insert(open))
        }
    }
}

impl ReadStore for TransactionStore<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(table, |open| value(open, key))
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.with(table, |open| rows(open, from, to, limit))
    }

    fn last(&self, table: Table) -> Result<Option<Row>, StoreError> {
        self.with(table, last_row)
    }

    fn tables(&self) -> Result<Vec<Table>, StoreError> {
        Ok(self.known.iter().copied().collect())
    }
}

impl WriteStore for TransactionStore<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let open = opened(self.transaction, self.open.get_mut(), table)?;
        open.insert(key, value).map_err(failed)?;
        self.known.insert(table);
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if self.known.contains(&table) {
            let open = opened(self.transaction, self.open.get_mut(), table)?;
            open.remove(key).map_err(failed)?;
        }
        Ok(())
    }

    fn drop_table(&mut self, table: Table) -> Result<(), StoreError> {
        self.open.get_mut().remove(&table);
        if self.known.remove(&table) {
            let name = table.to_string();
            let deleted = self.transaction.delete_table(definition(&name));
            deleted.map_err(failed)?;
        }
        Ok(())
    }
}

fn value(
    table: &impl ReadableTable<Bytes, Bytes>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let value = table.get(key).map_err(failed)?;
    Ok(value.map(|value| value.value().to_vec()))
}

fn rows(
    table: &impl ReadableTable<Bytes, Bytes>,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    if is_inverted(from, to) {
        return Ok(Vec::new());
    }
    let range = table.range::<&[u8]>((from, to)).map_err(failed)?;
    range
        .take(limit)
        .map(|row| row.map(owned).map_err(failed))
        .collect()
}

fn last_row(table: &impl ReadableTable<Bytes, Bytes>) -> Result<Option<Row>, StoreError> {
    Ok(table.last().map_err(failed)?.map(owned))
}

fn owned((key, value): (AccessGuard<'_, Bytes>, AccessGuard<'_, Bytes>)) -> Row {
    (key.value().to_vec(), value.value().to_vec())
}

/// Whether bounds hold nothing by their order alone; ordered trees panic on such ranges.
fn is_inverted(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
    }
}

fn definition(name: &str) -> TableDefinition<'_, Bytes, Bytes> {
    TableDefinition::new(name)
}

fn names(handles: impl Iterator<Item = impl TableHandle>) -> Result<BTreeSet<Table>, StoreError> {
    handles
        .map(|handle| {
            let name = handle.name();
            parse(name).ok_or_else(|| StoreError(format!("table {name:?} is none of this store")))
        })
        .collect()
}

/// The table whose `Display` is `name`.
fn parse(name: &str) -> Option<Table> {
    let (kind, period) = name.split_once('.')?;
    let table = Table {
        kind: kind.parse().ok()?,
        period: period.parse().ok()?,
    };
    (table.to_string() == name).then_some(table)
}

fn failed(error: impl fmt::Display) -> StoreError {
    StoreError(error.to_string())
}
