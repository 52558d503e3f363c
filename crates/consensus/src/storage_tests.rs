//! The log store and the state machine on disks that lose power, against openraft's own suite and
//! against a model of what was acknowledged.
#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bailiwick_storage::simulated_disk::Operation;
use bailiwick_storage::{Disk, OsDisk, RecordStoreOptions, SimulatedDisk, Wal, WalOptions};
use bailiwick_types::store::{ReadStore, StoreError, Table, WriteStore};
use bailiwick_types::{GroupId, NodeId, Timestamp};
use bytes::Bytes;
use openraft::storage::{
    RaftLogReader, RaftLogStorage, RaftLogStorageExt, RaftSnapshotBuilder, RaftStateMachine,
};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, StorageError};

use crate::log_store::LogStore;
use crate::machine::StateMachine;
use crate::raft::{Entry, Proposal, Types, Vote, log_id};
use crate::state_machine::{GroupMachine, MachineOptions};

const ROWS: Table = Table::new(1);

/// Keeps every command under its number, and counts.
struct Keeper;

impl StateMachine for Keeper {
    fn apply(
        &self,
        store: &mut dyn WriteStore,
        stamp: Timestamp,
        command: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let number = store.last(ROWS)?.map_or(0, |(key, _)| {
            u64::from_be_bytes(key.try_into().unwrap()) + 1
        });
        let mut value = stamp.micros().to_be_bytes().to_vec();
        value.extend_from_slice(command);
        store.put(ROWS, &number.to_be_bytes(), &value)?;
        Ok(number.to_be_bytes().to_vec())
    }
}

struct Opened {
    wal: Wal,
    log: LogStore,
    machine: GroupMachine,
    failed: Arc<AtomicBool>,
}

fn open(disk: Arc<dyn Disk>) -> io::Result<Opened> {
    let failed = Arc::new(AtomicBool::new(false));
    let hook = failed.clone();
    let fatal: crate::Fatal = Arc::new(move |_| hook.store(true, Ordering::SeqCst));
    let mut options = WalOptions::new(NodeId(1));
    options.segment_bytes = 16 << 10;
    options.retained_bytes = 64 << 10;
    let wal = Wal::open(disk.clone(), options).map_err(io::Error::other)?;
    let last_stamp = Arc::new(AtomicU64::new(0));
    let machine = GroupMachine::open(MachineOptions {
        disk,
        directory: "groups/7".to_owned(),
        store: RecordStoreOptions {
            cache_bytes: 1 << 20,
            ..RecordStoreOptions::default()
        },
        machine: Arc::new(Keeper),
        fatal: fatal.clone(),
        last_stamp: last_stamp.clone(),
        checkpoint_bytes: u64::MAX,
    })?;
    let log = LogStore::new(wal.group(GroupId(7)), machine.clone(), last_stamp, fatal);
    Ok(Opened {
        wal,
        log,
        machine,
        failed,
    })
}

struct Builder {
    directory: tempfile::TempDir,
    built: AtomicU64,
}

