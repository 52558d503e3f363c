//! What an edge counts. All names are documented in docs/metrics.md.

use std::time::Duration;

use bailiwick_api::edge::RecordStatus;
use bailiwick_types::Jurisdiction;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::exposition::{OfJurisdiction, Word};

/// Upper bounds of a call's time, in seconds: from a disk's sync to the deadline.
const PUT_SECONDS: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// All statuses: a series that begins with its first event hides that event from `rate`.
const STATUSES: [RecordStatus; 4] = [
    RecordStatus::Stored,
    RecordStatus::Duplicate,
    RecordStatus::Refused,
    RecordStatus::Unknown,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: Word,
}

impl StatusLabels {
    fn of(status: RecordStatus) -> Self {
        let word = match status {
            RecordStatus::Stored => "stored",
            RecordStatus::Duplicate => "duplicate",
            RecordStatus::Refused => "refused",
            RecordStatus::Unknown => "unknown",
        };
        Self { status: Word(word) }
    }
}

/// All metrics of an edge.
pub(super) struct EdgeMetrics {
    records: Family<StatusLabels, Counter>,
    queued: Family<OfJurisdiction, Gauge>,
    sessions: Family<OfJurisdiction, Gauge>,
    frozen: Family<OfJurisdiction, Gauge>,
    put: Histogram,
    /// Calls refused because a queue was full.
    pub(super) overloaded: Counter,
}

impl EdgeMetrics {
    /// Registers all metrics.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            records: Family::default(),
            queued: Family::default(),
            sessions: Family::default(),
            frozen: Family::default(),
            put: Histogram::new(PUT_SECONDS),
            overloaded: Counter::default(),
        };
        let own = registry.sub_registry_with_prefix("bailiwick_edge");
        let records = metrics.records.clone();
        own.register("records", "Records by what became of them", records);
        let queued = metrics.queued.clone();
        own.register("queued_jobs", "Jobs that wait for a lane", queued);
        own.register(
            "session_ready",
            "1 while a confirmed session is there to seal under",
            metrics.sessions.clone(),
        );
        own.register(
            "frozen",
            "1 while the jurisdiction refuses records because it is frozen",
            metrics.frozen.clone(),
        );
        own.register(
            "overloaded",
            "Calls refused because a queue was full",
            metrics.overloaded.clone(),
        );
        own.register_with_unit(
            "put",
            "From a call's parsed records to their results",
            Unit::Seconds,
            metrics.put.clone(),
        );
        for status in STATUSES {
            drop(metrics.records.get_or_create(&StatusLabels::of(status)));
        }
        metrics
    }

    /// Counts one record.
    pub(super) fn record(&self, status: RecordStatus) {
        self.records.get_or_create(&StatusLabels::of(status)).inc();
    }

    /// Counts a call's time.
    pub(super) fn put(&self, took: Duration) {
        self.put.observe(took.as_secs_f64());
    }

    /// Notes how sealing for a jurisdiction stands.
    pub(super) fn sealing(
        &self,
        jurisdiction: Jurisdiction,
        jobs: usize,
        ready: bool,
        frozen: bool,
    ) {
        let labels = OfJurisdiction::from(jurisdiction);
        self.queued.get_or_create(&labels).set(jobs as i64);
        let ready = i64::from(ready);
        self.sessions.get_or_create(&labels).set(ready);
        let frozen = i64::from(frozen);
        self.frozen.get_or_create(&labels).set(frozen);
    }
}
