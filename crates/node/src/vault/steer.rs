//! The reconciler: the directory's leader moves every group, the directory included, towards the
//! members that the directory wants, one step at a time, and notes which nodes are lost.
//!
//! It keeps nothing: what to do next follows from the directory and from what the groups' leaders
//! report, so that a later leader goes on where this one stopped. Steps are decided in
//! `bailiwick-consensus` as a pure function; each is taken by the group's own leader, which checks it
//! against its own directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::cluster::Accepted;
use bailiwick_consensus::{
    AdministerError, AskError, GroupReport, Judge, MemberReport, Step, Wanted, next_step,
};
use bailiwick_shard::directory::{
    self, Autopilot, ClusterView, DirectoryCommand, DirectoryCommandBody, DirectoryOutcome,
};
use bailiwick_transport::Operation;
use bailiwick_types::{CommandKey, GroupId, Identity, NodeId, codec};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Vault;
use crate::clock;

/// Between two looks while something is on its way.
const BUSY_PERIOD: Duration = Duration::from_millis(250);
/// Between two looks when everything is where it should be.
const IDLE_PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for a node's report.
const REPORT_DEADLINE: Duration = Duration::from_secs(2);
/// A step is two commits at most, and the callee's own deadline is ten seconds.
const STEP_DEADLINE: Duration = Duration::from_secs(12);
/// Steps of different groups that may be under way at once.
const STEPS_UNDER_WAY: usize = 8;

/// `Operation::StepGroup`: take this step from this membership.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StepGroup {
    group: GroupId,
    from: Option<(u64, u64)>,
    step: Step,
}

/// What a leader of the directory has seen since it leads.
struct Pilot {
    led_since: Instant,
    /// Since when a member has kept up with its group.
    steady: BTreeMap<(GroupId, NodeId), Instant>,
}

/// Judges the members of one group.
struct Bench<'a> {
    autopilot: &'a Autopilot,
    steady: &'a BTreeMap<(GroupId, NodeId), Instant>,
    group: GroupId,
}

fn answers(autopilot: &Autopilot, member: &MemberReport) -> bool {
    let limit = autopilot.last_contact_threshold_ms;
    member.silent_ms.is_some_and(|silent| silent <= limit)
}

fn has_log(autopilot: &Autopilot, member: &MemberReport) -> bool {
    let limit = autopilot.max_trailing_logs;
    member.trailing.is_some_and(|entries| entries <= limit)
}

impl Judge for Bench<'_> {
    fn answers(&self, member: &MemberReport) -> bool {
        answers(self.autopilot, member)
    }

    fn keeps_up(&self, member: &MemberReport) -> bool {
        let since = self.steady.get(&(self.group, member.node));
        since.is_some_and(|since| since.elapsed() >= self.autopilot.stabilization())
    }
}

