//! A development cluster's processes, and a client for each who takes part: what the demonstration and
//! the stories of the test suite act through.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::edge::{PutRecords, RecordInput, RecordStatus};
use bailiwick_api::request::RequestView;
use bailiwick_client::Cluster;
use bailiwick_client::edge_http::EdgeClient;
use bailiwick_client::intake::Intake;
use bailiwick_client::operator::Operator;
use bailiwick_client::recipient::{DiscloseError, Disclosure, Recipient};
use bailiwick_client::reviewer::Reviewer;
use bailiwick_envelope::approval::Decision;
use bailiwick_envelope::request::Purpose;
use bailiwick_threshold::pseudonym;
use bailiwick_types::{Category, Jurisdiction, RequestId, ShardId, Timestamp};

use super::layout::{BACKEND, INTAKE, JURISDICTIONS, Layout, OPERATOR, RECIPIENT};
use super::run::{prepare, set_up, start};
use super::supervise::Fleet;
use crate::commands::disclose::recipient_key;
use crate::commands::request::{Order, pseudonym_key, read};
use crate::connect::{cluster, edge, of_call, of_edge, of_review};
use crate::failure::Failure;
use crate::keys::RecipientCard;
use crate::profile::Profile;

/// An order's window of data.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its begin, inclusive.
    pub from: Timestamp,
    /// Its end, exclusive.
    pub to: Timestamp,
}

/// Records of one call to the edge.
const BATCH: usize = 1000;

/// A cluster on one machine.
pub struct Stage {
    /// Its folder.
    pub layout: Layout,
    fleet: Fleet,
    temporary: Option<PathBuf>,
    keep: bool,
}

impl Stage {
    /// Makes the folder, a temporary one when none is given; nothing runs yet. `binary` is the program
    /// that the services are verbs of.
    ///
    /// # Errors
    /// [`Failure`] when a port is taken or the folder cannot be made.
    pub fn build(
        data: Option<PathBuf>,
        port: u16,
        keep: bool,
        binary: PathBuf,
    ) -> Result<Self, Failure> {
        let temporary = match &data {
            Some(_) => None,
            None => {
                let folder = format!("bailiwick-{}-{port}", std::process::id());
                Some(std::env::temp_dir().join(folder))
            }
        };
        let layout = prepare(
            &data.or_else(|| temporary.clone()).unwrap_or_default(),
            port,
        )?;
        let fleet = Fleet::with_binary(binary, &layout.logs())?;
        Ok(Self {
            layout,
            fleet,
            temporary,
            keep,
        })
    }

    /// Starts all processes but those named.
    ///
    /// # Errors
    /// [`Failure`] when one does not come up.
    pub async fn start(&mut self, except: &[&str]) -> Result<(), Failure> {
        start(&self.layout, &mut self.fleet, except).await
    }

    /// Starts one process, as it is configured.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be started.
    pub fn start_one(&mut self, name: &str) -> Result<(), Failure> {
        let service = self.layout.service_of(name).ok_or_else(|| missing(name))?;
        Ok(self.fleet.start(name, &service.arguments())?)
    }

    /// Starts an approver that returns wrong values.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be started.
    pub fn start_liar(&mut self, name: &str) -> Result<(), Failure> {
        let service = self.layout.service_of(name).ok_or_else(|| missing(name))?;
        let card = self.layout.recipient_card().display().to_string();
        let mut arguments = service.arguments();
        "demo-liar".clone_into(&mut arguments[0]);
        arguments.extend(["--recipient".to_owned(), card]);
        Ok(self.fleet.start(name, &arguments)?)
    }

    /// Holds the ceremony.
    pub async fn set_up(&mut self, tell: impl FnMut(String)) -> Result<(), Failure> {
        set_up(&self.layout, tell).await
    }

    /// Kills a process at once (SIGKILL).
    pub fn kill(&mut self, name: &str) -> Result<(), Failure> {
        Ok(self.fleet.kill(name)?)
    }

    /// Stops a process in order.
    pub fn stop(&mut self, name: &str) -> Result<(), Failure> {
        self.fleet.stop(name)?;
        Ok(())
    }

    /// Processes that run.
    pub fn processes(&self) -> usize {
        let services = self.layout.services();
        services
            .iter()
            .filter(|service| self.fleet.runs(service.name.as_str()))
            .count()
    }

