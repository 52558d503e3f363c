//! Whether a retired jurisdiction's data may be deleted: only what is frozen, and what it still has
//! only when the operator names how much that is.
//!
//! The count is what the groups' nodes say they store. It counts records whether or not their period
//! has been erased: an erased record names nobody, but nothing here can tell which those are.

use std::collections::BTreeMap;

use bailiwick_api::cluster::{GroupStatus, NodeStatus};
use bailiwick_types::{Jurisdiction, ShardId};

/// What a jurisdiction still has, by the word of the nodes that hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remains {
    /// Records of each of its groups that a node answered for: the most that any node has.
    records: BTreeMap<ShardId, u64>,
    /// Whether every node that holds the home group says that it is frozen.
    frozen: Option<bool>,
}

/// Why nothing is deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeletionRefusal {
    /// No node answered for a group.
    #[error("no node answers for group {0}: what it has is not known")]
    Unknown(ShardId),
    /// It still releases.
    #[error("{0} is not frozen: what was approved could still be released while it is deleted")]
    NotFrozen(Jurisdiction),
    /// It still has records, and the operator has not named how many.
    #[error("{jurisdiction} still has {records} records, and no --force {records} says so")]
    Records {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// How many.
        records: u64,
    },
    /// The operator names another number than there is.
    #[error("--force names {named} records, {jurisdiction} has {records}")]
    OtherCount {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// What the operator named.
        named: u64,
        /// What there is.
        records: u64,
    },
}

impl DeletionRefusal {
    /// What to do about it.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Unknown(_) => "start the group's nodes; `bailiwick status` shows them".to_owned(),
            Self::NotFrozen(code) => format!("first: bailiwick operator freeze {code}"),
            Self::Records { .. } => {
                "wait until its periods are erased; or, when a court or contract demands it at \
                 once, name the count"
                    .to_owned()
            }
            Self::OtherCount { .. } => "look at --dry-run, and name what is there".to_owned(),
        }
    }
}

impl Remains {
    /// What the nodes that answered say of a jurisdiction.
    pub(super) fn of(code: Jurisdiction, statuses: &[NodeStatus]) -> Self {
        let mut remains = Self::default();
        for status in statuses {
            for group in &status.groups {
                if let Some(shard) = group.shard.filter(|shard| shard.jurisdiction == code) {
                    remains.take(shard, group);
                }
            }
        }
        remains
    }

    fn take(&mut self, shard: ShardId, group: &GroupStatus) {
        let records = self.records.entry(shard).or_default();
        *records = group.records.max(*records);
        if shard.partition == 0 {
            self.frozen = Some(group.frozen && self.frozen.unwrap_or(true));
        }
    }

    /// Records of all groups.
    pub(super) fn records(&self) -> u64 {
        self.records.values().sum()
    }

    /// Whether all of it may be deleted; `groups` are those that the directory lists, `named` is the
    /// operator's count.
    ///
    /// # Errors
    /// [`DeletionRefusal`].
    pub(super) fn check(
        &self,
        code: Jurisdiction,
        groups: &[ShardId],
        named: Option<u64>,
    ) -> Result<(), DeletionRefusal> {
        let unheard = groups
            .iter()
            .find(|shard| !self.records.contains_key(shard));
        if let Some(shard) = unheard {
            return Err(DeletionRefusal::Unknown(*shard));
        }
        if self.frozen != Some(true) {
            return Err(DeletionRefusal::NotFrozen(code));
        }
        let (jurisdiction, records) = (code, self.records());
        match named {
            None if records == 0 => Ok(()),
            None => Err(DeletionRefusal::Records {
                jurisdiction,
                records,
            }),
            Some(named) if named != records => Err(DeletionRefusal::OtherCount {
                jurisdiction,
                named,
                records,
            }),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_types::{GroupId, NodeId, Timestamp};

    use super::*;

    fn french() -> Jurisdiction {
        "FR".parse().expect("a code")
    }

    fn shard(partition: u16) -> ShardId {
        ShardId {
            jurisdiction: french(),
            partition,
        }
    }

    fn node(id: u64, groups: &[(u16, u64, bool)]) -> NodeStatus {
        let group = |(partition, records, frozen): &(u16, u64, bool)| GroupStatus {
            id: GroupId(u32::from(*partition) + 1),
            shard: Some(shard(*partition)),
            leader: None,
            term: 1,
            last_log: 1,
            applied: 1,
            voters: vec![NodeId(id)],
            records: *records,
            leaves: 1,
            frozen: *frozen,
        };
        NodeStatus {
            node: NodeId(id),
            name: format!("vault-{id}").parse().expect("a name"),
            region: "eu".parse().expect("a region"),
            version: "0".to_owned(),
            started_at: Timestamp(0),
            groups: groups.iter().map(group).collect(),
        }
    }

    fn checked(
        nodes: &[NodeStatus],
        groups: &[ShardId],
        named: Option<u64>,
    ) -> Result<(), DeletionRefusal> {
        Remains::of(french(), nodes).check(french(), groups, named)
    }

    #[test]
    fn what_is_not_frozen_or_still_has_records_is_not_deleted_unless_the_count_is_named() {
        let both = [shard(0), shard(1)];
        // The node that has most counts, for each group.
        let frozen = [
            node(1, &[(0, 7, true), (1, 2, true)]),
            node(2, &[(0, 5, true)]),
        ];
        let (jurisdiction, records) = (french(), 9);
        let refused = checked(&frozen, &both, None);
        assert_eq!(
            refused,
            Err(DeletionRefusal::Records {
                jurisdiction,
                records
            })
        );
        let refused = checked(&frozen, &both, Some(7));
        assert_eq!(
            refused,
            Err(DeletionRefusal::OtherCount {
                jurisdiction,
                named: 7,
                records
            })
        );
        assert_eq!(checked(&frozen, &both, Some(9)), Ok(()));
        // One node that does not know of the freeze is enough.
        let half = [node(1, &[(0, 0, true)]), node(2, &[(0, 0, false)])];
        let refused = checked(&half, &both[..1], None);
        assert_eq!(refused, Err(DeletionRefusal::NotFrozen(jurisdiction)));
        let empty = [node(1, &[(0, 0, true)])];
        assert_eq!(checked(&empty, &both[..1], None), Ok(()));
        // A group that nobody answers for may have anything.
        let refused = checked(&empty, &both, None);
        assert_eq!(refused, Err(DeletionRefusal::Unknown(shard(1))));
    }
}
