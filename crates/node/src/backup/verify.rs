//! A snapshot file against what it says of itself: its digest, every row, the log's root, the
//! checkpoint. Needs no cluster and no key.

use std::path::{Path, PathBuf};

use bailiwick_consensus::snapshot_log_id;
use bailiwick_shard::audit::{AuditError, ShardAudit};
use bailiwick_shard::directory::{self, ClusterView};
use bailiwick_storage::{BackupError, BackupFile, SnapshotError};
use bailiwick_tlog::SignedCheckpoint;
use bailiwick_types::Digest;
use bailiwick_types::store::{MemoryStore, StoreError, WriteStore};

use super::header::SnapshotHeader;

/// Bytes of a directory at most: 64 nodes and 250 jurisdictions take under 1 MiB.
const DIRECTORY_BYTES: u64 = 64 << 20;

/// Why a file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is damaged, of another format, or not there.
    #[error(transparent)]
    File(#[from] BackupError),
    /// Its snapshot is damaged.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Its header does not parse.
    #[error("{}: its header does not parse: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong, where.
        reason: String,
    },
    /// Its rows are not whole.
    #[error("{}: {reason}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: AuditError,
    },
    /// Its rows say something else than its header.
    #[error("{}: {field} is {found}, its header says {stated}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// Which field of the header.
        field: &'static str,
        /// What the header says.
        stated: String,
        /// What is there.
        found: String,
    },
    /// It says that it is a directory's and is none.
    #[error("{}: the rows are of no cluster directory", path.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
    },
}

/// A file that was read whole and is what it says.
#[derive(Debug)]
pub struct VerifiedSnapshot {
    /// What it says.
    pub header: SnapshotHeader,
    /// The file.
    pub file: BackupFile,
    /// The origin of its transparency log; none for the directory.
    pub origin: Option<String>,
    /// The directory in it; none for a shard.
    pub directory: Option<ClusterView>,
    /// Rows of all tables.
    pub rows: u64,
}

impl VerifiedSnapshot {
    /// The root of its log at a size; `None` when the log is smaller, or for the directory.
    ///
    /// # Errors
    /// [`VerifyError`] when the file cannot be read again.
    pub fn root_at(&self, size: u64) -> Result<Option<Digest>, VerifyError> {
        if self.directory.is_some() {
            return Ok(None);
        }
        let facts = audit(&self.file, size)?.0;
        Ok(facts.root_then.map(Digest))
    }

    /// The rows of a directory.
    ///
    /// # Errors
    /// [`VerifyError`] when the file cannot be read again.
    pub fn directory_rows(&self) -> Result<MemoryStore, VerifyError> {
        directory_rows(&self.file)
    }
}

/// Reads all of a file and checks everything that it says.
///
/// # Errors
/// [`VerifyError`] names the file and what is wrong with it.
pub fn verify(path: &Path) -> Result<VerifiedSnapshot, VerifyError> {
    let file = BackupFile::open(path)?;
    let header: SnapshotHeader =
        serde_json::from_slice(file.header()).map_err(|error| VerifyError::Header {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    let snapshot = file.snapshot()?;
    let found = snapshot_log_id(&snapshot).map_err(|error| VerifyError::Header {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let same = Same { path };
    same.check("term", header.term, found.0)?;
    same.check("index", header.index, found.1)?;
    match header.shard() {
        Some(_) => verify_shard(path, header, file),
        None => verify_directory(path, header, file),
    }
}

struct Same<'a> {
    path: &'a Path,
}

impl Same<'_> {
    fn check<T: PartialEq + ToString>(
        &self,
        field: &'static str,
        stated: T,
        found: T,
    ) -> Result<(), VerifyError> {
        if stated == found {
            return Ok(());
        }
        Err(VerifyError::Contradiction {
            path: self.path.to_owned(),
            field,
            stated: stated.to_string(),
            found: found.to_string(),
        })
    }
}

fn verify_shard(
    path: &Path,
    header: SnapshotHeader,
    file: BackupFile,
) -> Result<VerifiedSnapshot, VerifyError> {
    let same = Same { path };
    let checkpoint = header.checkpoint.as_deref().map(SignedCheckpoint::parse);
    let checkpoint = checkpoint
        .transpose()
        .map_err(|error| VerifyError::Header {
            path: path.to_owned(),
            reason: format!("checkpoint: {error}"),
        })?;
    let cosigned = checkpoint.as_ref().map(|signed| signed.checkpoint());
    let (facts, rows) = audit(&file, cosigned.map_or(0, |cosigned| cosigned.size))?;
    same.check("cluster", header.cluster, facts.cluster)?;
    let stated = header.shard().map(|shard| shard.to_string());
    same.check("shard", stated.unwrap_or_default(), facts.shard.to_string())?;
    // An erased period's records were counted and are gone.
    same.check("records", true, facts.records <= header.records)?;
    same.check("leaves", header.leaves, facts.leaves)?;
    same.check("root", header.root, Digest(facts.root))?;
    if let Some(cosigned) = cosigned {
        same.check("checkpoint", &cosigned.origin, &facts.origin)?;
        let then = facts.root_then.map(Digest);
        let then = then.map_or("a shorter log".to_owned(), |root| root.to_string());
        same.check("checkpoint", Digest(cosigned.root).to_string(), then)?;
    }
    Ok(VerifiedSnapshot {
        header,
        file,
        origin: Some(facts.origin),
        directory: None,
        rows,
    })
}

fn audit(
    file: &BackupFile,
    size: u64,
) -> Result<(bailiwick_shard::audit::ShardFacts, u64), VerifyError> {
    let path = file.path();
    let mut audit = ShardAudit::new(size);
    let mut wrong = None;
    let read = file.snapshot()?.for_each_row(|table, key, value| {
        audit.take(table, key, value).map_err(|error| {
            wrong = Some(error);
            // Ends the reading; what is reported is `wrong`.
            StoreError("not whole".to_owned())
        })
    });
    let rows = |reason| VerifyError::Rows {
        path: path.to_owned(),
        reason,
    };
    match (read, wrong) {
        (_, Some(error)) => Err(rows(error)),
        (Err(error), None) => Err(error.into()),
        (Ok(info), None) => Ok((audit.finish().map_err(rows)?, info.rows)),
    }
}

fn verify_directory(
    path: &Path,
    header: SnapshotHeader,
    file: BackupFile,
) -> Result<VerifiedSnapshot, VerifyError> {
    let same = Same { path };
    let rows = directory_rows(&file)?;
    let view = directory::description(&rows).ok().flatten();
    let view = view.ok_or_else(|| VerifyError::NoDirectory {
        path: path.to_owned(),
    })?;
    same.check("cluster", header.cluster, view.cluster)?;
    same.check("trust_domain", &header.trust_domain, &view.trust_domain)?;
    let rows = file.snapshot()?.check()?.rows;
    Ok(VerifiedSnapshot {
        header,
        file,
        origin: None,
        directory: Some(view),
        rows,
    })
}

fn directory_rows(file: &BackupFile) -> Result<MemoryStore, VerifyError> {
    if file.snapshot_bytes() > DIRECTORY_BYTES {
        return Err(VerifyError::NoDirectory {
            path: file.path().to_owned(),
        });
    }
    let mut rows = MemoryStore::default();
    let taken = file
        .snapshot()?
        .for_each_row(|table, key, value| rows.put(table, key, value));
    taken?;
    Ok(rows)
}
