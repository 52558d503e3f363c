//! The main job on real processes: records go in sealed and come out only when both quorums act. Every
//! story takes its turn with one cluster of thirteen processes, and has subjects of its own.

use anyhow::{Context, ensure};
use bailiwick_api::request::{RequestState, RequestView};
use bailiwick_cli::dev::layout::{AUDITOR, INTAKE};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::CallFailure;
use bailiwick_client::auditor::read_log;
use bailiwick_client::intake::Intake;
use bailiwick_client::reviewer::{ReviewError, Reviewer};
use bailiwick_envelope::approval::Decision;
use bailiwick_envelope::leaf::LeafKind;
use bailiwick_tests::shared::Shared;
use bailiwick_tests::{PATIENCE, Running, eventually, failed, inside, ip, phone, window};
use bailiwick_types::{PeerRole, RequestId};

static CLUSTER: Shared = Shared::new();
/// All of the workflow committee's reviewers, and all of legal review's.
const WORKFLOW: [&str; 3] = ["anna", "ben", "chloe"];
const LEGAL: [&str; 3] = ["dora", "emil", "fay"];
/// Just enough of both.
const BOTH_QUORUMS: [&str; 4] = ["anna", "ben", "dora", "emil"];

async fn story(tell: impl AsyncFnOnce(&mut Running) -> anyhow::Result<()>) -> anyhow::Result<()> {
    CLUSTER
        .story(env!("CARGO_BIN_EXE_bailiwick-process"), tell)
        .await
}

/// One IP record of a subject, whose last byte and port are `number`.
async fn one_record(cluster: &Running, account: &str, number: u8) -> anyhow::Result<()> {
    let address = format!("192.0.2.{number}");
    let port = 4000 + u32::from(number);
    let record = ip(account, "FR", &address, port, &inside(window(), 2));
    cluster.put(vec![record]).await
}

/// A decision with the given person's certificate, for the slot and with the key of another.
async fn decide(
    cluster: &Running,
    certificate_of: &str,
    slot_of: &str,
    key_of: &str,
    view: &RequestView,
) -> anyhow::Result<Result<RequestView, ReviewError>> {
    let (section, _) = cluster
        .stage
        .profile(slot_of)
        .and_then(|profile| profile.reviewer().map(|(s, k)| (s.clone(), k)))
        .map_err(failed)?;
    let profile = cluster.stage.profile(key_of).map_err(failed)?;
    let (_, key) = profile.reviewer().map_err(failed)?;
    let reach = cluster.stage.cluster(certificate_of).map_err(failed)?;
    let reviewer = Reviewer::new(reach, section.role, section.slot, key);
    Ok(reviewer.decide(view, Decision::Approve, "").await)
}

/// The decision was refused with this code by the shard.
fn refused_with(decided: Result<RequestView, ReviewError>, code: &str) -> anyhow::Result<()> {
    match decided {
        Err(ReviewError::Call(failure)) if failure.code() == Some(code) => Ok(()),
        Err(other) => Err(other).context(format!("refused otherwise than with {code}")),
        Ok(_) => anyhow::bail!("the decision was taken, and not refused with {code}"),
    }
}

/// openbao issue 3666 (approvals omitted: approved with none), and the whole of the promise.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_opens_only_when_both_quorums_act() -> anyhow::Result<()> {
    story(async |cluster| {
        let at = |minutes| inside(window(), minutes);
        // Three jurisdictions, two kinds; of alice one record lies outside the order's window.
        cluster
            .put(vec![
                phone("alice", "FR", "+33612345678", &at(1)),
                ip("alice", "FR", "192.0.2.7", 4001, &at(2)),
                ip("alice", "FR", "192.0.2.8", 4002, &at(60)),
                ip("amir", "FR", "192.0.2.9", 4003, &at(2)),
                ip("carol", "DE", "192.0.2.10", 4004, &at(2)),
                phone("dan", "US", "+14155552671", &at(2)),
            ])
            .await?;
        let request = cluster.request("alice", "main-1").await?;
        let found = request.selection.count;
        ensure!(found == 2, "the window is exact: {found}");

        // Nobody has approved, then all of one committee, then the other's first of two.
        cluster.opens_nothing(request.id).await?;
        cluster.approve(request.id, &WORKFLOW).await?;
        cluster.opens_nothing(request.id).await?;
        cluster.approve(request.id, &["dora"]).await?;
        cluster.opens_nothing(request.id).await?;
        let view = cluster.view(request.id).await?;
        ensure!(view.releases.is_empty(), "nobody released anything");

        // Both: what went in comes out, and nothing else.
        cluster.approve(request.id, &["emil"]).await?;
        let out = cluster.values(request.id).await?;
        ensure!(out == ["+33612345678", "192.0.2.7"], "{out:?}");
        the_log_shows_every_step(cluster, request.id).await
    })
    .await
}

