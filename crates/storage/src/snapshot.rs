//! A snapshot file: all rows of a record store, checked chunk by chunk.
//!
//! It is what a replica that lags too far behind gets, and what a backup holds. It is not encrypted
//! or signed: its checksums find damage, not malice, and who receives one checks its state by the
//! digest that the replicated log carries. All integers are little-endian.
//!
//! ```text
//! file    = header chunk* trailer
//! header  = magic "BWKSNAP\n" | version u32 | metadata length u32 | metadata | crc u32
//! chunk   = 1 u8 | length u32 | crc u32 | length bytes of the row stream, at most 1 MiB
//! trailer = 2 u8 | 16 u32     | crc u32 | rows u64 | chunks u64
//! crc       header: CRC32C of all before it; else of the position u64, from 0, the kind and the bytes
//! stream  = row*, cut into chunks anywhere
//! row     = kind u16 | period u32 | key length u32 | value length u32 | key | value
//! ```

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bailiwick_types::store::{ReadStore, StoreError, Table, WriteStore};

use crate::disk::{Disk, DiskFile};
use crate::record_store::RecordStore;

/// The format's version.
pub const SNAPSHOT_VERSION: u32 = 1;
/// The most bytes of rows in one chunk.
pub const MAXIMUM_CHUNK_BYTES: usize = 1 << 20;
/// The most bytes of metadata: 1 MiB, far above a membership of a few dozen nodes.
pub const MAXIMUM_METADATA_BYTES: usize = 1 << 20;
/// The longest key or value of a row: 32 MiB, as in the log.
pub const MAXIMUM_FIELD_BYTES: usize = 32 << 20;

const MAGIC: &[u8; 8] = b"BWKSNAP\n";
const CHUNK: u8 = 1;
const TRAILER: u8 = 2;
const FRAME_BYTES: usize = 9;
const ROW_HEADER_BYTES: usize = 14;
/// Rows read from the store at once.
const PAGE_ROWS: usize = 256;

/// What a snapshot file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Rows of all tables.
    pub rows: u64,
    /// Chunks, the trailer not counted.
    pub chunks: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why a snapshot was not written or not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk failed.
    #[error("{operation} {file} failed")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file's path on the disk.
        file: String,
        /// What the disk reported.
        source: io::Error,
    },
    /// The file is not what was written: the disk's or the sender's fault.
    #[error("{file} is damaged at offset {offset}: {reason}")]
    Damaged {
        /// The file's path on the disk.
        file: String,
        /// Bytes from the start of the file to the damaged part.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The file is of a format that this version does not read: the sender's or operator's fault.
    #[error("{file} has format version {found}")]
    UnsupportedVersion {
        /// The file's path on the disk.
        file: String,
        /// The version in its header.
        found: u32,
    },
    /// The caller gave more metadata than a header takes.
    #[error("{length} bytes of metadata are more than 1 MiB")]
    MetadataTooLong {
        /// The length in bytes.
        length: usize,
    },
    /// The record store failed while it was read or filled.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn io_error(operation: &'static str, file: &str) -> impl FnOnce(io::Error) -> SnapshotError {
    move |source| SnapshotError::Io {
        operation,
        file: file.to_owned(),
        source,
    }
}

/// Writes a snapshot of all tables; the file appears under its name whole and durable, or not.
///
/// # Errors
/// [`SnapshotError`] when the disk or the store fails, or the metadata is too long.
pub fn write_snapshot(
    disk: &dyn Disk,
    path: &str,
    metadata: &[u8],
    view: &dyn ReadStore,
) -> Result<SnapshotInfo, SnapshotError> {
    write_snapshot_of(disk, path, metadata, view, &view.tables()?)
}

/// As [`write_snapshot`], of the given tables only.
///
/// # Errors
/// As [`write_snapshot`].
pub fn write_snapshot_of(
    disk: &dyn Disk,
    path: &str,
    metadata: &[u8],
    view: &dyn ReadStore,
    tables: &[Table],
) -> Result<SnapshotInfo, SnapshotError> {
    let header = encode_header(metadata)?;
    let part = part_path(path);
    let file = disk.create(&part).map_err(io_error("creating", &part))?;
    let mut writer = Writer {
        file: &*file,
        end: 0,
        chunk: Vec::with_capacity(MAXIMUM_CHUNK_BYTES),
        info: SnapshotInfo {
            rows: 0,
            chunks: 0,
            bytes: 0,
        },
    };
    writer.put(&header).map_err(io_error("writing", &part))?;
    for table in tables {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rows = view.scan(*table, from, Bound::Unbounded, PAGE_ROWS)?;
            for (key, value) in &rows {
                writer
                    .row(*table, key, value)
                    .map_err(io_error("writing", &part))?;
            }
            match rows.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
    }
    let info = writer.finish().map_err(io_error("writing", &part))?;
    file.sync_data().map_err(io_error("syncing", &part))?;
    publish(disk, &part, path)?;
    Ok(info)
}

