//! Attacks on the log: forks, stale checkpoints, and a witness that must not forget.

use std::time::Duration;

use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_types::limits::CHECKPOINT_AGE;
use bailiwick_types::{Role, Timestamp};

use super::world::{NOON, ORIGIN, World, name, persist, seat};
use crate::checks::{CheckpointRefusal, CosignedCheckpoint, RequestRefusal};
use crate::follower::{ADVANCE_LEAVES, FollowError, LogFollower, PersistedFollower};
use crate::refusal::ReleaseRefusal;

fn all(world: &World) -> Vec<crate::Seat> {
    world.members.iter().map(|member| member.seat).collect()
}

/// Attack: an approver is shown an old checkpoint, before a recall. Its cosignatures are older than
/// ten minutes.
#[test]
fn stale_checkpoint_refused() {
    let mut world = World::new();
    world.approved();
    let signed = world.sync();
    let verify = |world: &World, now: Timestamp| {
        CosignedCheckpoint::verify(&signed, &world.trust, &world.follower, now).map(|_| ())
    };
    assert_eq!(verify(&world, NOON.plus(CHECKPOINT_AGE)), Ok(()));
    let late = NOON.plus(CHECKPOINT_AGE + Duration::from_secs(1));
    let expected = CheckpointRefusal::TooFew {
        role: Role::Workflow,
        counted: 0,
        needed: 2,
    };
    assert_eq!(verify(&world, late), Err(expected.clone()));
    // Nor does a cosignature from the future count.
    assert_eq!(
        verify(&world, NOON.minus(Duration::from_secs(11))),
        Err(expected)
    );
}

/// A checkpoint needs t and more than half of each role; the log's own signature is none of them.
#[test]
fn too_few_cosignatures_refused() {
    let mut world = World::new();
    world.approved();
    let seats = [
        seat(Role::Workflow, 1),
        seat(Role::Workflow, 2),
        seat(Role::Workflow, 3),
        seat(Role::LegalReview, 1),
    ];
    let signed = world.cosigned_by(&seats, NOON);
    let refusal = CosignedCheckpoint::verify(&signed, &world.trust, &world.follower, NOON);
    let expected = CheckpointRefusal::TooFew {
        role: Role::LegalReview,
        counted: 1,
        needed: 2,
    };
    assert_eq!(refusal.unwrap_err(), expected);
}

/// Attack: two approvers are shown different logs of one origin. The one that folded the first log
/// recomputes another root, keeps both checkpoints as evidence, and cosigns nothing.
#[test]
fn forked_log_refused() {
    let mut world = World::new();
    let case = world.approved();
    world.sync();
    let honest = world.follower.clone();
    // The same length, without one of the approvals.
    let mut forked = world.leaves.clone();
    let last = forked.len() - 1;
    forked[last] = OpenedLeaf::new(
        NOON,
        LeafContent::Recall {
            request: case.request.id(),
            reason: String::new(),
            by: name("thief"),
        },
        &[3; 32],
        last as u32,
    );
    let fork = world.checkpoint_of(&forked);
    let Err(FollowError::Fork {
        offered,
        remembered,
    }) = honest.advance(&[], &world.vouched(&fork), world.now)
    else {
        panic!("a fork was followed");
    };
    assert_eq!(*offered, fork);
    assert_eq!(remembered.as_deref(), honest.last_checkpoint());
    // Neither does it authorise a release, although everybody has cosigned it.
    let mut fooled = LogFollower::new(ORIGIN)
        .advance(&forked, &world.vouched(&fork), world.now)
        .unwrap();
    let mut signed = fork.clone();
    for member in &world.members {
        let cosignature = persist(fooled.clone()).cosign(&member.keys, NOON).unwrap();
        signed.add_signature(cosignature).unwrap();
    }
    let refusal = CosignedCheckpoint::verify(&signed, &world.trust, &honest, NOON).unwrap_err();
    assert!(matches!(refusal, CheckpointRefusal::Fork { .. }));
    // A longer fork does not heal: its leaves do not follow from the honest frontier.
    forked.push(OpenedLeaf::new(
        NOON,
        LeafContent::Unfreeze { by: name("x") },
        &[3; 32],
        99,
    ));
    let longer = world.checkpoint_of(&forked);
    fooled = fooled
        .advance(&forked[last + 1..], &world.vouched(&longer), world.now)
        .unwrap();
    assert_eq!(fooled.size(), honest.size() + 1);
    assert!(matches!(
        honest.advance(&forked[last + 1..], &world.vouched(&longer), world.now),
        Err(FollowError::Fork { .. })
    ));
}

/// Attack: a checkpoint from before the request was logged is used to release it.
#[test]
fn checkpoint_older_than_the_request_refused() {
    let mut world = World::new();
    let before = world.checkpoint();
    let case = world.approved();
    world.sync();
    let refusal = world.logged(&before, &case.request).unwrap_err();
    let size = before.size();
    assert_eq!(
        refusal,
        ReleaseRefusal::Request(RequestRefusal::NotIncluded { size })
    );
    // A checkpoint between the request and its approvals gives no quorum.
    let mut world = World::new();
    let case = world.submit(&world.request(1));
    let between = world.checkpoint();
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
        world.approve(&case, seat(role, 2));
    }
    world.sync();
    assert!(matches!(
        world.quorum(&between, &case),
        Err(ReleaseRefusal::Quorum(_))
    ));
}

