//! A member's side (docs/cryptography.md sections 5, 6 and 8): open its part of a session, check it,
//! answer, and compute the values of single records.
//!
//! Not here: whether the member may. `bailiwick-disclosure` alone calls [`MemberPart::values`].

use std::fmt;

use bailiwick_envelope::acknowledgement::{SessionAcknowledgement, Verdict};
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::{HeaderBody, SealedPart, VerifiedHeader};
use bailiwick_envelope::release::RecordValues;
use bailiwick_envelope::{Decoder, MacTag, SigningKey};
use bailiwick_types::{Digest, Role, SessionId, Slot, SlotMask};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::hpke::{self, DecapsulationKey};
use crate::keys::{Chain, SessionKey, context};
use crate::prf::Prf;
use crate::session::part_info;

/// The part does not open, or a commitment does not hold. Which of them is not said: what a member
/// answers to a chosen header must not be an oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session part is not usable")]
pub struct PartError;

/// A member's opened part of a session, every commitment checked. Its keys are zeroed on drop.
pub struct MemberPart {
    sid: SessionId,
    role: Role,
    slot: Slot,
    holders: Vec<SlotMask>,
    /// `ch(0)` of every set that holds the slot, ascending.
    roots: Vec<Chain>,
    cursor: Cursor,
}

/// Where the walk along the ratchet stands: `ch(block)`.
struct Cursor {
    block: u16,
    chains: Vec<Chain>,
}

impl MemberPart {
    /// The session.
    pub fn sid(&self) -> SessionId {
        self.sid
    }

    /// The member's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The member's slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The values of records of one block: `(index within the selection, x)` each.
    ///
    /// The ratchet is advanced from where it stands, so calls with ascending blocks cost one walk
    /// through the session in all; a lower block starts again from the root.
    ///
    /// # Security
    /// Callers: only `bailiwick-disclosure`'s release order; a test over the sources holds it.
    pub fn values(&mut self, block: u16, inputs: &[(u32, Digest)]) -> Vec<RecordValues> {
        let keys = self.block_keys(block);
        let values_of = |(index, x): &(u32, Digest)| RecordValues {
            index: *index,
            values: self
                .holders
                .iter()
                .zip(&keys)
                .map(|(holders, key)| (*holders, key.mac(MacTag::Value, &x.0)))
                .collect(),
        };
        inputs.iter().map(values_of).collect()
    }

    fn block_keys(&mut self, block: u16) -> Vec<Prf> {
        if block < self.cursor.block {
            self.cursor = Cursor::start(&self.roots);
        }
        while self.cursor.block < block {
            self.cursor.chains.iter_mut().for_each(Chain::advance);
            self.cursor.block += 1;
        }
        self.cursor.chains.iter().map(Chain::block_key).collect()
    }
}

impl Cursor {
    fn start(roots: &[Chain]) -> Self {
        Self {
            block: 0,
            chains: roots.iter().map(Chain::fork).collect(),
        }
    }
}

impl fmt::Debug for MemberPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "MemberPart({} slot {}, redacted)",
            self.role, self.slot
        )
    }
}

/// Opens a member's part and checks every commitment against the header.
///
/// # Errors
/// [`PartError`], the same for every cause.
pub fn open_part(
    header: &VerifiedHeader,
    certificate: &VerifiedCertificate,
    role: Role,
    slot: Slot,
    key: &DecapsulationKey,
) -> Result<MemberPart, PartError> {
    let part = header.header().part(role, slot).ok_or(PartError)?;
    open_sealed_part(header, certificate, part, key)
}

