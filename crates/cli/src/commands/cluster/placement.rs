//! Why each replica is where it is, and the proof that nothing is anywhere else.

use std::path::PathBuf;

use bailiwick_api::placement::{FolderReport, Violation};
use bailiwick_consensus::GroupReport;
use bailiwick_node::placement::check_folders as look_through;
use bailiwick_shard::directory::{ClusterView, GroupEntry};
use bailiwick_transport::Operation;
use bailiwick_types::{Jurisdiction, NodeId};
use serde::Serialize;

use super::nodes::state_of;
use super::{Desk, name_of};
use crate::args::cluster::PlacementVerb;
use crate::failure::{Failure, chain};
use crate::output::Output;

/// A replica, and why it is there: a table's line.
#[derive(Clone, Debug, Serialize)]
struct ReplicaRow {
    shard: String,
    node: u64,
    name: String,
    region: String,
    role: &'static str,
    why: String,
}

#[derive(Serialize)]
struct CheckDocument {
    clean: bool,
    nodes: Vec<FolderReport>,
    unreachable: Vec<String>,
}

impl Desk<'_> {
    pub(super) async fn placement(&self, verb: &PlacementVerb) -> Result<(), Failure> {
        match verb {
            PlacementVerb::Explain { jurisdiction } => self.explain(*jurisdiction).await,
            PlacementVerb::Check { data } if !data.is_empty() => check_folders(data, self.output),
            PlacementVerb::Check { .. } => self.check().await,
        }
    }

    async fn explain(&self, only: Option<Jurisdiction>) -> Result<(), Failure> {
        let view = self.view().await?;
        let reports = self.reports(&view).await;
        let mut rows = Vec::new();
        for group in &view.groups {
            if only.is_none_or(|code| group.shard.jurisdiction == code) {
                rows.extend(replicas(&view, group, reports.get(&group.id)));
            }
        }
        let headings = ["shard", "node", "region", "role", "why"];
        self.output.list(headings, &rows, |row| {
            [
                row.shard.clone(),
                row.name.clone(),
                row.region.clone(),
                row.role.to_owned(),
                row.why.clone(),
            ]
        });
        Ok(())
    }

    async fn check(&self) -> Result<(), Failure> {
        let view = self.view().await?;
        let asked = view.nodes.iter().map(|node| async move {
            let asked = self.cluster.call_node::<(), FolderReport>(
                &node.address,
                Operation::CheckPlacement,
                None,
            );
            asked
                .await
                .map_err(|error| format!("{}: {}", node.name, chain(&error)))
        });
        let answers = futures::future::join_all(asked).await;
        let (mut nodes, mut unreachable) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Ok(report) => nodes.push(report),
                Err(reason) => unreachable.push(reason),
            }
        }
        conclude(nodes, unreachable, self.output)
    }
}

/// Looks through the data folders of stopped nodes; no cluster is asked.
///
/// # Errors
/// [`Failure`] when a folder cannot be read, or something is where it must not be.
pub fn check_folders(folders: &[PathBuf], output: Output) -> Result<(), Failure> {
    let reports = look_through(folders).map_err(|error| {
        Failure::usage(
            "the placement was not checked",
            chain(&error),
            "name the data folders of stopped vault nodes, one --data each",
        )
    })?;
    conclude(reports, Vec::new(), output)
}

fn conclude(
    nodes: Vec<FolderReport>,
    unreachable: Vec<String>,
    output: Output,
) -> Result<(), Failure> {
    let violations: usize = nodes.iter().map(|node| node.violations.len()).sum();
    let document = CheckDocument {
        clean: violations == 0 && unreachable.is_empty(),
        nodes,
        unreachable,
    };
    if output.is_json() {
        output.document(&document, String::new);
    } else {
        print(&document, output);
    }
    if violations > 0 {
        let all = document.nodes.iter().flat_map(named);
        return Err(Failure::refused(
            format!("{violations} files are where they must not be"),
            all.collect::<Vec<_>>().join("; "),
            "keep the node from the network, find out how they came there, then delete them",
        ));
    }
    if document.clean {
        return Ok(());
    }
    Err(Failure::refused(
        "the placement is not proven",
        format!("not looked through: {}", document.unreachable.join("; ")),
        "start the node, or stop it and check its folder with --data",
    ))
}

