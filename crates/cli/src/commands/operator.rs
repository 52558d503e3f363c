//! `bailiwick operator`: initialise a cluster, create jurisdictions, enrol, set policies, freeze.

use std::path::Path;

use bailiwick_api::cluster::{Accepted, CreateJurisdiction, Enrolment, NodeDescription};
use bailiwick_client::Cluster;
use bailiwick_client::operator::Operator;
use bailiwick_policy::Policy;
use bailiwick_transport::Operation;
use bailiwick_types::{CommandKey, Jurisdiction, Region};
use serde::Deserialize;

use super::freeze;
use super::snapshot;
use crate::args::{EnrolVerb, JurisdictionVerb, OperatorVerb, PolicyVerb};
use crate::backup_args::SnapshotVerb;
use crate::connect::of_call;
use crate::failure::Failure;
use crate::keys::{RecipientCard, draw};
use crate::output::Output;

/// The file of `operator init`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodesFile {
    /// The vault nodes of the new cluster.
    pub nodes: Vec<NodeDescription>,
}

impl NodesFile {
    /// Parses the file.
    ///
    /// # Errors
    /// What is wrong with it, on one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().replace('\n', " "))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Failure`] (usage) names the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        Self::parse(&text).map_err(|reason| {
            let what = format!("{} is no list of nodes", path.display());
            Failure::usage(what, reason, "compare it with config/nodes.toml")
        })
    }
}

/// A key for a command that is meant once.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn command_key() -> Result<CommandKey, Failure> {
    let mut key = [0; 16];
    key.copy_from_slice(&draw()?[..16]);
    Ok(CommandKey(key))
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when an input is wrong, or the cluster refuses or does not answer.
pub async fn run(cluster: &Cluster, verb: &OperatorVerb, output: Output) -> Result<(), Failure> {
    let operator = Operator::new(cluster.clone());
    match verb {
        OperatorVerb::Init { nodes } => {
            let nodes = NodesFile::load(nodes)?.nodes;
            let what = "the cluster was not initialised";
            let id = operator
                .initialise(nodes)
                .await
                .map_err(|error| of_call(what, &error))?;
            output.fields(&[
                ("cluster", id.to_string()),
                ("state", "initialised".to_owned()),
            ]);
            Ok(())
        }
        OperatorVerb::Cluster(verb) => super::cluster::run(cluster, verb, output).await,
        OperatorVerb::Jurisdiction(JurisdictionVerb::Rules(verb)) => {
            super::cluster::rules(cluster, verb, output).await
        }
        OperatorVerb::Jurisdiction(verb) => create(cluster, verb, output).await,
        OperatorVerb::Enrol(verb) => enrol(&operator, verb, output).await,
        OperatorVerb::Policy(PolicyVerb::Set { code, file }) => {
            let policy = read_policy(file, *code)?;
            let (digest, version) = (policy.digest(), policy.version());
            let changed = operator.change_policy(*code, digest, version).await;
            changed.map_err(|error| of_call("the policy was not set", &error))?;
            output.fields(&[
                ("jurisdiction", code.to_string()),
                ("version", version.to_string()),
                ("digest", digest.to_string()),
            ]);
            Ok(())
        }
        OperatorVerb::Freeze(options) => freeze::freeze(&operator, options, output).await,
        OperatorVerb::Unfreeze(options) => freeze::unfreeze(&operator, options, output).await,
        OperatorVerb::Snapshot(SnapshotVerb::Save(options)) => {
            snapshot::run(cluster, options, output).await
        }
        OperatorVerb::Snapshot(_) | OperatorVerb::Recover(_) => {
            unreachable!("offline verbs need no profile and are run before")
        }
        OperatorVerb::Diagnose(_) | OperatorVerb::Debug(_) => {
            unreachable!("these need no cluster and are run before")
        }
    }
}

async fn create(cluster: &Cluster, verb: &JurisdictionVerb, output: Output) -> Result<(), Failure> {
    let JurisdictionVerb::Create {
        code,
        regions,
        replicas,
        partitions,
        policy,
    } = verb
    else {
        unreachable!("the verbs about rules are run before");
    };
    let policy = read_policy(policy, *code)?;
    let command = CreateJurisdiction {
        key: command_key()?,
        jurisdiction: *code,
        allowed_regions: regions.clone(),
        replicas: *replicas,
        partitions: *partitions,
        policy: policy.digest(),
    };
    let created = cluster
        .call(None, Operation::CreateJurisdiction, &command)
        .await;
    let _: Accepted =
        created.map_err(|error| of_call(format!("{code} was not created"), &error))?;
    let regions: Vec<_> = regions.iter().map(Region::to_string).collect();
    output.fields(&[
        ("jurisdiction", code.to_string()),
        ("regions", regions.join(", ")),
        ("partitions", partitions.to_string()),
        ("state", "created".to_owned()),
    ]);
    Ok(())
}

async fn enrol(operator: &Operator, verb: &EnrolVerb, output: Output) -> Result<(), Failure> {
    let (code, who, kind) = match verb {
        EnrolVerb::Edge { code, name, key } => (
            *code,
            Enrolment::Edge {
                name: name.clone(),
                key: *key,
            },
            "edge",
        ),
        EnrolVerb::Intake { code, name } => {
            (*code, Enrolment::Intake { name: name.clone() }, "intake")
        }
        EnrolVerb::Recipient { code, card } => (*code, recipient(card)?, "recipient"),
    };
    let what = format!("nobody was enrolled in {code}");
    operator
        .enrol(code, who)
        .await
        .map_err(|error| of_call(what, &error))?;
    output.fields(&[
        ("jurisdiction", code.to_string()),
        ("enrolled", kind.to_owned()),
    ]);
    Ok(())
}

/// The enrolment of a recipient by its card.
///
/// # Errors
/// [`Failure`] (usage) names the file and what is wrong with it.
pub fn recipient(card: &Path) -> Result<Enrolment, Failure> {
    let recipient = RecipientCard::load(card)?;
    let (name, key, certificate) = (recipient.name, recipient.key, recipient.certificate);
    Ok(Enrolment::Recipient {
        name,
        key,
        certificate,
    })
}

/// Reads the policy of a jurisdiction.
///
/// # Errors
/// [`Failure`] (usage) names the file and what is wrong with it.
pub fn read_policy(path: &Path, code: Jurisdiction) -> Result<Policy, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let policy = Policy::parse(&text).map_err(|error| Failure::file(path, &error))?;
    if policy.jurisdiction() == code {
        return Ok(policy);
    }
    Err(Failure::usage(
        format!("{} is not {code}'s policy", path.display()),
        format!("it is the policy of {}", policy.jurisdiction()),
        "name the right file",
    ))
}
