//! Reading a snapshot's rows once: what they say of the shard, and that a missing row shows.

use std::ops::Bound;

use bailiwick_shard::audit::{AuditError, ShardAudit, ShardFacts};
use bailiwick_shard::query;
use bailiwick_types::store::{ReadStore, Table};

use crate::world::World;

type Rows = Vec<(Table, Vec<u8>, Vec<u8>)>;

fn rows(world: &World) -> Rows {
    let mut rows = Rows::new();
    for table in world.store.tables().unwrap() {
        let all = world
            .store
            .scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX);
        rows.extend(
            all.unwrap()
                .into_iter()
                .map(|(key, value)| (table, key, value)),
        );
    }
    rows
}

fn audit(rows: &Rows, size: u64) -> Result<ShardFacts, AuditError> {
    let mut audit = ShardAudit::new(size);
    for (table, key, value) in rows {
        audit.take(*table, key, value)?;
    }
    audit.finish()
}

fn story() -> World {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let records = world.records_of(1, 4);
    world.append(&mut session, records);
    let id = world.submitted(1, 1);
    world.approve(id);
    world
}

#[test]
fn the_facts_are_those_of_the_store() {
    let world = story();
    let info = query::shard_info(&world.store).unwrap().unwrap();
    for size in 0..=info.leaves + 1 {
        let facts = audit(&rows(&world), size).unwrap();
        assert_eq!(
            facts.root_then,
            query::log_root(&world.store, size).unwrap()
        );
        assert_eq!(
            Some(facts.root),
            query::log_root(&world.store, info.leaves).unwrap()
        );
        assert_eq!((facts.cluster, facts.shard), (info.cluster, info.shard));
        assert_eq!((facts.leaves, facts.records), (info.leaves, 4));
        assert_eq!(facts.origin, info.origin);
    }
}

#[test]
fn a_missing_leaf_and_a_missing_state_show() {
    let whole = rows(&story());
    let mut gaps = 0;
    for at in 0..whole.len() {
        let mut less = whole.clone();
        less.remove(at);
        match audit(&less, 0) {
            Err(AuditError::Gap { .. } | AuditError::Leaves { .. }) => gaps += 1,
            Err(AuditError::NoState) | Ok(_) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let leaves = audit(&whole, 0).unwrap().leaves;
    assert_eq!(gaps, leaves, "every leaf's absence shows");
    let stateless: Rows = whole.into_iter().filter(|row| row.0.kind != 1).collect();
    assert_eq!(audit(&stateless, 0), Err(AuditError::NoState));
}
