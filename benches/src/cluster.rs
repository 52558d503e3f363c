//! A cluster of three vault nodes, two committees of three approvers and an edge, each a process of
//! its own on the loopback, over mutual TLS: made from the development cluster's folder and set up
//! by the same ceremony, with three nodes and one jurisdiction.
//!
//! Not here: what the processes run ([`crate::service`]).

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bailiwick_api::cluster::{Accepted, Enrolment};
use bailiwick_api::edge::{PutRecords, RecordStatus};
use bailiwick_api::session::{AppendBlock, BlockStored, OpenSession, ReadSession, SessionState};
use bailiwick_cli::commands::key::{certify, plan};
use bailiwick_cli::commands::operator::{NodesFile, command_key, read_policy};
use bailiwick_cli::connect;
use bailiwick_cli::dev::ceremony::wait_ready;
use bailiwick_cli::dev::create::create;
use bailiwick_cli::dev::layout::{BACKEND, EDGE, JURISDICTIONS, Layout, OPERATOR, name};
use bailiwick_cli::dev::ports::Ports;
use bailiwick_cli::dev::supervise::Fleet;
use bailiwick_cli::profile::Profile;
use bailiwick_client::certificates::live_certificate;
use bailiwick_client::edge_http::EdgeClient;
use bailiwick_client::operator::Operator;
use bailiwick_client::sealing::{MemoryHighWater, SealingIdentity};
use bailiwick_client::{Cluster, now};
use bailiwick_envelope::IdentityKey;
use bailiwick_node::files::read_signing_key;
use bailiwick_threshold::{Sealer, SessionParameters, open_session};
use bailiwick_transport::Operation;
use bailiwick_types::limits::{SESSION_BLOCKS, SESSION_LIFETIME};
use bailiwick_types::{Jurisdiction, ShardId, Timestamp};
use tempfile::TempDir;

use crate::records::{BATCH, to_seal};
use crate::service::{NODES, SERVE};

/// How long members may take to certify.
const CERTIFY: Duration = Duration::from_secs(60);
/// Seconds of a day.
const DAY: u64 = 86_400;

/// The running cluster; dropping it ends its processes and deletes its folder.
pub struct BenchCluster {
    layout: Layout,
    /// Ended before the folder goes.
    fleet: Fleet,
    _folder: TempDir,
}

/// The jurisdiction of the cluster's one shard.
pub fn jurisdiction() -> Jurisdiction {
    JURISDICTIONS[0]
        .0
        .parse()
        .expect("codes of the layout are assigned")
}

/// The cluster's one shard.
pub fn shard() -> ShardId {
    ShardId::home(jurisdiction())
}

impl BenchCluster {
    /// Starts the processes from this very binary, in a new folder below `parent`, and sets the
    /// cluster up.
    ///
    /// # Errors
    /// The first step that fails.
    pub async fn start(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(parent).context("make a folder")?;
        let layout = create(&folder.path().join("cluster"), free_ports()?, now())?;
        let mut fleet = Fleet::new(&layout.logs())?;
        for service in layout.services() {
            let far =
                (NODES + 1..=6).any(|number| service.name.as_str() == format!("vault-{number}"));
            if far {
                continue;
            }
            let config = service.config.display().to_string();
            let arguments = [SERVE.to_owned(), service.verb.to_owned(), config];
            fleet.start(service.name.as_str(), &arguments)?;
        }
        let cluster = Self {
            layout,
            fleet,
            _folder: folder,
        };
        for number in 1..=NODES {
            cluster.wait(&format!("vault-{number}"), "/livez").await?;
        }
        cluster.ceremony().await?;
        cluster.wait(EDGE, "/readyz").await?;
        Ok(cluster)
    }

