//! The lock of a node's data folder: one process works on it at a time. Two would both append to the
//! write-ahead log, and what was acknowledged would be lost.
//!
//! An advisory lock of the operating system, which goes with the process that holds it, however it
//! ends. It does not hold against programs that do not ask for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// Why the folder is not this process's.
#[derive(Debug, thiserror::Error)]
pub enum DataLockError {
    /// Another process works on it.
    #[error("another process works on {}: a node that runs, or an offline command", .0.display())]
    Taken(PathBuf),
    /// The folder cannot be used.
    #[error("lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
}

/// A locked data folder; unlocked when dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Locks a folder, which is created if there is none. Never waits.
    ///
    /// # Errors
    /// [`DataLockError::Taken`] when another process has it.
    pub fn take(data: &Path) -> Result<Self, DataLockError> {
        let path = data.join(LOCK_FILE);
        let failed = |source| DataLockError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(data).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DataLockError::Taken(data.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let first = DataLock::take(&data).expect("free");
        assert!(matches!(
            DataLock::take(&data),
            Err(DataLockError::Taken(_))
        ));
        drop(first);
        DataLock::take(&data).expect("free again");
    }
}
