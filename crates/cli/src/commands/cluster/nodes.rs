//! Nodes: they join, drain, are replaced and leave.

use std::time::{Duration, Instant};

use bailiwick_consensus::GroupReport;
use bailiwick_shard::directory::{ClusterView, DirectoryCommandBody, NodeEntry};
use bailiwick_types::{GroupId, NodeId};
use serde::Serialize;

use super::{Desk, group_name, node_of};
use crate::args::cluster::{Danger, JoinOptions, ReplaceOptions};
use crate::connect::of_call;
use crate::failure::{Failure, FailureKind};
use crate::output::note;

/// Between two looks at what is left on a node.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// A node: a table's line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NodeRow {
    pub(super) node: u64,
    pub(super) name: String,
    pub(super) region: String,
    pub(super) address: String,
    pub(super) state: &'static str,
    pub(super) begun: bool,
    pub(super) directory: &'static str,
    pub(super) groups: Vec<String>,
    /// Milliseconds since the directory's leader heard of it.
    pub(super) last_contact_ms: Option<u64>,
    /// Entries of the directory that it lacks.
    pub(super) trailing: Option<u64>,
}

/// What the directory has on a node.
pub(super) fn groups_on(view: &ClusterView, node: NodeId) -> Vec<String> {
    let here = view.groups.iter().filter(|group| group.belongs_on(node));
    here.map(|group| group.shard.to_string()).collect()
}

/// What draining a node comes to, in words.
fn drain_consequences(view: &ClusterView, node: &NodeEntry, groups: &[String]) -> Vec<String> {
    let needed: Vec<String> = view
        .stays_when_drained(node.id)
        .iter()
        .map(ToString::to_string)
        .collect();
    if !needed.is_empty() {
        return vec![format!(
            "this will be refused: no other node may hold the replicas of {}. Join one in an allowed \
             region first.",
            needed.join(", ")
        )];
    }
    vec![
        format!(
            "{} replicas leave {}: {}",
            groups.len(),
            node.name,
            groups.join(", ")
        ),
        "each moves to another node that its jurisdiction allows, one step at a time, with its quorum \
         kept; leaders hand over first."
            .to_owned(),
    ]
}

pub(super) fn state_of(view: &ClusterView, node: NodeId) -> &'static str {
    let standing = view.standing(node);
    match (standing.lost_since.is_some(), standing.draining) {
        (true, _) => "lost",
        (false, true) => "draining",
        (false, false) => "active",
    }
}

pub(super) fn node_rows(view: &ClusterView, directory: Option<&GroupReport>) -> Vec<NodeRow> {
    let row = |node: &NodeEntry| {
        let member = directory.and_then(|report| report.member(node.id));
        NodeRow {
            node: node.id.0,
            name: node.name.to_string(),
            region: node.region.to_string(),
            address: node.address.clone(),
            state: state_of(view, node.id),
            begun: view.standing(node.id).disk.is_some(),
            directory: match member.map(|member| member.voter) {
                Some(true) => "voter",
                Some(false) => "learner",
                None => "-",
            },
            groups: groups_on(view, node.id),
            last_contact_ms: member.and_then(|member| member.silent_ms),
            trailing: member.and_then(|member| member.trailing),
        }
    };
    view.nodes.iter().map(row).collect()
}

pub(super) fn seconds(millis: Option<u64>) -> String {
    millis.map_or("-".to_owned(), |millis| {
        format!("{:.1} s", millis as f64 / 1000.0)
    })
}

