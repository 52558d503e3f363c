//! What a member does with its keys, and what it refuses to do.

use bailiwick_envelope::acknowledgement::Verdict;
use bailiwick_types::{Digest, Role, Threshold};

use super::world::{MemberWorld, World, offered_body, seat};
use crate::keys::{DraftKeys, KeysError};

fn drafts(world: &mut World) -> Vec<DraftKeys> {
    let members = world.members.len();
    (0..members)
        .map(|_| DraftKeys::generate(&mut world.rng, 1))
        .collect()
}

/// Attack: the vault assembles a certificate with a key of its own in a member's place, a lower
/// threshold, or an approver of its own. No member signs it.
#[test]
fn members_sign_only_what_they_offered() {
    let mut world = World::without_records();
    let keys = drafts(&mut world);
    let body = offered_body(&world.members, &keys, &world.trust, Digest([1; 32]));
    let sign = |at: usize, body: &_| {
        let member: &MemberWorld = &world.members[at];
        member.keys.sign_certificate(body, &world.trust, &keys[at])
    };
    assert!(sign(0, &body).is_ok());
    let mut swapped = body.clone();
    swapped.workflow.members[0].periods[0] = world.recipient.encapsulation_key();
    assert_eq!(sign(0, &swapped), Err(KeysError::OtherEntry));
    let mut swapped = body.clone();
    swapped.workflow.members[0].documents = world.recipient.encapsulation_key();
    assert_eq!(sign(0, &swapped), Err(KeysError::OtherEntry));
    let mut stranger = body.clone();
    stranger.legal_review.members[2].identity.0[0] ^= 1;
    assert!(matches!(sign(0, &stranger), Err(KeysError::Certificate(_))));
    let mut reviewer = body.clone();
    reviewer.legal_review.members[2].reviewers[0].0[0] ^= 1;
    assert!(matches!(sign(0, &reviewer), Err(KeysError::Certificate(_))));
    let mut fewer = body.clone();
    fewer.workflow.members.pop();
    fewer.workflow.threshold = Threshold::new(2, 3).unwrap();
    assert!(matches!(sign(0, &fewer), Err(KeysError::Certificate(_))));
    let mut elsewhere = body;
    elsewhere.jurisdiction = "DE".parse().unwrap();
    assert!(matches!(
        sign(0, &elsewhere),
        Err(KeysError::OtherJurisdiction { .. })
    ));
}

#[test]
fn draft_keys_survive_the_disk() {
    let mut world = World::without_records();
    let keys = DraftKeys::generate(&mut world.rng, 3);
    let bytes = keys.to_bytes();
    assert_eq!(bytes.len(), 4 * 32);
    let read = DraftKeys::from_bytes(&bytes).unwrap();
    assert_eq!(*read.to_bytes(), *bytes);
    assert!(DraftKeys::from_bytes(&bytes[1..]).is_none());
    assert!(DraftKeys::from_bytes(&[]).is_none());
    let text = format!("{keys:?} {:?}", world.members[0].keys);
    assert!(text.contains("redacted"));
}

/// A member answers a header with `ok`, a tampered part with a complaint, and says nothing when it
/// has no key.
#[test]
fn members_acknowledge_sessions() {
    let mut world = World::new();
    let at = seat(Role::Workflow, 1);
    let verify = |header: bailiwick_envelope::header::SessionHeader, world: &World| {
        let threshold = |role| world.certificate.body().committee(role).threshold;
        let edge = bailiwick_envelope::IdentityKey::of(&world.edge);
        header
            .verify(
                &edge,
                threshold(Role::Workflow),
                threshold(Role::LegalReview),
            )
            .unwrap()
    };
    let header = verify(world.header.clone(), &world);
    let answer = |world: &World, header: &_| {
        let keys = &world.member(at).keys;
        keys.acknowledge(header, &world.certificate, &world.trust)
    };
    let ok = answer(&world, &header).unwrap();
    assert_eq!(ok.verdict, Verdict::Ok);
    assert!(ok.verify(&world.member(at).keys.identity()).is_ok());

    let mut parts = world.header.parts.clone();
    parts[0].sealed[1200] ^= 1;
    let body = world.header.body.clone();
    let bad = bailiwick_envelope::header::SessionHeader::sign(body, parts, &world.edge);
    let bad = verify(bad, &world);
    assert_eq!(answer(&world, &bad).unwrap().verdict, Verdict::Complaint);

    let kid = header.body().kid;
    let member = world.members.iter_mut().find(|m| m.seat == at).unwrap();
    member.keys.erase(super::world::france(), kid);
    assert_eq!(answer(&world, &header), Err(KeysError::NoKey(kid)));
}
