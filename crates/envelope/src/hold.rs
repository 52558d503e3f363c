//! Preservation (docs/cryptography.md section 11): a hold, who decides about it, and what a member
//! says of the capsules that it keeps. A hold never enables decryption by itself.
//!
//! ```text
//! hold id   = H("holdorder", order)
//! decision  = Sig(reviewer, "hold", hold id, R, m, place | extend | release, until, selection root)
//! capsule   = AES-256-GCM(mac(K_hold, hold, H("hold", hold id, kid, R, m, x)), v)
//! statement = Sig(m, "capsules", hold id, kid, R, m, count, root over all x)
//! ```

use std::collections::BTreeMap;

use bailiwick_types::limits::{SCOPE_LINES, TEXT_BYTES};
use bailiwick_types::{Digest, HoldId, Jurisdiction, KeyId, Name, Role, Slot, Timestamp};

use crate::acknowledgement::role_and_slot;
use crate::canonical_serde;
use crate::certificate::TrustRoster;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::label::Label;
use crate::request::ScopeLine;
use crate::tags::{HashTag, SignatureTag, hash};

/// Longest time that one decision may give a hold, in seconds: a year.
pub const HOLD_LIFETIME: std::time::Duration = std::time::Duration::from_secs(366 * 86_400);

/// What is to be kept from deletion, for how long, on whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldOrder {
    /// The custody jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// What is held; 1 to 256 lines, ascending and distinct.
    pub scope: Vec<ScopeLine>,
    /// The authority that asks, or the provider's own desk.
    pub authority: Name,
    /// The law or the case that it rests on.
    pub basis: String,
    /// Who entered it.
    pub entered_by: Name,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it ends, unless it is extended.
    pub expires_at: Timestamp,
    /// 32 random bytes.
    pub salt: [u8; 32],
}

impl HoldOrder {
    /// `H("holdorder", order)`.
    pub fn id(&self) -> HoldId {
        HoldId(hash(HashTag::HoldOrder, |e| self.encode(e)).0)
    }

    /// Whether a label lies inside the jurisdiction and one line of the scope.
    pub fn covers(&self, label: &Label) -> bool {
        let covers = |line: &ScopeLine| line.covers(&label.subject, label.category, label.minute);
        label.jurisdiction == self.jurisdiction && self.scope.iter().any(covers)
    }
}

impl Canonical for HoldOrder {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .text(self.jurisdiction.as_str())
            .items(&self.scope)
            .text(self.authority.as_str())
            .text(&self.basis)
            .text(self.entered_by.as_str())
            .u64(self.placed_at.0)
            .u64(self.expires_at.0)
            .bytes(&self.salt);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let jurisdiction = decoder.parse("hold.jurisdiction")?;
        let scope: Vec<ScopeLine> = decoder.items("hold.scope", SCOPE_LINES)?;
        if scope.is_empty() || !scope.is_sorted_by(|a, b| a < b) {
            let reason = "empty, repeated or out of order";
            return Err(DecodeError::value("hold.scope", reason));
        }
        Ok(Self {
            jurisdiction,
            scope,
            authority: decoder.parse("hold.authority")?,
            basis: decoder.text("hold.basis", TEXT_BYTES)?,
            entered_by: decoder.parse("hold.entered_by")?,
            placed_at: Timestamp(decoder.u64("hold.placed_at")?),
            expires_at: Timestamp(decoder.u64("hold.expires_at")?),
            salt: decoder.array("hold.salt")?,
        })
    }
}

/// What a reviewer decides about a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum HoldAction {
    /// It begins.
    Place = 1,
    /// It lasts until a later instant.
    Extend = 2,
    /// It ends now.
    Release = 3,
}

impl HoldAction {
    /// The action as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Place => "places",
            Self::Extend => "extends",
            Self::Release => "releases",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Place, Self::Extend, Self::Release];
        all.into_iter().find(|action| *action as u8 == code)
    }
}

/// What is decided: two decisions count together only when all of it is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldStatement {
    /// The hold.
    pub hold: HoldId,
    /// What happens to it.
    pub action: HoldAction,
    /// When the hold ends from now on; of a release, the instant of the decision.
    pub until: Timestamp,
    /// Merkle root over all x that are held, in order; zeros where the records are not chosen yet.
    pub root: Digest,
}

impl Canonical for HoldStatement {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.hold.0)
            .u8(self.action as u8)
            .u64(self.until.0)
            .digest(&self.root);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let hold = HoldId(decoder.array("hold.id")?);
        let action = HoldAction::from_code(decoder.u8("hold.action")?);
        Ok(Self {
            hold,
            action: action.ok_or(DecodeError::value("hold.action", "unknown action"))?,
            until: Timestamp(decoder.u64("hold.until")?),
            root: decoder.digest("hold.root")?,
        })
    }
}

/// A reviewer's signed decision about a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldDecision {
    /// What is decided.
    pub statement: HoldStatement,
    /// For which role.
    pub role: Role,
    /// For which slot.
    pub slot: Slot,
    /// The reviewer's key.
    pub reviewer: IdentityKey,
    /// `Sig(reviewer, "hold", statement, R, m)`.
    pub signature: Signature,
}