/// Opens a part that is not the header's own: what a successor was re-supplied and sealed to itself
/// (docs/cryptography.md section 10). The commitments are those of the header all the same.
///
/// # Errors
/// [`PartError`], the same for every cause.
pub fn open_sealed_part(
    header: &VerifiedHeader,
    certificate: &VerifiedCertificate,
    part: &SealedPart,
    key: &DecapsulationKey,
) -> Result<MemberPart, PartError> {
    let (role, slot) = (part.role, part.slot);
    let keys = open_keys_of(header, certificate, part, key)?;
    let holders = keys.iter().map(|(set, _, _)| *set).collect();
    let roots: Vec<Chain> = keys
        .iter()
        .map(|(_, key, context)| key.chain(context))
        .collect();
    let cursor = Cursor::start(&roots);
    Ok(MemberPart {
        sid: header.sid(),
        role,
        slot,
        holders,
        roots,
        cursor,
    })
}

/// A session key with its set and its context.
type HeldKey = (SlotMask, SessionKey, Digest);

/// Opens the header's part of a member and checks every commitment.
pub(crate) fn open_keys(
    header: &VerifiedHeader,
    certificate: &VerifiedCertificate,
    role: Role,
    slot: Slot,
    key: &DecapsulationKey,
) -> Result<Vec<HeldKey>, PartError> {
    let part = header.header().part(role, slot).ok_or(PartError)?;
    open_keys_of(header, certificate, part, key)
}

/// Opens a part and checks every commitment.
pub(crate) fn open_keys_of(
    header: &VerifiedHeader,
    certificate: &VerifiedCertificate,
    part: &SealedPart,
    key: &DecapsulationKey,
) -> Result<Vec<HeldKey>, PartError> {
    let (body, role, slot) = (header.body(), part.role, part.slot);
    let threshold = certificate.body().committee(role).threshold;
    if certificate.period_of(&body.kid).is_none() || !threshold.has(slot) {
        return Err(PartError);
    }
    let info = part_info(&body.hash(), role, slot);
    let plaintext = hpke::open(key, &info, &part.sealed).map_err(|_| PartError)?;
    let sets = threshold.holder_sets().into_iter();
    let holders: Vec<SlotMask> = sets.filter(|set| set.contains(slot)).collect();
    let keys = read_keys(&plaintext, &holders).ok_or(PartError)?;
    let mut hold = Choice::from(1);
    let mut held = Vec::with_capacity(keys.len());
    for (set, key) in holders.into_iter().zip(keys) {
        let committed = committed_value(body, role, set).ok_or(PartError)?;
        let context = context(&body.kid, &body.nonce, Some((role, set)));
        hold &= key.commitment(&context).ct_eq(committed);
        held.push((set, key, context));
    }
    bool::from(hold).then_some(held).ok_or(PartError)
}

/// The keys of `E((A, kap) ..)` when the sets are exactly these in order.
pub(crate) fn read_keys(plaintext: &[u8], holders: &[SlotMask]) -> Option<Vec<SessionKey>> {
    let mut decoder = Decoder::new(plaintext);
    let mut keys = Vec::with_capacity(holders.len());
    for set in holders {
        if decoder.u8("part.holders").ok()? != set.0 {
            return None;
        }
        let key = decoder.array("part.key").ok()?;
        keys.push(SessionKey(Zeroizing::new(key)));
    }
    decoder.finish().ok()?;
    Some(keys)
}

/// `c` of a role's holder set.
pub(crate) fn committed_value(
    body: &HeaderBody,
    role: Role,
    holders: SlotMask,
) -> Option<&[u8; 32]> {
    let mut commitments = body.commitments.iter();
    commitments
        .find(|commitment| commitment.role == role && commitment.holders == holders)
        .map(|commitment| &commitment.value)
}

/// A member's signed answer to a header: `ok` when its part opens, else a complaint.
pub fn acknowledge(
    header: &VerifiedHeader,
    certificate: &VerifiedCertificate,
    role: Role,
    slot: Slot,
    key: &DecapsulationKey,
    identity: &SigningKey,
) -> SessionAcknowledgement {
    let verdict = match open_part(header, certificate, role, slot, key) {
        Ok(_) => Verdict::Ok,
        Err(PartError) => Verdict::Complaint,
    };
    SessionAcknowledgement::sign(header.sid(), role, slot, verdict, identity)
}
