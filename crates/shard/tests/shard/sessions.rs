//! Certificates, sessions and the members' answers.

use bailiwick_envelope::acknowledgement::{SessionAcknowledgement, Verdict};
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::{IdentityKey, SigningKey};
use bailiwick_shard::rejection::{CertificateRejection, SessionRejection};
use bailiwick_shard::{CommandBody, Outcome, Rejection, SessionState, query};
use bailiwick_types::{KeyId, Role, SessionNonce, ShardId};
use std::time::Duration;

use crate::world::*;

fn rejected(outcome: Outcome) -> Rejection {
    match outcome {
        Outcome::Rejected(rejection) => rejection,
        other => panic!("not rejected: {other:?}"),
    }
}

fn open(world: &mut World, by: &str, header: SessionHeader) -> Rejection {
    rejected(world.by(by, CommandBody::OpenSession { header }))
}

fn state(world: &World, sid: bailiwick_types::SessionId) -> SessionState {
    let view = query::session(&world.store, sid, world.now).unwrap();
    view.expect("committed").state
}

#[test]
fn a_certificate_becomes_valid_without_a_meeting_when_all_have_signed() {
    let world = World::ready();
    let view = world.newest_certificate();
    assert!(view.certificate.check_signed_by_its_members().is_ok());
    assert_eq!(view.leaf.content.kind().as_str(), "certificate");
    assert!(query::drafts(&world.store).unwrap().is_empty());
    let id = view.certificate.body.id();
    let kid = bailiwick_envelope::certificate::kid(&id, 1);
    let (of_kid, index) = query::certificate_of(&world.store, kid).unwrap().unwrap();
    assert_eq!((of_kid, index), (view.clone(), 1));
    assert_eq!(query::certificate(&world.store, id).unwrap(), Some(view));
}

#[test]
fn an_offer_by_another_identity_or_with_too_few_keys_is_refused() {
    let mut world = World::ready();
    let body = CommandBody::CallForKeys(plan(world.now));
    let Outcome::Drafted { draft } = world.by("operator", body) else {
        panic!("a draft");
    };
    let (role, slot) = (Role::Workflow, slot(1));
    let offer = world.offer(draft, role, slot);
    let mut forged = offer.clone();
    forged.signature = world.offer(draft, role, crate::world::slot(2)).signature;
    let refused = rejected(world.by("member", CommandBody::OfferKeys { offer: forged }));
    assert_eq!(
        refused,
        CertificateRejection::Signature { role, slot }.into()
    );
    let mut short = offer.member.clone();
    short.periods.pop();
    let short =
        bailiwick_envelope::offer::KeyOffer::sign(draft, role, short, &identity(role, slot));
    let refused = rejected(world.by("member", CommandBody::OfferKeys { offer: short }));
    assert_eq!(
        refused,
        CertificateRejection::OfferKeys { role, slot }.into()
    );
    let mut other = offer.member.clone();
    other.identity = IdentityKey::of(&SigningKey::from_bytes(&[99; 32]));
    let key = SigningKey::from_bytes(&[99; 32]);
    let other = bailiwick_envelope::offer::KeyOffer::sign(draft, role, other, &key);
    let refused = rejected(world.by("member", CommandBody::OfferKeys { offer: other }));
    assert_eq!(
        refused,
        CertificateRejection::NotPlanned { role, slot }.into()
    );
    assert_eq!(
        world.by("member", CommandBody::OfferKeys { offer }),
        Outcome::Accepted
    );
}

#[test]
fn a_plan_with_an_organisation_in_both_roles_is_refused() {
    let mut world = World::ready();
    let mut plan = plan(world.now);
    plan.legal_review.members[0].organisation = plan.workflow.members[0].organisation.clone();
    let refused = rejected(world.by("operator", CommandBody::CallForKeys(plan)));
    let role = Role::LegalReview;
    assert_eq!(refused, CertificateRejection::PlanMembers { role }.into());
}

/// Attack: a header is replayed, whole or with its nonce under new parts.
#[test]
fn duplicate_header_rejected() {
    let mut world = World::ready();
    let header = world.header("edge-1", 1);
    let sid = world.open("edge-1", 1).sid;
    assert_eq!(sid, header.id());
    let refused = open(&mut world, "edge-1", header.clone());
    assert_eq!(refused, SessionRejection::Duplicate(sid).into());
    let mut other = parts();
    other[0].sealed[0] ^= 1;
    let same_nonce = SessionHeader::sign(header.body, other, &edge_key("edge-1"));
    let refused = open(&mut world, "edge-1", same_nonce);
    assert_eq!(refused, SessionRejection::NonceUsed.into());
}

