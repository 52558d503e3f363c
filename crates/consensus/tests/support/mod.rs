//! A cluster of hosts in one process over real mutual TLS on the loopback, with links that can be
//! blocked and clocks that can be shifted.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)] // A test that cannot go on has failed; not all use all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bailiwick_consensus::{
    Clock, GroupKind, GroupSpec, GroupStatus, Host, HostOptions, PeerAddress, RaftTimings,
    StateMachine, SystemClock,
};
use bailiwick_storage::StoreView;
use bailiwick_transport::{
    Handler, Operation, Refusal, Server, ServerHandle, ServerOptions, StreamReceiver, StreamSender,
    TlsFiles, TlsIdentity,
};
use bailiwick_types::store::{ReadStore, StoreError, Table, WriteStore};
use bailiwick_types::{GroupId, Identity, NodeId, ShardId, Timestamp};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

pub const GROUP: GroupId = GroupId(1);
pub const ROWS: Table = Table::new(1);

/// Keeps every command under its number.
pub struct Keeper;

impl StateMachine for Keeper {
    fn apply(
        &self,
        store: &mut dyn WriteStore,
        _stamp: Timestamp,
        command: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let next = store.last(ROWS)?.map_or(0, |(key, _)| number(&key) + 1);
        store.put(ROWS, &next.to_be_bytes(), command)?;
        Ok(next.to_be_bytes().to_vec())
    }
}

pub fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// All commands that a view has, in order.
pub fn rows(view: &StoreView) -> Vec<Vec<u8>> {
    let rows = view.scan_prefix(ROWS, &[], usize::MAX).unwrap();
    rows.into_iter().map(|(_, value)| value).collect()
}

/// A clock that is wrong by a number of seconds.
#[derive(Default)]
pub struct ShiftedClock(pub AtomicU64);

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let shift = Duration::from_secs(self.0.load(Ordering::SeqCst));
        SystemClock.now().plus(shift)
    }
}

/// The way from one node to another: forwards bytes unless blocked, when they wait.
pub struct Link {
    pub address: SocketAddr,
    pub connections: AtomicUsize,
    blocked: watch::Sender<bool>,
    to: Mutex<Option<SocketAddr>>,
}

impl Link {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            connections: AtomicUsize::new(0),
            blocked: watch::Sender::new(false),
            to: Mutex::new(None),
        });
        tokio::spawn(link.clone().accept(listener));
        link
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Ok((from, _)) = listener.accept().await {
            let to = *self.to.lock().unwrap();
            let Some(to) = to else { continue };
            let Ok(to) = TcpStream::connect(to).await else {
                continue;
            };
            self.connections.fetch_add(1, Ordering::SeqCst);
            let (from_read, from_write) = from.into_split();
            let (to_read, to_write) = to.into_split();
            tokio::spawn(pump(from_read, to_write, self.blocked.subscribe()));
            tokio::spawn(pump(to_read, from_write, self.blocked.subscribe()));
        }
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut blocked: watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if blocked.wait_for(|blocked| !blocked).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Hands Raft operations to the host, as a node does, and keeps the last append.
struct ToHost {
    host: Arc<Host>,
    last_append: Arc<Mutex<Option<Bytes>>>,
}

impl Handler for ToHost {
    fn call(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        payload: Bytes,
        _deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, Refusal>> {
        Box::pin(async move {
            let from = self
                .host
                .peer_of(&peer)
                .ok_or_else(|| Refusal::new(99, Bytes::new()))?;
            if operation == Operation::RaftAppend {
                *self.last_append.lock().unwrap() = Some(payload.clone());
            }
            self.host.handle_call(from, operation, payload).await
        })
    }

    fn stream(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        header: Bytes,
        sender: StreamSender,
        receiver: StreamReceiver,
    ) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            let from = self
                .host
                .peer_of(&peer)
                .ok_or_else(|| Refusal::new(99, Bytes::new()))?;
            self.host
                .handle_stream(from, operation, header, sender, receiver)
                .await
        })
    }
}

pub struct Node {
    pub host: Arc<Host>,
    pub clock: Arc<ShiftedClock>,
    pub allowed: Arc<AtomicBool>,
    pub last_append: Arc<Mutex<Option<Bytes>>>,
    server: ServerHandle,
}

pub struct Cluster {
    directory: tempfile::TempDir,
    pub timings: RaftTimings,
    pub kind: GroupKind,
    pub nodes: BTreeMap<u64, Node>,
    /// From, to.
    pub links: BTreeMap<(u64, u64), Arc<Link>>,
    /// Whether the hosts dial each other without links between.
    direct: bool,
    size: u64,
}

/// Timings that a debug build on two shared cores keeps.
pub fn quick() -> RaftTimings {
    RaftTimings {
        heartbeat: Duration::from_millis(150),
        election_min: Duration::from_millis(500),
        election_max: Duration::from_millis(1000),
        propose_deadline: Duration::from_secs(3),
        read_deadline: Duration::from_secs(2),
        ..RaftTimings::default()
    }
}

fn certificates(directory: &Path, size: u64) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = authority.self_signed(&key).unwrap();
    std::fs::write(directory.join("authority.pem"), certificate.pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    for id in 1..=size {
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://test.example/vault/eu/v{id}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(directory.join(format!("v{id}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("v{id}.key")), key.serialize_pem()).unwrap();
    }
}

