//! The replicated state machines: one jurisdiction's shard, and the cluster's [`directory`].
//!
//! Pure: applying looks at the group's own store, the leader's stamp and the command, and at
//! nothing else, so that replicas agree byte for byte and a snapshot with its tail equals a full
//! replay. Total: a bad command is an [`Outcome::Rejected`] that changed nothing; an `Err` is the
//! disk's fault alone. Idempotent by the command's key. Follows docs/cryptography.md sections 4 to 8.
//!
//! Not here: opening ciphertexts (nobody at a vault can), policy (a digest only), own trust files
//! (nodes check them before they propose, approvers before they release).

pub mod command;
pub mod directory;
pub mod outcome;
pub mod query;
pub mod rejection;
pub mod view;

use bailiwick_envelope::{HashTag, hash};
use bailiwick_types::store::{StoreError, WriteStore};
use bailiwick_types::{Digest, Timestamp};

pub use command::{
    CertificatePlan, Command, CommandBody, CommitteePlan, MemberRefusal, PlannedMember,
    PlannedPeriod,
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

/// Applies one encoded [`Command`] at the log time `stamp`; returns the encoded [`Outcome`].
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn apply(
    store: &mut dyn WriteStore,
    stamp: Timestamp,
    command: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let _ = (store, stamp, command);
    Err(StoreError("not written yet".to_owned()))
}
