//! Jurisdictions in the directory: created, changed, retired and deleted while the cluster serves.

use std::fmt;

use bailiwick_types::{Digest, GroupId, Jurisdiction, NodeId, Region, ShardId};
use serde::{Deserialize, Serialize};

use super::command::{CreateJurisdiction, DirectoryRejection};
use super::placement::place;
use super::state::{DirectoryState, GroupEntry};

/// Most groups of a jurisdiction.
const PARTITION_LIMIT: u16 = 64;
/// Most voters of a group.
const REPLICA_LIMIT: u8 = 7;
/// Most regions that a jurisdiction allows.
const REGION_LIMIT: usize = 64;

/// A jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JurisdictionEntry {
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// Regions whose nodes may hold its records, ascending.
    pub allowed_regions: Vec<Region>,
    /// Voters of each group.
    pub replicas: u8,
    /// Its number of groups.
    pub partitions: u16,
    /// Digest of the policy that its groups begin with.
    pub policy: Digest,
    /// Regions that were allowed and still hold replicas, which are on their way out of them.
    pub leaving_regions: Vec<Region>,
    /// Whether it serves.
    pub state: JurisdictionState,
    /// The directory's version at its last change: what a change expects.
    pub version: u64,
}

/// Whether a jurisdiction serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JurisdictionState {
    /// It takes records and requests.
    Serving,
    /// It takes neither; what it has can be read.
    Retired,
    /// Its groups are gone; its code never comes back.
    Deleted,
}

impl fmt::Display for JurisdictionState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Serving => "serving",
            Self::Retired => "retired",
            Self::Deleted => "deleted",
        })
    }
}

/// A change of a jurisdiction's rules; what is absent stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeJurisdiction {
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// Its version as the caller saw it.
    pub expected: u64,
    /// Regions whose nodes may hold its records.
    pub allowed_regions: Option<Vec<Region>>,
    /// Voters of each of its groups: odd, 1 to 7.
    pub replicas: Option<u8>,
    /// Digest of the policy that its groups begin with.
    pub policy: Option<Digest>,
}

fn check_replicas(replicas: u8) -> Result<(), DirectoryRejection> {
    if replicas.is_multiple_of(2) || replicas > REPLICA_LIMIT {
        return Err(DirectoryRejection::Replicas(replicas));
    }
    Ok(())
}

fn sorted(mut regions: Vec<Region>) -> Result<Vec<Region>, DirectoryRejection> {
    regions.sort();
    regions.dedup();
    let (count, limit) = (regions.len(), REGION_LIMIT);
    if count > limit {
        return Err(DirectoryRejection::Regions { count, limit });
    }
    Ok(regions)
}

impl DirectoryState {
    pub(super) fn create(
        &mut self,
        plan: CreateJurisdiction,
    ) -> Result<Vec<(GroupId, ShardId)>, DirectoryRejection> {
        let jurisdiction = plan.jurisdiction;
        if self.view.jurisdiction(jurisdiction).is_some() {
            return Err(DirectoryRejection::JurisdictionExists(jurisdiction));
        }
        check_replicas(plan.replicas)?;
        if !(1..=PARTITION_LIMIT).contains(&plan.partitions) {
            return Err(DirectoryRejection::Partitions(plan.partitions));
        }
        let allowed_regions = sorted(plan.allowed_regions)?;
        let mut groups = Vec::new();
        for partition in 0..plan.partitions {
            let voters = place(&self.view, &allowed_regions, plan.replicas)?;
            let shard = ShardId {
                jurisdiction,
                partition,
            };
            self.last_group.0 += 1;
            let id = self.last_group;
            groups.push((id, shard));
            self.view.groups.push(GroupEntry::new(id, shard, voters));
        }
        self.view.jurisdictions.push(JurisdictionEntry {
            jurisdiction,
            allowed_regions,
            replicas: plan.replicas,
            partitions: plan.partitions,
            policy: plan.policy,
            leaving_regions: Vec::new(),
            state: JurisdictionState::Serving,
            version: self.view.version + 1,
        });
        let jurisdictions = &mut self.view.jurisdictions;
        jurisdictions.sort_by_key(|entry| entry.jurisdiction);
        Ok(groups)
    }

