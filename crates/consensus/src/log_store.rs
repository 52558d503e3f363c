//! openraft's log storage over one group's part of the node's write-ahead log.
//!
//! The write-ahead log orders and syncs; this file only translates. A failed sync is reported to the
//! host's fatal hook before openraft hears of it: what was acknowledged may be gone, so the process
//! must end and find out at its next start.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bailiwick_storage::{GroupLog, LogRecord, WalError};
use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::oneshot;

use crate::options::Fatal;
use crate::raft::{Entry, LogId, Types, Vote, decode, encode, entry, malformed, record};
use crate::state_machine::GroupMachine;

/// Most bytes of entries that one read for replication returns, unless one entry alone is longer.
pub(crate) const READ_BYTES: usize = 1 << 20;
/// Most bytes of entries held at once while applying: a few full blocks.
const APPLY_BYTES: usize = 4 << 20;

/// One group's log.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: GroupLog,
    /// Knows what is durable in the record store, which bounds what may be purged.
    machine: GroupMachine,
    /// The greatest stamp in the log: the group's log time for a leader to come.
    last_stamp: Arc<AtomicU64>,
    fatal: Fatal,
    /// Whether a purge waits for the record store. openraft's suite has log stores without one.
    guarded: bool,
}

impl LogStore {
    pub(crate) fn new(
        log: GroupLog,
        machine: GroupMachine,
        last_stamp: Arc<AtomicU64>,
        fatal: Fatal,
    ) -> Self {
        Self {
            log,
            machine,
            last_stamp,
            fatal,
            guarded: true,
        }
    }

    #[cfg(test)]
    pub(crate) fn unguarded(mut self) -> Self {
        self.guarded = false;
        self
    }

    /// Hands a write's result to `then`, and to the fatal hook if it failed.
    fn done(&self, then: impl FnOnce(io::Result<()>) + Send + 'static) -> bailiwick_storage::Done {
        let fatal = self.fatal.clone();
        Box::new(move |result: Result<(), WalError>| {
            // A log that was closed in order lost nothing.
            if let Err(error) = &result
                && !matches!(error, WalError::Closed)
            {
                fatal(&format!("write-ahead log: {error}"));
            }
            then(result.map_err(io::Error::other));
        })
    }

    /// Runs a write and waits until it is durable.
    async fn durably(
        &self,
        write: impl FnOnce(&GroupLog, bailiwick_storage::Done),
    ) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        write(
            &self.log,
            self.done(move |result| {
                // The waiting side may have been stopped; the write stands all the same.
                let _ = sender.send(result);
            }),
        );
        receiver
            .await
            .map_err(|_| io::Error::other("the write-ahead log is closed"))?
    }

    /// Reads entries, at least one if there is any, then no more than `max_bytes`.
    async fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        // What is not yet applied was just written and lies in the log's cache. What lies further
        // back may come from the disk, which must not hold up an async worker.
        let records = if range.start > self.machine.applied_index() {
            self.log.read(range, max_bytes)
        } else {
            let log = self.log.clone();
            tokio::task::spawn_blocking(move || log.read(range, max_bytes))
                .await
                .map_err(io::Error::other)?
        };
        let records = records.map_err(io::Error::other)?;
        records
            .iter()
            .map(|record| entry(&record.payload))
            .collect()
    }

    fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        start..end
    }

    fn last_purged(&self) -> io::Result<Option<LogId>> {
        match self.log.state().purged {
            Some((_, marker)) => decode(&marker).map(Some),
            None => Ok(None),
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let mut range = Self::bounds(&range);
        let state = self.log.state();
        range.start = range.start.max(state.first.unwrap_or(range.start));
        range.end = range
            .end
            .min(state.last.map_or(0, |last| last.saturating_add(1)));
        // openraft asks without a limit only for short ranges: single entries and the 64 of a restart.
        let mut entries: Vec<Entry> = Vec::new();
        while !range.is_empty() {
            let more = self.read(range.clone(), READ_BYTES).await?;
            let Some(last) = more.last() else { break };
            range.start = last.log_id.index + 1;
            entries.extend(more);
        }
        Ok(entries)
    }

    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut range = Self::bounds(&range);
        range.end = range.end.min(
            self.log
                .state()
                .last
                .map_or(0, |last| last.saturating_add(1)),
        );
        let state = (self.clone(), range);
        let chunks = futures::stream::try_unfold(state, |(store, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let entries = store.read(range.clone(), APPLY_BYTES).await?;
            let Some(last) = entries.last() else {
                return Err(malformed("an entry is missing from the log"));
            };
            let rest = last.log_id.index + 1..range.end;
            let entries = futures::stream::iter(entries.into_iter().map(Ok));
            Ok(Some((entries, (store, rest))))
        });
        Box::pin(futures::TryStreamExt::try_flatten(chunks))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.log.state().vote.map(|vote| decode(&vote)).transpose()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start..end, READ_BYTES).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_purged_log_id = self.last_purged()?;
        let last = self.log.last_record().map_err(io::Error::other)?;
        let last = last.map(|record| entry(&record.payload)).transpose()?;
        if let Some(Entry {
            payload: EntryPayload::Normal(proposal),
            ..
        }) = &last
        {
            self.last_stamp
                .fetch_max(proposal.stamp.micros(), Ordering::Relaxed);
        }
        Ok(LogState {
            last_purged_log_id,
            last_log_id: last.map(|entry| entry.log_id).or(last_purged_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = encode(vote)?;
        self.durably(|log, done| log.save_vote(vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // It rides along with the next synced batch: losing it only makes a restart apply less
        // before it hears from a leader.
        self.log.save_committed(encode(&committed)?);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        match self.log.state().committed {
            Some(committed) => decode(&committed),
            None => Ok(None),
        }
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        for entry in entries {
            if let EntryPayload::Normal(proposal) = &entry.payload {
                self.last_stamp
                    .fetch_max(proposal.stamp.micros(), Ordering::Relaxed);
            }
            records.push(LogRecord {
                index: entry.log_id.index,
                payload: record(&entry)?,
            });
        }
        self.log
            .append(records, self.done(|result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let last = last.map(|last| last.index);
        self.durably(|log, done| log.truncate_after(last, done))
            .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        // The log is what a record store is rebuilt from: it may go only where the store is durable.
        if self.guarded {
            self.machine.ensure_durable(upto.index).await?;
        }
        let marker = encode(&upto)?;
        self.durably(|log, done| log.purge(upto.index, marker, done))
            .await
    }
}
