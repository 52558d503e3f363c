//! An approver's own trust file: whom it believes, jurisdiction by jurisdiction. Nothing in it is
//! taken from the cluster. Unknown keys are refused; an empty list is nobody.
//!
//! ```text
//! [[jurisdictions]]
//! jurisdiction = "FR"                 origin = "bailiwick.example/FR"
//! [[jurisdictions.voters]]            name = "vault-1"  key = "<hex>"
//! [jurisdictions.budget]              records_per_request = 1000    records_per_day = 10000
//! [jurisdictions.roster.workflow]     needed = 2
//! [[jurisdictions.roster.workflow.members]]
//!   slot = 1  name = "w1"  organisation = "desk-1"  identity = "<hex>"
//!   reviewers = [{ person = "ada", key = "<hex>" }]
//! [jurisdictions.roster.legal-review] ...
//! [[jurisdictions.recipients]]  name, key (hex or base64 of 1,216 bytes), certificate, authorities
//! [[jurisdictions.edges]]       name, key
//! [[jurisdictions.policies]]    jurisdiction, path, digest
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_envelope::certificate::{CertificateError, Committee, TrustRoster, TrustedCommittee};
use bailiwick_envelope::{EncapsulationKey, IdentityKey};
use bailiwick_policy::{Policy, RecipientFact, describe_toml_error};
use bailiwick_tlog::{Checkpoint, KeyType, NoteVerifier, empty_root};
use bailiwick_types::digest::parse_hex;
use bailiwick_types::{Digest, Jurisdiction, Name, Role, Slot, Threshold};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;

/// Longest trust file in bytes: 64 jurisdictions of 14 members, 64 recipients of 2.5 KB each, and
/// slack.
pub const TRUST_FILE_BYTES: usize = 16 << 20;

/// How many records an approver lets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// For one request.
    pub records_per_request: u32,
    /// For all requests of a jurisdiction within one UTC day of log time.
    pub records_per_day: u32,
}

/// A recipient that the approver believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedRecipient {
    /// Its id.
    pub name: Name,
    /// Its X-Wing key.
    pub key: EncapsulationKey,
    /// SHA-256 of the certificate that vouches for the key.
    pub certificate: Digest,
    /// The authorities that it may receive for; none means none.
    pub authorities: Vec<Name>,
}

/// Where the approver's own copy of a policy lies, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyReference {
    /// Whose policy.
    pub jurisdiction: Jurisdiction,
    /// The file, read by the driver.
    pub path: String,
    /// `H("policy", the file's bytes)`.
    pub digest: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    jurisdictions: Vec<JurisdictionForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JurisdictionForm {
    jurisdiction: Jurisdiction,
    origin: String,
    roster: TrustRoster,
    budget: Budget,
    #[serde(default)]
    voters: Vec<VoterForm>,
    #[serde(default)]
    recipients: Vec<RecipientForm>,
    #[serde(default)]
    edges: Vec<EdgeForm>,
    #[serde(default)]
    policies: Vec<PolicyReference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipientForm {
    name: Name,
    key: String,
    certificate: Digest,
    #[serde(default)]
    authorities: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VoterForm {
    name: Name,
    key: IdentityKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeForm {
    name: Name,
    key: IdentityKey,
}

/// Why a text is no trust file: the operator's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Longer than [`TRUST_FILE_BYTES`].
    #[error("trust file: {0} bytes are more than one may have")]
    TooLong(usize),
    /// Not TOML, or a field is missing, unknown or of the wrong type.
    #[error("trust file: {0}")]
    Form(String),
    /// A field's value is not allowed.
    #[error("trust file, jurisdiction {jurisdiction}, field {field}: {reason}")]
    Field {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Everything that an approver believes. Empty means nobody.
#[derive(Clone, Debug, Default)]
pub struct TrustFile {
    jurisdictions: BTreeMap<Jurisdiction, JurisdictionTrust>,
}

impl TrustFile {
    /// Parses a trust file.
    ///
    /// # Errors
    /// [`TrustError`] names the field and the reason.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        if text.len() > TRUST_FILE_BYTES {
            return Err(TrustError::TooLong(text.len()));
        }
        let form: FileForm = toml::from_str(text)
            .map_err(|error| TrustError::Form(describe_toml_error(text, &error)))?;
        let mut jurisdictions = BTreeMap::new();
        for form in form.jurisdictions {
            let jurisdiction = form.jurisdiction;
            let trust = JurisdictionTrust::from_form(form)?;
            if jurisdictions.insert(jurisdiction, trust).is_some() {
                return Err(field(jurisdiction, "jurisdiction", "stands twice"));
            }
        }
        Ok(Self { jurisdictions })
    }

    /// What is believed about a jurisdiction, if anything.
    pub fn jurisdiction(&self, jurisdiction: Jurisdiction) -> Option<&JurisdictionTrust> {
        self.jurisdictions.get(&jurisdiction)
    }

    /// All jurisdictions, in order.
    pub fn jurisdictions(&self) -> impl Iterator<Item = &JurisdictionTrust> {
        self.jurisdictions.values()
    }
}

/// A member's place in a jurisdiction's committees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// The role.
    pub role: Role,
    /// The slot.
    pub slot: Slot,
}

/// A member's cosigner key.
#[derive(Clone, Debug)]
pub struct Cosigner {
    /// The member's place.
    pub seat: Seat,
    /// Its identity key as a cosigner, named as the member.
    pub verifier: NoteVerifier,
}

/// What an approver believes about one jurisdiction. Only [`TrustFile::parse`] makes one.
#[derive(Clone, Debug)]
pub struct JurisdictionTrust {
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) origin: String,
    pub(crate) roster: TrustRoster,
    pub(crate) cosigners: Vec<Cosigner>,
    pub(crate) voters: Vec<NoteVerifier>,
    pub(crate) recipients: Vec<TrustedRecipient>,
    pub(crate) edges: BTreeMap<Name, IdentityKey>,
    pub(crate) policies: Vec<PolicyReference>,
    pub(crate) budget: Budget,
}

