//! The ordered store that the replicated state machines are written against.
//!
//! `bailiwick-shard` reads and writes through these traits and never sees a file; `bailiwick-storage`
//! implements them over a transaction of the record store, and [`MemoryStore`] over ordered maps for
//! tests, simulation and the comparison "snapshot and tail equal full replay".
//! A table belongs to a key period or to none; erasure drops a period's tables whole.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

/// One table: which one, and of which key period (0 for what belongs to none).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Table {
    /// The table's number; the state machine's crate names them.
    pub kind: u16,
    /// The key period's number within the shard, from 1; 0 for tables outside any period.
    pub period: u32,
}

impl Table {
    /// A table that belongs to no period.
    pub const fn new(kind: u16) -> Self {
        Self { kind, period: 0 }
    }

    /// The table of this kind that belongs to `period`.
    pub const fn of_period(kind: u16, period: u32) -> Self {
        Self { kind, period }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:05}.{:010}", self.kind, self.period)
    }
}

/// The store could not be read or written: the disk's fault, and the end of the process that meets
/// it while applying.
#[derive(Debug, thiserror::Error)]
#[error("record store: {0}")]
pub struct StoreError(pub String);

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Reads of one consistent state.
pub trait ReadStore {
    /// The value under a key.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows with keys in the given bounds, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// The row with the greatest key of a table.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    fn last(&self, table: Table) -> Result<Option<Row>, StoreError>;

    /// All tables that exist, ascending. A table that was never written does not exist; one that
    /// was written and emptied may.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    fn tables(&self) -> Result<Vec<Table>, StoreError>;

    /// At most `limit` rows whose keys begin with `prefix`, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    fn scan_prefix(
        &self,
        table: Table,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let end = prefix_end(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.scan(table, Bound::Included(prefix), to, limit)
    }
}

/// Writes within one transaction; reads see them.
pub trait WriteStore: ReadStore {
    /// Sets a key's value.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes a key, present or not.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;

    /// Removes a table with all its rows, present or not.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails.
    fn drop_table(&mut self, table: Table) -> Result<(), StoreError>;
}

/// The least key greater than every key that begins with `prefix`; `None` when there is none.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// The store as ordered maps: the model that the real one is tested against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStore {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl ReadStore for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .tables
            .get(&table)
            .and_then(|rows| rows.get(key))
            .cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        // `BTreeMap::range` panics on an inverted range; an inverted range holds nothing.
        if let (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) =
            (from, to)
            && a >= b
            && !(a == b && matches!((from, to), (Bound::Included(_), Bound::Included(_))))
        {
            return Ok(Vec::new());
        }
        let Some(rows) = self.tables.get(&table) else {
            return Ok(Vec::new());
        };
        let range = rows.range::<[u8], _>((from, to));
        Ok(range
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn last(&self, table: Table) -> Result<Option<Row>, StoreError> {
        let last = self
            .tables
            .get(&table)
            .and_then(|rows| rows.last_key_value());
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn tables(&self) -> Result<Vec<Table>, StoreError> {
        Ok(self.tables.keys().copied().collect())
    }
}

impl WriteStore for MemoryStore {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.tables
            .entry(table)
            .or_default()
            .insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if let Some(rows) = self.tables.get_mut(&table) {
            rows.remove(key);
        }
        Ok(())
    }

    fn drop_table(&mut self, table: Table) -> Result<(), StoreError> {
        self.tables.remove(&table);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_scans_end_where_the_prefix_ends() {
        let table = Table::new(1);
        let mut store = MemoryStore::default();
        for key in [
            &[1, 255][..],
            &[1, 255, 0],
            &[2],
            &[255, 255],
            &[255, 255, 9],
        ] {
            store.put(table, key, b"v").expect("memory");
        }
        let keys = |prefix: &[u8]| -> Vec<Vec<u8>> {
            let rows = store.scan_prefix(table, prefix, 10).expect("memory");
            rows.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(&[1, 255]), [vec![1, 255], vec![1, 255, 0]]);
        assert_eq!(keys(&[255, 255]).len(), 2);
        assert_eq!(keys(&[3]).len(), 0);
        assert_eq!(keys(&[]).len(), 5);
    }

    #[test]
    fn inverted_scans_are_empty() {
        let table = Table::new(1);
        let mut store = MemoryStore::default();
        store.put(table, b"b", b"v").expect("memory");
        let scan = |from, to| store.scan(table, from, to, 9).expect("memory").len();
        assert_eq!(
            scan(Bound::Included(&b"c"[..]), Bound::Included(&b"a"[..])),
            0
        );
        assert_eq!(
            scan(Bound::Excluded(&b"b"[..]), Bound::Excluded(&b"b"[..])),
            0
        );
        assert_eq!(
            scan(Bound::Included(&b"b"[..]), Bound::Included(&b"b"[..])),
            1
        );
    }
}
