//! What was written since the last checkpoint, in memory above the record store's file.
//!
//! Random keys cost a B-tree on disk a page each; here they are gathered, and reach the file sorted,
//! once per checkpoint. This is the memory table of a log-structured merge tree (O'Neil et al., 1996)
//! with one tree below. Rows are kept in versions, so that a view goes on seeing what it began with;
//! versions older than every live view are let go by the next write of their row. Nothing here is
//! durable, and nothing here touches a disk: the write-ahead log has the commands.

use std::collections::BTreeMap;
use std::ops::Bound;

use bailiwick_types::store::Table;

/// Bytes that a row in memory takes beside its key and value: tree node, two boxes, a version.
const ROW_OVERHEAD: usize = 96;

pub(crate) type Key = Box<[u8]>;
/// A row's value; `None` where it was deleted.
pub(crate) type Value = Option<Box<[u8]>>;
/// A row of an overlay, deletions included.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// What one transaction wrote, not yet visible to anybody else.
#[derive(Default)]
pub(crate) struct Writes {
    tables: BTreeMap<Table, TableWrites>,
}

#[derive(Default)]
pub(crate) struct TableWrites {
    /// Dropped first; what follows is all that is left.
    dropped: bool,
    /// Whether a row was put after that.
    exists: bool,
    rows: BTreeMap<Key, Value>,
}

impl Writes {
    pub(crate) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let writes = self.tables.entry(table).or_default();
        writes.exists = true;
        writes.rows.insert(key.into(), Some(value.into()));
    }

    /// Removes a key of a table that exists.
    pub(crate) fn delete(&mut self, table: Table, key: &[u8]) {
        let writes = self.tables.entry(table).or_default();
        writes.rows.insert(key.into(), None);
    }

    pub(crate) fn drop_table(&mut self, table: Table) {
        let dropped = TableWrites {
            dropped: true,
            ..TableWrites::default()
        };
        self.tables.insert(table, dropped);
    }

    pub(crate) fn knows(&self, table: Table) -> bool {
        self.tables.contains_key(&table)
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Found {
        let Some(writes) = self.tables.get(&table) else {
            return Found::Below;
        };
        match writes.rows.get(key) {
            Some(Some(value)) => Found::Value(value.to_vec()),
            Some(None) => Found::Absent,
            None if writes.dropped => Found::Absent,
            None => Found::Below,
        }
    }

    pub(crate) fn existence(&self, table: Table) -> Existence {
        match self.tables.get(&table) {
            Some(writes) if writes.exists => Existence::Exists,
            Some(writes) if writes.dropped => Existence::Dropped,
            _ => Existence::Below,
        }
    }

    /// The table's changes in a range, ascending, at most `limit`; and whether it hides what is below.
    pub(crate) fn changes(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> (Vec<Change>, bool) {
        let Some(writes) = self.tables.get(&table) else {
            return (Vec::new(), false);
        };
        let range = writes.rows.range::<[u8], _>((from, to));
        let changes = range.take(limit).map(|(key, value)| change(key, value));
        (changes.collect(), writes.dropped)
    }

    /// The table's last change before a bound; and whether it hides what is below.
    pub(crate) fn last_change(&self, table: Table, to: Bound<&[u8]>) -> (Option<Change>, bool) {
        let Some(writes) = self.tables.get(&table) else {
            return (None, false);
        };
        let last = writes
            .rows
            .range::<[u8], _>((Bound::Unbounded, to))
            .next_back();
        (last.map(|(key, value)| change(key, value)), writes.dropped)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = Table> {
        self.tables.keys().copied()
    }
}

/// What one layer knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Value(Vec<u8>),
    /// Deleted, or its table dropped: what is below does not count.
    Absent,
    /// The layer below knows.
    Below,
}

/// What one layer knows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    Exists,
    Dropped,
    /// The layer below knows.
    Below,
}

/// What committed transactions wrote, in versions.
#[derive(Default)]
pub(crate) struct Layer {
    tables: BTreeMap<Table, LayerTable>,
    bytes: usize,
}

#[derive(Default)]
struct LayerTable {
    /// When the table was first written (true) or dropped (false), by sequence number, ascending.
    history: Vec<(u64, bool)>,
    rows: BTreeMap<Key, Versions>,
}

/// One row's versions.
struct Versions {
    newest: (u64, Value),
    /// Ascending; empty for most rows.
    older: Vec<(u64, Value)>,
}

impl Versions {
    /// What a view of `sequence` sees of versions not before `since`.
    fn at(&self, sequence: u64, since: u64) -> Option<&Value> {
        let all = self.older.iter().chain([&self.newest]);
        all.rev()
            .find(|(written, _)| *written <= sequence)
            .filter(|(written, _)| *written >= since)
            .map(|(_, value)| value)
    }

    /// Adds a version and forgets those that no view from `oldest` on can see.
    fn add(&mut self, sequence: u64, value: Value, oldest: u64) {
        let before = std::mem::replace(&mut self.newest, (sequence, value));
        self.older.push(before);
        let unseen = self.older.iter().skip(1).chain([&self.newest]);
        let unseen = unseen.take_while(|(written, _)| *written <= oldest).count();
        self.older.drain(..unseen);
    }
}

