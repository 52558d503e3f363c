//! A freeze of one jurisdiction, with real processes: in seconds nothing is written, requested, granted or
//! released there; its state can be read; the other jurisdictions go on; and it ends with an unfreeze.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bailiwick_api::Refusal;
use bailiwick_api::cluster::Enrolment;
use bailiwick_api::edge::{PutRecords, RecordInput, RecordStatus};
use bailiwick_cli::connect::edge;
use bailiwick_cli::dev::layout::{AUDITOR, BACKEND, OPERATOR};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::CallFailure;
use bailiwick_client::auditor::read_log;
use bailiwick_client::edge_http::EdgeFailure;
use bailiwick_envelope::leaf::LeafKind;
use bailiwick_tests::http::get;
use bailiwick_tests::scrape::Scrape;
use bailiwick_tests::{PATIENCE, Running, cluster, eventually, failed, inside, ip, window};
use bailiwick_types::ShardId;

use crate::binary;

/// From the operator's word to the first refused write, and to the leaf at the last approver.
const SECONDS: Duration = Duration::from_secs(5);
/// The people of both committees.
const PEOPLE: [&str; 6] = ["anna", "ben", "chloe", "dora", "emil", "fay"];

fn operator(cluster: &Running, arguments: &[&str]) -> anyhow::Result<Output> {
    let ran = Command::new(binary())
        .arg("--profile")
        .arg(cluster.stage.layout.profile(OPERATOR))
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    Ok(ran)
}

fn record(account: &str, residence: &str, port: u32) -> RecordInput {
    ip(account, residence, "192.0.2.7", port, &inside(window(), 3))
}

async fn put(
    cluster: &Running,
    records: Vec<RecordInput>,
) -> Result<Vec<RecordStatus>, EdgeFailure> {
    let profile = cluster
        .stage
        .profile(BACKEND)
        .expect("the backend's profile");
    let client = edge(&profile).expect("the edge's client");
    let reply = client.put(&PutRecords { records }).await?;
    let results = reply.results.into_iter();
    Ok(results.map(|result| result.status).collect())
}

/// The approver with the shortest log that it has folded and kept.
async fn shortest(cluster: &Running) -> anyhow::Result<f64> {
    let mut shortest = f64::INFINITY;
    for service in cluster.stage.layout.services() {
        if service.verb == "approver" {
            let (_, text) = get(service.health, "/metrics").await?;
            let scrape = Scrape::parse(&text)?;
            let name = "bailiwick_approver_followed_leaves";
            let followed = scrape.value(name, &[("jurisdiction", "FR")]);
            shortest = shortest.min(followed.unwrap_or(0.0));
        }
    }
    Ok(shortest)
}

/// The leaves of the French log, as the most advanced node has them, and whether it is frozen there.
async fn log_of_home(cluster: &Running) -> anyhow::Result<(u64, bool)> {
    let operator = cluster.stage.operator().map_err(failed)?;
    let mut seen = (0, false);
    for (_, status) in operator.status().await? {
        let groups = status.map(|status| status.groups).unwrap_or_default();
        for group in groups {
            if group.shard == Some(ShardId::home(home())) && group.leaves >= seen.0 {
                seen = (group.leaves, group.frozen);
            }
        }
    }
    Ok(seen)
}

