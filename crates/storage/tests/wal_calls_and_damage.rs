//! The log's calls, and what it does with segments that are torn, damaged or another node's.

mod common;

use std::sync::mpsc;

use bailiwick_storage::simulated_disk::Operation;
use bailiwick_storage::wal::Damage;
use bailiwick_storage::{Done, LogRecord, SimulatedDisk, Wal, WalError, WalOptions};
use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;
use common::{append, open, payload, records, vote, wait};

#[test]
fn failed_write_and_full_disk_latch_the_log_closed() {
    for full in [false, true] {
        let disk = SimulatedDisk::new(3);
        let wal = open(&disk, 1 << 20).expect("new");
        let log = wal.group(GroupId(1));
        append(&log, 0..3, 1).expect("appended");
        if full {
            disk.set_capacity(Some(300));
        } else {
            disk.fail_nth(Operation::Write, 1, std::io::ErrorKind::Other);
        }
        assert!(append(&log, 3..5, 1).is_err());
        disk.set_capacity(None);
        assert!(wal.failed() && append(&log, 5..6, 1).is_err());
        wal.close();
        disk.crash();
        let wal = open(&disk, 1 << 20).expect("reopened");
        assert_eq!(wal.group(GroupId(1)).state().last, Some(2));
    }
}

#[test]
fn many_callers_share_one_sync() {
    let disk = SimulatedDisk::new(13);
    let wal = open(&disk, 1 << 20).expect("new");
    let (sender, receiver) = mpsc::channel();
    // The first callback holds the writer until all others have queued.
    let (release, held) = mpsc::channel::<()>();
    let first: Done = Box::new(move |_| held.recv().expect("released"));
    wal.group(GroupId(100)).append(records(100, 0..1, 1), first);
    while wal.statistics().syncs == 0 {
        std::thread::yield_now();
    }
    for group in 0..50 {
        let sender = sender.clone();
        let done: Done = Box::new(move |result| sender.send(result).expect("test waits"));
        wal.group(GroupId(group))
            .append(records(group, 0..1, 1), done);
    }
    release.send(()).expect("writer waits");
    for _ in 0..50 {
        receiver.recv().expect("answered").expect("appended");
    }
    assert_eq!(wal.statistics().syncs, 2);
    assert_eq!(wal.statistics().records, 51);
}

#[test]
fn appended_entries_can_be_read_at_once_within_the_byte_limit() {
    let disk = SimulatedDisk::new(14);
    let wal = open(&disk, 1 << 20).expect("new");
    let log = wal.group(GroupId(1));
    log.append(records(1, 10..20, 1), Box::new(|_| {}));
    assert_eq!(log.state().last, Some(19));
    assert_eq!(
        log.read(0..15, usize::MAX).expect("read"),
        records(1, 10..15, 1)
    );
    assert_eq!(log.read(12..20, 0).expect("read"), records(1, 12..13, 1));
    assert_eq!(
        log.last_record().expect("read"),
        records(1, 19..20, 1).pop()
    );
    let refused = append(&log, 25..26, 1).expect_err("a gap");
    assert!(matches!(
        refused,
        WalError::NotConsecutive {
            expected: 20,
            found: 25,
            ..
        }
    ));
    let huge = LogRecord {
        index: 20,
        payload: Bytes::from(vec![0; (32 << 20) + 1]),
    };
    let refused = wait(|done| log.append(vec![huge], done)).expect_err("too large");
    assert!(matches!(refused, WalError::TooLarge { .. }) && !wal.failed());
    assert_eq!(log.state().last, Some(19));
    wal.close();
    let closed = append(&log, 20..21, 1).expect_err("closed");
    assert!(matches!(closed, WalError::Closed));
}

/// A bit that rots while the node runs must not be sent to others.
#[test]
fn rotten_entry_is_not_served() {
    let disk = SimulatedDisk::new(15);
    let wal = open(&disk, 1 << 20).expect("new");
    let log = wal.group(GroupId(1));
    append(&log, 0..20, 1).expect("appended");
    assert!(log.read(0..1, 1).is_ok());
    disk.flip_bit("wal/0000000000000001.wal", 32 + 21 + 30, 0);
    let error = log
        .read(0..1, 1)
        .expect_err("the cache holds only the newest entries");
    assert!(
        matches!(error, WalError::Damaged { offset: 53, .. }),
        "{error:?}"
    );
}

#[test]
fn panicking_callback_keeps_nobody_else_from_an_answer() {
    let disk = SimulatedDisk::new(16);
    let wal = open(&disk, 1 << 20).expect("new");
    let log = wal.group(GroupId(1));
    log.save_vote(vote(1), Box::new(|_| panic!("a caller's fault")));
    append(&log, 0..3, 1).expect("the next caller is answered");
    assert!(!wal.failed());
}

#[test]
fn segments_of_another_node_are_refused() {
    let disk = SimulatedDisk::new(9);
    open(&disk, 1 << 20).expect("new").close();
    let other = WalOptions::new(NodeId(4));
    let error = Wal::open(disk.shared(), other).expect_err("another node's");
    let (expected, found) = (NodeId(4), NodeId(3));
    assert!(
        matches!(error, WalError::WrongNode { expected: e, found: f, .. } if (e, f) == (expected, found))
    );
}

