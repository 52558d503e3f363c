//! Keys and signature lines of signed notes.
//!
//! Follows C2SP `signed-note`. A key is named, and its id is bound to its
//! name and type, so that a signature made as one kind never passes as
//! another:
//!
//! ```text
//! key id   = SHA-256(name || "\n" || type || public key)[0..4], big endian
//! vkey     = name "+" key id in 8 hex digits "+" base64(type || public key)
//! line     = "— " name " " base64(key id || signature)
//! type     = 0x01 Ed25519, 0x04 Ed25519 for cosignature/v1
//! ```
//!
//! Not here: what is signed ([`crate::signed`], [`crate::cosignature`]), and
//! private keys, which the caller keeps.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::{PUBLIC_KEY_LENGTH, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Most bytes of a key name.
pub const MAX_NAME_BYTES: usize = 255;

/// Most bytes of a signature without its key id: 8 of a time and the 2,420 of
/// ML-DSA-44, the largest kind that the specifications name. Lines of kinds
/// unknown here are kept, as the specification asks.
pub const MAX_SIGNATURE_BYTES: usize = 8 + 2_420;

/// Bytes of a key id.
const KEY_ID_BYTES: usize = 4;

/// Before each signature line: em dash and space.
const LINE_PREFIX: &str = "\u{2014} ";

/// What kind of signature a key makes; the type byte of C2SP `signed-note`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// Ed25519 over the note's text, type 0x01.
    Ed25519,
    /// Ed25519 over a time and the note's text, type 0x04 (`cosignature/v1`).
    CosignatureV1,
}

impl KeyType {
    /// The type's byte on the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ed25519, Self::CosignatureV1]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// A named public key that can verify one kind of signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NoteVerifier {
    name: String,
    key_type: KeyType,
    key_id: u32,
    public_key: VerifyingKey,
}

/// Why a key is unusable or its text malformed. Whoever configured or sent
/// the key is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteVerifierError {
    /// The name is empty, too long, or has spaces, `+` or control characters.
    #[error("key name is empty, longer than {MAX_NAME_BYTES} bytes or has forbidden characters")]
    Name,
    /// The text is not `name+id+base64`.
    #[error("verifier key is not of the form name+id+base64")]
    Format,
    /// The id is not 8 hex digits in lower case, or not this key's.
    #[error("key id is not that of the name and key")]
    KeyId,
    /// The type byte is none that is known here.
    #[error("key type {0:#04x} is unknown")]
    KeyType(u8),
    /// The bytes are no Ed25519 public key, or one of small order.
    #[error("public key is not a usable Ed25519 key")]
    PublicKey,
}

impl NoteVerifier {
    /// A verifier of the given kind.
    ///
    /// # Errors
    /// The name is malformed, or the key is of small order, for which
    /// signatures prove nothing.
    pub fn new(
        name: &str,
        key_type: KeyType,
        public_key: VerifyingKey,
    ) -> Result<Self, NoteVerifierError> {
        if !is_name_valid(name) {
            return Err(NoteVerifierError::Name);
        }
        if public_key.is_weak() {
            return Err(NoteVerifierError::PublicKey);
        }
        let key_id = key_id(name, key_type, &public_key);
        Ok(Self {
            name: name.to_owned(),
            key_type,
            key_id,
            public_key,
        })
    }

    /// A verifier of plain note signatures (type 0x01).
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn ed25519(name: &str, public_key: VerifyingKey) -> Result<Self, NoteVerifierError> {
        Self::new(name, KeyType::Ed25519, public_key)
    }

    /// A verifier of cosignatures (type 0x04).
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn cosigner(name: &str, public_key: VerifyingKey) -> Result<Self, NoteVerifierError> {
        Self::new(name, KeyType::CosignatureV1, public_key)
    }

    /// Reads a vkey text.
    ///
    /// # Errors
    /// Any text that [`Self::to_vkey`] does not produce is refused.
    pub fn parse(vkey: &str) -> Result<Self, NoteVerifierError> {
        // Base64 may hold "+", a name and an id may not.
        let (name, rest) = vkey.split_once('+').ok_or(NoteVerifierError::Format)?;
        let (id, key) = rest.split_once('+').ok_or(NoteVerifierError::Format)?;
        let key = BASE64_STANDARD
            .decode(key)
            .map_err(|_| NoteVerifierError::Format)?;
        let (&type_byte, key) = key.split_first().ok_or(NoteVerifierError::Format)?;
        let key_type =
            KeyType::from_byte(type_byte).ok_or(NoteVerifierError::KeyType(type_byte))?;
        let key: &[u8; PUBLIC_KEY_LENGTH] =
            key.try_into().map_err(|_| NoteVerifierError::PublicKey)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteVerifierError::PublicKey)?;
        let verifier = Self::new(name, key_type, key)?;
        if id == format!("{:08x}", verifier.key_id) {
            Ok(verifier)
        } else {
            Err(NoteVerifierError::KeyId)
        }
    }

    /// The vkey text: `name+id+base64`.
    #[must_use]
    pub fn to_vkey(&self) -> String {
        let mut key = vec![self.key_type.byte()];
        key.extend_from_slice(self.public_key.as_bytes());
        format!(
            "{}+{:08x}+{}",
            self.name,
            self.key_id,
            BASE64_STANDARD.encode(key)
        )
    }

    /// Name of the signer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kind of signature this key makes.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Id bound to name, kind and key. Four bytes: an index, not a proof.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn public_key(&self) -> &VerifyingKey {
        &self.public_key
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_vkey())
    }
}

