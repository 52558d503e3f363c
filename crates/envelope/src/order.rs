//! An order's document as it is sealed to every member (docs/cryptography.md sections 4 and 7): the
//! accounts that the order names, by the ids that only edges and approvers ever see.
//!
//! ```text
//! document = E(reference, pseudonym key version, [account], [attachment], salt, [case])
//! case     = E(order's JSON, order's salt, ticket, [validation], findings)
//! digest   = H("document", document)
//! message  = HPKE(documents key; info = E("documents", certid, digest, R, m); document)
//! ```
//! A request carries the digest and the pseudonyms; whether they belong together is for each role to
//! check by itself (`bailiwick-disclosure`).

use bailiwick_types::limits::{ACCOUNT_BYTES, ORDER_BYTES, SCOPE_LINES, TEXT_BYTES};
use bailiwick_types::{CertificateId, Digest, Role, Slot};

use crate::acknowledgement::role_and_slot;
use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::tags::{HashTag, HpkeTag, hash};
use crate::ticket::{OrderTicket, OrderValidation, order_digest};

/// Most attachments of one order.
pub const ATTACHMENTS: usize = 64;

/// Longest encoding of intake's findings in bytes: 256 attributed addresses and a few words.
pub const FINDINGS_BYTES: usize = 32 * 1024;

/// The order itself, as its authority wrote and signed it, and what intake found out about it.
#[derive(Clone, PartialEq, Eq)]
pub struct CaseDocument {
    /// The order's JSON, byte for byte; at most 128 KiB.
    pub order: Vec<u8>,
    /// The salt of the ticket's digest, by whoever signed.
    pub order_salt: [u8; 32],
    /// The ticket with the officer's signature, as the vault was shown it.
    pub ticket: OrderTicket,
    /// The signature of whoever validated the order before it was sent.
    pub validation: Option<OrderValidation>,
    /// Intake's findings, canonical bytes of `bailiwick-policy`; at most 32 KiB.
    pub findings: Vec<u8>,
}

impl CaseDocument {
    /// `H("order", ..)` of the order that is in here, whatever the ticket says.
    pub fn order_digest(&self) -> Digest {
        order_digest(&self.order, &self.order_salt)
    }
}

impl std::fmt::Debug for CaseDocument {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "CaseDocument({} bytes, redacted)",
            self.order.len()
        )
    }
}

impl Canonical for CaseDocument {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.order)
            .bytes(&self.order_salt)
            .list(|e| self.ticket.encode(e))
            .optional(self.validation.as_ref())
            .bytes(&self.findings);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let bounded = |decoder: &mut Decoder<'_>, field, limit: usize| match decoder.bytes(field)? {
            bytes if bytes.len() > limit => Err(DecodeError::value(field, "too long")),
            bytes => Ok(bytes.to_vec()),
        };
        Ok(Self {
            order: bounded(decoder, "case.order", ORDER_BYTES)?,
            order_salt: decoder.array("case.order_salt")?,
            ticket: OrderTicket::from_bytes(decoder.bytes("case.ticket")?)?,
            validation: decoder.optional("case.validation")?,
            findings: bounded(decoder, "case.findings", FINDINGS_BYTES)?,
        })
    }
}

/// What an order says in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct OrderDocument {
    /// The authority's case reference, as in the request.
    pub reference: String,
    /// The version of the pseudonym key under which the request names the accounts.
    pub pseudonym_version: u16,
    /// The accounts, ascending and distinct; 1 to 256.
    pub accounts: Vec<String>,
    /// Digests of the files that came with it.
    pub attachments: Vec<Digest>,
    /// 32 random bytes, so that the digest says nothing about the accounts.
    pub salt: [u8; 32],
    /// The order itself. `None`: only under policies without instruments.
    pub case: Option<CaseDocument>,
}

impl OrderDocument {
    /// `H("document", document)`.
    pub fn digest(&self) -> Digest {
        hash(HashTag::Document, |e| self.encode(e))
    }
}

impl std::fmt::Debug for OrderDocument {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let accounts = self.accounts.len();
        write!(formatter, "OrderDocument({accounts} accounts, redacted)")
    }
}

impl Canonical for OrderDocument {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .text(&self.reference)
            .u16(self.pseudonym_version)
            .list(|list| {
                for account in &self.accounts {
                    list.text(account);
                }
            })
            .list(|list| {
                for attachment in &self.attachments {
                    list.digest(attachment);
                }
            })
            .bytes(&self.salt)
            .optional(self.case.as_ref());
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let reference = decoder.text("order.reference", TEXT_BYTES)?;
        let pseudonym_version = decoder.u16("order.pseudonym_version")?;
        let mut list = decoder.list("order.accounts")?;
        let mut accounts = Vec::new();
        while !list.is_empty() && accounts.len() < SCOPE_LINES {
            accounts.push(list.text("order.accounts", ACCOUNT_BYTES)?);
        }
        let ordered = accounts.is_sorted_by(|a, b| a < b);
        if accounts.is_empty() || !list.is_empty() || !ordered {
            let reason = "none, too many, repeated or out of order";
            return Err(DecodeError::value("order.accounts", reason));
        }
        let mut list = decoder.list("order.attachments")?;
        let mut attachments = Vec::new();
        while !list.is_empty() {
            if attachments.len() == ATTACHMENTS {
                return Err(DecodeError::value("order.attachments", "too many"));
            }
            attachments.push(list.digest("order.attachments")?);
        }
        Ok(Self {
            reference,
            pseudonym_version,
            accounts,
            attachments,
            salt: decoder.array("order.salt")?,
            case: decoder.optional("order.case")?,
        })
    }
}

/// A document sealed to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedDocument {
    /// The certificate whose documents keys it is sealed to.
    pub certificate: CertificateId,
    /// `H("document", ..)` of what is inside.
    pub digest: Digest,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// Encapsulated key and ciphertext.
    pub sealed: Vec<u8>,
}

impl SealedDocument {
    /// `info = E("documents", certid, digest, R, m)`.
    pub fn info(certificate: &CertificateId, digest: &Digest, role: Role, slot: Slot) -> Vec<u8> {
        HpkeTag::Documents.info(|e| {
            e.bytes(&certificate.0)
                .digest(digest)
                .u8(role.code())
                .u8(slot.number());
        })
    }
}

impl Canonical for SealedDocument {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.certificate.0)
            .digest(&self.digest)
            .u8(self.role.code())
            .u8(self.slot.number())
            .bytes(&self.sealed);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let certificate = CertificateId(decoder.array("document.certificate")?);
        let digest = decoder.digest("document.digest")?;
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            certificate,
            digest,
            role,
            slot,
            sealed: decoder.bytes("document.sealed")?.to_vec(),
        })
    }
}

canonical_serde!(SealedDocument);
