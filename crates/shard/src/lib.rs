//! The replicated state machines: one jurisdiction's shard, and the cluster's [`directory`].
//!
//! Pure: applying looks at the group's own store, the leader's stamp and the command, and at
//! nothing else, so that replicas agree byte for byte and a snapshot with its tail equals a full
//! replay. Total: a bad command is an [`Outcome::Rejected`] that changed nothing; an `Err` is the
//! disk's fault alone. Idempotent by the command's key. Follows docs/cryptography.md sections 4 to 8.
//!
//! Not here: opening ciphertexts (nobody at a vault can), policy (a digest only), own trust files
//! (nodes check them before they propose, approvers before they release).

mod apply;
pub mod audit;
pub mod belongs;
mod blocks;
mod certificates;
pub mod command;
mod decisions;
pub mod directory;
mod enrolment;
mod evidence;
mod freeze;
mod genesis;
mod log;
mod machine;
pub mod outcome;
pub mod outlook;
mod part_evidence;
mod partitions;
mod parts;
pub mod query;
pub mod rejection;
mod releases;
mod remember;
mod requests;
mod rows;
mod selection;
mod sessions;
mod tables;
pub mod view;

use bailiwick_envelope::{HashTag, hash};
use bailiwick_types::Digest;

pub use apply::apply;
pub use command::{
    CertificatePlan, Command, CommandBody, CommitteePlan, HomeState, MemberRefusal, PartClaim,
    PartedRequest, PlannedMember, PlannedPeriod,
};
pub use outcome::{BlockStored, Outcome};
pub use rejection::{Fault, Rejection};
pub use view::{RequestState, SessionState};

/// `H("document", documents)`: what a request's `documents` field must be.
pub fn documents_digest(documents: &[u8]) -> Digest {
    hash(HashTag::Document, |e| {
        e.bytes(documents);
    })
}
