//! What every command's application works with: the store, the shard's state, the stamp, and who
//! asked. Checks come first, writes after: a rejected command has written nothing.

use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_types::store::{ReadStore, StoreError, WriteStore};
use bailiwick_types::{Name, Timestamp};

use crate::log::append_leaf;
use crate::rejection::{
    BlockRejection, CertificateRejection, DecisionRejection, EnrolmentRejection,
    PartitionRejection, Rejection, ReleaseRejection, RequestRejection, SessionRejection, TextField,
};
use crate::rows::ShardState;

/// Longest text of a command, in bytes.
const TEXT: usize = bailiwick_types::limits::TEXT_BYTES;

/// Why a command's application ends early.
pub(crate) enum Stop {
    /// The disk failed.
    Store(StoreError),
    /// The command is rejected.
    Rejected(Rejection),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

macro_rules! stop_from {
    ($($rejection:ty),+) => {$(
        impl From<$rejection> for Stop {
            fn from(rejection: $rejection) -> Self {
                Self::Rejected(rejection.into())
            }
        }
    )+};
}

stop_from!(
    Rejection,
    EnrolmentRejection,
    CertificateRejection,
    SessionRejection,
    BlockRejection,
    RequestRejection,
    DecisionRejection,
    ReleaseRejection,
    PartitionRejection
);

/// One command's application.
pub(crate) struct Machine<'a> {
    pub(crate) store: &'a mut dyn WriteStore,
    pub(crate) state: ShardState,
    /// Log time: never before the last command's.
    pub(crate) stamp: Timestamp,
    /// The authenticated peer.
    pub(crate) by: Name,
    pub(crate) salt: [u8; 32],
    /// Leaves logged by this command so far.
    pub(crate) logged: u32,
}

impl Machine<'_> {
    /// The store, for reading.
    pub(crate) fn reader(&self) -> &dyn ReadStore {
        self.store
    }

    /// Appends a leaf and returns its index.
    pub(crate) fn log(&mut self, content: LeafContent) -> Result<u64, StoreError> {
        let leaf = OpenedLeaf::new(self.stamp, content, &self.salt, self.logged);
        let index = self.state.leaves;
        append_leaf(self.store, index, &leaf)?;
        self.logged += 1;
        self.state.leaves += 1;
        Ok(index)
    }

    /// Rejects while the shard is frozen.
    pub(crate) fn check_not_frozen(&self) -> Result<(), Rejection> {
        match self.state.frozen {
            Some(_) => Err(Rejection::Frozen),
            None => Ok(()),
        }
    }

    /// Requests, certificates' leaves and the log live in partition 0.
    pub(crate) fn check_home(&self) -> Result<(), Rejection> {
        let shard = self.state.shard;
        match shard.partition {
            0 => Ok(()),
            _ => Err(Rejection::NotHome { shard }),
        }
    }
}

/// Rejects an empty or too long text.
pub(crate) fn check_text(field: TextField, text: &str) -> Result<(), Rejection> {
    if (1..=TEXT).contains(&text.len()) {
        Ok(())
    } else {
        Err(Rejection::Text { field })
    }
}
