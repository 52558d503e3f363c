//! The checks of docs/cryptography.md section 8, one file each. A check is a function whose result
//! is a value with private fields: holding the value is having passed the check. Each value says
//! under which checkpoint and for which request it was made, so that values of different requests
//! do not go together.

mod checkpoint;
mod freeze;
mod labels;
mod logged;
mod partitions;
mod policy;
mod quorum;
mod request;
mod reviewer;
mod selection;

pub use checkpoint::{CheckpointReference, CheckpointRefusal, CosignedCheckpoint};
pub use freeze::{FrozenRefusal, NotFrozen};
pub use labels::{LabelRefusal, LabelVerifier, VerifiedLabels};
pub use logged::{ReleaseLogged, ReleaseLoggedRefusal};
pub use partitions::{PartitionRefusal, TouchedPartitions};
pub use policy::{PolicyPassed, PolicyRefusal};
pub use quorum::{CountedDecision, QuorumCertificate, QuorumRefusal};
pub use request::{LoggedRequest, RequestRefusal};
pub use reviewer::{OwnReviewerApproved, OwnReviewerRefusal};
pub use selection::{SelectionRefusal, VerifiedSelection};

pub(crate) use labels::{SessionEvidence, VerifiedRecord};
