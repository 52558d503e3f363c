//! One group as this node runs it: opening its stores, starting openraft, and what is asked of it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bailiwick_storage::Wal;
use bailiwick_types::{GroupId, NodeId, Timestamp};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use openraft::{Config, SnapshotPolicy};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::error::HostError;
use crate::group::{GroupKind, GroupSpec, GroupStatus, Lag};
use crate::links::Links;
use crate::log_store::LogStore;
use crate::network::Network;
use crate::options::{HostOptions, RaftTimings};
use crate::raft::Raft;
use crate::rest::Activity;
use crate::retention::Retention;
use crate::state_machine::{GroupMachine, MachineOptions, blocking};
use crate::wire::{APPEND_ENTRIES, Target};

/// Proposals that may be under way in one group: above it callers hear `Overloaded`.
pub(crate) const PROPOSALS_UNDER_WAY: usize = 4096;
/// A lagging follower gets a snapshot when it lacks this many times the snapshot policy's entries.
const LAG_FACTOR: u64 = 2;

/// A group on this node.
pub(crate) struct Hosted {
    pub(crate) id: GroupId,
    pub(crate) kind: GroupKind,
    pub(crate) raft: Raft,
    pub(crate) machine: GroupMachine,
    pub(crate) room: Semaphore,
    last_stamp: Arc<AtomicU64>,
    leadership: watch::Receiver<Option<NodeId>>,
    /// The last leader that stamped too far ahead.
    distrusted: Mutex<Option<Distrusted>>,
    retention: Mutex<Retention>,
    pub(crate) activity: Activity,
    watcher: JoinHandle<()>,
}

/// A leader that stamped too far ahead of this node's clock.
#[derive(Clone, Copy)]
pub(crate) struct Distrusted {
    pub(crate) node: NodeId,
    pub(crate) term: u64,
    pub(crate) stamp: Timestamp,
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// The directory of a group's files.
pub(crate) fn directory(id: GroupId) -> String {
    format!("groups/{id}")
}

/// openraft's configuration for these timings.
pub(crate) fn configuration(id: GroupId, timings: &RaftTimings) -> Result<Config, HostError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let heartbeat = millis(timings.heartbeat);
    let election_min = millis(timings.election_min);
    // openraft: two heartbeats and a tick (a fifth of one) must fit into an election timeout.
    let suppress = heartbeat * 5 / 2 < election_min;
    let config = Config {
        cluster_name: format!("group {id}"),
        heartbeat_interval: heartbeat,
        heartbeat_min_interval: suppress.then_some(heartbeat),
        election_timeout_min: election_min,
        election_timeout_max: millis(timings.election_max),
        enable_pre_vote: Some(true),
        max_payload_entries: APPEND_ENTRIES,
        replication_lag_threshold: timings.snapshot_entries.saturating_mul(LAG_FACTOR),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timings.snapshot_entries),
        max_in_snapshot_log_to_keep: timings.keep_entries,
        purge_batch_size: 1,
        ..Config::default()
    };
    config
        .validate()
        .map_err(|error| HostError::Timings(error.to_string()))
}

impl Hosted {
    /// Opens the stores and starts openraft.
    pub(crate) async fn start(
        options: &HostOptions,
        wal: &Wal,
        links: &Arc<Links>,
        spec: &GroupSpec,
    ) -> Result<Self, HostError> {
        let storage = |error: io::Error| HostError::Storage(error.to_string());
        let config = Arc::new(configuration(spec.id, &options.timings)?);
        let last_stamp = Arc::new(AtomicU64::new(0));
        let machine_options = MachineOptions {
            disk: options.disk.clone(),
            directory: directory(spec.id),
            store: options.store.clone(),
            machine: (options.machines)(&spec.kind),
            fatal: options.fatal.clone(),
            last_stamp: last_stamp.clone(),
            checkpoint_bytes: options.timings.checkpoint_bytes,
        };
        let machine = blocking(move || {
            let machine = GroupMachine::open(machine_options)?;
            machine.remove_leftovers()?;
            Ok(machine)
        })
        .await
        .map_err(storage)?;
        let log = LogStore::new(
            wal.group(spec.id),
            machine.clone(),
            last_stamp.clone(),
            options.fatal.clone(),
        );
        let target = Target {
            group: spec.id,
            kind: spec.kind,
        };
        let patience = options.timings.election_min;
        let network = Network::new(links.clone(), target, machine.clone(), patience);
        let raft = Raft::new(options.node.0, config, network, log, machine.clone())
            .await
            .map_err(|error| HostError::Stopped(spec.id, error.to_string()))?;
        let (leadership, watcher) = watch_leadership(&raft);
        Ok(Self {
            id: spec.id,
            kind: spec.kind,
            raft,
            machine,
            room: Semaphore::new(PROPOSALS_UNDER_WAY),
            last_stamp,
            leadership,
            distrusted: Mutex::new(None),
            retention: Mutex::new(Retention::new(options.timings.keep_bytes)),
            activity: Activity::new(),
            watcher,
        })
    }

