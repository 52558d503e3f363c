//! What the machine under a service says: the space of a disk. Read where it is asked, never kept.

use std::path::Path;

/// The space of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Its size in bytes.
    pub size: u64,
    /// What this process may still write, in bytes.
    pub free: u64,
}

/// The space of the disk under a path.
///
/// # Errors
/// The system's error when it cannot be asked.
pub fn disk_space(path: &Path) -> std::io::Result<DiskSpace> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(DiskSpace {
        size: disk.f_blocks.saturating_mul(disk.f_frsize),
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}
