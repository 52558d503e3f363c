//! A vault node that the layout does not know: it joins a running cluster, with a certificate of its own
//! and a blank disk. And the program as an operator runs it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bailiwick_cli::dev::ceremony::wait_ready;
use bailiwick_cli::dev::layout::{OPERATOR, TRUST_DOMAIN};
use bailiwick_node::config::{LogFormat, LogSection, RaftSection, Seed, TlsSection, VaultConfig};
use bailiwick_types::{NodeId, PeerRole};

use crate::{Running, failed};

/// Ports of joiners begin so far above a cluster's first; what is below is the layout's.
const FIRST_PORT: u16 = 50;

/// A vault node of its own; its process ends with it.
pub struct Joiner {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    health: u16,
    config: PathBuf,
    binary: String,
    process: Option<Child>,
}

impl Drop for Joiner {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Joiner {
    /// Issues a certificate and writes a configuration; nothing runs yet. Numbers are 7 to 11.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(cluster: &Running, binary: &str, id: u64, region: &str) -> anyhow::Result<Self> {
        let name = format!("vault-{id}");
        let authority = cluster.root().join("second-authority");
        let role = PeerRole::Vault;
        cluster
            .authority
            .issue(role, Some(&region.parse()?), &name.parse()?)?;
        let port = cluster.stage.layout.ports().base() + FIRST_PORT + 2 * (id as u16 - 7);
        let address = format!("127.0.0.1:{port}");
        let seed = Seed {
            id: NodeId(id),
            name: name.parse()?,
            region: region.parse()?,
            address: address.clone(),
        };
        let known = cluster.root().join("vault-1/vault-1.toml");
        let known = VaultConfig::load(&known).context("another vault's configuration")?;
        let mut seeds = known.seeds;
        seeds.push(seed.clone());
        let folder = cluster.root().join(&name);
        let config = VaultConfig {
            node: seed.id,
            name: seed.name,
            region: seed.region,
            trust_domain: TRUST_DOMAIN.parse()?,
            data: folder.join("data"),
            listen: address.clone(),
            health: format!("127.0.0.1:{}", port + 1),
            tls: TlsSection {
                certificate: authority.join(format!("{name}.pem")),
                key: authority.join(format!("{name}.key")),
                ..known.tls
            },
            seeds,
            raft: RaftSection::default(),
            snapshots: None,
            log: LogSection {
                filter: "info".to_owned(),
                format: LogFormat::Text,
            },
        };
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.toml"));
        std::fs::write(&path, toml::to_string(&config)?)?;
        Ok(Self {
            id,
            name,
            address,
            health: port + 1,
            config: path,
            binary: binary.to_owned(),
            process: None,
        })
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.config.with_file_name("data")
    }

    /// Starts its process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = self.config.with_extension("log");
        let output = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)?;
        let process = Command::new(&self.binary)
            .args(["vault", "--exit-with-parent", "--config"])
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("start a vault node")?;
        self.process = Some(process);
        Ok(())
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn ready(&self) -> anyhow::Result<()> {
        wait_ready(&self.name, self.health, "/readyz")
            .await
            .map_err(failed)
    }

    /// Kills its process.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Waits until the process ends by itself; returns what it has logged.
    ///
    /// # Errors
    /// When it does not end, or ends well.
    pub async fn ends(&mut self, patience: Duration) -> anyhow::Result<String> {
        let mut process = self.process.take().context("a running process")?;
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = process.try_wait()? {
                ensure!(!status.success(), "it ended well");
                return Ok(std::fs::read_to_string(self.config.with_extension("log"))?);
            }
            if Instant::now() >= until {
                let _ = process.kill();
                let _ = process.wait();
                anyhow::bail!("it still runs");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Runs the program as the operator, with JSON output, off the async workers.
///
/// # Errors
/// When it cannot be run.
pub async fn operate(cluster: &Running, binary: &str, verb: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary);
    command
        .arg("--profile")
        .arg(cluster.stage.layout.profile(OPERATOR))
        .args(["--output", "json"])
        .args(verb)
        .stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output()).await?;
    ran.context("run the program")
}

/// The same, for a command that must be done; returns its JSON.
///
/// # Errors
/// When it is not done; says what it printed.
pub async fn operated(
    cluster: &Running,
    binary: &str,
    verb: &[&str],
) -> anyhow::Result<serde_json::Value> {
    let ran = operate(cluster, binary, verb).await?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{verb:?}: {said}");
    serde_json::from_slice(&ran.stdout).with_context(|| format!("{verb:?} prints JSON: {said}"))
}

/// The same, for a command that must be refused; returns its reasons.
///
/// # Errors
/// When it is done, or fails otherwise.
pub async fn refused(cluster: &Running, binary: &str, verb: &[&str]) -> anyhow::Result<String> {
    let ran = operate(cluster, binary, verb).await?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(ran.status.code() == Some(1), "{verb:?} is refused: {said}");
    Ok(said)
}

/// Copies a folder with everything in it.
///
/// # Errors
/// What the operating system reports.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
