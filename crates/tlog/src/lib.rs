//! Merkle log, checkpoints, proofs and cosignatures.
