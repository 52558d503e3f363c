//! Snapshots to keep: streamed to an operator, and written on a schedule, verified after writing.
//!
//! A snapshot is one consistent state of one group. The leader has everything that was acknowledged;
//! another voter has what it knew of, which is what is left when no leader is. On the schedule each
//! group's leader writes, so that one copy of each group comes about and not one per voter. The file's
//! form is `backup::header` around `bailiwick-storage`'s backup file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bailiwick_api::Refusal;
use bailiwick_api::snapshot::SaveSnapshot;
use bailiwick_consensus::{GroupKind, SavedSnapshot};
use bailiwick_shard::{directory, query};
use bailiwick_storage::{BackupEncoder, StoreView};
use bailiwick_tlog::SignedCheckpoint;
use bailiwick_transport::StreamSender;
use bailiwick_types::store::StoreError;
use bailiwick_types::{ClusterId, Digest, GroupId, ShardId, Timestamp, codec};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Semaphore;

use super::Vault;
use super::queries::{blocking, refusal};
use super::scrape::GroupLabels;
use crate::backup::{EXTENSION, SnapshotHeader, verify};
use crate::clock;
use crate::config::SnapshotsSection;

/// Snapshots written or streamed at once: each takes the disk's bandwidth and a copy of the group.
const AT_ONCE: usize = 1;
/// Bytes of one message of the stream: a quarter of the credit window, so that sending does not stall.
const MESSAGE_BYTES: usize = 256 << 10;
/// Longest that a reader may leave a stream waiting for credit, because a copy on the disk waits too.
const STALL: Duration = Duration::from_secs(60);
/// How often the schedule looks what is due; a shorter period looks that often.
const LOOK: Duration = Duration::from_secs(10);

/// What a vault node needs to write snapshots, and what it counts of them.
pub(super) struct Snapshots {
    room: Semaphore,
    number: AtomicU64,
    last_success: Family<GroupLabels, Gauge>,
    size: Family<GroupLabels, Gauge>,
    failures: Family<GroupLabels, Counter>,
    streamed: Counter,
}

impl Snapshots {
    /// Registers the metrics.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let snapshots = Self {
            room: Semaphore::new(AT_ONCE),
            number: AtomicU64::new(0),
            last_success: Family::default(),
            size: Family::default(),
            failures: Family::default(),
            streamed: Counter::default(),
        };
        let bailiwick = registry.sub_registry_with_prefix("bailiwick");
        bailiwick.register_with_unit(
            "snapshot_last_success_timestamp",
            "When this node last wrote and verified a scheduled snapshot of the group, since 1970",
            Unit::Seconds,
            snapshots.last_success.clone(),
        );
        bailiwick.register_with_unit(
            "snapshot_size",
            "Size of that snapshot's file",
            Unit::Bytes,
            snapshots.size.clone(),
        );
        bailiwick.register(
            "snapshot_failures",
            "Scheduled snapshots that were not written or not verified",
            snapshots.failures.clone(),
        );
        bailiwick.register(
            "snapshots_streamed",
            "Snapshots streamed to operators",
            snapshots.streamed.clone(),
        );
        snapshots
    }
}

/// What the view of a group says for the header.
struct ViewFacts {
    cluster: Option<ClusterId>,
    records: u64,
    leaves: u64,
    root: Digest,
    origin: String,
    root_at_checkpoint: Option<Digest>,
}

fn facts_of(
    view: &StoreView,
    shard: Option<ShardId>,
    checkpoint_size: u64,
) -> Result<ViewFacts, StoreError> {
    if shard.is_none() {
        return Ok(ViewFacts {
            cluster: directory::description(view)?.map(|described| described.cluster),
            records: 0,
            leaves: 0,
            root: Digest([0; 32]),
            origin: String::new(),
            root_at_checkpoint: None,
        });
    }
    let info = query::shard_info(view)?;
    let leaves = info.as_ref().map_or(0, |info| info.leaves);
    let root = query::log_root(view, leaves)?;
    Ok(ViewFacts {
        cluster: info.as_ref().map(|info| info.cluster),
        records: info.as_ref().map_or(0, |info| info.records),
        leaves,
        root: Digest(root.unwrap_or_default()),
        origin: info.map_or(String::new(), |info| info.origin),
        root_at_checkpoint: query::log_root(view, checkpoint_size)?.map(Digest),
    })
}

