//! Verification of inclusion and consistency proofs, without any store.
//!
//! Follows RFC 9162 sections 2.1.3.2 and 2.1.4.2, whose trees are those of
//! RFC 6962. A proof is only as good as the size and root it is checked
//! against: the caller takes both from one checkpoint that it has verified. A
//! root alone does not fix the size, for proofs in trees of different sizes
//! can have the same shape.

use thiserror::Error;

use crate::hash::{Hash, empty_root, node_hash};
use crate::log::{MAX_PROOF_HASHES, MAX_TREE_SIZE};

/// Why a proof proves nothing. The prover is at fault, or the caller that
/// named the wrong leaf or tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The claimed leaf lies outside the claimed tree.
    #[error("leaf index {index} is outside a tree of {size} leaves")]
    IndexOutOfRange {
        /// The index claimed.
        index: u64,
        /// Leaves of the tree claimed.
        size: u64,
    },
    /// The claimed earlier tree is larger than the later one.
    #[error("old size {old_size} is larger than new size {new_size}")]
    OldLarger {
        /// The size claimed to be earlier.
        old_size: u64,
        /// The size claimed to be later.
        new_size: u64,
    },
    /// A size is above [`MAX_TREE_SIZE`].
    #[error("tree size {size} is above the limit of {MAX_TREE_SIZE} leaves")]
    TooLarge {
        /// The size claimed.
        size: u64,
    },
    /// The proof has more or fewer hashes than the sizes call for.
    #[error("proof of {hashes} hashes does not have the length its sizes call for")]
    Length {
        /// Hashes in the proof.
        hashes: usize,
    },
    /// The proof leads to another root than the (later) tree's.
    #[error("proof does not lead to the tree's root")]
    RootMismatch,
    /// The proof does not lead to the earlier tree's root.
    #[error("proof does not lead to the earlier tree's root")]
    OldRootMismatch,
}

/// Checks that `leaf` (a leaf hash) is leaf `index` of the tree of `size`
/// leaves with the given root.
///
/// # Errors
/// See [`VerifyError`]; nothing is proven then.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), VerifyError> {
    check_bounds(size, proof)?;
    if index >= size {
        return Err(VerifyError::IndexOutOfRange { index, size });
    }
    let mut position = Position {
        node: index,
        last: size - 1,
    };
    let mut hash = *leaf;
    for sibling in proof {
        hash = match position.climb().ok_or(VerifyError::Length {
            hashes: proof.len(),
        })? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    if position.last != 0 {
        return Err(VerifyError::Length {
            hashes: proof.len(),
        });
    }
    if hash == *root {
        Ok(())
    } else {
        Err(VerifyError::RootMismatch)
    }
}

/// Checks that the tree of `new_size` leaves with `new_root` has as its first
/// leaves those of the tree of `old_size` with `old_root`. The empty tree and
/// a tree of the same size and root need the empty proof.
///
/// # Errors
/// See [`VerifyError`]; nothing is proven then.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), VerifyError> {
    check_bounds(new_size, proof)?;
    if old_size > new_size {
        return Err(VerifyError::OldLarger { old_size, new_size });
    }
    if old_size == 0 || old_size == new_size {
        return verify_without_proof(old_size, old_root, new_size, new_root, proof);
    }
    let wrong_length = VerifyError::Length {
        hashes: proof.len(),
    };
    // RFC 9162: "If first is an exact power of 2, then prepend first_hash to
    // the consistency_path array."
    let (seed, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(wrong_length)?
    };
    let mut position = Position {
        node: old_size - 1,
        last: new_size - 1,
    };
    // "If LSB(fn) is set, then right-shift both fn and sn equally until
    // LSB(fn) is not set."
    position.ascend(position.node.trailing_ones());
    let (mut old_hash, mut new_hash) = (*seed, *seed);
    for sibling in rest {
        match position.climb().ok_or(wrong_length)? {
            Side::Left => {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
            }
            Side::Right => new_hash = node_hash(&new_hash, sibling),
        }
    }
    if position.last != 0 {
        return Err(wrong_length);
    }
    if old_hash != *old_root {
        return Err(VerifyError::OldRootMismatch);
    }
    if new_hash == *new_root {
        Ok(())
    } else {
        Err(VerifyError::RootMismatch)
    }
}

/// The two cases in which there is nothing to prove by hashes.
fn verify_without_proof(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), VerifyError> {
    if !proof.is_empty() {
        return Err(VerifyError::Length {
            hashes: proof.len(),
        });
    }
    if old_size == 0 && *old_root != empty_root() {
        return Err(VerifyError::OldRootMismatch);
    }
    if old_size == new_size && old_root != new_root {
        return Err(VerifyError::RootMismatch);
    }
    Ok(())
}

fn check_bounds(size: u64, proof: &[Hash]) -> Result<(), VerifyError> {
    if size > MAX_TREE_SIZE {
        return Err(VerifyError::TooLarge { size });
    }
    if proof.len() > MAX_PROOF_HASHES {
        return Err(VerifyError::Length {
            hashes: proof.len(),
        });
    }
    Ok(())
}

/// On which side of the node at hand its sibling stands.
enum Side {
    Left,
    Right,
}

/// Where a walk to the root stands: `fn` and `sn` of RFC 9162, the node's
/// index in its level and that level's last index.
struct Position {
    node: u64,
    last: u64,
}

impl Position {
    /// Goes to the next level at which the node has a sibling, joins it, and
    /// says where it stood; `None` at the root.
    ///
    /// RFC 9162: "If LSB(fn) is set, or if fn is equal to sn [...] if LSB(fn)
    /// is not set, then right-shift both fn and sn equally until either
    /// LSB(fn) is set or fn is 0. [...] Finally, right-shift both fn and sn
    /// one time."
    fn climb(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let sibling_left = self.node & 1 == 1 || self.node == self.last;
        if sibling_left {
            // `node` is not 0 here: it is odd, or equal to `last`.
            self.ascend(self.node.trailing_zeros());
        }
        self.ascend(1);
        Some(if sibling_left {
            Side::Left
        } else {
            Side::Right
        })
    }

    fn ascend(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }
}
