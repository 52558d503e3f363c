//! Changes of leadership and membership, and snapshots on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_types::{GroupId, NodeId};
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, EmptyNode};
use tokio::time::timeout;

use crate::error::AdministerError;
use crate::host::Host;
use crate::hosted::Hosted;
use crate::raft::{Types, log_id};
use crate::steps::Step;

/// A transfer of leadership takes an election at most; then it has failed.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(5);
/// A new member may have to load a snapshot first.
const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(10 * 60);
/// One step is two commits at most.
const STEP_DEADLINE: Duration = Duration::from_secs(10);
/// A snapshot on demand is a checkpoint of the store.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(60);

impl Host {
    fn administered(&self, id: GroupId) -> Result<Arc<Hosted>, AdministerError> {
        if self.is_closed() {
            return Err(AdministerError::ShuttingDown);
        }
        self.hosted(id).ok_or(AdministerError::NoSuchGroup(id))
    }

    fn led(&self, id: GroupId) -> Result<Arc<Hosted>, AdministerError> {
        let group = self.administered(id)?;
        if group.leader() == Some(self.node()) {
            return Ok(group);
        }
        let leader = group.leader().map(|leader| self.leader_of(leader));
        Err(AdministerError::NotLeader { leader })
    }

    /// Hands the leadership to another voter and waits until it leads.
    ///
    /// # Errors
    /// [`AdministerError`]; `Unknown` when no voter, or another one, leads within five seconds.
    pub async fn transfer_leader(&self, id: GroupId, to: NodeId) -> Result<(), AdministerError> {
        let group = self.led(id)?;
        if to == self.node() {
            return Ok(());
        }
        if !group.raft.voter_ids().any(|voter| voter == to.0) {
            return Err(AdministerError::UnknownNode(to));
        }
        let mut leadership = group.watch_leadership();
        let stopped = |_| AdministerError::ShuttingDown;
        group
            .raft
            .trigger()
            .transfer_leader(to.0)
            .await
            .map_err(stopped)?;
        let leads = leadership.wait_for(|leader| *leader == Some(to));
        match timeout(TRANSFER_DEADLINE, leads).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(AdministerError::ShuttingDown),
            Err(_) => Err(AdministerError::Unknown),
        }
    }

    /// Makes these nodes the voters and those the learners; a new voter catches up as a learner
    /// before it votes. Whoever is in neither list is a member no more.
    ///
    /// # Errors
    /// [`AdministerError`]; after `Unknown` the change may still happen, or have happened in part.
    pub async fn change_membership(
        &self,
        id: GroupId,
        voters: Vec<NodeId>,
        learners: Vec<NodeId>,
    ) -> Result<(), AdministerError> {
        let group = self.led(id)?;
        if voters.is_empty() {
            return Err(AdministerError::Refused(
                "no voter would be left".to_owned(),
            ));
        }
        let voters: BTreeSet<u64> = voters.iter().map(|node| node.0).collect();
        let learners: BTreeSet<u64> = learners.iter().map(|node| node.0).collect();
        timeout(MEMBERSHIP_DEADLINE, self.change(&group, voters, learners))
            .await
            .map_err(|_| AdministerError::Unknown)?
    }

    /// Takes one step from the membership that a [`crate::GroupReport`] showed. A new learner catches
    /// up in the background.
    ///
    /// # Errors
    /// [`AdministerError`]: `Refused` when the membership is another one meanwhile.
    pub async fn take_step(
        &self,
        id: GroupId,
        from: Option<(u64, u64)>,
        step: Step,
    ) -> Result<(), AdministerError> {
        let change = match step {
            Step::Transfer(to) => return self.transfer_leader(id, to).await,
            Step::AddLearner(node) => {
                ChangeMembers::AddNodes(BTreeMap::from([(node.0, EmptyNode {})]))
            }
            Step::SetVoters(voters) => {
                ChangeMembers::ReplaceAllVoters(voters.iter().map(|node| node.0).collect())
            }
            Step::Remove(node) => ChangeMembers::RemoveNodes(BTreeSet::from([node.0])),
        };
        let group = self.led(id)?;
        let last_membership_log_id = from.map(|(term, index)| log_id(term, index));
        let expected = Precondition::LastMembershipLogId {
            last_membership_log_id,
        };
        // Whoever voted stays as a learner until it is removed by a step of its own.
        let changed = group.raft.change_membership_if(change, true, [expected]);
        let changed = timeout(STEP_DEADLINE, changed).await;
        let changed = changed.map_err(|_| AdministerError::Unknown)?;
        self.retried(changed.map(drop))
    }

    async fn change(
        &self,
        group: &Hosted,
        voters: BTreeSet<u64>,
        learners: BTreeSet<u64>,
    ) -> Result<(), AdministerError> {
        let known = self.members(group);
        for node in voters.iter().filter(|node| !known.contains(node)) {
            // Waits until it has caught up.
            let added = group.raft.add_learner(*node, EmptyNode {}, true);
            self.retried(added.await.map(drop))?;
        }
        let new: BTreeMap<u64, EmptyNode> = learners
            .difference(&known)
            .map(|node| (*node, EmptyNode {}))
            .collect();
        if !new.is_empty() {
            let added = group
                .raft
                .change_membership(ChangeMembers::AddNodes(new), true);
            self.retried(added.await.map(drop))?;
        }
        let current: BTreeSet<u64> = group.raft.voter_ids().collect();
        if current != voters {
            let change = ChangeMembers::ReplaceAllVoters(voters.clone());
            let changed = group.raft.change_membership(change, true);
            self.retried(changed.await.map(drop))?;
        }
        let gone: BTreeSet<u64> = self
            .members(group)
            .into_iter()
            .filter(|node| !voters.contains(node) && !learners.contains(node))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let removed = group
            .raft
            .change_membership(ChangeMembers::RemoveNodes(gone), false);
        self.retried(removed.await.map(drop))
    }

    fn members(&self, group: &Hosted) -> BTreeSet<u64> {
        group
            .raft
            .voter_ids()
            .chain(group.raft.learner_ids())
            .collect()
    }

    fn retried(
        &self,
        result: Result<(), RaftError<Types, ClientWriteError<Types>>>,
    ) -> Result<(), AdministerError> {
        let Err(error) = result else { return Ok(()) };
        Err(match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                AdministerError::NotLeader {
                    leader: forward
                        .leader_id
                        .map(|leader| self.leader_of(NodeId(leader))),
                }
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
                ChangeMembershipError::InProgress(_) => AdministerError::InProgress,
                ChangeMembershipError::LearnerNotFound(missing) => {
                    AdministerError::UnknownNode(NodeId(missing.node_id))
                }
                other => AdministerError::Refused(other.to_string()),
            },
            RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => {
                AdministerError::Refused(error.to_string())
            }
            RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => AdministerError::Unknown,
            RaftError::Fatal(_) => AdministerError::ShuttingDown,
        })
    }

    /// Builds a snapshot of everything applied so far and waits for it: the store becomes durable
    /// and the log may go, but for the entries kept for lagging followers.
    ///
    /// # Errors
    /// [`AdministerError`].
    pub async fn snapshot(&self, id: GroupId) -> Result<(), AdministerError> {
        let group = self.administered(id)?;
        let applied = group.machine.applied_index();
        let stopped = |_| AdministerError::ShuttingDown;
        group.raft.trigger().snapshot().await.map_err(stopped)?;
        let done = wait_for_snapshot(&group, applied);
        match timeout(SNAPSHOT_DEADLINE, done).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(AdministerError::ShuttingDown),
            Err(_) => Err(AdministerError::Unknown),
        }
    }
}

fn wait_for_snapshot(group: &Hosted, index: u64) -> impl Future<Output = bool> {
    let mut metrics = group.raft.metrics();
    async move {
        use openraft::async_runtime::WatchReceiver;
        loop {
            let snapshot = metrics.borrow_watched().snapshot;
            if index == 0 || snapshot.is_some_and(|snapshot| snapshot.index >= index) {
                return true;
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    }
}
