//! What a vault node's groups, log, stores and server say at the moment of a scrape. Nothing is kept
//! here between two scrapes: a group that has left the node is not scraped any more.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;

use bailiwick_consensus::{
    GroupKind, GroupMeasures, GroupStatus, Host, LATENCY_BOUNDS_US, Latencies,
};
use bailiwick_shard::outlook::{Outlook, outlook};
use bailiwick_shard::query;
use bailiwick_shard::view::ShardInfo;
use bailiwick_storage::{SYNC_LATENCY_BOUNDS_US, WalStatistics};
use bailiwick_transport::{RefusalReason, ServerHandle};
use bailiwick_types::{Jurisdiction, NodeId, ShardId};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::registry::Unit;

use super::Vault;
use super::metrics::CommitteeLabels;
use crate::clock;
use crate::exposition::{
    Distribution, Exposition, JurisdictionLabel, OfJurisdiction, Unlabelled, Word,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GroupLabels {
    group: u32,
    jurisdiction: JurisdictionLabel,
    partition: u16,
}

impl GroupLabels {
    /// The labels of a group.
    pub(super) fn of(group: u32, kind: GroupKind) -> Self {
        let (jurisdiction, partition) = match kind {
            GroupKind::Directory => (None, 0),
            GroupKind::Shard(shard) => (Some(shard.jurisdiction), shard.partition),
        };
        Self {
            group,
            jurisdiction: JurisdictionLabel(jurisdiction),
            partition,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabels {
    group: u32,
    jurisdiction: JurisdictionLabel,
    partition: u16,
    member: u64,
}

impl MemberLabels {
    fn of(group: GroupLabels, member: NodeId) -> Self {
        Self {
            group: group.group,
            jurisdiction: group.jurisdiction,
            partition: group.partition,
            member: member.0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    jurisdiction: JurisdictionLabel,
    state: Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: Word,
}

/// Scrapes a vault node.
pub(super) struct Scrape {
    pub(super) vault: Arc<Vault>,
    pub(super) server: Arc<ServerHandle>,
}

impl std::fmt::Debug for Scrape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metrics = Exposition(encoder);
        let host = &self.vault.host;
        let statuses = host.group_status();
        encode_groups(&mut metrics, host, &statuses)?;
        encode_times(&mut metrics, &host.group_measures())?;
        encode_log(&mut metrics, &host.log_statistics())?;
        self.encode_jurisdictions(&mut metrics, &statuses)?;
        self.encode_server(&mut metrics)
    }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

/// Where every group stands.
fn encode_groups(
    metrics: &mut Exposition<'_>,
    host: &Host,
    statuses: &[GroupStatus],
) -> Result<(), Error> {
    type Read<'a> = &'a dyn Fn(&GroupStatus) -> f64;
    let gauges: [(&str, &str, Read<'_>); 9] = [
        ("leading", "1 where this node leads the group", &|group| {
            flag(host.is_leader(group.id))
        }),
        (
            "has_leader",
            "1 where this node knows a leader of the group",
            &|group| flag(group.leader.is_some()),
        ),
        (
            "running",
            "0 once the group has stopped here with an error",
            &|group| flag(group.running),
        ),
        ("term", "The group's Raft term", &|group| group.term as f64),
        ("voters", "Voters of the group", &|group| {
            group.members.iter().filter(|member| member.voter).count() as f64
        }),
        (
            "last_log_index",
            "Index of the last entry in this node's log",
            &|group| group.last_log as f64,
        ),
        (
            "committed_index",
            "Index of the last committed entry that this node knows of",
            &|group| group.committed as f64,
        ),
        (
            "applied_index",
            "Index of the last entry applied here",
            &|group| group.applied as f64,
        ),
        (
            "snapshot_index",
            "Index of the last entry that a snapshot here covers",
            &|group| group.snapshot as f64,
        ),
    ];
    for (name, help, read) in gauges {
        let samples = statuses.iter().map(|status| {
            let labels = GroupLabels::of(status.id.0, status.kind);
            (labels, read(status))
        });
        metrics.gauge(&format!("bailiwick_group_{name}"), None, help, samples)?;
    }
    let lags = statuses.iter().flat_map(|status| {
        let group = GroupLabels::of(status.id.0, status.kind);
        status.members.iter().filter_map(move |member| {
            let labels = MemberLabels::of(group, member.node);
            Some((labels, member.entries? as f64))
        })
    });
    let help = "Entries that a member has not acknowledged, as the leader sees it";
    metrics.gauge("bailiwick_group_lag_entries", None, help, lags)
}

/// How long the groups' work takes.
fn encode_times(metrics: &mut Exposition<'_>, measured: &[GroupMeasures]) -> Result<(), Error> {
    let times = |read: fn(&GroupMeasures) -> &Latencies| {
        measured.iter().map(move |group| {
            let Latencies { total_us, counts } = read(group);
            let counted = Distribution::of_micros(*total_us, &LATENCY_BOUNDS_US, counts);
            (GroupLabels::of(group.id.0, group.kind), counted)
        })
    };
    metrics.seconds(
        "bailiwick_group_commit",
        "From a proposal on the leader to its outcome",
        times(|group| &group.commit),
    )?;
    metrics.seconds(
        "bailiwick_group_apply",
        "One transaction of applied entries",
        times(|group| &group.apply),
    )?;
    let contacts = measured.iter().filter_map(|group| {
        let labels = GroupLabels::of(group.id.0, group.kind);
        Some((labels, group.last_contact?.as_secs_f64()))
    });
    metrics.gauge(
        "bailiwick_group_last_contact",
        Some(Unit::Seconds),
        "Since a quorum confirmed this leader, or since this follower heard its leader",
        contacts,
    )
}

/// The node's write-ahead log.
fn encode_log(metrics: &mut Exposition<'_>, log: &WalStatistics) -> Result<(), Error> {
    let syncs = Distribution::of_micros(
        log.sync_total_us,
        &SYNC_LATENCY_BOUNDS_US,
        &log.sync_latency,
    );
    metrics.seconds(
        "bailiwick_wal_fsync",
        "One fdatasync of the write-ahead log",
        [(Unlabelled, syncs)],
    )?;
    let one = |value: u64| [(Unlabelled, value as f64)];
    let help = "Records written to the log";
    metrics.counter("bailiwick_wal_records", None, help, one(log.records))?;
    let (help, unit) = ("Bytes written to the log", Some(Unit::Bytes));
    metrics.counter("bailiwick_wal_written", unit, help, one(log.bytes))?;
    let help = "Segments of the log on disk";
    metrics.gauge("bailiwick_wal_segments", None, help, one(log.segments))?;
    let (help, unit) = ("Bytes of all segments on disk", Some(Unit::Bytes));
    metrics.gauge("bailiwick_wal_size", unit, help, one(log.segment_bytes))
}

/// What a jurisdiction's home group says.
struct Home {
    jurisdiction: Jurisdiction,
    info: ShardInfo,
    outlook: Outlook,
}

impl Scrape {
    /// Every shard here that has begun; with the jurisdiction's outlook where it is the home group. A
    /// store that cannot be read ends the process elsewhere; here it has no lines.
    fn shards(&self, statuses: &[GroupStatus]) -> (Vec<(GroupLabels, ShardInfo)>, Vec<Home>) {
        let (mut shards, mut homes) = (Vec::new(), Vec::new());
        for status in statuses {
            let GroupKind::Shard(shard) = status.kind else {
                continue;
            };
            let Ok(view) = self.vault.host.read_local(status.id) else {
                continue;
            };
            let info = query::shard_info(&view);
            let read = info.and_then(|info| Ok((info, outlook(&view, clock::now())?)));
            match read {
                Ok((Some(info), outlook)) => {
                    let labels = GroupLabels::of(status.id.0, status.kind);
                    shards.push((labels, info.clone()));
                    let jurisdiction = shard.jurisdiction;
                    if shard == ShardId::home(jurisdiction) {
                        homes.push(Home {
                            jurisdiction,
                            info,
                            outlook,
                        });
                    }
                }
                Ok((None, _)) => {}
                Err(error) => tracing::error!(%shard, %error, "a store was not read for a scrape"),
            }
        }
        (shards, homes)
    }

    fn encode_jurisdictions(
        &self,
        metrics: &mut Exposition<'_>,
        statuses: &[GroupStatus],
    ) -> Result<(), Error> {
        let mut bytes: BTreeMap<Jurisdiction, u64> = BTreeMap::new();
        for status in statuses {
            if let GroupKind::Shard(shard) = status.kind {
                *bytes.entry(shard.jurisdiction).or_default() += status.store_bytes;
            }
        }
        let bytes = bytes.into_iter();
        let bytes = bytes.map(|(code, bytes)| (OfJurisdiction::from(code), bytes as f64));
        metrics.gauge(
            "bailiwick_jurisdiction_store",
            Some(Unit::Bytes),
            "Record stores of the jurisdiction on this node",
            bytes,
        )?;
        let help = "Groups on this node that its region may not hold";
        let violations = [(Unlabelled, self.violations(statuses) as f64)];
        metrics.gauge("bailiwick_placement_violations", None, help, violations)?;
        let (shards, homes) = self.shards(statuses);
        let records = shards.iter();
        let records = records.map(|(labels, info)| (*labels, info.records as f64));
        let help = "Records in all live periods of the group";
        metrics.gauge("bailiwick_group_records", None, help, records)?;
        encode_holdings(metrics, &homes)?;
        encode_keys(metrics, &homes)
    }

    /// Groups here of a jurisdiction that does not allow this node's region.
    fn violations(&self, statuses: &[GroupStatus]) -> usize {
        let (allowed, region) = (&self.vault.allowed, &self.vault.config.region);
        let allowed = allowed.read().expect("no panic holds the regions");
        let misplaced = statuses.iter().filter(|status| match status.kind {
            GroupKind::Directory => false,
            GroupKind::Shard(shard) => {
                let regions = allowed.get(&shard.jurisdiction);
                !regions.is_some_and(|regions| regions.contains(region))
            }
        });
        misplaced.count()
    }

    fn encode_server(&self, metrics: &mut Exposition<'_>) -> Result<(), Error> {
        let counters = self.server.counters();
        let help = "Authenticated connections open";
        let open = [(Unlabelled, counters.open() as f64)];
        metrics.gauge("bailiwick_connections", None, help, open)?;
        let refused = RefusalReason::ALL.into_iter().map(|reason| {
            let labels = ReasonLabels {
                reason: Word(reason.as_str()),
            };
            (labels, counters.refused(reason) as f64)
        });
        let help = "Connections, calls and streams refused before a handler saw them";
        metrics.counter("bailiwick_connections_refused", None, help, refused)
    }
}

fn encode_holdings(metrics: &mut Exposition<'_>, homes: &[Home]) -> Result<(), Error> {
    let of = |read: fn(&Home) -> f64| {
        let homes = homes.iter();
        homes.map(move |home| (OfJurisdiction::from(home.jurisdiction), read(home)))
    };
    metrics.gauge(
        "bailiwick_jurisdiction_log_leaves",
        None,
        "Leaves of the transparency log",
        of(|home| home.info.leaves as f64),
    )?;
    metrics.gauge(
        "bailiwick_jurisdiction_frozen",
        None,
        "1 while the jurisdiction is frozen",
        of(|home| flag(home.info.frozen.is_some())),
    )?;
    let pending = homes.iter().flat_map(|home| {
        let outlook = &home.outlook;
        let states = [
            ("in-review", outlook.in_review),
            ("approved", outlook.approved),
            ("releasing", outlook.releasing),
        ];
        states.map(|(state, count)| {
            let labels = RequestLabels {
                jurisdiction: JurisdictionLabel(Some(home.jurisdiction)),
                state: Word(state),
            };
            (labels, count as f64)
        })
    });
    let help = "Requests that are not final, by where they stand";
    metrics.gauge("bailiwick_requests_pending", None, help, pending)
}

fn encode_keys(metrics: &mut Exposition<'_>, homes: &[Home]) -> Result<(), Error> {
    let of = |read: fn(&Outlook) -> f64| {
        let homes = homes.iter();
        homes.map(move |home| (OfJurisdiction::from(home.jurisdiction), read(&home.outlook)))
    };
    metrics.gauge(
        "bailiwick_key_certificate_expiry_timestamp",
        Some(Unit::Seconds),
        "Until when key certificates cover the present without a gap, since 1970",
        of(|outlook| outlook.covered_until.seconds() as f64),
    )?;
    metrics.gauge(
        "bailiwick_key_periods_ahead",
        None,
        "Whole key periods that follow the present without a gap",
        of(|outlook| outlook.periods_ahead as f64),
    )?;
    let thresholds = homes.iter().flat_map(|home| {
        let thresholds = home.outlook.thresholds.into_iter().flatten();
        thresholds.map(|(role, threshold)| {
            let labels = CommitteeLabels::of(home.jurisdiction, role);
            (labels, f64::from(threshold.needed()))
        })
    });
    let help = "Members of the committee that must act for what is sealed at present";
    metrics.gauge("bailiwick_committee_threshold", None, help, thresholds)
}
