//! A holder's keys of an old session for the successor of a slot (docs/cryptography.md section 10).
//!
//! ```text
//! message = HPKE(new ek; info = E("resupply", sid, H(update), R, m, h); E((A, kap) for all A with m, h))
//! Sig(h, "resupply", sid, H(update), R, m, h, message)
//! ```
//! Not here: making and checking the message (`bailiwick-threshold`).

use bailiwick_types::{Digest, Role, SessionId, Slot};

use crate::acknowledgement::role_and_slot;
use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::{HpkeTag, SignatureTag};

/// Where a re-supplied message belongs: what its HPKE context binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResupplyPlace {
    /// The session.
    pub sid: SessionId,
    /// `H` of the roster update that makes it necessary.
    pub update: Digest,
    /// The role.
    pub role: Role,
    /// The slot that is re-supplied.
    pub slot: Slot,
    /// The slot that re-supplies it.
    pub holder: Slot,
}

impl ResupplyPlace {
    /// `info = E("resupply", sid, H(update), R, m, h)`.
    pub fn info(&self) -> Vec<u8> {
        HpkeTag::Resupply.info(|e| self.encode(e))
    }
}

impl Canonical for ResupplyPlace {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.sid.0)
            .digest(&self.update)
            .u8(self.role.code())
            .u8(self.slot.number())
            .u8(self.holder.number());
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let sid = SessionId(decoder.array("resupply.sid")?);
        let update = decoder.digest("resupply.update")?;
        let (role, slot) = role_and_slot(decoder)?;
        let holder = Slot::new(decoder.u8("resupply.holder")?)
            .map_err(|_| DecodeError::value("resupply.holder", "outside 1 to 7"))?;
        Ok(Self {
            sid,
            update,
            role,
            slot,
            holder,
        })
    }
}

/// A holder's signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resupply {
    /// Where it belongs.
    pub place: ResupplyPlace,
    /// Encapsulated key and ciphertext.
    pub sealed: Vec<u8>,
    /// The holder's signature.
    pub signature: Signature,
}

impl Resupply {
    /// Signs a sealed message.
    pub fn sign(place: ResupplyPlace, sealed: Vec<u8>, holder: &SigningKey) -> Self {
        let signature = sign(holder, SignatureTag::Resupply, |e| {
            place.encode(e);
            e.bytes(&sealed);
        });
        Self {
            place,
            sealed,
            signature,
        }
    }

    /// Verifies the holder's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this message.
    pub fn verify(&self, holder: &IdentityKey) -> Result<(), SignatureError> {
        let fill = |e: &mut Encoder| {
            self.place.encode(e);
            e.bytes(&self.sealed);
        };
        holder.verify(SignatureTag::Resupply, fill, &self.signature)
    }
}

impl Canonical for Resupply {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .list(|e| self.place.encode(e))
            .bytes(&self.sealed)
            .bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            place: ResupplyPlace::from_bytes(decoder.bytes("resupply.place")?)?,
            sealed: decoder.bytes("resupply.sealed")?.to_vec(),
            signature: Signature(decoder.array("resupply.signature")?),
        })
    }
}

canonical_serde!(Resupply);
