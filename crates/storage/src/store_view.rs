//! Reads of one consistent state: what was written lately above what is in the file.
//!
//! Layers are asked from the newest to the oldest; the first that knows a key has the answer. A scan
//! merges them, a piece of each at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bailiwick_types::store::{ReadStore, Row, StoreError, Table, WriteStore};

use crate::overlay::{Change, Existence, Found, Layer, Writes};
use crate::record_store::Inner;
use crate::redb_tables::{Base, is_empty_range};

/// Most rows that a scan takes from a layer at once.
const PIECE: usize = 256;

/// A layer that views and the writer share.
pub(crate) type SharedLayer = Arc<RwLock<Layer>>;

pub(crate) fn locked(layer: &SharedLayer) -> RwLockReadGuard<'_, Layer> {
    // A merge does not panic half-way: it only moves what was built before.
    layer.read().unwrap_or_else(PoisonError::into_inner)
}

/// One consistent state, which later writes do not change.
pub struct StoreView {
    /// Transactions up to this one are seen.
    sequence: u64,
    /// Newest first.
    layers: Vec<SharedLayer>,
    base: Arc<Base>,
    /// Dropped last: redb ends the snapshots of a database that is closed.
    store: Arc<Inner>,
}

impl fmt::Debug for StoreView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StoreView")
    }
}

impl Drop for StoreView {
    fn drop(&mut self) {
        self.store.view_ends(self.sequence);
    }
}

impl StoreView {
    /// The store has counted this view as alive.
    pub(crate) fn new(
        sequence: u64,
        layers: Vec<SharedLayer>,
        base: Arc<Base>,
        store: Arc<Inner>,
    ) -> Self {
        Self {
            sequence,
            layers,
            base,
            store,
        }
    }

    fn exists(&self, table: Table) -> bool {
        for layer in &self.layers {
            match locked(layer).existence(table, self.sequence) {
                Existence::Exists => return true,
                Existence::Dropped => return false,
                Existence::Below => {}
            }
        }
        self.base.tables().contains(&table)
    }

    fn all_tables(&self) -> BTreeSet<Table> {
        let mut tables = self.base.tables().clone();
        for layer in &self.layers {
            tables.extend(locked(layer).tables());
        }
        tables
    }

    /// What is above the file, for a table; `own` is newer than all of the view.
    fn sources<'view>(&'view self, table: Table, own: Option<&'view Writes>) -> Sources<'view> {
        let own = own.filter(|writes| writes.knows(table)).map(Above::Own);
        let layers = self
            .layers
            .iter()
            .filter(|layer| locked(layer).knows(table));
        let mut sources = Sources {
            table,
            view: self,
            above: own.into_iter().chain(layers.map(Above::Layer)).collect(),
            to_the_file: true,
        };
        // An empty piece tells whether the layer hides what is below.
        let hides = |above: &Above<'_>| {
            sources
                .piece(above, (Bound::Unbounded, Bound::Unbounded), 0)
                .1
        };
        if let Some(last) = sources.above.iter().position(hides) {
            sources.above.truncate(last + 1);
            sources.to_the_file = false;
        }
        sources
    }
}

impl ReadStore for StoreView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        for layer in &self.layers {
            match locked(layer).get(table, key, self.sequence) {
                Found::Value(value) => return Ok(Some(value)),
                Found::Absent => return Ok(None),
                Found::Below => {}
            }
        }
        self.base.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.sources(table, None).scan(from, to, limit)
    }

    fn last(&self, table: Table) -> Result<Option<Row>, StoreError> {
        self.sources(table, None).last()
    }

    fn tables(&self) -> Result<Vec<Table>, StoreError> {
        let mut tables = self.all_tables();
        tables.retain(|table| self.exists(*table));
        Ok(tables.into_iter().collect())
    }
}

/// A transaction: its own writes above the state that it began with.
pub(crate) struct Transaction {
    pub(crate) view: StoreView,
    pub(crate) writes: Writes,
}

impl Transaction {
    fn exists(&self, table: Table) -> bool {
        match self.writes.existence(table) {
            Existence::Exists => true,
            Existence::Dropped => false,
            Existence::Below => self.view.exists(table),
        }
    }
}

impl ReadStore for Transaction {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(table, key) {
            Found::Value(value) => Ok(Some(value)),
            Found::Absent => Ok(None),
            Found::Below => self.view.get(table, key),
        }
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let sources = self.view.sources(table, Some(&self.writes));
        sources.scan(from, to, limit)
    }

    fn last(&self, table: Table) -> Result<Option<Row>, StoreError> {
        self.view.sources(table, Some(&self.writes)).last()
    }

    fn tables(&self) -> Result<Vec<Table>, StoreError> {
        let mut tables = self.view.all_tables();
        tables.extend(self.writes.tables());
        tables.retain(|table| self.exists(*table));
        Ok(tables.into_iter().collect())
    }
}

impl WriteStore for Transaction {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.writes.put(table, key, value);
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if self.exists(table) {
            self.writes.delete(table, key);
        }
        Ok(())
    }

    fn drop_table(&mut self, table: Table) -> Result<(), StoreError> {
        self.writes.drop_table(table);
        Ok(())
    }
}

/// One layer above the file.
enum Above<'view> {
    Own(&'view Writes),
    Layer(&'view SharedLayer),
}

/// The layers that count for one table, newest first.
struct Sources<'view> {
    table: Table,
    view: &'view StoreView,
    above: Vec<Above<'view>>,
    /// Whether the file counts too.
    to_the_file: bool,
}

