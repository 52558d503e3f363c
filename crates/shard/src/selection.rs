//! Finding what a request's scope selects. The list is frozen: what is written later needs a new
//! request.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bailiwick_envelope::block::{BlockPlace, SealedRecord};
use bailiwick_envelope::request::{DisclosureRequest, ScopeLine};
use bailiwick_envelope::selection::{RecordPosition, Selection};
use bailiwick_types::limits::SELECTION_RECORDS;
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{Digest, RequestId, ShardId};

use crate::machine::Stop;
use crate::rejection::RequestRejection;
use crate::rows::{ManifestRow, PeriodStatistics, SessionRow, corrupt, demand, parse, tail_u32};
use crate::tables::{
    Position, SELECTIONS, STATISTICS, block_key, manifests, records, sessions, subject_bound,
    subject_key_parts, subjects,
};

/// Rows read at a time.
const PAGE: usize = 1024;

/// What a scope selects.
pub(crate) struct Found {
    pub(crate) selection: Selection,
    /// In order of the selection.
    pub(crate) entries: Vec<SelectionEntry>,
    /// Numbers of the periods involved, ascending.
    pub(crate) periods: Vec<u32>,
}

/// One record of a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SelectionEntry {
    pub(crate) period: u32,
    pub(crate) position: Position,
    pub(crate) input: Digest,
}

impl SelectionEntry {
    /// `period u32 | position 8 | x 32`.
    pub(crate) fn to_row(self) -> Vec<u8> {
        let period = self.period.to_be_bytes();
        [&period[..], &self.position.key(), &self.input.0].concat()
    }

    pub(crate) fn from_row(row: &[u8]) -> Result<Self, StoreError> {
        let entry = || -> Option<Self> {
            let (head, input) = row.split_at_checked(12)?;
            let (period, position) = head.split_first_chunk::<4>()?;
            Some(Self {
                period: u32::from_be_bytes(*period),
                position: Position::of_tail(position)?,
                input: Digest(input.try_into().ok()?),
            })
        };
        entry().ok_or_else(|| corrupt(SELECTIONS))
    }
}

/// Where records were found, in order of the selection.
type Positions = BTreeMap<RecordPosition, (u32, Position)>;

/// Finds the records in a request's scope.
///
/// # Errors
/// Rejects when there are more than the request's cap.
pub(crate) fn find_records(
    store: &dyn ReadStore,
    shard: ShardId,
    rd: &RequestId,
    request: &DisclosureRequest,
) -> Result<Found, Stop> {
    let positions = find_positions(store, shard, request)?;
    // Counting ends one above the highest cap, which fits.
    let found = positions.len() as u32;
    let cap = request.cap;
    if found > cap {
        return Err(RequestRejection::OverCap { found, cap }.into());
    }
    let mut reader = RecordReader::new(store, shard);
    let mut inputs = Vec::with_capacity(positions.len());
    let mut entries = Vec::with_capacity(positions.len());
    for (period, position) in positions.into_values() {
        let (record, place) = reader.read(period, position)?;
        let label = record.label(place, position.index);
        let input = label.record_input(&record.alpha);
        inputs.push((input, record.category));
        entries.push(SelectionEntry {
            period,
            position,
            input,
        });
    }
    let periods: BTreeSet<u32> = entries.iter().map(|entry| entry.period).collect();
    Ok(Found {
        selection: Selection::of(*rd, inputs),
        entries,
        periods: periods.into_iter().collect(),
    })
}

fn find_positions(
    store: &dyn ReadStore,
    shard: ShardId,
    request: &DisclosureRequest,
) -> Result<Positions, StoreError> {
    let mut search = Search {
        store,
        shard,
        sids: BTreeMap::new(),
        positions: Positions::new(),
    };
    for (key, value) in store.scan_prefix(STATISTICS, &[], usize::MAX)? {
        let period = tail_u32(STATISTICS, &key)?;
        let statistics: PeriodStatistics = parse(STATISTICS, &value)?;
        for line in &request.scope {
            if search.is_full() {
                return Ok(search.positions);
            }
            let apart = statistics.last_minute < line.from || line.to <= statistics.first_minute;
            if !apart {
                search.line(period, line)?;
            }
        }
    }
    Ok(search.positions)
}

struct Search<'a> {
    store: &'a dyn ReadStore,
    shard: ShardId,
    sids: BTreeMap<(u32, u32), bailiwick_types::SessionId>,
    positions: Positions,
}

