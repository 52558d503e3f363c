//! Erasure and hold (docs/cryptography.md section 11): what "shredded" may claim, and capsules.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use bailiwick_envelope::certificate::TrustRoster;
use bailiwick_envelope::erasure::{
    EraseDecision, ErasureAttestation, HoldCoverage, ShredState, decide_erasure, shred_status,
};
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_envelope::hold::{
    Capsule, CapsulePlace, CapsuleStatement, HoldAction, HoldDecision, HoldError, HoldOrder,
    HoldQuorum, HoldStatement, VerifiedHold,
};
use bailiwick_envelope::label::Label;
use bailiwick_envelope::request::ScopeLine;
use bailiwick_envelope::roster::Roster;
use bailiwick_envelope::selection::Selection;
use bailiwick_envelope::{Canonical, IdentityKey, Signature, SigningKey, sha256};
use bailiwick_threshold::{
    CapsuleError, HoldKey, SelectedRecord, open_capsule, open_part, seal_capsules,
};
use bailiwick_types::{
    Category, Digest, HoldId, KeyId, Minute, Role, Slot, SlotMask, SubjectPseudonym, Threshold,
};
use world::*;

/// Everybody's seats with their identities, in canonical order.
fn seats(world: &World) -> Vec<(Role, Slot)> {
    world.members.keys().copied().collect()
}

fn attest(world: &World, kid: KeyId, (role, slot): (Role, Slot)) -> ErasureAttestation {
    let identity = &world.members[&(role, slot)].identity;
    let made = ErasureAttestation::sign(kid, role, slot, identity);
    ErasureAttestation::from_bytes(&made.to_bytes()).unwrap()
}

/// Attack: somebody claims "shredded" while a quorum of both roles could still be put together from
/// members that lied, by repeating attestations, signing for others, or mixing roles and periods.
#[test]
fn shred_status_needs_all_of_one_role() {
    for (needed, members) in [(2, 3), (3, 5), (2, 4)] {
        let world = World::with((needed, members), (needed, members));
        let roster = Roster::new(world.certificate.clone());
        let [kid, other] = [0, 1].map(|period| world.certificate.kid(period).unwrap());
        let state = |attested: &[_]| shred_status(&roster, kid, attested).unwrap().state;
        let breaks = members - needed + 1;
        let mut attested = Vec::new();
        // All but one of both roles: still only "if nobody lied".
        for number in 1..members {
            for role in Role::ALL {
                attested.push(attest(&world, kid, (role, slot(number))));
            }
            let expected = if number < breaks {
                ShredState::Readable
            } else {
                ShredState::UnreadableIfNobodyLied(Role::Workflow)
            };
            assert_eq!(state(&attested), expected, "{number} of {members}");
        }
        let last = (Role::LegalReview, slot(members));
        let signer = &world.members[&(Role::Workflow, slot(1))].identity;
        let honest = attested.len();
        attested.extend(attested.clone());
        attested.push(attest(&world, other, last));
        attested.push(ErasureAttestation::sign(kid, last.0, last.1, signer));
        let mut damaged = attest(&world, kid, last);
        damaged.signature.0[0] ^= 1;
        attested.push(damaged);
        assert_eq!(attested.len(), 2 * honest + 3);
        let status = shred_status(&roster, kid, &attested).unwrap();
        assert_eq!(
            status.state,
            ShredState::UnreadableIfNobodyLied(Role::Workflow)
        );
        for role in status.roles {
            assert_eq!(role.missing, SlotMask::of(slot(members)));
        }
        attested.push(attest(&world, kid, last));
        assert_eq!(state(&attested), ShredState::Shredded(Role::LegalReview));
        assert_eq!(
            shred_status(&roster, other, &attested).unwrap().state,
            ShredState::Readable
        );
        assert_eq!(shred_status(&roster, KeyId([1; 32]), &attested), None);
    }
}

