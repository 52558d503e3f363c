//! What the disclosure workflow's service does: submit, watch, recall, list labels.

use std::time::Duration;

use bailiwick_api::request::{
    LabelList, ListLabels, ListRequests, ReadRequest, RecallRequest, RequestList, RequestState,
    RequestView, SubmitRequest,
};
use bailiwick_envelope::request::{DisclosureRequest, ScopeLine};
use bailiwick_envelope::{HashTag, hash};
use bailiwick_transport::Operation;
use bailiwick_types::{
    Category, CommandKey, Digest, Jurisdiction, Minute, RequestId, ShardId, SubjectPseudonym,
    Timestamp,
};
use bytes::Bytes;

use crate::cluster::{CallFailure, Cluster};
use crate::partitions::shard_of;

/// Longest single wait for a change.
const WAIT: Duration = Duration::from_secs(20);

/// A scope line's window, rounded outward to whole minutes; how a scope is shown to reviewers.
pub fn scope_line(
    subject: SubjectPseudonym,
    mut categories: Vec<Category>,
    from: Timestamp,
    to: Timestamp,
) -> ScopeLine {
    categories.sort();
    categories.dedup();
    let last = Timestamp(to.0.saturating_sub(1)).minute();
    ScopeLine {
        subject,
        categories,
        from: from.minute(),
        to: Minute(last.0.saturating_add(1)),
    }
}

/// `H("document", documents)`: what a request says of its sealed documents.
pub fn documents_digest(documents: &[u8]) -> Digest {
    hash(HashTag::Document, |e| {
        e.bytes(documents);
    })
}

/// An intake service.
#[derive(Clone)]
pub struct Intake {
    cluster: Cluster,
}

impl Intake {
    /// An intake service of this cluster.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Submits a request; the answer holds the frozen selection. Sent again, it is the same request.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn submit(
        &self,
        request: DisclosureRequest,
        documents: Bytes,
    ) -> Result<RequestView, CallFailure> {
        let shard = ShardId::home(request.jurisdiction);
        let message = SubmitRequest {
            shard,
            request,
            documents,
        };
        self.cluster
            .call(Some(shard), Operation::SubmitRequest, &message)
            .await
    }

    /// Recalls or withdraws a request: nothing more is released for it.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn recall(
        &self,
        jurisdiction: Jurisdiction,
        request: RequestId,
        reason: &str,
    ) -> Result<RequestView, CallFailure> {
        let shard = ShardId::home(jurisdiction);
        let key = CommandKey(rand::random());
        let message = RecallRequest {
            key,
            shard,
            request,
            reason: reason.to_owned(),
        };
        self.cluster
            .call(Some(shard), Operation::RecallRequest, &message)
            .await
    }

    /// What is known of a subject's records, without opening any.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn labels(
        &self,
        jurisdiction: Jurisdiction,
        subject: SubjectPseudonym,
        from: Minute,
        to: Minute,
        limit: u32,
    ) -> Result<LabelList, CallFailure> {
        let shard = shard_of(&self.cluster, jurisdiction, &subject).await?;
        let message = ListLabels {
            shard,
            subject,
            from,
            to,
            limit,
        };
        self.cluster
            .call(Some(shard), Operation::ListLabels, &message)
            .await
    }
}

/// Reads one request. Any role that takes part in one may.
///
/// # Errors
/// [`CallFailure`].
pub async fn read_request(
    cluster: &Cluster,
    jurisdiction: Jurisdiction,
    request: RequestId,
) -> Result<RequestView, CallFailure> {
    let shard = ShardId::home(jurisdiction);
    let message = ReadRequest {
        shard,
        request,
        unless: None,
        wait_ms: 0,
    };
    cluster
        .call(Some(shard), Operation::ReadRequest, &message)
        .await
}

/// Waits until a request has left `state`, or for at most 20 s.
///
/// # Errors
/// [`CallFailure`].
pub async fn watch_request(
    cluster: &Cluster,
    jurisdiction: Jurisdiction,
    request: RequestId,
    state: RequestState,
) -> Result<RequestView, CallFailure> {
    let shard = ShardId::home(jurisdiction);
    let wait_ms = WAIT.as_millis() as u32;
    let message = ReadRequest {
        shard,
        request,
        unless: Some(state),
        wait_ms,
    };
    cluster
        .call_waiting(Some(shard), Operation::ReadRequest, &message, WAIT)
        .await
}

/// Lists requests.
///
/// # Errors
/// [`CallFailure`].
pub async fn list_requests(
    cluster: &Cluster,
    jurisdiction: Jurisdiction,
    after: Option<RequestId>,
    limit: u32,
    open_only: bool,
) -> Result<RequestList, CallFailure> {
    let shard = ShardId::home(jurisdiction);
    let message = ListRequests {
        shard,
        after,
        limit,
        open_only,
    };
    cluster
        .call(Some(shard), Operation::ListRequests, &message)
        .await
}
