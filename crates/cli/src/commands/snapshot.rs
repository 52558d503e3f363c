//! `bailiwick operator snapshot`: save, verify and restore, and the checkpoint that a restore needs.

use std::io::Write;
use std::path::{Path, PathBuf};

use bailiwick_api::snapshot::SaveSnapshot;
use bailiwick_client::Cluster;
use bailiwick_client::snapshot::{SnapshotFailure, cosigned, receive};
use bailiwick_node::backup::{
    self, CheckpointsError, KnownCheckpoints, LogFault, RestoreError, RestoreOptions, RestorePlan,
    VerifiedSnapshot, VerifyError,
};
use bailiwick_node::config::{ApproverConfig, VaultConfig};
use bailiwick_shard::directory::NodeEntry;
use bailiwick_types::{Jurisdiction, NodeId, ShardId};
use serde::Serialize;

use super::operator::NodesFile;
use crate::backup_args::{RestoreArguments, SaveOptions, SnapshotVerb};
use crate::connect::of_call;
use crate::failure::{Failure, FailureKind, chain};
use crate::output::{Output, confirm, note};

/// A snapshot file as a line.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotLine {
    /// `directory`, or the jurisdiction with its partition.
    pub subject: String,
    /// The file.
    pub file: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Sealed records in it.
    pub records: u64,
    /// Leaves of the transparency log.
    pub leaves: u64,
    /// The last cosigned size that it knows of.
    pub cosigned: Option<u64>,
    /// Term and index of the last log entry in it.
    pub position: String,
    /// When it was taken.
    pub taken_at: String,
}

impl SnapshotLine {
    fn of(snapshot: &VerifiedSnapshot) -> Result<Self, Failure> {
        let (header, path) = (&snapshot.header, snapshot.file.path());
        let mut known = KnownCheckpoints::default();
        if let Some(note) = &header.checkpoint {
            // It parsed when the file was verified.
            let _ = known.add(note);
        }
        let origin = snapshot.origin.as_deref().unwrap_or_default();
        let length = path
            .metadata()
            .map_err(|error| Failure::file(path, &error))?;
        Ok(Self {
            subject: header.subject(),
            file: path.to_owned(),
            bytes: length.len(),
            records: header.records,
            leaves: header.leaves,
            cosigned: known.of(origin).map(|checkpoint| checkpoint.size),
            position: format!("{}.{}", header.term, header.index),
            taken_at: header.taken_at.clone(),
        })
    }
}

/// Runs a verb that needs the cluster.
///
/// # Errors
/// [`Failure`] when nobody answers, a file cannot be written, or what was received does not verify.
pub async fn run(cluster: &Cluster, options: &SaveOptions, output: Output) -> Result<(), Failure> {
    let lines = save(cluster, options).await?;
    print(&lines, output);
    Ok(())
}

/// Runs a verb that needs none; `None` for the one that does.
pub fn run_offline(verb: &SnapshotVerb, output: Output) -> Option<Result<(), Failure>> {
    match verb {
        SnapshotVerb::Save(_) => None,
        SnapshotVerb::Verify { files } => Some(verify_files(files).map(|lines| {
            print(&lines, output);
        })),
        SnapshotVerb::Restore(arguments) => Some(restore(arguments, output)),
        SnapshotVerb::Checkpoint {
            code,
            approver,
            out,
        } => Some(checkpoint(*code, approver, out, output)),
    }
}

fn print(lines: &[SnapshotLine], output: Output) {
    let headings = [
        "group", "taken at", "position", "records", "leaves", "cosigned", "bytes", "file",
    ];
    output.list(headings, lines, |line| {
        [
            line.subject.clone(),
            line.taken_at.clone(),
            line.position.clone(),
            line.records.to_string(),
            line.leaves.to_string(),
            line.cosigned
                .map_or("-".to_owned(), |size| size.to_string()),
            line.bytes.to_string(),
            line.file.display().to_string(),
        ]
    });
}

/// Saves groups into a folder, each file verified.
///
/// # Errors
/// As [`run`].
pub async fn save(cluster: &Cluster, options: &SaveOptions) -> Result<Vec<SnapshotLine>, Failure> {
    let what = "no snapshot was saved";
    std::fs::create_dir_all(&options.out).map_err(|error| Failure::file(&options.out, &error))?;
    let described = cluster
        .describe()
        .await
        .map_err(|error| of_call(what, &error))?;
    let wanted = |shard: &Option<ShardId>| {
        options.jurisdictions.is_empty()
            || shard.is_some_and(|shard| options.jurisdictions.contains(&shard.jurisdiction))
    };
    let shards: Vec<_> = described
        .groups
        .iter()
        .map(|group| group.shard)
        .filter(wanted)
        .collect();
    for code in &options.jurisdictions {
        if described.group(ShardId::home(*code)).is_none() {
            let why = format!("the cluster has no jurisdiction {code}");
            return Err(Failure::refused(what, why, "`bailiwick status` lists them"));
        }
    }
    let mut lines = Vec::new();
    for shard in shards {
        lines.push(save_one(cluster, options, shard).await?);
    }
    Ok(lines)
}

