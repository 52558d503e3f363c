//! The one bincode codec: messages between our own processes and values in our own stores.
//!
//! bincode accepts trailing bytes and non-canonical integers, so [`decode`] checks that all input
//! was consumed and nothing is ever signed or hashed over this encoding; what is signed or hashed
//! uses `bailiwick-envelope`'s canonical encoding. Version 2.0.1 is pinned: see
//! docs/decisions/0003-bincode.md.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest encoding that [`decode`] reads, in bytes: a snapshot chunk or a full block, doubled.
pub const DECODE_LIMIT: usize = 8 << 20;

/// Longest file of our own that is kept as one value, in bytes.
pub const FILE_LIMIT: usize = 1 << 30;

const FILES: Configuration<LittleEndian, Fixint, Limit<FILE_LIMIT>> = bincode::config::standard()
    .with_fixed_int_encoding()
    .with_limit::<FILE_LIMIT>();
const CONFIGURATION: Configuration<LittleEndian, Fixint, Limit<DECODE_LIMIT>> =
    bincode::config::standard()
        .with_fixed_int_encoding()
        .with_limit::<DECODE_LIMIT>();

/// Why bytes are no value.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value cannot be encoded.
    #[error("cannot encode")]
    Encode(#[source] bincode::error::EncodeError),
    /// The encoding is longer than what decodes it reads.
    #[error("{0} bytes are more than the limit")]
    TooLong(usize),
    /// The bytes are not an encoding of the type.
    #[error("cannot decode")]
    Decode(#[source] bincode::error::DecodeError),
    /// Bytes were left over.
    #[error("{0} trailing bytes")]
    Trailing(usize),
}

/// Encodes a value.
///
/// # Errors
/// [`CodecError::TooLong`] when the encoding is longer than [`DECODE_LIMIT`]: bincode's own limit is
/// not looked at when it encodes.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(value, CONFIGURATION).map_err(CodecError::Encode)?;
    if bytes.len() > DECODE_LIMIT {
        Err(CodecError::TooLong(bytes.len()))
    } else {
        Ok(bytes)
    }
}

/// Encodes a value for a file of our own, which may grow beyond a message; for [`decode_file`].
///
/// # Errors
/// [`CodecError::TooLong`] when the encoding is longer than [`FILE_LIMIT`].
pub fn encode_file<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(value, FILES).map_err(CodecError::Encode)?;
    if bytes.len() > FILE_LIMIT {
        Err(CodecError::TooLong(bytes.len()))
    } else {
        Ok(bytes)
    }
}

/// Decodes a value from exactly the bytes of a file of our own.
///
/// # Errors
/// As [`decode`], with [`FILE_LIMIT`].
pub fn decode_file<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let decoded = bincode::serde::decode_from_slice(bytes, FILES);
    let (value, consumed) = decoded.map_err(CodecError::Decode)?;
    match bytes.len() - consumed {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}

/// Decodes a value from exactly these bytes.
///
/// # Errors
/// [`CodecError::Decode`] for malformed or oversized input, [`CodecError::Trailing`] when bytes
/// are left.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, consumed) =
        bincode::serde::decode_from_slice(bytes, CONFIGURATION).map_err(CodecError::Decode)?;
    match bytes.len() - consumed {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_vector() {
        let value = (7u32, "ab".to_owned(), vec![1u8, 2], Some(9u64));
        let bytes = encode(&value).expect("encodes");
        assert_eq!(
            hex::encode(&bytes),
            [
                "07000000",
                "0200000000000000",
                "6162",
                "0200000000000000",
                "0102",
                "01",
                "0900000000000000",
            ]
            .concat()
        );
        assert_eq!(
            decode::<(u32, String, Vec<u8>, Option<u64>)>(&bytes).expect("decodes"),
            value
        );
    }

    /// What was written must be readable again: a value that only encodes is refused.
    #[test]
    fn nothing_is_encoded_that_would_not_decode() {
        let long = vec![7u8; DECODE_LIMIT + 1];
        assert!(matches!(encode(&long), Err(CodecError::TooLong(_))));
        let bytes = encode_file(&long).expect("a file may be longer");
        assert_eq!(decode_file::<Vec<u8>>(&bytes).expect("and is read"), long);
    }

    #[test]
    fn trailing_bytes_and_length_bombs_are_errors() {
        let mut bytes = encode(&5u32).expect("encodes");
        bytes.push(0);
        assert!(matches!(
            decode::<u32>(&bytes),
            Err(CodecError::Trailing(1))
        ));
        let bomb = encode(&u64::MAX).expect("encodes");
        assert!(matches!(
            decode::<Vec<u8>>(&bomb),
            Err(CodecError::Decode(_))
        ));
    }
}
