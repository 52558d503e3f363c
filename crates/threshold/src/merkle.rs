//! The Merkle root of a block's leaves, for the edge's side of the manifest. Follows RFC 6962
//! section 2.1; [`bailiwick_envelope::block::block_root`] is what everybody else computes, and a
//! test holds them equal. It is here because this crate does not stand on `bailiwick-tlog`.

use crate::prf::sha256;

/// The root over leaf hashes, computed in place. Not for the empty list, which no block is.
pub(crate) fn root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    while level.len() > 1 {
        let pairs = level.len() / 2;
        for pair in 0..pairs {
            let mut message = [1; 65];
            message[1..33].copy_from_slice(&level[2 * pair]);
            message[33..].copy_from_slice(&level[2 * pair + 1]);
            level[pair] = sha256(&message);
        }
        // An odd last node stands for itself one level up.
        if level.len() % 2 == 1 {
            level[pairs] = level[level.len() - 1];
        }
        level.truncate(level.len().div_ceil(2));
    }
    level[0]
}