#[test]
fn damage_or_a_hole_in_an_older_segment_refuses_to_start() {
    let build = || {
        let disk = SimulatedDisk::new(7);
        let wal = open(&disk, 300).expect("new");
        for at in 0..9 {
            append(&wal.group(GroupId(1)), at..at + 1, 1).expect("appended");
        }
        wal.close();
        assert!(disk.paths().len() >= 3);
        disk
    };
    let last_byte = |disk: &SimulatedDisk, path: &str| disk.content(path).expect("file").len() - 1;
    let disk = build();
    let path = "wal/0000000000000002.wal";
    disk.flip_bit(path, last_byte(&disk, path) as u64, 0);
    let error = open(&disk, 300).expect_err("damaged");
    assert!(
        matches!(&error, WalError::Damaged { file, .. } if file == path),
        "{error}"
    );

    // Cut at the end of a batch, all that is left is valid: only the batch numbers tell.
    let disk = build();
    let file = bailiwick_storage::Disk::open(&disk, path).expect("file");
    file.set_length(32).expect("cut");
    let error = open(&disk, 300).expect_err("cut");
    assert!(
        matches!(
            &error,
            WalError::Damaged {
                reason: Damage::Batch,
                ..
            }
        ),
        "{error}"
    );

    for gone in ["wal/0000000000000001.wal", path] {
        let disk = build();
        bailiwick_storage::Disk::remove(&disk, gone).expect("removed");
        let error = open(&disk, 300).expect_err("a segment is missing");
        assert!(
            matches!(&error, WalError::MissingSegment { file } if file == gone),
            "{error}"
        );
    }
}

#[test]
fn torn_tail_of_the_last_segment_is_cut_and_the_log_goes_on() {
    let disk = SimulatedDisk::new(8);
    let wal = open(&disk, 1 << 20).expect("new");
    append(&wal.group(GroupId(1)), 0..3, 1).expect("appended");
    append(&wal.group(GroupId(1)), 3..4, 1).expect("appended");
    wal.close();
    let path = "wal/0000000000000001.wal";
    let full = disk.content(path).expect("file");
    let last_batch = full.len() - 42 - payload(1, 3, 1).len();
    for cut in last_batch..full.len() {
        let file = bailiwick_storage::Disk::create(&disk, path).expect("file");
        file.write_at(0, &full[..cut]).expect("written");
        let wal = open(&disk, 1 << 20).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let log = wal.group(GroupId(1));
        assert_eq!(log.state().last, Some(2), "cut at {cut}");
        append(&log, 3..5, 2).expect("goes on");
        wal.close();
        let wal = open(&disk, 1 << 20).expect("reopened");
        assert_eq!(wal.group(GroupId(1)).state().last, Some(4));
    }
}

/// Attack: bit errors on a minority spread to all (NATS 2.12.1): a damaged node does not start.
#[test]
fn damage_in_the_middle_refuses_to_start_and_names_file_and_offset() {
    let disk = SimulatedDisk::new(6);
    let wal = open(&disk, 1 << 20).expect("new");
    for at in 0..4 {
        append(&wal.group(GroupId(1)), at..at + 1, 1).expect("appended");
    }
    wal.close();
    let path = "wal/0000000000000001.wal";
    let length = disk.content(path).expect("the segment").len() as u64;
    // The last batch alone may be a torn one; every bit before it is not.
    let last_batch = 21 + 21 + payload(1, 3, 1).len() as u64;
    for offset in 0..length - last_batch {
        assert!(disk.flip_bit(path, offset, (offset % 8) as u8));
        match open(&disk, 1 << 20) {
            Err(WalError::Damaged {
                file,
                offset: named,
                reason,
            }) => {
                assert_eq!(file, path);
                assert!(named <= offset, "{named} is not behind {offset}");
                let expected = if offset < 32 {
                    Damage::Header
                } else {
                    Damage::FollowedByRecords
                };
                assert_eq!(reason, expected, "offset {offset}");
            }
            other => panic!("offset {offset}: {other:?}"),
        }
        disk.flip_bit(path, offset, (offset % 8) as u8);
    }
    assert!(open(&disk, 1 << 20).is_ok());
}

/// A sector that reads as zeros looks like a torn write, but not when a later batch follows.
#[test]
fn lost_sector_before_a_later_batch_refuses_to_start() {
    let disk = SimulatedDisk::new(17);
    let wal = open(&disk, 1 << 20).expect("new");
    append(&wal.group(GroupId(1)), 0..30, 1).expect("one batch over several sectors");
    append(&wal.group(GroupId(1)), 30..31, 1).expect("a later batch");
    wal.close();
    let path = "wal/0000000000000001.wal";
    let file = bailiwick_storage::Disk::open(&disk, path).expect("file");
    file.write_at(512, &[0; 512]).expect("lost");
    let error = open(&disk, 1 << 20).expect_err("entries that were acknowledged are gone");
    let reason = Damage::FollowedByRecords;
    assert!(
        matches!(&error, WalError::Damaged { reason: r, .. } if *r == reason),
        "{error}"
    );
}

#[test]
fn committed_rides_along_and_never_ahead_of_its_entries() {
    let disk = SimulatedDisk::new(12);
    let wal = open(&disk, 1 << 20).expect("new");
    let log = wal.group(GroupId(1));
    append(&log, 0..2, 1).expect("appended");
    let before = wal.statistics().syncs;
    log.save_committed(vote(1));
    assert_eq!(log.state().committed, Some(vote(1)));
    assert_eq!(wal.statistics().syncs, before, "no sync of its own");
    append(&wal.group(GroupId(2)), 0..1, 1).expect("another group's batch");
    disk.crash();
    let wal = open(&disk, 1 << 20).expect("reopened");
    assert_eq!(wal.group(GroupId(1)).state().committed, Some(vote(1)));
}
