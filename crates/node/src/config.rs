//! The configuration of each service: one TOML file, unknown keys refused, secrets by file.
//!
//! Relative paths are relative to the configuration file. Every shipped sample in `config/` is
//! parsed by a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bailiwick_transport::{AuthorityFamily, TlsFiles};
use bailiwick_types::{Jurisdiction, Name, NodeId, Region, Role, Slot};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wrapping::MasterSource;

/// Why a configuration file is refused: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not of its form; the source names line and key.
    #[error("{path} is no valid configuration: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, where.
        reason: String,
    },
    /// A value is impossible.
    #[error("{path}: {key}: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The files of a TLS identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// The authorities whose certificates are accepted, PEM.
    pub authorities: PathBuf,
    /// Authorities that alone vouch for certificates of some roles, and for no other role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<AuthorityFamily>,
    /// Revocation lists, PEM; none are checked when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations: Option<PathBuf>,
}

impl TlsSection {
    /// Reads relative paths from the folder `base`.
    pub fn rebase(&mut self, base: &Path) {
        for path in [&mut self.certificate, &mut self.key, &mut self.authorities] {
            *path = base.join(&*path);
        }
        for family in &mut self.families {
            family.authorities = base.join(&family.authorities);
        }
        if let Some(path) = &mut self.revocations {
            *path = base.join(&*path);
        }
    }

    /// The files as the transport takes them.
    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            authorities: self.authorities.clone(),
            families: self.families.clone(),
            revocations: self.revocations.clone(),
        }
    }
}

/// A vault node that others find the cluster by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Its number.
    pub id: NodeId,
    /// Its id, as in its certificate name.
    pub name: Name,
    /// Where it stands.
    pub region: Region,
    /// `host:port` of its frames.
    pub address: String,
}

/// Raft's timings, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftSection {
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// Least time without a leader before an election.
    pub election_min_ms: u64,
    /// Most.
    pub election_max_ms: u64,
}

impl Default for RaftSection {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 700,
        }
    }
}

/// How a service logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// A filter such as `info` or `bailiwick_node=debug,info`.
    pub filter: String,
    /// `json` or `text`.
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Json,
        }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Snapshots that a vault node keeps of the groups that it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotsSection {
    /// Where: best another disk, which survives the loss of this node's.
    pub folder: PathBuf,
    /// Seconds between two snapshots of a group.
    #[serde(default = "default_snapshot_seconds")]
    pub every_seconds: u64,
    /// How many of each group are kept; older ones are deleted.
    #[serde(default = "default_snapshots_kept")]
    pub keep: u32,
}

fn default_snapshot_seconds() -> u64 {
    60 * 60
}

fn default_snapshots_kept() -> u32 {
    24
}

/// `bailiwick vault`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// This node's number; never reused.
    pub node: NodeId,
    /// Its id, as in its certificate name.
    pub name: Name,
    /// Where it stands, as in its certificate name.
    pub region: Region,
    /// The trust domain of all certificates.
    pub trust_domain: Name,
    /// Its data folder.
    pub data: PathBuf,
    /// `host:port` of its frames.
    pub listen: String,
    /// `host:port` of its health and metrics; keep it on loopback or a management network.
    pub health: String,
    /// Its TLS identity.
    pub tls: TlsSection,
    /// All vault nodes known when this file was written, this one included.
    pub seeds: Vec<Seed>,
    /// Raft's timings.
    #[serde(default)]
    pub raft: RaftSection,
    /// Snapshots on a schedule; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SnapshotsSection>,
    /// Logging.
    #[serde(default)]
    pub log: LogSection,
}

/// `bailiwick approver`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproverConfig {
    /// The committee.
    pub role: Role,
    /// Its slot in the committees that it serves.
    pub slot: Slot,
    /// Its id, as in its certificate name and in the trust files.
    pub name: Name,
    /// The organisation that runs it.
    pub organisation: Name,
    /// The trust domain of all certificates.
    pub trust_domain: Name,
    /// Its data folder: followed logs, and period keys.
    pub data: PathBuf,
    /// `host:port` of its health and metrics; loopback.
    pub health: String,
    /// Addresses of vault nodes.
    pub seeds: Vec<String>,
    /// Its TLS identity.
    pub tls: TlsSection,
    /// Its Ed25519 identity key: 32 bytes, hexadecimal.
    pub identity_key: PathBuf,
    /// Its own trust file; the paths of its own policy copies in there are relative to it.
    pub trust: PathBuf,
    /// What wraps its private keys at rest; without it they rest as files that only its user reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapping: Option<MasterSource>,
    /// The jurisdictions that it serves.
    pub jurisdictions: Vec<Jurisdiction>,
    /// Logging.
    #[serde(default)]
    pub log: LogSection,
}

/// What an edge does with a custody jurisdiction that the cluster does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Unserved {
    /// The record is refused.
    #[default]
    Refuse,
    /// The record goes where `unknown` goes.
    Unknown,
}

