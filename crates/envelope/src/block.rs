//! A sealed block: up to 4,096 records under one signed manifest (docs/cryptography.md section 6).
//! One block is one Raft entry, one log record and one store transaction.
//!
//! ```text
//! manifest = E(sid, b, count, root, H("man", previous), edge time)     signed by the edge
//! root     = Merkle root over H("leaf", i, l, alpha, SHA-256(ct))
//!
//! wire     = sid 32 | block u16 | count u16 | root 32 | previous 32 | edge time u64
//!          | signature 64 | pseudonym version u16 | row ..
//! row      = category u8 | record id 16 | subject 16 | minute u32 | alpha 32
//!          | ciphertext 80 (phone) or 96 (ip)
//! ```
//! The wire form holds once what all records share; labels are rebuilt from it and the session. It
//! is neither signed nor hashed: the manifest is.

use bailiwick_tlog::MerkleTree;
use bailiwick_types::limits::BLOCK_RECORDS;
use bailiwick_types::{
    Category, Digest, Jurisdiction, Minute, Name, RecordId, SessionId, SubjectPseudonym, Timestamp,
};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::label::Label;
use crate::tags::{HashTag, SignatureTag, hash};

/// Bytes that sealing adds to a padded plaintext: rho and the AEAD's tag.
pub const SEAL_OVERHEAD: usize = 32 + 16;
/// Bytes of a row before its ciphertext.
const ROW_HEAD: usize = 1 + 16 + 16 + 4 + 32;
/// Bytes of a block before its rows.
const BLOCK_HEAD: usize = 32 + 2 + 2 + 32 + 32 + 8 + 64 + 2;

/// A sealed record as it is stored: what differs from its neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    /// The record's id.
    pub record: RecordId,
    /// The subject.
    pub subject: SubjectPseudonym,
    /// Phone or IP.
    pub category: Category,
    /// The whole minute of the observation.
    pub minute: Minute,
    /// The commitment to the plaintext.
    pub alpha: Digest,
    /// AES-256-GCM of rho and the padded plaintext.
    pub ciphertext: Vec<u8>,
}

impl SealedRecord {
    /// Bytes of a ciphertext of a category.
    pub fn ciphertext_length(category: Category) -> usize {
        category.padded_length() + SEAL_OVERHEAD
    }

    /// Appends the row.
    pub fn write_row(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.category.code());
        bytes.extend_from_slice(&self.record.0);
        bytes.extend_from_slice(&self.subject.0);
        bytes.extend_from_slice(&self.minute.0.to_be_bytes());
        bytes.extend_from_slice(&self.alpha.0);
        bytes.extend_from_slice(&self.ciphertext);
    }

    /// Reads a row and leaves what follows.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown category or too few bytes.
    pub fn read_row(rest: &mut &[u8]) -> Result<Self, DecodeError> {
        let code = *rest.first().ok_or(DecodeError::Truncated {
            field: "row.category",
        })?;
        let category = Category::from_code(code)
            .ok_or(DecodeError::value("row.category", "neither phone nor ip"))?;
        let length = ROW_HEAD + Self::ciphertext_length(category);
        if rest.len() < length {
            return Err(DecodeError::Truncated { field: "row" });
        }
        let (row, tail) = rest.split_at(length);
        *rest = tail;
        Ok(Self {
            record: RecordId(fixed(row, 1)),
            subject: SubjectPseudonym(fixed(row, 17)),
            category,
            minute: Minute(u32::from_be_bytes(fixed(row, 33))),
            alpha: Digest(fixed(row, 37)),
            ciphertext: row[ROW_HEAD..].to_vec(),
        })
    }

    /// The row's own bytes.
    pub fn to_row(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ROW_HEAD + self.ciphertext.len());
        self.write_row(&mut bytes);
        bytes
    }

    /// The record of exactly one row.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn from_row(mut row: &[u8]) -> Result<Self, DecodeError> {
        let record = Self::read_row(&mut row)?;
        if row.is_empty() {
            Ok(record)
        } else {
            Err(DecodeError::Trailing(row.len()))
        }
    }

    /// The record's whole label.
    pub fn label(&self, place: &BlockPlace, index: u16) -> Label {
        Label {
            sid: place.sid,
            block: place.block,
            index,
            jurisdiction: place.jurisdiction,
            edge: place.edge.clone(),
            record: self.record,
            pseudonym_version: place.pseudonym_version,
            subject: self.subject,
            category: self.category,
            minute: self.minute,
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// What all labels of a block share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// The session.
    pub sid: SessionId,
    /// The block's number.
    pub block: u16,
    /// The custody jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The edge.
    pub edge: Name,
    /// The version of the pseudonym key.
    pub pseudonym_version: u16,
}

/// What an edge signs of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchManifest {
    /// The session.
    pub sid: SessionId,
    /// The block's number, from 0, without gaps.
    pub block: u16,
    /// How many records; 1 to 4,096.
    pub count: u16,
    /// Merkle root over the records' leaves.
    pub root: Digest,
    /// [`BatchManifest::hash`] of block `b - 1`; zeros for block 0.
    pub previous: Digest,
    /// When the edge sealed it, by its clock.
    pub edge_time: Timestamp,
}

