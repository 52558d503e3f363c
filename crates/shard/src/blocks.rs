//! Blocks of sealed records (docs/cryptography.md section 6): the hot path.
//!
//! Checks per block are one signature and one pass of hashes. A record whose id is stored already in
//! the same key period is that record's outcome, never a rejected block.

use bailiwick_envelope::block::{BlockPlace, SealedBlock, SealedRecord, block_leaves};
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_tlog::MerkleTree;
use bailiwick_types::limits::{HEADER_CLOCK_SKEW, SESSION_GRACE};
use bailiwick_types::store::StoreError;
use bailiwick_types::{Category, Digest, Timestamp};
use bytes::Bytes;

use crate::enrolment::edge_key;
use crate::machine::{Machine, Stop};
use crate::outcome::{BlockStored, Outcome};
use crate::partitions::check_subjects;
use crate::rejection::BlockRejection;
use crate::rows::{ManifestRow, PeriodStatistics, SessionRow, demand, read, write};
use crate::sessions::place;
use crate::tables::{
    Position, STATISTICS, block_key, block_leaves as leaves_of_blocks, manifests, record_ids,
    records, sessions, subject_key, subjects,
};

/// Leaves under one stored subtree root: a proof rehashes 16 neighbours instead of 4,096, for 2
/// bytes a record. A power of two, so that these roots are nodes of the block's tree.
pub(crate) const CHUNK: u16 = 16;

/// A label's minute may be this far ahead of the log's time: clocks of backends differ.
const MINUTE_LEAD: std::time::Duration = std::time::Duration::from_secs(10 * 60);

pub(crate) fn append(machine: &mut Machine<'_>, wire: &[u8]) -> Result<Outcome, Stop> {
    let block = SealedBlock::from_wire(wire).map_err(|error| BlockRejection::Malformed {
        reason: error.to_string(),
    })?;
    let sid = block.manifest.sid;
    let unknown = BlockRejection::UnknownSession(sid);
    let (period, number) = place(machine.reader(), &sid)?.ok_or(unknown)?;
    let key = number.to_be_bytes();
    let mut session: SessionRow = demand(machine.reader(), sessions(period), &key)?;
    if session.edge != machine.by {
        let (edge, by) = (session.edge, machine.by.clone());
        return Err(BlockRejection::OtherEdge { edge, by }.into());
    }
    let manifest_hash = block.manifest.hash();
    let last = session.next_block.checked_sub(1);
    if last == Some(block.manifest.block) && manifest_hash == session.previous {
        return Ok(Outcome::BlockStored(session.last_outcome));
    }
    machine.check_not_frozen()?;
    check(machine, &session, &block)?;
    let place = block.place(machine.state.shard.jurisdiction, &session.edge);
    let (leaves, chunks) = check_root(&place, &block)?;
    check_subjects(machine, &block.records)?;
    let duplicates = store_records(machine, period, number, &block)?;
    let dropped = duplicates
        .iter()
        .map(|index| (*index, leaves[usize::from(*index)].into()));
    let manifest = ManifestRow {
        dropped: dropped.collect(),
        manifest: block.manifest,
        signature: block.signature,
        pseudonym_version: block.pseudonym_version,
        chunks,
    };
    let block_number = manifest.manifest.block;
    write(
        machine.store,
        manifests(period),
        &block_key(number, block_number),
        &manifest,
    )?;
    if machine.state.shard.partition > 0 {
        log_block(machine, period, number, block_number, manifest_hash)?;
    }
    let outcome = BlockStored { duplicates };
    session.next_block += 1;
    session.previous = manifest_hash;
    session.last_edge_time = manifest.manifest.edge_time;
    session.last_outcome = outcome.clone();
    write(machine.store, sessions(period), &key, &session)?;
    Ok(Outcome::BlockStored(outcome))
}

/// The home log commits to a further partition's log, and so to its blocks.
fn log_block(
    machine: &mut Machine<'_>,
    period: u32,
    session: u32,
    block: u16,
    manifest: Digest,
) -> Result<(), StoreError> {
    let leaf_index = machine.log(LeafContent::Block { manifest })?;
    let key = block_key(session, block);
    machine
        .store
        .put(leaves_of_blocks(period), &key, &leaf_index.to_be_bytes())
}

