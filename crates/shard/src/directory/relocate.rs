//! A directory that goes on on other nodes: what a restore after the loss of all nodes begins with.
//!
//! The nodes of before are gone for good, and with them what they promised: the new ones have
//! numbers that were never used, so that a node of before that turns up after all is nobody here.
//! Cluster, jurisdictions, group numbers and rules stay; placement begins anew. A function of the
//! directory's state and the list alone, so that every restored node comes to the same.

use bailiwick_types::store::{StoreError, WriteStore};

use super::command::{DirectoryRejection, NodeEntry};
use super::placement::{directory_voters, place};
use super::state::{ClusterView, DirectoryState, GroupEntry};
use crate::rows::{read, write};
use crate::tables::DIRECTORY;

/// Why the directory does not go on on these nodes: the operator's list, or the disk.
#[derive(Debug, thiserror::Error)]
pub enum RelocateError {
    /// The rows are of no initialised directory.
    #[error("the directory is blank")]
    Blank,
    /// The list is refused.
    #[error("the new nodes: {0}")]
    Nodes(#[from] DirectoryRejection),
    /// A jurisdiction's groups cannot be placed on these nodes.
    #[error("{jurisdiction}: {reason}")]
    Placement {
        /// The jurisdiction.
        jurisdiction: bailiwick_types::Jurisdiction,
        /// Why not.
        reason: DirectoryRejection,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Replaces all nodes by these and places every group anew; returns what the directory says then.
///
/// # Errors
/// [`RelocateError`]; the rows are then as before.
pub fn relocate(
    store: &mut dyn WriteStore,
    mut nodes: Vec<NodeEntry>,
) -> Result<ClusterView, RelocateError> {
    let state: Option<DirectoryState> = read(store, DIRECTORY, &[])?;
    let mut state = state.ok_or(RelocateError::Blank)?;
    state.view.nodes.clear();
    state.view.standings.clear();
    state.view.directory_voters.clear();
    state.view.directory_members.clear();
    nodes.sort_by_key(|node| node.id);
    for node in nodes {
        state.add_node(node)?;
    }
    // Placed one after the other, so that each counts the load of those before it.
    for group in std::mem::take(&mut state.view.groups) {
        let jurisdiction = group.shard.jurisdiction;
        let rules = state.view.jurisdiction(jurisdiction);
        let (allowed, replicas) = rules.map_or((&[][..], 0), |rules| {
            (&rules.allowed_regions, rules.replicas)
        });
        let voters = place(&state.view, allowed, replicas);
        let voters = voters.map_err(|reason| RelocateError::Placement {
            jurisdiction,
            reason,
        })?;
        // It comes from a snapshot that has its members: nobody makes it anew.
        let mut moved = GroupEntry::new(group.id, group.shard, voters.clone());
        moved.members = voters;
        moved.begun = true;
        state.view.groups.push(moved);
    }
    state.view.version += 1;
    state.view.directory_voters = directory_voters(&state.view);
    write(store, DIRECTORY, &[], &state)?;
    Ok(state.view)
}
