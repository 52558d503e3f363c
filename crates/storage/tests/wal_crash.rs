//! The log under power cuts: after every single operation of the disk, and in every torn way that
//! the seeds give.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bailiwick_storage::simulated_disk::Operation;
use bailiwick_storage::{Done, LogRecord, SimulatedDisk, Wal, WalError};
use bailiwick_types::GroupId;
use bytes::Bytes;
use common::{append, open, payload, vote, wait};

/// What must be true of a group at least, and at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    entries: BTreeMap<u64, u64>,
    vote: u64,
    purged: Option<u64>,
}

type Models = BTreeMap<u32, Model>;

fn observe(wal: &Wal) -> Models {
    let mut models = Models::new();
    for group in wal.groups() {
        let log = wal.group(group);
        let state = log.state();
        let all = log
            .read(0..u64::MAX, usize::MAX)
            .expect("all entries can be read");
        let term = |record: &LogRecord| {
            let text = String::from_utf8(record.payload.to_vec()).expect("text");
            let term: u64 = text
                .split('-')
                .nth(7)
                .expect("term")
                .parse()
                .expect("number");
            assert_eq!(
                record.payload,
                payload(group.0, record.index, term),
                "bytes as written"
            );
            term
        };
        let model = Model {
            entries: all
                .iter()
                .map(|record| (record.index, term(record)))
                .collect(),
            vote: state.vote.map_or(0, |vote| {
                u64::from_be_bytes(vote[..].try_into().expect("8"))
            }),
            purged: state.purged.map(|(upto, marker)| {
                assert_eq!(marker, vote(upto), "the marker is the one of the purge");
                upto
            }),
        };
        assert_eq!(state.first, model.entries.keys().next().copied());
        assert_eq!(state.last, model.entries.keys().next_back().copied());
        if model != Model::default() {
            models.insert(group.0, model);
        }
    }
    models
}

/// A workload over three groups with every kind of call; each step is (change to the model, call).
/// Returns the states after each acknowledged step, and the one that was under way at the failure.
fn workload(disk: &SimulatedDisk) -> Vec<Models> {
    let mut states = vec![Models::new()];
    let Ok(wal) = open(disk, 700) else {
        return states;
    };
    let log = |group: u32| wal.group(GroupId(group));
    for step in 0..60_u64 {
        let group = (step % 3) as u32 + 1;
        let mut models = states.last().expect("never empty").clone();
        let model = models.entry(group).or_default();
        let last = model.entries.keys().next_back().copied().or(model.purged);
        let next = last.map_or(0, |last| last + 1);
        let round = step / 3;
        let result = match round % 7 {
            0 => {
                model.vote = step + 1;
                wait(|done| log(group).save_vote(vote(step + 1), done))
            }
            3 if round > 3 && next > 2 => {
                let keep = next - 2;
                model.entries.retain(|index, _| *index <= keep);
                wait(|done| log(group).truncate_after(Some(keep), done))
            }
            5 if group != 1 && next > 2 => {
                let upto = next - 2;
                model.entries.retain(|index, _| *index > upto);
                model.purged = Some(upto);
                wait(|done| log(group).purge(upto, vote(upto), done))
            }
            6 if group == 3 && round > 6 => {
                models.remove(&3);
                wait(|done| log(3).remove(done))
            }
            _ => {
                model
                    .entries
                    .extend((next..next + 3).map(|index| (index, step)));
                append(&log(group), next..next + 3, step)
            }
        };
        models.retain(|_, model| *model != Model::default());
        let failed = result.is_err();
        states.push(models);
        if failed {
            return states;
        }
    }
    // A marker that all was acknowledged: no step was under way.
    let last = states.last().expect("never empty").clone();
    states.push(last);
    states
}