/// `bailiwick edge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// Its id, as in its certificate name and its enrolments.
    pub name: Name,
    /// The trust domain of all certificates.
    pub trust_domain: Name,
    /// Its data folder: the high-water mark of key periods; never a key or a record.
    pub data: PathBuf,
    /// `host:port` of its HTTPS API.
    pub listen: String,
    /// `host:port` of its health and metrics; loopback.
    pub health: String,
    /// Addresses of vault nodes.
    pub seeds: Vec<String>,
    /// Its TLS identity.
    pub tls: TlsSection,
    /// The Ed25519 key that signs headers and manifests: 32 bytes, hexadecimal.
    pub signing_key: PathBuf,
    /// Its own trust file: whose key certificates it accepts.
    pub trust: PathBuf,
    /// The pseudonym key of each jurisdiction that it writes to.
    pub pseudonym_keys: BTreeMap<String, PathBuf>,
    /// The custody of records whose jurisdiction is unknown.
    pub unknown: Jurisdiction,
    /// What to do with an unserved custody.
    #[serde(default)]
    pub unserved: Unserved,
    /// Accept addresses of documentation ranges; for demonstrations only.
    #[serde(default)]
    pub allow_documentation_ranges: bool,
    /// Sealing lanes per jurisdiction: blocks that may be under way at once.
    #[serde(default = "default_lanes")]
    pub lanes: u8,
    /// Length of a session in seconds, at most 3,600.
    #[serde(default = "default_session_seconds")]
    pub session_seconds: u64,
    /// Logging.
    #[serde(default)]
    pub log: LogSection,
}

fn default_lanes() -> u8 {
    2
}

fn default_session_seconds() -> u64 {
    bailiwick_types::limits::SESSION_LIFETIME.as_secs()
}

impl EdgeConfig {
    /// Length of a session.
    pub fn session_lifetime(&self) -> Duration {
        Duration::from_secs(self.session_seconds)
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<(T, PathBuf), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let value = toml::from_str(&text).map_err(|error| ConfigError::Parse {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let base = path.parent().unwrap_or(Path::new(".")).to_owned();
    Ok((value, base))
}

fn refuse(path: &Path, key: &'static str, reason: &str) -> ConfigError {
    ConfigError::Value {
        path: path.to_owned(),
        key,
        reason: reason.to_owned(),
    }
}

impl VaultConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] names file, key and reason.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (mut config, base): (Self, _) = parse(path)?;
        config.data = base.join(&config.data);
        config.tls.rebase(&base);
        let itself = config.seeds.iter().find(|seed| seed.id == config.node);
        match itself {
            None => return Err(refuse(path, "seeds", "this node is not among them")),
            Some(seed) if seed.name != config.name || seed.region != config.region => {
                return Err(refuse(
                    path,
                    "seeds",
                    "this node's seed has another name or region",
                ));
            }
            Some(_) => {}
        }
        if let Some(snapshots) = &mut config.snapshots {
            snapshots.folder = base.join(&snapshots.folder);
            if snapshots.every_seconds == 0 || snapshots.keep == 0 {
                let reason = "every_seconds and keep are at least 1";
                return Err(refuse(path, "snapshots", reason));
            }
        }
        let raft = config.raft;
        if raft.heartbeat_ms == 0
            || raft.election_min_ms < 2 * raft.heartbeat_ms
            || raft.election_max_ms <= raft.election_min_ms
        {
            let reason = "needs 2 x heartbeat_ms <= election_min_ms < election_max_ms";
            return Err(refuse(path, "raft", reason));
        }
        Ok(config)
    }
}

impl ApproverConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] names file, key and reason.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (mut config, base): (Self, _) = parse(path)?;
        for entry in [
            &mut config.data,
            &mut config.identity_key,
            &mut config.trust,
        ] {
            *entry = base.join(&*entry);
        }
        config.tls.rebase(&base);
        match &mut config.wrapping {
            Some(MasterSource::PassphraseFile(file) | MasterSource::KeyFile(file)) => {
                *file = base.join(&*file);
            }
            Some(MasterSource::Token(key)) => {
                key.pin_file = base.join(&key.pin_file);
            }
            Some(MasterSource::Credential(_)) | None => {}
        }
        if config.seeds.is_empty() {
            return Err(refuse(
                path,
                "seeds",
                "empty: an approver dials out to vault nodes",
            ));
        }
        if config.jurisdictions.is_empty() {
            return Err(refuse(
                path,
                "jurisdictions",
                "empty: the approver would serve none",
            ));
        }
        Ok(config)
    }
}

impl EdgeConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] names file, key and reason.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (mut config, base): (Self, _) = parse(path)?;
        for entry in [&mut config.data, &mut config.signing_key, &mut config.trust] {
            *entry = base.join(&*entry);
        }
        for (code, file) in &mut config.pseudonym_keys {
            if code.parse::<Jurisdiction>().is_err() {
                return Err(refuse(path, "pseudonym_keys", "a key is no ISO 3166 code"));
            }
            *file = base.join(&*file);
        }
        config.tls.rebase(&base);
        if config.seeds.is_empty() {
            return Err(refuse(
                path,
                "seeds",
                "empty: an edge dials out to vault nodes",
            ));
        }
        if !(1..=16).contains(&config.lanes) {
            return Err(refuse(path, "lanes", "outside 1 to 16"));
        }
        if !(1..=3600).contains(&config.session_seconds) {
            return Err(refuse(path, "session_seconds", "outside 1 to 3600"));
        }
        Ok(config)
    }
}
