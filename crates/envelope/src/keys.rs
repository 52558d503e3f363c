//! Public keys and signatures as they stand in signed objects. Ed25519 with strict verification.

use std::fmt;
use std::str::FromStr;

use bailiwick_types::Digest;
use bailiwick_types::digest::{ParseHexError, parse_hex};
pub use ed25519_dalek::SigningKey;
use ed25519_dalek::{Signer, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::tags::{HashTag, SignatureTag, hash, signature_hash};

/// An Ed25519 public key of a member, reviewer or edge: 32 bytes, hexadecimal in files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdentityKey(pub [u8; 32]);

impl IdentityKey {
    /// The public key of a private one.
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }

    /// Verifies `Sig(sk, tag, ..)` strictly (no small-order keys, canonical scalars only).
    ///
    /// # Errors
    /// [`SignatureError`] when the key is no point or the signature is not by it over these fields.
    pub fn verify(
        &self,
        tag: SignatureTag,
        fill: impl FnOnce(&mut Encoder),
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| SignatureError { tag })?;
        let digest = signature_hash(tag, fill);
        key.verify_strict(
            &digest.0,
            &ed25519_dalek::Signature::from_bytes(&signature.0),
        )
        .map_err(|_| SignatureError { tag })
    }
}

/// `Sig(sk, T, ..)`: Ed25519 over `H("sig/" + T, ..)`.
pub fn sign(key: &SigningKey, tag: SignatureTag, fill: impl FnOnce(&mut Encoder)) -> Signature {
    Signature(key.sign(&signature_hash(tag, fill).0).to_bytes())
}

/// The signature is not by the named key over these fields: the signer's fault or a forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {} signature does not verify", tag.as_str())]
pub struct SignatureError {
    /// What the signature was for.
    pub tag: SignatureTag,
}

impl fmt::Display for IdentityKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&Digest(self.0).to_string())
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "IdentityKey({})", Digest(self.0).short())
    }
}

impl FromStr for IdentityKey {
    type Err = ParseHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Self)
    }
}

impl TryFrom<String> for IdentityKey {
    type Error = ParseHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<IdentityKey> for String {
    fn from(key: IdentityKey) -> Self {
        key.to_string()
    }
}

impl Canonical for IdentityKey {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.bytes(&self.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.array("identity_key").map(Self)
    }
}

/// A 64-byte Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Signature(..)")
    }
}

impl Canonical for Signature {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.bytes(&self.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.array("signature").map(Self)
    }
}

/// An X-Wing encapsulation key: 1,216 bytes (ML-KEM-768's 1,184 and X25519's 32).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EncapsulationKey(Vec<u8>);

impl EncapsulationKey {
    /// Length in bytes.
    pub const LENGTH: usize = 1216;

    /// The key of these bytes.
    ///
    /// # Errors
    /// [`DecodeError::Length`] unless there are 1,216.
    pub fn new(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() == Self::LENGTH {
            return Ok(Self(bytes.to_vec()));
        }
        let (field, expected) = ("encapsulation_key", Self::LENGTH);
        Err(DecodeError::Length {
            field,
            expected,
            got: bytes.len(),
        })
    }

    /// The 1,216 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `H("recipient", key)`: how leaves and certificates name a recipient's key.
    pub fn recipient_hash(&self) -> Digest {
        hash(HashTag::RecipientKey, |e| {
            e.bytes(&self.0);
        })
    }
}

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "EncapsulationKey({})",
            self.recipient_hash().short()
        )
    }
}

impl Canonical for EncapsulationKey {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.bytes(&self.0);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Self::new(decoder.bytes("encapsulation_key")?)
    }
}

canonical_serde!(Signature, EncapsulationKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_tag_and_fields_only() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signature = sign(&key, SignatureTag::Header, |e| {
            e.u8(1);
        });
        let public = IdentityKey::of(&key);
        let check = |tag, value: u8| {
            public.verify(
                tag,
                |e| {
                    e.u8(value);
                },
                &signature,
            )
        };
        assert_eq!(check(SignatureTag::Header, 1), Ok(()));
        assert!(check(SignatureTag::Header, 2).is_err());
        assert!(check(SignatureTag::Manifest, 1).is_err());
    }

    #[test]
    fn the_identity_point_is_no_signer() {
        let mut weak = [0; 32];
        weak[0] = 1;
        let verified = IdentityKey(weak).verify(SignatureTag::Header, |_| {}, &Signature([0; 64]));
        assert!(verified.is_err());
    }
}
