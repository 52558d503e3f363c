//! Capsules of held records: made from what the log and a trusted edge say, and from nothing else.

use std::time::Duration;

use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::erasure::{HoldCoverage, decide_erasure};
use bailiwick_envelope::hold::{
    CapsulePlace, HoldAction, HoldDecision, HoldOrder, HoldQuorum, HoldStatement,
};
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::roster::Roster;
use bailiwick_threshold::{HoldKey, open_capsule};
use bailiwick_tlog::MerkleTree;
use bailiwick_types::{Digest, HoldId, Role, SlotMask};

use super::world::{Case, NOON, World, france, name, seat, subject};
use crate::held::{HeldRecords, HeldRefusal, LoggedHold};
use crate::key_life::KeyLife;

const DAY: Duration = Duration::from_secs(86_400);

fn life(world: &World) -> KeyLife {
    let mut life = KeyLife::default();
    let identity = world.members[0].keys.identity();
    for leaf in &world.leaves {
        life.fold(leaf, &identity);
    }
    life
}

fn quorum() -> HoldQuorum {
    HoldQuorum::new(1, 1).unwrap()
}

fn order(world: &World) -> HoldOrder {
    HoldOrder {
        jurisdiction: france(),
        scope: world.request(1).scope,
        authority: name("tribunal-paris"),
        basis: "CPP 60-2".to_owned(),
        entered_by: name("clerk"),
        placed_at: NOON,
        expires_at: NOON.plus(DAY * 60),
        salt: [2; 32],
    }
}

fn root(case: &Case) -> Digest {
    let records = case.pages.iter().flat_map(|page| &page.records);
    let inputs = records.map(|record| record.label.record_input(&record.alpha).0);
    Digest(MerkleTree::from_leaves(inputs.collect()).root())
}

/// Logs the decisions of the first reviewers of both roles.
fn decide(world: &mut World, statement: HoldStatement) {
    for role in Role::ALL {
        let at = seat(role, 1);
        let decision = {
            let key = &world.member(at).reviewer;
            HoldDecision::sign(statement, at.role, at.slot, key)
        };
        world.log(LeafContent::HoldDecision(decision));
    }
}

/// A logged hold over all of subject 1, and what an honest vault shows of it.
fn placed(world: &mut World) -> (HoldId, Case) {
    let case = world.find(&world.request(1));
    let order = order(world);
    let statement = HoldStatement {
        hold: order.id(),
        action: HoldAction::Place,
        until: order.expires_at,
        root: root(&case),
    };
    world.log(LeafContent::Hold(Box::new(order)));
    decide(world, statement);
    (statement.hold, case)
}

fn logged(world: &mut World, id: HoldId, root: Digest) -> Result<LoggedHold, HeldRefusal> {
    let checkpoint = world.checkpoint();
    let (life, trust) = (life(world), &world.trust);
    LoggedHold::verify(&checkpoint, &life, trust, quorum(), (id, root), world.now)
}

fn held(world: &World, logged: &LoggedHold, case: &Case) -> Result<HeldRecords, HeldRefusal> {
    let certificates: &[VerifiedCertificate] = std::slice::from_ref(&world.certificate);
    HeldRecords::verify(logged, &world.trust, certificates, &case.pages)
}

/// Every member makes capsules and states it; then the period may be erased, and each capsule opens
/// at its own member and place.
#[test]
fn members_keep_capsules_and_the_period_may_end() {
    let mut world = World::new();
    let (id, case) = placed(&mut world);
    let logged = logged(&mut world, id, root(&case)).unwrap();
    let held = held(&world, &logged, &case).unwrap();
    let kid = world.certificate.kid(0).unwrap();
    assert_eq!(held.periods(), [kid]);
    let threshold = world.certificate.body().workflow.threshold;
    let mut statements = Vec::new();
    for at in [1, 2, 3].map(|slot| seat(Role::Workflow, slot)) {
        let key = HoldKey::draw(&mut world.rng);
        let keys = &world.member(at).keys;
        let mut made = keys
            .make_capsules(&logged, &held, &world.trust, &key, world.now)
            .unwrap();
        let of_period = made.pop().unwrap();
        assert!(made.is_empty() && of_period.kid == kid);
        assert_eq!(of_period.capsules.len(), 3);
        for capsule in &of_period.capsules {
            let place = CapsulePlace { ..capsule.place };
            assert_eq!((place.hold, place.role, place.slot), (id, at.role, at.slot));
            assert!(open_capsule(&key, &place, capsule, threshold, 0).is_ok());
        }
        statements.push(of_period.kept(keys, |_| Ok::<(), ()>(())).unwrap());
    }
    let roster = Roster::new(world.certificate.clone());
    let about = (3, root(&case));
    let coverage = HoldCoverage::of(id, kid, about, &statements, &roster);
    assert_eq!(coverage.kept, [SlotMask(0b111), SlotMask(0)]);
    let erase_by = world.certificate.body().periods[0].erase_by;
    let decide = |coverage| {
        decide_erasure(
            [threshold; 2],
            erase_by,
            erase_by.plus(DAY),
            DAY,
            &[coverage],
        )
        .erases()
    };
    assert!(!decide(coverage), "legal review keeps none yet");
    let both = HoldCoverage {
        kept: [SlotMask(0b111); 2],
        ..coverage
    };
    assert!(decide(both));
    // A disk that fails leaves no statement on which a period could be erased.
    let keys = &world.members[0].keys;
    let key = HoldKey::from_bytes(&[1; 32]);
    let made = keys.make_capsules(&logged, &held, &world.trust, &key, world.now);
    assert_eq!(made.unwrap().pop().unwrap().kept(keys, |_| Err(7)), Err(7));
}

