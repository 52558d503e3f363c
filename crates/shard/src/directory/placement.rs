//! Which nodes vote in which group: a function of the directory's state alone, so that every
//! replica of the directory places alike.
//!
//! Placement is stable: a sound voter stays where it is. It is balanced where there is a choice: the
//! node with the fewest groups is taken. A node that drains or is lost is replaced as soon as there
//! is another one that the jurisdiction allows, and stays as long as there is none.

use bailiwick_types::{NodeId, Region};

use super::command::DirectoryRejection;
use super::state::ClusterView;

/// Most voters of the directory: more would only slow its commits.
const DIRECTORY_VOTERS: usize = 5;

/// The sound nodes of these regions but the excluded ones, those with the fewest groups first, then
/// by id.
fn candidates(view: &ClusterView, allowed: &[Region], but: &[NodeId]) -> Vec<NodeId> {
    let mut nodes: Vec<(usize, NodeId)> = view
        .nodes
        .iter()
        .filter(|node| allowed.contains(&node.region) && !but.contains(&node.id))
        .filter(|node| view.standing(node.id).is_sound())
        .map(|node| (view.load(node.id), node.id))
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, id)| id).collect()
}

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
    let mut voters = candidates(view, allowed, &[]);
    let (eligible, needed) = (voters.len(), replicas);
    if eligible < usize::from(needed) {
        return Err(DirectoryRejection::TooFewNodes { eligible, needed });
    }
    voters.truncate(usize::from(replicas));
    voters.sort();
    Ok(voters)
}

/// The wanted voters of a group that has these: the sound ones of allowed regions stay, the most
/// loaded ones go when there are too many, others come when there are too few. For want of others
/// those that drain or are lost stay.
pub(super) fn wanted(
    view: &ClusterView,
    current: &[NodeId],
    allowed: &[Region],
    replicas: u8,
) -> Vec<NodeId> {
    let replicas = usize::from(replicas);
    let here = |id: &NodeId| {
        let node = view.node(*id);
        node.is_some_and(|node| allowed.contains(&node.region))
    };
    let sound = |id: &NodeId| here(id) && view.keeps_groups(*id);
    let mut voters: Vec<NodeId> = current.iter().copied().filter(sound).collect();
    voters.sort_by_key(|id| (view.load(*id), *id));
    voters.truncate(replicas);
    let missing = replicas.saturating_sub(voters.len());
    let others = candidates(view, allowed, &voters);
    voters.extend(others.into_iter().take(missing));
    // A node that drains still answers; a lost one does not.
    let mut rest: Vec<NodeId> = current.iter().copied().filter(here).collect();
    rest.retain(|id| !voters.contains(id));
    rest.sort_by_key(|id| (view.standing(*id).lost_since.is_some(), *id));
    let missing = replicas.saturating_sub(voters.len());
    voters.extend(rest.into_iter().take(missing));
    voters.sort();
    voters
}

/// The directory's voters: the sound ones it has, filled up to an odd number of at most five by
/// sound nodes of regions with the fewest voters, then by the lowest id; for want of others those
/// that drain or are lost stay.
pub(super) fn directory_voters(view: &ClusterView) -> Vec<NodeId> {
    let count = match view.nodes.len() {
        0..=2 => 1,
        3..=4 => 3,
        _ => DIRECTORY_VOTERS,
    };
    let current = &view.directory_voters;
    let sound = |id: &NodeId| view.standing(*id).is_sound();
    let known = |id: &&NodeId| view.node(**id).is_some();
    let mut voters: Vec<NodeId> = current.iter().filter(known).copied().collect();
    voters.retain(|id| view.keeps_groups(*id));
    voters.truncate(count);
    while voters.len() < count {
        let here = |region: &Region| {
            let regions = voters.iter().filter_map(|voter| view.node(*voter));
            regions.filter(|node| node.region == *region).count()
        };
        let others = view.nodes.iter().filter(|node| !voters.contains(&node.id));
        let next = others
            .filter(|node| sound(&node.id) || current.contains(&node.id))
            .min_by_key(|node| (!sound(&node.id), here(&node.region), node.id));
        match next {
            Some(node) => voters.push(node.id),
            None => break,
        }
    }
    // Somebody has to: a node that drains still answers, a lost one may come back.
    if voters.is_empty() {
        let nodes = view.nodes.iter().map(|node| node.id);
        voters.extend(nodes.min_by_key(|id| (view.standing(*id).lost_since.is_some(), *id)));
    }
    // An even number needs as many for a majority as the odd number above it.
    if voters.len().is_multiple_of(2) {
        voters.pop();
    }
    voters.sort();
    voters
}
