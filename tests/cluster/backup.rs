//! Backup and disaster, by the words of docs/backup.md: every command block there is run here, against
//! real processes whose disks are destroyed. What must not be restored is refused, by the command and
//! by the approvers.

use std::path::Path;

use anyhow::{Context, ensure};
use bailiwick_cli::commands::operator::NodesFile;
use bailiwick_consensus::OfflineNode;
use bailiwick_node::backup::verify;
use bailiwick_shard::directory::{NodeEntry, relocate};
use bailiwick_storage::{BackupEncoder, BackupFile, OsDisk, RecordStore, RecordStoreOptions};
use bailiwick_tests::{
    Running, cluster, eventually, failed, inside, ip, partitioned_cluster, window,
};
use bailiwick_types::store::{Row, StoreError, WriteStore};
use bailiwick_types::{GroupId, NodeId};

use crate::binary;
use crate::desk::{
    Desk, RETURN, at_rest, block, config, cosigned, destroy, disclose, file_of, files_of, labels,
    new_note_keys, put, renumber, restore_all, stored, vault,
};

/// A node whose directory lives gets the groups that it lacks, and nothing that it has, that is another
/// region's, or that is of another cluster.
fn group_by_group(
    running: &Running,
    desk: &mut Desk,
    folder: &Path,
    nodes: &Path,
) -> anyhow::Result<()> {
    let directory = verify(&file_of(folder, "directory")?)?;
    let listed = NodesFile::load(nodes).map_err(failed)?.nodes.into_iter();
    let entries: Vec<NodeEntry> = listed
        .map(|node| NodeEntry {
            id: node.id,
            name: node.name,
            region: node.region,
            address: node.address,
        })
        .collect();
    let view = relocate(&mut directory.directory_rows()?, entries.clone())?;
    let voters = &view.directory_voters;
    let all = view.nodes.iter().map(|node| node.id);
    let learners: Vec<NodeId> = all.filter(|node| !voters.contains(node)).collect();
    let data = running.root().join("vault-1/data");
    let node = OfflineNode::open(entries[0].id, data)?;
    let snapshot = directory.file.snapshot()?;
    node.restore(GroupId::DIRECTORY, &snapshot, voters, &learners, |rows| {
        let moved = relocate(rows, entries.clone());
        moved
            .map(drop)
            .map_err(|error| StoreError(error.to_string()))
    })?;
    node.close();
    let restore = "bailiwick operator snapshot restore --config \"$CONFIG\" \
                   --checkpoint FR.checkpoint --without-checkpoint --yes $FILES";
    desk.set("CONFIG", config(running, 1).display());
    desk.set("FILES", file_of(folder, "US")?.display());
    desk.shell(restore)?.refused("US may not be in region eu")?;
    desk.set("FILES", desk.folder.join("FR-foreign.bwsave").display());
    desk.shell(restore)?.refused("of cluster 0707")?;
    for subject in ["FR", "DE"] {
        desk.set("FILES", file_of(folder, subject)?.display());
        desk.shell(restore)?.done()?;
        desk.shell(restore)?.refused("never overwrites")?;
    }
    Ok(())
}

/// A copy of a snapshot file that says, inside and out, that it is of another cluster.
fn of_another_cluster(file: &Path, to: &Path) -> anyhow::Result<()> {
    let backup = BackupFile::open(file)?;
    let mut header: serde_json::Value = serde_json::from_slice(backup.header())?;
    let cluster = hex::decode(header["cluster"].as_str().context("a cluster id")?)?;
    let other = vec![7; cluster.len()];
    header["cluster"] = hex::encode(&other).into();
    let folder = tempfile::tempdir()?;
    let disk: std::sync::Arc<dyn bailiwick_storage::Disk> =
        std::sync::Arc::new(OsDisk::new(folder.path().to_owned()));
    let store = RecordStore::open(&disk, "s.redb", &RecordStoreOptions::default())?;
    let snapshot = backup.snapshot()?;
    snapshot.load_into(&store)?;
    store.write_durably(|rows| replace_bytes(rows, &cluster, &other))?;
    let view = store.read()?;
    bailiwick_storage::write_snapshot(&*disk, "s.snapshot", snapshot.metadata(), &view)?;
    let bytes = std::fs::read(folder.path().join("s.snapshot"))?;
    let text = serde_json::to_vec(&header)?;
    let (mut encoder, mut out) = BackupEncoder::begin(&text, bytes.len() as u64)?;
    encoder.pass(&bytes);
    out.extend_from_slice(&bytes);
    out.extend_from_slice(&encoder.finish());
    std::fs::write(to, out)?;
    Ok(())
}

