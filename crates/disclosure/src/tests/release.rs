//! Releases from end to end, and what forbids one late.

use std::collections::BTreeMap;
use std::time::Duration;

use bailiwick_envelope::Canonical as _;
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::release::ReleaseIntent;
use bailiwick_threshold::{SelectedRecord, open_partial, open_records};
use bailiwick_types::limits::PARTIAL_CHUNK_RECORDS;
use bailiwick_types::{Digest, Role};

use super::world::{Case, NOON, World, name, seat};
use crate::checks::{
    FrozenRefusal, PolicyRefusal, ReleaseLoggedRefusal, RequestRefusal, SelectionRefusal,
};
use crate::refusal::{ReleaseRefusal, SignedRefusal};
use crate::release::{MismatchError, ReleaseError};

const W1: (Role, u8) = (Role::Workflow, 1);

fn selected(world: &World, case: &Case) -> Vec<SelectedRecord> {
    let kid = world.certificate.kid(0).unwrap();
    let rows = world.blocks.iter().flat_map(|block| &block.records);
    let ciphertexts: BTreeMap<_, _> = rows.map(|row| (row.record, &row.ciphertext)).collect();
    let records = case.pages.iter().flat_map(|page| &page.records);
    records
        .map(|record| SelectedRecord {
            index: record.index,
            label: record.label.clone(),
            alpha: record.alpha,
            ciphertext: ciphertexts[&record.label.record].clone(),
            kid,
        })
        .collect()
}

/// Two members of each role release; the recipient opens exactly the selection.
fn release_and_open(world: &mut World, case: &Case) -> usize {
    let mut partials = Vec::new();
    for role in Role::ALL {
        for slot in [1, 2] {
            let at = seat(role, slot);
            let approvable = world.approvable(case, at).unwrap();
            let order = world.order(approvable).unwrap();
            let member = world.members.iter().find(|m| m.seat == at).unwrap();
            let sealed = order.execute(&member.keys, &mut world.rng).unwrap();
            for partial in &sealed {
                let identity = member.keys.identity();
                partials.push(open_partial(&world.recipient, partial, &identity).unwrap());
            }
        }
    }
    let kid = world.certificate.kid(0).unwrap();
    let certificates = BTreeMap::from([(kid, &world.certificate)]);
    let records = selected(world, case);
    let request = case.request.id();
    let opening =
        open_records(&certificates, request, &case.selection, &records, &partials).unwrap();
    assert!(opening.unopened.is_empty() && opening.contradicted.is_empty());
    opening.records.len()
}

#[test]
fn a_lawful_request_is_released_and_opens() {
    let mut world = World::new();
    let case = world.approved();
    assert_eq!(case.selection.count, 3);
    assert_eq!(release_and_open(&mut world, &case), 3);
}

/// More records than a chunk: chunks are numbered within the period, over several pages and blocks.
#[test]
fn a_large_selection_comes_in_chunks() {
    let mut world = World::without_records();
    let minute = NOON.minute().0 - 60;
    for _ in 0..2 {
        let records: Vec<_> = (0..700).map(|_| (1, 1, minute)).collect();
        world.write(&records);
    }
    let case = world.approved();
    let at = seat(Role::Workflow, 1);
    let approvable = world.approvable(&case, at).unwrap();
    let order = world.order(approvable).unwrap();
    let member = world.members.iter().find(|m| m.seat == at).unwrap();
    let sealed = order.execute(&member.keys, &mut world.rng).unwrap();
    assert_eq!(
        sealed.iter().map(|p| p.place.chunk).collect::<Vec<_>>(),
        [0, 1]
    );
    let identity = member.keys.identity();
    let open = |at: usize| open_partial(&world.recipient, &sealed[at], &identity).unwrap();
    let (first, second) = (open(0), open(1));
    assert_eq!(first.body().records.len(), PARTIAL_CHUNK_RECORDS);
    assert_eq!(second.body().records.len(), 1400 - PARTIAL_CHUNK_RECORDS);
    assert_eq!(
        second.body().records[0].index as usize,
        PARTIAL_CHUNK_RECORDS
    );
    assert_eq!(release_and_open(&mut world, &case), 1400);
}

/// A member that was restarted logs and releases the same again, to the same recipient.
#[test]
fn a_release_can_be_repeated_after_a_restart() {
    let mut world = World::new();
    let case = world.approved();
    let at = seat(W1.0, W1.1);
    let approvable = world.approvable(&case, at).unwrap();
    drop(world.order(approvable).unwrap());
    let again = world.approvable(&case, at).unwrap();
    let logged = world.release_logged(&again).unwrap();
    assert_eq!(logged.leaf_index() as usize, world.leaves.len() - 1);
}

