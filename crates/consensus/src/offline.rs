//! What an operator does to the files of a stopped node: restore a group from a snapshot, look at
//! what is there, and make this node a group's only voter when the others are lost.
//!
//! Nothing here asks or decides whether that is wise: `bailiwick-node` compares with checkpoints and
//! places, the command line asks. Whoever opens an [`OfflineNode`] has made sure that no process
//! runs on the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use bailiwick_storage::{
    Disk, Done, GroupLog, LogRecord, OsDisk, RecordStore, RecordStoreOptions, SnapshotReader, Wal,
    WalError, WalOptions,
};
use bailiwick_types::store::{ReadStore, StoreError, WriteStore};
use bailiwick_types::{GroupId, NodeId};
use openraft::{EmptyNode, EntryPayload, Membership};

use crate::group::GroupKind;
use crate::hosted::directory;
use crate::machine::{StateMachine, shard_machines};
use crate::raft::{Entry, LogId, StoredMembership, Vote, decode, encode, entry, log_id, record};
use crate::saved::{SnapshotPosition, announced};
use crate::state_machine::{APPLIED_KEY, APPLIED_TABLE, Applied, apply_entry};

/// Most bytes of log entries in memory at once while they are tried out.
const READ_BYTES: usize = 4 << 20;

/// Why nothing was done to a group's files; the folder is as before unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The write-ahead log does not open.
    #[error("the write-ahead log does not open")]
    Log(#[from] WalError),
    /// A record store or snapshot failed.
    #[error("the files of group {group} failed: {reason}")]
    Storage {
        /// The group.
        group: GroupId,
        /// What failed.
        reason: String,
    },
    /// The folder itself failed.
    #[error("the data folder failed")]
    Folder(#[source] io::Error),
    /// The node has the group already.
    #[error("this node has group {0} already; a restore never overwrites one")]
    Exists(GroupId),
    /// The node does not have the group.
    #[error("this node has no group {0}")]
    Missing(GroupId),
    /// This node is no voter of the group, so its log may lack what voters acknowledged.
    #[error("this node does not vote in group {0}")]
    NoVoter(GroupId),
    /// No voters were named.
    #[error("group {0} would have no voter")]
    NoVoters(GroupId),
}

fn storage(group: GroupId) -> impl Fn(&dyn std::fmt::Display) -> OfflineError {
    move |error| OfflineError::Storage {
        group,
        reason: error.to_string(),
    }
}

/// The files of a stopped node.
pub struct OfflineNode {
    node: NodeId,
    disk: Arc<dyn Disk>,
    wal: Wal,
}

impl std::fmt::Debug for OfflineNode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "OfflineNode({})", self.node)
    }
}

/// What a stopped node has of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The group.
    pub group: GroupId,
    /// Term and index of the last entry in its log; what its record store has when the log is
    /// empty.
    pub last: (u64, u64),
    /// Index of the last entry that its record store has.
    pub applied: u64,
    /// The voters, as the last membership in its log says, committed or not.
    pub voters: Vec<NodeId>,
}

