//! Write-ahead log, record store, snapshots and the disk trait.