impl Vault {
    /// Streams a snapshot to an operator.
    pub(super) async fn save_snapshot(
        &self,
        header: &[u8],
        mut sender: StreamSender,
    ) -> Result<(), Refusal> {
        let asked: SaveSnapshot =
            codec::decode(header).map_err(|error| Refusal::Malformed(error.to_string()))?;
        let Ok(_room) = self.snapshots.room.try_acquire() else {
            return Err(Refusal::Overloaded);
        };
        let (saved, header) = self.snapshot_of(asked).await?;
        let text = header_text(&header)?;
        let (mut encoder, start) =
            BackupEncoder::begin(&text, saved.length()).map_err(|_| Refusal::Store)?;
        let mut next = start;
        let (mut offset, saved) = (0, Arc::new(saved));
        while !next.is_empty() {
            let sent = tokio::time::timeout(STALL, sender.send(next.into())).await;
            if !matches!(sent, Ok(Ok(()))) {
                // The operator is gone, or does not read: nobody waits for the rest.
                return Ok(());
            }
            let reading = saved.clone();
            next = blocking(move || {
                let read = reading.read(offset, MESSAGE_BYTES);
                read.map_err(|error| StoreError(error.to_string()))
            })
            .await?;
            offset += next.len() as u64;
            encoder.pass(&next);
        }
        let digest = encoder.finish().to_vec();
        if sender.send(digest.into()).await.is_ok() {
            let _ = sender.finish().await;
            self.snapshots.streamed.inc();
        }
        Ok(())
    }

    /// A snapshot on this node's disk and what its file will say.
    async fn snapshot_of(
        &self,
        asked: SaveSnapshot,
    ) -> Result<(SavedSnapshot, SnapshotHeader), Refusal> {
        let group = match asked.shard {
            None => GroupId::DIRECTORY,
            Some(shard) => self.group(shard).ok_or(Refusal::NoSuchShard(shard))?,
        };
        let view = if asked.linearizable {
            self.host.read(group).await
        } else {
            self.host.read_local(group)
        };
        let view = Arc::new(view.map_err(refusal)?);
        let checkpoint = asked.checkpoint.as_deref().map(SignedCheckpoint::parse);
        let checkpoint = checkpoint
            .transpose()
            .map_err(|error| Refusal::Malformed(format!("checkpoint: {error}")))?;
        let size = checkpoint
            .as_ref()
            .map_or(0, |signed| signed.checkpoint().size);
        let (reading, shard) = (view.clone(), asked.shard);
        let facts = blocking(move || facts_of(&reading, shard, size)).await?;
        if let Some(signed) = &checkpoint {
            check_covers(&facts, signed)?;
        }
        let number = self.snapshots.number.fetch_add(1, Ordering::Relaxed);
        let view = Arc::into_inner(view).ok_or(Refusal::Store)?;
        let saved = self.host.save_snapshot(group, view, number).await;
        let saved = saved.map_err(|error| {
            tracing::error!(%group, %error, "no snapshot was written");
            Refusal::Store
        })?;
        let header = self.header(group, &asked, facts, &saved).await?;
        Ok((saved, header))
    }

    async fn header(
        &self,
        group: GroupId,
        asked: &SaveSnapshot,
        facts: ViewFacts,
        saved: &SavedSnapshot,
    ) -> Result<SnapshotHeader, Refusal> {
        let jurisdiction = asked.shard.map(|shard| shard.jurisdiction);
        let cluster = self.cluster_view().await.ok_or(Refusal::Unavailable)?;
        let rules = jurisdiction.and_then(|of| cluster.jurisdiction(of));
        let position = saved.position();
        Ok(SnapshotHeader {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: facts.cluster.ok_or(Refusal::Unavailable)?,
            trust_domain: self.config.trust_domain.clone(),
            group,
            jurisdiction,
            partition: asked.shard.map_or(0, |shard| shard.partition),
            allowed_regions: rules.map_or(Vec::new(), |rules| rules.allowed_regions.clone()),
            node: self.config.node,
            taken_at: Timestamp::from_seconds(clock::now().seconds()).to_string(),
            linearizable: asked.linearizable,
            term: position.term,
            index: position.index,
            log_time: position.log_time,
            records: facts.records,
            leaves: facts.leaves,
            root: facts.root,
            checkpoint: asked.checkpoint.clone(),
        })
    }

