//! Vaults that show an approver another log: one that is no voter, and a voter that forks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use bailiwick_api::request::RequestView;
use bailiwick_tests::lying_vault::LyingVault;
use bailiwick_tests::{NOTHING, PATIENCE, Running, eventually, failed, inside, ip, window};
use bailiwick_tlog::SignedCheckpoint;
use bailiwick_types::Role;

use crate::recipients::attend_only;
use crate::story;

const MEMBER: &str = "workflow-1";

fn releases_of_member(view: &RequestView) -> usize {
    let own = |(role, slot, _): &&(Role, bailiwick_types::Slot, u64)| {
        *role == Role::Workflow && slot.number() == 1
    };
    view.releases.iter().filter(own).count()
}

/// Restarts the member without waiting: it is not to become ready.
fn restart(cluster: &mut Running) -> anyhow::Result<()> {
    cluster.stage.stop(MEMBER).map_err(failed)?;
    cluster.stage.start_one(MEMBER).map_err(failed)
}

/// A vault whose certificate is true, but which is no voter of France, sends the true log: it is not
/// followed, because whoever is not asked cannot vouch. Then a voter, with its own note key, sends a
/// checkpoint that never was: its member keeps both notes, says so, and releases nothing until an
/// operator has acted; the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_forking_voter_stops_a_member_until_an_operator_acts() -> anyhow::Result<()> {
    story(async |cluster| {
        let record = ip("forked", "FR", "192.0.2.131", 4131, &inside(window(), 2));
        cluster.put(vec![record]).await?;
        let truth = |_, reply| reply;
        let outsider = LyingVault::start(cluster, &[MEMBER], Arc::new(truth)).await?;
        let honest = attend_only(cluster, MEMBER, &outsider.address)?;
        restart(cluster)?;
        // Three members cosign, and anna's own does not.
        let request = cluster.request("forked", "fork-1").await?.id;
        cluster
            .approve(request, &["anna", "ben", "chloe", "dora", "emil"])
            .await?;
        ensure!(
            cluster.values(request).await? == ["192.0.2.131"],
            "it opens"
        );
        let released = releases_of_member(&cluster.view(request).await?);
        ensure!(
            released == 0,
            "the member followed a vault that is no voter"
        );

        let forks = Arc::new(AtomicBool::new(false));
        let voter =
            LyingVault::start_voter(cluster, &[MEMBER], Arc::new(truth), forks.clone()).await?;
        let path = cluster.root().join(MEMBER).join(format!("{MEMBER}.toml"));
        let config = std::fs::read_to_string(&path)?;
        std::fs::write(&path, config.replace(&outsider.address, &voter.address))?;
        cluster.restart(MEMBER).await?;
        let evidence = cluster.root().join(MEMBER).join("data/FR/fork-evidence");
        ensure!(!evidence.exists(), "nothing has forked yet");
        forks.store(true, Ordering::Relaxed);
        let request = cluster.request("forked", "fork-2").await?.id;
        eventually("the evidence", PATIENCE, || async {
            Ok(evidence.exists().then_some(()))
        })
        .await?;
        let text = std::fs::read_to_string(&evidence)?;
        let notes: Vec<_> = text.split("== ").skip(1).collect();
        for note in &notes {
            let (_, note) = note.split_once('\n').unwrap_or_default();
            SignedCheckpoint::parse(note)?;
        }
        ensure!(notes.len() == 2, "two checkpoints: {text}");

        // The true cluster again, and another process: the alarm stands.
        forks.store(false, Ordering::Relaxed);
        std::fs::write(&path, honest)?;
        restart(cluster)?;
        cluster
            .approve(request, &["anna", "ben", "chloe", "dora", "emil"])
            .await?;
        ensure!(
            cluster.values(request).await? == ["192.0.2.131"],
            "the others go on"
        );
        tokio::time::sleep(NOTHING).await;
        let released = releases_of_member(&cluster.view(request).await?);
        ensure!(released == 0, "the member released under a fork");
        std::fs::rename(&evidence, evidence.with_extension("seen"))?;
        cluster.ready(MEMBER).await?;
        let request = cluster.request("forked", "fork-3").await?.id;
        cluster
            .approve(request, &["anna", "ben", "dora", "emil"])
            .await?;
        eventually("the member's release", PATIENCE, || async {
            Ok((releases_of_member(&cluster.view(request).await?) == 1).then_some(()))
        })
        .await?;
        Ok(())
    })
    .await
}
