//! Residency: what a jurisdiction does not allow is refused by the directory and by the node itself, and
//! a planted file is named.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use bailiwick_cli::dev::stage::home;
use bailiwick_consensus::{GroupKind, command_of_record};
use bailiwick_shard::belongs::{CommandOwner, owner_of_command};
use bailiwick_storage::{Disk, LogRecord, OsDisk, Wal, WalOptions, inspect_entries};
use bailiwick_tests::joiner::{copy_folder, operated, refused};
use bailiwick_tests::{Running, cluster, failed, inside, ip, window};
use bailiwick_transport::{
    CallError, ConnectOptions, Connection, ExpectedPeer, Operation, StreamError,
};
use bailiwick_types::{GroupId, NodeId, SessionId, ShardId, codec};

use crate::binary;

/// Consensus's code for a group that may not be where it is sent.
const MISPLACED: u16 = 3;

/// Checks folders of stopped nodes; whether they are clean, and what was said.
fn check(folders: &[PathBuf]) -> anyhow::Result<(bool, String)> {
    let mut command = Command::new(binary());
    command.args(["operator", "placement", "check"]);
    for folder in folders {
        command.arg("--data").arg(folder);
    }
    let ran = command.stdin(Stdio::null()).output()?;
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(matches!(ran.status.code(), Some(0 | 1)), "{said}");
    Ok((ran.status.success(), said))
}

/// A vault with a true certificate sends a group to a node of another region.
async fn send_group(cluster: &Running, from: &str, to: usize) -> anyhow::Result<u16> {
    let tls = cluster.tls(from)?;
    let address = cluster.vaults().swap_remove(to - 1);
    let options = ConnectOptions::default();
    let node = Connection::connect(&address, &tls, ExpectedPeer::vault(), options).await?;
    let target = (GroupId(1), GroupKind::Shard(ShardId::home(home())));
    let header = codec::encode(&target)?.into();
    let (_sender, mut receiver) = node.open(Operation::RaftAppend, header).await?;
    match receiver.recv().await {
        Err(StreamError::Refused(CallError::Refused { code, .. })) => Ok(code),
        other => anyhow::bail!("not refused: {other:?}"),
    }
}

/// Appends a block of French records from one node's log to another's, under the number of the American
/// group; returns the block's session.
fn plant_block(from: &Path, to: &Path) -> anyhow::Result<SessionId> {
    let mut found = None;
    for entry in std::fs::read_dir(from.join("wal"))? {
        let bytes = std::fs::read(entry?.path())?;
        inspect_entries(&bytes, |group, record| {
            let command = command_of_record(record).ok().flatten();
            let owner = command.map(|command| owner_of_command(&command));
            if let (GroupId(1), Some(CommandOwner::Block(sid))) = (group, owner) {
                found = Some((sid, record.to_vec()));
            }
        });
    }
    let (sid, record) = found.context("a block in the French log")?;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(to.to_owned()));
    let wal = Wal::open(disk, WalOptions::new(NodeId(4)))?;
    let group = wal.group(GroupId(3));
    let index = group.state().last.context("an American log")? + 1;
    let payload = record.into();
    let (sender, receiver) = std::sync::mpsc::channel();
    let done = Box::new(move |written| drop(sender.send(written)));
    group.append(vec![LogRecord { index, payload }], done);
    receiver.recv()??;
    wal.close();
    Ok(sid)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_jurisdiction_does_not_allow_is_refused_and_what_is_planted_is_named()
-> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let mut cluster = cluster(binary(), &[]).await?;
    let record = |n: u32| {
        ip(
            "resident",
            "FR",
            "192.0.2.9",
            1000 + n,
            &inside(window(), 2),
        )
    };
    cluster.put((0..50).map(record).collect()).await?;

    // By the directory.
    let nowhere = [
        "operator",
        "jurisdiction",
        "change",
        "FR",
        "--region",
        "mars",
        "--yes",
    ];
    let why = refused(&cluster, binary(), &nowhere).await?;
    ensure!(
        why.contains("0 nodes stand in the allowed regions"),
        "{why}"
    );
    let promote = [
        "operator",
        "raft",
        "promote",
        "vault-4",
        "--jurisdiction",
        "FR",
        "--yes",
    ];
    let why = refused(&cluster, binary(), &promote).await?;
    ensure!(
        why.contains("stands in us, which the jurisdiction does not allow"),
        "{why}"
    );
    // What is only tried changes nothing.
    let dry = ["operator", "jurisdiction", "retire", "FR", "--dry-run"];
    let tried = bailiwick_tests::joiner::operate(&cluster, binary(), &dry).await?;
    ensure!(tried.status.success(), "{tried:?}");
    let list = operated(&cluster, binary(), &["operator", "jurisdiction", "list"]).await?;
    let states = list.as_array().context("a list")?.iter();
    ensure!(
        states.clone().count() == 3 && states.clone().all(|j| j["state"] == "serving"),
        "{list}"
    );

    // By the node: the group's true leader and a member that sends it where it may not be.
    for from in ["vault-1", "vault-2"] {
        let code = send_group(&cluster, from, 4).await?;
        ensure!(code == MISPLACED, "{from}: {code}");
    }

    // Every replica is where it is for a reason, and nothing is anywhere else.
    let explain = ["operator", "placement", "explain", "--jurisdiction", "FR"];
    let explained = operated(&cluster, binary(), &explain).await?;
    let replicas = explained.as_array().context("a list")?;
    ensure!(replicas.len() == 3, "{explained}");
    let allowed = |replica: &serde_json::Value| {
        replica["region"] == "eu" && replica["why"] == "one of 3 voters; eu is allowed"
    };
    ensure!(replicas.iter().all(allowed), "{explained}");
    let live = operated(&cluster, binary(), &["operator", "placement", "check"]).await?;
    ensure!(live["clean"] == true, "{live}");

    // From the files alone.
    let data = |n: usize| cluster.root().join(format!("vault-{n}/data"));
    let folders: Vec<PathBuf> = (1..=6).map(data).collect();
    for n in 1..=6 {
        cluster.stage.stop(&format!("vault-{n}")).map_err(failed)?;
    }
    let (clean, said) = check(&folders)?;
    ensure!(clean, "{said}");
    let american = &folders[3];
    // A group's folder, as it is and in the place of another group; a segment of a log; any file.
    let planted = american.join("groups/1");
    copy_folder(&folders[0].join("groups/1"), &planted)?;
    let (clean, said) = check(&folders)?;
    ensure!(
        !clean && said.contains("vault-4: groups/1/records.redb: group 1 is FR"),
        "{said}"
    );
    std::fs::remove_dir_all(&planted)?;
    let own = american.join("groups/3/records.redb");
    let kept = std::fs::read(&own)?;
    std::fs::copy(folders[0].join("groups/1/records.redb"), &own)?;
    let (clean, said) = check(&folders)?;
    ensure!(
        !clean && said.contains("a record store of FR/0 in the place of group 3, US/0"),
        "{said}"
    );
    std::fs::write(&own, kept)?;
    let segment = std::fs::read_dir(folders[0].join("wal"))?
        .next()
        .context("a segment")??
        .path();
    let planted = american.join("wal/00000000000000ff.wal");
    std::fs::copy(segment, &planted)?;
    let (clean, said) = check(&folders)?;
    ensure!(
        !clean && said.contains("wal/00000000000000ff.wal: group 1 is FR"),
        "{said}"
    );
    std::fs::remove_file(&planted)?;
    // A French record under the number of a group that may be there: the number proves nothing.
    let log = american.join("wal");
    let kept = american.with_file_name("wal-as-it-was");
    copy_folder(&log, &kept)?;
    let planted = plant_block(&folders[0], american)?;
    let (clean, said) = check(&folders)?;
    let named = format!("1 blocks of records in the log of group 3, US/0, under session {planted}");
    ensure!(!clean && said.contains(&named), "{said}");
    ensure!(said.contains("of group 1, FR/0"), "whose it is: {said}");
    // Its own folder alone is enough to name it, though not to say whose it is.
    let (clean, said) = check(std::slice::from_ref(american))?;
    ensure!(!clean && said.contains(&named), "{said}");
    std::fs::remove_dir_all(&log)?;
    std::fs::rename(&kept, &log)?;
    std::fs::write(american.join("groups/notes.txt"), "addresses")?;
    let (clean, said) = check(&folders)?;
    ensure!(
        !clean && said.contains("vault-4: groups/notes.txt: no file of a vault node"),
        "{said}"
    );
    std::fs::remove_file(american.join("groups/notes.txt"))?;
    let (clean, said) = check(&folders)?;
    ensure!(clean, "as before: {said}");
    Ok(())
}
