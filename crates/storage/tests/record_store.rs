//! The record store against `MemoryStore`, under power cuts, and from snapshots.

use std::ops::Bound;
use std::sync::Arc;

use bailiwick_storage::simulated_disk::Operation;
use bailiwick_storage::{
    Disk, OsDisk, RecordStore, RecordStoreOptions, SimulatedDisk, SnapshotError, SnapshotReader,
    SnapshotReceiver, write_snapshot, write_snapshot_of,
};
use bailiwick_types::store::{MemoryStore, ReadStore, Row, StoreError, Table, WriteStore};
use proptest::prelude::*;

const PATH: &str = "records.redb";

fn open(disk: &SimulatedDisk) -> RecordStore {
    RecordStore::open(&disk.shared(), PATH, &RecordStoreOptions::default()).expect("opens")
}

fn put(store: &RecordStore, table: Table, key: &[u8], value: &[u8]) {
    store
        .write(|rows| rows.put(table, key, value))
        .expect("written");
}

fn all(view: &dyn ReadStore) -> Vec<(Table, Vec<Row>)> {
    let tables = view.tables().expect("tables").into_iter().map(|table| {
        let rows = view.scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX);
        (table, rows.expect("rows"))
    });
    tables.filter(|(_, rows)| !rows.is_empty()).collect()
}

#[derive(Clone, Debug)]
enum Change {
    Put(Table, Vec<u8>, Vec<u8>),
    Delete(Table, Vec<u8>),
    Drop(Table),
}

fn table() -> impl Strategy<Value = Table> {
    (1..3_u16, 0..3_u32).prop_map(|(kind, period)| Table { kind, period })
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0), Just(1), Just(255)], 0..4)
}

fn change() -> impl Strategy<Value = Change> {
    let value = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        8 => (table(), key(), value).prop_map(|(table, key, value)| Change::Put(table, key, value)),
        3 => (table(), key()).prop_map(|(table, key)| Change::Delete(table, key)),
        1 => table().prop_map(Change::Drop),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
        Just(Bound::Unbounded)
    ]
}