/// Nothing is written: the call is refused as a whole, with a code and a time to wait; in a mixed call
/// every record has its own reason, and the other jurisdiction's is stored.
async fn nothing_is_written(cluster: &Running) -> anyhow::Result<()> {
    let begun = Instant::now();
    let refused = put(cluster, vec![record("writer", "FR", 1101)]).await;
    let Err(EdgeFailure::Refused { status: 503, error }) = refused else {
        anyhow::bail!("the write was answered {refused:?}");
    };
    ensure!(error.code == "frozen", "{error:?}");
    ensure!(begun.elapsed() < SECONDS, "{:?}", begun.elapsed());
    let profile = cluster.stage.profile(BACKEND).map_err(failed)?;
    let mixed = PutRecords {
        records: vec![record("writer", "DE", 1102), record("writer", "FR", 1103)],
    };
    let reply = edge(&profile).map_err(failed)?.put(&mixed).await?;
    let [german, french] = &reply.results[..] else {
        anyhow::bail!("{reply:?}");
    };
    ensure!(german.status == RecordStatus::Stored, "{german:?}");
    ensure!(french.status == RecordStatus::Unknown, "{french:?}");
    let code = french.error.as_ref().map(|error| error.code.as_str());
    ensure!(code == Some("frozen"), "{french:?}");
    // The edge is there for the others: a load balancer does not take it out.
    let edge = cluster.stage.layout.service_of("edge-1").context("edge")?;
    let (ready, missing) = get(edge.health, "/readyz").await?;
    ensure!(ready == 200, "the edge says {ready}: {missing}");
    let (_, text) = get(edge.health, "/metrics").await?;
    let frozen = Scrape::parse(&text)?.value("bailiwick_edge_frozen", &[("jurisdiction", "FR")]);
    ensure!(frozen == Some(1.0), "the edge's metric says {frozen:?}");
    Ok(())
}

/// Nothing is requested or granted either, each with the typed code.
async fn nothing_is_requested_or_granted(cluster: &Running) -> anyhow::Result<()> {
    let requested = cluster.request("reader", "freeze-2").await;
    let said = format!("{:#}", requested.err().context("a request was taken")?);
    ensure!(said.contains("frozen"), "{said}");
    let cluster = cluster.stage.operator().map_err(failed)?;
    let who = Enrolment::Intake {
        name: "intake-9".parse()?,
    };
    let granted = cluster.enrol(home(), who).await;
    match granted {
        Err(CallFailure::Refused(Refusal::Rejected { code, .. })) if code == "frozen" => Ok(()),
        other => anyhow::bail!("an enrolment was answered {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_jurisdiction_is_only_read_until_it_is_unfrozen() -> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let cluster = cluster(binary(), &[]).await?;
    cluster.put(vec![record("reader", "FR", 1100)]).await?;
    let request = cluster.request("reader", "freeze-1").await?.id;

    let begun = Instant::now();
    let arguments = ["operator", "freeze", "FR", "--reason", "a drill"];
    let frozen = operator(&cluster, &arguments)?;
    ensure!(frozen.status.success(), "{frozen:?}");
    let (leaves, is_frozen) = log_of_home(&cluster).await?;
    ensure!(is_frozen, "the status shows the freeze");
    let what = "the freeze's leaf at every approver";
    eventually(what, SECONDS, async || {
        Ok((shortest(&cluster).await? >= leaves as f64).then_some(()))
    })
    .await?;
    ensure!(begun.elapsed() < SECONDS, "{:?}", begun.elapsed());
    nothing_is_written(&cluster).await?;
    nothing_is_requested_or_granted(&cluster).await?;

    // Decisions are persons' words and are taken; nothing follows from both quorums.
    cluster.approve(request, &PEOPLE).await?;
    cluster.opens_nothing(request).await?;
    ensure!(cluster.view(request).await?.releases.is_empty());

    // What is there is read: requests and labels above, the log here, with the freeze in it.
    let auditor = cluster.stage.cluster(AUDITOR).map_err(failed)?;
    let profile = cluster.stage.profile(AUDITOR).map_err(failed)?;
    let trust = profile.trust_file().map_err(failed)?;
    let log = read_log(&auditor, &trust, home(), 0).await?;
    let kinds = log.leaves.iter().map(|(_, leaf)| leaf.content.kind());
    let freezes = kinds.filter(|kind| *kind == LeafKind::Freeze).count();
    ensure!(freezes == 1, "the freeze is one leaf");

    let arguments = ["operator", "unfreeze", "FR", "--reason", "over", "--yes"];
    let thawed = operator(&cluster, &arguments)?;
    ensure!(thawed.status.success(), "{thawed:?}");
    eventually("a write after the freeze", PATIENCE, async || {
        let stored = put(&cluster, vec![record("writer", "FR", 1104)]).await;
        Ok(matches!(stored.as_deref(), Ok([RecordStatus::Stored])).then_some(()))
    })
    .await?;
    let values = cluster.values(request).await?;
    ensure!(values.len() == 1, "the release goes on: {values:?}");
    Ok(())
}