    /// Writes what is due, as long as the node runs.
    pub(super) async fn keep_snapshots(self: Arc<Self>) {
        let Some(section) = self.config.snapshots.clone() else {
            return;
        };
        let period = Duration::from_secs(section.every_seconds);
        loop {
            for status in self.host.group_status() {
                let shard = match status.kind {
                    GroupKind::Directory => None,
                    GroupKind::Shard(shard) => Some(shard),
                };
                if self.host.is_leader(status.id) && due(&section, shard, period) {
                    let labels = GroupLabels::of(status.id.0, status.kind);
                    self.keep_one(&section, &labels, shard).await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(period.min(LOOK)) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn keep_one(
        &self,
        section: &SnapshotsSection,
        labels: &GroupLabels,
        shard: Option<ShardId>,
    ) {
        let snapshots = &self.snapshots;
        let subject = subject(shard);
        // Counted from zero, so that the first failure is an increase.
        let failures = snapshots.failures.get_or_create_owned(labels);
        match self.write_scheduled(section, shard).await {
            Ok((path, bytes)) => {
                let now = i64::try_from(clock::now().seconds()).unwrap_or(i64::MAX);
                snapshots.last_success.get_or_create(labels).set(now);
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                snapshots.size.get_or_create(labels).set(bytes);
                tracing::info!(subject, bytes, path = %path.display(), "snapshot written and verified");
            }
            Err(error) => {
                failures.inc();
                tracing::error!(
                    subject,
                    error = format!("{error:#}"),
                    "no scheduled snapshot"
                );
            }
        }
    }

    async fn write_scheduled(
        &self,
        section: &SnapshotsSection,
        shard: Option<ShardId>,
    ) -> anyhow::Result<(PathBuf, u64)> {
        let _room = self.snapshots.room.acquire().await?;
        let cosigned = shard.and_then(|shard| self.hub(shard).cosigned());
        let asked = SaveSnapshot {
            shard,
            linearizable: true,
            checkpoint: cosigned.map(|(_, note)| note),
        };
        let (saved, header) = self.snapshot_of(asked).await?;
        let section = section.clone();
        let written = tokio::task::spawn_blocking(move || {
            let written = write_file(&section.folder, &saved, &header)?;
            prune(&section, &header.subject())?;
            Ok(written)
        });
        written.await?
    }
}

/// The file must not be worth less than what somebody has cosigned: it could never be restored.
fn check_covers(facts: &ViewFacts, signed: &SignedCheckpoint) -> Result<(), Refusal> {
    let cosigned = signed.checkpoint();
    let rejected = |code: &str, message: String| Refusal::Rejected {
        code: code.to_owned(),
        message,
    };
    if facts.origin != cosigned.origin {
        let message = format!("checkpoint: of {}, not of this log", cosigned.origin);
        return Err(rejected("other_log", message));
    }
    if facts.leaves < cosigned.size {
        let message = format!(
            "checkpoint: {} leaves were cosigned, this node has {}: ask another node, or wait",
            cosigned.size, facts.leaves
        );
        return Err(rejected("log_shorter", message));
    }
    if facts.root_at_checkpoint != Some(Digest(cosigned.root)) {
        let message = "checkpoint: this node's log is another at that size".to_owned();
        return Err(rejected("fork", message));
    }
    Ok(())
}

fn header_text(header: &SnapshotHeader) -> Result<Vec<u8>, Refusal> {
    let mut text = serde_json::to_vec_pretty(header).map_err(|_| Refusal::Store)?;
    text.push(b'\n');
    Ok(text)
}

/// Whether a group's newest file is old enough. The folder remembers it across restarts.
fn due(section: &SnapshotsSection, shard: Option<ShardId>, period: Duration) -> bool {
    let subject = subject(shard);
    let Ok(kept) = kept(&section.folder, &subject) else {
        // No folder yet, or an unreadable one: the attempt to write says which.
        return true;
    };
    let newest = kept
        .last()
        .and_then(|path| path.metadata().ok()?.modified().ok());
    newest.is_none_or(|at| {
        let age = SystemTime::now().duration_since(at);
        age.is_ok_and(|age| age >= period)
    })
}

fn subject(shard: Option<ShardId>) -> String {
    match shard {
        None => "directory".to_owned(),
        Some(shard) if shard.partition == 0 => shard.jurisdiction.to_string(),
        Some(shard) => format!("{}-{}", shard.jurisdiction, shard.partition),
    }
}

/// The files of a group, the oldest first: their names sort by age.
fn kept(folder: &Path, subject: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        // Subject, time and index: the subject of another partition has one part more.
        let of_subject = name
            .and_then(|name| name.rsplitn(3, '-').nth(2))
            .is_some_and(|of| of == subject);
        if of_subject && path.extension().is_some_and(|end| end == EXTENSION) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn prune(section: &SnapshotsSection, subject: &str) -> anyhow::Result<()> {
    let mut kept = kept(&section.folder, subject)?;
    let keep = usize::try_from(section.keep).unwrap_or(usize::MAX);
    let surplus = kept.len().saturating_sub(keep);
    for path in kept.drain(..surplus) {
        std::fs::remove_file(&path).with_context(|| format!("delete {}", path.display()))?;
    }
    Ok(())
}

/// Writes a snapshot file whole and durable, reads it back, and only then gives it its name.
fn write_file(
    folder: &Path,
    saved: &SavedSnapshot,
    header: &SnapshotHeader,
) -> anyhow::Result<(PathBuf, u64)> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(header.file_name());
    let part = path.with_extension("part");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .with_context(|| format!("create {}", part.display()))?;
    let text = header_text(header)?;
    let (mut encoder, start) = BackupEncoder::begin(&text, saved.length())?;
    file.write_all(&start)?;
    let mut offset = 0;
    loop {
        let bytes = saved.read(offset, 1 << 20)?;
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        encoder.pass(&bytes);
        file.write_all(&bytes)?;
    }
    file.write_all(&encoder.finish())?;
    file.sync_all()?;
    verify(&part).context("what was written does not verify")?;
    std::fs::rename(&part, &path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok((path.clone(), path.metadata()?.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_of_a_group_go_and_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let section = SnapshotsSection {
            folder: folder.path().to_owned(),
            every_seconds: 60,
            keep: 2,
        };
        for name in [
            "FR-20260101T000000Z-9.bwsave",
            "FR-20260102T000000Z-10.bwsave",
            "FR-20260103T000000Z-11.bwsave",
            "FR-1-20260101T000000Z-9.bwsave",
            "DE-20260101T000000Z-9.bwsave",
            "FR-20260101T000000Z-8.part",
        ] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        prune(&section, "FR").expect("pruned");
        let names = |subject| {
            let kept = kept(folder.path(), subject).expect("listed");
            let names = kept
                .iter()
                .map(|path| path.file_name().map(ToOwned::to_owned));
            names.flatten().collect::<Vec<_>>()
        };
        assert_eq!(
            names("FR"),
            [
                "FR-20260102T000000Z-10.bwsave",
                "FR-20260103T000000Z-11.bwsave"
            ]
        );
        assert_eq!(names("FR-1").len(), 1);
        assert_eq!(names("DE").len(), 1);
        let shard = Some(ShardId::home("FR".parse().expect("a code")));
        assert!(!due(&section, shard, Duration::from_secs(60)));
        assert!(due(&section, shard, Duration::ZERO));
        assert!(due(&section, None, Duration::from_secs(60)));
    }
}