    async fn wait(&self, id: &str, path: &str) -> anyhow::Result<()> {
        let service = self
            .layout
            .service_of(id)
            .context("the layout has the service")?;
        let log = || std::fs::read_to_string(self.fleet.log_of(id)).unwrap_or_default();
        wait_ready(id, service.health, path)
            .await
            .map_err(|failure| anyhow::anyhow!("{failure}\n{}", log()))
    }

    fn profile(&self, who: &str) -> anyhow::Result<Profile> {
        let mut profile = Profile::load(&self.layout.profile(who))
            .map_err(|failure| anyhow::anyhow!("{failure}"))?;
        profile.seeds.truncate(NODES);
        Ok(profile)
    }

    /// One jurisdiction with its edge, policy and a certificate for today and tomorrow.
    async fn ceremony(&self) -> anyhow::Result<()> {
        let profile = self.profile(OPERATOR)?;
        let operator = Operator::new(connect::cluster(&profile)?);
        let mut nodes = NodesFile::load(&self.layout.root().join("nodes.toml"))?.nodes;
        nodes.truncate(NODES);
        operator.initialise(nodes).await.context("initialise")?;
        let (code, region, _) = JURISDICTIONS[0];
        let policy = read_policy(&self.layout.policy(code), jurisdiction())?;
        let created =
            operator.create_jurisdiction(jurisdiction(), vec![name(region)], 3, policy.digest());
        created.await.context("create the jurisdiction")?;
        let key = IdentityKey::of(&read_signing_key(&self.layout.key(EDGE))?);
        let edge = Enrolment::Edge {
            name: name(EDGE),
            key,
        };
        operator
            .enrol(jurisdiction(), edge)
            .await
            .context("enrol the edge")?;
        let set = operator.change_policy(jurisdiction(), policy.digest(), policy.version());
        set.await.context("set the policy")?;
        let today = Timestamp::from_seconds(now().seconds() / DAY * DAY);
        let plan = plan(
            &profile.trust_of(jurisdiction())?,
            today,
            2,
            30,
            command_key()?,
        )?;
        certify(&operator, &plan, CERTIFY, |_| {}).await?;
        Ok(())
    }

    /// The cluster as its edge sees it.
    ///
    /// # Errors
    /// When the edge's TLS files make no identity.
    pub fn as_edge(&self) -> anyhow::Result<Cluster> {
        let mut profile = self.profile(OPERATOR)?;
        profile.tls.certificate = self.layout.root().join("tls").join(format!("{EDGE}.pem"));
        profile.tls.key = profile.tls.certificate.with_extension("key");
        Ok(connect::cluster(&profile)?)
    }

    /// Who seals as this cluster's edge, in this process.
    ///
    /// # Errors
    /// When a key or trust file cannot be read.
    pub fn sealing_identity(&self) -> anyhow::Result<SealingIdentity> {
        Ok(SealingIdentity {
            edge: name(EDGE),
            key: read_signing_key(&self.layout.key(EDGE))?,
            trust: self.profile(OPERATOR)?.trust_file()?,
            session_lifetime: SESSION_LIFETIME,
            high_water: std::sync::Arc::new(MemoryHighWater::default()),
        })
    }

    /// A backend's client of the edge process.
    ///
    /// # Errors
    /// When the backend's TLS files make no identity.
    pub fn backend(&self) -> anyhow::Result<EdgeClient> {
        Ok(connect::edge(&Profile::load(
            &self.layout.profile(BACKEND),
        )?)?)
    }
}

/// A base of ports that are free now; below what Linux hands out for outgoing connections.
fn free_ports() -> anyhow::Result<u16> {
    let bases = (0..100).map(|_| rand::random_range(10_000..30_000_u16));
    let free = bases
        .into_iter()
        .find(|base| Ports::from_base(*base).check_free().is_ok());
    free.context("no free ports on the loopback")
}

/// Lanes of sealed blocks: a session each, one block of it under way.
pub struct Lanes {
    cluster: Cluster,
    sealers: Vec<Sealer>,
}

