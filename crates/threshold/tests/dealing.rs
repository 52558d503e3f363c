//! Attacks on a session's dealing and on its certificate.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use bailiwick_envelope::acknowledgement::{SessionAcknowledgement, Verdict};
use bailiwick_envelope::certificate::{CertificateBody, CertificateError, kid};
use bailiwick_envelope::header::{HeaderError, SessionHeader, VerifiedHeader};
use bailiwick_envelope::{Canonical, IdentityKey, Signature};
use bailiwick_threshold::{
    DecapsulationKey, PartError, SessionError, SessionParameters, acknowledge, open_part,
    open_session,
};
use bailiwick_types::limits::HEADER_BYTES;
use bailiwick_types::{Role, Slot, SlotMask};
use world::*;

fn reseal(
    world: &World,
    header: &VerifiedHeader,
    change: impl FnOnce(&mut SessionHeader),
) -> VerifiedHeader {
    let mut changed = header.header().clone();
    change(&mut changed);
    let signed = SessionHeader::sign(changed.body, changed.parts, &world.edge_key);
    world.verify(signed).unwrap()
}

/// Attack: a sealed part is moved to another member, role, session or key period, and the header is
/// signed anew by an edge that helps. It opens at none of the other places.
#[test]
fn transplant_part_matrix() {
    let mut world = World::new();
    let mut headers = vec![world.session().0, world.session().0];
    world.now = world.now.plus(DAY);
    headers.push(world.session().0);
    assert_ne!(headers[0].body().kid, headers[2].body().kid);
    let places: Vec<(usize, Role, Slot)> = (0..3)
        .flat_map(|header| {
            let members = Role::ALL
                .into_iter()
                .flat_map(|r| (1..=3).map(move |s| (r, slot(s))));
            members.map(move |(role, slot)| (header, role, slot))
        })
        .collect();
    let mut moved = 0;
    for (from, from_role, from_slot) in &places {
        let stolen = headers[*from]
            .header()
            .part(*from_role, *from_slot)
            .unwrap();
        for (to, to_role, to_slot) in &places {
            let changed = reseal(&world, &headers[*to], |header| {
                let part = |p: &&mut bailiwick_envelope::header::SealedPart| {
                    p.role == *to_role && p.slot == *to_slot
                };
                header.parts.iter_mut().find(part).unwrap().sealed = stolen.sealed.clone();
            });
            let opens = |key: &DecapsulationKey| {
                open_part(&changed, &world.certificate, *to_role, *to_slot, key).is_ok()
            };
            let at_home = (from, from_role, from_slot) == (to, to_role, to_slot);
            assert_eq!(opens(world.key(&changed, *to_role, *to_slot)), at_home);
            let source = world.key(&headers[*from], *from_role, *from_slot);
            assert_eq!(opens(source), at_home, "the source's own key");
            moved += usize::from(!at_home);
        }
    }
    assert_eq!(moved, 18 * 17);
}

/// Attack: the edge deals one holder another key than the header commits to. That member complains,
/// verifiably, and the other holders of the set do not.
#[test]
fn inconsistent_dealing_complaint() {
    let mut world = World::new();
    let keys = by_hand::keys(&world);
    let cheated = (Role::LegalReview, slot(2));
    let header = by_hand::deal(&mut world, &keys, |role, slot, holders, mut key| {
        key[31] ^= u8::from((role, slot) == cheated && holders == SlotMask(0b110));
        key
    });
    for ((role, slot), member) in &world.members {
        let key = &member.periods[0];
        let identity = &member.identity;
        let answer = acknowledge(&header, &world.certificate, *role, *slot, key, identity);
        assert_eq!(answer.verify(&IdentityKey::of(identity)), Ok(()));
        let complains = answer.verdict == Verdict::Complaint;
        assert_eq!(complains, (*role, *slot) == cheated, "{role} {slot}");
    }
}

/// Attack: a member answers ok to some and complains to others. Both answers carry its signature
/// over the same session, so that the pair convicts it; neither can be made from the other.
#[test]
fn ack_then_complaint_contradiction() {
    let mut world = World::new();
    let (header, _) = world.session();
    let (role, slot) = (Role::Workflow, slot(1));
    let member = &world.members[&(role, slot)];
    let public = IdentityKey::of(&member.identity);
    let key = &member.periods[0];
    let ok = acknowledge(
        &header,
        &world.certificate,
        role,
        slot,
        key,
        &member.identity,
    );
    let sid = header.sid();
    let complaint =
        SessionAcknowledgement::sign(sid, role, slot, Verdict::Complaint, &member.identity);
    assert_eq!(ok.verdict, Verdict::Ok);
    for answer in [ok, complaint] {
        let read = SessionAcknowledgement::from_bytes(&answer.to_bytes()).unwrap();
        assert_eq!(read.verify(&public), Ok(()));
        assert_eq!((read.sid, read.role, read.slot), (sid, role, slot));
    }
    let framed = SessionAcknowledgement {
        verdict: Verdict::Complaint,
        ..ok
    };
    assert!(framed.verify(&public).is_err());
}