impl Vault {
    /// Steers as long as this node leads the directory, until it stops.
    pub(super) async fn steer(self: Arc<Self>) {
        let mut pilot: Option<Pilot> = None;
        loop {
            let pause = if self.host.is_leader(GroupId::DIRECTORY) {
                let pilot = pilot.get_or_insert_with(|| Pilot {
                    led_since: Instant::now(),
                    steady: BTreeMap::new(),
                });
                match self.steer_once(pilot).await {
                    Some(true) => BUSY_PERIOD,
                    _ => IDLE_PERIOD,
                }
            } else {
                pilot = None;
                IDLE_PERIOD
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// One look; whether anything is on its way. `None` when this node cannot say.
    async fn steer_once(&self, pilot: &mut Pilot) -> Option<bool> {
        let view = self.certain_view().await.ok()?;
        let own = self.host.group_report(GroupId::DIRECTORY)?;
        self.note_contacts(&view, &own, pilot.led_since).await;
        let reports = self.reports(&view).await;
        pilot.watch(&view.autopilot, &reports);
        let mut busy = false;
        let mut steps = Vec::new();
        for (group, report) in &reports {
            if let Some(members) = unrecorded(&view, report) {
                busy = true;
                let group = *group;
                let body = DirectoryCommandBody::GroupMembers { group, members };
                if let Err(refusal) = self.enter_fact(body).await {
                    tracing::warn!(%group, %refusal, "a group's members are not noted yet");
                }
                // What follows from it is seen at the next look.
                continue;
            }
            let Some((voters, learners)) = wanted(&view, *group) else {
                continue;
            };
            let bench = Bench {
                autopilot: &view.autopilot,
                steady: &pilot.steady,
                group: *group,
            };
            let wanted = Wanted {
                voters: &voters,
                learners: &learners,
            };
            busy |= report.voters() != voters;
            if let Some(step) = next_step(report, wanted, &bench) {
                let (group, from) = (*group, report.membership);
                steps.push((report.leader, StepGroup { group, from, step }));
            }
        }
        busy |= !steps.is_empty();
        let steps = futures::stream::iter(steps);
        let take = |(leader, step)| self.have_taken(leader, step);
        steps.for_each_concurrent(STEPS_UNDER_WAY, take).await;
        Some(busy)
    }

    /// What all leaders report, this node's groups included; of two that claim a group the one of the
    /// higher term.
    pub(super) async fn reports(&self, view: &ClusterView) -> BTreeMap<GroupId, GroupReport> {
        let others = view.nodes.iter().map(|node| node.id);
        let others = others.filter(|node| *node != self.config.node);
        let asked = others.map(|node| async move {
            let asked = self
                .host
                .ask(node, Operation::ReportGroups, Bytes::new(), REPORT_DEADLINE);
            let answer = asked.await.ok()?;
            codec::decode::<Vec<GroupReport>>(&answer).ok()
        });
        let answers = futures::future::join_all(asked).await;
        let mut reports: BTreeMap<GroupId, GroupReport> = BTreeMap::new();
        let all = answers.into_iter().flatten().flatten();
        for report in all.chain(self.host.group_reports()) {
            let known = reports.get(&report.group);
            if known.is_none_or(|known| known.term < report.term) {
                reports.insert(report.group, report);
            }
        }
        reports
    }

    /// Notes nodes that were silent for longer than the grace, and those that are back.
    async fn note_contacts(&self, view: &ClusterView, own: &GroupReport, led_since: Instant) {
        for member in own
            .members
            .iter()
            .filter(|member| member.node != own.leader)
        {
            if view.node(member.node).is_none() {
                continue;
            }
            let known = view.standing(member.node).lost_since;
            let silent = match member.silent_ms {
                Some(silent) => Duration::from_millis(silent),
                None => led_since.elapsed(),
            };
            let lost_since = match known {
                None if silent > view.autopilot.dead_after() => Some(clock::now().minus(silent)),
                Some(_) if silent < view.autopilot.last_contact() => None,
                _ => continue,
            };
            let node = member.node;
            if lost_since.is_some() {
                tracing::warn!(%node, silent_s = silent.as_secs(), "a node is lost");
            } else {
                tracing::info!(%node, "a lost node is back");
            }
            let body = DirectoryCommandBody::NodeContact { node, lost_since };
            if let Err(refusal) = self.enter_fact(body).await {
                tracing::warn!(%node, %refusal, "a node's contact is not noted yet");
            }
        }
    }

    /// Has a step taken by the group's leader.
    async fn have_taken(&self, leader: NodeId, step: StepGroup) {
        let (group, what) = (step.group, step.step.clone());
        let taken = if leader == self.config.node {
            self.take_step(step).await
        } else {
            self.ask_for_step(leader, &step).await
        };
        match taken {
            Ok(()) => tracing::info!(%group, step = ?what, "a step was taken"),
            Err(refusal) => {
                tracing::info!(%group, step = ?what, %refusal, "a step was not taken yet");
            }
        }
    }

    async fn ask_for_step(&self, leader: NodeId, step: &StepGroup) -> Result<(), Refusal> {
        let payload = codec::encode(step).map_err(|_| Refusal::Store)?;
        let asked = self
            .host
            .ask(leader, Operation::StepGroup, payload.into(), STEP_DEADLINE);
        match asked.await {
            Ok(_) => Ok(()),
            Err(AskError::Refused(refusal)) => {
                Err(codec::decode(&refusal).unwrap_or(Refusal::Unavailable))
            }
            Err(AskError::NoAnswer(_)) => Err(Refusal::Unknown),
        }
    }

    /// The directory's leader asks for a step of a group that this node leads.
    pub(super) async fn step_group(
        &self,
        peer: &Identity,
        message: StepGroup,
    ) -> Result<Accepted, Refusal> {
        let leader = self.host.leader(GroupId::DIRECTORY).map(|leader| leader.id);
        if leader.is_none() || self.host.peer_of(peer) != leader {
            return Err(Refusal::Rejected {
                code: "not_the_directory".to_owned(),
                message: format!("{} does not lead the directory", peer.id),
            });
        }
        self.take_step(message).await.map(|()| Accepted)
    }

    async fn take_step(&self, message: StepGroup) -> Result<(), Refusal> {
        let StepGroup { group, from, step } = message;
        self.check_step(group, &step).await?;
        let taken = self.host.take_step(group, from, step).await;
        taken.map_err(administer_refusal)
    }

    /// Whoever comes must be wanted there, and allowed, as this node's own directory says.
    async fn check_step(&self, group: GroupId, step: &Step) -> Result<(), Refusal> {
        let view = self.cluster_view().await.ok_or(Refusal::Unavailable)?;
        let come: &[NodeId] = match step {
            Step::AddLearner(node) => std::slice::from_ref(node),
            Step::SetVoters(nodes) => nodes,
            Step::Transfer(_) | Step::Remove(_) => &[],
        };
        let belongs = |node: &NodeId| {
            let Some(entry) = view.node(*node) else {
                return false;
            };
            let mut groups = view.groups.iter();
            match groups.find(|known| known.id == group) {
                Some(known) => {
                    let jurisdiction = known.shard.jurisdiction;
                    known.belongs_on(*node) && view.may_hold(jurisdiction, &entry.region)
                }
                None => group == GroupId::DIRECTORY,
            }
        };
        // Who is a member already was checked when it came, and may have to stay until it can go.
        let report = self.host.group_report(group).ok_or(Refusal::Unavailable)?;
        let stranger = come
            .iter()
            .find(|node| report.member(**node).is_none() && !belongs(node));
        match stranger {
            None => Ok(()),
            Some(node) => Err(Refusal::Rejected {
                code: "placement".to_owned(),
                message: format!("node {node} has no place in group {group}"),
            }),
        }
    }

    /// Proposes what this node, as the directory's leader, knows.
    pub(super) async fn enter_fact(
        &self,
        body: DirectoryCommandBody,
    ) -> Result<DirectoryOutcome, Refusal> {
        let command = DirectoryCommand {
            key: CommandKey(rand::random()),
            by: self.config.name.clone(),
            body,
        };
        let bytes = command.to_bytes().map_err(|_| Refusal::Store)?;
        let outcome = self.host.propose(GroupId::DIRECTORY, bytes.into()).await;
        let outcome = outcome.map_err(super::commands::refusal)?;
        match DirectoryOutcome::from_bytes(&outcome).map_err(|_| Refusal::Store)? {
            DirectoryOutcome::Rejected(rejection) => Err(super::members::rejected(&rejection)),
            outcome => Ok(outcome),
        }
    }

    /// The directory as a quorum confirms it; on its leader only.
    pub(super) async fn certain_view(&self) -> Result<ClusterView, Refusal> {
        let store = self.host.read(GroupId::DIRECTORY).await;
        let store = store.map_err(super::queries::refusal)?;
        let view = super::queries::blocking(move || directory::description(&store)).await?;
        view.ok_or_else(|| Refusal::NotFound("the cluster".to_owned()))
    }
}

impl Pilot {
    /// Remembers since when each member keeps up.
    fn watch(&mut self, autopilot: &Autopilot, reports: &BTreeMap<GroupId, GroupReport>) {
        let now = Instant::now();
        let mut steady = BTreeMap::new();
        for report in reports.values() {
            for member in &report.members {
                if answers(autopilot, member) && has_log(autopilot, member) {
                    let place = (report.group, member.node);
                    let since = self.steady.get(&place).copied().unwrap_or(now);
                    steady.insert(place, since);
                }
            }
        }
        self.steady = steady;
    }
}

/// The members of a group in fact, if the directory has others.
fn unrecorded(view: &ClusterView, report: &GroupReport) -> Option<Vec<NodeId>> {
    if !report.settled || !report.changing_to.is_empty() {
        return None;
    }
    let members: Vec<NodeId> = if report.group == GroupId::DIRECTORY {
        report.voters()
    } else {
        report.members.iter().map(|member| member.node).collect()
    };
    let recorded = if report.group == GroupId::DIRECTORY {
        &view.directory_members
    } else {
        let mut groups = view.groups.iter();
        &groups.find(|group| group.id == report.group)?.members
    };
    (*recorded != members).then_some(members)
}

/// The wanted voters and learners of a group.
fn wanted(view: &ClusterView, group: GroupId) -> Option<(Vec<NodeId>, Vec<NodeId>)> {
    if group != GroupId::DIRECTORY {
        let mut groups = view.groups.iter();
        let entry = groups.find(|entry| entry.id == group)?;
        return Some((entry.voters.clone(), Vec::new()));
    }
    let voters = view.directory_voters.clone();
    let nodes = view.nodes.iter().map(|node| node.id);
    let learners = nodes.filter(|node| !voters.contains(node)).collect();
    Some((voters, learners))
}

pub(super) fn administer_refusal(error: AdministerError) -> Refusal {
    let rejected = |code: &str, message: String| Refusal::Rejected {
        code: code.to_owned(),
        message,
    };
    match error {
        AdministerError::NotLeader { leader } => Refusal::NotLeader {
            leader: leader.map(|leader| (leader.id, leader.address)),
        },
        AdministerError::NoSuchGroup(group) => Refusal::NotFound(format!("group {group} here")),
        AdministerError::UnknownNode(node) => {
            rejected("no_voter", format!("node {node} is no voter of the group"))
        }
        AdministerError::InProgress => {
            rejected("in_progress", "another change is under way".to_owned())
        }
        AdministerError::Refused(reason) => rejected("membership", reason),
        AdministerError::Unknown => Refusal::Unknown,
        AdministerError::ShuttingDown => Refusal::Unavailable,
    }
}
