//! Partitions of a jurisdiction as a client sees them (docs/decisions/0008-partitions.md): how many
//! there are, the directory says. A directory that lies about it is found out by whom the number
//! matters to: a group refuses records of another one's subjects, approvers know the number from the
//! log, and a recipient's records are not the logged selection.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bailiwick_api::cluster::ClusterDescription;
use bailiwick_envelope::partition::partition_of;
use bailiwick_types::{Jurisdiction, ShardId, SubjectPseudonym};
use tokio::time::Instant;

use crate::cluster::{CallFailure, Cluster};
use crate::sealing::{Sealing, SealingIdentity};

/// How often a cluster that does not describe a jurisdiction yet is asked again.
const LOOK: Duration = Duration::from_millis(250);

/// How long a jurisdiction that no node describes is asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// In how many groups a jurisdiction's records are; 0 when the cluster does not have it.
pub fn partitions(description: &ClusterDescription, jurisdiction: Jurisdiction) -> u16 {
    let shards = description.groups.iter().filter_map(|group| group.shard);
    let of = shards.filter(|shard| shard.jurisdiction == jurisdiction);
    // A jurisdiction has at most 64 groups.
    of.count().min(usize::from(u16::MAX)) as u16
}

/// In how many groups a jurisdiction's records are, as soon as a node says it: one that has just
/// joined does not know the jurisdiction yet.
///
/// # Errors
/// [`CallFailure`] when no node does within 5 s.
pub async fn count(cluster: &Cluster, jurisdiction: Jurisdiction) -> Result<u16, CallFailure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match partitions(&cluster.describe().await?, jurisdiction) {
            0 if Instant::now() >= until => {
                return Err(CallFailure::Deadline {
                    outcome_unknown: false,
                    last: format!("the cluster has no jurisdiction {jurisdiction}"),
                });
            }
            0 => tokio::time::sleep(LOOK).await,
            count => return Ok(count),
        }
    }
}

/// The shard in which a subject's records are, as the cluster describes its groups.
///
/// # Errors
/// [`CallFailure`] when no node describes them.
pub async fn shard_of(
    cluster: &Cluster,
    jurisdiction: Jurisdiction,
    subject: &SubjectPseudonym,
) -> Result<ShardId, CallFailure> {
    Ok(ShardId {
        jurisdiction,
        partition: partition_of(subject, count(cluster, jurisdiction).await?),
    })
}

/// Sealing for all partitions of a jurisdiction: lanes for each, once the cluster has said how many
/// there are.
pub struct CustodySealing {
    jurisdiction: Jurisdiction,
    parts: Arc<OnceLock<Vec<Sealing>>>,
}

impl CustodySealing {
    /// Begins: asks the cluster until it describes the jurisdiction, then starts `lanes` lanes for
    /// each of its partitions.
    pub fn start(
        cluster: Cluster,
        jurisdiction: Jurisdiction,
        identity: Arc<SealingIdentity>,
        lanes: usize,
    ) -> Self {
        let parts = Arc::new(OnceLock::new());
        let weak = Arc::downgrade(&parts);
        tokio::spawn(async move {
            while let Some(parts) = weak.upgrade() {
                let described = cluster.describe().await;
                let count = described.map_or(0, |described| partitions(&described, jurisdiction));
                if count > 0 {
                    let sealing = |partition| {
                        let shard = ShardId {
                            jurisdiction,
                            partition,
                        };
                        Sealing::start(cluster.clone(), shard, identity.clone(), lanes)
                    };
                    // Nobody else sets it.
                    let _ = parts.set((0..count).map(sealing).collect());
                    return;
                }
                drop(parts);
                tokio::time::sleep(LOOK).await;
            }
        });
        Self {
            jurisdiction,
            parts,
        }
    }

    /// Where a subject's records go; the home group until the cluster has said how many groups there
    /// are, when [`CustodySealing::of`] has no lanes for any.
    pub fn shard_of(&self, subject: &SubjectPseudonym) -> ShardId {
        let count = self.parts.get().map_or(1, Vec::len);
        ShardId {
            jurisdiction: self.jurisdiction,
            partition: partition_of(subject, count.min(usize::from(u16::MAX)) as u16),
        }
    }

    /// The lanes of a partition; none until the cluster has described the jurisdiction.
    pub fn of(&self, partition: u16) -> Option<&Sealing> {
        self.parts.get()?.get(usize::from(partition))
    }

    /// Whether every partition has a confirmed session.
    pub fn is_ready(&self) -> bool {
        self.parts
            .get()
            .is_some_and(|parts| parts.iter().all(Sealing::is_ready))
    }

    /// Whether the last answer of a partition was that the jurisdiction is frozen.
    pub fn is_frozen(&self) -> bool {
        let parts = self.parts.get();
        parts.is_some_and(|parts| parts.iter().any(Sealing::is_frozen))
    }

    /// Jobs that wait for a lane, in all partitions.
    pub fn queued(&self) -> usize {
        let parts = self.parts.get();
        parts.map_or(0, |parts| parts.iter().map(Sealing::queued).sum())
    }
}
