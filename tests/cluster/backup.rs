//! Backup and disaster, by the words of docs/backup.md: every command block there is run here, against
//! real processes whose disks are destroyed. What must not be restored is refused, by the command and
//! by the approvers; and a rolling restart under an import loses nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_cli::commands::operator::NodesFile;
use bailiwick_cli::dev::layout::{AUDITOR, INTAKE, OPERATOR, REVIEWERS, VAULTS, approver};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::auditor::read_log;
use bailiwick_client::intake::Intake;
use bailiwick_consensus::OfflineNode;
use bailiwick_node::backup::verify;
use bailiwick_shard::directory::{NodeEntry, relocate};
use bailiwick_storage::{BackupEncoder, BackupFile, OsDisk, RecordStore, RecordStoreOptions};
use bailiwick_tests::http::get;
use bailiwick_tests::importing::Import;
use bailiwick_tests::scrape::Scrape;
use bailiwick_tests::{
    PATIENCE, Running, cluster, eventually, failed, inside, ip, partitioned_cluster,
    prepared_cluster, window,
};
use bailiwick_types::store::{Row, StoreError, WriteStore};
use bailiwick_types::{GroupId, NodeId, ShardId};

use crate::binary;

/// Persons whose approvals make both quorums.
const QUORUMS: [&str; 4] = ["anna", "ben", "dora", "emil"];
/// How long a restored cluster may take to lead, cosign and seal again.
const RETURN: Duration = Duration::from_secs(60);

/// The commands of a block of docs/backup.md.
fn block(name: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/backup.md");
    let text = std::fs::read_to_string(path)?;
    let begin = format!("```sh {name}\n");
    let (_, rest) = text
        .split_once(&begin)
        .with_context(|| format!("docs/backup.md has no block {name}"))?;
    let (block, _) = rest.split_once("```").context("the block ends")?;
    Ok(block.to_owned())
}

/// What an operator has at hand: a folder, the program under its name, variables.
struct Desk {
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

/// What a command said.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    fn done(&self) -> anyhow::Result<&str> {
        ensure!(self.code == Some(0), "{}", self.text);
        Ok(&self.text)
    }

    fn refused(&self, why: &str) -> anyhow::Result<()> {
        ensure!(
            self.code == Some(1) && self.text.contains(why),
            "expected a refusal with {why:?}, got {:?}: {}",
            self.code,
            self.text
        );
        Ok(())
    }
}

impl Desk {
    fn new(running: &Running) -> anyhow::Result<Self> {
        let folder = running.root().join("desk");
        std::fs::create_dir_all(folder.join("bin"))?;
        std::os::unix::fs::symlink(binary(), folder.join("bin/bailiwick"))?;
        let profile = running.stage.layout.profile(OPERATOR);
        let variables = vec![("BAILIWICK_PROFILE", profile.display().to_string())];
        Ok(Self { folder, variables })
    }

    fn set(&mut self, name: &'static str, value: impl std::fmt::Display) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_string()));
    }

    /// Runs a block of the document.
    fn run(&self, name: &str) -> anyhow::Result<Said> {
        self.shell(&block(name)?)
    }

    fn shell(&self, script: &str) -> anyhow::Result<Said> {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .args(["-euc", script])
            .current_dir(&self.folder)
            .env(
                "PATH",
                format!("{}:{path}", self.folder.join("bin").display()),
            )
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .output()
            .context("run sh")?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Said {
            code: output.status.code(),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }
}

fn vault(number: u16) -> String {
    format!("vault-{number}")
}

fn config(running: &Running, number: u16) -> PathBuf {
    let name = vault(number);
    running.root().join(&name).join(format!("{name}.toml"))
}

/// The newest file of a group in a folder; names are group, time and position.
fn file_of(folder: &Path, subject: &str) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let of_subject = name.rsplitn(3, '-').nth(2) == Some(subject);
        if of_subject && path.extension().is_some_and(|end| end == "bwsave") {
            found.push(path);
        }
    }
    found.sort();
    found.pop().with_context(|| format!("no file of {subject}"))
}

