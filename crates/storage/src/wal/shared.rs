//! What callers see of the log, and the queue to the writer.
//!
//! Every call changes this state and joins the queue under one lock, so that the order in which
//! callers see changes is the order in which the writer puts them on disk. Payloads stay here until
//! they are on disk, and after that as long as the cache has room.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;

use bailiwick_types::GroupId;
use bytes::Bytes;

use super::durable::{Durable, Location};
use super::error::WalError;
use super::format::{Kind, RECORD_HEADER_BYTES};
use super::statistics::WalStatistics;
use super::{Done, GroupState};
use crate::disk::DiskFile;

/// Bytes that may wait for the writer: 64 drained batches of 4 MiB. Callers beyond it wait.
pub(super) const MAXIMUM_QUEUED_BYTES: usize = 256 << 20;

/// One record on its way to the disk.
pub(super) struct Pending {
    pub(super) group: GroupId,
    pub(super) kind: Kind,
    pub(super) index: u64,
    pub(super) payload: Bytes,
    /// Tells an entry from a later one with the same index.
    pub(super) serial: u64,
    /// For a moved entry, where it was.
    pub(super) moved_from: Option<Location>,
}

impl Pending {
    pub(super) fn new(group: GroupId, kind: Kind, index: u64, payload: Bytes) -> Self {
        Self {
            group,
            kind,
            index,
            payload,
            serial: 0,
            moved_from: None,
        }
    }
}

/// What one call asks of the writer.
#[derive(Default)]
pub(super) struct Command {
    pub(super) records: Vec<Pending>,
    pub(super) done: Option<Done>,
}

impl Command {
    /// Calls back. A panic there is its owner's fault; the others must still get their answers.
    pub(super) fn answer(self, result: Result<(), WalError>) {
        let Some(done) = self.done else { return };
        if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
            tracing::error!("a callback of the write-ahead log panicked");
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let payloads = self.records.iter().map(|record| record.payload.len());
        payloads.map(|length| RECORD_HEADER_BYTES + length).sum()
    }
}

/// An entry as callers see it.
pub(super) struct Slot {
    pub(super) serial: u64,
    /// In memory: always before it is on disk, later as long as it is cached.
    pub(super) payload: Option<Bytes>,
    pub(super) payload_bytes: usize,
    /// On disk: once its batch is synced.
    pub(super) location: Option<Location>,
}

/// A group as callers see it.
#[derive(Default)]
pub(super) struct Group {
    /// The index of the first slot.
    pub(super) first: u64,
    pub(super) slots: VecDeque<Slot>,
    pub(super) purged: Option<(u64, Bytes)>,
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
}

impl Group {
    pub(super) fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.first)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    pub(super) fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let at = index.checked_sub(self.first)?;
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    /// One past the last entry.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.slots.len() as u64)
    }

    /// The index that must be appended next; `None` when any may.
    pub(super) fn next(&self) -> Option<u64> {
        if self.slots.is_empty() {
            let purged = self.purged.as_ref();
            purged.map(|(upto, _)| upto.saturating_add(1))
        } else {
            Some(self.end())
        }
    }

    /// Drops the entries from `index` on.
    pub(super) fn truncate_from(&mut self, index: u64) {
        let kept = index.saturating_sub(self.first);
        self.slots
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    /// Drops the entries up to and including `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.first <= upto && self.slots.pop_front().is_some() {
            self.first += 1;
        }
    }

    pub(super) fn state(&self) -> GroupState {
        let holds = !self.slots.is_empty();
        GroupState {
            first: holds.then_some(self.first),
            last: holds.then(|| self.end() - 1),
            purged: self.purged.clone(),
            vote: self.vote.clone(),
            committed: self.committed.clone(),
        }
    }
}

/// Payloads kept in memory though they are on disk, oldest first.
pub(super) struct Cache {
    limit: usize,
    bytes: usize,
    order: VecDeque<(GroupId, u64, u64, usize)>,
}

/// Everything behind the lock.
pub(super) struct State {
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) queue: VecDeque<Command>,
    pub(super) queued_bytes: usize,
    /// Committed positions that wait for a batch to ride along with.
    pub(super) committed: BTreeMap<GroupId, Bytes>,
    /// Set once, by the first failure; the log is latched closed from then on.
    pub(super) failed: Option<WalError>,
    pub(super) closing: bool,
    pub(super) next_serial: u64,
    pub(super) cache: Cache,
    pub(super) segments: BTreeMap<u64, Arc<dyn DiskFile>>,
    pub(super) statistics: WalStatistics,
}

/// The state, and how caller and writer wait for each other.
pub(super) struct Shared {
    state: Mutex<State>,
    /// The writer waits here for work.
    pub(super) work: Condvar,
    /// Callers wait here for room in the queue.
    space: Condvar,
    pub(super) writer: OnceLock<ThreadId>,
}

impl Shared {
    pub(super) fn new(
        durable: &Durable,
        cache_bytes: usize,
        segments: BTreeMap<u64, Arc<dyn DiskFile>>,
    ) -> Self {
        let state = State {
            groups: groups_on_disk(durable),
            queue: VecDeque::new(),
            queued_bytes: 0,
            committed: BTreeMap::new(),
            failed: None,
            closing: false,
            next_serial: 1,
            cache: Cache {
                limit: cache_bytes,
                bytes: 0,
                order: VecDeque::new(),
            },
            segments,
            statistics: WalStatistics::default(),
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            space: Condvar::new(),
            writer: OnceLock::new(),
        }
    }

