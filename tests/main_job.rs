//! The main job on real processes: records go in sealed and come out only when both quorums act.

use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_api::request::RequestState;
use bailiwick_cli::commands::disclose::disclosed;
use bailiwick_cli::commands::request::read;
use bailiwick_cli::dev::layout::{AUDITOR, INTAKE};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::auditor::read_log;
use bailiwick_client::intake::Intake;
use bailiwick_client::recipient::DiscloseError;
use bailiwick_client::reviewer::Reviewer;
use bailiwick_envelope::approval::Decision;
use bailiwick_envelope::leaf::LeafKind;
use bailiwick_tests::{Running, cluster, eventually, failed, inside, ip, phone, window};
use bailiwick_types::RequestId;

const NOTHING: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(15);

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}

async fn opens_nothing(cluster: &Running, request: RequestId) -> anyhow::Result<()> {
    match cluster
        .stage
        .open(request, NOTHING, false)
        .await
        .map_err(failed)?
        .1
    {
        Err(DiscloseError::NotReleased { .. }) => Ok(()),
        Err(other) => Err(other).context("opening failed for another reason than no releases"),
        Ok(_) => anyhow::bail!("records opened without both quorums"),
    }
}

async fn values(cluster: &Running, request: RequestId) -> anyhow::Result<Vec<String>> {
    let (_, opened) = cluster
        .stage
        .open(request, PATIENCE, false)
        .await
        .map_err(failed)?;
    let opened = opened.context("open")?;
    ensure!(opened.opening.contradicted.is_empty(), "nobody lied");
    let mut values: Vec<_> = disclosed(&opened.opening)
        .into_iter()
        .map(|record| record.value)
        .collect();
    values.sort();
    Ok(values)
}