/// Persons who decide about holds: one per seat.
fn deciders(world: &World) -> (TrustRoster, BTreeMap<(Role, Slot), SigningKey>) {
    let mut roster = trust(world.certificate.body());
    let mut keys = BTreeMap::new();
    for role in Role::ALL {
        let committee = match role {
            Role::Workflow => &mut roster.workflow,
            Role::LegalReview => &mut roster.legal_review,
        };
        for member in &mut committee.members {
            let label = format!("{role}-{}-reviewer", member.slot);
            let key = SigningKey::from_bytes(&sha256(label.as_bytes()).0);
            member.reviewers[0].person = label.parse().unwrap();
            member.reviewers[0].key = IdentityKey::of(&key);
            keys.insert((role, member.slot), key);
        }
    }
    (roster, keys)
}

fn order(salt: u8) -> HoldOrder {
    let line = |subject: u8| ScopeLine {
        subject: SubjectPseudonym([subject; 16]),
        categories: Category::ALL.to_vec(),
        from: Minute(START.minute().0),
        to: Minute(START.minute().0 + 60),
    };
    HoldOrder {
        jurisdiction: france(),
        scope: vec![line(1), line(2)],
        authority: "tribunal-paris".parse().unwrap(),
        basis: "CPP 60-2".to_owned(),
        entered_by: "clerk".parse().unwrap(),
        placed_at: START,
        expires_at: START.plus(DAY * 60),
        salt: [salt; 32],
    }
}

fn decide(
    statement: HoldStatement,
    seats: &[(Role, u8)],
    keys: &BTreeMap<(Role, Slot), SigningKey>,
) -> Vec<HoldDecision> {
    let decision = |(role, number): &(Role, u8)| {
        let at = (*role, slot(*number));
        let made = HoldDecision::sign(statement, at.0, at.1, &keys[&at]);
        HoldDecision::from_bytes(&made.to_bytes()).unwrap()
    };
    seats.iter().map(decision).collect()
}

const ONE_EACH: [(Role, u8); 2] = [(Role::Workflow, 1), (Role::LegalReview, 2)];

fn quorum() -> HoldQuorum {
    HoldQuorum::new(1, 1).unwrap()
}

/// A placed hold over all of `some_records`.
fn hold(world: &World, salt: u8, records: &[SelectedRecord]) -> VerifiedHold {
    let order = HoldOrder::from_bytes(&order(salt).to_bytes()).unwrap();
    let (trust, keys) = deciders(world);
    let root = world.selection(records).root;
    let statement = HoldStatement {
        hold: order.id(),
        action: HoldAction::Place,
        until: order.expires_at,
        root,
    };
    let decisions = decide(statement, &ONE_EACH, &keys);
    VerifiedHold::place(order, root, &decisions, &trust, quorum()).unwrap()
}

struct Scene {
    world: World,
    header: VerifiedHeader,
    records: Vec<SelectedRecord>,
}

fn scene(threshold: (u8, u8)) -> Scene {
    let mut world = World::with(threshold, threshold);
    let (header, mut sealer) = world.session();
    world.seal(&mut sealer, &[phone(9, "33612345679")]);
    let block = world.seal(&mut sealer, &some_records());
    let records = selected(&header, &block, 0);
    Scene {
        world,
        header,
        records,
    }
}

impl Scene {
    fn labels(&self) -> Vec<(Label, Digest)> {
        let of = |record: &SelectedRecord| (record.label.clone(), record.alpha);
        self.records.iter().map(of).collect()
    }

    fn capsules(
        &self,
        hold: &VerifiedHold,
        key: &HoldKey,
        (role, slot): (Role, Slot),
    ) -> Result<Vec<Capsule>, CapsuleError> {
        let part = self.header.header().part(role, slot).unwrap();
        let period_key = self.world.key(&self.header, role, slot);
        let (world, labels) = (&self.world, self.labels());
        let held = (part, period_key);
        seal_capsules(
            hold,
            key,
            &self.header,
            &world.certificate,
            held,
            &labels,
            world.now,
        )
    }

