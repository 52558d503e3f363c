//! An edge's metrics. A jurisdiction is the only label that is not an enumeration.

use bailiwick_api::edge::RecordStatus;
use bailiwick_types::Jurisdiction;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Status {
    Stored,
    Duplicate,
    Refused,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JurisdictionLabels {
    jurisdiction: String,
}

/// All metrics of an edge.
pub(super) struct EdgeMetrics {
    records: Family<StatusLabels, Counter>,
    queued: Family<JurisdictionLabels, Gauge>,
    /// Calls refused because a queue was full.
    pub(super) overloaded: Counter,
}

impl EdgeMetrics {
    /// Registers all metrics.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            records: Family::default(),
            queued: Family::default(),
            overloaded: Counter::default(),
        };
        let own = registry.sub_registry_with_prefix("bailiwick_edge");
        own.register(
            "records",
            "Records by what became of them",
            metrics.records.clone(),
        );
        own.register(
            "queued_jobs",
            "Jobs waiting for a lane",
            metrics.queued.clone(),
        );
        own.register(
            "overloaded",
            "Calls refused for a full queue",
            metrics.overloaded.clone(),
        );
        metrics
    }

    /// Counts one record.
    pub(super) fn record(&self, status: RecordStatus) {
        let status = match status {
            RecordStatus::Stored => Status::Stored,
            RecordStatus::Duplicate => Status::Duplicate,
            RecordStatus::Refused => Status::Refused,
            RecordStatus::Unknown => Status::Unknown,
        };
        self.records.get_or_create(&StatusLabels { status }).inc();
    }

    /// Sets how many jobs wait.
    pub(super) fn queued(&self, jurisdiction: Jurisdiction, jobs: usize) {
        let labels = JurisdictionLabels {
            jurisdiction: jurisdiction.to_string(),
        };
        self.queued.get_or_create(&labels).set(jobs as i64);
    }
}
