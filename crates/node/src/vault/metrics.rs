//! A vault node's metrics. Labels are typed: no identifier can become one.

use bailiwick_consensus::{GroupKind, Host};
use bailiwick_transport::Operation;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::spool::Spool;

/// An operation as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct OperationLabel(pub(super) Operation);

impl EncodeLabelValue for OperationLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0.as_str(), encoder)
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Answered {
    /// It was done.
    Ok,
    /// It was refused.
    Refused,
}

/// Labels of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    operation: OperationLabel,
    answered: Answered,
}

/// Labels of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GroupLabels {
    group: u32,
    jurisdiction: String,
}

/// All metrics of a vault node.
pub(super) struct VaultMetrics {
    calls: Family<CallLabels, Counter>,
    records: Counter,
    leading: Family<GroupLabels, Gauge>,
    applied: Family<GroupLabels, Gauge>,
    store_bytes: Family<GroupLabels, Gauge>,
    spool_bytes: Gauge,
    attending: Gauge,
    log_syncs: Gauge,
    log_records: Gauge,
}

impl VaultMetrics {
    /// Registers all metrics.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            records: Counter::default(),
            leading: Family::default(),
            applied: Family::default(),
            store_bytes: Family::default(),
            spool_bytes: Gauge::default(),
            attending: Gauge::default(),
            log_syncs: Gauge::default(),
            log_records: Gauge::default(),
        };
        let bailiwick = registry.sub_registry_with_prefix("bailiwick");
        bailiwick.register("calls", "Operations answered", metrics.calls.clone());
        bailiwick.register(
            "records_stored",
            "Records stored here as leader",
            metrics.records.clone(),
        );
        bailiwick.register(
            "group_leading",
            "1 where this node leads",
            metrics.leading.clone(),
        );
        bailiwick.register(
            "group_applied_index",
            "Applied log index",
            metrics.applied.clone(),
        );
        let (store, spool) = (metrics.store_bytes.clone(), metrics.spool_bytes.clone());
        bailiwick.register_with_unit("group_store", "Record store's file", Unit::Bytes, store);
        bailiwick.register_with_unit("spool", "Sealed partials held", Unit::Bytes, spool);
        bailiwick.register(
            "attending_approvers",
            "Approver streams",
            metrics.attending.clone(),
        );
        bailiwick.register(
            "log_syncs",
            "Syncs of the write-ahead log",
            metrics.log_syncs.clone(),
        );
        bailiwick.register(
            "log_records",
            "Records of the log",
            metrics.log_records.clone(),
        );
        metrics
    }

    /// Counts a call.
    pub(super) fn answered(&self, operation: Operation, answered: Answered) {
        let operation = OperationLabel(operation);
        self.calls
            .get_or_create(&CallLabels {
                operation,
                answered,
            })
            .inc();
    }

    /// Counts stored records.
    pub(super) fn stored(&self, records: u64) {
        self.records.inc_by(records);
    }

    /// Counts an approver's stream that begins or ends.
    pub(super) fn attending(&self, change: i64) {
        self.attending.inc_by(change);
    }

    /// Brings gauges up to date.
    pub(super) fn refresh(&self, host: &Host, spool: &Spool) {
        self.spool_bytes.set(spool.bytes() as i64);
        let statistics = host.log_statistics();
        self.log_syncs.set(statistics.syncs as i64);
        self.log_records.set(statistics.records as i64);
        for status in host.group_status() {
            let jurisdiction = match status.kind {
                GroupKind::Directory => "directory".to_owned(),
                GroupKind::Shard(shard) => shard.jurisdiction.to_string(),
            };
            let labels = GroupLabels {
                group: status.id.0,
                jurisdiction,
            };
            let leading = i64::from(host.is_leader(status.id));
            self.leading.get_or_create(&labels).set(leading);
            self.applied
                .get_or_create(&labels)
                .set(status.applied as i64);
            self.store_bytes
                .get_or_create(&labels)
                .set(status.store_bytes as i64);
        }
    }
}