    fn threshold(&self) -> Threshold {
        self.world.certificate.body().workflow.threshold
    }
}

/// The period's keys are gone everywhere; a later request with its own quorum is still answered from
/// the capsules, as if nothing had happened, and by t members of each role only.
#[test]
fn capsule_survives_period_erase() {
    for threshold in [(2, 3), (3, 5)] {
        let mut scene = scene(threshold);
        let hold = hold(&scene.world, 1, &scene.records);
        let seats = seats(&scene.world);
        let mut kept: BTreeMap<(Role, Slot), (HoldKey, Vec<Capsule>)> = BTreeMap::new();
        let mut before = BTreeMap::new();
        for at in &seats {
            let key = HoldKey::draw(&mut scene.world.rng);
            let capsules = scene.capsules(&hold, &key, *at).unwrap();
            let part = &mut scene.world.part(&scene.header, at.0, at.1);
            before.insert(*at, values(part, &scene.records));
            kept.insert(*at, (key, capsules));
        }
        for member in scene.world.members.values_mut() {
            member.periods.clear();
        }
        let mut partials = Vec::new();
        for (at, (key, capsules)) in &kept {
            let place = |record: &SelectedRecord| CapsulePlace {
                hold: hold.id(),
                kid: scene.header.body().kid,
                role: at.0,
                slot: at.1,
                x: record.label.record_input(&record.alpha),
            };
            let read = |(record, capsule): (&SelectedRecord, &Capsule)| {
                let capsule = Capsule::from_bytes(&capsule.to_bytes()).unwrap();
                let place = place(record);
                open_capsule(key, &place, &capsule, scene.threshold(), record.index).unwrap()
            };
            let values: Vec<_> = scene.records.iter().zip(capsules).map(read).collect();
            assert!(values == before[at]);
            if at.1.number() <= scene.threshold().needed() {
                partials.push((*at, values));
            }
        }
        let selection = scene.world.selection(&scene.records).id();
        let bodies = partials.into_iter().map(|((role, slot), records)| {
            bailiwick_envelope::release::PartialBody {
                place: scene.world.place(&scene.header, role, slot),
                selection,
                roster: 0,
                records,
            }
        });
        let bodies: Vec<_> = bodies.collect();
        let sent: Vec<_> = bodies.iter().map(|body| scene.world.send(body)).collect();
        let opening = scene.world.open(&scene.records, &sent);
        assert!(opens_all(&opening, &some_records()), "{threshold:?}");
        let fewer = &sent[..sent.len() - 1];
        assert!(scene.world.open(&scene.records, fewer).is_err());
        // The session itself stays closed: there is no key of the period any more.
        let stranger = bailiwick_threshold::DecapsulationKey::from_bytes(&[1; 32]);
        let (role, first) = seats[0];
        let part = open_part(
            &scene.header,
            &scene.world.certificate,
            role,
            first,
            &stranger,
        );
        assert!(part.is_err());
    }
}

/// Attack: the disk that keeps the capsules writes its own: made under another key, changed, cut, or
/// of values of its choice. None opens, so that no member releases what it did not compute.
#[test]
fn forged_capsule_rejected() {
    let mut scene = scene((2, 3));
    let hold = hold(&scene.world, 1, &scene.records);
    let at = (Role::Workflow, slot(2));
    let key = HoldKey::draw(&mut scene.world.rng);
    let made = scene.capsules(&hold, &key, at).unwrap();
    let open = |capsule: &Capsule, key: &HoldKey| {
        let place = made[0].place;
        open_capsule(key, &place, capsule, scene.threshold(), 0).map(|_| ())
    };
    assert_eq!(open(&made[0], &key), Ok(()));
    let same = HoldKey::from_bytes(&key.to_bytes());
    assert_eq!(open(&made[0], &same), Ok(()));
    let other = HoldKey::from_bytes(&[7; 32]);
    let by_other = scene.capsules(&hold, &other, at).unwrap();
    assert_eq!(open(&by_other[0], &key), Err(CapsuleError::Forged));
    assert_eq!(open(&made[0], &other), Err(CapsuleError::Forged));
    for at in 0..made[0].sealed.len() {
        let mut changed = made[0].clone();
        changed.sealed[at] ^= 1;
        assert_eq!(open(&changed, &key), Err(CapsuleError::Forged), "byte {at}");
        let mut cut = made[0].clone();
        cut.sealed.truncate(at);
        assert_eq!(open(&cut, &key), Err(CapsuleError::Forged), "cut at {at}");
    }
}

