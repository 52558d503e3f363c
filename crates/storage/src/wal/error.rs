//! What can go wrong with the write-ahead log, and whose fault it is.

use std::io;
use std::sync::Arc;

use bailiwick_types::{GroupId, NodeId};

/// Why the log refused to open, to write or to read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// The disk failed. From then on the log is latched closed: what the failed call left on the
    /// disk is unknown, and trying again would only hide that.
    #[error("{operation} of {file} failed")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file's path on the disk.
        file: String,
        /// What the disk reported.
        source: Arc<io::Error>,
    },
    /// The disk holds other bytes than were written to it. The node must not start with it: it may
    /// have acknowledged what is now unreadable. It is replaced under a new id.
    #[error("{file} is damaged at offset {offset}: {reason}")]
    Damaged {
        /// The segment's path on the disk.
        file: String,
        /// Bytes from the start of the file to the damaged record.
        offset: u64,
        /// What is wrong there.
        reason: Damage,
    },
    /// A segment file is not there: the disk's fault, or that of whoever removed it.
    #[error("segment {file} is missing")]
    MissingSegment {
        /// The path at which it should be.
        file: String,
    },
    /// The segments are of another node: the operator's fault.
    #[error("{file} belongs to node {found}, not to node {expected}")]
    WrongNode {
        /// The segment's path on the disk.
        file: String,
        /// The node that opens the log.
        expected: NodeId,
        /// The node that wrote it.
        found: NodeId,
    },
    /// The segments are of a format that this version does not read: the operator's fault.
    #[error("{file} has format version {found}, this version reads {supported}")]
    UnsupportedVersion {
        /// The segment's path on the disk.
        file: String,
        /// The version in its header.
        found: u32,
        /// The version that is supported.
        supported: u32,
    },
    /// The caller appended past a gap or over existing entries, or purged so as to leave a gap.
    /// Nothing was changed.
    #[error("group {group} was given index {found} where {expected} comes next")]
    NotConsecutive {
        /// The group.
        group: GroupId,
        /// The index that comes next.
        expected: u64,
        /// The index that was given.
        found: u64,
    },
    /// The caller gave more bytes than one record may have. Nothing was written.
    #[error("a payload of group {group} has {length} bytes, more than {limit}")]
    TooLarge {
        /// The group.
        group: GroupId,
        /// The payload's length in bytes.
        length: usize,
        /// The greatest length in bytes.
        limit: usize,
    },
    /// The log was closed by its owner.
    #[error("the write-ahead log is closed")]
    Closed,
    /// The thread that writes ended in a panic: a fault of this crate.
    #[error("the write-ahead log's writer stopped")]
    WriterStopped,
}

/// What is wrong at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file's header does not have its checksum or its magic bytes.
    #[error("the header is not that of a segment")]
    Header,
    /// The header's sequence number is not that of the file name.
    #[error("the header's sequence number is not that of the name")]
    Sequence,
    /// A record does not have its checksum, is cut off, or is of no known kind.
    #[error("the record does not have its checksum or is cut off")]
    Record,
    /// As [`Damage::Record`] in the last segment, with valid records behind it: not a torn write.
    #[error("the record is damaged and valid records follow it")]
    FollowedByRecords,
    /// A batch's number is not the one after the batch before it.
    #[error("the batch is not the one that comes next")]
    Batch,
    /// A group's entries are not consecutive.
    #[error("the entry is not the one that comes next in its group")]
    Gap,
}

impl WalError {
    pub(super) fn io(operation: &'static str, file: &str, source: io::Error) -> Self {
        Self::Io {
            operation,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }
}
