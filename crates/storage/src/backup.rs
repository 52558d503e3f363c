//! A backup file: a header that says what it is, one snapshot, and a digest over all of it.
//!
//! The snapshot's own checksums find where it is damaged; the digest shows that nothing of the file
//! is missing or exchanged. Neither is a signature: whoever may write the file can make another. What
//! the header says is for the caller to encode and to check. All integers are little-endian.
//!
//! ```text
//! file     = magic "BWKSAVE\n" | version u32 | header length u32 | header | snapshot length u64
//!            | snapshot | digest 32
//! snapshot   as drawn in `snapshot.rs`
//! digest     SHA-256 of everything before it
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::disk::DiskFile;
use crate::snapshot::{SnapshotError, SnapshotReader};

/// The format's version.
pub const BACKUP_VERSION: u32 = 1;
/// The longest header in bytes: a cosigned checkpoint of 2 x 15 members takes 8 KiB.
pub const MAXIMUM_HEADER_BYTES: usize = 256 << 10;
/// Bytes of the digest at the end.
pub const DIGEST_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"BWKSAVE\n";
/// Magic, version and the header's length.
const START_BYTES: usize = 16;
/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// Why a backup file is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The disk failed, or the file is not there.
    #[error("reading {} failed", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the disk reported.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{} is damaged: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file is of a format that this version does not read: the operator's to read with a newer
    /// program.
    #[error(
        "{} has backup format version {found}, this program reads up to {BACKUP_VERSION}",
        file.display()
    )]
    UnsupportedVersion {
        /// The file.
        file: PathBuf,
        /// The version that it says.
        found: u32,
    },
    /// The snapshot in it is damaged.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The caller gave a header that is too long.
    #[error("a header of {length} bytes is longer than 256 KiB")]
    HeaderTooLong {
        /// Its length in bytes.
        length: usize,
    },
}

/// Makes the bytes of a backup file around a snapshot that is passed through it.
#[derive(Debug)]
pub struct BackupEncoder {
    digest: Sha256,
}

impl BackupEncoder {
    /// Begins a file; returns its first bytes. The snapshot's bytes follow through
    /// [`BackupEncoder::pass`], exactly as many as are announced here.
    ///
    /// # Errors
    /// [`BackupError::HeaderTooLong`].
    pub fn begin(header: &[u8], snapshot_bytes: u64) -> Result<(Self, Vec<u8>), BackupError> {
        let length = header.len();
        if length > MAXIMUM_HEADER_BYTES {
            return Err(BackupError::HeaderTooLong { length });
        }
        let mut start = MAGIC.to_vec();
        start.extend_from_slice(&BACKUP_VERSION.to_le_bytes());
        start.extend_from_slice(&(length as u32).to_le_bytes());
        start.extend_from_slice(header);
        start.extend_from_slice(&snapshot_bytes.to_le_bytes());
        let digest = Sha256::new_with_prefix(&start);
        Ok((Self { digest }, start))
    }

    /// Takes the next bytes of the snapshot, which go to the file as they are.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// The last bytes of the file.
    pub fn finish(self) -> [u8; DIGEST_BYTES] {
        self.digest.finalize().into()
    }
}

/// A backup file whose digest was checked.
#[derive(Debug)]
pub struct BackupFile {
    path: PathBuf,
    header: Vec<u8>,
    snapshot_at: u64,
    snapshot_bytes: u64,
    digest: [u8; DIGEST_BYTES],
}

impl BackupFile {
    /// Opens a file and reads all of it once, to check its digest.
    ///
    /// # Errors
    /// [`BackupError`] names the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let failed = |source| BackupError::Io {
            file: path.to_owned(),
            source,
        };
        let damaged = |reason| BackupError::Damaged {
            file: path.to_owned(),
            reason,
        };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut start = [0; START_BYTES];
        if length < START_BYTES as u64 {
            return Err(damaged("shorter than its first bytes"));
        }
        file.read_exact(&mut start).map_err(failed)?;
        if &start[..8] != MAGIC {
            return Err(damaged("not a backup file"));
        }
        let found = u32_of(&start[8..12]);
        if found != BACKUP_VERSION {
            return Err(BackupError::UnsupportedVersion {
                file: path.to_owned(),
                found,
            });
        }
        let header_bytes = u32_of(&start[12..16]) as usize;
        let snapshot_at = (START_BYTES + header_bytes + 8) as u64;
        if header_bytes > MAXIMUM_HEADER_BYTES || snapshot_at > length {
            return Err(damaged("the header's length is impossible"));
        }
        let mut rest = vec![0; header_bytes + 8];
        file.read_exact(&mut rest).map_err(failed)?;
        let (header, announced) = rest.split_at(header_bytes);
        let snapshot_bytes = u64_of(announced);
        let expected = snapshot_at.checked_add(snapshot_bytes);
        if expected.and_then(|end| end.checked_add(DIGEST_BYTES as u64)) != Some(length) {
            return Err(damaged("cut off, or longer than it says"));
        }
        let mut hash = Sha256::new_with_prefix(start);
        hash.update(&rest);
        let (stated, digest) = digests(&mut file, snapshot_bytes, hash).map_err(failed)?;
        if stated != digest {
            return Err(damaged("its digest does not match"));
        }
        Ok(Self {
            path: path.to_owned(),
            header: header.to_vec(),
            snapshot_at,
            snapshot_bytes,
            digest,
        })
    }

    /// The header as its writer encoded it.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the snapshot in it.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    /// The digest over the file.
    pub fn digest(&self) -> [u8; DIGEST_BYTES] {
        self.digest
    }

    /// The snapshot in it; its rows are not checked yet.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn snapshot(&self) -> Result<SnapshotReader, BackupError> {
        let file = File::open(&self.path).map_err(|source| BackupError::Io {
            file: self.path.clone(),
            source,
        })?;
        let part = Part {
            file,
            begin: self.snapshot_at,
            length: self.snapshot_bytes,
        };
        let name = self.path.display().to_string();
        Ok(SnapshotReader::of_file(Box::new(part), &name)?)
    }
}