impl StoreBuilder<Types, LogStore, GroupMachine, Wal> for Builder {
    async fn build(&self) -> Result<(Wal, LogStore, GroupMachine), StorageError<Types>> {
        let number = self.built.fetch_add(1, Ordering::Relaxed);
        let disk = Arc::new(OsDisk::new(self.directory.path().join(number.to_string())));
        let opened = open(disk).expect("a temporary directory");
        Ok((opened.wal, opened.log.unguarded(), opened.machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_suite_passes() {
    let builder = Builder {
        directory: tempfile::tempdir().unwrap(),
        built: AtomicU64::new(0),
    };
    Suite::test_all(builder).await.unwrap();
}

fn proposal(term: u64, index: u64, salt: u64) -> Entry {
    let length = usize::try_from(salt % 700).unwrap();
    let mut command = vec![u8::try_from(salt % 251).unwrap(); length];
    command.extend_from_slice(&salt.to_be_bytes());
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(Proposal {
            stamp: Timestamp(1000 + index),
            command: Bytes::from(command),
        }),
    }
}

/// What was acknowledged before the power failed.
#[derive(Default, Debug)]
struct Acknowledged {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    purged: u64,
}

/// Small deterministic randomness.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn apply(machine: &mut GroupMachine, entries: Vec<Entry>) -> io::Result<()> {
    let items = entries.into_iter().map(|entry| Ok((entry, None)));
    machine.apply(futures::stream::iter(items)).await
}

/// Works as openraft would until the power fails, and notes what was acknowledged.
async fn work(
    opened: &mut Opened,
    random: &mut Random,
    known: &mut Acknowledged,
) -> io::Result<()> {
    let mut term = known.vote.map_or(1, |vote| vote.leader_id.term + 1);
    let state = opened.log.get_log_state().await?;
    let mut next = state.last_log_id.map_or(0, |last| last.index + 1);
    let mut applied = opened
        .machine
        .applied_state()
        .await?
        .0
        .map_or(0, |last| last.index + 1);
    for _ in 0..60 {
        match random.below(10) {
            0 => {
                term += 1;
                let vote = Vote::new(term, 1);
                opened.log.save_vote(&vote).await?;
                known.vote = Some(vote);
            }
            1 if next > applied => {
                // Never below what was applied: committed entries stay.
                let keep = applied + random.below(next - applied);
                // Once asked for, they may be gone.
                known.entries.retain(|index, _| *index < keep);
                opened
                    .log
                    .truncate_after(keep.checked_sub(1).map(|index| log_id(term, index)))
                    .await?;
                next = keep;
            }
            2 => {
                let machine = opened.machine.clone();
                crate::state_machine::blocking(move || machine.checkpoint()).await?;
            }
            3 if applied > 4 => {
                let upto = applied - 3;
                let id = opened.log.try_get_log_entries(upto..=upto).await?;
                if let Some(entry) = id.first() {
                    known.purged = upto;
                    opened.log.purge(entry.log_id).await?;
                }
            }
            4 | 5 if next > applied => {
                let upto = applied + 1 + random.below(next - applied);
                let entries = opened.log.try_get_log_entries(applied..upto).await?;
                apply(&mut opened.machine, entries).await?;
                applied = upto;
            }
            _ => {
                let count = 1 + random.below(4);
                let batch: Vec<Entry> = (next..next + count)
                    .map(|index| proposal(term, index, random.below(1 << 30)))
                    .collect();
                opened
                    .log
                    .blocking_append(batch.clone())
                    .await
                    .map_err(io::Error::other)?;
                known
                    .entries
                    .extend(batch.into_iter().map(|entry| (entry.log_id.index, entry)));
                next += count;
            }
        }
    }
    Ok(())
}

/// After a power cut: all that was acknowledged is there, and the store can be replayed to it.
async fn check(opened: &mut Opened, known: &Acknowledged) {
    let vote = opened.log.read_vote().await.unwrap();
    assert!(
        vote >= known.vote,
        "vote {vote:?} below the acknowledged {:?}",
        known.vote
    );
    let state = opened.log.get_log_state().await.unwrap();
    let purged = state.last_purged_log_id.map(|id| id.index);
    let from = purged.map_or(0, |index| index + 1);
    let entries = opened
        .log
        .try_get_log_entries(from..u64::MAX)
        .await
        .unwrap();
    let found: BTreeMap<u64, &Entry> = entries
        .iter()
        .map(|entry| (entry.log_id.index, entry))
        .collect();
    for (index, entry) in known.entries.range(from..) {
        assert_eq!(found.get(index), Some(&entry), "acknowledged entry {index}");
    }
    let (applied, _) = opened.machine.applied_state().await.unwrap();
    let applied = applied.map_or(0, |last| last.index + 1);
    assert!(
        applied >= from,
        "the log was purged to {from} and the store has only {applied}"
    );
    apply(
        &mut opened.machine,
        entries
            .iter()
            .filter(|entry| entry.log_id.index >= applied)
            .cloned()
            .collect(),
    )
    .await
    .unwrap();
    let rows = opened
        .machine
        .view()
        .unwrap()
        .scan_prefix(ROWS, &[], usize::MAX)
        .unwrap();
    for (index, entry) in &known.entries {
        let EntryPayload::Normal(proposal) = &entry.payload else {
            continue;
        };
        let (key, value) = &rows[usize::try_from(*index).unwrap()];
        assert_eq!(key[..], index.to_be_bytes());
        assert_eq!(&value[8..], &proposal.command[..], "applied entry {index}");
    }
}

/// Power cuts at many points of many lives, torn writes included: nothing acknowledged is lost, a
/// vote never goes back, and the log is never purged ahead of the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_survives_power_cuts() {
    for seed in 0..24 {
        let disk = SimulatedDisk::new(seed);
        let mut random = Random(seed + 1);
        let mut known = Acknowledged::default();
        for _ in 0..4 {
            let mut opened = open(disk.shared()).expect("opens after a power cut");
            check(&mut opened, &known).await;
            // What was not acknowledged may have survived; it is now the log's.
            let from = known.purged;
            let entries = opened
                .log
                .try_get_log_entries(from..u64::MAX)
                .await
                .unwrap();
            known
                .entries
                .extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
            disk.fail_power_after(5 + random.below(150));
            // An error is the power cut.
            let _ = work(&mut opened, &mut random, &mut known).await;
            drop(opened);
            if random.below(2) == 0 {
                disk.crash();
            } else {
                disk.crash_torn();
            }
        }
        let mut opened = open(disk.shared()).expect("opens after a power cut");
        check(&mut opened, &known).await;
    }
}

/// A failed sync must end the process, and must not be reported as flushed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync_calls_the_fatal_hook() {
    let disk = SimulatedDisk::new(1);
    let mut opened = open(disk.shared()).unwrap();
    opened
        .log
        .blocking_append([proposal(1, 0, 3)])
        .await
        .unwrap();
    assert!(!opened.failed.load(Ordering::SeqCst));
    disk.fail_nth(Operation::Sync, 1, io::ErrorKind::Other);
    let appended = opened.log.blocking_append([proposal(1, 1, 4)]).await;
    assert!(appended.is_err());
    assert!(opened.failed.load(Ordering::SeqCst));
    assert!(opened.log.save_vote(&Vote::new(9, 1)).await.is_err());
}

