//! A member's private keys, and the few things that may be done with them. There is no way to get
//! a key out again: period keys open session parts only inside an acknowledgement (which says yes or
//! no) and inside [`crate::ReleaseOrder::execute`].

use std::collections::BTreeMap;
use std::fmt;

use bailiwick_envelope::acknowledgement::SessionAcknowledgement;
use bailiwick_envelope::certificate::{
    CertificateBody, CertificateError, Member, MemberSignature, TrustedMember, VerifiedCertificate,
};
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_envelope::offer::KeyOffer;
use bailiwick_envelope::{EncapsulationKey, IdentityKey, SigningKey};
use bailiwick_threshold::{DecapsulationKey, acknowledge};
use bailiwick_types::limits::CERTIFICATE_PERIODS;
use bailiwick_types::{CertificateId, Digest, Jurisdiction, KeyId, Name, Role};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::trust::{JurisdictionTrust, Seat};

/// Bytes of a private key.
const SEED: usize = 32;

/// Fresh private keys for a certificate that is being made: one for documents, one per period.
pub struct DraftKeys {
    documents: DecapsulationKey,
    periods: Vec<DecapsulationKey>,
    public: (EncapsulationKey, Vec<EncapsulationKey>),
}

impl DraftKeys {
    /// Draws keys for so many periods, at most [`CERTIFICATE_PERIODS`].
    pub fn generate(rng: &mut impl CryptoRng, periods: usize) -> Self {
        let (documents, public) = DecapsulationKey::generate(rng);
        let drawn = (0..periods.min(CERTIFICATE_PERIODS)).map(|_| DecapsulationKey::generate(rng));
        let (periods, publics) = drawn.unzip();
        Self {
            documents,
            periods,
            public: (public, publics),
        }
    }

    /// The keys of bytes that [`DraftKeys::to_bytes`] made; `None` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seeds, []) = bytes.as_chunks::<SEED>() else {
            return None;
        };
        let (documents, periods) = seeds.split_first()?;
        if periods.len() > CERTIFICATE_PERIODS {
            return None;
        }
        let documents = DecapsulationKey::from_bytes(documents);
        let periods: Vec<_> = periods.iter().map(DecapsulationKey::from_bytes).collect();
        let public = (
            documents.encapsulation_key(),
            periods
                .iter()
                .map(DecapsulationKey::encapsulation_key)
                .collect(),
        );
        Some(Self {
            documents,
            periods,
            public,
        })
    }

    /// The private keys, for the driver to wrap and persist before it offers them: 32 bytes each,
    /// the documents' first.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SEED * (1 + self.periods.len())));
        bytes.extend_from_slice(&*self.documents.to_bytes());
        for key in &self.periods {
            bytes.extend_from_slice(&*key.to_bytes());
        }
        bytes
    }

    /// Whether a certificate's entry carries exactly these keys.
    fn are_of(&self, member: &Member) -> bool {
        member.documents == self.public.0 && member.periods == self.public.1
    }
}

impl fmt::Debug for DraftKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "DraftKeys({} periods, redacted)",
            self.periods.len()
        )
    }
}

/// Why a member does not use its keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The trust file gives this identity no place in the jurisdiction.
    #[error("this identity has no slot in {0} by its own trust file")]
    NoSeat(Jurisdiction),
    /// The certificate is of another jurisdiction than the trust.
    #[error("the certificate is of {got}, the trust of {expected}")]
    OtherJurisdiction {
        /// The trust's jurisdiction.
        expected: Jurisdiction,
        /// The certificate's.
        got: Jurisdiction,
    },
    /// The certificate's entry for this member is not what it offered.
    #[error("the certificate does not carry this member's own name, reviewers and keys")]
    OtherEntry,
    /// The body is malformed, or its members are not those of the own trust file.
    #[error("the certificate is refused")]
    Certificate(#[from] CertificateError),
    /// There is no key of this period: not adopted yet, or erased.
    #[error("no private key for period {0}")]
    NoKey(KeyId),
    /// The header's period is not the certificate's.
    #[error("the header's period is not of this certificate")]
    OtherCertificate,
    /// A document does not open.
    #[error("the document is not sealed to this member")]
    Document,
}

