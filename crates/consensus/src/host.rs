//! All groups of one node.
#![allow(clippy::unimplemented, unused_variables)]

use std::sync::Arc;

use bailiwick_storage::{StoreView, WalStatistics};
use bailiwick_transport::{Operation, Refusal, StreamReceiver, StreamSender};
use bailiwick_types::{GroupId, Identity, NodeId, Timestamp};
use bytes::Bytes;
use tokio::sync::watch;

use crate::error::{AdministerError, HostError, ProposeError, ReadError};
use crate::group::{GroupSpec, GroupStatus, Leader, PeerAddress};
use crate::options::HostOptions;

/// All Raft groups of one node.
pub struct Host;

impl Host {
    /// Longest command in bytes: a message between processes less its framing.
    pub const COMMAND_BYTES: usize = bailiwick_types::limits::MESSAGE_BYTES - (64 << 10);

    /// Opens the node's write-ahead log. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`HostError`] when the log cannot be opened or the timings contradict each other.
    pub fn start(options: HostOptions) -> Result<Arc<Self>, HostError> {
        unimplemented!()
    }

    /// Replaces the list of vault nodes, this node included.
    pub fn set_peers(&self, peers: Vec<PeerAddress>) {
        unimplemented!()
    }

    /// The node that an authenticated vault is; `None` for everybody else.
    pub fn peer_of(&self, identity: &Identity) -> Option<NodeId> {
        unimplemented!()
    }

    /// Opens the group's stores and starts it, unless it runs. A blank group is initialised by its
    /// lowest-numbered voter.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn ensure_group(&self, spec: GroupSpec) -> Result<(), HostError> {
        unimplemented!()
    }

    /// Stops a group and deletes its log and its files from this node.
    ///
    /// # Errors
    /// [`HostError`] when the disk fails.
    pub async fn remove_group(&self, id: GroupId) -> Result<(), HostError> {
        unimplemented!()
    }

    /// Proposes a command; returns its encoded outcome once a quorum has it on disk and this node
    /// applied it. What was definitely not appended is repeated within the deadline.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, id: GroupId, command: Bytes) -> Result<Bytes, ProposeError> {
        unimplemented!()
    }

    /// A view that holds at least everything that was acknowledged before the call (ReadIndex).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, id: GroupId) -> Result<StoreView, ReadError> {
        unimplemented!()
    }

    /// What this node has applied, on the leader or not: no guarantee of freshness.
    ///
    /// # Errors
    /// [`ReadError::NoSuchGroup`] and [`ReadError::Storage`].
    pub fn read_local(&self, id: GroupId) -> Result<StoreView, ReadError> {
        unimplemented!()
    }

    /// The group's leader, when this node knows it.
    pub fn leader(&self, id: GroupId) -> Option<Leader> {
        unimplemented!()
    }

    /// Whether this node believes that it leads the group.
    pub fn is_leader(&self, id: GroupId) -> bool {
        unimplemented!()
    }

    /// The state of all groups, by id.
    pub fn group_status(&self) -> Vec<GroupStatus> {
        unimplemented!()
    }

    /// What the write-ahead log counted.
    pub fn log_statistics(&self) -> WalStatistics {
        unimplemented!()
    }

    /// Tells the index that the group has applied; `None` when this node has no such group.
    pub fn watch_applied(&self, id: GroupId) -> Option<watch::Receiver<u64>> {
        unimplemented!()
    }

    /// Tells who leads the group; `None` when this node has no such group.
    pub fn watch_leadership(&self, id: GroupId) -> Option<watch::Receiver<Option<NodeId>>> {
        unimplemented!()
    }

    /// Hands the leadership to another voter and waits until it leads.
    ///
    /// # Errors
    /// [`AdministerError`].
    pub async fn transfer_leader(&self, id: GroupId, to: NodeId) -> Result<(), AdministerError> {
        unimplemented!()
    }

    /// Makes these nodes the voters and those the learners; learners catch up before they vote.
    ///
    /// # Errors
    /// [`AdministerError`].
    pub async fn change_membership(
        &self,
        id: GroupId,
        voters: Vec<NodeId>,
        learners: Vec<NodeId>,
    ) -> Result<(), AdministerError> {
        unimplemented!()
    }

    /// Builds a snapshot now and waits for it.
    ///
    /// # Errors
    /// [`AdministerError`].
    pub async fn snapshot(&self, id: GroupId) -> Result<(), AdministerError> {
        unimplemented!()
    }

    /// The stamp of the last applied entry: the group's log time. Zero for an empty group.
    pub fn log_time(&self, id: GroupId) -> Timestamp {
        unimplemented!()
    }

    /// Stops all groups, makes the record stores durable and closes the log.
    pub async fn shutdown(&self) {
        unimplemented!()
    }

    /// Serves a Raft call of another node; `from` is who its certificate says.
    ///
    /// # Errors
    /// [`Refusal`] travels to the caller.
    pub async fn handle_call(
        &self,
        from: NodeId,
        operation: Operation,
        payload: Bytes,
    ) -> Result<Bytes, Refusal> {
        unimplemented!()
    }

    /// Serves a Raft stream of another node; `from` is who its certificate says.
    ///
    /// # Errors
    /// [`Refusal`] travels to the caller.
    pub async fn handle_stream(
        &self,
        from: NodeId,
        operation: Operation,
        header: Bytes,
        sender: StreamSender,
        receiver: StreamReceiver,
    ) -> Result<(), Refusal> {
        unimplemented!()
    }
}
