//! What a vault node counts itself: calls, records, approvers' streams. What its groups, its log and
//! its stores say is read when it is scraped, in `scrape`.

use bailiwick_transport::Operation;
use bailiwick_types::{Jurisdiction, Role};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::spool::Spool;
use crate::exposition::{JurisdictionLabel, RoleLabel, Word};

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answered {
    /// It was done.
    Ok,
    /// It was refused.
    Refused,
}

impl Answered {
    fn word(self) -> Word {
        match self {
            Self::Ok => Word("ok"),
            Self::Refused => Word("refused"),
        }
    }
}

/// Labels of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    operation: Word,
    answered: Word,
}

/// Labels of an approver's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CommitteeLabels {
    pub(super) jurisdiction: JurisdictionLabel,
    pub(super) role: RoleLabel,
}

impl CommitteeLabels {
    /// The labels of a jurisdiction's committee.
    pub(super) fn of(jurisdiction: Jurisdiction, role: Role) -> Self {
        Self {
            jurisdiction: JurisdictionLabel(Some(jurisdiction)),
            role: RoleLabel(role),
        }
    }
}

/// An approver's stream that is counted.
pub(super) struct Attending(Gauge);

impl Drop for Attending {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a vault node counts.
pub(super) struct VaultMetrics {
    calls: Family<CallLabels, Counter>,
    records: Counter,
    spool_bytes: Gauge,
    attending: Family<CommitteeLabels, Gauge>,
}

impl VaultMetrics {
    /// Registers all metrics.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            records: Counter::default(),
            spool_bytes: Gauge::default(),
            attending: Family::default(),
        };
        let own = registry.sub_registry_with_prefix("bailiwick");
        own.register("calls", "Calls answered", metrics.calls.clone());
        own.register(
            "records_stored",
            "Records acknowledged by this node as leader",
            metrics.records.clone(),
        );
        own.register_with_unit(
            "spool",
            "Sealed partials held for recipients",
            Unit::Bytes,
            metrics.spool_bytes.clone(),
        );
        own.register(
            "attending_approvers",
            "Approvers whose stream is open at this node as leader",
            metrics.attending.clone(),
        );
        metrics
    }

    /// Counts a call.
    pub(super) fn answered(&self, operation: Operation, answered: Answered) {
        let operation = Word(operation.as_str());
        let labels = CallLabels {
            operation,
            answered: answered.word(),
        };
        self.calls.get_or_create(&labels).inc();
    }

    /// Counts stored records.
    pub(super) fn stored(&self, records: u64) {
        self.records.inc_by(records);
    }

    /// Counts an approver's stream until what is returned is dropped, however the stream ends.
    pub(super) fn attending(&self, jurisdiction: Jurisdiction, role: Role) -> Attending {
        let labels = CommitteeLabels::of(jurisdiction, role);
        let gauge = self.attending.get_or_create(&labels).clone();
        gauge.inc();
        Attending(gauge)
    }

    /// Brings gauges up to date.
    pub(super) fn refresh(&self, spool: &Spool) {
        self.spool_bytes.set(spool.bytes() as i64);
    }
}