    /// The state. A panic while it was locked leaves no half-made change: each is made in one step.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one call to the state and queues what `change` returns, or answers at once.
    pub(super) fn submit(
        &self,
        group: GroupId,
        done: Done,
        change: impl FnOnce(&mut State) -> Result<Vec<Pending>, WalError>,
    ) {
        let mut state = self.lock();
        // A callback may call from the writer's own thread, which must not wait for itself.
        let is_writer = self.writer.get() == Some(&std::thread::current().id());
        while state.queued_bytes > MAXIMUM_QUEUED_BYTES && state.accepts().is_ok() && !is_writer {
            state = self
                .space
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let records = state.accepts().and_then(|()| {
            let changes = change(&mut state)?;
            let riding = state.take_committed(group);
            Ok(riding.into_iter().chain(changes).collect::<Vec<_>>())
        });
        match records {
            Ok(records) => {
                let command = Command {
                    records,
                    done: Some(done),
                };
                state.queued_bytes += command.bytes();
                state.queue.push_back(command);
                drop(state);
                self.work.notify_one();
            }
            Err(error) => {
                drop(state);
                done(Err(error));
            }
        }
    }

    /// The next commands up to `limit` bytes, at least one. Waits for them if told to; `None` when
    /// the log closes and nothing is left.
    pub(super) fn next_batch(&self, limit: usize, wait: bool) -> Option<Vec<Command>> {
        let mut state = self.lock();
        while state.queue.is_empty() {
            if state.closing {
                return state.last_committed().map(|command| vec![command]);
            }
            if !wait {
                return Some(Vec::new());
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < limit
            && let Some(command) = state.queue.pop_front()
        {
            bytes += command.bytes();
            batch.push(command);
        }
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        if state.queue.is_empty() {
            batch.extend(state.last_committed());
        }
        drop(state);
        self.space.notify_all();
        Some(batch)
    }

    /// Closes the log for good after a failure and answers all who wait with it.
    pub(super) fn latch(&self, error: &WalError, waiting: Vec<Command>) {
        let mut state = self.lock();
        state.failed.get_or_insert_with(|| error.clone());
        let queued = std::mem::take(&mut state.queue);
        state.queued_bytes = 0;
        drop(state);
        self.space.notify_all();
        for command in waiting.into_iter().chain(queued) {
            command.answer(Err(error.clone()));
        }
    }

    /// Ends the writer after what is queued.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_all();
        self.space.notify_all();
    }
}

impl State {
    pub(super) fn accepts(&self) -> Result<(), WalError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.closing => Err(WalError::Closed),
            None => Ok(()),
        }
    }

    fn take_committed(&mut self, group: GroupId) -> Option<Pending> {
        let committed = self.committed.remove(&group)?;
        Some(Pending::new(group, Kind::Committed, 0, committed))
    }

    /// All committed positions that wait. Called only when the queue is empty: a position must not
    /// reach the disk before the entries it speaks of.
    fn last_committed(&mut self) -> Option<Command> {
        let committed = std::mem::take(&mut self.committed);
        if committed.is_empty() {
            return None;
        }
        let records = committed
            .into_iter()
            .map(|(group, committed)| Pending::new(group, Kind::Committed, 0, committed))
            .collect();
        Some(Command {
            records,
            done: None,
        })
    }

    /// Notes where an entry now is on disk and lets the cache decide how long its payload stays.
    pub(super) fn entry_is_on_disk(&mut self, entry: &Pending, location: Location) {
        let group = self.groups.get_mut(&entry.group);
        let Some(slot) = group.and_then(|group| group.slot_mut(entry.index)) else {
            return;
        };
        if let Some(old) = entry.moved_from {
            if slot.location == Some(old) {
                slot.location = Some(location);
            }
        } else if slot.serial == entry.serial {
            slot.location = Some(location);
            let bytes = slot.payload_bytes;
            let kept = (entry.group, entry.index, entry.serial, bytes);
            self.cache.order.push_back(kept);
            self.cache.bytes += bytes;
            self.shrink_cache();
        }
    }

    fn shrink_cache(&mut self) {
        while self.cache.bytes > self.cache.limit
            && let Some((group, index, serial, bytes)) = self.cache.order.pop_front()
        {
            self.cache.bytes -= bytes;
            let group = self.groups.get_mut(&group);
            if let Some(slot) = group.and_then(|group| group.slot_mut(index))
                && slot.serial == serial
            {
                slot.payload = None;
            }
        }
    }
}

/// The groups as recovery found them.
fn groups_on_disk(durable: &Durable) -> BTreeMap<GroupId, Group> {
    let mut groups = BTreeMap::new();
    for (id, on_disk) in &durable.groups {
        let slots = on_disk.entries.values().map(|location| Slot {
            serial: 0,
            payload: None,
            payload_bytes: (location.length as usize).saturating_sub(RECORD_HEADER_BYTES),
            location: Some(*location),
        });
        let group = Group {
            first: on_disk.entries.keys().next().copied().unwrap_or(0),
            slots: slots.collect(),
            purged: on_disk
                .purged
                .as_ref()
                .map(|(upto, marker, _)| (*upto, marker.clone())),
            vote: on_disk.vote.as_ref().map(|(vote, _)| vote.clone()),
            committed: on_disk
                .committed
                .as_ref()
                .map(|(committed, _)| committed.clone()),
        };
        groups.insert(*id, group);
    }
    groups
}
