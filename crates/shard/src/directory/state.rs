//! Applying the directory's commands, and its one query.
//!
//! The directory is small (at most 64 nodes and 250 jurisdictions): its whole state is one row.

use bailiwick_types::store::{ReadStore, StoreError, WriteStore};
use bailiwick_types::{
    ClusterId, Digest, GroupId, Jurisdiction, Name, NodeId, Region, ShardId, Timestamp, codec,
};
use serde::{Deserialize, Serialize};

use super::command::{
    CreateJurisdiction, DirectoryCommand, DirectoryCommandBody, DirectoryOutcome,
    DirectoryRejection, NodeEntry,
};
use super::placement::{directory_voters, place};
use crate::remember::{Known, command_digest, recall, remember};
use crate::rows::{read, write};
use crate::tables::DIRECTORY;

/// Most nodes of a cluster.
pub const NODE_LIMIT: usize = 64;
/// Most groups of a jurisdiction.
const PARTITION_LIMIT: u16 = 64;
/// Most voters of a group.
const REPLICA_LIMIT: u8 = 7;
/// Longest address, in bytes.
const ADDRESS_BYTES: usize = 256;

/// The cluster as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The cluster.
    pub cluster: ClusterId,
    /// The trust domain.
    pub trust_domain: Name,
    /// Grows by one with every change.
    pub version: u64,
    /// The nodes, by id.
    pub nodes: Vec<NodeEntry>,
    /// The directory's voters, by id: 1, 3 or 5; all other nodes are its learners.
    pub directory_voters: Vec<NodeId>,
    /// The jurisdictions, in order.
    pub jurisdictions: Vec<JurisdictionEntry>,
    /// The groups, by id, without the directory.
    pub groups: Vec<GroupEntry>,
}

impl ClusterView {
    /// A node by its id.
    pub fn node(&self, id: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// A jurisdiction's entry.
    pub fn jurisdiction(&self, jurisdiction: Jurisdiction) -> Option<&JurisdictionEntry> {
        let mut entries = self.jurisdictions.iter();
        entries.find(|entry| entry.jurisdiction == jurisdiction)
    }

    /// The group of a shard.
    pub fn group_of(&self, shard: ShardId) -> Option<&GroupEntry> {
        self.groups.iter().find(|group| group.shard == shard)
    }

    /// How many groups a node votes in, the directory not counted.
    pub fn load(&self, node: NodeId) -> usize {
        let groups = self.groups.iter();
        groups.filter(|group| group.voters.contains(&node)).count()
    }
}

/// A jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JurisdictionEntry {
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// Regions whose nodes may hold its records, ascending.
    pub allowed_regions: Vec<Region>,
    /// Voters of each group.
    pub replicas: u8,
    /// Its number of groups.
    pub partitions: u16,
    /// Digest of its policy when it was created.
    pub policy: Digest,
}

/// A Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// Its number, from 1; never reused.
    pub id: GroupId,
    /// Its shard.
    pub shard: ShardId,
    /// Its voters, by id.
    pub voters: Vec<NodeId>,
}

/// The directory's one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DirectoryState {
    pub(super) view: ClusterView,
    /// The highest node id ever used.
    last_node: NodeId,
    /// The highest group id ever used.
    last_group: GroupId,
    remembered: (u64, u64),
}

/// Applies one encoded [`DirectoryCommand`] and returns the encoded [`DirectoryOutcome`]. Bytes that
/// are no command are [`DirectoryRejection::Malformed`]; a rejected command has changed nothing.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn apply(
    store: &mut dyn WriteStore,
    stamp: Timestamp,
    command: &[u8],
) -> Result<Vec<u8>, StoreError> {
    // Nothing in the directory depends on time; the signature is that of every state machine.
    let _ = stamp;
    let decoded = codec::decode::<DirectoryCommand>(command).ok();
    let digest = decoded.as_ref().and_then(|c| command_digest(&c.body));
    let (Some(command), Some(digest)) = (decoded, digest) else {
        return Ok(DirectoryOutcome::Rejected(DirectoryRejection::Malformed).to_bytes());
    };
    match recall(store, &command.key, &digest)? {
        Known::New => {}
        Known::Same(outcome) => return Ok(outcome),
        Known::Other => {
            return Ok(DirectoryOutcome::Rejected(DirectoryRejection::KeyReused).to_bytes());
        }
    }
    let state: Option<DirectoryState> = read(store, DIRECTORY, &[])?;
    let (mut state, outcome) = match change(state, command.body) {
        Ok(changed) => changed,
        Err(rejection) => return Ok(DirectoryOutcome::Rejected(rejection).to_bytes()),
    };
    let outcome = outcome.to_bytes();
    remember(store, &mut state.remembered, &command.key, digest, &outcome)?;
    write(store, DIRECTORY, &[], &state)?;
    Ok(outcome)
}

