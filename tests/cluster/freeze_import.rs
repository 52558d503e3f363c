//! A freeze in the midst of an import, with real processes: nothing more is written, what was
//! acknowledged stays, the import says why it waits or ends, and goes on where it was after the unfreeze.

use std::time::Duration;

use anyhow::ensure;
use bailiwick_cli::dev::stage::home;
use bailiwick_tests::importing::{Import, import_file};
use bailiwick_tests::joiner::operated;
use bailiwick_tests::{PATIENCE, Running, cluster, eventually, failed};
use bailiwick_types::ShardId;

use crate::binary;

/// Enough that the import still runs when the freeze comes.
const RECORDS: usize = 60_000;
/// How long the freeze lasts at least.
const FROZEN: Duration = Duration::from_secs(4);

/// Records of the French group, as each node that answers has them applied.
async fn counts(cluster: &Running) -> anyhow::Result<Vec<u64>> {
    let operator = cluster.stage.operator().map_err(failed)?;
    let mut counts = Vec::new();
    for (_, status) in operator.status().await? {
        let groups = status.map(|status| status.groups).unwrap_or_default();
        let home = groups
            .iter()
            .filter(|group| group.shard == Some(ShardId::home(home())));
        counts.extend(home.map(|group| group.records));
    }
    Ok(counts)
}

async fn most(cluster: &Running) -> anyhow::Result<u64> {
    Ok(counts(cluster).await?.into_iter().max().unwrap_or(0))
}

/// What every replica has, once all have the same.
async fn agreed(cluster: &Running) -> anyhow::Result<u64> {
    eventually("all replicas at the same count", PATIENCE, async || {
        let counts = counts(cluster).await?;
        let same = counts.windows(2).all(|pair| pair[0] == pair[1]);
        Ok((counts.len() == 3 && same).then(|| counts[0]))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_meets_a_freeze_and_loses_nothing() -> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let cluster = cluster(binary(), &[]).await?;
    let file = import_file(&cluster.root().join("frozen.ndjson"), RECORDS)?;
    let mut import = Import::start(binary(), &cluster, &file)?;
    eventually("the begin of the import", PATIENCE, async || {
        Ok((most(&cluster).await? > 0).then_some(()))
    })
    .await?;

    ensure!(
        import.runs()?,
        "the import was over before: {}",
        import.said()
    );
    let freeze = ["operator", "freeze", "FR", "--reason", "a drill"];
    operated(&cluster, binary(), &freeze).await?;
    let at_freeze = agreed(&cluster).await?;
    ensure!(at_freeze < RECORDS as u64, "the import was over before");
    tokio::time::sleep(FROZEN).await;
    let after = agreed(&cluster).await?;
    ensure!(
        after == at_freeze,
        "{after} records, {at_freeze} at the freeze"
    );
    if !import.runs()? {
        let said = import.said();
        ensure!(
            said.contains("frozen"),
            "the import says why it ended: {said}"
        );
    }

    let unfreeze = ["operator", "unfreeze", "FR", "--reason", "over", "--yes"];
    operated(&cluster, binary(), &unfreeze).await?;
    let mut done = import.end(Duration::from_secs(120)).await?;
    for _ in 0..3 {
        if !done {
            let again = Import::start(binary(), &cluster, &file)?;
            done = again.end(Duration::from_secs(120)).await?;
        }
    }
    let log = std::fs::read_to_string(file.with_extension("log"))?;
    ensure!(done, "the import never ends well: {log}");
    let stored = agreed(&cluster).await?;
    ensure!(stored == RECORDS as u64, "{stored} of {RECORDS}: {log}");
    Ok(())
}
