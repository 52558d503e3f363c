//! A member's answer to a session header: `ok`, or a complaint without secrets
//! (docs/cryptography.md section 5).

use bailiwick_types::{Role, SessionId, Slot};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::SignatureTag;

/// What a member says of its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// The part opens and every commitment holds.
    Ok = 1,
    /// It does not. Which check failed is not said: part errors are indistinguishable.
    Complaint = 2,
}

/// A member's signed answer to a session header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionAcknowledgement {
    /// The session.
    pub sid: SessionId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// Its verdict.
    pub verdict: Verdict,
    /// `Sig(m, "ok" or "complaint", sid, R, m)`.
    pub signature: Signature,
}

impl SessionAcknowledgement {
    /// Signs an answer.
    pub fn sign(
        sid: SessionId,
        role: Role,
        slot: Slot,
        verdict: Verdict,
        key: &SigningKey,
    ) -> Self {
        let signature = sign(key, tag(verdict), |e| fields(e, &sid, role, slot));
        Self {
            sid,
            role,
            slot,
            verdict,
            signature,
        }
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this answer.
    pub fn verify(&self, member: &IdentityKey) -> Result<(), SignatureError> {
        let fill = |e: &mut Encoder| fields(e, &self.sid, self.role, self.slot);
        member.verify(tag(self.verdict), fill, &self.signature)
    }
}

fn tag(verdict: Verdict) -> SignatureTag {
    match verdict {
        Verdict::Ok => SignatureTag::Acknowledge,
        Verdict::Complaint => SignatureTag::Complain,
    }
}

fn fields(encoder: &mut Encoder, sid: &SessionId, role: Role, slot: Slot) {
    encoder.bytes(&sid.0).u8(role.code()).u8(slot.number());
}

impl Canonical for SessionAcknowledgement {
    fn encode(&self, encoder: &mut Encoder) {
        fields(encoder, &self.sid, self.role, self.slot);
        encoder.u8(self.verdict as u8).bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let sid = SessionId(decoder.array("acknowledgement.sid")?);
        let (role, slot) = role_and_slot(decoder)?;
        let verdict = match decoder.u8("acknowledgement.verdict")? {
            1 => Verdict::Ok,
            2 => Verdict::Complaint,
            _ => {
                return Err(DecodeError::value(
                    "acknowledgement.verdict",
                    "unknown verdict",
                ));
            }
        };
        let signature = Signature(decoder.array("acknowledgement.signature")?);
        Ok(Self {
            sid,
            role,
            slot,
            verdict,
            signature,
        })
    }
}

/// A role and a slot as two fields.
///
/// # Errors
/// [`DecodeError`] when either is unknown.
pub fn role_and_slot(decoder: &mut Decoder<'_>) -> Result<(Role, Slot), DecodeError> {
    let role = Role::from_code(decoder.u8("role")?);
    let slot = Slot::new(decoder.u8("slot")?);
    Ok((
        role.ok_or(DecodeError::value("role", "unknown role"))?,
        slot.map_err(|_| DecodeError::value("slot", "outside 1 to 7"))?,
    ))
}

canonical_serde!(SessionAcknowledgement);
