//! Attacks by vaults on what an approver takes for the log: vaults that are no voters, voters that sign
//! what they should not, and clocks.

use std::time::Duration;

use bailiwick_envelope::leaf::LeafContent;
use bailiwick_tlog::{Checkpoint, SignedCheckpoint, sign_checkpoint};
use bailiwick_types::limits::STAMP_LEAD;

use super::world::{NOON, ORIGIN, World, name, signing_key};
use crate::follower::{FollowError, LogFollower};
use crate::trust::TrustFile;
use crate::voucher::{ForkEvidence, VouchedCheckpoint};

/// The world's log as signed by somebody else, under any name.
fn signed_as(world: &World, who: &str, key: &str) -> SignedCheckpoint {
    let checkpoint: Checkpoint = world.checkpoint_of(&world.leaves).checkpoint().clone();
    let line = sign_checkpoint(who, &signing_key(key), &checkpoint).unwrap();
    SignedCheckpoint::new(checkpoint, line).unwrap()
}

/// Attack: a vault with a true certificate, which is no voter of this log, extends its copy of the log.
#[test]
fn a_log_extended_by_a_vault_that_is_no_voter_is_not_followed() {
    let mut world = World::new();
    world.approved();
    let outsider = name("vault-9");
    let signed = signed_as(&world, "vault-9", "outsider");
    let refused = VouchedCheckpoint::verify(signed, &world.trust, &outsider);
    let sender = outsider;
    assert_eq!(refused, Err(FollowError::UnknownVoter { sender }));
    // Nor under a voter's name: the key is not that voter's.
    let signed = signed_as(&world, "vault-1", "outsider");
    let refused = VouchedCheckpoint::verify(signed, &world.trust, &name("vault-1"));
    let sender = name("vault-1");
    assert_eq!(refused, Err(FollowError::NotSigned { sender }));
}

/// Attack: a vault sends leaves of its own with a checkpoint that a voter signed. Whoever vouches must
/// be whoever sends, else a true checkpoint with wrong leaves looks like a voter's fork.
#[test]
fn a_voters_checkpoint_from_another_vaults_hands_is_not_followed() {
    let mut world = World::new();
    world.approved();
    let genuine = world.checkpoint_of(&world.leaves);
    let relay = name("vault-2");
    let refused = VouchedCheckpoint::verify(genuine.clone(), &world.trust, &relay);
    let sender = relay;
    assert_eq!(refused, Err(FollowError::UnknownVoter { sender }));
    assert!(VouchedCheckpoint::verify(genuine, &world.trust, &name("vault-1")).is_ok());
}

/// An empty list is nobody, and no key stands for two voters.
#[test]
fn a_trust_file_without_voters_follows_nobody() {
    let world = World::without_records();
    let line = world
        .trust_text
        .lines()
        .find(|line| line.starts_with("voters"));
    let line = line.unwrap();
    let without = world.trust_text.replace(line, "voters = []");
    let trust = TrustFile::parse(&without).unwrap();
    let trust = trust.jurisdiction(world.trust.jurisdiction()).unwrap();
    let signed = world.checkpoint_of(&world.leaves);
    let refused = VouchedCheckpoint::verify(signed, trust, &name("vault-1"));
    assert!(matches!(refused, Err(FollowError::UnknownVoter { .. })));
    let entry = line.trim_start_matches("voters = [").trim_end_matches(']');
    let other = entry.replace("vault-1", "vault-2");
    let twice = world
        .trust_text
        .replace(line, &format!("voters = [{entry}, {other}]"));
    let error = TrustFile::parse(&twice).unwrap_err().to_string();
    assert!(
        error.contains("voters: a voter's name or key stands twice"),
        "{error}"
    );
}

/// Attack: a leader dates a leaf into the future, so that a request has expired, a period may be erased
/// or tomorrow's budget is spent. A clock that is a little fast is not that.
#[test]
fn a_leaf_dated_into_the_future_is_not_followed() {
    let mut world = World::new();
    world.now = NOON.plus(STAMP_LEAD + Duration::from_micros(1));
    world.log(LeafContent::Unfreeze { by: name("x") });
    let signed = world.checkpoint_of(&world.leaves);
    let index = world.leaves.len() as u64 - 1;
    let new = LogFollower::new(ORIGIN);
    let ahead = new.advance(&world.leaves, &world.vouched(&signed), NOON);
    let stamp = world.now;
    assert_eq!(
        ahead,
        Err(FollowError::AheadOfClock {
            index,
            stamp,
            now: NOON
        })
    );
    let later = NOON.plus(Duration::from_micros(1));
    assert!(
        new.advance(&world.leaves, &world.vouched(&signed), later)
            .is_ok()
    );
}

/// Attack: a voter shows another history. Both checkpoints are kept, and whoever holds them can verify
/// that voters signed both.
#[test]
fn a_fork_leaves_evidence_that_others_can_verify() {
    let mut world = World::new();
    world.log(LeafContent::Unfreeze { by: name("x") });
    let honest = world.checkpoint_of(&world.leaves);
    let new = LogFollower::new(ORIGIN);
    let folded = new
        .advance(&world.leaves, &world.vouched(&honest), NOON)
        .unwrap();
    world.leaves.pop();
    world.log(LeafContent::Unfreeze { by: name("thief") });
    let fork = world.checkpoint_of(&world.leaves);
    let error = folded
        .advance(&[], &world.vouched(&fork), NOON)
        .unwrap_err();
    let evidence = ForkEvidence::of(&error).unwrap();
    assert_eq!(
        (&evidence.offered, evidence.folded.as_ref()),
        (&fork, Some(&honest))
    );
    let text = evidence.to_text();
    for (heading, expected) in [
        ("== folded before\n", honest),
        ("== offered, does not follow\n", fork),
    ] {
        let (_, rest) = text.split_once(heading).unwrap();
        let note = rest.split("== ").next().unwrap();
        let parsed = SignedCheckpoint::parse(note).unwrap();
        assert_eq!(parsed, expected);
        assert!(parsed.verify_by(&world.trust.voters()[0]).is_ok());
    }
}

/// Attack: a voter goes back to a shorter log that never was. A shorter log that was is only behind.
#[test]
fn a_shorter_log_that_never_was_is_a_fork() {
    let mut world = World::new();
    let new = LogFollower::new(ORIGIN);
    let short = world.checkpoint_of(&world.leaves);
    let mut folded = new
        .advance(&world.leaves, &world.vouched(&short), NOON)
        .unwrap();
    world.log(LeafContent::Unfreeze { by: name("x") });
    let long = world.checkpoint_of(&world.leaves);
    let tail = &world.leaves[world.leaves.len() - 1..];
    folded = folded.advance(tail, &world.vouched(&long), NOON).unwrap();
    let behind = folded
        .advance(&[], &world.vouched(&short), NOON)
        .unwrap_err();
    assert!(matches!(behind, FollowError::Smaller { .. }));
    assert_eq!(ForkEvidence::of(&behind), None);
    world.leaves.truncate(1);
    let certificate = bailiwick_types::CertificateId([9; 32]);
    world.log(LeafContent::Certificate { certificate });
    let never = world.checkpoint_of(&world.leaves);
    assert_eq!(never.checkpoint().size, short.checkpoint().size);
    let fork = folded
        .advance(&[], &world.vouched(&never), NOON)
        .unwrap_err();
    assert!(ForkEvidence::of(&fork).is_some());
}
