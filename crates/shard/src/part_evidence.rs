//! What a partition shows of its part of a selection: to approvers with the proof that the home log
//! commits to it, to the home group's leader the list, to the recipient the ciphertext.

use std::collections::BTreeMap;

use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_envelope::partition::PartitionRoot;
use bailiwick_tlog as tlog;
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{Category, Digest, RequestId, SessionId, ShardId};

use crate::certificates::period;
use crate::evidence as pages;
use crate::log::{LogNodes, store_error};
use crate::parts::{PartRow, part};
use crate::rows::{ShardState, corrupt, demand, read_array};
use crate::selection::{RecordReader, entries};
use crate::tables::{LEAVES, STATE, block_key, block_leaves};
use crate::view::{CiphertextPage, LogProof, PartPage, PartView};

/// Most records of one page for approvers: each may stand in a block of its own, whose leaf and proof
/// take up to 2 KiB besides the page's other half message.
const PAGE: u32 = 512;
/// Most inputs of one page: 33 bytes each.
const INPUTS: u32 = 32_768;

/// A frozen part of a request's selection; `None` when this group froze none.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn frozen_part(
    store: &dyn ReadStore,
    request: RequestId,
) -> Result<Option<PartView>, StoreError> {
    let Some(row) = part(store, &request)? else {
        return Ok(None);
    };
    let mut kids = Vec::with_capacity(row.periods.len());
    for number in &row.periods {
        kids.push(period(store, *number)?.kid);
    }
    kids.sort();
    Ok(Some(PartView {
        selection: row.selection,
        leaf_index: row.leaf_index,
        kids,
    }))
}

/// How far this group's log has come, with the proof that it extends the tree of `known` leaves;
/// `None` when it is no larger.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn partition_root(
    store: &dyn ReadStore,
    known: u64,
) -> Result<Option<PartitionRoot>, StoreError> {
    let state: ShardState = demand(store, STATE, &[])?;
    let size = state.leaves;
    if size <= known {
        return Ok(None);
    }
    let nodes = LogNodes(store);
    let proof = match known {
        0 => Vec::new(),
        known => tlog::prove_consistency(&nodes, known, size).map_err(store_error)?,
    };
    Ok(Some(PartitionRoot {
        partition: state.shard.partition,
        size,
        root: Digest(tlog::root(&nodes, size).map_err(store_error)?),
        proof: proof.into_iter().map(Digest).collect(),
    }))
}

/// The record inputs `from` and onwards of a part with their kinds, at most 32,768.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn part_inputs(
    store: &dyn ReadStore,
    request: RequestId,
    from: u32,
) -> Result<Vec<(Digest, Category)>, StoreError> {
    let state: ShardState = demand(store, STATE, &[])?;
    let mut reader = RecordReader::new(store, state.shard);
    let mut inputs = Vec::new();
    for entry in entries(store, &request, from, INPUTS)? {
        let (record, _) = reader.read(entry.period, entry.position)?;
        inputs.push((entry.input, record.category));
    }
    Ok(inputs)
}

/// The records `from` to `from + limit` (at most 512) of a further partition's part, for approvers,
/// everything proven in the tree of this group's first `size` leaves; `None` when this group froze no
/// part of the request, or its log is shorter, or something of it came later.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn part_page(
    store: &dyn ReadStore,
    request: RequestId,
    from: u32,
    limit: u32,
    size: u64,
) -> Result<Option<PartPage>, StoreError> {
    let state: ShardState = demand(store, STATE, &[])?;
    let Some(row) = part(store, &request)?.filter(|_| size <= state.leaves) else {
        return Ok(None);
    };
    let page = pages::evidence(store, state.shard, &request, from, limit.min(PAGE))?;
    let Some(leaf) = prove(store, row.leaf_index, size)? else {
        return Ok(None);
    };
    let indices = leaf_indices(
        store,
        state.shard,
        &request,
        from,
        page.records.len() as u32,
    )?;
    let mut blocks = Vec::with_capacity(page.blocks.len());
    for block in &page.blocks {
        let place = (block.manifest.sid, block.manifest.block);
        let index = indices.get(&place).ok_or_else(|| corrupt(LEAVES))?;
        match prove(store, *index, size)? {
            Some(proven) => blocks.push(proven),
            None => return Ok(None),
        }
    }
    Ok(Some(PartPage {
        part: leaf,
        page,
        blocks,
    }))
}

/// The leaf of every block that records of a page stand in.
fn leaf_indices(
    store: &dyn ReadStore,
    shard: ShardId,
    request: &RequestId,
    from: u32,
    count: u32,
) -> Result<BTreeMap<(SessionId, u16), u64>, StoreError> {
    let mut reader = RecordReader::new(store, shard);
    let mut indices = BTreeMap::new();
    for entry in entries(store, request, from, count)? {
        let (_, place) = reader.block(entry.period, entry.position)?;
        let table = block_leaves(entry.period);
        let key = block_key(entry.position.session, entry.position.block);
        let index = read_array(store, table, &key)?.ok_or_else(|| corrupt(table))?;
        indices.insert((place.sid, place.block), u64::from_be_bytes(index));
    }
    Ok(indices)
}

fn prove(store: &dyn ReadStore, index: u64, size: u64) -> Result<Option<LogProof>, StoreError> {
    if index >= size {
        return Ok(None);
    }
    let proof = tlog::prove_inclusion(&LogNodes(store), index, size).map_err(store_error)?;
    let leaf: OpenedLeaf = crate::query::leaf(store, index)?.ok_or_else(|| corrupt(LEAVES))?;
    Ok(Some(LogProof {
        index,
        leaf,
        proof: proof.into_iter().map(Digest).collect(),
    }))
}

/// The records `from` to `from + limit` (at most 1,024) of a part with their ciphertext; `None` when
/// this group froze no part of the request. Whether they may be handed out, the home group says.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn part_ciphertexts(
    store: &dyn ReadStore,
    request: RequestId,
    from: u32,
    limit: u32,
) -> Result<Option<CiphertextPage>, StoreError> {
    let state: ShardState = demand(store, STATE, &[])?;
    let row: Option<PartRow> = part(store, &request)?;
    match row {
        Some(_) => pages::ciphertexts(store, state.shard, &request, from, limit).map(Some),
        None => Ok(None),
    }
}
