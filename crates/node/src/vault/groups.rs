//! Which groups this node hosts: it follows the directory, starts what is placed on it, and as a
//! leader gives a blank shard its first commands.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_consensus::{GroupKind, GroupSpec, PeerAddress};
use bailiwick_shard::directory::{self, ClusterView};
use bailiwick_shard::{Command, CommandBody, Outcome, query};
use bailiwick_types::store::StoreError;
use bailiwick_types::{CommandKey, GroupId, Name, ShardId};

use super::Vault;

/// How long to wait before the directory is looked at again when nothing woke us.
const RECONCILE_PERIOD: Duration = Duration::from_secs(2);

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
        loop {
            self.reconcile_once().await;
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RECONCILE_PERIOD) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn reconcile_once(self: &Arc<Self>) {
        let Some(view) = self.cluster_view().await else {
            return;
        };
        self.learn_peers(&view);
        for group in &view.groups {
            let here = group.voters.contains(&self.config.node);
            if !here || self.group(group.shard).is_some() {
                continue;
            }
            let spec = GroupSpec {
                id: group.id,
                kind: GroupKind::Shard(group.shard),
                voters: group.voters.clone(),
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
        let peers = view.nodes.iter().map(|node| PeerAddress {
            id: node.id,
            address: node.address.clone(),
            region: node.region.clone(),
            name: node.name.clone(),
        });
        self.host.set_peers(peers.collect());
        let mut allowed = self.allowed.write().expect("no panic holds the regions");
        *allowed = view
            .jurisdictions
            .iter()
            .map(|entry| (entry.jurisdiction, entry.allowed_regions.clone()))
            .collect();
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
