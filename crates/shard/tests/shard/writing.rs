//! Blocks: what is stored, what is a duplicate, what is refused.

use bailiwick_envelope::block::SealedBlock;
use bailiwick_shard::rejection::BlockRejection;
use bailiwick_shard::{BlockStored, CommandBody, Outcome, Rejection, query};
use bailiwick_types::{Digest, Minute};
use std::time::Duration;

use crate::world::*;

fn refused(world: &mut World, block: &SealedBlock) -> BlockRejection {
    let before = world.store.clone();
    match world.by("edge-1", append(block)) {
        Outcome::Rejected(Rejection::Block(rejection)) => {
            assert_eq!(world.store, before, "a rejected block changed something");
            rejection
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_are_stored_once_and_a_duplicate_is_its_own_outcome() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let mut records = world.records_of(1, 5);
    assert_eq!(world.append(&mut session, records.clone()), []);
    // Two known ids, one twice within the block, between new records.
    let new = world.records_of(1, 3);
    records = vec![
        new[0].clone(),
        records[2].clone(),
        new[1].clone(),
        new[1].clone(),
        new[2].clone(),
        records[4].clone(),
    ];
    assert_eq!(world.append(&mut session, records), [1, 3, 5]);
    let info = query::shard_info(&world.store).unwrap().unwrap();
    assert_eq!((info.records, info.phones), (8, 2));
    let minute = world.now.minute();
    let page = query::labels(&world.store, subject(1), minute, Minute(minute.0 + 1), 5).unwrap();
    assert_eq!((page.labels.len(), page.more), (5, true));
    let page = query::labels(&world.store, subject(1), minute, Minute(minute.0 + 1), 8).unwrap();
    assert_eq!((page.labels.len(), page.more), (8, false));
    let other = query::labels(&world.store, subject(2), minute, Minute(minute.0 + 1), 8).unwrap();
    assert!(other.labels.is_empty());
}

#[test]
fn a_retried_block_gives_its_first_outcome_and_stores_nothing() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let known = world.records_of(1, 1);
    world.append(&mut session, known.clone());
    let mut records = world.records_of(1, 2);
    records.push(known[0].clone());
    let block = session.block(world.now, records);
    let first = world.by("edge-1", append(&block));
    let duplicates = vec![2];
    assert_eq!(first, Outcome::BlockStored(BlockStored { duplicates }));
    let before = query::shard_info(&world.store).unwrap();
    world.by(
        "operator",
        CommandBody::Freeze {
            reason: "test".to_owned(),
        },
    );
    world.wait(3600);
    assert_eq!(world.by("edge-1", append(&block)), first);
    let after = query::shard_info(&world.store).unwrap();
    assert_eq!(before.unwrap().records, after.unwrap().records);
}

/// Attack: a block is left out, repeated with other content, taken out of the chain, or dated
/// before its session.
#[test]
fn gap_or_backdate_rejected() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let records = world.records_of(1, 2);
    world.append(&mut session, records.clone());
    let good = session.block(world.now, world.clone().records_of(1, 2));
    let mut gap = session.clone();
    gap.next = 2;
    let block = gap.block(world.now, good.records.clone());
    let (expected, got) = (1, 2);
    let out_of_order = BlockRejection::OutOfOrder { expected, got };
    assert_eq!(refused(&mut world, &block), out_of_order);
    let mut again = session.clone();
    (again.next, again.previous) = (0, Digest::default());
    let block = again.block(world.now, good.records.clone());
    let (expected, got) = (1, 0);
    let out_of_order = BlockRejection::OutOfOrder { expected, got };
    assert_eq!(refused(&mut world, &block), out_of_order);
    let mut unchained = session.clone();
    unchained.previous = Digest([1; 32]);
    let block = unchained.block(world.now, good.records.clone());
    assert_eq!(refused(&mut world, &block), BlockRejection::Chain);
    let edge_time = world.now.minus(Duration::from_secs(61));
    let block = session.block(edge_time, good.records.clone());
    assert_eq!(
        refused(&mut world, &block),
        BlockRejection::EdgeTime { edge_time }
    );
    let edge_time = world.now.plus(Duration::from_secs(61));
    let block = session.block(edge_time, good.records.clone());
    assert_eq!(
        refused(&mut world, &block),
        BlockRejection::EdgeTime { edge_time }
    );
    let mut highest = session.clone();
    highest.next = u16::MAX;
    let block = highest.block(world.now, good.records.clone());
    assert!(matches!(
        refused(&mut world, &block),
        BlockRejection::OutOfOrder { .. }
    ));
    assert!(matches!(
        world.by("edge-1", append(&good)),
        Outcome::BlockStored(_)
    ));
}

