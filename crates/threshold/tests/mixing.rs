//! Attacks that pool answers given for different requests, or move partials about.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_envelope::release::{PartialBody, SealedPartial};
use bailiwick_threshold::{
    DecapsulationKey, OpenPartialError, OpeningError, SelectedRecord, UnfitReason, VerifiedPartial,
    open_partial, seal_partial,
};
use bailiwick_types::{RequestId, Role, SelectionId};
use world::*;

const OTHER: RequestId = RequestId([0x22; 32]);

fn scene() -> (World, VerifiedHeader, Vec<SelectedRecord>) {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let block = world.seal(&mut sealer, &some_records());
    let records = selected(&header, &block, 0);
    (world, header, records)
}

/// What a member releases for the other request, which selects the same records.
fn for_other(
    world: &mut World,
    header: &VerifiedHeader,
    records: &[SelectedRecord],
    role: Role,
    number: u8,
) -> PartialBody {
    let own = std::mem::replace(&mut world.request, OTHER);
    let body = world.body(header, records, role, slot(number));
    world.request = own;
    body
}

/// Workflow answers `workflow` for this request and the other slots for the other one; legal review
/// likewise. What is counted for this request?
fn pooled(split: [(&[u8], &[u8]); 2]) -> (OpeningError, usize) {
    let (mut world, header, records) = scene();
    let mut partials: Vec<VerifiedPartial> = Vec::new();
    let mut strangers = 0;
    for (role, (own, other)) in Role::ALL.into_iter().zip(split) {
        for number in own {
            let body = world.body(&header, &records, role, slot(*number));
            partials.push(world.send(&body));
        }
        for number in other {
            let body = for_other(&mut world, &header, &records, role, *number);
            let verified = world.send(&body);
            assert_eq!(verified.place().request, OTHER);
            partials.push(verified);
            strangers += 1;
        }
    }
    (world.open(&records, &partials).unwrap_err(), strangers)
}

/// Attack: workflow released for one request and legal review for another, and the recipients pool
/// their partials. A partial opens only in its own request's context, and counts for no other.
#[test]
fn mix_two_requests_releases_nothing() {
    let (error, _) = pooled([(&[1, 2, 3], &[]), (&[], &[1, 2, 3])]);
    let (index, role, have, need) = (0, Role::LegalReview, 0, 2);
    assert_eq!(
        error,
        OpeningError::NotEnough {
            index,
            role,
            have,
            need
        }
    );

    let (mut world, header, records) = scene();
    let body = for_other(&mut world, &header, &records, Role::LegalReview, 1);
    let identity = &world.members[&(Role::LegalReview, slot(1))].identity;
    let public = IdentityKey::of(identity);
    let to = world.recipient_key();
    let sealed = seal_partial(&mut FixedRng::new(3), &to, &body, identity).unwrap();
    assert!(open_partial(&world.recipient, &sealed, &public).is_ok());
    let mut moved = sealed.clone();
    moved.place.request = world.request;
    let refused = open_partial(&world.recipient, &moved, &public).map(|_| ());
    assert!(
        matches!(refused, Err(OpenPartialError::Sealed(_))),
        "{refused:?}"
    );
}

/// Attack: within a role one member released for one request and another member for another.
#[test]
fn mix_within_role_releases_nothing() {
    let (error, strangers) = pooled([(&[1], &[2, 3]), (&[1, 2, 3], &[])]);
    let (index, role, have, need) = (0, Role::Workflow, 1, 2);
    assert_eq!(
        error,
        OpeningError::NotEnough {
            index,
            role,
            have,
            need
        }
    );
    assert_eq!(strangers, 2);
}

/// Every field of a partial's place is bound into the sealed message.
#[test]
fn a_partial_opens_at_its_place_only() {
    let (mut world, header, records) = scene();
    let body = world.body(&header, &records, Role::Workflow, slot(1));
    let identity = &world.members[&(Role::Workflow, slot(1))].identity;
    let public = IdentityKey::of(identity);
    let to = world.recipient_key();
    let sealed = seal_partial(&mut world.rng, &to, &body, identity).unwrap();
    let changes: [fn(&mut SealedPartial); 6] = [
        |p| p.place.request.0[0] ^= 1,
        |p| p.place.leaf_index += 1,
        |p| p.place.kid.0[0] ^= 1,
        |p| p.place.role = Role::LegalReview,
        |p| p.place.slot = slot(2),
        |p| p.place.chunk += 1,
    ];
    for change in changes {
        let mut moved = sealed.clone();
        change(&mut moved);
        let refused = open_partial(&world.recipient, &moved, &public).map(|_| ());
        assert!(matches!(refused, Err(OpenPartialError::Sealed(_))));
    }
}

