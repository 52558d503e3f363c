//! The key certificate (docs/cryptography.md section 4): which keys a jurisdiction's records are
//! sealed to, period by period, signed by every member of both committees.
//!
//! ```text
//! body   = E(suite, jurisdiction, not_before, not_after, [period], workflow, legal-review)
//! certid = H("cert", body)      kid = H("period", certid, d)
//! ```
//! The signatures lie outside the hash. Checks that need more than the certificate (the leaf under a
//! cosigned checkpoint, the period that covers now) are made where those things are known.

use std::collections::BTreeSet;

use bailiwick_types::limits::CERTIFICATE_PERIODS;
use bailiwick_types::{CertificateId, Jurisdiction, KeyId, Name, Role, Slot, Threshold, Timestamp};
use serde::{Deserialize, Serialize};

use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{EncapsulationKey, IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::{HashTag, SignatureTag, hash};
use crate::{SUITE, canonical_serde};

/// Most reviewers of one slot.
const REVIEWERS: usize = 64;

/// One key period: a day or a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// First instant at which the period's keys may seal, inclusive.
    pub not_before: Timestamp,
    /// First instant at which they may not any more.
    pub not_after: Timestamp,
    /// The instant at which the period's private keys are destroyed.
    pub erase_by: Timestamp,
}

impl Canonical for Period {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u64(self.not_before.0)
            .u64(self.not_after.0)
            .u64(self.erase_by.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            not_before: Timestamp(decoder.u64("period.not_before")?),
            not_after: Timestamp(decoder.u64("period.not_after")?),
            erase_by: Timestamp(decoder.u64("period.erase_by")?),
        })
    }
}

/// A member of a committee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its slot, 1 to `n`.
    pub slot: Slot,
    /// The organisation that runs it; none stands in both committees.
    pub organisation: Name,
    /// Its identity's id, as in its certificate name.
    pub name: Name,
    /// Its identity key.
    pub identity: IdentityKey,
    /// The keys of the reviewers who decide for this slot.
    pub reviewers: Vec<IdentityKey>,
    /// The key that orders' documents are sealed to.
    pub documents: EncapsulationKey,
    /// One key per period of the certificate, in order.
    pub periods: Vec<EncapsulationKey>,
}

impl Canonical for Member {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u8(self.slot.number())
            .text(self.organisation.as_str())
            .text(self.name.as_str())
            .bytes(&self.identity.0)
            .items(&self.reviewers)
            .bytes(self.documents.as_bytes())
            .items(&self.periods);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let slot = decoder.u8("member.slot")?;
        Ok(Self {
            slot: Slot::new(slot)
                .map_err(|_| DecodeError::value("member.slot", "outside 1 to 7"))?,
            organisation: decoder.parse("member.organisation")?,
            name: decoder.parse("member.name")?,
            identity: IdentityKey(decoder.array("member.identity")?),
            reviewers: decoder.items("member.reviewers", REVIEWERS)?,
            documents: EncapsulationKey::new(decoder.bytes("member.documents")?)?,
            periods: decoder.items("member.periods", CERTIFICATE_PERIODS)?,
        })
    }
}

/// One role's members and threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    /// How many of how many.
    pub threshold: Threshold,
    /// The members, slots 1 to `n` in order.
    pub members: Vec<Member>,
}

impl Committee {
    /// The member at a slot.
    pub fn member(&self, slot: Slot) -> Option<&Member> {
        self.members.iter().find(|member| member.slot == slot)
    }
}

impl Canonical for Committee {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u8(self.threshold.needed())
            .u8(self.threshold.members())
            .items(&self.members);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (needed, members) = (decoder.u8("committee.t")?, decoder.u8("committee.n")?);
        Ok(Self {
            threshold: Threshold::new(needed, members)
                .map_err(|_| DecodeError::value("committee", "2 <= t < n <= 7 does not hold"))?,
            members: decoder.items("committee.members", usize::from(Slot::LIMIT))?,
        })
    }
}

/// What all members sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateBody {
    /// The construction; 1.
    pub suite: u8,
    /// The custody jurisdiction whose records are sealed to it.
    pub jurisdiction: Jurisdiction,
    /// First instant of validity, inclusive.
    pub not_before: Timestamp,
    /// End of validity, exclusive.
    pub not_after: Timestamp,
    /// The periods, consecutive and not overlapping.
    pub periods: Vec<Period>,
    /// The workflow committee.
    pub workflow: Committee,
    /// The legal-review committee.
    pub legal_review: Committee,
}

impl CertificateBody {
    /// A role's committee.
    pub fn committee(&self, role: Role) -> &Committee {
        match role {
            Role::Workflow => &self.workflow,
            Role::LegalReview => &self.legal_review,
        }
    }

