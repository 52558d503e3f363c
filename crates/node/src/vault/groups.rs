//! Which groups this node hosts: it follows the directory, starts what is placed on it, and as a
//! leader gives a blank shard its first commands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_consensus::{GroupKind, GroupSpec, PeerAddress};
use bailiwick_shard::directory::{
    self, ClusterView, GroupEntry, JurisdictionEntry, JurisdictionState,
};
use bailiwick_shard::{Command, CommandBody, Outcome, query};
use bailiwick_transport::Operation;
use bailiwick_types::store::StoreError;
use bailiwick_types::{CommandKey, GroupId, Name, NodeId, ShardId, codec};
use bytes::Bytes;
use tokio::time::Instant;

use super::Vault;

/// How long to wait before the directory is looked at again when nothing woke us.
const RECONCILE_PERIOD: Duration = Duration::from_secs(2);

/// Longest wait for the directory's leader to say what it has.
const FRESH_DEADLINE: Duration = Duration::from_secs(3);

/// How often a disk is looked at for groups that have no place on it, when the directory is as it was.
const STORED_PERIOD: Duration = Duration::from_secs(30);

/// Until when the disk need not be looked at.
struct Looked {
    version: u64,
    until: Instant,
}

impl Looked {
    fn is_enough(&self, version: u64) -> bool {
        self.version == version && Instant::now() < self.until
    }

    fn enough(&mut self, version: u64) {
        if !self.is_enough(version) {
            self.version = version;
            self.until = Instant::now() + STORED_PERIOD;
        }
    }
}

/// Whether a node has to have a group.
fn belongs(view: &ClusterView, group: GroupId, node: NodeId) -> bool {
    let mut groups = view.groups.iter();
    let known = groups.find(|known| known.id == group);
    group == GroupId::DIRECTORY || known.is_some_and(|known| known.belongs_on(node))
}

/// The log's origin line of a jurisdiction in a trust domain; a further partition's names it.
pub(super) fn log_origin(trust_domain: &Name, shard: ShardId) -> String {
    match shard.partition {
        0 => format!("{trust_domain}/{}", shard.jurisdiction),
        _ => format!("{trust_domain}/{shard}"),
    }
}