fn part_path(path: &str) -> String {
    format!("{path}.part")
}

/// Gives a finished file its name, durably.
fn publish(disk: &dyn Disk, part: &str, path: &str) -> Result<(), SnapshotError> {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    disk.rename(part, path)
        .and_then(|()| disk.sync_directory(directory))
        .map_err(io_error("naming", path))
}

fn encode_header(metadata: &[u8]) -> Result<Vec<u8>, SnapshotError> {
    let length = metadata.len();
    if length > MAXIMUM_METADATA_BYTES {
        return Err(SnapshotError::MetadataTooLong { length });
    }
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
    header.extend_from_slice(&(length as u32).to_le_bytes());
    header.extend_from_slice(metadata);
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    Ok(header)
}

struct Writer<'a> {
    file: &'a dyn DiskFile,
    end: u64,
    chunk: Vec<u8>,
    info: SnapshotInfo,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.end, bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key.len().max(value.len()) > MAXIMUM_FIELD_BYTES {
            return Err(io::Error::other(
                "a key or value of the store is longer than 32 MiB",
            ));
        }
        let (key_length, value_length) = (key.len() as u32, value.len() as u32);
        let mut header = [0; ROW_HEADER_BYTES];
        header[..2].copy_from_slice(&table.kind.to_le_bytes());
        header[2..6].copy_from_slice(&table.period.to_le_bytes());
        header[6..10].copy_from_slice(&key_length.to_le_bytes());
        header[10..].copy_from_slice(&value_length.to_le_bytes());
        for mut part in [&header[..], key, value] {
            while !part.is_empty() {
                let room = MAXIMUM_CHUNK_BYTES - self.chunk.len();
                let (now, later) = part.split_at(room.min(part.len()));
                self.chunk.extend_from_slice(now);
                part = later;
                if self.chunk.len() == MAXIMUM_CHUNK_BYTES {
                    self.flush()?;
                }
            }
        }
        self.info.rows += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        if !chunk.is_empty() {
            self.frame(CHUNK, &chunk)?;
            self.info.chunks += 1;
        }
        self.chunk = chunk;
        self.chunk.clear();
        Ok(())
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(FRAME_BYTES + bytes.len());
        frame.push(kind);
        frame.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        frame.extend_from_slice(&frame_checksum(self.info.chunks, kind, bytes).to_le_bytes());
        frame.extend_from_slice(bytes);
        self.put(&frame)
    }

    fn finish(mut self) -> io::Result<SnapshotInfo> {
        self.flush()?;
        let mut trailer = self.info.rows.to_le_bytes().to_vec();
        trailer.extend_from_slice(&self.info.chunks.to_le_bytes());
        self.frame(TRAILER, &trailer)?;
        self.info.bytes = self.end;
        Ok(self.info)
    }
}

fn frame_checksum(position: u64, kind: u8, bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), &[kind]);
    crc32c::crc32c_append(crc, bytes)
}

/// Reads a snapshot file with at most one chunk and one row in memory.
pub struct SnapshotReader {
    file: Box<dyn DiskFile>,
    path: String,
    length: u64,
    metadata: Vec<u8>,
    first_chunk_at: u64,
}

impl SnapshotReader {
    /// Opens a snapshot and checks its header, not yet its rows.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] or [`SnapshotError::UnsupportedVersion`] when it is not a snapshot
    /// that this version reads, [`SnapshotError::Io`] when the disk fails.
    pub fn open(disk: &dyn Disk, path: &str) -> Result<Self, SnapshotError> {
        let file = disk.open(path).map_err(io_error("opening", path))?;
        Self::of_file(file, path)
    }

