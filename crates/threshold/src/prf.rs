//! HMAC-SHA256 with its two key blocks already absorbed, so that a value costs two compressions and
//! nothing of the key is kept but what drop zeroes.
//!
//! Small functions carry `#[inline]`, without which they are calls between code generation units.
//!
//! [`bailiwick_envelope::mac`] is the definition; a test holds them equal. The `hmac` crate is not
//! used here because its state cannot be zeroed, and a cached state is as good as the key.

use bailiwick_envelope::MacTag;
use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// SHA-256's initial state (FIPS 180-4 section 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const BLOCK: usize = 64;

/// An HMAC-SHA256 key of 32 bytes, ready to use.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Prf {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Prf {
    /// The function under a key.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let absorbed = |pad: u8| {
            let mut block = [pad; BLOCK];
            for at in 0..key.len() {
                block[at] ^= key[at];
            }
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            block[..key.len()].zeroize();
            state
        };
        Self {
            inner: absorbed(0x36),
            outer: absorbed(0x5c),
        }
    }

    /// What a thief of memory takes.
    #[cfg(test)]
    pub(crate) fn copy(&self) -> Self {
        let (inner, outer) = (self.inner, self.outer);
        Self { inner, outer }
    }

    /// `mac(k, t, x) = HMAC-SHA256(k, t || x)`.
    #[inline]
    pub(crate) fn mac(&self, tag: MacTag, input: &[u8; 32]) -> [u8; 32] {
        const LENGTH: usize = 8 + 32;
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(&tag.bytes());
        block[8..LENGTH].copy_from_slice(input);
        let mut state = self.inner;
        finish(&mut state, &mut block, LENGTH, BLOCK + LENGTH);
        self.close(state)
    }

    /// HMAC-SHA256 of a message, which is padded in its own buffer.
    fn of(&self, message: &mut Vec<u8>) -> [u8; 32] {
        let mut state = self.inner;
        pad_and_absorb(&mut state, message, 0, BLOCK);
        self.close(state)
    }

    #[inline]
    fn close(&self, inner: [u32; 8]) -> [u8; 32] {
        let mut block = [0; BLOCK];
        block[..32].copy_from_slice(&bytes_of(inner));
        let mut state = self.outer;
        finish(&mut state, &mut block, 32, BLOCK + 32);
        bytes_of(state)
    }
}

/// HKDF-SHA256 (RFC 5869) of one session: the salt is its id, which is public.
pub(crate) struct RecordKdf(Prf);

impl RecordKdf {
    /// The function for a session.
    pub(crate) fn new(sid: &[u8; 32]) -> Self {
        Self(Prf::new(sid))
    }

    /// 32 bytes from the concatenated values under `info`, which is at most 54 bytes long. The
    /// values' buffer is padded in place: it holds values no more, and its owner zeroes it.
    #[inline]
    pub(crate) fn key(&self, values: &mut Vec<u8>, info: &[u8]) -> Zeroizing<[u8; 32]> {
        let extracted = Zeroizing::new(self.0.of(values));
        let expand = Prf::new(&extracted);
        let mut block = [0; BLOCK];
        block[..info.len()].copy_from_slice(info);
        block[info.len()] = 1;
        let mut state = expand.inner;
        finish(
            &mut state,
            &mut block,
            info.len() + 1,
            BLOCK + info.len() + 1,
        );
        Zeroizing::new(expand.close(state))
    }
}

/// SHA-256 of a public message in one piece.
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    let mut state = INITIAL;
    let (blocks, tail) = message.as_chunks::<BLOCK>();
    compress256(&mut state, blocks);
    let mut block = [0; BLOCK];
    block[..tail.len()].copy_from_slice(tail);
    finish(&mut state, &mut block, tail.len(), message.len());
    bytes_of(state)
}

/// SHA-256 of what stands in a buffer from `start`. The padding is appended, so that no part of the
/// message is copied; the caller truncates it.
pub(crate) fn sha256_padding(buffer: &mut Vec<u8>, start: usize) -> [u8; 32] {
    let mut state = INITIAL;
    pad_and_absorb(&mut state, buffer, start, 0);
    bytes_of(state)
}

/// Absorbs a buffer from `start` with SHA-256's padding; `before` bytes were absorbed already.
#[inline]
fn pad_and_absorb(state: &mut [u32; 8], buffer: &mut Vec<u8>, start: usize, before: usize) {
    let length = buffer.len() - start;
    let padded = (length + 9).next_multiple_of(BLOCK);
    buffer.push(0x80);
    buffer.resize(start + padded - 8, 0);
    buffer.extend_from_slice(&(8 * (before + length) as u64).to_be_bytes());
    compress256(state, buffer[start..].as_chunks::<BLOCK>().0);
}

/// Absorbs the last `filled` bytes of a message of `total` bytes with the padding. What follows
/// them in the block is zero.
#[inline]
fn finish(state: &mut [u32; 8], block: &mut [u8; BLOCK], filled: usize, total: usize) {
    block[filled] = 0x80;
    if filled >= BLOCK - 8 {
        compress256(state, &[*block]);
        *block = [0; BLOCK];
    }
    block[BLOCK - 8..].copy_from_slice(&(8 * total as u64).to_be_bytes());
    compress256(state, &[*block]);
}

#[inline]
fn bytes_of(state: [u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (at, word) in state.iter().enumerate() {
        bytes[4 * at..4 * at + 4].copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use hkdf::Hkdf;
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_definitions(
            key in any::<[u8; 32]>(),
            input in any::<[u8; 32]>(),
            message in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            for tag in MacTag::ALL {
                let expected = bailiwick_envelope::mac(&key, *tag, &input);
                prop_assert_eq!(Prf::new(&key).mac(*tag, &input), expected);
            }
            prop_assert_eq!(sha256(&message), bailiwick_envelope::sha256(&message).0);
            let mut buffer = [&key[..], &message].concat();
            prop_assert_eq!(sha256_padding(&mut buffer, 32), sha256(&message));
            let mut expected = [0; 32];
            let reference = Hkdf::<Sha256>::new(Some(&key), &message);
            reference.expand(&input, &mut expected).expect("32 bytes are not too many");
            prop_assert_eq!(*RecordKdf::new(&key).key(&mut message.clone(), &input), expected);
        }
    }
}
