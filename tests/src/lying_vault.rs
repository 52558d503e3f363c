//! A vault node that lies: it has a true vault's certificate, passes every call on to the true leader,
//! and changes answers on their way back. What nodes know and attackers do not is not needed for that:
//! calls are passed on under the caller's own identity, of which the stories have the files.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use bailiwick_api::approver::Event;
use bailiwick_api::cluster::ClusterDescription;
use bailiwick_envelope::SigningKey;
use bailiwick_node::files::read_signing_key;
use bailiwick_node::vault::NOTE_KEY;
use bailiwick_tlog::{SignedCheckpoint, sign_checkpoint};
use bailiwick_transport::{
    CallError, ConnectOptions, Connection, ExpectedPeer, Handler, Operation, Refusal, Server,
    ServerHandle, ServerOptions, StreamReceiver, StreamSender, TlsIdentity,
};
use bailiwick_types::{Identity, Name, codec};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::Running;

/// Redirections that are followed for one call.
const HOPS: usize = 6;

/// What becomes of an answer: the operation, and what the true leader said.
pub type Lie = Arc<dyn Fn(Operation, Bytes) -> Bytes + Send + Sync>;

/// A vault node that lies; it is gone when dropped.
pub struct LyingVault {
    /// Where it listens.
    pub address: String,
    _server: ServerHandle,
}

struct Relay {
    address: String,
    vaults: Vec<String>,
    callers: BTreeMap<Name, Arc<TlsIdentity>>,
    leader: Mutex<String>,
    lie: Lie,
    voter: Option<Voter>,
}

/// A voter whose certificate and note key the liar has.
struct Voter {
    name: &'static str,
    key: SigningKey,
    forks: Arc<AtomicBool>,
}

impl Voter {
    /// What an approver is sent: the true leader's checkpoints, as this voter's own, or with a root
    /// that never was.
    fn resign(&self, message: Bytes) -> anyhow::Result<Bytes> {
        let Event::Checkpoint { note, leaves } = codec::decode(&message)? else {
            return Ok(message);
        };
        let mut checkpoint = SignedCheckpoint::parse(&note)?.checkpoint().clone();
        if self.forks.load(Ordering::Relaxed) {
            checkpoint.root = [9; 32];
        }
        let signature = sign_checkpoint(self.name, &self.key, &checkpoint)?;
        let note = SignedCheckpoint::new(checkpoint, signature)?.to_text();
        Ok(codec::encode(&Event::Checkpoint { note, leaves })?.into())
    }
}

impl LyingVault {
    /// Begins to lie to these callers, with the certificate of vault-6, which no French group has.
    ///
    /// # Errors
    /// When a certificate or socket is missing.
    pub async fn start(cluster: &Running, callers: &[&str], lie: Lie) -> anyhow::Result<Self> {
        Self::with_certificate_of(cluster, "vault-6", callers, lie, None).await
    }

    /// Begins to lie to these approvers with certificate and note key of vault-1, which is a voter of
    /// France: without, they follow nothing. While `forks` is set its checkpoints have a root that never
    /// was.
    ///
    /// # Errors
    /// When a certificate, key or socket is missing.
    pub async fn start_voter(
        cluster: &Running,
        callers: &[&str],
        lie: Lie,
        forks: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let name = "vault-1";
        let path = cluster.root().join(name).join("data").join(NOTE_KEY);
        let key = read_signing_key(&path)?;
        let voter = Some(Voter { name, key, forks });
        Self::with_certificate_of(cluster, name, callers, lie, voter).await
    }

    async fn with_certificate_of(
        cluster: &Running,
        vault: &str,
        callers: &[&str],
        lie: Lie,
        voter: Option<Voter>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let mut identities = BTreeMap::new();
        for caller in callers {
            identities.insert(caller.parse()?, cluster.tls(caller)?);
        }
        let vaults = cluster.vaults();
        let first = vaults.first().context("a vault")?.clone();
        let relay = Relay {
            address: address.clone(),
            vaults,
            callers: identities,
            leader: Mutex::new(first),
            lie,
            voter,
        };
        let tls = cluster.tls(vault)?;
        let server = Server::serve(listener, tls, Arc::new(relay), ServerOptions::default())?;
        Ok(Self {
            address,
            _server: server,
        })
    }
}

