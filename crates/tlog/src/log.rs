//! A log whose subtree hashes are stored elsewhere: appending, root, proofs.
//!
//! Stored are the hashes of complete subtrees only; these never change once
//! written, so the store is append-only like the log. Node `(level, index)`
//! covers the leaves `index << level` to `(index + 1) << level`, exclusive.
//! Follows RFC 6962 sections 2.1 to 2.1.2. Not here: verification, which
//! needs no store (see [`crate::verify`]).

use thiserror::Error;

use crate::hash::{Hash, empty_root, node_hash};

/// Most leaves of a log: the largest value of a signed 64-bit number, so that
/// every size also fits the stores and languages that know no other.
pub const MAX_TREE_SIZE: u64 = i64::MAX as u64;

/// Most hashes of a proof that can be valid. An inclusion proof has one for
/// each level, 63 at most; a consistency proof has one more.
pub const MAX_PROOF_HASHES: usize = 64;

/// A subtree hash to store: level, index within the level, hash.
pub type StoredNode = (u8, u64, Hash);

/// Reads stored hashes of complete subtrees; level 0 holds the leaf hashes.
pub trait NodeReader {
    /// What can go wrong in the store itself.
    type Error;

    /// The hash of node `index` of `level`, or `None` if it was never stored.
    ///
    /// # Errors
    /// The store could not be read.
    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, Self::Error>;
}

