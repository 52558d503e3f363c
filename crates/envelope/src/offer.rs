//! A member's offer of fresh public keys for a certificate that is being made without a meeting.

use bailiwick_types::{Digest, Role};

use crate::canonical_serde;
use crate::certificate::Member;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::keys::{IdentityKey, Signature, SignatureError, SigningKey, sign};
use crate::tags::SignatureTag;

/// A member's entry for a draft, signed by its identity: `Sig(m, "offer", draft, R, member)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOffer {
    /// The draft that the keys are for.
    pub draft: Digest,
    /// The member's role.
    pub role: Role,
    /// The member with one new key per period.
    pub member: Member,
    /// The identity's signature.
    pub signature: Signature,
}

impl KeyOffer {
    /// Signs an offer.
    pub fn sign(draft: Digest, role: Role, member: Member, key: &SigningKey) -> Self {
        let signature = sign(key, SignatureTag::Offer, |e| {
            fields(e, &draft, role, &member)
        });
        Self {
            draft,
            role,
            member,
            signature,
        }
    }

    /// Verifies the signature by the identity that the plan names for the slot.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this offer.
    pub fn verify(&self, identity: &IdentityKey) -> Result<(), SignatureError> {
        let fill = |e: &mut Encoder| fields(e, &self.draft, self.role, &self.member);
        identity.verify(SignatureTag::Offer, fill, &self.signature)
    }
}

fn fields(encoder: &mut Encoder, draft: &Digest, role: Role, member: &Member) {
    encoder
        .digest(draft)
        .u8(role.code())
        .list(|e| member.encode(e));
}

impl Canonical for KeyOffer {
    fn encode(&self, encoder: &mut Encoder) {
        fields(encoder, &self.draft, self.role, &self.member);
        encoder.bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let draft = decoder.digest("offer.draft")?;
        let role = Role::from_code(decoder.u8("offer.role")?);
        Ok(Self {
            draft,
            role: role.ok_or(DecodeError::value("offer.role", "unknown role"))?,
            member: Member::from_bytes(decoder.bytes("offer.member")?)?,
            signature: Signature(decoder.array("offer.signature")?),
        })
    }
}

canonical_serde!(KeyOffer);
