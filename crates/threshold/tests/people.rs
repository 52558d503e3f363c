//! People and machines change (docs/cryptography.md section 10): who may change a roster, what a
//! departed member still holds, and what a successor takes from the others.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use std::time::Duration;

use bailiwick_envelope::certificate::Member;
use bailiwick_envelope::erasure::{ErasureAttestation, ShredState, shred_status};
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_envelope::resupply::{Resupply, ResupplyPlace};
use bailiwick_envelope::roster::{
    Departure, NotInForce, ROSTER_DELAY, Roster, RosterError, RosterUpdate, SignedRosterUpdate,
};
use bailiwick_envelope::{Canonical, Encoder, IdentityKey, SigningKey};
use bailiwick_threshold::resupply::ResupplyProgress;
use bailiwick_threshold::{
    DecapsulationKey, Resupplied, ResupplyError, ResupplyRefusal, SessionParameters, hpke,
    open_part, open_sealed_part, open_session, resupply,
};
use bailiwick_types::{Digest, Role, SessionId, Slot, SlotMask};
use rand_core::TryRng as _;
use world::*;

/// Who takes a slot, with its private keys.
struct Successor {
    member: Member,
    identity: SigningKey,
    periods: Vec<DecapsulationKey>,
}

fn successor(world: &mut World, number: u8, name: &str) -> Successor {
    let mut seed = [0; 32];
    world.rng.try_fill_bytes(&mut seed).unwrap();
    let identity = SigningKey::from_bytes(&seed);
    let (_, documents) = DecapsulationKey::generate(&mut world.rng);
    let pairs = [(); 2].map(|()| DecapsulationKey::generate(&mut world.rng));
    let (periods, public) = pairs.into_iter().unzip();
    world.rng.try_fill_bytes(&mut seed).unwrap();
    let member = Member {
        slot: slot(number),
        organisation: format!("{name}-organisation").parse().unwrap(),
        name: name.parse().unwrap(),
        identity: IdentityKey::of(&identity),
        reviewers: vec![IdentityKey::of(&SigningKey::from_bytes(&seed))],
        documents,
        periods: public,
    };
    Successor {
        member,
        identity,
        periods,
    }
}

/// The next update of a roster that has `after` as its last.
fn update(
    roster: &Roster,
    after: Option<(u32, Digest)>,
    (role, number): (Role, u8),
    departure: Departure,
    successor: Option<&Successor>,
) -> RosterUpdate {
    let (last, previous) = after.unwrap_or((0, Digest([0; 32])));
    RosterUpdate {
        certificate: roster.certificate().id(),
        number: last + 1,
        previous,
        role,
        slot: slot(number),
        departure,
        successor: successor.map(|successor| successor.member.clone()),
    }
}

fn sign(
    update: RosterUpdate,
    world: &World,
    workflow: &[u8],
    legal_review: &[u8],
) -> SignedRosterUpdate {
    let mut signatures = Vec::new();
    for (role, slots) in [
        (Role::Workflow, workflow),
        (Role::LegalReview, legal_review),
    ] {
        for number in slots {
            let identity = &world.members[&(role, slot(*number))].identity;
            signatures.push(update.sign(role, slot(*number), identity));
        }
    }
    SignedRosterUpdate { update, signatures }
}

/// A roster in which workflow slot 1 was replaced at the world's time, and how.
fn replaced(world: &mut World, departure: Departure) -> (Roster, Successor, Digest) {
    let mut roster = Roster::new(world.certificate.clone());
    let new = successor(world, 1, "w1-b");
    let change = update(&roster, None, (Role::Workflow, 1), departure, Some(&new));
    let n = world.certificate.body().workflow.threshold.members();
    let others: Vec<u8> = (2..=n).collect();
    let of_legal = world.certificate.body().legal_review.threshold.members();
    let all: Vec<u8> = (1..=of_legal).collect();
    let signed = sign(change, world, &others, &all);
    let read = SignedRosterUpdate::from_bytes(&signed.to_bytes()).unwrap();
    assert_eq!(read, signed);
    let id = roster.admit(read, world.now).unwrap();
    (roster, new, id)
}