/// Why a log could not be extended, or a root or proof not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofError<E> {
    /// The store failed.
    #[error("reading a stored log node failed")]
    Read(#[source] E),
    /// The store lacks a node that a log of the given size must have.
    #[error("stored log node is missing: level {level}, index {index}")]
    Missing {
        /// Level of the node; 0 is the leaves.
        level: u8,
        /// Index of the node within its level.
        index: u64,
    },
    /// The caller named a leaf that the tree does not have.
    #[error("leaf index {index} is outside a tree of {size} leaves")]
    IndexOutOfRange {
        /// The index asked for.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The caller asked for a proof from a larger to a smaller tree.
    #[error("old size {old_size} is larger than new size {new_size}")]
    OldLarger {
        /// The size claimed to be earlier.
        old_size: u64,
        /// The size claimed to be later.
        new_size: u64,
    },
    /// The caller named a size above [`MAX_TREE_SIZE`].
    #[error("tree size {size} is above the limit of {MAX_TREE_SIZE} leaves")]
    TooLarge {
        /// The size asked for.
        size: u64,
    },
}

/// Nodes to store when the leaf with the 0-based index `size` is appended:
/// every subtree that becomes complete, the leaf itself first.
///
/// # Errors
/// The store fails or lacks a node of a log of `size` leaves, or the log is
/// full.
pub fn append<R: NodeReader + ?Sized>(
    reader: &R,
    size: u64,
    leaf: Hash,
) -> Result<Vec<StoredNode>, ProofError<R::Error>> {
    if size >= MAX_TREE_SIZE {
        return Err(ProofError::TooLarge { size });
    }
    let (mut level, mut index, mut hash) = (0_u8, size, leaf);
    let mut stored = vec![(level, index, hash)];
    // A right child completes its parent, and so on upwards.
    while index & 1 == 1 {
        let left = read(reader, level, index - 1)?;
        hash = node_hash(&left, &hash);
        level += 1;
        index >>= 1;
        stored.push((level, index, hash));
    }
    Ok(stored)
}

/// Root of the first `size` leaves.
///
/// # Errors
/// The store fails or lacks a node, or `size` is above [`MAX_TREE_SIZE`].
pub fn root<R: NodeReader + ?Sized>(reader: &R, size: u64) -> Result<Hash, ProofError<R::Error>> {
    check_size(size)?;
    if size == 0 {
        return Ok(empty_root());
    }
    range_root(reader, 0, size)
}

/// Inclusion proof of leaf `index` in the tree of the first `size` leaves,
/// the leaf's sibling first.
///
/// RFC 6962 section 2.1.1: "for m < k: PATH(m, D\[0:k\]) : MTH(D\[k:n\]); for
/// m >= k: PATH(m - k, D\[k:n\]) : MTH(D\[0:k\])".
///
/// # Errors
/// The store fails or lacks a node, `index` is not below `size`, or `size` is
/// above [`MAX_TREE_SIZE`].
pub fn prove_inclusion<R: NodeReader + ?Sized>(
    reader: &R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProofError<R::Error>> {
    check_size(size)?;
    if index >= size {
        return Err(ProofError::IndexOutOfRange { index, size });
    }
    let (mut begin, mut width) = (0, size);
    let mut proof = Vec::new();
    while width > 1 {
        let left = split(width);
        if index - begin < left {
            proof.push(range_root(reader, begin + left, width - left)?);
            width = left;
        } else {
            proof.push(range_root(reader, begin, left)?);
            begin += left;
            width -= left;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proof that the tree of the first `new_size` leaves extends that of the
/// first `old_size`. It is empty if the sizes are equal or the old one is 0.
///
/// RFC 6962 section 2.1.2: "SUBPROOF(m, D\[m\], true) = {}; for m <= k:
/// SUBPROOF(m, D\[0:k\], b) : MTH(D\[k:n\]); for m > k:
/// SUBPROOF(m - k, D\[k:n\], false) : MTH(D\[0:k\])".
///
/// # Errors
/// The store fails or lacks a node, `old_size` is above `new_size`, or
/// `new_size` is above [`MAX_TREE_SIZE`].
pub fn prove_consistency<R: NodeReader + ?Sized>(
    reader: &R,
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Hash>, ProofError<R::Error>> {
    check_size(new_size)?;
    if old_size > new_size {
        return Err(ProofError::OldLarger { old_size, new_size });
    }
    if old_size == 0 {
        return Ok(Vec::new());
    }
    let (mut begin, mut width) = (0, new_size);
    // Whether the subtree at hand is the whole old tree, whose root the
    // verifier knows without being told.
    let mut known = true;
    let mut proof = Vec::new();
    while old_size - begin != width {
        let left = split(width);
        if old_size - begin <= left {
            proof.push(range_root(reader, begin + left, width - left)?);
            width = left;
        } else {
            proof.push(range_root(reader, begin, left)?);
            begin += left;
            width -= left;
            known = false;
        }
    }
    if !known {
        proof.push(range_root(reader, begin, width)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Largest power of two below `width`, which must be at least 2.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// Root over the `width` leaves from `begin`, where `width` is at least 1 and
/// `begin` comes from splitting a tree as RFC 6962 does, so that each complete
/// subtree inside starts at a multiple of its own size.
fn range_root<R: NodeReader + ?Sized>(
    reader: &R,
    mut begin: u64,
    mut width: u64,
) -> Result<Hash, ProofError<R::Error>> {
    let mut peaks = Vec::new();
    while width > 0 {
        let level = width.ilog2();
        // A 64-bit width has a logarithm of at most 63.
        peaks.push(read(reader, level as u8, begin >> level)?);
        begin += 1 << level;
        width -= 1 << level;
    }
    let smallest = peaks.pop().expect("a range has at least one leaf");
    Ok(peaks
        .iter()
        .rev()
        .fold(smallest, |right, left| node_hash(left, &right)))
}

fn read<R: NodeReader + ?Sized>(
    reader: &R,
    level: u8,
    index: u64,
) -> Result<Hash, ProofError<R::Error>> {
    reader
        .node(level, index)
        .map_err(ProofError::Read)?
        .ok_or(ProofError::Missing { level, index })
}

fn check_size<E>(size: u64) -> Result<(), ProofError<E>> {
    if size > MAX_TREE_SIZE {
        Err(ProofError::TooLarge { size })
    } else {
        Ok(())
    }
}
