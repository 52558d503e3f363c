//! Requests: what is found, frozen, released, recalled, delivered.

use bailiwick_envelope::Signature;
use bailiwick_envelope::release::ReleaseIntent;
use bailiwick_shard::rejection::{ReleaseRejection, RequestRejection};
use bailiwick_shard::{CommandBody, MemberRefusal, Outcome, Rejection, RequestState, query};
use bailiwick_tlog::verify_inclusion;
use bailiwick_types::{Category, Digest, Minute, Role};

use crate::world::*;

fn rejected(outcome: Outcome) -> Rejection {
    match outcome {
        Outcome::Rejected(rejection) => rejection,
        other => panic!("not rejected: {other:?}"),
    }
}

/// A shard with records of two subjects over three blocks of two sessions.
fn filled() -> World {
    let mut world = World::ready();
    let mut sessions = [world.open("edge-1", 1), world.open("edge-1", 2)];
    for (session, subject) in [(0, 1), (1, 1), (0, 2)] {
        let mut records = world.records_of(subject, 40);
        let known = records[3].clone();
        records.insert(20, known);
        assert_eq!(world.append(&mut sessions[session], records), [20]);
    }
    world
}

#[test]
fn the_selection_is_exactly_the_scope_and_is_frozen() {
    let mut world = filled();
    let id = world.submitted(1, 1);
    let view = world.view(id);
    assert_eq!(
        (view.state, view.selection.count),
        (RequestState::InReview, 80)
    );
    assert_eq!(view.rosters.len(), 1);
    let mut session = world.open("edge-1", 3);
    let records = world.records_of(1, 5);
    world.append(&mut session, records);
    assert_eq!(world.view(id).selection, view.selection);
    // The same request again is the same request; a new one finds the new records.
    let request = world.view(id).request;
    assert!(matches!(
        world.submit(&request),
        Outcome::RequestLogged { count: 80, .. }
    ));
    let mut phones = world.request(1, 2);
    phones.scope[0].categories = vec![Category::Phone];
    let Outcome::RequestLogged { request, count, .. } = world.submit(&phones) else {
        panic!("logged");
    };
    let selection = world.view(request).selection;
    assert_eq!(
        (count, selection.phones),
        (selection.count, selection.count)
    );
    assert!(count > 20 && count < 40);
}

#[test]
fn evidence_proves_every_record_under_its_signed_manifest() {
    let mut world = filled();
    let id = world.submitted(1, 1);
    let (mut inputs, mut from) = (Vec::new(), 0);
    loop {
        let page = query::evidence(&world.store, id, from, 33)
            .unwrap()
            .unwrap();
        if page.records.is_empty() {
            break;
        }
        from += page.records.len() as u32;
        for record in page.records {
            let (label, position) = (&record.label, record.position);
            assert_eq!(
                (label.sid, label.block, label.index),
                (position.sid, position.block, position.index)
            );
            let manifest = page.blocks.iter().map(|block| &block.manifest);
            let place = (label.sid, label.block);
            let manifest = manifest
                .clone()
                .find(|m| (m.sid, m.block) == place)
                .unwrap();
            assert!(page.sessions.iter().any(|header| header.id() == label.sid));
            let leaf = label.manifest_leaf(&record.alpha, &record.ciphertext_hash);
            let proof: Vec<[u8; 32]> = record.proof.iter().map(|hash| hash.0).collect();
            let (index, count) = (u64::from(label.index), u64::from(manifest.count));
            verify_inclusion(&leaf.0, index, count, &manifest.root.0, &proof).unwrap();
            inputs.push((label.record_input(&record.alpha), label.category));
        }
    }
    let selection = bailiwick_envelope::selection::Selection::of(id, inputs);
    assert_eq!(selection, world.view(id).selection);
}

#[test]
fn a_request_is_refused_unless_everything_it_names_is_as_the_shard_knows_it() {
    let mut world = filled();
    let good = world.request(1, 1);
    let expect = |world: &mut World,
                  change: &dyn Fn(&mut bailiwick_envelope::request::DisclosureRequest),
                  code: &str| {
        let mut request = good.clone();
        change(&mut request);
        let before = world.store.clone();
        assert_eq!(rejected(world.submit(&request)).code(), code);
        assert_eq!(world.store, before);
    };
    let world = &mut world;
    let now = world.now;
    expect(
        world,
        &|r| r.entered_by = name("intake-2"),
        "request-other-person",
    );
    expect(
        world,
        &|r| r.jurisdiction = "DE".parse().unwrap(),
        "request-other-jurisdiction",
    );
    expect(world, &|r| r.generation = 0, "request-generation");
    expect(world, &|r| r.not_after = now, "request-lapsed");
    expect(world, &|r| r.cap = 0, "request-cap");
    expect(world, &|r| r.cap = 100_001, "request-cap");
    expect(
        world,
        &|r| r.recipient.key = encapsulation_key(1),
        "request-recipient",
    );
    expect(
        world,
        &|r| r.recipient.certificate = Digest([0; 32]),
        "request-recipient",
    );
    expect(
        world,
        &|r| r.recipient.name = name("other"),
        "request-recipient",
    );
    expect(
        world,
        &|r| r.forum_policy = Digest([0; 32]),
        "request-policy",
    );
    expect(
        world,
        &|r| r.custody_policy = Digest([0; 32]),
        "request-policy",
    );
    expect(
        world,
        &|r| r.documents = Digest([0; 32]),
        "request-documents",
    );
    let (found, cap) = (80, 79);
    let mut request = good.clone();
    request.cap = cap;
    let over = RequestRejection::OverCap { found, cap };
    assert_eq!(rejected(world.submit(&request)), over.into());
    let stranger = rejected(world.by("operator", submit(&good)));
    assert_eq!(stranger.code(), "request-other-person");
    assert!(matches!(world.submit(&good), Outcome::RequestLogged { .. }));
}

