//! Opening the log: reads all segments, and decides what is a torn tail and what is damage.
//!
//! A power cut can tear only the last batch, for a batch is written after the one before it was
//! synced. So a bad record in an older segment is damage; in the last segment it is damage if a
//! later batch follows it, for then its own batch had been synced and acknowledged. If valid
//! records of the same batch follow it, it is a torn write only if a whole sector there was never
//! written, which reads as zeros since segments only grow; bit rot leaves no such hole. The node
//! never repairs damage: it would forget what it acknowledged, so it must be replaced.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_types::GroupId;
use bytes::Bytes;

use super::durable::{Durable, Location};
use super::error::{Damage, WalError};
use super::format::{self, HEADER_BYTES, Kind};
use super::{WalOptions, segment_path};
use crate::disk::{Disk, DiskFile};

/// The unit in which disks write.
const SECTOR_BYTES: usize = 512;

/// A segment that is open.
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) length: u64,
}

/// What the segments hold.
pub(super) struct Recovered {
    pub(super) durable: Durable,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// The number of the last batch; 0 when there is none.
    pub(super) last_batch: u64,
}

/// Reads all segments of a log.
pub(super) fn recover(disk: &dyn Disk, options: &WalOptions) -> Result<Recovered, WalError> {
    let directory = &options.directory;
    disk.create_directory(directory)
        .map_err(|error| WalError::io("creating the directory", directory, error))?;
    // A name whose sync failed before would otherwise be trusted and still be lost.
    disk.sync_directory(directory)
        .map_err(|error| WalError::io("syncing the directory", directory, error))?;
    let sequences = sequences(disk, options)?;
    let mut recovery = Recovery {
        disk,
        options,
        recovered: Recovered {
            durable: Durable::default(),
            segments: BTreeMap::new(),
            last_batch: 0,
        },
    };
    for (position, sequence) in sequences.iter().enumerate() {
        let is_last = position + 1 == sequences.len();
        recovery.segment(*sequence, is_last)?;
    }
    let recovered = recovery.recovered;
    check_whole(options, &recovered)?;
    Ok(recovered)
}

/// The sequence numbers of the segments, ascending and without a hole.
fn sequences(disk: &dyn Disk, options: &WalOptions) -> Result<Vec<u64>, WalError> {
    let names = disk
        .list(&options.directory)
        .map_err(|error| WalError::io("listing", &options.directory, error))?;
    let mut sequences: Vec<u64> = names
        .iter()
        .filter_map(|name| u64::from_str_radix(name.strip_suffix(".wal")?, 16).ok())
        .collect();
    sequences.sort_unstable();
    for pair in sequences.windows(2) {
        if pair[0] + 1 != pair[1] {
            let file = segment_path(&options.directory, pair[0] + 1);
            return Err(WalError::MissingSegment { file });
        }
    }
    Ok(sequences)
}

/// Checks what only the whole log can show: that no old segment and no entry is missing.
fn check_whole(options: &WalOptions, recovered: &Recovered) -> Result<(), WalError> {
    let oldest = recovered.segments.keys().next().copied();
    let floor = recovered.durable.floor.max(1);
    if oldest.is_some_and(|oldest| oldest > floor) {
        let file = segment_path(&options.directory, floor);
        return Err(WalError::MissingSegment { file });
    }
    match recovered
        .durable
        .groups
        .values()
        .find_map(|group| group.gap())
    {
        Some(location) => Err(WalError::Damaged {
            file: segment_path(&options.directory, location.segment),
            offset: location.offset,
            reason: Damage::Gap,
        }),
        None => Ok(()),
    }
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    options: &'a WalOptions,
    recovered: Recovered,
}

