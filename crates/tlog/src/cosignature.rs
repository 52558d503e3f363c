//! Cosignatures: a witness's word that a checkpoint extends all it saw before.
//!
//! Follows C2SP `tlog-cosignature`, Ed25519 `cosignature/v1` (type 0x04).
//!
//! ```text
//! signed    = "cosignature/v1\ntime " seconds in decimal "\n" checkpoint text
//! signature = seconds, 8 bytes big endian || Ed25519 signature, 64 bytes
//! ```
//!
//! The time is the witness's own clock in seconds since 1970 (POSIX). Making
//! a cosignature is not tied here to [`crate::WitnessState`]: call
//! [`crate::WitnessState::advance`] and store its result durably first.

use ed25519_dalek::{Signer as _, SigningKey};

use crate::checkpoint::Checkpoint;
use crate::note::{KeyType, NoteSignature, NoteVerifier, key_id};
use crate::signed::{NoteVerifyError, SignError, SignedCheckpoint, verify_bytes};

/// Bytes of the time before the Ed25519 signature.
const TIME_BYTES: usize = 8;

/// Latest time of a cosignature, in seconds since 1970. C2SP
/// `tlog-cosignature`: "It MUST NOT exceed 2^63 - 1".
pub const MAX_TIME_SECONDS: u64 = i64::MAX as u64;

/// Cosigns a checkpoint under `name` at `time_seconds` since 1970.
///
/// # Errors
/// The checkpoint has no text, the name is malformed, or the time is after
/// [`MAX_TIME_SECONDS`].
pub fn cosign(
    name: &str,
    key: &SigningKey,
    checkpoint: &Checkpoint,
    time_seconds: u64,
) -> Result<NoteSignature, SignError> {
    if time_seconds > MAX_TIME_SECONDS {
        return Err(SignError::Time { time_seconds });
    }
    let message = cosigned_message(time_seconds, &checkpoint.body()?);
    let mut signature = time_seconds.to_be_bytes().to_vec();
    signature.extend_from_slice(&key.sign(message.as_bytes()).to_bytes());
    let key_id = key_id(name, KeyType::CosignatureV1, &key.verifying_key());
    Ok(NoteSignature::new(name, key_id, signature)?)
}

/// Checks that the key cosigned this checkpoint, and returns when, in seconds
/// since 1970 by the witness's clock. Whether that is recent enough is for
/// the caller to say.
///
/// # Errors
/// The key is no cosigner's, or its line is missing, malformed or does not
/// verify.
pub fn verify_cosignature(
    verifier: &NoteVerifier,
    note: &SignedCheckpoint,
) -> Result<u64, NoteVerifyError> {
    let key_id = verifier.key_id();
    if verifier.key_type() != KeyType::CosignatureV1 {
        return Err(NoteVerifyError::KeyType { key_id });
    }
    let bytes = note.signature_of(verifier)?.signature();
    let (time, signature) =
        bytes
            .split_first_chunk::<TIME_BYTES>()
            .ok_or(NoteVerifyError::Length {
                key_id,
                bytes: bytes.len(),
            })?;
    let time_seconds = u64::from_be_bytes(*time);
    if time_seconds > MAX_TIME_SECONDS {
        return Err(NoteVerifyError::Time {
            key_id,
            time_seconds,
        });
    }
    let message = cosigned_message(time_seconds, note.body());
    verify_bytes(verifier, message.as_bytes(), signature)?;
    Ok(time_seconds)
}

/// C2SP `tlog-cosignature`: "two newline (U+000A) terminated lines (one header
/// line and one timestamp line) followed by the whole note body of the
/// cosigned checkpoint (including the final newline, but not including any
/// signature lines)".
fn cosigned_message(time_seconds: u64, body: &str) -> String {
    format!("cosignature/v1\ntime {time_seconds}\n{body}")
}
