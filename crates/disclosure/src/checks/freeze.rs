//! Step 3, second half: "no freeze". Looked at in everything that was folded, not only under the
//! checkpoint: a freeze bites as soon as it is known.

use crate::checks::checkpoint::{CheckpointReference, CosignedCheckpoint};
use crate::follower::LogFollower;

/// The jurisdiction is not frozen. Only [`NotFrozen::verify`] makes one.
#[derive(Clone, Debug)]
pub struct NotFrozen {
    checkpoint: CheckpointReference,
}

/// Nothing is released while a jurisdiction is frozen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrozenRefusal {
    /// A freeze is in force.
    #[error("the jurisdiction is frozen by leaf {index}")]
    Frozen {
        /// The freeze's leaf.
        index: u64,
    },
    /// The follower has not folded the whole tree of the checkpoint.
    #[error("the follower is behind the checkpoint")]
    Behind,
}

impl NotFrozen {
    /// Looks for a freeze.
    ///
    /// # Errors
    /// [`FrozenRefusal::Frozen`] names the leaf.
    pub fn verify(
        checkpoint: &CosignedCheckpoint,
        follower: &LogFollower,
    ) -> Result<Self, FrozenRefusal> {
        if follower.root_at(checkpoint.size()) != Some(checkpoint.reference().root) {
            return Err(FrozenRefusal::Behind);
        }
        match follower.facts().freeze() {
            Some(freeze) => Err(FrozenRefusal::Frozen {
                index: freeze.place.index,
            }),
            None => Ok(Self {
                checkpoint: checkpoint.reference(),
            }),
        }
    }

    /// Under which checkpoint.
    pub fn checkpoint(&self) -> CheckpointReference {
        self.checkpoint
    }
}