/// Attack: a vault asks for capsules of a hold that is not logged, not decided, over, or of another
/// checkpoint, so that values are computed that nobody asked for.
#[test]
fn a_hold_is_taken_from_the_log_only() {
    let mut world = World::new();
    let (id, case) = placed(&mut world);
    let root = root(&case);
    let other = HoldId([9; 32]);
    let refused = logged(&mut world, other, root).unwrap_err();
    assert_eq!(refused, HeldRefusal::NotLogged(other));
    let mut elsewhere = root;
    elsewhere.0[0] ^= 1;
    let refused = logged(&mut world, id, elsewhere).unwrap_err();
    assert!(matches!(refused, HeldRefusal::Hold(_)), "{refused:?}");
    let checkpoint = world.checkpoint();
    let behind = KeyLife::default();
    let (trust, now) = (&world.trust, world.now);
    let stale = LoggedHold::verify(&checkpoint, &behind, trust, quorum(), (id, root), now);
    assert_eq!(stale.unwrap_err(), HeldRefusal::Checkpoint);
    let more = HoldQuorum::new(2, 1).unwrap();
    let life_now = life(&world);
    let few = LoggedHold::verify(&checkpoint, &life_now, trust, more, (id, root), now);
    assert!(matches!(few, Err(HeldRefusal::Hold(_))));

    let mut undecided = World::new();
    let order = order(&undecided);
    let id_of_undecided = order.id();
    undecided.log(LeafContent::Hold(Box::new(order)));
    let refused = logged(&mut undecided, id_of_undecided, root).unwrap_err();
    assert!(matches!(refused, HeldRefusal::Hold(_)));

    assert!(logged(&mut world, id, root).is_ok());
    let release = HoldStatement {
        hold: id,
        action: HoldAction::Release,
        until: world.now,
        root,
    };
    decide(&mut world, release);
    let refused = logged(&mut world, id, root).unwrap_err();
    assert_eq!(refused, HeldRefusal::Ended(id));
}

/// Attack: a vault shows other records than the hold's: more, fewer, another subject's, tampered, or
/// of an edge that nobody trusts. No capsule is made.
#[test]
fn only_the_holds_own_records_get_capsules() {
    let mut world = World::new();
    let (id, case) = placed(&mut world);
    let logged = logged(&mut world, id, root(&case)).unwrap();
    assert!(held(&world, &logged, &case).is_ok());
    let changed = |change: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        held(&world, &logged, &case).map(|_| ()).unwrap_err()
    };
    let fewer = changed(&|case| drop(case.pages[0].records.pop()));
    assert_eq!(fewer, HeldRefusal::OtherRecords);
    let twice = changed(&|case| {
        let last = case.pages[0].records[2].clone();
        case.pages[0].records.push(last);
    });
    assert_eq!(twice, HeldRefusal::Order(3));
    let tampered = changed(&|case| case.pages[0].records[1].alpha.0[0] ^= 1);
    assert!(matches!(tampered, HeldRefusal::NotWritten { index: 1, .. }));
    let relabelled = changed(&|case| case.pages[0].records[0].label.subject = subject(2));
    assert_eq!(relabelled, HeldRefusal::OutOfHold(0));
    let unsent = changed(&|case| case.pages[0].blocks.clear());
    assert_eq!(unsent, HeldRefusal::NoBlock(0));
    let forged = changed(&|case| case.pages[0].blocks[0].signature.0[0] ^= 1);
    assert!(matches!(forged, HeldRefusal::Manifest { .. }));
    let stranger = changed(&|case| case.pages[0].sessions[0].body.edge = name("edge-9"));
    assert!(matches!(stranger, HeldRefusal::UnknownEdge(_)));
    let long = changed(&|case| {
        let block = case.pages[0].blocks[0].clone();
        case.pages[0].blocks.resize(1025, block);
    });
    assert_eq!(long, HeldRefusal::Page(1025));
    let more = world.show(&world.request(1), |_| true);
    let refused = held(&world, &logged, &more).map(|_| ()).unwrap_err();
    assert!(matches!(refused, HeldRefusal::OutOfHold(_)));
}
