//! An approver as a full follower of one jurisdiction's log: it folds every opened leaf and
//! recomputes the root, so that inclusion and the absence of a recall are its own knowledge. It is
//! also the log's witness: a root that it did not recompute gets no cosignature.
//!
//! The rule that is written once here: a state is persisted *before* its checkpoint is cosigned.
//! Else a restored approver could cosign a fork. Only [`PersistedFollower`] yields a cosignature,
//! and only a write that succeeded yields a [`PersistedFollower`].

use std::collections::VecDeque;

use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_tlog::{
    Checkpoint, Hash, NoteSignature, SignError, SignedCheckpoint, cosign, empty_root, leaf_hash,
    node_hash,
};
use bailiwick_types::limits::STAMP_LEAD;
use bailiwick_types::{Name, Timestamp};
use serde::{Deserialize, Serialize};

use crate::facts::LogFacts;
use crate::keys::MemberKeys;
use crate::partitions::PartitionFacts;
use crate::voucher::VouchedCheckpoint;

/// Most leaves of one step; a longer log comes in several.
pub const ADVANCE_LEAVES: usize = 4096;

/// Sizes whose recomputed roots are kept: a checkpoint is cosigned while the log grows on. At one
/// step a second this covers more than the age at which a checkpoint is too old.
pub const REMEMBERED_ROOTS: usize = 1024;

/// Everything folded from the log's leaves up to its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFollower {
    origin: String,
    size: u64,
    /// Roots of the complete subtrees that make up the tree, the largest first.
    frontier: Vec<Hash>,
    /// The log time of the last leaf.
    time: Timestamp,
    facts: LogFacts,
    /// `(size, root)` of the last steps, ascending by size.
    roots: VecDeque<(u64, Hash)>,
    /// The signed checkpoint of the last step.
    last: Option<SignedCheckpoint>,
    /// Not part of the serialised form, which is older: see [`LogFollower::with_partitions`].
    #[serde(skip)]
    partitions: PartitionFacts,
}

/// Why a follower does not go on. The log is at fault, or whoever speaks in its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The checkpoint is of another log.
    #[error("the checkpoint is of log {offered:?}, not of {followed:?}")]
    OtherOrigin {
        /// The followed log.
        followed: String,
        /// The checkpoint's.
        offered: String,
    },
    /// The checkpoint is smaller than what was folded.
    #[error("the checkpoint has {offered} leaves, {folded} were folded before")]
    Smaller {
        /// Leaves folded.
        folded: u64,
        /// Leaves of the checkpoint.
        offered: u64,
    },
    /// The leaves do not end where the checkpoint does.
    #[error("{leaves} leaves were sent, the checkpoint needs {needed}")]
    Leaves {
        /// Leaves sent.
        leaves: u64,
        /// Leaves between the folded size and the checkpoint's.
        needed: u64,
    },
    /// More than [`ADVANCE_LEAVES`] at once.
    #[error("{0} leaves are more than one step may have")]
    TooMany(usize),
    /// The first leaf does not name the log, or a later one claims to begin it.
    #[error("leaf {index}: the log does not begin with its own name, or begins twice")]
    Genesis {
        /// The leaf's index.
        index: u64,
    },
    /// A leaf's log time is before its predecessor's.
    #[error("leaf {index}: log time runs backwards")]
    TimeRunsBack {
        /// The leaf's index.
        index: u64,
    },
    /// A root of a partition does not extend the one before, or the number of partitions changes: that
    /// partition's log is a fork.
    #[error("leaf {index}: what it says of partitions does not follow")]
    Partitions {
        /// The leaf's index.
        index: u64,
    },
    /// A leaf's log time is more than [`STAMP_LEAD`] ahead of the own clock: one of both is wrong.
    #[error("leaf {index}: logged at {stamp}, too far ahead of this clock's {now}")]
    AheadOfClock {
        /// The leaf's index.
        index: u64,
        /// Its log time.
        stamp: Timestamp,
        /// The own clock.
        now: Timestamp,
    },
    /// The vault that sent the checkpoint is no voter that the trust file lists.
    #[error("{sender} is no voter of this log as the trust file has it")]
    UnknownVoter {
        /// The vault.
        sender: Name,
    },
    /// The voter that sent the checkpoint has not signed it.
    #[error("the checkpoint is not signed by {sender} with the key that the trust file lists")]
    NotSigned {
        /// The vault.
        sender: Name,
    },
    /// The log does not follow: the leaves do not give the checkpoint's root, or it has another root
    /// at a size that was folded. Both checkpoints are evidence and are kept.
    #[error("the log is forked: what was folded does not lead to the checkpoint of {} leaves", offered.checkpoint().size)]
    Fork {
        /// The checkpoint offered.
        offered: Box<SignedCheckpoint>,
        /// The last checkpoint that was folded, if there was one.
        remembered: Option<Box<SignedCheckpoint>>,
    },
}