    /// As [`SnapshotReader::open`], of a file that is open already; `path` names it in errors.
    ///
    /// # Errors
    /// As [`SnapshotReader::open`].
    pub fn of_file(file: Box<dyn DiskFile>, path: &str) -> Result<Self, SnapshotError> {
        let length = file.length().map_err(io_error("reading", path))?;
        let mut reader = Self {
            file,
            path: path.to_owned(),
            length,
            metadata: Vec::new(),
            first_chunk_at: 0,
        };
        let start = reader.bytes(0, 16)?;
        if &start[..8] != MAGIC {
            return Err(reader.damaged(0, "not a snapshot"));
        }
        let found = u32_at(&start, 8);
        if found != SNAPSHOT_VERSION {
            return Err(SnapshotError::UnsupportedVersion {
                file: path.to_owned(),
                found,
            });
        }
        let metadata_bytes = u32_at(&start, 12) as usize;
        if metadata_bytes > MAXIMUM_METADATA_BYTES {
            return Err(reader.damaged(12, "metadata longer than 1 MiB"));
        }
        let header = reader.bytes(0, 16 + metadata_bytes + 4)?;
        let (content, crc) = header.split_at(16 + metadata_bytes);
        if crc32c::crc32c(content) != u32_at(crc, 0) {
            return Err(reader.damaged(0, "header checksum"));
        }
        reader.metadata = content[16..].to_vec();
        reader.first_chunk_at = header.len() as u64;
        Ok(reader)
    }