    /// `certid = H("cert", body)`.
    pub fn id(&self) -> CertificateId {
        CertificateId(hash(HashTag::Certificate, |e| self.encode(e)).0)
    }

    /// Signs this body as a member.
    pub fn sign(&self, key: &SigningKey) -> Signature {
        let id = self.id();
        sign(key, SignatureTag::Certificate, |e| {
            e.bytes(&id.0);
        })
    }

    /// All members with their roles, in canonical order (role, then slot).
    pub fn members(&self) -> impl Iterator<Item = (Role, &Member)> {
        Role::ALL.into_iter().flat_map(|role| {
            self.committee(role)
                .members
                .iter()
                .map(move |member| (role, member))
        })
    }

    /// Checks everything that the body alone can show: suite, bounds, slots, distinct keys,
    /// separate organisations.
    ///
    /// # Errors
    /// [`CertificateError`] names the first check that fails.
    pub fn check(&self) -> Result<(), CertificateError> {
        if self.suite != SUITE {
            return Err(CertificateError::Suite(self.suite));
        }
        self.check_periods()?;
        self.check_members()?;
        self.check_distinct()
    }

    fn check_periods(&self) -> Result<(), CertificateError> {
        let ordered = self
            .periods
            .windows(2)
            .all(|pair| pair[0].not_after <= pair[1].not_before);
        let within = self.periods.iter().all(|period| {
            period.not_before < period.not_after
                && period.not_after <= period.erase_by
                && self.not_before <= period.not_before
                && period.not_after <= self.not_after
        });
        let some = (1..=CERTIFICATE_PERIODS).contains(&self.periods.len());
        if some && ordered && within {
            Ok(())
        } else {
            Err(CertificateError::Periods)
        }
    }

    fn check_members(&self) -> Result<(), CertificateError> {
        for role in Role::ALL {
            let committee = self.committee(role);
            let slots = committee.members.iter().map(|member| member.slot);
            if !slots.eq(committee.threshold.slots()) {
                return Err(CertificateError::Slots { role });
            }
            for member in &committee.members {
                if member.periods.len() != self.periods.len() {
                    return Err(CertificateError::PeriodKeys {
                        role,
                        slot: member.slot,
                    });
                }
            }
        }
        let organisations = |role| -> BTreeSet<&Name> {
            self.committee(role)
                .members
                .iter()
                .map(|member| &member.organisation)
                .collect()
        };
        match organisations(Role::Workflow)
            .intersection(&organisations(Role::LegalReview))
            .next()
        {
            Some(shared) => Err(CertificateError::SharedOrganisation((*shared).clone())),
            None => Ok(()),
        }
    }

    /// All identity, reviewer and encapsulation keys are distinct across both roles and all
    /// periods: one person's key in two slots would be two votes.
    fn check_distinct(&self) -> Result<(), CertificateError> {
        let mut signers = BTreeSet::new();
        let mut receivers = BTreeSet::new();
        let mut names = BTreeSet::new();
        for (role, member) in self.members() {
            let duplicate = CertificateError::DuplicateKey {
                role,
                slot: member.slot,
            };
            let signing = std::iter::once(&member.identity).chain(&member.reviewers);
            let receiving = std::iter::once(&member.documents).chain(&member.periods);
            let fresh = signing.into_iter().all(|key| signers.insert(*key))
                && receiving.into_iter().all(|key| receivers.insert(key))
                && names.insert(&member.name);
            if !fresh {
                return Err(duplicate);
            }
        }
        Ok(())
    }
}

impl Canonical for CertificateBody {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u8(self.suite)
            .text(self.jurisdiction.as_str())
            .u64(self.not_before.0)
            .u64(self.not_after.0)
            .items(&self.periods)
            .list(|e| self.workflow.encode(e))
            .list(|e| self.legal_review.encode(e));
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            suite: decoder.u8("certificate.suite")?,
            jurisdiction: decoder.parse("certificate.jurisdiction")?,
            not_before: Timestamp(decoder.u64("certificate.not_before")?),
            not_after: Timestamp(decoder.u64("certificate.not_after")?),
            periods: decoder.items("certificate.periods", CERTIFICATE_PERIODS)?,
            workflow: Committee::from_bytes(decoder.bytes("certificate.workflow")?)?,
            legal_review: Committee::from_bytes(decoder.bytes("certificate.legal_review")?)?,
        })
    }
}

/// One member's signature of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSignature {
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// `Sig(m, "cert", certid)`.
    pub signature: Signature,
}