/// Attack: acknowledged before it was on disk, votes forgotten (NATS 2.12.1, robustmq #2039). Power
/// fails after every operation; the log must be as after the last acknowledged step, or have part of
/// the one under way.
#[test]
fn crash_at_every_write_keeps_what_was_acknowledged() {
    let disk = SimulatedDisk::new(0);
    workload(&disk);
    let operations = disk.operations();
    assert!(
        operations > 150,
        "the workload rolls, rewrites and deletes segments: {operations}"
    );
    for count in 0..=operations {
        for torn in [0, 1, 2, 3] {
            let disk = SimulatedDisk::new(count * 31 + torn);
            disk.fail_power_after(count);
            let states = workload(&disk);
            if torn == 0 {
                disk.crash()
            } else {
                disk.crash_torn()
            }
            check_recovered(
                &disk,
                &states,
                &format!("power cut after {count}, tear {torn}"),
            );
            // Once more: what recovery wrote is as safe as what it read.
            disk.crash_torn();
            check_recovered(
                &disk,
                &states,
                &format!("second cut after {count}, tear {torn}"),
            );
        }
    }
}

fn check_recovered(disk: &SimulatedDisk, states: &[Models], case: &str) {
    let wal = open(disk, 700).unwrap_or_else(|error| panic!("{case}: {error}"));
    let found = observe(&wal);
    let under_way = states.last().expect("never empty");
    let acknowledged = &states[states.len().saturating_sub(2)];
    if found == *acknowledged || found == *under_way {
        return;
    }
    // Part of an append may be there: entries are a prefix of those under way.
    for (group, model) in &found {
        let before = acknowledged.get(group).cloned().unwrap_or_default();
        let after = under_way.get(group).cloned().unwrap_or_default();
        let is_between = model.vote == before.vote
            && model.purged == before.purged
            && before
                .entries
                .iter()
                .all(|(index, term)| model.entries.get(index) == Some(term))
            && model
                .entries
                .iter()
                .all(|(index, term)| after.entries.get(index) == Some(term));
        assert!(
            is_between,
            "{case}: group {group} is {model:?}, not {before:?} .. {after:?}"
        );
    }
    let groups = |models: &Models| models.keys().copied().collect::<Vec<_>>();
    let allowed = [groups(acknowledged), groups(under_way)];
    assert!(
        allowed.contains(&groups(&found)),
        "{case}: groups {:?}",
        groups(&found)
    );
}

/// Attack: double vote because the vote was not synced (robustmq #2039).
#[test]
fn vote_is_synced_before_it_is_answered() {
    let disk = SimulatedDisk::new(1);
    let wal = open(&disk, 1 << 20).expect("new");
    let seen = Arc::new(Mutex::new(Vec::new()));
    for term in 1..20_u64 {
        let (disk, seen) = (disk.clone(), Arc::clone(&seen));
        let ballot = Bytes::from(format!("vote-of-term-{term};"));
        let expected = ballot.clone();
        wait(|done| {
            let check: Done = Box::new(move |result| {
                let durable = disk
                    .durable_content("wal/0000000000000001.wal")
                    .unwrap_or_default();
                let found = durable
                    .windows(expected.len())
                    .any(|window| window == &expected[..]);
                seen.lock().expect("lock").push(found);
                done(result);
            });
            wal.group(GroupId(1)).save_vote(ballot, check);
        })
        .expect("saved");
    }
    assert_eq!(*seen.lock().expect("lock"), vec![true; 19]);
}

