//! What the entries of a node's log say of whose they are, read one by one.
//!
//! The number of a group proves nothing: whoever plants an entry chooses it. An entry that names its
//! jurisdiction must be of the group's; a block names its session, which the group must have opened, as
//! an earlier entry or its store says.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_consensus::command_of_record;
use bailiwick_shard::belongs::{CommandOwner, owner_of_command, owner_of_directory_command};
use bailiwick_types::{GroupId, Jurisdiction, SessionId, ShardId};

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Shard(ShardId),
    Jurisdiction(Jurisdiction),
}

/// What the entries of all segments say.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By file and group: what entries name, and how many do.
    named: BTreeMap<(String, GroupId, Named), u64>,
    /// By file and group: sessions of blocks, and how many blocks.
    blocks: BTreeMap<(String, GroupId, SessionId), u64>,
    /// Sessions that entries of a group open.
    opened: BTreeSet<(GroupId, SessionId)>,
    /// By file and group: entries that are no commands.
    malformed: BTreeMap<(String, GroupId), u64>,
}

/// Something in a segment that is not what its group's number says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) reason: String,
}

impl Contents {
    /// Takes an entry of a segment.
    pub(super) fn take(&mut self, file: &str, group: GroupId, record: &[u8]) {
        let owner = match command_of_record(record) {
            Ok(Some(command)) if group == GroupId::DIRECTORY => {
                owner_of_directory_command(&command)
            }
            Ok(Some(command)) => owner_of_command(&command),
            Ok(None) => CommandOwner::Nobody,
            Err(_) => CommandOwner::Malformed,
        };
        let file = || file.to_owned();
        match owner {
            CommandOwner::Shard(shard) => {
                *self
                    .named
                    .entry((file(), group, Named::Shard(shard)))
                    .or_default() += 1;
            }
            CommandOwner::Opens(sid, shard) => {
                *self
                    .named
                    .entry((file(), group, Named::Shard(shard)))
                    .or_default() += 1;
                self.opened.insert((group, sid));
            }
            CommandOwner::Jurisdiction(code) => {
                let key = (file(), group, Named::Jurisdiction(code));
                *self.named.entry(key).or_default() += 1;
            }
            CommandOwner::Block(sid) => *self.blocks.entry((file(), group, sid)).or_default() += 1,
            CommandOwner::Malformed => *self.malformed.entry((file(), group)).or_default() += 1,
            CommandOwner::Nobody | CommandOwner::Directory => {}
        }
    }

    /// Sessions of blocks that no entry of their group opens: its store must know them.
    pub(super) fn unopened(&self) -> BTreeSet<(GroupId, SessionId)> {
        let blocks = self.blocks.keys().map(|(_, group, sid)| (*group, *sid));
        blocks
            .filter(|block| !self.opened.contains(block))
            .collect()
    }

    /// Groups that have an entry which opens this session.
    pub(super) fn openers(&self, sid: SessionId) -> impl Iterator<Item = GroupId> {
        let opened = self.opened.iter();
        opened
            .filter(move |(_, opened)| *opened == sid)
            .map(|(group, _)| *group)
    }

    /// Its store knows a session of a group.
    pub(super) fn known(&mut self, group: GroupId, sid: SessionId) {
        self.opened.insert((group, sid));
    }

    /// Entries that are no commands, by file.
    pub(super) fn malformed(&self) -> impl Iterator<Item = Finding> {
        self.malformed.iter().map(|((file, group), count)| Finding {
            file: file.clone(),
            reason: format!("{count} entries of group {group} do not decode"),
        })
    }

    /// What is not of the shard that the directory gives its group; a group that the directory does
    /// not know has no place in any case and is left to the caller.
    pub(super) fn misplaced(&self, groups: &BTreeMap<GroupId, ShardId>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for ((file, group, named), count) in &self.named {
            let (own, name) = match (named, groups.get(group)) {
                (Named::Shard(shard), placed) => (placed == Some(shard), shard.to_string()),
                (Named::Jurisdiction(code), placed) => {
                    let own = placed.is_some_and(|placed| placed.jurisdiction == *code);
                    (own, code.to_string())
                }
            };
            if !own && (*group == GroupId::DIRECTORY || groups.contains_key(group)) {
                findings.push(Finding {
                    file: file.clone(),
                    reason: format!(
                        "{count} entries of {name} in the log of {}",
                        place(groups, *group)
                    ),
                });
            }
        }
        for ((file, group, sid), count) in &self.blocks {
            if self.opened.contains(&(*group, *sid)) {
                continue;
            }
            let owners: Vec<String> = self
                .openers(*sid)
                .map(|owner| place(groups, owner))
                .collect();
            let whose = match owners.is_empty() {
                true => "that nothing here has opened".to_owned(),
                false => format!("of {}", owners.join(", ")),
            };
            findings.push(Finding {
                file: file.clone(),
                reason: format!(
                    "{count} blocks of records in the log of {}, under session {sid} {whose}",
                    place(groups, *group)
                ),
            });
        }
        findings
    }
}

fn place(groups: &BTreeMap<GroupId, ShardId>, group: GroupId) -> String {
    match groups.get(&group) {
        _ if group == GroupId::DIRECTORY => "the directory".to_owned(),
        Some(shard) => format!("group {group}, {shard}"),
        None => format!("group {group}, which the directory does not know"),
    }
}