    /// The stamp of the next proposal.
    pub(crate) fn stamp(&self, now: Timestamp) -> Timestamp {
        let before = self.last_stamp.fetch_max(now.micros(), Ordering::Relaxed);
        Timestamp(before.max(now.micros()))
    }

    /// The leader as this node knows it.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        *self.leadership.borrow()
    }

    pub(crate) fn watch_leadership(&self) -> watch::Receiver<Option<NodeId>> {
        self.leadership.clone()
    }

    /// Lets this node vote for another before the lease of a leader that has ended runs out. The same
    /// message ends it when a leader hands over; nothing else comes of it on other nodes than the
    /// one named.
    ///
    /// # Errors
    /// The group has stopped.
    pub(crate) async fn end_lease(&self, of: NodeId) -> Result<(), HostError> {
        let vote = self.raft.metrics().borrow_watched().vote;
        if !vote.committed || vote.leader_id.voted_for != of.0 {
            return Ok(());
        }
        let request = TransferLeaderRequest::new(vote, of.0, None);
        let handled = self.raft.handle_transfer_leader(request).await;
        handled
            .map(drop)
            .map_err(|error| HostError::Stopped(self.id, error.to_string()))
    }

    /// Remembers a leader whose stamp was too far ahead.
    pub(crate) fn distrust(&self, distrusted: Distrusted) {
        *self
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(distrusted);
    }

    /// Whether the leader of this term stamped too far ahead: it is not heard any more, not even its
    /// heartbeats, so that another node can be elected.
    pub(crate) fn distrusts_leader(&self, term: u64) -> bool {
        let distrusted = self
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        distrusted.is_some_and(|distrusted| distrusted.term == term)
    }

    /// Whether this node's log has a stamp that is still too far ahead: it would be refused as a
    /// leader again.
    pub(crate) fn distrusts_candidate(&self, node: NodeId, latest: Timestamp) -> bool {
        let distrusted = self
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        distrusted.is_some_and(|distrusted| distrusted.node == node && distrusted.stamp > latest)
    }

    /// Lets go of log that nobody needs once there is too much of it.
    pub(crate) async fn retain(&self) {
        let (snapshot, purge) = {
            let mut retention = self
                .retention
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            retention.tick(self.machine.applied_index(), self.machine.applied_bytes())
        };
        // Both only ask; a stopped group has nothing to let go of.
        if snapshot {
            let _ = self.raft.trigger().snapshot().await;
        }
        if let Some(upto) = purge {
            let _ = self.raft.trigger().purge_log(upto).await;
        }
    }

    /// How the group is doing.
    pub(crate) fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let last_log = metrics.last_log_index.unwrap_or(0);
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(node, _)| {
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|replication| replication.get(node))
                .map(|matched| matched.map_or(0, |id| id.index));
            Lag {
                node: NodeId(*node),
                voter: voters.contains(node),
                entries: matched.map(|matched| last_log.saturating_sub(matched)),
            }
        });
        let index = |id: Option<crate::raft::LogId>| id.map_or(0, |id| id.index);
        GroupStatus {
            id: self.id,
            kind: self.kind,
            leader: self.leader(),
            term: metrics.current_term,
            last_log,
            committed: index(metrics.local_committed),
            applied: index(metrics.last_applied),
            snapshot: index(metrics.snapshot),
            purged: index(metrics.purged),
            members: members.collect(),
            store_bytes: self.machine.store_bytes(),
            running: metrics.running_state.is_ok(),
        }
    }
}

/// Tells of every change of the leader; the task ends with the group.
fn watch_leadership(raft: &Raft) -> (watch::Receiver<Option<NodeId>>, JoinHandle<()>) {
    let mut metrics = raft.server_metrics();
    let current = metrics.borrow_watched().current_leader.map(NodeId);
    let (sender, receiver) = watch::channel(current);
    let task = tokio::spawn(async move {
        while metrics.changed().await.is_ok() {
            let leader = metrics.borrow_watched().current_leader.map(NodeId);
            sender.send_if_modified(|known| std::mem::replace(known, leader) != leader);
        }
    });
    (receiver, task)
}
