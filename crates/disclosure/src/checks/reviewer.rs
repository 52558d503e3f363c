//! Step 4: "its own reviewer's approval is in it." A member releases only what a person of its own
//! organisation approved; others' approvals do not move it.

use bailiwick_types::{RequestId, SelectionId};

use crate::checks::quorum::QuorumCertificate;
use crate::trust::Seat;

/// A reviewer of the member's own slot approved. Only [`OwnReviewerApproved::verify`] makes one.
#[derive(Clone, Debug)]
pub struct OwnReviewerApproved {
    seat: Seat,
    request: RequestId,
    selection: SelectionId,
}

/// No reviewer of the member's own slot approved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no reviewer of {} slot {} approved this request and selection", .0.role, .0.slot)]
pub struct OwnReviewerRefusal(pub Seat);

impl OwnReviewerApproved {
    /// Looks for the own slot among the counted decisions.
    ///
    /// # Errors
    /// [`OwnReviewerRefusal`] when it is not there.
    pub fn verify(quorum: &QuorumCertificate, seat: Seat) -> Result<Self, OwnReviewerRefusal> {
        let own = quorum.decisions().iter().any(|d| d.seat == seat);
        if !own {
            return Err(OwnReviewerRefusal(seat));
        }
        Ok(Self {
            seat,
            request: quorum.request(),
            selection: quorum.selection().id(),
        })
    }

    /// The member's place.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The selection.
    pub fn selection(&self) -> SelectionId {
        self.selection
    }
}
