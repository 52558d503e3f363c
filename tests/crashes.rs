//! Crashes and pauses of real processes: any of them is killed at any time during an import and every
//! acknowledged record is there once; a leader that slept through its own deposition serves nothing old.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_api::Refusal;
use bailiwick_api::log::{LogPage, ReadLog};
use bailiwick_api::request::{LabelList, ListLabels, ReadRequest, RequestState, RequestView};
use bailiwick_cli::dev::layout::{AUDITOR, INTAKE};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::auditor::read_log;
use bailiwick_client::intake::Intake;
use bailiwick_envelope::leaf::LeafKind;
use bailiwick_tests::importing::Import;
use bailiwick_tests::shared::Shared;
use bailiwick_tests::{PATIENCE, Running, eventually, failed, inside, ip, window};
use bailiwick_transport::{CallError, ConnectOptions, Connection, ExpectedPeer, Operation};
use bailiwick_types::{Minute, RequestId, ShardId, SubjectPseudonym, codec};

static CLUSTER: Shared = Shared::new();
/// Records of one import.
const RECORDS: usize = 12_000;
/// Every one hundredth record is of the file's marked subject, so that it can be listed.
const MARKED: usize = RECORDS / 100;

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}

async fn story(tell: impl AsyncFnOnce(&mut Running) -> anyhow::Result<()>) -> anyhow::Result<()> {
    CLUSTER.story(binary(), tell).await
}

