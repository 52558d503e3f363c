//! What a member releases (docs/cryptography.md section 8): the leaf that must come first, the
//! *partial* with its values, and the signed refusal.
//!
//! ```text
//! body    = E(rd, selection, leaf index, kid, roster, R, m, chunk, [(index, v for all A with m)])
//! message = HPKE(recipient; info = E("rel", rd, leaf index, kid, R, m, chunk);
//!                plaintext = E(body, Sig(m, "rel", body)))
//! ```
//! Nothing here computes a value: `bailiwick-disclosure` alone lets one be made.

use bailiwick_types::limits::PARTIAL_CHUNK_RECORDS;
use bailiwick_types::{Digest, KeyId, RequestId, Role, SelectionId, Slot, SlotMask};
use zeroize::Zeroize;

use crate::acknowledgement::role_and_slot;
use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::{HpkeTag, SignatureTag};

/// What a member logs before it computes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseIntent {
    /// The request.
    pub request: RequestId,
    /// The selection.
    pub selection: SelectionId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// How many records it releases values for.
    pub count: u32,
    /// `H("recipient", key)`.
    pub recipient: Digest,
    /// `Sig(m, "rel", ..)` over the fields above: nobody else can log a member's release.
    pub signature: Signature,
}

impl ReleaseIntent {
    /// Signs an intent.
    pub fn sign(mut unsigned: Self, key: &SigningKey) -> Self {
        unsigned.signature = sign(key, SignatureTag::Release, |e| unsigned.fields(e));
        unsigned
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this intent.
    pub fn verify(&self, member: &IdentityKey) -> Result<(), SignatureError> {
        member.verify(SignatureTag::Release, |e| self.fields(e), &self.signature)
    }

    fn fields(&self, encoder: &mut Encoder) {
        encoder
            .text("intent")
            .bytes(&self.request.0)
            .bytes(&self.selection.0)
            .u8(self.role.code())
            .u8(self.slot.number())
            .u32(self.count)
            .digest(&self.recipient);
    }
}

impl Canonical for ReleaseIntent {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.bytes(&self.request.0).bytes(&self.selection.0);
        encoder.u8(self.role.code()).u8(self.slot.number());
        encoder
            .u32(self.count)
            .digest(&self.recipient)
            .bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let request = RequestId(decoder.array("release.request")?);
        let selection = SelectionId(decoder.array("release.selection")?);
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            request,
            selection,
            role,
            slot,
            count: decoder.u32("release.count")?,
            recipient: decoder.digest("release.recipient")?,
            signature: Signature(decoder.array("release.signature")?),
        })
    }
}

/// One record's values of one member: one per holder set that contains its slot, ascending.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordValues {
    /// The record's place in the selection, from 0.
    pub index: u32,
    /// `(A, v)` with A ascending.
    pub values: Vec<(SlotMask, [u8; 32])>,
}

impl Drop for RecordValues {
    fn drop(&mut self) {
        for (_, value) in &mut self.values {
            value.zeroize();
        }
    }
}

impl Canonical for RecordValues {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.u32(self.index).list(|list| {
            for (holders, value) in &self.values {
                list.u8(holders.0).bytes(value);
            }
        });
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let index = decoder.u32("values.index")?;
        let mut list = decoder.list("values.list")?;
        let mut values: Vec<(SlotMask, [u8; 32])> = Vec::new();
        while !list.is_empty() {
            let holders = SlotMask(list.u8("values.holders")?);
            if values.last().is_some_and(|(last, _)| *last >= holders) {
                return Err(DecodeError::value(
                    "values.holders",
                    "repeated or out of order",
                ));
            }
            values.push((holders, list.array("values.value")?));
        }
        Ok(Self { index, values })
    }
}

/// Where a partial belongs: what its HPKE context binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartialPlace {
    /// The request.
    pub request: RequestId,
    /// The index of the release leaf in the log.
    pub leaf_index: u64,
    /// The key period of its records.
    pub kid: KeyId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// The chunk's number within (kid), from 0.
    pub chunk: u32,
}

impl PartialPlace {
    /// `info = E("rel", rd, leaf index, kid, R, m, chunk)`.
    pub fn info(&self) -> Vec<u8> {
        HpkeTag::Release.info(|e| self.encode(e))
    }
}

impl Canonical for PartialPlace {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.request.0)
            .u64(self.leaf_index)
            .bytes(&self.kid.0)
            .u8(self.role.code())
            .u8(self.slot.number())
            .u32(self.chunk);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let request = RequestId(decoder.array("partial.request")?);
        let leaf_index = decoder.u64("partial.leaf_index")?;
        let kid = KeyId(decoder.array("partial.kid")?);
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            request,
            leaf_index,
            kid,
            role,
            slot,
            chunk: decoder.u32("partial.chunk")?,
        })
    }
}

/// A partial: a member's values for up to 1,024 records of one request.
#[derive(Clone, PartialEq, Eq)]
pub struct PartialBody {
    /// Where it belongs.
    pub place: PartialPlace,
    /// The selection.
    pub selection: SelectionId,
    /// The roster's version.
    pub roster: u32,
    /// The records' values, ascending by index.
    pub records: Vec<RecordValues>,
}

impl PartialBody {
    /// `Sig(m, "rel", body)`.
    pub fn sign(&self, key: &SigningKey) -> Signature {
        sign(key, SignatureTag::Release, |e| {
            e.text("partial");
            self.encode(e);
        })
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this body.
    pub fn verify(&self, key: &IdentityKey, signature: &Signature) -> Result<(), SignatureError> {
        let fill = |e: &mut Encoder| {
            e.text("partial");
            self.encode(e);
        };
        key.verify(SignatureTag::Release, fill, signature)
    }
}

impl Canonical for PartialBody {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .list(|e| self.place.encode(e))
            .bytes(&self.selection.0)
            .u32(self.roster)
            .items(&self.records);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let place = PartialPlace::from_bytes(decoder.bytes("partial.place")?)?;
        let selection = SelectionId(decoder.array("partial.selection")?);
        let roster = decoder.u32("partial.roster")?;
        let records: Vec<RecordValues> = decoder.items("partial.records", PARTIAL_CHUNK_RECORDS)?;
        if !records.windows(2).all(|pair| pair[0].index < pair[1].index) {
            return Err(DecodeError::value(
                "partial.records",
                "repeated or out of order",
            ));
        }
        Ok(Self {
            place,
            selection,
            roster,
            records,
        })
    }
}

/// A partial sealed to the recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPartial {
    /// Where it belongs.
    pub place: PartialPlace,
    /// Encapsulated key and ciphertext.
    pub sealed: Vec<u8>,
}

impl Canonical for SealedPartial {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.list(|e| self.place.encode(e)).bytes(&self.sealed);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let place = PartialPlace::from_bytes(decoder.bytes("partial.place")?)?;
        Ok(Self {
            place,
            sealed: decoder.bytes("partial.sealed")?.to_vec(),
        })
    }
}

canonical_serde!(ReleaseIntent, SealedPartial, PartialPlace);
