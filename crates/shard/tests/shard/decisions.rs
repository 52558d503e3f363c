//! Reviewers' decisions and the quorums they make.

use bailiwick_envelope::SigningKey;
use bailiwick_envelope::approval::{Approval, Decision, RefusalCode};
use bailiwick_shard::rejection::DecisionRejection;
use bailiwick_shard::{Outcome, Rejection, RequestState, query};
use bailiwick_types::{Digest, RequestId, Role};

use crate::world::*;

fn rejected(outcome: Outcome) -> Rejection {
    match outcome {
        Outcome::Rejected(rejection) => rejection,
        other => panic!("not rejected: {other:?}"),
    }
}

fn in_review() -> (World, RequestId) {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let records = world.records_of(1, 4);
    world.append(&mut session, records);
    let id = world.submitted(1, 1);
    (world, id)
}

#[test]
fn both_roles_must_reach_their_threshold() {
    let (mut world, id) = in_review();
    for number in 1..=3 {
        world.decide(id, Role::Workflow, number, Decision::Approve);
        assert_eq!(world.view(id).state, RequestState::InReview);
    }
    world.decide(id, Role::LegalReview, 2, Decision::Approve);
    assert_eq!(world.view(id).state, RequestState::InReview);
    world.decide(id, Role::LegalReview, 3, Decision::Approve);
    assert_eq!(world.view(id).state, RequestState::Approved);
    // A late approval is taken: its member may then release too. A late refusal is a recall.
    let refuse = Decision::Refuse(RefusalCode::Overbroad);
    let state = RequestState::Approved;
    let late = rejected(world.decide(id, Role::LegalReview, 1, refuse));
    assert_eq!(late, DecisionRejection::NotInReview { state }.into());
    let late = world.decide(id, Role::LegalReview, 1, Decision::Approve);
    assert!(matches!(late, Outcome::Decided { .. }));
    let role = Role::LegalReview;
    let waiting = query::awaiting_release(&world.store, role, slot(1), world.now, 9).unwrap();
    assert_eq!(waiting, [id]);
}

#[test]
fn a_request_is_refused_for_good_when_approval_is_impossible() {
    let (mut world, id) = in_review();
    world.decide(
        id,
        Role::LegalReview,
        1,
        Decision::Refuse(RefusalCode::Overbroad),
    );
    assert_eq!(world.view(id).state, RequestState::InReview);
    world.decide(
        id,
        Role::LegalReview,
        2,
        Decision::Refuse(RefusalCode::PoliticalOffence),
    );
    let view = world.view(id);
    assert_eq!(view.state, RequestState::Refused);
    assert_eq!(view.refusal, Some(RefusalCode::PoliticalOffence));
    let state = RequestState::Refused;
    let late = rejected(world.decide(id, Role::Workflow, 1, Decision::Approve));
    assert_eq!(late, DecisionRejection::NotInReview { state }.into());
    let last = query::leaves(&world.store, query::log_size(&world.store).unwrap() - 1, 1).unwrap();
    assert_eq!(last[0].content.kind().as_str(), "refusal");
}

/// Attack (vault #19214): who entered a request decides on it, with a reviewer's own key.
#[test]
fn requester_cannot_approve_their_own_request() {
    let (mut world, id) = in_review();
    let statement = world.statement(id, Role::Workflow, 1);
    let approval = Approval::sign(statement, &reviewer(Role::Workflow, slot(1)));
    let refused = rejected(world.by("intake-1", decide(approval)));
    assert_eq!(
        refused,
        DecisionRejection::OwnRequest(name("intake-1")).into()
    );
    assert!(world.view(id).decisions.is_empty());
}

/// Attack: an approval given before the scope was narrowed is used for the narrowed request.
#[test]
fn approval_for_generation_one_is_void_after_narrowing() {
    let (mut world, first) = in_review();
    world.approve(first);
    let old = world.view(first).decisions[0].approval.clone();
    let mut narrowed = world.request(1, 1);
    narrowed.generation = 2;
    narrowed.scope[0].categories.pop();
    narrowed.salt = [77; 32];
    let Outcome::RequestLogged {
        request: second, ..
    } = world.submit(&narrowed)
    else {
        panic!("logged");
    };
    assert_eq!(world.view(first).state, RequestState::Recalled);
    assert_eq!(world.view(second).state, RequestState::InReview);
    assert!(world.view(second).decisions.is_empty());
    let mut moved = old.clone();
    moved.statement.request = second;
    let by = "person-workflow-1";
    let refused = rejected(world.by(by, decide(moved.clone())));
    assert_eq!(refused, DecisionRejection::Selection.into());
    moved.statement.selection = world.view(second).selection.id();
    let refused = rejected(world.by(by, decide(moved)));
    assert_eq!(refused, DecisionRejection::Signature.into());
    // The old approval itself still says what it said, of a request that nobody releases.
    world.by(by, decide(old));
    assert!(world.view(second).decisions.is_empty());
    assert_eq!(
        rejected(world.release(first, Role::Workflow, 1)).code(),
        "release-not-approved"
    );
}

