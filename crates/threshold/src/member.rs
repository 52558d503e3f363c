//! A member's side (docs/cryptography.md sections 5, 6 and 8): open its part of a session, check it,
//! answer, and compute the values of single records.
//!
//! Not here: whether the member may. `bailiwick-disclosure` alone calls [`MemberPart::values`].

use std::fmt;

use bailiwick_envelope::SigningKey;
use bailiwick_envelope::acknowledgement::{SessionAcknowledgement, Verdict};
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_envelope::release::RecordValues;
use bailiwick_types::{Digest, Role, SessionId, Slot};

use crate::hpke::DecapsulationKey;

/// The part does not open, or a commitment does not hold. Which of them is not said: what a member
/// answers to a chosen header must not be an oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session part is not usable")]
pub struct PartError;

/// A member's opened part of a session, every commitment checked.
pub struct MemberPart {
    sid: SessionId,
    role: Role,
    slot: Slot,
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
        let _ = (block, inputs);
        todo!()
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
    let _ = (header, certificate, role, slot, key);
    todo!()
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