/// Attack: a capsule is put in another's place: another record's, period's, hold's, member's or
/// role's, with its own claim or with that of the place. Every pair is tried.
#[test]
fn swapped_capsule_rejected() {
    let mut scene = scene((2, 3));
    let key = HoldKey::draw(&mut scene.world.rng);
    let holds = [1, 2].map(|salt| hold(&scene.world, salt, &scene.records));
    let mut made = Vec::new();
    for hold in &holds {
        for at in [
            (Role::Workflow, slot(1)),
            (Role::Workflow, slot(2)),
            (Role::LegalReview, slot(1)),
        ] {
            // One key for all: even then the places do not mix.
            made.extend(scene.capsules(hold, &key, at).unwrap());
        }
    }
    let mut of_other_period = made[0].clone();
    of_other_period.place.kid = scene.world.certificate.kid(1).unwrap();
    let places: Vec<CapsulePlace> = made.iter().map(|capsule| capsule.place).collect();
    let mut opened = 0;
    for (from, capsule) in made.iter().enumerate() {
        for (to, place) in places.iter().enumerate() {
            let open = |capsule: &Capsule| {
                open_capsule(&key, place, capsule, scene.threshold(), 0).is_ok()
            };
            assert_eq!(open(capsule), from == to);
            let relabelled = Capsule {
                place: *place,
                sealed: capsule.sealed.clone(),
            };
            assert_eq!(open(&relabelled), from == to);
            opened += usize::from(from == to);
        }
    }
    assert_eq!(opened, 18);
    let place = of_other_period.place;
    let refused = open_capsule(&key, &place, &of_other_period, scene.threshold(), 0);
    assert_eq!(refused.map(|_| ()), Err(CapsuleError::Forged));
}

/// Attack: a hold is used to have values computed that it does not cover, or after its end.
#[test]
fn capsules_are_made_inside_a_live_hold_only() {
    let mut scene = scene((2, 3));
    let hold = hold(&scene.world, 1, &scene.records);
    let key = HoldKey::draw(&mut scene.world.rng);
    let at = (Role::LegalReview, slot(3));
    assert_eq!(scene.capsules(&hold, &key, at).unwrap().len(), 3);
    let changes: [fn(&mut Label); 5] = [
        |label| label.subject.0[0] ^= 1,
        |label| label.minute.0 += 60,
        |label| label.jurisdiction = "DE".parse().unwrap(),
        |label| label.sid.0[0] ^= 1,
        |label| label.block = 16,
    ];
    for change in changes {
        let mut changed = Scene {
            world: World::new(),
            header: scene.header.clone(),
            records: scene.records.clone(),
        };
        change(&mut changed.records[1].label);
        let refused = changed.capsules(&hold, &key, at).unwrap_err();
        assert_eq!(refused, CapsuleError::OutOfHold(1));
    }
    scene.world.now = hold.until();
    let refused = scene.capsules(&hold, &key, at).unwrap_err();
    assert_eq!(refused, CapsuleError::Ended(hold.id()));
}

