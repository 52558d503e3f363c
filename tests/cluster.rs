//! A cluster as an operator runs it, on real processes: nodes join, drain, are replaced and leave while
//! records come in, leaders end or sleep, jurisdictions freeze, disks are lost and restored; and nothing is
//! anywhere where its jurisdiction does not allow it.

use tokio::sync::{Mutex, MutexGuard};

#[path = "cluster/backup.rs"]
mod backup;
#[path = "cluster/desk.rs"]
mod desk;
#[path = "cluster/failover.rs"]
mod failover;
#[path = "cluster/freeze.rs"]
mod freeze;
#[path = "cluster/freeze_import.rs"]
mod freeze_import;
#[path = "cluster/members.rs"]
mod members;
#[path = "cluster/placement.rs"]
mod placement;
#[path = "cluster/retire.rs"]
mod retire;
#[path = "cluster/rolling.rs"]
mod rolling;

/// The test package's own program.
fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}

static TURN: Mutex<()> = Mutex::const_new(());

/// One story at a time: some measure how long a cluster takes, and each has thirteen processes.
async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