fn holder(
    world: &World,
    header: &VerifiedHeader,
    number: u8,
) -> (Slot, SigningKey, DecapsulationKey) {
    let at = slot(number);
    let identity = world.members[&(Role::Workflow, at)].identity.clone();
    let key = world.key(header, Role::Workflow, at).to_bytes();
    (at, identity, DecapsulationKey::from_bytes(&key))
}

/// An honest holder's message.
fn message(
    world: &mut World,
    roster: &Roster,
    id: &Digest,
    header: &VerifiedHeader,
    number: u8,
) -> Result<Resupply, ResupplyError> {
    let (at, identity, key) = holder(world, header, number);
    let in_force = roster.in_force(id, world.now).unwrap();
    let part = header.header().part(Role::Workflow, at).unwrap();
    resupply(&mut world.rng, &in_force, header, part, &key, &identity)
}

/// Attack: a vault, one role alone, the removed member itself, or anyone twice, writes a roster that
/// serves it. Each of them lacks t of the other role, or has no vote.
#[test]
fn a_roster_changes_only_by_t_of_each_role() {
    let mut world = World::new();
    let new = successor(&mut world, 1, "w1-b");
    let mut roster = Roster::new(world.certificate.clone());
    let at = (Role::Workflow, 1);
    let change = || {
        update(
            &Roster::new(world.certificate.clone()),
            None,
            at,
            Departure::Lost,
            Some(&new),
        )
    };
    let mut admit = |signed: SignedRosterUpdate| roster.admit(signed, world.now);
    let few = |role, signed| RosterError::TooFew {
        role,
        signed,
        needed: 2,
    };
    let refused = admit(sign(change(), &world, &[], &[])).unwrap_err();
    assert_eq!(refused, few(Role::Workflow, 0));
    let refused = admit(sign(change(), &world, &[2, 3], &[1])).unwrap_err();
    assert_eq!(refused, few(Role::LegalReview, 1));
    let refused = admit(sign(change(), &world, &[2], &[1, 2, 3])).unwrap_err();
    assert_eq!(refused, few(Role::Workflow, 1));
    let refused = admit(sign(change(), &world, &[1, 2], &[1, 2])).unwrap_err();
    let (role, slot_1) = (Role::Workflow, slot(1));
    assert_eq!(refused, RosterError::MayNotSign { role, slot: slot_1 });
    let refused = admit(sign(change(), &world, &[2, 2], &[1, 2])).unwrap_err();
    assert_eq!(refused, RosterError::Order);
    let mut other = sign(change(), &world, &[2, 3], &[1, 2]);
    other.update.departure = Departure::Stolen;
    assert!(matches!(admit(other), Err(RosterError::Signature { .. })));
    let mut own_key = change();
    let legal = world.certificate.body().legal_review.members[2].clone();
    own_key.successor.as_mut().unwrap().periods[1] = legal.periods[1].clone();
    let refused = admit(sign(own_key, &world, &[2, 3], &[1, 2])).unwrap_err();
    assert_eq!(refused, RosterError::UsedKey);
    let mut same_house = change();
    same_house.successor.as_mut().unwrap().organisation = legal.organisation;
    let refused = admit(sign(same_house, &world, &[2, 3], &[1, 2])).unwrap_err();
    assert!(matches!(refused, RosterError::Successor(_)), "{refused:?}");
    let mut out_of_order = change();
    out_of_order.number = 2;
    let refused = admit(sign(out_of_order, &world, &[2, 3], &[1, 2])).unwrap_err();
    assert_eq!(refused, RosterError::OutOfOrder { last: 0, got: 2 });
    let whole = sign(change(), &world, &[2, 3], &[1, 2]);
    assert!(admit(whole.clone()).is_ok());
    // And not again: it would be the second update now.
    assert!(matches!(admit(whole), Err(RosterError::OutOfOrder { .. })));
}

