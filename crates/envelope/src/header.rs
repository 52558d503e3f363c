//! The session header (docs/cryptography.md section 5): what an edge commits to a shard before it
//! seals, and what each approver opens its part from.
//!
//! ```text
//! hb  = E(suite, kid, shard, edge id, edge certificate hash, nonce, opened_at, expires_at,
//!         max_block, all c)          c in canonical order: role, then holder set ascending
//! sid = H("sid", hb, all parts)      parts in canonical order: role, then slot
//! ```

use bailiwick_types::limits::{HEADER_BYTES, SESSION_BLOCKS, SESSION_LIFETIME_CEILING};
use bailiwick_types::{
    Digest, KeyId, Name, Role, SessionId, SessionNonce, ShardId, Slot, SlotMask, Threshold,
    Timestamp,
};

use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::{HashTag, SignatureTag, hash};
use crate::{SUITE, canonical_serde};

/// `H("edgecert", id, key)`: how a header names the edge's enrolment.
pub fn edge_certificate_hash(edge: &Name, key: &IdentityKey) -> Digest {
    hash(HashTag::EdgeCertificate, |e| {
        e.text(edge.as_str()).bytes(&key.0);
    })
}

/// The commitment to one session key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// The key's role.
    pub role: Role,
    /// The key's holder set.
    pub holders: SlotMask,
    /// `c = mac(kap, com, z)`.
    pub value: [u8; 32],
}

impl Canonical for Commitment {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u8(self.role.code())
            .u8(self.holders.0)
            .bytes(&self.value);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let role = decoder.u8("commitment.role")?;
        Ok(Self {
            role: Role::from_code(role)
                .ok_or(DecodeError::value("commitment.role", "unknown role"))?,
            holders: SlotMask(decoder.u8("commitment.holders")?),
            value: decoder.array("commitment.value")?,
        })
    }
}

/// What a session is, without its sealed parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderBody {
    /// The construction; 1.
    pub suite: u8,
    /// The key period that the parts are sealed to.
    pub kid: KeyId,
    /// The one shard that the session writes to.
    pub shard: ShardId,
    /// The edge.
    pub edge: Name,
    /// [`edge_certificate_hash`] of the edge's enrolment.
    pub edge_certificate: Digest,
    /// Drawn by the edge; never seen before from it.
    pub nonce: SessionNonce,
    /// When the edge opened it, by its clock.
    pub opened_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Block numbers are below this.
    pub max_block: u16,
    /// One per session key, in canonical order.
    pub commitments: Vec<Commitment>,
}

impl HeaderBody {
    /// `H("hb", hb)`.
    pub fn hash(&self) -> Digest {
        hash(HashTag::HeaderBody, |e| self.encode(e))
    }
}

impl Canonical for HeaderBody {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u8(self.suite)
            .bytes(&self.kid.0)
            .text(self.shard.jurisdiction.as_str())
            .u16(self.shard.partition)
            .text(self.edge.as_str())
            .digest(&self.edge_certificate)
            .bytes(&self.nonce.0)
            .u64(self.opened_at.0)
            .u64(self.expires_at.0)
            .u16(self.max_block)
            .items(&self.commitments);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            suite: decoder.u8("header.suite")?,
            kid: KeyId(decoder.array("header.kid")?),
            shard: ShardId {
                jurisdiction: decoder.parse("header.jurisdiction")?,
                partition: decoder.u16("header.partition")?,
            },
            edge: decoder.parse("header.edge")?,
            edge_certificate: decoder.digest("header.edge_certificate")?,
            nonce: SessionNonce(decoder.array("header.nonce")?),
            opened_at: Timestamp(decoder.u64("header.opened_at")?),
            expires_at: Timestamp(decoder.u64("header.expires_at")?),
            max_block: decoder.u16("header.max_block")?,
            commitments: decoder.items("header.commitments", 70)?,
        })
    }
}

/// A member's sealed part: an HPKE message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPart {
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// Encapsulated key and ciphertext.
    pub sealed: Vec<u8>,
}

impl Canonical for SealedPart {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u8(self.role.code())
            .u8(self.slot.number())
            .bytes(&self.sealed);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (role, slot) = (decoder.u8("part.role")?, decoder.u8("part.slot")?);
        Ok(Self {
            role: Role::from_code(role).ok_or(DecodeError::value("part.role", "unknown role"))?,
            slot: Slot::new(slot).map_err(|_| DecodeError::value("part.slot", "outside 1 to 7"))?,
            sealed: decoder.bytes("part.sealed")?.to_vec(),
        })
    }
}

/// A session's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHeader {
    /// The session.
    pub body: HeaderBody,
    /// One part per member, in canonical order.
    pub parts: Vec<SealedPart>,
    /// `Sig(edge, "hdr", sid)`.
    pub signature: Signature,
}

