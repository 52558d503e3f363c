//! Step 6: "selection leaf included, count within cap", and of step 7: "the list gives the selection
//! root".

use bailiwick_envelope::selection::Selection;
use bailiwick_types::{RequestId, SelectionId};

use crate::checks::checkpoint::{CheckpointReference, CosignedCheckpoint};
use crate::checks::labels::VerifiedLabels;
use crate::checks::request::LoggedRequest;
use crate::follower::LogFollower;

/// The frozen selection is exactly the list of verified labels. Only [`VerifiedSelection::verify`]
/// makes one.
#[derive(Clone, Debug)]
pub struct VerifiedSelection {
    request: RequestId,
    id: SelectionId,
    count: u32,
    checkpoint: CheckpointReference,
}

/// Why a selection is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionRefusal {
    /// The labels or the request were verified for another request or checkpoint.
    #[error("the labels are of another request or checkpoint")]
    OtherRequest,
    /// There is nothing to release.
    #[error("the selection is empty")]
    Empty,
    /// More records than the request's cap.
    #[error("{count} records are more than the cap of {cap}")]
    OverCap {
        /// Records listed.
        count: u32,
        /// The cap.
        cap: u32,
    },
    /// The list is not the one that was frozen, or that one lies outside the checkpoint.
    #[error("no selection that is logged below leaf {size} is this list")]
    NotLogged {
        /// The checkpoint's size.
        size: u64,
    },
}

impl VerifiedSelection {
    /// Recomputes the selection from the verified labels and looks for its leaf.
    ///
    /// # Errors
    /// [`SelectionRefusal`] names the first check that fails.
    pub fn verify(
        checkpoint: &CosignedCheckpoint,
        follower: &LogFollower,
        request: &LoggedRequest,
        labels: &VerifiedLabels,
    ) -> Result<Self, SelectionRefusal> {
        let reference = checkpoint.reference();
        if labels.request() != request.id() || request.checkpoint() != reference {
            return Err(SelectionRefusal::OtherRequest);
        }
        let selection = Selection::of(request.id(), labels.inputs());
        let (count, cap) = (selection.count, request.request().cap);
        if count == 0 {
            return Err(SelectionRefusal::Empty);
        }
        if count > cap {
            return Err(SelectionRefusal::OverCap { count, cap });
        }
        let id = selection.id();
        let size = checkpoint.size();
        let history = follower.facts().request(request.id());
        let logged = history.and_then(|history| history.selection(id));
        if logged.is_none_or(|(_, place)| place.index >= size) {
            return Err(SelectionRefusal::NotLogged { size });
        }
        Ok(Self {
            request: request.id(),
            id,
            count,
            checkpoint: reference,
        })
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The selection.
    pub fn id(&self) -> SelectionId {
        self.id
    }

    /// How many records; at least 1.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Under which checkpoint.
    pub fn checkpoint(&self) -> CheckpointReference {
        self.checkpoint
    }
}
