//! A service's configuration, whatever its kind, as the checks look at it.

use std::path::{Path, PathBuf};

use bailiwick_node::config::{ApproverConfig, EdgeConfig, TlsSection, VaultConfig};
use bailiwick_node::health::ServiceKind;
use bailiwick_types::{Identity, Name, NodeId, PeerRole};

use crate::failure::chain;

/// The configuration of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceFile {
    /// A vault node's.
    Vault(VaultConfig),
    /// An approver's.
    Approver(ApproverConfig),
    /// An edge's.
    Edge(EdgeConfig),
}

/// A vault node that the service dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens.
    pub address: String,
    /// Who it must be, where the configuration says so.
    pub node: Option<NodeId>,
}

impl ServiceFile {
    /// Loads a configuration of the kind that it parses as.
    ///
    /// # Errors
    /// What is wrong with it, as the kind that comes closest sees it.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.to_string().replace('\n', " "))?;
        let loaded = if table.contains_key("node") {
            VaultConfig::load(path).map(Self::Vault)
        } else if table.contains_key("identity_key") {
            ApproverConfig::load(path).map(Self::Approver)
        } else {
            EdgeConfig::load(path).map(Self::Edge)
        };
        loaded.map_err(|error| chain(&error))
    }

    /// The kind.
    pub fn kind(&self) -> ServiceKind {
        match self {
            Self::Vault(_) => ServiceKind::Vault,
            Self::Approver(_) => ServiceKind::Approver,
            Self::Edge(_) => ServiceKind::Edge,
        }
    }

    /// Its id.
    pub fn name(&self) -> &Name {
        match self {
            Self::Vault(config) => &config.name,
            Self::Approver(config) => &config.name,
            Self::Edge(config) => &config.name,
        }
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &Name {
        match self {
            Self::Vault(config) => &config.trust_domain,
            Self::Approver(config) => &config.trust_domain,
            Self::Edge(config) => &config.trust_domain,
        }
    }

    /// Who its certificate must say that it is.
    pub fn identity(&self) -> Identity {
        let (role, region) = match self {
            Self::Vault(config) => (PeerRole::Vault, Some(config.region.clone())),
            Self::Approver(config) => (PeerRole::approver(config.role), None),
            Self::Edge(_) => (PeerRole::Edge, None),
        };
        Identity {
            trust_domain: self.trust_domain().clone(),
            role,
            region,
            id: self.name().clone(),
        }
    }

    /// The TLS files.
    pub fn tls(&self) -> &TlsSection {
        match self {
            Self::Vault(config) => &config.tls,
            Self::Approver(config) => &config.tls,
            Self::Edge(config) => &config.tls,
        }
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        match self {
            Self::Vault(config) => &config.data,
            Self::Approver(config) => &config.data,
            Self::Edge(config) => &config.data,
        }
    }

    /// Where it listens for others; an approver does not.
    pub fn listen(&self) -> Option<&str> {
        match self {
            Self::Vault(config) => Some(&config.listen),
            Self::Approver(_) => None,
            Self::Edge(config) => Some(&config.listen),
        }
    }

    /// Where it answers for its health.
    pub fn health(&self) -> &str {
        match self {
            Self::Vault(config) => &config.health,
            Self::Approver(config) => &config.health,
            Self::Edge(config) => &config.health,
        }
    }

    /// The vault nodes that it dials.
    pub fn peers(&self) -> Vec<Peer> {
        let unnamed = |seeds: &[String]| {
            let peers = seeds.iter().map(|address| Peer {
                address: address.clone(),
                node: None,
            });
            peers.collect()
        };
        match self {
            Self::Vault(config) => {
                let others = config.seeds.iter().filter(|seed| seed.id != config.node);
                let peers = others.map(|seed| Peer {
                    address: seed.address.clone(),
                    node: Some(seed.id),
                });
                peers.collect()
            }
            Self::Approver(config) => unnamed(&config.seeds),
            Self::Edge(config) => unnamed(&config.seeds),
        }
    }

    /// Files that only the service may read, with their keys in the configuration.
    pub fn secrets(&self) -> Vec<(String, PathBuf)> {
        let mut files = vec![("tls.key".to_owned(), self.tls().key.clone())];
        match self {
            Self::Vault(_) => {}
            Self::Approver(config) => {
                files.push(("identity_key".to_owned(), config.identity_key.clone()));
            }
            Self::Edge(config) => {
                files.push(("signing_key".to_owned(), config.signing_key.clone()));
                let keys = config.pseudonym_keys.iter();
                files.extend(keys.map(|(code, path)| {
                    let key = format!("pseudonym_keys.{code}");
                    (key, path.clone())
                }));
            }
        }
        files
    }

    /// The other files that it reads.
    pub fn public_files(&self) -> Vec<(String, PathBuf)> {
        let tls = self.tls();
        let mut files = vec![
            ("tls.certificate".to_owned(), tls.certificate.clone()),
            ("tls.authorities".to_owned(), tls.authorities.clone()),
        ];
        for (number, family) in tls.families.iter().enumerate() {
            let key = format!("tls.families[{number}].authorities");
            files.push((key, family.authorities.clone()));
        }
        if let Some(revocations) = &tls.revocations {
            files.push(("tls.revocations".to_owned(), revocations.clone()));
        }
        let trust = match self {
            Self::Vault(_) => None,
            Self::Approver(config) => Some(&config.trust),
            Self::Edge(config) => Some(&config.trust),
        };
        files.extend(trust.map(|trust| ("trust".to_owned(), trust.clone())));
        files
    }

    /// The configuration as TOML without its comments: only keys that the program knows, and of
    /// secrets the paths only, because a configuration has no place for a secret itself.
    pub fn to_toml(&self) -> String {
        let written = match self {
            Self::Vault(config) => toml::to_string(config),
            Self::Approver(config) => toml::to_string(config),
            Self::Edge(config) => toml::to_string(config),
        };
        written.unwrap_or_else(|error| format!("# not writable as TOML: {error}\n"))
    }
}