impl Desk<'_> {
    pub(super) async fn members(&self) -> Result<(), Failure> {
        let view = self.view().await?;
        let reports = self.reports(&view).await;
        let rows = node_rows(&view, reports.get(&GroupId::DIRECTORY));
        let headings = [
            "node",
            "name",
            "region",
            "address",
            "state",
            "directory",
            "groups",
            "last contact",
        ];
        self.output.list(headings, &rows, |row| {
            [
                row.node.to_string(),
                row.name.clone(),
                row.region.clone(),
                row.address.clone(),
                if row.begun { row.state } else { "not begun" }.to_owned(),
                row.directory.to_owned(),
                row.groups.join(", "),
                seconds(row.last_contact_ms),
            ]
        });
        for gone in &view.removed {
            self.output
                .say(&format!("removed: node {}, {}", gone.id, gone.name));
        }
        Ok(())
    }

    pub(super) async fn join(&self, options: &JoinOptions) -> Result<(), Failure> {
        let view = self.view().await?;
        let node = NodeEntry {
            id: options.id.map_or_else(|| next_id(&view), NodeId),
            name: options.name.clone(),
            region: options.region.clone(),
            address: options.address.clone(),
        };
        self.add(node.clone()).await?;
        self.output.fields(&[
            ("node", node.id.to_string()),
            ("name", node.name.to_string()),
            ("region", node.region.to_string()),
            ("state", "joined: start it with a blank disk".to_owned()),
        ]);
        Ok(())
    }

    async fn add(&self, node: NodeEntry) -> Result<(), Failure> {
        let what = format!("{} did not join", node.name);
        self.change(&what, DirectoryCommandBody::AddNode { node })
            .await
    }

    pub(super) async fn remove(&self, node: &str, danger: Danger) -> Result<(), Failure> {
        let view = self.view().await?;
        let node = node_of(&view, node)?;
        let groups = groups_on(&view, node.id);
        if !groups.is_empty() {
            return Err(Failure::refused(
                format!("{} was not removed", node.name),
                format!("it still has {}", groups.join(", ")),
                format!("run bailiwick operator drain {} before", node.name),
            ));
        }
        let consequences = [
            format!(
                "node {}, {}, leaves the cluster for good;",
                node.id, node.name
            ),
            "no node is heard under its name any more, and neither its id nor its name comes back."
                .to_owned(),
        ];
        if !self.may(danger, &consequences)? {
            return Ok(());
        }
        let body = DirectoryCommandBody::RemoveNode { node: node.id };
        self.change(&format!("{} was not removed", node.name), body)
            .await?;
        self.output.fields(&[
            ("node", node.id.to_string()),
            ("state", "removed".to_owned()),
        ]);
        Ok(())
    }

    pub(super) async fn drain(
        &self,
        node: &str,
        undo: bool,
        wait_seconds: u64,
        danger: Danger,
    ) -> Result<(), Failure> {
        let view = self.view().await?;
        let node = node_of(&view, node)?;
        let groups = groups_on(&view, node.id);
        let consequences = if undo {
            vec![format!(
                "groups may be placed on {} again; none moves back.",
                node.name
            )]
        } else {
            drain_consequences(&view, node, &groups)
        };
        // What can be undone at any time needs no question.
        if !undo && !self.may(danger, &consequences)? || undo && danger.dry_run {
            return Ok(());
        }
        let (id, draining) = (node.id, !undo);
        let body = DirectoryCommandBody::DrainNode { node: id, draining };
        self.change(&format!("{} does not drain", node.name), body)
            .await?;
        if draining {
            self.wait_until_empty(id, Duration::from_secs(wait_seconds))
                .await?;
        }
        let state = if undo { "active" } else { "drained" };
        self.output
            .fields(&[("node", id.to_string()), ("state", state.to_owned())]);
        Ok(())
    }

    /// Waits until a node has no group and does not vote in the directory, if another can.
    async fn wait_until_empty(&self, node: NodeId, patience: Duration) -> Result<(), Failure> {
        let until = Instant::now() + patience;
        let mut shown = usize::MAX;
        loop {
            let view = self.view().await?;
            let mut left = groups_on(&view, node);
            let is_replaced = !view.directory_voters.contains(&node);
            if is_replaced && view.directory_members.contains(&node) {
                left.push(group_name(&view, GroupId::DIRECTORY));
            }
            if left.is_empty() {
                return Ok(());
            }
            if left.len() != shown {
                shown = left.len();
                note(&format!(
                    "{shown} still on node {node}: {}",
                    left.join(", ")
                ));
            }
            if Instant::now() >= until {
                return Err(Failure::new(
                    FailureKind::Unknown,
                    format!("node {node} is not empty yet"),
                    format!(
                        "after {} s it still has {}",
                        patience.as_secs(),
                        left.join(", ")
                    ),
                    "it goes on by itself; see bailiwick operator placement explain",
                ));
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }

    pub(super) async fn replace(&self, options: &ReplaceOptions) -> Result<(), Failure> {
        let view = self.view().await?;
        let old = node_of(&view, &options.old)?.clone();
        let new = view.nodes.iter().find(|node| node.name == options.new);
        let address = options.address.clone();
        let entry = NodeEntry {
            id: new.map_or_else(|| next_id(&view), |node| node.id),
            name: options.new.clone(),
            region: options.region.clone().unwrap_or(old.region.clone()),
            address: address.unwrap_or_default(),
        };
        if new.is_none() && entry.address.is_empty() {
            return Err(Failure::usage(
                format!("{} is not replaced", old.name),
                format!(
                    "{} has not joined, and no address is given for it",
                    entry.name
                ),
                "give --address host:port, where the new node listens",
            ));
        }
        let groups = groups_on(&view, old.id);
        let consequences = [
            format!(
                "{} (node {}) joins in {};",
                entry.name, entry.id, entry.region
            ),
            format!(
                "{} replicas leave {}: {}",
                groups.len(),
                old.name,
                groups.join(", ")
            ),
            format!(
                "then {} (node {}) leaves for good: its id never comes back.",
                old.name, old.id
            ),
        ];
        if !self.may(options.danger, &consequences)? {
            return Ok(());
        }
        if new.is_none() {
            self.add(entry.clone()).await?;
            note(&format!(
                "{} joined as node {}: start it now",
                entry.name, entry.id
            ));
        }
        let body = DirectoryCommandBody::DrainNode {
            node: old.id,
            draining: true,
        };
        let what = format!("{} is not replaced", old.name);
        self.change(&what, body).await?;
        let patience = Duration::from_secs(options.wait_seconds);
        self.wait_until_empty(old.id, patience).await?;
        let gone = self
            .try_change(DirectoryCommandBody::RemoveNode { node: old.id })
            .await?;
        gone.map_err(|error| of_call(what, &error))?;
        self.output.fields(&[
            ("old", old.id.to_string()),
            ("new", entry.id.to_string()),
            ("state", "replaced".to_owned()),
        ]);
        Ok(())
    }
}

/// The lowest number above all that were ever used.
fn next_id(view: &ClusterView) -> NodeId {
    let used = view.nodes.iter().chain(&view.removed).map(|node| node.id.0);
    NodeId(used.max().unwrap_or(0) + 1)
}