impl Vault {
    /// Follows the directory until the node stops.
    pub(super) async fn reconcile(self: Arc<Self>) {
        let Some(mut applied) = self.host.watch_applied(GroupId::DIRECTORY) else {
            return;
        };
        let mut looked = Looked {
            version: 0,
            until: Instant::now(),
        };
        loop {
            self.reconcile_once(&mut looked).await;
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RECONCILE_PERIOD) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn reconcile_once(self: &Arc<Self>, looked: &mut Looked) {
        let node = self.config.node;
        let Some(mut view) = self.cluster_view().await else {
            self.look_for_leader().await;
            return;
        };
        self.learn_peers(&view);
        self.look_for_leader().await;
        self.note_disk(view.standing(node).disk).await;
        let stored = if looked.is_enough(view.version) {
            Vec::new()
        } else {
            self.host.stored_groups().unwrap_or_else(|error| {
                tracing::error!(%error, "cannot list the groups on this node's disk");
                Vec::new()
            })
        };
        // What this node has applied may be old. To delete a group, or to make one, it must know that
        // the directory says so now.
        let certain = if self.needs_certainty(&view, &stored) {
            match self.fresh_view().await {
                Some(fresh) => {
                    view = fresh;
                    true
                }
                None => false,
            }
        } else {
            false
        };
        for group in &view.groups {
            let makes = self.makes(group);
            if !group.belongs_on(node) || self.group(group.shard).is_some() || (makes && !certain) {
                continue;
            }
            self.open(group).await;
        }
        let leaving: Vec<GroupId> = stored
            .into_iter()
            .filter(|group| !belongs(&view, *group, node))
            .collect();
        if leaving.is_empty() {
            looked.enough(view.version);
        }
        for group in leaving.into_iter().filter(|_| certain) {
            self.leave(group).await;
        }
    }

    /// Whether this node would make the group: its first voter with the lowest number, with nothing
    /// of it, before anybody ever led it.
    fn makes(&self, group: &GroupEntry) -> bool {
        let first = group.first_voters.iter().min() == Some(&self.config.node);
        first && !group.begun && self.host.is_blank(group.id)
    }

    fn needs_certainty(&self, view: &ClusterView, stored: &[GroupId]) -> bool {
        let node = self.config.node;
        let unopened = |group: &&GroupEntry| self.group(group.shard).is_none();
        let mut unopened = view.groups.iter().filter(unopened);
        let makes = unopened.any(|group| self.makes(group));
        makes || stored.iter().any(|group| !belongs(view, *group, node))
    }

    /// The directory as its leader has it now.
    async fn fresh_view(&self) -> Option<ClusterView> {
        let leader = self.host.leader(GroupId::DIRECTORY)?;
        if leader.id == self.config.node {
            return self.certain_view().await.ok();
        }
        let asked = self.host.ask(
            leader.id,
            Operation::ReadDirectory,
            Bytes::new(),
            FRESH_DEADLINE,
        );
        codec::decode(&asked.await.ok()?).ok()
    }

    async fn open(self: &Arc<Self>, group: &GroupEntry) {
        let spec = GroupSpec {
            id: group.id,
            kind: GroupKind::Shard(group.shard),
            // Nobody makes a group twice.
            voters: if group.begun {
                Vec::new()
            } else {
                group.first_voters.clone()
            },
            learners: Vec::new(),
        };
        match self.host.ensure_group(spec).await {
            Ok(()) => {
                let mut groups = self.groups.write().expect("no panic holds the groups");
                groups.insert(group.shard, group.id);
                drop(groups);
                tokio::spawn(self.clone().lead(group.shard, group.id));
            }
            Err(error) => tracing::error!(group = %group.id, %error, "cannot start a group"),
        }
    }

    /// A group that has no place here any more goes, with everything in it.
    async fn leave(&self, group: GroupId) {
        {
            let mut groups = self.groups.write().expect("no panic holds the groups");
            groups.retain(|_, known| *known != group);
        }
        match self.host.remove_group(group).await {
            Ok(()) => tracing::info!(%group, "a group has left this node, log and files"),
            Err(error) => tracing::error!(%group, %error, "a group is not deleted yet"),
        }
    }

    /// A directory that hears of no leader may be led by a node that joined while this one was away.
    async fn look_for_leader(&self) {
        if self.host.leader(GroupId::DIRECTORY).is_some() {
            return;
        }
        let mut others: Vec<NodeId> = self.seed_peers().into_keys().collect();
        others.retain(|other| *other != self.config.node);
        let chosen = rand::seq::IndexedRandom::choose(others.as_slice(), &mut rand::rng()).copied();
        if let Some(other) = chosen {
            self.learn_peers_from(other).await;
        }
    }

    /// The directory as this node has applied it.
    pub(super) async fn cluster_view(&self) -> Option<ClusterView> {
        let view = self.host.read_local(GroupId::DIRECTORY).ok()?;
        let described = tokio::task::spawn_blocking(move || directory::description(&view)).await;
        match described {
            Ok(Ok(described)) => described,
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot read the directory");
                None
            }
            Err(_) => None,
        }
    }

    fn learn_peers(&self, view: &ClusterView) {
        if view.nodes.is_empty() {
            return;
        }
        let nodes = view.nodes.iter().map(|node| PeerAddress {
            id: node.id,
            address: node.address.clone(),
            region: node.region.clone(),
            name: node.name.clone(),
        });
        let mut peers: BTreeMap<NodeId, PeerAddress> = nodes.map(|peer| (peer.id, peer)).collect();
        let mut learned = self.learned.lock().expect("no panic holds the learned");
        if self.host.leader(GroupId::DIRECTORY).is_some() {
            learned.clear();
        } else {
            // What this node has applied may be old: whoever else may be there is heard, too.
            for (id, peer) in self.seed_peers().into_iter().chain(learned.clone()) {
                if view.removed.iter().all(|gone| gone.id != id) {
                    peers.entry(id).or_insert(peer);
                }
            }
        }
        drop(learned);
        self.host.set_peers(peers.into_values().collect());
        let members = |group: &GroupEntry| {
            let nodes = view.nodes.iter().map(|node| node.id);
            let members = nodes.filter(|node| group.belongs_on(*node)).collect();
            (group.id, members)
        };
        self.host
            .set_members(view.groups.iter().map(members).collect());
        let serving = view.jurisdictions.iter();
        let serving = serving.filter(|entry| entry.state != JurisdictionState::Deleted);
        let regions = |entry: &JurisdictionEntry| {
            let regions = [&entry.allowed_regions[..], &entry.leaving_regions[..]];
            (entry.jurisdiction, regions.concat())
        };
        let mut allowed = self.allowed.write().expect("no panic holds the regions");
        *allowed = serving.clone().map(regions).collect();
        drop(allowed);
        let retired = serving.filter(|entry| entry.state == JurisdictionState::Retired);
        let mut known = self.retired.write().expect("no panic holds the retired");
        *known = retired.map(|entry| entry.jurisdiction).collect();
    }

