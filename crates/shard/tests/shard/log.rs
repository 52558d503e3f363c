//! The transparency log: every step is a leaf, and proofs verify.

use bailiwick_shard::query;
use bailiwick_tlog::{leaf_hash, verify_consistency, verify_inclusion};

use crate::world::*;

#[test]
fn every_leaf_is_proven_and_every_size_extends_the_smaller_ones() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let records = world.records_of(1, 4);
    world.append(&mut session, records);
    let id = world.submitted(1, 1);
    world.approve(id);
    let size = query::log_size(&world.store).unwrap();
    let leaves = query::leaves(&world.store, 0, 1000).unwrap();
    assert_eq!(leaves.len() as u64, size);
    let kinds: Vec<_> = leaves
        .iter()
        .map(|leaf| leaf.content.kind().as_str())
        .collect();
    let expected = [
        "genesis",
        "enrolment",
        "enrolment",
        "enrolment",
        "enrolment",
        "certificate",
        "request",
        "selection",
        "decision",
        "decision",
        "decision",
        "decision",
    ];
    assert_eq!(kinds, expected);
    let root = query::log_root(&world.store, size).unwrap().unwrap();
    for (index, leaf) in (0..).zip(&leaves) {
        let proof = query::prove_inclusion(&world.store, index, size)
            .unwrap()
            .unwrap();
        verify_inclusion(&leaf_hash(&leaf.data()), index, size, &root, &proof).unwrap();
    }
    for old in 1..=size {
        let old_root = query::log_root(&world.store, old).unwrap().unwrap();
        let proof = query::prove_consistency(&world.store, old, size)
            .unwrap()
            .unwrap();
        verify_consistency(old, &old_root, size, &root, &proof).unwrap();
    }
    assert_eq!(query::log_root(&world.store, size + 1).unwrap(), None);
    assert_eq!(
        query::prove_inclusion(&world.store, size, size).unwrap(),
        None
    );
    assert_eq!(
        query::prove_consistency(&world.store, size + 1, size).unwrap(),
        None
    );
}