impl BatchManifest {
    /// `H("man", manifest)`.
    pub fn hash(&self) -> Digest {
        hash(HashTag::Manifest, |e| self.encode(e))
    }

    /// Signs the manifest.
    pub fn sign(&self, edge: &SigningKey) -> Signature {
        sign(edge, SignatureTag::Manifest, |e| self.encode(e))
    }

    /// Verifies the edge's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this manifest.
    pub fn verify(&self, edge: &IdentityKey, signature: &Signature) -> Result<(), SignatureError> {
        edge.verify(SignatureTag::Manifest, |e| self.encode(e), signature)
    }
}

impl Canonical for BatchManifest {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.sid.0)
            .u16(self.block)
            .u16(self.count)
            .digest(&self.root)
            .digest(&self.previous)
            .u64(self.edge_time.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sid: SessionId(decoder.array("manifest.sid")?),
            block: decoder.u16("manifest.block")?,
            count: decoder.u16("manifest.count")?,
            root: decoder.digest("manifest.root")?,
            previous: decoder.digest("manifest.previous")?,
            edge_time: Timestamp(decoder.u64("manifest.edge_time")?),
        })
    }
}

canonical_serde!(BatchManifest);

/// A block on its way from an edge to a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBlock {
    /// The manifest.
    pub manifest: BatchManifest,
    /// The edge's signature of the manifest.
    pub signature: Signature,
    /// The version of the pseudonym key under which the subjects were derived.
    pub pseudonym_version: u16,
    /// The records in order.
    pub records: Vec<SealedRecord>,
}