    /// Whenever this node comes to lead the group: first commands, then cosigning.
    async fn lead(self: Arc<Self>, shard: ShardId, group: GroupId) {
        let Some(mut leadership) = self.host.watch_leadership(group) else {
            return;
        };
        loop {
            if *leadership.borrow_and_update() == Some(self.config.node) {
                self.begin(shard, group).await;
                let hub = self.hub(shard);
                tokio::select! {
                    () = self.drive(&hub, shard, group) => {}
                    () = self.tend(shard, group) => {}
                    changed = leadership.changed() => if changed.is_err() { return },
                    () = self.stop.cancelled() => return,
                }
                hub.retire();
                continue;
            }
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { return },
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Gives a blank shard its genesis and policy. Keys are fixed, so that two leaders that both
    /// try do it once.
    async fn begin(&self, shard: ShardId, group: GroupId) {
        while self.host.is_leader(group) {
            let body = match self.first_command(shard, group).await {
                Ok(None) => return,
                Ok(Some(body)) => body,
                Err(reason) => {
                    tracing::debug!(%shard, reason, "cannot begin the shard yet");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let number = match body {
                CommandBody::Genesis { .. } => 1,
                CommandBody::SetPolicy { .. } => 2,
                _ => 3,
            };
            let command = Command {
                key: CommandKey([number; 16]),
                salt: rand::random(),
                by: self.config.name.clone(),
                body,
            };
            let Ok(bytes) = command.to_bytes() else {
                return;
            };
            let failed = match self.host.propose(group, bytes.into()).await {
                Ok(outcome) => match Outcome::from_bytes(&outcome) {
                    Ok(Outcome::Rejected(rejection)) => Some(rejection.to_string()),
                    _ => None,
                },
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = failed {
                tracing::debug!(%shard, reason, "cannot begin the shard yet");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// What a shard still needs before it can work: genesis, the number of partitions where there are
    /// several, then in the home group its policy.
    async fn first_command(
        &self,
        shard: ShardId,
        group: GroupId,
    ) -> Result<Option<CommandBody>, &'static str> {
        let store = self
            .host
            .read(group)
            .await
            .map_err(|_| "the group is not readable")?;
        let read = move || Ok((query::shard_info(&store)?, query::partitions(&store)?));
        let read: Result<Result<_, StoreError>, _> = tokio::task::spawn_blocking(read).await;
        let (info, partitions) = read
            .map_err(|_| "the read was cancelled")?
            .map_err(|_| "the store failed")?;
        let cluster = self.cluster_view().await.ok_or("the directory is blank")?;
        match info {
            None => Ok(Some(CommandBody::Genesis {
                cluster: cluster.cluster,
                shard,
                origin: log_origin(&self.config.trust_domain, shard),
            })),
            Some(info) => {
                let Some(entry) = cluster.jurisdiction(shard.jurisdiction) else {
                    // What is whole works without the directory.
                    let whole = info.policy.is_some() || partitions > 1;
                    return match whole {
                        true => Ok(None),
                        false => Err("the directory lacks the jurisdiction"),
                    };
                };
                let (count, digest) = (entry.partitions, entry.policy);
                Ok(match (shard.partition, info.policy) {
                    _ if partitions != count => Some(CommandBody::SetPartitions { count }),
                    (0, None) => Some(CommandBody::SetPolicy { digest, version: 1 }),
                    _ => None,
                })
            }
        }
    }
}