impl LogFollower {
    /// A follower of a log of which nothing was seen. The origin is from the own trust file.
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            size: 0,
            frontier: Vec::new(),
            time: Timestamp::default(),
            facts: LogFacts::default(),
            roots: VecDeque::from([(0, empty_root())]),
            last: None,
            partitions: PartitionFacts::default(),
        }
    }

    /// The follower as it was before it was persisted. Its serialised form has not what the log says
    /// of partitions: where that [is not empty](PartitionFacts::is_empty), the driver persists it
    /// beside the follower, in the same write, and gives it back here.
    #[must_use]
    pub fn with_partitions(mut self, partitions: PartitionFacts) -> Self {
        self.partitions = partitions;
        self
    }

    /// The follower after folding these leaves, which must end exactly at the checkpoint and may not
    /// be dated ahead of the own clock, `now`. `self` stays as it is, so that a step that cannot be
    /// persisted is no step.
    ///
    /// # Errors
    /// [`FollowError`]; nothing may be cosigned then.
    pub fn advance(
        &self,
        leaves: &[OpenedLeaf],
        checkpoint: &VouchedCheckpoint,
        now: Timestamp,
    ) -> Result<Self, FollowError> {
        let checkpoint = checkpoint.signed();
        let offered = checkpoint.checkpoint();
        if offered.origin != self.origin {
            return Err(FollowError::OtherOrigin {
                followed: self.origin.clone(),
                offered: offered.origin.clone(),
            });
        }
        let (folded, size) = (self.size, offered.size);
        let fork = || FollowError::Fork {
            offered: Box::new(checkpoint.clone()),
            remembered: self.last.clone().map(Box::new),
        };
        if self.root_at(size).is_some_and(|own| own != offered.root) {
            return Err(fork());
        }
        let needed = size.checked_sub(folded).ok_or(FollowError::Smaller {
            folded,
            offered: size,
        })?;
        if leaves.len() > ADVANCE_LEAVES {
            return Err(FollowError::TooMany(leaves.len()));
        }
        let sent = leaves.len() as u64;
        if sent != needed {
            return Err(FollowError::Leaves {
                leaves: sent,
                needed,
            });
        }
        let mut next = self.clone();
        for leaf in leaves {
            next.fold(leaf, now)?;
        }
        if next.root() != offered.root {
            return Err(fork());
        }
        next.remember(checkpoint);
        Ok(next)
    }

    fn fold(&mut self, leaf: &OpenedLeaf, now: Timestamp) -> Result<(), FollowError> {
        let index = self.size;
        let genesis = match &leaf.content {
            LeafContent::Genesis { origin } => Some(origin),
            _ => None,
        };
        let named = genesis.is_some_and(|origin| *origin == self.origin);
        if (index == 0) != genesis.is_some() || (index == 0 && !named) {
            return Err(FollowError::Genesis { index });
        }
        if leaf.logged_at < self.time {
            return Err(FollowError::TimeRunsBack { index });
        }
        if leaf.logged_at > now.plus(STAMP_LEAD) {
            let stamp = leaf.logged_at;
            return Err(FollowError::AheadOfClock { index, stamp, now });
        }
        self.partitions
            .fold(index, &leaf.content)
            .map_err(|_| FollowError::Partitions { index })?;
        self.facts.fold(index, leaf);
        self.time = leaf.logged_at;
        self.append(leaf_hash(&leaf.data()));
        Ok(())
    }

    /// Joins the new leaf with every complete subtree of its size, as a binary counter carries.
    fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.frontier.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.frontier.push(hash);
        self.size += 1;
    }

    fn remember(&mut self, checkpoint: &SignedCheckpoint) {
        let root = self.root();
        if self.roots.back().is_none_or(|(size, _)| *size < self.size) {
            self.roots.push_back((self.size, root));
        }
        while self.roots.len() > REMEMBERED_ROOTS {
            self.roots.pop_front();
        }
        self.last = Some(checkpoint.clone());
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves were folded.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over them, as recomputed here.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.frontier.iter().rev();
        let Some(smallest) = subtrees.next() else {
            return empty_root();
        };
        subtrees.fold(*smallest, |right, left| node_hash(left, &right))
    }

    /// The root recomputed at an earlier size, while it is remembered.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        let at = self.roots.binary_search_by_key(&size, |(size, _)| *size);
        at.ok().map(|at| self.roots[at].1)
    }

    /// The log time of the last leaf.
    pub fn log_time(&self) -> Timestamp {
        self.time
    }

    /// What the log says.
    pub fn facts(&self) -> &LogFacts {
        &self.facts
    }

    /// What the log says of partitions.
    pub fn partitions(&self) -> &PartitionFacts {
        &self.partitions
    }

    /// The signed checkpoint of the last step.
    pub fn last_checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.last.as_ref()
    }

    /// Persists this state by the driver's `write`, which must return only after the state is
    /// durable (synced). Only then there is something that can cosign.
    ///
    /// # Errors
    /// The driver's; the state may then not be used for cosigning.
    pub fn persisted<E>(
        self,
        write: impl FnOnce(&Self) -> Result<(), E>,
    ) -> Result<PersistedFollower, E> {
        write(&self)?;
        Ok(PersistedFollower(self))
    }
}

/// A follower whose state is durable. The only thing that yields a cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistedFollower(LogFollower);

impl PersistedFollower {
    /// The state that the driver reads back from its disk.
    ///
    /// # Errors
    /// The driver's.
    pub fn load<E>(read: impl FnOnce() -> Result<LogFollower, E>) -> Result<Self, E> {
        read().map(Self)
    }

    /// The state.
    pub fn follower(&self) -> &LogFollower {
        &self.0
    }

    /// Cosigns the log at the persisted size under the member's name.
    ///
    /// # Errors
    /// [`SignError`] when the origin has no text or the time is out of range.
    pub fn cosign(&self, keys: &MemberKeys, now: Timestamp) -> Result<NoteSignature, SignError> {
        let checkpoint = Checkpoint::new(&self.0.origin, self.0.size, self.0.root())?;
        cosign(
            keys.name().as_str(),
            keys.signing_key(),
            &checkpoint,
            now.seconds(),
        )
    }
}
