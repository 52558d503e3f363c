//! One cluster for all stories of a file, by turns: starting thirteen processes takes longer than most
//! stories.
//!
//! The cluster lives as long as somebody has or waits for a turn, so that its processes and its folder
//! go with the last story. A story that fails may leave anything behind, such as a freeze: the next one
//! gets a new cluster. Test threads overlap while they wait; with a single test thread every story gets
//! a cluster of its own, which is slower and as good.

use std::sync::{Arc, Weak};

use anyhow::Context;
use tokio::sync::Mutex;

use crate::{Running, cluster};

/// The cluster of a file of stories.
pub struct Shared {
    running: Mutex<Weak<Mutex<Option<Running>>>>,
}

impl Shared {
    /// No cluster yet.
    pub const fn new() -> Self {
        Self {
            running: Mutex::const_new(Weak::new()),
        }
    }

    /// Waits for the cluster, which the first story starts, and tells a story with it.
    ///
    /// # Errors
    /// When it does not come up, and what the story says.
    pub async fn story(
        &self,
        binary: &str,
        tell: impl AsyncFnOnce(&mut Running) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let place = self.place().await;
        let mut place = place.lock_owned().await;
        let mut running = match place.take() {
            Some(running) => running,
            None => cluster(binary, &[]).await?,
        };
        tell(&mut running)
            .await
            .with_context(|| running.where_it_was())?;
        *place = Some(running);
        Ok(())
    }

    async fn place(&self) -> Arc<Mutex<Option<Running>>> {
        let mut known = self.running.lock().await;
        if let Some(place) = known.upgrade() {
            return place;
        }
        let place = Arc::new(Mutex::new(None));
        *known = Arc::downgrade(&place);
        place
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}
