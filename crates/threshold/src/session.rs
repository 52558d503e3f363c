//! An edge's side (docs/cryptography.md sections 5 and 6): open a session, then seal blocks while
//! the keys behind erase themselves.
//!
//! Not here: sending the header or a block, waiting for acknowledgements, opening the next session
//! ahead; the client and the node do that.

use std::fmt;
use std::time::Duration;

use bailiwick_envelope::block::{BatchManifest, SealedBlock};
use bailiwick_envelope::certificate::{Period, VerifiedCertificate};
use bailiwick_envelope::header::{
    Commitment, HeaderBody, SealedPart, SessionHeader, edge_certificate_hash,
};
use bailiwick_envelope::label::Label;
use bailiwick_envelope::record::Plaintext;
use bailiwick_envelope::{DecodeError, Encoder, HpkeTag, IdentityKey, SUITE, SigningKey};
use bailiwick_types::limits::{BLOCK_RECORDS, SESSION_BLOCKS, SESSION_LIFETIME_CEILING};
use bailiwick_types::{
    Digest, Jurisdiction, KeyId, Name, RecordId, Role, SessionId, SessionNonce, ShardId, Slot,
    SlotMask, SubjectPseudonym, Timestamp,
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::hpke::{self, SealToError};
use crate::keys::{Chain, SessionKey, context};
use crate::merkle;
use crate::sealing::{BlockKeys, BlockSealer, RecordFields};

/// What an edge opens a session with.
pub struct SessionParameters<'a> {
    /// The certificate, verified against the edge's own trust file.
    pub certificate: &'a VerifiedCertificate,
    /// The index of the period within the certificate; it must cover `now`.
    pub period: usize,
    /// The latest `not_before` of any period that this edge ever sealed under in this jurisdiction;
    /// an older period is refused. Kept by the edge across restarts.
    pub high_water: Option<Timestamp>,
    /// The shard that the session writes to.
    pub shard: ShardId,
    /// The edge's id.
    pub edge: Name,
    /// The edge's signing key.
    pub edge_key: &'a SigningKey,
    /// The edge's clock.
    pub now: Timestamp,
    /// How long the session lives; at most an hour, cut at the period's end.
    pub lifetime: Duration,
    /// Block numbers are below this; 1 to 4,096.
    pub max_block: u16,
}

/// Why no session is opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The certificate has no such period.
    #[error("the certificate has no period {0}")]
    NoSuchPeriod(usize),
    /// The period does not cover now.
    #[error("the period does not cover the edge's clock")]
    OutsidePeriod,
    /// The edge has sealed under a later period already.
    #[error("the period begins before one that this edge has sealed under")]
    OlderPeriod,
    /// The certificate is another jurisdiction's.
    #[error("the certificate is for another jurisdiction than the shard")]
    Jurisdiction,
    /// No or too long a lifetime.
    #[error("the lifetime is zero or over an hour")]
    Lifetime,
    /// No or too many blocks.
    #[error("max_block {0} is outside 1 to 4096")]
    Blocks(u16),
    /// A member's certified key is none.
    #[error("the certified period key of {role} slot {slot} is no X-Wing key")]
    MemberKey {
        /// The member's role.
        role: Role,
        /// The member's slot.
        slot: Slot,
    },
}

impl SessionParameters<'_> {
    fn check(&self) -> Result<(KeyId, Period), SessionError> {
        let body = self.certificate.body();
        let missing = SessionError::NoSuchPeriod(self.period);
        let kid = self.certificate.kid(self.period).ok_or(missing.clone())?;
        let period = *body.periods.get(self.period).ok_or(missing)?;
        if body.jurisdiction != self.shard.jurisdiction {
            return Err(SessionError::Jurisdiction);
        }
        if self.now < period.not_before || self.now >= period.not_after {
            return Err(SessionError::OutsidePeriod);
        }
        if self.high_water.is_some_and(|mark| period.not_before < mark) {
            return Err(SessionError::OlderPeriod);
        }
        if self.lifetime.as_micros() == 0 || self.lifetime > SESSION_LIFETIME_CEILING {
            return Err(SessionError::Lifetime);
        }
        if !(1..=SESSION_BLOCKS).contains(&self.max_block) {
            return Err(SessionError::Blocks(self.max_block));
        }
        Ok((kid, period))
    }
}

