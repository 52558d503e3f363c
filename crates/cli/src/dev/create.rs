//! Makes the folder of a development cluster: certificates, keys, policies, trust files,
//! configurations and profiles. Written beside its place and renamed, so that an interruption
//! leaves no half cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bailiwick_envelope::certificate::{
    TrustRoster, TrustedCommittee, TrustedMember, TrustedReviewer,
};
use bailiwick_envelope::{EncapsulationKey, IdentityKey};
use bailiwick_node::config::{
    ApproverConfig, EdgeConfig, LogFormat, LogSection, RaftSection, Seed, TlsSection, Unserved,
    VaultConfig,
};
use bailiwick_policy::Policy;
use bailiwick_types::{
    ClusterId, Digest, Jurisdiction, Name, NodeId, PeerRole, Region, Role, Timestamp,
};
use serde::Serialize;

use super::certificates::Authority;
use super::layout::{
    AUDITOR, BACKEND, COMMITTEE, ClusterFile, EDGE, INTAKE, JURISDICTIONS, Layout, OPERATOR,
    RECIPIENT, REVIEWERS, TRUST_DOMAIN, VAULTS, approver, name, organisation, slot,
};
use super::ports::Ports;
use crate::keys::{RecipientCard, draw, generate_recipient_key, generate_signing_key};
use crate::profile::{Profile, ReviewerSection};

/// Records that one development approver lets out for one request, and in one day.
const BUDGET: (u32, u32) = (10_000, 100_000);

/// A trust file as it is written; `bailiwick_disclosure::TrustFile` parses it.
#[derive(Serialize)]
struct TrustForm {
    jurisdictions: Vec<TrustJurisdiction>,
}

#[derive(Serialize)]
struct TrustJurisdiction {
    jurisdiction: Jurisdiction,
    origin: String,
    budget: TrustBudget,
    voters: Vec<TrustKey>,
    roster: TrustRoster,
    recipients: Vec<TrustRecipient>,
    edges: Vec<TrustKey>,
    policies: Vec<TrustPolicy>,
}

#[derive(Serialize)]
struct TrustBudget {
    records_per_request: u32,
    records_per_day: u32,
}

#[derive(Serialize)]
struct TrustRecipient {
    name: Name,
    key: String,
    certificate: Digest,
    authorities: Vec<Name>,
}

/// An edge's or a voter's key.
#[derive(Serialize)]
struct TrustKey {
    name: Name,
    key: IdentityKey,
}

#[derive(Serialize)]
struct TrustPolicy {
    jurisdiction: Jurisdiction,
    path: String,
    digest: Digest,
}

/// The nodes as `bailiwick operator init` reads them.
#[derive(Serialize)]
struct NodesForm {
    nodes: Vec<Seed>,
}

/// The folder while it is being made.
struct Maker {
    root: PathBuf,
    ports: Ports,
    identities: BTreeMap<Name, IdentityKey>,
    recipient: Option<(EncapsulationKey, Digest)>,
}

/// Makes a folder and opens it.
///
/// # Errors
/// When something cannot be written.
pub fn create(root: &Path, port: u16, now: Timestamp) -> anyhow::Result<Layout> {
    let mut beside = root.as_os_str().to_owned();
    beside.push(".making");
    let beside = PathBuf::from(beside);
    if beside.exists() {
        fs::remove_dir_all(&beside).with_context(|| format!("remove {}", beside.display()))?;
    }
    let mut maker = Maker {
        root: beside.clone(),
        ports: Ports::from_base(port),
        identities: BTreeMap::new(),
        recipient: None,
    };
    maker
        .make(now)
        .with_context(|| format!("make {}", beside.display()))?;
    fs::rename(&beside, root).with_context(|| format!("rename to {}", root.display()))?;
    Layout::open(root, now)?.context("the folder that was just made is there")
}