/// Attack: recalled after everything was approved, before the leaf, and after it.
#[test]
fn recalled_request_not_released() {
    let recall = |case: &Case| LeafContent::Recall {
        request: case.request.id(),
        reason: "annulled".to_owned(),
        by: name("judge"),
    };
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    let case = world.approved();
    let approvable = world.approvable(&case, at).unwrap();
    world.log(LeafContent::Release(*approvable.intent()));
    world.log(recall(&case));
    let refusal = world.release_logged(&approvable).unwrap_err();
    let late = ReleaseLoggedRefusal::Request(RequestRefusal::Recalled {
        index: world.leaves.len() as u64 - 1,
    });
    assert_eq!(refusal, ReleaseRefusal::Logged(late));
    let refusal = world.refused(&case, at);
    assert!(matches!(
        refusal,
        ReleaseRefusal::Request(RequestRefusal::Recalled { .. })
    ));
}

/// A recall counts even when it is logged beyond the checkpoint at hand: the vault cannot win time
/// by showing an older one.
#[test]
fn a_recall_beyond_the_checkpoint_counts() {
    let mut world = World::new();
    let case = world.approved();
    let checkpoint = world.checkpoint();
    world.log(LeafContent::Recall {
        request: case.request.id(),
        reason: "annulled".to_owned(),
        by: name("judge"),
    });
    world.sync();
    let refusal = world.logged(&checkpoint, &case.request).unwrap_err();
    assert!(matches!(
        refusal,
        ReleaseRefusal::Request(RequestRefusal::Recalled { .. })
    ));
}

/// A freeze forbids the release before and after its leaf, and ends with an unfreeze.
#[test]
fn frozen_jurisdiction_releases_nothing() {
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    let case = world.approved();
    let approvable = world.approvable(&case, at).unwrap();
    world.log(LeafContent::Release(*approvable.intent()));
    let freeze = LeafContent::Freeze {
        reason: "alarm".to_owned(),
        by: name("operator"),
    };
    world.log(freeze);
    let late = world.release_logged(&approvable).unwrap_err();
    assert!(matches!(
        late,
        ReleaseRefusal::Logged(ReleaseLoggedRefusal::Frozen(FrozenRefusal::Frozen { .. }))
    ));
    assert!(matches!(
        world.refused(&case, at),
        ReleaseRefusal::Frozen(_)
    ));
    world.log(LeafContent::Unfreeze {
        by: name("operator"),
    });
    assert!(world.release_logged(&approvable).is_ok());
}

/// The leaf comes first: without it, or with somebody else's, nothing is computed.
#[test]
fn nothing_is_released_before_the_own_leaf_is_logged() {
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    let case = world.approved();
    let approvable = world.approvable(&case, at).unwrap();
    let unlogged = world.release_logged(&approvable).unwrap_err();
    assert!(matches!(
        unlogged,
        ReleaseRefusal::Logged(ReleaseLoggedRefusal::NotLogged { .. })
    ));
    let other = world.approvable(&case, seat(Role::Workflow, 2)).unwrap();
    world.log(LeafContent::Release(*other.intent()));
    assert!(world.release_logged(&approvable).is_err());
}

/// Attack: an intent that was logged before the quorum was complete is replayed after it.
#[test]
fn a_leaf_before_the_quorum_does_not_count() {
    let at = seat(W1.0, W1.1);
    let mut other = World::new();
    let case = other.approved();
    let intent = *other.approvable(&case, at).unwrap().intent();

    let mut world = World::new();
    let case = world.submit(&world.request(1));
    world.log(LeafContent::Release(intent));
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
        world.approve(&case, seat(role, 2));
    }
    let approvable = world.approvable(&case, at).unwrap();
    assert_eq!(*approvable.intent(), intent);
    let refusal = world.release_logged(&approvable).unwrap_err();
    assert!(matches!(
        refusal,
        ReleaseRefusal::Logged(ReleaseLoggedRefusal::NotLogged { .. })
    ));
}

