//! The library shared by the stories: a development cluster of real processes on ports of its own, and
//! small helpers to wait and to look. `importing` runs imports as processes of their own, `shared` lets
//! the stories of one file use one cluster by turns, `lying_vault` stands between a client and the true
//! cluster and changes answers.

pub mod http;
pub mod importing;
pub mod joiner;
pub mod lying_vault;
pub mod scrape;
pub mod shared;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bailiwick_api::edge::{IpInput, PhoneInput, RecordInput};
use bailiwick_api::evidence::{Ciphertexts, ReadCiphertext};
use bailiwick_api::request::RequestView;
use bailiwick_cli::commands::disclose::disclosed;
use bailiwick_cli::commands::operator::{NodesFile, read_policy};
use bailiwick_cli::commands::request::{pseudonym_key, read};
use bailiwick_cli::dev::ceremony::wait_ready;
use bailiwick_cli::dev::certificates::Authority;
use bailiwick_cli::dev::layout::{INTAKE, JURISDICTIONS, OPERATOR, TRUST_DOMAIN, VAULTS};
use bailiwick_cli::dev::ports::Ports;
use bailiwick_cli::dev::stage::{Stage, Window, home};
use bailiwick_cli::failure::Failure;
use bailiwick_client::recipient::DiscloseError;
use bailiwick_client::{CallFailure, Cluster, ClusterOptions};
use bailiwick_envelope::record::{IpEvent, TransportProtocol};
use bailiwick_threshold::pseudonym;
use bailiwick_transport::{Operation, TlsFiles, TlsIdentity};
use bailiwick_types::time::MICROS_PER_MINUTE;
use bailiwick_types::{Digest, PeerRole, RequestId, ShardId, SubjectPseudonym, Timestamp};