/// Attack: a member seals, for the right place, a body that says another place or another selection;
/// or signs for a slot that is not its own.
#[test]
fn a_members_own_body_cannot_claim_another_place() {
    let (mut world, header, records) = scene();
    let identity = &world.members[&(Role::Workflow, slot(1))].identity;
    let public = IdentityKey::of(identity);
    let to = world.recipient_key();
    let mut body = world.body(&header, &records, Role::Workflow, slot(1));
    let place = body.place;
    body.place.slot = slot(2);
    let signature = body.sign(identity);
    let mut plaintext = bailiwick_envelope::Encoder::new();
    plaintext
        .list(|e| bailiwick_envelope::Canonical::encode(&body, e))
        .bytes(&signature.0);
    let mut rng = FixedRng::new(4);
    let info = place.info();
    let message = bailiwick_threshold::hpke::seal(&mut rng, &to, &info, plaintext.as_bytes());
    let sealed = message.unwrap();
    let refused = open_partial(&world.recipient, &SealedPartial { place, sealed }, &public);
    assert_eq!(refused.map(|_| ()), Err(OpenPartialError::Place));

    // Slot 1 signs, in its own name, what slot 2 should have answered.
    let sealed = seal_partial(&mut rng, &to, &body, identity).unwrap();
    let stranger = open_partial(&world.recipient, &sealed, &public).unwrap();
    let mut elsewhere = world.body(&header, &records, Role::Workflow, slot(3));
    elsewhere.selection = SelectionId([0; 32]);
    let other = for_other(&mut world, &header, &records, Role::Workflow, 3);
    let mut partials = vec![stranger, world.send(&elsewhere), world.send(&other)];
    partials.extend(world.partials(&header, &records, [&[1, 2], &[1, 2]]));
    let opening = world.open(&records, &partials).unwrap();
    let reasons: Vec<_> = opening.unfit.iter().map(|unfit| unfit.reason).collect();
    assert_eq!(
        reasons,
        [
            UnfitReason::NotTheMember,
            UnfitReason::OtherSelection,
            UnfitReason::OtherRequest
        ]
    );
    assert_eq!(opening.records.len(), 3);
}

/// Attack: a partial is stolen on its way. The thief cannot open it, cannot put it under another
/// member's name, and cannot change a value under the member's signature.
#[test]
fn stolen_partial_not_attributable() {
    let (mut world, header, records) = scene();
    let body = world.body(&header, &records, Role::Workflow, slot(1));
    let identity = &world.members[&(Role::Workflow, slot(1))].identity;
    let public = IdentityKey::of(identity);
    let to = world.recipient_key();
    let sealed = seal_partial(&mut world.rng, &to, &body, identity).unwrap();
    let (thief, thief_public) = DecapsulationKey::generate(&mut FixedRng::new(66));
    let stolen = open_partial(&thief, &sealed, &public).map(|_| ());
    assert!(matches!(stolen, Err(OpenPartialError::Sealed(_))));
    for period in &world.members[&(Role::Workflow, slot(1))].periods {
        assert!(open_partial(period, &sealed, &public).is_err());
    }

    // The recipient itself turns thief: it may pass the body on, not under another name or changed.
    let other = &world.members[&(Role::Workflow, slot(2))].identity;
    let genuine = open_partial(&world.recipient, &sealed, &public).unwrap();
    assert_eq!(genuine.signed().verify(&public), Ok(()));
    assert!(genuine.signed().verify(&IdentityKey::of(other)).is_err());
    let mut changed = (**genuine.signed()).clone();
    changed.body.records[0].values[0].1[0] ^= 1;
    assert!(changed.verify(&public).is_err());
    let forged = seal_partial(&mut world.rng, &thief_public, &changed.body, other).unwrap();
    let refused = open_partial(&thief, &forged, &public).map(|_| ());
    assert!(matches!(refused, Err(OpenPartialError::Signature(_))));
}
