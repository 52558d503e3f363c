//! Who sits in a certificate's slots after people and machines have changed (docs/cryptography.md
//! section 10).
//!
//! ```text
//! update = E(certid, number, previous update's H, R, m, departure, [successor])
//! H      = H("update", update)         signed by t slots of EACH role besides the changed one
//! ```
//! "Logged at least 24 h before use": a roster is a certificate with its updates and the log times of
//! their leaves; what is in force follows from the time it is asked for. Periods, key ids and
//! thresholds stay the certificate's. There is no proactive refresh: who left still holds its keys of
//! the sessions that were dealt to it, and [`Standing`] says what that leaves of the threshold.

use std::collections::BTreeSet;
use std::time::Duration;

use bailiwick_types::{CertificateId, Digest, KeyId, Role, Slot, SlotMask, Threshold, Timestamp};

use crate::acknowledgement::role_and_slot;
use crate::canonical_serde;
use crate::certificate::{
    CertificateBody, CertificateError, Member, MemberSignature, VerifiedCertificate,
};
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{EncapsulationKey, IdentityKey, SignatureError, SigningKey, sign};
use crate::tags::{HashTag, SignatureTag, hash};

/// From an update's leaf to its coming into force: time for the others to see it and to freeze.
pub const ROSTER_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Most updates of one certificate: twice each slot, and slack.
pub const ROSTER_UPDATES: usize = 32;

/// Why a member leaves its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Departure {
    /// Its machine and keys are gone.
    Lost = 1,
    /// It leaves, and is believed.
    Retired = 2,
    /// It is no longer believed.
    RemovedForCause = 3,
    /// Its keys are in other hands.
    Stolen = 4,
}

impl Departure {
    /// All reasons.
    pub const ALL: [Self; 4] = [
        Self::Lost,
        Self::Retired,
        Self::RemovedForCause,
        Self::Stolen,
    ];

    /// Whether the slot's old keys must be counted on the other side from now on.
    pub fn lowers_the_threshold(self) -> bool {
        matches!(self, Self::RemovedForCause | Self::Stolen)
    }

    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Retired => "retired",
            Self::RemovedForCause => "removed for cause",
            Self::Stolen => "stolen",
        }
    }
}

/// A change of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterUpdate {
    /// The certificate whose roster changes.
    pub certificate: CertificateId,
    /// The roster's number after it: 1 for the first update.
    pub number: u32,
    /// `H` of the update before it; zeros for the first.
    pub previous: Digest,
    /// The changed slot's role.
    pub role: Role,
    /// The changed slot.
    pub slot: Slot,
    /// Why its member leaves.
    pub departure: Departure,
    /// Who takes the slot, with a new key for every period; none leaves it vacant.
    pub successor: Option<Member>,
}

impl RosterUpdate {
    /// `H("update", update)`.
    pub fn id(&self) -> Digest {
        hash(HashTag::RosterUpdate, |e| self.encode(e))
    }

    /// A member's signature of this update.
    pub fn sign(&self, role: Role, slot: Slot, key: &SigningKey) -> MemberSignature {
        let id = self.id();
        MemberSignature {
            role,
            slot,
            signature: sign(key, SignatureTag::RosterUpdate, |e| {
                e.digest(&id).u8(role.code()).u8(slot.number());
            }),
        }
    }
}

impl Canonical for RosterUpdate {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.certificate.0)
            .u32(self.number)
            .digest(&self.previous)
            .u8(self.role.code())
            .u8(self.slot.number())
            .u8(self.departure as u8)
            .items(self.successor.as_slice());
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let certificate = CertificateId(decoder.array("update.certificate")?);
        let number = decoder.u32("update.number")?;
        let previous = decoder.digest("update.previous")?;
        let (role, slot) = role_and_slot(decoder)?;
        let code = decoder.u8("update.departure")?;
        let departure = Departure::ALL.into_iter().find(|d| *d as u8 == code);
        let unknown = DecodeError::value("update.departure", "unknown reason");
        Ok(Self {
            certificate,
            number,
            previous,
            role,
            slot,
            departure: departure.ok_or(unknown)?,
            successor: decoder.items("update.successor", 1)?.pop(),
        })
    }
}