fn replace_bytes(rows: &mut dyn WriteStore, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
    let table = bailiwick_types::store::Table::new(1);
    let found: Vec<Row> = rows.scan_prefix(table, &[], 10)?;
    for (key, mut value) in found {
        if let Some(at) = value.windows(from.len()).position(|window| window == from) {
            value[at..at + from.len()].copy_from_slice(to);
        }
        rows.put(table, &key, &value)?;
    }
    Ok(())
}

/// All disks are destroyed, twice. An old snapshot is refused: by the command when a checkpoint shows
/// it, by the approvers in any case. A new one brings everything back that was acknowledged, orders and
/// log included, and disclosure goes on.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_lost_and_comes_back() -> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let mut running = cluster(binary(), &[]).await?;
    let mut desk = Desk::new(&running)?;
    let (old, new) = (desk.folder.join("old"), desk.folder.join("new"));
    put(&running, "early", 40).await?;
    desk.set("BACKUPS", old.display());
    desk.run("save")?.done()?;
    put(&running, "late", 30).await?;
    ensure!(disclose(&running, "early", "case-1").await?.len() == 40);
    let leaves = at_rest(&running).await?;
    let records = stored(&running).await?;
    ensure!(records == 70, "{records}");
    desk.set("BACKUPS", new.display());
    desk.run("save")?.done()?;
    let said = desk.run("verify")?;
    ensure!(said.done()?.contains("US"), "{}", said.text);

    // A flipped bit anywhere shows.
    let french = file_of(&new, "FR")?;
    let mut damaged = std::fs::read(&french)?;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(desk.folder.join("damaged.bwsave"), damaged)?;
    desk.shell("bailiwick operator snapshot verify damaged.bwsave")?
        .refused("damaged")?;

    let approver = running.root().join("legal-1/legal-1.toml");
    desk.set("APPROVER", approver.display());
    let said = desk.run("checkpoint")?;
    ensure!(said.done()?.contains(&leaves.to_string()), "{}", said.text);

    // A node that runs, and one that has its data, are left alone.
    let old_numbers = running.root().join("nodes.toml");
    desk.set("CONFIG", config(&running, 1).display());
    desk.set("NODES", old_numbers.display());
    desk.set("FILES", files_of(&new, "eu")?);
    desk.run("restore")?.refused("another process works on")?;
    running.stage.stop("vault-1").map_err(failed)?;
    desk.run("restore")?.refused("has a directory already")?;
    running.stage.start_one("vault-1").map_err(failed)?;

    destroy(&mut running)?;
    refusals(&running, &mut desk, &old, &new)?;
    old_snapshots_are_of_no_use(&mut running, &mut desk, &old).await?;
    destroy(&mut running)?;

    let nodes = renumber(&running, 10)?;
    desk.set("NODES", nodes.display());
    new_note_keys(&mut running, &mut desk)?;
    group_by_group(&running, &mut desk, &new, &nodes)?;
    let script = block("restore")?;
    restore_all(&mut running, &mut desk, &new, &script).await?;
    let back = eventually("all records", RETURN, || async {
        let back = stored(&running).await?;
        Ok((back >= records).then_some(back))
    })
    .await?;
    ensure!(back == records, "{back} of {records}");
    ensure!(labels(&running, "early").await? == 40 && labels(&running, "late").await? == 30);
    eventually("a cosigned log", RETURN, || async {
        Ok((cosigned(&running).await? >= leaves).then_some(()))
    })
    .await?;
    // It goes on: new records, and a disclosure of old and new ones.
    eventually("a record stored again", RETURN, || async {
        put(&running, "after", 1).await.map(Some)
    })
    .await?;
    ensure!(disclose(&running, "late", "case-2").await?.len() == 30);
    ensure!(!disclose(&running, "after", "case-3").await?.is_empty());
    Ok(())
}

