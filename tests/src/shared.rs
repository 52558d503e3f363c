//! One cluster for all stories of a file, by turns: starting thirteen processes takes longer than most
//! stories.
//!
//! The cluster lives as long as somebody has or waits for a turn, so that its processes and its folder
//! go with the last story, however that ends. Test threads overlap while they wait; with a single
//! test thread every story gets a cluster of its own, which is slower and as good.

use std::sync::Weak;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{Running, cluster};

/// The cluster of a file of stories.
pub struct Shared {
    running: Mutex<Weak<Mutex<Option<Running>>>>,
}

/// A story's turn with the cluster.
pub struct Turn {
    guard: OwnedMutexGuard<Option<Running>>,
}

impl Shared {
    /// No cluster yet.
    pub const fn new() -> Self {
        Self {
            running: Mutex::const_new(Weak::new()),
        }
    }

    /// Waits for the cluster; the first turn starts it.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn turn(&self, binary: &str) -> anyhow::Result<Turn> {
        let cell = {
            let mut running = self.running.lock().await;
            match running.upgrade() {
                Some(cell) => cell,
                None => {
                    let cell = std::sync::Arc::new(Mutex::new(None));
                    *running = std::sync::Arc::downgrade(&cell);
                    cell
                }
            }
        };
        let mut guard = cell.lock_owned().await;
        if guard.is_none() {
            *guard = Some(cluster(binary, &[]).await?);
        }
        Ok(Turn { guard })
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

impl std::ops::Deref for Turn {
    type Target = Running;

    fn deref(&self) -> &Running {
        self.guard.as_ref().expect("a turn has a running cluster")
    }
}

impl std::ops::DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Running {
        self.guard.as_mut().expect("a turn has a running cluster")
    }
}
