//! Backups: what a snapshot file says, its verification without a cluster, restoring onto new nodes,
//! and recovering a group whose quorum is lost.
//!
//! ```text
//! header      what a file says of itself
//! verify      a file against what it says, row by row
//! checkpoint  the last cosigned size of a log, from whoever remembers it
//! restore     files into the empty folder of a stopped node
//! recover     a stopped survivor becomes a group's only voter
//! ```
//! Nothing here talks to anybody. No log goes below the last cosigned size that is known: an approver
//! would refuse it besides, by what it folded itself. Asking people is the command line's business.

pub mod checkpoint;
pub mod header;
pub mod recover;
pub mod restore;
pub mod verify;

pub use checkpoint::{CheckpointsError, KnownCheckpoints, LogFault};
pub use header::SnapshotHeader;
pub use recover::{RecoverError, Recovery, RecoveryOptions, Verdict, plan_recovery};
pub use restore::{RestoreError, RestoreOptions, RestorePlan, plan_restore};
pub use verify::{VerifiedSnapshot, VerifyError, verify};

/// The extension of snapshot files.
pub const EXTENSION: &str = "bwsave";
