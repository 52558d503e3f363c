//! A checkpoint with its signatures: a C2SP `signed-note`.
//!
//! ```text
//! <checkpoint text, three lines>
//! \n
//! — <name> <base64 of key id and signature>\n      1 to 64 times
//! ```
//!
//! A value of [`SignedCheckpoint`] is well formed, not trustworthy: trust
//! begins with [`SignedCheckpoint::verify_by`] or
//! [`crate::verify_cosignature`] for a key that the caller chose. How many
//! and which signers are enough is the caller's policy.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, MAX_CHECKPOINT_BYTES};
use crate::cosignature;
use crate::note::{
    KeyType, MAX_SIGNATURE_BYTES, NoteSignature, NoteSignatureError, NoteVerifier, key_id,
    line_bytes,
};

/// Most signatures of a note: a directory's and two roles' voters and outside
/// witnesses, several times over.
pub const MAX_SIGNATURES: usize = 64;

/// Most bytes of a signed checkpoint: text, blank line and
/// [`MAX_SIGNATURES`] lines of the longest kind (about 225 kB).
pub const MAX_NOTE_BYTES: usize =
    MAX_CHECKPOINT_BYTES + 1 + MAX_SIGNATURES * line_bytes(MAX_SIGNATURE_BYTES);

/// A checkpoint and at least one signature line, each key at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    /// Always the text of `checkpoint`; kept because each check needs it.
    body: String,
    signatures: Vec<NoteSignature>,
}

/// Why a text is no signed checkpoint. The author of the text is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteError {
    /// The text is longer than [`MAX_NOTE_BYTES`].
    #[error("note of {bytes} bytes is above the limit of {MAX_NOTE_BYTES}")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// There is no blank line between text and signatures.
    #[error("note has no blank line between text and signatures")]
    NoBlankLine,
    /// The text before the blank line is no checkpoint.
    #[error("note's text is not a checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// There is no signature line, or the last does not end in a newline.
    #[error("note has no signature line that ends in a newline")]
    NoSignature,
    /// A line is no signature line.
    #[error("signature line {line} is malformed")]
    Signature {
        /// Number of the line, from 0 for the first signature.
        line: usize,
        /// What is wrong with it.
        source: NoteSignatureError,
    },
    /// A line cannot be added to those before it.
    #[error("signature line {line} cannot be added to those before it")]
    Add {
        /// Number of the line, from 0 for the first signature.
        line: usize,
        /// Why not.
        source: AddSignatureError,
    },
}

/// Why a signature was not added. The caller is at fault, or whoever sent the
/// signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddSignatureError {
    /// There are [`MAX_SIGNATURES`] already.
    #[error("note has its most signatures, {MAX_SIGNATURES}, already")]
    TooMany,
    /// Another signature of the same name and key id is there.
    #[error("note has a signature of key {key_id:08x} of the same name already")]
    Duplicate {
        /// Key id of both.
        key_id: u32,
    },
}

/// Why a signed checkpoint is not proven to be signed by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteVerifyError {
    /// No line claims to be by the key.
    #[error("note has no signature of key {key_id:08x}")]
    NotSigned {
        /// Id of the key looked for.
        key_id: u32,
    },
    /// The caller's key makes signatures of another kind.
    #[error("key {key_id:08x} does not make signatures of the kind asked for")]
    KeyType {
        /// Id of the caller's key.
        key_id: u32,
    },
    /// The signature has not the length of its kind. The signer, or someone
    /// in its name, is at fault.
    #[error("signature of key {key_id:08x} has a wrong length of {bytes} bytes")]
    Length {
        /// Id of the key.
        key_id: u32,
        /// Bytes of the signature, without key id.
        bytes: usize,
    },
    /// The cosignature's time is after [`crate::MAX_TIME_SECONDS`]. The signer
    /// is at fault.
    #[error("cosignature of key {key_id:08x} has the impossible time {time_seconds} s")]
    Time {
        /// Id of the key.
        key_id: u32,
        /// Seconds since 1970.
        time_seconds: u64,
    },
    /// The signature is not by the key over this text. The signer, or someone
    /// in its name, is at fault.
    #[error("signature of key {key_id:08x} does not verify")]
    BadSignature {
        /// Id of the key.
        key_id: u32,
    },
}

