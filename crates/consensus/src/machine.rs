//! What a replicated state machine is to this crate: a pure function over one transaction.

use bailiwick_types::Timestamp;
use bailiwick_types::store::{StoreError, WriteStore};

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
