//! `bailiwick operator recover`: a stopped survivor becomes the only voter of groups whose quorum is
//! lost. Offline; asks, and says what may be lost.

use std::path::{Path, PathBuf};

use bailiwick_node::backup::recover::NodeReport;
use bailiwick_node::backup::{RecoverError, Recovery, RecoveryOptions, Verdict, plan_recovery};
use bailiwick_node::config::VaultConfig;
use bailiwick_types::NodeId;

use super::snapshot::known;
use crate::backup_args::RecoverArguments;
use crate::failure::{Failure, chain};
use crate::output::{Output, confirm, note};

const WHAT: &str = "nothing was recovered";

const CONSEQUENCES: &str = "\
What this does:
  - The groups above go on with this node alone; every entry of its log counts as committed.
  - What the lost nodes acknowledged and this node never received is lost, and nobody can list it.
  - A lost node that comes back must never be started: replace it under a new number.
  - Until other voters are added, the loss of this node is the loss of these groups.";

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when an input is wrong, the node runs, or nothing can or may be recovered.
pub fn run(arguments: &RecoverArguments, output: Output) -> Result<(), Failure> {
    let config = VaultConfig::load(&arguments.config)
        .map_err(|error| Failure::file(&arguments.config, &error))?;
    let options = RecoveryOptions {
        lost: arguments.lost.clone(),
        jurisdictions: arguments.jurisdictions.clone(),
        others: read_reports(&arguments.compared)?,
        checkpoints: known(&arguments.checkpoints, WHAT)?,
        without_checkpoint: arguments.without_checkpoint,
    };
    let plan = plan_recovery(&config, &options).map_err(|error| of_recover(&error))?;
    if arguments.dry_run {
        print(&plan.report, output);
        output.say("A dry run: nothing was changed.");
        return Ok(());
    }
    check(&plan)?;
    if !arguments.yes {
        note(&text(&plan.report));
        note(CONSEQUENCES);
        if !confirm("Recover these groups on this node?")? {
            return Err(Failure::refused(
                WHAT,
                "the answer was not yes",
                "repeat it when sure",
            ));
        }
    }
    let report = plan.report.clone();
    plan.execute().map_err(|error| {
        Failure::refused(
            "the recovery stopped half-way",
            chain(&error),
            "repeat the same command; what was done is not done twice",
        )
    })?;
    print(&report, output);
    output.say("Done. Start this node; then add voters with `bailiwick operator replace`.");
    Ok(())
}

/// Nothing is taken over while any group that was asked for is refused: a half-recovered node would
/// look like a recovered one.
fn check(plan: &Recovery) -> Result<(), Failure> {
    for group in &plan.report.groups {
        let subject = &group.subject;
        match &group.verdict {
            Verdict::Refused { reason, .. } => {
                return Err(Failure::refused(
                    WHAT,
                    format!("{subject}: {reason}"),
                    "give a --checkpoint, recover on a survivor whose log goes further, or leave \
                     the jurisdiction out and restore it from a snapshot",
                ));
            }
            Verdict::NotCompared { other } => {
                return Err(Failure::refused(
                    WHAT,
                    format!("{subject}: node {other} votes too, and its log may go further"),
                    format!(
                        "on node {other}: stop it, run this with --dry-run --output json, and give \
                         the result here with --compare"
                    ),
                ));
            }
            _ => {}
        }
    }
    if plan.taken_over().next().is_none() {
        return Err(Failure::refused(
            WHAT,
            "no group of this node has lost its quorum, or another survivor is to take them over",
            "--dry-run says why for each group",
        ));
    }
    Ok(())
}

fn read_reports(paths: &[PathBuf]) -> Result<Vec<NodeReport>, Failure> {
    paths.iter().map(|path| read_report(path)).collect()
}

fn read_report(path: &Path) -> Result<NodeReport, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    serde_json::from_str(&text).map_err(|error| Failure::file(path, &error))
}

fn print(report: &NodeReport, output: Output) {
    output.document(report, || text(report));
}

fn text(report: &NodeReport) -> String {
    let mut text = format!("Node {}:", report.node);
    for group in &report.groups {
        let voters: Vec<_> = group.voters.iter().map(NodeId::to_string).collect();
        text.push_str(&format!(
            "\n  {} (group {}): log ends at {}.{}, {} leaves, voters {}: {}",
            group.subject,
            group.group,
            group.term,
            group.index,
            group.leaves,
            voters.join(", "),
            group.verdict
        ));
    }
    text
}

fn of_recover(error: &RecoverError) -> Failure {
    let remedy = match error {
        RecoverError::Lock(_) => "stop the node first",
        RecoverError::Itself(_) => "run it on a survivor, and name the lost nodes",
        RecoverError::Unfinished(_) | RecoverError::Blank(_) => {
            "this node has nothing to recover from: restore it from snapshots"
        }
        RecoverError::Offline(_) => "look at this node's disk; recover on another survivor",
    };
    Failure::refused(WHAT, chain(error), remedy)
}