/// What the command refuses by itself, with all disks gone.
fn refusals(running: &Running, desk: &mut Desk, old: &Path, new: &Path) -> anyhow::Result<()> {
    // Numbers that were used never come back.
    desk.run("restore")?.refused("the new nodes")?;
    let nodes = renumber(running, 10)?;
    desk.set("NODES", nodes.display());
    // Not what a jurisdiction's region forbids.
    desk.set("CONFIG", config(running, 4).display());
    desk.set("FILES", files_of(new, "eu")?);
    desk.run("restore")?.refused("FR may not be in region us")?;
    // Not without what belongs here: it would begin blank.
    desk.set("CONFIG", config(running, 1).display());
    let directory = file_of(new, "directory")?;
    desk.set("FILES", directory.display());
    desk.run("restore")?.refused("would begin blank")?;
    // Not below what was cosigned.
    desk.set("FILES", files_of(old, "eu")?);
    desk.run("restore")?.refused("were cosigned")?;
    // Not without anybody's word on what was cosigned, unless that is said aloud.
    desk.set("FILES", files_of(new, "eu")?);
    desk.shell("bailiwick operator snapshot restore --config $CONFIG --nodes $NODES --yes $FILES")?
        .refused("no cosigned checkpoint")?;
    // Not of another cluster, even where it all fits together.
    let foreign = desk.folder.join("FR-foreign.bwsave");
    of_another_cluster(&file_of(new, "FR")?, &foreign)?;
    let german = file_of(new, "DE")?;
    let files = [directory.display(), foreign.display(), german.display()];
    desk.set("FILES", files.map(|file| file.to_string()).join(" "));
    desk.run("restore")?.refused("of cluster 0707")?;
    let data = running.root().join("vault-1/data/groups");
    ensure!(!data.exists(), "what was refused has written nothing");
    // And the drill's words run as they stand.
    desk.set("BACKUPS", new.display());
    desk.set("FILES", files_of(new, "eu")?);
    desk.run("drill")?.done()?;
    Ok(())
}

/// Somebody withholds the checkpoint and restores what is too old: the approvers know better.
async fn old_snapshots_are_of_no_use(
    running: &mut Running,
    desk: &mut Desk,
    old: &Path,
) -> anyhow::Result<()> {
    let withheld = "bailiwick operator snapshot restore --config \"$CONFIG\" --nodes \"$NODES\" \
                    --without-checkpoint --yes $FILES";
    restore_all(running, desk, old, withheld).await?;
    let log = running.root().join("logs/workflow-1.log");
    let alarm = "alarm: this log is shorter than what was cosigned";
    eventually("the approver's alarm", RETURN, || async {
        let said = std::fs::read_to_string(&log)?;
        Ok(said.contains(alarm).then_some(()))
    })
    .await?;
    ensure!(cosigned(running).await.is_err(), "nobody cosigns it");
    Ok(())
}

