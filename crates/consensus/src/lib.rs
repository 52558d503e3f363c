//! Raft groups on shared connections: one group per jurisdiction partition, and the directory's.
//!
//! [`Host`] runs all groups of one node: it proposes, reads linearizably, hands leadership over,
//! changes members and serves the Raft operations of other nodes. What a command means is the
//! business of the [`StateMachine`]s of `bailiwick-shard`; what bytes are on disk is
//! `bailiwick-storage`'s. openraft's types stay inside this crate. Follows docs/architecture.md,
//! "Raft groups", "Traps that others fell into" and "Time".

mod administer;
mod error;
mod group;
mod host;
mod hosted;
mod links;
mod log_store;
mod machine;
mod measure;
mod network;
pub mod offline;
mod options;
mod propose;
mod raft;
mod report;
mod rest;
mod retention;
mod saved;
mod serve;
mod state_machine;
mod steps;
#[cfg(test)]
mod storage_tests;
mod vigil;
mod wire;

pub use error::{AdministerError, AskError, HostError, ProposeError, ReadError};
pub use group::{GroupKind, GroupSpec, GroupStatus, Lag, Leader, PeerAddress};
pub use host::Host;
pub use machine::{StateMachine, shard_machines};
pub use measure::{GroupMeasures, LATENCY_BOUNDS_US, Latencies};
pub use offline::{OfflineError, OfflineNode, Survey};
pub use options::{Clock, Fatal, HostOptions, Machines, Placement, RaftTimings, SystemClock};
pub use raft::command_of_record;
pub use report::{GroupReport, MemberReport};
pub use saved::{SaveError, SavedSnapshot, SnapshotPosition, snapshot_log_id};
pub use steps::{Judge, Step, Wanted, next_step};