/// A member's identity and its period keys.
pub struct MemberKeys {
    name: Name,
    identity: SigningKey,
    periods: BTreeMap<(Jurisdiction, KeyId), DecapsulationKey>,
    documents: BTreeMap<(Jurisdiction, CertificateId), DecapsulationKey>,
}

impl MemberKeys {
    /// An identity without period keys.
    pub fn new(name: Name, identity: SigningKey) -> Self {
        Self {
            name,
            identity,
            periods: BTreeMap::new(),
            documents: BTreeMap::new(),
        }
    }

    /// The member's id, which is also its cosigner name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The public identity.
    pub fn identity(&self) -> IdentityKey {
        IdentityKey::of(&self.identity)
    }

    /// The member's place in a jurisdiction, by its own trust file.
    ///
    /// # Errors
    /// [`KeysError::NoSeat`] when it has none.
    pub fn seat(&self, trust: &JurisdictionTrust) -> Result<Seat, KeysError> {
        let seat = trust.seat_of(&self.identity());
        seat.ok_or(KeysError::NoSeat(trust.jurisdiction()))
    }

    /// Adds a period's private key, as the driver unwrapped it.
    pub fn insert(&mut self, jurisdiction: Jurisdiction, kid: KeyId, key: DecapsulationKey) {
        self.periods.insert((jurisdiction, kid), key);
    }

    /// Whether a period's private key is held.
    pub fn holds(&self, jurisdiction: Jurisdiction, kid: KeyId) -> bool {
        self.periods.contains_key(&(jurisdiction, kid))
    }

    /// The periods whose keys are held for a jurisdiction.
    pub fn held(&self, jurisdiction: Jurisdiction) -> impl Iterator<Item = KeyId> {
        let held = self.periods.keys();
        held.filter(move |(of, _)| *of == jurisdiction)
            .map(|(_, kid)| *kid)
    }

    /// Drops a period's private key from memory; says whether it was there. The driver destroys the
    /// wrapped copies.
    pub fn erase(&mut self, jurisdiction: Jurisdiction, kid: KeyId) -> bool {
        self.periods.remove(&(jurisdiction, kid)).is_some()
    }

    /// Drops the keys of all other jurisdictions from memory.
    pub(crate) fn keep_only(&mut self, jurisdiction: Jurisdiction) {
        self.periods.retain(|(of, _), _| *of == jurisdiction);
        self.documents.retain(|(of, _), _| *of == jurisdiction);
    }

    /// Offers fresh keys for a draft, with the name and reviewers of the own trust file.
    ///
    /// # Errors
    /// [`KeysError::NoSeat`].
    pub fn offer(
        &self,
        draft: Digest,
        trust: &JurisdictionTrust,
        keys: &DraftKeys,
    ) -> Result<KeyOffer, KeysError> {
        let (seat, own) = self.own_entry(trust)?;
        let member = Member {
            slot: seat.slot,
            organisation: own.organisation.clone(),
            name: own.name.clone(),
            identity: own.identity,
            reviewers: own.reviewers.iter().map(|reviewer| reviewer.key).collect(),
            documents: keys.public.0.clone(),
            periods: keys.public.1.clone(),
        };
        Ok(KeyOffer::sign(draft, seat.role, member, &self.identity))
    }

