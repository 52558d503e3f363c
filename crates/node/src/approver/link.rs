//! An approver's connection to the leader of one home group: it asks any seed for the directory,
//! follows `NotLeader`, and opens the stream that it works from.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::approver::Attend;
use bailiwick_api::cluster::ClusterDescription;
use bailiwick_transport::{
    CallError, ConnectOptions, Connection, ExpectedPeer, Operation, StreamReceiver, StreamSender,
    TlsIdentity,
};
use bailiwick_types::{Name, PeerRole, ShardId, codec};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::seq::IndexedRandom;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest that a call may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// A leader from which nothing comes for this long is suspended or cut off: vaults send a sign of life
/// every second. Others may lead by then, and would wait for this member's cosignature.
const SILENCE: Duration = Duration::from_millis(2500);
/// Longest that connecting may take: three round trips around the globe, and a busy machine.
const CONNECT: Duration = Duration::from_secs(2);

/// Why there is no link, or a call on it failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// No seed answered, or none knows the shard.
    #[error("no node leads {0} as far as the seeds know")]
    NoLeader(ShardId),
    /// The leader refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// A message is not of its form: the vault's fault.
    #[error("the answer does not decode")]
    Malformed,
}

/// Whom a seed names.
enum Named {
    Leader(String),
    Voter(String),
}

/// A connection to a leader.
pub(super) struct Link {
    connection: Connection,
}

impl Link {
    /// Connects to a node.
    async fn connect(address: &str, tls: &Arc<TlsIdentity>) -> Result<Self, LinkError> {
        let expect = ExpectedPeer::role(PeerRole::Vault);
        let options = ConnectOptions {
            connect_timeout: CONNECT,
            idle_timeout: SILENCE,
            ..ConnectOptions::default()
        };
        Connection::connect(address, tls, expect, options)
            .await
            .map(|connection| Self { connection })
            .map_err(|error| LinkError::Connection(error.to_string()))
    }

    /// Where the leader of a shard may be: as the first seed says that knows it, else one of the
    /// voters at random. All seeds are asked at once, so that one which is silent costs nothing.
    async fn candidate(
        seeds: &[String],
        tls: &Arc<TlsIdentity>,
        shard: ShardId,
    ) -> Result<String, LinkError> {
        let mut asked: FuturesUnordered<_> = seeds
            .iter()
            .map(|seed| Self::named_by(seed, tls, shard))
            .collect();
        let mut voter = None;
        while let Some(named) = asked.next().await {
            match named {
                Some(Named::Leader(address)) => return Ok(address),
                Some(Named::Voter(address)) => voter = voter.or(Some(address)),
                None => {}
            }
        }
        voter.ok_or(LinkError::NoLeader(shard))
    }

    /// Whom a seed names as the shard's leader, or any of the voters: only nodes that host the group
    /// know who leads it.
    async fn named_by(seed: &str, tls: &Arc<TlsIdentity>, shard: ShardId) -> Option<Named> {
        let link = Self::connect(seed, tls).await.ok()?;
        let asked = link.ask::<ClusterDescription>(Operation::Directory, Bytes::new());
        let directory = asked.await.ok()?;
        let group = directory.group(shard)?;
        let address = |id| directory.node(id).map(|node| node.address.clone());
        if let Some(leader) = group.leader.and_then(address) {
            return Some(Named::Leader(leader));
        }
        let any = group.voters.choose(&mut rand::rng()).copied();
        any.and_then(address).map(Named::Voter)
    }

    /// Connects to a node that may lead the shard: the one that was named, or a candidate.
    ///
    /// # Errors
    /// [`LinkError`] when no candidate can be reached.
    pub(super) async fn to_leader(
        seeds: &[String],
        tls: &Arc<TlsIdentity>,
        shard: ShardId,
        hint: Option<String>,
    ) -> Result<Self, LinkError> {
        let address = match hint {
            Some(address) => address,
            None => Self::candidate(seeds, tls, shard).await?,
        };
        Self::connect(&address, tls).await
    }

    /// Connects to the shard's leader and opens the stream. `hint` is an address that a node named
    /// as its leader's. Whether the node does lead is known when the stream brings something.
    ///
    /// # Errors
    /// [`LinkError`] when no candidate can be reached.
    pub(super) async fn attend(
        seeds: &[String],
        tls: &Arc<TlsIdentity>,
        attend: Attend,
        hint: Option<String>,
    ) -> Result<(Self, StreamSender, StreamReceiver), LinkError> {
        let header: Bytes = codec::encode(&attend)
            .map_err(|_| LinkError::Malformed)?
            .into();
        let link = Self::to_leader(seeds, tls, attend.shard, hint).await?;
        let opened = link.connection.open(Operation::Attend, header).await;
        let (sender, receiver) = opened.map_err(link_error)?;
        Ok((link, sender, receiver))
    }

    /// The node at the other end, as its certificate names it.
    pub(super) fn node(&self) -> &Name {
        &self.connection.peer().id
    }

    /// Calls the leader.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(super) async fn call<Request: Serialize, Reply: DeserializeOwned>(
        &self,
        operation: Operation,
        request: &Request,
    ) -> Result<Reply, LinkError> {
        let payload = codec::encode(request).map_err(|_| LinkError::Malformed)?;
        self.ask(operation, payload.into()).await
    }

    async fn ask<Reply: DeserializeOwned>(
        &self,
        operation: Operation,
        payload: Bytes,
    ) -> Result<Reply, LinkError> {
        let reply = self
            .connection
            .call(operation, payload, DEADLINE)
            .await
            .map_err(link_error)?;
        codec::decode(&reply).map_err(|_| LinkError::Malformed)
    }
}

/// What a failed call says.
pub(super) fn link_error(error: CallError) -> LinkError {
    match error {
        CallError::Refused { message, .. } => match codec::decode(&message) {
            Ok(refusal) => LinkError::Refused(refusal),
            Err(_) => LinkError::Malformed,
        },
        other => LinkError::Connection(other.to_string()),
    }
}
