//! What an auditor does: read a jurisdiction's log and verify every leaf under a cosigned checkpoint.

use std::time::Duration;

use bailiwick_api::log::{LogPage, ReadLog};
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_transport::Operation;
use bailiwick_types::{Jurisdiction, ShardId};
use tokio::time::Instant;

use crate::checkpoint::{CheckpointError, LOOK, PATIENCE, VerifiedCheckpoint};
use crate::cluster::{CallFailure, Cluster};
use crate::trust::TrustFile;

/// Leaves of one page.
const PAGE: u32 = 500;
/// A checkpoint older than this is stale for an auditor.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a log is not believed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The own trust file does not know the jurisdiction.
    #[error("the trust file has no jurisdiction {0}")]
    NotTrusted(Jurisdiction),
    /// The cluster did not answer.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// The checkpoint or a proof is not believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The leaves that were sent are not those that were asked for.
    #[error("leaf {expected} was asked for, leaf {got} was sent")]
    Gap {
        /// Asked.
        expected: u64,
        /// Sent.
        got: u64,
    },
}

/// A verified page of a log.
#[derive(Debug)]
pub struct VerifiedLog {
    /// The checkpoint that all leaves were verified under.
    pub checkpoint: VerifiedCheckpoint,
    /// The leaves with their indices.
    pub leaves: Vec<(u64, OpenedLeaf)>,
}

/// Reads leaves from an index to the log's cosigned end, each verified under one checkpoint.
///
/// # Errors
/// [`AuditError`] names the first leaf or checkpoint that is not believed.
pub async fn read_log(
    cluster: &Cluster,
    trust: &TrustFile,
    jurisdiction: Jurisdiction,
    from: u64,
) -> Result<VerifiedLog, AuditError> {
    let trusted = trust
        .jurisdiction(jurisdiction)
        .ok_or(AuditError::NotTrusted(jurisdiction))?;
    let shard = ShardId::home(jurisdiction);
    let mut leaves: Vec<(u64, OpenedLeaf)> = Vec::new();
    let until = Instant::now() + PATIENCE;
    loop {
        let next = leaves.last().map_or(from, |(index, _)| index + 1);
        let message = ReadLog {
            shard,
            from: next,
            limit: PAGE,
        };
        let page: LogPage = cluster
            .call(Some(shard), Operation::ReadLog, &message)
            .await?;
        let note = page.checkpoint.as_deref();
        let checkpoint = match VerifiedCheckpoint::verify(note, trusted, crate::now(), AGE) {
            Err(error) if error.may_pass_later() && Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            verified => verified?,
        };
        for (expected, proven) in (next..).zip(page.leaves) {
            if proven.index != expected {
                return Err(AuditError::Gap {
                    expected,
                    got: proven.index,
                });
            }
            checkpoint.includes(&proven.leaf, proven.index, &proven.proof)?;
            leaves.push((proven.index, proven.leaf));
        }
        let end = leaves.last().map_or(from, |(index, _)| index + 1);
        if end >= checkpoint.size() {
            return Ok(VerifiedLog { checkpoint, leaves });
        }
        if end == next {
            return Err(AuditError::Gap {
                expected: next,
                got: checkpoint.size(),
            });
        }
    }
}