/// The digest that a file ends with, and the one of what is before it.
fn digests(
    file: &mut File,
    bytes: u64,
    mut hash: Sha256,
) -> io::Result<([u8; DIGEST_BYTES], [u8; DIGEST_BYTES])> {
    let mut left = bytes;
    let mut buffer = vec![0; READ_BYTES];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
        file.read_exact(&mut buffer[..now])?;
        hash.update(&buffer[..now]);
        left -= now as u64;
    }
    let mut stated = [0; DIGEST_BYTES];
    file.read_exact(&mut stated)?;
    Ok((stated, hash.finalize().into()))
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |n, byte| n << 8 | u32::from(*byte))
}

fn u64_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// A part of a file, read only: backups may lie on a medium that cannot be written.
struct Part {
    file: File,
    begin: u64,
    length: u64,
}

fn read_only() -> io::Error {
    io::Error::new(
        io::ErrorKind::ReadOnlyFilesystem,
        "a backup is not written to",
    )
}

impl DiskFile for Part {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(bytes, self.begin + offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        Err(read_only())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bailiwick_types::store::Table;

    use super::*;
    use crate::disk::{Disk, OsDisk};
    use crate::record_store::{RecordStore, RecordStoreOptions};
    use crate::snapshot::write_snapshot;

    /// A backup of a store with one row, and its folder.
    fn backup() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder.path().to_owned()));
        let store = RecordStore::open(&disk, "s.redb", &RecordStoreOptions::default());
        let store = store.expect("opens");
        let table = Table::new(7);
        store
            .write(|rows| rows.put(table, b"key", b"value"))
            .expect("written");
        let view = store.read().expect("a view");
        write_snapshot(&*disk, "s.snapshot", b"meta", &view).expect("a snapshot");
        let snapshot = std::fs::read(folder.path().join("s.snapshot")).expect("read");
        let begun = BackupEncoder::begin(b"{}", snapshot.len() as u64);
        let (mut encoder, mut bytes) = begun.expect("begins");
        encoder.pass(&snapshot);
        bytes.extend_from_slice(&snapshot);
        bytes.extend_from_slice(&encoder.finish());
        let path = folder.path().join("s.save");
        std::fs::write(&path, bytes).expect("written");
        (folder, path)
    }

    #[test]
    fn header_and_snapshot_come_back() {
        let (_folder, path) = backup();
        let file = BackupFile::open(&path).expect("opens");
        assert_eq!(file.header(), b"{}");
        let snapshot = file.snapshot().expect("a snapshot");
        assert_eq!(snapshot.metadata(), b"meta");
        let mut rows = Vec::new();
        let info = snapshot.for_each_row(|table, key, value| {
            rows.push((table, key.to_vec(), value.to_vec()));
            Ok(())
        });
        assert_eq!(info.expect("whole").rows, 1);
        let row = (Table::new(7), b"key".to_vec(), b"value".to_vec());
        assert_eq!(rows, [row]);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_found() {
        let (_folder, path) = backup();
        let whole = std::fs::read(&path).expect("read");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).expect("written");
            assert!(BackupFile::open(&path).is_err(), "byte {at}");
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("written");
            assert!(BackupFile::open(&path).is_err(), "length {length}");
        }
        std::fs::write(&path, [whole, vec![0]].concat()).expect("written");
        assert!(BackupFile::open(&path).is_err(), "a byte too many");
    }

    #[test]
    fn a_newer_format_says_so() {
        let (_folder, path) = backup();
        let mut newer = std::fs::read(&path).expect("read");
        newer[8] = 2;
        std::fs::write(&path, &newer).expect("written");
        let error = BackupFile::open(&path).expect_err("refused");
        assert!(
            matches!(error, BackupError::UnsupportedVersion { found: 2, .. }),
            "{error}"
        );
    }
}