impl Canonical for MemberSignature {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u8(self.role.code())
            .u8(self.slot.number())
            .bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (role, slot) = (decoder.u8("signature.role")?, decoder.u8("signature.slot")?);
        Ok(Self {
            role: Role::from_code(role)
                .ok_or(DecodeError::value("signature.role", "unknown role"))?,
            slot: Slot::new(slot)
                .map_err(|_| DecodeError::value("signature.slot", "outside 1 to 7"))?,
            signature: Signature(decoder.array("signature")?),
        })
    }
}

/// A body with its members' signatures, in canonical order (role, then slot).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCertificate {
    /// What is signed.
    pub body: CertificateBody,
    /// Every member's signature.
    pub signatures: Vec<MemberSignature>,
}

impl KeyCertificate {
    /// Checks the body and that every member it names has signed it. This says that the
    /// certificate is whole, not that its members are the right ones: see
    /// [`KeyCertificate::verify`].
    ///
    /// # Errors
    /// [`CertificateError`] names the first check that fails.
    pub fn check_signed_by_its_members(&self) -> Result<CertificateId, CertificateError> {
        self.body.check()?;
        let id = self.body.id();
        let named = self
            .body
            .members()
            .map(|(role, member)| (role, member.slot));
        let signed = self
            .signatures
            .iter()
            .map(|signature| (signature.role, signature.slot));
        if !signed.eq(named) {
            return Err(CertificateError::Signers);
        }
        for ((role, member), signed) in self.body.members().zip(&self.signatures) {
            let fill = |e: &mut Encoder| {
                e.bytes(&id.0);
            };
            member
                .identity
                .verify(SignatureTag::Certificate, fill, &signed.signature)
                .map_err(|source| CertificateError::Signature {
                    role,
                    slot: member.slot,
                    source,
                })?;
        }
        Ok(id)
    }

    /// Checks everything of [`KeyCertificate::check_signed_by_its_members`], and that the members
    /// are exactly those of the verifier's own trust file with at least its thresholds.
    ///
    /// # Errors
    /// [`CertificateError`] names the first check that fails.
    ///
    /// # Security
    /// Nobody takes a key on the directory's word: who could hand out a certificate of its own
    /// would read all that is written from then on.
    pub fn verify(self, trust: &TrustRoster) -> Result<VerifiedCertificate, CertificateError> {
        let id = self.check_signed_by_its_members()?;
        for role in Role::ALL {
            trust
                .committee(role)
                .check(role, self.body.committee(role))?;
        }
        let kids = (0..self.body.periods.len())
            .map(|period| kid(&id, period as u16))
            .collect();
        Ok(VerifiedCertificate {
            certificate: self,
            in_force: None,
            id,
            kids,
        })
    }
}

impl Canonical for KeyCertificate {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .list(|e| self.body.encode(e))
            .items(&self.signatures);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            body: CertificateBody::from_bytes(decoder.bytes("certificate.body")?)?,
            signatures: decoder.items("certificate.signatures", 2 * usize::from(Slot::LIMIT))?,
        })
    }
}

/// `kid = H("period", certid, d)` of the period with index `d` from 0.
pub fn kid(certificate: &CertificateId, period: u16) -> KeyId {
    let digest = hash(HashTag::Period, |e| {
        e.bytes(&certificate.0).u16(period);
    });
    KeyId(digest.0)
}

/// A certificate whose members are those of the verifier's own trust file. Only
/// [`KeyCertificate::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedCertificate {
    certificate: KeyCertificate,
    /// The body with a roster's successors in their slots; none while no update is in force.
    in_force: Option<CertificateBody>,
    id: CertificateId,
    kids: Vec<KeyId>,
}

impl VerifiedCertificate {
    /// The certificate's id.
    pub fn id(&self) -> CertificateId {
        self.id
    }

    /// What is certified; of [`crate::roster::Roster::certificate_at`], with the successors in
    /// their slots.
    pub fn body(&self) -> &CertificateBody {
        self.in_force.as_ref().unwrap_or(&self.certificate.body)
    }

    /// The same certificate, periods and ids with another committee. Only a roster may say which.
    pub(crate) fn with_body(&self, body: CertificateBody) -> Self {
        Self {
            in_force: Some(body),
            ..self.clone()
        }
    }

    /// The certificate as it was verified.
    pub fn certificate(&self) -> &KeyCertificate {
        &self.certificate
    }

    /// The key id of a period by its index.
    pub fn kid(&self, period: usize) -> Option<KeyId> {
        self.kids.get(period).copied()
    }

    /// The index of the period with this key id.
    pub fn period_of(&self, kid: &KeyId) -> Option<usize> {
        self.kids.iter().position(|candidate| candidate == kid)
    }

