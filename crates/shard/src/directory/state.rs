//! Applying the directory's commands, and its one query.
//!
//! The directory is small (at most 64 nodes and 250 jurisdictions): its whole state is one row. What
//! commands do to nodes is in `standing`, to jurisdictions and groups in `jurisdictions`.

use bailiwick_types::store::{ReadStore, StoreError, WriteStore};
use bailiwick_types::{
    ClusterId, GroupId, Jurisdiction, Name, NodeId, Region, ShardId, Timestamp, codec,
};
use serde::{Deserialize, Serialize};

use super::command::{
    DirectoryCommand, DirectoryCommandBody, DirectoryOutcome, DirectoryRejection, NodeEntry,
};
use super::jurisdictions::{JurisdictionEntry, JurisdictionState};
use super::placement::{directory_voters, wanted};
use super::standing::{Autopilot, NodeStanding};
use crate::remember::{Known, command_digest, recall, remember};
use crate::rows::{read, write};
use crate::tables::DIRECTORY;

/// Most nodes of a cluster.
pub const NODE_LIMIT: usize = 64;
/// Most nodes that have left and are remembered: their names stay taken.
const REMOVED_LIMIT: usize = 512;
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
    /// How each of them stands, by id.
    pub standings: Vec<NodeStanding>,
    /// The nodes that have left for good, by id: neither id nor name comes back.
    pub removed: Vec<NodeEntry>,
    /// The directory's wanted voters, by id: 1, 3 or 5; all other nodes are its learners.
    pub directory_voters: Vec<NodeId>,
    /// The directory's voters in fact, as last reported.
    pub directory_members: Vec<NodeId>,
    /// The jurisdictions, in order.
    pub jurisdictions: Vec<JurisdictionEntry>,
    /// The groups, by id, without the directory.
    pub groups: Vec<GroupEntry>,
    /// How the cluster judges its nodes.
    pub autopilot: Autopilot,
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

    /// How a node stands; as a new one when there is none.
    pub fn standing(&self, node: NodeId) -> NodeStanding {
        let mut standings = self.standings.iter();
        let found = standings.find(|standing| standing.node == node);
        found.copied().unwrap_or(NodeStanding::new(node))
    }

    /// Whether groups stay on a node: one that is lost keeps them unless the autopilot clears up.
    pub(super) fn keeps_groups(&self, node: NodeId) -> bool {
        let standing = self.standing(node);
        let is_cleared = standing.lost_since.is_some() && self.autopilot.cleanup_dead_servers;
        !standing.draining && !is_cleared
    }

    /// How many sound nodes stand in these regions.
    pub fn eligible(&self, regions: &[Region]) -> usize {
        let nodes = self.nodes.iter();
        nodes
            .filter(|node| regions.contains(&node.region) && self.standing(node.id).is_sound())
            .count()
    }

    /// Whether a jurisdiction's records may be on nodes of this region: as a rule, or until they have
    /// left it.
    pub fn may_hold(&self, jurisdiction: Jurisdiction, region: &Region) -> bool {
        self.jurisdiction(jurisdiction).is_some_and(|entry| {
            entry.state != JurisdictionState::Deleted
                && (entry.allowed_regions.contains(region)
                    || entry.leaving_regions.contains(region))
        })
    }

    /// The shards that need a node: no other one may hold their replica if it drained.
    pub fn stays_when_drained(&self, node: NodeId) -> Vec<ShardId> {
        let mut view = self.clone();
        let standing = NodeStanding {
            draining: true,
            ..view.standing(node)
        };
        view.standings.retain(|standing| standing.node != node);
        view.standings.push(standing);
        let groups = self.groups.iter();
        let stays = groups.filter(|group| {
            let Some(entry) = view.jurisdiction(group.shard.jurisdiction) else {
                return false;
            };
            let allowed = &entry.allowed_regions;
            group.voters.contains(&node)
                && wanted(&view, &group.voters, allowed, entry.replicas).contains(&node)
        });
        stays.map(|group| group.shard).collect()
    }

    /// How many groups a node is wanted in, the directory not counted.
    pub fn load(&self, node: NodeId) -> usize {
        let groups = self.groups.iter();
        groups.filter(|group| group.voters.contains(&node)).count()
    }
}

/// A Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// Its number, from 1; never reused.
    pub id: GroupId,
    /// Its shard.
    pub shard: ShardId,
    /// The voters that it is to have, by id. The group's own log says which it has.
    pub voters: Vec<NodeId>,
    /// The voters that it began with; the lowest of them makes the group, once.
    pub first_voters: Vec<NodeId>,
    /// Its members in fact, learners too, as last reported; empty before the first report.
    pub members: Vec<NodeId>,
    /// Whether it was ever led: then nobody makes it anew.
    pub begun: bool,
}

