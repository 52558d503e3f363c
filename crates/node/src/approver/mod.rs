//! The approver: one member of one committee. It dials out to the leaders of its jurisdictions,
//! follows their logs, and releases what it has verified itself. It listens on nothing but health.

mod attendant;
mod keystore;
#[cfg(test)]
mod keystore_tests;
mod link;
mod metrics;
mod partitions;
mod releases;
mod sessions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bailiwick_disclosure::{MemberKeys, PolicyCopies, Seat, TrustFile};
use bailiwick_envelope::release::SealedPartial;
use bailiwick_policy::Policy;
use bailiwick_transport::TlsIdentity;
use bailiwick_types::{Jurisdiction, Name, PeerRole, SelectionId, ShardId};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::ApproverConfig;
use crate::data_lock::DataLock;
use crate::files;
use crate::hardening::hide_memory;
use crate::health::{self, Health, ServiceKind};
use crate::process;
use crate::telemetry;
use attendant::Attendant;
use keystore::Keystore;
pub(crate) use keystore::decode_follower;
use metrics::ApproverMetrics;

/// How often certificates on disk are looked at for a reload.
const RELOAD_PERIOD: Duration = Duration::from_secs(30);

/// A sealed partial on its way to the spool.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The partial.
    pub sealed: SealedPartial,
    /// The selection that it is for.
    pub selection: SelectionId,
    /// How many records the selection has.
    pub count: u32,
}

/// What replaces a sealed partial on its way out.
pub type Tamper = Arc<dyn Fn(Outgoing) -> SealedPartial + Send + Sync>;

/// What an approver may be started with besides its configuration.
#[derive(Clone, Default)]
pub struct ApproverOptions {
    /// Replaces every sealed partial on its way out: how a demonstration plays a lying member.
    ///
    /// # Security
    /// It sees only what is sealed to the recipient. Whoever runs a member's machine can send
    /// invented values anyway; that they are noticed is what the demonstration shows.
    pub tamper: Option<Tamper>,
}

/// What all attendants of an approver share.
struct Approver {
    config: ApproverConfig,
    options: ApproverOptions,
    tls: Arc<TlsIdentity>,
    trust: TrustFile,
    keys: Mutex<MemberKeys>,
    keystore: Keystore,
    metrics: ApproverMetrics,
}

/// Runs an approver until `stop`.
///
/// # Errors
/// When the configuration, a key, a trust or policy file, or the disk does not allow it to start.
pub async fn run(
    config: ApproverConfig,
    options: ApproverOptions,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    hide_memory().context("keep secrets out of core dumps")?;
    telemetry::start_logging(&config.log).context("log.filter")?;
    let tls = TlsIdentity::load(config.tls.files(), config.trust_domain.clone())
        .context("load the TLS identity")?;
    let role = PeerRole::approver(config.role);
    anyhow::ensure!(
        tls.identity().role == role && tls.identity().id == config.name,
        "the certificate is {}, the configuration says {role} {}",
        tls.identity(),
        config.name,
    );
    let reload = tls.watch(RELOAD_PERIOD);
    let text = std::fs::read_to_string(&config.trust)
        .with_context(|| format!("read {}", config.trust.display()))?;
    let trust = TrustFile::parse(&text).context("parse the trust file")?;
    files::create_private_folder(&config.data).context("make the data folder")?;
    let _lock = DataLock::take(&config.data).context("lock the data folder")?;
    let keystore =
        Keystore::open(&config.data, config.wrapping.as_ref()).context("open the key store")?;
    let identity = files::read_signing_key(&config.identity_key)?;
    let mut keys = MemberKeys::new(config.name.clone(), identity);
    for jurisdiction in &config.jurisdictions {
        keystore
            .load(*jurisdiction, &mut keys)
            .context("load the period keys")?;
    }
    let mut registry = prometheus_client::registry::Registry::default();
    let approver = Arc::new(Approver {
        metrics: ApproverMetrics::register(&mut registry, &config.jurisdictions),
        keys: Mutex::new(keys),
        keystore,
        trust,
        tls,
        options,
        config,
    });
    let mut attendants = tokio::task::JoinSet::new();
    for jurisdiction in approver.config.jurisdictions.clone() {
        let attendant = approver.attendant(jurisdiction).await?;
        attendants.spawn(attendant.run(stop.clone()));
    }
    process::register(
        &mut registry,
        approver.clone(),
        approver.tls.clone(),
        approver.config.data.clone(),
    );
    health::serve(
        &approver.config.health,
        approver.clone(),
        registry,
        stop.clone(),
    )
    .await
    .with_context(|| format!("listen on {}", approver.config.health))?;
    tracing::info!(name = %approver.config.name, "approver is up");
    stop.cancelled().await;
    reload.abort();
    while attendants.join_next().await.is_some() {}
    Ok(())
}

impl Approver {
    /// The attendant of one jurisdiction, from its own trust and policy files.
    async fn attendant(self: &Arc<Self>, jurisdiction: Jurisdiction) -> anyhow::Result<Attendant> {
        let trust = self
            .trust
            .jurisdiction(jurisdiction)
            .with_context(|| format!("the trust file has no jurisdiction {jurisdiction}"))?
            .clone();
        let seat = self
            .keys
            .lock()
            .await
            .seat(&trust)
            .context("find the own slot")?;
        anyhow::ensure!(
            seat == Seat {
                role: self.config.role,
                slot: self.config.slot
            },
            "the trust file seats this identity at {} {}, the configuration at {} {}",
            seat.role,
            seat.slot,
            self.config.role,
            self.config.slot,
        );
        let mut policies = Vec::new();
        for reference in trust.policies() {
            let path = self.policy_path(&reference.path);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?;
            let policy =
                Policy::parse(&text).with_context(|| format!("parse {}", path.display()))?;
            policies.push(policy);
        }
        let policies = PolicyCopies::new(&trust, policies).context("check the policy copies")?;
        let shard = ShardId::home(jurisdiction);
        Attendant::new(self.clone(), shard, seat, trust, policies)
    }

    fn policy_path(&self, path: &str) -> PathBuf {
        let folder = self.config.trust.parent().unwrap_or(Path::new("."));
        folder.join(path)
    }
}

impl Health for Approver {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Approver
    }

    fn name(&self) -> &Name {
        &self.config.name
    }

    fn missing(&self) -> Vec<String> {
        self.metrics.unattended(&self.config.jurisdictions)
    }
}