/// Ports that one cluster takes.
const SPAN: u16 = 60;
/// How long a release that must not come is waited for.
pub const NOTHING: Duration = Duration::from_millis(600);
/// How long a release that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Turns a failure of three lines into an error of a test.
pub fn failed(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

/// A cluster of real processes, set up, on free ports, in a temporary folder that goes with it.
///
/// `binary` is the test package's own program (`env!("CARGO_BIN_EXE_bailiwick-process")`); `except`
/// names services that are not started.
///
/// # Errors
/// When no ports are free or a process does not come up.
pub async fn cluster(binary: &str, except: &[&str]) -> anyhow::Result<Running> {
    prepared_cluster(binary, except, |_| Ok(())).await
}

/// A cluster whose processes run and that nobody has initialised yet: `stage.set_up` does that.
///
/// # Errors
/// As [`cluster`].
pub async fn blank_cluster(binary: &str) -> anyhow::Result<Running> {
    let mut running = Running::with_second_authority(build(binary)?)?;
    if running.stage.start(&[]).await.is_err() {
        // Another program took a port just then: once more, elsewhere.
        running = Running::with_second_authority(build(binary)?)?;
        running.stage.start(&[]).await.map_err(failed)?;
    }
    Ok(running)
}

/// The same as [`cluster`], with `prepare` called on its folder before anything runs.
///
/// # Errors
/// As [`cluster`], and what `prepare` says.
pub async fn prepared_cluster(
    binary: &str,
    except: &[&str],
    prepare: impl Fn(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<Running> {
    let mut running = Running::with_second_authority(build(binary)?)?;
    prepare(running.root())?;
    if running.stage.start(except).await.is_err() {
        // Another program took a port just then: once more, elsewhere.
        running = Running::with_second_authority(build(binary)?)?;
        prepare(running.root())?;
        running.stage.start(except).await.map_err(failed)?;
    }
    running.stage.set_up(|_| {}).await.map_err(failed)?;
    Ok(running)
}

/// A cluster whose first jurisdiction has so many groups of records.
///
/// # Errors
/// As [`cluster`].
pub async fn partitioned_cluster(binary: &str, partitions: u16) -> anyhow::Result<Running> {
    let mut running = Running::with_second_authority(build(binary)?)?;
    if running.stage.start(&[]).await.is_err() {
        // Another program took a port just then: once more, elsewhere.
        running = Running::with_second_authority(build(binary)?)?;
        running.stage.start(&[]).await.map_err(failed)?;
    }
    let operator = running.stage.operator().map_err(failed)?;
    let nodes = NodesFile::load(&running.root().join("nodes.toml")).map_err(failed)?;
    operator.initialise(nodes.nodes).await?;
    let (code, region, _) = JURISDICTIONS[0];
    let policy = read_policy(&running.stage.layout.policy(code), home()).map_err(failed)?;
    operator
        .create_partitioned(
            home(),
            vec![region.parse()?],
            3,
            partitions,
            policy.digest(),
        )
        .await?;
    // The ceremony goes on from here: what every node says is there it leaves as it is.
    for address in running.vaults() {
        let tls = running.tls(OPERATOR)?;
        eventually("the groups on every node", PATIENCE, || async {
            let one = cluster_at(vec![address.clone()], tls.clone());
            let known = one.describe().await?.group(ShardId::home(home())).is_some();
            Ok(known.then_some(()))
        })
        .await?;
    }
    running.stage.set_up(|_| {}).await.map_err(failed)?;
    Ok(running)
}

/// First ports of clusters lie between these: below what the system gives outgoing connections, one of
/// which might take a port between the look at it and its use.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// When this variable is set, clusters leave their folders, with all logs.
const KEEP: &str = "BAILIWICK_TESTS_KEEP";

/// Clusters that this program has begun; the next one begins on other ports, as the last one may still
/// be ending.
static BEGUN: AtomicU16 = AtomicU16::new(0);

/// The first of `SPAN` ports that nobody uses just now.
///
/// # Errors
/// When so many in a row are not to be had.
pub fn free_ports() -> anyhow::Result<u16> {
    // Several test programs may look at once: each begins elsewhere, and a taken port is seen.
    let places = (PORTS.end - PORTS.start) / SPAN;
    let begin = (std::process::id() % 1000) as u16 * 7;
    for _ in 0..places {
        let place = (begin + BEGUN.fetch_add(1, Ordering::Relaxed)) % places;
        let port = PORTS.start + place * SPAN;
        if Ports::from_base(port).check_free().is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no {SPAN} ports in a row are free")
}

fn build(binary: &str) -> anyhow::Result<Stage> {
    let keep = std::env::var_os(KEEP).is_some();
    Stage::build(None, free_ports()?, keep, PathBuf::from(binary)).map_err(failed)
}

/// A running cluster; its processes and its folder end with it.
pub struct Running {
    /// The stage.
    pub stage: Stage,
    authority: Authority,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stage.end();
    }
}

impl Running {
    /// The development authority's key is never kept; attackers with certificates of their own need
    /// another one that every process believes.
    fn with_second_authority(stage: Stage) -> anyhow::Result<Self> {
        let root = stage.layout.root();
        let folder = root.join("second-authority");
        let authority = Authority::create(&folder, &TRUST_DOMAIN.parse()?)?;
        let believed = root.join("tls/authority.pem");
        let both = [
            std::fs::read(&believed)?,
            std::fs::read(folder.join("authority.pem"))?,
        ];
        std::fs::write(&believed, both.concat())?;
        Ok(Self { stage, authority })
    }

    /// The cluster's folder.
    pub fn root(&self) -> &Path {
        self.stage.layout.root()
    }

    /// Where to look when a story has failed.
    fn where_it_was(&self) -> String {
        let root = self.root().display();
        format!("the cluster was in {root}; with {KEEP} set its folder and logs are kept")
    }

    /// The TLS identity of somebody whom the layout knows: a service or a person.
    ///
    /// # Errors
    /// When there is none.
    pub fn tls(&self, id: &str) -> anyhow::Result<Arc<TlsIdentity>> {
        self.load_tls(&self.root().join("tls"), id)
    }

    /// A new TLS identity that the layout does not know, with the digest of its certificate. Ids are
    /// issued once, whatever the role.
    ///
    /// # Errors
    /// When it cannot be issued.
    pub fn stranger(&self, role: PeerRole, id: &str) -> anyhow::Result<(Arc<TlsIdentity>, Digest)> {
        let folder = self.root().join("second-authority");
        let digest = self.authority.issue(role, None, &id.parse()?)?;
        Ok((self.load_tls(&folder, id)?, digest))
    }

    fn load_tls(&self, folder: &Path, id: &str) -> anyhow::Result<Arc<TlsIdentity>> {
        let files = TlsFiles {
            certificate: folder.join(format!("{id}.pem")),
            key: folder.join(format!("{id}.key")),
            authorities: self.root().join("tls/authority.pem"),
            families: Vec::new(),
            revocations: None,
        };
        Ok(TlsIdentity::load(files, TRUST_DOMAIN.parse()?)?)
    }

    /// The cluster as whoever has this TLS identity reaches it.
    pub fn as_peer(&self, tls: Arc<TlsIdentity>) -> Cluster {
        cluster_at(self.vaults(), tls)
    }

    /// Addresses of all vault nodes.
    pub fn vaults(&self) -> Vec<String> {
        let ports = self.stage.layout.ports();
        let address = |(number, _): &(u16, _)| format!("127.0.0.1:{}", ports.vault(*number));
        VAULTS.iter().map(address).collect()
    }

    /// The subject that a French account becomes.
    ///
    /// # Errors
    /// When the pseudonym key cannot be read.
    pub fn subject(&self, account: &str) -> anyhow::Result<SubjectPseudonym> {
        let profile = self.stage.profile(INTAKE).map_err(failed)?;
        let key = pseudonym_key(&profile, home()).map_err(failed)?;
        Ok(pseudonym(&key, account))
    }

    /// Stores records; all of them must be.
    ///
    /// # Errors
    /// When one is not.
    pub async fn put(&self, records: Vec<RecordInput>) -> anyhow::Result<()> {
        let count = records.len();
        let stored = self.stage.put(records, 1).await.map_err(failed)?;
        ensure!(stored == count, "{stored} of {count} were stored");
        Ok(())
    }

    /// Enters a request about a subject's phone numbers and IP addresses within [`window`].
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn request(&self, account: &str, reference: &str) -> anyhow::Result<RequestView> {
        let submitted = self.stage.request(account, window(), reference).await;
        submitted.map_err(failed)
    }

    /// These persons approve.
    ///
    /// # Errors
    /// When one of them cannot.
    pub async fn approve(&self, request: RequestId, people: &[&str]) -> anyhow::Result<()> {
        for person in people {
            let decided = self.stage.approve(person, request).await;
            decided.map_err(failed)?;
        }
        Ok(())
    }

    /// The request as it stands.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn view(&self, request: RequestId) -> anyhow::Result<RequestView> {
        let cluster = self.stage.cluster(INTAKE).map_err(failed)?;
        read(&cluster, home(), request).await.map_err(failed)
    }

    /// The recipient gets nothing, for want of releases and for no other reason.
    ///
    /// # Errors
    /// When it gets something, or fails otherwise.
    pub async fn opens_nothing(&self, request: RequestId) -> anyhow::Result<()> {
        let opened = self.stage.open(request, NOTHING, false).await;
        match opened.map_err(failed)?.1 {
            Err(DiscloseError::NotReleased { .. }) => Ok(()),
            Err(other) => Err(other).context("opening failed for another reason than no releases"),
            Ok(_) => anyhow::bail!("records opened without both quorums"),
        }
    }

    /// What the recipient opens, sorted; nobody may be contradicted.
    ///
    /// # Errors
    /// When it does not open.
    pub async fn values(&self, request: RequestId) -> anyhow::Result<Vec<String>> {
        let opened = self.stage.open(request, PATIENCE, false).await;
        let opened = opened.map_err(failed)?.1.context("open")?;
        ensure!(opened.opening.contradicted.is_empty(), "nobody lied");
        let values = disclosed(&opened.opening).into_iter();
        let mut values: Vec<_> = values.map(|record| record.value).collect();
        values.sort();
        Ok(values)
    }

    /// Stops a process in order and starts it again, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        self.stage.stop(name).map_err(failed)?;
        self.stage.start_one(name).map_err(failed)?;
        self.ready(name).await
    }

    /// Waits until a process says that it is ready.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn ready(&self, name: &str) -> anyhow::Result<()> {
        let service = self.stage.layout.service_of(name).context("a service")?;
        wait_ready(name, service.health, "/readyz")
            .await
            .map_err(failed)
    }

    /// Suspends a process (SIGSTOP) until the pause is dropped (SIGCONT).
    ///
    /// # Errors
    /// When no process of this cluster has that name.
    pub fn pause(&self, name: &str) -> anyhow::Result<Pause> {
        let config = self.root().join(name).join(format!("{name}.toml"));
        let process = process_with_argument(&config.display().to_string())?;
        signal("-STOP", process)?;
        Ok(Pause { process })
    }
}