/// Attack: a header for another shard is committed here.
#[test]
fn wrong_shard_rejected() {
    let mut world = World::ready();
    let here = ShardId::home(jurisdiction());
    for named in [
        ShardId::home("DE".parse().unwrap()),
        ShardId {
            partition: 1,
            ..here
        },
    ] {
        let mut body = world.header_body("edge-1", 1);
        body.shard = named;
        let header = SessionHeader::sign(body, parts(), &edge_key("edge-1"));
        let refused = open(&mut world, "edge-1", header);
        assert_eq!(refused, SessionRejection::WrongShard { named, here }.into());
    }
}

/// Attack: an edge writes into a jurisdiction that it is not enrolled for, or not any more.
#[test]
fn an_edge_cannot_write_where_it_is_not_enrolled() {
    let mut world = World::ready();
    let header = world.header("edge-2", 1);
    let refused = open(&mut world, "edge-2", header);
    assert_eq!(
        refused,
        SessionRejection::NotEnrolled(name("edge-2")).into()
    );
    let session = world.open("edge-1", 1);
    let edge = name("edge-1");
    world.by("operator", CommandBody::RevokeEdge { edge: edge.clone() });
    let records = world.records_of(1, 2);
    let block = session.block(world.now, records);
    let refused = rejected(world.by("edge-1", append(&block)));
    let expected = bailiwick_shard::rejection::BlockRejection::NotEnrolled(edge);
    assert_eq!(refused, expected.into());
    assert_eq!(query::shard_info(&world.store).unwrap().unwrap().records, 0);
}

/// Attack: an enrolled edge sends a header or a block under another edge's id.
#[test]
fn an_edge_cannot_write_under_another_edges_id() {
    let mut world = World::ready();
    world.enrol("edge-2");
    let header = world.header("edge-1", 1);
    let (edge, by) = (name("edge-1"), name("edge-2"));
    let refused = open(&mut world, "edge-2", header.clone());
    assert_eq!(refused, SessionRejection::OtherEdge { edge, by }.into());
    // Its own key under the other's name does not help either.
    let forged = SessionHeader::sign(header.body, parts(), &edge_key("edge-2"));
    let refused = open(&mut world, "edge-1", forged);
    let Rejection::Session(SessionRejection::Header { .. }) = refused else {
        panic!("{refused:?}");
    };
    let session = world.open("edge-1", 2);
    let records = world.records_of(1, 1);
    let block = session.block(world.now, records);
    let refused = rejected(world.by("edge-2", append(&block)));
    assert_eq!(refused.code(), "block-other-edge");
}

#[test]
fn a_header_outside_its_period_or_away_from_log_time_is_refused() {
    let mut world = World::ready();
    let body = world.header_body("edge-1", 1);
    let sign = |body| SessionHeader::sign(body, parts(), &edge_key("edge-1"));
    let mut unknown = body.clone();
    unknown.kid = KeyId([1; 32]);
    let refused = open(&mut world, "edge-1", sign(unknown));
    assert_eq!(
        refused,
        SessionRejection::UnknownPeriod(KeyId([1; 32])).into()
    );
    let mut tomorrow = body.clone();
    let certificate = world.newest_certificate().certificate.body.id();
    tomorrow.kid = bailiwick_envelope::certificate::kid(&certificate, 1);
    let refused = open(&mut world, "edge-1", sign(tomorrow.clone()));
    assert_eq!(refused, SessionRejection::PeriodNotNow(tomorrow.kid).into());
    let stamp = world.now;
    for seconds in [61, 599] {
        let mut early = body.clone();
        early.opened_at = stamp.minus(Duration::from_secs(seconds));
        let refused = open(&mut world, "edge-1", sign(early));
        assert_eq!(refused, SessionRejection::Times { stamp }.into());
    }
    let mut beyond = body.clone();
    world.wait(23 * 3600 - 60);
    beyond.opened_at = world.now;
    beyond.expires_at = world.now.plus(Duration::from_secs(61));
    let stamp = world.now;
    let refused = open(&mut world, "edge-1", sign(beyond.clone()));
    assert_eq!(refused, SessionRejection::Times { stamp }.into());
    beyond.expires_at = world.now.plus(Duration::from_secs(60));
    let header = sign(beyond);
    let sid = header.id();
    let opened = world.by("edge-1", CommandBody::OpenSession { header });
    assert_eq!(opened, Outcome::SessionOpened { sid });
}