/// All but the root: cheap checks first, the signature last.
fn check(machine: &Machine<'_>, session: &SessionRow, block: &SealedBlock) -> Result<(), Stop> {
    let (stamp, manifest) = (machine.stamp, &block.manifest);
    let expires_at = session.expires_at;
    if stamp > expires_at.plus(SESSION_GRACE) {
        return Err(BlockRejection::Expired { expires_at }.into());
    }
    let (expected, got) = (session.next_block, manifest.block);
    if got != expected || got >= session.max_block {
        return Err(BlockRejection::OutOfOrder { expected, got }.into());
    }
    if manifest.previous != session.previous {
        return Err(BlockRejection::Chain.into());
    }
    check_edge_time(stamp, session, manifest.edge_time)?;
    let latest = stamp.plus(MINUTE_LEAD).minute();
    if let Some(index) = block.records.iter().position(|r| r.minute > latest) {
        // A block has at most 4,096 records.
        let index = index as u16;
        return Err(BlockRejection::FutureMinute { index }.into());
    }
    if edge_key(machine.reader(), &session.edge)? != Some(session.edge_key) {
        return Err(BlockRejection::NotEnrolled(session.edge.clone()).into());
    }
    manifest
        .verify(&session.edge_key, &block.signature)
        .map_err(|_| BlockRejection::Signature)?;
    Ok(())
}

/// A manifest's time lies within its session, not before the last block's and not ahead of the
/// log's time, with the tolerance that headers have.
fn check_edge_time(
    stamp: Timestamp,
    session: &SessionRow,
    edge_time: Timestamp,
) -> Result<(), BlockRejection> {
    let earliest = session.last_edge_time.minus(HEADER_CLOCK_SKEW);
    let latest = stamp.min(session.expires_at).plus(HEADER_CLOCK_SKEW);
    if edge_time < earliest || edge_time > latest {
        return Err(BlockRejection::EdgeTime { edge_time });
    }
    Ok(())
}

/// Rebuilds every label and leaf; returns the leaves and the roots of each [`CHUNK`] of them.
fn check_root(
    place: &BlockPlace,
    block: &SealedBlock,
) -> Result<(Vec<[u8; 32]>, Bytes), BlockRejection> {
    let leaves = block_leaves(place, &block.records);
    let roots: Vec<[u8; 32]> = leaves
        .chunks(usize::from(CHUNK))
        .map(|chunk| MerkleTree::from_leaves(chunk.to_vec()).root())
        .collect();
    let chunks = Bytes::from(roots.concat());
    if Digest(MerkleTree::from_leaves(roots).root()) == block.manifest.root {
        Ok((leaves, chunks))
    } else {
        Err(BlockRejection::Root)
    }
}

/// Stores what is new and returns the indices of what is not.
fn store_records(
    machine: &mut Machine<'_>,
    period: u32,
    session: u32,
    block: &SealedBlock,
) -> Result<Vec<u16>, StoreError> {
    let mut statistics: PeriodStatistics =
        read(machine.reader(), STATISTICS, &period.to_be_bytes())?.unwrap_or_default();
    let (before, phones_before) = (statistics.records, statistics.phones);
    let (mut duplicates, mut row) = (Vec::new(), Vec::with_capacity(256));
    for (index, record) in block.records.iter().enumerate() {
        let index = index as u16;
        if machine
            .store
            .get(record_ids(period), &record.record.0)?
            .is_some()
        {
            duplicates.push(index);
            continue;
        }
        let position = Position {
            session,
            block: block.manifest.block,
            index,
        };
        store_record(machine, period, position, record, &mut row)?;
        statistics.records += 1;
        statistics.phones += u64::from(record.category == Category::Phone);
        statistics.first_minute = statistics.first_minute.min(record.minute);
        statistics.last_minute = statistics.last_minute.max(record.minute);
    }
    machine.state.records += statistics.records - before;
    machine.state.phones += statistics.phones - phones_before;
    write(
        machine.store,
        STATISTICS,
        &period.to_be_bytes(),
        &statistics,
    )?;
    Ok(duplicates)
}

fn store_record(
    machine: &mut Machine<'_>,
    period: u32,
    position: Position,
    record: &SealedRecord,
    row: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let store = &mut *machine.store;
    row.clear();
    record.write_row(row);
    store.put(records(period), &position.key(), row)?;
    let key = subject_key(&record.subject, record.minute, record.category, position);
    store.put(subjects(period), &key, &[])?;
    store.put(record_ids(period), &record.record.0, &position.key())
}
