//! The one thread that writes: drains the queue, writes once, syncs once, then answers.
//!
//! It also deletes segments that nobody needs, copies the live rest of old ones forward, and rewrites
//! all segments when a group leaves. The first failure of the disk ends it: nothing is retried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bailiwick_types::GroupId;
use bytes::Bytes;

use super::durable::{Durable, Location};
use super::error::{Damage, WalError};
use super::format::{self, HEADER_BYTES, Kind};
use super::recovery::{Recovered, Segment};
use super::shared::{Command, Pending, Shared};
use super::{WalOptions, segment_path};
use crate::disk::Disk;

/// Bytes that one batch takes from the queue: a batch of 4 MiB takes about as long to write as to
/// sync, so that more would only add delay.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes that are copied forward between two batches.
const MOVE_BYTES: u64 = 4 << 20;

/// The writer's state.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    options: WalOptions,
    durable: Durable,
    segments: BTreeMap<u64, Segment>,
    last_batch: u64,
    /// Reused from batch to batch.
    buffer: Vec<u8>,
    moved_records: u64,
    deleted_segments: u64,
}

impl Writer {
    /// A writer that goes on where the segments end.
    pub(super) fn new(disk: Arc<dyn Disk>, options: WalOptions, recovered: Recovered) -> Self {
        Self {
            disk,
            options,
            durable: recovered.durable,
            segments: recovered.segments,
            last_batch: recovered.last_batch,
            buffer: Vec::new(),
            moved_records: 0,
            deleted_segments: 0,
        }
    }

    /// What callers see at first.
    pub(super) fn shared(&self, cache_bytes: usize) -> Shared {
        let files = self.segments.iter();
        let files = files.map(|(sequence, segment)| (*sequence, Arc::clone(&segment.file)));
        Shared::new(&self.durable, cache_bytes, files.collect())
    }

    /// Makes the log ready: a segment to write to, and the removals finished that a crash cut short.
    pub(super) fn prepare(&mut self, shared: &Shared) -> Result<(), WalError> {
        if self.segments.is_empty() {
            self.roll(shared)?;
        }
        if !self.durable.removed.is_empty() {
            self.erase_removed(shared)?;
        }
        self.publish_sizes(shared);
        Ok(())
    }

    /// Serves the queue until the log is closed or the disk fails.
    pub(super) fn run(mut self, shared: &Shared) {
        let guard = PanicGuard(shared);
        let mut idle = true;
        while let Some(batch) = shared.next_batch(BATCH_BYTES, idle) {
            if let Err((error, batch)) = self.commit(shared, batch) {
                tracing::error!(%error, "the write-ahead log failed and is closed");
                shared.latch(&error, batch);
                break;
            }
            match self.maintain(shared) {
                Ok(more) => idle = !more,
                Err(error) => {
                    tracing::error!(%error, "the write-ahead log failed and is closed");
                    shared.latch(&error, Vec::new());
                    break;
                }
            }
        }
        std::mem::forget(guard);
    }

