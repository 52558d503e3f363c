//! Opening records (docs/cryptography.md section 9): the recipient's side.
//!
//! Not here: fetching partials, and asking more members.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_envelope::DecodeError;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::label::Label;
use bailiwick_envelope::record::Plaintext;
use bailiwick_envelope::selection::Selection;
use bailiwick_types::{Digest, KeyId, RequestId, Role, Slot};

use crate::partial::{SignedPartial, VerifiedPartial};

/// A record of the selection as a recipient gets it from a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedRecord {
    /// Its place in the selection, from 0.
    pub index: u32,
    /// Its label.
    pub label: Label,
    /// The commitment to its plaintext.
    pub alpha: Digest,
    /// AES-256-GCM of rho and the padded plaintext.
    pub ciphertext: Vec<u8>,
    /// The key period of its session.
    pub kid: KeyId,
}

/// An opened record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRecord {
    /// Its place in the selection, from 0.
    pub index: u32,
    /// Its label.
    pub label: Label,
    /// What the edge sealed.
    pub plaintext: Plaintext,
}

/// A member whose answer differs from what opened the record. It is contradicted, not guilty: an
/// edge that dealt inconsistently causes the same. Adjudication decides.
#[derive(Clone, Debug)]
pub struct Contradiction {
    /// The key period.
    pub kid: KeyId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// The record's place in the selection.
    pub index: u32,
    /// The member's signed body.
    pub signed: Arc<SignedPartial>,
}

/// Why a partial was left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitReason {
    /// For another request.
    #[error("it belongs to another request")]
    OtherRequest,
    /// For another selection.
    #[error("it belongs to another selection")]
    OtherSelection,
    /// No certificate is known for its period.
    #[error("no certificate is known for its key period")]
    UnknownPeriod,
    /// Its signer is not the certificate's member at that slot.
    #[error("its signer is not the certified member of that slot")]
    NotTheMember,
    /// The slot signed two bodies for one chunk.
    #[error("the slot signed another body for the same chunk")]
    SecondBody,
}

/// A partial that was left aside: it may be its member's or its carrier's fault.
#[derive(Clone, Debug)]
pub struct UnfitPartial {
    /// Why.
    pub reason: UnfitReason,
    /// The member's signed body.
    pub signed: Arc<SignedPartial>,
}

/// A record that did not open while others did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnopenedRecord {
    /// Its place in the selection.
    pub index: u32,
    /// Why.
    pub error: OpeningError,
}

/// What a recipient learns.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The records that opened, in order of the selection.
    pub records: Vec<OpenedRecord>,
    /// The records that did not, in order; empty when all opened. Never empty unseen: a caller that
    /// ignores it may think a disclosure whole that is not.
    pub unopened: Vec<UnopenedRecord>,
    /// Every answer that differs from what opened a record.
    pub contradicted: Vec<Contradiction>,
    /// Every partial that was left aside.
    pub unfit: Vec<UnfitPartial>,
}

/// Why nothing, or one record, does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// The records are not the selection's: the shard's fault, or a forgery.
    #[error("the records are not those of the logged selection")]
    NotTheSelection,
    /// No certificate is known for a record's period.
    #[error("record {index}: no certificate is known for its key period")]
    UnknownPeriod {
        /// The record's place in the selection.
        index: u32,
    },
    /// Too few members have answered.
    #[error("record {index}: {have} of {need} {role} members have answered")]
    NotEnough {
        /// The record's place in the selection.
        index: u32,
        /// The role.
        role: Role,
        /// Members with an answer for the record.
        have: u8,
        /// The role's threshold.
        need: u8,
    },
    /// The answers open nothing, and who is wrong cannot be told: more members must be asked.
    #[error("record {index}: the answers so far do not open it; ask more members")]
    Unattributed {
        /// The record's place in the selection.
        index: u32,
    },
    /// All members have answered and nothing opens.
    #[error("record {index}: an edge fault, or more liars than n - t in a role")]
    EdgeFaultOrTooManyLiars {
        /// The record's place in the selection.
        index: u32,
    },
    /// The record opens to what is no plaintext: the edge's fault.
    #[error("record {index}: the edge sealed what is no plaintext")]
    Plaintext {
        /// The record's place in the selection.
        index: u32,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Opens the records of a request's selection from the members' partials.
///
/// # Errors
/// [`OpeningError`] when the records are not the selection, or when none of them opens; when some
/// open, the others stand in [`Opening::unopened`].
pub fn open_records(
    certificates: &BTreeMap<KeyId, &VerifiedCertificate>,
    request: RequestId,
    selection: &Selection,
    records: &[SelectedRecord],
    partials: &[VerifiedPartial],
) -> Result<Opening, OpeningError> {
    let _ = (certificates, request, selection, records, partials);
    todo!()
}
