//! What the tests of the log share: opening it, waiting for answers, entries that can be told apart.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::sync::mpsc;

use bailiwick_storage::{Done, GroupLog, LogRecord, SimulatedDisk, Wal, WalError, WalOptions};
use bailiwick_types::NodeId;
use bytes::Bytes;

pub(crate) fn options(segment_bytes: u64) -> WalOptions {
    WalOptions {
        segment_bytes,
        cache_bytes: 300,
        retained_bytes: 3 * segment_bytes,
        ..WalOptions::new(NodeId(3))
    }
}

pub(crate) fn open(disk: &SimulatedDisk, segment_bytes: u64) -> Result<Wal, WalError> {
    Wal::open(disk.shared(), options(segment_bytes))
}

/// Runs one call and waits for its answer.
pub(crate) fn wait(call: impl FnOnce(Done)) -> Result<(), WalError> {
    let (sender, receiver) = mpsc::channel();
    call(Box::new(move |result| {
        let _ = sender.send(result);
    }));
    receiver.recv().expect("every call is answered")
}

pub(crate) fn payload(group: u32, index: u64, term: u64) -> Bytes {
    Bytes::from(format!(
        "entry-of-group-{group}-index-{index}-term-{term}-{}",
        "x".repeat(40)
    ))
}

pub(crate) fn records(group: u32, indices: std::ops::Range<u64>, term: u64) -> Vec<LogRecord> {
    indices
        .map(|index| LogRecord {
            index,
            payload: payload(group, index, term),
        })
        .collect()
}

pub(crate) fn append(
    log: &GroupLog,
    indices: std::ops::Range<u64>,
    term: u64,
) -> Result<(), WalError> {
    wait(|done| log.append(records(log.group().0, indices, term), done))
}

pub(crate) fn vote(term: u64) -> Bytes {
    Bytes::copy_from_slice(&term.to_be_bytes())
}