impl SealedBlock {
    /// The block's wire form.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK_HEAD + self.records.len() * (ROW_HEAD + 96));
        bytes.extend_from_slice(&self.manifest.sid.0);
        bytes.extend_from_slice(&self.manifest.block.to_be_bytes());
        bytes.extend_from_slice(&self.manifest.count.to_be_bytes());
        bytes.extend_from_slice(&self.manifest.root.0);
        bytes.extend_from_slice(&self.manifest.previous.0);
        bytes.extend_from_slice(&self.manifest.edge_time.0.to_be_bytes());
        bytes.extend_from_slice(&self.signature.0);
        bytes.extend_from_slice(&self.pseudonym_version.to_be_bytes());
        for record in &self.records {
            record.write_row(&mut bytes);
        }
        bytes
    }

    /// The block of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names what is wrong.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() < BLOCK_HEAD {
            return Err(DecodeError::Truncated { field: "block" });
        }
        let (head, mut rows) = bytes.split_at(BLOCK_HEAD);
        let count = u16::from_be_bytes(fixed(head, 34));
        if count == 0 || usize::from(count) > BLOCK_RECORDS {
            return Err(DecodeError::value("block.count", "outside 1 to 4096"));
        }
        let manifest = BatchManifest {
            sid: SessionId(fixed(head, 0)),
            block: u16::from_be_bytes(fixed(head, 32)),
            count,
            root: Digest(fixed(head, 36)),
            previous: Digest(fixed(head, 68)),
            edge_time: Timestamp(u64::from_be_bytes(fixed(head, 100))),
        };
        let mut records = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            records.push(SealedRecord::read_row(&mut rows)?);
        }
        if !rows.is_empty() {
            return Err(DecodeError::Trailing(rows.len()));
        }
        Ok(Self {
            manifest,
            signature: Signature(fixed(head, 108)),
            pseudonym_version: u16::from_be_bytes(fixed(head, 172)),
            records,
        })
    }

    /// How many records a wire form says it has, without reading them; for counters only.
    pub fn count_of(wire: &[u8]) -> u16 {
        let count = wire.get(34..36).and_then(|bytes| bytes.try_into().ok());
        count.map_or(0, u16::from_be_bytes)
    }

    /// Checks the block against its session: number, chain, count, root and signature.
    ///
    /// # Errors
    /// [`BlockError`] names the first check that fails.
    pub fn verify(self, session: &BlockContext<'_>) -> Result<VerifiedBlock, BlockError> {
        let manifest = &self.manifest;
        if manifest.sid != session.sid {
            return Err(BlockError::OtherSession);
        }
        if manifest.block != session.next_block || manifest.block >= session.max_block {
            let (expected, got) = (session.next_block, manifest.block);
            return Err(BlockError::OutOfOrder { expected, got });
        }
        if manifest.previous != session.previous {
            return Err(BlockError::Chain);
        }
        if usize::from(manifest.count) != self.records.len() {
            return Err(BlockError::Count);
        }
        manifest.verify(session.edge_key, &self.signature)?;
        let place = self.place(session.jurisdiction, session.edge);
        if block_root(&place, &self.records) != manifest.root {
            return Err(BlockError::Root);
        }
        Ok(VerifiedBlock { block: self, place })
    }

    /// What the labels of this block share, given what its session says.
    pub fn place(&self, jurisdiction: Jurisdiction, edge: &Name) -> BlockPlace {
        BlockPlace {
            sid: self.manifest.sid,
            block: self.manifest.block,
            jurisdiction,
            edge: edge.clone(),
            pseudonym_version: self.pseudonym_version,
        }
    }
}

/// The records' leaves, in order.
pub fn block_leaves(place: &BlockPlace, records: &[SealedRecord]) -> Vec<[u8; 32]> {
    let leaf = |(index, record): (usize, &SealedRecord)| {
        let label = record.label(place, index as u16);
        label.manifest_leaf_of(&record.alpha, &record.ciphertext).0
    };
    records.iter().enumerate().map(leaf).collect()
}

/// The Merkle root over the records' leaves.
pub fn block_root(place: &BlockPlace, records: &[SealedRecord]) -> Digest {
    Digest(MerkleTree::from_leaves(block_leaves(place, records)).root())
}

/// What a session's state says about the block that may come next.
#[derive(Clone, Copy, Debug)]
pub struct BlockContext<'a> {
    /// The session.
    pub sid: SessionId,
    /// The number that the next block must have.
    pub next_block: u16,
    /// Block numbers are below this.
    pub max_block: u16,
    /// The last manifest's hash; zeros before block 0.
    pub previous: Digest,
    /// The session's jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The session's edge.
    pub edge: &'a Name,
    /// The edge's enrolled key.
    pub edge_key: &'a IdentityKey,
}

/// A block that is its session's next. Only [`SealedBlock::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedBlock {
    block: SealedBlock,
    place: BlockPlace,
}

impl VerifiedBlock {
    /// The block.
    pub fn block(&self) -> &SealedBlock {
        &self.block
    }

    /// What its labels share.
    pub fn place(&self) -> &BlockPlace {
        &self.place
    }
}

/// Why a block is refused: the edge's fault, or a forgery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Another session's block.
    #[error("the block belongs to another session")]
    OtherSession,
    /// Not the next block.
    #[error("block {got} is not the session's next, {expected}")]
    OutOfOrder {
        /// The next block's number.
        expected: u16,
        /// The number it has.
        got: u16,
    },
    /// Not chained to the block before.
    #[error("the manifest does not follow the session's last one")]
    Chain,
    /// Another number of records than the manifest says.
    #[error("the manifest's count is not the number of records")]
    Count,
    /// Other records than the manifest says.
    #[error("the manifest's root is not the records'")]
    Root,
    /// The signature does not verify.
    #[error("the edge did not sign this manifest")]
    Signature(#[from] SignatureError),
}
