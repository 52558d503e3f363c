//! All groups of one node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use bailiwick_storage::{StoreView, Wal, WalStatistics};
use bailiwick_transport::{CallError, Operation, Pool, PoolOptions};
use bailiwick_types::{GroupId, Identity, NodeId, Timestamp};
use bytes::Bytes;
use openraft::EmptyNode;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::{AskError, HostError};
use crate::group::{GroupKind, GroupSpec, GroupStatus, Leader, PeerAddress};
use crate::hosted::{Hosted, configuration, directory};
use crate::links::{LinkError, Links};
use crate::options::{HostOptions, RaftTimings};
use crate::state_machine::blocking;
use crate::vigil::Vigil;

/// How often the groups' stores and logs are looked after.
const CARE_PERIOD: Duration = Duration::from_millis(500);

/// All Raft groups of one node.
pub struct Host {
    options: HostOptions,
    wal: Wal,
    links: Arc<Links>,
    vigil: Vigil,
    groups: RwLock<BTreeMap<GroupId, Arc<Hosted>>>,
    /// Whom the directory lists as members of a group, beside those in the group's own log.
    listed: RwLock<BTreeMap<GroupId, BTreeSet<NodeId>>>,
    /// One group is opened or removed at a time.
    changing: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    care: Mutex<Vec<JoinHandle<()>>>,
    myself: Weak<Self>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Host")
            .field("node", &self.options.node)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Longest command in bytes: a message between processes less its framing.
    pub const COMMAND_BYTES: usize = bailiwick_types::limits::MESSAGE_BYTES - (64 << 10);

    /// Opens the node's write-ahead log. Blocks while it reads the log; must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`HostError`] when the log cannot be opened or the timings contradict each other.
    pub fn start(options: HostOptions) -> Result<Arc<Self>, HostError> {
        configuration(GroupId::DIRECTORY, &options.timings)?;
        options
            .disk
            .create_directory("groups")
            .map_err(|error| HostError::Storage(error.to_string()))?;
        let wal = Wal::open(options.disk.clone(), options.wal.clone())
            .map_err(|error| HostError::Storage(error.to_string()))?;
        let pool = Pool::new(options.tls.clone(), pool_options(&options));
        let links = Arc::new(Links::new(pool));
        let host = Arc::new_cyclic(|myself| Self {
            options,
            wal,
            links,
            vigil: Vigil::default(),
            groups: RwLock::default(),
            listed: RwLock::default(),
            changing: tokio::sync::Mutex::new(()),
            closed: AtomicBool::new(false),
            care: Mutex::default(),
            myself: myself.clone(),
        });
        let care = tokio::spawn(care(host.myself.clone()));
        let rest = tokio::spawn(crate::rest::watch(host.myself.clone()));
        *host.care.lock().unwrap_or_else(PoisonError::into_inner) = vec![care, rest];
        Ok(host)
    }

