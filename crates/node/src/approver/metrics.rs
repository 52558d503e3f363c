//! What an approver counts. All names are documented in docs/metrics.md.

use bailiwick_types::Jurisdiction;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::exposition::OfJurisdiction;

/// All metrics of an approver.
pub(super) struct ApproverMetrics {
    attending: Family<OfJurisdiction, Gauge>,
    followed: Family<OfJurisdiction, Gauge>,
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
    /// Registers all metrics; none of the jurisdictions is attended yet.
    pub(super) fn register(registry: &mut Registry, jurisdictions: &[Jurisdiction]) -> Self {
        let metrics = Self {
            attending: Family::default(),
            followed: Family::default(),
            cosigned: Counter::default(),
            not_cosigned: Counter::default(),
            acknowledged: Counter::default(),
            complaints: Counter::default(),
            released_records: Counter::default(),
            refused: Counter::default(),
        };
        let own = registry.sub_registry_with_prefix("bailiwick_approver");
        let attending = metrics.attending.clone();
        own.register(
            "attending",
            "1 while the stream to the jurisdiction's leader is open",
            attending,
        );
        let followed = metrics.followed.clone();
        own.register("followed_leaves", "Leaves folded and kept", followed);
        let counters = [
            ("cosigned", "Checkpoints cosigned", &metrics.cosigned),
            (
                "checkpoints_refused",
                "Checkpoints not cosigned: a fork, or no checkpoint",
                &metrics.not_cosigned,
            ),
            (
                "sessions_acknowledged",
                "Sessions whose part opened",
                &metrics.acknowledged,
            ),
            (
                "sessions_complained",
                "Sessions whose part did not open",
                &metrics.complaints,
            ),
            (
                "records_released",
                "Records whose values were released",
                &metrics.released_records,
            ),
            (
                "releases_refused",
                "Releases refused by an own check",
                &metrics.refused,
            ),
        ];
        for (name, help, counter) in counters {
            own.register(name, help, counter.clone());
        }
        for jurisdiction in jurisdictions {
            metrics.attending(*jurisdiction, false);
        }
        metrics
    }

    /// Notes whether a jurisdiction's leader is attended.
    pub(super) fn attending(&self, jurisdiction: Jurisdiction, attended: bool) {
        let labels = OfJurisdiction::from(jurisdiction);
        let attending = self.attending.get_or_create(&labels);
        attending.set(i64::from(attended));
    }

    /// Notes how long a followed log is.
    pub(super) fn followed(&self, jurisdiction: Jurisdiction, size: u64) {
        let labels = OfJurisdiction::from(jurisdiction);
        self.followed.get_or_create(&labels).set(size as i64);
    }

    /// Jurisdictions whose leader is not attended, one line each.
    pub(super) fn unattended(&self, all: &[Jurisdiction]) -> Vec<String> {
        let attended = |jurisdiction: Jurisdiction| {
            let labels = OfJurisdiction::from(jurisdiction);
            self.attending.get_or_create(&labels).get() == 1
        };
        let missing = all.iter().filter(|jurisdiction| !attended(**jurisdiction));
        missing
            .map(|jurisdiction| format!("{jurisdiction}: no leader attended"))
            .collect()
    }
}
