//! Partials on their way (docs/cryptography.md section 8): sealed by a member, opened and verified
//! by the recipient.
//!
//! ```text
//! message = HPKE(recipient; info = E("rel", rd, leaf index, kid, R, m, chunk);
//!                plaintext = E(body, Sig(m, "rel", body)))
//! ```
//! Nothing here makes values; see [`crate::MemberPart::values`].

use std::fmt;
use std::sync::Arc;

use bailiwick_envelope::release::{PartialBody, PartialPlace, SealedPartial};
use bailiwick_envelope::{
    Canonical, DecodeError, Decoder, EncapsulationKey, Encoder, IdentityKey, Signature, SigningKey,
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::hpke::{self, DecapsulationKey, OpenError, SealToError};

/// A partial's body with its member's signature: evidence that stands on its own.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedPartial {
    /// What the member signed.
    pub body: PartialBody,
    /// `Sig(m, "rel", body)`.
    pub signature: Signature,
}

impl SignedPartial {
    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`bailiwick_envelope::keys::SignatureError`] when the key did not sign this body.
    pub fn verify(
        &self,
        member: &IdentityKey,
    ) -> Result<(), bailiwick_envelope::keys::SignatureError> {
        self.body.verify(member, &self.signature)
    }
}

impl fmt::Debug for SignedPartial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.body.place;
        write!(
            formatter,
            "SignedPartial({} slot {}, chunk {}, {} records, redacted)",
            place.role,
            place.slot,
            place.chunk,
            self.body.records.len()
        )
    }
}

impl Canonical for SignedPartial {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .list(|e| self.body.encode(e))
            .bytes(&self.signature.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            body: PartialBody::from_bytes(decoder.bytes("partial.body")?)?,
            signature: Signature(decoder.array("partial.signature")?),
        })
    }
}

/// A partial whose signature, place and form hold. Only [`open_partial`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedPartial {
    signed: Arc<SignedPartial>,
    member: IdentityKey,
}

impl VerifiedPartial {
    /// Where it belongs.
    pub fn place(&self) -> &PartialPlace {
        &self.signed.body.place
    }

    /// What the member signed.
    pub fn body(&self) -> &PartialBody {
        &self.signed.body
    }

    /// The body with its signature, to be kept as evidence.
    pub fn signed(&self) -> &Arc<SignedPartial> {
        &self.signed
    }

    /// The key whose signature was verified.
    pub fn member(&self) -> &IdentityKey {
        &self.member
    }
}

/// Signs a body and seals it to the recipient.
///
/// # Errors
/// [`SealToError`] when the recipient's bytes are no X-Wing key.
pub fn seal_partial(
    rng: &mut impl CryptoRng,
    recipient: &EncapsulationKey,
    body: &PartialBody,
    identity: &SigningKey,
) -> Result<SealedPartial, SealToError> {
    let mut encoder = Encoder::new();
    encoder
        .list(|e| body.encode(e))
        .bytes(&body.sign(identity).0);
    let plaintext = Zeroizing::new(encoder.finish());
    Ok(SealedPartial {
        place: body.place,
        sealed: hpke::seal(rng, recipient, &body.place.info(), &plaintext)?,
    })
}

/// Why a partial is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenPartialError {
    /// Not sealed to this key for this place.
    #[error("the partial is not sealed to this key for the place it claims")]
    Sealed(#[from] OpenError),
    /// No canonical body: the member's fault.
    #[error("the partial's plaintext is no canonical body")]
    Malformed(#[from] DecodeError),
    /// The signed body says another place than the message: the member's fault.
    #[error("the signed body belongs to another place than the message")]
    Place,
    /// Not signed by the named member.
    #[error("the named member did not sign this partial")]
    Signature(#[from] bailiwick_envelope::keys::SignatureError),
}

/// Opens a partial and verifies that the member signed it for exactly this place.
///
/// # Errors
/// [`OpenPartialError`] names the first check that fails.
pub fn open_partial(
    key: &DecapsulationKey,
    sealed: &SealedPartial,
    member: &IdentityKey,
) -> Result<VerifiedPartial, OpenPartialError> {
    let plaintext = hpke::open(key, &sealed.place.info(), &sealed.sealed)?;
    let signed = SignedPartial::from_bytes(&plaintext)?;
    if signed.body.place != sealed.place {
        return Err(OpenPartialError::Place);
    }
    signed.verify(member)?;
    Ok(VerifiedPartial {
        signed: Arc::new(signed),
        member: *member,
    })
}
