//! The selection: the list of records that a request's scope found, frozen and logged before review
//! (docs/cryptography.md section 7). Reviewers approve the request *and* this list; what is written
//! later needs a new request.
//!
//! ```text
//! root = Merkle root over all x, in the order of (partition, sid, block, index)
//! id   = H("selection", rd, count, root)
//! ```

use bailiwick_tlog::MerkleTree;
use bailiwick_types::{Category, Digest, RequestId, SelectionId, SessionId};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::tags::{HashTag, hash};

/// Where a record stands in its jurisdiction, which is also the order of a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordPosition {
    /// The partition.
    pub partition: u16,
    /// The session.
    pub sid: SessionId,
    /// The block within the session.
    pub block: u16,
    /// The record within the block.
    pub index: u16,
}

impl Canonical for RecordPosition {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u16(self.partition)
            .bytes(&self.sid.0)
            .u16(self.block)
            .u16(self.index);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            partition: decoder.u16("position.partition")?,
            sid: SessionId(decoder.array("position.sid")?),
            block: decoder.u16("position.block")?,
            index: decoder.u16("position.index")?,
        })
    }
}

/// A frozen selection without its list: what is logged and what reviewers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The request.
    pub request: RequestId,
    /// How many records.
    pub count: u32,
    /// How many of them are phone numbers; the others are IP observations.
    pub phones: u32,
    /// Merkle root over all x in order; of no records, the empty tree's.
    pub root: Digest,
}

impl Selection {
    /// The selection of a list of record inputs `x` with their kinds, in order of position.
    pub fn of(request: RequestId, inputs: impl IntoIterator<Item = (Digest, Category)>) -> Self {
        let mut phones = 0;
        let mut leaves = Vec::new();
        for (x, category) in inputs {
            phones += u32::from(category == Category::Phone);
            leaves.push(x.0);
        }
        let count = leaves.len() as u32;
        Self {
            request,
            count,
            phones,
            root: Digest(MerkleTree::from_leaves(leaves).root()),
        }
    }

    /// `H("selection", rd, count, phones, root)`.
    pub fn id(&self) -> SelectionId {
        SelectionId(hash(HashTag::Selection, |e| self.encode(e)).0)
    }
}

impl Canonical for Selection {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.request.0)
            .u32(self.count)
            .u32(self.phones)
            .digest(&self.root);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            request: RequestId(decoder.array("selection.request")?),
            count: decoder.u32("selection.count")?,
            phones: decoder.u32("selection.phones")?,
            root: decoder.digest("selection.root")?,
        })
    }
}

canonical_serde!(Selection, RecordPosition);
