//! A member's keys at the end of their lives (docs/cryptography.md section 11): "log the intent,
//! destroy wrapping key and private key, attest. At start-up an approver reads the log's erase list
//! and re-erases before serving (a restored backup)."
//!
//! ```text
//! due -> EraseIntent (logged) -> destroy (durable) -> MemberKeys::erase -> ErasureAttestation (logged)
//! disk -> RestingKeys -> follow the log -> reerase (durable) -> MemberKeys
//! ```
//! Keys that come from a disk can do nothing until [`RestingKeys::serve`] has compared them with a log
//! that others cosigned minutes ago.

use std::time::Duration;

use bailiwick_envelope::certificate::{CertificateBody, MemberSignature, VerifiedCertificate};
use bailiwick_envelope::erasure::{
    EraseDecision, EraseIntent, ErasureAttestation, HoldCoverage, decide_erasure,
};
use bailiwick_envelope::schedule::{Retention, ScheduleError, check_retention};
use bailiwick_types::{KeyId, Role, Timestamp};

use crate::checks::CosignedCheckpoint;
use crate::key_life::KeyLife;
use crate::keys::{DraftKeys, KeysError, MemberKeys};
use crate::trust::JurisdictionTrust;

/// Why an erasure does not go on. Nothing was attested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// The trust gives this identity no slot, or the certificate has no such period.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The period is none of the certificate's.
    #[error("period {0} is none of this certificate's")]
    NoPeriod(KeyId),
    /// The key is still in memory: attesting its erasure would be a lie.
    #[error("the private key of period {0} is still held")]
    StillHeld(KeyId),
    /// The periods are longer, or live longer, than the retention allows.
    #[error("the certificate's periods do not fit the retention")]
    Schedule(#[from] ScheduleError),
    /// The log was not followed up to the checkpoint that others cosigned.
    #[error("{folded} leaves were folded, the cosigned checkpoint has {size}")]
    Behind {
        /// Leaves folded.
        folded: u64,
        /// Leaves of the checkpoint.
        size: u64,
    },
}

/// What is to be done about one held period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedErasure {
    /// The period.
    pub kid: KeyId,
    /// When its keys are due.
    pub erase_by: Timestamp,
    /// What to do now.
    pub decision: EraseDecision,
}

/// What is to be done now about every held period of these certificates. `holds` says which live
/// holds have records in a period, and who keeps their capsules.
///
/// `now` is the later of the own clock and the log's time: a clock that is set back keeps no key.
pub fn plan_erasures(
    keys: &MemberKeys,
    certificates: &[VerifiedCertificate],
    holds: impl Fn(KeyId) -> Vec<HoldCoverage>,
    grace: Duration,
    now: Timestamp,
) -> Vec<PlannedErasure> {
    let mut planned = Vec::new();
    for certificate in certificates {
        let body = certificate.body();
        let thresholds = Role::ALL.map(|role| body.committee(role).threshold);
        for (at, period) in body.periods.iter().enumerate() {
            let kid = certificate.kid(at);
            let kid = kid.filter(|kid| keys.holds(body.jurisdiction, *kid));
            planned.extend(kid.map(|kid| PlannedErasure {
                kid,
                erase_by: period.erase_by,
                decision: decide_erasure(thresholds, period.erase_by, now, grace, &holds(kid)),
            }));
        }
    }
    planned
}

impl MemberKeys {
    /// Signs a certificate body as [`MemberKeys::sign_certificate`] does, if no key would outlive
    /// the jurisdiction's maximum retention plus one period, or die before the minimum.
    ///
    /// # Errors
    /// [`ErasureError`] names the first check that fails.
    pub fn sign_certificate_within(
        &self,
        body: &CertificateBody,
        trust: &JurisdictionTrust,
        keys: &DraftKeys,
        retention: &Retention,
    ) -> Result<MemberSignature, ErasureError> {
        check_retention(body, retention)?;
        Ok(self.sign_certificate(body, trust, keys)?)
    }

    /// The signed intent to log before a period's keys are destroyed.
    ///
    /// # Errors
    /// [`ErasureError`] when there is no such period or no seat.
    pub fn erase_intent(
        &self,
        certificate: &VerifiedCertificate,
        kid: KeyId,
        trust: &JurisdictionTrust,
    ) -> Result<EraseIntent, ErasureError> {
        let seat = self.seat(trust)?;
        let period = certificate.period_of(&kid);
        let period = period.and_then(|at| certificate.body().periods.get(at));
        let erase_by = period.ok_or(ErasureError::NoPeriod(kid))?.erase_by;
        let key = self.signing_key();
        Ok(EraseIntent::sign(kid, seat.role, seat.slot, erase_by, key))
    }

    /// Attests that a period's keys are destroyed. The driver calls it after the destruction of the
    /// wrapped copy is durable and [`MemberKeys::erase`] has dropped the key from memory.
    ///
    /// # Errors
    /// [`ErasureError::StillHeld`] while the key is in memory.
    pub fn attest_erased(
        &self,
        kid: KeyId,
        trust: &JurisdictionTrust,
    ) -> Result<ErasureAttestation, ErasureError> {
        let seat = self.seat(trust)?;
        if self.holds(trust.jurisdiction(), kid) {
            return Err(ErasureError::StillHeld(kid));
        }
        let key = self.signing_key();
        Ok(ErasureAttestation::sign(kid, seat.role, seat.slot, key))
    }
}

/// Keys as they were read from a disk, which may be a backup from before an erasure. They open, sign
/// and release nothing.
#[derive(Debug)]
pub struct RestingKeys(MemberKeys);

impl RestingKeys {
    /// Takes what the driver read and unwrapped.
    pub fn new(keys: MemberKeys) -> Self {
        Self(keys)
    }

    /// Re-erases what the log's erase list names, then gives the keys to serve with and the periods
    /// that were erased again. `destroy` is the driver's: it must return only after
    /// the wrapped copy is durably gone.
    ///
    /// Keys rest jurisdiction by jurisdiction: those of another one than the checkpoint's are not
    /// served, and dropped from memory.
    ///
    /// # Errors
    /// [`ErasureError`] before anything is destroyed, or the driver's error.
    ///
    /// # Security
    /// A restored backup also restores an older state of the followed log. Hence the checkpoint: at
    /// most ten minutes old, cosigned by others, and folded to its end.
    pub fn serve<E: From<ErasureError>>(
        mut self,
        checkpoint: &CosignedCheckpoint,
        life: &KeyLife,
        mut destroy: impl FnMut(KeyId) -> Result<(), E>,
    ) -> Result<(MemberKeys, Vec<KeyId>), E> {
        let (folded, size) = (life.size(), checkpoint.size());
        if folded < size {
            return Err(ErasureError::Behind { folded, size }.into());
        }
        let jurisdiction = checkpoint.reference().jurisdiction;
        // A key that is due but not on the list may wait for a hold's capsules: `plan_erasures`
        // decides about it as soon as it serves.
        let held = self.0.held(jurisdiction);
        let again: Vec<KeyId> = held.filter(|kid| life.erased(*kid).is_some()).collect();
        for kid in &again {
            destroy(*kid)?;
            self.0.erase(jurisdiction, *kid);
        }
        self.0.keep_only(jurisdiction);
        Ok((self.0, again))
    }
}
