//! The node's write-ahead log, shared by all its Raft groups.
//!
//! One thread takes what all groups have queued, writes it with one write, makes it durable with one
//! `fdatasync` and answers all of them; it never lingers, the sync itself is the time in which the
//! next batch gathers. Votes, truncations and purges are synced like entries. The log is not a
//! consensus log: it knows neither terms nor what a payload means.
//!
//! What callers see changes when they call; what is on disk follows, and `done` tells when. After
//! the first failure of the disk every call is answered with that failure and the process should
//! end. The format is drawn in `wal/format.rs`, the rules for a torn tail are in `wal/recovery.rs`.

mod durable;
mod error;
mod format;
mod inspect;
mod recovery;
mod shared;
mod statistics;
mod writer;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;

use crate::disk::{Disk, DiskFile};
use durable::Location;
use format::Kind;
use shared::{Pending, Shared, Slot, State};
use writer::Writer;

pub use error::{Damage, WalError};
pub use format::MAXIMUM_PAYLOAD_BYTES;
pub use inspect::{SegmentContents, inspect_entries, inspect_segment};
pub use statistics::{SYNC_LATENCY_BOUNDS_US, WalStatistics};

/// Called once, when what a call asked for is on disk or never will be. Runs on the log's own thread
/// (or on the caller's, if the call is refused) and must not block: the whole node waits for it.
pub type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// The node whose log it is; segments of another are refused.
    pub node: NodeId,
    /// The directory of the segments on the disk; it is created.
    pub directory: String,
    /// Bytes after which a new segment is begun. One larger batch makes a larger segment.
    pub segment_bytes: u64,
    /// Bytes of payloads that stay in memory after they are on disk, for replication.
    pub cache_bytes: usize,
    /// Bytes of all segments from which on the live rest of old ones is copied forward, provided
    /// that less than half of all bytes still counts.
    pub retained_bytes: u64,
}

impl WalOptions {
    /// Segments of 64 MiB in `wal`, a cache of 64 MiB, rewriting from 512 MiB (8 segments) on.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            directory: "wal".to_owned(),
            segment_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            retained_bytes: 512 << 20,
        }
    }
}

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Its index; one more than that of the entry before it.
    pub index: u64,
    /// Its bytes, at most [`MAXIMUM_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

/// What a group has in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The index of the first entry; `None` when there is none.
    pub first: Option<u64>,
    /// The index of the last entry; `None` when there is none.
    pub last: Option<u64>,
    /// The last index that was purged, with the marker given then.
    pub purged: Option<(u64, Bytes)>,
    /// The vote that was saved last.
    pub vote: Option<Bytes>,
    /// The committed position that was saved last; after a crash it may be an older one.
    pub committed: Option<Bytes>,
}

/// The log of one node. A clone is the same log; the last one dropped closes it.
#[derive(Clone)]
pub struct Wal {
    owner: Arc<Owner>,
}

impl fmt::Debug for Wal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Wal")
    }
}

impl Wal {
    /// Opens the log of a node, or begins it, and starts its thread. Reads all segments: blocks.
    ///
    /// # Errors
    /// [`WalError::Damaged`], [`WalError::MissingSegment`], [`WalError::WrongNode`] or
    /// [`WalError::UnsupportedVersion`] name the file when the node must not start with it;
    /// [`WalError::Io`] when the disk fails.
    pub fn open(disk: Arc<dyn Disk>, options: WalOptions) -> Result<Self, WalError> {
        let recovered = recovery::recover(&*disk, &options)?;
        let (cache_bytes, directory) = (options.cache_bytes, options.directory.clone());
        let mut writer = Writer::new(disk, options, recovered);
        let shared = Arc::new(writer.shared(cache_bytes));
        writer.prepare(&shared)?;
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wal".to_owned())
            .spawn(move || writer.run(&for_thread))
            .map_err(|error| WalError::io("starting the thread for", &directory, error))?;
        // Set once, here: the log has one thread.
        let _ = shared.writer.set(thread.thread().id());
        let owner = Owner {
            shared,
            directory,
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self {
            owner: Arc::new(owner),
        })
    }

    /// The log of one group, which need not have anything yet.
    pub fn group(&self, group: GroupId) -> GroupLog {
        GroupLog {
            owner: Arc::clone(&self.owner),
            group,
        }
    }

    /// The groups that have anything in the log, ascending.
    pub fn groups(&self) -> Vec<GroupId> {
        self.owner.shared.lock().groups.keys().copied().collect()
    }

    /// What the log did since it was opened.
    pub fn statistics(&self) -> WalStatistics {
        self.owner.shared.lock().statistics.clone()
    }

