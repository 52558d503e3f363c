//! Shared set-up of the benches: one shard with its committees in memory, a cluster of three nodes
//! in processes of its own, records, and the goals that a run is held against.
//!
//! Not here: the measurements (`construction.rs`, `shard.rs`, `cluster.rs` beside this folder), what
//! they mean (docs/benchmarks.md), and comparisons with other products.

pub mod cluster;
pub mod goal;
pub mod processor;
pub mod records;
pub mod service;
pub mod world;

use std::time::Duration;

use criterion::Criterion;

/// A short run: the whole suite is to take a few minutes on two busy cores, and medians of ten
/// samples tell as much there as longer runs would.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}
