//! The vault node: hosts groups, answers operations, collects cosignatures, keeps the spool. It holds
//! ciphertext and orders the log; it holds no key and decides nothing about disclosure.

pub mod attend;
pub(crate) mod begin;
pub mod checkpoint;
mod commands;
mod groups;
mod handler;
mod members;
mod metrics;
mod partitions;
mod queries;
mod scrape;
mod snapshots;
pub mod spool;
mod steer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::Context;
use bailiwick_client::{Cluster, ClusterOptions};
use bailiwick_consensus::{GroupKind, GroupSpec, Host, HostOptions, PeerAddress, RaftTimings};
use bailiwick_envelope::{IdentityKey, SigningKey};
use bailiwick_shard::directory::{self, DiskId};
use bailiwick_transport::{Server, ServerOptions, TlsIdentity};
use bailiwick_types::{ClusterId, GroupId, Jurisdiction, Name, NodeId, Region, ShardId, Timestamp};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::backup::restore::is_unfinished;
use crate::clock;
use crate::config::VaultConfig;
use crate::data_lock::DataLock;
use crate::files;
use crate::hardening::hide_memory;
use crate::health::{self, Health, ServiceKind, Standing};
use crate::process;
use crate::telemetry;
use attend::Hub;
use metrics::VaultMetrics;
use scrape::Scrape;
use snapshots::Snapshots;
use spool::Spool;

/// How often certificates on disk are looked at for a reload.
const RELOAD_PERIOD: Duration = Duration::from_secs(30);
/// Record store cache of each group: a node with 16 groups takes 1 GiB at most, and only as they grow.
const GROUP_CACHE_BYTES: usize = 64 << 20;
/// How long another group's leader may take to answer this one: below what clients wait.
const PEER_DEADLINE: Duration = Duration::from_secs(5);
/// Most voters of the directory; the other nodes are learners.
const DIRECTORY_VOTERS: usize = 5;

/// Which regions a jurisdiction allows, as this node's directory says.
type AllowedRegions = Arc<RwLock<BTreeMap<Jurisdiction, Vec<Region>>>>;

/// A running vault node.
pub struct Vault {
    config: VaultConfig,
    host: Arc<Host>,
    /// Leaders of other groups, as this node calls them under its own certificate.
    peers: Cluster,
    note_key: SigningKey,
    spool: Spool,
    hubs: Mutex<BTreeMap<ShardId, Arc<Hub>>>,
    groups: RwLock<BTreeMap<ShardId, GroupId>>,
    allowed: AllowedRegions,
    /// Nodes that another node told of while the directory had no leader.
    learned: Mutex<BTreeMap<NodeId, PeerAddress>>,
    /// Jurisdictions that take nothing new.
    retired: RwLock<BTreeSet<Jurisdiction>>,
    /// What the directory knows this node's disk by.
    disk: DiskId,
    metrics: VaultMetrics,
    snapshots: Snapshots,
    started_at: Timestamp,
    stop: CancellationToken,
}