/// Attack: a member is removed for cause and keeps a copy of everything it had. What was dealt to it
/// it still opens: it counts for the old sessions, for the threshold, and for what "shredded" may
/// claim. What is dealt after the update holds nothing for it.
#[test]
fn removed_member_still_counts() {
    let mut world = World::new();
    let (old, mut sealer) = world.session();
    let sealed = some_records();
    let block = world.seal(&mut sealer, &sealed);
    let records = selected(&old, &block, 0);
    let (roster, new, id) = replaced(&mut world, Departure::RemovedForCause);
    world.now = world.now.plus(ROSTER_DELAY);
    let with_the_removed = world.partials(&old, &records, [&[1, 2], &[1, 2]]);
    assert!(opens_all(&world.open(&records, &with_the_removed), &sealed));
    assert_eq!(roster.standing().roles[0].effective, 1);
    let both = [0, 1].map(|period| world.certificate.kid(period).unwrap());
    assert_eq!(roster.exposed_periods(&id), both);

    let certificate = roster.certificate_at(world.now).unwrap();
    assert_eq!(
        (certificate.id(), roster.number_at(world.now)),
        (world.certificate.id(), 1)
    );
    let parameters = SessionParameters {
        certificate: &certificate,
        ..world.parameters()
    };
    let (header, _) = open_session(&mut FixedRng::new(3), parameters).unwrap();
    let header = world.verify(header).unwrap();
    let removed = world.key(&header, Role::Workflow, slot(1));
    let opens = |key: &DecapsulationKey| {
        open_part(&header, &certificate, Role::Workflow, slot(1), key).is_ok()
    };
    assert!(!opens(removed));
    assert!(opens(&new.periods[1]));

    let kid = both[0];
    let attest = |(role, slot, key): (Role, Slot, &SigningKey)| {
        ErasureAttestation::sign(kid, role, slot, key)
    };
    let of_workflow = |number| {
        let at = (Role::Workflow, slot(number));
        (at.0, at.1, &world.members[&at].identity)
    };
    let mut attested = vec![
        attest((Role::Workflow, slot(1), &new.identity)),
        attest(of_workflow(2)),
        attest(of_workflow(3)),
    ];
    let claimed = |attested: &[_]| shred_status(&roster, kid, attested).unwrap();
    let status = claimed(&attested);
    assert_eq!(
        status.state,
        ShredState::UnreadableIfNobodyLied(Role::Workflow)
    );
    assert_eq!(status.roles[0].missing, SlotMask(0b001));
    attested.push(attest(of_workflow(1)));
    assert_eq!(
        claimed(&attested).state,
        ShredState::Shredded(Role::Workflow)
    );
}

/// Attack: slots are stolen one after the other while the console goes on to show 3-of-5. Each theft
/// or removal counts from its leaf on, a slot once; losses and retirements do not.
#[test]
fn effective_threshold_shown() {
    let mut world = World::with((3, 5), (3, 5));
    let mut roster = Roster::new(world.certificate.clone());
    let shown = |roster: &Roster| {
        let standing = roster.standing();
        let stop = standing.new_sessions_must_stop();
        let destroy = standing.early_destruction_is_proposed();
        (standing.roles.map(|role| role.effective), stop, destroy)
    };
    assert_eq!(shown(&roster), ([3, 3], false, false));
    let steps = [
        (1, Departure::Lost, [3, 3], false),
        (2, Departure::Stolen, [2, 3], false),
        (3, Departure::RemovedForCause, [1, 3], true),
    ];
    let mut last = None;
    let mut identities: Vec<SigningKey> = Vec::new();
    for (number, departure, effective, stops) in steps {
        let new = successor(&mut world, number, &format!("w{number}-b"));
        let change = update(
            &roster,
            last,
            (Role::Workflow, number),
            departure,
            Some(&new),
        );
        let mut signed = sign(change.clone(), &world, &[4, 5], &[1, 2, 3]);
        if number == 1 {
            signed = sign(change, &world, &[2, 4, 5], &[1, 2, 3]);
        } else {
            // The successor of the slot before has its vote after a day.
            let early = roster.admit(signed.clone(), world.now).unwrap_err();
            assert!(matches!(early, RosterError::TooFew { signed: 2, .. }));
            let first = change.sign(
                Role::Workflow,
                slot(number - 1),
                &identities[usize::from(number) - 2],
            );
            signed.signatures.insert(0, first);
            let early = roster.admit(signed.clone(), world.now).unwrap_err();
            assert!(matches!(early, RosterError::MayNotSign { .. }));
            world.now = world.now.plus(ROSTER_DELAY);
        }
        let id = roster.admit(signed, world.now).unwrap();
        assert_eq!(shown(&roster), (effective, stops, stops), "slot {number}");
        last = Some((u32::from(number), id));
        identities.push(new.identity);
    }
    assert_eq!(roster.standing().roles[0].against, SlotMask(0b110));

    let mut vacant = Roster::new(world.certificate.clone());
    let change = update(&vacant, None, (Role::LegalReview, 5), Departure::Lost, None);
    vacant
        .admit(sign(change, &world, &[1, 2, 3], &[1, 2, 3]), world.now)
        .unwrap();
    assert_eq!(shown(&vacant), ([3, 3], true, false));
    let later = world.now.plus(ROSTER_DELAY);
    assert!(matches!(
        vacant.certificate_at(later),
        Err(NotInForce::Vacant)
    ));
}