/// One session key with where it stands in the header.
struct DealtKey {
    role: Role,
    holders: SlotMask,
    key: SessionKey,
    context: Digest,
}

/// Opens a session: draws its keys, deals them to the members, signs the header.
///
/// Section 5: "Erase kap and ch0 as soon as the first block keys exist, before the header is sent."
/// Both are gone when this returns. The header must be committed to the shard before a record of
/// the session is acknowledged.
///
/// # Errors
/// [`SessionError`] names the first check that fails.
pub fn open_session(
    rng: &mut impl CryptoRng,
    parameters: SessionParameters<'_>,
) -> Result<(SessionHeader, Sealer), SessionError> {
    let (kid, period) = parameters.check()?;
    let mut nonce = SessionNonce([0; 16]);
    rng.fill_bytes(&mut nonce.0);
    let dealt = draw_keys(rng, parameters.certificate, &kid, &nonce);
    let commitments = dealt.iter().map(|key| Commitment {
        role: key.role,
        holders: key.holders,
        value: key.key.commitment(&key.context),
    });
    let edge = parameters.edge;
    let body = HeaderBody {
        suite: SUITE,
        kid,
        shard: parameters.shard,
        edge_certificate: edge_certificate_hash(&edge, &IdentityKey::of(parameters.edge_key)),
        edge,
        nonce,
        opened_at: parameters.now,
        expires_at: parameters
            .now
            .plus(parameters.lifetime)
            .min(period.not_after),
        max_block: parameters.max_block,
        commitments: commitments.collect(),
    };
    let parts = deal(
        rng,
        parameters.certificate,
        parameters.period,
        &body,
        &dealt,
    )?;
    let rho = SessionKey::draw(rng).chain(&context(&kid, &nonce, None));
    let ratchet = Ratchet::enter_first(&dealt, rho);
    drop(dealt);
    let header = SessionHeader::sign(body, parts, parameters.edge_key);
    let sealer = Sealer::new(&header, parameters.period, parameters.edge_key, ratchet);
    Ok((header, sealer))
}

/// "`kap_{R,A}`: independent 32 B", in canonical order.
fn draw_keys(
    rng: &mut impl CryptoRng,
    certificate: &VerifiedCertificate,
    kid: &KeyId,
    nonce: &SessionNonce,
) -> Vec<DealtKey> {
    let mut dealt = Vec::with_capacity(70);
    for role in Role::ALL {
        let sets = certificate.body().committee(role).threshold.holder_sets();
        dealt.extend(sets.into_iter().map(|holders| DealtKey {
            role,
            holders,
            key: SessionKey::draw(rng),
            context: context(kid, nonce, Some((role, holders))),
        }));
    }
    dealt
}

/// `part = HPKE(ek; info = E("part", H("hb", hb), R, m); E((A, kap) for all A with m))`.
fn deal(
    rng: &mut impl CryptoRng,
    certificate: &VerifiedCertificate,
    period: usize,
    body: &HeaderBody,
    dealt: &[DealtKey],
) -> Result<Vec<SealedPart>, SessionError> {
    let body_hash = body.hash();
    let mut parts = Vec::new();
    for (role, member) in certificate.body().members() {
        let slot = member.slot;
        let mut plaintext = Encoder::with_capacity(20 * (5 + 36));
        for key in dealt {
            if key.role == role && key.holders.contains(slot) {
                plaintext.u8(key.holders.0).bytes(key.key.0.as_ref());
            }
        }
        let plaintext = Zeroizing::new(plaintext.finish());
        let to = &member.periods[period];
        let sealed = hpke::seal(rng, to, &part_info(&body_hash, role, slot), &plaintext)
            .map_err(|SealToError| SessionError::MemberKey { role, slot })?;
        parts.push(SealedPart { role, slot, sealed });
    }
    Ok(parts)
}