/// The files that belong on nodes of a region, as far as the cluster has them.
fn files_of(folder: &Path, region: &str) -> anyhow::Result<String> {
    let subjects: &[&str] = match region {
        "eu" => &["directory", "FR", "FR-1", "DE"],
        _ => &["directory", "US"],
    };
    let files = subjects
        .iter()
        .filter_map(|subject| file_of(folder, subject).ok());
    let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
    ensure!(!files.is_empty(), "no snapshots in {}", folder.display());
    Ok(files.join(" "))
}

/// Kills every vault node and takes their disks away.
fn destroy(running: &mut Running) -> anyhow::Result<()> {
    for (number, _) in VAULTS {
        running.stage.kill(&vault(number)).map_err(failed)?;
    }
    for (number, _) in VAULTS {
        std::fs::remove_dir_all(running.root().join(vault(number)).join("data"))?;
    }
    Ok(())
}

/// Gives all nodes numbers that were never used, and writes the list of the new nodes.
fn renumber(running: &Running, shift: i64) -> anyhow::Result<PathBuf> {
    let mut nodes = toml::value::Array::new();
    for (number, _) in VAULTS {
        let path = config(running, number);
        let mut file: toml::Table = toml::from_str(&std::fs::read_to_string(&path)?)?;
        let seeds = file.get_mut("seeds").and_then(toml::Value::as_array_mut);
        let seeds = seeds.context("seeds")?;
        for seed in seeds.iter_mut() {
            add(seed.as_table_mut().context("a seed")?, "id", shift)?;
        }
        nodes.clone_from(seeds);
        add(&mut file, "node", shift)?;
        std::fs::write(&path, toml::to_string(&file)?)?;
    }
    let path = running.root().join("new-nodes.toml");
    let list = toml::Table::from_iter([("nodes".to_owned(), toml::Value::Array(nodes))]);
    std::fs::write(&path, toml::to_string(&list)?)?;
    Ok(path)
}

/// The lost disks had the note keys: new ones are made, and every approver's people list them.
fn new_note_keys(running: &mut Running, desk: &mut Desk) -> anyhow::Result<()> {
    let mut keys = BTreeMap::new();
    for (number, _) in VAULTS {
        let data = running.root().join(vault(number)).join("data");
        std::fs::create_dir_all(&data)?;
        desk.set("DATA", data.display());
        let said = desk.run("note-key")?;
        let mut lines = said.done()?.lines();
        let public = lines.find_map(|line| line.strip_prefix("public"));
        let public = public.context("a public half")?.trim().to_owned();
        keys.insert(vault(number), public);
    }
    for (role, slot, _) in REVIEWERS {
        let approver = approver(role, slot);
        let path = running.root().join(approver.as_str()).join("trust.toml");
        let mut trust: toml::Table = toml::from_str(&std::fs::read_to_string(&path)?)?;
        let jurisdictions = trust
            .get_mut("jurisdictions")
            .and_then(toml::Value::as_array_mut);
        for jurisdiction in jurisdictions.context("jurisdictions")? {
            let voters = jurisdiction
                .get_mut("voters")
                .and_then(toml::Value::as_array_mut);
            for voter in voters.context("voters")? {
                let voter = voter.as_table_mut().context("a voter")?;
                let name = voter["name"].as_str().context("a name")?;
                let key = keys.get(name).context("a key")?.clone();
                voter.insert("key".to_owned(), key.into());
            }
        }
        std::fs::write(&path, toml::to_string(&trust)?)?;
        running.stage.stop(approver.as_str()).map_err(failed)?;
        running.stage.start_one(approver.as_str()).map_err(failed)?;
    }
    Ok(())
}

