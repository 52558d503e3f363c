//! The folder of a development cluster: who takes part, which files each has, and how to find them.
//!
//! ```text
//! cluster.toml                 port, cluster id, when it was made; `ceremony` once it is set up
//! nodes.toml                   for `bailiwick operator init`
//! tls/                         authority.pem, <id>.pem, <id>.key
//! keys/                        <id>.key; pseudonym-<CODE>.key; desk-1.card.toml
//! policies/<CODE>.toml
//! trust.toml                   for clients; every approver and edge has a copy of its own
//! profiles/<id>.toml
//! <service>/                   <service>.toml, data/, and of approvers trust.toml and policies/
//! logs/<service>.log
//! ```
//! All paths in these files are relative, so the folder may be moved while nothing runs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bailiwick_types::{ClusterId, Name, Role, Slot, Timestamp};
use serde::{Deserialize, Serialize};

use super::ports::Ports;
use crate::failure::Failure;

/// The trust domain of development clusters.
pub const TRUST_DOMAIN: &str = "bailiwick.example";
/// The jurisdictions with their region and an authority that may ask there.
pub const JURISDICTIONS: [(&str, &str, &str); 3] = [
    ("FR", "eu", "tribunal-paris"),
    ("DE", "eu", "amtsgericht-berlin"),
    ("US", "us", "court-northern-california"),
];
/// The vault nodes: number and region.
pub const VAULTS: [(u16, &str); 6] = [
    (1, "eu"),
    (2, "eu"),
    (3, "eu"),
    (4, "us"),
    (5, "us"),
    (6, "us"),
];
/// The persons who review, by committee and slot.
pub const REVIEWERS: [(Role, u8, &str); 6] = [
    (Role::Workflow, 1, "anna"),
    (Role::Workflow, 2, "ben"),
    (Role::Workflow, 3, "chloe"),
    (Role::LegalReview, 1, "dora"),
    (Role::LegalReview, 2, "emil"),
    (Role::LegalReview, 3, "fay"),
];
/// Members of each committee, and how many of them must act.
pub const COMMITTEE: (u8, u8) = (2, 3);
/// The edge.
pub const EDGE: &str = "edge-1";
/// The disclosure workflow's service.
pub const INTAKE: &str = "intake-1";
/// The backend service.
pub const BACKEND: &str = "backend-1";
/// The operator.
pub const OPERATOR: &str = "operator-1";
/// The disclosure desk.
pub const RECIPIENT: &str = "desk-1";
/// The auditor.
pub const AUDITOR: &str = "auditor-1";

/// The organisation that runs a committee's members.
pub fn organisation(role: Role) -> &'static str {
    match role {
        Role::Workflow => "disclosure-office",
        Role::LegalReview => "outside-counsel",
    }
}

/// A name that this module states.
pub fn name(text: &str) -> Name {
    text.parse().expect("names of the layout are valid")
}

/// The id of an approver.
pub fn approver(role: Role, slot: u8) -> Name {
    match role {
        Role::Workflow => name(&format!("workflow-{slot}")),
        Role::LegalReview => name(&format!("legal-{slot}")),
    }
}

/// A slot of the committees.
pub fn slot(number: u8) -> Slot {
    Slot::new(number).expect("slots of the layout are 1 to 3")
}

/// What `cluster.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// The first port.
    pub port: u16,
    /// The cluster's id, drawn when the folder was made.
    pub cluster: ClusterId,
    /// When the certificates were made, in seconds since the epoch.
    pub made_at: u64,
}

/// A service of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its id.
    pub name: Name,
    /// The verb that runs it.
    pub verb: &'static str,
    /// Its configuration.
    pub config: PathBuf,
    /// The port of its health and metrics.
    pub health: u16,
}

impl Service {
    /// The arguments that run it as a child.
    pub fn arguments(&self) -> Vec<String> {
        let config = self.config.display().to_string();
        vec![
            self.verb.to_owned(),
            "--config".to_owned(),
            config,
            "--exit-with-parent".to_owned(),
        ]
    }
}

/// An existing folder of a development cluster.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    file: ClusterFile,
}

impl Layout {
    /// Opens a folder that was made before; `None` when there is none.
    ///
    /// # Errors
    /// When there is something else, or its certificates have expired.
    pub fn open(root: &Path, now: Timestamp) -> anyhow::Result<Option<Self>> {
        let path = root.join("cluster.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return check_absent(root).map(|()| None);
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let file: ClusterFile =
            toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        let valid = super::certificates::VALID_DAYS as u64 * 86_400;
        if now.seconds() >= file.made_at + valid {
            let failure = Failure::refused(
                format!("the cluster in {} is too old", root.display()),
                "its certificates were made for 30 days and have expired; their authority's key \
                 was never kept",
                "begin another with --data, or delete the folder",
            );
            return Err(failure.into());
        }
        Ok(Some(Self {
            root: std::path::absolute(root)?,
            file,
        }))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The cluster's id.
    pub fn cluster(&self) -> ClusterId {
        self.file.cluster
    }

    /// The ports.
    pub fn ports(&self) -> Ports {
        Ports::from_base(self.file.port)
    }

    /// The profile of somebody.
    pub fn profile(&self, who: &str) -> PathBuf {
        self.root.join("profiles").join(format!("{who}.toml"))
    }

    /// The private key of somebody.
    pub fn key(&self, whose: &str) -> PathBuf {
        self.root.join("keys").join(format!("{whose}.key"))
    }

    /// The policy of a jurisdiction.
    pub fn policy(&self, code: &str) -> PathBuf {
        self.root.join("policies").join(format!("{code}.toml"))
    }

    /// The recipient's card.
    pub fn recipient_card(&self) -> PathBuf {
        crate::keys::RecipientCard::beside(&self.key(RECIPIENT))
    }

    /// The folder of logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The mark of a finished ceremony.
    pub fn ceremony_mark(&self) -> PathBuf {
        self.root.join("ceremony.done")
    }

    /// All services, in the order in which they are started.
    pub fn services(&self) -> Vec<Service> {
        let ports = self.ports();
        let vaults = VAULTS.iter().map(|(number, _)| {
            let id = format!("vault-{number}");
            self.service(&id, "vault", ports.vault_health(*number))
        });
        let approvers = Role::ALL.into_iter().flat_map(|role| {
            (1..=COMMITTEE.1).map(move |slot| {
                let number = u16::from(slot);
                let health = match role {
                    Role::Workflow => ports.workflow_health(number),
                    Role::LegalReview => ports.legal_health(number),
                };
                self.service(approver(role, slot).as_str(), "approver", health)
            })
        });
        let edge = self.service(EDGE, "edge", ports.edge_health());
        vaults.chain(approvers).chain([edge]).collect()
    }

    /// One service by its id.
    pub fn service_of(&self, id: &str) -> Option<Service> {
        self.services()
            .into_iter()
            .find(|service| service.name.as_str() == id)
    }

    fn service(&self, id: &str, verb: &'static str, health: u16) -> Service {
        let config = self.root.join(id).join(format!("{id}.toml"));
        Service {
            name: name(id),
            verb,
            config,
            health,
        }
    }
}

/// A folder with other things in it is never written to.
fn check_absent(root: &Path) -> anyhow::Result<()> {
    let empty = match std::fs::read_dir(root) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("read {}", root.display())),
    };
    if empty {
        return Ok(());
    }
    let failure = Failure::usage(
        format!("{} is no development cluster", root.display()),
        "the folder has other things in it and no cluster.toml",
        "name an empty or new folder with --data",
    );
    Err(failure.into())
}
