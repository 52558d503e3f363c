//! The steps of the demonstration, in order. Each is asserted.

use std::time::{Duration, Instant};

use bailiwick_api::request::{RequestState, RequestView};
use bailiwick_client::auditor::read_log;
use bailiwick_client::recipient::{DiscloseError, Disclosure};
use bailiwick_envelope::leaf::LeafKind;
use bailiwick_types::{RequestId, Role};

use super::people::{OTHER, SUBJECT, crowd, more, subject, window_before};
use super::timeline::{Timeline, expect};
use crate::commands::disclose::disclosed;
use crate::commands::request::read;
use crate::connect::{of_audit, of_call, of_disclose};
use crate::dev::layout::{AUDITOR, INTAKE};
use crate::dev::stage::{Stage, Window, home};
use crate::failure::Failure;
use crate::profile::Profile;

/// How long a release that must not come is waited for.
const NOTHING: Duration = Duration::from_millis(700);
/// How long a release that must come may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The persons who review, by committee.
const WORKFLOW: [&str; 3] = ["anna", "ben", "chloe"];
const LEGAL: [&str; 3] = ["dora", "emil", "fay"];
/// The legal-review approver that returns wrong values.
const LIAR: &str = "legal-3";
/// Connections that records are handed in over.
const LANES: usize = 4;

/// Tells the story.
pub(super) async fn tell(
    stage: &mut Stage,
    timeline: &mut Timeline,
    records: u32,
) -> Result<(), Failure> {
    raise(stage, timeline).await?;
    let window = window_before(bailiwick_client::now());
    let expected = fill(stage, timeline, window, records).await?;
    let (first, second) = ask(stage, timeline, window, expected.len()).await?;
    one_committee_opens_nothing(stage, timeline, first, second).await?;
    lose_a_leader(stage, timeline, window).await?;
    disclose(stage, timeline, first, &expected).await?;
    freeze(stage, timeline, window).await?;
    verify_log(stage, timeline, first, second).await
}

/// Processes, ceremony, certificates.
async fn raise(stage: &mut Stage, timeline: &Timeline) -> Result<(), Failure> {
    stage.start(&[LIAR]).await?;
    stage.start_liar(LIAR)?;
    stage.set_up(|line| timeline.step(&line)).await?;
    let running = stage.processes();
    expect(running == 13, "13 processes run", || format!("{running}"))?;
    timeline.step("13 processes are up: every one its own certificate, data and keys");
    Ok(())
}

/// Records go in sealed.
async fn fill(
    stage: &Stage,
    timeline: &Timeline,
    window: Window,
    records: u32,
) -> Result<Vec<String>, Failure> {
    let (known, expected) = subject(window);
    let stored = stage.put(known.clone(), 1).await?;
    expect(
        stored == known.len(),
        "the subject's records are stored",
        || stored.to_string(),
    )?;
    let begun = Instant::now();
    let stored = stage.put(crowd(records, window), LANES).await?;
    let rate = stored as f64 / begun.elapsed().as_secs_f64();
    expect(stored == records as usize, "every record is stored", || {
        stored.to_string()
    })?;
    timeline.step(&format!(
        "{} phone and IP records in FR, DE and US, each on a quorum's disks: {rate:.0} records/s \
         from JSON",
        stored + known.len(),
    ));
    Ok(expected)
}

/// Two orders, neither approved.
async fn ask(
    stage: &Stage,
    timeline: &Timeline,
    window: Window,
    expected: usize,
) -> Result<(RequestId, RequestId), Failure> {
    let first = stage.request(SUBJECT, window, "case-1").await?;
    let found = first.selection.count as usize;
    expect(
        found == expected,
        "the window's records of one subject",
        || found.to_string(),
    )?;
    timeline.step(&format!(
        "request {}: one subject's phone and IPs in a window; {found} records found and frozen",
        short(first.id),
    ));
    let second = stage.request(OTHER, window, "case-2").await?;
    opens_nothing(stage, first.id).await?;
    timeline.step("opening is refused: nobody has approved");
    Ok((first.id, second.id))
}

