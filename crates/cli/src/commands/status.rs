//! `bailiwick status`: all nodes, their groups, leaders and lag, each as the node itself says.

use std::collections::BTreeMap;

use bailiwick_api::cluster::{GroupStatus, NodeStatus};
use bailiwick_client::operator::Operator;
use bailiwick_client::{CallFailure, Cluster};
use bailiwick_types::{GroupId, Jurisdiction};
use serde::Serialize;

use crate::connect::of_call;
use crate::failure::Failure;
use crate::output::Output;

/// One group on one node: a table's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    node: String,
    region: String,
    version: String,
    group: String,
    role: &'static str,
    term: u64,
    applied: u64,
    lag: u64,
    records: u64,
    leaves: u64,
    frozen: bool,
}

/// A node that does not answer.
#[derive(Clone, Debug, Serialize)]
struct Down {
    node: String,
    address: String,
    reason: String,
}

#[derive(Serialize)]
struct Document {
    cluster: Option<String>,
    groups: Vec<Row>,
    down: Vec<Down>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] (unreachable) when no node answers.
pub async fn run(
    cluster: &Cluster,
    only: Option<Jurisdiction>,
    output: Output,
) -> Result<(), Failure> {
    let what = "the cluster was not found";
    let description = cluster
        .describe()
        .await
        .map_err(|error| of_call(what, &error))?;
    let statuses = Operator::new(cluster.clone()).status().await;
    let (mut nodes, mut down) = (Vec::new(), Vec::new());
    for (node, answered) in statuses.map_err(|error| of_call(what, &error))? {
        match answered {
            Ok(mut status) => {
                let is_shown = |group: &GroupStatus| {
                    only.is_none_or(|code| group.shard.is_some_and(|s| s.jurisdiction == code))
                };
                status.groups.retain(is_shown);
                nodes.push(status);
            }
            // The nodes are up; it is the caller who may not look.
            Err(error @ CallFailure::NotAuthorised(_)) => {
                return Err(of_call("the nodes' status was not read", &error));
            }
            Err(error) => down.push(Down {
                node: node.name.to_string(),
                address: node.address,
                reason: error.to_string(),
            }),
        }
    }
    let cluster = description.cluster.map(|id| id.to_string());
    let document = Document {
        cluster,
        groups: rows(&nodes),
        down,
    };
    if output.is_json() {
        output.document(&document, String::new);
    } else {
        print(&document, nodes.len(), output);
    }
    Ok(())
}

fn print(document: &Document, up: usize, output: Output) {
    let cluster = document.cluster.as_deref().unwrap_or("not initialised");
    let all = up + document.down.len();
    output.say(&format!("cluster {cluster}, {up} of {all} nodes up"));
    let headings = [
        "node", "region", "group", "role", "term", "applied", "lag", "records", "log", "releases",
    ];
    output.list(headings, &document.groups, |row| {
        [
            row.node.clone(),
            row.region.clone(),
            row.group.clone(),
            row.role.to_owned(),
            row.term.to_string(),
            row.applied.to_string(),
            row.lag.to_string(),
            row.records.to_string(),
            row.leaves.to_string(),
            (if row.frozen { "frozen" } else { "open" }).to_owned(),
        ]
    });
    for node in &document.down {
        output.say(&format!(
            "down: {} at {} ({})",
            node.node, node.address, node.reason
        ));
    }
}

/// One line per node and group; lag is counted against the furthest node of the group.
fn rows(nodes: &[NodeStatus]) -> Vec<Row> {
    let mut furthest: BTreeMap<GroupId, u64> = BTreeMap::new();
    for group in nodes.iter().flat_map(|node| &node.groups) {
        let seen = furthest.entry(group.id).or_default();
        *seen = (*seen).max(group.last_log);
    }
    let row = |node: &NodeStatus, group: &GroupStatus| Row {
        node: node.name.to_string(),
        region: node.region.to_string(),
        version: node.version.clone(),
        group: group
            .shard
            .map_or("directory".to_owned(), |shard| shard.to_string()),
        role: match group.leader {
            Some(leader) if leader == node.node => "leader",
            _ if group.voters.contains(&node.node) => "voter",
            _ => "learner",
        },
        term: group.term,
        applied: group.applied,
        lag: furthest
            .get(&group.id)
            .map_or(0, |last| last.saturating_sub(group.applied)),
        records: group.records,
        leaves: group.leaves,
        frozen: group.frozen,
    };
    nodes
        .iter()
        .flat_map(|node| node.groups.iter().map(move |group| row(node, group)))
        .collect()
}

#[cfg(test)]
mod tests {
    use bailiwick_types::{NodeId, Timestamp};

    use super::*;

    fn node(id: u64, applied: u64) -> NodeStatus {
        let group = GroupStatus {
            id: GroupId(1),
            shard: None,
            leader: Some(NodeId(1)),
            term: 3,
            last_log: applied,
            applied,
            voters: vec![NodeId(1)],
            records: 0,
            leaves: 0,
            frozen: false,
        };
        NodeStatus {
            node: NodeId(id),
            name: format!("vault-{id}").parse().expect("a name"),
            region: "eu".parse().expect("a region"),
            version: "0".to_owned(),
            started_at: Timestamp(0),
            groups: vec![group],
        }
    }

    #[test]
    fn lag_is_counted_against_the_furthest_node() {
        let rows = rows(&[node(1, 90), node(2, 70)]);
        assert_eq!((rows[0].role, rows[0].lag), ("leader", 0));
        assert_eq!((rows[1].role, rows[1].lag), ("learner", 20));
    }
}
