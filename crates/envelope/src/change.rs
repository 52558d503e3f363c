//! What a log says about the order behind a request, and about changes to register, policies,
//! preservations and single subjects. None of it names a subject.

use bailiwick_types::{Digest, HoldId, Jurisdiction, Name, RequestId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::ticket::OrderTicket;

/// The order behind a request: logged with it, so that every verifier counts the same orders of an
/// authority and of an officer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOrder {
    /// The request.
    pub request: RequestId,
    /// How many distinct subjects it asks about, 1 to 256.
    pub subjects: u16,
    /// The order's ticket.
    pub ticket: OrderTicket,
}

impl Canonical for LoggedOrder {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.request.0)
            .u16(self.subjects)
            .list(|e| self.ticket.encode(e));
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            request: RequestId(decoder.array("order.request")?),
            subjects: decoder.u16("order.subjects")?,
            ticket: OrderTicket::from_bytes(decoder.bytes("order.ticket")?)?,
        })
    }
}

/// The register of authorities changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityChange {
    /// The authority.
    pub authority: Name,
    /// Digest of its entry from now on.
    pub digest: Digest,
}

impl Canonical for AuthorityChange {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.text(self.authority.as_str()).digest(&self.digest);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            authority: decoder.parse("authority.name")?,
            digest: decoder.digest("authority.digest")?,
        })
    }
}

/// A policy was confirmed by a second person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChange {
    /// Whose policy.
    pub jurisdiction: Jurisdiction,
    /// Its version.
    pub version: u32,
    /// `H("policy", file)`.
    pub digest: Digest,
    /// When its cool-down is over.
    pub in_force: Timestamp,
}

impl Canonical for PolicyChange {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .text(self.jurisdiction.as_str())
            .u32(self.version)
            .digest(&self.digest)
            .u64(self.in_force.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            jurisdiction: decoder.parse("policy.jurisdiction")?,
            version: decoder.u32("policy.version")?,
            digest: decoder.digest("policy.digest")?,
            in_force: Timestamp(decoder.u64("policy.in_force")?),
        })
    }
}

/// How far a preservation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
#[allow(missing_docs, reason = "docs/legal-process.md explains the states")]
pub enum PreservationPhase {
    Received = 1,
    Active = 2,
    Extended = 3,
    Linked = 4,
    Released = 5,
    Rejected = 6,
    NotAvailable = 7,
    Cancelled = 8,
    Expired = 9,
}

impl PreservationPhase {
    /// All phases, in order.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Active,
        Self::Extended,
        Self::Linked,
        Self::Released,
        Self::Rejected,
        Self::NotAvailable,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The phase's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Active => "active",
            Self::Extended => "extended",
            Self::Linked => "linked",
            Self::Released => "released",
            Self::Rejected => "rejected",
            Self::NotAvailable => "not-available",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether records are kept in this phase.
    pub fn holds(self) -> bool {
        matches!(self, Self::Active | Self::Extended | Self::Linked)
    }
}

/// A preservation came to another phase. It enables no decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreservationChange {
    /// The preservation: `H("holdorder", order)` of what asks for it.
    pub preservation: HoldId,
    /// Its phase from now on.
    pub phase: PreservationPhase,
    /// First instant at which nothing is kept for it.
    pub until: Timestamp,
    /// The request that it is linked to, if it is.
    pub request: Option<RequestId>,
}

impl Canonical for PreservationChange {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.preservation.0)
            .u8(self.phase as u8)
            .u64(self.until.0)
            .list(|list| {
                if let Some(request) = &self.request {
                    list.bytes(&request.0);
                }
            });
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let preservation = HoldId(decoder.array("preservation.id")?);
        let code = decoder.u8("preservation.phase")?;
        let mut all = PreservationPhase::ALL.into_iter();
        let phase = all.find(|phase| *phase as u8 == code);
        let until = Timestamp(decoder.u64("preservation.until")?);
        let mut list = decoder.list("preservation.request")?;
        let request = match list.is_empty() {
            true => None,
            false => Some(RequestId(list.array("preservation.request")?)),
        };
        list.finish()?;
        Ok(Self {
            preservation,
            phase: phase.ok_or(DecodeError::value("preservation.phase", "unknown"))?,
            until,
            request,
        })
    }
}

/// A user asked that what is kept about them be erased, and was answered. The receipt's salt keeps
/// the digest from saying who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectErasure {
    /// Digest of the receipt.
    pub receipt: Digest,
    /// How many records were deleted.
    pub records: u32,
    /// Whether a hold or a duty stood against it, so that not everything was deleted.
    pub refused: bool,
}

impl Canonical for SubjectErasure {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .digest(&self.receipt)
            .u32(self.records)
            .u8(u8::from(self.refused));
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            receipt: decoder.digest("erasure.receipt")?,
            records: decoder.u32("erasure.records")?,
            refused: match decoder.u8("erasure.refused")? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::value("erasure.refused", "neither 0 nor 1")),
            },
        })
    }
}

canonical_serde!(
    LoggedOrder,
    AuthorityChange,
    PolicyChange,
    PreservationChange,
    SubjectErasure,
);
