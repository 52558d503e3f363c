//! What stories about backups do again and again: an operator's desk, where the commands of
//! docs/backup.md run as they stand; disks that are destroyed and nodes that are restored; and what is
//! there afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_cli::dev::layout::{AUDITOR, INTAKE, OPERATOR, REVIEWERS, VAULTS, approver};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::auditor::read_log;
use bailiwick_client::intake::Intake;
use bailiwick_tests::{PATIENCE, Running, eventually, failed, inside, ip, window};
use bailiwick_types::ShardId;

use crate::binary;

/// Persons whose approvals make both quorums.
pub(crate) const QUORUMS: [&str; 4] = ["anna", "ben", "dora", "emil"];
/// How long a restored cluster may take to lead, cosign and seal again.
pub(crate) const RETURN: Duration = Duration::from_secs(60);

/// The commands of a block of docs/backup.md.
pub(crate) fn block(name: &str) -> anyhow::Result<String> {
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
pub(crate) struct Desk {
    pub(crate) folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

/// What a command said.
pub(crate) struct Said {
    code: Option<i32>,
    pub(crate) text: String,
}

impl Said {
    pub(crate) fn done(&self) -> anyhow::Result<&str> {
        ensure!(self.code == Some(0), "{}", self.text);
        Ok(&self.text)
    }

    pub(crate) fn refused(&self, why: &str) -> anyhow::Result<()> {
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
    pub(crate) fn new(running: &Running) -> anyhow::Result<Self> {
        let folder = running.root().join("desk");
        std::fs::create_dir_all(folder.join("bin"))?;
        std::os::unix::fs::symlink(binary(), folder.join("bin/bailiwick"))?;
        let profile = running.stage.layout.profile(OPERATOR);
        let variables = vec![("BAILIWICK_PROFILE", profile.display().to_string())];
        Ok(Self { folder, variables })
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl std::fmt::Display) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_string()));
    }

    /// Runs a block of the document.
    pub(crate) fn run(&self, name: &str) -> anyhow::Result<Said> {
        self.shell(&block(name)?)
    }

    pub(crate) fn shell(&self, script: &str) -> anyhow::Result<Said> {
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

pub(crate) fn vault(number: u16) -> String {
    format!("vault-{number}")
}

pub(crate) fn config(running: &Running, number: u16) -> PathBuf {
    let name = vault(number);
    running.root().join(&name).join(format!("{name}.toml"))
}

/// The newest file of a group in a folder; names are group, time and position.
pub(crate) fn file_of(folder: &Path, subject: &str) -> anyhow::Result<PathBuf> {
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
pub(crate) fn files_of(folder: &Path, region: &str) -> anyhow::Result<String> {
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
pub(crate) fn destroy(running: &mut Running) -> anyhow::Result<()> {
    for (number, _) in VAULTS {
        running.stage.kill(&vault(number)).map_err(failed)?;
    }
    for (number, _) in VAULTS {
        std::fs::remove_dir_all(running.root().join(vault(number)).join("data"))?;
    }
    Ok(())
}

/// Gives all nodes numbers that were never used, and writes the list of the new nodes.
pub(crate) fn renumber(running: &Running, shift: i64) -> anyhow::Result<PathBuf> {
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
pub(crate) fn new_note_keys(running: &mut Running, desk: &mut Desk) -> anyhow::Result<()> {
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

pub(crate) fn add(table: &mut toml::Table, key: &str, shift: i64) -> anyhow::Result<()> {
    let value = table.get_mut(key).context("a number")?;
    let number = value.as_integer().context("an integer")?;
    *value = toml::Value::Integer(number + shift);
    Ok(())
}

/// Restores every node by a block of the document, and starts all of them.
pub(crate) async fn restore_all(
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
pub(crate) async fn stored(running: &Running) -> anyhow::Result<u64> {
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

pub(crate) async fn put(running: &Running, account: &str, count: u32) -> anyhow::Result<()> {
    let at = inside(window(), 5);
    let record = |port| ip(account, "FR", "192.0.2.7", 1024 + port, &at);
    running.put((0..count).map(record).collect()).await
}

pub(crate) async fn labels(running: &Running, account: &str) -> anyhow::Result<usize> {
    let intake = Intake::new(running.stage.cluster(INTAKE).map_err(failed)?);
    let (from, to) = (window().from.minute(), window().to.minute());
    let subject = running.subject(account)?;
    let list = intake.labels(home(), subject, from, to, 1000).await?;
    Ok(list.labels.len())
}

/// The cosigned size of the French log, as an auditor verifies it.
pub(crate) async fn cosigned(running: &Running) -> anyhow::Result<u64> {
    let auditor = running.stage.profile(AUDITOR).map_err(failed)?;
    let trust = auditor.trust_file().map_err(failed)?;
    let reach = running.stage.cluster(AUDITOR).map_err(failed)?;
    Ok(read_log(&reach, &trust, home(), 0).await?.checkpoint.size())
}

/// Waits until the log has stood still for a second, and is cosigned: late releases are leaves too.
pub(crate) async fn at_rest(running: &Running) -> anyhow::Result<u64> {
    eventually("a log at rest", PATIENCE, || async {
        let before = cosigned(running).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = cosigned(running).await?;
        Ok((before == after).then_some(after))
    })
    .await
}

pub(crate) async fn disclose(
    running: &Running,
    account: &str,
    case: &str,
) -> anyhow::Result<Vec<String>> {
    let request = running.request(account, case).await?.id;
    running.approve(request, &QUORUMS).await?;
    running.values(request).await
}