fn named(node: &FolderReport) -> impl Iterator<Item = String> {
    let line =
        |violation: &Violation| format!("{}: {}: {}", node.name, violation.file, violation.reason);
    node.violations.iter().map(line)
}

fn print(document: &CheckDocument, output: Output) {
    let headings = ["node", "region", "files", "bytes", "shards", "violations"];
    output.list(headings, &document.nodes, |node| {
        let shards: Vec<String> = node.shards.iter().map(ToString::to_string).collect();
        [
            node.name.to_string(),
            node.region.to_string(),
            node.files.to_string(),
            node.bytes.to_string(),
            shards.join(", "),
            node.violations.len().to_string(),
        ]
    });
    for node in &document.nodes {
        for line in named(node) {
            output.say(&format!("violation: {line}"));
        }
        for unread in &node.unread {
            let (file, reason) = (&unread.file, &unread.reason);
            output.say(&format!("not read: {}: {file}: {reason}", node.name));
        }
    }
    if document.clean {
        output.say("clean: every file is where its jurisdiction allows");
    }
}

fn replicas(
    view: &ClusterView,
    group: &GroupEntry,
    report: Option<&GroupReport>,
) -> Vec<ReplicaRow> {
    let mut nodes: Vec<NodeId> = group.voters.clone();
    nodes.extend(&group.members);
    nodes.extend(
        report
            .iter()
            .flat_map(|report| &report.members)
            .map(|m| m.node),
    );
    nodes.sort();
    nodes.dedup();
    let row = |node: NodeId| {
        let region = view.node(node).map(|entry| entry.region.to_string());
        ReplicaRow {
            shard: group.shard.to_string(),
            node: node.0,
            name: name_of(view, node),
            region: region.unwrap_or_default(),
            role: match report.and_then(|report| report.member(node).map(|m| (report, m))) {
                Some((report, _)) if report.leader == node => "leader",
                Some((_, member)) if member.voter => "voter",
                Some(_) => "learner",
                None => "none yet",
            },
            why: why(view, group, node, report),
        }
    };
    nodes.into_iter().map(row).collect()
}

fn why(
    view: &ClusterView,
    group: &GroupEntry,
    node: NodeId,
    report: Option<&GroupReport>,
) -> String {
    let Some(rules) = view.jurisdiction(group.shard.jurisdiction) else {
        return "its jurisdiction is unknown".to_owned();
    };
    let Some(entry) = view.node(node) else {
        return "the node has left the cluster; it goes".to_owned();
    };
    let state = state_of(view, node);
    let is_allowed = rules.allowed_regions.contains(&entry.region);
    let votes = report
        .and_then(|report| report.member(node))
        .map(|member| member.voter);
    let lacks = report
        .and_then(|report| report.member(node))
        .and_then(|member| member.trailing);
    match (group.voters.contains(&node), is_allowed, votes) {
        (true, _, Some(true)) if state == "active" => {
            format!(
                "one of {} voters; {} is allowed",
                rules.replicas, entry.region
            )
        }
        (true, _, Some(true)) => format!("{state}, but no other node may take its place"),
        (true, _, Some(false)) => {
            let lacks = lacks.map_or("not heard of yet".to_owned(), |n| {
                format!("lacks {n} entries")
            });
            format!("is to vote once it has caught up: {lacks}")
        }
        (true, _, None) => "is to vote; it is not a member yet".to_owned(),
        (false, false, _) => format!("leaves: {} is allowed no more", entry.region),
        (false, true, _) if state != "active" => format!("leaves: the node is {state}"),
        (false, true, _) => "leaves: another node has its place".to_owned(),
    }
}
