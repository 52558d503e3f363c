//! The way from a group's members to the wanted ones, as a pure function: one step at a time, each
//! of which leaves a majority of voters that answer and have the log.
//!
//! A node is a learner first and votes once it has kept up. A voter goes in the same change in which
//! another one comes, so that their number stays odd. A leader hands over before it goes. The next
//! step follows from what is there alone, so that any later leader of the directory goes on where
//! another one stopped.

use bailiwick_types::NodeId;
use serde::{Deserialize, Serialize};

use crate::report::{GroupReport, MemberReport};

/// One change of a group's members or leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The node becomes a learner.
    AddLearner(NodeId),
    /// These are the voters; who voted and is not among them becomes a learner.
    SetVoters(Vec<NodeId>),
    /// The voter leads.
    Transfer(NodeId),
    /// The learner is a member no more.
    Remove(NodeId),
}

/// Who a group's members are to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The voters.
    pub voters: &'a [NodeId],
    /// The learners besides them.
    pub learners: &'a [NodeId],
}

/// How members are judged.
pub trait Judge {
    /// Whether it answers.
    fn answers(&self, member: &MemberReport) -> bool;
    /// Whether it has kept up with the log for long enough to vote.
    fn keeps_up(&self, member: &MemberReport) -> bool;
}

/// The next step towards the wanted members; `None` when nothing is to be done, or nothing can be
/// done safely yet.
pub fn next_step(report: &GroupReport, wanted: Wanted<'_>, judge: &impl Judge) -> Option<Step> {
    if !report.settled {
        return None;
    }
    if !report.changing_to.is_empty() {
        // The leader that began it is gone; the way back may be barred, the way on is not.
        return Some(Step::SetVoters(report.changing_to.clone()));
    }
    let wants = |node: &NodeId| wanted.voters.contains(node) || wanted.learners.contains(node);
    let mut expected = wanted.voters.iter().chain(wanted.learners);
    if let Some(new) = expected.find(|node| report.member(**node).is_none()) {
        return Some(Step::AddLearner(*new));
    }
    let voters = report.voters();
    if let Some(step) = next_vote(report, wanted.voters, &voters, judge) {
        return Some(step);
    }
    let mut learners = report.members.iter().filter(|member| !member.voter);
    let gone = learners.find(|member| !wants(&member.node))?;
    Some(Step::Remove(gone.node))
}

fn next_vote(
    report: &GroupReport,
    wanted: &[NodeId],
    voters: &[NodeId],
    judge: &impl Judge,
) -> Option<Step> {
    let member = |node: &NodeId| report.member(*node);
    let answers = |node: &NodeId| member(node).is_some_and(|member| judge.answers(member));
    let ready = |node: &&NodeId| member(node).is_some_and(|member| judge.keeps_up(member));
    let missing: Vec<NodeId> = minus(wanted, voters);
    let coming: Vec<NodeId> = missing.iter().filter(ready).copied().collect();
    // Who does not answer goes first, the leader last.
    let mut leaving = minus(voters, wanted);
    leaving.sort_by_key(|node| (answers(node), *node == report.leader));
    let safe = |new: &[NodeId]| new.iter().filter(|node| answers(node)).count() * 2 > new.len();
    let set = |mut new: Vec<NodeId>| {
        new.sort();
        safe(&new).then_some(Step::SetVoters(new))
    };
    match (coming.first(), leaving.first()) {
        (Some(new), Some(old)) if *old != report.leader => {
            let mut next = minus(voters, &[*old]);
            next.push(*new);
            set(next)
        }
        (Some(_), Some(_)) | (None, Some(_)) if voters.len() == 1 => {
            // The only voter hands over to a second one.
            set([voters, coming.get(..1)?].concat())
        }
        (new, Some(old)) if new.is_some() || voters.len() > wanted.len() => {
            if *old == report.leader {
                let mut heirs: Vec<&NodeId> = voters.iter().filter(|node| *node != old).collect();
                heirs.sort_by_key(|node| !wanted.contains(node));
                let heir = heirs
                    .into_iter()
                    .find(|node| answers(node) && ready(node))?;
                return Some(Step::Transfer(*heir));
            }
            let surplus = voters.len().saturating_sub(wanted.len()).max(1);
            let others = leaving.iter().filter(|node| **node != report.leader);
            let gone: Vec<NodeId> = others.take(surplus).copied().collect();
            set(minus(voters, &gone))
        }
        (Some(_), None) => {
            // To an odd number: all at once, or two by two.
            let count = if coming.len() == missing.len() {
                coming.len()
            } else {
                coming.len() / 2 * 2
            };
            if count == 0 {
                return None;
            }
            set([voters, &coming[..count]].concat())
        }
        _ => None,
    }
}