impl FromStr for NoteVerifier {
    type Err = NoteVerifierError;

    fn from_str(vkey: &str) -> Result<Self, NoteVerifierError> {
        Self::parse(vkey)
    }
}

impl TryFrom<String> for NoteVerifier {
    type Error = NoteVerifierError;

    fn try_from(vkey: String) -> Result<Self, NoteVerifierError> {
        Self::parse(&vkey)
    }
}

impl From<NoteVerifier> for String {
    fn from(verifier: NoteVerifier) -> Self {
        verifier.to_vkey()
    }
}

/// One signature line of a note, verified or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NoteSignature {
    name: String,
    key_id: u32,
    signature: Vec<u8>,
}

/// Why a line is no signature line. Whoever wrote the line is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteSignatureError {
    /// The name is empty, too long, or has spaces, `+` or control characters.
    #[error("signer name is empty, longer than {MAX_NAME_BYTES} bytes or has forbidden characters")]
    Name,
    /// The line is not em dash, name and base64 with single spaces between.
    #[error("line is not an em dash, a name and base64, separated by single spaces")]
    Format,
    /// The part after the key id is empty or above [`MAX_SIGNATURE_BYTES`].
    #[error("signature has not between 1 and {MAX_SIGNATURE_BYTES} bytes")]
    Length,
}

impl NoteSignature {
    /// A signature line from its parts; `signature` is without the key id.
    ///
    /// # Errors
    /// The name is malformed or the signature empty or too long.
    pub fn new(name: &str, key_id: u32, signature: Vec<u8>) -> Result<Self, NoteSignatureError> {
        if !is_name_valid(name) {
            return Err(NoteSignatureError::Name);
        }
        if signature.is_empty() || signature.len() > MAX_SIGNATURE_BYTES {
            return Err(NoteSignatureError::Length);
        }
        Ok(Self {
            name: name.to_owned(),
            key_id,
            signature,
        })
    }

    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// Any line that [`Self::to_line`] does not produce is refused.
    pub fn parse(line: &str) -> Result<Self, NoteSignatureError> {
        let rest = line
            .strip_prefix(LINE_PREFIX)
            .ok_or(NoteSignatureError::Format)?;
        let (name, encoded) = rest.split_once(' ').ok_or(NoteSignatureError::Format)?;
        if encoded.len() > encoded_bytes(MAX_SIGNATURE_BYTES) {
            return Err(NoteSignatureError::Length);
        }
        let bytes = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| NoteSignatureError::Format)?;
        let (key_id, signature) = bytes
            .split_first_chunk::<KEY_ID_BYTES>()
            .ok_or(NoteSignatureError::Length)?;
        Self::new(name, u32::from_be_bytes(*key_id), signature.to_vec())
    }

    /// The line, without a newline.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut bytes = self.key_id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.signature);
        format!(
            "{LINE_PREFIX}{} {}",
            self.name,
            BASE64_STANDARD.encode(bytes)
        )
    }

    /// Name the signer claims.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Key id the signer claims.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The signature bytes, without the key id.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the line claims to be by this key. It proves nothing yet.
    #[must_use]
    pub fn claims(&self, verifier: &NoteVerifier) -> bool {
        self.name == verifier.name && self.key_id == verifier.key_id
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_line())
    }
}

impl TryFrom<String> for NoteSignature {
    type Error = NoteSignatureError;

    fn try_from(line: String) -> Result<Self, NoteSignatureError> {
        Self::parse(&line)
    }
}

impl From<NoteSignature> for String {
    fn from(signature: NoteSignature) -> Self {
        signature.to_line()
    }
}

/// Most bytes of a signature line with its newline, for a signature of at
/// most `signature_bytes` without key id.
pub(crate) const fn line_bytes(signature_bytes: usize) -> usize {
    LINE_PREFIX.len() + MAX_NAME_BYTES + 1 + encoded_bytes(signature_bytes) + 1
}

const fn encoded_bytes(signature_bytes: usize) -> usize {
    (KEY_ID_BYTES + signature_bytes).div_ceil(3) * 4
}

pub(crate) fn key_id(name: &str, key_type: KeyType, public_key: &VerifyingKey) -> u32 {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update(b"\n")
        .chain_update([key_type.byte()])
        .chain_update(public_key.as_bytes())
        .finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// C2SP `signed-note`: "non-empty and not have any Unicode spaces or pluses";
/// a note as a whole has no control characters but newlines.
fn is_name_valid(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name
            .chars()
            .any(|c| c == '+' || c.is_whitespace() || c.is_control())
}