#[test]
fn an_edge_opens_a_bounded_number_of_sessions() {
    let mut world = World::ready();
    let limit = bailiwick_types::limits::SESSIONS_PER_LIFETIME;
    let header = |world: &World, number: u32| {
        let mut body = world.header_body("edge-1", 0);
        body.nonce = SessionNonce([0; 16]);
        body.nonce.0[..4].copy_from_slice(&number.to_be_bytes());
        SessionHeader::sign(body, parts(), &edge_key("edge-1"))
    };
    for number in 0..limit {
        let header = header(&world, number);
        world.by("edge-1", CommandBody::OpenSession { header });
    }
    let next = header(&world, limit);
    let refused = open(&mut world, "edge-1", next);
    assert_eq!(refused, SessionRejection::Rate { limit }.into());
    world.wait(600);
    let header = header(&world, limit);
    let sid = header.id();
    let opened = world.by("edge-1", CommandBody::OpenSession { header });
    assert_eq!(opened, Outcome::SessionOpened { sid });
}

#[test]
fn a_session_is_confirmed_degraded_or_failed_by_its_members_answers() {
    let mut world = World::ready();
    let sid = world.open("edge-1", 1).sid;
    for role in Role::ALL {
        for number in 1..=2 {
            assert_eq!(
                world.answer(sid, role, number, Verdict::Ok),
                Outcome::Accepted
            );
        }
    }
    assert_eq!(state(&world, sid), SessionState::Pending);
    world.wait(10);
    assert_eq!(state(&world, sid), SessionState::Degraded);
    for role in Role::ALL {
        assert_eq!(state(&world, sid), SessionState::Degraded);
        world.answer(sid, role, 3, Verdict::Ok);
    }
    assert_eq!(state(&world, sid), SessionState::Confirmed);
    let alone = world.open("edge-1", 2).sid;
    world.answer(alone, Role::Workflow, 1, Verdict::Ok);
    world.wait(59);
    assert_eq!(state(&world, alone), SessionState::Pending);
    world.wait(1);
    assert_eq!(state(&world, alone), SessionState::Failed);
}

/// Attack: one member complains of every session to stop all writing.
#[test]
fn lone_complainer_cannot_stop_ingest() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    for (role, slot) in members() {
        let verdict = match (role, slot.number()) {
            (Role::LegalReview, 3) => Verdict::Complaint,
            _ => Verdict::Ok,
        };
        world.answer(session.sid, role, slot.number(), verdict);
    }
    world.wait(10);
    assert_eq!(state(&world, session.sid), SessionState::Degraded);
    world.wait(60);
    assert_eq!(state(&world, session.sid), SessionState::Degraded);
    let records = world.records_of(1, 3);
    assert_eq!(world.append(&mut session, records), []);
}

/// Attack: a member says ok, then complains, to frame the edge. Both signed words stay.
#[test]
fn ack_then_complaint_contradiction() {
    let mut world = World::ready();
    let sid = world.open("edge-1", 1).sid;
    let (role, three) = (Role::Workflow, slot(3));
    world.answer(sid, role, 3, Verdict::Ok);
    world.answer(sid, role, 3, Verdict::Complaint);
    let view = query::session(&world.store, sid, world.now)
        .unwrap()
        .unwrap();
    assert_eq!(view.contradictions, [(role, three)]);
    assert_eq!((view.oks, view.complaints), (vec![], vec![(role, three)]));
}

#[test]
fn an_answer_must_be_signed_by_the_member_of_the_slot() {
    let mut world = World::ready();
    let sid = world.open("edge-1", 1).sid;
    let (role, slot) = (Role::Workflow, slot(1));
    let other = identity(Role::LegalReview, slot);
    let acknowledgement = SessionAcknowledgement::sign(sid, role, slot, Verdict::Ok, &other);
    let body = CommandBody::AcknowledgeSession { acknowledgement };
    let refused = rejected(world.by("member", body));
    assert_eq!(refused, SessionRejection::Signature { role, slot }.into());
    let headers = query::unanswered_sessions(&world.store, role, slot, 9).unwrap();
    assert_eq!(
        headers.iter().map(SessionHeader::id).collect::<Vec<_>>(),
        [sid]
    );
    world.answer(sid, role, 1, Verdict::Ok);
    assert!(
        query::unanswered_sessions(&world.store, role, slot, 9)
            .unwrap()
            .is_empty()
    );
    let refused = rejected(world.answer(sid, role, 7, Verdict::Ok));
    assert_eq!(refused.code(), "session-no-such-member");
}