/// Attack: a freeze request is forged, signed by one role, by one person twice, by who entered it,
/// or for other records; extensions go on for ever.
#[test]
fn a_hold_needs_both_roles_and_ends() {
    let scene = scene((2, 3));
    let (trust, keys) = deciders(&scene.world);
    let order = order(1);
    let root = scene.world.selection(&scene.records).root;
    let statement = HoldStatement {
        hold: order.id(),
        action: HoldAction::Place,
        until: order.expires_at,
        root,
    };
    let place = |decisions: &[HoldDecision], root| {
        VerifiedHold::place(order.clone(), root, decisions, &trust, quorum()).map(|_| ())
    };
    assert_eq!(HoldQuorum::new(0, 1), None);
    assert_eq!(HoldQuorum::new(1, 0), None);
    let good = decide(statement, &ONE_EACH, &keys);
    assert_eq!(place(&good, root), Ok(()));
    let few = |role| HoldError::TooFew {
        role,
        counted: 0,
        needed: 1,
    };
    assert_eq!(place(&good[..1], root), Err(few(Role::LegalReview)));
    assert_eq!(place(&good[1..], root), Err(few(Role::Workflow)));
    assert_eq!(place(&good, flip(&root)), Err(few(Role::Workflow)));
    let mut forged = good.clone();
    forged[1].signature = Signature([0; 64]);
    assert_eq!(place(&forged, root), Err(few(Role::LegalReview)));
    let mut stranger = good.clone();
    stranger[1] = HoldDecision::sign(
        statement,
        Role::LegalReview,
        slot(2),
        &SigningKey::from_bytes(&[5; 32]),
    );
    assert_eq!(place(&stranger, root), Err(few(Role::LegalReview)));
    let mut by_clerk = order.clone();
    by_clerk.entered_by = "workflow-1-reviewer".parse().unwrap();
    let own = HoldStatement {
        hold: by_clerk.id(),
        ..statement
    };
    let decisions = decide(own, &ONE_EACH, &keys);
    let refused = VerifiedHold::place(by_clerk, root, &decisions, &trust, quorum());
    assert_eq!(refused.map(|_| ()), Err(HoldError::SamePerson));
    let mut endless = order.clone();
    endless.expires_at = START.plus(DAY * 400);
    let refused = VerifiedHold::place(endless, root, &good, &trust, quorum());
    assert_eq!(refused.map(|_| ()), Err(HoldError::Lifetime));

    let mut hold = VerifiedHold::place(order.clone(), root, &good, &trust, quorum()).unwrap();
    let follow = |hold: &mut VerifiedHold, action, until| {
        let statement = HoldStatement {
            hold: hold.id(),
            action,
            until,
            root,
        };
        let decisions = decide(statement, &ONE_EACH, &keys);
        hold.follow(&statement, &decisions, &trust, quorum())
    };
    let longer = order.expires_at.plus(DAY * 30);
    assert_eq!(follow(&mut hold, HoldAction::Extend, longer), Ok(()));
    assert_eq!(hold.until(), longer);
    let shorter = follow(&mut hold, HoldAction::Extend, order.expires_at);
    assert_eq!(shorter, Err(HoldError::Lifetime));
    let again = follow(&mut hold, HoldAction::Place, longer);
    assert_eq!(again, Err(HoldError::OtherStatement));
    assert!(hold.is_live(START.plus(DAY * 80)));
    let end = START.plus(DAY * 70);
    assert_eq!(follow(&mut hold, HoldAction::Release, end), Ok(()));
    assert!(!hold.is_live(end));
    let revived = follow(&mut hold, HoldAction::Extend, longer);
    assert_eq!(revived, Err(HoldError::Released));
}