    /// Whether the disk failed and the log is latched closed: the process should end.
    pub fn failed(&self) -> bool {
        self.owner.shared.lock().failed.is_some()
    }

    /// Writes what is queued and ends the thread. Calls after it are answered [`WalError::Closed`].
    pub fn close(self) {
        self.owner.close();
    }
}

/// The log of one group. A clone is the same log.
#[derive(Clone)]
pub struct GroupLog {
    owner: Arc<Owner>,
    group: GroupId,
}

impl fmt::Debug for GroupLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GroupLog({})", self.group)
    }
}

impl GroupLog {
    /// Which group's log it is.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Appends entries; they can be read when this returns. The first of a group without entries
    /// or purge marker may have any index, every other must follow the one before it. Waits while
    /// 256 MiB are queued.
    ///
    /// `done` gets [`WalError::NotConsecutive`] or [`WalError::TooLarge`] if nothing was appended,
    /// and the disk's failure if it is unknown what is on disk.
    pub fn append(&self, records: Vec<LogRecord>, done: Done) {
        let group = self.group;
        self.submit(done, |state| state.append(group, records));
    }

    /// Saves the group's vote.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        let group = self.group;
        self.submit(done, |state| {
            check_length(group, vote.len())?;
            state.groups.entry(group).or_default().vote = Some(vote.clone());
            Ok(vec![Pending::new(group, Kind::Vote, 0, vote)])
        });
    }

    /// Notes how far the group has committed. It has no sync of its own: it is on disk after the
    /// next batch that follows all entries queued before it. Dropped when the log has failed.
    pub fn save_committed(&self, committed: Bytes) {
        let mut state = self.owner.shared.lock();
        if state.accepts().is_ok() && check_length(self.group, committed.len()).is_ok() {
            state.groups.entry(self.group).or_default().committed = Some(committed.clone());
            state.committed.insert(self.group, committed);
        }
    }

    /// Drops the entries after `last`, which itself stays; all of them if `None`.
    pub fn truncate_after(&self, last: Option<u64>, done: Done) {
        let group = self.group;
        let from = last.map_or(0, |last| last.saturating_add(1));
        self.submit(done, |state| {
            state.groups.entry(group).or_default().truncate_from(from);
            Ok(vec![Pending::new(
                group,
                Kind::Truncate,
                from,
                Bytes::new(),
            )])
        });
    }

    /// Drops the entries up to and including `upto`, which need not exist; the next entry is then
    /// the one after the last that is left, or `upto + 1`. [`GroupLog::state`] returns the marker.
    /// A purge below an earlier one changes nothing; one that would leave a gap before the first
    /// entry is refused with [`WalError::NotConsecutive`].
    pub fn purge(&self, upto: u64, marker: Bytes, done: Done) {
        let group = self.group;
        self.submit(done, |state| {
            check_length(group, marker.len())?;
            let log = state.groups.entry(group).or_default();
            if log
                .purged
                .as_ref()
                .is_some_and(|(purged, _)| *purged > upto)
            {
                return Ok(Vec::new());
            }
            log.purge(upto);
            log.purged = Some((upto, marker.clone()));
            Ok(vec![Pending::new(group, Kind::Purge, upto, marker)])
        });
    }

    /// Drops all the group has, for it leaves this node. When `done` is called no segment holds a
    /// byte of it, which takes a copy of all other groups' live records: other calls wait for it.
    pub fn remove(&self, done: Done) {
        let group = self.group;
        self.submit(done, |state| {
            state.groups.remove(&group);
            state.committed.remove(&group);
            Ok(vec![Pending::new(group, Kind::Remove, 0, Bytes::new())])
        });
    }

    /// What the group has.
    pub fn state(&self) -> GroupState {
        let state = self.owner.shared.lock();
        let group = state.groups.get(&self.group);
        group.map(|group| group.state()).unwrap_or_default()
    }

    /// The group's last entry.
    ///
    /// # Errors
    /// As [`GroupLog::read`].
    pub fn last_record(&self) -> Result<Option<LogRecord>, WalError> {
        match self.state().last {
            Some(last) => Ok(self.read(last..last.saturating_add(1), 1)?.pop()),
            None => Ok(None),
        }
    }

    /// The entries with indices in `range`, ascending and consecutive, up to about `max_bytes` of
    /// payloads but at least one if there is any. Entries that are not cached are read from disk:
    /// may block.
    ///
    /// # Errors
    /// [`WalError::Io`] when the disk fails, [`WalError::Damaged`] when it holds other bytes than
    /// were written.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, WalError> {
        let mut records = Vec::new();
        for (index, source) in self.sources(range, max_bytes) {
            let payload = match source {
                Source::Memory(payload) => payload,
                Source::Disk(file, at) => {
                    let path = segment_path(&self.owner.directory, at.segment);
                    read_entry(&*file, &path, self.group, index, at)?
                }
            };
            records.push(LogRecord { index, payload });
        }
        Ok(records)
    }

    /// Where the entries of a range are. The files stay readable after the lock is released, even
    /// if their segments are deleted meanwhile.
    fn sources(&self, range: Range<u64>, max_bytes: usize) -> Vec<(u64, Source)> {
        let state = self.owner.shared.lock();
        let mut sources = Vec::new();
        let Some(group) = state.groups.get(&self.group) else {
            return sources;
        };
        let mut bytes = 0;
        for index in range.start.max(group.first)..range.end.min(group.end()) {
            let Some(slot) = group.slot(index) else { break };
            let source = match (&slot.payload, slot.location) {
                (Some(payload), _) => Source::Memory(payload.clone()),
                (None, Some(at)) => match state.segments.get(&at.segment) {
                    Some(file) => Source::Disk(Arc::clone(file), at),
                    None => break,
                },
                (None, None) => break,
            };
            bytes += slot.payload_bytes;
            if bytes > max_bytes && !sources.is_empty() {
                break;
            }
            sources.push((index, source));
        }
        sources
    }

    fn submit(
        &self,
        done: Done,
        change: impl FnOnce(&mut State) -> Result<Vec<Pending>, WalError>,
    ) {
        self.owner.shared.submit(self.group, done, change);
    }
}

