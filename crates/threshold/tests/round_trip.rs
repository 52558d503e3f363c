//! The whole way of a record: sealed by an edge, released by members, opened by the recipient.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use bailiwick_types::Role;
use world::*;

/// Any t members of each role open everything; there is one try a record when nobody lies.
#[test]
fn any_two_quorums_open_and_fewer_members_do_not() {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let sealed = some_records();
    world.seal(&mut sealer, &[phone(9, "1")]);
    let block = world.seal(&mut sealer, &sealed);
    let records = selected(&header, &block, 0);
    for left in [[1, 2], [1, 3], [2, 3]] {
        for right in [[1, 2], [1, 3], [2, 3]] {
            let partials = world.partials(&header, &records, [&left, &right]);
            let opening = world.open(&records, &partials);
            assert!(
                opens_all(&opening, &sealed),
                "{left:?} {right:?}: {opening:?}"
            );
            let opening = opening.unwrap();
            assert_eq!(opening.tried, 3);
            assert!(opening.contradicted.is_empty() && opening.unfit.is_empty());
        }
    }
    let partials = world.partials(&header, &records, [&[1, 2, 3], &[2]]);
    let refused = world.open(&records, &partials).unwrap_err();
    let (index, role, have, need) = (0, Role::LegalReview, 1, 2);
    let expected = bailiwick_threshold::OpeningError::NotEnough {
        index,
        role,
        have,
        need,
    };
    assert_eq!(refused, expected);
}

/// Values do not depend on the order in which blocks are asked for: the walk along the ratchet
/// starts again from the root for a lower block.
#[test]
fn values_in_any_order_of_blocks() {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let mut records = Vec::new();
    for _ in 0..4 {
        let block = world.seal(&mut sealer, &some_records());
        records.extend(selected(&header, &block, records.len() as u32));
    }
    let in_order = values(&mut world.part(&header, Role::Workflow, slot(2)), &records);
    let mut part = world.part(&header, Role::Workflow, slot(2));
    for at in [9, 0, 11, 3, 4, 1, 10] {
        let again = values(&mut part, &records[at..=at]);
        assert!(again[0] == in_order[at], "record {at}");
    }
    let partials = world.partials(&header, &records, [&[2, 3], &[1, 3]]);
    let opening = world.open(&records, &partials).unwrap();
    assert_eq!((opening.records.len(), opening.tried), (12, 12));
}

/// Nothing that holds keys, values or plaintexts shows them in a log line.
#[test]
fn debug_output_is_redacted() {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let block = world.seal(&mut sealer, &some_records());
    let records = selected(&header, &block, 0);
    let partials = world.partials(&header, &records, [&[1, 2], &[1, 2]]);
    let part = world.part(&header, Role::Workflow, slot(1));
    let opening = world.open(&records, &partials).unwrap();
    let text = format!("{sealer:?} {part:?} {:?} {opening:?}", partials[0]);
    assert!(text.contains("redacted"));
    for secret in ["33612345678", "203.0.113.9"] {
        assert!(!text.contains(secret), "{text}");
    }
    let value = partials[0].body().records[0].values[0].1;
    assert!(!text.contains(&hex::encode(value)) && !text.contains(&format!("{value:?}")));
}
