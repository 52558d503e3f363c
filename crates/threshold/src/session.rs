//! An edge's side (docs/cryptography.md sections 5 and 6): open a session, then seal blocks while
//! the keys behind erase themselves.
//!
//! Not here: sending the header or a block, waiting for acknowledgements, opening the next session
//! ahead; the client and the node do that.

use std::fmt;
use std::time::Duration;

use bailiwick_envelope::block::SealedBlock;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::record::Plaintext;
use bailiwick_envelope::{DecodeError, SigningKey};
use bailiwick_types::{
    KeyId, Name, RecordId, Role, SessionId, ShardId, Slot, SubjectPseudonym, Timestamp,
};
use rand_core::CryptoRng;

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

/// Opens a session: draws its keys, deals them to the members, signs the header.
///
/// # Errors
/// [`SessionError`] names the first check that fails.
pub fn open_session(
    rng: &mut impl CryptoRng,
    parameters: SessionParameters<'_>,
) -> Result<(SessionHeader, Sealer), SessionError> {
    let _ = (rng, parameters);
    todo!()
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
pub struct Sealer {
    sid: SessionId,
    kid: KeyId,
    period: usize,
    next_block: u16,
    max_block: u16,
    expires_at: Timestamp,
}

impl Sealer {
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
        let _ = (records, pseudonym_version, now);
        todo!()
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