/// An update with its signatures, in canonical order (role, then slot).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRosterUpdate {
    /// What is signed.
    pub update: RosterUpdate,
    /// Who signed.
    pub signatures: Vec<MemberSignature>,
}

impl Canonical for SignedRosterUpdate {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .list(|e| self.update.encode(e))
            .items(&self.signatures);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            update: RosterUpdate::from_bytes(decoder.bytes("update")?)?,
            signatures: decoder.items("update.signatures", 2 * usize::from(Slot::LIMIT))?,
        })
    }
}

canonical_serde!(RosterUpdate, SignedRosterUpdate);

/// An update that a roster took, and when its leaf was logged.
#[derive(Clone, Debug)]
struct Admitted {
    update: RosterUpdate,
    id: Digest,
    logged_at: Timestamp,
}

impl Admitted {
    fn since(&self) -> Timestamp {
        self.logged_at.plus(ROSTER_DELAY)
    }
}

/// Why an update is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The update is of another certificate.
    #[error("the update is of another certificate")]
    OtherCertificate,
    /// It does not follow the last update.
    #[error("update {got} does not follow update {last}")]
    OutOfOrder {
        /// The last admitted update's number.
        last: u32,
        /// The number offered.
        got: u32,
    },
    /// Too many updates of one certificate.
    #[error("{ROSTER_UPDATES} updates are all that one certificate may have: make a new one")]
    TooMany,
    /// Its leaf is logged before its predecessor's.
    #[error("the update is logged before the one it follows")]
    TimeRunsBack,
    /// The certificate has no such slot.
    #[error("the certificate has no {role} slot {slot}")]
    NoSlot {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// The successor is certified for another slot.
    #[error("the successor is named for slot {0}")]
    OtherSlot(Slot),
    /// With the successor the certificate would not be one.
    #[error("the certificate is refused with this successor")]
    Successor(#[from] CertificateError),
    /// The successor has a key of somebody who sat in a slot before.
    #[error("the successor has a key or name that stood in a slot before")]
    UsedKey,
    /// The signatures are not in canonical order, or one slot signed twice.
    #[error("the signatures are repeated or out of order")]
    Order,
    /// A slot signed that may not: the changed one, a vacant one, or one whose own change is pending.
    #[error("{role} slot {slot} may not sign this update")]
    MayNotSign {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// A signature does not verify.
    #[error("{role} slot {slot} did not sign this update")]
    Signature {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
        /// The signature's error.
        source: SignatureError,
    },
    /// Fewer than t slots of a role signed.
    #[error("{signed} {role} slots signed, {needed} are needed besides the changed one")]
    TooFew {
        /// The role.
        role: Role,
        /// How many signed.
        signed: usize,
        /// How many must.
        needed: usize,
    },
}

/// Why an update cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    /// The roster has no such update.
    #[error("the roster has no update {0}")]
    Unknown(Digest),
    /// It was logged less than 24 h ago.
    #[error("the update comes into force at {since:?}")]
    TooEarly {
        /// When it comes into force.
        since: Timestamp,
    },
    /// It names no successor.
    #[error("the update leaves the slot vacant")]
    Vacant,
    /// The slot was changed again since, and that change is in force.
    #[error("a later update of the slot is in force")]
    Superseded,
}

/// A certificate with all updates of its roster.
#[derive(Clone, Debug)]
pub struct Roster {
    certificate: VerifiedCertificate,
    updates: Vec<Admitted>,
}

impl Roster {
    /// The roster of a certificate without updates, number 0.
    pub fn new(certificate: VerifiedCertificate) -> Self {
        let updates = Vec::new();
        Self {
            certificate,
            updates,
        }
    }

    /// The certificate as its first members signed it.
    pub fn certificate(&self) -> &VerifiedCertificate {
        &self.certificate
    }

    /// Takes an update that was logged at `logged_at` by log time.
    ///
    /// # Errors
    /// [`RosterError`] names the first check that fails; the roster stays as it was.
    ///
    /// # Security
    /// "Signed by at least t slots of EACH role besides the changed one": the slot that is thrown
    /// out has no vote, nor has one whose own change is pending.
    pub fn admit(
        &mut self,
        signed: SignedRosterUpdate,
        logged_at: Timestamp,
    ) -> Result<Digest, RosterError> {
        let update = &signed.update;
        self.check_place(update, logged_at)?;
        self.check_successor(update)?;
        let id = update.id();
        self.check_signatures(&signed, &id, logged_at)?;
        self.updates.push(Admitted {
            update: signed.update,
            id,
            logged_at,
        });
        Ok(id)
    }

    fn check_place(&self, update: &RosterUpdate, logged_at: Timestamp) -> Result<(), RosterError> {
        if update.certificate != self.certificate.id() {
            return Err(RosterError::OtherCertificate);
        }
        if self.updates.len() >= ROSTER_UPDATES {
            return Err(RosterError::TooMany);
        }
        let last = self.updates.len() as u32;
        let previous = self.updates.last().map_or(Digest([0; 32]), |last| last.id);
        if update.number != last + 1 || update.previous != previous {
            let got = update.number;
            return Err(RosterError::OutOfOrder { last, got });
        }
        let before = self.updates.last().map(|last| last.logged_at);
        if before.is_some_and(|before| logged_at < before) {
            return Err(RosterError::TimeRunsBack);
        }
        let (role, slot) = (update.role, update.slot);
        if !self.threshold(role).has(slot) {
            return Err(RosterError::NoSlot { role, slot });
        }
        Ok(())
    }

    fn check_successor(&self, update: &RosterUpdate) -> Result<(), RosterError> {
        let Some(successor) = &update.successor else {
            return Ok(());
        };
        if successor.slot != update.slot {
            return Err(RosterError::OtherSlot(successor.slot));
        }
        self.check_unused(update, successor)?;
        let mut body = self.certificate.body().clone();
        for admitted in &self.updates {
            seat(&mut body, &admitted.update);
        }
        seat(&mut body, update);
        Ok(body.check()?)
    }

    /// No key of anybody who ever sat in a slot comes back. The persons who decide for a slot may
    /// stay when its machine goes, unless it was stolen or removed for cause.
    fn check_unused(&self, update: &RosterUpdate, successor: &Member) -> Result<(), RosterError> {
        let mut signers: BTreeSet<IdentityKey> = BTreeSet::new();
        let mut receivers: BTreeSet<&EncapsulationKey> = BTreeSet::new();
        let mut names = BTreeSet::new();
        for (role, member) in self.everybody() {
            let same_slot = (role, member.slot) == (update.role, update.slot);
            signers.insert(member.identity);
            if !same_slot || update.departure.lowers_the_threshold() {
                signers.extend(&member.reviewers);
            }
            if !same_slot {
                names.insert(&member.name);
            }
            receivers.insert(&member.documents);
            receivers.extend(&member.periods);
        }
        let signing = std::iter::once(&successor.identity).chain(&successor.reviewers);
        let receiving = std::iter::once(&successor.documents).chain(&successor.periods);
        let used = signing.into_iter().any(|key| signers.contains(key))
            || receiving.into_iter().any(|key| receivers.contains(key))
            || names.contains(&successor.name);
        if used {
            Err(RosterError::UsedKey)
        } else {
            Ok(())
        }
    }

    fn check_signatures(
        &self,
        signed: &SignedRosterUpdate,
        id: &Digest,
        logged_at: Timestamp,
    ) -> Result<(), RosterError> {
        let places = signed.signatures.iter().map(|s| (s.role, s.slot));
        if !places.is_sorted_by(|a, b| a < b) {
            return Err(RosterError::Order);
        }
        for signature in &signed.signatures {
            let (role, slot) = (signature.role, signature.slot);
            let changed = (role, slot) == (signed.update.role, signed.update.slot);
            let identity = self.voter(role, slot, logged_at).filter(|_| !changed);
            let identity = identity.ok_or(RosterError::MayNotSign { role, slot })?;
            let fill = |e: &mut Encoder| {
                e.digest(id).u8(role.code()).u8(slot.number());
            };
            identity
                .verify(SignatureTag::RosterUpdate, fill, &signature.signature)
                .map_err(|source| RosterError::Signature { role, slot, source })?;
        }
        for role in Role::ALL {
            let signed = signed.signatures.iter().filter(|s| s.role == role).count();
            let needed = usize::from(self.threshold(role).needed());
            if signed < needed {
                return Err(RosterError::TooFew {
                    role,
                    signed,
                    needed,
                });
            }
        }
        Ok(())
    }

    /// Who may sign for a slot: its occupant, while no change of the slot is under way.
    fn voter(&self, role: Role, slot: Slot, at: Timestamp) -> Option<IdentityKey> {
        let last = self.updates_of(role, slot).last();
        match last {
            Some(last) if last.since() > at => None,
            Some(last) => last.update.successor.as_ref().map(|m| m.identity),
            None => self.first(role, slot).map(|member| member.identity),
        }
    }

    fn threshold(&self, role: Role) -> Threshold {
        self.certificate.body().committee(role).threshold
    }

    fn first(&self, role: Role, slot: Slot) -> Option<&Member> {
        self.certificate.body().committee(role).member(slot)
    }

    fn updates_of(&self, role: Role, slot: Slot) -> impl DoubleEndedIterator<Item = &Admitted> {
        self.updates
            .iter()
            .filter(move |a| a.update.role == role && a.update.slot == slot)
    }

    fn everybody(&self) -> impl Iterator<Item = (Role, &Member)> {
        let successors = self.updates.iter().filter_map(|admitted| {
            let successor = admitted.update.successor.as_ref()?;
            Some((admitted.update.role, successor))
        });
        self.certificate.body().members().chain(successors)
    }

    /// Everybody who ever sat in a slot, in order, first the certificate's member. Each of them may
    /// hold keys of the slot.
    pub fn occupants(&self, role: Role, slot: Slot) -> impl Iterator<Item = &Member> {
        let first = self.first(role, slot).into_iter();
        first.chain(
            self.updates_of(role, slot)
                .filter_map(|a| a.update.successor.as_ref()),
        )
    }

    /// The number of the roster in force: how many updates are.
    pub fn number_at(&self, now: Timestamp) -> u32 {
        let in_force = self.updates.iter().filter(|a| a.since() <= now);
        in_force.count() as u32
    }

    /// The certificate with the successors in force in their slots: what an edge deals to.
    ///
    /// # Errors
    /// [`NotInForce::Vacant`] when a slot has nobody; sessions cannot be dealt then.
    pub fn certificate_at(&self, now: Timestamp) -> Result<VerifiedCertificate, NotInForce> {
        let mut body = self.certificate.body().clone();
        for role in Role::ALL {
            for slot in self.threshold(role).slots() {
                let mut in_force = self.updates_of(role, slot).filter(|a| a.since() <= now);
                match in_force.next_back() {
                    Some(last) if last.update.successor.is_none() => {
                        return Err(NotInForce::Vacant);
                    }
                    Some(last) => seat(&mut body, &last.update),
                    None => {}
                }
            }
        }
        Ok(self.certificate.with_body(body))
    }

    /// The proof that an update may be used: what re-supply takes.
    ///
    /// # Errors
    /// [`NotInForce`] for an update that the roster does not have, is too young, leaves the slot
    /// vacant, or is superseded.
    pub fn in_force(&self, id: &Digest, now: Timestamp) -> Result<UpdateInForce<'_>, NotInForce> {
        let found = self.updates.iter().find(|admitted| admitted.id == *id);
        let admitted = found.ok_or(NotInForce::Unknown(*id))?;
        let since = admitted.since();
        if now < since {
            return Err(NotInForce::TooEarly { since });
        }
        let update = &admitted.update;
        let mut later = self.updates_of(update.role, update.slot);
        if later.any(|other| other.update.number > update.number && other.since() <= now) {
            return Err(NotInForce::Superseded);
        }
        let successor = update.successor.as_ref().ok_or(NotInForce::Vacant)?;
        Ok(UpdateInForce {
            roster: self,
            id: *id,
            role: update.role,
            successor,
            now,
        })
    }

    /// What the changes leave of the thresholds. A removal counts from its leaf on, not after the
    /// delay: whoever holds the keys does not wait.
    pub fn standing(&self) -> Standing {
        let of = |role: Role| {
            let slots = || self.threshold(role).slots();
            let against = slots().filter(|slot| {
                let mut updates = self.updates_of(role, *slot);
                updates.any(|a| a.update.departure.lowers_the_threshold())
            });
            let vacant = slots().filter(|slot| {
                let last = self.updates_of(role, *slot).last();
                last.is_some_and(|a| a.update.successor.is_none())
            });
            let threshold = self.threshold(role);
            let against: SlotMask = against.collect();
            RoleStanding {
                role,
                threshold,
                against,
                vacant: vacant.collect(),
                effective: threshold.needed().saturating_sub(against.count()),
            }
        };
        Standing {
            roles: Role::ALL.map(of),
        }
    }

    /// The periods whose sessions an update's departing member can still help to open: those that
    /// had begun when the update came, or comes, into force.
    pub fn exposed_periods(&self, id: &Digest) -> Vec<KeyId> {
        let found = self.updates.iter().find(|admitted| admitted.id == *id);
        let Some(since) = found.map(Admitted::since) else {
            return Vec::new();
        };
        let periods = self.certificate.body().periods.iter().enumerate();
        periods
            .filter(|(_, period)| period.not_before < since)
            .filter_map(|(at, _)| self.certificate.kid(at))
            .collect()
    }
}