/// All of one committee for one request, all of the other for another: nothing.
async fn one_committee_opens_nothing(
    stage: &Stage,
    timeline: &Timeline,
    first: RequestId,
    second: RequestId,
) -> Result<(), Failure> {
    for person in WORKFLOW {
        stage.approve(person, first).await?;
    }
    opens_nothing(stage, first).await?;
    timeline.step("opening is refused: all 3 workflow approvals, no legal review");
    for person in LEGAL {
        stage.approve(person, second).await?;
    }
    opens_nothing(stage, second).await?;
    timeline
        .step("opening is refused: all 3 legal-review approvals of another request, no workflow");
    opens_nothing(stage, first).await?;
    for request in [first, second] {
        let view = view(stage, request).await?;
        expect(view.releases.is_empty(), "nobody released anything", || {
            format!("{} releases", view.releases.len())
        })?;
    }
    timeline.step("one role for one request and the other for another: nobody released anything");
    Ok(())
}

/// The leader dies, an approver is stopped, writing goes on.
async fn lose_a_leader(
    stage: &mut Stage,
    timeline: &Timeline,
    window: Window,
) -> Result<(), Failure> {
    let leader = stage.leader().await?;
    stage.kill(&leader)?;
    let killed = Instant::now();
    let stored = stage.put(more(1, window), 1).await?;
    let gap = killed.elapsed();
    expect(stored == 1, "writing goes on", || stored.to_string())?;
    stage.stop("workflow-3")?;
    let stored = stage.put(more(1000, window), 1).await?;
    expect(stored == 1000, "writing goes on", || stored.to_string())?;
    timeline.step(&format!(
        "the leader {leader} is killed (SIGKILL): next record stored after {:.2} s; approver \
         workflow-3 is stopped; 1,001 more records stored",
        gap.as_secs_f64(),
    ));
    Ok(())
}

/// Both quorums: the records come out, the liar is contradicted.
async fn disclose(
    stage: &Stage,
    timeline: &Timeline,
    request: RequestId,
    expected: &[String],
) -> Result<(), Failure> {
    for person in LEGAL {
        stage.approve(person, request).await?;
    }
    let approved = Instant::now();
    let quick = opened(stage, request, false).await?;
    let quorum = approved.elapsed();
    compare(&quick, expected)?;
    timeline.step(&format!(
        "both quorums: plaintext at the desk {:.0} ms after the last approval; equal to what went \
         in, and only the selection",
        quorum.as_secs_f64() * 1000.0,
    ));
    for record in disclosed(&quick.opening) {
        timeline.detail(&format!(
            "{:5}  {:16}  {}",
            record.kind, record.value, record.at
        ));
    }
    wait_for_releases(stage, request, 5).await?;
    let all = opened(stage, request, true).await?;
    compare(&all, expected)?;
    let contradicted = all
        .opening
        .contradicted
        .iter()
        .any(|c| c.role == Role::LegalReview && c.slot.number() == 3);
    let only = all
        .opening
        .contradicted
        .iter()
        .all(|c| c.role == Role::LegalReview && c.slot.number() == 3);
    expect(
        contradicted && only,
        "legal-review slot 3, and nobody else, is contradicted",
        || format!("{:?}", all.opening.contradicted),
    )?;
    timeline.step(&format!(
        "{LIAR} returned wrong values: contradicted by {} others, and survived",
        all.members.len() - 1,
    ));
    let (recipient, _) = stage.open(request, NOTHING, false).await?;
    let acknowledged = recipient.acknowledge(&all).await;
    acknowledged.map_err(|error| of_call("the delivery was not acknowledged", &error))
}

/// A freeze stops releases until it ends.
async fn freeze(stage: &Stage, timeline: &Timeline, window: Window) -> Result<(), Failure> {
    let third = stage.request(OTHER, window, "case-3").await?.id;
    let operator = stage.operator()?;
    let frozen = operator.freeze(home(), true, "the demonstration").await;
    frozen.map_err(|error| of_call("the jurisdiction was not frozen", &error))?;
    for person in WORKFLOW.iter().chain(&LEGAL).take(5) {
        stage.approve(person, third).await?;
    }
    opens_nothing(stage, third).await?;
    let thawed = operator.freeze(home(), false, "the demonstration").await;
    thawed.map_err(|error| of_call("the jurisdiction was not unfrozen", &error))?;
    let disclosure = opened(stage, third, false).await?;
    expect(
        disclosure.opening.records.len() == 1,
        "one record after the freeze",
        || disclosure.opening.records.len().to_string(),
    )?;
    timeline
        .step("a frozen jurisdiction released nothing in spite of both quorums; unfrozen, it did");
    Ok(())
}

