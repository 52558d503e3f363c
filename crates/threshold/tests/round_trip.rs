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