/// Attack: a failed fsync is retried and "succeeds" (rostam #94).
#[test]
fn failed_fsync_latches_the_log_closed() {
    let disk = SimulatedDisk::new(2);
    let wal = open(&disk, 1 << 20).expect("new");
    let log = wal.group(GroupId(1));
    append(&log, 0..3, 1).expect("appended");
    disk.fail_nth(Operation::Sync, 1, std::io::ErrorKind::Other);
    let error = append(&log, 3..5, 1).expect_err("the sync failed");
    assert!(
        matches!(
            error,
            WalError::Io {
                operation: "syncing",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(wal.failed());
    let before = disk.operations();
    assert!(append(&log, 5..6, 1).is_err());
    assert!(wait(|done| log.save_vote(vote(9), done)).is_err());
    assert!(wait(|done| log.purge(1, vote(1), done)).is_err());
    assert!(wait(|done| log.truncate_after(None, done)).is_err());
    assert!(wait(|done| log.remove(done)).is_err());
    assert_eq!(disk.operations(), before, "nothing is tried again");
    wal.close();

    // The kernel shows what it could not write as if it were there. The next process finds it,
    // and must not count it as on disk until it has written it again.
    disk.kill_process();
    let wal = open(&disk, 1 << 20).expect("the file reads well");
    let last = wal.group(GroupId(1)).state().last.expect("entries");
    disk.crash();
    let wal = open(&disk, 1 << 20).expect("reopened");
    assert_eq!(wal.group(GroupId(1)).state().last, Some(last));
}

/// Attack: truncation not synced (tsoracle #260, hiqlite-wal #361): kill between it and the append.
#[test]
fn truncation_survives_a_kill_before_the_next_append() {
    let disk = SimulatedDisk::new(4);
    let wal = open(&disk, 1 << 20).expect("new");
    append(&wal.group(GroupId(1)), 0..10, 1).expect("appended");
    wait(|done| wal.group(GroupId(1)).truncate_after(Some(4), done)).expect("truncated");
    disk.crash();
    let wal = open(&disk, 1 << 20).expect("reopened");
    let log = wal.group(GroupId(1));
    assert_eq!(log.state().last, Some(4));
    append(&log, 5..7, 2).expect("the new leader's entries follow");
    disk.crash();
    let wal = open(&disk, 1 << 20).expect("reopened");
    let entries = observe(&wal)[&1].entries.clone();
    assert_eq!(
        entries.into_iter().collect::<Vec<_>>()[4..],
        [(4, 1), (5, 2), (6, 2)]
    );
}

/// Attack: purge not synced, or its position lost by a later truncation (hiqlite-wal).
#[test]
fn purge_survives_a_kill_and_a_truncation() {
    let disk = SimulatedDisk::new(5);
    let wal = open(&disk, 400).expect("new");
    for at in 0..10 {
        append(&wal.group(GroupId(1)), at * 3..at * 3 + 3, 1).expect("appended");
    }
    wait(|done| wal.group(GroupId(1)).purge(20, vote(20), done)).expect("purged");
    disk.crash();
    let wal = open(&disk, 400).expect("reopened");
    let log = wal.group(GroupId(1));
    assert_eq!(log.state().purged, Some((20, vote(20))));
    assert_eq!((log.state().first, log.state().last), (Some(21), Some(29)));
    wait(|done| log.truncate_after(None, done)).expect("truncated");
    let refused = append(&log, 0..1, 2).expect_err("the purged entries are not coming back");
    assert!(
        matches!(
            refused,
            WalError::NotConsecutive {
                expected: 21,
                found: 0,
                ..
            }
        ),
        "{refused:?}"
    );
    wait(|done| log.purge(50, vote(50), done)).expect("a snapshot goes beyond the log");
    append(&log, 51..52, 2).expect("follows the snapshot");
    disk.crash();
    let wal = open(&disk, 400).expect("reopened");
    assert_eq!(wal.group(GroupId(1)).state().purged, Some((50, vote(50))));
    assert_eq!(wal.group(GroupId(1)).state().first, Some(51));
}

/// A group that lags must not keep all segments of the busy ones.
#[test]
fn lagging_group_is_rewritten_forward_so_that_old_segments_go() {
    let disk = SimulatedDisk::new(10);
    let wal = open(&disk, 2_000).expect("new");
    let (slow, busy) = (wal.group(GroupId(1)), wal.group(GroupId(2)));
    append(&slow, 5..8, 1).expect("appended");
    wait(|done| slow.save_vote(vote(7), done)).expect("saved");
    wait(|done| slow.purge(5, vote(5), done)).expect("purged");
    for at in 0..300 {
        append(&busy, at..at + 1, 1).expect("appended");
        if at > 3 {
            wait(|done| busy.purge(at - 3, vote(at - 3), done)).expect("purged");
        }
    }
    let statistics = wal.statistics();
    assert!(
        statistics.moved_records > 0 && statistics.deleted_segments > 5,
        "{statistics:?}"
    );
    assert!(statistics.segment_bytes < 10_000, "{statistics:?}");
    wal.close();
    disk.crash();
    let wal = open(&disk, 2_000).expect("reopened");
    let slow = &observe(&wal)[&1];
    assert_eq!(slow.entries.keys().copied().collect::<Vec<_>>(), [6, 7]);
    assert_eq!((slow.vote, slow.purged), (7, Some(5)));
    assert_eq!(wal.group(GroupId(2)).state().last, Some(299));
}

/// The log mixes jurisdictions: when a group leaves the node, none of its bytes may stay.
#[test]
fn group_removal_leaves_no_bytes_of_it() {
    let disk = SimulatedDisk::new(11);
    let wal = open(&disk, 1_000).expect("new");
    for at in 0..12 {
        append(&wal.group(GroupId(1)), at..at + 1, 1).expect("appended");
        append(&wal.group(GroupId(2)), at..at + 1, 1).expect("appended");
    }
    let holds = |needle: &str| {
        let files = disk
            .paths()
            .into_iter()
            .filter_map(|path| disk.content(&path));
        files
            .filter(|file| file.windows(needle.len()).any(|w| w == needle.as_bytes()))
            .count()
    };
    assert!(holds("entry-of-group-1-") > 1 && holds("entry-of-group-2-") > 1);
    wait(|done| wal.group(GroupId(1)).remove(done)).expect("removed");
    assert_eq!(holds("entry-of-group-1-"), 0);
    assert_eq!(wal.groups(), [GroupId(2)]);
    assert_eq!(wal.group(GroupId(1)).state(), Default::default());
    disk.crash();
    let wal = open(&disk, 1_000).expect("reopened");
    assert_eq!(wal.groups(), [GroupId(2)]);
    assert_eq!(observe(&wal)[&2].entries.len(), 12);
    append(&wal.group(GroupId(1)), 40..41, 1).expect("a group that comes back begins anew");
}

/// A crash in the middle of a removal leaves all of the group, or the next start finishes it.
#[test]
fn removal_that_a_crash_cut_short_is_finished_at_the_next_start() {
    let mut finished_at_start = 0;
    for count in 0..200 {
        let disk = SimulatedDisk::new(count);
        let wal = open(&disk, 1_000).expect("new");
        for at in 0..8 {
            append(&wal.group(GroupId(1)), at..at + 1, 1).expect("appended");
            append(&wal.group(GroupId(2)), at..at + 1, 1).expect("appended");
        }
        disk.fail_power_after(count);
        let removed = wait(|done| wal.group(GroupId(1)).remove(done)).is_ok();
        disk.crash();
        let wal = open(&disk, 1_000).expect("reopened");
        let files = disk
            .paths()
            .into_iter()
            .filter_map(|path| disk.content(&path));
        let needle = b"entry-of-group-1-";
        let holds = |file: &Vec<u8>| file.windows(needle.len()).any(|window| window == needle);
        let left = files.filter(holds).count();
        let models = observe(&wal);
        assert_eq!(models[&2].entries.len(), 8, "power cut after {count}");
        if models.contains_key(&1) {
            assert!(
                !removed && models[&1].entries.len() == 8,
                "power cut after {count}"
            );
        } else {
            assert_eq!(left, 0, "power cut after {count}");
            finished_at_start += u32::from(!removed);
        }
        if removed {
            break;
        }
    }
    assert!(finished_at_start > 3, "{finished_at_start}");
}
