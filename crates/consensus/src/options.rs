//! What a host is started with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailiwick_storage::{Disk, OsDisk, RecordStoreOptions, WalOptions};
use bailiwick_transport::TlsIdentity;
use bailiwick_types::{ClusterId, NodeId, Timestamp};

use crate::group::GroupKind;
use crate::machine::{StateMachine, shard_machines};

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since.map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        }))
    }
}

/// The timings of the Raft groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftTimings {
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// A follower stands for election after at least this long without a leader.
    pub election_min: Duration,
    /// And after at most this long.
    pub election_max: Duration,
    /// A proposal that was definitely not appended is repeated for this long.
    pub propose_deadline: Duration,
    /// A linearizable read waits this long for a quorum.
    pub read_deadline: Duration,
    /// A record store is made durable at least this often while it changes.
    pub checkpoint_period: Duration,
    /// And after this many bytes of commands: 16 MiB are some 100,000 records and 45 MiB of rows in
    /// memory, well below where a write waits for the file.
    pub checkpoint_bytes: u64,
    /// A snapshot is built after this many entries.
    pub snapshot_entries: u64,
    /// So many entries stay in the log behind a snapshot, for followers that lag.
    pub keep_entries: u64,
    /// Log beyond so many bytes goes earlier, once a snapshot covers it.
    pub keep_bytes: u64,
}

impl Default for RaftTimings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            election_min: Duration::from_millis(750),
            election_max: Duration::from_millis(1500),
            propose_deadline: Duration::from_secs(5),
            read_deadline: Duration::from_secs(3),
            checkpoint_period: Duration::from_secs(5),
            checkpoint_bytes: 16 << 20,
            snapshot_entries: 5000,
            keep_entries: 1000,
            keep_bytes: 128 << 20,
        }
    }
}

/// Decides whether this node's region may hold a group.
pub type Placement = Arc<dyn Fn(&GroupKind) -> bool + Send + Sync>;
/// Gives the state machine of a kind of group.
pub type Machines = Arc<dyn Fn(&GroupKind) -> Arc<dyn StateMachine> + Send + Sync>;
/// Is called when the disk has failed; the process must end, so it does not return to normal work.
pub type Fatal = Arc<dyn Fn(&str) + Send + Sync>;

/// What a host is started with.
#[derive(Clone)]
pub struct HostOptions {
    /// This node's number.
    pub node: NodeId,
    /// The disk below the data directory. Files: `wal/`, `groups/<id>/`.
    pub disk: Arc<dyn Disk>,
    /// This node's certificate; used to dial the other nodes.
    pub tls: Arc<TlsIdentity>,
    /// The cluster, once known; announced to peers.
    pub cluster: Option<ClusterId>,
    /// The Raft timings.
    pub timings: RaftTimings,
    /// The clock that stamps proposals and judges stamps.
    pub clock: Arc<dyn Clock>,
    /// Whether a group may be on this node. Asked before a group is opened, and again for each
    /// append and snapshot.
    pub placement: Placement,
    /// The state machines.
    pub machines: Machines,
    /// What ends the process when the disk fails.
    pub fatal: Fatal,
    /// The write-ahead log's options.
    pub wal: WalOptions,
    /// The record stores' options, for each group.
    pub store: RecordStoreOptions,
}

impl HostOptions {
    /// The defaults: the operating system's disk and clock, every group allowed here, the state
    /// machines of `bailiwick-shard`, and the end of the process when the disk fails.
    pub fn new(node: NodeId, data: PathBuf, tls: Arc<TlsIdentity>) -> Self {
        Self {
            node,
            disk: Arc::new(OsDisk::new(data)),
            tls,
            cluster: None,
            timings: RaftTimings::default(),
            clock: Arc::new(SystemClock),
            placement: Arc::new(|_| true),
            machines: shard_machines(),
            fatal: Arc::new(|reason| {
                tracing::error!(reason, "the disk failed; this process ends");
                std::process::abort();
            }),
            wal: WalOptions::new(node),
            store: RecordStoreOptions::default(),
        }
    }
}

impl fmt::Debug for HostOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HostOptions")
            .field("node", &self.node)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}
