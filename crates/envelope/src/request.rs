//! The disclosure request (docs/cryptography.md section 7): which records of which subjects, for
//! whom, on what legal basis, until when, under which policies.
//!
//! ```text
//! rd = H("req", req)
//! ```

use bailiwick_types::limits::{SCOPE_LINES, TEXT_BYTES};
use bailiwick_types::{
    Category, Digest, Jurisdiction, Minute, Name, RequestId, SubjectPseudonym, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::EncapsulationKey;
use crate::label::Label;
use crate::tags::{HashTag, hash};

/// What a request is for; policy derives the law's category from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Purpose {
    /// Only to identify the user behind a known point in time.
    Identify = 1,
    /// A history: traffic data.
    History = 2,
}

/// One subject, what kinds, and a window of whole minutes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScopeLine {
    /// The subject.
    pub subject: SubjectPseudonym,
    /// The kinds, ascending and distinct; at least one.
    pub categories: Vec<Category>,
    /// First minute, inclusive.
    pub from: Minute,
    /// First minute after the window.
    pub to: Minute,
}

impl ScopeLine {
    /// Whether a record of this subject, kind and minute lies inside.
    pub fn covers(&self, subject: &SubjectPseudonym, category: Category, minute: Minute) -> bool {
        self.subject == *subject
            && self.categories.contains(&category)
            && self.from <= minute
            && minute < self.to
    }
}

impl Canonical for ScopeLine {
    fn encode(&self, encoder: &mut Encoder) {
        let codes: Vec<u8> = self
            .categories
            .iter()
            .map(|category| category.code())
            .collect();
        encoder
            .bytes(&self.subject.0)
            .bytes(&codes)
            .u32(self.from.0)
            .u32(self.to.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let subject = SubjectPseudonym(decoder.array("scope.subject")?);
        let codes = decoder.bytes("scope.categories")?;
        if codes.is_empty() || !codes.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(DecodeError::value(
                "scope.categories",
                "empty, repeated or out of order",
            ));
        }
        let unknown = DecodeError::value("scope.categories", "neither phone nor ip");
        let categories: Option<Vec<_>> = codes
            .iter()
            .map(|code| Category::from_code(*code))
            .collect();
        let (from, to) = (
            Minute(decoder.u32("scope.from")?),
            Minute(decoder.u32("scope.to")?),
        );
        if from >= to {
            return Err(DecodeError::value(
                "scope",
                "the window ends before it starts",
            ));
        }
        Ok(Self {
            subject,
            categories: categories.ok_or(unknown)?,
            from,
            to,
        })
    }
}

/// Whom the values are sealed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The recipient's id, as in its certificate name.
    pub name: Name,
    /// Its X-Wing key.
    pub key: EncapsulationKey,
    /// SHA-256 of the certificate that vouches for the key.
    pub certificate: Digest,
}

impl Canonical for Recipient {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .text(self.name.as_str())
            .bytes(self.key.as_bytes())
            .digest(&self.certificate);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: decoder.parse("recipient.name")?,
            key: EncapsulationKey::new(decoder.bytes("recipient.key")?)?,
            certificate: decoder.digest("recipient.certificate")?,
        })
    }
}

/// One request for disclosure in one custody jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisclosureRequest {
    /// The custody jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The state that issued the order.
    pub forum: Jurisdiction,
    /// What is asked; 1 to 256 lines, ascending and distinct.
    pub scope: Vec<ScopeLine>,
    /// What for.
    pub purpose: Purpose,
    /// The law that the order cites.
    pub legal_basis: String,
    /// The authority, as enrolled.
    pub authority: Name,
    /// The authority's case reference.
    pub reference: String,
    /// Who entered it: never one of those who decide.
    pub entered_by: Name,
    /// Digest of the sealed documents.
    pub documents: Digest,
    /// Who receives the values.
    pub recipient: Recipient,
    /// Most records that may be disclosed.
    pub cap: u32,
    /// The request lapses at this instant.
    pub not_after: Timestamp,
    /// Digest of the forum's policy.
    pub forum_policy: Digest,
    /// Digest of the custody jurisdiction's policy.
    pub custody_policy: Digest,
    /// 1, and one more each time the scope is narrowed or corrected.
    pub generation: u32,
    /// 32 random bytes, so that the digest says nothing about the scope.
    pub salt: [u8; 32],
}

impl DisclosureRequest {
    /// `rd = H("req", req)`.
    pub fn id(&self) -> RequestId {
        RequestId(hash(HashTag::Request, |e| self.encode(e)).0)
    }

    /// Whether a label lies inside the custody jurisdiction and one line of the scope.
    pub fn covers(&self, label: &Label) -> bool {
        label.jurisdiction == self.jurisdiction
            && self
                .scope
                .iter()
                .any(|l| l.covers(&label.subject, label.category, label.minute))
    }
}

impl Canonical for DisclosureRequest {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .text(self.jurisdiction.as_str())
            .text(self.forum.as_str())
            .items(&self.scope)
            .u8(self.purpose as u8)
            .text(&self.legal_basis)
            .text(self.authority.as_str())
            .text(&self.reference)
            .text(self.entered_by.as_str())
            .digest(&self.documents)
            .list(|e| self.recipient.encode(e))
            .u32(self.cap)
            .u64(self.not_after.0)
            .digest(&self.forum_policy)
            .digest(&self.custody_policy)
            .u32(self.generation)
            .bytes(&self.salt);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let jurisdiction = decoder.parse("request.jurisdiction")?;
        let forum = decoder.parse("request.forum")?;
        let scope: Vec<ScopeLine> = decoder.items("request.scope", SCOPE_LINES)?;
        if scope.is_empty() || !scope.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(DecodeError::value(
                "request.scope",
                "empty, repeated or out of order",
            ));
        }
        let purpose = match decoder.u8("request.purpose")? {
            1 => Purpose::Identify,
            2 => Purpose::History,
            _ => return Err(DecodeError::value("request.purpose", "unknown purpose")),
        };
        Ok(Self {
            jurisdiction,
            forum,
            scope,
            purpose,
            legal_basis: decoder.text("request.legal_basis", TEXT_BYTES)?,
            authority: decoder.parse("request.authority")?,
            reference: decoder.text("request.reference", TEXT_BYTES)?,
            entered_by: decoder.parse("request.entered_by")?,
            documents: decoder.digest("request.documents")?,
            recipient: Recipient::from_bytes(decoder.bytes("request.recipient")?)?,
            cap: decoder.u32("request.cap")?,
            not_after: Timestamp(decoder.u64("request.not_after")?),
            forum_policy: decoder.digest("request.forum_policy")?,
            custody_policy: decoder.digest("request.custody_policy")?,
            generation: decoder.u32("request.generation")?,
            salt: decoder.array("request.salt")?,
        })
    }
}

canonical_serde!(DisclosureRequest, ScopeLine);
