//! Files of every format version that was ever written stay readable, and newer ones are refused by
//! name: `tests/fixtures/<version>/` holds a write-ahead log, a record store, a snapshot and a backup
//! file as the first program of that version wrote them. Never written anew: a change of a format adds
//! a folder. With `BAILIWICK_WRITE_FIXTURES` set to a version that has no folder, one is written.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use anyhow::{Context, ensure};
use bailiwick_storage::{
    BackupEncoder, BackupError, BackupFile, Disk, LogRecord, OsDisk, RecordStore,
    RecordStoreOptions, SnapshotError, SnapshotReader, Wal, WalError, WalOptions, write_snapshot,
};
use bailiwick_types::store::{ReadStore, Table};
use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;

/// The versions that have a folder.
const VERSIONS: [u32; 1] = [1];
const GROUP: GroupId = GroupId(5);
const NODE: NodeId = NodeId(7);
const HEADER: &[u8] = b"{\"a\":\"header\"}\n";
const METADATA: &[u8] = b"metadata";

fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{version}"))
}

/// A copy to read: opening a store or a log may write.
fn copy(version: u32) -> anyhow::Result<(tempfile::TempDir, Arc<dyn Disk>)> {
    let to = tempfile::tempdir()?;
    std::fs::create_dir(to.path().join("wal"))?;
    for path in bailiwick_tests::files(&folder(version))? {
        let name = path.strip_prefix(folder(version))?;
        std::fs::copy(&path, to.path().join(name))?;
    }
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(to.path().to_owned()));
    Ok((to, disk))
}

fn wal_options() -> WalOptions {
    WalOptions {
        segment_bytes: 64 << 10,
        ..WalOptions::new(NODE)
    }
}

fn rows() -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let long = vec![9; 5000];
    vec![
        (Table::new(1), Vec::new(), b"state".to_vec()),
        (
            Table::of_period(24, 3),
            b"key-1".to_vec(),
            b"value".to_vec(),
        ),
        (Table::of_period(24, 3), b"key-2".to_vec(), long),
        (
            Table::new(u16::MAX),
            b"applied".to_vec(),
            b"position".to_vec(),
        ),
    ]
}

fn durably(write: impl FnOnce(bailiwick_storage::Done)) -> anyhow::Result<()> {
    let (sender, receiver) = mpsc::channel();
    write(Box::new(move |result| {
        let _ = sender.send(result);
    }));
    Ok(receiver.recv()??)
}