/// Attack: two parts of a header are exchanged on the way. The header is no longer the signed one;
/// and were it signed, both members would complain.
#[test]
fn header_part_swapped() {
    let mut world = World::new();
    let (header, _) = world.session();
    let swap = |header: &mut SessionHeader| {
        let first = std::mem::take(&mut header.parts[0].sealed);
        header.parts[0].sealed = std::mem::replace(&mut header.parts[1].sealed, first);
    };
    let mut swapped = header.header().clone();
    swap(&mut swapped);
    assert_ne!(swapped.id(), header.sid());
    assert!(matches!(
        world.verify(swapped),
        Err(HeaderError::Signature(_))
    ));
    let signed = reseal(&world, &header, swap);
    for number in [1, 2] {
        let member = &world.members[&(Role::Workflow, slot(number))];
        let answer = acknowledge(
            &signed,
            &world.certificate,
            Role::Workflow,
            slot(number),
            &member.periods[0],
            &member.identity,
        );
        assert_eq!(answer.verdict, Verdict::Complaint);
    }
}

/// Attack: chosen headers are sent to a member to learn from how it fails. Every failure is the same
/// value and text, and the answer the same complaint.
#[test]
fn part_errors_indistinguishable() {
    let mut world = World::new();
    let (good, _) = world.session();
    let (role, slot) = (Role::Workflow, slot(1));
    let keys = by_hand::keys(&world);
    let wrong_key = by_hand::deal(&mut world, &keys, |_, _, _, _| [0; 32]);
    let mut stranger = by_hand::keys(&world);
    stranger.values_mut().for_each(|key| key[0] ^= 1);
    let other_set = reseal(&world, &good, |header| {
        header.body.commitments[0].value[0] ^= 1
    });
    let broken = reseal(&world, &good, |header| header.parts[0].sealed[1200] ^= 1);
    let short = reseal(&world, &good, |header| header.parts[0].sealed.truncate(40));
    let empty = reseal(&world, &good, |header| header.parts[0].sealed.clear());
    let unknown = reseal(&world, &good, |header| header.body.kid.0[0] ^= 1);
    let not_canonical = reseal(&world, &good, |header| {
        let info = by_hand::part_info(&header.body, role, slot);
        let to = &world.certificate.body().workflow.members[0].periods[0];
        let mut rng = FixedRng::new(1);
        let sealed = bailiwick_threshold::hpke::seal(&mut rng, to, &info, b"no part").unwrap();
        header.parts[0].sealed = sealed;
    });
    let key = &world.members[&(role, slot)].periods[0];
    let open =
        |header, slot, key| open_part(header, &world.certificate, role, slot, key).map(|_| ());
    assert_eq!(open(&good, slot, key), Ok(()));
    let bad = [
        &wrong_key,
        &other_set,
        &broken,
        &short,
        &empty,
        &unknown,
        &not_canonical,
    ];
    let mut failures: Vec<PartError> = bad
        .iter()
        .map(|header| open(header, slot, key).unwrap_err())
        .collect();
    let other_key = &world.members[&(role, world::slot(2))].periods[0];
    failures.push(open(&good, slot, other_key).unwrap_err());
    failures.push(open(&good, world::slot(7), key).unwrap_err());
    let texts: std::collections::BTreeSet<String> = failures
        .iter()
        .map(|error| format!("{error} {error:?}"))
        .collect();
    assert_eq!((failures.len(), texts.len()), (9, 1));
}

/// Attack: an edge is led back to an older period, whose keys are kept longer or were stolen.
#[test]
fn edge_rejects_older_period() {
    let mut world = World::new();
    let second = world.certificate.body().periods[1].not_before;
    let try_open = |world: &World, high_water, period| {
        let parameters = SessionParameters {
            high_water,
            period,
            ..world.parameters()
        };
        open_session(&mut FixedRng::new(2), parameters).map(|_| ())
    };
    let first = world.certificate.body().periods[0].not_before;
    assert_eq!(try_open(&world, Some(first), 0), Ok(()));
    // The clock is set back with it, so that only the mark stands in the way.
    assert_eq!(
        try_open(&world, Some(second), 0),
        Err(SessionError::OlderPeriod)
    );
    assert_eq!(try_open(&world, None, 1), Err(SessionError::OutsidePeriod));
    assert_eq!(
        try_open(&world, None, 2),
        Err(SessionError::NoSuchPeriod(2))
    );
    world.now = second;
    assert_eq!(try_open(&world, Some(second), 1), Ok(()));
    assert_eq!(try_open(&world, None, 0), Err(SessionError::OutsidePeriod));
}

