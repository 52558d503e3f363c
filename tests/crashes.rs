//! Crashes: any process is killed at any time during an import, and restarted: every acknowledged record
//! is there once, and the import resumes.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_cli::commands::disclose::disclosed;
use bailiwick_cli::dev::layout::BACKEND;
use bailiwick_cli::dev::stage::home;
use bailiwick_client::intake::Intake;
use bailiwick_tests::{Running, cluster, eventually, failed, inside, window};
use bailiwick_threshold::pseudonym;
use bailiwick_types::Timestamp;

const RECORDS: usize = 24_000;

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}

/// NDJSON of one subject's IP addresses among many others': the subject's can be listed afterwards.
fn write_file(path: &Path) -> anyhow::Result<()> {
    let at = inside(window(), 5);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for number in 0..RECORDS {
        let account = if number % 100 == 0 {
            "marked".to_owned()
        } else {
            format!("user-{number}")
        };
        writeln!(
            file,
            r#"{{"account":"{account}","residence":"FR","ip":{{"address":"192.0.2.{}","port":{},"transport":"tcp","event":"login","seen_at":"{at}"}}}}"#,
            number % 250 + 1,
            1024 + number % 60_000,
        )?;
    }
    Ok(file.flush()?)
}

fn import(cluster: &Running, file: &Path) -> anyhow::Result<Child> {
    let profile = cluster.stage.layout.profile(BACKEND);
    let log = std::fs::File::create(file.with_extension("log"))?;
    Command::new(binary())
        .arg("--profile")
        .arg(profile)
        .args(["record", "import"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start the import")
}

async fn finish(mut child: Child, file: &Path, patience: Duration) -> anyhow::Result<bool> {
    let until = std::time::Instant::now() + patience;
    while std::time::Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill()?;
    child.wait()?;
    let log = std::fs::read_to_string(file.with_extension("log")).unwrap_or_default();
    anyhow::bail!("the import did not end: {log}")
}

/// Records that are there, by the vault's own count, and the marked subject's labels.
async fn stored(cluster: &Running) -> anyhow::Result<(u64, usize)> {
    let operator = cluster.stage.operator().map_err(failed)?;
    let mut records = 0;
    for (_, status) in operator.status().await? {
        let Ok(status) = status else { continue };
        let groups = status.groups.iter();
        let of_home = groups.filter(|g| g.shard.is_some_and(|s| s.jurisdiction == home()));
        records = of_home.map(|group| group.records).fold(records, u64::max);
    }
    let profile = cluster.stage.profile("intake-1").map_err(failed)?;
    let key = bailiwick_cli::commands::request::pseudonym_key(&profile, home()).map_err(failed)?;
    let intake = Intake::new(cluster.stage.cluster("intake-1").map_err(failed)?);
    let window = window();
    let (from, to) = (window.from.minute(), Timestamp(window.to.0).minute());
    let labels = intake
        .labels(home(), pseudonym(&key, "marked"), from, to, 1000)
        .await?;
    let ids: BTreeSet<_> = labels.labels.iter().map(|(_, _, id)| *id).collect();
    ensure!(ids.len() == labels.labels.len(), "no record stands twice");
    Ok((records, ids.len()))
}

/// Kill -9 of the leader, a follower, the edge, an approver, and of the importer itself.
#[tokio::test(flavor = "multi_thread")]
async fn kill_any_process_during_an_import_and_it_resumes() -> anyhow::Result<()> {
    let mut cluster = cluster(binary(), &[]).await?;
    let file = cluster.root().join("import.ndjson");
    write_file(&file)?;
    let leader = cluster.stage.leader().await.map_err(failed)?;
    let follower = ["vault-1", "vault-2", "vault-3"]
        .into_iter()
        .find(|name| *name != leader);
    let follower = follower.context("a follower")?.to_owned();
    let victims = [
        leader,
        follower,
        "edge-1".to_owned(),
        "workflow-2".to_owned(),
    ];

    let mut running = import(&cluster, &file)?;
    for victim in &victims {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.stage.kill(victim).map_err(failed)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.stage.start_one(victim).map_err(failed)?;
        if running.try_wait()?.is_some() {
            // The import gave up, or was faster than its killers: the same command goes on.
            running = import(&cluster, &file)?;
        }
    }
    running.kill()?;
    running.wait()?;
    let (before, _) = stored(&cluster).await?;
    ensure!(
        before > 0,
        "something was stored before the importer was killed"
    );

    // The same command resumes, as often as it takes, and ends well.
    eventually("the import to end", Duration::from_secs(120), || async {
        let child = import(&cluster, &file)?;
        let done = finish(child, &file, Duration::from_secs(90)).await?;
        Ok(done.then_some(()))
    })
    .await
    .with_context(|| std::fs::read_to_string(file.with_extension("log")).unwrap_or_default())?;
    let (records, marked) = stored(&cluster).await?;
    ensure!(
        records == RECORDS as u64,
        "every record once: {records} of {RECORDS}"
    );
    ensure!(
        marked == RECORDS / 100,
        "the marked subject's records: {marked}"
    );

    // And they open.
    let request = cluster.stage.request("marked", window(), "case-1").await;
    ensure!(
        request.is_err(),
        "240 records are over the order's cap of 100, and refused as such"
    );
    let few = bailiwick_cli::dev::stage::Window {
        from: window().from,
        to: window().to,
    };
    let one = cluster
        .stage
        .request("user-1", few, "case-2")
        .await
        .map_err(failed)?
        .id;
    for person in ["anna", "ben", "dora", "emil"] {
        cluster.stage.approve(person, one).await.map_err(failed)?;
    }
    let (_, opened) = cluster
        .stage
        .open(one, Duration::from_secs(15), false)
        .await
        .map_err(failed)?;
    let values = disclosed(&opened?.opening);
    ensure!(
        values.len() == 1 && values[0].value == "192.0.2.2",
        "{values:?}"
    );
    Ok(())
}
