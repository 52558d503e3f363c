//! The end of a period's keys (docs/cryptography.md section 11): intent, destruction, attestation,
//! and what "shredded" rests on.
//!
//! ```text
//! intent      = kid, R, m, erase_by, Sig(m, "erase", kid, R, m, erase_by)      logged first
//! attestation = kid, R, m, Sig(m, "erased", kid, R, m)                          after the destruction
//! ```
//! "Shredded" is claimed only when ALL n of one role have attested, and everybody who ever sat in a
//! slot counts: n - t + 1 attestations only mean "unreadable if nobody lied".

use std::collections::BTreeSet;

use bailiwick_types::{Digest, HoldId, KeyId, Role, Slot, SlotMask, Threshold, Timestamp};

use crate::acknowledgement::role_and_slot;
use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::hold::CapsuleStatement;
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::roster::Roster;
use crate::tags::SignatureTag;

/// A member is about to destroy a period's keys. Logged before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EraseIntent {
    /// The period.
    pub kid: KeyId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// When the keys were due, by the certificate.
    pub erase_by: Timestamp,
    /// `Sig(m, "erase", kid, R, m, erase_by)`.
    pub signature: Signature,
}

impl EraseIntent {
    /// Signs an intent.
    pub fn sign(kid: KeyId, role: Role, slot: Slot, erase_by: Timestamp, key: &SigningKey) -> Self {
        let signature = sign(key, SignatureTag::EraseIntent, |e| {
            place(e, &kid, role, slot);
            e.u64(erase_by.0);
        });
        Self {
            kid,
            role,
            slot,
            erase_by,
            signature,
        }
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this intent.
    pub fn verify(&self, member: &IdentityKey) -> Result<(), SignatureError> {
        let fill = |e: &mut Encoder| {
            place(e, &self.kid, self.role, self.slot);
            e.u64(self.erase_by.0);
        };
        member.verify(SignatureTag::EraseIntent, fill, &self.signature)
    }
}

/// A member says that a period's wrapping key and private key are destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasureAttestation {
    /// The period.
    pub kid: KeyId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// `Sig(m, "erased", kid, R, m)`.
    pub signature: Signature,
}

impl ErasureAttestation {
    /// Signs an attestation.
    ///
    /// # Security
    /// Call it after the destruction is durable, never before.
    pub fn sign(kid: KeyId, role: Role, slot: Slot, key: &SigningKey) -> Self {
        let signature = sign(key, SignatureTag::Erased, |e| place(e, &kid, role, slot));
        Self {
            kid,
            role,
            slot,
            signature,
        }
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this attestation.
    pub fn verify(&self, member: &IdentityKey) -> Result<(), SignatureError> {
        let fill = |e: &mut Encoder| place(e, &self.kid, self.role, self.slot);
        member.verify(SignatureTag::Erased, fill, &self.signature)
    }
}

fn place(encoder: &mut Encoder, kid: &KeyId, role: Role, slot: Slot) {
    encoder.bytes(&kid.0).u8(role.code()).u8(slot.number());
}

impl Canonical for EraseIntent {
    fn encode(&self, encoder: &mut Encoder) {
        place(encoder, &self.kid, self.role, self.slot);
        encoder.u64(self.erase_by.0).bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let kid = KeyId(decoder.array("erase.kid")?);
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            kid,
            role,
            slot,
            erase_by: Timestamp(decoder.u64("erase.erase_by")?),
            signature: Signature(decoder.array("erase.signature")?),
        })
    }
}

impl Canonical for ErasureAttestation {
    fn encode(&self, encoder: &mut Encoder) {
        place(encoder, &self.kid, self.role, self.slot);
        encoder.bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let kid = KeyId(decoder.array("erased.kid")?);
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            kid,
            role,
            slot,
            signature: Signature(decoder.array("erased.signature")?),
        })
    }
}

canonical_serde!(EraseIntent, ErasureAttestation);

/// What may be said of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShredState {
    /// Enough members of both roles may still hold its keys.
    Readable,
    /// n - t + 1 slots of this role have attested: unreadable if none of them lied.
    UnreadableIfNobodyLied(Role),
    /// Everybody who ever held a key of this role has attested.
    Shredded(Role),
}

/// What is known of one role's keys of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleErasure {
    /// The role.
    pub role: Role,
    /// The role's threshold.
    pub threshold: Threshold,
    /// Slots of which everybody who held keys has attested.
    pub attested: SlotMask,
    /// Slots of which somebody has not: who still holds what.
    pub missing: SlotMask,
}

/// What a period's erasure rests on: `key audit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShredStatus {
    /// The period.
    pub kid: KeyId,
    /// What may be said.
    pub state: ShredState,
    /// Workflow, then legal review.
    pub roles: [RoleErasure; 2],
}

