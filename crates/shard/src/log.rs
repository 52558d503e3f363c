//! The shard's transparency log: opened leaves and the hashes of complete subtrees in the store.

use bailiwick_envelope::Canonical;
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_tlog::{Hash, NodeReader, ProofError, append, leaf_hash};
use bailiwick_types::store::{ReadStore, StoreError, WriteStore};

use crate::rows::read_array;
use crate::tables::{LEAVES, LOG_NODES};

/// Lends the stored subtree hashes to `bailiwick-tlog`.
pub(crate) struct LogNodes<'a>(pub(crate) &'a dyn ReadStore);

impl NodeReader for LogNodes<'_> {
    type Error = StoreError;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, StoreError> {
        read_array(self.0, LOG_NODES, &node_key(level, index))
    }
}

fn node_key(level: u8, index: u64) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Appends a leaf to a log of `size` leaves.
///
/// # Errors
/// [`StoreError`] when the disk fails or lacks a node.
pub(crate) fn append_leaf(
    store: &mut dyn WriteStore,
    size: u64,
    leaf: &OpenedLeaf,
) -> Result<(), StoreError> {
    let nodes = append(&LogNodes(store), size, leaf_hash(&leaf.data())).map_err(store_error)?;
    for (level, index, hash) in nodes {
        store.put(LOG_NODES, &node_key(level, index), &hash)?;
    }
    store.put(LEAVES, &size.to_be_bytes(), &leaf.to_bytes())
}

/// What the log lacks is the store's fault: sizes and indices are checked before.
pub(crate) fn store_error(error: ProofError<StoreError>) -> StoreError {
    match error {
        ProofError::Read(error) => error,
        other => StoreError(format!("log: {other}")),
    }
}
