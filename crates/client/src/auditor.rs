//! What an auditor does: read a jurisdiction's log and verify every leaf under a cosigned checkpoint.
//!
//! A long log comes in pages, and a later page may come with a later checkpoint. From leaf 0 on the
//! tree is rebuilt and every checkpoint seen must be one of its; from a later leaf on it cannot be,
//! so that all pages must come under one checkpoint.

use std::time::Duration;

use bailiwick_api::log::{LogPage, ReadLog};
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_transport::Operation;
use bailiwick_types::{Jurisdiction, ShardId};
use tokio::time::Instant;

use crate::checkpoint::{CheckpointError, LOOK, PATIENCE, VerifiedCheckpoint};
use crate::cluster::{CallFailure, Cluster};
use crate::history::{Forked, History};
use crate::trust::{JurisdictionTrust, TrustFile};

/// Leaves of one page.
const PAGE: u32 = 500;
/// A checkpoint older than this is stale for an auditor.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Attempts to read a log's end under one checkpoint.
const ROUNDS: usize = 8;

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
    /// Two checkpoints exclude each other. An alarm.
    #[error(transparent)]
    Forked(#[from] Forked),
    /// The log grew during every attempt to read its end under one checkpoint; nobody's fault.
    #[error("the log grew while it was read; read again, or from leaf 0")]
    Moving,
}

/// A verified log, or its end.
#[derive(Debug)]
pub struct VerifiedLog {
    /// The newest checkpoint seen: all leaves are in its tree.
    pub checkpoint: VerifiedCheckpoint,
    /// The leaves with their indices.
    pub leaves: Vec<(u64, OpenedLeaf)>,
}

/// Reads leaves from an index to the log's cosigned end, all in the tree of one checkpoint.
///
/// # Errors
/// [`AuditError`] names the first leaf or checkpoint that is not believed.
pub async fn read_log(
    cluster: &Cluster,
    trust: &TrustFile,
    jurisdiction: Jurisdiction,
    from: u64,
) -> Result<VerifiedLog, AuditError> {
    let trust = trust
        .jurisdiction(jurisdiction)
        .ok_or(AuditError::NotTrusted(jurisdiction))?;
    let source = Source { cluster, trust };
    for _ in 0..ROUNDS {
        let (log, history) = source.read(from).await?;
        if from == 0 {
            history.check()?;
            return Ok(log);
        }
        if history.checkpoints() == 1 {
            return Ok(log);
        }
    }
    Err(AuditError::Moving)
}

/// Reads one leaf and verifies it under a cosigned checkpoint, waiting up to 10 s for one that
/// covers it.
///
/// # Errors
/// [`AuditError`].
pub async fn read_leaf(
    cluster: &Cluster,
    trust: &TrustFile,
    jurisdiction: Jurisdiction,
    index: u64,
) -> Result<OpenedLeaf, AuditError> {
    let trust = trust
        .jurisdiction(jurisdiction)
        .ok_or(AuditError::NotTrusted(jurisdiction))?;
    let source = Source { cluster, trust };
    let until = Instant::now() + PATIENCE;
    loop {
        let (_, leaves) = source.page(index, 1).await?;
        if let Some((_, leaf)) = leaves.into_iter().next() {
            return Ok(leaf);
        }
        if Instant::now() >= until {
            return Err(CheckpointError::Inclusion(index).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where verified pages come from.
struct Source<'a> {
    cluster: &'a Cluster,
    trust: &'a JurisdictionTrust,
}

impl Source<'_> {
    /// All leaves from an index on, each verified under the checkpoint that it came with.
    async fn read(&self, from: u64) -> Result<(VerifiedLog, History), AuditError> {
        let mut history = History::default();
        let mut leaves: Vec<(u64, OpenedLeaf)> = Vec::new();
        let mut newest: Option<VerifiedCheckpoint> = None;
        let until = Instant::now() + PATIENCE;
        loop {
            let next = leaves.last().map_or(from, |(index, _)| index + 1);
            let (checkpoint, page) = self.page(next, PAGE).await?;
            history.see(&checkpoint)?;
            let progress = !page.is_empty();
            for (index, leaf) in page {
                history.push(&leaf);
                leaves.push((index, leaf));
            }
            let end = leaves.last().map_or(from, |(index, _)| index + 1);
            let newer = newest
                .take()
                .filter(|seen| seen.size() >= checkpoint.size());
            let checkpoint = newer.unwrap_or(checkpoint);
            if end >= checkpoint.size() {
                return Ok((VerifiedLog { checkpoint, leaves }, history));
            }
            // A node that is behind the one that answered before has nothing to add yet.
            if !progress && Instant::now() >= until {
                let (expected, got) = (next, checkpoint.size());
                return Err(AuditError::Gap { expected, got });
            }
            if !progress {
                tokio::time::sleep(LOOK).await;
            }
            newest = Some(checkpoint);
        }
    }

    /// One page. A node that has just come to lead has no cosigned checkpoint yet: it is waited for.
    async fn page(
        &self,
        from: u64,
        limit: u32,
    ) -> Result<(VerifiedCheckpoint, Vec<(u64, OpenedLeaf)>), AuditError> {
        let shard = ShardId::home(self.trust.jurisdiction);
        let message = ReadLog { shard, from, limit };
        let until = Instant::now() + PATIENCE;
        let (checkpoint, page) = loop {
            let read = self.cluster.call(Some(shard), Operation::ReadLog, &message);
            let page: LogPage = read.await?;
            let note = page.checkpoint.as_deref();
            match VerifiedCheckpoint::verify(note, self.trust, crate::now(), AGE) {
                Err(error) if error.may_pass_later() && Instant::now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                verified => break (verified?, page),
            }
        };
        let mut leaves = Vec::with_capacity(page.leaves.len());
        for (expected, proven) in (from..).zip(page.leaves) {
            let got = proven.index;
            if got != expected {
                return Err(AuditError::Gap { expected, got });
            }
            checkpoint.includes(&proven.leaf, got, &proven.proof)?;
            leaves.push((got, proven.leaf));
        }
        Ok((checkpoint, leaves))
    }
}