impl Maker {
    fn make(&mut self, now: Timestamp) -> anyhow::Result<()> {
        for folder in ["tls", "keys", "policies", "profiles", "logs"] {
            fs::create_dir_all(self.root.join(folder))?;
        }
        let recipient_certificate = self.issue_certificates()?;
        self.make_keys(recipient_certificate)?;
        for (code, _, authority) in JURISDICTIONS {
            fs::write(
                self.root.join(format!("policies/{code}.toml")),
                policy(code, authority),
            )?;
        }
        let trust = self.trust_file()?;
        bailiwick_disclosure::TrustFile::parse(&trust).context("the trust file just made")?;
        fs::write(self.root.join("trust.toml"), &trust)?;
        self.write(
            "nodes.toml",
            &NodesForm {
                nodes: self.seeds(),
            },
        )?;
        self.write_vaults()?;
        self.write_approvers(&trust)?;
        self.write_edge(&trust)?;
        self.write_profiles()?;
        let mut cluster = [0; 16];
        cluster.copy_from_slice(&draw()?[..16]);
        let cluster = ClusterId(cluster);
        let (port, made_at) = (self.ports.base(), now.seconds());
        self.write(
            "cluster.toml",
            &ClusterFile {
                port,
                cluster,
                made_at,
            },
        )
    }

