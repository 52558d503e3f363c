//! RFC 6962 sections 2.1, 2.1.1 and 2.1.2, as recursive as they stand there.

use bailiwick_tlog::Hash;
use sha2::{Digest, Sha256};

/// `MTH(D[n])` over leaf hashes.
pub(crate) fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            Sha256::digest([&[1][..], &tree_hash(left), &tree_hash(right)].concat()).into()
        }
    }
}

/// `PATH(m, D[n])`.
pub(crate) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if index < k {
        (path(index, left), tree_hash(right))
    } else {
        (path(index - k, right), tree_hash(left))
    };
    proof.push(other);
    proof
}

/// `SUBPROOF(m, D[n], known)`; `PROOF(m, D[n])` is with `known` true.
pub(crate) fn subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known {
            Vec::new()
        } else {
            vec![tree_hash(leaves)]
        };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if old <= k {
        (subproof(old, left, known), tree_hash(right))
    } else {
        (subproof(old - k, right, false), tree_hash(left))
    };
    proof.push(other);
    proof
}

fn split(length: usize) -> usize {
    let mut k = 1;
    while k * 2 < length {
        k *= 2;
    }
    k
}
