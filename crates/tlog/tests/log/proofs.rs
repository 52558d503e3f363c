//! Every proof of every tree up to 40 leaves, and every way to spoil one.

use bailiwick_tlog::{
    Hash, MAX_PROOF_HASHES, MAX_TREE_SIZE, MerkleTree, NodeReader, ProofError, VerifyError, append,
    empty_root, prove_consistency, prove_inclusion, root, verify_consistency, verify_inclusion,
};

use crate::naive;
use crate::support::{MapLog, leaves};

const SIZES: u64 = 40;

/// Calls `check` with the proof after flipping each of its bits in turn.
fn each_bit_flip(proof: &[Hash], mut check: impl FnMut(&[Hash])) {
    let mut proof = proof.to_vec();
    for hash in 0..proof.len() {
        for bit in 0..256 {
            proof[hash][bit / 8] ^= 1 << (bit % 8);
            check(&proof);
            proof[hash][bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Calls `check` with the proof one hash shorter at either end and longer.
fn each_wrong_length(proof: &[Hash], mut check: impl FnMut(&[Hash])) {
    if let ([_, short_left @ ..], [short_right @ .., _]) = (proof, proof) {
        check(short_left);
        check(short_right);
    }
    for extra in [[0; 32], proof.first().copied().unwrap_or([1; 32])] {
        check(&[proof, &[extra]].concat());
        check(&[&[extra], proof].concat());
    }
}

/// A stored log, grown leaf by leaf, agrees with the tree in memory and with
/// the specification's recursion.
#[test]
fn stored_log_agrees_with_memory_and_specification() {
    let all = leaves(SIZES);
    let log = MapLog::of(&all);
    for size in 0..=SIZES {
        let part = &all[..size as usize];
        let tree = MerkleTree::from_leaves(part.to_vec());
        assert_eq!((tree.len(), tree.is_empty()), (size, size == 0));
        assert_eq!(
            root(&log, size).unwrap(),
            naive::tree_hash(part),
            "size {size}"
        );
        assert_eq!(tree.root(), naive::tree_hash(part), "size {size}");
        for index in 0..size {
            let expected = naive::path(index as usize, part);
            assert_eq!(prove_inclusion(&log, index, size).unwrap(), expected);
            assert_eq!(tree.prove(index).unwrap(), expected);
        }
        for old in 1..=size {
            let expected = naive::subproof(old as usize, part, true);
            assert_eq!(prove_consistency(&log, old, size).unwrap(), expected);
            assert_eq!(prove_consistency(&tree, old, size).unwrap(), expected);
        }
    }
}

#[test]
fn inclusion_holds_for_the_right_leaf_only() {
    let all = leaves(SIZES);
    let log = MapLog::of(&all);
    for size in 1..=SIZES {
        let root = root(&log, size).unwrap();
        for index in 0..size {
            let proof = prove_inclusion(&log, index, size).unwrap();
            let leaf = all[index as usize];
            verify_inclusion(&leaf, index, size, &root, &proof).unwrap();
            for other in (0..size + 2).filter(|other| *other != index) {
                verify_inclusion(&leaf, other, size, &root, &proof).unwrap_err();
            }
            for other in all.iter().filter(|other| **other != leaf) {
                verify_inclusion(other, index, size, &root, &proof).unwrap_err();
            }
            each_bit_flip(&proof, |spoiled| {
                assert_eq!(
                    verify_inclusion(&leaf, index, size, &root, spoiled),
                    Err(VerifyError::RootMismatch)
                );
            });
            each_wrong_length(&proof, |spoiled| {
                assert_eq!(
                    verify_inclusion(&leaf, index, size, &root, spoiled),
                    Err(VerifyError::Length {
                        hashes: spoiled.len()
                    })
                );
            });
        }
    }
}

/// A proof made for one size proves nothing about the checkpoint of another.
#[test]
fn inclusion_fails_against_the_tree_of_another_size() {
    let all = leaves(SIZES);
    let log = MapLog::of(&all);
    for size in 1..=SIZES {
        for index in 0..size {
            let proof = prove_inclusion(&log, index, size).unwrap();
            for other in (0..=SIZES).filter(|other| *other != size) {
                let root = root(&log, other).unwrap();
                verify_inclusion(&all[index as usize], index, other, &root, &proof).unwrap_err();
            }
        }
    }
}

#[test]
fn consistency_holds_for_the_right_trees_only() {
    let log = MapLog::of(&leaves(SIZES));
    let roots: Vec<Hash> = (0..=SIZES).map(|size| root(&log, size).unwrap()).collect();
    let root = |size: u64| &roots[size as usize];
    for new in 0..=SIZES {
        for old in 0..=new {
            let proof = prove_consistency(&log, old, new).unwrap();
            let verify = |proof: &[Hash]| verify_consistency(old, root(old), new, root(new), proof);
            verify(&proof).unwrap();
            each_bit_flip(&proof, |spoiled| {
                verify(spoiled).unwrap_err();
            });
            each_wrong_length(&proof, |spoiled| {
                verify(spoiled).unwrap_err();
            });
            let mut spoiled = *root(new);
            spoiled[0] ^= 1;
            assert_eq!(
                verify_consistency(old, root(old), new, &spoiled, &proof).is_ok(),
                old == 0 && new > 0,
                "{old} to {new}: only the empty tree is a part of any other"
            );
            verify_consistency(old, &spoiled, new, root(new), &proof).unwrap_err();
        }
    }
}

/// A proof from one pair of sizes holds for another pair only if it is that
/// pair's own proof too (all are empty from the empty tree, for one).
#[test]
fn consistency_fails_between_other_sizes() {
    const SMALL: u64 = 14;
    let log = MapLog::of(&leaves(SMALL));
    let roots: Vec<Hash> = (0..=SMALL).map(|size| root(&log, size).unwrap()).collect();
    let pairs: Vec<(u64, u64)> = (0..=SMALL)
        .flat_map(|new| (0..=SMALL).map(move |old| (old, new)))
        .collect();
    for (old, new) in pairs.iter().filter(|(old, new)| old <= new) {
        let proof = prove_consistency(&log, *old, *new).unwrap();
        for (old, new) in &pairs {
            let (old_root, new_root) = (&roots[*old as usize], &roots[*new as usize]);
            let verified = verify_consistency(*old, old_root, *new, new_root, &proof).is_ok();
            let own = prove_consistency(&log, *old, *new).ok();
            assert_eq!(verified, own.as_ref() == Some(&proof), "{old} to {new}");
        }
    }
}

/// A log that rewrote any one leaf cannot prove that it grew from before.
#[test]
fn consistency_shows_every_rewritten_leaf() {
    let honest = leaves(20);
    let honest_log = MapLog::of(&honest);
    for rewritten in 0..12 {
        let mut forged = honest.clone();
        forged[rewritten][31] ^= 1;
        let forged_log = MapLog::of(&forged);
        for old in rewritten as u64 + 1..=12 {
            let old_root = root(&honest_log, old).unwrap();
            let new_root = root(&forged_log, 20).unwrap();
            for log in [&honest_log, &forged_log] {
                let proof = prove_consistency(log, old, 20).unwrap();
                verify_consistency(old, &old_root, 20, &new_root, &proof).unwrap_err();
            }
        }
    }
}

#[test]
fn impossible_requests_are_refused() {
    let log = MapLog::of(&leaves(5));
    let outside = ProofError::IndexOutOfRange { index: 5, size: 5 };
    assert_eq!(prove_inclusion(&log, 5, 5), Err(outside));
    let outside = ProofError::IndexOutOfRange { index: 0, size: 0 };
    assert_eq!(prove_inclusion(&log, 0, 0), Err(outside));
    let larger = ProofError::OldLarger {
        old_size: 4,
        new_size: 3,
    };
    assert_eq!(prove_consistency(&log, 4, 3), Err(larger));
    assert_eq!(
        root(&log, 6),
        Err(ProofError::Missing { level: 1, index: 2 })
    );
    let full = ProofError::TooLarge {
        size: MAX_TREE_SIZE,
    };
    assert_eq!(append(&log, MAX_TREE_SIZE, [0; 32]), Err(full));
    for size in [MAX_TREE_SIZE + 1, u64::MAX] {
        let too_large = ProofError::TooLarge { size };
        assert_eq!(root(&log, size), Err(too_large.clone()));
        assert_eq!(prove_inclusion(&log, 0, size), Err(too_large.clone()));
        assert_eq!(prove_consistency(&log, 1, size), Err(too_large));
    }
}

#[test]
fn impossible_claims_are_refused() {
    let (leaf, many) = ([7; 32], vec![[7; 32]; MAX_PROOF_HASHES + 1]);
    let outside = VerifyError::IndexOutOfRange { index: 0, size: 0 };
    assert_eq!(
        verify_inclusion(&leaf, 0, 0, &empty_root(), &[]),
        Err(outside)
    );
    let too_large = VerifyError::TooLarge { size: u64::MAX };
    assert_eq!(
        verify_inclusion(&leaf, 0, u64::MAX, &leaf, &[]),
        Err(too_large)
    );
    assert_eq!(
        verify_consistency(1, &leaf, u64::MAX, &leaf, &[]),
        Err(too_large)
    );
    let length = VerifyError::Length { hashes: many.len() };
    assert_eq!(
        verify_inclusion(&leaf, 0, MAX_TREE_SIZE, &leaf, &many),
        Err(length)
    );
    assert_eq!(
        verify_consistency(1, &leaf, MAX_TREE_SIZE, &leaf, &many),
        Err(length)
    );
    let larger = VerifyError::OldLarger {
        old_size: 2,
        new_size: 1,
    };
    assert_eq!(verify_consistency(2, &leaf, 1, &leaf, &[]), Err(larger));
    let old_root = Err(VerifyError::OldRootMismatch);
    assert_eq!(verify_consistency(0, &leaf, 1, &leaf, &[]), old_root);
    let root = Err(VerifyError::RootMismatch);
    assert_eq!(verify_consistency(3, &leaf, 3, &[8; 32], &[]), root);
}

/// The longest proofs that can be: their lengths stay within the limit.
#[test]
fn longest_proofs_fit_the_limit() {
    /// A full log in which every node has the same hash.
    struct Full;
    impl NodeReader for Full {
        type Error = std::convert::Infallible;
        fn node(&self, _level: u8, _index: u64) -> Result<Option<Hash>, Self::Error> {
            Ok(Some([3; 32]))
        }
    }
    let inclusion = prove_inclusion(&Full, 0, MAX_TREE_SIZE).unwrap();
    assert_eq!(inclusion.len(), 63);
    let half = (1 << 62) - 1;
    let consistency = prove_consistency(&Full, half, MAX_TREE_SIZE).unwrap();
    assert_eq!(consistency.len(), MAX_PROOF_HASHES);
    root(&Full, MAX_TREE_SIZE).unwrap();
    let nodes = append(&Full, MAX_TREE_SIZE - 1, [3; 32]).unwrap();
    assert_eq!(nodes.len(), 1, "index {} is even", MAX_TREE_SIZE - 1);
    assert_eq!(append(&Full, MAX_TREE_SIZE / 2, [3; 32]).unwrap().len(), 63);
}

/// A store that fails says so; nothing is made up in place of the node.
#[test]
fn store_failure_is_passed_on() {
    struct Broken;
    impl NodeReader for Broken {
        type Error = std::fmt::Error;
        fn node(&self, _level: u8, _index: u64) -> Result<Option<Hash>, Self::Error> {
            Err(std::fmt::Error)
        }
    }
    let expected = ProofError::Read(std::fmt::Error);
    assert_eq!(root(&Broken, 3), Err(expected.clone()));
    assert_eq!(append(&Broken, 3, [0; 32]), Err(expected.clone()));
    assert_eq!(prove_inclusion(&Broken, 1, 3), Err(expected.clone()));
    assert_eq!(prove_consistency(&Broken, 1, 3), Err(expected));
}
