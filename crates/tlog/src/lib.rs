//! Merkle log, checkpoints, proofs and cosignatures of one transparency log.
//!
//! | module | specification |
//! |---|---|
//! | [`hash`], [`log`], [`verify`] | RFC 6962 section 2.1; verification as in RFC 9162 sections 2.1.3.2 and 2.1.4.2 |
//! | [`checkpoint`] | C2SP `tlog-checkpoint`, without extension lines |
//! | [`note`], [`signed`] | C2SP `signed-note` |
//! | [`cosignature`] | C2SP `tlog-cosignature`, `cosignature/v1` |
//! | [`witness`] | the append-only rule of C2SP `tlog-witness` |
//!
//! This crate is pure: it reads no clock, file, socket or random source, and
//! it stores nothing. Whoever keeps the log stores the subtree hashes that
//! [`append`] returns and lends them back through [`NodeReader`]. What a leaf
//! means, who may append one and which signers are enough is decided elsewhere.

pub mod checkpoint;
pub mod cosignature;
pub mod hash;
pub mod log;
pub mod note;
pub mod signed;
pub mod tree;
pub mod verify;
pub mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, MAX_CHECKPOINT_BYTES, MAX_ORIGIN_BYTES};
pub use cosignature::{MAX_TIME_SECONDS, cosign, verify_cosignature};
pub use hash::{HASH_BYTES, Hash, empty_root, leaf_hash, node_hash};
pub use log::{
    MAX_PROOF_HASHES, MAX_TREE_SIZE, NodeReader, ProofError, StoredNode, append, prove_consistency,
    prove_inclusion, root,
};
pub use note::{
    KeyType, MAX_NAME_BYTES, MAX_SIGNATURE_BYTES, NoteSignature, NoteSignatureError, NoteVerifier,
    NoteVerifierError,
};
pub use signed::{
    AddSignatureError, MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, NoteVerifyError, SignError,
    SignedCheckpoint, sign_checkpoint,
};
pub use tree::MerkleTree;
pub use verify::{VerifyError, verify_consistency, verify_inclusion};
pub use witness::{WitnessError, WitnessState};
