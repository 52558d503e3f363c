//! redb's storage backend over a [`DiskFile`], so that the record store runs on any [`crate::Disk`].
//!
//! It takes no lock on the file: the node locks its data directory as a whole.

use std::fmt;
use std::io;

use redb::StorageBackend;

use crate::disk::DiskFile;

/// One redb file.
pub(crate) struct DiskBackend(pub(crate) Box<dyn DiskFile>);

impl fmt::Debug for DiskBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DiskBackend")
    }
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.0.set_length(length)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_at(offset, data)
    }
}