/// How many records of a released selection a partition of the first jurisdiction hands out, of ten at
/// most.
///
/// # Errors
/// Why it hands out none.
pub async fn ciphertexts(
    reach: &Cluster,
    partition: u16,
    request: RequestId,
) -> Result<usize, CallFailure> {
    let shard = ShardId {
        jurisdiction: home(),
        partition,
    };
    let (from, limit) = (0, 10);
    let message = ReadCiphertext {
        shard,
        request,
        from,
        limit,
    };
    let read: Ciphertexts = reach
        .call(Some(shard), Operation::ReadCiphertext, &message)
        .await?;
    Ok(read.records.len())
}

/// A cluster behind these seeds, for a short time only: stories wait elsewhere.
pub fn cluster_at(seeds: Vec<String>, tls: Arc<TlsIdentity>) -> Cluster {
    Cluster::new(ClusterOptions {
        seeds,
        tls,
        deadline: Duration::from_secs(15),
    })
}

/// A suspended process. It goes on when this is dropped, so that a story that fails leaves none behind.
pub struct Pause {
    process: u32,
}

impl Drop for Pause {
    fn drop(&mut self) {
        // A process that has ended meanwhile needs no signal.
        let _ = signal("-CONT", self.process);
    }
}

/// The own child that has this among its arguments.
fn process_with_argument(wanted: &str) -> anyhow::Result<u32> {
    for entry in std::fs::read_dir("/proc").context("list the processes")? {
        let entry = entry?;
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        // Processes come and go while they are listed.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0);
        if arguments.any(|argument| argument == wanted.as_bytes()) {
            return Ok(process);
        }
    }
    anyhow::bail!("no process has the argument {wanted}")
}