/// Any t others re-supply a slot, and what it then answers is what the departed member would have.
/// A re-supplied member re-supplies others in turn.
#[test]
fn any_t_others_replace_a_lost_machine() {
    let mut world = World::with((3, 5), (2, 3));
    let (header, mut sealer) = world.session();
    let block = world.seal(&mut sealer, &some_records());
    let records = selected(&header, &block, 0);
    let before = values(&mut world.part(&header, Role::Workflow, slot(1)), &records);
    let (roster, new, id) = replaced(&mut world, Departure::Lost);
    world.now = world.now.plus(ROSTER_DELAY);
    for others in [[2, 3, 4], [2, 3, 5], [2, 4, 5], [3, 4, 5]] {
        let in_force = roster.in_force(&id, world.now).unwrap();
        let mut taken = Resupplied::new(&header, in_force).unwrap();
        for (at, number) in others.into_iter().enumerate() {
            assert!(!taken.missing().is_empty(), "after {at} of {others:?}");
            let sent = message(&mut world, &roster, &id, &header, number).unwrap();
            let sent = Resupply::from_bytes(&sent.to_bytes()).unwrap();
            taken.take(&sent, &new.periods[0]).unwrap();
        }
        let part = taken.into_part(&mut world.rng).unwrap();
        let certificate = roster.certificate_at(world.now).unwrap();
        let opened = open_sealed_part(&header, &certificate, &part, &new.periods[0]);
        assert!(
            values(&mut opened.unwrap(), &records) == before,
            "{others:?}"
        );
        // It dies with the period: no other key of the successor opens it.
        assert!(open_sealed_part(&header, &certificate, &part, &new.periods[1]).is_err());
    }
}

/// Attack: a holder re-supplies other keys, so that the replaced member's answers would be wrong. Its
/// own signed message convicts it, and three honest others complete the slot all the same.
#[test]
fn lying_resupply_detected() {
    let mut world = World::with((3, 5), (2, 3));
    let (header, _) = world.session();
    let (roster, new, id) = replaced(&mut world, Departure::Lost);
    world.now = world.now.plus(ROSTER_DELAY);
    let honest: Vec<Resupply> = [3, 4, 5]
        .map(|number| message(&mut world, &roster, &id, &header, number).unwrap())
        .into();
    let in_force = roster.in_force(&id, world.now).unwrap();
    let (liar, identity, key) = holder(&world, &header, 2);
    let place = ResupplyPlace {
        sid: header.sid(),
        update: id,
        role: Role::Workflow,
        slot: slot(1),
        holder: liar,
    };
    let sets = world.certificate.body().workflow.threshold.holder_sets();
    let own: Vec<SlotMask> = sets.into_iter().filter(|set| set.contains(liar)).collect();
    let part = &header.header().part(Role::Workflow, liar).unwrap().sealed;
    let info = by_hand::part_info(header.body(), Role::Workflow, liar);
    let part = hpke::open(&key, &info, part).unwrap();
    let truth = |set: &SlotMask| -> [u8; 32] {
        let at = own.iter().position(|own| own == set).unwrap() * (5 + 36) + 9;
        part[at..at + 32].try_into().unwrap()
    };
    let shared: Vec<SlotMask> = own
        .iter()
        .copied()
        .filter(|s| s.contains(slot(1)))
        .collect();
    let mut say = |sent: &[(SlotMask, [u8; 32])]| {
        let mut plaintext = Encoder::new();
        for (set, key) in sent {
            plaintext.u8(set.0).bytes(key);
        }
        let to = &new.member.periods[0];
        let sealed = hpke::seal(&mut world.rng, to, &place.info(), plaintext.as_bytes()).unwrap();
        Resupply::sign(place, sealed, &identity)
    };
    let mut taken = Resupplied::new(&header, in_force).unwrap();
    let all = taken.missing();
    let mut keys: Vec<_> = shared.iter().map(|set| (*set, truth(set))).collect();
    let lies = shared.len();
    for lie in 0..lies {
        keys[lie].1[31] ^= 1;
        let refused = taken.take(&say(&keys), &new.periods[0]).unwrap_err();
        let (holder, holders) = (liar, shared[lie]);
        assert_eq!(
            refused,
            ResupplyRefusal::NotTheCommittedKey { holder, holders }
        );
        keys[lie].1[31] ^= 1;
    }
    keys.swap(0, 1);
    let refused = taken.take(&say(&keys), &new.periods[0]).unwrap_err();
    assert_eq!(refused, ResupplyRefusal::Sets(liar));
    let refused = taken.take(&say(&keys[..2]), &new.periods[0]).unwrap_err();
    assert_eq!(refused, ResupplyRefusal::Sets(liar));
    assert_eq!(taken.missing(), all, "nothing of the lies was taken");
    for sent in &honest {
        taken.take(sent, &new.periods[0]).unwrap();
    }
    assert!(taken.missing().is_empty());
    assert!(taken.into_part(&mut FixedRng::new(4)).is_ok());
    // Its honest words would have been taken, so that it is the lie that was refused.
    keys.swap(0, 1);
    let mut again = Resupplied::new(&header, in_force).unwrap();
    assert_eq!(again.take(&say(&keys), &new.periods[0]), Ok(()));
}

