//! Step 7 in a jurisdiction of several partitions (docs/decisions/0008-partitions.md): which of them a
//! request touches, and under which roots, by the home log, what they show must lie.

use std::collections::BTreeMap;

use bailiwick_envelope::partition::partition_of;
use bailiwick_envelope::selection::Selection;
use bailiwick_tlog::{Hash, VerifyError, leaf_hash, verify_inclusion};
use bailiwick_types::RequestId;

use crate::checks::checkpoint::{CheckpointReference, CosignedCheckpoint};
use crate::checks::request::LoggedRequest;
use crate::evidence::ProvenLeaf;
use crate::follower::LogFollower;
use crate::partitions::LoggedRoot;

/// The partitions in which a request's subjects live, as the cosigned home log says it. Only
/// [`TouchedPartitions::verify`] makes one.
#[derive(Clone, Debug)]
pub struct TouchedPartitions {
    request: RequestId,
    checkpoint: CheckpointReference,
    count: u16,
    touched: BTreeMap<u16, Anchor>,
}

/// What a partition's part of a selection is anchored in.
#[derive(Clone, Debug)]
enum Anchor {
    /// There is one partition: its part is the selection.
    Whole,
    /// The home group's own part, as its log has it.
    Own(Selection),
    /// The last root of a further partition's log.
    Root(LoggedRoot),
}

/// Why a partition cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartitionRefusal {
    /// The request was verified under another checkpoint, or the follower is of another log.
    #[error("the request is of another checkpoint or log")]
    OtherRequest,
    /// The home log has no root of a partition that the request touches.
    #[error("no root of partition {partition} is logged below leaf {size}")]
    NoRoot {
        /// The partition.
        partition: u16,
        /// The checkpoint's size.
        size: u64,
    },
    /// The home log has not the home group's own part of the selection.
    #[error("the home group's part of the selection is not logged below leaf {size}")]
    NoPart {
        /// The checkpoint's size.
        size: u64,
    },
}

impl TouchedPartitions {
    /// Finds the partitions of a request's subjects, and what their parts are anchored in.
    ///
    /// # Errors
    /// [`PartitionRefusal`] names the first partition that the log does not anchor.
    pub fn verify(
        checkpoint: &CosignedCheckpoint,
        follower: &LogFollower,
        request: &LoggedRequest,
    ) -> Result<Self, PartitionRefusal> {
        let reference = checkpoint.reference();
        let of_log = follower.root_at(reference.size) == Some(reference.root);
        if request.checkpoint() != reference || !of_log {
            return Err(PartitionRefusal::OtherRequest);
        }
        let (facts, size) = (follower.partitions(), reference.size);
        let count = facts.count_at(size);
        let mut touched = BTreeMap::new();
        for line in &request.request().scope {
            let partition = partition_of(&line.subject, count);
            let anchor = match (count, partition) {
                (1, _) => Anchor::Whole,
                (_, 0) => {
                    let own = facts.own_part(request.id(), size);
                    Anchor::Own(own.ok_or(PartitionRefusal::NoPart { size })?.clone())
                }
                (_, partition) => {
                    let root = facts.root_at(partition, size);
                    Anchor::Root(root.ok_or(PartitionRefusal::NoRoot { partition, size })?)
                }
            };
            touched.insert(partition, anchor);
        }
        Ok(Self {
            request: request.id(),
            checkpoint: reference,
            count,
            touched,
        })
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Under which checkpoint.
    pub fn checkpoint(&self) -> CheckpointReference {
        self.checkpoint
    }

    /// How many partitions the jurisdiction has.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The touched ones, ascending: the order in which they are read.
    pub fn partitions(&self) -> impl Iterator<Item = u16> {
        self.touched.keys().copied()
    }

    /// How many leaves of a further partition's log are committed to: under which tree it is asked to
    /// prove what it shows. 0 for one that is not touched, and for the home group.
    pub fn size_of(&self, partition: u16) -> u64 {
        match self.touched.get(&partition) {
            Some(Anchor::Root(root)) => root.size,
            _ => 0,
        }
    }

    /// The home group's part: the whole selection where there is one partition.
    pub(crate) fn home_part(&self, whole: &Selection) -> Option<Selection> {
        match self.touched.get(&0)? {
            Anchor::Whole => Some(whole.clone()),
            Anchor::Own(part) => Some(part.clone()),
            Anchor::Root(_) => None,
        }
    }

    /// Verifies that a leaf lies in a further partition's log as the home log has it.
    ///
    /// # Errors
    /// [`VerifyError`] when it does not, or no root of the partition is at hand.
    pub(crate) fn includes(&self, partition: u16, leaf: &ProvenLeaf) -> Result<(), VerifyError> {
        let (index, size) = (leaf.index, 0);
        let Some(Anchor::Root(root)) = self.touched.get(&partition) else {
            return Err(VerifyError::IndexOutOfRange { index, size });
        };
        let proof: Vec<Hash> = leaf.proof.iter().map(|hash| hash.0).collect();
        let hash = leaf_hash(&leaf.leaf.data());
        verify_inclusion(&hash, index, root.size, &root.root.0, &proof)
    }
}