    /// Puts one batch on disk, finishes removals in it, and answers.
    fn commit(
        &mut self,
        shared: &Shared,
        mut batch: Vec<Command>,
    ) -> Result<(), (WalError, Vec<Command>)> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut records = Vec::new();
        for command in &mut batch {
            records.append(&mut command.records);
        }
        let mut written = self.write(shared, &records);
        if written.is_ok() && !self.durable.removed.is_empty() {
            written = self.erase_removed(shared);
        }
        if let Err(error) = written {
            return Err((error, batch));
        }
        for command in batch {
            command.answer(Ok(()));
        }
        Ok(())
    }

    /// One write and one sync for all records; then they count as on disk.
    fn write(&mut self, shared: &Shared, records: &[Pending]) -> Result<(), WalError> {
        let mut lengths = Vec::with_capacity(records.len());
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        format::encode_record(
            &mut bytes,
            GroupId(0),
            Kind::Batch,
            self.last_batch + 1,
            &[],
        );
        let mark = bytes.len();
        for record in records {
            let before = bytes.len();
            let (group, kind, index) = (record.group, record.kind, record.index);
            format::encode_record(&mut bytes, group, kind, index, &record.payload);
            lengths.push(bytes.len() - before);
        }
        let current = self.current_with_room(shared, bytes.len() as u64)?;
        let path = segment_path(&self.options.directory, current);
        let segment = self
            .segments
            .get_mut(&current)
            .expect("the current segment is open");
        let start = segment.length;
        let io = |error| WalError::io("writing to", &path, error);
        segment.file.write_at(start, &bytes).map_err(io)?;
        let before = Instant::now();
        let synced = segment.file.sync_data();
        synced.map_err(|error| WalError::io("syncing", &path, error))?;
        let took = before.elapsed();
        segment.length += bytes.len() as u64;
        self.last_batch += 1;

        let mut offset = start + mark as u64;
        let mut state = shared.lock();
        for (record, length) in records.iter().zip(lengths) {
            let location = Location {
                segment: current,
                offset,
                length: u32::try_from(length).expect("payloads are limited"),
            };
            let (group, kind, index) = (record.group, record.kind, record.index);
            self.durable
                .apply(group, kind, index, &record.payload, location);
            if matches!(kind, Kind::Entry | Kind::Moved) {
                state.entry_is_on_disk(record, location);
            }
            offset += length as u64;
        }
        state.statistics.record_sync(took);
        state.statistics.records += records.len() as u64;
        state.statistics.bytes += bytes.len() as u64;
        drop(state);
        // One huge batch must not hold its memory for ever.
        if bytes.capacity() <= 2 * BATCH_BYTES {
            self.buffer = bytes;
        }
        self.publish_sizes(shared);
        Ok(())
    }

    fn publish_sizes(&self, shared: &Shared) {
        let statistics = &mut shared.lock().statistics;
        statistics.segments = self.segments.len() as u64;
        statistics.segment_bytes = self.total_bytes();
        statistics.moved_records = self.moved_records;
        statistics.deleted_segments = self.deleted_segments;
    }

    fn total_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.length).sum()
    }

    fn newest(&self) -> u64 {
        self.segments.keys().next_back().copied().unwrap_or(0)
    }

    /// The segment to write `bytes` more to: the newest, or a new one when that is full.
    fn current_with_room(&mut self, shared: &Shared, bytes: u64) -> Result<u64, WalError> {
        let newest = self.newest();
        let length = self
            .segments
            .get(&newest)
            .map_or(0, |segment| segment.length);
        let is_empty = length <= HEADER_BYTES as u64;
        if is_empty || length.saturating_add(bytes) <= self.options.segment_bytes {
            return Ok(newest);
        }
        self.roll(shared)?;
        Ok(self.newest())
    }

    /// Begins a new segment, whose header and name are durable before any record is written to it.
    fn roll(&mut self, shared: &Shared) -> Result<(), WalError> {
        let sequence = (self.newest() + 1).max(self.durable.floor);
        let path = segment_path(&self.options.directory, sequence);
        let header = format::encode_header(self.options.node, sequence);
        let created = self.disk.create(&path).and_then(|file| {
            file.write_at(0, &header)?;
            file.sync_data()?;
            self.disk.sync_directory(&self.options.directory)?;
            Ok(file)
        });
        let file = created.map_err(|error| WalError::io("creating", &path, error))?;
        let segment = Segment {
            file: Arc::from(file),
            length: HEADER_BYTES as u64,
        };
        shared
            .lock()
            .segments
            .insert(sequence, Arc::clone(&segment.file));
        self.segments.insert(sequence, segment);
        Ok(())
    }

    /// One step of housekeeping; true when there is more to do at once.
    fn maintain(&mut self, shared: &Shared) -> Result<bool, WalError> {
        let newest = self.newest();
        let is_needed = |sequence: &&u64| self.durable.live_bytes(**sequence) > 0;
        let first_needed = self.segments.keys().find(is_needed).copied();
        let floor = first_needed.unwrap_or(newest).min(newest);
        if self
            .segments
            .keys()
            .next()
            .is_some_and(|oldest| *oldest < floor)
        {
            self.delete_below(shared, floor)?;
            return Ok(true);
        }
        // Half of all must be waste: then each byte copied frees at least another.
        let total = self.total_bytes();
        let wasteful = self.durable.total_live_bytes().saturating_mul(2) <= total;
        if total > self.options.retained_bytes && wasteful && floor < newest {
            self.move_forward(shared, floor)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Deletes the segments before `floor`, oldest first, each durably before the next: a replay
    /// that lacks a segment must lack all older ones too, or dropped entries would come back.
    fn delete_below(&mut self, shared: &Shared, floor: u64) -> Result<(), WalError> {
        let mark = Pending::new(GroupId(0), Kind::Floor, floor, Bytes::new());
        self.write(shared, &[mark])?;
        while let Some(entry) = self.segments.first_entry()
            && *entry.key() < floor
        {
            let sequence = *entry.key();
            entry.remove();
            let path = segment_path(&self.options.directory, sequence);
            let removed = self.disk.remove(&path);
            removed
                .and_then(|()| self.disk.sync_directory(&self.options.directory))
                .map_err(|error| WalError::io("removing", &path, error))?;
            shared.lock().segments.remove(&sequence);
            self.durable.forget_segment(sequence);
            self.deleted_segments += 1;
        }
        self.publish_sizes(shared);
        Ok(())
    }

    /// Copies up to [`MOVE_BYTES`] of what still counts in a segment to the end of the log.
    fn move_forward(&mut self, shared: &Shared, segment: u64) -> Result<(), WalError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        for (id, group) in &self.durable.groups {
            if let Some((vote, at)) = &group.vote
                && at.segment == segment
            {
                records.push(Pending::new(*id, Kind::Vote, 0, vote.clone()));
            }
            if let Some((committed, at)) = &group.committed
                && at.segment == segment
            {
                records.push(Pending::new(*id, Kind::Committed, 0, committed.clone()));
            }
            if let Some((upto, marker, at)) = &group.purged
                && at.segment == segment
            {
                records.push(Pending::new(*id, Kind::Purge, *upto, marker.clone()));
            }
            for (index, at) in group.entries.iter().filter(|(_, at)| at.segment == segment) {
                if bytes > MOVE_BYTES {
                    break;
                }
                let payload = self.read_entry(*id, *index, *at)?;
                let mut record = Pending::new(*id, Kind::Moved, *index, payload);
                record.moved_from = Some(*at);
                records.push(record);
                bytes += u64::from(at.length);
            }
        }
        self.moved_records += records.len() as u64;
        self.write(shared, &records)
    }

    fn read_entry(&self, group: GroupId, index: u64, at: Location) -> Result<Bytes, WalError> {
        let file = self.segments.get(&at.segment).map(|segment| &segment.file);
        let file = file.expect("a segment with live records is open");
        let path = segment_path(&self.options.directory, at.segment);
        super::read_entry(&**file, &path, group, index, at)
    }

    /// Leaves no byte of removed groups behind: copies all that counts into new segments, then
    /// deletes all older ones. The removal's own record is in those, so that a crash in between
    /// makes the next start do it again.
    fn erase_removed(&mut self, shared: &Shared) -> Result<(), WalError> {
        let last_old = self.newest();
        self.roll(shared)?;
        let old: Vec<u64> = self
            .segments
            .range(..=last_old)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in old {
            while self.durable.live_bytes(sequence) > 0 {
                let before = self.durable.live_bytes(sequence);
                self.move_forward(shared, sequence)?;
                if self.durable.live_bytes(sequence) >= before {
                    let file = segment_path(&self.options.directory, sequence);
                    let (offset, reason) = (0, Damage::Gap);
                    return Err(WalError::Damaged {
                        file,
                        offset,
                        reason,
                    });
                }
            }
        }
        self.delete_below(shared, last_old + 1)?;
        self.durable.removed.clear();
        Ok(())
    }
}

/// Latches the log when its thread panics: callers must not wait for ever.
struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        self.0.latch(&WalError::WriterStopped, Vec::new());
    }
}
