//! What an approver counts. All names are documented in docs/metrics.md.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

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
    forked: Family<OfJurisdiction, Gauge>,
    /// Where the evidence of forks lies.
    evidence: Mutex<BTreeMap<Jurisdiction, PathBuf>>,
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
            forked: Family::default(),
            evidence: Mutex::default(),
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
        let forked = metrics.forked.clone();
        own.register(
            "forked",
            "1 while a fork of the jurisdiction's log was seen and no operator has acted",
            forked,
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
            metrics.forked(*jurisdiction, None);
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

    /// Notes that a log is forked and where the evidence lies, or that an operator has acted.
    pub(super) fn forked(&self, jurisdiction: Jurisdiction, evidence: Option<PathBuf>) {
        let labels = OfJurisdiction::from(jurisdiction);
        let forked = self.forked.get_or_create(&labels);
        forked.set(i64::from(evidence.is_some()));
        let paths = self.evidence.lock();
        let mut paths = paths.expect("nothing panics while it holds the paths");
        match evidence {
            Some(path) => paths.insert(jurisdiction, path),
            None => paths.remove(&jurisdiction),
        };
    }

    /// Jurisdictions whose leader is not attended, or whose log is forked, one line each.
    pub(super) fn unattended(&self, all: &[Jurisdiction]) -> Vec<String> {
        let evidence = self.evidence.lock();
        let evidence = evidence.expect("nothing panics while it holds the paths");
        let attended = |jurisdiction: Jurisdiction| {
            let labels = OfJurisdiction::from(jurisdiction);
            self.attending.get_or_create(&labels).get() == 1
        };
        let missing = all.iter().filter(|jurisdiction| !attended(**jurisdiction));
        missing
            .map(|jurisdiction| match evidence.get(jurisdiction) {
                Some(path) => format!(
                    "{jurisdiction}: its log is forked, nothing is released until an operator has \
                     looked at {} and moved it away",
                    path.display()
                ),
                None => format!("{jurisdiction}: no leader attended"),
            })
            .collect()
    }
}
