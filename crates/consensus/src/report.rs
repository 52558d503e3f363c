//! What a group's leader says of its members: from this the directory's leader decides the next step.

use bailiwick_types::{GroupId, NodeId};
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::hosted::Hosted;

/// A group's members, as its leader sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// The group.
    pub group: GroupId,
    /// The leader that reports.
    pub leader: NodeId,
    /// Its term: of two reports the one of the higher term counts.
    pub term: u64,
    /// Term and index of the entry that made this membership: a step names the one it begins from.
    pub membership: Option<(u64, u64)>,
    /// Whether the membership is committed, so that another step may follow.
    pub settled: bool,
    /// The voters that an unfinished change leads to; empty when none is under way.
    pub changing_to: Vec<NodeId>,
    /// Voters and learners, by id.
    pub members: Vec<MemberReport>,
}

/// A member of a group, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// The node.
    pub node: NodeId,
    /// Whether it votes.
    pub voter: bool,
    /// Entries of the leader's log that it lacks; `None` before it has answered.
    pub trailing: Option<u64>,
    /// How long ago it last answered, in milliseconds; `None` when it has not yet.
    pub silent_ms: Option<u64>,
}

impl GroupReport {
    /// The voters, by id.
    pub fn voters(&self) -> Vec<NodeId> {
        let voters = self.members.iter().filter(|member| member.voter);
        voters.map(|member| member.node).collect()
    }

    /// What is said of a member.
    pub fn member(&self, node: NodeId) -> Option<&MemberReport> {
        self.members.iter().find(|member| member.node == node)
    }
}

impl Host {
    /// What this node says of the groups that it leads.
    pub fn group_reports(&self) -> Vec<GroupReport> {
        let reports = self.all().into_iter().map(|group| self.report(&group));
        reports.flatten().collect()
    }

    /// What this node says of a group, if it leads it.
    pub fn group_report(&self, id: GroupId) -> Option<GroupReport> {
        self.report(&*self.hosted(id)?)
    }

    fn report(&self, group: &Hosted) -> Option<GroupReport> {
        let metrics = group.raft.metrics().borrow_watched().clone();
        if metrics.current_leader != Some(self.node().0) {
            return None;
        }
        let (matched, heard) = (metrics.replication?, metrics.heartbeat?);
        let last = metrics.last_log_index.unwrap_or(0);
        let stored = &metrics.membership_config;
        let voters: Vec<u64> = stored.membership().voter_ids().collect();
        let members = stored.membership().nodes().map(|(node, _)| {
            let itself = *node == self.node().0;
            let index = matched.get(node).map(|id| id.map_or(0, |id| id.index));
            let silent = heard.get(node).copied().flatten().map(|at| at.elapsed());
            let millis =
                |silent: std::time::Duration| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            MemberReport {
                node: NodeId(*node),
                voter: voters.contains(node),
                trailing: if itself {
                    Some(0)
                } else {
                    index.map(|index| last.saturating_sub(index))
                },
                silent_ms: if itself { Some(0) } else { silent.map(millis) },
            }
        });
        let joint = stored.membership().get_joint_config();
        let changing_to = match joint.as_slice() {
            [_, .., last] => last.iter().map(|node| NodeId(*node)).collect(),
            _ => Vec::new(),
        };
        Some(GroupReport {
            group: group.id,
            leader: self.node(),
            term: metrics.current_term,
            membership: stored.log_id().map(|id| (id.leader_id.term, id.index)),
            settled: stored.log_id() == metrics.committed_membership_config.log_id(),
            changing_to,
            members: members.collect(),
        })
    }
}