/// Every step is a leaf, and every leaf verifies under a checkpoint that both committees cosigned.
async fn the_log_shows_every_step(cluster: &Running, request: RequestId) -> anyhow::Result<()> {
    // A member releases what its own reviewer approved: three of workflow, two of legal review.
    eventually("five releases", PATIENCE, || async {
        let view = cluster.view(request).await?;
        Ok((view.releases.len() == 5).then_some(()))
    })
    .await?;
    let auditor = cluster.stage.profile(AUDITOR).map_err(failed)?;
    let trust = auditor.trust_file().map_err(failed)?;
    let reach = cluster.stage.cluster(AUDITOR).map_err(failed)?;
    let count = eventually("the last release under a checkpoint", PATIENCE, || async {
        let log = read_log(&reach, &trust, home(), 0).await?;
        let mut counts = [0; 3];
        let kinds = [LeafKind::Request, LeafKind::Decision, LeafKind::Release];
        for (_, leaf) in log.leaves {
            let of_request = leaf.content.request() == Some(request);
            let kind = kinds.iter().position(|kind| *kind == leaf.content.kind());
            if let Some(kind) = kind.filter(|_| of_request) {
                counts[kind] += 1;
            }
        }
        Ok((counts[2] == 5).then_some(counts))
    })
    .await?;
    ensure!(
        count == [1, 5, 5],
        "request, decisions, releases: {count:?}"
    );
    Ok(())
}

/// Section 12, mix_two_requests_releases_nothing, on real processes: all of one committee for one
/// request and all of the other for another are no quorum of either.
#[tokio::test(flavor = "multi_thread")]
async fn mix_two_requests_releases_nothing_end_to_end() -> anyhow::Result<()> {
    story(async |cluster| {
        one_record(cluster, "mixed", 21).await?;
        let first = cluster.request("mixed", "mix-1").await?.id;
        let second = cluster.request("mixed", "mix-2").await?.id;
        cluster.approve(first, &WORKFLOW).await?;
        cluster.approve(second, &LEGAL).await?;
        for request in [first, second] {
            cluster.opens_nothing(request).await?;
            let view = cluster.view(request).await?;
            ensure!(view.releases.is_empty(), "nobody released anything");
            ensure!(view.state == RequestState::InReview, "{:?}", view.state);
        }
        // The control: the missing half of the first opens the first, and the first only.
        cluster.approve(first, &["dora", "emil"]).await?;
        ensure!(cluster.values(first).await? == ["192.0.2.21"], "the first");
        cluster.opens_nothing(second).await
    })
    .await
}

/// Section 12, recalled_request_not_released, on real processes.
#[tokio::test(flavor = "multi_thread")]
async fn a_recall_before_release_stops_it() -> anyhow::Result<()> {
    story(async |cluster| {
        one_record(cluster, "recalled", 31).await?;
        let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);

        // One approval short: the recall ends the request, and the last approval comes too late.
        let request = cluster.request("recalled", "recall-1").await?.id;
        cluster.approve(request, &BOTH_QUORUMS[..3]).await?;
        let recalled = intake.recall(home(), request, "annulled").await?;
        let state = recalled.state;
        ensure!(state == RequestState::Recalled, "{state:?}");
        let view = cluster.view(request).await?;
        let late = decide(cluster, "emil", "emil", "emil", &view).await?;
        refused_with(late, "decision-not-in-review")?;
        cluster.opens_nothing(request).await?;

        // Both quorums, but the recall comes before any release: a freeze holds those back.
        let request = cluster.request("recalled", "recall-2").await?.id;
        let operator = cluster.stage.operator().map_err(failed)?;
        operator.freeze(home(), true, "a drill").await?;
        cluster.approve(request, &BOTH_QUORUMS).await?;
        intake.recall(home(), request, "annulled").await?;
        operator.freeze(home(), false, "over").await?;
        cluster.opens_nothing(request).await?;
        let view = cluster.view(request).await?;
        ensure!(view.releases.is_empty(), "nobody released anything");
        Ok(())
    })
    .await
}

