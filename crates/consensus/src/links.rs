//! The way to the other vault nodes: who they are, and the pooled connections to them.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bailiwick_transport::{
    CallError, ConnectError, Connection, ExpectedPeer, Operation, Pool, Purpose, StreamError,
    StreamReceiver, StreamSender,
};
use bailiwick_types::{Identity, NodeId, PeerRole};
use bytes::Bytes;

use crate::group::{Leader, PeerAddress};

/// Why another node did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The directory has no address for it.
    #[error("node {0} has no known address")]
    UnknownNode(NodeId),
    /// No connection.
    #[error("cannot connect")]
    Connect(#[from] ConnectError),
    /// No answer, or a refusal.
    #[error("call failed: {0}")]
    Call(#[from] CallError),
    /// A stream broke.
    #[error("stream failed: {0}")]
    Stream(#[from] StreamError),
    /// Nothing came for too long.
    #[error("no answer in time")]
    Timeout,
    /// What came does not decode.
    #[error("malformed answer")]
    Malformed(#[source] std::io::Error),
}

impl LinkError {
    /// Whether trying again at once is pointless.
    pub(crate) fn unreachable(&self) -> bool {
        match self {
            Self::UnknownNode(_) | Self::Connect(_) | Self::Malformed(_) => true,
            Self::Call(error) | Self::Stream(StreamError::Refused(error)) => !matches!(
                error,
                CallError::Busy | CallError::NotSent | CallError::Deadline
            ),
            Self::Stream(_) | Self::Timeout => false,
        }
    }

    /// Whether nobody listens at the node's address: its process has ended, or has not begun.
    pub(crate) fn refused(&self) -> bool {
        matches!(
            self,
            Self::Connect(ConnectError::Unreachable { source, .. })
                if source.kind() == std::io::ErrorKind::ConnectionRefused
        )
    }
}

/// The other vault nodes and the connections to them.
pub(crate) struct Links {
    pool: Pool,
    peers: RwLock<BTreeMap<NodeId, PeerAddress>>,
}

impl Links {
    pub(crate) fn new(pool: Pool) -> Self {
        Self {
            pool,
            peers: RwLock::default(),
        }
    }

    pub(crate) fn set_peers(&self, peers: Vec<PeerAddress>) {
        let peers = peers.into_iter().map(|peer| (peer.id, peer)).collect();
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = peers;
    }

    fn peer(&self, node: NodeId) -> Option<PeerAddress> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(&node).cloned()
    }

    /// The node that a certificate's name belongs to: a vault's, with the region the directory has.
    pub(crate) fn node_of(&self, identity: &Identity) -> Option<NodeId> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let found = peers.values().find(|peer| {
            identity.role == PeerRole::Vault
                && identity.id == peer.name
                && identity.region.as_ref() == Some(&peer.region)
        });
        found.map(|peer| peer.id)
    }

    /// A leader with its address.
    pub(crate) fn leader(&self, node: NodeId) -> Leader {
        Leader {
            id: node,
            address: self.peer(node).map(|peer| peer.address).unwrap_or_default(),
        }
    }

    /// The open connection to another node, or a new one.
    pub(crate) async fn reach(&self, to: NodeId) -> Result<Connection, LinkError> {
        self.connection(to, Purpose::Interactive).await
    }

    async fn connection(&self, to: NodeId, purpose: Purpose) -> Result<Connection, LinkError> {
        let peer = self.peer(to).ok_or(LinkError::UnknownNode(to))?;
        let expected = ExpectedPeer::vault().with_id(peer.name);
        let connection = self
            .pool
            .connection(&peer.address, &expected, purpose)
            .await?;
        Ok(connection)
    }

    /// Asks another node; the deadline covers connecting too.
    pub(crate) async fn call(
        &self,
        to: NodeId,
        operation: Operation,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, LinkError> {
        let call = async {
            let connection = self.connection(to, Purpose::Interactive).await?;
            Ok(connection.call(operation, payload, deadline).await?)
        };
        tokio::time::timeout(deadline, call)
            .await
            .map_err(|_| LinkError::Timeout)?
    }

    /// Opens a stream to another node.
    pub(crate) async fn open(
        &self,
        to: NodeId,
        operation: Operation,
        header: Bytes,
        purpose: Purpose,
        deadline: Duration,
    ) -> Result<(StreamSender, StreamReceiver), LinkError> {
        let open = async {
            let connection = self.connection(to, purpose).await?;
            Ok(connection.open(operation, header).await?)
        };
        tokio::time::timeout(deadline, open)
            .await
            .map_err(|_| LinkError::Timeout)?
    }
}