impl GroupEntry {
    pub(super) fn new(id: GroupId, shard: ShardId, voters: Vec<NodeId>) -> Self {
        Self {
            id,
            shard,
            first_voters: voters.clone(),
            voters,
            members: Vec::new(),
            begun: false,
        }
    }

    /// Whether a node has to have the group: it is to vote there, or is a member still.
    pub fn belongs_on(&self, node: NodeId) -> bool {
        let begins = !self.begun && self.first_voters.contains(&node);
        begins || self.voters.contains(&node) || self.members.contains(&node)
    }
}

/// The directory's one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DirectoryState {
    pub(super) view: ClusterView,
    /// The highest node id ever used.
    last_node: NodeId,
    /// The highest group id ever used.
    pub(super) last_group: GroupId,
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
        Body::BeginNode { node, disk } => state.begin_node(node, disk)?,
        Body::DrainNode { node, draining } => state.drain_node(node, draining)?,
        Body::NodeContact { node, lost_since } => state.node_contact(node, lost_since)?,
        Body::GroupMembers { group, members } => state.group_members(group, members)?,
        Body::ChangeJurisdiction(change) => state.change_jurisdiction(change)?,
        Body::RetireJurisdiction {
            jurisdiction,
            expected,
        } => state.retire(jurisdiction, expected)?,
        Body::DeleteJurisdiction {
            jurisdiction,
            expected,
        } => state.delete(jurisdiction, expected)?,
        Body::ConfigureAutopilot(autopilot) => state.configure_autopilot(autopilot)?,
    }
    state.view.version += 1;
    state.settle();
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
                standings: Vec::new(),
                removed: Vec::new(),
                directory_voters: Vec::new(),
                directory_members: Vec::new(),
                jurisdictions: Vec::new(),
                groups: Vec::new(),
                autopilot: Autopilot::default(),
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
        let view = &self.view;
        let taken = view
            .nodes
            .iter()
            .any(|known| known.name == node.name || known.address == node.address)
            // Whoever left may still have its certificate.
            || view.removed.iter().any(|known| known.name == node.name);
        if taken || !is_address(&node.address) {
            return Err(DirectoryRejection::NodeTaken(node.id));
        }
        self.last_node = node.id;
        self.view.standings.push(NodeStanding::new(node.id));
        self.view.nodes.push(node);
        Ok(())
    }

    /// What follows from every change: who is to vote where, and which regions nothing has to leave
    /// any more.
    fn settle(&mut self) {
        for at in 0..self.view.groups.len() {
            let group = &self.view.groups[at];
            let Some(rules) = self.view.jurisdiction(group.shard.jurisdiction) else {
                continue;
            };
            let (allowed, replicas) = (&rules.allowed_regions, rules.replicas);
            let voters = wanted(&self.view, &group.voters, allowed, replicas);
            self.view.groups[at].voters = voters;
        }
        self.view.directory_voters = directory_voters(&self.view);
        let mut jurisdictions = std::mem::take(&mut self.view.jurisdictions);
        for entry in &mut jurisdictions {
            let jurisdiction = entry.jurisdiction;
            entry
                .leaving_regions
                .retain(|region| self.is_in(jurisdiction, region));
        }
        self.view.jurisdictions = jurisdictions;
    }

    /// Whether a jurisdiction has a member in a region, as far as anybody has reported.
    fn is_in(&self, jurisdiction: Jurisdiction, region: &Region) -> bool {
        let view = &self.view;
        let groups = view.groups.iter();
        let mut groups = groups.filter(|group| group.shard.jurisdiction == jurisdiction);
        groups.any(|group| {
            let reported = if group.members.is_empty() {
                &group.first_voters
            } else {
                &group.members
            };
            let mut nodes = reported.iter().filter_map(|member| view.node(*member));
            nodes.any(|node| node.region == *region)
        })
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
        let limit = REMOVED_LIMIT;
        if self.view.removed.len() >= limit {
            return Err(DirectoryRejection::NodeCount { limit });
        }
        let mut groups = self.view.groups.iter();
        let is_used = groups.any(|group| group.belongs_on(id));
        // A voter of the directory goes when another one has come, or when there is no other.
        let is_kept =
            self.view.directory_voters.contains(&id) && !self.view.standing(id).is_sound();
        let votes = self.view.directory_members.contains(&id) && !is_kept;
        if is_used || votes || self.view.nodes.len() == 1 {
            return Err(DirectoryRejection::NodeInUse(id));
        }
        let gone = self.view.nodes.extract_if(.., |node| node.id == id);
        self.view.removed.extend(gone);
        self.view.standings.retain(|standing| standing.node != id);
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