/// Attack: somebody asks a holder for its old keys without an update, with one that too few signed,
/// or with one of another certificate; or a successor is sent keys for one it does not know.
#[test]
fn resupply_without_update_refused() {
    let mut world = World::new();
    let (header, _) = world.session();
    let mut roster = Roster::new(world.certificate.clone());
    let thief = successor(&mut world, 1, "w1-b");
    let change = update(
        &roster,
        None,
        (Role::Workflow, 1),
        Departure::Lost,
        Some(&thief),
    );
    let id = change.id();
    let later = world.now.plus(ROSTER_DELAY * 2);
    let few = sign(change, &world, &[2, 3], &[1]);
    assert!(roster.admit(few, world.now).is_err());
    // What `resupply` takes can be had from a roster that took the update only.
    assert_eq!(
        roster.in_force(&id, later).map(|_| ()),
        Err(NotInForce::Unknown(id))
    );

    // Another certificate's update, whole and in force, opens no session of this one.
    let (foreign_roster, _, foreign) = {
        let mut other = World::with((2, 3), (2, 4));
        replaced(&mut other, Departure::Lost)
    };
    let in_force = foreign_roster.in_force(&foreign, later).unwrap();
    let (at, identity, key) = holder(&world, &header, 2);
    let part = header.header().part(Role::Workflow, at).unwrap();
    let sent = resupply(&mut world.rng, &in_force, &header, part, &key, &identity);
    let refused = sent.map(|_| ()).unwrap_err();
    let expected = [
        ResupplyError::NotAHolder(at),
        ResupplyError::OtherCertificate,
    ];
    assert!(expected.contains(&refused), "{refused:?}");
    assert!(Resupplied::new(&header, in_force).is_none());

    // The receiver takes nothing that names another update than its own.
    let (roster, new, id) = replaced(&mut world, Departure::Lost);
    world.now = later;
    let sent = message(&mut world, &roster, &id, &header, 2).unwrap();
    let in_force = roster.in_force(&id, later).unwrap();
    let mut taken = Resupplied::new(&header, in_force).unwrap();
    let elsewhere = ResupplyPlace {
        update: flip(&id),
        ..sent.place
    };
    let moved = Resupply::sign(elsewhere, sent.sealed.clone(), &identity);
    assert_eq!(
        taken.take(&moved, &new.periods[0]),
        Err(ResupplyRefusal::OtherPlace)
    );
    assert_eq!(taken.take(&sent, &new.periods[0]), Ok(()));
}