impl JurisdictionTrust {
    /// The jurisdiction.
    pub fn jurisdiction(&self) -> Jurisdiction {
        self.jurisdiction
    }

    /// The log's origin line.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Both committees, with the persons who decide.
    pub fn roster(&self) -> &TrustRoster {
        &self.roster
    }

    /// The members' cosigner keys, in canonical order.
    pub fn cosigners(&self) -> &[Cosigner] {
        &self.cosigners
    }

    /// The note keys of the vaults that may say what the log is, named as their certificates; none
    /// means that no log is followed.
    pub fn voters(&self) -> &[NoteVerifier] {
        &self.voters
    }

    /// The recipients.
    pub fn recipients(&self) -> &[TrustedRecipient] {
        &self.recipients
    }

    /// The recipients as the rules look at them.
    pub fn recipient_facts(&self) -> Vec<RecipientFact> {
        let fact = |recipient: &TrustedRecipient| RecipientFact {
            name: recipient.name.clone(),
            key: recipient.key.recipient_hash(),
            certificate: recipient.certificate,
            authorities: recipient.authorities.clone(),
        };
        self.recipients.iter().map(fact).collect()
    }

    /// The key of an edge that may write here, if it is believed.
    pub fn edge(&self, name: &Name) -> Option<&IdentityKey> {
        self.edges.get(name)
    }

    /// Where the approver's own policy copies lie.
    pub fn policies(&self) -> &[PolicyReference] {
        &self.policies
    }

    /// The budget.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The place of an identity in the committees, if it has one.
    pub fn seat_of(&self, identity: &IdentityKey) -> Option<Seat> {
        Role::ALL.into_iter().find_map(|role| {
            let members = &self.roster.committee(role).members;
            let member = members.iter().find(|member| member.identity == *identity)?;
            let slot = member.slot;
            Some(Seat { role, slot })
        })
    }

    /// Checks a certificate's committee before it carries signatures: at least the own threshold,
    /// and exactly the own members with no reviewer that the trust file does not name.
    ///
    /// # Errors
    /// [`CertificateError`] names the slot that differs.
    pub fn check_committee(&self, role: Role, offered: &Committee) -> Result<(), CertificateError> {
        let own = self.roster.committee(role);
        if offered.threshold.needed() < own.needed {
            return Err(CertificateError::BelowTrustedThreshold { role });
        }
        if offered.members.len() != own.members.len() {
            return Err(CertificateError::NotTrusted { role, slot: None });
        }
        for member in &offered.members {
            let slot = Some(member.slot);
            let known = own.member(member.slot).is_some_and(|known| {
                let reviewer = |key: &IdentityKey| known.reviewers.iter().any(|r| r.key == *key);
                known.identity == member.identity
                    && known.name == member.name
                    && known.organisation == member.organisation
                    && member.reviewers.iter().all(reviewer)
            });
            if !known {
                return Err(CertificateError::NotTrusted { role, slot });
            }
        }
        Ok(())
    }

