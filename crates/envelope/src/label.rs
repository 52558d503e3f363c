//! A record's label and the values bound to it (docs/cryptography.md section 6).
//!
//! ```text
//! l     = E(sid, b, i, jurisdiction, edge id, record id, pseudonym key version, subject
//!           pseudonym, category, observed minute)
//! alpha = H("alpha", l, rho, pt')         x = H("x", l, alpha)
//! leaf  = H("leaf", i, l, alpha, SHA-256(ct))
//! ```

use bailiwick_types::{
    Category, Digest, Jurisdiction, Minute, Name, RecordId, SessionId, SubjectPseudonym,
};

use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::tags::{HashTag, hash, sha256};

/// What a record is, without its plaintext. Every byte of it is bound into the record's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The session.
    pub sid: SessionId,
    /// The block's number within the session.
    pub block: u16,
    /// The record's number within the block.
    pub index: u16,
    /// The custody jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The edge that sealed it.
    pub edge: Name,
    /// The record's id.
    pub record: RecordId,
    /// The version of the pseudonym key.
    pub pseudonym_version: u16,
    /// The subject.
    pub subject: SubjectPseudonym,
    /// Phone or IP.
    pub category: Category,
    /// The whole minute of the observation; the exact instant is inside the plaintext.
    pub minute: Minute,
}

impl Label {
    /// `rho`'s input: `H("lp", l, pt')`.
    pub fn plaintext_hash(&self, padded: &[u8]) -> Digest {
        hash(HashTag::LabelPlaintext, |e| {
            e.list(|e| self.encode(e)).bytes(padded);
        })
    }

    /// `alpha = H("alpha", l, rho, pt')`.
    pub fn alpha(&self, rho: &[u8; 32], padded: &[u8]) -> Digest {
        hash(HashTag::Alpha, |e| {
            e.list(|e| self.encode(e)).bytes(rho).bytes(padded);
        })
    }

    /// `x = H("x", l, alpha)`: the input under which the committees' values are computed.
    pub fn record_input(&self, alpha: &Digest) -> Digest {
        hash(HashTag::RecordInput, |e| {
            e.list(|e| self.encode(e)).digest(alpha);
        })
    }

    /// `H("leaf", i, l, alpha, SHA-256(ct))`: the record's leaf in its batch manifest.
    pub fn manifest_leaf(&self, alpha: &Digest, ciphertext_hash: &Digest) -> Digest {
        hash(HashTag::Leaf, |e| {
            e.u16(self.index)
                .list(|e| self.encode(e))
                .digest(alpha)
                .digest(ciphertext_hash);
        })
    }

    /// [`Label::manifest_leaf`] for a whole ciphertext.
    pub fn manifest_leaf_of(&self, alpha: &Digest, ciphertext: &[u8]) -> Digest {
        self.manifest_leaf(alpha, &sha256(ciphertext))
    }
}

impl Canonical for Label {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.sid.0)
            .u16(self.block)
            .u16(self.index)
            .text(self.jurisdiction.as_str())
            .text(self.edge.as_str())
            .bytes(&self.record.0)
            .u16(self.pseudonym_version)
            .bytes(&self.subject.0)
            .u8(self.category.code())
            .u32(self.minute.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sid: SessionId(decoder.array("label.sid")?),
            block: decoder.u16("label.block")?,
            index: decoder.u16("label.index")?,
            jurisdiction: decoder.parse("label.jurisdiction")?,
            edge: decoder.parse("label.edge")?,
            record: RecordId(decoder.array("label.record")?),
            pseudonym_version: decoder.u16("label.pseudonym_version")?,
            subject: SubjectPseudonym(decoder.array("label.subject")?),
            category: Category::from_code(decoder.u8("label.category")?)
                .ok_or(DecodeError::value("label.category", "neither phone nor ip"))?,
            minute: Minute(decoder.u32("label.minute")?),
        })
    }
}

crate::canonical_serde!(Label);
