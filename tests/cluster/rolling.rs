//! Vault nodes are restarted one after the other while an import runs, and keep snapshots on a schedule
//! meanwhile: nothing acknowledged is lost.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_cli::dev::layout::VAULTS;
use bailiwick_tests::http::get;
use bailiwick_tests::importing::{Import, import_file};
use bailiwick_tests::scrape::Scrape;
use bailiwick_tests::{PATIENCE, Running, eventually, prepared_cluster};

use crate::binary;
use crate::desk::{Desk, file_of, stored, vault};

/// Records of the import that the nodes are restarted under.
const RECORDS: usize = 20_000;

/// Has every node keep snapshots of what it leads, often and few.
fn keep_snapshots(root: &Path) -> anyhow::Result<()> {
    for (number, _) in VAULTS {
        let name = vault(number);
        let path = root.join(&name).join(format!("{name}.toml"));
        let section = "\n[snapshots]\nfolder = \"../kept\"\nevery_seconds = 2\nkeep = 2\n";
        let text = std::fs::read_to_string(&path)? + section;
        std::fs::write(&path, text)?;
    }
    Ok(())
}

/// Each group's newest scheduled snapshot verifies, there are few of each, and the nodes tell of them.
async fn scheduled_snapshots_are_good(running: &Running, desk: &mut Desk) -> anyhow::Result<()> {
    let kept = running.root().join("kept");
    desk.set("BACKUPS", kept.display());
    let files = eventually("snapshots of every group", PATIENCE, || async {
        let subjects = ["directory", "FR", "DE", "US"];
        let files = subjects.iter().map(|subject| file_of(&kept, subject));
        Ok(files.collect::<anyhow::Result<Vec<_>>>().ok())
    })
    .await?;
    for file in &files {
        let shown = file.display();
        desk.shell(&format!("bailiwick operator snapshot verify {shown}"))?
            .done()?;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let french = bailiwick_tests::files(&kept)?.into_iter().filter(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("FR-") && name.ends_with(".bwsave")
    });
    // A leader that changed may just be writing another one.
    ensure!((1..=3).contains(&french.count()), "old ones are deleted");
    let documented =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md"))?;
    let (_, section) = documented
        .split_once("## Kept snapshots")
        .context("a section")?;
    let (section, _) = section.split_once("\n## ").context("its end")?;
    let names = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let names: Vec<&str> = names.collect();
    ensure!(names.len() == 3, "{names:?}");
    let mut told = 0;
    for (number, _) in VAULTS {
        let service = running.stage.layout.service_of(&vault(number));
        let (_, text) = get(service.context("a service")?.health, "/metrics").await?;
        let scrape = Scrape::parse(&text)?;
        let of = [("jurisdiction", "FR"), ("partition", "0")];
        told += usize::from(names.iter().all(|name| scrape.value(name, &of).is_some()));
    }
    ensure!(told >= 1, "no node tells of its snapshots");
    Ok(())
}

/// Every vault node is stopped in order and started again, one after the other, while an import runs:
/// one command's import succeeds, and all of it is there once. Snapshots are kept on a schedule meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_an_import_loses_nothing() -> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let mut running = prepared_cluster(binary(), &[], keep_snapshots).await?;
    let file = import_file(&running.root().join("rolling.ndjson"), RECORDS)?;
    let mut import = Import::start(binary(), &running, &file)?;
    eventually("the begin of the import", PATIENCE, || async {
        Ok((stored(&running).await? > 0).then_some(()))
    })
    .await?;
    // Saved under load: many chunks, and the import goes on.
    let mut desk = Desk::new(&running)?;
    desk.set("BACKUPS", desk.folder.join("under-load").display());
    desk.run("save")?.done()?;
    let mut under_load = 0;
    for (number, _) in VAULTS {
        under_load += usize::from(import.runs()?);
        running.restart(&vault(number)).await?;
    }
    ensure!(
        under_load >= 2,
        "{under_load} nodes were restarted under load"
    );
    let log = file.with_extension("log");
    let mut done = import.end(Duration::from_secs(120)).await?;
    // An edge that had no leader for too long ends the command: the same command goes on.
    for _ in 0..3 {
        if !done {
            let again = Import::start(binary(), &running, &file)?;
            done = again.end(Duration::from_secs(120)).await?;
        }
    }
    ensure!(done, "{}", std::fs::read_to_string(log).unwrap_or_default());
    let now = stored(&running).await?;
    ensure!(now == RECORDS as u64, "{now} of {RECORDS}");
    scheduled_snapshots_are_good(&running, &mut desk).await
}
