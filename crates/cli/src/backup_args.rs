//! The shapes of `bailiwick operator snapshot` and `bailiwick operator recover`.

use std::path::PathBuf;

use bailiwick_types::{Jurisdiction, NodeId};
use clap::{Args, Subcommand};

/// `bailiwick operator snapshot`.
#[derive(Debug, Subcommand)]
pub enum SnapshotVerb {
    /// Stream snapshots from the cluster into files, and verify them.
    Save(SaveOptions),
    /// Verify snapshot files, offline: every byte, every row, the log's root, the checkpoint.
    Verify {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Restore snapshot files into the data folder of a stopped node.
    ///
    /// After the loss of ALL nodes: give the directory's file, the files of the jurisdictions that
    /// belong on this node, and --nodes with the new nodes, whose numbers were never used; run the
    /// same on every new node before any is started. In a living cluster: give the files of groups
    /// that the directory places on this node and that it lacks.
    ///
    /// What was acknowledged after a snapshot was taken is lost.
    Restore(RestoreArguments),
    /// Write the last checkpoint that an approver cosigned into a file, offline: a restore needs it.
    Checkpoint {
        /// The jurisdiction.
        code: Jurisdiction,
        /// The approver's configuration.
        #[arg(long, value_name = "FILE")]
        approver: PathBuf,
        /// Where to; never overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// `bailiwick operator snapshot save`.
#[derive(Debug, Args)]
pub struct SaveOptions {
    /// The folder of the files; created when absent.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only this jurisdiction; may be repeated. Everything, the directory too, when absent.
    #[arg(long = "jurisdiction", value_name = "CODE")]
    pub jurisdictions: Vec<Jurisdiction>,
    /// From this node, be it the leader or not: what it knows, without asking a quorum.
    #[arg(long, value_name = "NUMBER")]
    pub node: Option<u64>,
}

/// `bailiwick operator snapshot restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The snapshot files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The stopped node's configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The new nodes, after the loss of all (TOML, as for `operator init`).
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
    /// A cosigned checkpoint of a jurisdiction, as an approver, auditor or witness has it; may be
    /// repeated. No log comes back below it.
    #[arg(long = "checkpoint", value_name = "FILE")]
    pub checkpoints: Vec<PathBuf>,
    /// Restore logs of which no checkpoint is given: approvers still refuse a shorter one.
    #[arg(long)]
    pub without_checkpoint: bool,
    /// Verify, say what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// `bailiwick operator recover`.
#[derive(Debug, Args)]
pub struct RecoverArguments {
    /// This stopped survivor's configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The number of a node that is lost for good and will never be started again; may be repeated.
    #[arg(long = "lost", required = true, value_name = "NUMBER", value_parser = node)]
    pub lost: Vec<NodeId>,
    /// Only this jurisdiction (and the directory); may be repeated. All when absent.
    #[arg(long = "jurisdiction", value_name = "CODE")]
    pub jurisdictions: Vec<Jurisdiction>,
    /// What another survivor said with --dry-run --output json; may be repeated.
    #[arg(long = "compare", value_name = "FILE")]
    pub compared: Vec<PathBuf>,
    /// A cosigned checkpoint of a jurisdiction; may be repeated. No log goes on below it.
    #[arg(long = "checkpoint", value_name = "FILE")]
    pub checkpoints: Vec<PathBuf>,
    /// Recover logs of which no checkpoint is given: approvers still refuse a shorter one.
    #[arg(long)]
    pub without_checkpoint: bool,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

fn node(text: &str) -> Result<NodeId, std::num::ParseIntError> {
    text.parse().map(NodeId)
}