    fn from_form(form: JurisdictionForm) -> Result<Self, TrustError> {
        let jurisdiction = form.jurisdiction;
        let bad = |name: &str, reason: &str| field(jurisdiction, name, reason);
        if Checkpoint::new(&form.origin, 0, empty_root()).is_err() {
            return Err(bad("origin", "no origin that a log can have"));
        }
        check_roster(jurisdiction, &form.roster)?;
        let mut edges = BTreeMap::new();
        for edge in form.edges {
            if edges.insert(edge.name, edge.key).is_some() {
                return Err(bad("edges", "an edge stands twice"));
            }
        }
        let mut owners = BTreeSet::new();
        if !form.policies.iter().all(|p| owners.insert(p.jurisdiction)) {
            return Err(bad("policies", "a jurisdiction's policy stands twice"));
        }
        Ok(Self {
            jurisdiction,
            cosigners: cosigners(jurisdiction, &form.roster)?,
            voters: voters(jurisdiction, form.voters)?,
            origin: form.origin,
            roster: form.roster,
            recipients: recipients(jurisdiction, form.recipients)?,
            edges,
            policies: form.policies,
            budget: form.budget,
        })
    }
}

fn field(jurisdiction: Jurisdiction, field: &str, reason: &str) -> TrustError {
    TrustError::Field {
        jurisdiction,
        field: field.to_owned(),
        reason: reason.to_owned(),
    }
}

/// A person who could decide for two slots, or a key that stands twice, would be two votes.
fn check_roster(jurisdiction: Jurisdiction, roster: &TrustRoster) -> Result<(), TrustError> {
    let mut names = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let mut persons = BTreeSet::new();
    for role in Role::ALL {
        let committee = roster.committee(role);
        let bad = |reason: &str| field(jurisdiction, &format!("roster.{role}"), reason);
        check_slots(committee).map_err(bad)?;
        for member in &committee.members {
            if !names.insert(&member.name) {
                return Err(bad("a member's name stands twice"));
            }
            if !keys.insert(member.identity) {
                return Err(bad("a key stands twice"));
            }
            for reviewer in &member.reviewers {
                if !keys.insert(reviewer.key) {
                    return Err(bad("a key stands twice"));
                }
                // One person may have several keys, all of them at one slot.
                let seat = (role, member.slot);
                persons.insert((&reviewer.person, seat));
            }
        }
    }
    let distinct: BTreeSet<_> = persons.iter().map(|(person, _)| person).collect();
    if distinct.len() != persons.len() {
        let reason = "one person decides for two slots";
        return Err(field(jurisdiction, "roster", reason));
    }
    check_organisations(jurisdiction, roster)
}

fn check_slots(committee: &TrustedCommittee) -> Result<(), &'static str> {
    let members = u8::try_from(committee.members.len()).unwrap_or(u8::MAX);
    let threshold = Threshold::new(committee.needed, members)
        .map_err(|_| "2 <= needed < members <= 7 does not hold")?;
    let slots = committee.members.iter().map(|member| member.slot);
    if slots.eq(threshold.slots()) {
        Ok(())
    } else {
        Err("the slots are not 1 to n in order")
    }
}

fn check_organisations(jurisdiction: Jurisdiction, roster: &TrustRoster) -> Result<(), TrustError> {
    let of = |role: Role| -> BTreeSet<&Name> {
        let members = &roster.committee(role).members;
        members.iter().map(|member| &member.organisation).collect()
    };
    if of(Role::Workflow).is_disjoint(&of(Role::LegalReview)) {
        Ok(())
    } else {
        let reason = "an organisation stands in both committees";
        Err(field(jurisdiction, "roster", reason))
    }
}