/// Attack: one slot's approval is counted twice, as a repeat or with another content.
#[test]
fn same_slot_counted_once() {
    let (mut world, id) = in_review();
    let first = world.decide(id, Role::Workflow, 1, Decision::Approve);
    assert_eq!(
        world.decide(id, Role::Workflow, 1, Decision::Approve),
        first
    );
    world.wait(1);
    let (role, slot) = (Role::Workflow, slot(1));
    let again = rejected(world.decide(id, role, 1, Decision::Approve));
    assert_eq!(again, DecisionRejection::SlotDecided { role, slot }.into());
    for number in 1..=2 {
        world.decide(id, Role::LegalReview, number, Decision::Approve);
    }
    let view = world.view(id);
    assert_eq!(
        (view.state, view.decisions.len()),
        (RequestState::InReview, 3)
    );
}

/// Attack: one person decides in two slots, with two keys.
#[test]
fn same_person_decides_once() {
    let (mut world, id) = in_review();
    world.decide(id, Role::Workflow, 1, Decision::Approve);
    let statement = world.statement(id, Role::LegalReview, 1);
    let approval = Approval::sign(statement, &reviewer(Role::LegalReview, slot(1)));
    let refused = rejected(world.by("person-workflow-1", decide(approval)));
    assert_eq!(refused.code(), "decision-same-person");
}

/// Attack: a decision signed by a stranger's key, by a member's identity, or by another slot's
/// reviewer.
#[test]
fn decision_by_a_key_that_is_no_reviewer_is_refused() {
    let (mut world, id) = in_review();
    let (role, one) = (Role::Workflow, slot(1));
    for key in [
        SigningKey::from_bytes(&[123; 32]),
        identity(role, one),
        reviewer(role, slot(2)),
        reviewer(Role::LegalReview, one),
    ] {
        let approval = Approval::sign(world.statement(id, role, 1), &key);
        let refused = rejected(world.by("somebody", decide(approval)));
        assert_eq!(
            refused,
            DecisionRejection::NotReviewer { role, slot: one }.into()
        );
    }
    let honest = Approval::sign(world.statement(id, role, 1), &reviewer(role, one));
    let mut forged = honest.clone();
    forged.statement.checklist = Digest([0; 32]);
    let refused = rejected(world.by("somebody", decide(forged)));
    assert_eq!(refused, DecisionRejection::Signature.into());
    assert!(matches!(
        world.by("somebody", decide(honest)),
        Outcome::Decided { .. }
    ));
}

#[test]
fn a_decision_names_the_selection_and_the_rosters_involved() {
    let (mut world, id) = in_review();
    let (role, key) = (Role::Workflow, reviewer(Role::Workflow, slot(1)));
    let mut statement = world.statement(id, role, 1);
    statement.rosters[0].roster = 1;
    let refused = rejected(world.by("somebody", decide(Approval::sign(statement, &key))));
    assert_eq!(refused, DecisionRejection::Rosters.into());
    let mut statement = world.statement(id, role, 1);
    statement.rosters.clear();
    let refused = rejected(world.by("somebody", decide(Approval::sign(statement, &key))));
    assert_eq!(refused, DecisionRejection::Rosters.into());
    let mut statement = world.statement(id, role, 1);
    statement.selection.0[0] ^= 1;
    let refused = rejected(world.by("somebody", decide(Approval::sign(statement, &key))));
    assert_eq!(refused, DecisionRejection::Selection.into());
}

#[test]
fn a_lapsed_request_takes_no_decision() {
    let (mut world, id) = in_review();
    world.wait(24 * 3600);
    let state = RequestState::Lapsed;
    assert_eq!(world.view(id).state, state);
    let refused = rejected(world.decide(id, Role::Workflow, 1, Decision::Approve));
    assert_eq!(refused, DecisionRejection::NotInReview { state }.into());
}

/// A selection over two certificates needs a quorum of each, and every decision names both.
#[test]
fn every_certificate_involved_is_named_and_counted() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let records = world.records_of(1, 4);
    world.append(&mut session, records);
    world.wait(60);
    world.certificate();
    let mut session = world.open("edge-1", 2);
    let records = world.records_of(1, 4);
    world.append(&mut session, records);
    let id = world.submitted(1, 1);
    let view = world.view(id);
    assert_eq!(
        (view.rosters.len(), view.periods.len(), view.selection.count),
        (2, 2, 8)
    );
    let mut statement = world.statement(id, Role::Workflow, 1);
    statement.rosters.pop();
    let key = reviewer(Role::Workflow, slot(1));
    let refused = rejected(world.by("somebody", decide(Approval::sign(statement, &key))));
    assert_eq!(refused, DecisionRejection::Rosters.into());
    world.approve(id);
    assert_eq!(world.view(id).state, RequestState::Approved);
}