/// A freeze is a leaf that every approver checks together with recalls.
#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_stops_releases_until_it_ends() -> anyhow::Result<()> {
    story(async |cluster| {
        one_record(cluster, "frozen", 41).await?;
        let request = cluster.request("frozen", "freeze-1").await?.id;
        let operator = cluster.stage.operator().map_err(failed)?;
        operator.freeze(home(), true, "a drill").await?;
        cluster.approve(request, &BOTH_QUORUMS).await?;
        cluster.opens_nothing(request).await?;
        let view = cluster.view(request).await?;
        ensure!(view.releases.is_empty(), "nobody released anything");
        ensure!(view.state == RequestState::Approved, "both quorums stand");
        operator.freeze(home(), false, "over").await?;
        let out = cluster.values(request).await?;
        ensure!(out == ["192.0.2.41"], "{out:?}");
        Ok(())
    })
    .await
}

/// Attacks 6: a reviewer's key counts for its own slot only, and one person in one role only.
#[tokio::test(flavor = "multi_thread")]
async fn decision_of_another_slots_reviewer_is_refused() -> anyhow::Result<()> {
    story(async |cluster| {
        one_record(cluster, "seated", 51).await?;
        let view = cluster.request("seated", "seat-1").await?;

        // Anna's key for Ben's slot, and for a slot of the other committee.
        let other_slot = decide(cluster, "anna", "ben", "anna", &view).await?;
        refused_with(other_slot, "decision-not-reviewer")?;
        let other_role = decide(cluster, "anna", "dora", "anna", &view).await?;
        refused_with(other_role, "decision-not-reviewer")?;

        // The slot's own key, used by one person for both committees.
        cluster.approve(view.id, &["anna"]).await?;
        let both = decide(cluster, "anna", "dora", "dora", &view).await?;
        refused_with(both, "decision-same-person")?;

        // And a slot counts once, whatever it says the second time.
        let again = decide(cluster, "ben", "anna", "anna", &view).await?;
        refused_with(again, "decision-slot-decided")?;
        let view = cluster.view(view.id).await?;
        ensure!(view.decisions.len() == 1, "only Anna's own decision stands");
        Ok(())
    })
    .await
}

/// vault issue 19214: whoever entered a request decides nothing about it. First the intake's own
/// certificate tries; then Anna, whom an operator has made an intake service as well.
#[tokio::test(flavor = "multi_thread")]
async fn requester_cannot_approve_end_to_end() -> anyhow::Result<()> {
    story(async |cluster| {
        one_record(cluster, "asked", 61).await?;
        let view = cluster.request("asked", "own-1").await?;
        let as_intake = decide(cluster, INTAKE, "anna", "anna", &view).await?;
        ensure!(
            matches!(
                as_intake,
                Err(ReviewError::Call(CallFailure::NotAuthorised(_)))
            ),
            "an intake service never decides: {as_intake:?}"
        );

        let (tls, _) = cluster.stranger(PeerRole::Intake, "anna")?;
        let name = "anna".parse()?;
        let operator = cluster.stage.operator().map_err(failed)?;
        let enrolment = bailiwick_api::cluster::Enrolment::Intake { name };
        operator.enrol(home(), enrolment).await?;
        let mut request = view.request.clone();
        request.entered_by = "anna".parse()?;
        let intake = Intake::new(cluster.as_peer(tls));
        let own = intake.submit(request, bytes::Bytes::new()).await?;
        let decided = decide(cluster, "anna", "anna", "anna", &own).await?;
        refused_with(decided, "decision-own-request")?;
        // The control: Ben, who did not enter it, may.
        cluster.approve(own.id, &["ben"]).await
    })
    .await
}
