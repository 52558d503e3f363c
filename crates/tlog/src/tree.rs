//! A small Merkle tree held in memory, for manifests and selections.
//!
//! Same hashing as the log, so its proofs verify with
//! [`crate::verify_inclusion`]. It holds about twice the leaves it is given
//! and cannot grow; a log that grows uses [`crate::append`].

use std::convert::Infallible;

use crate::hash::{Hash, node_hash};
use crate::log::{NodeReader, ProofError, prove_inclusion, root};

/// Merkle tree over given leaf hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleTree {
    /// Complete subtrees by level; level 0 is the leaves and always there.
    levels: Vec<Vec<Hash>>,
    root: Hash,
}

impl MerkleTree {
    /// Builds the tree over leaf hashes (not leaf data) in the order given.
    #[must_use]
    pub fn from_leaves(leaves: Vec<Hash>) -> Self {
        let size = leaves.len() as u64;
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below
                .chunks_exact(2)
                .map(|pair| node_hash(&pair[0], &pair[1]))
                .collect();
            levels.push(above);
        }
        let mut tree = Self {
            levels,
            root: [0; 32],
        };
        tree.root = root(&tree, size).expect("every complete subtree was just computed");
        tree
    }

    /// Root hash; that of the empty tree if there are no leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Number of leaves.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// Whether there are no leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels[0].is_empty()
    }

    /// Inclusion proof of leaf `index`, the leaf's sibling first.
    ///
    /// # Errors
    /// [`ProofError::IndexOutOfRange`] if there is no such leaf.
    pub fn prove(&self, index: u64) -> Result<Vec<Hash>, ProofError<Infallible>> {
        prove_inclusion(self, index, self.len())
    }
}

impl NodeReader for MerkleTree {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, Infallible> {
        let nodes = self.levels.get(usize::from(level));
        let index = usize::try_from(index).ok();
        Ok(nodes
            .zip(index)
            .and_then(|(nodes, index)| nodes.get(index))
            .copied())
    }
}