    /// What the caller of [`write_snapshot`] gave.
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// The file's length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Unchecked bytes of the file from `offset`, at most `limit`, for sending it; empty at its end.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] when the disk fails.
    pub fn read_raw(&self, offset: u64, limit: usize) -> Result<Vec<u8>, SnapshotError> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.bytes(offset, left.min(limit))
    }

    /// Checks all of the file.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] names the place, [`SnapshotError::Io`] when the disk fails.
    pub fn check(&self) -> Result<SnapshotInfo, SnapshotError> {
        self.rows(&mut |_, _, _| Ok(()))
    }

    /// Gives all rows in the order of tables and keys, with at most one chunk and one row in memory.
    /// What was given counts only if this returns without an error.
    ///
    /// # Errors
    /// As [`SnapshotReader::check`], and what `take` returns.
    pub fn for_each_row(
        &self,
        mut take: impl FnMut(Table, &[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<SnapshotInfo, SnapshotError> {
        self.rows(&mut take)
    }

    /// Replaces all tables of the store by those of the snapshot, in one transaction that is durable
    /// when this returns. On an error the store is as it was.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] names the place, [`SnapshotError::Io`] and
    /// [`SnapshotError::Store`] when the disk fails.
    pub fn load_into(&self, store: &RecordStore) -> Result<SnapshotInfo, SnapshotError> {
        let mut outcome = None;
        let loaded = store.write_durably(|tables| {
            let replaced = self.replace(tables);
            let is_whole = replaced.is_ok();
            outcome = Some(replaced);
            // Any error makes the store take nothing; the one that is reported is `outcome`.
            is_whole
                .then_some(())
                .ok_or_else(|| StoreError("snapshot refused".to_owned()))
        });
        match outcome {
            Some(Ok(info)) => {
                loaded?;
                Ok(info)
            }
            Some(Err(error)) => Err(error),
            None => Err(loaded
                .err()
                .unwrap_or_else(|| StoreError("not run".to_owned()))
                .into()),
        }
    }

    fn replace(&self, store: &mut dyn WriteStore) -> Result<SnapshotInfo, SnapshotError> {
        for table in store.tables()? {
            store.drop_table(table)?;
        }
        self.rows(&mut |table, key, value| store.put(table, key, value))
    }

    /// Gives all rows in order; what was given counts only if this returns without an error.
    fn rows(&self, take: &mut TakeRow<'_>) -> Result<SnapshotInfo, SnapshotError> {
        let mut at = self.first_chunk_at;
        let mut stream = Vec::new();
        let (mut rows, mut chunks) = (0, 0);
        loop {
            let (kind, bytes) = self.frame(at, chunks)?;
            let frame_at = at;
            at += (FRAME_BYTES + bytes.len()) as u64;
            if kind == TRAILER {
                if bytes.len() != 16 || u64_at(&bytes, 0) != rows || u64_at(&bytes, 8) != chunks {
                    return Err(self.damaged(frame_at, "counts do not match"));
                }
                if !stream.is_empty() {
                    return Err(self.damaged(frame_at, "last row is cut off"));
                }
                if at != self.length {
                    return Err(self.damaged(at, "bytes after the end"));
                }
                let bytes = at;
                return Ok(SnapshotInfo {
                    rows,
                    chunks,
                    bytes,
                });
            }
            chunks += 1;
            stream.extend_from_slice(&bytes);
            rows += self.whole_rows(&mut stream, frame_at, take)?;
        }
    }

    /// Takes the whole rows off the front of the stream.
    fn whole_rows(
        &self,
        stream: &mut Vec<u8>,
        frame_at: u64,
        take: &mut TakeRow<'_>,
    ) -> Result<u64, SnapshotError> {
        let (mut start, mut rows) = (0, 0);
        while let Some(header) = stream.get(start..start + ROW_HEADER_BYTES) {
            let table = Table {
                kind: u16::from_le_bytes([header[0], header[1]]),
                period: u32_at(header, 2),
            };
            let key_bytes = u32_at(header, 6) as usize;
            let value_bytes = u32_at(header, 10) as usize;
            if key_bytes > MAXIMUM_FIELD_BYTES || value_bytes > MAXIMUM_FIELD_BYTES {
                return Err(self.damaged(frame_at, "a row is longer than its limit"));
            }
            let key_at = start + ROW_HEADER_BYTES;
            let Some(fields) = stream.get(key_at..key_at + key_bytes + value_bytes) else {
                break;
            };
            let (key, value) = fields.split_at(key_bytes);
            take(table, key, value)?;
            start = key_at + key_bytes + value_bytes;
            rows += 1;
        }
        stream.drain(..start);
        Ok(rows)
    }

    fn frame(&self, at: u64, position: u64) -> Result<(u8, Vec<u8>), SnapshotError> {
        let header = self.bytes(at, FRAME_BYTES)?;
        let length = u32_at(&header, 1) as usize;
        if !matches!(header[0], CHUNK | TRAILER) || length > MAXIMUM_CHUNK_BYTES {
            return Err(self.damaged(at, "not a chunk"));
        }
        if at + (FRAME_BYTES + length) as u64 > self.length {
            return Err(self.damaged(at, "cut off"));
        }
        let bytes = self.bytes(at + FRAME_BYTES as u64, length)?;
        if frame_checksum(position, header[0], &bytes) != u32_at(&header, 5) {
            return Err(self.damaged(at, "chunk checksum"));
        }
        Ok((header[0], bytes))
    }

    fn bytes(&self, at: u64, length: usize) -> Result<Vec<u8>, SnapshotError> {
        if at.saturating_add(length as u64) > self.length {
            return Err(self.damaged(at, "cut off"));
        }
        let mut bytes = vec![0; length];
        let read = self.file.read_at(at, &mut bytes);
        read.map_err(io_error("reading", &self.path))?;
        Ok(bytes)
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> SnapshotError {
        SnapshotError::Damaged {
            file: self.path.clone(),
            offset,
            reason,
        }
    }
}

type TakeRow<'a> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), StoreError> + 'a;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    u32::from_le_bytes(bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Takes the bytes of a snapshot from another node into a file that gets its name only once all of
/// it was checked and is durable.
pub struct SnapshotReceiver {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    path: String,
    received: u64,
}

impl SnapshotReceiver {
    /// Begins to receive; what was received under the same path before is dropped.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] when the disk fails.
    pub fn create(disk: Arc<dyn Disk>, path: &str) -> Result<Self, SnapshotError> {
        let file = disk
            .create(&part_path(path))
            .map_err(io_error("creating", path))?;
        Ok(Self {
            disk,
            file,
            path: path.to_owned(),
            received: 0,
        })
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the bytes that follow those received so far.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] when the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let written = self.file.write_at(self.received, bytes);
        written.map_err(io_error("writing", &self.path))?;
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Checks all that was received, makes it durable and gives the file its name.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when it is not a whole snapshot, else as [`write_snapshot`].
    pub fn finish(self) -> Result<SnapshotInfo, SnapshotError> {
        let part = part_path(&self.path);
        let info = SnapshotReader::open(&*self.disk, &part)?.check()?;
        self.file.sync_data().map_err(io_error("syncing", &part))?;
        publish(&*self.disk, &part, &self.path)?;
        Ok(info)
    }
}
