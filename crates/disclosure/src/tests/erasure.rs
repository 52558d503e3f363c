//! The end of keys: due, destroyed, attested, and not brought back by a backup.

use std::cell::RefCell;
use std::time::Duration;

use bailiwick_envelope::certificate::{CertificateBody, KeyCertificate, VerifiedCertificate};
use bailiwick_envelope::erasure::{EraseDecision, EraseIntent, ErasureAttestation, HoldCoverage};
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_envelope::schedule::{DAY, Retention, ScheduleError, WEEK, periods};
use bailiwick_threshold::DecapsulationKey;
use bailiwick_types::{Digest, HoldId, KeyId, Role, SlotMask, Timestamp};

use super::world::{MemberWorld, NOON, World, france, offered_body, seat};
use crate::erasure::{ErasureError, RestingKeys, plan_erasures};
use crate::key_life::KeyLife;
use crate::keys::{DraftKeys, KeysError, MemberKeys};
use crate::release::ReleaseError;

const HOUR: Duration = Duration::from_secs(3600);

fn life(world: &World, leaves: &[OpenedLeaf]) -> KeyLife {
    let mut life = KeyLife::default();
    let identity = world.member(seat(Role::Workflow, 1)).keys.identity();
    for leaf in leaves {
        let read = bailiwick_envelope::Canonical::to_bytes(leaf);
        let read: OpenedLeaf = bailiwick_envelope::Canonical::from_bytes(&read).unwrap();
        assert_eq!(read, *leaf);
        life.fold(&read, &identity);
    }
    life
}

fn header(world: &World) -> VerifiedHeader {
    let threshold = |role| world.certificate.body().committee(role).threshold;
    let edge = bailiwick_envelope::IdentityKey::of(&world.edge);
    let header = world.header.clone();
    header
        .verify(
            &edge,
            threshold(Role::Workflow),
            threshold(Role::LegalReview),
        )
        .unwrap()
}

/// Puts a copy of the member's period key back, as a restored disk does.
fn restored(backup: &[u8; 32], kid: KeyId) -> RestingKeys {
    let identity = bailiwick_envelope::sha256(b"workflow-1").0;
    let identity = bailiwick_envelope::SigningKey::from_bytes(&identity);
    let mut keys = MemberKeys::new("workflow-1".parse().unwrap(), identity);
    keys.insert(france(), kid, DecapsulationKey::from_bytes(backup));
    RestingKeys::new(keys)
}

/// Attack: an approver's disk is restored from a backup that was made before an erasure. Whatever the
/// disk says, nothing of that period opens: it is destroyed again before anything is served, and not
/// at all served while the log is behind what others cosigned.
#[test]
fn restored_keystore_reerases() {
    let mut world = World::new();
    let case = world.approved();
    let at = seat(Role::Workflow, 1);
    let kid = world.certificate.kid(0).unwrap();
    let approvable = world.approvable(&case, at).unwrap();
    let order = world.order(approvable).unwrap();
    let backup = world
        .member(at)
        .keys
        .period_key(france(), kid)
        .unwrap()
        .to_bytes();
    let known = restored(&backup, kid);
    let checkpoint = world.checkpoint();
    let still = life(&world, &world.leaves);
    let untouched = known.serve(&checkpoint, &still, |_| Err(ErasureError::NoPeriod(kid)));
    let (keys, again) = untouched.unwrap();
    assert!(keys.holds(france(), kid) && again.is_empty());

    // The erasure: intent logged, destroyed, attested and logged.
    let trust = world.trust.clone();
    let index = world.members.iter().position(|m| m.seat == at).unwrap();
    let keys = &world.members[index].keys;
    let intent = keys.erase_intent(&world.certificate, kid, &trust).unwrap();
    let early = keys.attest_erased(kid, &trust);
    assert_eq!(early, Err(ErasureError::StillHeld(kid)), "no lie is signed");
    world.log(LeafContent::EraseIntent(intent));
    assert!(world.members[index].keys.erase(france(), kid));
    let attested = world.members[index]
        .keys
        .attest_erased(kid, &trust)
        .unwrap();
    let behind = life(&world, &world.leaves[..world.leaves.len() - 1]);
    let with_intent = life(&world, &world.leaves);
    world.log(LeafContent::Erased(attested));
    let checkpoint = world.checkpoint();
    let whole = life(&world, &world.leaves);
    assert_eq!(whole.attestations(kid), [attested]);

    // Behind the cosigned log: nothing is served, nothing destroyed.
    for stale in [&behind, &with_intent, &KeyLife::default()] {
        let served = restored(&backup, kid).serve(&checkpoint, stale, |_| Ok(()));
        let (folded, size) = (stale.size(), checkpoint.size());
        assert!(
            matches!(served, Err(ErasureError::Behind { folded: f, size: s }) if (f, s) == (folded, size))
        );
    }
    // A disk that cannot destroy serves nothing either.
    let failing =
        restored(&backup, kid).serve(&checkpoint, &whole, |kid| Err(ErasureError::NoPeriod(kid)));
    assert!(failing.is_err());
    let destroyed = RefCell::new(Vec::new());
    let served = restored(&backup, kid).serve(&checkpoint, &whole, |kid| {
        destroyed.borrow_mut().push(kid);
        Ok::<(), ErasureError>(())
    });
    let (keys, again) = served.unwrap();
    assert_eq!((again, destroyed.into_inner()), (vec![kid], vec![kid]));
    assert!(!keys.holds(france(), kid));
    let answer = keys.acknowledge(&header(&world), &world.certificate, &trust);
    assert_eq!(answer, Err(KeysError::NoKey(kid)));
    let released = order.execute(&keys, &mut world.rng).map(|_| ());
    assert_eq!(released, Err(ReleaseError::NoKey(kid)));
}

