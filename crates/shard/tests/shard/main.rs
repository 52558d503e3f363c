//! Stories of one jurisdiction's shard and of the directory.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failed unwrap is a failed test; the modules are one binary's"
)]

mod audit;
mod cost;
mod decisions;
mod directory;
mod log;
mod partitions;
mod relocate;
mod replay;
mod requests;
mod sealed;
mod sessions;
mod world;
mod writing;
