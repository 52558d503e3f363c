//! The SDK: what backend services, edges, intake, reviewers, recipients, operators and auditors do
//! from outside. Everything that a vault says is verified here against the caller's own trust file.
//!
//! Not here: the services themselves (`bailiwick-node`) and the construction
//! (`bailiwick-threshold`).

pub mod auditor;
pub mod certificates;
pub mod checkpoint;
pub mod cluster;
pub mod edge_http;
mod history;
pub mod intake;
pub mod normalise;
pub mod operator;
pub mod partitions;
pub mod recipient;
pub mod reviewer;
pub mod sealing;
pub mod snapshot;
pub mod trust;

pub use cluster::{CallFailure, Cluster, ClusterOptions};
pub use history::Forked;
pub use trust::{JurisdictionTrust, TrustFile};

use std::time::{SystemTime, UNIX_EPOCH};

use bailiwick_types::Timestamp;

/// The present, by this machine's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
