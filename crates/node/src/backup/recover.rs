//! Recovering groups whose quorum is lost, on one stopped survivor.
//!
//! The survivor with the furthest log becomes the group's only voter; everything in its log counts as
//! committed, which keeps the most. Whatever a lost majority acknowledged and did not send to any
//! survivor is gone, and nobody can say what it was; but a log below its last cosigned size is refused.
//! Where several survivors vote, their surveys are compared, because only the furthest log surely has
//! everything that any survivor ever showed to a client.

use std::path::PathBuf;

use bailiwick_consensus::{GroupKind, OfflineError, OfflineNode, Survey};
use bailiwick_shard::{directory, query};
use bailiwick_types::{Digest, GroupId, Jurisdiction, NodeId, ShardId};
use serde::{Deserialize, Serialize};

use super::checkpoint::{KnownCheckpoints, LogFault};
use super::restore::is_unfinished;
use crate::config::VaultConfig;
use crate::data_lock::{DataLock, DataLockError};

/// What is to be recovered.
#[derive(Clone, Debug, Default)]
pub struct RecoveryOptions {
    /// Nodes that are lost for good.
    pub lost: Vec<NodeId>,
    /// Only these jurisdictions, and the directory; all when empty.
    pub jurisdictions: Vec<Jurisdiction>,
    /// What the other survivors said of themselves.
    pub others: Vec<NodeReport>,
    /// What is known of cosigned sizes.
    pub checkpoints: KnownCheckpoints,
    /// Whether a log may go on of which no cosigned checkpoint is known.
    pub without_checkpoint: bool,
}

/// What a stopped node has, for comparison with the other survivors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeReport {
    /// The node.
    pub node: NodeId,
    /// Its groups.
    pub groups: Vec<GroupReport>,
}

/// What a stopped node has of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupReport {
    /// The group.
    pub group: GroupId,
    /// `directory`, or the shard.
    pub subject: String,
    /// Term of the last entry in its log.
    pub term: u64,
    /// Index of the last entry in its log.
    pub index: u64,
    /// The voters, as the last membership in its log says.
    pub voters: Vec<NodeId>,
    /// Leaves of its transparency log when all of its log is applied; 0 for the directory.
    pub leaves: u64,
    /// What will be done.
    pub verdict: Verdict,
}

/// What will be done with a group, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// A majority of its voters is left: nothing is to be done.
    HasQuorum,
    /// It was not asked for.
    NotAskedFor,
    /// This node does not vote in it.
    NoVoter,
    /// This node becomes its only voter.
    TakeOver,
    /// Another survivor that votes in it was not compared.
    NotCompared {
        /// That survivor.
        other: NodeId,
    },
    /// Another survivor's log goes further, or as far under a lower number: recover there.
    Behind {
        /// That survivor.
        other: NodeId,
    },
    /// Its log would go on below, or beside, what was cosigned.
    Refused {
        /// The fault's name.
        code: String,
        /// The fault in words.
        reason: String,
    },
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HasQuorum => formatter.write_str("keeps its quorum; nothing to do"),
            Self::NotAskedFor => formatter.write_str("not asked for; left as it is"),
            Self::NoVoter => formatter.write_str("this node does not vote in it; left as it is"),
            Self::TakeOver => formatter.write_str("this node becomes its only voter"),
            Self::NotCompared { other } => {
                write!(
                    formatter,
                    "refused: node {other} votes too and is not compared"
                )
            }
            Self::Behind { other } => write!(formatter, "left: recover it on node {other}"),
            Self::Refused { reason, .. } => write!(formatter, "refused: {reason}"),
        }
    }
}

