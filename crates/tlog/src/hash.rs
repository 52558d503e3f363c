//! The three hashes of RFC 6962 section 2.1 over SHA-256.
//!
//! A leaf and an inner node are told apart by their first byte, so that no
//! leaf can be passed off as a node, or a node as a leaf.

use sha2::{Digest, Sha256};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// A SHA-256 hash: of a leaf, of a subtree, or of a whole tree.
pub type Hash = [u8; HASH_BYTES];

/// RFC 6962 section 2.1: the first byte hashed for a leaf.
const LEAF_PREFIX: u8 = 0x00;

/// RFC 6962 section 2.1: the first byte hashed for an inner node.
const NODE_PREFIX: u8 = 0x01;

/// Hash of one leaf: `SHA-256(0x00 || data)`.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([LEAF_PREFIX]);
    hasher.update(data);
    hasher.finalize().into()
}

/// Hash of an inner node: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut block = [NODE_PREFIX; 1 + 2 * HASH_BYTES];
    block[1..=HASH_BYTES].copy_from_slice(left);
    block[1 + HASH_BYTES..].copy_from_slice(right);
    Sha256::digest(block).into()
}

/// Root of the tree without leaves: `SHA-256()`.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}
