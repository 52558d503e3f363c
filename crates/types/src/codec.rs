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

const CONFIGURATION: Configuration<LittleEndian, Fixint, Limit<DECODE_LIMIT>> =
    bincode::config::standard()
        .with_fixed_int_encoding()
        .with_limit::<DECODE_LIMIT>();

/// Why bytes are no value.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value cannot be encoded, or is longer than [`DECODE_LIMIT`].
    #[error("cannot encode")]
    Encode(#[source] bincode::error::EncodeError),
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
/// [`CodecError::Encode`] when the value is longer than [`DECODE_LIMIT`].
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, CONFIGURATION).map_err(CodecError::Encode)
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