/// Why nothing was signed. The caller is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignError {
    /// The checkpoint has no text.
    #[error("checkpoint to sign is malformed")]
    Checkpoint(#[from] CheckpointError),
    /// The signer's name is malformed.
    #[error("signer's line would be malformed")]
    Signature(#[from] NoteSignatureError),
    /// A cosignature's time is after [`crate::MAX_TIME_SECONDS`].
    #[error("time {time_seconds} s is after the latest a cosignature can have")]
    Time {
        /// Seconds since 1970.
        time_seconds: u64,
    },
}

/// Signs a checkpoint as a plain note signature (type 0x01) under `name`.
///
/// # Errors
/// The checkpoint has no text, or the name is malformed.
pub fn sign_checkpoint(
    name: &str,
    key: &SigningKey,
    checkpoint: &Checkpoint,
) -> Result<NoteSignature, SignError> {
    let signature = key.sign(checkpoint.body()?.as_bytes());
    let key_id = key_id(name, KeyType::Ed25519, &key.verifying_key());
    Ok(NoteSignature::new(
        name,
        key_id,
        signature.to_bytes().to_vec(),
    )?)
}

impl SignedCheckpoint {
    /// A checkpoint with its first signature, which is not verified here.
    ///
    /// # Errors
    /// The checkpoint has no text.
    pub fn new(checkpoint: Checkpoint, first: NoteSignature) -> Result<Self, CheckpointError> {
        let body = checkpoint.body()?;
        Ok(Self {
            checkpoint,
            body,
            signatures: vec![first],
        })
    }

    /// Reads a note. No signature is verified.
    ///
    /// # Errors
    /// Any text that [`Self::to_text`] does not produce is refused.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        if text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { bytes: text.len() });
        }
        // A checkpoint has no empty line, so the first blank line ends it.
        let blank = text.find("\n\n").ok_or(NoteError::NoBlankLine)?;
        let (body, lines) = (&text[..=blank], &text[blank + 2..]);
        let checkpoint = Checkpoint::parse(body)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignature)?;
        let mut note = Self {
            checkpoint,
            body: body.to_owned(),
            signatures: Vec::new(),
        };
        for (line, text) in lines.split('\n').enumerate() {
            let signature = NoteSignature::parse(text)
                .map_err(|source| NoteError::Signature { line, source })?;
            note.add_signature(signature)
                .map_err(|source| NoteError::Add { line, source })?;
        }
        Ok(note)
    }

    /// The note's text; at most [`MAX_NOTE_BYTES`].
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.body);
        for signature in &self.signatures {
            text.push_str(&signature.to_line());
            text.push('\n');
        }
        text
    }

    /// Adds a signature, which is not verified here. Adding the very same
    /// once more changes nothing.
    ///
    /// # Errors
    /// The note is full, or has another signature of the same key. Which of
    /// two to keep is for the caller to say; verify before adding.
    pub fn add_signature(&mut self, signature: NoteSignature) -> Result<(), AddSignatureError> {
        let (name, key_id) = (signature.name(), signature.key_id());
        let mut others = self.signatures.iter();
        match others.find(|other| other.name() == name && other.key_id() == key_id) {
            Some(other) if *other == signature => Ok(()),
            Some(_) => Err(AddSignatureError::Duplicate { key_id }),
            None if self.signatures.len() >= MAX_SIGNATURES => Err(AddSignatureError::TooMany),
            None => {
                self.signatures.push(signature);
                Ok(())
            }
        }
    }

    /// Checks that the key signed this checkpoint, whichever kind of
    /// signature the key makes. See [`crate::verify_cosignature`] for the
    /// time of a cosignature.
    ///
    /// # Errors
    /// The key's line is missing, malformed or does not verify.
    pub fn verify_by(&self, verifier: &NoteVerifier) -> Result<(), NoteVerifyError> {
        match verifier.key_type() {
            KeyType::Ed25519 => {
                let signature = self.signature_of(verifier)?;
                verify_bytes(verifier, self.body.as_bytes(), signature.signature())
            }
            KeyType::CosignatureV1 => {
                cosignature::verify_cosignature(verifier, self).map(|_time| ())
            }
        }
    }

    /// The line that claims to be by the key; not yet verified.
    ///
    /// # Errors
    /// There is none.
    pub fn signature_of(&self, verifier: &NoteVerifier) -> Result<&NoteSignature, NoteVerifyError> {
        self.signatures
            .iter()
            .find(|signature| signature.claims(verifier))
            .ok_or(NoteVerifyError::NotSigned {
                key_id: verifier.key_id(),
            })
    }

    /// What is signed, as values.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What is signed, as text.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// All signature lines in the order of the note, none verified.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_text())
    }
}

impl FromStr for SignedCheckpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SignedCheckpoint {
    type Error = NoteError;

    fn try_from(text: String) -> Result<Self, NoteError> {
        Self::parse(&text)
    }
}

impl From<SignedCheckpoint> for String {
    fn from(note: SignedCheckpoint) -> Self {
        note.to_text()
    }
}

/// Strict Ed25519 verification: no small-order parts, one encoding only.
pub(crate) fn verify_bytes(
    verifier: &NoteVerifier,
    message: &[u8],
    signature: &[u8],
) -> Result<(), NoteVerifyError> {
    let key_id = verifier.key_id();
    let signature = Signature::from_slice(signature).map_err(|_| NoteVerifyError::Length {
        key_id,
        bytes: signature.len(),
    })?;
    verifier
        .public_key()
        .verify_strict(message, &signature)
        .map_err(|_| NoteVerifyError::BadSignature { key_id })
}