/// Attack: the same scope again for another recipient. The approvals are not of that request, and a
/// member that has logged a release to one recipient makes none to another.
#[test]
fn rerelease_other_recipient_refused() {
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    let case = world.approved();
    let approvable = world.approvable(&case, at).unwrap();
    drop(world.order(approvable).unwrap());

    let mut request = case.request.clone();
    let thief = bailiwick_threshold::DecapsulationKey::from_bytes(&[66; 32]);
    request.recipient.key = thief.encapsulation_key();
    let other = world.submit(&request);
    let refusal = world.refused(&other, at);
    assert_eq!(refusal, ReleaseRefusal::Request(RequestRefusal::Recipient));
    // Even a trust file that knows the other recipient does not move the approvals.
    world.trust.recipients[0].key = thief.encapsulation_key();
    assert!(matches!(
        world.refused(&other, at),
        ReleaseRefusal::Quorum(_)
    ));

    // A leaf in the member's name for the first request, to another recipient.
    let mut world = World::new();
    let case = world.approved();
    let approvable = world.approvable(&case, at).unwrap();
    let forged = ReleaseIntent {
        recipient: Digest([1; 32]),
        ..*approvable.intent()
    };
    world.log(LeafContent::Release(forged));
    world.log(LeafContent::Release(*approvable.intent()));
    let refusal = world.release_logged(&approvable).unwrap_err();
    assert!(matches!(
        refusal,
        ReleaseRefusal::Logged(ReleaseLoggedRefusal::OtherRelease { .. })
    ));
}

/// Attack: the recipient's key is swapped between approval and release: name and certificate stay.
#[test]
fn recipient_key_swapped_refused() {
    let mut world = World::new();
    let case = world.approved();
    let mut swapped = case.clone();
    let thief = bailiwick_threshold::DecapsulationKey::from_bytes(&[66; 32]);
    swapped.request.recipient.key = thief.encapsulation_key();
    let at = seat(W1.0, W1.1);
    // It is another request: not logged, not approved.
    let refusal = world.refused(&swapped, at);
    assert!(matches!(
        refusal,
        ReleaseRefusal::Request(RequestRefusal::NotIncluded { .. })
    ));
    // Logged by a vault that plays along, its key is not the trust file's.
    world.submit_case(&swapped);
    let refusal = world.refused(&swapped, at);
    assert_eq!(refusal, ReleaseRefusal::Request(RequestRefusal::Recipient));
}

/// A recipient that the trust file does not let receive for the authority.
#[test]
fn recipient_of_another_authority_refused() {
    let mut world = World::new();
    let case = world.approved();
    world.trust.recipients[0].authorities.clear();
    let refusal = world.refused(&case, seat(W1.0, W1.1));
    assert_eq!(
        refusal,
        ReleaseRefusal::Request(RequestRefusal::RecipientAuthority)
    );
}

/// Attack: checks that passed for two requests are put together.
#[test]
fn checks_of_two_requests_do_not_go_together() {
    let mut world = World::new();
    let first = world.approved();
    let second = world.submit(&world.request(2));
    for role in Role::ALL {
        world.approve(&second, seat(role, 1));
        world.approve(&second, seat(role, 2));
    }
    let at = seat(W1.0, W1.1);
    let keys = |world: &World| world.members.iter().position(|m| m.seat == at).unwrap();
    let (a, b) = (
        world.checks(&first, at).unwrap(),
        world.checks(&second, at).unwrap(),
    );
    let mixed = crate::Checks {
        quorum: b.quorum,
        ..a
    };
    let member = &world.members[keys(&world)].keys;
    let error = crate::Approvable::new(mixed, member).unwrap_err();
    assert_eq!(error, MismatchError { check: "quorum" });
    let mixed = crate::Checks {
        policy: world.checks(&first, at).unwrap().policy,
        ..world.checks(&second, at).unwrap()
    };
    let member = &world.members[keys(&world)].keys;
    let error = crate::Approvable::new(mixed, member).unwrap_err();
    assert_eq!(error, MismatchError { check: "policy" });
}

/// A member cannot release in another member's place.
#[test]
fn another_members_keys_do_not_fit() {
    let mut world = World::new();
    let case = world.approved();
    let checks = world.checks(&case, seat(W1.0, W1.1)).unwrap();
    let other = &world.member(seat(Role::LegalReview, 1)).keys;
    let error = crate::Approvable::new(checks, other).unwrap_err();
    assert_eq!(error.check, "own reviewer");
}

/// A slot whose own reviewer did not approve stays silent, whatever the others decided.
#[test]
fn a_member_without_its_own_reviewers_approval_refuses() {
    let mut world = World::new();
    let case = world.approved();
    let at = seat(Role::Workflow, 3);
    assert!(matches!(
        world.refused(&case, at),
        ReleaseRefusal::OwnReviewer(_)
    ));
}