impl Recovery<'_> {
    fn segment(&mut self, sequence: u64, is_last: bool) -> Result<(), WalError> {
        let path = segment_path(&self.options.directory, sequence);
        let io = |error| WalError::io("reading", &path, error);
        let file = self.disk.open(&path).map_err(io)?;
        let length = file.length().map_err(io)?;
        let mut bytes = vec![0; usize::try_from(length).expect("a segment fits into memory")];
        file.read_at(0, &mut bytes).map_err(io)?;
        if is_last && bytes.len() <= HEADER_BYTES && format::decode_header(&bytes).is_none() {
            // Its creation was cut short: records follow only after the header was synced.
            return self.remove_unfinished(&path);
        }
        self.check_header(&path, sequence, &bytes)?;
        let walked = self.records(&path, sequence, &bytes)?;
        if walked.end < bytes.len() {
            if !is_last {
                return Err(damaged(&path, walked.end, Damage::Record));
            }
            if tail_is_damaged(&bytes, walked.end, self.recovered.last_batch) {
                return Err(damaged(&path, walked.end, Damage::FollowedByRecords));
            }
            tracing::warn!(
                file = path,
                offset = walked.end,
                lost_bytes = bytes.len() - walked.end,
                "cut a torn write that was never acknowledged"
            );
        }
        if is_last {
            make_durable(&*file, &bytes[..walked.end], walked.last_batch_at)
                .map_err(|error| WalError::io("rewriting the last batch of", &path, error))?;
        }
        let segment = Segment {
            file: Arc::from(file),
            length: walked.end as u64,
        };
        self.recovered.segments.insert(sequence, segment);
        Ok(())
    }

    fn remove_unfinished(&self, path: &str) -> Result<(), WalError> {
        let removed = self.disk.remove(path);
        removed
            .and_then(|()| self.disk.sync_directory(&self.options.directory))
            .map_err(|error| WalError::io("removing", path, error))
    }

    fn check_header(&self, path: &str, sequence: u64, bytes: &[u8]) -> Result<(), WalError> {
        let header =
            format::decode_header(bytes).ok_or_else(|| damaged(path, 0, Damage::Header))?;
        if header.version != format::VERSION {
            return Err(WalError::UnsupportedVersion {
                file: path.to_owned(),
                found: header.version,
                supported: format::VERSION,
            });
        }
        if header.node != self.options.node {
            return Err(WalError::WrongNode {
                file: path.to_owned(),
                expected: self.options.node,
                found: header.node,
            });
        }
        if header.sequence != sequence {
            return Err(damaged(path, 0, Damage::Sequence));
        }
        Ok(())
    }

    /// Applies the records of one segment up to its end or the first that is not valid.
    fn records(&mut self, path: &str, sequence: u64, bytes: &[u8]) -> Result<Walked, WalError> {
        let mut walked = Walked {
            end: HEADER_BYTES,
            last_batch_at: None,
        };
        while let Some(record) = bytes.get(walked.end..).and_then(format::decode_record) {
            let recovered = &mut self.recovered;
            if record.kind == Kind::Batch {
                let expected = recovered.last_batch + 1;
                if recovered.last_batch != 0 && record.index != expected {
                    return Err(damaged(path, walked.end, Damage::Batch));
                }
                recovered.last_batch = record.index;
                walked.last_batch_at = Some(walked.end);
            } else if walked.last_batch_at.is_none() {
                return Err(damaged(path, walked.end, Damage::Batch));
            }
            let location = Location {
                segment: sequence,
                offset: walked.end as u64,
                length: u32::try_from(record.length()).expect("payloads are limited"),
            };
            let payload = match record.kind {
                Kind::Entry | Kind::Moved => Bytes::new(),
                _ => Bytes::copy_from_slice(record.payload),
            };
            let (group, kind, index) = (record.group, record.kind, record.index);
            recovered
                .durable
                .apply(group, kind, index, &payload, location);
            walked.end += record.length();
        }
        Ok(walked)
    }
}

/// How far a segment's records go.
struct Walked {
    end: usize,
    last_batch_at: Option<usize>,
}

fn damaged(file: &str, offset: usize, reason: Damage) -> WalError {
    WalError::Damaged {
        file: file.to_owned(),
        offset: offset as u64,
        reason,
    }
}

/// Writes the last batch again and syncs it. The process before may have failed to sync it, and the
/// kernel then shows it to readers, counts its pages as clean and never writes them.
fn make_durable(
    file: &dyn DiskFile,
    bytes: &[u8],
    last_batch_at: Option<usize>,
) -> std::io::Result<()> {
    let from = last_batch_at.unwrap_or(0);
    file.set_length(bytes.len() as u64)?;
    file.write_at(from as u64, &bytes[from..])?;
    file.sync_data()
}

/// Whether what is wrong at `bad` cannot be the torn write of the last batch.
fn tail_is_damaged(bytes: &[u8], bad: usize, last_batch: u64) -> bool {
    let mut first_follower = None;
    for at in bad + 1..bytes.len() {
        // The kind's byte first: it spares nearly all checksums.
        let Some(1..=9) = bytes.get(at + 12) else {
            continue;
        };
        let Some(record) = format::decode_record(&bytes[at..]) else {
            continue;
        };
        let is_mark = record.kind == Kind::Batch && record.group == GroupId(0);
        if is_mark && record.index > last_batch {
            return true;
        }
        first_follower.get_or_insert(at);
    }
    first_follower.is_some_and(|follower| !has_unwritten_sector(bytes, bad, follower))
}

/// Whether a sector, or what of it lies behind `from`, is all zeros and ends before `to`.
fn has_unwritten_sector(bytes: &[u8], from: usize, to: usize) -> bool {
    let mut start = from;
    while start < to {
        let end = (start / SECTOR_BYTES + 1) * SECTOR_BYTES;
        if end <= to && bytes[start..end].iter().all(|byte| *byte == 0) {
            return true;
        }
        start = end;
    }
    false
}