fn apply(store: &mut dyn WriteStore, changes: &[Change]) -> Result<(), StoreError> {
    for change in changes {
        match change {
            Change::Put(table, key, value) => store.put(*table, key, value)?,
            Change::Delete(table, key) => store.delete(*table, key)?,
            Change::Drop(table) => store.drop_table(*table)?,
        }
    }
    Ok(())
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

type Probe = (Table, Bound<Vec<u8>>, Bound<Vec<u8>>);

/// All that can be asked has the same answer.
fn compare(real: &dyn ReadStore, model: &dyn ReadStore, probes: &[Probe]) {
    assert_eq!(all(real), all(model));
    assert_eq!(
        real.tables().expect("tables"),
        model.tables().expect("tables")
    );
    for (table, from, to) in probes {
        let (from, to) = (borrowed(from), borrowed(to));
        let scan = |store: &dyn ReadStore| store.scan(*table, from, to, 3).expect("scan");
        assert_eq!(scan(real), scan(model), "{table} {from:?} {to:?}");
        assert_eq!(
            real.last(*table).expect("last"),
            model.last(*table).expect("last")
        );
        if let Bound::Included(key) = from {
            assert_eq!(
                real.get(*table, key).expect("get"),
                model.get(*table, key).expect("get")
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn record_store_answers_as_the_memory_store(
        transactions in prop::collection::vec(
            (prop::collection::vec(change(), 0..30), any::<bool>(), any::<bool>()),
            1..8,
        ),
        probes in prop::collection::vec((table(), bound(), bound()), 10),
        overlay_bytes in prop_oneof![Just(0), Just(3_000), Just(64 << 20)],
    ) {
        let disk = SimulatedDisk::new(0);
        let options = RecordStoreOptions { overlay_bytes, ..RecordStoreOptions::default() };
        let store = RecordStore::open(&disk.shared(), PATH, &options).expect("opens");
        let mut model = MemoryStore::default();
        let mut views = Vec::new();
        for (changes, commits, checkpoints) in transactions {
            views.push((store.read().expect("view"), model.clone()));
            let mut changed = model.clone();
            apply(&mut changed, &changes).expect("memory");
            let result = store.write(|rows| {
                apply(rows, &changes)?;
                compare(&*rows as &dyn ReadStore, &changed, &probes);
                commits.then_some(()).ok_or_else(|| StoreError("given up".to_owned()))
            });
            prop_assert_eq!(result.is_ok(), commits);
            if commits {
                model = changed;
            }
            compare(&store.read().expect("view"), &model, &probes);
            if checkpoints {
                store.checkpoint().expect("durable");
                compare(&store.read().expect("view"), &model, &probes);
            }
            // A view sees what it began with, whatever was written, checkpointed or let go since.
            for (view, seen) in &views {
                compare(view, seen, &probes);
            }
            if changes.len() % 3 == 0 {
                views.remove(0);
            }
        }
        store.checkpoint().expect("durable");
        drop((views, store));
        disk.crash();
        compare(&open(&disk).read().expect("view"), &model, &probes);
    }
}

/// A scan that is cut into pieces, over rows of which many are deleted above the file.
#[test]
fn long_scans_pass_over_what_was_deleted() {
    let store = open(&SimulatedDisk::new(0));
    let table = Table::new(1);
    let key = |row: u32| row.to_be_bytes();
    let written =
        store.write(|rows| (0..3_000).try_for_each(|row| rows.put(table, &key(row), b"old")));
    written.expect("written");
    store.checkpoint().expect("durable");
    let changed = store.write(|rows| {
        (0..3_000)
            .filter(|row| row % 5 != 0)
            .try_for_each(|row| rows.delete(table, &key(row)))?;
        (2_000..2_500).try_for_each(|row| rows.put(table, &key(row), b"new"))?;
        rows.delete(table, &key(2_995))
    });
    changed.expect("written");
    let view = store.read().expect("view");
    let scanned = view.scan(table, Bound::Unbounded, Bound::Unbounded, 700);
    let expected = (0..3_000).filter_map(|row: u32| match row {
        2_000..2_500 => Some((key(row).to_vec(), b"new".to_vec())),
        _ if row.is_multiple_of(5) => Some((key(row).to_vec(), b"old".to_vec())),
        _ => None,
    });
    let expected: Vec<Row> = expected.collect();
    assert_eq!(scanned.expect("rows"), expected[..700]);
    let last = view.last(table).expect("last").expect("a row");
    assert_eq!(last.0, key(2_990));
}

/// Ends the other threads, however this one ends.
struct End<'done>(&'done std::sync::atomic::AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Readers see whole transactions while one thread writes and another puts what was written into the
/// file: rows come, go and come back above a layer that is on its way.
#[test]
fn views_are_whole_while_checkpoints_run() {
    const WINDOW: u64 = 5;
    let store = open(&SimulatedDisk::new(0));
    let (rows, count) = (Table::new(1), Table::of_period(2, 1));
    let writes = 2_000_u64;
    let done = std::sync::atomic::AtomicBool::new(false);
    let ended = || done.load(std::sync::atomic::Ordering::Relaxed);
    let look = || {
        let view = store.read().expect("view");
        let counted = view.get(count, b"count").expect("get");
        let Some(counted) = counted else { return 0 };
        let last = u64::from_be_bytes(counted[..].try_into().expect("8 bytes"));
        let found = view.scan(rows, Bound::Unbounded, Bound::Unbounded, usize::MAX);
        let found: Vec<Vec<u8>> = found.expect("rows").into_iter().map(|row| row.0).collect();
        let expected = (last.saturating_sub(WINDOW - 1).max(1)..=last).map(u64::to_be_bytes);
        assert_eq!(found, expected.map(Vec::from).collect::<Vec<_>>());
        let greatest = view.last(rows).expect("last").map(|row| row.0);
        assert_eq!(greatest, Some(last.to_be_bytes().to_vec()));
        // Dropped and made anew by every third transaction.
        let anew = view.tables().expect("tables").contains(&Table::new(3));
        assert_eq!(anew, last % 3 != 0);
        last
    };
    std::thread::scope(|scope| {
        let end = End(&done);
        let checkpoints = scope.spawn(|| {
            while !ended() {
                store.checkpoint().expect("durable");
            }
        });
        let reader = scope.spawn(|| {
            let mut before = 0;
            while !ended() {
                let seen = look();
                assert!(seen >= before, "{seen} after {before}");
                before = seen;
            }
        });
        for value in 1..=writes {
            let written = store.write(|tables| {
                tables.put(rows, &value.to_be_bytes(), b"row")?;
                if value > WINDOW {
                    tables.delete(rows, &(value - WINDOW).to_be_bytes())?;
                }
                match value % 3 {
                    0 => tables.drop_table(Table::new(3))?,
                    _ => tables.put(Table::new(3), b"a", b"b")?,
                }
                tables.put(count, b"count", &value.to_be_bytes())
            });
            written.expect("written");
            assert_eq!(look(), value);
        }
        drop(end);
        checkpoints.join().expect("checkpoints");
        reader.join().expect("reader");
    });
    assert_eq!(look(), writes);
}

/// A checkpoint that failed loses nothing: what it had is still read, and the next one has it too.
#[test]
fn failed_checkpoint_is_made_up_for_by_the_next() {
    let disk = SimulatedDisk::new(1);
    let store = open(&disk);
    let table = Table::new(1);
    put(&store, table, b"a", b"1");
    disk.fail_nth(Operation::Write, 1, std::io::ErrorKind::StorageFull);
    assert!(store.checkpoint().is_err());
    put(&store, table, b"b", b"2");
    let rows = all(&store.read().expect("view"));
    assert_eq!(rows[0].1.len(), 2, "{rows:?}");
    match store.checkpoint() {
        Ok(()) => {}
        // The file may refuse all after one failure, as the process must end then.
        Err(error) => {
            assert!(error.to_string().contains("Previous I/O error"), "{error}");
            return;
        }
    }
    drop(store);
    disk.crash();
    assert_eq!(all(&open(&disk).read().expect("view")), rows);
}

/// After a power cut anywhere the store is as at some checkpoint, never older than the last one that
/// was answered: the log is purged only behind it.
#[test]
fn crash_at_every_write_keeps_the_last_checkpoint() {
    let table = Table::new(1);
    let workload = |disk: &SimulatedDisk| -> Result<u64, StoreError> {
        let mut checkpointed = 0;
        let run = (|| {
            let store = RecordStore::open(&disk.shared(), PATH, &RecordStoreOptions::default())?;
            for value in 1..=12_u64 {
                store.write(|rows| {
                    rows.put(table, b"applied", &value.to_be_bytes())?;
                    rows.put(table, &value.to_be_bytes(), &[9; 2_000])
                })?;
                if value % 3 == 0 {
                    store.checkpoint()?;
                    checkpointed = value;
                }
            }
            Ok::<(), StoreError>(())
        })();
        // A failed disk is what this test makes; what counts is how far it got.
        let _ = run;
        Ok(checkpointed)
    };
    let disk = SimulatedDisk::new(0);
    assert_eq!(workload(&disk).expect("runs"), 12);
    let operations = disk.operations();
    for count in 0..operations {
        for torn in [false, true] {
            let disk = SimulatedDisk::new(count);
            disk.fail_power_after(count);
            let checkpointed = workload(&disk).expect("runs");
            if torn {
                disk.crash_torn()
            } else {
                disk.crash()
            }
            let store = RecordStore::open(&disk.shared(), PATH, &RecordStoreOptions::default());
            let Ok(store) = store else {
                panic!("does not open after {count} of {operations}, torn {torn}: {store:?}");
            };
            let view = store.read().expect("view");
            let applied = view
                .get(table, b"applied")
                .expect("get")
                .map_or(0, |bytes| {
                    u64::from_be_bytes(bytes[..].try_into().expect("8 bytes"))
                });
            assert!(
                applied >= checkpointed && applied % 3 == 0,
                "{applied} after {checkpointed}"
            );
            let rows = view
                .scan(table, Bound::Unbounded, Bound::Unbounded, 99)
                .expect("rows")
                .len();
            assert_eq!(rows as u64, if applied == 0 { 0 } else { applied + 1 });
        }
    }
}

#[test]
fn failed_checkpoint_is_an_error() {
    let disk = SimulatedDisk::new(1);
    let store = open(&disk);
    put(&store, Table::new(1), b"a", b"1");
    disk.fail_nth(Operation::Sync, 1, std::io::ErrorKind::Other);
    assert!(store.checkpoint().is_err());
}

#[test]
fn compaction_gives_space_back_and_needs_that_no_view_lives() {
    let directory = tempfile::tempdir().expect("directory");
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(directory.path().to_owned()));
    let store = RecordStore::open(&disk, PATH, &RecordStoreOptions::default()).expect("opens");
    let (kept, erased) = (Table::of_period(1, 1), Table::of_period(1, 2));
    for row in 0..4_000_u32 {
        put(&store, erased, &row.to_be_bytes(), &[1; 1_000]);
    }
    put(&store, kept, b"a", b"1");
    store
        .write(|rows| rows.drop_table(erased))
        .expect("dropped");
    store.checkpoint().expect("durable");
    let before = store.file_bytes().expect("bytes");
    let view = store.read().expect("view");
    assert!(store.compact().is_err());
    drop(view);
    assert!(store.compact().expect("compacted"));
    let after = store.file_bytes().expect("bytes");
    assert!(after * 2 < before, "{before} to {after}");
    assert_eq!(
        all(&store.read().expect("view")),
        [(kept, vec![(b"a".to_vec(), b"1".to_vec())])]
    );
}

fn filled(disk: &SimulatedDisk) -> RecordStore {
    let store = open(disk);
    store
        .write(|rows| {
            for row in 0..700_u32 {
                rows.put(Table::new(1), &row.to_be_bytes(), &[row as u8; 100])?;
            }
            rows.put(Table::of_period(2, 7), b"large", &vec![5; 3 << 20])?;
            rows.put(Table::of_period(2, 8), b"", b"")
        })
        .expect("written");
    store
}

#[test]
fn snapshot_brings_all_rows_and_replaces_what_was_there() {
    let disk = SimulatedDisk::new(2);
    let store = filled(&disk);
    let view = store.read().expect("view");
    put(&store, Table::new(1), b"later", b"not in the snapshot");
    let info = write_snapshot(&disk, "snapshot", b"meta", &view).expect("written");
    assert_eq!((info.rows, info.chunks), (702, 4));
    disk.crash();
    assert!(!disk.exists("snapshot.part").expect("disk"));

    let other = SimulatedDisk::new(3);
    let target = open(&other);
    put(&target, Table::new(9), b"old", b"row");
    let reader = SnapshotReader::open(&disk, "snapshot").expect("opens");
    assert_eq!(
        (reader.metadata(), reader.length()),
        (&b"meta"[..], info.bytes)
    );

    // As it travels: in pieces of any size, under its name only when all is there.
    let mut receiver = SnapshotReceiver::create(other.shared(), "received").expect("created");
    loop {
        let piece = reader.read_raw(receiver.received(), 100_000).expect("read");
        if piece.is_empty() {
            break;
        }
        receiver.write(&piece).expect("written");
    }
    assert!(!other.exists("received").expect("disk"));
    assert_eq!(receiver.finish().expect("whole"), info);
    let received = SnapshotReader::open(&other, "received").expect("opens");
    let old_view = target.read().expect("view");
    assert_eq!(received.load_into(&target).expect("loaded"), info);
    assert_eq!(
        all(&old_view).len(),
        1,
        "who reads keeps what he began with"
    );
    drop((old_view, target));
    other.crash();
    let view_again = open(&other).read().expect("view");
    // The source was cut without a checkpoint; its snapshot was durable.
    assert_eq!(
        all(&view_again)
            .iter()
            .map(|(_, rows)| rows.len())
            .sum::<usize>(),
        702
    );
    assert_eq!(
        view_again
            .get(Table::of_period(2, 7), b"large")
            .expect("get"),
        Some(vec![5; 3 << 20])
    );

    let part = [Table::of_period(2, 8)];
    let view = filled(&SimulatedDisk::new(4)).read().expect("view");
    let info = write_snapshot_of(&disk, "part", b"", &view, &part).expect("written");
    assert_eq!(info.rows, 1);
}

#[test]
fn damaged_snapshot_is_refused_and_changes_nothing() {
    let disk = SimulatedDisk::new(5);
    let source = open(&disk);
    for row in 0..5_u8 {
        put(&source, Table::new(1), &[row], &[row; 9]);
    }
    let view = source.read().expect("view");
    let info = write_snapshot(&disk, "snapshot", b"meta", &view).expect("written");
    let target = open(&SimulatedDisk::new(6));
    put(&target, Table::new(9), b"old", b"row");
    let before = all(&target.read().expect("view"));
    let load =
        || SnapshotReader::open(&disk, "snapshot").and_then(|reader| reader.load_into(&target));
    for offset in 0..info.bytes {
        disk.flip_bit("snapshot", offset, (offset % 8) as u8);
        match load().expect_err("damaged") {
            SnapshotError::Damaged {
                file,
                offset: named,
                ..
            } => {
                assert!(
                    file == "snapshot" && named <= offset,
                    "{offset} named as {named}"
                );
            }
            SnapshotError::UnsupportedVersion { .. } => assert!((8..12).contains(&offset)),
            other => panic!("{offset}: {other}"),
        }
        disk.flip_bit("snapshot", offset, (offset % 8) as u8);
    }
    let whole = disk.content("snapshot").expect("file");
    for length in (0..whole.len()).chain([whole.len() + 1]) {
        let file = disk.open("snapshot").expect("file");
        file.set_length(length as u64).expect("cut");
        assert!(
            matches!(load(), Err(SnapshotError::Damaged { .. })),
            "cut to {length}"
        );
        file.write_at(0, &whole).expect("restored");
        file.set_length(whole.len() as u64).expect("restored");
    }
    assert_eq!(all(&target.read().expect("view")), before);
    assert_eq!(load().expect("whole again").rows, 5);
}

#[test]
fn unfinished_snapshot_leaves_the_old_one() {
    let view = MemoryStore::default();
    let disk = SimulatedDisk::new(7);
    write_snapshot(&disk, "snapshot", b"old", &view).expect("written");
    let operations = disk.operations();
    for count in 0..operations {
        let disk = SimulatedDisk::new(count);
        write_snapshot(&disk, "snapshot", b"old", &view).expect("written");
        disk.fail_power_after(count);
        write_snapshot(&disk, "snapshot", b"new", &view).expect_err("cut");
        disk.crash_torn();
        let reader = SnapshotReader::open(&disk, "snapshot").expect("one of the two");
        reader.check().expect("whole");
        assert!([&b"old"[..], b"new"].contains(&reader.metadata()));
    }
}