fn change(
    state: Option<DirectoryState>,
    body: DirectoryCommandBody,
) -> Result<(DirectoryState, DirectoryOutcome), DirectoryRejection> {
    use DirectoryCommandBody as Body;
    let mut state = match (state, &body) {
        (Some(state), Body::Initialise { .. }) => {
            let cluster = state.view.cluster;
            return Err(DirectoryRejection::AlreadyInitialised(cluster));
        }
        (Some(state), _) => state,
        (None, Body::Initialise { .. }) => DirectoryState::blank(),
        (None, _) => return Err(DirectoryRejection::NotInitialised),
    };
    let mut created = None;
    match body {
        Body::Initialise {
            cluster,
            trust_domain,
            nodes,
        } => state.initialise(cluster, trust_domain, nodes)?,
        Body::AddNode { node } => state.add_node(node)?,
        Body::ChangeAddress { node, address } => state.change_address(node, address)?,
        Body::RemoveNode { node } => state.remove_node(node)?,
        Body::CreateJurisdiction(plan) => created = Some(state.create(plan)?),
        Body::ReplaceVoter { group, remove, add } => state.replace_voter(group, remove, add)?,
    }
    state.view.version += 1;
    state.view.directory_voters = directory_voters(&state.view);
    let version = state.view.version;
    let outcome = match created {
        Some(groups) => DirectoryOutcome::Created { version, groups },
        None => DirectoryOutcome::Accepted { version },
    };
    Ok((state, outcome))
}

impl DirectoryState {
    fn blank() -> Self {
        Self {
            view: ClusterView {
                cluster: ClusterId([0; 16]),
                trust_domain: "unset".parse().expect("a valid name"),
                version: 0,
                nodes: Vec::new(),
                directory_voters: Vec::new(),
                jurisdictions: Vec::new(),
                groups: Vec::new(),
            },
            last_node: NodeId(0),
            last_group: GroupId::DIRECTORY,
            remembered: (0, 0),
        }
    }

    fn initialise(
        &mut self,
        cluster: ClusterId,
        trust_domain: Name,
        mut nodes: Vec<NodeEntry>,
    ) -> Result<(), DirectoryRejection> {
        if nodes.is_empty() {
            let limit = NODE_LIMIT;
            return Err(DirectoryRejection::NodeCount { limit });
        }
        self.view.cluster = cluster;
        self.view.trust_domain = trust_domain;
        nodes.sort_by_key(|node| node.id);
        nodes.into_iter().try_for_each(|node| self.add_node(node))
    }

    pub(super) fn add_node(&mut self, node: NodeEntry) -> Result<(), DirectoryRejection> {
        let limit = NODE_LIMIT;
        if self.view.nodes.len() >= limit {
            return Err(DirectoryRejection::NodeCount { limit });
        }
        // Never reuse a node id: a wiped voter under its old id could vote twice.
        if node.id <= self.last_node {
            return Err(DirectoryRejection::NodeId(node.id));
        }
        let taken = self
            .view
            .nodes
            .iter()
            .any(|known| known.name == node.name || known.address == node.address);
        if taken || !is_address(&node.address) {
            return Err(DirectoryRejection::NodeTaken(node.id));
        }
        self.last_node = node.id;
        self.view.nodes.push(node);
        Ok(())
    }

