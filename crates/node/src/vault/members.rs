//! What operators ask of the directory and of groups' leaders: read it, change it, hand over, look
//! through a data folder.

use bailiwick_api::Refusal;
use bailiwick_api::cluster::Accepted;
use bailiwick_api::placement::{FolderReport, TransferGroup, Transferred, Violation};
use bailiwick_consensus::GroupKind;
use bailiwick_shard::CommandBody;
use bailiwick_shard::belongs::holds_session;
use bailiwick_shard::directory::{ClusterView, DirectoryCommandBody, DirectoryRejection};
use bailiwick_types::{CommandKey, GroupId, NodeId, ShardId};

use super::Vault;
use super::commands::Asked;
use super::steer::administer_refusal;
use crate::placement;

/// A rejection of the directory with its stable code.
pub(super) fn rejected(rejection: &DirectoryRejection) -> Refusal {
    use DirectoryRejection as R;
    let code = match rejection {
        R::NotInitialised => "not_initialised",
        R::OtherDisk(_) => "other_disk",
        R::Version { .. } => "version",
        R::NodeNeeded { .. } => "node_needed",
        R::NodeInUse(_) => "node_in_use",
        R::UnknownNode(_) => "unknown_node",
        R::UnknownJurisdiction(_) => "unknown_jurisdiction",
        R::RegionNotAllowed { .. } => "region_not_allowed",
        R::TooFewNodes { .. } => "too_few_nodes",
        _ => "directory",
    };
    Refusal::Rejected {
        code: code.to_owned(),
        message: rejection.to_string(),
    }
}

/// What an operator may change; facts are for the directory's leader to enter.
fn is_for_operators(body: &DirectoryCommandBody) -> bool {
    use DirectoryCommandBody as B;
    match body {
        B::AddNode { .. }
        | B::ChangeAddress { .. }
        | B::RemoveNode { .. }
        | B::ReplaceVoter { .. }
        | B::DrainNode { .. }
        | B::ChangeJurisdiction(_)
        | B::RetireJurisdiction { .. }
        | B::DeleteJurisdiction { .. }
        | B::ConfigureAutopilot(_) => true,
        B::Initialise { .. }
        | B::CreateJurisdiction(_)
        | B::BeginNode { .. }
        | B::NodeContact { .. }
        | B::GroupMembers { .. } => false,
    }
}

impl Vault {
    /// The directory as its leader has it, confirmed by a quorum.
    pub(super) async fn read_directory(&self) -> Result<ClusterView, Refusal> {
        self.certain_view().await
    }

    /// An operator changes the directory. The key makes a retry the same command.
    pub(super) async fn change_directory(
        &self,
        asked: &Asked<'_>,
        (_, body): (CommandKey, DirectoryCommandBody),
    ) -> Result<Accepted, Refusal> {
        if !is_for_operators(&body) {
            return Err(Refusal::Malformed(
                "this change is not an operator's".to_owned(),
            ));
        }
        tracing::info!(by = %asked.peer, change = ?body, "an operator changes the directory");
        self.propose_to_directory(asked, body).await
    }

    /// Hands over a group that this node leads.
    pub(super) async fn transfer_group(
        &self,
        message: TransferGroup,
    ) -> Result<Transferred, Refusal> {
        let group = match message.shard {
            None => GroupId::DIRECTORY,
            Some(shard) => self.group(shard).ok_or(Refusal::NoSuchShard(shard))?,
        };
        let leader = match message.to {
            Some(to) => to,
            None => self.heir(group)?,
        };
        let handed = self.host.transfer_leader(group, leader).await;
        handed.map_err(administer_refusal)?;
        Ok(Transferred { leader })
    }

    /// The other voter that has most of the log.
    fn heir(&self, group: GroupId) -> Result<NodeId, Refusal> {
        let Some(report) = self.host.group_report(group) else {
            let leader = self.host.leader(group);
            let leader = leader.map(|leader| (leader.id, leader.address));
            return Err(Refusal::NotLeader { leader });
        };
        let others = report
            .members
            .iter()
            .filter(|m| m.voter && m.node != report.leader);
        let heir = others.min_by_key(|m| (m.trailing.unwrap_or(u64::MAX), m.silent_ms));
        heir.map(|member| member.node).ok_or(Refusal::Rejected {
            code: "no_voter".to_owned(),
            message: "the group has no other voter to hand over to".to_owned(),
        })
    }

    /// Looks through this node's own data folder.
    pub(super) async fn check_placement(&self) -> Result<FolderReport, Refusal> {
        let view = self.cluster_view().await.ok_or(Refusal::Unavailable)?;
        let data = self.config.data.clone();
        let host = self.host.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut found = placement::inspect(&data, false)?;
            // A group that runs no more has no store here that could know a session.
            let settled = found.settle(|group, sid| match host.read_local(group) {
                Ok(store) => holds_session(&store, &sid),
                Err(_) => Ok(false),
            });
            settled.map_err(placement::PlacementError::Store)?;
            placement::judge(found, &view)
        });
        let report = looked.await.map_err(|_| Refusal::Unavailable)?;
        let mut report = report.map_err(|error| {
            tracing::error!(%error, "the data folder was not looked through");
            Refusal::Store
        })?;
        // Its stores are open here: they say themselves of which shard they are.
        for status in self.host.group_status() {
            let GroupKind::Shard(shard) = status.kind else {
                continue;
            };
            let Ok(store) = self.host.read_local(status.id) else {
                continue;
            };
            let look = move || bailiwick_shard::query::shard_info(&store);
            let info = super::queries::blocking(look).await?;
            if let Some(info) = info.filter(|info| info.shard != shard) {
                report.violations.push(Violation {
                    file: format!("groups/{}/records.redb", status.id),
                    reason: format!("a record store of {} in the place of {shard}", info.shard),
                });
            }
        }
        Ok(report)
    }

    /// Refuses what brings something new into a jurisdiction that takes nothing any more.
    pub(super) fn check_serving(&self, body: &CommandBody, shard: ShardId) -> Result<(), Refusal> {
        let brings = matches!(
            body,
            CommandBody::OpenSession { .. }
                | CommandBody::AppendBlock { .. }
                | CommandBody::CallForKeys(_)
                | CommandBody::SubmitRequest { .. }
                | CommandBody::SubmitParts(_)
        );
        let retired = self.retired.read().expect("no panic holds the retired");
        if !brings || !retired.contains(&shard.jurisdiction) {
            return Ok(());
        }
        Err(Refusal::Rejected {
            code: "retired".to_owned(),
            message: format!("{} is retired: it takes nothing new", shard.jurisdiction),
        })
    }
}
