//! Receiving a snapshot of a group from a voter, over a connection of its own, so that no call waits
//! behind it. What arrives is not verified here: the file says what it is, and who keeps it reads it.

use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::cluster::ClusterDescription;
use bailiwick_api::log::{LogPage, ReadLog};
use bailiwick_api::snapshot::SaveSnapshot;
use bailiwick_transport::{
    CallError, ConnectOptions, Connection, ExpectedPeer, Operation, StreamError, StreamReceiver,
    StreamSender,
};
use bailiwick_types::{Jurisdiction, NodeId, ShardId, codec};
use bytes::Bytes;
use tokio::time::Instant;

use crate::cluster::{CallFailure, Cluster};

/// How long voters are tried until one begins to send.
const PATIENCE: Duration = Duration::from_secs(20);
/// Wait between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest that a node may take for its snapshot before the first byte: it writes all of it first.
const FIRST: Duration = Duration::from_secs(10 * 60);
/// Longest that a node may stay silent between two messages.
const SILENCE: Duration = Duration::from_secs(60);

/// Why no snapshot was received.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFailure {
    /// No voter began to send.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// A node began to send and stopped.
    #[error("node at {address} stopped after {bytes} bytes: {reason}")]
    Interrupted {
        /// The node.
        address: String,
        /// Bytes received.
        bytes: u64,
        /// Why.
        reason: String,
    },
    /// What was received could not be kept: this machine's disk.
    #[error("the snapshot is not kept")]
    Keep(#[source] std::io::Error),
}

/// The latest cosigned checkpoint that the cluster shows of a jurisdiction, not verified.
///
/// # Errors
/// [`CallFailure`], for instance when the group has no leader.
pub async fn cosigned(
    cluster: &Cluster,
    jurisdiction: Jurisdiction,
) -> Result<Option<String>, CallFailure> {
    let shard = ShardId::home(jurisdiction);
    let (from, limit) = (0, 0);
    let read = ReadLog { shard, from, limit };
    let page: LogPage = cluster.call(Some(shard), Operation::ReadLog, &read).await?;
    Ok(page.checkpoint)
}

/// Receives a snapshot and hands its bytes to `keep` in order; returns how many there were. From
/// `node`, or from whichever voter the others name as the leader.
///
/// # Errors
/// [`SnapshotFailure`]; what was kept until then is of no use.
pub async fn receive(
    cluster: &Cluster,
    asked: &SaveSnapshot,
    node: Option<NodeId>,
    mut keep: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<u64, SnapshotFailure> {
    let (address, _sender, mut receiver, first) = begin(cluster, asked, node).await?;
    let mut next = Some(first);
    let mut bytes = 0;
    while let Some(message) = next {
        bytes += message.len() as u64;
        keep(&message).map_err(SnapshotFailure::Keep)?;
        let interrupted = |reason: String| SnapshotFailure::Interrupted {
            address: address.clone(),
            bytes,
            reason,
        };
        next = tokio::time::timeout(SILENCE, receiver.recv())
            .await
            .map_err(|_| interrupted("silence".to_owned()))?
            .map_err(|error| interrupted(error.to_string()))?;
    }
    Ok(bytes)
}

type Begun = (String, StreamSender, StreamReceiver, Bytes);

async fn begin(
    cluster: &Cluster,
    asked: &SaveSnapshot,
    node: Option<NodeId>,
) -> Result<Begun, SnapshotFailure> {
    let operation = Operation::SaveSnapshot;
    let header: Bytes = codec::encode(asked)
        .map_err(|_| CallFailure::Malformed(operation))?
        .into();
    let description = cluster.describe().await?;
    let addresses = candidates(&description, asked.shard, node)?;
    let until = Instant::now() + PATIENCE;
    let (mut attempt, mut named) = (0, None);
    loop {
        let next = addresses[attempt % addresses.len()].clone();
        let address: String = named.take().unwrap_or(next);
        attempt += 1;
        let last = match open(cluster, &address, header.clone()).await {
            Ok((sender, receiver, first)) => return Ok((address, sender, receiver, first)),
            Err(Failed::Refused(Refusal::NotLeader { leader })) => {
                // Only where the caller did not insist on a node may it be sent on.
                named = leader
                    .map(|(_, address)| address)
                    .filter(|_| node.is_none());
                format!("{address} does not lead")
            }
            Err(Failed::Refused(refusal)) if !refusal.is_transient() => {
                return Err(CallFailure::Refused(refusal).into());
            }
            Err(Failed::Refused(refusal)) => format!("{address}: {refusal}"),
            Err(Failed::NotAuthorised) => return Err(CallFailure::NotAuthorised(operation).into()),
            Err(Failed::Unreachable(reason)) => format!("{address}: {reason}"),
        };
        if Instant::now() + PAUSE >= until {
            let outcome_unknown = false;
            return Err(CallFailure::Deadline {
                outcome_unknown,
                last,
            }
            .into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Addresses to ask: the one node, or the leader first and then the other voters.
fn candidates(
    description: &ClusterDescription,
    shard: Option<ShardId>,
    node: Option<NodeId>,
) -> Result<Vec<String>, CallFailure> {
    let missing = |what: String| CallFailure::Refused(Refusal::NotFound(what));
    let address = |id: NodeId| {
        let node = description.node(id);
        node.map(|node| node.address.clone())
    };
    if let Some(id) = node {
        let address = address(id).ok_or_else(|| missing(format!("node {id}")))?;
        return Ok(vec![address]);
    }
    let mut groups = description.groups.iter();
    let group = groups.find(|group| group.shard == shard);
    let group = group.ok_or_else(|| match shard {
        Some(shard) => CallFailure::Refused(Refusal::NoSuchShard(shard)),
        None => missing("the directory".to_owned()),
    })?;
    let leader = group.leader.and_then(address);
    let others = group.voters.iter().filter(|id| Some(**id) != group.leader);
    let all: Vec<String> = leader
        .into_iter()
        .chain(others.filter_map(|id| address(*id)))
        .collect();
    if all.is_empty() {
        return Err(missing("a voter with an address".to_owned()));
    }
    Ok(all)
}

enum Failed {
    Refused(Refusal),
    NotAuthorised,
    Unreachable(String),
}

async fn open(
    cluster: &Cluster,
    address: &str,
    header: Bytes,
) -> Result<(StreamSender, StreamReceiver, Bytes), Failed> {
    let unreachable = |error: &dyn std::fmt::Display| Failed::Unreachable(error.to_string());
    let (tls, options) = (cluster.tls(), ConnectOptions::default());
    let connection = Connection::connect(address, tls, ExpectedPeer::vault(), options)
        .await
        .map_err(|error| unreachable(&error))?;
    let (sender, mut receiver) = connection
        .open(Operation::SaveSnapshot, header)
        .await
        .map_err(|error| unreachable(&error))?;
    let first = tokio::time::timeout(FIRST, receiver.recv())
        .await
        .map_err(|_| unreachable(&"no first byte in time"))?;
    match first {
        Ok(Some(first)) => Ok((sender, receiver, first)),
        Ok(None) => Err(unreachable(&"an empty answer")),
        Err(StreamError::Refused(CallError::NotAuthorised)) => Err(Failed::NotAuthorised),
        Err(StreamError::Refused(CallError::Refused { message, .. })) => {
            match codec::decode(&message) {
                Ok(refusal) => Err(Failed::Refused(refusal)),
                Err(_) => Err(unreachable(&"a refusal that is not of its form")),
            }
        }
        Err(error) => Err(unreachable(&error)),
    }
}