impl Search<'_> {
    /// Whether more was found than any request may select.
    fn is_full(&self) -> bool {
        self.positions.len() > SELECTION_RECORDS as usize
    }

    fn line(&mut self, period: u32, line: &ScopeLine) -> Result<(), StoreError> {
        let table = subjects(period);
        let end = subject_bound(&line.subject, line.to);
        let mut from = subject_bound(&line.subject, line.from).to_vec();
        loop {
            let bounds = (Bound::Excluded(&from[..]), Bound::Excluded(&end[..]));
            let rows = self.store.scan(table, bounds.0, bounds.1, PAGE)?;
            for (key, _) in &rows {
                self.take(period, line, key)?;
                if self.is_full() {
                    return Ok(());
                }
            }
            match rows.into_iter().next_back() {
                Some((last, _)) => from = last,
                None => return Ok(()),
            }
        }
    }

    fn take(&mut self, period: u32, line: &ScopeLine, key: &[u8]) -> Result<(), StoreError> {
        let table = subjects(period);
        let (_, category) = subject_key_parts(key).ok_or_else(|| corrupt(table))?;
        if !line.categories.contains(&category) {
            return Ok(());
        }
        let position = Position::of_tail(key).ok_or_else(|| corrupt(table))?;
        let session = (period, position.session);
        let sid = match self.sids.get(&session) {
            Some(sid) => *sid,
            None => {
                let key = position.session.to_be_bytes();
                let row: SessionRow = demand(self.store, sessions(period), &key)?;
                self.sids.insert(session, row.sid);
                row.sid
            }
        };
        let place = RecordPosition {
            partition: self.shard.partition,
            sid,
            block: position.block,
            index: position.index,
        };
        self.positions.insert(place, (period, position));
        Ok(())
    }
}

/// Reads records with their places; keeps the last block's, since a selection is ordered by block.
pub(crate) struct RecordReader<'a> {
    store: &'a dyn ReadStore,
    shard: ShardId,
    last: Option<(u32, u32, ManifestRow, BlockPlace)>,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(store: &'a dyn ReadStore, shard: ShardId) -> Self {
        Self {
            store,
            shard,
            last: None,
        }
    }

    /// The record at a position, and what its label shares with its block.
    pub(crate) fn read(
        &mut self,
        period: u32,
        position: Position,
    ) -> Result<(SealedRecord, &BlockPlace), StoreError> {
        let table = records(period);
        let row = self.store.get(table, &position.key())?;
        let row = row.ok_or_else(|| corrupt(table))?;
        let record = SealedRecord::from_row(&row).map_err(|_| corrupt(table))?;
        let (_, place) = self.block(period, position)?;
        Ok((record, place))
    }

    /// The manifest and place of a position's block.
    pub(crate) fn block(
        &mut self,
        period: u32,
        position: Position,
    ) -> Result<(&ManifestRow, &BlockPlace), StoreError> {
        let same = |(p, session, row, _): &(u32, u32, ManifestRow, BlockPlace)| {
            (*p, *session, row.manifest.block) == (period, position.session, position.block)
        };
        if !self.last.as_ref().is_some_and(same) {
            let key = block_key(position.session, position.block);
            let row: ManifestRow = demand(self.store, manifests(period), &key)?;
            let key = position.session.to_be_bytes();
            let session: SessionRow = demand(self.store, sessions(period), &key)?;
            let place = BlockPlace {
                sid: session.sid,
                block: position.block,
                jurisdiction: self.shard.jurisdiction,
                edge: session.edge,
                pseudonym_version: row.pseudonym_version,
            };
            self.last = Some((period, position.session, row, place));
        }
        let last = self.last.as_ref().expect("set above when it was not there");
        Ok((&last.2, &last.3))
    }
}

/// The records `from` to `from + limit` of a selection.
pub(crate) fn entries(
    store: &dyn ReadStore,
    rd: &RequestId,
    from: u32,
    limit: u32,
) -> Result<Vec<SelectionEntry>, StoreError> {
    let begin = crate::tables::selection_key(rd, from);
    let end = crate::tables::selection_key(rd, u32::MAX);
    let bounds = (Bound::Included(&begin[..]), Bound::Included(&end[..]));
    let rows = store.scan(SELECTIONS, bounds.0, bounds.1, limit as usize)?;
    rows.iter()
        .map(|(_, row)| SelectionEntry::from_row(row))
        .collect()
}