/// A jurisdiction of two groups: each is saved for itself, and both come back together.
#[tokio::test(flavor = "multi_thread")]
async fn every_partition_comes_back() -> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let mut running = partitioned_cluster(binary(), 2).await?;
    let mut desk = Desk::new(&running)?;
    let at = inside(window(), 5);
    let record = |number: u32| {
        let account = format!("person-{}", number % 20);
        ip(&account, "FR", "192.0.2.7", 1024 + number, &at)
    };
    running.put((0..200).map(record).collect()).await?;
    let before = disclose(&running, "person-1", "case-1").await?;
    ensure!(before.len() == 10, "{before:?}");
    at_rest(&running).await?;
    let folder = desk.folder.join("saved");
    desk.set("BACKUPS", folder.display());
    desk.run("save")?.done()?;
    let records = |subject: &str| {
        let header = verify(&file_of(&folder, subject)?)?.header;
        anyhow::Ok(header.records)
    };
    let (home, further) = (records("FR")?, records("FR-1")?);
    ensure!(
        home > 0 && further > 0 && home + further == 200,
        "{home} and {further}"
    );
    desk.set(
        "APPROVER",
        running.root().join("legal-2/legal-2.toml").display(),
    );
    desk.run("checkpoint")?.done()?;
    destroy(&mut running)?;
    let nodes = renumber(&running, 10)?;
    desk.set("NODES", nodes.display());
    new_note_keys(&mut running, &mut desk)?;
    restore_all(&mut running, &mut desk, &folder, &block("restore")?).await?;
    eventually("a cosigned log", RETURN, || async {
        cosigned(&running).await.map(Some)
    })
    .await?;
    for number in 0..20 {
        let account = format!("person-{number}");
        ensure!(labels(&running, &account).await? == 10, "{account}");
    }
    let values = disclose(&running, "person-2", "case-2").await?;
    ensure!(values.len() == 10, "{values:?}");
    Ok(())
}

/// Two of three voters are gone for good; the third goes on alone, with all that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_voter_is_recovered() -> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let mut running = cluster(binary(), &[]).await?;
    let mut desk = Desk::new(&running)?;
    put(&running, "early", 40).await?;
    ensure!(disclose(&running, "early", "case-1").await?.len() == 40);
    let leaves = at_rest(&running).await?;
    desk.set(
        "APPROVER",
        running.root().join("workflow-2/workflow-2.toml").display(),
    );
    desk.run("checkpoint")?.done()?;
    desk.set("CONFIG", config(&running, 3).display());
    desk.set("LOST", "--lost 1 --lost 2");
    desk.run("recover-plan")?
        .refused("another process works on")?;
    for number in [1, 2] {
        running.stage.kill(&vault(number)).map_err(failed)?;
        std::fs::remove_dir_all(running.root().join(vault(number)).join("data"))?;
    }
    running.stage.kill("vault-3").map_err(failed)?;

    let said = desk.run("recover-plan")?;
    let plan = said.done()?;
    ensure!(
        plan.contains("FR/0 (group 1)") && plan.contains("becomes its only voter"),
        "{plan}"
    );
    ensure!(plan.contains("keeps its quorum"), "the directory: {plan}");
    // While one voter may come back there is nothing to recover.
    desk.set("LOST", "--lost 1");
    desk.run("recover")?.refused("no group of this node")?;
    // Nobody's word on what was cosigned.
    desk.shell("bailiwick operator recover --config $CONFIG --lost 1 --lost 2 --yes")?
        .refused("no cosigned checkpoint")?;
    desk.set("LOST", "--lost 1 --lost 2");
    desk.run("recover")?.done()?;
    // Done twice is done once.
    desk.run("recover")?.refused("no group of this node")?;

    running.stage.start_one("vault-3").map_err(failed)?;
    running.ready("vault-3").await?;
    eventually("all leaves", RETURN, || async {
        Ok((cosigned(&running).await? >= leaves).then_some(()))
    })
    .await?;
    ensure!(labels(&running, "early").await? == 40);
    eventually("a record stored again", RETURN, || async {
        put(&running, "after", 1).await.map(Some)
    })
    .await?;
    ensure!(!disclose(&running, "after", "case-2").await?.is_empty());
    Ok(())
}
