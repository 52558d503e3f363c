//! The process's wall clock. Pure crates take `now` as an argument; only services call this.

use std::time::{SystemTime, UNIX_EPOCH};

use bailiwick_types::Timestamp;

/// The present, by this machine's clock; the epoch when the clock stands before 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