fn minus(all: &[NodeId], but: &[NodeId]) -> Vec<NodeId> {
    let kept = all.iter().filter(|node| !but.contains(node));
    kept.copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bailiwick_types::GroupId;

    use super::*;

    /// A group whose changes all succeed, and whose learners keep up as soon as they answer.
    struct Model {
        voters: BTreeSet<NodeId>,
        learners: BTreeSet<NodeId>,
        leader: NodeId,
        silent: BTreeSet<NodeId>,
    }

    impl Judge for Model {
        fn answers(&self, member: &MemberReport) -> bool {
            !self.silent.contains(&member.node)
        }

        fn keeps_up(&self, member: &MemberReport) -> bool {
            self.answers(member)
        }
    }

    impl Model {
        fn new(voters: &[u64], leader: u64, silent: &[u64]) -> Self {
            Self {
                voters: nodes(voters).into_iter().collect(),
                learners: BTreeSet::new(),
                leader: NodeId(leader),
                silent: nodes(silent).into_iter().collect(),
            }
        }

        fn report(&self) -> GroupReport {
            let member = |node: &NodeId| MemberReport {
                node: *node,
                voter: self.voters.contains(node),
                trailing: Some(0),
                silent_ms: Some(0),
            };
            GroupReport {
                group: GroupId(1),
                leader: self.leader,
                term: 1,
                membership: None,
                settled: true,
                changing_to: Vec::new(),
                members: self.voters.union(&self.learners).map(member).collect(),
            }
        }

        /// Takes steps until there is none, and checks each.
        fn settle(&mut self, wanted: Wanted<'_>) -> Vec<Step> {
            let mut steps = Vec::new();
            while let Some(step) = next_step(&self.report(), wanted, self) {
                self.take(&step);
                let alive = self.voters.difference(&self.silent).count();
                assert!(alive * 2 > self.voters.len(), "{step:?} loses the quorum");
                assert!(self.voters.contains(&self.leader), "{step:?}");
                steps.push(step);
                assert!(steps.len() < 64, "no end: {steps:?}");
            }
            steps
        }

        fn take(&mut self, step: &Step) {
            match step {
                Step::AddLearner(node) => assert!(self.learners.insert(*node)),
                Step::SetVoters(new) => {
                    let new: BTreeSet<NodeId> = new.iter().copied().collect();
                    self.learners.extend(self.voters.difference(&new));
                    self.learners.retain(|node| !new.contains(node));
                    self.voters = new;
                }
                Step::Transfer(node) => {
                    assert!(self.voters.contains(node) && !self.silent.contains(node));
                    self.leader = *node;
                }
                Step::Remove(node) => assert!(self.learners.remove(node)),
            }
        }
    }

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    #[test]
    fn a_voter_is_replaced_learner_first_in_one_change_and_the_leader_hands_over() {
        let mut group = Model::new(&[1, 2, 3], 1, &[]);
        let voters = nodes(&[2, 3, 4]);
        let wanted = Wanted {
            voters: &voters,
            learners: &[],
        };
        let steps = group.settle(wanted);
        let expected = [
            Step::AddLearner(NodeId(4)),
            Step::Transfer(NodeId(2)),
            Step::SetVoters(voters.clone()),
            Step::Remove(NodeId(1)),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn a_silent_voter_goes_before_one_that_answers() {
        let mut group = Model::new(&[1, 2, 3], 1, &[3]);
        let voters = nodes(&[1, 4, 5]);
        let wanted = Wanted {
            voters: &voters,
            learners: &[],
        };
        let steps = group.settle(wanted);
        assert_eq!(steps[2], Step::SetVoters(nodes(&[1, 2, 4])), "{steps:?}");
        assert_eq!(group.voters, voters.into_iter().collect());
    }

    #[test]
    fn what_cannot_be_done_safely_waits() {
        // The newcomer does not answer: nobody goes.
        let mut group = Model::new(&[1, 2, 3], 1, &[4]);
        let voters = nodes(&[1, 2, 4]);
        let wanted = Wanted {
            voters: &voters,
            learners: &[],
        };
        assert_eq!(group.settle(wanted), [Step::AddLearner(NodeId(4))]);
        // A change is under way.
        let mut report = group.report();
        report.settled = false;
        assert_eq!(next_step(&report, wanted, &group), None);
        // It was left in the middle: on, not back.
        report.settled = true;
        report.changing_to = voters.clone();
        let on = Some(Step::SetVoters(voters.clone()));
        assert_eq!(next_step(&report, wanted, &group), on);
    }

    /// From every set of voters to every other of up to five nodes, with any leader and a silent
    /// minority.
    #[test]
    fn every_way_ends_at_what_is_wanted() {
        let sets = || (1_u64..32).filter(|set: &u64| set.count_ones() % 2 == 1);
        let members =
            |set: u64| -> Vec<u64> { (1..=5).filter(|n| set >> (n - 1) & 1 == 1).collect() };
        let mut ways = 0;
        for from in sets() {
            for to in sets() {
                for leader in members(from) {
                    for silent in 0..=5_u64 {
                        let (from, to) = (members(from), members(to));
                        let dead: Vec<u64> =
                            (1..=5).filter(|n| *n == silent && *n != leader).collect();
                        let fewest = from.len().min(to.len());
                        if !dead.is_empty() && (fewest < 3 || to.contains(&silent)) {
                            continue;
                        }
                        let mut group = Model::new(&from, leader, &dead);
                        let voters = nodes(&to);
                        group.settle(Wanted {
                            voters: &voters,
                            learners: &nodes(&[6]),
                        });
                        assert_eq!(
                            group.voters,
                            voters.into_iter().collect(),
                            "{from:?} {to:?}"
                        );
                        assert_eq!(group.learners, nodes(&[6]).into_iter().collect());
                        ways += 1;
                    }
                }
            }
        }
        assert!(ways > 500, "{ways}");
    }
}