    /// The entry that a change is about, if it is in this state and at the version that the caller
    /// saw.
    fn expected(
        &mut self,
        jurisdiction: Jurisdiction,
        expected: u64,
        begins: JurisdictionState,
    ) -> Result<&mut JurisdictionEntry, DirectoryRejection> {
        let mut entries = self.view.jurisdictions.iter_mut();
        let entry = entries
            .find(|entry| entry.jurisdiction == jurisdiction)
            .ok_or(DirectoryRejection::UnknownJurisdiction(jurisdiction))?;
        let (found, state) = (entry.version, entry.state);
        if found != expected {
            return Err(DirectoryRejection::Version {
                jurisdiction,
                expected,
                found,
            });
        }
        if state != begins {
            let rejection = DirectoryRejection::JurisdictionState {
                jurisdiction,
                state,
            };
            return Err(rejection);
        }
        entry.version = self.view.version + 1;
        Ok(entry)
    }

    pub(super) fn change_jurisdiction(
        &mut self,
        change: ChangeJurisdiction,
    ) -> Result<(), DirectoryRejection> {
        let serving = JurisdictionState::Serving;
        let entry = self.expected(change.jurisdiction, change.expected, serving)?;
        if let Some(regions) = change.allowed_regions {
            let new = sorted(regions)?;
            let old = std::mem::replace(&mut entry.allowed_regions, new);
            // What is there goes on until it has moved; the directory drops these by itself.
            entry.leaving_regions.extend(old);
            let allowed = &entry.allowed_regions;
            entry.leaving_regions.retain(|left| !allowed.contains(left));
            entry.leaving_regions.sort();
            entry.leaving_regions.dedup();
        }
        if let Some(replicas) = change.replicas {
            check_replicas(replicas)?;
            entry.replicas = replicas;
        }
        if let Some(policy) = change.policy {
            entry.policy = policy;
        }
        let (regions, needed) = (entry.allowed_regions.clone(), entry.replicas);
        let eligible = self.view.eligible(&regions);
        if eligible < usize::from(needed) {
            return Err(DirectoryRejection::TooFewNodes { eligible, needed });
        }
        Ok(())
    }

    pub(super) fn retire(
        &mut self,
        jurisdiction: Jurisdiction,
        expected: u64,
    ) -> Result<(), DirectoryRejection> {
        let entry = self.expected(jurisdiction, expected, JurisdictionState::Serving)?;
        entry.state = JurisdictionState::Retired;
        Ok(())
    }

    pub(super) fn delete(
        &mut self,
        jurisdiction: Jurisdiction,
        expected: u64,
    ) -> Result<(), DirectoryRejection> {
        let entry = self.expected(jurisdiction, expected, JurisdictionState::Retired)?;
        entry.state = JurisdictionState::Deleted;
        entry.leaving_regions.clear();
        let groups = &mut self.view.groups;
        groups.retain(|group| group.shard.jurisdiction != jurisdiction);
        Ok(())
    }

    pub(super) fn replace_voter(
        &mut self,
        id: GroupId,
        remove: NodeId,
        add: NodeId,
    ) -> Result<(), DirectoryRejection> {
        let unknown = DirectoryRejection::UnknownGroup(id);
        let node = self.view.node(add);
        let node = node.ok_or(DirectoryRejection::UnknownNode(add))?;
        if !self.view.standing(add).is_sound() {
            return Err(DirectoryRejection::Voters(id));
        }
        if id != GroupId::DIRECTORY {
            let group = self.view.groups.iter().find(|group| group.id == id);
            let shard = group.ok_or(unknown.clone())?.shard;
            let rules = self.view.jurisdiction(shard.jurisdiction);
            let allowed = &rules.ok_or(unknown.clone())?.allowed_regions;
            if !allowed.contains(&node.region) {
                let (node, region) = (add, node.region.clone());
                return Err(DirectoryRejection::RegionNotAllowed { node, region });
            }
        }
        let mut groups = self.view.groups.iter_mut();
        let voters = match id {
            GroupId::DIRECTORY => &mut self.view.directory_voters,
            id => &mut groups.find(|group| group.id == id).ok_or(unknown)?.voters,
        };
        if !voters.contains(&remove) || voters.contains(&add) {
            return Err(DirectoryRejection::Voters(id));
        }
        voters.retain(|voter| *voter != remove);
        voters.push(add);
        voters.sort();
        Ok(())
    }

    pub(super) fn group_members(
        &mut self,
        id: GroupId,
        mut members: Vec<NodeId>,
    ) -> Result<(), DirectoryRejection> {
        members.sort();
        members.dedup();
        if id == GroupId::DIRECTORY {
            self.view.directory_members = members;
            return Ok(());
        }
        let mut groups = self.view.groups.iter_mut();
        let group = groups.find(|group| group.id == id);
        let group = group.ok_or(DirectoryRejection::UnknownGroup(id))?;
        group.members = members;
        group.begun = true;
        Ok(())
    }
}