#[test]
fn a_changed_record_or_manifest_is_refused() {
    let mut world = World::ready();
    let session = world.open("edge-1", 1);
    let records = world.records_of(1, 20);
    let block = session.block(world.now, records);
    for field in 0..4 {
        let mut changed = block.clone();
        let record = &mut changed.records[17];
        match field {
            0 => record.subject = subject(2),
            1 => record.minute = Minute(record.minute.0 - 1),
            2 => record.alpha = Digest([0; 32]),
            _ => record.ciphertext[5] ^= 1,
        }
        assert_eq!(refused(&mut world, &changed), BlockRejection::Root);
    }
    let mut unsigned = block.clone();
    unsigned.manifest.root = Digest([0; 32]);
    assert_eq!(refused(&mut world, &unsigned), BlockRejection::Signature);
    let mut truncated = block.to_wire();
    truncated.pop();
    let body = CommandBody::AppendBlock {
        block: truncated.into(),
    };
    let outcome = world.by("edge-1", body);
    let Outcome::Rejected(rejection) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(rejection.code(), "block-malformed");
    let mut ahead = block.records.clone();
    ahead[3].minute = Minute(world.now.minute().0 + 11);
    let ahead = session.block(world.now, ahead);
    assert_eq!(
        refused(&mut world, &ahead),
        BlockRejection::FutureMinute { index: 3 }
    );
}

#[test]
fn a_block_after_the_grace_is_refused_and_one_within_it_is_not() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let expires_at = world.now.plus(Duration::from_secs(600));
    world.wait(630);
    let records = world.records_of(1, 1);
    let edge_time = expires_at;
    let block = session.block(edge_time, records);
    assert!(matches!(
        world.by("edge-1", append(&block)),
        Outcome::BlockStored(_)
    ));
    session.advance(&block);
    world.wait(1);
    let late = session.block(edge_time, world.clone().records_of(1, 1));
    assert_eq!(
        refused(&mut world, &late),
        BlockRejection::Expired { expires_at }
    );
}

#[test]
fn nothing_is_written_to_a_frozen_shard() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    world.by(
        "operator",
        CommandBody::Freeze {
            reason: "court order".to_owned(),
        },
    );
    let records = world.records_of(1, 1);
    let block = session.block(world.now, records.clone());
    let frozen = Outcome::Rejected(Rejection::Frozen);
    assert_eq!(world.by("edge-1", append(&block)), frozen);
    let header = world.header("edge-1", 2);
    assert_eq!(
        world.by("edge-1", CommandBody::OpenSession { header }),
        frozen
    );
    let request = world.request(1, 1);
    assert_eq!(world.submit(&request), frozen);
    // Nothing is granted either; what takes away a right passes.
    let name_of = |text: &str| text.parse().expect("a name");
    let grants = [
        CommandBody::EnrolIntake {
            name: name_of("intake-9"),
        },
        CommandBody::EnrolEdge {
            edge: name_of("edge-9"),
            key: bailiwick_envelope::IdentityKey([9; 32]),
        },
        CommandBody::SetPolicy {
            digest: bailiwick_types::Digest([9; 32]),
            version: 99,
        },
    ];
    for grant in grants {
        assert_eq!(world.by("operator", grant), frozen);
    }
    let revoked = CommandBody::RevokeIntake {
        name: name_of("intake-1"),
    };
    assert_eq!(world.by("operator", revoked), Outcome::Accepted);
    let info = query::shard_info(&world.store).unwrap().unwrap();
    assert_eq!(
        info.frozen,
        Some(("court order".to_owned(), name("operator")))
    );
    world.by("operator", CommandBody::Unfreeze);
    assert_eq!(world.append(&mut session, records), []);
}