/// A session never outlives its period, and its bounds are checked.
#[test]
fn session_bounds_are_checked() {
    let mut world = World::new();
    world.now = world.certificate.body().periods[0]
        .not_after
        .minus(std::time::Duration::from_secs(5));
    let (header, sealer) = world.session();
    assert_eq!(
        header.body().expires_at,
        world.certificate.body().periods[0].not_after
    );
    assert!(sealer.is_exhausted(header.body().expires_at));
    let try_open = |change: fn(&mut SessionParameters<'_>)| {
        let mut parameters = world.parameters();
        change(&mut parameters);
        open_session(&mut FixedRng::new(2), parameters)
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(try_open(|p| p.max_block = 0), SessionError::Blocks(0));
    assert_eq!(try_open(|p| p.max_block = 4097), SessionError::Blocks(4097));
    assert_eq!(
        try_open(|p| p.lifetime = std::time::Duration::ZERO),
        SessionError::Lifetime
    );
    let hour = |p: &mut SessionParameters<'_>| p.lifetime = std::time::Duration::from_secs(3601);
    assert_eq!(try_open(hour), SessionError::Lifetime);
    let other = |p: &mut SessionParameters<'_>| p.shard.jurisdiction = "DE".parse().unwrap();
    assert_eq!(try_open(other), SessionError::Jurisdiction);
}

/// Attack: one person stands in two slots, or one key serves two periods: two votes, or a period
/// that outlives its erasure.
#[test]
fn cert_duplicate_identity_or_key_rejected() {
    let world = World::new();
    let good = world.certificate.body();
    type Change = fn(&mut CertificateBody);
    let changes: [(&str, Change); 7] = [
        ("identity across roles", |body| {
            body.legal_review.members[0].identity = body.workflow.members[0].identity;
        }),
        ("reviewer across roles", |body| {
            body.legal_review.members[1].reviewers = body.workflow.members[0].reviewers.clone();
        }),
        ("reviewer as member", |body| {
            body.workflow.members[1].reviewers = vec![body.workflow.members[0].identity];
        }),
        ("period key across slots", |body| {
            body.workflow.members[1].periods[0] = body.workflow.members[0].periods[0].clone();
        }),
        ("period key across periods", |body| {
            body.workflow.members[1].periods[1] = body.workflow.members[1].periods[0].clone();
        }),
        ("period key as documents key", |body| {
            body.legal_review.members[2].documents = body.workflow.members[0].periods[1].clone();
        }),
        ("name twice", |body| {
            body.legal_review.members[2].name = body.workflow.members[0].name.clone();
        }),
    ];
    let trust = trust(good);
    for (what, change) in changes {
        let mut body = good.clone();
        change(&mut body);
        let refused = certify(body, &world.members).verify(&trust).map(|_| ());
        let duplicate = matches!(refused, Err(CertificateError::DuplicateKey { .. }));
        assert!(duplicate, "{what}: {refused:?}");
    }
}

/// Attack: a certificate is signed anew until its key ids collide with or differ from those sealed
/// under. The ids come from the body alone.
#[test]
fn kid_independent_of_signatures() {
    let world = World::new();
    let mut certificate = world.certificate.certificate().clone();
    for signature in &mut certificate.signatures {
        signature.signature = Signature([0x55; 64]);
    }
    let id = certificate.body.id();
    assert_eq!(id, world.certificate.id());
    for period in 0..2 {
        assert_eq!(Some(kid(&id, period as u16)), world.certificate.kid(period));
    }
    assert_ne!(world.certificate.kid(0), world.certificate.kid(1));
    assert!(
        certificate
            .verify(&trust(world.certificate.body()))
            .is_err()
    );
}

/// Attack: a header of any length fills every replica. The largest honest one fits the limit, and
/// one byte string more does not.
#[test]
fn oversize_header_rejected() {
    let mut world = World::with((4, 7), (4, 7));
    let (header, _) = world.session();
    let length = header.header().to_bytes().len();
    assert!(length <= HEADER_BYTES, "{length}");
    let mut large = header.header().clone();
    large.parts[0].sealed.resize(HEADER_BYTES, 0);
    let signed = SessionHeader::sign(large.body, large.parts, &world.edge_key);
    assert!(matches!(
        world.verify(signed),
        Err(HeaderError::Oversize(_))
    ));
}

/// Attack: an edge restarts, or its machine is restored, and reuses a session with its labels and
/// keys. Nothing of a session can be stored, and a new one has a new nonce.
#[test]
fn restart_never_reuses_session() {
    let mut world = World::new();
    let sealed = some_records();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (header, mut sealer) = world.session();
        let block = world.seal(&mut sealer, &sealed);
        seen.push((header, block));
    }
    let [(first, first_block), (second, second_block)] = &seen[..] else {
        unreachable!("two sessions");
    };
    assert_ne!(first.sid(), second.sid());
    assert_ne!(first.body().nonce, second.body().nonce);
    for (a, b) in first
        .body()
        .commitments
        .iter()
        .zip(&second.body().commitments)
    {
        assert_ne!(a.value, b.value);
    }
    for (a, b) in first_block.records.iter().zip(&second_block.records) {
        assert_eq!(a.record, b.record);
        assert_ne!((a.alpha, &a.ciphertext), (b.alpha, &b.ciphertext));
    }
}