/// An NDJSON file of IP addresses, those of a marked subject among many others'.
fn write_file(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let at = inside(window(), 5);
    let path = folder.join(format!("{name}.ndjson"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    for number in 0..RECORDS {
        let account = match number % 100 {
            0 => format!("marked-{name}"),
            _ => format!("{name}-{number}"),
        };
        let (host, port) = (number % 250 + 1, 1024 + number);
        let ip = format!(
            r#"{{"address":"192.0.2.{host}","port":{port},"transport":"tcp","event":"login","seen_at":"{at}"}}"#
        );
        writeln!(
            file,
            r#"{{"account":"{account}","residence":"FR","ip":{ip}}}"#
        )?;
    }
    file.flush()?;
    Ok(path)
}

/// French records, by the count of whichever node has most.
async fn stored(cluster: &Running) -> anyhow::Result<u64> {
    let operator = cluster.stage.operator().map_err(failed)?;
    let mut records = 0;
    for (_, status) in operator.status().await? {
        let groups = status.map(|status| status.groups).unwrap_or_default();
        let of_home = groups
            .iter()
            .filter(|g| g.shard == Some(ShardId::home(home())));
        records = of_home.map(|group| group.records).fold(records, u64::max);
    }
    Ok(records)
}

/// Ids of the records of a subject; none may stand twice.
async fn ids(cluster: &Running, account: &str) -> anyhow::Result<usize> {
    let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
    let (from, to) = (window().from.minute(), window().to.minute());
    let subject = cluster.subject(account)?;
    let list = intake.labels(home(), subject, from, to, 1000).await?;
    let ids: BTreeSet<_> = list.labels.iter().map(|(_, _, id)| *id).collect();
    ensure!(ids.len() == list.labels.len(), "no record stands twice");
    Ok(ids.len())
}

/// Imports a file, kills `victim` in the midst of it, and goes on until all of it is there, once.
async fn kill_and_go_on(cluster: &mut Running, name: &str, victim: &str) -> anyhow::Result<()> {
    let file = write_file(cluster.root(), name)?;
    let before = stored(cluster).await?;
    let mut import = Import::start(binary(), cluster, &file)?;
    let midst = before + RECORDS as u64 / 6;
    eventually("the midst of the import", PATIENCE, || async {
        Ok((stored(cluster).await? >= midst).then_some(()))
    })
    .await?;
    ensure!(import.runs()?, "{name} was over before {victim} was killed");
    if victim == "importer" {
        drop(import);
        // Each time there are calls under way of which it never hears.
        for sixth in 2..=5 {
            let there = before + sixth * RECORDS as u64 / 6;
            let import = Import::start(binary(), cluster, &file)?;
            eventually("more of the import", PATIENCE, || async {
                Ok((stored(cluster).await? >= there).then_some(()))
            })
            .await?;
            drop(import);
        }
    } else {
        cluster.stage.kill(victim).map_err(failed)?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.stage.start_one(victim).map_err(failed)?;
        // It may give up while its cluster or edge is away: then the same command goes on.
        import.end(Duration::from_secs(60)).await?;
    }
    let at_rest = stored(cluster).await?;
    ensure!(at_rest >= midst, "{victim}: acknowledged records are gone");
    let again = || async {
        let import = Import::start(binary(), cluster, &file)?;
        let done = import.end(Duration::from_secs(60)).await?;
        Ok(done.then_some(()))
    };
    let log = file.with_extension("log");
    eventually("the import's good end", Duration::from_secs(60), again)
        .await
        .with_context(|| std::fs::read_to_string(log).unwrap_or_default())?;

    let now = stored(cluster).await?;
    let new = now - before;
    ensure!(
        new == RECORDS as u64,
        "{victim}: {new} of {RECORDS} records"
    );
    let marked = ids(cluster, &format!("marked-{name}")).await?;
    ensure!(
        marked == MARKED,
        "{victim}: {marked} of {MARKED} marked records"
    );
    Ok(())
}

/// SIGKILL of the leader, a follower, the edge, an approver, and of the importer itself, each in the
/// midst of an import of its own.
#[tokio::test(flavor = "multi_thread")]
async fn kill_any_process_during_an_import_and_it_resumes() -> anyhow::Result<()> {
    story(async |cluster| {
        let leader = cluster.stage.leader().await.map_err(failed)?;
        kill_and_go_on(cluster, "leader", &leader).await?;
        let leader = cluster.stage.leader().await.map_err(failed)?;
        let vaults = ["vault-1", "vault-2", "vault-3"];
        let follower = vaults.into_iter().find(|name| *name != leader);
        kill_and_go_on(cluster, "follower", follower.context("one of three")?).await?;
        kill_and_go_on(cluster, "edge", "edge-1").await?;
        kill_and_go_on(cluster, "approver", "workflow-2").await?;
        kill_and_go_on(cluster, "importer", "importer").await?;

        // And they open: of each import one record, and of the marked subjects more than an order's cap.
        for name in ["leader", "follower", "edge", "approver", "importer"] {
            let (marked, reference) = (format!("marked-{name}"), format!("over-{name}"));
            let over = cluster.request(&marked, &reference).await;
            ensure!(over.is_err(), "{MARKED} are over the cap of 100");
            let account = format!("{name}-{}", RECORDS - 1);
            let request = cluster.request(&account, &format!("case-{name}")).await?.id;
            cluster
                .approve(request, &["anna", "ben", "dora", "emil"])
                .await?;
            let expected = format!("192.0.2.{}", (RECORDS - 1) % 250 + 1);
            let values = cluster.values(request).await?;
            ensure!(values == [expected], "{values:?}");
        }
        Ok(())
    })
    .await
}

/// One question to one node, whoever leads; `None` for a node that says it does not.
async fn ask<Question: serde::Serialize, Answer: serde::de::DeserializeOwned>(
    node: &Connection,
    operation: Operation,
    question: &Question,
) -> anyhow::Result<Option<Answer>> {
    let payload = codec::encode(question)?.into();
    let answer = node.call(operation, payload, Duration::from_secs(25)).await;
    match answer {
        Ok(answer) => Ok(Some(codec::decode(&answer)?)),
        Err(CallError::Refused { message, .. }) => match codec::decode(&message)? {
            Refusal::NotLeader { .. } | Refusal::Unavailable => Ok(None),
            other => Err(other).context("another refusal than that it does not lead"),
        },
        Err(error) => Err(error).context("no answer"),
    }
}

/// What is asked of the old leader, and what would be old news.
#[derive(Clone)]
struct Questions {
    node: Connection,
    request: RequestId,
    subject: SubjectPseudonym,
}

/// What it answered; `None` where it said that it does not lead.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    state: Option<RequestState>,
    recall_in_log: Option<bool>,
    labels: Option<usize>,
}

impl Questions {
    async fn ask(&self) -> anyhow::Result<Answers> {
        let shard = ShardId::home(home());
        let read_request = ReadRequest {
            shard,
            request: self.request,
            unless: None,
            wait_ms: 0,
        };
        let read_log = ReadLog {
            shard,
            from: 0,
            limit: 1000,
        };
        let (from, to): (Minute, Minute) = (window().from.minute(), window().to.minute());
        let list = ListLabels {
            shard,
            subject: self.subject,
            from,
            to,
            limit: 100,
        };
        let (view, page, labels) = tokio::join!(
            ask::<_, RequestView>(&self.node, Operation::ReadRequest, &read_request),
            ask::<_, LogPage>(&self.node, Operation::ReadLog, &read_log),
            ask::<_, LabelList>(&self.node, Operation::ListLabels, &list),
        );
        let recall = |page: LogPage| {
            let mut leaves = page.leaves.iter().map(|proven| &proven.leaf.content);
            leaves.any(|c| c.kind() == LeafKind::Recall && c.request() == Some(self.request))
        };
        Ok(Answers {
            state: view?.map(|view| view.state),
            recall_in_log: page?.map(recall),
            labels: labels?.map(|list| list.labels.len()),
        })
    }
}

impl Answers {
    fn check_fresh(&self, when: &str) -> anyhow::Result<()> {
        let state = self
            .state
            .is_none_or(|state| state == RequestState::Recalled);
        let log = self.recall_in_log != Some(false);
        let labels = self.labels.is_none_or(|count| count == 2);
        ensure!(state && log && labels, "{when}, stale: {self:?}");
        Ok(())
    }
}

/// Waits until an auditor sees the request's recall in the cosigned log.
async fn recall_is_logged(cluster: &Running, request: RequestId) -> anyhow::Result<()> {
    let auditor = cluster.stage.profile(AUDITOR).map_err(failed)?;
    let trust = auditor.trust_file().map_err(failed)?;
    let reach = cluster.stage.cluster(AUDITOR).map_err(failed)?;
    eventually("the recall in the log", PATIENCE, || async {
        let log = read_log(&reach, &trust, home(), 0).await?;
        let mut leaves = log.leaves.iter().map(|(_, leaf)| &leaf.content);
        let found = leaves.any(|c| c.kind() == LeafKind::Recall && c.request() == Some(request));
        Ok(found.then_some(()))
    })
    .await
}

/// etcd issue 20418: a leader is suspended, deposed, and wakes up. It has questions in its sockets that
/// it reads while it still believes that it leads; what authorises a disclosure never comes from that.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_old_leader_serves_nothing_stale() -> anyhow::Result<()> {
    story(async |cluster| {
        let record = |port| ip("paused", "FR", "192.0.2.9", port, &inside(window(), 2));
        cluster.put(vec![record(1)]).await?;
        let request = cluster.request("paused", "pause-1").await?.id;
        let leader = cluster.stage.leader().await.map_err(failed)?;
        let number: usize = leader.trim_start_matches("vault-").parse()?;
        let address = cluster.vaults().swap_remove(number - 1);
        // An approver's and an auditor's questions; the intake's certificate may ask all three.
        let tls = cluster.tls(INTAKE)?;
        let options = ConnectOptions::default();
        let node = Connection::connect(&address, &tls, ExpectedPeer::vault(), options).await?;
        let subject = cluster.subject("paused")?;
        let questions = Questions {
            node,
            request,
            subject,
        };
        let before = questions.ask().await?;
        let awake = Answers {
            state: Some(RequestState::InReview),
            recall_in_log: Some(false),
            labels: Some(1),
        };
        ensure!(before == awake, "the leader answers: {before:?}");

        // It sleeps. Questions are on their way to it when the others go on without it.
        let pause = cluster.pause(&leader)?;
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let questions = questions.clone();
                tokio::spawn(async move { questions.ask().await })
            })
            .collect();
        let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
        let recalled = intake.recall(home(), request, "annulled").await?;
        ensure!(
            recalled.state == RequestState::Recalled,
            "by the new leader"
        );
        cluster.put(vec![record(2)]).await?;
        ensure!(
            waiting.iter().all(|asked| !asked.is_finished()),
            "the old leader sleeps"
        );

        // It wakes, and answers what waited; then it is asked on and on.
        drop(pause);
        for asked in waiting {
            asked.await??.check_fresh("asked while it slept")?;
        }
        for _ in 0..20 {
            questions.ask().await?.check_fresh("asked afterwards")?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Whoever leads now knows all three: the questions were about something. And approvers, who held on
        // to the old leader, cosign what the new one has.
        recall_is_logged(cluster, request).await?;
        let list = ids(cluster, "paused").await?;
        ensure!(list == 2, "both records are listed: {list}");
        let state = cluster.view(request).await?.state;
        ensure!(state == RequestState::Recalled, "{state:?}");
        Ok(())
    })
    .await
}