/// The log may go only where the store is durable, whoever asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purge_waits_for_the_store() {
    let disk = SimulatedDisk::new(1);
    let mut opened = open(disk.shared()).unwrap();
    let entries: Vec<Entry> = (0..4).map(|index| proposal(1, index, index)).collect();
    opened.log.blocking_append(entries.clone()).await.unwrap();
    apply(&mut opened.machine, entries[..3].to_vec())
        .await
        .unwrap();
    opened.log.purge(log_id(1, 2)).await.unwrap();
    assert!(
        opened.log.purge(log_id(1, 3)).await.is_err(),
        "entry 3 is not applied"
    );
    drop(opened);
    disk.crash();
    let mut opened = open(disk.shared()).unwrap();
    assert_eq!(
        opened.machine.applied_state().await.unwrap().0,
        Some(log_id(1, 2))
    );
}

/// Log time never goes back, even if two proposals reach the log in the other order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_time_never_goes_back() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    struct Times(Arc<Mutex<Vec<Timestamp>>>);
    impl StateMachine for Times {
        fn apply(
            &self,
            _store: &mut dyn WriteStore,
            stamp: Timestamp,
            _command: &[u8],
        ) -> Result<Vec<u8>, StoreError> {
            self.0.lock().unwrap().push(stamp);
            Ok(Vec::new())
        }
    }
    let mut machine = GroupMachine::open(MachineOptions {
        disk: SimulatedDisk::new(1).shared(),
        directory: "groups/7".to_owned(),
        store: RecordStoreOptions {
            cache_bytes: 1 << 20,
            ..RecordStoreOptions::default()
        },
        machine: Arc::new(Times(seen.clone())),
        fatal: Arc::new(|_| {}),
        last_stamp: Arc::new(AtomicU64::new(0)),
        checkpoint_bytes: u64::MAX,
    })
    .unwrap();
    let stamped = |index, stamp| Entry {
        log_id: log_id(1, index),
        payload: EntryPayload::Normal(Proposal {
            stamp: Timestamp(stamp),
            command: Bytes::new(),
        }),
    };
    let entries = vec![stamped(1, 1005), stamped(2, 1003), stamped(3, 1009)];
    apply(&mut machine, entries).await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [Timestamp(1005), Timestamp(1005), Timestamp(1009)]
    );
    assert_eq!(machine.log_time(), Timestamp(1009));
}

/// A snapshot replaces the store whole: before a power cut or not, and never in part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installed_snapshot_survives_power_cuts() {
    let sender = SimulatedDisk::new(1);
    let mut leader = open(sender.shared()).unwrap();
    let entries: Vec<Entry> = (0..40).map(|index| proposal(2, index, index)).collect();
    apply(&mut leader.machine, entries).await.unwrap();
    let mut builder = leader.machine.get_snapshot_builder().await;
    let meta = builder.build_snapshot().await.unwrap().meta;
    let (mut before, mut after) = (0, 0);
    for operations in 0..60 {
        let disk = SimulatedDisk::new(operations);
        let mut follower = open(disk.shared()).unwrap();
        apply(&mut follower.machine, vec![proposal(1, 0, 9)])
            .await
            .unwrap();
        follower.machine.checkpoint().unwrap();
        let snapshot = leader
            .machine
            .get_current_snapshot()
            .await
            .unwrap()
            .unwrap();
        disk.fail_power_after(operations);
        let installed = follower
            .machine
            .install_snapshot(&meta, snapshot.snapshot)
            .await;
        drop(follower);
        disk.crash_torn();
        let mut follower = open(disk.shared()).unwrap();
        let (applied, _) = follower.machine.applied_state().await.unwrap();
        let rows = follower.machine.view().unwrap();
        let rows = rows.scan_prefix(ROWS, &[], usize::MAX).unwrap().len();
        if applied == meta.last_log_id {
            assert_eq!(rows, 40);
            after += 1;
        } else {
            assert!(installed.is_err(), "what was installed is gone");
            assert_eq!((applied, rows), (Some(log_id(1, 0)), 1));
            before += 1;
        }
    }
    assert!(
        before > 0 && after > 0,
        "{before} cuts before, {after} after"
    );
}
