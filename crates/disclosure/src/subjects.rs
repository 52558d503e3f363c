//! Whether a request's subjects are the accounts that the order names. The request carries pseudonyms,
//! which say nothing to whoever reads it; the order's document, sealed to every member, carries the
//! accounts. Each member recomputes the one from the other, so that a request for somebody else needs
//! t members of *each* role that look away.

use std::collections::BTreeSet;

use bailiwick_envelope::order::{OrderDocument, SealedDocument};
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::{Canonical, DecodeError};
use bailiwick_threshold::{PseudonymKey, pseudonym};
use bailiwick_types::{Digest, RequestId, SubjectPseudonym};

use crate::keys::{KeysError, MemberKeys};
use crate::trust::{JurisdictionTrust, Seat};

/// The request asks for exactly the accounts of the order. Only [`SubjectsConfirmed::verify`] makes
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectsConfirmed {
    request: RequestId,
    seat: Seat,
}

/// Why a request's subjects are not confirmed. No account is named in any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectRefusal {
    /// The request is of another jurisdiction than the trust.
    #[error("the request is of another jurisdiction")]
    Jurisdiction,
    /// The sealed document is another member's, or not the one that the request names.
    #[error("the document is sealed for another member, or is not the request's")]
    OtherDocument,
    /// It does not open.
    #[error("the document does not open")]
    Sealed(#[from] KeysError),
    /// What is inside is no document: the fault of whoever sealed it.
    #[error("the document is malformed")]
    Malformed(#[from] DecodeError),
    /// What is inside is not what the digest says: two members were sent two documents.
    #[error("the document has digest {got}, the request names {expected}")]
    Digest {
        /// The request's.
        expected: Digest,
        /// The document's.
        got: Digest,
    },
    /// The document is of another case.
    #[error("the document is of another case than the request")]
    Reference,
    /// The own pseudonym key has another version.
    #[error("pseudonyms of version {got}, the own key has version {own}")]
    Version {
        /// The own key's.
        own: u16,
        /// The document's.
        got: u16,
    },
    /// The request asks for somebody whom the order does not name.
    #[error("scope line {line} asks for a subject that the order does not name")]
    NotNamed {
        /// The line, from 0.
        line: usize,
    },
    /// The order names somebody for whom the request does not ask.
    #[error("the order names {0} accounts for which the request does not ask")]
    NotAsked(usize),
}

impl SubjectsConfirmed {
    /// Opens the member's own copy of the order's document and recomputes every pseudonym.
    ///
    /// # Errors
    /// [`SubjectRefusal`] names the first check that fails.
    ///
    /// # Security
    /// The pseudonym key is the member's own, from its own files: not sent, and not a vault's.
    pub fn verify(
        keys: &MemberKeys,
        trust: &JurisdictionTrust,
        pseudonyms: &PseudonymKey,
        request: &DisclosureRequest,
        sealed: &SealedDocument,
    ) -> Result<Self, SubjectRefusal> {
        let jurisdiction = trust.jurisdiction();
        if request.jurisdiction != jurisdiction {
            return Err(SubjectRefusal::Jurisdiction);
        }
        let seat = keys.seat(trust)?;
        let (role, slot) = (seat.role, seat.slot);
        if (sealed.role, sealed.slot, sealed.digest) != (role, slot, request.documents) {
            return Err(SubjectRefusal::OtherDocument);
        }
        let certificate = sealed.certificate;
        let info = SealedDocument::info(&certificate, &sealed.digest, role, slot);
        let opened = keys.open_document(jurisdiction, certificate, &info, &sealed.sealed)?;
        let document = OrderDocument::from_bytes(&opened)?;
        let (expected, got) = (request.documents, document.digest());
        if expected != got {
            return Err(SubjectRefusal::Digest { expected, got });
        }
        if document.reference != request.reference {
            return Err(SubjectRefusal::Reference);
        }
        let (own, got) = (pseudonyms.version, document.pseudonym_version);
        if own != got {
            return Err(SubjectRefusal::Version { own, got });
        }
        check_subjects(pseudonyms, request, &document)?;
        let request = request.id();
        Ok(Self { request, seat })
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The member that confirmed it.
    pub fn seat(&self) -> Seat {
        self.seat
    }
}

fn check_subjects(
    pseudonyms: &PseudonymKey,
    request: &DisclosureRequest,
    document: &OrderDocument,
) -> Result<(), SubjectRefusal> {
    let accounts = document.accounts.iter();
    let named: BTreeSet<SubjectPseudonym> = accounts
        .map(|account| pseudonym(pseudonyms, account))
        .collect();
    let mut lines = request.scope.iter();
    if let Some(line) = lines.position(|line| !named.contains(&line.subject)) {
        return Err(SubjectRefusal::NotNamed { line });
    }
    let asked: BTreeSet<SubjectPseudonym> = request.scope.iter().map(|line| line.subject).collect();
    match named.len() - asked.len() {
        0 => Ok(()),
        left => Err(SubjectRefusal::NotAsked(left)),
    }
}
