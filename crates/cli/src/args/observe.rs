//! `bailiwick operator diagnose` and `bailiwick operator debug`.

use std::path::PathBuf;

use clap::Args;

/// `bailiwick operator diagnose`.
#[derive(Clone, Debug, Args)]
pub struct DiagnoseOptions {
    /// The configuration of the service on this machine.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `bailiwick operator debug`.
#[derive(Clone, Debug, Args)]
pub struct DebugOptions {
    /// The folder of the bundle; it must not be there yet.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The configuration of a service on this machine; may be repeated.
    #[arg(long = "config", value_name = "FILE", required = true)]
    pub configs: Vec<PathBuf>,
    /// A log whose end goes in, without addresses and numbers; may be repeated.
    #[arg(long = "log", value_name = "FILE")]
    pub logs: Vec<PathBuf>,
}
