//! What the rows of a shard's snapshot say when they are read once from the first to the last: which
//! shard it is, and whether its transparency log is whole. Works on rows that are in no store yet,
//! holds a few hashes at a time, and believes nothing that it can compute.

use bailiwick_envelope::Canonical;
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_tlog::{Hash, empty_root, leaf_hash, node_hash};
use bailiwick_types::codec;
use bailiwick_types::store::Table;
use bailiwick_types::{ClusterId, ShardId, Timestamp};

use crate::rows::ShardState;
use crate::tables::{LEAVES, STATE, records};

/// What a whole snapshot of a shard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardFacts {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard.
    pub shard: ShardId,
    /// The origin of its transparency log.
    pub origin: String,
    /// The log time of its last command.
    pub last_stamp: Timestamp,
    /// Rows of sealed records.
    pub records: u64,
    /// Leaves of its transparency log.
    pub leaves: u64,
    /// The root over them, as recomputed from the leaves.
    pub root: Hash,
    /// The root at the size that was asked for; `None` when the log is smaller.
    pub root_then: Option<Hash>,
}

/// Why rows are no whole snapshot of a shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// There is no row that says which shard it is.
    #[error("the snapshot does not say which shard it is of")]
    NoState,
    /// The row that says which shard it is does not decode.
    #[error("the row that says which shard it is does not decode")]
    State,
    /// A leaf is missing or out of its place.
    #[error("leaf {expected} of the transparency log is missing")]
    Gap {
        /// The leaf that should have come.
        expected: u64,
    },
    /// A leaf does not decode.
    #[error("leaf {0} of the transparency log does not decode")]
    Leaf(u64),
    /// There are more or fewer leaves than the shard says.
    #[error("the shard says {stated} leaves, {found} are there")]
    Leaves {
        /// What the shard's state says.
        stated: u64,
        /// What is there.
        found: u64,
    },
}

/// Reads the rows of one snapshot.
#[derive(Debug)]
pub struct ShardAudit {
    at: u64,
    state: Option<ShardState>,
    leaves: u64,
    /// Roots of the complete subtrees that make up the tree, the largest first.
    frontier: Vec<Hash>,
    root_then: Option<Hash>,
    records: u64,
}

impl ShardAudit {
    /// Nothing read yet. The root at `size` leaves will be among the facts.
    pub fn new(size: u64) -> Self {
        Self {
            at: size,
            state: None,
            leaves: 0,
            frontier: Vec::new(),
            root_then: (size == 0).then(empty_root),
            records: 0,
        }
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// [`AuditError`]; what was read is then no whole snapshot.
    pub fn take(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), AuditError> {
        if table == STATE {
            let state = codec::decode(value).map_err(|_| AuditError::State)?;
            self.state = Some(state);
        } else if table == LEAVES {
            self.leaf(key, value)?;
        } else if table.kind == records(0).kind {
            self.records += 1;
        }
        Ok(())
    }

    fn leaf(&mut self, key: &[u8], value: &[u8]) -> Result<(), AuditError> {
        let index = self.leaves;
        if key != index.to_be_bytes() {
            return Err(AuditError::Gap { expected: index });
        }
        let leaf = OpenedLeaf::from_bytes(value).map_err(|_| AuditError::Leaf(index))?;
        let mut hash = leaf_hash(&leaf.data());
        // As a binary counter carries: every complete subtree of the size joins.
        for _ in 0..index.trailing_ones() {
            if let Some(left) = self.frontier.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.frontier.push(hash);
        self.leaves += 1;
        if self.leaves == self.at {
            self.root_then = Some(self.root());
        }
        Ok(())
    }

    fn root(&self) -> Hash {
        let mut subtrees = self.frontier.iter().rev();
        let Some(smallest) = subtrees.next() else {
            return empty_root();
        };
        subtrees.fold(*smallest, |right, left| node_hash(left, &right))
    }

    /// What all rows together say.
    ///
    /// # Errors
    /// [`AuditError`] when something is missing.
    pub fn finish(self) -> Result<ShardFacts, AuditError> {
        let root = self.root();
        let state = self.state.ok_or(AuditError::NoState)?;
        if state.leaves != self.leaves {
            return Err(AuditError::Leaves {
                stated: state.leaves,
                found: self.leaves,
            });
        }
        Ok(ShardFacts {
            cluster: state.cluster,
            shard: state.shard,
            origin: state.origin,
            last_stamp: state.last_stamp,
            records: self.records,
            leaves: self.leaves,
            root,
            root_then: self.root_then,
        })
    }
}
