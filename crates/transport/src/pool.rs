//! Connections kept by address and purpose, with backoff after failures.
//!
//! Snapshots use a connection of their own ([`Purpose::Bulk`]), so that heartbeats never wait
//! behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::{ConnectOptions, Connection};
use crate::duplex::lock;
use crate::error::ConnectError;
use crate::limits::POOL_CONNECTIONS;
use crate::peer::ExpectedPeer;
use crate::tls::TlsIdentity;

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Small messages that must not wait.
    Interactive,
    /// Snapshots and other long transfers.
    Bulk,
}

/// How a pool connects and waits.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// For every connection.
    pub connect: ConnectOptions,
    /// The wait after the first failure; doubles with each. Default 50 ms.
    pub backoff_first: Duration,
    /// The longest wait. Default 2 s.
    pub backoff_ceiling: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            connect: ConnectOptions::default(),
            backoff_first: Duration::from_millis(50),
            backoff_ceiling: Duration::from_secs(2),
        }
    }
}

/// By address and purpose.
type Slots = HashMap<(String, Purpose), Arc<Slot>>;

/// A pool of connections; clones share it.
#[derive(Clone)]
pub struct Pool {
    tls: Arc<TlsIdentity>,
    options: Arc<PoolOptions>,
    slots: Arc<Mutex<Slots>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pool").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Slot {
    state: tokio::sync::Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    connection: Option<Connection>,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Pool {
    /// An empty pool.
    pub fn new(tls: Arc<TlsIdentity>, options: PoolOptions) -> Self {
        Self {
            tls,
            options: Arc::new(options),
            slots: Arc::default(),
        }
    }

    /// The open connection to an address, or a new one; concurrent callers share one attempt.
    ///
    /// # Errors
    /// [`ConnectError::BackingOff`] without any attempt while the wait after a failure runs,
    /// [`ConnectError::UnexpectedPeer`] when the open connection leads to somebody else, and those
    /// of [`Connection::connect`].
    pub async fn connection(
        &self,
        address: &str,
        expect: &ExpectedPeer,
        purpose: Purpose,
    ) -> Result<Connection, ConnectError> {
        let slot = self.slot(address, purpose);
        let mut state = slot.state.lock().await;
        if let Some(connection) = state.connection.take_if(|open| open.is_closed()) {
            drop(connection);
        }
        if let Some(connection) = &state.connection {
            return match expect.check(connection.peer()) {
                Ok(()) => Ok(connection.clone()),
                Err(_) => Err(ConnectError::UnexpectedPeer {
                    address: address.to_owned(),
                    found: Box::new(connection.peer().clone()),
                }),
            };
        }
        if state.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(ConnectError::BackingOff {
                address: address.to_owned(),
                failures: state.failures,
            });
        }
        let options = self.options.connect.clone();
        match Connection::connect(address, &self.tls, expect.clone(), options).await {
            Ok(connection) => {
                *state = SlotState {
                    connection: Some(connection.clone()),
                    ..SlotState::default()
                };
                Ok(connection)
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.retry_at = Some(Instant::now() + self.backoff(state.failures));
                Err(error)
            }
        }
    }

    /// Closes the connections to an address, such as after its node was removed.
    pub async fn forget(&self, address: &str) {
        for purpose in [Purpose::Interactive, Purpose::Bulk] {
            let slot = lock(&self.slots).remove(&(address.to_owned(), purpose));
            if let Some(slot) = slot
                && let Some(connection) = slot.state.lock().await.connection.take()
            {
                connection.close();
            }
        }
    }

    fn slot(&self, address: &str, purpose: Purpose) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if slots.len() >= POOL_CONNECTIONS {
            slots.retain(|_, slot| slot.in_use());
        }
        slots
            .entry((address.to_owned(), purpose))
            .or_default()
            .clone()
    }

    /// Doubling, with up to a quarter taken off by where the clock stands, so that nodes that lost
    /// the same peer do not come back in step.
    fn backoff(&self, failures: u32) -> Duration {
        let doubled = self
            .options
            .backoff_first
            .saturating_mul(1 << failures.saturating_sub(1).min(16));
        let wait = doubled.min(self.options.backoff_ceiling);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let spread = now.map_or(0, |now| now.subsec_nanos() % 256);
        wait - wait / 1024 * spread
    }
}

impl Slot {
    fn in_use(&self) -> bool {
        match self.state.try_lock() {
            Ok(state) => state
                .connection
                .as_ref()
                .is_some_and(|open| !open.is_closed()),
            Err(_) => true,
        }
    }
}
