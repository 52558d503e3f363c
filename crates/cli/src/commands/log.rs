//! `bailiwick log`: the last leaves, and the verification of a whole log.

use bailiwick_client::Cluster;
use bailiwick_client::auditor::{VerifiedLog, read_log};
use bailiwick_envelope::approval::Decision;
use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_tlog::{MerkleTree, leaf_hash};
use bailiwick_types::Digest;
use serde::Serialize;

use crate::args::LogVerb;
use crate::connect::{not_believed, of_audit};
use crate::failure::Failure;
use crate::output::Output;
use crate::profile::Profile;

/// A leaf as a line.
#[derive(Clone, Debug, Serialize)]
pub struct LeafLine {
    /// Its index.
    pub index: u64,
    /// When it was logged.
    pub logged_at: String,
    /// Its kind.
    pub kind: &'static str,
    /// The request that it is about, if it is about one.
    pub request: Option<String>,
    /// What it says, in a few words.
    pub says: String,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when nobody answers, or (refused) when the log does not hold.
pub async fn run(
    cluster: &Cluster,
    profile: &Profile,
    verb: &LogVerb,
    output: Output,
) -> Result<(), Failure> {
    let (LogVerb::Tail { code, .. } | LogVerb::Verify { code }) = verb;
    let trust = profile.trust_file()?;
    let what = format!("the log of {code} was not verified");
    let log = read_log(cluster, &trust, *code, 0).await;
    let log = log.map_err(|error| of_audit(&what, &error))?;
    match verb {
        LogVerb::Tail { lines, .. } => {
            let skipped = log.leaves.len().saturating_sub(*lines as usize);
            let lines = leaf_lines(&log);
            print(&lines[skipped..], output);
        }
        LogVerb::Verify { .. } => {
            recompute(&log).map_err(|error| not_believed(&what, &error))?;
            output.fields(&[
                ("jurisdiction", code.to_string()),
                ("leaves", log.checkpoint.size().to_string()),
                ("root", log.checkpoint.root().to_string()),
                ("cosigned at", log.checkpoint.cosigned_at().to_string()),
                (
                    "state",
                    "recomputed, and cosigned by enough of both committees".to_owned(),
                ),
            ]);
        }
    }
    Ok(())
}

/// The leaves that were read make another tree than the cosigned one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {leaves} leaves have root {recomputed}, the checkpoint says {cosigned}")]
pub struct OtherTree {
    leaves: usize,
    recomputed: Digest,
    cosigned: Digest,
}

/// Recomputes the tree of a log that was read from its first leaf.
///
/// # Errors
/// [`OtherTree`].
pub fn recompute(log: &VerifiedLog) -> Result<(), OtherTree> {
    let leaves: Vec<_> = log
        .leaves
        .iter()
        .map(|(_, leaf)| leaf_hash(&leaf.data()))
        .collect();
    let count = leaves.len();
    let recomputed = Digest(MerkleTree::from_leaves(leaves).root());
    if recomputed == log.checkpoint.root() && count as u64 == log.checkpoint.size() {
        return Ok(());
    }
    Err(OtherTree {
        leaves: count,
        recomputed,
        cosigned: log.checkpoint.root(),
    })
}

/// All leaves of a log as lines.
pub fn leaf_lines(log: &VerifiedLog) -> Vec<LeafLine> {
    let line = |(index, leaf): &(u64, OpenedLeaf)| LeafLine {
        index: *index,
        logged_at: leaf.logged_at.to_string(),
        kind: leaf.content.kind().as_str(),
        request: leaf
            .content
            .request()
            .map(|request| request.to_string()[..8].to_owned()),
        says: says(&leaf.content),
    };
    log.leaves.iter().map(line).collect()
}

fn print(lines: &[LeafLine], output: Output) {
    output.list(
        ["leaf", "logged at", "kind", "request", "says"],
        lines,
        |line| {
            [
                line.index.to_string(),
                line.logged_at.clone(),
                line.kind.to_owned(),
                line.request.clone().unwrap_or_default(),
                line.says.clone(),
            ]
        },
    );
}

fn says(content: &LeafContent) -> String {
    match content {
        LeafContent::Genesis { origin } => origin.clone(),
        LeafContent::Enrolment { digest } => digest.short(),
        LeafContent::Certificate { certificate } => Digest(certificate.0).short(),
        LeafContent::Request { .. } => "accepted".to_owned(),
        LeafContent::Selection(selection) => format!("{} records frozen", selection.count),
        LeafContent::Decision(approval) => {
            let statement = &approval.statement;
            let word = match statement.decision {
                Decision::Approve => "approves",
                Decision::Refuse(code) => code.as_str(),
            };
            format!("{} {} {word}", statement.role, statement.slot)
        }
        LeafContent::Release(intent) => {
            format!(
                "{} {} for {} records",
                intent.role, intent.slot, intent.count
            )
        }
        LeafContent::Refusal { code, .. } => code.as_str().to_owned(),
        LeafContent::Recall { reason, by, .. } => format!("{by}: {reason}"),
        LeafContent::Delivery { count, .. } => format!("{count} records opened"),
        LeafContent::Freeze { reason, by } => format!("{by}: {reason}"),
        LeafContent::Unfreeze { by } => by.to_string(),
        LeafContent::Partitions { count } => format!("{count} groups by subject"),
        LeafContent::PartitionRoot(root) => {
            format!("partition {} at {} leaves", root.partition, root.size)
        }
        LeafContent::Block { manifest } => manifest.short(),
        LeafContent::Part(part) => format!("{} records of this group frozen", part.count),
        LeafContent::Roster(signed) => {
            let update = &signed.update;
            let (role, slot, why) = (update.role, update.slot, update.departure.as_str());
            format!("{role} slot {slot} changes: {why}; in force after a day")
        }
        LeafContent::Hold(order) => {
            format!(
                "{} until {}: {}",
                order.authority, order.expires_at, order.basis
            )
        }
        LeafContent::HoldDecision(decision) => {
            let word = decision.statement.action.as_str();
            format!("{} {} {word}", decision.role, decision.slot)
        }
        LeafContent::Statement(stated) => format!("{} states: {}", stated.by, stated.what.as_str()),
        LeafContent::Assessment(assessment) => {
            let word = assessment.disposition.as_str();
            format!("{} {} says {word}", assessment.role, assessment.slot)
        }
        LeafContent::Panel(decision) => {
            let word = match decision.decision {
                Decision::Approve => "approves",
                Decision::Refuse(code) => code.as_str(),
            };
            format!("rights panel {} {word}", decision.seat)
        }
        LeafContent::AuthorityChange(change) => {
            format!("{} is {}", change.authority, change.digest.short())
        }
        LeafContent::PolicyChange(change) => format!(
            "{} version {} from {}",
            change.jurisdiction, change.version, change.in_force
        ),
        LeafContent::Preservation(change) => {
            format!("{} until {}", change.phase.as_str(), change.until)
        }
        LeafContent::Order(order) => format!(
            "{} of {}, {}, {} subjects",
            order.ticket.officer,
            order.ticket.authority,
            order.ticket.priority.as_str(),
            order.subjects
        ),
        LeafContent::SubjectErasure(erasure) => format!(
            "{} records erased{}",
            erasure.records,
            match erasure.refused {
                true => ", others must stay",
                false => "",
            }
        ),
        LeafContent::EraseIntent(intent) => {
            let period = Digest(intent.kid.0).short();
            format!(
                "{} slot {} erases period {period}",
                intent.role, intent.slot
            )
        }
        LeafContent::Erased(done) => {
            let period = Digest(done.kid.0).short();
            format!(
                "{} slot {} has erased period {period}",
                done.role, done.slot
            )
        }
    }
}