/// Attack: a vault or another member writes erasures into the log so that honest keys die early. Only
/// what the member signed itself is its own erase list.
#[test]
fn nobody_erases_for_others() {
    let mut world = World::new();
    let at = seat(Role::Workflow, 1);
    let kid = world.certificate.kid(0).unwrap();
    let backup = world
        .member(at)
        .keys
        .period_key(france(), kid)
        .unwrap()
        .to_bytes();
    let stranger = bailiwick_envelope::SigningKey::from_bytes(&[3; 32]);
    let colleague = world
        .member(seat(Role::Workflow, 2))
        .keys
        .signing_key()
        .clone();
    for key in [&stranger, &colleague] {
        let intent = EraseIntent::sign(kid, at.role, at.slot, world.now, key);
        world.log(LeafContent::EraseIntent(intent));
        let erased = ErasureAttestation::sign(kid, at.role, at.slot, key);
        world.log(LeafContent::Erased(erased));
    }
    let checkpoint = world.checkpoint();
    let life = life(&world, &world.leaves);
    assert_eq!(life.erased(kid), None);
    let served = restored(&backup, kid).serve(&checkpoint, &life, |_| Ok::<(), ErasureError>(()));
    let (keys, again) = served.unwrap();
    assert!(again.is_empty() && keys.holds(france(), kid));
    let (roster, refused) = life.roster(&world.certificate);
    assert!(refused.is_empty());
    let attested = life.attestations(kid);
    let status = bailiwick_envelope::erasure::shred_status(&roster, kid, attested).unwrap();
    assert_eq!(
        status.roles.map(|role| role.attested),
        [SlotMask(0), SlotMask(0)]
    );
}

/// A certificate of so many periods of this retention, with the members' keys adopted.
fn certify(
    world: &mut World,
    retention: &Retention,
    count: usize,
) -> (VerifiedCertificate, CertificateBody, Vec<DraftKeys>) {
    let (members, rng) = (world.members.len(), &mut world.rng);
    let keys: Vec<DraftKeys> = (0..members)
        .map(|_| DraftKeys::generate(rng, count))
        .collect();
    let mut body = offered_body(&world.members, &keys, &world.trust, Digest([1; 32]));
    body.periods = periods(retention, NOON, count).unwrap();
    body.not_before = NOON;
    body.not_after = body.periods[count - 1].not_after;
    let sign = |(member, keys): (&MemberWorld, &DraftKeys)| {
        let trust = &world.trust;
        member
            .keys
            .sign_certificate_within(&body, trust, keys, retention)
            .unwrap()
    };
    let signatures = world.members.iter().zip(&keys).map(sign).collect();
    let certificate = KeyCertificate {
        body: body.clone(),
        signatures,
    };
    let certificate = certificate.verify(world.trust.roster()).unwrap();
    (certificate, body, keys)
}