/// Each way in which leaves and checkpoint do not fit has its own error.
#[test]
fn leaves_must_be_exactly_what_the_checkpoint_adds() {
    let mut world = World::new();
    world.approved();
    let signed = world.checkpoint_of(&world.leaves);
    let count = world.leaves.len() as u64;
    let new = LogFollower::new(ORIGIN);
    let short = new.advance(&world.leaves[1..], &world.vouched(&signed), world.now);
    let expected = FollowError::Leaves {
        leaves: count - 1,
        needed: count,
    };
    assert_eq!(short, Err(expected));
    let mut swapped = world.leaves.clone();
    swapped.swap(2, 3);
    assert!(matches!(
        new.advance(&swapped, &world.vouched(&signed), world.now),
        Err(FollowError::Fork { .. })
    ));
    let folded = new
        .advance(&world.leaves, &world.vouched(&signed), world.now)
        .unwrap();
    let smaller = world.checkpoint_of(&world.leaves[..3]);
    assert_eq!(
        folded.advance(&[], &world.vouched(&smaller), world.now),
        Err(FollowError::Smaller {
            folded: count,
            offered: 3
        })
    );
    let other = LogFollower::new("bailiwick.example/DE");
    assert!(matches!(
        other.advance(&world.leaves, &world.vouched(&signed), world.now),
        Err(FollowError::OtherOrigin { .. })
    ));
    let unnamed = world.checkpoint_of(&world.leaves[1..]);
    assert_eq!(
        new.advance(&world.leaves[1..], &world.vouched(&unnamed), world.now),
        Err(FollowError::Genesis { index: 0 })
    );
    let many = vec![world.leaves[0].clone(); ADVANCE_LEAVES + 1];
    assert_eq!(
        new.advance(&many, &world.vouched(&signed), world.now),
        Err(FollowError::TooMany(ADVANCE_LEAVES + 1))
    );
    // The same checkpoint again changes nothing.
    assert_eq!(
        folded.advance(&[], &world.vouched(&signed), world.now),
        Ok(folded.clone())
    );
}

/// Attack: a leaf that is dated back, so that an expired request looks alive.
#[test]
fn log_time_does_not_run_back() {
    let mut world = World::new();
    world.log(LeafContent::Unfreeze { by: name("x") });
    world.now = NOON.minus(Duration::from_secs(1));
    world.log(LeafContent::Unfreeze { by: name("x") });
    let signed = world.checkpoint_of(&world.leaves);
    let index = world.leaves.len() as u64 - 1;
    assert_eq!(
        LogFollower::new(ORIGIN).advance(&world.leaves, &world.vouched(&signed), world.now),
        Err(FollowError::TimeRunsBack { index })
    );
}

/// Folding step by step gives what folding at once gives, at every size.
#[test]
fn every_split_folds_to_the_same_state() {
    let mut world = World::new();
    world.approved();
    for number in 0..20 {
        world.now = world.now.plus(Duration::from_secs(number));
        world.log(LeafContent::Unfreeze { by: name("x") });
    }
    let mut stepwise = LogFollower::new(ORIGIN);
    for size in 1..=world.leaves.len() {
        let signed = world.checkpoint_of(&world.leaves[..size]);
        stepwise = stepwise
            .advance(
                &world.leaves[size - 1..size],
                &world.vouched(&signed),
                world.now,
            )
            .unwrap();
        let at_once = LogFollower::new(ORIGIN)
            .advance(&world.leaves[..size], &world.vouched(&signed), world.now)
            .unwrap();
        assert_eq!(stepwise.root(), at_once.root());
        assert_eq!(stepwise.facts(), at_once.facts());
        assert_eq!(
            stepwise.root_at(size as u64),
            Some(signed.checkpoint().root)
        );
    }
    assert_eq!(
        stepwise.root_at(3),
        Some(world.checkpoint_of(&world.leaves[..3]).checkpoint().root)
    );
}

/// A state is persisted before it is cosigned: a write that fails leaves nothing that can cosign,
/// and what is read back follows on as if nothing had happened.
#[test]
fn only_a_persisted_state_cosigns() {
    let mut world = World::new();
    world.approved();
    world.sync();
    let failed = world.follower.clone().persisted(|_| Err("disk full"));
    assert_eq!(failed, Err("disk full"));
    let mut disk = Vec::new();
    let persisted = world
        .follower
        .clone()
        .persisted(|state| {
            disk = bailiwick_types::codec::encode(state)?;
            Ok::<(), bailiwick_types::codec::CodecError>(())
        })
        .unwrap();
    let read = PersistedFollower::load(|| bailiwick_types::codec::decode::<LogFollower>(&disk));
    assert_eq!(read.unwrap(), persisted);
    world.log(LeafContent::Unfreeze { by: name("x") });
    let signed = world.checkpoint_of(&world.leaves);
    let tail = &world.leaves[world.leaves.len() - 1..];
    assert!(
        persisted
            .follower()
            .advance(tail, &world.vouched(&signed), world.now)
            .is_ok()
    );
}

/// The follower has not come so far, or the checkpoint is of another log.
#[test]
fn unfolded_or_foreign_checkpoint_refused() {
    let mut world = World::new();
    let behind = world.follower.clone();
    world.approved();
    let seats = all(&world);
    let signed = world.cosigned_by(&seats, NOON);
    assert!(matches!(
        CosignedCheckpoint::verify(&signed, &world.trust, &behind, NOON),
        Err(CheckpointRefusal::NotFolded { folded: 0, .. })
    ));
    world.trust.origin = "bailiwick.example/DE".to_owned();
    assert!(matches!(
        CosignedCheckpoint::verify(&signed, &world.trust, &world.follower, NOON),
        Err(CheckpointRefusal::OtherOrigin)
    ));
}
