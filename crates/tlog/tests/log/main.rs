//! Tests of the crate as its callers see it.
//!
//! One binary, so that it links once. `naive` is the recursion of RFC 6962 as
//! it stands there; `peers` compares with independent implementations.

// A test may unwrap: the panic is its failure message.
#![allow(clippy::unwrap_used)]

mod cosignatures;
mod naive;
mod notes;
mod peers;
mod proofs;
mod rfc6962;
mod support;
mod witness;