impl HoldDecision {
    /// Signs a decision.
    pub fn sign(statement: HoldStatement, role: Role, slot: Slot, key: &SigningKey) -> Self {
        let signature = sign(key, SignatureTag::Hold, |e| {
            statement.encode(e);
            e.u8(role.code()).u8(slot.number());
        });
        Self {
            statement,
            role,
            slot,
            reviewer: IdentityKey::of(key),
            signature,
        }
    }

    /// Verifies the reviewer's signature; whether that key may decide is [`HoldQuorum`]'s to say.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this decision.
    pub fn verify(&self) -> Result<(), SignatureError> {
        let fill = |e: &mut Encoder| {
            self.statement.encode(e);
            e.u8(self.role.code()).u8(self.slot.number());
        };
        self.reviewer
            .verify(SignatureTag::Hold, fill, &self.signature)
    }
}

impl Canonical for HoldDecision {
    fn encode(&self, encoder: &mut Encoder) {
        self.statement.encode(encoder);
        encoder
            .u8(self.role.code())
            .u8(self.slot.number())
            .bytes(&self.reviewer.0)
            .bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let statement = HoldStatement::decode(decoder)?;
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            statement,
            role,
            slot,
            reviewer: IdentityKey(decoder.array("hold.reviewer")?),
            signature: Signature(decoder.array("hold.signature")?),
        })
    }
}

/// How many slots of each role must decide about a hold: fewer than for a disclosure, since nothing
/// leaves a member, but never none. Criminals forge freeze requests too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldQuorum {
    workflow: u8,
    legal_review: u8,
}

impl HoldQuorum {
    /// At least one slot of each role; `None` for fewer.
    pub fn new(workflow: u8, legal_review: u8) -> Option<Self> {
        (workflow >= 1 && legal_review >= 1).then_some(Self {
            workflow,
            legal_review,
        })
    }

    fn of(&self, role: Role) -> u8 {
        match role {
            Role::Workflow => self.workflow,
            Role::LegalReview => self.legal_review,
        }
    }
}

/// Why a hold is not what it claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The decision is about another hold, or not of the kind that is asked for.
    #[error("the decision is about another hold or another action")]
    OtherStatement,
    /// It was released: its capsules' keys are destroyed, and no decision brings them back.
    #[error("the hold was released before")]
    Released,
    /// It ends before it begins, or lasts longer than a year.
    #[error("the hold ends before it begins, or lasts over a year")]
    Lifetime,
    /// Too few slots of a role decided the same.
    #[error("{counted} {role} slots decided this, {needed} are needed")]
    TooFew {
        /// The role.
        role: Role,
        /// How many distinct slots count.
        counted: usize,
        /// How many are needed.
        needed: usize,
    },
    /// One person stands behind the decisions of two slots, or entered the hold.
    #[error("one person decided twice, or decided about a hold that they entered")]
    SamePerson,
}

/// A hold that enough slots of both roles have placed. Only [`VerifiedHold::place`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedHold {
    order: HoldOrder,
    id: HoldId,
    root: Digest,
    until: Timestamp,
    released: bool,
}

impl VerifiedHold {
    /// Counts the decisions to place a hold whose records have the Merkle root `root`.
    ///
    /// # Errors
    /// [`HoldError`] names what is missing.
    pub fn place(
        order: HoldOrder,
        root: Digest,
        decisions: &[HoldDecision],
        trust: &TrustRoster,
        quorum: HoldQuorum,
    ) -> Result<Self, HoldError> {
        let (id, until) = (order.id(), order.expires_at);
        check_lifetime(order.placed_at, until)?;
        let statement = HoldStatement {
            hold: id,
            action: HoldAction::Place,
            until,
            root,
        };
        count(&statement, &order.entered_by, decisions, trust, quorum)?;
        Ok(Self {
            order,
            id,
            root,
            until,
            released: false,
        })
    }

    /// Counts the decisions of a later statement: an extension, or the hold's end.
    ///
    /// # Errors
    /// [`HoldError`]; the hold stays as it was.
    pub fn follow(
        &mut self,
        statement: &HoldStatement,
        decisions: &[HoldDecision],
        trust: &TrustRoster,
        quorum: HoldQuorum,
    ) -> Result<(), HoldError> {
        if statement.hold != self.id || statement.root != self.root {
            return Err(HoldError::OtherStatement);
        }
        if self.released {
            return Err(HoldError::Released);
        }
        match statement.action {
            HoldAction::Place => return Err(HoldError::OtherStatement),
            // From where it ends now: two extensions of one statement are one.
            HoldAction::Extend => check_lifetime(self.until, statement.until)?,
            HoldAction::Release => {}
        }
        count(statement, &self.order.entered_by, decisions, trust, quorum)?;
        self.released = statement.action == HoldAction::Release;
        self.until = match statement.action {
            HoldAction::Release => self.until.min(statement.until),
            _ => statement.until,
        };
        Ok(())
    }