/// Finds what may be said of a period from the logged attestations. Those that do not verify, are
/// of another period, or repeat another count for nothing; the number of those that count for
/// nothing is not an error, since anybody can write one.
///
/// # Security
/// A slot has attested when *every* identity that ever sat in it has: who was removed before the
/// erasure still holds its keys.
pub fn shred_status(
    roster: &Roster,
    kid: KeyId,
    attestations: &[ErasureAttestation],
) -> Option<ShredStatus> {
    roster.certificate().period_of(&kid)?;
    let mut attested: BTreeSet<(Role, Slot, IdentityKey)> = BTreeSet::new();
    for attestation in attestations.iter().filter(|a| a.kid == kid) {
        let (role, slot) = (attestation.role, attestation.slot);
        let mut occupants = roster.occupants(role, slot);
        let signer = occupants.find(|member| attestation.verify(&member.identity).is_ok());
        attested.extend(signer.map(|member| (role, slot, member.identity)));
    }
    let of = |role: Role| {
        let threshold = roster.certificate().body().committee(role).threshold;
        let all_of = |slot: &Slot| {
            let mut occupants = roster.occupants(role, *slot);
            occupants.all(|member| attested.contains(&(role, *slot, member.identity)))
        };
        let (done, missing): (Vec<Slot>, Vec<Slot>) = threshold.slots().partition(all_of);
        RoleErasure {
            role,
            threshold,
            attested: done.into_iter().collect(),
            missing: missing.into_iter().collect(),
        }
    };
    let roles = Role::ALL.map(of);
    Some(ShredStatus {
        kid,
        state: state(&roles),
        roles,
    })
}

fn state(roles: &[RoleErasure; 2]) -> ShredState {
    if let Some(whole) = roles.iter().find(|role| role.missing.count() == 0) {
        return ShredState::Shredded(whole.role);
    }
    let broken = |role: &&RoleErasure| {
        let threshold = role.threshold;
        role.attested.count() > threshold.members() - threshold.needed()
    };
    match roles.iter().find(broken) {
        Some(role) => ShredState::UnreadableIfNobodyLied(role.role),
        None => ShredState::Readable,
    }
}

/// Which members keep capsules of a live hold's records of one period, one slot set per role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldCoverage {
    /// The hold.
    pub hold: HoldId,
    /// Members of workflow, then legal review, whose capsules are stated and signed.
    pub kept: [SlotMask; 2],
}

impl HoldCoverage {
    /// Counts the members whose signed statement is about exactly the hold's records of a period:
    /// `count` of them with the Merkle root `root`. Whoever sits in a slot last is asked.
    pub fn of(
        hold: HoldId,
        kid: KeyId,
        (count, root): (u32, Digest),
        statements: &[CapsuleStatement],
        roster: &Roster,
    ) -> Self {
        let mut kept = [SlotMask::default(); 2];
        for statement in statements {
            let about = (
                statement.hold,
                statement.kid,
                statement.count,
                statement.root,
            );
            let member = roster.occupants(statement.role, statement.slot).last();
            let signed = member.is_some_and(|m| statement.verify(&m.identity).is_ok());
            if signed && about == (hold, kid, count, root) {
                let of_role = &mut kept[usize::from(statement.role == Role::LegalReview)];
                *of_role = of_role.with(statement.slot);
            }
        }
        Self { hold, kept }
    }
}

/// Why an erasure is not simply done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapsulesMissing {
    /// The hold.
    pub hold: HoldId,
    /// The role with the fewest.
    pub role: Role,
    /// How many of its members keep capsules.
    pub kept: u8,
    /// How many are wanted: min(n, t + 1).
    pub wanted: u8,
    /// How many must be there: t.
    pub needed: u8,
}

/// What a member does with a period's keys now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EraseDecision {
    /// The keys are not due.
    NotDue {
        /// When they are.
        erase_by: Timestamp,
    },
    /// Destroy them.
    Erase,
    /// Wait for capsules until the grace time ends.
    WaitForCapsules {
        /// When it ends.
        until: Timestamp,
        /// What is missing.
        missing: CapsulesMissing,
    },
    /// Destroy them, and raise an alarm: the held records rest on t members only.
    EraseWithAlarm(CapsulesMissing),
    /// Keep them, and raise an alarm: destroying them would destroy what a hold protects.
    WaitWithAlarm(CapsulesMissing),
}

impl EraseDecision {
    /// Whether the keys are destroyed now.
    pub fn erases(&self) -> bool {
        matches!(self, Self::Erase | Self::EraseWithAlarm(_))
    }
}

/// "Capsules from t+1 members per role are wanted; the period's erasure waits for them a grace time
/// of policy, then goes on with t and an alarm; with fewer than t it waits and alarms."
///
/// `holds` are the live holds with records in the period; a hold that has ended protects nothing.
pub fn decide_erasure(
    thresholds: [Threshold; 2],
    erase_by: Timestamp,
    now: Timestamp,
    grace: std::time::Duration,
    holds: &[HoldCoverage],
) -> EraseDecision {
    if now < erase_by {
        return EraseDecision::NotDue { erase_by };
    }
    let missing = |hold: &HoldCoverage| {
        let roles = Role::ALL.into_iter().zip(thresholds).zip(hold.kept);
        roles
            .map(|((role, threshold), kept)| CapsulesMissing {
                hold: hold.hold,
                role,
                kept: threshold
                    .slots()
                    .filter(|slot| kept.contains(*slot))
                    .count() as u8,
                wanted: threshold.members().min(threshold.needed() + 1),
                needed: threshold.needed(),
            })
            .collect::<Vec<_>>()
    };
    let all: Vec<CapsulesMissing> = holds.iter().flat_map(missing).collect();
    let until = erase_by.plus(grace);
    if let Some(missing) = all.iter().find(|role| role.kept < role.needed) {
        return if now < until {
            let missing = *missing;
            EraseDecision::WaitForCapsules { until, missing }
        } else {
            EraseDecision::WaitWithAlarm(*missing)
        };
    }
    match all.iter().find(|role| role.kept < role.wanted) {
        None => EraseDecision::Erase,
        Some(missing) if now < until => EraseDecision::WaitForCapsules {
            until,
            missing: *missing,
        },
        Some(missing) => EraseDecision::EraseWithAlarm(*missing),
    }
}