    /// Ends all processes and removes a temporary folder.
    pub fn end(&mut self) {
        self.fleet.stop_all();
        if let Some(folder) = self.temporary.as_ref().filter(|_| !self.keep) {
            // What cannot be removed from the temporary folder is the system's to remove.
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// The folder, when it is still there.
    pub fn kept(&self) -> Option<&Path> {
        (self.temporary.is_none() || self.keep).then(|| self.layout.root())
    }

    /// The profile of somebody who takes part.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    pub fn profile(&self, who: &str) -> Result<Profile, Failure> {
        Profile::load(&self.layout.profile(who))
    }

    /// A cluster as this identity reaches it.
    pub fn cluster(&self, who: &str) -> Result<Cluster, Failure> {
        cluster(&self.profile(who)?)
    }

    /// The operator.
    pub fn operator(&self) -> Result<Operator, Failure> {
        Ok(Operator::new(self.cluster(OPERATOR)?))
    }

    /// Hands records to the edge over `lanes` connections; returns how many were stored.
    pub async fn put(&self, records: Vec<RecordInput>, lanes: usize) -> Result<usize, Failure> {
        let client = Arc::new(edge(&self.profile(BACKEND)?)?);
        let batches: Vec<PutRecords> = records
            .chunks(BATCH)
            .map(|batch| PutRecords {
                records: batch.to_vec(),
            })
            .collect();
        let mut stored = 0;
        let mut waiting = batches.into_iter();
        let mut running = tokio::task::JoinSet::new();
        loop {
            while running.len() < lanes.max(1)
                && let Some(batch) = waiting.next()
            {
                let client = EdgeClient::clone(&client);
                running.spawn(async move { put_batch(&client, &batch).await });
            }
            match running.join_next().await {
                Some(Ok(done)) => stored += done?,
                Some(Err(error)) => return Err(anyhow::Error::from(error).into()),
                None => return Ok(stored),
            }
        }
    }

    /// Enters an order for a subject's phone numbers and IP addresses in the window.
    pub async fn request(
        &self,
        subject: &str,
        window: Window,
        reference: &str,
    ) -> Result<RequestView, Failure> {
        let (code, _, authority) = JURISDICTIONS[0];
        let jurisdiction = home();
        let profile = self.profile(INTAKE)?;
        let policy = profile.policy(jurisdiction, Some(&self.layout.policy(code)))?;
        let order = Order {
            custody: policy.clone(),
            forum: policy,
            subject: pseudonym(&pseudonym_key(&profile, jurisdiction)?, subject),
            kinds: vec![Category::Phone, Category::Ip],
            window: (window.from, window.to),
            purpose: Purpose::History,
            legal_basis: "an example".to_owned(),
            authority: crate::dev::layout::name(authority),
            reference: reference.to_owned(),
            entered_by: profile.name.clone(),
            recipient: RecipientCard::load(&self.layout.recipient_card())?,
            cap: 100,
            not_after: bailiwick_client::now().plus(Duration::from_secs(3600)),
        };
        let request = order.into_request(&[])?;
        let submitted = Intake::new(cluster(&profile)?)
            .submit(request, Vec::new().into())
            .await;
        submitted.map_err(|error| of_call("the request was not accepted", &error))
    }

    /// A person approves what is shown.
    pub async fn approve(&self, person: &str, request: RequestId) -> Result<RequestView, Failure> {
        let profile = self.profile(person)?;
        let cluster = cluster(&profile)?;
        let (section, key) = profile.reviewer()?;
        let view = read(&cluster, home(), request).await?;
        let reviewer = Reviewer::new(cluster, section.role, section.slot, key);
        let decided = reviewer
            .decide(&view, Decision::Approve, "an example")
            .await;
        decided.map_err(|error| of_review(&error))
    }

    /// The desk tries to open a request, waiting up to `patience`.
    pub async fn open(
        &self,
        request: RequestId,
        patience: Duration,
        everybody: bool,
    ) -> Result<(Recipient, Result<Disclosure, DiscloseError>), Failure> {
        let profile = self.profile(RECIPIENT)?;
        let key = recipient_key(&profile)?;
        let recipient = Recipient::new(cluster(&profile)?, profile.trust_file()?, key);
        let opened = recipient.open(home(), request, patience, everybody).await;
        Ok((recipient, opened))
    }

    /// The vault node that leads the first jurisdiction's home group.
    pub async fn leader(&self) -> Result<String, Failure> {
        let asked = self.operator()?.status().await;
        let nodes = asked.map_err(|error| of_call("the status was not read", &error))?;
        for (_, status) in &nodes {
            let Ok(status) = status else { continue };
            let group = status
                .groups
                .iter()
                .find(|g| g.shard == Some(ShardId::home(home())));
            if let Some(leader) = group.and_then(|group| group.leader)
                && let Some((node, _)) = nodes.iter().find(|(node, _)| node.id == leader)
            {
                return Ok(node.name.to_string());
            }
        }
        Err(missing("a leader of the first jurisdiction"))
    }
}

async fn put_batch(client: &EdgeClient, batch: &PutRecords) -> Result<usize, Failure> {
    let reply = client.put(batch).await.map_err(|error| of_edge(&error))?;
    let mut stored = 0;
    for result in reply.results {
        match (result.status, result.error) {
            (RecordStatus::Stored | RecordStatus::Duplicate, _) => stored += 1,
            (status, error) => {
                let why = error.map_or_else(|| format!("{status:?}"), |error| error.to_string());
                return Err(Failure::refused(
                    "a record was not stored",
                    why,
                    "see the edge's log",
                ));
            }
        }
    }
    Ok(stored)
}

/// The jurisdiction that [`Stage::request`]'s orders are about.
pub fn home() -> Jurisdiction {
    JURISDICTIONS[0]
        .0
        .parse()
        .expect("codes of the layout are assigned")
}

fn missing(what: &str) -> Failure {
    Failure::refused(
        format!("{what} was not found"),
        "the layout has it",
        "report this as a bug",
    )
}