    /// The hold.
    pub fn id(&self) -> HoldId {
        self.id
    }

    /// What was asked.
    pub fn order(&self) -> &HoldOrder {
        &self.order
    }

    /// Merkle root over all x that are held.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// When it ends.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether it protects anything now. Its capsules' key is destroyed when it does not.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

fn check_lifetime(from: Timestamp, until: Timestamp) -> Result<(), HoldError> {
    if from < until && until.since(from) <= HOLD_LIFETIME {
        Ok(())
    } else {
        Err(HoldError::Lifetime)
    }
}

fn count(
    statement: &HoldStatement,
    entered_by: &Name,
    decisions: &[HoldDecision],
    trust: &TrustRoster,
    quorum: HoldQuorum,
) -> Result<(), HoldError> {
    let mut seats: BTreeMap<(Role, Slot), &Name> = BTreeMap::new();
    for decision in decisions.iter().filter(|d| d.statement == *statement) {
        let (role, slot) = (decision.role, decision.slot);
        let person = trust.reviewer(role, slot, &decision.reviewer);
        if let Some(person) = person.filter(|_| decision.verify().is_ok()) {
            seats.entry((role, slot)).or_insert(person);
        }
    }
    let mut persons: Vec<&&Name> = seats.values().collect();
    persons.sort_unstable();
    let twice = persons.windows(2).any(|pair| pair[0] == pair[1]);
    if twice || persons.iter().any(|person| **person == entered_by) {
        return Err(HoldError::SamePerson);
    }
    for role in Role::ALL {
        let counted = seats.keys().filter(|(of, _)| *of == role).count();
        let needed = usize::from(quorum.of(role));
        if counted < needed {
            return Err(HoldError::TooFew {
                role,
                counted,
                needed,
            });
        }
    }
    Ok(())
}

/// What a capsule is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CapsulePlace {
    /// The hold.
    pub hold: HoldId,
    /// The period whose keys the values come from.
    pub kid: KeyId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// The record's `x`.
    pub x: Digest,
}

impl CapsulePlace {
    /// `H("hold", hold id, kid, R, m, x)`.
    pub fn hash(&self) -> Digest {
        hash(HashTag::Hold, |e| self.encode(e))
    }
}

impl Canonical for CapsulePlace {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.hold.0)
            .bytes(&self.kid.0)
            .u8(self.role.code())
            .u8(self.slot.number())
            .digest(&self.x);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let hold = HoldId(decoder.array("capsule.hold")?);
        let kid = KeyId(decoder.array("capsule.kid")?);
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            hold,
            kid,
            role,
            slot,
            x: decoder.digest("capsule.x")?,
        })
    }
}

/// A member's sealed values of one held record. It never leaves the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// What it is bound to.
    pub place: CapsulePlace,
    /// Ciphertext and tag over `E(A, v) ..` for all A with the slot, ascending.
    pub sealed: Vec<u8>,
}

impl Canonical for Capsule {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.list(|e| self.place.encode(e)).bytes(&self.sealed);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            place: CapsulePlace::from_bytes(decoder.bytes("capsule.place")?)?,
            sealed: decoder.bytes("capsule.sealed")?.to_vec(),
        })
    }
}

/// A member says that it keeps capsules of all of a hold's records of one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapsuleStatement {
    /// The hold.
    pub hold: HoldId,
    /// The period.
    pub kid: KeyId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// How many records.
    pub count: u32,
    /// Merkle root over their x, in order.
    pub root: Digest,
    /// `Sig(m, "capsules", ..)` over the fields above.
    pub signature: Signature,
}

impl CapsuleStatement {
    /// Signs a statement.
    ///
    /// # Security
    /// Call it after the capsules are durable, never before.
    pub fn sign(mut unsigned: Self, key: &SigningKey) -> Self {
        unsigned.signature = sign(key, SignatureTag::Capsules, |e| unsigned.fields(e));
        unsigned
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this statement.
    pub fn verify(&self, member: &IdentityKey) -> Result<(), SignatureError> {
        member.verify(SignatureTag::Capsules, |e| self.fields(e), &self.signature)
    }

    fn fields(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.hold.0)
            .bytes(&self.kid.0)
            .u8(self.role.code())
            .u8(self.slot.number())
            .u32(self.count)
            .digest(&self.root);
    }
}

impl Canonical for CapsuleStatement {
    fn encode(&self, encoder: &mut Encoder) {
        self.fields(encoder);
        encoder.bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let hold = HoldId(decoder.array("capsules.hold")?);
        let kid = KeyId(decoder.array("capsules.kid")?);
        let (role, slot) = role_and_slot(decoder)?;
        Ok(Self {
            hold,
            kid,
            role,
            slot,
            count: decoder.u32("capsules.count")?,
            root: decoder.digest("capsules.root")?,
            signature: Signature(decoder.array("capsules.signature")?),
        })
    }
}

canonical_serde!(
    HoldOrder,
    HoldDecision,
    HoldStatement,
    Capsule,
    CapsuleStatement
);