/// Attack: t of each role are coerced for an hour. The update is in the log for a day before a key
/// moves, so that the others can see it and freeze.
#[test]
fn resupply_before_delay_refused() {
    let mut world = World::new();
    let (header, _) = world.session();
    let (roster, new, id) = replaced(&mut world, Departure::Stolen);
    let since = world.now.plus(ROSTER_DELAY);
    assert_eq!(ROSTER_DELAY, Duration::from_secs(24 * 3600));
    for early in [world.now, since.minus(Duration::from_micros(1))] {
        let refused = roster.in_force(&id, early).map(|_| ());
        assert_eq!(refused, Err(NotInForce::TooEarly { since }));
        assert_eq!(roster.number_at(early), 0);
        let dealt_to = roster.certificate_at(early).unwrap();
        assert_eq!(dealt_to.body(), world.certificate.body());
    }
    world.now = since;
    let sent = message(&mut world, &roster, &id, &header, 2).unwrap();
    let in_force = roster.in_force(&id, since).unwrap();
    let mut taken = Resupplied::new(&header, in_force).unwrap();
    assert_eq!(taken.take(&sent, &new.periods[0]), Ok(()));
    // The keys of the period after are of no use for this session's message.
    assert!(taken.take(&sent, &new.periods[1]).is_err());
}

/// Attack: a vault makes re-supply messages itself, a member speaks for another, the removed member
/// speaks for its old slot, or the successor for itself.
#[test]
fn unsigned_resupply_rejected() {
    let mut world = World::new();
    let (header, _) = world.session();
    let (roster, new, id) = replaced(&mut world, Departure::RemovedForCause);
    world.now = world.now.plus(ROSTER_DELAY);
    let sent = message(&mut world, &roster, &id, &header, 2).unwrap();
    let in_force = roster.in_force(&id, world.now).unwrap();
    let mut taken = Resupplied::new(&header, in_force).unwrap();
    let all = taken.missing();
    let legal = world.members[&(Role::LegalReview, slot(2))]
        .identity
        .clone();
    let third = world.members[&(Role::Workflow, slot(3))].identity.clone();
    let removed = world.members[&(Role::Workflow, slot(1))].identity.clone();
    for liar in [&legal, &third, &removed, &new.identity] {
        let forged = Resupply::sign(sent.place, sent.sealed.clone(), liar);
        let refused = taken.take(&forged, &new.periods[0]).unwrap_err();
        assert!(
            matches!(refused, ResupplyRefusal::Signature { .. }),
            "{refused:?}"
        );
    }
    let mut changed = sent.clone();
    changed.sealed[1130] ^= 1;
    let refused = taken.take(&changed, &new.periods[0]).unwrap_err();
    assert!(matches!(refused, ResupplyRefusal::Signature { .. }));
    for (number, key) in [(1, &removed), (1, &new.identity), (7, &third)] {
        let place = ResupplyPlace {
            holder: slot(number),
            ..sent.place
        };
        let forged = Resupply::sign(place, sent.sealed.clone(), key);
        let refused = taken.take(&forged, &new.periods[0]).unwrap_err();
        assert_eq!(refused, ResupplyRefusal::NotAHolder(slot(number)));
    }
    assert_eq!(taken.missing(), all);
    // The removed member cannot make one either, with the keys that it still has.
    let (at, identity, key) = holder(&world, &header, 1);
    let part = header.header().part(Role::Workflow, at).unwrap();
    let made = resupply(&mut world.rng, &in_force, &header, part, &key, &identity);
    assert_eq!(made.map(|_| ()), Err(ResupplyError::NotAHolder(at)));
    assert_eq!(taken.take(&sent, &new.periods[0]), Ok(()));
}

/// A bulk job goes on where it was interrupted, and a session counts once.
#[test]
fn resupply_progress_resumes() {
    let sids = (0..5u8).map(|number| SessionId([number; 32]));
    let mut progress = ResupplyProgress::new(sids.clone());
    assert_eq!(progress.counts(), (0, 5));
    let first = progress.next(2);
    assert_eq!(first, [SessionId([0; 32]), SessionId([1; 32])]);
    for sid in first.iter().chain(&first) {
        progress.note(sid);
    }
    assert_eq!(progress.counts(), (2, 5));
    assert_eq!(progress.next(9).len(), 3);
    progress.note(&SessionId([9; 32]));
    assert_eq!(progress.counts(), (2, 5));
}