/// Why nothing can be recovered here.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Another process works on the folder.
    #[error(transparent)]
    Lock(#[from] DataLockError),
    /// A restore into the folder was interrupted.
    #[error("a restore into {} was interrupted: it holds nothing to recover from", .0.display())]
    Unfinished(PathBuf),
    /// This node is named among the lost ones.
    #[error("node {0} is this node: it is not lost")]
    Itself(NodeId),
    /// The folder holds no cluster.
    #[error("{} holds no directory of a cluster", .0.display())]
    Blank(PathBuf),
    /// The files failed.
    #[error(transparent)]
    Offline(#[from] OfflineError),
}

/// A stopped survivor with what will be done to it. The folder stays locked while it lives.
#[derive(Debug)]
pub struct Recovery {
    /// What it has, and what will be done.
    pub report: NodeReport,
    kinds: Vec<(GroupId, GroupKind)>,
    node: OfflineNode,
    _lock: DataLock,
}

/// Looks at a stopped node and says what a recovery would do; changes nothing.
///
/// # Errors
/// [`RecoverError`].
pub fn plan_recovery(
    config: &VaultConfig,
    options: &RecoveryOptions,
) -> Result<Recovery, RecoverError> {
    if options.lost.contains(&config.node) {
        return Err(RecoverError::Itself(config.node));
    }
    if is_unfinished(&config.data) {
        return Err(RecoverError::Unfinished(config.data.clone()));
    }
    if !config.data.join("groups").exists() {
        return Err(RecoverError::Blank(config.data.clone()));
    }
    let lock = DataLock::take(&config.data)?;
    let node = OfflineNode::open(config.node, config.data.clone())?;
    if !node.holds(GroupId::DIRECTORY)? {
        return Err(RecoverError::Blank(config.data.clone()));
    }
    let kind = GroupKind::Directory;
    let (survey, view) = node.survey(GroupId::DIRECTORY, &kind, |rows| {
        directory::description(rows)
    })?;
    let view = view.ok_or_else(|| RecoverError::Blank(config.data.clone()))?;
    let mut groups = vec![judge(config.node, options, None, &survey, Ok(()), 0)];
    let mut kinds = vec![(GroupId::DIRECTORY, kind)];
    for entry in &view.groups {
        if node.holds(entry.id)? {
            let kind = GroupKind::Shard(entry.shard);
            groups.push(look(config.node, options, &node, entry)?);
            kinds.push((entry.id, kind));
        }
    }
    Ok(Recovery {
        report: NodeReport {
            node: config.node,
            groups,
        },
        kinds,
        node,
        _lock: lock,
    })
}

/// What the node has of a shard's group, and what is to be done with it.
fn look(
    id: NodeId,
    options: &RecoveryOptions,
    node: &OfflineNode,
    entry: &directory::GroupEntry,
) -> Result<GroupReport, RecoverError> {
    let (kind, shard) = (GroupKind::Shard(entry.shard), Some(entry.shard));
    let (survey, facts) = node.survey(entry.id, &kind, |rows| log_facts(rows, options))?;
    let leaves = facts.as_ref().map_or(0, |facts| facts.leaves);
    let known = &options.checkpoints;
    let log = match (facts, entry.shard.partition) {
        (Some(facts), 0) => known.check(&facts.origin, facts.leaves, facts.root_then),
        // A blank shard has no log yet, and a further partition has none of its own.
        _ => Ok(()),
    };
    Ok(judge(id, options, shard, &survey, log, leaves))
}

struct LogFacts {
    origin: String,
    leaves: u64,
    root_then: Option<Digest>,
}

fn log_facts(
    rows: &dyn bailiwick_types::store::ReadStore,
    options: &RecoveryOptions,
) -> Result<Option<LogFacts>, bailiwick_types::store::StoreError> {
    let Some(info) = query::shard_info(rows)? else {
        return Ok(None);
    };
    let cosigned = options.checkpoints.of(&info.origin);
    let root_then = match cosigned {
        Some(cosigned) => query::log_root(rows, cosigned.size)?.map(Digest),
        None => None,
    };
    Ok(Some(LogFacts {
        origin: info.origin,
        leaves: info.leaves,
        root_then,
    }))
}

fn judge(
    node: NodeId,
    options: &RecoveryOptions,
    shard: Option<ShardId>,
    survey: &Survey,
    log: Result<(), LogFault>,
    leaves: u64,
) -> GroupReport {
    let subject = shard.map_or("directory".to_owned(), |shard| shard.to_string());
    GroupReport {
        group: survey.group,
        subject,
        term: survey.last.0,
        index: survey.last.1,
        voters: survey.voters.clone(),
        leaves,
        verdict: verdict(node, options, shard, survey, log),
    }
}

fn verdict(
    node: NodeId,
    options: &RecoveryOptions,
    shard: Option<ShardId>,
    survey: &Survey,
    log: Result<(), LogFault>,
) -> Verdict {
    let voters = &survey.voters;
    let left = voters.iter().filter(|voter| !options.lost.contains(voter));
    let left: Vec<NodeId> = left.copied().collect();
    if left.len() > voters.len() / 2 {
        return Verdict::HasQuorum;
    }
    let asked = options.jurisdictions.is_empty()
        || shard.is_none_or(|shard| options.jurisdictions.contains(&shard.jurisdiction));
    if !asked {
        return Verdict::NotAskedFor;
    }
    if !voters.contains(&node) {
        return Verdict::NoVoter;
    }
    for other in left.into_iter().filter(|other| *other != node) {
        let report = options.others.iter().find(|report| report.node == other);
        let theirs = report.and_then(|report| {
            let mut groups = report.groups.iter();
            groups.find(|group| group.group == survey.group)
        });
        let Some(theirs) = theirs else {
            return Verdict::NotCompared { other };
        };
        // Of two that are equal the lower number takes over, so that only one does.
        let (ours, theirs) = (survey.last, (theirs.term, theirs.index));
        if theirs > ours || (theirs == ours && other < node) {
            return Verdict::Behind { other };
        }
    }
    match log {
        Err(LogFault::Unknown { .. }) if options.without_checkpoint => Verdict::TakeOver,
        Err(fault) => Verdict::Refused {
            code: fault.code().to_owned(),
            reason: fault.to_string(),
        },
        Ok(()) => Verdict::TakeOver,
    }
}

impl Recovery {
    /// The groups that this node will take over.
    pub fn taken_over(&self) -> impl Iterator<Item = &GroupReport> {
        let groups = self.report.groups.iter();
        groups.filter(|group| group.verdict == Verdict::TakeOver)
    }

    /// Does it; every change is durable when this returns. Done twice is done once.
    ///
    /// # Errors
    /// [`RecoverError::Offline`]; groups before the failing one are done.
    pub fn execute(self) -> Result<(), RecoverError> {
        for group in self.taken_over() {
            let kind = self.kinds.iter().find(|(id, _)| *id == group.group);
            if let Some((id, kind)) = kind {
                self.node.take_over(*id, kind)?;
            }
        }
        self.node.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn survey(last: (u64, u64), voters: &[u64]) -> Survey {
        Survey {
            group: GroupId(1),
            last,
            applied: last.1,
            voters: nodes(voters),
        }
    }

    fn report(node: u64, last: (u64, u64), voters: &[u64]) -> NodeReport {
        let (node, options) = (NodeId(node), RecoveryOptions::default());
        let group = judge(node, &options, shard(), &survey(last, voters), Ok(()), 0);
        NodeReport {
            node,
            groups: vec![group],
        }
    }

    fn shard() -> Option<ShardId> {
        Some(ShardId::home("FR".parse().expect("a code")))
    }

    fn judged(node: u64, lost: &[u64], others: Vec<NodeReport>, last: (u64, u64)) -> Verdict {
        let options = RecoveryOptions {
            lost: nodes(lost),
            others,
            ..RecoveryOptions::default()
        };
        let survey = survey(last, &[1, 2, 3, 4, 5]);
        verdict(NodeId(node), &options, shard(), &survey, Ok(()))
    }

    #[test]
    fn only_the_survivor_with_the_furthest_log_takes_over_and_only_without_a_quorum() {
        let five = [1, 2, 3, 4, 5];
        assert_eq!(judged(1, &[4, 5], Vec::new(), (2, 9)), Verdict::HasQuorum);
        let other = NodeId(2);
        let alone = judged(1, &[3, 4, 5], Vec::new(), (2, 9));
        assert_eq!(alone, Verdict::NotCompared { other });
        for (theirs, expected) in [
            ((2, 8), Verdict::TakeOver),
            ((2, 9), Verdict::TakeOver),
            ((2, 10), Verdict::Behind { other }),
            ((3, 1), Verdict::Behind { other }),
        ] {
            let others = vec![report(2, theirs, &five)];
            assert_eq!(
                judged(1, &[3, 4, 5], others, (2, 9)),
                expected,
                "{theirs:?}"
            );
        }
        // Of two equal ones exactly one.
        let others = vec![report(1, (2, 9), &five)];
        let other = NodeId(1);
        assert_eq!(
            judged(2, &[3, 4, 5], others, (2, 9)),
            Verdict::Behind { other }
        );
        assert_eq!(judged(6, &[3, 4, 5], Vec::new(), (2, 9)), Verdict::NoVoter);
    }

    #[test]
    fn a_log_below_what_was_cosigned_is_not_taken_over_and_none_known_must_be_said() {
        let (node, survey) = (NodeId(1), survey((2, 9), &[1, 2, 3]));
        let mut options = RecoveryOptions {
            lost: nodes(&[2, 3]),
            ..RecoveryOptions::default()
        };
        let below = LogFault::BelowCosigned {
            origin: "a/FR".to_owned(),
            leaves: 3,
            cosigned: 4,
        };
        let unknown = LogFault::Unknown {
            origin: "a/FR".to_owned(),
        };
        let refused = |options: &RecoveryOptions, fault: &LogFault| {
            let verdict = verdict(node, options, shard(), &survey, Err(fault.clone()));
            matches!(verdict, Verdict::Refused { .. })
        };
        assert!(refused(&options, &below) && refused(&options, &unknown));
        options.without_checkpoint = true;
        assert!(refused(&options, &below) && !refused(&options, &unknown));
    }

    #[test]
    fn a_report_is_read_back() {
        let report = report(2, (2, 9), &[1, 2, 3]);
        let text = serde_json::to_string(&report).expect("encodes");
        let back: NodeReport = serde_json::from_str(&text).expect("decodes");
        assert_eq!(back, report);
    }
}