#[test]
fn a_scope_with_no_records_is_logged_and_over() {
    let mut world = filled();
    let request = world.request(9, 1);
    let Outcome::RequestLogged {
        request,
        count,
        state,
        ..
    } = world.submit(&request)
    else {
        panic!("logged");
    };
    assert_eq!((count, state), (0, RequestState::NoData));
    let kinds: Vec<_> = query::leaves(&world.store, 0, 100).unwrap();
    let kinds: Vec<_> = kinds
        .iter()
        .rev()
        .take(2)
        .map(|l| l.content.kind().as_str())
        .collect();
    assert_eq!(kinds, ["selection", "request"]);
    let reason = "none".to_owned();
    let refused = rejected(world.by("operator", CommandBody::RecallRequest { request, reason }));
    let state = RequestState::NoData;
    assert_eq!(refused, RequestRejection::State { state }.into());
}

#[test]
fn a_request_goes_from_review_to_delivered() {
    let mut world = filled();
    let id = world.submitted(1, 1);
    assert!(
        query::ciphertexts(&world.store, id, 0, 10)
            .unwrap()
            .is_none()
    );
    world.approve(id);
    assert_eq!(world.view(id).state, RequestState::Approved);
    assert!(
        query::ciphertexts(&world.store, id, 0, 10)
            .unwrap()
            .is_none()
    );
    let waiting = |world: &World, role, number| {
        query::awaiting_release(&world.store, role, slot(number), world.now, 9).unwrap()
    };
    assert_eq!(waiting(&world, Role::Workflow, 1), [id]);
    assert_eq!(waiting(&world, Role::Workflow, 3), []);
    for (role, number, state) in [
        (Role::Workflow, 1, RequestState::Releasing),
        (Role::Workflow, 2, RequestState::Releasing),
        (Role::LegalReview, 1, RequestState::Releasing),
        (Role::LegalReview, 2, RequestState::Disclosed),
    ] {
        let outcome = world.release(id, role, number);
        let Outcome::ReleaseLogged {
            leaf_index,
            state: got,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(got, state);
        let leaf = &query::leaves(&world.store, leaf_index, 1).unwrap()[0];
        assert_eq!(leaf.content.request(), Some(id));
        assert_eq!(waiting(&world, role, number), []);
        // Sent again after a lost answer: the same leaf.
        assert_eq!(
            world.release(id, role, number),
            Outcome::ReleaseLogged { leaf_index, state }
        );
    }
    let page = query::ciphertexts(&world.store, id, 70, 100)
        .unwrap()
        .unwrap();
    assert_eq!((page.records.len(), page.records[0].index), (10, 70));
    let count = 80;
    let stranger = rejected(world.by("other", CommandBody::RecordDelivery { request: id, count }));
    assert_eq!(stranger.code(), "request-not-recipient");
    let delivered = world.by("desk", CommandBody::RecordDelivery { request: id, count });
    assert!(matches!(
        delivered,
        Outcome::StateChanged {
            state: RequestState::Delivered,
            ..
        }
    ));
    assert_eq!(world.view(id).delivered, Some(80));
}

/// Attack: a member logs a release of a selection with a label that was never written, or of more
/// records than were approved.
#[test]
fn release_of_unwritten_label_refused() {
    let mut world = filled();
    let id = world.submitted(1, 1);
    world.approve(id);
    let honest = world.intent(id, Role::Workflow, 1);
    let mut selection = world.view(id).selection;
    selection.count += 1;
    let key = identity(Role::Workflow, slot(1));
    for (intent, reason) in [
        (
            ReleaseIntent {
                selection: selection.id(),
                ..honest
            },
            ReleaseRejection::Selection,
        ),
        (
            ReleaseIntent {
                count: 81,
                ..honest
            },
            ReleaseRejection::Count {
                selected: 80,
                got: 81,
            },
        ),
    ] {
        let intent = ReleaseIntent::sign(intent, &key);
        let refused = rejected(world.by("member", CommandBody::RecordRelease { intent }));
        assert_eq!(refused, reason.into());
    }
}

/// Attack: a release is repeated for another recipient's key.
#[test]
fn rerelease_other_recipient_refused() {
    let mut world = filled();
    let id = world.submitted(1, 1);
    world.approve(id);
    world.release(id, Role::Workflow, 1);
    let mut intent = world.intent(id, Role::Workflow, 1);
    intent.recipient = encapsulation_key(1).recipient_hash();
    let intent = ReleaseIntent::sign(intent, &identity(Role::Workflow, slot(1)));
    let refused = rejected(world.by("member", CommandBody::RecordRelease { intent }));
    assert_eq!(refused, ReleaseRejection::Recipient.into());
    assert_eq!(world.view(id).releases.len(), 1);
}

/// Attack: a member releases after the request was recalled, frozen or lapsed, or before approval.
#[test]
fn recalled_request_not_released() {
    let mut world = filled();
    let id = world.submitted(1, 1);
    let state = RequestState::InReview;
    let early = rejected(world.release(id, Role::Workflow, 1));
    assert_eq!(early, ReleaseRejection::NotApproved { state }.into());
    world.approve(id);
    let mut lapsing = world.clone();
    lapsing.wait(24 * 3600);
    let state = RequestState::Lapsed;
    let late = rejected(lapsing.release(id, Role::Workflow, 1));
    assert_eq!(late, ReleaseRejection::NotApproved { state }.into());
    world.by(
        "operator",
        CommandBody::Freeze {
            reason: "test".to_owned(),
        },
    );
    assert_eq!(
        rejected(world.release(id, Role::Workflow, 1)),
        Rejection::Frozen
    );
    world.by("operator", CommandBody::Unfreeze);
    world.release(id, Role::Workflow, 1);
    let reason = "order annulled".to_owned();
    world.by(
        "intake-1",
        CommandBody::RecallRequest {
            request: id,
            reason,
        },
    );
    let state = RequestState::Recalled;
    for number in [1, 2] {
        let refused = rejected(world.release(id, Role::Workflow, number));
        assert_eq!(refused, ReleaseRejection::NotApproved { state }.into());
    }
    assert!(
        query::ciphertexts(&world.store, id, 0, 10)
            .unwrap()
            .is_none()
    );
}

/// Attack: somebody else logs a member's release or refusal.
#[test]
fn a_release_or_refusal_must_be_the_members_own() {
    let mut world = filled();
    let id = world.submitted(1, 1);
    world.approve(id);
    let (role, slot) = (Role::Workflow, slot(1));
    let mut intent = world.intent(id, role, 1);
    intent = ReleaseIntent::sign(intent, &identity(role, crate::world::slot(2)));
    let refused = rejected(world.by("member", CommandBody::RecordRelease { intent }));
    assert_eq!(refused, ReleaseRejection::Signature { role, slot }.into());
    let refusal = MemberRefusal {
        request: id,
        role,
        slot,
        reason: "checkpoint".to_owned(),
    };
    let refuse = |signature: Option<Signature>| CommandBody::RefuseRelease {
        refusal: refusal.clone(),
        signature,
    };
    let other = refusal.sign(&identity(role, crate::world::slot(2)));
    for body in [refuse(None), refuse(Some(other))] {
        let refused = rejected(world.by("legal-review-1", body));
        assert_eq!(refused, ReleaseRejection::Signature { role, slot }.into());
    }
    let signed = refusal.sign(&identity(role, slot));
    assert_eq!(world.by("anybody", refuse(Some(signed))), Outcome::Accepted);
    assert_eq!(world.by("workflow-1", refuse(None)), Outcome::Accepted);
    assert_eq!(world.view(id).member_refusals, [refusal]);
}

#[test]
fn requests_are_listed_in_the_order_of_the_log() {
    let mut world = filled();
    let ids: Vec<_> = (1..=5).map(|salt| world.submitted(1, salt)).collect();
    let reason = "withdrawn".to_owned();
    world.by(
        "intake-1",
        CommandBody::RecallRequest {
            request: ids[1],
            reason,
        },
    );
    let list = |after, limit, open_only| {
        let (page, more) =
            query::requests(&world.store, after, limit, open_only, world.now).unwrap();
        (
            page.into_iter().map(|view| view.id).collect::<Vec<_>>(),
            more,
        )
    };
    assert_eq!(list(None, 2, false), (ids[..2].to_vec(), true));
    assert_eq!(list(Some(ids[1]), 3, false), (ids[2..].to_vec(), false));
    assert_eq!(
        list(None, 9, true),
        ([&ids[..1], &ids[2..]].concat(), false)
    );
    assert_eq!(list(Some(ids[4]), 9, true), (vec![], false));
}

#[test]
fn a_window_takes_whole_minutes_up_to_its_end() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let minute = world.now.minute().0;
    let records: Vec<_> = (0..10)
        .map(|age| world.record(1, Minute(minute - age)))
        .collect();
    world.append(&mut session, records);
    let mut request = world.request(1, 1);
    (request.scope[0].from, request.scope[0].to) = (Minute(minute - 5), Minute(minute - 2));
    assert!(matches!(
        world.submit(&request),
        Outcome::RequestLogged { count: 3, .. }
    ));
}
