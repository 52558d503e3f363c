//! Adjudication (docs/cryptography.md section 9): who is at fault when a member is contradicted.
//!
//! "For a logged request with its own QC a holder seals kap_{R,A} to a named auditor, who checks c
//! and signs a verdict." Here are the holder's reading of the key and the auditor's computation.
//! Whether there is such a request is for `bailiwick-disclosure` to say.

use bailiwick_envelope::MacTag;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_types::{Digest, Role, Slot, SlotMask};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hpke::DecapsulationKey;
use crate::keys::{SessionKey, context};
use crate::member::{PartError, committed_value, open_keys};

/// What an auditor finds of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The key is not the one of the header: the holder who showed it lies.
    NotTheCommittedKey,
    /// The value is the committed key's. Who gave it is cleared; if the record opens with another,
    /// the edge sealed under a key that it did not commit to.
    AsCommitted,
    /// The value is not the committed key's: who gave it lied.
    NotAsCommitted,
}

/// Finds whether a value of a record is what the header commits to.
pub fn adjudicate(
    header: &VerifiedHeader,
    role: Role,
    holders: SlotMask,
    key: &[u8; 32],
    block: u16,
    x: &Digest,
    value: &[u8; 32],
) -> Finding {
    let body = header.body();
    let key = SessionKey(Zeroizing::new(*key));
    let context = context(&body.kid, &body.nonce, Some((role, holders)));
    match committed_value(body, role, holders) {
        Some(committed) if bool::from(key.commitment(&context).ct_eq(committed)) => {}
        _ => return Finding::NotTheCommittedKey,
    }
    let mut chain = key.chain(&context);
    for _ in 0..block {
        chain.advance();
    }
    let expected = chain.block_key().mac(MacTag::Value, &x.0);
    if bool::from(expected.ct_eq(value)) {
        Finding::AsCommitted
    } else {
        Finding::NotAsCommitted
    }
}

/// The session key of one holder set, for a holder to seal to the named auditor.
///
/// # Errors
/// [`PartError`] when the part does not open or the slot does not hold the set.
///
/// # Security
/// The key opens its share of the whole session, not of one record: callers need a logged request
/// with its own quorum certificate, as for a release.
pub fn session_key(
    header: &VerifiedHeader,
    certificate: &VerifiedCertificate,
    role: Role,
    slot: Slot,
    holders: SlotMask,
    key: &DecapsulationKey,
) -> Result<Zeroizing<[u8; 32]>, PartError> {
    let keys = open_keys(header, certificate, role, slot, key)?;
    let mut keys = keys.into_iter();
    let found = keys.find(|(set, _, _)| *set == holders);
    found.map(|(_, key, _)| key.0).ok_or(PartError)
}