/// Runs a vault node until `stop`.
///
/// # Errors
/// When the configuration, the disk or a socket does not allow it to start.
pub async fn run(config: VaultConfig, stop: CancellationToken) -> anyhow::Result<()> {
    hide_memory().context("keep secrets out of core dumps")?;
    telemetry::start_logging(&config.log).context("log.filter")?;
    let tls = TlsIdentity::load(config.tls.files(), config.trust_domain.clone())
        .context("load the TLS identity")?;
    let reload = tls.watch(RELOAD_PERIOD);
    files::create_private_folder(&config.data)
        .with_context(|| format!("create {}", config.data.display()))?;
    let _lock = DataLock::take(&config.data)?;
    anyhow::ensure!(
        !is_unfinished(&config.data),
        "a restore into {} was interrupted: empty the folder and restore again",
        config.data.display()
    );
    let log_was_there = config.data.join("wal").exists();
    let disk = begin::disk_id(&config.data, log_was_there).context("begin with this disk")?;
    let allowed = AllowedRegions::default();
    let host = Host::start(host_options(&config, &tls, &allowed)).context("open the stores")?;
    let mut registry = prometheus_client::registry::Registry::default();
    let vault = Arc::new(Vault {
        note_key: note_key(&config.data)?,
        spool: Spool::default(),
        hubs: Mutex::default(),
        groups: RwLock::default(),
        metrics: VaultMetrics::register(&mut registry),
        snapshots: Snapshots::register(&mut registry),
        started_at: clock::now(),
        peers: Cluster::new(ClusterOptions {
            seeds: config
                .seeds
                .iter()
                .map(|seed| seed.address.clone())
                .collect(),
            tls: tls.clone(),
            deadline: PEER_DEADLINE,
        }),
        host,
        allowed,
        learned: Mutex::default(),
        retired: RwLock::default(),
        disk,
        config,
        stop: stop.clone(),
    });
    vault
        .host
        .set_peers(vault.seed_peers().into_values().collect());
    let listener = TcpListener::bind(&vault.config.listen)
        .await
        .with_context(|| format!("listen on {}", vault.config.listen))?;
    let options = ServerOptions::default();
    process::register(
        &mut registry,
        vault.clone(),
        tls.clone(),
        vault.config.data.clone(),
    );
    let server = Server::serve(listener, tls, vault.clone(), options).context("serve")?;
    let server = Arc::new(server);
    registry.register_collector(Box::new(Scrape {
        vault: vault.clone(),
        server: server.clone(),
    }));
    health::serve(&vault.config.health, vault.clone(), registry, stop.clone())
        .await
        .with_context(|| format!("listen on {}", vault.config.health))?;
    tracing::info!(node = %vault.config.node, listen = vault.config.listen, "vault node is up");
    let entered = match vault.enter().await {
        Ok(joins) => vault.start_directory(joins).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(error) = entered {
        server.shutdown();
        vault.host.shutdown().await;
        // Who was asked to stop has stopped in order.
        return if stop.is_cancelled() {
            Ok(())
        } else {
            Err(error)
        };
    }
    let reconcile = tokio::spawn(vault.clone().reconcile());
    let schedule = tokio::spawn(vault.clone().keep_snapshots());
    let steer = tokio::spawn(vault.clone().steer());
    stop.cancelled().await;
    tracing::info!("vault node stops");
    reload.abort();
    server.shutdown();
    vault.host.shutdown().await;
    reconcile.abort();
    schedule.abort();
    steer.abort();
    Ok(())
}

fn host_options(
    config: &VaultConfig,
    tls: &Arc<TlsIdentity>,
    allowed: &AllowedRegions,
) -> HostOptions {
    let mut options = HostOptions::new(config.node, config.data.clone(), tls.clone());
    options.timings = RaftTimings {
        heartbeat: Duration::from_millis(config.raft.heartbeat_ms),
        election_min: Duration::from_millis(config.raft.election_min_ms),
        election_max: Duration::from_millis(config.raft.election_max_ms),
        ..RaftTimings::default()
    };
    options.store.cache_bytes = GROUP_CACHE_BYTES;
    let (allowed, region) = (allowed.clone(), config.region.clone());
    // A node refuses, by itself, what its region does not allow; what it does not know, too.
    options.placement = Arc::new(move |kind| match kind {
        GroupKind::Directory => true,
        GroupKind::Shard(shard) => {
            let allowed = allowed
                .read()
                .expect("nothing panics while it holds the regions");
            allowed
                .get(&shard.jurisdiction)
                .is_some_and(|regions| regions.contains(&region))
        }
    });
    options
}

/// The file of a vault's note key in its data folder. Its public half stands in approvers' trust files
/// before the vault comes to lead: it may be made beforehand, as any identity key.
pub const NOTE_KEY: &str = "note.key";

/// This node's note key: drawn once, listed with the log, signs only what is committed and applied.
fn note_key(data: &Path) -> anyhow::Result<SigningKey> {
    let path = data.join(NOTE_KEY);
    if !path.exists() {
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), secret.as_mut_slice());
        files::write_secret(&path, &secret)?;
    }
    let key = files::read_signing_key(&path)?;
    tracing::info!(key = %IdentityKey::of(&key), "signs checkpoints; approvers' trust files list this key");
    Ok(key)
}

impl Vault {
    /// Opens the directory; a node that joins a cluster makes none.
    async fn start_directory(&self, joins: bool) -> anyhow::Result<()> {
        let seeds = if joins { &[][..] } else { &self.config.seeds };
        let mut ids: Vec<NodeId> = seeds.iter().map(|seed| seed.id).collect();
        ids.sort();
        let most = ids.len().min(DIRECTORY_VOTERS);
        let voters = if most > 0 && most.is_multiple_of(2) {
            most - 1
        } else {
            most
        };
        let learners = ids.split_off(voters);
        let spec = GroupSpec {
            id: GroupId::DIRECTORY,
            kind: GroupKind::Directory,
            voters: ids,
            learners,
        };
        self.host
            .ensure_group(spec)
            .await
            .context("start the directory")
    }

    /// The hub of a home shard, made when it is first asked for.
    fn hub(&self, shard: ShardId) -> Arc<Hub> {
        let mut hubs = self
            .hubs
            .lock()
            .expect("nothing panics while it holds the hubs");
        hubs.entry(shard).or_default().clone()
    }

    /// Whether this node runs a group.
    fn runs(&self, group: GroupId) -> bool {
        self.host.watch_applied(group).is_some()
    }

    fn group(&self, shard: ShardId) -> Option<GroupId> {
        self.groups
            .read()
            .expect("nothing panics while it holds the groups")
            .get(&shard)
            .copied()
    }
}

impl Health for Vault {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Vault
    }

    fn name(&self) -> &Name {
        &self.config.name
    }

    fn listen(&self) -> Option<&str> {
        Some(&self.config.listen)
    }

    fn missing(&self) -> Vec<String> {
        let statuses = self.host.group_status();
        if statuses.is_empty() {
            return vec!["this node waits to be let in by the others".to_owned()];
        }
        let leaderless = statuses.iter().filter(|group| group.leader.is_none());
        leaderless
            .map(|group| format!("group {} has no leader", group.id))
            .collect()
    }

    fn cluster(&self) -> Option<ClusterId> {
        let view = self.host.read_local(GroupId::DIRECTORY).ok()?;
        let described = directory::description(&view).ok()?;
        described.map(|described| described.cluster)
    }

    fn standing(&self, missing: &[String]) -> Standing {
        if self.cluster().is_none() {
            return Standing::Uninitialised;
        }
        if !missing.is_empty() {
            return Standing::NotReady;
        }
        let statuses = self.host.group_status();
        match statuses.iter().any(|group| self.host.is_leader(group.id)) {
            true => Standing::Active,
            false => Standing::Standby,
        }
    }

    fn before_scrape(&self) {
        self.metrics.refresh(&self.spool);
    }
}
