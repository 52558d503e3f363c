//! Counters of the write-ahead log, for metrics.

use std::time::Duration;

/// Upper bounds of the buckets of sync latency, in microseconds; the last takes the rest.
pub const SYNC_LATENCY_BOUNDS_US: [u64; 13] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    u64::MAX,
];

/// What the log did since it was opened, and how large it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalStatistics {
    /// Batches synced, each with one write and one `fdatasync`.
    pub syncs: u64,
    /// Records written, batch marks not counted.
    pub records: u64,
    /// Bytes written, record headers included.
    pub bytes: u64,
    /// Time spent in `fdatasync`, in microseconds.
    pub sync_total_us: u64,
    /// How many syncs took at most the bound of [`SYNC_LATENCY_BOUNDS_US`] at the same position,
    /// and more than the bound before it.
    pub sync_latency: [u64; SYNC_LATENCY_BOUNDS_US.len()],
    /// Records copied forward so that old segments could go.
    pub moved_records: u64,
    /// Segments deleted.
    pub deleted_segments: u64,
    /// Segments on disk now.
    pub segments: u64,
    /// Bytes of all segments on disk now.
    pub segment_bytes: u64,
}

impl WalStatistics {
    pub(super) fn record_sync(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.syncs += 1;
        self.sync_total_us = self.sync_total_us.saturating_add(us);
        let bucket = SYNC_LATENCY_BOUNDS_US.iter().position(|bound| us <= *bound);
        self.sync_latency[bucket.unwrap_or(SYNC_LATENCY_BOUNDS_US.len() - 1)] += 1;
    }
}
