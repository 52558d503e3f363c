//! What a replicated state machine is to this crate: a pure function over one transaction.

use std::sync::Arc;

use bailiwick_types::Timestamp;
use bailiwick_types::store::{StoreError, WriteStore};

use crate::group::GroupKind;
use crate::options::Machines;

/// A deterministic state machine. It reads the store and the command, and nothing else.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one command at the log time `stamp` and returns its encoded outcome. A command that
    /// is refused is an outcome, not an error.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails; the process then ends.
    fn apply(
        &self,
        store: &mut dyn WriteStore,
        stamp: Timestamp,
        command: &[u8],
    ) -> Result<Vec<u8>, StoreError>;
}

/// The jurisdictions' state machine.
struct Shard;

impl StateMachine for Shard {
    fn apply(
        &self,
        store: &mut dyn WriteStore,
        stamp: Timestamp,
        command: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        bailiwick_shard::apply(store, stamp, command)
    }
}

/// The directory's state machine.
struct Directory;

impl StateMachine for Directory {
    fn apply(
        &self,
        store: &mut dyn WriteStore,
        stamp: Timestamp,
        command: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        bailiwick_shard::directory::apply(store, stamp, command)
    }
}

/// The state machines of `bailiwick-shard`.
pub fn shard_machines() -> Machines {
    Arc::new(|kind| match kind {
        GroupKind::Directory => Arc::new(Directory),
        GroupKind::Shard(_) => Arc::new(Shard),
    })
}