/// Where an entry's payload is.
enum Source {
    Memory(Bytes),
    Disk(Arc<dyn DiskFile>, Location),
}

impl State {
    /// Appends entries to what callers see, or refuses all of them.
    fn append(
        &mut self,
        group: GroupId,
        records: Vec<LogRecord>,
    ) -> Result<Vec<Pending>, WalError> {
        let mut next = self.groups.get(&group).and_then(|log| log.next());
        for record in &records {
            check_length(group, record.payload.len())?;
            let (expected, found) = (next.unwrap_or(record.index), record.index);
            if found != expected || found == u64::MAX {
                return Err(WalError::NotConsecutive {
                    group,
                    expected,
                    found,
                });
            }
            next = Some(found + 1);
        }
        let log = self.groups.entry(group).or_default();
        if let (true, Some(first)) = (log.slots.is_empty(), records.first()) {
            log.first = first.index;
        }
        let mut pending = Vec::with_capacity(records.len());
        for LogRecord { index, payload } in records {
            log.slots.push_back(Slot {
                serial: self.next_serial,
                payload_bytes: payload.len(),
                payload: Some(payload.clone()),
                location: None,
            });
            let mut record = Pending::new(group, Kind::Entry, index, payload);
            record.serial = self.next_serial;
            self.next_serial += 1;
            pending.push(record);
        }
        Ok(pending)
    }
}

/// Ends the thread when the last handle goes.
struct Owner {
    shared: Arc<Shared>,
    directory: String,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    fn close(&self) {
        self.shared.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A callback may hold the last handle; the thread cannot wait for its own end.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread has latched the log and was answered to all who waited.
            let _ = thread.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

fn segment_path(directory: &str, sequence: u64) -> String {
    format!("{directory}/{sequence:016x}.wal")
}

fn check_length(group: GroupId, length: usize) -> Result<(), WalError> {
    if length > MAXIMUM_PAYLOAD_BYTES {
        return Err(WalError::TooLarge {
            group,
            length,
            limit: MAXIMUM_PAYLOAD_BYTES,
        });
    }
    Ok(())
}

/// Reads one entry and checks that it is the one that was written.
fn read_entry(
    file: &dyn DiskFile,
    path: &str,
    group: GroupId,
    index: u64,
    at: Location,
) -> Result<Bytes, WalError> {
    let mut bytes = vec![0; at.length as usize];
    file.read_at(at.offset, &mut bytes)
        .map_err(|error| WalError::io("reading", path, error))?;
    let valid = format::decode_record(&bytes).is_some_and(|record| {
        let is_entry = matches!(record.kind, Kind::Entry | Kind::Moved);
        is_entry && record.group == group && record.index == index
    });
    if !valid {
        return Err(WalError::Damaged {
            file: path.to_owned(),
            offset: at.offset,
            reason: Damage::Record,
        });
    }
    Ok(Bytes::from(bytes).slice(format::RECORD_HEADER_BYTES..))
}
