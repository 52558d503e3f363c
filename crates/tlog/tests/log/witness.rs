//! The witness's rule: never smaller, never a fork, never another log.

use bailiwick_tlog::{
    Checkpoint, VerifyError, WitnessError, WitnessState, prove_consistency, root,
};

use crate::support::{MapLog, ORIGIN, leaves};

fn advanced(log: &MapLog, sizes: &[u64]) -> WitnessState {
    let mut state = WitnessState::unseen(ORIGIN);
    for size in sizes {
        let proof = prove_consistency(log, state.size, *size).unwrap();
        state = state.advance(&log.checkpoint(*size), &proof).unwrap();
    }
    state
}

#[test]
fn witness_follows_a_growing_log() {
    let log = MapLog::of(&leaves(30));
    let state = advanced(&log, &[0, 0, 1, 7, 8, 8, 21, 30]);
    assert_eq!((state.size, state.root), (30, root(&log, 30).unwrap()));
    assert_eq!(state.origin, ORIGIN);
}

/// Attack: the log is rolled back to an earlier state that was once true.
#[test]
fn witness_refuses_smaller() {
    let log = MapLog::of(&leaves(30));
    let state = advanced(&log, &[20]);
    for offered in 0..20 {
        let refusal = state.advance(&log.checkpoint(offered), &[]);
        assert_eq!(
            refusal,
            Err(WitnessError::Smaller {
                remembered: 20,
                offered
            })
        );
    }
}

/// Attack: the log shows one tree to some and another of the same size to
/// others; the refusal holds both roots as evidence.
#[test]
fn witness_refuses_fork() {
    let log = MapLog::of(&leaves(20));
    let mut other = leaves(20);
    other[3] = [9; 32];
    let fork = MapLog::of(&other).checkpoint(20);
    let state = advanced(&log, &[12, 20]);
    let refusal = state.advance(&fork, &[]);
    let (remembered, offered) = (root(&log, 20).unwrap(), fork.root);
    assert_eq!(
        refusal,
        Err(WitnessError::Fork {
            size: 20,
            remembered,
            offered
        })
    );
    assert_ne!(remembered, offered);
}

/// Attack: a fork is hidden behind growth, so that sizes never collide.
#[test]
fn witness_refuses_fork_behind_growth() {
    let log = MapLog::of(&leaves(20));
    let mut other = leaves(33);
    other[3] = [9; 32];
    let forked = MapLog::of(&other);
    let state = advanced(&log, &[20]);
    let proof = prove_consistency(&forked, 20, 33).unwrap();
    let refusal = state.advance(&forked.checkpoint(33), &proof);
    assert_eq!(
        refusal,
        Err(WitnessError::BadProof(VerifyError::OldRootMismatch))
    );
}

/// Attack: the checkpoint of one log is passed off as another's.
#[test]
fn witness_refuses_other_origin() {
    let log = MapLog::of(&leaves(5));
    let other = Checkpoint::new("log.example/j2", 5, log.checkpoint(5).root).unwrap();
    let refusal = advanced(&log, &[5]).advance(&other, &[]);
    let expected = WitnessError::OtherOrigin {
        remembered: ORIGIN.to_owned(),
        offered: "log.example/j2".to_owned(),
    };
    assert_eq!(refusal, Err(expected));
}

#[test]
fn witness_refuses_missing_or_superfluous_proof() {
    let log = MapLog::of(&leaves(20));
    let state = advanced(&log, &[12]);
    let refusal = state.advance(&log.checkpoint(20), &[]);
    assert_eq!(
        refusal,
        Err(WitnessError::BadProof(VerifyError::Length { hashes: 0 }))
    );
    let refusal = state.advance(&log.checkpoint(12), &[[0; 32]]);
    assert_eq!(
        refusal,
        Err(WitnessError::BadProof(VerifyError::Length { hashes: 1 }))
    );
}

/// A checkpoint whose public fields were set to what no text can say is not
/// remembered, whoever made it.
#[test]
fn witness_refuses_a_size_beyond_the_limit() {
    let mut checkpoint = MapLog::of(&leaves(5)).checkpoint(5);
    checkpoint.size = u64::MAX;
    let refusal = WitnessState::unseen(ORIGIN).advance(&checkpoint, &[]);
    let expected = WitnessError::BadProof(VerifyError::TooLarge { size: u64::MAX });
    assert_eq!(refusal, Err(expected));
}