fn add(table: &mut toml::Table, key: &str, shift: i64) -> anyhow::Result<()> {
    let value = table.get_mut(key).context("a number")?;
    let number = value.as_integer().context("an integer")?;
    *value = toml::Value::Integer(number + shift);
    Ok(())
}

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

/// Restores every node by a block of the document, and starts all of them.
async fn restore_all(
    running: &mut Running,
    desk: &mut Desk,
    folder: &Path,
    script: &str,
) -> anyhow::Result<()> {
    for (number, region) in VAULTS {
        let data = running.root().join(vault(number)).join("data/groups");
        if data.exists() {
            continue;
        }
        desk.set("CONFIG", config(running, number).display());
        desk.set("FILES", files_of(folder, region)?);
        let plan = desk.run("restore-plan");
        if script == block("restore")? {
            plan?.done()?;
            ensure!(!data.exists(), "a dry run writes nothing");
        }
        let said = desk.shell(script)?;
        said.done()?;
    }
    for (number, _) in VAULTS {
        running.stage.start_one(&vault(number)).map_err(failed)?;
    }
    for (number, _) in VAULTS {
        running.ready(&vault(number)).await?;
    }
    Ok(())
}

/// Records of France, by the count of whichever node has most.
async fn stored(running: &Running) -> anyhow::Result<u64> {
    let operator = running.stage.operator().map_err(failed)?;
    let mut records = 0;
    for (_, status) in operator.status().await? {
        let groups = status.map(|status| status.groups).unwrap_or_default();
        let of_home = groups
            .iter()
            .filter(|group| group.shard == Some(ShardId::home(home())));
        records = of_home.map(|group| group.records).fold(records, u64::max);
    }
    Ok(records)
}

async fn put(running: &Running, account: &str, count: u32) -> anyhow::Result<()> {
    let at = inside(window(), 5);
    let record = |port| ip(account, "FR", "192.0.2.7", 1024 + port, &at);
    running.put((0..count).map(record).collect()).await
}

async fn labels(running: &Running, account: &str) -> anyhow::Result<usize> {
    let intake = Intake::new(running.stage.cluster(INTAKE).map_err(failed)?);
    let (from, to) = (window().from.minute(), window().to.minute());
    let subject = running.subject(account)?;
    let list = intake.labels(home(), subject, from, to, 1000).await?;
    Ok(list.labels.len())
}

/// The cosigned size of the French log, as an auditor verifies it.
async fn cosigned(running: &Running) -> anyhow::Result<u64> {
    let auditor = running.stage.profile(AUDITOR).map_err(failed)?;
    let trust = auditor.trust_file().map_err(failed)?;
    let reach = running.stage.cluster(AUDITOR).map_err(failed)?;
    Ok(read_log(&reach, &trust, home(), 0).await?.checkpoint.size())
}

/// Waits until the log has stood still for a second, and is cosigned: late releases are leaves too.
async fn at_rest(running: &Running) -> anyhow::Result<u64> {
    eventually("a log at rest", PATIENCE, || async {
        let before = cosigned(running).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = cosigned(running).await?;
        Ok((before == after).then_some(after))
    })
    .await
}

async fn disclose(running: &Running, account: &str, case: &str) -> anyhow::Result<Vec<String>> {
    let request = running.request(account, case).await?.id;
    running.approve(request, &QUORUMS).await?;
    running.values(request).await
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

/// Records of the import that the nodes are restarted under.
const RECORDS: usize = 20_000;

fn import_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let at = inside(window(), 5);
    let path = folder.join("rolling.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    for number in 0..RECORDS {
        let (host, port) = (number % 250 + 1, 1024 + number % 60_000);
        writeln!(
            file,
            r#"{{"account":"rolling-{number}","residence":"FR","ip":{{"address":"192.0.2.{host}","port":{port},"transport":"tcp","event":"login","seen_at":"{at}"}}}}"#
        )?;
    }
    file.flush()?;
    Ok(path)
}

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
    let file = import_file(running.root())?;
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