fn signal(name: &str, process: u32) -> anyhow::Result<()> {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status()
        .context("run kill")?;
    ensure!(sent.success(), "kill {name} {process} failed");
    Ok(())
}

/// A window of an hour that ended half an hour ago.
pub fn window() -> Window {
    let now = bailiwick_client::now().0 / MICROS_PER_MINUTE;
    let minute = |ago: u64| Timestamp((now - ago) * MICROS_PER_MINUTE);
    Window {
        from: minute(90),
        to: minute(30),
    }
}

/// An instant in the window, `minutes` after its begin, as the edge takes it.
pub fn inside(window: Window, minutes: u64) -> String {
    let at = Timestamp(window.from.0 + minutes * MICROS_PER_MINUTE);
    Timestamp::from_seconds(at.seconds()).to_string()
}

/// An IP record.
pub fn ip(account: &str, residence: &str, address: &str, port: u32, at: &str) -> RecordInput {
    let ip = IpInput {
        address: address.to_owned(),
        port: Some(port),
        transport: TransportProtocol::Tcp,
        event: IpEvent::Login,
        seen_at: at.to_owned(),
        accuracy_ms: 0,
    };
    let (account, residence) = (account.to_owned(), Some(residence.to_owned()));
    RecordInput {
        id: None,
        account,
        residence,
        phone: None,
        ip: Some(ip),
    }
}

/// A phone record.
pub fn phone(account: &str, residence: &str, number: &str, at: &str) -> RecordInput {
    let phone = PhoneInput {
        number: number.to_owned(),
        confirmed_at: at.to_owned(),
    };
    let (account, residence) = (account.to_owned(), Some(residence.to_owned()));
    RecordInput {
        id: None,
        account,
        residence,
        phone: Some(phone),
        ip: None,
    }
}

/// Looks until something is there, or `patience` is over.
///
/// # Errors
/// When it is over; names what was waited for.
pub async fn eventually<T, F: Future<Output = anyhow::Result<Option<T>>>>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let until = Instant::now() + patience;
    loop {
        let seen = look().await;
        match seen {
            Ok(Some(found)) => return Ok(found),
            other if Instant::now() >= until => {
                other.with_context(|| format!("waited for {what}"))?;
                anyhow::bail!("waited for {what}");
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// All files below a folder.
///
/// # Errors
/// When one cannot be listed.
pub fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
