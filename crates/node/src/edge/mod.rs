//! The edge: the one process that sees identifiers before their recipient does. JSON comes in over
//! mutual TLS from backend services; each record is validated, normalised, given its custody,
//! pseudonymised and sealed; it is acknowledged when a quorum has it on disk.

mod api;
mod high_water;
mod metrics;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bailiwick_client::normalise::{self, RangePolicy, Rules};
use bailiwick_client::partitions::CustodySealing;
use bailiwick_client::sealing::SealingIdentity;
use bailiwick_client::{Cluster, ClusterOptions, TrustFile};
use bailiwick_threshold::PseudonymKey;
use bailiwick_transport::TlsIdentity;
use bailiwick_types::{Jurisdiction, Name, PeerRole};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{EdgeConfig, Unserved};
use crate::files;
use crate::hardening::hide_memory;
use crate::health::{self, Health, ServiceKind};
use crate::process;
use crate::telemetry;
use high_water::HighWaterFile;
use metrics::EdgeMetrics;

/// How often certificates on disk are looked at for a reload.
const RELOAD_PERIOD: Duration = Duration::from_secs(30);
/// How long an append may take before its outcome is reported as unknown.
const DEADLINE: Duration = Duration::from_secs(15);
/// The pseudonym keys' version; a file holds the key of version 1.
const PSEUDONYM_VERSION: u16 = 1;

/// One jurisdiction that this edge writes to.
struct Custody {
    pseudonym_key: PseudonymKey,
    sealing: CustodySealing,
}

/// A running edge.
struct Edge {
    config: EdgeConfig,
    rules: Rules,
    custodies: BTreeMap<Jurisdiction, Custody>,
    metrics: EdgeMetrics,
}

/// Runs an edge until `stop`.
///
/// # Errors
/// When the configuration, a key or trust file, the disk or a socket does not allow it to start.
pub async fn run(config: EdgeConfig, stop: CancellationToken) -> anyhow::Result<()> {
    hide_memory().context("keep secrets out of core dumps")?;
    telemetry::start_logging(&config.log).context("log.filter")?;
    let tls = TlsIdentity::load(config.tls.files(), config.trust_domain.clone())
        .context("load the TLS identity")?;
    let identity = tls.identity();
    anyhow::ensure!(
        identity.role == PeerRole::Edge && identity.id == config.name,
        "the certificate is {identity}, the configuration says edge {}",
        config.name,
    );
    let reload = tls.watch(RELOAD_PERIOD);
    files::create_private_folder(&config.data)
        .with_context(|| format!("create {}", config.data.display()))?;
    let mut registry = prometheus_client::registry::Registry::default();
    let edge = Arc::new(Edge::start(
        config,
        &tls,
        EdgeMetrics::register(&mut registry),
    )?);
    let listener = TcpListener::bind(&edge.config.listen)
        .await
        .with_context(|| format!("listen on {}", edge.config.listen))?;
    process::register(
        &mut registry,
        edge.clone(),
        tls.clone(),
        edge.config.data.clone(),
    );
    health::serve(&edge.config.health, edge.clone(), registry, stop.clone())
        .await
        .with_context(|| format!("listen on {}", edge.config.health))?;
    tracing::info!(name = %edge.config.name, listen = edge.config.listen, "edge is up");
    server::serve(listener, tls, api::router(edge), stop).await;
    reload.abort();
    Ok(())
}

fn trust_file(path: &Path) -> anyhow::Result<TrustFile> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let trust: TrustFile =
        toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    trust
        .check()
        .with_context(|| format!("check {}", path.display()))
}

impl Edge {
    fn start(
        config: EdgeConfig,
        tls: &Arc<TlsIdentity>,
        metrics: EdgeMetrics,
    ) -> anyhow::Result<Self> {
        let cluster = Cluster::new(ClusterOptions {
            seeds: config.seeds.clone(),
            tls: tls.clone(),
            deadline: DEADLINE,
        });
        let high_water = HighWaterFile::open(&config.data.join("high-water"))?;
        let identity = Arc::new(SealingIdentity {
            edge: config.name.clone(),
            key: files::read_signing_key(&config.signing_key)?,
            trust: trust_file(&config.trust)?,
            session_lifetime: config.session_lifetime(),
            high_water: Arc::new(high_water),
        });
        let mut custodies = BTreeMap::new();
        for (code, path) in &config.pseudonym_keys {
            let jurisdiction: Jurisdiction = code
                .parse()
                .with_context(|| format!("pseudonym_keys.{code}"))?;
            let key = files::read_secret(path)?;
            let lanes = usize::from(config.lanes);
            let (cluster, identity) = (cluster.clone(), identity.clone());
            custodies.insert(
                jurisdiction,
                Custody {
                    pseudonym_key: PseudonymKey::new(PSEUDONYM_VERSION, *key),
                    sealing: CustodySealing::start(cluster, jurisdiction, identity, lanes),
                },
            );
        }
        let served: BTreeSet<Jurisdiction> = custodies.keys().copied().collect();
        anyhow::ensure!(
            served.contains(&config.unknown),
            "unknown: {} is not among pseudonym_keys",
            config.unknown,
        );
        let rules = Rules {
            ranges: RangePolicy {
                allow_documentation: config.allow_documentation_ranges,
            },
            served,
            unknown: Some(config.unknown),
            unserved: match config.unserved {
                Unserved::Refuse => normalise::Unserved::Refuse,
                Unserved::Unknown => normalise::Unserved::Unknown,
            },
        };
        Ok(Self {
            config,
            rules,
            custodies,
            metrics,
        })
    }
}

impl Health for Edge {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Edge
    }

    fn name(&self) -> &Name {
        &self.config.name
    }

    fn listen(&self) -> Option<&str> {
        Some(&self.config.listen)
    }

    fn missing(&self) -> Vec<String> {
        let custodies = self.custodies.iter();
        // A freeze is somebody's decision about one jurisdiction: the edge serves the others.
        let waiting = custodies.filter(|(_, custody)| {
            let sealing = &custody.sealing;
            !sealing.is_ready() && !sealing.is_frozen()
        });
        waiting
            .map(|(jurisdiction, _)| format!("{jurisdiction}: no confirmed session"))
            .collect()
    }

    fn before_scrape(&self) {
        for (jurisdiction, custody) in &self.custodies {
            let sealing = &custody.sealing;
            let (queued, ready) = (sealing.queued(), sealing.is_ready());
            let frozen = sealing.is_frozen();
            self.metrics.sealing(*jurisdiction, queued, ready, frozen);
        }
    }
}