/// What goes into the file as cosigned. A log without a leader is saved without: better than not.
async fn checkpoint_of(cluster: &Cluster, shard: Option<ShardId>) -> Option<String> {
    let home = shard.filter(|shard| shard.partition == 0)?;
    match cosigned(cluster, home.jurisdiction).await {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            note(&format!(
                "{home}: no cosigned checkpoint goes into the file: {error}"
            ));
            None
        }
    }
}

async fn save_one(
    cluster: &Cluster,
    options: &SaveOptions,
    shard: Option<ShardId>,
) -> Result<SnapshotLine, Failure> {
    let subject = shard.map_or("the directory".to_owned(), |shard| shard.to_string());
    let what = format!("no snapshot of {subject} was saved");
    let asked = SaveSnapshot {
        shard,
        linearizable: options.node.is_none(),
        checkpoint: checkpoint_of(cluster, shard).await,
    };
    let part = options
        .out
        .join(format!(".{}.part", subject.replace(['/', ' '], "-")));
    let file = private_file(&part, true).map_err(|error| Failure::file(&part, &error))?;
    let mut writer = std::io::BufWriter::new(file);
    let node = options.node.map(NodeId);
    let received = receive(cluster, &asked, node, |bytes| writer.write_all(bytes)).await;
    received.map_err(|error| of_snapshot(&what, &part, &error))?;
    let file = writer
        .into_inner()
        .map_err(|error| Failure::file(&part, &error))?;
    file.sync_all()
        .map_err(|error| Failure::file(&part, &error))?;
    let header = backup::verify(&part)
        .map_err(|error| of_verify(&what, &error))?
        .header;
    let path = options.out.join(header.file_name());
    let named =
        std::fs::rename(&part, &path).and_then(|()| std::fs::File::open(&options.out)?.sync_all());
    named.map_err(|error| Failure::file(&path, &error))?;
    let verified = backup::verify(&path).map_err(|error| of_verify(&what, &error))?;
    SnapshotLine::of(&verified)
}

/// A file that only its owner reads: a snapshot has every order and every pseudonym.
fn private_file(path: &Path, replace: bool) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    if replace {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path)
}

/// Verifies files.
///
/// # Errors
/// [`Failure`] (refused) names the first file that is not what it says.
pub fn verify_files(files: &[PathBuf]) -> Result<Vec<SnapshotLine>, Failure> {
    let one = |path: &PathBuf| {
        let what = format!("{} is no good snapshot", path.display());
        let verified = backup::verify(path).map_err(|error| of_verify(&what, &error))?;
        SnapshotLine::of(&verified)
    };
    files.iter().map(one).collect()
}

