//! An approver's metrics.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bailiwick_types::Jurisdiction;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// All metrics of an approver.
pub(super) struct ApproverMetrics {
    attended: Mutex<BTreeSet<Jurisdiction>>,
    attending: Gauge,
    /// Checkpoints cosigned.
    pub(super) cosigned: Counter,
    /// Checkpoints refused: a fork or a bad checkpoint. Any is an alarm.
    pub(super) not_cosigned: Counter,
    /// Sessions whose part opened.
    pub(super) acknowledged: Counter,
    /// Sessions complained of.
    pub(super) complaints: Counter,
    /// Records whose values were released.
    pub(super) released_records: Counter,
    /// Releases refused by a check.
    pub(super) refused: Counter,
}

impl ApproverMetrics {
    /// Registers all metrics.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            attended: Mutex::default(),
            attending: Gauge::default(),
            cosigned: Counter::default(),
            not_cosigned: Counter::default(),
            acknowledged: Counter::default(),
            complaints: Counter::default(),
            released_records: Counter::default(),
            refused: Counter::default(),
        };
        let own = registry.sub_registry_with_prefix("bailiwick_approver");
        own.register(
            "attending",
            "Jurisdictions attended",
            metrics.attending.clone(),
        );
        own.register("cosigned", "Checkpoints cosigned", metrics.cosigned.clone());
        own.register(
            "not_cosigned",
            "Checkpoints refused",
            metrics.not_cosigned.clone(),
        );
        own.register(
            "sessions_acknowledged",
            "Parts opened",
            metrics.acknowledged.clone(),
        );
        own.register(
            "sessions_complained",
            "Parts refused",
            metrics.complaints.clone(),
        );
        own.register(
            "released_records",
            "Records released",
            metrics.released_records.clone(),
        );
        own.register(
            "releases_refused",
            "Releases refused",
            metrics.refused.clone(),
        );
        metrics
    }

    /// Notes whether a jurisdiction's leader is attended.
    pub(super) fn attending(&self, jurisdiction: Jurisdiction, attended: bool) {
        let mut set = self
            .attended
            .lock()
            .expect("nothing panics while it holds the set");
        if attended {
            set.insert(jurisdiction);
        } else {
            set.remove(&jurisdiction);
        }
        self.attending.set(set.len() as i64);
    }

    /// Jurisdictions whose leader is not attended, one line each.
    pub(super) fn unattended(&self, all: &[Jurisdiction]) -> Vec<String> {
        let set = self
            .attended
            .lock()
            .expect("nothing panics while it holds the set");
        let missing = all
            .iter()
            .filter(|jurisdiction| !set.contains(jurisdiction));
        missing
            .map(|jurisdiction| format!("{jurisdiction}: no leader attended"))
            .collect()
    }
}
