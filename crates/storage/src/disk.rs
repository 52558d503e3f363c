//! The one way to a disk: every file of this crate is reached through [`Disk`].
//!
//! Not a general file system: flat names below one root, whole-file handles, and explicit syncs. What
//! was not synced is lost by a power cut, file names included: a new, renamed or removed name is
//! durable only after [`Disk::sync_directory`]. [`OsDisk`] is the real one,
//! [`crate::SimulatedDisk`] the one that tests can cut the power of.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A directory tree. Paths are relative to the disk's root, with `/` between components.
pub trait Disk: Send + Sync + 'static {
    /// A new, empty file open for reading and writing; an existing one is emptied.
    ///
    /// # Errors
    /// What the operating system reports.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;

    /// An existing file, open for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, and what else the operating system reports.
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;

    /// The names (not paths) of the files directly in a directory, ascending.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory, and what else the operating system reports.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// The names of the directories directly in a directory, ascending; a disk that keeps none has none.
    ///
    /// # Errors
    /// What the operating system reports.
    fn list_directories(&self, _directory: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Removes a file. Open handles keep reading it. Durable after [`Disk::sync_directory`].
    ///
    /// # Errors
    /// `NotFound`, and what else the operating system reports.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Renames a file, replacing what has the new name. Durable after [`Disk::sync_directory`].
    ///
    /// # Errors
    /// `NotFound`, and what else the operating system reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the operating system reports; the names may then be lost at a power cut.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;

    /// Whether a file or directory has this path.
    ///
    /// # Errors
    /// What the operating system reports.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Creates a directory with its parents, durably; an existing one is left as it is.
    ///
    /// # Errors
    /// What the operating system reports.
    fn create_directory(&self, path: &str) -> io::Result<()>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`, growing the file if needed.
    ///
    /// # Errors
    /// What the operating system reports; part may then have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills all of `bytes` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter, and what else the operating system reports.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Makes all that was written durable (`fdatasync`).
    ///
    /// # Errors
    /// What the operating system reports. What was written is then lost for good even if a second
    /// call succeeds: the kernel forgets the pages it could not write.
    fn sync_data(&self) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the operating system reports.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// What the operating system reports.
    fn set_length(&self, length: u64) -> io::Result<()>;
}

/// The operating system's file system below one directory.
#[derive(Clone, Debug)]
pub struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    /// A disk whose paths are relative to `root`, which [`Disk::create_directory`] of `""` creates.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }
}

impl Disk for OsDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path(path))?;
        Ok(Box::new(OsFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(path))?;
        Ok(Box::new(OsFile(file)))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(directory))? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn list_directories(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(directory))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        File::open(self.path(directory))?.sync_all()
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.path(path).try_exists()
    }

    fn create_directory(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        let mut missing = Vec::new();
        let mut above = path.as_path();
        while !above.try_exists()? {
            missing.push(above);
            match above.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => above = parent,
                _ => break,
            }
        }
        fs::create_dir_all(&path)?;
        // A new directory's name lives in its parent, as a file's does.
        for directory in missing {
            let parent = directory.parent().filter(|p| !p.as_os_str().is_empty());
            File::open(parent.unwrap_or(".".as_ref()))?.sync_all()?;
        }
        Ok(())
    }
}

/// A file of the operating system.
struct OsFile(File);

impl DiskFile for OsFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