/// `info = E("part", H("hb", hb), R, m)`.
pub(crate) fn part_info(body_hash: &Digest, role: Role, slot: Slot) -> Vec<u8> {
    HpkeTag::Part.info(|e| {
        e.digest(body_hash).u8(role.code()).u8(slot.number());
    })
}

/// Section 6: "on entering b both are computed and ch^(b) erased".
struct Ratchet {
    /// `ch(b+1)` of every dealt key in canonical order, then of rho.
    chains: Vec<Chain>,
    /// `p(b)`; none once the last block is sealed.
    keys: Option<BlockKeys>,
}

impl Ratchet {
    fn enter_first(dealt: &[DealtKey], rho: Chain) -> Self {
        let mut chains = Vec::with_capacity(dealt.len() + 1);
        chains.extend(dealt.iter().map(|key| key.key.chain(&key.context)));
        chains.push(rho);
        let mut ratchet = Self { chains, keys: None };
        ratchet.enter();
        ratchet
    }

    fn enter(&mut self) {
        self.keys = self.chains.split_last().map(|(rho, values)| BlockKeys {
            values: values.iter().map(Chain::block_key).collect(),
            rho: rho.block_key(),
        });
        self.chains.iter_mut().for_each(Chain::advance);
    }

    fn end(&mut self) {
        self.keys = None;
        self.chains.clear();
    }
}

/// A record to be sealed.
#[derive(Debug)]
pub struct RecordToSeal {
    /// The record's id.
    pub record: RecordId,
    /// The subject.
    pub subject: SubjectPseudonym,
    /// What to seal.
    pub plaintext: Plaintext,
}