    /// The index of the period whose keys seal at `now`, if one covers it.
    pub fn period_at(&self, now: Timestamp) -> Option<usize> {
        let covers = |period: &Period| period.not_before <= now && now < period.not_after;
        self.certificate.body.periods.iter().position(covers)
    }
}

/// One role as a verifier's own trust file states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedCommittee {
    /// The least threshold that the verifier accepts.
    pub needed: u8,
    /// Every member it accepts.
    pub members: Vec<TrustedMember>,
}

/// One member as a verifier's own trust file states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedMember {
    /// Its slot.
    pub slot: Slot,
    /// Its identity's id.
    pub name: Name,
    /// Its organisation.
    pub organisation: Name,
    /// Its identity key.
    pub identity: IdentityKey,
    /// The reviewers who decide for it; a certificate may name no other keys.
    pub reviewers: Vec<TrustedReviewer>,
}

/// A person who decides, and the key on that person's own device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedReviewer {
    /// The person's immutable id, as in its certificate name.
    pub person: Name,
    /// The person's key.
    pub key: IdentityKey,
}

impl TrustedCommittee {
    /// The trusted member at a slot.
    pub fn member(&self, slot: Slot) -> Option<&TrustedMember> {
        self.members.iter().find(|member| member.slot == slot)
    }

    fn check(&self, role: Role, committee: &Committee) -> Result<(), CertificateError> {
        if committee.threshold.needed() < self.needed || self.needed < 2 {
            return Err(CertificateError::BelowTrustedThreshold { role });
        }
        if committee.members.len() != self.members.len() {
            return Err(CertificateError::NotTrusted { role, slot: None });
        }
        for member in &committee.members {
            let trusted = self.member(member.slot).is_some_and(|trusted| {
                trusted.identity == member.identity
                    && trusted.name == member.name
                    && trusted.organisation == member.organisation
                    && member
                        .reviewers
                        .iter()
                        .all(|key| trusted.reviewers.iter().any(|known| known.key == *key))
            });
            if !trusted {
                return Err(CertificateError::NotTrusted {
                    role,
                    slot: Some(member.slot),
                });
            }
        }
        Ok(())
    }
}

/// Both roles as a verifier's own trust file states them. Empty means nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustRoster {
    /// The workflow committee.
    pub workflow: TrustedCommittee,
    /// The legal-review committee.
    pub legal_review: TrustedCommittee,
}

impl TrustRoster {
    /// The person behind a reviewer's key at a slot, if the trust file names one.
    pub fn reviewer(&self, role: Role, slot: Slot, key: &IdentityKey) -> Option<&Name> {
        let member = self.committee(role).member(slot)?;
        member
            .reviewers
            .iter()
            .find(|reviewer| reviewer.key == *key)
            .map(|r| &r.person)
    }

    /// A role's committee.
    pub fn committee(&self, role: Role) -> &TrustedCommittee {
        match role {
            Role::Workflow => &self.workflow,
            Role::LegalReview => &self.legal_review,
        }
    }
}

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Another construction.
    #[error("suite {0} is unknown")]
    Suite(u8),
    /// No periods, too many, out of order, or outside the validity.
    #[error("periods are missing, too many, out of order or outside the validity")]
    Periods,
    /// The members' slots are not 1 to n in order.
    #[error("the {role} members' slots are not 1 to n in order")]
    Slots {
        /// The role.
        role: Role,
    },
    /// A member has not one key per period.
    #[error("{role} slot {slot} has not exactly one key per period")]
    PeriodKeys {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// A key or name of this member stands elsewhere in the certificate too.
    #[error("a key or the name of {role} slot {slot} stands twice in the certificate")]
    DuplicateKey {
        /// The role.
        role: Role,
        /// The second slot with it.
        slot: Slot,
    },
    /// An organisation runs members of both roles.
    #[error("organisation {0} stands in both committees")]
    SharedOrganisation(Name),
    /// The signatures are not exactly one per member in order.
    #[error("the signatures are not exactly one per member, in order")]
    Signers,
    /// A signature does not verify.
    #[error("{role} slot {slot} did not sign this certificate")]
    Signature {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
        /// The signature's error.
        source: SignatureError,
    },
    /// The threshold is lower than the verifier's trust file demands.
    #[error("the {role} threshold is below the one of the trust file")]
    BelowTrustedThreshold {
        /// The role.
        role: Role,
    },
    /// A member is not the one of the verifier's trust file.
    #[error("the {role} members are not those of the trust file")]
    NotTrusted {
        /// The role.
        role: Role,
        /// The slot that differs; none when the count does.
        slot: Option<Slot>,
    },
}

canonical_serde!(KeyCertificate, CertificateBody, Member, MemberSignature);
