//! HPKE (RFC 9180) in base mode with X-Wing, HKDF-SHA256 and AES-256-GCM: the one module that
//! touches the `hpke` crate.
//!
//! ```text
//! sealed = encapsulated key 1,120 | ciphertext | tag 16        aad is empty
//! ```
//! What a message is for stands in `info`, which [`bailiwick_envelope::HpkeTag`] makes. X-Wing as in
//! draft-ietf-hpke-pq-03 (KEM id 0x647a).

use std::fmt;

use ::hpke::aead::AesGcm256;
use ::hpke::kdf::HkdfSha256;
use ::hpke::kem::XWing;
use ::hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use bailiwick_envelope::EncapsulationKey;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Bytes of an encapsulated key.
const ENCAPSULATED: usize = 1120;
/// Bytes that sealing adds: the encapsulated key and the AEAD's tag.
pub const OVERHEAD: usize = ENCAPSULATED + 16;

/// An X-Wing private key, held as its 32-byte seed.
///
/// # Security
/// Zeroed on drop, no `Clone`, redacted `Debug`. Expanding it costs about 0.1 ms at each use, which
/// is the price of holding the seed only.
pub struct DecapsulationKey(Zeroizing<[u8; 32]>);

impl DecapsulationKey {
    /// Length of the seed in bytes.
    pub const LENGTH: usize = 32;

    /// A new key pair.
    pub fn generate(rng: &mut impl CryptoRng) -> (Self, EncapsulationKey) {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        let key = Self(seed);
        let public = key.encapsulation_key();
        (key, public)
    }

    /// The key of a 32-byte seed, as [`DecapsulationKey::to_bytes`] gave it.
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*seed))
    }

    /// The 32-byte seed, for wrapping at rest.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The public key.
    pub fn encapsulation_key(&self) -> EncapsulationKey {
        let bytes = XWing::sk_to_pk(&self.expand()).to_bytes();
        EncapsulationKey::new(&bytes).expect("an X-Wing key has 1,216 bytes")
    }

    fn expand(&self) -> <XWing as Kem>::PrivateKey {
        <XWing as Kem>::PrivateKey::from_bytes(self.0.as_ref()).expect("a seed has 32 bytes")
    }
}

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DecapsulationKey(redacted)")
    }
}

/// The recipient's key is no X-Wing key: the fault of whoever certified it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recipient's bytes are no X-Wing encapsulation key")]
pub struct SealToError;

/// The message is not for this key and context. Nothing more is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed message does not open")]
pub struct OpenError;

/// Seals a message to a key under a context.
///
/// # Errors
/// [`SealToError`] when the bytes are no X-Wing key.
pub fn seal(
    rng: &mut impl CryptoRng,
    to: &EncapsulationKey,
    info: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealToError> {
    let public = <XWing as Kem>::PublicKey::from_bytes(to.as_bytes()).map_err(|_| SealToError)?;
    let (encapsulated, ciphertext) = ::hpke::single_shot_seal_with_rng::<
        AesGcm256,
        HkdfSha256,
        XWing,
    >(&OpModeS::Base, &public, info, plaintext, &[], rng)
    .map_err(|_| SealToError)?;
    let mut sealed = Vec::with_capacity(ENCAPSULATED + ciphertext.len());
    sealed.extend_from_slice(&encapsulated.to_bytes());
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Opens a message sealed to a key under a context.
///
/// # Errors
/// [`OpenError`], the same for every cause.
pub fn open(
    key: &DecapsulationKey,
    info: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED).ok_or(OpenError)?;
    let encapsulated =
        <XWing as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| OpenError)?;
    let opened = ::hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
        &OpModeR::Base,
        &key.expand(),
        &encapsulated,
        info,
        ciphertext,
        &[],
    );
    opened.map(Zeroizing::new).map_err(|_| OpenError)
}