    fn change_address(&mut self, id: NodeId, address: String) -> Result<(), DirectoryRejection> {
        let nodes = &mut self.view.nodes;
        let taken = nodes
            .iter()
            .any(|node| node.id != id && node.address == address);
        if taken || !is_address(&address) {
            return Err(DirectoryRejection::NodeTaken(id));
        }
        let node = nodes.iter_mut().find(|node| node.id == id);
        node.ok_or(DirectoryRejection::UnknownNode(id))?.address = address;
        Ok(())
    }

    fn remove_node(&mut self, id: NodeId) -> Result<(), DirectoryRejection> {
        if self.view.node(id).is_none() {
            return Err(DirectoryRejection::UnknownNode(id));
        }
        if self.view.load(id) > 0 || self.view.nodes.len() == 1 {
            return Err(DirectoryRejection::NodeInUse(id));
        }
        self.view.nodes.retain(|node| node.id != id);
        Ok(())
    }

    fn create(
        &mut self,
        plan: CreateJurisdiction,
    ) -> Result<Vec<(GroupId, ShardId)>, DirectoryRejection> {
        let jurisdiction = plan.jurisdiction;
        if self.view.jurisdiction(jurisdiction).is_some() {
            return Err(DirectoryRejection::JurisdictionExists(jurisdiction));
        }
        if plan.replicas.is_multiple_of(2) || plan.replicas > REPLICA_LIMIT {
            return Err(DirectoryRejection::Replicas(plan.replicas));
        }
        if !(1..=PARTITION_LIMIT).contains(&plan.partitions) {
            return Err(DirectoryRejection::Partitions(plan.partitions));
        }
        let mut allowed_regions = plan.allowed_regions;
        allowed_regions.sort();
        allowed_regions.dedup();
        let mut groups = Vec::new();
        for partition in 0..plan.partitions {
            let voters = place(&self.view, &allowed_regions, plan.replicas)?;
            let shard = ShardId {
                jurisdiction,
                partition,
            };
            self.last_group.0 += 1;
            let id = self.last_group;
            groups.push((id, shard));
            self.view.groups.push(GroupEntry { id, shard, voters });
        }
        self.view.jurisdictions.push(JurisdictionEntry {
            jurisdiction,
            allowed_regions,
            replicas: plan.replicas,
            partitions: plan.partitions,
            policy: plan.policy,
        });
        let jurisdictions = &mut self.view.jurisdictions;
        jurisdictions.sort_by_key(|entry| entry.jurisdiction);
        Ok(groups)
    }

    fn replace_voter(
        &mut self,
        id: GroupId,
        remove: NodeId,
        add: NodeId,
    ) -> Result<(), DirectoryRejection> {
        let unknown = DirectoryRejection::UnknownGroup(id);
        let at = self.view.groups.iter().position(|group| group.id == id);
        let at = at.ok_or(unknown.clone())?;
        let group = &self.view.groups[at];
        let node = self.view.node(add);
        let node = node.ok_or(DirectoryRejection::UnknownNode(add))?;
        let rules = self.view.jurisdiction(group.shard.jurisdiction);
        if !rules.ok_or(unknown)?.allowed_regions.contains(&node.region) {
            let (node, region) = (add, node.region.clone());
            return Err(DirectoryRejection::RegionNotAllowed { node, region });
        }
        if !group.voters.contains(&remove) || group.voters.contains(&add) {
            return Err(DirectoryRejection::Voters(id));
        }
        let voters = &mut self.view.groups[at].voters;
        voters.retain(|voter| *voter != remove);
        voters.push(add);
        voters.sort();
        Ok(())
    }
}

fn is_address(address: &str) -> bool {
    let host_and_port = address.rsplit_once(':');
    let parts = host_and_port
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0));
    parts && address.len() <= ADDRESS_BYTES && address.chars().all(|c| c.is_ascii_graphic())
}

/// The cluster; `None` before it is initialised.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn description(store: &dyn ReadStore) -> Result<Option<ClusterView>, StoreError> {
    let state: Option<DirectoryState> = read(store, DIRECTORY, &[])?;
    Ok(state.map(|state| state.view))
}