impl OfflineNode {
    /// Opens the files of a node. Blocks while it reads the log.
    ///
    /// # Errors
    /// [`OfflineError::Folder`] and [`OfflineError::Log`].
    pub fn open(node: NodeId, data: PathBuf) -> Result<Self, OfflineError> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(data));
        disk.create_directory("groups")
            .map_err(OfflineError::Folder)?;
        let wal = Wal::open(disk.clone(), WalOptions::new(node))?;
        Ok(Self { node, disk, wal })
    }

    /// The groups that have anything in its log, ascending.
    pub fn groups(&self) -> Vec<GroupId> {
        self.wal.groups()
    }

    /// Whether the node has anything of a group.
    ///
    /// # Errors
    /// [`OfflineError::Folder`].
    pub fn holds(&self, group: GroupId) -> Result<bool, OfflineError> {
        let stored = self.disk.exists(&store_path(group));
        Ok(stored.map_err(OfflineError::Folder)? || self.wal.groups().contains(&group))
    }

    /// Runs a query over what the node's record store of a group has; entries that are only in the
    /// log are not in it.
    ///
    /// # Errors
    /// [`OfflineError::Missing`], [`OfflineError::Storage`].
    pub fn read<T>(
        &self,
        group: GroupId,
        query: impl FnOnce(&dyn ReadStore) -> Result<T, StoreError>,
    ) -> Result<T, OfflineError> {
        let failed = storage(group);
        let store = self.store(group)?;
        let view = store.read().map_err(|error| failed(&error))?;
        query(&view).map_err(|error| failed(&error))
    }

    fn store(&self, group: GroupId) -> Result<RecordStore, OfflineError> {
        let path = store_path(group);
        if !self.disk.exists(&path).map_err(OfflineError::Folder)? {
            return Err(OfflineError::Missing(group));
        }
        let store = RecordStore::open(&self.disk, &path, &RecordStoreOptions::default());
        store.map_err(|error| storage(group)(&error))
    }

    /// Fills a group that the node does not have from a snapshot, with these voters, and lets
    /// `change` alter rows in the end. All of it is durable when this returns; a failure may leave a
    /// part behind, which the node must not be started with.
    ///
    /// # Errors
    /// [`OfflineError`].
    pub fn restore(
        &self,
        group: GroupId,
        snapshot: &SnapshotReader,
        voters: &[NodeId],
        learners: &[NodeId],
        change: impl FnOnce(&mut dyn WriteStore) -> Result<(), StoreError>,
    ) -> Result<SnapshotPosition, OfflineError> {
        let failed = storage(group);
        if self.holds(group)? {
            return Err(OfflineError::Exists(group));
        }
        let meta = announced(snapshot).map_err(|error| failed(&error))?;
        let members = membership(group, voters, learners)?;
        self.disk
            .create_directory(&directory(group))
            .map_err(OfflineError::Folder)?;
        let options = RecordStoreOptions::default();
        let store = RecordStore::open(&self.disk, &store_path(group), &options)
            .map_err(|error| failed(&error))?;
        snapshot.load_into(&store).map_err(|error| failed(&error))?;
        let view = store.read().map_err(|error| failed(&error))?;
        let mut applied = Applied::of(&view).map_err(|error| failed(&error))?;
        drop(view);
        let last = match applied.last {
            Some(last) if applied.meta() == meta => last,
            _ => return Err(failed(&"a snapshot of another position than it says")),
        };
        applied.membership = StoredMembership::new(Some(last), members);
        let written = store.write_durably(|rows| {
            rows.put(APPLIED_TABLE, APPLIED_KEY, &row(&applied)?)?;
            change(rows)
        });
        written.map_err(|error| failed(&error))?;
        self.begin_log(group, last)?;
        Ok(SnapshotPosition::of(&applied))
    }

    /// A log that begins behind a snapshot, in a term above any that was heard of it.
    fn begin_log(&self, group: GroupId, last: LogId) -> Result<(), OfflineError> {
        let failed = storage(group);
        let log = self.wal.group(group);
        let vote = Vote::new(last.leader_id.term + 1, self.node.0);
        let vote = encode(&vote).map_err(|error| failed(&error))?;
        durably(|done| log.save_vote(vote, done))?;
        let marker = encode(&last).map_err(|error| failed(&error))?;
        log.save_committed(encode(&Some(last)).map_err(|error| failed(&error))?);
        durably(|done| log.purge(last.index, marker, done))
    }

    /// What the node has of a group, and what `query` says of the state that comes out when every
    /// entry of its log is applied, committed or not. Changes nothing.
    ///
    /// # Errors
    /// [`OfflineError`].
    pub fn survey<T>(
        &self,
        group: GroupId,
        kind: &GroupKind,
        query: impl FnOnce(&dyn ReadStore) -> Result<T, StoreError>,
    ) -> Result<(Survey, T), OfflineError> {
        let store = self.store(group)?;
        let log = self.wal.group(group);
        let machine = shard_machines()(kind);
        let mut found = None;
        let tried = store.write(|rows| {
            let mut applied = Applied::of(&*rows).map_err(|error| StoreError(error.to_string()))?;
            let stored = applied.before().saturating_sub(1);
            let last = replay(&log, machine.as_ref(), rows, &mut applied)
                .map_err(|error| StoreError(error.to_string()))?;
            found = Some((stored, last, applied, query(&*rows)?));
            // An error makes the store take nothing: this was only tried out.
            Err::<(), _>(StoreError("tried out".to_owned()))
        });
        let failed = storage(group);
        let Some((stored, last, applied, answer)) = found else {
            return Err(tried.map_or_else(|error| failed(&error), |()| failed(&"nothing was read")));
        };
        let position = SnapshotPosition::of(&applied);
        let survey = Survey {
            group,
            last: last.map_or((0, 0), |last| (last.leader_id.term, last.index)),
            applied: stored,
            voters: position.voters,
        };
        Ok((survey, answer))
    }

    /// Makes this node the group's only member, by an entry at the end of its log. When the node is
    /// started it leads the group, and every entry in its log counts as committed.
    ///
    /// # Errors
    /// [`OfflineError::NoVoter`] when it did not vote in the group, else as [`OfflineNode::survey`].
    pub fn take_over(&self, group: GroupId, kind: &GroupKind) -> Result<Survey, OfflineError> {
        let failed = storage(group);
        let (survey, ()) = self.survey(group, kind, |_| Ok(()))?;
        if !survey.voters.contains(&self.node) {
            return Err(OfflineError::NoVoter(group));
        }
        let log = self.wal.group(group);
        let voted: Option<Vote> = log
            .state()
            .vote
            .map(|vote| decode(&vote))
            .transpose()
            .map_err(|error| failed(&error))?;
        let voted = voted.map_or(0, |vote| vote.leader_id.term);
        let term = voted.max(survey.last.0) + 1;
        let vote = encode(&Vote::new(term, self.node.0)).map_err(|error| failed(&error))?;
        durably(|done| log.save_vote(vote, done))?;
        let index = survey.last.1 + 1;
        let alone = Entry {
            log_id: log_id(term, index),
            payload: EntryPayload::Membership(membership(group, &[self.node], &[])?),
        };
        let payload = record(&alone).map_err(|error| failed(&error))?;
        durably(|done| log.append(vec![LogRecord { index, payload }], done))?;
        Ok(Survey {
            last: (term, index),
            voters: vec![self.node],
            ..survey
        })
    }

    /// Writes what is queued and closes the log.
    pub fn close(self) {
        self.wal.close();
    }
}