/// Attack: a certificate is drafted whose keys live on, a clock is set back, a driver forgets. No
/// member signs the one, and a month and more of daily periods goes by without a key that is older
/// than the retention plus one period, nor one that dies before the duty to keep ends.
#[test]
fn no_key_outlives_retention_plus_period() {
    let mut world = World::without_records();
    for member in &mut world.members {
        let held: Vec<KeyId> = member.keys.held(france()).collect();
        for kid in held {
            member.keys.erase(france(), kid);
        }
    }
    let retention = Retention::new(DAY * 7, DAY * 30).unwrap();
    let (certificate, body, mut drafts) = certify(&mut world, &retention, 40);
    refuse_what_outlives(&world, &body, &drafts, &retention);

    let (trust, own) = (world.trust.clone(), drafts.swap_remove(0));
    let keys = &mut world.members[0].keys;
    keys.adopt(&certificate, &trust, own).unwrap();
    let certificates = [certificate.clone()];
    let mut attested = 0;
    let mut log_time = NOON;
    for hour in 0..(40 + 32) * 24u32 {
        let time = NOON.plus(HOUR * hour);
        log_time = log_time.max(time);
        // Every second day the own clock is a week behind: the log's time counts.
        let clock = if hour % 48 < 24 {
            time
        } else {
            time.minus(WEEK)
        };
        let now = clock.max(log_time);
        for planned in plan_erasures(keys, &certificates, |_| Vec::new(), HOUR, now) {
            if !planned.decision.erases() {
                assert_eq!(
                    planned.decision,
                    EraseDecision::NotDue {
                        erase_by: planned.erase_by
                    }
                );
                continue;
            }
            keys.erase_intent(&certificate, planned.kid, &trust)
                .unwrap();
            assert!(keys.erase(france(), planned.kid));
            keys.attest_erased(planned.kid, &trust).unwrap();
            attested += 1;
        }
        for (at, period) in body.periods.iter().enumerate() {
            let held = keys.holds(france(), certificate.kid(at).unwrap());
            let oldest = period
                .not_before
                .plus(retention.maximum() + retention.period());
            assert!(!held || time < oldest, "period {at} is held in hour {hour}");
            let duty = period.not_after.plus(retention.minimum());
            assert!(held || time >= duty, "period {at} is gone in hour {hour}");
        }
    }
    assert_eq!((attested, keys.held(france()).count()), (40, 0));
}

/// No member signs periods that outlive the retention, end before the duty, or are longer than a day.
fn refuse_what_outlives(
    world: &World,
    body: &CertificateBody,
    drafts: &[DraftKeys],
    retention: &Retention,
) {
    type Change = fn(&mut CertificateBody);
    let changes: [(Change, ScheduleError); 3] = [
        (
            |body| body.periods[39].erase_by = Timestamp(body.periods[39].erase_by.0 + 1),
            ScheduleError::OutlivesRetention { period: 39 },
        ),
        (
            |body| body.periods[3].erase_by = body.periods[3].not_after.plus(DAY * 6),
            ScheduleError::ErasedEarly { period: 3 },
        ),
        (
            |body| {
                body.periods.truncate(1);
                body.periods[0].not_after = Timestamp(body.periods[0].not_after.0 + 1);
            },
            ScheduleError::TooLong {
                period: 0,
                allowed: DAY,
            },
        ),
    ];
    for (change, expected) in changes {
        let mut changed = body.clone();
        change(&mut changed);
        for (member, keys) in world.members.iter().zip(drafts) {
            let trust = &world.trust;
            let signed = member
                .keys
                .sign_certificate_within(&changed, trust, keys, retention);
            assert_eq!(signed, Err(ErasureError::Schedule(expected.clone())));
        }
    }
}

/// A live hold without capsules keeps the keys past their time, and the plan says so; an ended hold
/// does not.
#[test]
fn a_hold_without_capsules_keeps_the_keys() {
    let world = World::without_records();
    let at = seat(Role::LegalReview, 2);
    let keys = &world.member(at).keys;
    let erase_by = world.certificate.body().periods[0].erase_by;
    let certificates = [world.certificate.clone()];
    let plan = |kept: Option<[u8; 2]>, now: Timestamp| {
        let holds = |_| {
            let cover = |kept: [u8; 2]| HoldCoverage {
                hold: HoldId([1; 32]),
                kept: kept.map(SlotMask),
            };
            kept.map(cover).into_iter().collect()
        };
        let planned = plan_erasures(keys, &certificates, holds, HOUR, now);
        assert_eq!(planned.len(), 1);
        planned[0].decision
    };
    let late = erase_by.plus(DAY * 30);
    assert_eq!(plan(None, late), EraseDecision::Erase);
    assert!(matches!(
        plan(Some([1, 1]), late),
        EraseDecision::WaitWithAlarm(_)
    ));
    assert!(matches!(
        plan(Some([3, 3]), late),
        EraseDecision::EraseWithAlarm(_)
    ));
    assert_eq!(plan(Some([7, 7]), late), EraseDecision::Erase);
}