fn refused(error: &dyn std::fmt::Display) -> Refusal {
    // A code that no client understands: the liar is then as good as unreachable.
    Refusal::new(u16::MAX, error.to_string().into_bytes())
}

impl Relay {
    fn leader(&self) -> String {
        self.leader.lock().expect("nothing panics here").clone()
    }

    fn set_leader(&self, address: String) {
        *self.leader.lock().expect("nothing panics here") = address;
    }

    async fn connect(&self, peer: &Identity) -> Result<Connection, Refusal> {
        let tls = self.callers.get(&peer.id);
        let tls = tls.ok_or_else(|| refused(&"this caller is not lied to"))?;
        let leader = self.leader();
        let options = ConnectOptions::default();
        Connection::connect(&leader, tls, ExpectedPeer::vault(), options)
            .await
            .map_err(|error| refused(&error))
    }

    /// All nodes, so says the liar, are the liar.
    fn own_directory(&self, reply: &Bytes) -> Bytes {
        let Ok(mut description) = codec::decode::<ClusterDescription>(reply) else {
            return reply.clone();
        };
        for node in &mut description.nodes {
            node.address.clone_from(&self.address);
        }
        codec::encode(&description).map_or_else(|_| reply.clone(), Bytes::from)
    }

    async fn pass_on(
        &self,
        peer: &Identity,
        operation: Operation,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Refusal> {
        for _ in 0..HOPS {
            let connection = self.connect(peer).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            match connection.call(operation, payload.clone(), left).await {
                Ok(reply) if operation == Operation::Directory => {
                    return Ok(self.own_directory(&reply));
                }
                Ok(reply) => return Ok((self.lie)(operation, reply)),
                Err(CallError::Refused { code, message }) => match codec::decode(&message) {
                    Ok(bailiwick_api::Refusal::NotLeader { leader }) => self.redirect(leader).await,
                    _ => return Err(Refusal::new(code, message)),
                },
                Err(error) => return Err(refused(&error)),
            }
        }
        Err(refused(&"no leader"))
    }

    async fn redirect<Node>(&self, leader: Option<(Node, String)>) {
        match leader {
            Some((_, address)) => self.set_leader(address),
            None => {
                let now = self.leader();
                let place = self.vaults.iter().position(|vault| *vault == now);
                let next = place.map_or(0, |place| (place + 1) % self.vaults.len());
                self.set_leader(self.vaults[next].clone());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// One attempt to relay a stream; who attends tries again, and any call finds the leader.
    async fn relay(
        &self,
        peer: &Identity,
        operation: Operation,
        header: Bytes,
        mut sender: StreamSender,
        mut receiver: StreamReceiver,
    ) -> Result<(), Refusal> {
        let connection = self.connect(peer).await?;
        let opened = connection.open(operation, header).await;
        let (mut to_leader, mut from_leader) = opened.map_err(|error| refused(&error))?;
        let down = async {
            loop {
                match from_leader.recv().await {
                    Ok(Some(message)) => {
                        let message = match &self.voter {
                            Some(voter) => voter.resign(message).map_err(|e| refused(&e))?,
                            None => message,
                        };
                        sender.send(message).await.map_err(|e| refused(&e))?;
                    }
                    Ok(None) => return Ok(()),
                    Err(bailiwick_transport::StreamError::Refused(CallError::Refused {
                        message,
                        ..
                    })) => {
                        if let Ok(bailiwick_api::Refusal::NotLeader { leader }) =
                            codec::decode(&message)
                        {
                            self.redirect(leader).await;
                        }
                        return Err(refused(&"not the leader"));
                    }
                    Err(error) => return Err(refused(&error)),
                }
            }
        };
        let up = async {
            while let Ok(Some(message)) = receiver.recv().await {
                if to_leader.send(message).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            ended = down => ended,
            () = up => Ok(()),
        }
    }
}

impl Handler for Relay {
    fn call(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        payload: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, Refusal>> {
        Box::pin(async move { self.pass_on(&peer, operation, payload, deadline).await })
    }

    fn stream(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        header: Bytes,
        sender: StreamSender,
        receiver: StreamReceiver,
    ) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move { self.relay(&peer, operation, header, sender, receiver).await })
    }
}
