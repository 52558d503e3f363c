//! What the directory knows of a node besides who it is: its disk, whether it drains, whether it is
//! lost; and by which measures the cluster judges its nodes.

use std::time::Duration;

use bailiwick_types::{Digest, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::command::DirectoryRejection;
use super::state::DirectoryState;

/// What a node drew when its disk was blank: 32 bytes. It tells a restart from a wiped disk.
pub type DiskId = Digest;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// The node.
    pub node: NodeId,
    /// The disk that it began with; `None` before it has begun.
    pub disk: Option<DiskId>,
    /// Whether its groups are to leave it.
    pub draining: bool,
    /// When it was last heard of, if that was longer ago than the grace.
    pub lost_since: Option<Timestamp>,
}

impl NodeStanding {
    /// A node that nothing is known of yet.
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            disk: None,
            draining: false,
            lost_since: None,
        }
    }

    /// Whether groups may be placed on it.
    pub fn is_sound(&self) -> bool {
        !self.draining && self.lost_since.is_none()
    }
}

/// How the cluster judges its nodes. The names and the defaults of contact, logs and stabilisation
/// are Vault's; five minutes until a node counts as lost are CockroachDB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autopilot {
    /// Whether the groups of a lost node are filled up elsewhere by themselves.
    pub cleanup_dead_servers: bool,
    /// A node that was not heard of for so long is lost, in milliseconds.
    pub dead_server_last_contact_threshold_ms: u64,
    /// A node that was not heard of for so long is not healthy, in milliseconds.
    pub last_contact_threshold_ms: u64,
    /// A learner that lacks more entries has not caught up.
    pub max_trailing_logs: u64,
    /// A learner must have kept up for so long before it votes, in milliseconds.
    pub server_stabilization_time_ms: u64,
}

impl Default for Autopilot {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            dead_server_last_contact_threshold_ms: 5 * 60 * 1000,
            last_contact_threshold_ms: 10_000,
            max_trailing_logs: 1000,
            server_stabilization_time_ms: 10_000,
        }
    }
}

/// Longest time of an autopilot's setting: a year, in milliseconds.
const SETTING_CEILING_MS: u64 = 366 * 86_400 * 1000;

impl Autopilot {
    /// How long a node may be silent before it is lost.
    pub fn dead_after(&self) -> Duration {
        Duration::from_millis(self.dead_server_last_contact_threshold_ms)
    }

    /// How long a healthy node may be silent.
    pub fn last_contact(&self) -> Duration {
        Duration::from_millis(self.last_contact_threshold_ms)
    }

    /// How long a learner must have kept up.
    pub fn stabilization(&self) -> Duration {
        Duration::from_millis(self.server_stabilization_time_ms)
    }

    fn check(&self) -> Result<(), DirectoryRejection> {
        let refuse = |field: &str, reason: &str| {
            let (field, reason) = (field.to_owned(), reason.to_owned());
            Err(DirectoryRejection::Autopilot { field, reason })
        };
        let dead = self.dead_server_last_contact_threshold_ms;
        if self.last_contact_threshold_ms < 500 {
            return refuse("last_contact_threshold", "less than half a second");
        }
        if dead < self.last_contact_threshold_ms || dead > SETTING_CEILING_MS {
            let reason = "less than last_contact_threshold, or more than a year";
            return refuse("dead_server_last_contact_threshold", reason);
        }
        if self.server_stabilization_time_ms > SETTING_CEILING_MS {
            return refuse("server_stabilization_time", "more than a year");
        }
        Ok(())
    }
}

impl DirectoryState {
    fn standing_mut(&mut self, node: NodeId) -> Result<&mut NodeStanding, DirectoryRejection> {
        let mut standings = self.view.standings.iter_mut();
        standings
            .find(|standing| standing.node == node)
            .ok_or(DirectoryRejection::UnknownNode(node))
    }

    pub(super) fn begin_node(
        &mut self,
        node: NodeId,
        disk: DiskId,
    ) -> Result<(), DirectoryRejection> {
        let standing = self.standing_mut(node)?;
        match standing.disk {
            Some(known) if known != disk => Err(DirectoryRejection::OtherDisk(node)),
            _ => {
                standing.disk = Some(disk);
                Ok(())
            }
        }
    }

    pub(super) fn drain_node(
        &mut self,
        node: NodeId,
        draining: bool,
    ) -> Result<(), DirectoryRejection> {
        self.standing_mut(node)?.draining = draining;
        if !draining {
            return Ok(());
        }
        // Every group that it votes in must find its voters elsewhere.
        let groups = self.view.groups.iter();
        let hit = groups.filter(|group| group.voters.contains(&node));
        for group in hit {
            let jurisdiction = group.shard.jurisdiction;
            let Some(rules) = self.view.jurisdiction(jurisdiction) else {
                continue;
            };
            let eligible = self.view.eligible(&rules.allowed_regions);
            let needed = rules.replicas;
            if eligible < usize::from(needed) {
                return Err(DirectoryRejection::NodeNeeded {
                    node,
                    jurisdiction,
                    eligible,
                    needed,
                });
            }
        }
        Ok(())
    }

    pub(super) fn node_contact(
        &mut self,
        node: NodeId,
        lost_since: Option<Timestamp>,
    ) -> Result<(), DirectoryRejection> {
        self.standing_mut(node)?.lost_since = lost_since;
        Ok(())
    }

    pub(super) fn configure_autopilot(
        &mut self,
        autopilot: Autopilot,
    ) -> Result<(), DirectoryRejection> {
        autopilot.check()?;
        self.view.autopilot = autopilot;
        Ok(())
    }
}
