//! Whether all checkpoints that were seen while a log was read are of one history: a vault that
//! shows one half of a log under one checkpoint and the other half under another has forked it,
//! even if every leaf stands under the checkpoint it came with.

use std::collections::BTreeMap;

use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_tlog::{Hash, empty_root, leaf_hash, node_hash};

use crate::checkpoint::VerifiedCheckpoint;

/// Two checkpoints of one log that exclude each other: the vaults' fault, and an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint of size {size} does not belong to the history of the others: a fork")]
pub struct Forked {
    /// The size of the checkpoint that does not fit.
    pub size: u64,
}

/// The leaves of a log from its first one, and every checkpoint seen.
#[derive(Default)]
pub(crate) struct History {
    leaves: Vec<Hash>,
    roots: BTreeMap<u64, Hash>,
}

impl History {
    /// Takes a checkpoint; two of one size must be one.
    pub(crate) fn see(&mut self, checkpoint: &VerifiedCheckpoint) -> Result<(), Forked> {
        let (size, root) = (checkpoint.size(), checkpoint.root().0);
        match self.roots.insert(size, root) {
            Some(earlier) if earlier != root => Err(Forked { size }),
            _ => Ok(()),
        }
    }

    /// How many different checkpoints were seen.
    pub(crate) fn checkpoints(&self) -> usize {
        self.roots.len()
    }

    /// Takes the next leaf.
    pub(crate) fn push(&mut self, leaf: &OpenedLeaf) {
        self.leaves.push(leaf_hash(&leaf.data()));
    }

    /// Rebuilds the tree once and compares every checkpoint on the way. All sizes must have been
    /// read, from leaf 0.
    pub(crate) fn check(&self) -> Result<(), Forked> {
        let mut tree = Peaks::default();
        let mut leaves = self.leaves.iter();
        for (size, root) in &self.roots {
            let missing = usize::try_from(size - tree.size).unwrap_or(usize::MAX);
            for leaf in leaves.by_ref().take(missing) {
                tree.push(*leaf);
            }
            if tree.size != *size || tree.root() != *root {
                return Err(Forked { size: *size });
            }
        }
        Ok(())
    }
}

/// The roots of the full subtrees of a growing tree, largest first (RFC 6962 section 2.1).
#[derive(Default)]
struct Peaks {
    size: u64,
    peaks: Vec<(u32, Hash)>,
}

impl Peaks {
    fn push(&mut self, leaf: Hash) {
        let mut new = (0, leaf);
        while let Some((_, left)) = self.peaks.pop_if(|(height, _)| *height == new.0) {
            new = (new.0 + 1, node_hash(&left, &new.1));
        }
        self.peaks.push(new);
        self.size += 1;
    }

    fn root(&self) -> Hash {
        let mut right_to_left = self.peaks.iter().rev().map(|(_, hash)| *hash);
        let last = right_to_left.next().unwrap_or_else(empty_root);
        right_to_left.fold(last, |right, left| node_hash(&left, &right))
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_tlog::MerkleTree;

    use super::*;

    #[test]
    fn peaks_give_the_root_of_every_size() {
        let leaves: Vec<Hash> = (0..70_u8).map(|number| leaf_hash(&[number])).collect();
        let mut peaks = Peaks::default();
        assert_eq!(peaks.root(), MerkleTree::from_leaves(Vec::new()).root());
        for size in 1..=leaves.len() {
            peaks.push(leaves[size - 1]);
            let expected = MerkleTree::from_leaves(leaves[..size].to_vec()).root();
            assert_eq!(peaks.root(), expected, "{size}");
        }
    }
}
