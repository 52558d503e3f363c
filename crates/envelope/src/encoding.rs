//! The canonical encoding `E(a, b, ..)` (docs/cryptography.md section 3).
//!
//! ```text
//! field  := length u32 big-endian | bytes
//! E(..)  := field field ..            integers are fields of 1, 2, 4 or 8 big-endian bytes;
//! list   := a field that holds E(item, item, ..);  an optional value is a list of none or one
//! ```
//! The encoding is injective: there is one byte string for a sequence of fields and the decoder
//! rejects every other. It is what we sign and hash; no serde format is.

use bailiwick_types::Digest;

/// Appends fields to a growing encoding.
#[derive(Debug, Default, Clone)]
pub struct Encoder {
    buffer: Vec<u8>,
}

impl Encoder {
    /// An encoder with no fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(capacity),
        }
    }

    /// A field of bytes.
    ///
    /// # Panics
    /// When the field is 4 GiB or longer, which no limit of ours allows.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u32::try_from(bytes.len()).expect("limits keep every field under 4 GiB");
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(bytes);
        self
    }

    /// A field of UTF-8 text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// A field of text given in pieces, so that nothing is allocated to join them.
    pub(crate) fn pieces<const N: usize>(&mut self, pieces: [&str; N]) -> &mut Self {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let length = u32::try_from(length).expect("tags are short");
        self.buffer.extend_from_slice(&length.to_be_bytes());
        for piece in pieces {
            self.buffer.extend_from_slice(piece.as_bytes());
        }
        self
    }

    /// A digest as a 32-byte field.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.bytes(&digest.0)
    }

    /// A 1-byte integer.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// A 2-byte integer.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A 4-byte integer.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// An 8-byte integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A nested encoding, as one field.
    pub fn list(&mut self, fill: impl FnOnce(&mut Encoder)) -> &mut Self {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        fill(self);
        let length = self.buffer.len() - start - 4;
        let length = u32::try_from(length).expect("limits keep every field under 4 GiB");
        self.buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// Each item's encoding as a field of one list.
    pub fn items<T: Canonical>(&mut self, items: &[T]) -> &mut Self {
        self.list(|list| {
            for item in items {
                list.list(|nested| item.encode(nested));
            }
        })
    }

    /// A value that may be missing: a list of none or one.
    pub fn optional<T: Canonical>(&mut self, value: Option<&T>) -> &mut Self {
        self.list(|list| {
            if let Some(value) = value {
                list.list(|nested| value.encode(nested));
            }
        })
    }

    /// The encoding so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The finished encoding.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}

/// Why bytes are no canonical encoding of a type; `field` names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("{field}: the input ends inside the field")]
    Truncated {
        /// The field.
        field: &'static str,
    },
    /// The field has another length than its type.
    #[error("{field}: expected {expected} bytes, got {got}")]
    Length {
        /// The field.
        field: &'static str,
        /// Bytes the type needs.
        expected: usize,
        /// Bytes that were there.
        got: usize,
    },
    /// The field's value is not one of its type.
    #[error("{field}: {reason}")]
    Value {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Bytes are left after the last field.
    #[error("{0} bytes are left after the last field")]
    Trailing(usize),
}

impl DecodeError {
    /// A [`DecodeError::Value`].
    pub fn value(field: &'static str, reason: &'static str) -> Self {
        Self::Value { field, reason }
    }
}

/// Reads fields off an encoding.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// A decoder over the whole input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all fields were read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let truncated = DecodeError::Truncated { field };
        let (length, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(truncated.clone())?;
        let length = u32::from_be_bytes(*length) as usize;
        if rest.len() < length {
            return Err(truncated);
        }
        let (bytes, rest) = rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    /// The next field as exactly `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Length`].
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.bytes(field)?;
        bytes.try_into().map_err(|_| DecodeError::Length {
            field,
            expected: N,
            got: bytes.len(),
        })
    }

    /// The next field as text of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when it is longer or no UTF-8.
    pub fn text(&mut self, field: &'static str, limit: usize) -> Result<String, DecodeError> {
        let bytes = self.bytes(field)?;
        if bytes.len() > limit {
            return Err(DecodeError::value(field, "text is too long"));
        }
        let text = std::str::from_utf8(bytes);
        text.map(str::to_owned)
            .map_err(|_| DecodeError::value(field, "text is no UTF-8"))
    }

    /// The next field as text that parses.
    ///
    /// # Errors
    /// [`DecodeError`] when it is over 256 bytes, no UTF-8, or does not parse.
    pub fn parse<T: std::str::FromStr>(&mut self, field: &'static str) -> Result<T, DecodeError> {
        let text = self.text(field, 256)?;
        text.parse()
            .map_err(|_| DecodeError::value(field, "text is not of its type"))
    }

    /// The next field as a digest.
    ///
    /// # Errors
    /// As [`Decoder::array`].
    pub fn digest(&mut self, field: &'static str) -> Result<Digest, DecodeError> {
        self.array(field).map(Digest)
    }

    /// The next field as a 1-byte integer.
    ///
    /// # Errors
    /// As [`Decoder::array`].
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// The next field as a 2-byte integer.
    ///
    /// # Errors
    /// As [`Decoder::array`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// The next field as a 4-byte integer.
    ///
    /// # Errors
    /// As [`Decoder::array`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// The next field as an 8-byte integer.
    ///
    /// # Errors
    /// As [`Decoder::array`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A decoder over the next field, which is a nested encoding.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn list(&mut self, field: &'static str) -> Result<Decoder<'a>, DecodeError> {
        self.bytes(field).map(Decoder::new)
    }

    /// A list of at most `limit` items.
    ///
    /// # Errors
    /// [`DecodeError`] of an item, or when there are more.
    pub fn items<T: Canonical>(
        &mut self,
        field: &'static str,
        limit: usize,
    ) -> Result<Vec<T>, DecodeError> {
        let mut list = self.list(field)?;
        let mut items = Vec::new();
        while !list.is_empty() {
            if items.len() == limit {
                return Err(DecodeError::value(field, "too many items"));
            }
            items.push(T::from_bytes(list.bytes(field)?)?);
        }
        Ok(items)
    }

    /// A value that may be missing.
    ///
    /// # Errors
    /// [`DecodeError`] of the value, or when there is more than one.
    pub fn optional<T: Canonical>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<T>, DecodeError> {
        self.items(field, 1).map(|mut items| items.pop())
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}

