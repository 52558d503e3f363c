//! Answering session headers: the same in a home group and in a further partition.

use bailiwick_api::cluster::Accepted;
use bailiwick_api::session::AcknowledgeSession;
use bailiwick_disclosure::JurisdictionTrust;
use bailiwick_envelope::acknowledgement::Verdict;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_transport::Operation;
use bailiwick_types::ShardId;

use super::Approver;
use super::attendant::{AttendError, tolerate};
use super::link::{Link, LinkError};

/// Opens the own part of a session, checks every commitment, and posts the signed answer. A header that
/// the own trust file gives no reason to answer is not answered, which is no complaint.
pub(super) async fn acknowledge(
    approver: &Approver,
    trust: &JurisdictionTrust,
    shard: ShardId,
    link: &Link,
    header: SessionHeader,
    certificate: &VerifiedCertificate,
) -> Result<(), AttendError> {
    let sid = header.id();
    let Some(edge) = trust.edge(&header.body.edge).copied() else {
        tracing::warn!(%shard, edge = %header.body.edge, "an edge not trusted");
        return Ok(());
    };
    let body = certificate.body();
    let thresholds = (body.workflow.threshold, body.legal_review.threshold);
    let header = match header.verify(&edge, thresholds.0, thresholds.1) {
        Ok(header) => header,
        Err(error) => {
            tracing::warn!(%shard, %error, "a session's header is refused");
            return Ok(());
        }
    };
    let keys = approver.keys.lock().await;
    let answered = keys.acknowledge(&header, certificate, trust);
    drop(keys);
    let acknowledgement = match answered {
        Ok(acknowledgement) => acknowledgement,
        Err(error) => {
            tracing::warn!(%shard, %error, "a session cannot be answered");
            return Ok(());
        }
    };
    match acknowledgement.verdict {
        Verdict::Ok => approver.metrics.acknowledged.inc(),
        Verdict::Complaint => {
            tracing::warn!(%shard, %sid, "the own part does not open");
            approver.metrics.complaints.inc()
        }
    };
    let message = AcknowledgeSession {
        shard,
        acknowledgement,
    };
    let posted: Result<Accepted, LinkError> =
        link.call(Operation::AcknowledgeSession, &message).await;
    tolerate(shard, "an acknowledgement", posted.map(|_| ()))
}
