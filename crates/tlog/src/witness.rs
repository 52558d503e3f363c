//! What a witness remembers of a log, and its one rule.
//!
//! Follows C2SP `tlog-witness`: cosign only what is consistent with what was
//! cosigned before, and never a smaller tree. Not here: who may ask, the
//! log's own signature, and storage; the witness must store the new state
//! durably before its cosignature leaves it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::checkpoint::Checkpoint;
use crate::hash::{Hash, empty_root};
use crate::verify::{VerifyError, verify_consistency};

/// The last checkpoint of one log that a witness cosigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessState {
    /// Name of the log.
    pub origin: String,
    /// Leaves of the last checkpoint; 0 if there was none.
    pub size: u64,
    /// Root of the last checkpoint.
    pub root: Hash,
}

/// Why a witness does not cosign. The log is at fault, or whoever speaks in
/// its name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WitnessError {
    /// The checkpoint is of another log.
    #[error("checkpoint is of log {offered:?}, not of {remembered:?}")]
    OtherOrigin {
        /// Origin of the log this state is about.
        remembered: String,
        /// Origin of the checkpoint offered.
        offered: String,
    },
    /// The checkpoint is of an earlier state of the log.
    #[error("checkpoint of {offered} leaves is smaller than {remembered}, cosigned before")]
    Smaller {
        /// Leaves cosigned before.
        remembered: u64,
        /// Leaves of the checkpoint offered.
        offered: u64,
    },
    /// The log shows two trees of the same size. Both checkpoints with their
    /// signatures are evidence against it and must be kept.
    #[error("log shows two different trees of {size} leaves")]
    Fork {
        /// Leaves of both.
        size: u64,
        /// Root cosigned before.
        remembered: Hash,
        /// Root of the checkpoint offered.
        offered: Hash,
    },
    /// The checkpoint is larger, but not shown to extend what was cosigned.
    #[error("consistency with the checkpoint cosigned before is not proven")]
    BadProof(#[source] VerifyError),
}

impl WitnessState {
    /// The state before anything was cosigned: the first checkpoint of this
    /// origin is taken as it comes.
    #[must_use]
    pub fn unseen(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            size: 0,
            root: empty_root(),
        }
    }

    /// The state after cosigning `checkpoint`, if that is allowed. `proof` is
    /// the consistency proof from [`Self::size`] to the checkpoint's size.
    /// Only the returned state permits the cosignature.
    ///
    /// # Errors
    /// See [`WitnessError`]; nothing may be cosigned then.
    pub fn advance(&self, checkpoint: &Checkpoint, proof: &[Hash]) -> Result<Self, WitnessError> {
        if checkpoint.origin != self.origin {
            return Err(WitnessError::OtherOrigin {
                remembered: self.origin.clone(),
                offered: checkpoint.origin.clone(),
            });
        }
        if checkpoint.size < self.size {
            return Err(WitnessError::Smaller {
                remembered: self.size,
                offered: checkpoint.size,
            });
        }
        if checkpoint.size == self.size && checkpoint.root != self.root {
            return Err(WitnessError::Fork {
                size: self.size,
                remembered: self.root,
                offered: checkpoint.root,
            });
        }
        verify_consistency(
            self.size,
            &self.root,
            checkpoint.size,
            &checkpoint.root,
            proof,
        )
        .map_err(WitnessError::BadProof)?;
        Ok(Self {
            origin: self.origin.clone(),
            size: checkpoint.size,
            root: checkpoint.root,
        })
    }
}