async fn approve(cluster: &Running, request: RequestId, people: &[&str]) -> anyhow::Result<()> {
    for person in people {
        cluster
            .stage
            .approve(person, request)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// One cluster serves the whole story: thirteen processes are started once.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_opens_only_when_both_quorums_act() -> anyhow::Result<()> {
    let cluster = cluster(binary(), &[]).await?;
    let window = window();
    let at = |minutes| inside(window, minutes);
    let records = vec![
        phone("alice", "FR", "+33612345678", &at(1)),
        ip("alice", "FR", "192.0.2.7", 4001, &at(2)),
        ip("alice", "FR", "192.0.2.8", 4002, &at(60)),
        ip("bob", "FR", "192.0.2.9", 4003, &at(2)),
        ip("carol", "DE", "192.0.2.10", 4004, &at(2)),
        phone("dan", "US", "+14155552671", &at(2)),
    ];
    ensure!(
        cluster.stage.put(records, 2).await.map_err(failed)? == 6,
        "all are stored"
    );

    // Nobody, one whole committee, the other whole committee for another request: nothing opens.
    let first = cluster
        .stage
        .request("alice", window, "case-1")
        .await
        .map_err(failed)?;
    ensure!(
        first.selection.count == 2,
        "the window is exact: {}",
        first.selection.count
    );
    let second = cluster
        .stage
        .request("bob", window, "case-2")
        .await
        .map_err(failed)?;
    opens_nothing(&cluster, first.id).await?;
    approve(&cluster, first.id, &["anna", "ben", "chloe"]).await?;
    opens_nothing(&cluster, first.id).await?;
    approve(&cluster, second.id, &["dora", "emil", "fay"]).await?;
    opens_nothing(&cluster, second.id).await?;

    // Both: what went in comes out, and nothing else.
    approve(&cluster, first.id, &["dora", "emil"]).await?;
    let out = values(&cluster, first.id).await?;
    ensure!(out == ["+33612345678", "192.0.2.7"], "{out:?}");

    a_recall_before_release_stops_it(&cluster).await?;
    a_freeze_stops_releases_until_it_ends(&cluster).await?;
    requester_cannot_approve_end_to_end(&cluster).await?;
    decision_of_another_slots_reviewer_is_refused(&cluster).await?;
    the_log_shows_every_step(&cluster, first.id, second.id).await
}

async fn a_recall_before_release_stops_it(cluster: &Running) -> anyhow::Result<()> {
    let request = cluster
        .stage
        .request("bob", window(), "case-3")
        .await
        .map_err(failed)?
        .id;
    approve(cluster, request, &["anna", "ben", "dora"]).await?;
    let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
    let recalled = intake.recall(home(), request, "annulled").await?;
    ensure!(
        recalled.state == RequestState::Recalled,
        "{:?}",
        recalled.state
    );
    ensure!(
        cluster.stage.approve("emil", request).await.is_err(),
        "no decision after a recall"
    );
    opens_nothing(cluster, request).await
}

async fn a_freeze_stops_releases_until_it_ends(cluster: &Running) -> anyhow::Result<()> {
    let request = cluster
        .stage
        .request("bob", window(), "case-4")
        .await
        .map_err(failed)?
        .id;
    let operator = cluster.stage.operator().map_err(failed)?;
    operator.freeze(home(), true, "a drill").await?;
    approve(cluster, request, &["anna", "ben", "dora", "emil"]).await?;
    opens_nothing(cluster, request).await?;
    operator.freeze(home(), false, "over").await?;
    ensure!(
        values(cluster, request).await? == ["192.0.2.9"],
        "released after the freeze"
    );
    Ok(())
}

/// vault issue 19214: whoever entered a request decides nothing about it, by immutable id. Here the
/// intake's own identity tries to decide with a reviewer's key.
async fn requester_cannot_approve_end_to_end(cluster: &Running) -> anyhow::Result<()> {
    let view = cluster
        .stage
        .request("bob", window(), "case-5")
        .await
        .map_err(failed)?;
    let anna = cluster.stage.profile("anna").map_err(failed)?;
    let (section, key) = anna.reviewer().map_err(failed)?;
    let as_intake = cluster.stage.cluster(INTAKE).map_err(failed)?;
    let reviewer = Reviewer::new(as_intake, section.role, section.slot, key);
    ensure!(
        reviewer.decide(&view, Decision::Approve, "").await.is_err(),
        "intake never decides"
    );
    Ok(())
}

/// A reviewer's key counts for its own slot only.
async fn decision_of_another_slots_reviewer_is_refused(cluster: &Running) -> anyhow::Result<()> {
    let view = cluster
        .stage
        .request("bob", window(), "case-6")
        .await
        .map_err(failed)?;
    let anna = cluster.stage.profile("anna").map_err(failed)?;
    let (_, key) = anna.reviewer().map_err(failed)?;
    let ben = cluster.stage.profile("ben").map_err(failed)?;
    let (section, _) = ben.reviewer().map_err(failed)?;
    let cluster_of_anna = cluster.stage.cluster("anna").map_err(failed)?;
    let reviewer = Reviewer::new(cluster_of_anna, section.role, section.slot, key);
    ensure!(
        reviewer.decide(&view, Decision::Approve, "").await.is_err(),
        "not anna's slot"
    );
    Ok(())
}

/// Every step is a leaf, and every leaf verifies under a checkpoint that both committees cosigned.
async fn the_log_shows_every_step(
    cluster: &Running,
    first: RequestId,
    second: RequestId,
) -> anyhow::Result<()> {
    let auditor = cluster.stage.profile(AUDITOR).map_err(failed)?;
    let trust = auditor.trust_file().map_err(failed)?;
    let reach = cluster.stage.cluster(AUDITOR).map_err(failed)?;
    // Two workflow and two legal-review members have their own reviewer's approval: three and two.
    eventually("five releases", PATIENCE, || async {
        let view = read(
            &cluster.stage.cluster(INTAKE).map_err(failed)?,
            home(),
            first,
        )
        .await;
        Ok((view.map_err(failed)?.releases.len() == 5).then_some(()))
    })
    .await?;
    let log = read_log(&reach, &trust, home(), 0).await?;
    let count = |request, kind| {
        let leaves = log.leaves.iter().map(|(_, leaf)| &leaf.content);
        leaves
            .filter(|c| c.request() == Some(request) && c.kind() == kind)
            .count()
    };
    ensure!(
        count(first, LeafKind::Decision) == 5,
        "decisions of the first request"
    );
    ensure!(
        count(first, LeafKind::Release) == 5,
        "releases of the first request"
    );
    ensure!(
        count(second, LeafKind::Decision) == 3,
        "decisions of the second request"
    );
    ensure!(
        count(second, LeafKind::Release) == 0,
        "no release of the second request"
    );
    Ok(())
}
