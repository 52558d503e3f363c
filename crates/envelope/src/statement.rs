//! What a person states about an open case (docs/cryptography.md section 7): in clear, logged, and
//! without a word about the subject.
//!
//! ```text
//! statement = Sig(person, "statement", rd, what, by, time)
//! ```
//! Whether that person may state it is each verifier's trust file to say.

use bailiwick_types::{Digest, Name, RequestId, Timestamp};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::SignatureTag;
use crate::ticket::OrderValidation;

/// What is stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stated {
    /// Somebody rang the authority.
    CalledBack {
        /// Digest of the contact that was rung.
        contact: Digest,
        /// Whether the authority confirmed the order.
        confirmed: bool,
    },
    /// The enforcing authority was notified.
    Notified,
    /// The enforcing authority cleared the request.
    EnforcingCleared,
    /// The enforcing authority objects.
    EnforcingObjected,
    /// The order was validated afterwards.
    Validated(Box<OrderValidation>),
    /// A court annulled the order.
    Annulled,
    /// The subject was informed, or the gag is over.
    NoticeSettled,
    /// The authority withdrew the order.
    Withdrawn,
}

impl Stated {
    /// What is stated, as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::CalledBack { .. } => "called-back",
            Self::Notified => "notified",
            Self::EnforcingCleared => "enforcing-cleared",
            Self::EnforcingObjected => "enforcing-objected",
            Self::Validated(_) => "validated",
            Self::Annulled => "annulled",
            Self::NoticeSettled => "notice-settled",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl Canonical for Stated {
    fn encode(&self, encoder: &mut Encoder) {
        match self {
            Self::CalledBack { contact, confirmed } => {
                let confirmed = u8::from(*confirmed);
                encoder.u8(1).digest(contact).u8(confirmed)
            }
            Self::Notified => encoder.u8(2),
            Self::EnforcingCleared => encoder.u8(3),
            Self::EnforcingObjected => encoder.u8(4),
            Self::Validated(validation) => encoder.u8(5).list(|e| validation.encode(e)),
            Self::Annulled => encoder.u8(6),
            Self::NoticeSettled => encoder.u8(7),
            Self::Withdrawn => encoder.u8(8),
        };
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(match decoder.u8("statement.what")? {
            1 => Self::CalledBack {
                contact: decoder.digest("statement.contact")?,
                confirmed: match decoder.u8("statement.confirmed")? {
                    0 => false,
                    1 => true,
                    _ => return Err(DecodeError::value("statement.confirmed", "neither 0 nor 1")),
                },
            },
            2 => Self::Notified,
            3 => Self::EnforcingCleared,
            4 => Self::EnforcingObjected,
            5 => {
                let validation = decoder.bytes("statement.validation")?;
                Self::Validated(Box::new(OrderValidation::from_bytes(validation)?))
            }
            6 => Self::Annulled,
            7 => Self::NoticeSettled,
            8 => Self::Withdrawn,
            _ => return Err(DecodeError::value("statement.what", "unknown")),
        })
    }
}

/// A person's signed statement about a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseStatement {
    /// The request.
    pub request: RequestId,
    /// What is stated.
    pub what: Stated,
    /// Who states it, by immutable id.
    pub by: Name,
    /// When, by that person's clock.
    pub at: Timestamp,
    /// The person's key.
    pub key: IdentityKey,
    /// `Sig(person, "statement", ..)`.
    pub signature: Signature,
}

impl CaseStatement {
    /// Signs a statement on the person's own device.
    pub fn sign(
        request: RequestId,
        what: Stated,
        by: Name,
        at: Timestamp,
        key: &SigningKey,
    ) -> Self {
        let mut statement = Self {
            request,
            what,
            by,
            at,
            key: IdentityKey::of(key),
            signature: Signature([0; 64]),
        };
        statement.signature = sign(key, SignatureTag::Statement, |e| statement.fields(e));
        statement
    }

    /// Verifies the signature by the key that the statement names.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign it.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.key
            .verify(SignatureTag::Statement, |e| self.fields(e), &self.signature)
    }

    fn fields(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.request.0)
            .list(|e| self.what.encode(e))
            .text(self.by.as_str())
            .u64(self.at.0);
    }
}

impl Canonical for CaseStatement {
    fn encode(&self, encoder: &mut Encoder) {
        self.fields(encoder);
        encoder.bytes(&self.key.0).bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            request: RequestId(decoder.array("statement.request")?),
            what: Stated::from_bytes(decoder.bytes("statement.what")?)?,
            by: decoder.parse("statement.by")?,
            at: Timestamp(decoder.u64("statement.at")?),
            key: IdentityKey(decoder.array("statement.key")?),
            signature: Signature(decoder.array("statement.signature")?),
        })
    }
}

canonical_serde!(CaseStatement);
