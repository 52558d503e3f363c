//! Measures the record store and the log on this machine's disk:
//! `cargo run --release -p bailiwick-storage --example storage_speed`.

#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use bailiwick_storage::{
    Disk, LogRecord, OsDisk, RecordStore, RecordStoreOptions, Wal, WalOptions,
};
use bailiwick_types::store::{StoreError, Table};
use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;
use rand::RngExt;

const ROWS_PER_TRANSACTION: u64 = 1_000;
const TRANSACTIONS: u64 = 500;

fn main() {
    let directory = tempfile::tempdir_in(".").expect("the working directory can be written");
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(directory.path().to_owned()));
    record_store(
        &disk,
        "random.redb",
        "24-byte random keys, 8-byte values",
        |rng, _| {
            let mut key = vec![0; 24];
            rng.fill(&mut key[..]);
            (key, vec![7; 8])
        },
    );
    record_store(
        &disk,
        "sequential.redb",
        "8-byte sequential keys, 150-byte values",
        |_, row| (row.to_be_bytes().to_vec(), vec![7; 150]),
    );
    for groups in [1, 64] {
        log(&disk, groups, 300, 20_000);
    }
    log(&disk, 4, 1 << 20, 300);
}

fn record_store(
    disk: &Arc<dyn Disk>,
    path: &str,
    what: &str,
    row: impl Fn(&mut rand::rngs::ThreadRng, u64) -> (Vec<u8>, Vec<u8>),
) {
    let options = RecordStoreOptions {
        cache_bytes: 256 << 20,
        ..RecordStoreOptions::default()
    };
    let store = RecordStore::open(disk, path, &options).expect("opens");
    let mut rng = rand::rng();
    let start = Instant::now();
    for transaction in 0..TRANSACTIONS {
        let rows: Vec<_> = (0..ROWS_PER_TRANSACTION)
            .map(|at| row(&mut rng, transaction * ROWS_PER_TRANSACTION + at))
            .collect();
        let written = store.write(|tables| {
            for (key, value) in &rows {
                tables.put(Table::new(1), key, value)?;
            }
            Ok::<(), StoreError>(())
        });
        written.expect("written");
    }
    let seconds = start.elapsed().as_secs_f64();
    let rows = TRANSACTIONS * ROWS_PER_TRANSACTION;
    let start = Instant::now();
    store.checkpoint().expect("durable");
    let checkpoint = start.elapsed().as_secs_f64();
    let bytes = store.file_bytes().expect("bytes");
    store.compact().expect("compacted");
    let compacted = store.file_bytes().expect("bytes");
    println!(
        "{what}: {:.0} rows/s, checkpoint {checkpoint:.2} s, file {} B/row, compacted {} B/row",
        rows as f64 / seconds,
        bytes / rows,
        compacted / rows,
    );
}

/// One append in flight per group, as many rounds as make `appends`.
fn log(disk: &Arc<dyn Disk>, groups: u32, bytes: usize, appends: u64) {
    let options = WalOptions {
        directory: format!("wal-{groups}-{bytes}"),
        ..WalOptions::new(NodeId(1))
    };
    let wal = Wal::open(Arc::clone(disk), options).expect("opens");
    let payload = Bytes::from(vec![7; bytes]);
    let (sender, receiver) = mpsc::channel();
    let append = |group: u32, index: u64| {
        let sender = sender.clone();
        let record = LogRecord {
            index,
            payload: payload.clone(),
        };
        let done = Box::new(move |result: Result<(), _>| {
            result.expect("the disk is well");
            // The last round's answers come when nobody counts any more.
            let _ = sender.send((group, index));
        });
        wal.group(GroupId(group)).append(vec![record], done);
    };
    let start = Instant::now();
    for group in 0..groups {
        append(group, 0);
    }
    for _ in 0..appends {
        let (group, index) = receiver.recv().expect("answered");
        append(group, index + 1);
    }
    let seconds = start.elapsed().as_secs_f64();
    let statistics = wal.statistics();
    println!(
        "log, {groups} groups, {bytes} B: {:.0} appends/s, {:.1} MB/s, {} syncs, {:.2} ms each",
        appends as f64 / seconds,
        statistics.bytes as f64 / seconds / 1e6,
        statistics.syncs,
        statistics.sync_total_us as f64 / statistics.syncs as f64 / 1e3,
    );
}
