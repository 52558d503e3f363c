//! `bailiwick operator freeze|unfreeze`.

use bailiwick_types::Jurisdiction;
use clap::Args;

/// Which jurisdiction, and why.
#[derive(Clone, Debug, Args)]
pub struct FreezeOptions {
    /// The jurisdiction.
    pub code: Jurisdiction,
    /// Why; it is logged.
    #[arg(long)]
    pub reason: String,
    /// Say what would happen, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do it without asking. Freezing never asks: it is the safe direction.
    #[arg(long)]
    pub yes: bool,
}