/// Applies every entry that the store does not have; returns the log's last id.
fn replay(
    log: &GroupLog,
    machine: &dyn StateMachine,
    rows: &mut dyn WriteStore,
    applied: &mut Applied,
) -> io::Result<Option<LogId>> {
    let end = log.state().last.map_or(0, |last| last.saturating_add(1));
    while applied.before() < end {
        let records = log
            .read(applied.before()..end, READ_BYTES)
            .map_err(io::Error::other)?;
        if records.is_empty() {
            return Err(io::Error::other("an entry is missing from the log"));
        }
        for next in records {
            let next = entry(&next.payload)?;
            applied.last = Some(next.log_id);
            apply_entry(applied, machine, rows, &next).map_err(io::Error::other)?;
        }
    }
    Ok(applied.last)
}

fn membership(
    group: GroupId,
    voters: &[NodeId],
    learners: &[NodeId],
) -> Result<Membership<u64, EmptyNode>, OfflineError> {
    let ids: BTreeSet<u64> = voters.iter().map(|node| node.0).collect();
    if ids.is_empty() {
        return Err(OfflineError::NoVoters(group));
    }
    let all = voters.iter().chain(learners);
    let nodes: BTreeMap<u64, EmptyNode> = all.map(|node| (node.0, EmptyNode {})).collect();
    Membership::new(vec![ids], nodes).map_err(|error| storage(group)(&error))
}

fn row(applied: &Applied) -> Result<bytes::Bytes, StoreError> {
    encode(applied).map_err(|error| StoreError(error.to_string()))
}

fn store_path(group: GroupId) -> String {
    format!("{}/records.redb", directory(group))
}

/// Runs a write of the log and waits until it is durable.
fn durably(write: impl FnOnce(Done)) -> Result<(), OfflineError> {
    let (sender, receiver) = mpsc::channel();
    write(Box::new(move |result| {
        // Whoever waits below is there until it is told.
        let _ = sender.send(result);
    }));
    let written = receiver.recv().unwrap_or(Err(WalError::Closed));
    written.map_err(OfflineError::Log)
}