/// The leaves of the story, every one verified under a cosigned checkpoint.
async fn verify_log(
    stage: &Stage,
    timeline: &Timeline,
    first: RequestId,
    second: RequestId,
) -> Result<(), Failure> {
    let profile = Profile::load(&stage.layout.profile(AUDITOR))?;
    let trust = profile.trust_file()?;
    let read = read_log(&stage.cluster(AUDITOR)?, &trust, home(), 0).await;
    let log = read.map_err(|error| of_audit("the log was not read", &error))?;
    let count = |request: RequestId, kind: LeafKind| {
        let of_request = log
            .leaves
            .iter()
            .filter(|(_, leaf)| leaf.content.request() == Some(request));
        of_request
            .filter(|(_, leaf)| leaf.content.kind() == kind)
            .count()
    };
    let seen = (
        count(first, LeafKind::Decision),
        count(first, LeafKind::Release),
        count(first, LeafKind::Delivery),
        count(second, LeafKind::Decision),
        count(second, LeafKind::Release),
    );
    expect(
        seen == (6, 5, 1, 3, 0),
        "6 decisions, 5 releases, 1 delivery; 3 decisions, 0 releases",
        || format!("{seen:?}"),
    )?;
    timeline.step(&format!(
        "the log of {}: {} leaves, inclusion of each verified under one checkpoint cosigned by both \
         committees",
        home(),
        log.leaves.len(),
    ));
    for (index, leaf) in log
        .leaves
        .iter()
        .filter(|(_, leaf)| leaf.content.request() == Some(first))
    {
        timeline.detail(&format!(
            "leaf {index:3}  {:9}  {}",
            leaf.content.kind().as_str(),
            leaf.logged_at
        ));
    }
    Ok(())
}

async fn view(stage: &Stage, request: RequestId) -> Result<RequestView, Failure> {
    read(&stage.cluster(INTAKE)?, home(), request).await
}

/// Opening must fail for want of releases, and for no other reason.
async fn opens_nothing(stage: &Stage, request: RequestId) -> Result<(), Failure> {
    match stage.open(request, NOTHING, false).await?.1 {
        Err(DiscloseError::NotReleased {
            workflow: 0,
            legal_review: 0,
            ..
        }) => Ok(()),
        Err(other) => Err(of_disclose(&other)),
        Ok(disclosure) => expect(false, "nothing opens", || {
            format!("{} records", disclosure.opening.records.len())
        }),
    }
}

async fn opened(stage: &Stage, request: RequestId, everybody: bool) -> Result<Disclosure, Failure> {
    let (_, opened) = stage.open(request, PATIENCE, everybody).await?;
    opened.map_err(|error| of_disclose(&error))
}

async fn wait_for_releases(stage: &Stage, request: RequestId, count: usize) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let view = view(stage, request).await?;
        if view.releases.len() >= count && view.state >= RequestState::Disclosed {
            return Ok(());
        }
        expect(
            Instant::now() < until,
            "all members that run release",
            || {
                format!(
                    "{} releases; refused: {:?}",
                    view.releases.len(),
                    view.member_refusals
                )
            },
        )?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What came out is what went in, and nothing else.
fn compare(disclosure: &Disclosure, expected: &[String]) -> Result<(), Failure> {
    let mut values: Vec<String> = disclosed(&disclosure.opening)
        .into_iter()
        .map(|record| record.value)
        .collect();
    let mut expected = expected.to_vec();
    values.sort();
    expected.sort();
    expect(
        values == expected,
        "exactly the selection, as it went in",
        || values.join(", "),
    )
}

fn short(request: RequestId) -> String {
    request.to_string()[..8].to_owned()
}