fn checkpoint(
    code: Jurisdiction,
    approver: &Path,
    out: &Path,
    output: Output,
) -> Result<(), Failure> {
    let config = ApproverConfig::load(approver).map_err(|error| Failure::file(approver, &error))?;
    let note = backup::checkpoint::of_approver(&config.data, code)
        .map_err(|error| of_checkpoints("no checkpoint was written", &error))?;
    let written = private_file(out, false).and_then(|mut file| {
        file.write_all(note.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Failure::file(out, &error))?;
    let mut known = KnownCheckpoints::default();
    known.add(&note).map_err(|reason| {
        Failure::refused(
            "the checkpoint is no note",
            reason,
            "look at the approver's disk",
        )
    })?;
    let size = note.lines().nth(1).unwrap_or_default().to_owned();
    output.fields(&[
        ("jurisdiction", code.to_string()),
        ("cosigned by", config.name.to_string()),
        ("leaves", size),
        ("file", out.display().to_string()),
    ]);
    Ok(())
}

/// What a restore does, for programs.
#[derive(Serialize)]
struct RestoreReport {
    cluster: String,
    node: NodeId,
    done: bool,
    groups: Vec<RestoredGroup>,
    elsewhere: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct RestoredGroup {
    subject: String,
    taken_at: String,
    records: u64,
    leaves: u64,
    voters: Vec<NodeId>,
}

fn restore(arguments: &RestoreArguments, output: Output) -> Result<(), Failure> {
    let what = "nothing was restored";
    let config = VaultConfig::load(&arguments.config)
        .map_err(|error| Failure::file(&arguments.config, &error))?;
    let options = restore_options(arguments, what)?;
    let plan = backup::plan_restore(&config, options).map_err(|error| of_restore(what, &error))?;
    let mut report = report_of(&config, &plan);
    if arguments.dry_run {
        print_plan(&report, output);
        output.say("A dry run: nothing was changed.");
        return Ok(());
    }
    if !arguments.yes {
        note(&plan_text(&report));
        if !confirm("Restore this into the folder of this stopped node?")? {
            return Err(Failure::refused(
                what,
                "the answer was not yes",
                "repeat it when sure",
            ));
        }
    }
    let half = "the restore stopped half-way";
    plan.execute().map_err(|error| {
        Failure::refused(
            half,
            chain(&error),
            "empty this node's data folder and restore again; it does not start like this",
        )
    })?;
    report.done = true;
    print_plan(&report, output);
    output.say("Restored and checked. Start this node when all nodes of the list are restored.");
    Ok(())
}

fn restore_options(arguments: &RestoreArguments, what: &str) -> Result<RestoreOptions, Failure> {
    let nodes = match &arguments.nodes {
        None => None,
        Some(path) => {
            let listed = NodesFile::load(path)?.nodes.into_iter();
            let entry = |node: bailiwick_api::cluster::NodeDescription| NodeEntry {
                id: node.id,
                name: node.name,
                region: node.region,
                address: node.address,
            };
            Some(listed.map(entry).collect())
        }
    };
    Ok(RestoreOptions {
        files: arguments.files.clone(),
        nodes,
        checkpoints: known(&arguments.checkpoints, what)?,
        without_checkpoint: arguments.without_checkpoint,
    })
}

/// Reads checkpoint files.
///
/// # Errors
/// [`Failure`] (usage) names the first that is none.
pub fn known(paths: &[PathBuf], what: &str) -> Result<KnownCheckpoints, Failure> {
    KnownCheckpoints::read(paths).map_err(|error| of_checkpoints(what, &error))
}

fn report_of(config: &VaultConfig, plan: &RestorePlan) -> RestoreReport {
    let group = |planned: &bailiwick_node::backup::restore::PlannedGroup| {
        let header = &planned.snapshot.header;
        RestoredGroup {
            subject: header.subject(),
            taken_at: header.taken_at.clone(),
            records: header.records,
            leaves: header.leaves,
            voters: planned.voters.clone(),
        }
    };
    RestoreReport {
        cluster: plan.cluster.to_string(),
        node: config.node,
        done: false,
        groups: plan.groups.iter().map(group).collect(),
        elsewhere: plan
            .elsewhere
            .iter()
            .map(|(subject, _)| subject.clone())
            .collect(),
        warnings: plan.warnings.clone(),
    }
}

fn plan_text(report: &RestoreReport) -> String {
    let mut text = format!("Cluster {} on node {}:\n", report.cluster, report.node);
    for group in &report.groups {
        let voters: Vec<_> = group.voters.iter().map(NodeId::to_string).collect();
        text.push_str(&format!(
            "  {}: {} records, {} leaves, as of {}; voters {}\n",
            group.subject,
            group.records,
            group.leaves,
            group.taken_at,
            voters.join(", ")
        ));
    }
    for subject in &report.elsewhere {
        text.push_str(&format!(
            "  {subject}: left out, it belongs on other nodes\n"
        ));
    }
    for warning in &report.warnings {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    text.push_str(
        "What was acknowledged after these times is lost. Nodes of before must never start again.",
    );
    text
}

fn print_plan(report: &RestoreReport, output: Output) {
    output.document(report, || plan_text(report));
}

fn of_snapshot(what: &str, part: &Path, error: &SnapshotFailure) -> Failure {
    match error {
        SnapshotFailure::Call(call) => of_call(what, call),
        SnapshotFailure::Interrupted { .. } => Failure::new(
            FailureKind::Unreachable,
            what,
            chain(error),
            "repeat it; `bailiwick status` shows whether the node is up",
        ),
        SnapshotFailure::Keep(_) => Failure::file(part, error),
    }
}

fn of_verify(what: &str, error: &VerifyError) -> Failure {
    Failure::refused(
        what,
        chain(error),
        "use another snapshot; if the file came from this cluster just now, look at the disks",
    )
}

/// The failure of checkpoint files.
pub fn of_checkpoints(what: &str, error: &CheckpointsError) -> Failure {
    Failure::usage(
        what,
        chain(error),
        "write one with `bailiwick operator snapshot checkpoint`, on an approver's machine",
    )
}

fn of_restore(what: &str, error: &RestoreError) -> Failure {
    let remedy = match error {
        RestoreError::Lock(_) => "stop the node first",
        RestoreError::File(_) => "use another snapshot",
        RestoreError::OtherCluster { .. } | RestoreError::OtherTrustDomain { .. } => {
            "a snapshot goes back only into the cluster that it is of"
        }
        RestoreError::ForbiddenRegion { .. } => "restore it on a node of an allowed region",
        RestoreError::Log { fault, .. } => match fault {
            LogFault::Unknown { .. } => {
                "give --checkpoint from an approver (`operator snapshot checkpoint`), or say \
                 --without-checkpoint"
            }
            LogFault::BelowCosigned { .. } | LogFault::Fork { .. } => {
                "use a newer snapshot; without one the log must begin anew, with a leaf signed by \
                 both committees, which this version cannot do"
            }
        },
        RestoreError::Incomplete(_) => "give the directory's file and --nodes",
        RestoreError::DirectoryHere => {
            "leave --nodes and the directory's file out, or empty the folder"
        }
        RestoreError::NotListed(_) => "make --nodes and the configuration agree",
        RestoreError::Relocate(_) => "correct --nodes; numbers that were used never come back",
        RestoreError::Mark { .. } => "empty the data folder and begin again",
        _ => "give exactly the files of the groups that belong on this node",
    };
    Failure::refused(what, chain(error), remedy)
}