fn entry(index: u64, text: &str) -> LogRecord {
    LogRecord {
        index,
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn write(version: u32) -> anyhow::Result<()> {
    let to = folder(version);
    ensure!(!to.exists(), "fixtures are never written anew");
    std::fs::create_dir_all(&to)?;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(to.clone()));
    let wal = Wal::open(disk.clone(), wal_options())?;
    let log = wal.group(GROUP);
    durably(|done| log.save_vote(Bytes::from_static(b"vote"), done))?;
    let first = (1..=3)
        .map(|index| entry(index, "dropped or purged"))
        .collect();
    durably(|done| log.append(first, done))?;
    durably(|done| log.truncate_after(Some(2), done))?;
    durably(|done| log.append(vec![entry(3, "three"), entry(4, "four")], done))?;
    durably(|done| log.purge(2, Bytes::from_static(b"marker"), done))?;
    log.save_committed(Bytes::from_static(b"committed"));
    durably(|done| log.append(vec![entry(5, "five")], done))?;
    wal.close();
    let store = RecordStore::open(&disk, "records.redb", &RecordStoreOptions::default())?;
    store.write_durably(|store| {
        let mut rows = rows().into_iter();
        rows.try_for_each(|(table, key, value)| store.put(table, &key, &value))
    })?;
    write_snapshot(&*disk, "group.snapshot", METADATA, &store.read()?)?;
    let snapshot = std::fs::read(to.join("group.snapshot"))?;
    let (mut encoder, mut bytes) = BackupEncoder::begin(HEADER, snapshot.len() as u64)?;
    encoder.pass(&snapshot);
    bytes.extend_from_slice(&snapshot);
    bytes.extend_from_slice(&encoder.finish());
    std::fs::write(to.join("group.bwsave"), bytes)?;
    Ok(())
}

#[test]
fn files_of_every_version_are_read() -> anyhow::Result<()> {
    if let Ok(version) = std::env::var("BAILIWICK_WRITE_FIXTURES") {
        write(version.parse()?)?;
    }
    for version in VERSIONS {
        let (folder, disk) = copy(version)?;
        let wal = Wal::open(disk.clone(), wal_options())?;
        let log = wal.group(GROUP);
        let state = log.state();
        ensure!((state.first, state.last) == (Some(3), Some(5)), "{state:?}");
        ensure!(state.purged == Some((2, Bytes::from_static(b"marker"))));
        ensure!(state.vote == Some(Bytes::from_static(b"vote")));
        ensure!(state.committed == Some(Bytes::from_static(b"committed")));
        let read = log.read(3..6, usize::MAX)?;
        let expected = [entry(3, "three"), entry(4, "four"), entry(5, "five")];
        ensure!(read == expected, "{read:?}");
        wal.close();
        let store = RecordStore::open(&disk, "records.redb", &RecordStoreOptions::default())?;
        let view = store.read()?;
        for (table, key, value) in rows() {
            let found = view.get(table, &key)?;
            ensure!(found == Some(value), "{table}: {found:?}");
        }
        let snapshot = SnapshotReader::open(&*disk, "group.snapshot")?;
        check_snapshot(&snapshot)?;
        let backup = BackupFile::open(&folder.path().join("group.bwsave"))?;
        ensure!(backup.header() == HEADER);
        check_snapshot(&backup.snapshot()?)?;
    }
    Ok(())
}

fn check_snapshot(snapshot: &SnapshotReader) -> anyhow::Result<()> {
    ensure!(snapshot.metadata() == METADATA);
    let mut found = Vec::new();
    snapshot.for_each_row(|table, key, value| {
        found.push((table, key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    ensure!(found == rows(), "{} rows", found.len());
    Ok(())
}

/// Replaces the version after the eight bytes of magic, and the checksum where there is one.
fn make_newer(path: &Path, checksum: Option<std::ops::Range<usize>>) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(path)?;
    bytes[8..12].copy_from_slice(&99u32.to_le_bytes());
    if let Some(of) = checksum {
        let end = of.end;
        let crc = crc32c::crc32c(&bytes[of]);
        bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(path, bytes)?;
    Ok(())
}

#[test]
fn files_of_a_newer_version_are_refused_by_name() -> anyhow::Result<()> {
    let (folder, disk) = copy(VERSIONS[VERSIONS.len() - 1])?;
    let segments = bailiwick_tests::files(&folder.path().join("wal"))?;
    let segment = segments.first().context("a segment")?;
    make_newer(segment, Some(0..28))?;
    let refused = Wal::open(disk.clone(), wal_options());
    ensure!(
        matches!(
            &refused,
            Err(WalError::UnsupportedVersion { found: 99, .. })
        ),
        "{refused:?}"
    );
    let path = folder.path().join("group.snapshot");
    make_newer(&path, None)?;
    let refused = SnapshotReader::open(&*disk, "group.snapshot").map(drop);
    ensure!(
        matches!(
            &refused,
            Err(SnapshotError::UnsupportedVersion { found: 99, .. })
        ),
        "{refused:?}"
    );
    let path = folder.path().join("group.bwsave");
    make_newer(&path, None)?;
    let refused = BackupFile::open(&path).map(drop);
    ensure!(
        matches!(
            &refused,
            Err(BackupError::UnsupportedVersion { found: 99, .. })
        ),
        "{refused:?}"
    );
    Ok(())
}