fn cosigners(
    jurisdiction: Jurisdiction,
    roster: &TrustRoster,
) -> Result<Vec<Cosigner>, TrustError> {
    let mut cosigners = Vec::new();
    for role in Role::ALL {
        for member in &roster.committee(role).members {
            let slot = member.slot;
            let verifier = VerifyingKey::from_bytes(&member.identity.0)
                .ok()
                .and_then(|key| NoteVerifier::cosigner(member.name.as_str(), key).ok());
            let verifier = verifier.ok_or_else(|| {
                let name = format!("roster.{role}.members.{slot}.identity");
                field(jurisdiction, &name, "no usable Ed25519 key")
            })?;
            let seat = Seat { role, slot };
            cosigners.push(Cosigner { seat, verifier });
        }
    }
    Ok(cosigners)
}

/// A key that stood for two voters would let one vault speak for another.
fn voters(
    jurisdiction: Jurisdiction,
    forms: Vec<VoterForm>,
) -> Result<Vec<NoteVerifier>, TrustError> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let mut voters = Vec::new();
    for form in forms {
        if !names.insert(form.name.clone()) || !keys.insert(form.key) {
            let reason = "a voter's name or key stands twice";
            return Err(field(jurisdiction, "voters", reason));
        }
        let verifier = VerifyingKey::from_bytes(&form.key.0)
            .ok()
            .and_then(|key| NoteVerifier::new(form.name.as_str(), KeyType::Ed25519, key).ok());
        let reason = "no usable Ed25519 key";
        voters.push(verifier.ok_or_else(|| field(jurisdiction, "voters.key", reason))?);
    }
    Ok(voters)
}

fn recipients(
    jurisdiction: Jurisdiction,
    forms: Vec<RecipientForm>,
) -> Result<Vec<TrustedRecipient>, TrustError> {
    let mut names = BTreeSet::new();
    let mut recipients = Vec::new();
    for form in forms {
        if !names.insert(form.name.clone()) {
            let reason = "a recipient stands twice";
            return Err(field(jurisdiction, "recipients.name", reason));
        }
        let key = parse_key(&form.key).ok_or_else(|| {
            let reason = "neither hexadecimal nor base64 of 1,216 bytes";
            field(jurisdiction, "recipients.key", reason)
        })?;
        recipients.push(TrustedRecipient {
            name: form.name,
            key,
            certificate: form.certificate,
            authorities: form.authorities,
        });
    }
    Ok(recipients)
}

fn parse_key(text: &str) -> Option<EncapsulationKey> {
    if let Ok(bytes) = parse_hex::<{ EncapsulationKey::LENGTH }>(text) {
        return EncapsulationKey::new(&bytes).ok();
    }
    EncapsulationKey::new(&BASE64_STANDARD.decode(text).ok()?).ok()
}

/// A policy that the driver read is not what the trust file says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyCopyError {
    /// The trust file names no policy of this jurisdiction.
    #[error("the trust file names no policy of {0}")]
    Unknown(Jurisdiction),
    /// Another file than the trust file pins.
    #[error("the policy of {jurisdiction} has digest {got}, the trust file pins {expected}")]
    Digest {
        /// Whose policy.
        jurisdiction: Jurisdiction,
        /// The pinned digest.
        expected: Digest,
        /// The file's.
        got: Digest,
    },
}

/// The approver's own policy copies for one jurisdiction's requests, each as the trust file pins it.
#[derive(Clone, Debug, Default)]
pub struct PolicyCopies {
    policies: BTreeMap<Jurisdiction, Policy>,
}

impl PolicyCopies {
    /// Takes the policies that the driver read from the trust file's paths.
    ///
    /// # Errors
    /// [`PolicyCopyError`] when one is not the pinned file.
    pub fn new(trust: &JurisdictionTrust, policies: Vec<Policy>) -> Result<Self, PolicyCopyError> {
        let mut copies = BTreeMap::new();
        for policy in policies {
            let jurisdiction = policy.jurisdiction();
            let pinned = trust
                .policies
                .iter()
                .find(|reference| reference.jurisdiction == jurisdiction)
                .ok_or(PolicyCopyError::Unknown(jurisdiction))?;
            if pinned.digest != policy.digest() {
                return Err(PolicyCopyError::Digest {
                    jurisdiction,
                    expected: pinned.digest,
                    got: policy.digest(),
                });
            }
            copies.insert(jurisdiction, policy);
        }
        Ok(Self { policies: copies })
    }

    /// A jurisdiction's policy, if there is a copy.
    pub fn of(&self, jurisdiction: Jurisdiction) -> Option<&Policy> {
        self.policies.get(&jurisdiction)
    }
}
