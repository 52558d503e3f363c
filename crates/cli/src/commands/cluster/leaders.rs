//! Leaders, voters, and how the cluster judges its nodes.

use bailiwick_api::placement::{TransferGroup, Transferred};
use bailiwick_shard::directory::{Autopilot, ClusterView, DirectoryCommandBody};
use bailiwick_transport::Operation;
use bailiwick_types::{GroupId, Jurisdiction, NodeId, ShardId};
use serde::Serialize;

use super::nodes::{node_rows, seconds};
use super::{Desk, group_name, group_of, name_of, node_of};
use crate::args::cluster::{AutopilotOptions, AutopilotVerb, Danger, RaftVerb};
use crate::connect::of_call;
use crate::failure::Failure;

/// A member of a group: a table's line.
#[derive(Clone, Debug, Serialize)]
struct PeerRow {
    group: String,
    node: u64,
    name: String,
    role: &'static str,
    wanted: bool,
    trailing: Option<u64>,
    last_contact_ms: Option<u64>,
}

/// How a node is judged: a table's line.
#[derive(Clone, Debug, Serialize)]
struct JudgedRow {
    node: u64,
    name: String,
    state: &'static str,
    healthy: bool,
    last_contact_ms: Option<u64>,
    trailing: Option<u64>,
    groups: usize,
}

impl Desk<'_> {
    pub(super) async fn hand_over(
        &self,
        code: Option<Jurisdiction>,
        to: Option<&String>,
    ) -> Result<(), Failure> {
        let view = self.view().await?;
        let group = group_of(&view, code)?;
        let to = match to {
            Some(text) => Some(node_of(&view, text)?.id),
            None => None,
        };
        let shard = code.map(ShardId::home);
        let message = TransferGroup { shard, to };
        let handed: Result<Transferred, _> = self
            .cluster
            .call(shard, Operation::TransferGroup, &message)
            .await;
        let what = format!(
            "the leader of {} did not hand over",
            group_name(&view, group)
        );
        let leader = handed.map_err(|error| of_call(what, &error))?.leader;
        self.output.fields(&[
            ("group", group_name(&view, group)),
            ("leader", name_of(&view, leader)),
        ]);
        Ok(())
    }

    pub(super) async fn raft(&self, verb: &RaftVerb) -> Result<(), Failure> {
        match verb {
            RaftVerb::ListPeers { jurisdiction } => self.list_peers(*jurisdiction).await,
            RaftVerb::Promote {
                node,
                jurisdiction,
                instead_of,
                danger,
            } => {
                let view = self.view().await?;
                let group = group_of(&view, *jurisdiction)?;
                let add = node_of(&view, node)?.id;
                let remove = match instead_of {
                    Some(text) => node_of(&view, text)?.id,
                    None => most_loaded(&view, group).ok_or_else(|| no_other(&view, group))?,
                };
                self.swap(&view, group, remove, add, *danger).await
            }
            RaftVerb::Demote {
                node,
                jurisdiction,
                in_favour_of,
                danger,
            } => {
                let view = self.view().await?;
                let group = group_of(&view, *jurisdiction)?;
                let remove = node_of(&view, node)?.id;
                let add = match in_favour_of {
                    Some(text) => node_of(&view, text)?.id,
                    None => least_loaded(&view, group).ok_or_else(|| no_other(&view, group))?,
                };
                self.swap(&view, group, remove, add, *danger).await
            }
        }
    }

    async fn swap(
        &self,
        view: &ClusterView,
        group: GroupId,
        remove: NodeId,
        add: NodeId,
        danger: Danger,
    ) -> Result<(), Failure> {
        let (come, go) = (name_of(view, add), name_of(view, remove));
        let group_name = group_name(view, group);
        let consequences = [format!(
            "{come} gets a replica of {group_name} and votes once it has caught up; then {go} does \
             not vote there any more, and its replica is deleted."
        )];
        if !self.may(danger, &consequences)? {
            return Ok(());
        }
        let body = DirectoryCommandBody::ReplaceVoter { group, remove, add };
        let what = format!("the voters of {group_name} were not changed");
        self.change(&what, body).await?;
        self.output.fields(&[
            ("group", group_name),
            ("comes", come),
            ("goes", go),
            ("state", "on its way".to_owned()),
        ]);
        Ok(())
    }

    async fn list_peers(&self, code: Option<Jurisdiction>) -> Result<(), Failure> {
        let view = self.view().await?;
        let only = code.map(|code| group_of(&view, Some(code))).transpose()?;
        let reports = self.reports(&view).await;
        let mut rows = Vec::new();
        let shown = reports.values();
        for report in shown.filter(|report| only.is_none_or(|group| report.group == group)) {
            let wanted = |node: NodeId| match report.group {
                GroupId::DIRECTORY => view.directory_voters.contains(&node),
                id => {
                    let mut groups = view.groups.iter();
                    groups.any(|group| group.id == id && group.voters.contains(&node))
                }
            };
            rows.extend(report.members.iter().map(|member| PeerRow {
                group: group_name(&view, report.group),
                node: member.node.0,
                name: name_of(&view, member.node),
                role: match member.voter {
                    _ if member.node == report.leader => "leader",
                    true => "voter",
                    false => "learner",
                },
                wanted: wanted(member.node),
                trailing: member.trailing,
                last_contact_ms: member.silent_ms,
            }));
        }
        let headings = [
            "group",
            "node",
            "name",
            "role",
            "wanted voter",
            "trailing",
            "last contact",
        ];
        self.output.list(headings, &rows, |row| {
            [
                row.group.clone(),
                row.node.to_string(),
                row.name.clone(),
                row.role.to_owned(),
                (if row.wanted { "yes" } else { "no" }).to_owned(),
                row.trailing
                    .map_or("-".to_owned(), |lacks| lacks.to_string()),
                seconds(row.last_contact_ms),
            ]
        });
        for group in view
            .groups
            .iter()
            .filter(|group| !reports.contains_key(&group.id))
        {
            self.output
                .say(&format!("{}: nobody says that it leads", group.shard));
        }
        Ok(())
    }

    pub(super) async fn autopilot(&self, verb: &AutopilotVerb) -> Result<(), Failure> {
        let view = self.view().await?;
        match verb {
            AutopilotVerb::State => self.judged(&view).await,
            AutopilotVerb::Config(options) => {
                let changed = merged(&view.autopilot, options);
                if changed != view.autopilot {
                    let body = DirectoryCommandBody::ConfigureAutopilot(changed);
                    self.change("the autopilot's settings were not changed", body)
                        .await?;
                }
                let in_seconds =
                    |millis: u64| Some(millis).map_or(String::new(), |m| seconds(Some(m)));
                self.output.fields(&[
                    (
                        "cleanup_dead_servers",
                        changed.cleanup_dead_servers.to_string(),
                    ),
                    (
                        "dead_server_last_contact_threshold",
                        in_seconds(changed.dead_server_last_contact_threshold_ms),
                    ),
                    (
                        "last_contact_threshold",
                        in_seconds(changed.last_contact_threshold_ms),
                    ),
                    ("max_trailing_logs", changed.max_trailing_logs.to_string()),
                    (
                        "server_stabilization_time",
                        in_seconds(changed.server_stabilization_time_ms),
                    ),
                ]);
                Ok(())
            }
        }
    }

    async fn judged(&self, view: &ClusterView) -> Result<(), Failure> {
        let reports = self.reports(view).await;
        let settings = view.autopilot;
        let rows: Vec<JudgedRow> = node_rows(view, reports.get(&GroupId::DIRECTORY))
            .into_iter()
            .map(|row| {
                let heard = row
                    .last_contact_ms
                    .is_some_and(|ms| ms <= settings.last_contact_threshold_ms);
                let has_log = row
                    .trailing
                    .is_some_and(|lacks| lacks <= settings.max_trailing_logs);
                JudgedRow {
                    node: row.node,
                    name: row.name,
                    state: row.state,
                    healthy: heard && has_log,
                    last_contact_ms: row.last_contact_ms,
                    trailing: row.trailing,
                    groups: row.groups.len(),
                }
            })
            .collect();
        let headings = [
            "node",
            "name",
            "state",
            "healthy",
            "last contact",
            "trailing",
            "groups",
        ];
        self.output.list(headings, &rows, |row| {
            [
                row.node.to_string(),
                row.name.clone(),
                row.state.to_owned(),
                (if row.healthy { "yes" } else { "no" }).to_owned(),
                seconds(row.last_contact_ms),
                row.trailing
                    .map_or("-".to_owned(), |lacks| lacks.to_string()),
                row.groups.to_string(),
            ]
        });
        Ok(())
    }
}

