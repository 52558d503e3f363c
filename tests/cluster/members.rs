//! Nodes change under a running import, and no acknowledged record is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_api::edge::{PutRecords, RecordStatus};
use bailiwick_cli::connect::edge;
use bailiwick_cli::dev::layout::{BACKEND, INTAKE};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::intake::Intake;
use bailiwick_tests::joiner::{Joiner, operated, refused};
use bailiwick_tests::{Running, cluster, eventually, failed, inside, ip, window};
use serde_json::Value;

use crate::binary;

/// A change may have to wait for a learner, an election and a removal.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records of one call.
const BATCH: usize = 40;

/// Records that come in all the time; each acknowledged one must be there at the end.
struct Inflow {
    ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<anyhow::Result<Vec<usize>>>,
}

/// The account of a batch.
fn account(batch: usize) -> String {
    format!("inflow-{batch}")
}

impl Inflow {
    fn begin(cluster: &Running) -> anyhow::Result<Self> {
        let client = edge(&cluster.stage.profile(BACKEND).map_err(failed)?).map_err(failed)?;
        let ends = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let (over, count) = (ends.clone(), acknowledged.clone());
        let task = tokio::spawn(async move {
            let at = inside(window(), 5);
            let mut whole = Vec::new();
            for batch in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let record = |n| {
                    ip(
                        &account(batch),
                        "FR",
                        &format!("192.0.2.{}", n + 1),
                        1024,
                        &at,
                    )
                };
                let records = (0..BATCH).map(record).collect();
                // What is not acknowledged may or may not be there.
                let Ok(reply) = client.put(&PutRecords { records }).await else {
                    continue;
                };
                if reply
                    .results
                    .iter()
                    .all(|one| one.status == RecordStatus::Stored)
                {
                    whole.push(batch);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(whole)
        });
        Ok(Self {
            ends,
            acknowledged,
            task,
        })
    }

    /// Waits until more records were acknowledged.
    async fn goes_on(&self, when: &str) -> anyhow::Result<()> {
        let before = self.acknowledged.load(Ordering::Relaxed);
        let look =
            || async { Ok((self.acknowledged.load(Ordering::Relaxed) > before).then_some(())) };
        eventually(&format!("records {when}"), PATIENCE, look).await
    }

    /// Ends it; every acknowledged record is there, once.
    async fn end(self, cluster: &Running) -> anyhow::Result<usize> {
        self.ends.store(true, Ordering::Relaxed);
        let whole = self.task.await??;
        let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
        let (from, to) = (window().from.minute(), window().to.minute());
        for batch in &whole {
            let subject = cluster.subject(&account(*batch))?;
            let list = intake.labels(home(), subject, from, to, 1000).await?;
            let there = list.labels.len();
            ensure!(
                there == BATCH,
                "batch {batch}: {there} of {BATCH} acknowledged records"
            );
        }
        Ok(whole.len())
    }
}

/// The voters and the leader of a jurisdiction's group, as its leader says.
async fn voters(cluster: &Running, code: &str) -> anyhow::Result<Vec<u64>> {
    let verb = ["operator", "raft", "list-peers", "--jurisdiction", code];
    let peers = operated(cluster, binary(), &verb).await?;
    let peers = peers.as_array().context("a list")?;
    let votes = |peer: &&Value| peer["role"] != "learner";
    let ids = peers
        .iter()
        .filter(votes)
        .filter_map(|peer| peer["node"].as_u64());
    Ok(ids.collect())
}

async fn votes(cluster: &Running, code: &str, expected: &[u64]) -> anyhow::Result<()> {
    let look = || async { Ok((voters(cluster, code).await? == expected).then_some(())) };
    eventually(&format!("{code} on {expected:?}"), PATIENCE, look).await
}

/// Settings under which a test need not wait.
async fn hurry(cluster: &Running) -> anyhow::Result<()> {
    let set = operated(
        cluster,
        binary(),
        &[
            "operator",
            "autopilot",
            "config",
            "--server-stabilization-time",
            "0.2",
        ],
    )
    .await?;
    ensure!(set["server_stabilization_time"] == "0.2 s", "{set}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_join_drain_are_replaced_and_leave_while_records_come_in() -> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let mut cluster = cluster(binary(), &[]).await?;
    hurry(&cluster).await?;
    votes(&cluster, "FR", &[1, 2, 3]).await?;
    let inflow = Inflow::begin(&cluster)?;
    inflow.goes_on("at first").await?;

    // No other node could take its place.
    let why = refused(
        &cluster,
        binary(),
        &["operator", "drain", "vault-1", "--yes"],
    )
    .await?;
    ensure!(why.contains("2 nodes are left for"), "{why}");

    // One joins.
    let mut seventh = Joiner::new(&cluster, binary(), 7, "eu")?;
    let join = [
        "operator",
        "join",
        "vault-7",
        "--region",
        "eu",
        "--address",
        &seventh.address,
    ];
    let joined = operated(&cluster, binary(), &join).await?;
    ensure!(joined["node"] == "7", "{joined}");
    seventh.start()?;
    seventh.ready().await?;
    inflow.goes_on("after a node joined").await?;

    // One drains, be it a leader or not, and leaves.
    let drained = operated(
        &cluster,
        binary(),
        &["operator", "drain", "vault-1", "--yes"],
    )
    .await?;
    ensure!(drained["state"] == "drained", "{drained}");
    votes(&cluster, "FR", &[2, 3, 7]).await?;
    votes(&cluster, "DE", &[2, 3, 7]).await?;
    let left = cluster.root().join("vault-1/data/groups");
    let look = || async {
        let mut files = 0;
        for group in std::fs::read_dir(&left)? {
            let group = group?;
            if group.file_name() != "0" {
                files += std::fs::read_dir(group.path())?.count();
            }
        }
        Ok((files == 0).then_some(()))
    };
    eventually("nothing of any group on vault-1", PATIENCE, look).await?;
    inflow.goes_on("after a node drained").await?;
    let removed = operated(
        &cluster,
        binary(),
        &["operator", "remove", "vault-1", "--yes"],
    )
    .await?;
    ensure!(removed["state"] == "removed", "{removed}");
    cluster.stage.stop("vault-1").map_err(failed)?;

    // A leader steps down.
    let before = cluster.stage.leader().await.map_err(failed)?;
    let step = ["operator", "step-down", "--jurisdiction", "FR"];
    let handed = operated(&cluster, binary(), &step).await?;
    ensure!(handed["leader"] != before.as_str(), "{handed}");
    inflow.goes_on("after the leader stepped down").await?;

    // One is hit by a wiped disk: it is not let in under its old id, and replaced under a new one.
    seventh.kill();
    std::fs::remove_dir_all(seventh.data())?;
    seventh.start()?;
    let log = seventh.ends(PATIENCE).await?;
    ensure!(log.contains("must not come back under its old id"), "{log}");
    inflow.goes_on("while a node is gone").await?;
    let mut eighth = Joiner::new(&cluster, binary(), 8, "eu")?;
    let address = eighth.address.clone();
    let replace = [
        "operator",
        "replace",
        "vault-7",
        "vault-8",
        "--address",
        &address,
        "--yes",
    ];
    // Its process may run before it has joined: it waits to be let in.
    eighth.start()?;
    let replaced = operated(&cluster, binary(), &replace).await?;
    ensure!(
        replaced["new"] == "8" && replaced["state"] == "replaced",
        "{replaced}"
    );
    votes(&cluster, "FR", &[2, 3, 8]).await?;
    inflow.goes_on("after a node was replaced").await?;

    let batches = inflow.end(&cluster).await?;
    ensure!(batches > 5, "{batches} batches came in");
    let check = operated(&cluster, binary(), &["operator", "placement", "check"]).await?;
    ensure!(check["clean"] == true, "{check}");
    Ok(())
}
