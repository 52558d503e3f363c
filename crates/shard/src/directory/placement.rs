//! Which nodes vote in which group: a function of the directory's state alone, so that every
//! replica of the directory places alike.

use bailiwick_types::{NodeId, Region};

use super::command::DirectoryRejection;
use super::state::ClusterView;

/// Most voters of the directory: more would only slow its commits.
const DIRECTORY_VOTERS: usize = 5;

/// The `replicas` nodes of allowed regions that get a new group: those with the fewest groups, then
/// the lowest id.
///
/// # Errors
/// Too few nodes stand in allowed regions.
pub(super) fn place(
    view: &ClusterView,
    allowed: &[Region],
    replicas: u8,
) -> Result<Vec<NodeId>, DirectoryRejection> {
    let mut nodes: Vec<(usize, NodeId)> = view
        .nodes
        .iter()
        .filter(|node| allowed.contains(&node.region))
        .map(|node| (view.load(node.id), node.id))
        .collect();
    let (eligible, needed) = (nodes.len(), replicas);
    if eligible < usize::from(needed) {
        return Err(DirectoryRejection::TooFewNodes { eligible, needed });
    }
    nodes.sort();
    let mut voters: Vec<NodeId> = nodes.into_iter().map(|(_, id)| id).collect();
    voters.truncate(usize::from(replicas));
    voters.sort();
    Ok(voters)
}

/// The directory's voters: the ones it has, as far as they still exist, filled up to an odd number
/// of at most five by nodes of regions with the fewest voters, then by the lowest id.
pub(super) fn directory_voters(view: &ClusterView) -> Vec<NodeId> {
    let wanted = match view.nodes.len() {
        0..=2 => 1,
        3..=4 => 3,
        _ => DIRECTORY_VOTERS,
    };
    let mut voters: Vec<NodeId> = view.directory_voters.clone();
    voters.retain(|voter| view.node(*voter).is_some());
    voters.truncate(wanted);
    while voters.len() < wanted {
        let here = |region: &Region| {
            let regions = voters.iter().filter_map(|voter| view.node(*voter));
            regions.filter(|node| node.region == *region).count()
        };
        let candidates = view.nodes.iter().filter(|node| !voters.contains(&node.id));
        match candidates.min_by_key(|node| (here(&node.region), node.id)) {
            Some(node) => voters.push(node.id),
            None => break,
        }
    }
    voters.sort();
    voters
}
