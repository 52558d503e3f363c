//! `bailiwick operator`: nodes, leaders, placement and jurisdictions' rules.
//!
//! Everything is a change of the directory, which the cluster then follows by itself; these commands
//! say before what will happen, and show after what has.

mod deletion;
mod jurisdictions;
mod leaders;
mod nodes;
pub mod placement;

use std::collections::BTreeMap;

use bailiwick_api::cluster::Accepted;
use bailiwick_client::{CallFailure, Cluster};
use bailiwick_consensus::GroupReport;
use bailiwick_shard::directory::{ClusterView, DirectoryCommandBody, NodeEntry};
use bailiwick_transport::Operation;
use bailiwick_types::{GroupId, Jurisdiction, NodeId, ShardId};

use super::operator::command_key;
use crate::args::cluster::{ClusterVerb, Danger, RulesVerb, node_number};
use crate::connect::of_call;
use crate::failure::Failure;
use crate::output::{Output, confirm, note};

/// A cluster as an operator sees it.
struct Desk<'a> {
    cluster: &'a Cluster,
    output: Output,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when an input is wrong, or the cluster refuses or does not answer.
pub async fn run(cluster: &Cluster, verb: &ClusterVerb, output: Output) -> Result<(), Failure> {
    let desk = Desk { cluster, output };
    match verb {
        ClusterVerb::Members => desk.members().await,
        ClusterVerb::Join(options) => desk.join(options).await,
        ClusterVerb::Remove { node, danger } => desk.remove(node, *danger).await,
        ClusterVerb::Replace(options) => desk.replace(options).await,
        ClusterVerb::Drain {
            node,
            undo,
            wait_seconds,
            danger,
        } => desk.drain(node, *undo, *wait_seconds, *danger).await,
        ClusterVerb::StepDown { jurisdiction } => desk.hand_over(*jurisdiction, None).await,
        ClusterVerb::Transfer { jurisdiction, to } => desk.hand_over(*jurisdiction, Some(to)).await,
        ClusterVerb::Raft(verb) => desk.raft(verb).await,
        ClusterVerb::Autopilot(verb) => desk.autopilot(verb).await,
        ClusterVerb::Placement(verb) => desk.placement(verb).await,
    }
}

/// Runs a verb about a jurisdiction's rules.
///
/// # Errors
/// As [`run`].
pub async fn rules(cluster: &Cluster, verb: &RulesVerb, output: Output) -> Result<(), Failure> {
    Desk { cluster, output }.rules(verb).await
}

impl Desk<'_> {
    /// The directory, as a quorum confirms it.
    async fn view(&self) -> Result<ClusterView, Failure> {
        let read = self.cluster.call(None, Operation::ReadDirectory, &()).await;
        read.map_err(|error| of_call("the directory was not read", &error))
    }

    async fn change(&self, what: &str, body: DirectoryCommandBody) -> Result<(), Failure> {
        self.try_change(body)
            .await?
            .map_err(|error| of_call(what, &error))
    }

    async fn try_change(
        &self,
        body: DirectoryCommandBody,
    ) -> Result<Result<(), CallFailure>, Failure> {
        let message = (command_key()?, body);
        let changed = self
            .cluster
            .call(None, Operation::ChangeDirectory, &message)
            .await;
        Ok(changed.map(|Accepted| ()))
    }

    /// What the groups' leaders report; a node that does not answer reports nothing.
    async fn reports(&self, view: &ClusterView) -> BTreeMap<GroupId, GroupReport> {
        let asked = view.nodes.iter().map(|node| {
            self.cluster.call_node::<(), Vec<GroupReport>>(
                &node.address,
                Operation::ReportGroups,
                None,
            )
        });
        let mut reports: BTreeMap<GroupId, GroupReport> = BTreeMap::new();
        for report in futures::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .flatten()
        {
            let known = reports.get(&report.group);
            if known.is_none_or(|known| known.term < report.term) {
                reports.insert(report.group, report);
            }
        }
        reports
    }

    /// Says what will happen, and asks; false when it shall not be done.
    fn may(&self, danger: Danger, consequences: &[String]) -> Result<bool, Failure> {
        for line in consequences {
            note(line);
        }
        if danger.dry_run {
            note("dry run: nothing was done");
            return Ok(false);
        }
        if danger.yes || confirm("Do this?")? {
            return Ok(true);
        }
        note("nothing was done");
        Ok(false)
    }
}

/// A node by its number or name.
fn node_of<'a>(view: &'a ClusterView, text: &str) -> Result<&'a NodeEntry, Failure> {
    let number = node_number(text);
    let mut nodes = view.nodes.iter();
    let found = nodes.find(|node| Some(node.id) == number || node.name.as_str() == text);
    found.ok_or_else(|| {
        Failure::usage(
            format!("there is no node {text}"),
            "the directory lists none of that number or name",
            "see bailiwick operator members",
        )
    })
}

/// A node's name for people.
fn name_of(view: &ClusterView, id: NodeId) -> String {
    let gone = format!("node {id}");
    view.node(id).map_or(gone, |node| node.name.to_string())
}

/// A group's name for people.
fn group_name(view: &ClusterView, id: GroupId) -> String {
    let mut groups = view.groups.iter();
    match groups.find(|group| group.id == id) {
        Some(group) => group.shard.to_string(),
        None if id == GroupId::DIRECTORY => "directory".to_owned(),
        None => format!("group {id}"),
    }
}

/// The home group of a jurisdiction, or the directory.
fn group_of(view: &ClusterView, code: Option<Jurisdiction>) -> Result<GroupId, Failure> {
    let Some(code) = code else {
        return Ok(GroupId::DIRECTORY);
    };
    let group = view.group_of(ShardId::home(code));
    let group = group.ok_or_else(|| {
        Failure::usage(
            format!("{code} has no group"),
            "the directory lists no such jurisdiction, or it was deleted",
            "see bailiwick operator jurisdiction list",
        )
    })?;
    Ok(group.id)
}