impl Lanes {
    /// Opens that many sessions and waits until the members have opened their parts.
    ///
    /// # Errors
    /// The first step that fails.
    pub async fn open(
        cluster: &Cluster,
        identity: &SealingIdentity,
        count: usize,
    ) -> anyhow::Result<Self> {
        let live = live_certificate(cluster, &identity.trust, jurisdiction(), now()).await?;
        let mut sealers = Vec::new();
        for _ in 0..count {
            let parameters = SessionParameters {
                certificate: &live.certificate,
                period: live.period,
                high_water: None,
                shard: shard(),
                edge: identity.edge.clone(),
                edge_key: &identity.key,
                now: now(),
                lifetime: identity.session_lifetime,
                max_block: SESSION_BLOCKS,
            };
            let (header, sealer) = open_session(&mut rand::rng(), parameters)?;
            let message = OpenSession {
                shard: shard(),
                header,
            };
            let _: Accepted = cluster
                .call(Some(shard()), Operation::OpenSession, &message)
                .await?;
            confirmed(cluster, &sealer).await?;
            sealers.push(sealer);
        }
        Ok(Self {
            cluster: cluster.clone(),
            sealers,
        })
    }

    /// Seals so many blocks of 1,000 records for each lane.
    ///
    /// # Errors
    /// When a session has ended.
    pub fn seal_ahead(&mut self, blocks: usize) -> anyhow::Result<Vec<Vec<AppendBlock>>> {
        let seal = |sealer: &mut Sealer| {
            (0..blocks)
                .map(|_| {
                    let block = sealer.seal(&to_seal(BATCH, now()), 1, now())?;
                    Ok(AppendBlock {
                        shard: shard(),
                        block: block.to_wire().into(),
                    })
                })
                .collect()
        };
        self.sealers.iter_mut().map(seal).collect()
    }

    /// Hands all blocks in, the lanes side by side, and returns how long it took until the last one
    /// was on a quorum's disks.
    ///
    /// # Errors
    /// When a block is refused, or a record of it was stored before.
    pub async fn put(&self, lanes: Vec<Vec<AppendBlock>>) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let lane = |blocks: Vec<AppendBlock>| {
            let cluster = self.cluster.clone();
            tokio::spawn(async move {
                for block in blocks {
                    let stored: BlockStored = cluster
                        .call(Some(shard()), Operation::AppendBlock, &block)
                        .await?;
                    ensure!(stored.duplicates.is_empty(), "records were stored before");
                }
                Ok(())
            })
        };
        let lanes: Vec<_> = lanes.into_iter().map(lane).collect();
        for lane in lanes {
            lane.await??;
        }
        Ok(begun.elapsed())
    }
}

async fn confirmed(cluster: &Cluster, sealer: &Sealer) -> anyhow::Result<()> {
    let wait = Duration::from_secs(20);
    let message = ReadSession {
        shard: shard(),
        sid: sealer.sid(),
        wait_ms: 20_000,
    };
    let state: SessionState = cluster
        .call_waiting(Some(shard()), Operation::SessionStatus, &message, wait)
        .await?;
    ensure!(state == SessionState::Confirmed, "the session is {state:?}");
    Ok(())
}

/// Hands each client's batches to the edge one after the other, the clients side by side; returns
/// how long it took until the last record was stored.
///
/// # Errors
/// When a call fails or a record is not stored.
pub async fn hand_in(
    clients: &[EdgeClient],
    batches: Vec<Vec<PutRecords>>,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let lanes = clients
        .iter()
        .zip(batches)
        .map(|(client, batches)| async move {
            for batch in batches {
                let reply = client.put(&batch).await?;
                let stored = |status| status == RecordStatus::Stored;
                let other = reply.results.iter().find(|result| !stored(result.status));
                ensure!(other.is_none(), "a record is {other:?}");
            }
            Ok(())
        });
    futures::future::try_join_all(lanes).await?;
    Ok(begun.elapsed())
}