/// Why a block is not sealed. Nothing was, and the same block number stays next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No records, or more than a block holds.
    #[error("a block has 1 to 4096 records, not {0}")]
    Count(usize),
    /// The session is over: by its blocks or by time.
    #[error("the session is exhausted")]
    Exhausted,
    /// A plaintext is invalid.
    #[error("record {index}: the plaintext is invalid")]
    Plaintext {
        /// Its place among the records given.
        index: usize,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Seals a session's blocks. It holds the keys of the next block and of none before.
///
/// # Security
/// No `Clone`; keys are zeroed as they are left behind. Who snapshots the edge's memory reads the
/// session's later blocks, and nothing of the earlier ones.
pub struct Sealer {
    sid: SessionId,
    kid: KeyId,
    period: usize,
    jurisdiction: Jurisdiction,
    edge: Name,
    edge_key: SigningKey,
    next_block: u16,
    max_block: u16,
    expires_at: Timestamp,
    previous: Digest,
    ratchet: Ratchet,
}

impl Sealer {
    fn new(header: &SessionHeader, period: usize, edge_key: &SigningKey, ratchet: Ratchet) -> Self {
        let body = &header.body;
        Self {
            sid: header.id(),
            kid: body.kid,
            period,
            jurisdiction: body.shard.jurisdiction,
            edge: body.edge.clone(),
            edge_key: edge_key.clone(),
            next_block: 0,
            max_block: body.max_block,
            expires_at: body.expires_at,
            previous: Digest::default(),
            ratchet,
        }
    }

    /// The session.
    pub fn sid(&self) -> SessionId {
        self.sid
    }

    /// The key period.
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// The index of the key period within its certificate.
    pub fn period(&self) -> usize {
        self.period
    }

    /// The number of the next block.
    pub fn next_block(&self) -> u16 {
        self.next_block
    }

    /// How many blocks are left.
    pub fn blocks_left(&self) -> u16 {
        self.max_block - self.next_block
    }

    /// When the session ends, exclusive.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether no block can be sealed any more.
    pub fn is_exhausted(&self, now: Timestamp) -> bool {
        self.next_block >= self.max_block || now >= self.expires_at
    }

    /// Seals 1 to 4,096 records as the session's next block and erases the block's keys.
    ///
    /// # Errors
    /// [`SealError`]; nothing was sealed then.
    pub fn seal(
        &mut self,
        records: &[RecordToSeal],
        pseudonym_version: u16,
        now: Timestamp,
    ) -> Result<SealedBlock, SealError> {
        if self.is_exhausted(now) {
            return Err(SealError::Exhausted);
        }
        let padded = PaddedRecords::new(records)?;
        let keys = self.ratchet.keys.as_ref().ok_or(SealError::Exhausted)?;
        let mut sealer = BlockSealer::new(keys, &self.any_label(&records[0], pseudonym_version));
        let mut sealed = Vec::with_capacity(records.len());
        let mut leaves = Vec::with_capacity(records.len());
        for (index, (record, padded)) in records.iter().zip(padded.iter()).enumerate() {
            let fields = fields_of(record);
            // At most 4,096 records, so that the index fits.
            let (record, leaf) = sealer.seal(index as u16, &fields, padded);
            sealed.push(record);
            leaves.push(leaf);
        }
        let manifest = BatchManifest {
            sid: self.sid,
            block: self.next_block,
            count: records.len() as u16,
            root: Digest(merkle::root(leaves)),
            previous: self.previous,
            edge_time: now,
        };
        drop(sealer);
        self.leave_block(&manifest);
        Ok(SealedBlock {
            signature: manifest.sign(&self.edge_key),
            manifest,
            pseudonym_version,
            records: sealed,
        })
    }

    /// Section 6: "after sealing, before sending, p^(b) is erased".
    fn leave_block(&mut self, manifest: &BatchManifest) {
        self.previous = manifest.hash();
        self.next_block += 1;
        if self.next_block < self.max_block {
            self.ratchet.enter();
        } else {
            self.ratchet.end();
        }
    }

    fn any_label(&self, record: &RecordToSeal, pseudonym_version: u16) -> Label {
        let fields = fields_of(record);
        Label {
            sid: self.sid,
            block: self.next_block,
            index: 0,
            jurisdiction: self.jurisdiction,
            edge: self.edge.clone(),
            record: fields.record,
            pseudonym_version,
            subject: fields.subject,
            category: fields.category,
            minute: fields.minute,
        }
    }
}

fn fields_of(record: &RecordToSeal) -> RecordFields {
    RecordFields {
        record: record.record,
        subject: record.subject,
        category: record.plaintext.category(),
        minute: record.plaintext.observed_at().minute(),
    }
}

/// All plaintexts of a block padded, so that a bad one is found before anything is sealed.
struct PaddedRecords {
    bytes: Zeroizing<Vec<u8>>,
    lengths: Vec<usize>,
}

impl PaddedRecords {
    fn new(records: &[RecordToSeal]) -> Result<Self, SealError> {
        if records.is_empty() || records.len() > BLOCK_RECORDS {
            return Err(SealError::Count(records.len()));
        }
        let lengths: Vec<usize> = records
            .iter()
            .map(|record| record.plaintext.category().padded_length())
            .collect();
        let mut bytes = Zeroizing::new(Vec::with_capacity(lengths.iter().sum()));
        for (index, record) in records.iter().enumerate() {
            let padded = record.plaintext.to_padded();
            let padded = padded.map_err(|source| SealError::Plaintext { index, source })?;
            bytes.extend_from_slice(&padded);
        }
        Ok(Self { bytes, lengths })
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.bytes;
        self.lengths.iter().map(move |length| {
            let (padded, tail) = rest.split_at(*length);
            rest = tail;
            padded
        })
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Sealer({:?}, next block {}, redacted)",
            self.sid, self.next_block
        )
    }
}

#[cfg(test)]
mod tests;