type Range<'range> = (Bound<&'range [u8]>, Bound<&'range [u8]>);

impl Sources<'_> {
    fn piece(&self, above: &Above<'_>, range: Range<'_>, limit: usize) -> (Vec<Change>, bool) {
        let (from, to) = range;
        match above {
            Above::Own(writes) => writes.changes(self.table, from, to, limit),
            Above::Layer(layer) => {
                locked(layer).changes(self.table, from, to, limit, self.view.sequence)
            }
        }
    }

    /// The piece of source `at` that begins at a bound; the file stands after those above it.
    fn read(&self, at: usize, range: Range<'_>, limit: usize) -> Result<Vec<Change>, StoreError> {
        match self.above.get(at) {
            Some(above) => Ok(self.piece(above, range, limit).0),
            None => {
                let rows = self.view.base.scan(self.table, range.0, range.1, limit)?;
                let changes = rows.into_iter().map(|(key, value)| (key, Some(value)));
                Ok(changes.collect())
            }
        }
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if is_empty_range(from, to) {
            return Ok(Vec::new());
        }
        if self.above.is_empty() {
            return self.view.base.scan(self.table, from, to, limit);
        }
        let count = self.above.len() + usize::from(self.to_the_file);
        let mut cursors: Vec<Cursor> = (0..count).map(|_| Cursor::new(from)).collect();
        let mut rows = Vec::new();
        while rows.len() < limit {
            let piece = (limit - rows.len()).min(PIECE);
            for (at, cursor) in cursors.iter_mut().enumerate() {
                cursor.fill(to, piece, |range| self.read(at, range, piece))?;
            }
            // The least key; of equal ones the newest source's.
            let heads = cursors.iter().enumerate();
            let heads = heads.filter_map(|(at, cursor)| Some((&cursor.piece.front()?.0, at)));
            let Some((_, at)) = heads.min() else { break };
            let Some((key, value)) = cursors[at].piece.pop_front() else {
                break;
            };
            for cursor in &mut cursors {
                cursor.pass(&key);
            }
            rows.extend(value.map(|value| (key, value)));
        }
        Ok(rows)
    }

    fn last(&self) -> Result<Option<Row>, StoreError> {
        let mut before: Option<Vec<u8>> = None;
        loop {
            let to = before.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut last: Option<Change> = None;
            for above in &self.above {
                let change = match above {
                    Above::Own(writes) => writes.last_change(self.table, to).0,
                    Above::Layer(layer) => {
                        locked(layer)
                            .last_change(self.table, to, self.view.sequence)
                            .0
                    }
                };
                last = later(last, change);
            }
            if self.to_the_file {
                let row = self.view.base.last(self.table, to)?;
                last = later(last, row.map(|(key, value)| (key, Some(value))));
            }
            match last {
                None => return Ok(None),
                Some((key, Some(value))) => return Ok(Some((key, value))),
                Some((key, None)) => before = Some(key),
            }
        }
    }
}

/// The change of the greater key; of equal ones the first, which is newer.
fn later(newer: Option<Change>, older: Option<Change>) -> Option<Change> {
    match (newer, older) {
        (Some(newer), Some(older)) if older.0 > newer.0 => Some(older),
        (Some(newer), _) => Some(newer),
        (None, older) => older,
    }
}

/// Where a scan stands in one source.
struct Cursor {
    piece: VecDeque<Change>,
    from: Bound<Vec<u8>>,
    /// Nothing comes after the piece.
    ended: bool,
}

impl Cursor {
    fn new(from: Bound<&[u8]>) -> Self {
        Self {
            piece: VecDeque::new(),
            from: from.map(<[u8]>::to_vec),
            ended: false,
        }
    }

    /// Reads on if the piece is used up.
    fn fill(
        &mut self,
        to: Bound<&[u8]>,
        limit: usize,
        read: impl FnOnce(Range<'_>) -> Result<Vec<Change>, StoreError>,
    ) -> Result<(), StoreError> {
        let from = self.from.as_ref().map(|key| &key[..]);
        if !self.piece.is_empty() || self.ended || is_empty_range(from, to) {
            return Ok(());
        }
        self.piece = read((from, to))?.into();
        self.ended = self.piece.len() < limit;
        if let Some((key, _)) = self.piece.back() {
            self.from = Bound::Excluded(key.clone());
        }
        Ok(())
    }

    /// Drops the head if it is an older state of this key.
    fn pass(&mut self, key: &[u8]) {
        if self.piece.front().is_some_and(|(head, _)| head == key) {
            self.piece.pop_front();
        }
    }
}

/// Views that are alive, by the last transaction that they see.
#[derive(Default)]
pub(crate) struct Living(Mutex<BTreeMap<u64, usize>>);

impl Living {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        // Counts are changed in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begins(&self, sequence: u64) {
        *self.counts().entry(sequence).or_default() += 1;
    }

    pub(crate) fn ends(&self, sequence: u64) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(&sequence) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&sequence);
            }
        }
    }

    /// The least sequence that a living view sees, `otherwise` if that is less.
    pub(crate) fn oldest(&self, otherwise: u64) -> u64 {
        let counts = self.counts();
        let oldest = counts.first_key_value().map(|(sequence, _)| *sequence);
        oldest.map_or(otherwise, |oldest| oldest.min(otherwise))
    }
}