impl Cluster {
    /// A cluster of up to `size` nodes, none of them started.
    pub async fn new(size: u64, timings: RaftTimings, direct: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        certificates(directory.path(), size);
        let mut links = BTreeMap::new();
        for (from, to) in (1..=size).flat_map(|from| (1..=size).map(move |to| (from, to))) {
            links.insert((from, to), Link::start().await);
        }
        Self {
            directory,
            timings,
            kind: GroupKind::Shard(ShardId::home("FR".parse().unwrap())),
            nodes: BTreeMap::new(),
            links,
            direct,
            size,
        }
    }

    /// Three started voters with a leader.
    pub async fn of_three(timings: RaftTimings) -> Self {
        let mut cluster = Self::new(4, timings, false).await;
        cluster.start_voters().await;
        cluster
    }

    /// Starts nodes 1 to 3 as voters and waits for a leader.
    pub async fn start_voters(&mut self) {
        for id in 1..=3 {
            self.start(id).await;
        }
        for id in 1..=3 {
            self.ensure(id).await;
        }
        self.leader().await;
    }

    pub fn peers(&self, from: u64) -> Vec<PeerAddress> {
        let peer = |to| PeerAddress {
            id: NodeId(to),
            address: self.address(from, to),
            region: "eu".parse().unwrap(),
            name: format!("v{to}").parse().unwrap(),
        };
        (1..=self.size).map(peer).collect()
    }

    /// Where a node finds another.
    pub fn address(&self, from: u64, to: u64) -> String {
        let link = &self.links[&(from, to)];
        let server = *link.to.lock().unwrap();
        match (self.direct, server) {
            (true, Some(server)) => server.to_string(),
            _ => link.address.to_string(),
        }
    }

    /// Starts a node without any group, with what its disk has.
    pub async fn start(&mut self, id: u64) {
        let file = |name: String| self.directory.path().join(name);
        let files = TlsFiles {
            certificate: file(format!("v{id}.pem")),
            key: file(format!("v{id}.key")),
            authorities: file("authority.pem".to_owned()),
            families: Vec::new(),
            revocations: None,
        };
        let tls = TlsIdentity::load(files, "test.example".parse().unwrap()).unwrap();
        let clock = Arc::new(ShiftedClock::default());
        let allowed = Arc::new(AtomicBool::new(true));
        let mut options = HostOptions::new(NodeId(id), file(format!("data{id}")), tls.clone());
        options.timings = self.timings.clone();
        options.clock = clock.clone();
        options.machines = Arc::new(|_| Arc::new(Keeper));
        let asked = allowed.clone();
        options.placement = Arc::new(move |_| asked.load(Ordering::SeqCst));
        let host = Host::start(options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let last_append = Arc::new(Mutex::new(None));
        let handler = ToHost {
            host: host.clone(),
            last_append: last_append.clone(),
        };
        let server =
            Server::serve(listener, tls, Arc::new(handler), ServerOptions::default()).unwrap();
        for from in 1..=self.size {
            *self.links[&(from, id)].to.lock().unwrap() = Some(server.local_addr());
        }
        self.nodes.insert(
            id,
            Node {
                host,
                clock,
                allowed,
                last_append,
                server,
            },
        );
        for (id, node) in &self.nodes {
            node.host.set_peers(self.peers(*id));
        }
    }

    /// The data folder of a node.
    pub fn data(&self, id: u64) -> PathBuf {
        self.directory.path().join(format!("data{id}"))
    }

    pub fn spec(&self) -> GroupSpec {
        GroupSpec {
            id: GROUP,
            kind: self.kind,
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
            learners: Vec::new(),
        }
    }

    /// Opens the group on a node.
    pub async fn ensure(&self, id: u64) {
        self.host(id).ensure_group(self.spec()).await.unwrap();
    }

    pub fn host(&self, id: u64) -> &Arc<Host> {
        &self.nodes[&id].host
    }

    pub fn status(&self, id: u64) -> GroupStatus {
        self.host(id).group_status().remove(0)
    }

    /// Ends a node: its connections break at once.
    pub async fn stop(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        node.server.shutdown();
        node.host.shutdown().await;
        drop(node);
    }

    /// Blocks or opens all links of a node, in both directions.
    pub fn block(&self, id: u64, blocked: bool) {
        for ((from, to), link) in &self.links {
            if *from == id || *to == id {
                link.blocked.send_replace(blocked);
            }
        }
    }

    /// The node that a majority takes for the leader and that takes itself for it.
    pub async fn leader(&self) -> u64 {
        self.leader_among(&self.nodes.keys().copied().collect::<Vec<_>>())
            .await
    }

    pub async fn leader_among(&self, among: &[u64]) -> u64 {
        until("a leader", || {
            let known: Vec<_> = among
                .iter()
                .map(|id| self.host(*id).leader(GROUP))
                .collect();
            let first = known.first()?.clone()?;
            let agreed = known
                .iter()
                .flatten()
                .filter(|leader| leader.id == first.id)
                .count();
            let itself = among.contains(&first.id.0) && self.host(first.id.0).is_leader(GROUP);
            (agreed == known.len() && itself).then_some(first.id.0)
        })
        .await
    }

    /// Proposes at the leader.
    pub async fn propose(&self, command: &[u8]) -> u64 {
        let leader = self.leader().await;
        let outcome = self
            .host(leader)
            .propose(GROUP, Bytes::copy_from_slice(command))
            .await;
        number(&outcome.unwrap())
    }

    pub fn local_rows(&self, id: u64) -> Vec<Vec<u8>> {
        rows(&self.host(id).read_local(GROUP).unwrap())
    }
}

/// Waits for something, at most fifteen seconds.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