impl SessionHeader {
    /// Signs a header.
    pub fn sign(body: HeaderBody, parts: Vec<SealedPart>, edge: &SigningKey) -> Self {
        let sid = session_id(&body, &parts);
        let signature = sign(edge, SignatureTag::Header, |e| {
            e.bytes(&sid.0);
        });
        Self {
            body,
            parts,
            signature,
        }
    }

    /// `sid = H("sid", hb, all parts in order)`.
    pub fn id(&self) -> SessionId {
        session_id(&self.body, &self.parts)
    }

    /// The part of one member.
    pub fn part(&self, role: Role, slot: Slot) -> Option<&SealedPart> {
        self.parts
            .iter()
            .find(|part| part.role == role && part.slot == slot)
    }

    /// Checks form, bounds and signature for an edge's enrolled key and the thresholds of the
    /// certificate. Whether the period, the time and the enrolment fit is the shard's to say.
    ///
    /// # Errors
    /// [`HeaderError`] names the first check that fails.
    pub fn verify(
        self,
        edge_key: &IdentityKey,
        workflow: Threshold,
        legal_review: Threshold,
    ) -> Result<VerifiedHeader, HeaderError> {
        let body = &self.body;
        if body.suite != SUITE {
            return Err(HeaderError::Suite(body.suite));
        }
        let length = self.to_bytes().len();
        if length > HEADER_BYTES {
            return Err(HeaderError::Oversize(length));
        }
        let lifetime = body.expires_at.since(body.opened_at);
        if body.expires_at <= body.opened_at || lifetime > SESSION_LIFETIME_CEILING {
            return Err(HeaderError::Lifetime);
        }
        if body.max_block == 0 || body.max_block > SESSION_BLOCKS {
            return Err(HeaderError::Blocks(body.max_block));
        }
        let thresholds = [
            (Role::Workflow, workflow),
            (Role::LegalReview, legal_review),
        ];
        self.check_order(thresholds)?;
        if body.edge_certificate != edge_certificate_hash(&body.edge, edge_key) {
            return Err(HeaderError::EdgeCertificate);
        }
        let sid = self.id();
        edge_key.verify(
            SignatureTag::Header,
            |e| {
                e.bytes(&sid.0);
            },
            &self.signature,
        )?;
        Ok(VerifiedHeader { header: self, sid })
    }

    fn check_order(&self, thresholds: [(Role, Threshold); 2]) -> Result<(), HeaderError> {
        let sets = thresholds
            .iter()
            .flat_map(|(role, t)| t.holder_sets().into_iter().map(move |set| (*role, set)));
        if !self
            .body
            .commitments
            .iter()
            .map(|c| (c.role, c.holders))
            .eq(sets)
        {
            return Err(HeaderError::Commitments);
        }
        let slots = thresholds
            .iter()
            .flat_map(|(role, t)| t.slots().map(move |slot| (*role, slot)));
        if !self
            .parts
            .iter()
            .map(|part| (part.role, part.slot))
            .eq(slots)
        {
            return Err(HeaderError::Parts);
        }
        Ok(())
    }
}

fn session_id(body: &HeaderBody, parts: &[SealedPart]) -> SessionId {
    let digest = hash(HashTag::SessionId, |e| {
        e.list(|e| body.encode(e)).items(parts);
    });
    SessionId(digest.0)
}

impl Canonical for SessionHeader {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .list(|e| self.body.encode(e))
            .items(&self.parts)
            .bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            body: HeaderBody::from_bytes(decoder.bytes("header.body")?)?,
            parts: decoder.items("header.parts", 2 * usize::from(Slot::LIMIT))?,
            signature: Signature(decoder.array("header.signature")?),
        })
    }
}

/// A header whose form and signature hold. Only [`SessionHeader::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedHeader {
    header: SessionHeader,
    sid: SessionId,
}

impl VerifiedHeader {
    /// The session's id.
    pub fn sid(&self) -> SessionId {
        self.sid
    }

    /// The header.
    pub fn header(&self) -> &SessionHeader {
        &self.header
    }

    /// The header's body.
    pub fn body(&self) -> &HeaderBody {
        &self.header.body
    }
}

/// Why a header is refused: the edge's fault, or a forgery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Another construction.
    #[error("suite {0} is unknown")]
    Suite(u8),
    /// Longer than any header can be.
    #[error("the header has {0} bytes, more than any header can have")]
    Oversize(usize),
    /// No or too long a lifetime.
    #[error("the session ends before it opens, or lives longer than an hour")]
    Lifetime,
    /// No or too many blocks.
    #[error("max_block {0} is outside 1 to 4096")]
    Blocks(u16),
    /// Not one commitment per session key in order.
    #[error("the commitments are not one per holder set, in order")]
    Commitments,
    /// Not one part per member in order.
    #[error("the parts are not one per member, in order")]
    Parts,
    /// Not the enrolled edge's id and key.
    #[error("the header names another edge certificate")]
    EdgeCertificate,
    /// The signature does not verify.
    #[error("the edge did not sign this header")]
    Signature(#[from] SignatureError),
}

canonical_serde!(SessionHeader);
