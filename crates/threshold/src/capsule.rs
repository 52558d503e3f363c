//! Capsules (docs/cryptography.md section 11): a member's values of held records, kept under a local
//! key per hold, so that the period's keys can be destroyed and the records still be disclosed later.
//!
//! ```text
//! capsule = AES-256-GCM(key = mac(K_hold, hold, H("hold", hold id, kid, R, m, x)), nonce 0, aad = that H;
//!                       E(A, v) .. for all A with the slot, ascending)
//! ```
//! A key seals one message only, and the message follows from the key's context: hence the zero
//! nonce. Not here: whether the member may. `bailiwick-disclosure` alone calls these functions; values
//! never leave this crate while capsules are made.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::{SealedPart, VerifiedHeader};
use bailiwick_envelope::hold::{Capsule, CapsulePlace, VerifiedHold};
use bailiwick_envelope::label::Label;
use bailiwick_envelope::release::RecordValues;
use bailiwick_envelope::{Decoder, Encoder, MacTag};
use bailiwick_types::{Digest, HoldId, SlotMask, Threshold, Timestamp};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::hpke::DecapsulationKey;
use crate::member::{PartError, open_sealed_part};
use crate::prf::Prf;

/// `K_hold`: a member's own key of one hold. Zeroed on drop, no `Clone`; when the hold ends the
/// driver destroys its wrapped copy, and all capsules of the hold with it.
pub struct HoldKey(Zeroizing<[u8; 32]>);

impl HoldKey {
    /// Length in bytes.
    pub const LENGTH: usize = 32;

    /// A new key.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut());
        Self(key)
    }

    /// The key of these bytes, as [`HoldKey::to_bytes`] gave them.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The bytes, for wrapping at rest.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// `mac(K_hold, hold, H("hold", ..))`.
    fn cipher(&self, hash: &Digest) -> Aes256Gcm {
        let key = Zeroizing::new(Prf::new(&self.0).mac(MacTag::Hold, &hash.0));
        Aes256Gcm::new((&*key).into())
    }
}

impl fmt::Debug for HoldKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HoldKey(redacted)")
    }
}

/// Why capsules are not made or do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// The hold has ended.
    #[error("hold {0} has ended")]
    Ended(HoldId),
    /// A label is of another session, lies outside the hold, or its block outside the session.
    #[error("record {0} is not of this session or lies outside the hold")]
    OutOfHold(usize),
    /// The own part does not open.
    #[error("the own part of the session is not usable")]
    Part(#[from] PartError),
    /// The capsule was not made by this member for this record, period and hold.
    #[error("the capsule is not of this hold, period, member and record")]
    Forged,
}

/// Makes the capsules of a session's held records, ascending by block. `records` are labels with
/// their alpha, as `bailiwick-disclosure` verified them against the edge's manifests.
///
/// # Errors
/// [`CapsuleError`]; no capsule was made.
pub fn seal_capsules(
    hold: &VerifiedHold,
    hold_key: &HoldKey,
    header: &VerifiedHeader,
    certificate: &VerifiedCertificate,
    (part, key): (&SealedPart, &DecapsulationKey),
    records: &[(Label, Digest)],
    now: Timestamp,
) -> Result<Vec<Capsule>, CapsuleError> {
    if !hold.is_live(now) {
        return Err(CapsuleError::Ended(hold.id()));
    }
    for (at, (label, _)) in records.iter().enumerate() {
        let of_session = label.sid == header.sid() && label.block < header.body().max_block;
        if !of_session || !hold.order().covers(label) {
            return Err(CapsuleError::OutOfHold(at));
        }
    }
    let mut opened = open_sealed_part(header, certificate, part, key)?;
    let mut capsules = Vec::with_capacity(records.len());
    for (label, alpha) in records {
        let place = CapsulePlace {
            hold: hold.id(),
            kid: header.body().kid,
            role: part.role,
            slot: part.slot,
            x: label.record_input(alpha),
        };
        for values in opened.values(label.block, &[(0, place.x)]) {
            capsules.push(seal(hold_key, place, &values));
        }
    }
    Ok(capsules)
}

fn seal(key: &HoldKey, place: CapsulePlace, values: &RecordValues) -> Capsule {
    let mut plaintext = Encoder::with_capacity(20 * (5 + 36));
    for (holders, value) in &values.values {
        plaintext.u8(holders.0).bytes(value);
    }
    let plaintext = Zeroizing::new(plaintext.finish());
    let hash = place.hash();
    let payload = Payload {
        msg: &plaintext,
        aad: &hash.0,
    };
    let sealed = key.cipher(&hash).encrypt(&[0; 12].into(), payload);
    let sealed = sealed.expect("a capsule is far below the cipher's limit");
    Capsule { place, sealed }
}

/// Opens the capsule that stands for one record, for a release of its own request. `place` is what
/// the caller looks for; what the capsule claims of itself is not believed.
///
/// # Errors
/// [`CapsuleError::Forged`] when it was not made by this member under this hold's key for exactly
/// this hold, period, slot and `x`.
///
/// # Security
/// Callers: only `bailiwick-disclosure`'s release order, after all of section 8 for a request with
/// its own quorum certificate.
pub fn open_capsule(
    hold_key: &HoldKey,
    place: &CapsulePlace,
    capsule: &Capsule,
    threshold: Threshold,
    index: u32,
) -> Result<RecordValues, CapsuleError> {
    if capsule.place != *place {
        return Err(CapsuleError::Forged);
    }
    let hash = place.hash();
    let payload = Payload {
        msg: &capsule.sealed,
        aad: &hash.0,
    };
    let opened = hold_key.cipher(&hash).decrypt(&[0; 12].into(), payload);
    let opened = Zeroizing::new(opened.map_err(|_| CapsuleError::Forged)?);
    let sets = threshold.holder_sets().into_iter();
    let sets: Vec<SlotMask> = sets.filter(|set| set.contains(place.slot)).collect();
    let values = read_values(&opened, &sets).ok_or(CapsuleError::Forged)?;
    Ok(RecordValues { index, values })
}

fn read_values(plaintext: &[u8], sets: &[SlotMask]) -> Option<Vec<(SlotMask, [u8; 32])>> {
    let mut decoder = Decoder::new(plaintext);
    let mut values = Vec::with_capacity(sets.len());
    for set in sets {
        let holders = decoder.u8("capsule.holders").ok()?;
        let value = decoder.array("capsule.value").ok()?;
        (holders == set.0).then(|| values.push((*set, value)))?;
    }
    decoder.finish().ok()?;
    Some(values)
}