/// A type with exactly one encoding.
pub trait Canonical: Sized {
    /// Appends this value's fields.
    fn encode(&self, encoder: &mut Encoder);

    /// Reads this value's fields and leaves what follows.
    ///
    /// # Errors
    /// [`DecodeError`] names the first field that is wrong.
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError>;

    /// The whole encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        self.encode(&mut encoder);
        encoder.finish()
    }

    /// The value of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] for anything but the one encoding of a value.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let value = Self::decode(&mut decoder)?;
        decoder.finish()?;
        Ok(value)
    }
}

/// Lets a canonical type travel inside serde messages as its canonical bytes.
#[macro_export]
macro_rules! canonical_serde {
    ($($name:ty),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&$crate::Canonical::to_bytes(self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let bytes = $crate::encoding::bytes_of(deserializer)?;
                <Self as $crate::Canonical>::from_bytes(&bytes).map_err(serde::de::Error::custom)
            }
        }
    )+};
}

/// Reads a serde byte string, for [`canonical_serde!`].
///
/// # Errors
/// The deserializer's.
pub fn bytes_of<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Vec<u8>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("canonical bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = list.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes)
        }
    }
    deserializer.deserialize_byte_buf(Visitor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// encode_is_injective: two different field sequences never share an encoding, since the
        /// decoder reads back exactly the fields that were written.
        #[test]
        fn encode_is_injective(fields in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
            let mut encoder = Encoder::new();
            for field in &fields {
                encoder.bytes(field);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let mut read = Vec::new();
            while !decoder.is_empty() {
                read.push(decoder.bytes("field").expect("whole").to_vec());
            }
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn decoder_never_panics(bytes in any::<Vec<u8>>()) {
            let mut decoder = Decoder::new(&bytes);
            while !decoder.is_empty() {
                if decoder.bytes("field").is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_encoding() {
        let encode = |a: &str, b: &str| {
            let mut encoder = Encoder::new();
            encoder.text(a).text(b);
            encoder.finish()
        };
        assert_ne!(encode("ab", "c"), encode("a", "bc"));
    }

    #[test]
    fn wrong_width_and_trailing_bytes_are_named() {
        let mut encoder = Encoder::new();
        encoder.u16(5);
        let mut decoder = Decoder::new(encoder.as_bytes());
        let error = DecodeError::Length {
            field: "count",
            expected: 4,
            got: 2,
        };
        assert_eq!(decoder.u32("count"), Err(error));
        let mut decoder = Decoder::new(&[0, 0, 0, 1, 7, 9]);
        assert_eq!(decoder.u8("one"), Ok(7));
        assert_eq!(decoder.finish(), Err(DecodeError::Trailing(1)));
    }
}
