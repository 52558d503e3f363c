//! An order's ticket (docs/cryptography.md section 7): what a vault may see of an authority's order,
//! signed by the officer who sends it, and the signature of whoever validated it.
//!
//! ```text
//! order      = H("order", salt, the order's JSON exactly as the authority wrote it)
//! signature  = Sig(officer, "order", forum, instrument, authority, officer, order, priority, time)
//! validation = Sig(validator, "validate", authority, order, time)
//! ```
//! The salt is the signer's and stays sealed with the order: what is in an order is guessed easily
//! enough that a bare hash would tell a vault whose account it names.

use bailiwick_types::{Digest, Jurisdiction, Name, Timestamp};
use serde::{Deserialize, Serialize};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::{HashTag, SignatureTag, hash};

/// `H("order", salt, order)`.
pub fn order_digest(order: &[u8], salt: &[u8; 32]) -> Digest {
    hash(HashTag::Order, |e| {
        e.bytes(salt).bytes(order);
    })
}

/// How urgent the sender says that an order is. It shortens timers, never quorums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum TicketPriority {
    /// The ordinary case.
    Routine = 1,
    /// Asked to be handled first.
    High = 2,
    /// A threat to life.
    Emergency = 3,
}

impl TicketPriority {
    /// The word used in orders and policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::High => "high",
            Self::Emergency => "emergency",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Routine, Self::High, Self::Emergency];
        all.into_iter().find(|priority| *priority as u8 == code)
    }
}

/// An officer's signature of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfficerSignature {
    /// The officer's key. Whether it is pinned for the officer is a register's to say.
    pub key: IdentityKey,
    /// When, by the officer's clock.
    pub signed_at: Timestamp,
    /// `Sig(officer, "order", ..)`.
    pub signature: Signature,
}

impl Canonical for OfficerSignature {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.key.0)
            .u64(self.signed_at.0)
            .bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: IdentityKey(decoder.array("ticket.key")?),
            signed_at: Timestamp(decoder.u64("ticket.signed_at")?),
            signature: Signature(decoder.array("ticket.signature")?),
        })
    }
}

/// What is known of an order without opening it. It identifies no subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderTicket {
    /// The state that issued the order.
    pub forum: Jurisdiction,
    /// The policy's name of the instrument.
    pub instrument: Name,
    /// The issuing authority, as enrolled.
    pub authority: Name,
    /// The officer who sends it, as enrolled.
    pub officer: Name,
    /// `H("order", ..)` of the order.
    pub order: Digest,
    /// How urgent it is.
    pub priority: TicketPriority,
    /// The officer's signature. `None`: unverified intake, which may be stored, never approved.
    pub signature: Option<OfficerSignature>,
}

/// Why a ticket vouches for nothing. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Nobody signed it.
    #[error("ticket.signature: missing, so the order is unverified")]
    Unsigned,
    /// The key that it names did not sign it.
    #[error("ticket.signature: not of this ticket by the key that it names")]
    Signature(#[from] SignatureError),
}

impl OrderTicket {
    /// Signs a ticket on the officer's own device; a signature that it had is replaced.
    pub fn sign(mut self, key: &SigningKey, signed_at: Timestamp) -> Self {
        let signature = sign(key, SignatureTag::Order, |e| self.fields(e, signed_at));
        self.signature = Some(OfficerSignature {
            key: IdentityKey::of(key),
            signed_at,
            signature,
        });
        self
    }

    /// Verifies the signature by the key that the ticket names, and yields it.
    ///
    /// # Errors
    /// [`TicketError`] when it is unsigned, or signed by another key or over another ticket.
    pub fn verify(&self) -> Result<&OfficerSignature, TicketError> {
        let signed = self.signature.as_ref().ok_or(TicketError::Unsigned)?;
        let fill = |e: &mut Encoder| self.fields(e, signed.signed_at);
        signed
            .key
            .verify(SignatureTag::Order, fill, &signed.signature)?;
        Ok(signed)
    }

    fn fields(&self, encoder: &mut Encoder, signed_at: Timestamp) {
        self.clear(encoder);
        encoder.u64(signed_at.0);
    }

    fn clear(&self, encoder: &mut Encoder) {
        encoder
            .text(self.forum.as_str())
            .text(self.instrument.as_str())
            .text(self.authority.as_str())
            .text(self.officer.as_str())
            .digest(&self.order)
            .u8(self.priority as u8);
    }
}

impl Canonical for OrderTicket {
    fn encode(&self, encoder: &mut Encoder) {
        self.clear(encoder);
        encoder.optional(self.signature.as_ref());
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let forum = decoder.parse("ticket.forum")?;
        let instrument = decoder.parse("ticket.instrument")?;
        let authority = decoder.parse("ticket.authority")?;
        let officer = decoder.parse("ticket.officer")?;
        let order = decoder.digest("ticket.order")?;
        let priority = TicketPriority::from_code(decoder.u8("ticket.priority")?);
        Ok(Self {
            forum,
            instrument,
            authority,
            officer,
            order,
            priority: priority.ok_or(DecodeError::value("ticket.priority", "unknown"))?,
            signature: decoder.optional("ticket.signature")?,
        })
    }
}

/// The signature of an authority that validated an order which its issuer could not issue alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderValidation {
    /// The validating authority, as enrolled.
    pub authority: Name,
    /// `H("order", ..)` of the order.
    pub order: Digest,
    /// The key of an officer of that authority. Whose it is, a register says.
    pub key: IdentityKey,
    /// When, by the validator's clock.
    pub signed_at: Timestamp,
    /// `Sig(validator, "validate", authority, order, time)`.
    pub signature: Signature,
}

impl OrderValidation {
    /// Signs a validation on the validator's own device.
    pub fn sign(authority: Name, order: Digest, signed_at: Timestamp, key: &SigningKey) -> Self {
        let mut validation = Self {
            authority,
            order,
            key: IdentityKey::of(key),
            signed_at,
            signature: Signature([0; 64]),
        };
        validation.signature = sign(key, SignatureTag::Validate, |e| validation.fields(e));
        validation
    }

    /// Verifies the signature by the key that the validation names.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign it.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.key
            .verify(SignatureTag::Validate, |e| self.fields(e), &self.signature)
    }

    fn fields(&self, encoder: &mut Encoder) {
        encoder
            .text(self.authority.as_str())
            .digest(&self.order)
            .u64(self.signed_at.0);
    }
}

impl Canonical for OrderValidation {
    fn encode(&self, encoder: &mut Encoder) {
        self.fields(encoder);
        encoder.bytes(&self.key.0).bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let authority = decoder.parse("validation.authority")?;
        let order = decoder.digest("validation.order")?;
        let signed_at = Timestamp(decoder.u64("validation.signed_at")?);
        Ok(Self {
            authority,
            order,
            signed_at,
            key: IdentityKey(decoder.array("validation.key")?),
            signature: Signature(decoder.array("validation.signature")?),
        })
    }
}

canonical_serde!(OrderTicket, OrderValidation);
