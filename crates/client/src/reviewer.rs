//! What a reviewer does, on their own device: look at what is asked, decide, sign.

use bailiwick_api::request::{Decide, RequestView};
use bailiwick_envelope::approval::{Approval, ApprovalStatement, Decision};
use bailiwick_envelope::{HashTag, SigningKey, hash};
use bailiwick_transport::Operation;
use bailiwick_types::{Digest, RequestId, Role, ShardId, Slot, Timestamp};

use crate::cluster::{CallFailure, Cluster};

/// Why a decision is not signed: what the cluster showed does not belong together.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The request shown has another digest than the one asked for.
    #[error("the request that was shown is not {0}")]
    OtherRequest(RequestId),
    /// The selection shown is another request's.
    #[error("the selection that was shown is of another request")]
    OtherSelection,
    /// The cluster did not take it.
    #[error(transparent)]
    Call(#[from] CallFailure),
}

/// A person who decides for one slot.
pub struct Reviewer {
    cluster: Cluster,
    role: Role,
    slot: Slot,
    key: SigningKey,
}

impl Reviewer {
    /// A reviewer with the key on this device.
    pub fn new(cluster: Cluster, role: Role, slot: Slot, key: SigningKey) -> Self {
        Self {
            cluster,
            role,
            slot,
            key,
        }
    }

    /// Signs a decision about exactly what was shown.
    ///
    /// # Errors
    /// [`ReviewError`] when the view does not belong together.
    pub fn sign(
        &self,
        asked: RequestId,
        view: &RequestView,
        decision: Decision,
        checklist: &str,
        now: Timestamp,
    ) -> Result<Approval, ReviewError> {
        if view.id != asked || view.request.id() != asked {
            return Err(ReviewError::OtherRequest(asked));
        }
        if view.selection.request != asked {
            return Err(ReviewError::OtherSelection);
        }
        let statement = ApprovalStatement {
            request: asked,
            selection: view.selection.id(),
            role: self.role,
            slot: self.slot,
            rosters: view.rosters.clone(),
            decision,
            checklist: checklist_digest(checklist),
            decided_at: now,
        };
        Ok(Approval::sign(statement, &self.key))
    }

    /// Signs and sends a decision.
    ///
    /// # Errors
    /// [`ReviewError`].
    pub async fn decide(
        &self,
        view: &RequestView,
        decision: Decision,
        checklist: &str,
    ) -> Result<RequestView, ReviewError> {
        let approval = self.sign(view.id, view, decision, checklist, crate::now())?;
        let shard = ShardId::home(view.request.jurisdiction);
        let message = Decide { shard, approval };
        Ok(self
            .cluster
            .call(Some(shard), Operation::Decide, &message)
            .await?)
    }
}

/// `H("checklist", text)`: what a decision says of the reviewer's answers.
pub fn checklist_digest(checklist: &str) -> Digest {
    hash(HashTag::Checklist, |e| {
        e.text(checklist);
    })
}