/// The budget is counted from the member's own leaves.
#[test]
fn budgets_per_request_and_day_hold() {
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    let case = world.approved();
    world.trust.budget.records_per_request = 2;
    let refusal = world.refused(&case, at);
    let expected = PolicyRefusal::RequestBudget {
        count: 3,
        budget: 2,
    };
    assert_eq!(refusal, ReleaseRefusal::Policy(expected));

    let mut world = World::new();
    world.trust.budget.records_per_day = 5;
    let case = world.approved();
    let approvable = world.approvable(&case, at).unwrap();
    drop(world.order(approvable).unwrap());
    // The same request again does not count twice.
    assert!(world.approvable(&case, at).is_ok());
    let second = world.submit(&world.request(2));
    for role in Role::ALL {
        world.approve(&second, seat(role, 1));
        world.approve(&second, seat(role, 2));
    }
    let expected = PolicyRefusal::DayBudget {
        used: 3,
        count: 3,
        budget: 5,
    };
    assert_eq!(world.refused(&second, at), ReleaseRefusal::Policy(expected));
    // The next day has its own budget.
    world.now = world.now.plus(Duration::from_secs(43_200));
    assert!(world.approvable(&second, at).is_ok());
}

/// Attack: a leader lets its stamps stand still, so that every release leaf falls on a day which is over
/// and none counts on the own clock's. The budget of that day holds too.
#[test]
fn a_log_whose_time_stands_still_gives_no_second_budget() {
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    world.trust.budget.records_per_day = 5;
    let first = world.approved();
    let second = world.submit(&world.request(2));
    for role in Role::ALL {
        world.approve(&second, seat(role, 1));
        world.approve(&second, seat(role, 2));
    }
    let (stamp, tomorrow) = (world.now, world.now.plus(Duration::from_secs(43_200)));
    let release = |world: &mut World, case| {
        world.now = tomorrow;
        let approvable = world.approvable(case, at).unwrap();
        world.now = stamp;
        world.log(LeafContent::Release(*approvable.intent()));
        world.now = tomorrow;
        world.release_logged(&approvable).map(drop)
    };
    assert_eq!(release(&mut world, &first), Ok(()));
    let expected = PolicyRefusal::DayBudget {
        used: 3,
        count: 3,
        budget: 5,
    };
    assert_eq!(
        release(&mut world, &second),
        Err(ReleaseRefusal::Logged(ReleaseLoggedRefusal::Budget(
            expected
        )))
    );
}

/// An erased period key releases nothing, and no partial is half made.
#[test]
fn erased_key_releases_nothing() {
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    let case = world.approved();
    let approvable = world.approvable(&case, at).unwrap();
    let order = world.order(approvable).unwrap();
    let kid = world.certificate.kid(0).unwrap();
    let member = world.members.iter_mut().find(|m| m.seat == at).unwrap();
    assert!(member.keys.erase(super::world::france(), kid));
    let error = order.execute(&member.keys, &mut world.rng).unwrap_err();
    assert_eq!(error, ReleaseError::NoKey(kid));
}

/// An empty selection is refused, and so is one over the request's cap.
#[test]
fn empty_and_oversize_selections_refused() {
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    let mut request = world.request(1);
    request.scope[0].subject = super::world::subject(9);
    let case = world.submit(&request);
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
        world.approve(&case, seat(role, 2));
    }
    let refusal = world.refused(&case, at);
    assert_eq!(refusal, ReleaseRefusal::Selection(SelectionRefusal::Empty));

    let mut world = World::new();
    let mut request = world.request(1);
    request.cap = 2;
    let case = world.submit(&request);
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
        world.approve(&case, seat(role, 2));
    }
    assert!(matches!(
        world.refused(&case, at),
        ReleaseRefusal::Policy(_)
    ));
}

/// A lapsed request is refused by the own clock, and by log time when the own clock is behind.
#[test]
fn expired_request_refused() {
    let at = seat(W1.0, W1.1);
    let mut world = World::new();
    let case = world.approved();
    world.now = case.request.not_after;
    let expired = ReleaseRefusal::Request(RequestRefusal::Expired);
    assert_eq!(world.refused(&case, at), expired);
    world.log(LeafContent::Unfreeze {
        by: name("operator"),
    });
    world.sync();
    world.now = NOON;
    assert_eq!(world.refused(&case, at), expired);
}

/// A refusal is signed data that stands on its own.
#[test]
fn refusals_are_signed() {
    let mut world = World::new();
    let case = world.submit(&world.request(1));
    let at = seat(W1.0, W1.1);
    let refusal = world.refused(&case, at);
    assert_eq!(refusal.check(), "quorum");
    assert!(refusal.may_pass_later());
    let keys = &world.member(at).keys;
    let signed = SignedRefusal::sign(case.request.id(), at, &refusal, world.now, keys);
    assert_eq!(signed.verify(&keys.identity()), Ok(()));
    let read = SignedRefusal::from_bytes(&signed.to_bytes()).unwrap();
    assert_eq!(read, signed);
    let mut forged = signed;
    forged.check = "policy".to_owned();
    assert!(forged.verify(&keys.identity()).is_err());
}