/// A period's end waits for its holds: t+1 capsules are wanted, t suffice after the grace time and
/// raise an alarm, fewer keep the keys and raise an alarm.
#[test]
fn erasure_waits_for_capsules() {
    let world = World::with((2, 3), (3, 5));
    let thresholds = [(2, 3), (3, 5)].map(|(t, n)| Threshold::new(t, n).unwrap());
    let erase_by = world.certificate.body().periods[0].erase_by;
    let grace = Duration::from_secs(3600);
    let decide = |kept: &[[u8; 2]], after: Duration| {
        let cover = |kept: &[u8; 2]| HoldCoverage {
            hold: HoldId([1; 32]),
            kept: kept.map(SlotMask),
        };
        let holds: Vec<_> = kept.iter().map(cover).collect();
        decide_erasure(thresholds, erase_by, erase_by.plus(after), grace, &holds)
    };
    let before = erase_by.minus(Duration::from_micros(1));
    let early = decide_erasure(thresholds, erase_by, before, grace, &[]);
    assert_eq!(early, EraseDecision::NotDue { erase_by });
    assert_eq!(decide(&[], Duration::ZERO), EraseDecision::Erase);
    let whole = [0b111, 0b01111];
    assert_eq!(decide(&[whole], Duration::ZERO), EraseDecision::Erase);
    for enough in [[0b011, 0b01111], [0b111, 0b00111]] {
        let now = decide(&[whole, enough], Duration::ZERO);
        assert!(
            matches!(now, EraseDecision::WaitForCapsules { .. }),
            "{now:?}"
        );
        let after = decide(&[whole, enough], grace);
        assert!(
            matches!(after, EraseDecision::EraseWithAlarm(_)),
            "{after:?}"
        );
        assert!(after.erases());
    }
    for few in [[0b001, 0b11111], [0b111, 0b00011], [0, 0]] {
        let now = decide(&[few, whole], Duration::ZERO);
        assert!(matches!(now, EraseDecision::WaitForCapsules { .. }));
        let after = decide(&[few, whole], DAY * 300);
        let EraseDecision::WaitWithAlarm(missing) = after else {
            panic!("{few:?}: {after:?}");
        };
        assert!(missing.kept < missing.needed && !after.erases());
    }
    // A slot that the role does not have keeps nothing.
    let stranger = decide(&[[0b1000_0001, 0b11111]], grace);
    assert!(matches!(stranger, EraseDecision::WaitWithAlarm(_)));
}

/// Attack: a member's statement is forged, about fewer or other records, or of another period, and
/// the period is erased on its word.
#[test]
fn only_true_statements_of_capsules_count() {
    let scene = scene((2, 3));
    let world = &scene.world;
    let roster = Roster::new(world.certificate.clone());
    let kid = scene.header.body().kid;
    let hold = hold(world, 1, &scene.records);
    let inputs = scene.records.iter().map(|record| {
        let x = record.label.record_input(&record.alpha);
        (x, record.label.category)
    });
    let expected = Selection::of(world.request, inputs);
    let about = (expected.count, expected.root);
    let state = |role, number, change: &dyn Fn(&mut CapsuleStatement)| {
        let mut statement = CapsuleStatement {
            hold: hold.id(),
            kid,
            role,
            slot: slot(number),
            count: about.0,
            root: about.1,
            signature: Signature([0; 64]),
        };
        change(&mut statement);
        let key = &world.members[&(role, slot(number))].identity;
        let signed = CapsuleStatement::sign(statement, key);
        CapsuleStatement::from_bytes(&signed.to_bytes()).unwrap()
    };
    let mut statements = vec![
        state(Role::Workflow, 1, &|_| {}),
        state(Role::Workflow, 1, &|_| {}),
        state(Role::LegalReview, 3, &|_| {}),
        state(Role::Workflow, 2, &|s| s.count -= 1),
        state(Role::Workflow, 2, &|s| s.root = flip(&s.root)),
        state(Role::Workflow, 2, &|s| s.kid.0[0] ^= 1),
        state(Role::Workflow, 2, &|s| s.hold.0[0] ^= 1),
        state(Role::Workflow, 2, &|s| s.slot = slot(3)),
    ];
    let mut damaged = state(Role::LegalReview, 1, &|_| {});
    damaged.signature.0[9] ^= 1;
    statements.push(damaged);
    let kept = HoldCoverage::of(hold.id(), kid, about, &statements, &roster).kept;
    assert_eq!(kept, [SlotMask(0b001), SlotMask(0b100)]);
}