    pub(crate) fn myself(&self) -> Arc<Self> {
        // Whoever calls a method holds it.
        self.myself.upgrade().expect("a host is always in its Arc")
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(crate) fn timings(&self) -> &RaftTimings {
        &self.options.timings
    }

    pub(crate) fn placed_here(&self, kind: &GroupKind) -> bool {
        (self.options.placement)(kind)
    }

    pub(crate) fn hosted(&self, id: GroupId) -> Option<Arc<Hosted>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.get(&id).cloned()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    pub(crate) fn vigil(&self) -> &Vigil {
        &self.vigil
    }

    /// The groups that the node leads, as far as this node knows.
    pub(crate) fn led_by(&self, node: NodeId) -> Vec<Arc<Hosted>> {
        let mut groups = self.all();
        groups.retain(|group| group.leader() == Some(node));
        groups
    }

    pub(crate) fn leader_of(&self, node: NodeId) -> Leader {
        self.links.leader(node)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Hosted>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.values().cloned().collect()
    }

    /// This node's number.
    pub fn node(&self) -> NodeId {
        self.options.node
    }

    /// Replaces the list of vault nodes, this node included. Must be called within a tokio runtime.
    pub fn set_peers(&self, peers: Vec<PeerAddress>) {
        let others: BTreeMap<NodeId, String> = peers
            .iter()
            .filter(|peer| peer.id != self.options.node)
            .map(|peer| (peer.id, peer.address.clone()))
            .collect();
        self.links.set_peers(peers);
        if !self.is_closed() {
            self.vigil.watch(&self.myself, &others);
        }
    }

    /// Replaces the list of each group's members as the directory has them. Only they, and the members
    /// that a group's own log names, are heard in the group. The directory's members are all nodes.
    pub fn set_members(&self, members: BTreeMap<GroupId, BTreeSet<NodeId>>) {
        *self.listed.write().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Whether a node may be heard in a group.
    pub(crate) fn is_member(&self, from: NodeId, group: &Hosted) -> bool {
        if group.id == GroupId::DIRECTORY {
            return true;
        }
        let listed = {
            let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
            listed.get(&group.id).map(|nodes| nodes.contains(&from))
        };
        if listed == Some(true) {
            return true;
        }
        let mut members = group.raft.voter_ids().chain(group.raft.learner_ids());
        match members.next() {
            // A blank group that the directory says nothing of yet.
            None => listed.is_none(),
            Some(first) => first == from.0 || members.any(|member| member == from.0),
        }
    }

    /// Whether this node's log has nothing of a group: no entry, no vote, no trace of earlier ones.
    pub fn is_blank(&self, id: GroupId) -> bool {
        self.wal.group(id).state() == bailiwick_storage::GroupState::default()
    }

    /// The groups that have anything on this node's disk, in the log or as files, ascending.
    ///
    /// # Errors
    /// When the disk cannot be listed.
    pub fn stored_groups(&self) -> std::io::Result<Vec<GroupId>> {
        let disk = &self.options.disk;
        let mut groups: BTreeSet<GroupId> = self.wal.groups().into_iter().collect();
        for name in disk.list_directories("groups")? {
            // An empty folder is what a deleted group leaves.
            if !disk.list(&format!("groups/{name}"))?.is_empty() {
                groups.extend(name.parse().ok().map(GroupId));
            }
        }
        Ok(groups.into_iter().collect())
    }

    /// Asks another vault node; the deadline covers connecting too.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        &self,
        to: NodeId,
        operation: Operation,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, AskError> {
        let answer = self.links.call(to, operation, payload, deadline).await;
        answer.map_err(|error| match error {
            LinkError::Call(CallError::Refused { message, .. }) => AskError::Refused(message),
            other => AskError::NoAnswer(other.to_string()),
        })
    }

    /// The node that an authenticated vault is; `None` for everybody else, and for a vault whose
    /// certificate names another region than the list of nodes.
    pub fn peer_of(&self, identity: &Identity) -> Option<NodeId> {
        self.links.node_of(identity)
    }

    /// Opens the group's stores and starts it, unless it runs. A blank group is initialised by its
    /// lowest-numbered voter.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn ensure_group(&self, spec: GroupSpec) -> Result<(), HostError> {
        let _one = self.changing.lock().await;
        if self.is_closed() {
            return Err(HostError::ShuttingDown);
        }
        if !self.placed_here(&spec.kind) {
            return Err(HostError::Placement(spec.id));
        }
        let group = match self.hosted(spec.id) {
            Some(group) if group.kind != spec.kind => return Err(HostError::KindChanged(spec.id)),
            Some(group) => group,
            None => {
                let group = Hosted::start(&self.options, &self.wal, &self.links, &spec).await?;
                let group = Arc::new(group);
                let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
                groups.insert(spec.id, group.clone());
                group
            }
        };
        self.initialise(&group, &spec).await
    }

    async fn initialise(&self, group: &Arc<Hosted>, spec: &GroupSpec) -> Result<(), HostError> {
        let stopped = |error: String| HostError::Stopped(spec.id, error);
        let first = spec.voters.iter().min();
        let initialised = group.raft.is_initialized().await;
        if first != Some(&self.options.node) || initialised.map_err(|e| stopped(e.to_string()))? {
            return Ok(());
        }
        let voters: BTreeMap<u64, EmptyNode> = spec
            .voters
            .iter()
            .map(|node| (node.0, EmptyNode {}))
            .collect();
        match group.raft.initialize(voters).await {
            Ok(()) => {}
            // Another voter's log arrived first.
            Err(error) if error.api_error().is_some() => return Ok(()),
            Err(error) => return Err(stopped(error.to_string())),
        }
        if !spec.learners.is_empty() {
            let (host, spec) = (self.myself(), spec.clone());
            tokio::spawn(async move { host.add_first_learners(spec).await });
        }
        Ok(())
    }

    /// Adds a new group's learners if this node comes to lead it. The directory's reconciliation
    /// does it otherwise.
    async fn add_first_learners(&self, spec: GroupSpec) {
        for _ in 0..20 {
            tokio::time::sleep(self.timings().election_min).await;
            match self.hosted(spec.id).and_then(|group| group.leader()) {
                Some(leader) if leader == self.options.node => {}
                Some(_) => return,
                None => continue,
            }
            let change =
                self.change_membership(spec.id, spec.voters.clone(), spec.learners.clone());
            match change.await {
                Ok(()) => return,
                Err(error) => tracing::warn!(group = %spec.id, %error, "learners not added yet"),
            }
        }
    }

    /// Stops a group and deletes its log and its files from this node.
    ///
    /// # Errors
    /// [`HostError`] when the disk fails.
    pub async fn remove_group(&self, id: GroupId) -> Result<(), HostError> {
        let _one = self.changing.lock().await;
        let storage = |error: String| HostError::Storage(error);
        let group = {
            let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
            groups.remove(&id)
        };
        if let Some(group) = group {
            // A task that panicked is gone as well.
            let _ = group.raft.shutdown().await;
        }
        let (sender, receiver) = oneshot::channel();
        self.wal.group(id).remove(Box::new(move |result| {
            let _ = sender.send(result);
        }));
        let removed = receiver
            .await
            .map_err(|_| storage("the log is closed".to_owned()))?;
        removed.map_err(|error| storage(error.to_string()))?;
        let disk = self.options.disk.clone();
        blocking(move || {
            let directory = directory(id);
            if disk.exists(&directory)? {
                for name in disk.list(&directory)? {
                    disk.remove(&format!("{directory}/{name}"))?;
                }
                disk.sync_directory(&directory)?;
            }
            Ok(())
        })
        .await
        .map_err(|error| storage(error.to_string()))
    }

    /// What this node has applied, on the leader or not: no guarantee of freshness.
    ///
    /// # Errors
    /// [`crate::ReadError::NoSuchGroup`] and [`crate::ReadError::Storage`].
    pub fn read_local(&self, id: GroupId) -> Result<StoreView, crate::ReadError> {
        let group = self.hosted(id).ok_or(crate::ReadError::NoSuchGroup(id))?;
        let view = group.machine.view();
        view.map_err(|error| crate::ReadError::Storage(error.to_string()))
    }

    /// The group's leader, when this node knows it and has not seen it end.
    pub fn leader(&self, id: GroupId) -> Option<Leader> {
        let leader = self.hosted(id)?.leader()?;
        (!self.vigil.has_fallen(leader)).then(|| self.links.leader(leader))
    }

    /// Whether this node believes that it leads the group.
    pub fn is_leader(&self, id: GroupId) -> bool {
        self.hosted(id)
            .is_some_and(|group| group.leader() == Some(self.options.node))
    }

    /// Whether nothing happens in the group, so that this node spends next to nothing on it.
    pub fn rests(&self, id: GroupId) -> bool {
        self.hosted(id).is_some_and(|group| group.rests())
    }

    /// The state of all groups, by id.
    pub fn group_status(&self) -> Vec<GroupStatus> {
        self.all().iter().map(|group| group.status()).collect()
    }

    /// What the write-ahead log counted.
    pub fn log_statistics(&self) -> WalStatistics {
        self.wal.statistics()
    }

    /// Tells the index that the group has applied; `None` when this node has no such group.
    pub fn watch_applied(&self, id: GroupId) -> Option<watch::Receiver<u64>> {
        Some(self.hosted(id)?.machine.watch_applied())
    }

    /// Tells who leads the group; `None` when this node has no such group.
    pub fn watch_leadership(&self, id: GroupId) -> Option<watch::Receiver<Option<NodeId>>> {
        Some(self.hosted(id)?.watch_leadership())
    }

    /// The stamp of the last applied command: the group's log time. Zero for an empty group.
    pub fn log_time(&self, id: GroupId) -> Timestamp {
        self.hosted(id)
            .map_or_else(Timestamp::default, |group| group.machine.log_time())
    }

    /// Stops all groups, makes the record stores durable and closes the log.
    pub async fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        self.vigil.end();
        let _one = self.changing.lock().await;
        let care = {
            let mut care = self.care.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *care)
        };
        care.iter().for_each(JoinHandle::abort);
        let groups = {
            let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *groups)
        };
        for group in groups.into_values() {
            // A task that panicked is gone as well.
            let _ = group.raft.shutdown().await;
            let machine = group.machine.clone();
            if let Err(error) = blocking(move || machine.checkpoint()).await {
                tracing::error!(group = %group.id, %error, "not made durable at shutdown");
            }
        }
        let wal = self.wal.clone();
        let closed = blocking(move || {
            wal.close();
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the write-ahead log did not close");
        }
    }
}

/// How the other nodes are dialled: a node that comes back must hear its leader within an election.
fn pool_options(options: &HostOptions) -> PoolOptions {
    let mut pool = PoolOptions::default();
    pool.connect.hello.cluster = options.cluster;
    pool.connect.connect_timeout = options.timings.election_max;
    pool.backoff_ceiling = options.timings.heartbeat;
    pool
}

/// Makes stores durable and lets go of log, as long as the host lives.
async fn care(host: Weak<Host>) {
    loop {
        tokio::time::sleep(CARE_PERIOD).await;
        let Some(host) = host.upgrade() else { return };
        for group in host.all() {
            group.retain().await;
            if group
                .machine
                .checkpoint_due(host.timings().checkpoint_period)
            {
                let machine = group.machine.clone();
                if let Err(error) = blocking(move || machine.checkpoint()).await {
                    tracing::error!(group = %group.id, %error, "checkpoint failed");
                }
            }
        }
    }
}
