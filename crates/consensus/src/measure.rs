//! What a group measures of itself on this node: how long applying and committing take, and when its
//! leader or its quorum was last heard. Plain numbers without locks; their names are the node's matter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bailiwick_types::GroupId;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;

use crate::group::GroupKind;
use crate::host::Host;
use crate::hosted::Hosted;

/// Upper bounds of the buckets of a group's latencies, in microseconds; the last takes the rest.
/// Few, because a node has them for each of its groups.
pub const LATENCY_BOUNDS_US: [u64; 9] = [
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    500_000,
    2_000_000,
    u64::MAX,
];

/// How often something happened, and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Time spent in total, in microseconds.
    pub total_us: u64,
    /// How many took at most the bound of [`LATENCY_BOUNDS_US`] at the same position, and more than
    /// the bound before it.
    pub counts: [u64; LATENCY_BOUNDS_US.len()],
}

/// Counts latencies from many threads.
#[derive(Debug, Default)]
pub(crate) struct LatencyRecorder {
    total_us: AtomicU64,
    counts: [AtomicU64; LATENCY_BOUNDS_US.len()],
}

impl LatencyRecorder {
    /// Counts one.
    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.iter().position(|bound| us <= *bound);
        let bucket = bucket.unwrap_or(LATENCY_BOUNDS_US.len() - 1);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
    }

    fn latencies(&self) -> Latencies {
        Latencies {
            total_us: self.total_us.load(Ordering::Relaxed),
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
        }
    }
}

/// A group's recorders.
#[derive(Debug)]
pub(crate) struct Recorders {
    begun: Instant,
    /// From a proposal to its outcome, on the leader.
    pub(crate) commit: LatencyRecorder,
    /// One transaction of applied entries.
    pub(crate) apply: LatencyRecorder,
    /// When the leader was last heard, in milliseconds after `begun`; 0 for never.
    heard_ms: AtomicU64,
}

impl Default for Recorders {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            commit: LatencyRecorder::default(),
            apply: LatencyRecorder::default(),
            heard_ms: AtomicU64::new(0),
        }
    }
}

impl Recorders {
    fn since_begun_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes that the leader was heard just now.
    pub(crate) fn heard(&self) {
        let now = self.since_begun_ms().max(1);
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    fn since_heard(&self) -> Option<Duration> {
        let heard = self.heard_ms.load(Ordering::Relaxed);
        let elapsed = self.since_begun_ms().saturating_sub(heard);
        (heard > 0).then_some(Duration::from_millis(elapsed))
    }
}

/// What a group measured of itself on this node since it was opened here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMeasures {
    /// The group.
    pub id: GroupId,
    /// Which state machine.
    pub kind: GroupKind,
    /// From a proposal to its outcome: replication, a quorum's syncs, and applying. Counted where
    /// the proposal was made, on the leader.
    pub commit: Latencies,
    /// One transaction of applied entries each.
    pub apply: Latencies,
    /// On the leader, since a quorum last confirmed it; elsewhere, since the leader was last heard.
    /// `None` when that never happened.
    pub last_contact: Option<Duration>,
}

impl Host {
    /// What all groups measured, by id.
    pub fn group_measures(&self) -> Vec<GroupMeasures> {
        let groups = self.all();
        groups.iter().map(|group| self.measures(group)).collect()
    }

    fn measures(&self, group: &Hosted) -> GroupMeasures {
        let recorders = group.machine.recorders();
        let last_contact = if group.leader() == Some(self.node()) {
            let metrics = group.raft.metrics();
            let acknowledged = metrics.borrow_watched().last_quorum_acked;
            acknowledged.map(|acknowledged| acknowledged.elapsed())
        } else {
            recorders.since_heard()
        };
        GroupMeasures {
            id: group.id,
            kind: group.kind,
            commit: recorders.commit.latencies(),
            apply: recorders.apply.latencies(),
            last_contact,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_bucket_of_its_bound() {
        let recorder = LatencyRecorder::default();
        for us in [0, 1_000, 1_001, 3_000_000] {
            recorder.record(Duration::from_micros(us));
        }
        let latencies = recorder.latencies();
        assert_eq!(latencies.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(latencies.total_us, 3_002_001);
    }

    #[test]
    fn a_leader_never_heard_is_no_contact() {
        let recorders = Recorders::default();
        assert_eq!(recorders.since_heard(), None);
        recorders.heard();
        assert!(
            recorders
                .since_heard()
                .is_some_and(|since| since < Duration::from_secs(5))
        );
    }
}