impl LayerTable {
    fn existence(&self, sequence: u64) -> Existence {
        let last = self.history.iter().rev().find(|(at, _)| *at <= sequence);
        match last {
            Some((_, true)) => Existence::Exists,
            Some((_, false)) => Existence::Dropped,
            None => Existence::Below,
        }
    }

    /// The last time the table was dropped, as a view of `sequence` knows it; 0 for never.
    fn dropped(&self, sequence: u64) -> u64 {
        let drops = self.history.iter().rev().filter(|(_, exists)| !exists);
        let mut drops = drops.filter(|(at, _)| *at <= sequence);
        drops.next().map_or(0, |(at, _)| *at)
    }
}

impl Layer {
    /// Bytes of memory that the rows take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(crate) fn knows(&self, table: Table) -> bool {
        self.tables.contains_key(&table)
    }

    /// Takes what a transaction wrote, as of `sequence`; views from `oldest` on are alive.
    pub(crate) fn merge(&mut self, writes: Writes, sequence: u64, oldest: u64) {
        for (table, writes) in writes.tables {
            let layer = self.tables.entry(table).or_default();
            if writes.dropped {
                layer.history.push((sequence, false));
            }
            if writes.exists && layer.history.last().is_none_or(|(_, exists)| !exists) {
                layer.history.push((sequence, true));
            }
            for (key, value) in writes.rows {
                let length = value.as_ref().map_or(0, |value| value.len());
                self.bytes += key.len() + length + ROW_OVERHEAD;
                match layer.rows.entry(key) {
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        entry.insert(Versions {
                            newest: (sequence, value),
                            older: Vec::new(),
                        });
                    }
                    std::collections::btree_map::Entry::Occupied(entry) => {
                        entry.into_mut().add(sequence, value, oldest);
                    }
                }
            }
        }
    }

    pub(crate) fn get(&self, table: Table, key: &[u8], sequence: u64) -> Found {
        let Some(layer) = self.tables.get(&table) else {
            return Found::Below;
        };
        let dropped = layer.dropped(sequence);
        let versions = layer.rows.get(key);
        match versions.and_then(|versions| versions.at(sequence, dropped)) {
            Some(Some(value)) => Found::Value(value.to_vec()),
            Some(None) => Found::Absent,
            None if dropped > 0 => Found::Absent,
            None => Found::Below,
        }
    }

    pub(crate) fn existence(&self, table: Table, sequence: u64) -> Existence {
        let layer = self.tables.get(&table);
        layer.map_or(Existence::Below, |layer| layer.existence(sequence))
    }

    /// As [`Writes::changes`], for a view of `sequence`.
    pub(crate) fn changes(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
        sequence: u64,
    ) -> (Vec<Change>, bool) {
        let Some(layer) = self.tables.get(&table) else {
            return (Vec::new(), false);
        };
        let dropped = layer.dropped(sequence);
        let seen = layer.rows.range::<[u8], _>((from, to));
        let seen = seen.filter_map(|(key, versions)| {
            let value = versions.at(sequence, dropped)?;
            Some(change(key, value))
        });
        (seen.take(limit).collect(), dropped > 0)
    }

    /// As [`Writes::last_change`], for a view of `sequence`.
    pub(crate) fn last_change(
        &self,
        table: Table,
        to: Bound<&[u8]>,
        sequence: u64,
    ) -> (Option<Change>, bool) {
        let Some(layer) = self.tables.get(&table) else {
            return (None, false);
        };
        let dropped = layer.dropped(sequence);
        let range = layer.rows.range::<[u8], _>((Bound::Unbounded, to));
        let last = range.rev().find_map(|(key, versions)| {
            let value = versions.at(sequence, dropped)?;
            Some(change(key, value))
        });
        (last, dropped > 0)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = Table> {
        self.tables.keys().copied()
    }

    /// Per table, ascending: whether the one below goes first, whether it exists then, and the rows
    /// that come, ascending, `None` for those that go.
    pub(crate) fn result(&self) -> impl Iterator<Item = LayerResult<'_>> {
        self.tables.iter().map(|(table, layer)| {
            let dropped = layer.dropped(u64::MAX);
            LayerResult {
                table: *table,
                dropped: dropped > 0,
                exists: layer.existence(u64::MAX),
                rows: Box::new(layer.rows.iter().filter_map(move |(key, versions)| {
                    Some((&key[..], versions.at(u64::MAX, dropped)?.as_deref()))
                })),
            }
        })
    }
}

/// A row for the file; without a value it goes.
type ResultRow<'layer> = (&'layer [u8], Option<&'layer [u8]>);

/// One table of [`Layer::result`].
pub(crate) struct LayerResult<'layer> {
    pub(crate) table: Table,
    pub(crate) dropped: bool,
    pub(crate) exists: Existence,
    pub(crate) rows: Box<dyn Iterator<Item = ResultRow<'layer>> + 'layer>,
}

fn change(key: &Key, value: &Value) -> Change {
    (key.to_vec(), value.as_ref().map(|value| value.to_vec()))
}
