//! How a node begins: with the disk that the directory knows it by, or not at all.
//!
//! A voter that has forgotten its votes can elect two leaders. So a node with a blank disk takes no
//! part in anything before the directory has noted its disk; a disk that was wiped is another disk, and
//! is refused under the old id. In a cluster that nobody has initialised there is nothing to forget.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use bailiwick_api::Refusal;
use bailiwick_api::cluster::{Accepted, ClusterDescription};
use bailiwick_api::placement::BeginNode;
use bailiwick_consensus::{AskError, PeerAddress};
use bailiwick_shard::directory::{DirectoryCommandBody, DiskId};
use bailiwick_transport::Operation;
use bailiwick_types::{Digest, GroupId, Identity, NodeId, codec};
use bytes::Bytes;

use super::Vault;
use super::commands::Asked;
use crate::files;

/// The file of a node's disk id.
pub(crate) const DISK_FILE: &str = "disk.id";
/// Longest wait for one node's answer.
const ASK_DEADLINE: Duration = Duration::from_secs(2);
/// Pause before all are asked again.
const ASK_PERIOD: Duration = Duration::from_millis(200);
/// How often a node says in its log what it waits for.
const TELL_PERIOD: Duration = Duration::from_secs(10);

/// The code of a refusal for want of a cluster.
const NOT_INITIALISED: &str = "not_initialised";
/// The code of a refusal because of another disk.
const OTHER_DISK: &str = "other_disk";

/// The id of the disk below the data folder, drawn when it is blank.
///
/// # Errors
/// When the file cannot be read or written, or stands beside a log that somebody deleted.
pub(super) fn disk_id(data: &Path, log_was_there: bool) -> anyhow::Result<DiskId> {
    let path = data.join(DISK_FILE);
    if !path.exists() {
        let id: [u8; 32] = rand::random();
        files::write_secret(&path, &id)?;
    } else if !log_was_there {
        bail!(
            "{} is there but the log beside it is gone: this node has forgotten its votes; wipe its \
             data folder and join it under a new id (bailiwick operator replace)",
            path.display()
        );
    }
    Ok(Digest(*files::read_secret(&path)?))
}

/// What another node answered to a node that begins.
enum Answered {
    Noted,
    NoCluster,
    OtherDisk,
    Else(String),
}

impl Vault {
    /// Waits until this node may take part; returns whether a cluster is there already, which it then
    /// joins, or is yet to be initialised.
    ///
    /// # Errors
    /// When the directory knows this node by another disk.
    pub(super) async fn enter(&self) -> anyhow::Result<bool> {
        if !self.host.is_blank(GroupId::DIRECTORY) {
            return Ok(true);
        }
        let others: Vec<NodeId> = self
            .config
            .seeds
            .iter()
            .map(|seed| seed.id)
            .filter(|id| *id != self.config.node)
            .collect();
        let mut told: Option<tokio::time::Instant> = None;
        loop {
            let mut blank = 0;
            let mut waits = Vec::new();
            for other in &others {
                match self.ask_to_begin(*other).await {
                    Answered::Noted => return Ok(true),
                    Answered::OtherDisk => return Err(wiped(self.config.node)),
                    Answered::NoCluster => blank += 1,
                    Answered::Else(reason) => waits.push(format!("node {other}: {reason}")),
                }
            }
            // More than half of the others know of no cluster: then there is none.
            if blank * 2 > others.len() || others.is_empty() {
                return Ok(false);
            }
            if told.is_none_or(|told| told.elapsed() >= TELL_PERIOD) {
                let waits = waits.join("; ");
                tracing::info!(waits, "a blank disk: this node waits to be let in");
                told = Some(tokio::time::Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_PERIOD) => {}
                () = self.stop.cancelled() => bail!("stopped before this node was let in"),
            }
        }
    }

    async fn ask_to_begin(&self, other: NodeId) -> Answered {
        let message = BeginNode {
            node: self.config.node,
            disk: self.disk,
        };
        let answer = self.ask_node(other, Operation::BeginNode, &message).await;
        match answer {
            Ok(Accepted) => Answered::Noted,
            Err(Refusal::Rejected { code, .. }) if code == NOT_INITIALISED => Answered::NoCluster,
            Err(Refusal::Rejected { code, .. }) if code == OTHER_DISK => Answered::OtherDisk,
            Err(Refusal::NotLeader {
                leader: Some((id, _)),
            }) if id != other => {
                // The directory is led by somebody whom the configuration may not name.
                self.learn_peers_from(other).await;
                let answer = self.ask_node(id, Operation::BeginNode, &message).await;
                match answer {
                    Ok(Accepted) => Answered::Noted,
                    Err(Refusal::Rejected { code, .. }) if code == OTHER_DISK => {
                        Answered::OtherDisk
                    }
                    Err(refusal) => Answered::Else(refusal.to_string()),
                }
            }
            Err(refusal) => Answered::Else(refusal.to_string()),
        }
    }