fn merged(known: &Autopilot, options: &AutopilotOptions) -> Autopilot {
    let millis = |seconds: Option<f64>, known: u64| {
        seconds.map_or(known, |seconds| (seconds.max(0.0) * 1000.0) as u64)
    };
    Autopilot {
        cleanup_dead_servers: options
            .cleanup_dead_servers
            .unwrap_or(known.cleanup_dead_servers),
        dead_server_last_contact_threshold_ms: millis(
            options.dead_server_last_contact_threshold,
            known.dead_server_last_contact_threshold_ms,
        ),
        last_contact_threshold_ms: millis(
            options.last_contact_threshold,
            known.last_contact_threshold_ms,
        ),
        max_trailing_logs: options.max_trailing_logs.unwrap_or(known.max_trailing_logs),
        server_stabilization_time_ms: millis(
            options.server_stabilization_time,
            known.server_stabilization_time_ms,
        ),
    }
}

fn voters(view: &ClusterView, group: GroupId) -> &[NodeId] {
    let mut groups = view.groups.iter();
    match groups.find(|known| known.id == group) {
        Some(known) => &known.voters,
        None => &view.directory_voters,
    }
}

fn most_loaded(view: &ClusterView, group: GroupId) -> Option<NodeId> {
    let voters = voters(view, group).iter().copied();
    voters.max_by_key(|node| (view.load(*node), *node))
}

/// The sound node of an allowed region that has the fewest groups and does not vote yet.
fn least_loaded(view: &ClusterView, group: GroupId) -> Option<NodeId> {
    let mut groups = view.groups.iter();
    let shard = groups
        .find(|known| known.id == group)
        .map(|known| known.shard);
    let rules = shard.and_then(|shard| view.jurisdiction(shard.jurisdiction));
    let nodes = view.nodes.iter().filter(|node| {
        view.standing(node.id).is_sound()
            && !voters(view, group).contains(&node.id)
            && rules.is_none_or(|rules| rules.allowed_regions.contains(&node.region))
    });
    let ids = nodes.map(|node| node.id);
    ids.min_by_key(|node| (view.load(*node), *node))
}

fn no_other(view: &ClusterView, group: GroupId) -> Failure {
    Failure::refused(
        format!("the voters of {} were not changed", group_name(view, group)),
        "no other node may take the place",
        "join a node in a region that the jurisdiction allows",
    )
}
