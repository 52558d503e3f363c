//! What approvers check and recipients open: pages of a selection.

use std::collections::BTreeMap;

use bailiwick_envelope::block::{BlockPlace, SealedRecord};
use bailiwick_envelope::selection::RecordPosition;
use bailiwick_envelope::{Canonical, sha256};
use bailiwick_tlog::MerkleTree;
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{Digest, RequestId, SessionId, ShardId};
use std::ops::Bound;

use crate::blocks::CHUNK;
use crate::certificates::period;
use crate::rows::{ManifestRow, corrupt};
use crate::selection::{RecordReader, entries};
use crate::sessions::header;
use crate::tables::{Position, manifests, records};
use crate::view::{CiphertextPage, CiphertextRecord, EvidenceBlock, EvidencePage, EvidenceRecord};

/// Most records of one page.
pub(crate) const PAGE: u32 = 1024;
/// Headers, manifests and records of a page end when they have about this many bytes: half a message,
/// so that the last session's header and the framing still fit.
const PAGE_BYTES: usize = bailiwick_types::limits::MESSAGE_BYTES / 2;
/// A record with its label and the hashes of a proof in a full block: under this many bytes.
const RECORD_BYTES: usize = 1024;

/// A page for approvers: labels, manifests, proofs, headers; no ciphertext.
pub(crate) fn evidence(
    store: &dyn ReadStore,
    shard: ShardId,
    rd: &RequestId,
    from: u32,
    limit: u32,
) -> Result<EvidencePage, StoreError> {
    let mut reader = RecordReader::new(store, shard);
    let mut sessions = BTreeMap::new();
    let mut blocks = BTreeMap::new();
    let mut page = Vec::new();
    let mut headers = Vec::new();
    let mut bytes = 0;
    for (entry, index) in entries(store, rd, from, limit.min(PAGE))?
        .into_iter()
        .zip(from..)
    {
        let (record, place) = reader.read(entry.period, entry.position)?;
        let label = record.label(place, entry.position.index);
        let (manifest, place) = reader.block(entry.period, entry.position)?;
        let position = RecordPosition {
            partition: shard.partition,
            sid: place.sid,
            block: place.block,
            index: entry.position.index,
        };
        blocks
            .entry((place.sid, place.block))
            .or_insert(EvidenceBlock {
                manifest: manifest.manifest.clone(),
                signature: manifest.signature,
            });
        if sessions.insert(place.sid, ()).is_none() {
            let header = header(store, entry.period, entry.position.session)?;
            bytes += header.to_bytes().len();
            headers.push(header);
        }
        bytes += RECORD_BYTES;
        let proof = prove(store, entry.period, entry.position, manifest, place)?;
        page.push(EvidenceRecord {
            index,
            position,
            label,
            alpha: record.alpha,
            ciphertext_hash: sha256(&record.ciphertext),
            proof,
        });
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(EvidencePage {
        sessions: headers,
        blocks: blocks.into_values().collect(),
        records: page,
    })
}

/// The inclusion proof of a record's leaf: within its chunk, whose leaves are hashed again, then
/// above it from the chunks' stored roots.
fn prove(
    store: &dyn ReadStore,
    period: u32,
    position: Position,
    manifest: &ManifestRow,
    place: &BlockPlace,
) -> Result<Vec<Digest>, StoreError> {
    let table = manifests(period);
    let leaves = chunk_leaves(store, period, position, manifest, place)?;
    let roots = manifest.chunks.chunks_exact(32);
    let roots: Option<Vec<[u8; 32]>> = roots.map(|root| root.try_into().ok()).collect();
    let roots = MerkleTree::from_leaves(roots.ok_or_else(|| corrupt(table))?);
    let within = MerkleTree::from_leaves(leaves).prove(u64::from(position.index % CHUNK));
    let above = roots.prove(u64::from(position.index / CHUNK));
    let (within, above) = within
        .and_then(|within| Ok((within, above?)))
        .map_err(|_| corrupt(table))?;
    Ok(within.into_iter().chain(above).map(Digest).collect())
}

/// The leaves of the chunk around a position, in order; those of dropped duplicates were kept.
fn chunk_leaves(
    store: &dyn ReadStore,
    period: u32,
    position: Position,
    manifest: &ManifestRow,
    place: &BlockPlace,
) -> Result<Vec<[u8; 32]>, StoreError> {
    let table = records(period);
    let first = position.index - position.index % CHUNK;
    let end = (first + CHUNK).min(manifest.manifest.count);
    let at = |index| Position { index, ..position }.key();
    let (low, high) = (at(first), at(end - 1));
    let bounds = (Bound::Included(&low[..]), Bound::Included(&high[..]));
    let mut leaves = BTreeMap::new();
    for (key, row) in store.scan(table, bounds.0, bounds.1, usize::from(CHUNK))? {
        let record = SealedRecord::from_row(&row).map_err(|_| corrupt(table))?;
        let index = Position::of_tail(&key).ok_or_else(|| corrupt(table))?.index;
        let label = record.label(place, index);
        leaves.insert(
            index,
            label.manifest_leaf_of(&record.alpha, &record.ciphertext),
        );
    }
    for (index, leaf) in &manifest.dropped {
        if (first..end).contains(index) {
            leaves.insert(*index, *leaf);
        }
    }
    match leaves.len() == usize::from(end - first) {
        true => Ok(leaves.into_values().map(|leaf| leaf.0).collect()),
        false => Err(corrupt(table)),
    }
}

/// A page for the recipient, with ciphertext.
pub(crate) fn ciphertexts(
    store: &dyn ReadStore,
    shard: ShardId,
    rd: &RequestId,
    from: u32,
    limit: u32,
) -> Result<CiphertextPage, StoreError> {
    let mut reader = RecordReader::new(store, shard);
    let mut periods: BTreeMap<SessionId, u32> = BTreeMap::new();
    let mut page = Vec::new();
    for (entry, index) in entries(store, rd, from, limit.min(PAGE))?
        .into_iter()
        .zip(from..)
    {
        let (record, place) = reader.read(entry.period, entry.position)?;
        periods.insert(place.sid, entry.period);
        page.push(CiphertextRecord {
            index,
            label: record.label(place, entry.position.index),
            alpha: record.alpha,
            ciphertext: record.ciphertext,
        });
    }
    let mut kids = Vec::with_capacity(periods.len());
    for (sid, number) in periods {
        kids.push((sid, period(store, number)?.kid));
    }
    Ok(CiphertextPage {
        records: page,
        periods: kids,
    })
}