/// Puts an update's successor into its slot.
fn seat(body: &mut CertificateBody, update: &RosterUpdate) {
    let committee = match update.role {
        Role::Workflow => &mut body.workflow,
        Role::LegalReview => &mut body.legal_review,
    };
    let mut members = committee.members.iter_mut();
    let member = members.find(|member| member.slot == update.slot);
    if let (Some(member), Some(successor)) = (member, &update.successor) {
        *member = successor.clone();
    }
}

/// An update whose delay has passed. Only [`Roster::in_force`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct UpdateInForce<'a> {
    roster: &'a Roster,
    id: Digest,
    role: Role,
    successor: &'a Member,
    now: Timestamp,
}

impl UpdateInForce<'_> {
    /// `H` of the update.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// The certificate whose roster it changes.
    pub fn certificate(&self) -> &VerifiedCertificate {
        self.roster.certificate()
    }

    /// The changed slot's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The changed slot.
    pub fn slot(&self) -> Slot {
        self.successor.slot
    }

    /// The successor's key of a period.
    pub fn period_key(&self, kid: &KeyId) -> Option<&EncapsulationKey> {
        let period = self.roster.certificate.period_of(kid)?;
        self.successor.periods.get(period)
    }

    /// The identity of the slot of the same role that is in force now; of no slot whose own change
    /// is under way.
    pub fn holder(&self, slot: Slot) -> Option<IdentityKey> {
        self.roster.voter(self.role, slot, self.now)
    }
}

/// What changes leave of one role's threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleStanding {
    /// The role.
    pub role: Role,
    /// The certificate's threshold.
    pub threshold: Threshold,
    /// Slots ever stolen or removed for cause.
    pub against: SlotMask,
    /// Slots that nobody sits in.
    pub vacant: SlotMask,
    /// t minus the slots in `against`: how many more must be corrupted to open old sessions.
    pub effective: u8,
}

/// What changes leave of both thresholds: what the console shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Workflow, then legal review.
    pub roles: [RoleStanding; 2],
}

impl Standing {
    /// "At 1 or less new sessions stop until a new certificate"; with a vacant slot they cannot be
    /// dealt.
    pub fn new_sessions_must_stop(&self) -> bool {
        let stops = |role: &RoleStanding| role.effective <= 1 || role.vacant.count() > 0;
        self.roles.iter().any(stops)
    }

    /// "Early destruction is proposed" where one member more, or none, opens a role's part.
    pub fn early_destruction_is_proposed(&self) -> bool {
        self.roles.iter().any(|role| role.effective <= 1)
    }
}