    fn write<T: Serialize>(&self, path: impl AsRef<Path>, value: &T) -> anyhow::Result<()> {
        let path = self.root.join(path);
        let text = toml::to_string(value)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Issues everybody's certificate; returns the recipient's digest.
    fn issue_certificates(&self) -> anyhow::Result<Digest> {
        let authority = Authority::create(&self.root.join("tls"), &name(TRUST_DOMAIN))?;
        for (number, region) in VAULTS {
            let id = name(&format!("vault-{number}"));
            authority.issue(PeerRole::Vault, Some(&name(region)), &id)?;
        }
        for role in Role::ALL {
            for slot in 1..=COMMITTEE.1 {
                authority.issue(PeerRole::approver(role), None, &approver(role, slot))?;
            }
        }
        for (_, _, person) in REVIEWERS {
            authority.issue(PeerRole::Reviewer, None, &name(person))?;
        }
        let others = [
            (PeerRole::Edge, EDGE),
            (PeerRole::Backend, BACKEND),
            (PeerRole::Intake, INTAKE),
            (PeerRole::Operator, OPERATOR),
            (PeerRole::Auditor, AUDITOR),
        ];
        for (role, id) in others {
            authority.issue(role, None, &name(id))?;
        }
        authority.issue(PeerRole::Recipient, None, &name(RECIPIENT))
    }

    fn make_keys(&mut self, recipient_certificate: Digest) -> anyhow::Result<()> {
        let keys = self.root.join("keys");
        let members = Role::ALL
            .into_iter()
            .flat_map(|role| (1..=COMMITTEE.1).map(move |slot| approver(role, slot)));
        let persons = REVIEWERS.iter().map(|(_, _, person)| name(person));
        for id in members.chain(persons).chain([name(EDGE)]) {
            let key = generate_signing_key(&keys.join(format!("{id}.key")))?;
            self.identities.insert(id, key);
        }
        for (number, _) in VAULTS {
            let id = name(&format!("vault-{number}"));
            let data = self.root.join(id.as_str()).join("data");
            bailiwick_node::files::create_private_folder(&data)?;
            let key = generate_signing_key(&data.join(bailiwick_node::vault::NOTE_KEY))?;
            self.identities.insert(id, key);
        }
        for (code, _, _) in JURISDICTIONS {
            let path = keys.join(format!("pseudonym-{code}.key"));
            bailiwick_node::files::write_secret(&path, &draw()?)?;
        }
        let private = keys.join(format!("{RECIPIENT}.key"));
        let key = generate_recipient_key(&private)?;
        let card = RecipientCard::new(name(RECIPIENT), recipient_certificate, &key);
        fs::write(RecipientCard::beside(&private), toml::to_string(&card)?)?;
        self.recipient = Some((key, recipient_certificate));
        Ok(())
    }

    fn identity(&self, id: &Name) -> anyhow::Result<IdentityKey> {
        self.identities
            .get(id)
            .copied()
            .with_context(|| format!("{id} has a key"))
    }

    fn committee(&self, role: Role) -> anyhow::Result<TrustedCommittee> {
        let mut members = Vec::new();
        for (_, number, person) in REVIEWERS.iter().filter(|(of, _, _)| *of == role) {
            let id = approver(role, *number);
            let person = name(person);
            let key = self.identity(&person)?;
            members.push(TrustedMember {
                slot: slot(*number),
                organisation: name(organisation(role)),
                identity: self.identity(&id)?,
                name: id,
                reviewers: vec![TrustedReviewer { person, key }],
            });
        }
        Ok(TrustedCommittee {
            needed: COMMITTEE.0,
            members,
        })
    }

    fn trust_file(&self) -> anyhow::Result<String> {
        let mut jurisdictions = Vec::new();
        for (code, _, authority) in JURISDICTIONS {
            jurisdictions.push(self.trust_of(code, authority)?);
        }
        Ok(toml::to_string(&TrustForm { jurisdictions })?)
    }

    fn trust_of(&self, code: &str, authority: &str) -> anyhow::Result<TrustJurisdiction> {
        let (key, certificate) = self.recipient.clone().context("the recipient has a key")?;
        let path = format!("policies/{code}.toml");
        let policy = Policy::parse(&fs::read_to_string(self.root.join(&path))?)?;
        let jurisdiction = policy.jurisdiction();
        let (records_per_request, records_per_day) = BUDGET;
        Ok(TrustJurisdiction {
            jurisdiction,
            origin: format!("{TRUST_DOMAIN}/{code}"),
            budget: TrustBudget {
                records_per_request,
                records_per_day,
            },
            voters: self.voters(code)?,
            roster: TrustRoster {
                workflow: self.committee(Role::Workflow)?,
                legal_review: self.committee(Role::LegalReview)?,
            },
            recipients: vec![TrustRecipient {
                name: name(RECIPIENT),
                key: hex::encode(key.as_bytes()),
                certificate,
                authorities: vec![name(authority)],
            }],
            edges: vec![TrustKey {
                name: name(EDGE),
                key: self.identity(&name(EDGE))?,
            }],
            policies: vec![TrustPolicy {
                jurisdiction,
                path,
                digest: policy.digest(),
            }],
        })
    }

    /// The note keys of the vaults that the jurisdiction's groups may be on: whoever comes to lead its
    /// log may say what it is.
    fn voters(&self, code: &str) -> anyhow::Result<Vec<TrustKey>> {
        let region = region_of(code).context("every jurisdiction has a region")?;
        let here = VAULTS.iter().filter(|(_, of)| *of == region.as_str());
        let names = here.map(|(number, _)| name(&format!("vault-{number}")));
        let voter = |id: Name| {
            let key = self.identity(&id)?;
            Ok(TrustKey { name: id, key })
        };
        names.map(voter).collect()
    }

    fn seeds(&self) -> Vec<Seed> {
        VAULTS
            .iter()
            .map(|(number, region)| Seed {
                id: NodeId(u64::from(*number)),
                name: name(&format!("vault-{number}")),
                region: name(region),
                address: local(self.ports.vault(*number)),
            })
            .collect()
    }

    fn addresses(&self) -> Vec<String> {
        self.seeds().into_iter().map(|seed| seed.address).collect()
    }

    fn write_vaults(&self) -> anyhow::Result<()> {
        let seeds = self.seeds();
        for ((number, _), seed) in VAULTS.iter().zip(&seeds) {
            let config = VaultConfig {
                node: seed.id,
                name: seed.name.clone(),
                region: seed.region.clone(),
                trust_domain: name(TRUST_DOMAIN),
                data: PathBuf::from("data"),
                listen: seed.address.clone(),
                health: local(self.ports.vault_health(*number)),
                tls: tls(seed.name.as_str()),
                seeds: seeds.clone(),
                raft: RaftSection::default(),
                snapshots: None,
                log: log(),
            };
            self.write(format!("{0}/{0}.toml", seed.name), &config)?;
        }
        Ok(())
    }

    fn write_approvers(&self, trust: &str) -> anyhow::Result<()> {
        for (role, number, _) in REVIEWERS {
            let id = approver(role, number);
            let health = match role {
                Role::Workflow => self.ports.workflow_health(number.into()),
                Role::LegalReview => self.ports.legal_health(number.into()),
            };
            let config = ApproverConfig {
                role,
                slot: slot(number),
                organisation: name(organisation(role)),
                trust_domain: name(TRUST_DOMAIN),
                data: PathBuf::from("data"),
                health: local(health),
                seeds: self.addresses(),
                tls: tls(id.as_str()),
                identity_key: PathBuf::from(format!("../keys/{id}.key")),
                trust: PathBuf::from("trust.toml"),
                wrapping: None,
                jurisdictions: jurisdictions(),
                log: log(),
                name: id.clone(),
            };
            self.write(format!("{id}/{id}.toml"), &config)?;
            let folder = self.root.join(id.as_str());
            fs::write(folder.join("trust.toml"), trust)?;
            fs::create_dir_all(folder.join("policies"))?;
            for (code, _, _) in JURISDICTIONS {
                let file = format!("policies/{code}.toml");
                fs::copy(self.root.join(&file), folder.join(&file))?;
            }
        }
        Ok(())
    }

    fn write_edge(&self, trust: &str) -> anyhow::Result<()> {
        let config = EdgeConfig {
            name: name(EDGE),
            trust_domain: name(TRUST_DOMAIN),
            data: PathBuf::from("data"),
            listen: local(self.ports.edge()),
            health: local(self.ports.edge_health()),
            seeds: self.addresses(),
            tls: tls(EDGE),
            signing_key: PathBuf::from(format!("../keys/{EDGE}.key")),
            trust: PathBuf::from("trust.toml"),
            pseudonym_keys: pseudonym_keys(),
            unknown: jurisdictions()[0],
            unserved: Unserved::Refuse,
            allow_documentation_ranges: true,
            lanes: 2,
            session_seconds: 600,
            log: log(),
        };
        self.write(format!("{EDGE}/{EDGE}.toml"), &config)?;
        Ok(fs::write(self.root.join(EDGE).join("trust.toml"), trust)?)
    }

    fn profile(&self, id: &str) -> Profile {
        Profile {
            name: name(id),
            trust_domain: name(TRUST_DOMAIN),
            seeds: self.addresses(),
            jurisdiction: Some(jurisdictions()[0]),
            edge: None,
            trust: Some(PathBuf::from("../trust.toml")),
            policies: None,
            recipient_key: None,
            reviewer: None,
            tls: tls(id),
            pseudonym_keys: BTreeMap::new(),
        }
    }

    fn write_profiles(&self) -> anyhow::Result<()> {
        let edge = Some(format!("https://{}", local(self.ports.edge())));
        let policies = Some(PathBuf::from("../policies"));
        let profiles = [
            Profile {
                policies: policies.clone(),
                ..self.profile(OPERATOR)
            },
            Profile {
                edge,
                seeds: Vec::new(),
                trust: None,
                ..self.profile(BACKEND)
            },
            Profile {
                policies,
                pseudonym_keys: pseudonym_keys(),
                ..self.profile(INTAKE)
            },
            Profile {
                recipient_key: Some(PathBuf::from(format!("../keys/{RECIPIENT}.key"))),
                ..self.profile(RECIPIENT)
            },
            Profile {
                pseudonym_keys: pseudonym_keys(),
                ..self.profile(AUDITOR)
            },
        ];
        for profile in profiles {
            self.write(format!("profiles/{}.toml", profile.name), &profile)?;
        }
        for (role, number, person) in REVIEWERS {
            let reviewer = ReviewerSection {
                role,
                slot: slot(number),
                person: name(person),
                key: PathBuf::from(format!("../keys/{person}.key")),
            };
            let profile = Profile {
                reviewer: Some(reviewer),
                ..self.profile(person)
            };
            self.write(format!("profiles/{person}.toml"), &profile)?;
        }
        Ok(())
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn log() -> LogSection {
    LogSection {
        filter: "info".to_owned(),
        format: LogFormat::Text,
    }
}

fn tls(id: &str) -> TlsSection {
    TlsSection {
        certificate: PathBuf::from(format!("../tls/{id}.pem")),
        key: PathBuf::from(format!("../tls/{id}.key")),
        authorities: PathBuf::from("../tls/authority.pem"),
        families: Vec::new(),
        revocations: None,
    }
}

fn jurisdictions() -> Vec<Jurisdiction> {
    let parse = |code: &str| code.parse().expect("codes of the layout are assigned");
    JURISDICTIONS
        .iter()
        .map(|(code, _, _)| parse(code))
        .collect()
}

fn pseudonym_keys() -> BTreeMap<String, PathBuf> {
    JURISDICTIONS
        .iter()
        .map(|(code, _, _)| {
            (
                (*code).to_owned(),
                PathBuf::from(format!("../keys/pseudonym-{code}.key")),
            )
        })
        .collect()
}

/// The region that a jurisdiction's records may be held in.
pub fn region_of(code: &str) -> Option<Region> {
    let found = JURISDICTIONS.iter().find(|(listed, _, _)| *listed == code);
    found.map(|(_, region, _)| name(region))
}

fn policy(code: &str, authority: &str) -> String {
    format!(
        r#"jurisdiction = "{code}"
version = 1
in_force = "2026-01-01T00:00:00Z"
illustrative = "for a development cluster; not legal advice and no state's law"
sources = ["docs/legal-process.md"]
rules = ["R01", "R03", "R08", "R14", "R15", "R16", "R17", "R18", "R26", "R28", "R29", "R30"]
kinds = ["phone", "ip"]

[quorum]
workflow = 2
legal-review = 2

[limits]
max_subjects = 5
max_window_minutes = 525600
max_records = 10000

[reach]
forums = ["{code}"]
authorities = ["{authority}"]
"#
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
    use super::*;

    #[test]
    fn every_file_of_a_new_cluster_parses_with_the_types_that_use_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cluster");
        let now = Timestamp::from_seconds(1_800_000_000);
        let layout = create(&root, 7400, now).unwrap();
        let services = layout.services();
        assert_eq!(services.len(), 13);
        for service in &services {
            let path = &service.config;
            match service.verb {
                "vault" => drop(VaultConfig::load(path).unwrap()),
                "approver" => drop(ApproverConfig::load(path).unwrap()),
                _ => drop(EdgeConfig::load(path).unwrap()),
            }
        }
        for id in [OPERATOR, BACKEND, INTAKE, RECIPIENT, AUDITOR, "anna", "fay"] {
            let profile = Profile::load(&layout.profile(id)).unwrap();
            assert!(profile.tls.certificate.exists(), "{id}");
            if profile.trust.is_some() {
                assert_eq!(profile.trust_file().unwrap().jurisdictions.len(), 3, "{id}");
            }
        }
        let reopened = Layout::open(&root, now).unwrap().unwrap();
        assert_eq!(reopened.cluster(), layout.cluster());
        let late = Timestamp::from_seconds(1_800_000_000 + 31 * 86_400);
        assert!(
            Layout::open(&root, late).is_err(),
            "expired certificates are named"
        );
    }

    #[test]
    fn a_folder_with_other_things_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
        assert!(Layout::open(folder.path(), Timestamp(0)).is_err());
    }
}
