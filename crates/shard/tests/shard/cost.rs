//! What a record costs on the hot path.

use std::cell::Cell;
use std::ops::Bound;
use std::time::Instant;

use bailiwick_envelope::partition::partition_of;
use bailiwick_shard::{BlockStored, Outcome};
use bailiwick_types::store::{MemoryStore, ReadStore, Row, StoreError, Table, WriteStore};

use crate::world::*;

/// Counts what a store is asked.
#[derive(Default)]
struct Counting {
    inner: MemoryStore,
    gets: Cell<usize>,
    puts: usize,
    bytes: usize,
}

impl ReadStore for Counting {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.gets.set(self.gets.get() + 1);
        self.inner.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table, from, to, limit)
    }

    fn last(&self, table: Table) -> Result<Option<Row>, StoreError> {
        self.inner.last(table)
    }

    fn tables(&self) -> Result<Vec<Table>, StoreError> {
        self.inner.tables()
    }
}

impl WriteStore for Counting {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.puts += 1;
        self.bytes += key.len() + value.len();
        self.inner.put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.inner.delete(table, key)
    }

    fn drop_table(&mut self, table: Table) -> Result<(), StoreError> {
        self.inner.drop_table(table)
    }
}

#[test]
#[allow(
    clippy::print_stderr,
    reason = "shown with --nocapture, for the release figure"
)]
fn a_record_costs_three_puts_and_one_get() {
    let mut world = World::ready();
    let session = world.open("edge-1", 1);
    let records = world.records_of(1, 4096);
    let block = session.block(world.now, records);
    let command = world.command("edge-1", append(&block));
    let mut store = Counting {
        inner: world.store.clone(),
        ..Counting::default()
    };
    let begin = Instant::now();
    let outcome = bailiwick_shard::apply(&mut store, world.now, &command).unwrap();
    let elapsed = begin.elapsed();
    let outcome = Outcome::from_bytes(&outcome).unwrap();
    assert_eq!(outcome, Outcome::BlockStored(BlockStored::default()));
    // State, session, manifest, statistics; state, session's place and row, edge, partitions,
    // statistics.
    assert_eq!((store.puts, store.gets.get()), (3 * 4096 + 4, 4096 + 6));
    let bytes = store.bytes as f64 / 4096.0;
    assert!(bytes < 230.0, "{bytes} bytes of keys and values a record");
    let micros = elapsed.as_secs_f64() * 1e6 / 4096.0;
    eprintln!("apply: {micros:.2} us a record, {bytes:.0} B of keys and values");
}

/// Besides its records, a block of a further partition costs a leaf, its place, and nodes of the tree.
#[test]
fn a_further_partitions_block_costs_a_leaf() {
    let home = World::partitioned(2);
    let mut world = World::further(&home, 1);
    let number = (1..).find(|number| partition_of(&subject(*number), 2) == 1);
    let session = world.open("edge-1", 1);
    let records = world.records_of(number.unwrap(), 4096);
    let block = session.block(world.now, records);
    let command = world.command("edge-1", append(&block));
    let mut store = Counting {
        inner: world.store.clone(),
        ..Counting::default()
    };
    let outcome = bailiwick_shard::apply(&mut store, world.now, &command).unwrap();
    let outcome = Outcome::from_bytes(&outcome).unwrap();
    assert_eq!(outcome, Outcome::BlockStored(BlockStored::default()));
    let more = store.puts - (3 * 4096 + 4);
    assert!((3..=8).contains(&more), "{more} more puts");
}
