//! redb's tables as a [`ReadStore`] and a [`WriteStore`]: the lowest layer of the record store.
//!
//! [`Base`] is a snapshot of the file, [`FileStore`] a transaction on it. Keys and values are plain
//! bytes, which stays readable through redb's announced changes of its typed encodings.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use bailiwick_types::store::{ReadStore, Row, StoreError, Table, WriteStore};
use redb::{
    AccessGuard, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, TableHandle, WriteTransaction,
};

type Bytes = &'static [u8];
type SharedTable = Arc<ReadOnlyTable<Bytes, Bytes>>;
type Opened<'transaction> = BTreeMap<Table, redb::Table<'transaction, Bytes, Bytes>>;

/// The file as of one commit.
pub(crate) struct Base {
    transaction: ReadTransaction,
    tables: BTreeSet<Table>,
    /// Tables opened so far: opening one costs more than a row.
    open: Mutex<BTreeMap<Table, SharedTable>>,
}

impl Base {
    pub(crate) fn of(database: &Database) -> Result<Self, StoreError> {
        let transaction = database.begin_read().map_err(failed)?;
        let tables = names(transaction.list_tables().map_err(failed)?)?;
        Ok(Self {
            transaction,
            tables,
            open: Mutex::default(),
        })
    }

    pub(crate) fn tables(&self) -> &BTreeSet<Table> {
        &self.tables
    }

    fn table(&self, table: Table) -> Result<Option<SharedTable>, StoreError> {
        if !self.tables.contains(&table) {
            return Ok(None);
        }
        // Only ever filled with whole entries, so a panic while it is locked leaves it true.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.get(&table) {
            return Ok(Some(open.clone()));
        }
        let name = table.to_string();
        let opened = self.transaction.open_table(definition(&name));
        let opened = Arc::new(opened.map_err(failed)?);
        open.insert(table, opened.clone());
        Ok(Some(opened))
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.table(table)?
            .map_or(Ok(None), |open| value(&*open, key))
    }

    pub(crate) fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let open = self.table(table)?;
        open.map_or(Ok(Vec::new()), |open| rows(&*open, from, to, limit))
    }

    /// The last row of a table before a bound.
    pub(crate) fn last(&self, table: Table, to: Bound<&[u8]>) -> Result<Option<Row>, StoreError> {
        let Some(open) = self.table(table)? else {
            return Ok(None);
        };
        let mut range = open
            .range::<&[u8]>((Bound::Unbounded, to))
            .map_err(failed)?;
        range
            .next_back()
            .map(|row| row.map(owned).map_err(failed))
            .transpose()
    }
}

/// A write transaction on the file itself.
pub(crate) struct FileStore<'transaction> {
    transaction: &'transaction WriteTransaction,
    open: RefCell<Opened<'transaction>>,
    known: BTreeSet<Table>,
}

impl<'transaction> FileStore<'transaction> {
    /// A store over a transaction that has not opened a table yet.
    pub(crate) fn new(transaction: &'transaction WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            transaction,
            open: RefCell::default(),
            known: names(transaction.list_tables().map_err(failed)?)?,
        })
    }

    /// Makes sure that a table exists, though it may be empty.
    pub(crate) fn create(&mut self, table: Table) -> Result<(), StoreError> {
        self.opened(table)?;
        self.known.insert(table);
        Ok(())
    }

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

    fn opened(
        &mut self,
        table: Table,
    ) -> Result<&mut redb::Table<'transaction, Bytes, Bytes>, StoreError> {
        opened(self.transaction, self.open.get_mut(), table)
    }
}

/// The open table, opened if this is its first use in the transaction.
fn opened<'map, 'transaction>(
    transaction: &'transaction WriteTransaction,
    open: &'map mut Opened<'transaction>,
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

impl ReadStore for FileStore<'_> {
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
        self.with(table, |open| Ok(open.last().map_err(failed)?.map(owned)))
    }

    fn tables(&self) -> Result<Vec<Table>, StoreError> {
        Ok(self.known.iter().copied().collect())
    }
}

impl WriteStore for FileStore<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.opened(table)?.insert(key, value).map_err(failed)?;
        self.known.insert(table);
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if self.known.contains(&table) {
            self.opened(table)?.remove(key).map_err(failed)?;
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
    if is_empty_range(from, to) {
        return Ok(Vec::new());
    }
    let range = table.range::<&[u8]>((from, to)).map_err(failed)?;
    range
        .take(limit)
        .map(|row| row.map(owned).map_err(failed))
        .collect()
}

fn owned((key, value): (AccessGuard<'_, Bytes>, AccessGuard<'_, Bytes>)) -> Row {
    (key.value().to_vec(), value.value().to_vec())
}

/// Whether bounds hold nothing by their order alone; ordered trees panic on such ranges.
pub(crate) fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
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

pub(crate) fn failed(error: impl fmt::Display) -> StoreError {
    StoreError(error.to_string())
}