    /// Asks another vault node something; whoever does not answer is unavailable.
    pub(super) async fn ask_node<Question, Answer>(
        &self,
        to: NodeId,
        operation: Operation,
        question: &Question,
    ) -> Result<Answer, Refusal>
    where
        Question: serde::Serialize,
        Answer: serde::de::DeserializeOwned,
    {
        let payload = codec::encode(question).map_err(|_| Refusal::Store)?;
        let answer = self.host.ask(to, operation, payload.into(), ASK_DEADLINE);
        match answer.await {
            Ok(answer) => decoded(&answer),
            Err(AskError::Refused(refusal)) => {
                Err(codec::decode(&refusal).unwrap_or(Refusal::Unavailable))
            }
            Err(AskError::NoAnswer(_)) => Err(Refusal::Unavailable),
        }
    }

    /// Adds the nodes that another one knows to those of the configuration: the cluster may have
    /// others by now.
    pub(super) async fn learn_peers_from(&self, other: NodeId) {
        let answer = self
            .host
            .ask(other, Operation::Directory, Bytes::new(), ASK_DEADLINE);
        let Ok(answer) = answer.await else { return };
        let Ok(description) = codec::decode::<ClusterDescription>(&answer) else {
            return;
        };
        let described = description.nodes.into_iter().map(|node| PeerAddress {
            id: node.id,
            address: node.address,
            region: node.region,
            name: node.name,
        });
        let described: BTreeMap<NodeId, PeerAddress> =
            described.map(|peer| (peer.id, peer)).collect();
        let mut learned = self.learned.lock().expect("no panic holds the learned");
        *learned = described.clone();
        drop(learned);
        if self.host.is_blank(GroupId::DIRECTORY) {
            let mut peers = self.seed_peers();
            peers.extend(described);
            self.host.set_peers(peers.into_values().collect());
        }
    }

    /// The nodes that the configuration names.
    pub(super) fn seed_peers(&self) -> BTreeMap<NodeId, PeerAddress> {
        let seeds = self.config.seeds.iter().map(|seed| PeerAddress {
            id: seed.id,
            address: seed.address.clone(),
            region: seed.region.clone(),
            name: seed.name.clone(),
        });
        seeds.map(|peer| (peer.id, peer)).collect()
    }

    /// Has the directory note this node's disk, once it has a leader; ends the process when it knows
    /// another one.
    pub(super) async fn note_disk(&self, known: Option<DiskId>) {
        if known.is_some_and(|known| known != self.disk) {
            let refusal = wiped(self.config.node);
            tracing::error!(%refusal, "this node ends");
            self.stop.cancel();
            return;
        }
        let (None, Some(leader)) = (known, self.host.leader(GroupId::DIRECTORY)) else {
            return;
        };
        let message = BeginNode {
            node: self.config.node,
            disk: self.disk,
        };
        let noted = if leader.id == self.config.node {
            let BeginNode { node, disk } = message;
            let body = DirectoryCommandBody::BeginNode { node, disk };
            self.enter_fact(body).await.map(drop)
        } else {
            let asked = self.ask_node(leader.id, Operation::BeginNode, &message);
            asked.await.map(|Accepted| ())
        };
        if let Err(refusal) = noted {
            tracing::debug!(%refusal, "the directory has not noted this node's disk yet");
        }
    }

    /// Another node begins.
    pub(super) async fn begin_node(
        &self,
        asked: &Asked<'_>,
        message: BeginNode,
    ) -> Result<Accepted, Refusal> {
        self.check_itself(asked.peer, message.node)?;
        if self.host.group_report(GroupId::DIRECTORY).is_none() {
            // Before this node has opened its directory it does not know whether there is a cluster.
            let opens = !self.runs(GroupId::DIRECTORY) && !self.host.is_blank(GroupId::DIRECTORY);
            if opens {
                return Err(Refusal::Unavailable);
            }
            if self.cluster_view().await.is_none() {
                return Err(no_cluster());
            }
        }
        let BeginNode { node, disk } = message;
        let body = DirectoryCommandBody::BeginNode { node, disk };
        self.propose_to_directory(asked, body).await
    }

    fn check_itself(&self, peer: &Identity, node: NodeId) -> Result<(), Refusal> {
        if self.host.peer_of(peer) == Some(node) {
            return Ok(());
        }
        Err(Refusal::NotFound(format!(
            "{} as node {node} in the directory",
            peer.id
        )))
    }
}

fn decoded<Answer: serde::de::DeserializeOwned>(answer: &Bytes) -> Result<Answer, Refusal> {
    codec::decode(answer).map_err(|error| Refusal::Malformed(error.to_string()))
}

fn no_cluster() -> Refusal {
    Refusal::Rejected {
        code: NOT_INITIALISED.to_owned(),
        message: "the cluster is not initialised".to_owned(),
    }
}

fn wiped(node: NodeId) -> anyhow::Error {
    anyhow::anyhow!(
        "the directory knows node {node} by another disk: a disk that was wiped has forgotten its \
         votes and must not come back under its old id; give it a new one with `bailiwick operator \
         replace`"
    )
    .context("this node may not take part")
}