    /// Signs a certificate body, if its entry for this member carries exactly its own offered keys
    /// and all its members are those of the own trust file.
    ///
    /// # Errors
    /// [`KeysError`] names the first check that fails.
    ///
    /// # Security
    /// A member that signed whatever it is sent would let a vault slip in keys of its own.
    pub fn sign_certificate(
        &self,
        body: &CertificateBody,
        trust: &JurisdictionTrust,
        keys: &DraftKeys,
    ) -> Result<MemberSignature, KeysError> {
        let (seat, _) = self.own_entry(trust)?;
        let (expected, got) = (trust.jurisdiction(), body.jurisdiction);
        if expected != got {
            return Err(KeysError::OtherJurisdiction { expected, got });
        }
        body.check()?;
        for role in Role::ALL {
            trust.check_committee(role, body.committee(role))?;
        }
        let entry = body.committee(seat.role).member(seat.slot);
        if !entry.is_some_and(|entry| keys.are_of(entry) && entry.identity == self.identity()) {
            return Err(KeysError::OtherEntry);
        }
        Ok(MemberSignature {
            role: seat.role,
            slot: seat.slot,
            signature: body.sign(&self.identity),
        })
    }

    /// Takes over the private keys of a certificate that is whole.
    ///
    /// # Errors
    /// [`KeysError::OtherEntry`] when the certificate carries other keys for this member.
    pub fn adopt(
        &mut self,
        certificate: &VerifiedCertificate,
        trust: &JurisdictionTrust,
        keys: DraftKeys,
    ) -> Result<(), KeysError> {
        let (seat, _) = self.own_entry(trust)?;
        let body = certificate.body();
        let entry = body.committee(seat.role).member(seat.slot);
        if !entry.is_some_and(|entry| keys.are_of(entry)) {
            return Err(KeysError::OtherEntry);
        }
        for (period, key) in keys.periods.into_iter().enumerate() {
            if let Some(kid) = certificate.kid(period) {
                self.insert(body.jurisdiction, kid, key);
            }
        }
        let place = (body.jurisdiction, certificate.id());
        self.documents.insert(place, keys.documents);
        Ok(())
    }

    /// Answers a session header: opens the own part, checks every commitment, erases it, and signs
    /// `ok` or a complaint.
    ///
    /// # Errors
    /// [`KeysError`] when the member has no place or no key, which is no complaint.
    pub fn acknowledge(
        &self,
        header: &VerifiedHeader,
        certificate: &VerifiedCertificate,
        trust: &JurisdictionTrust,
    ) -> Result<SessionAcknowledgement, KeysError> {
        let seat = self.seat(trust)?;
        let kid = header.body().kid;
        if certificate.period_of(&kid).is_none() {
            return Err(KeysError::OtherCertificate);
        }
        let key = self.period_key(trust.jurisdiction(), kid);
        let key = key.ok_or(KeysError::NoKey(kid))?;
        let (role, slot) = (seat.role, seat.slot);
        Ok(acknowledge(
            header,
            certificate,
            role,
            slot,
            key,
            &self.identity,
        ))
    }

    /// Opens a document of an order that is sealed to this member under a certificate. Documents
    /// keys open no session part: a certificate's keys are all distinct.
    ///
    /// # Errors
    /// [`KeysError::Document`] when it is not sealed to this member under this context.
    pub fn open_document(
        &self,
        jurisdiction: Jurisdiction,
        certificate: CertificateId,
        info: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let key = self.documents.get(&(jurisdiction, certificate));
        let key = key.ok_or(KeysError::Document)?;
        bailiwick_threshold::hpke::open(key, info, sealed).map_err(|_| KeysError::Document)
    }

    pub(crate) fn period_key(
        &self,
        jurisdiction: Jurisdiction,
        kid: KeyId,
    ) -> Option<&DecapsulationKey> {
        self.periods.get(&(jurisdiction, kid))
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.identity
    }

    fn own_entry<'a>(
        &self,
        trust: &'a JurisdictionTrust,
    ) -> Result<(Seat, &'a TrustedMember), KeysError> {
        let seat = self.seat(trust)?;
        let member = trust.roster().committee(seat.role).member(seat.slot);
        let member = member.ok_or(KeysError::NoSeat(trust.jurisdiction()))?;
        Ok((seat, member))
    }
}

impl fmt::Debug for MemberKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let periods = self.periods.len();
        write!(
            formatter,
            "MemberKeys({:?}, {periods} periods, redacted)",
            self.name
        )
    }
}
