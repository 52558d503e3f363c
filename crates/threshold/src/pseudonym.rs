//! A subject's pseudonym: what stands in labels instead of an account id.
//!
//! ```text
//! pseudonym = first 16 bytes of HMAC-SHA256(key, account id)
//! ```
//! The key belongs to one jurisdiction and never reaches a vault node.

use std::fmt;

use bailiwick_types::SubjectPseudonym;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A jurisdiction's pseudonym key. Zeroed on drop, redacted `Debug`, no `Clone`.
pub struct PseudonymKey {
    /// The key's version, which enters every label.
    pub version: u16,
    key: Zeroizing<[u8; 32]>,
}

impl PseudonymKey {
    /// The key of these bytes.
    pub fn new(version: u16, key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        Self { version, key }
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "PseudonymKey(version {}, redacted)",
            self.version
        )
    }
}

/// The pseudonym of an account under a jurisdiction's key.
pub fn pseudonym(key: &PseudonymKey, account: &str) -> SubjectPseudonym {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.key.as_ref())
        .expect("HMAC takes a key of any length");
    mac.update(account.as_bytes());
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    SubjectPseudonym(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_keys_separate_pseudonyms() {
        let key = PseudonymKey::new(1, [1; 32]);
        assert_eq!(pseudonym(&key, "a"), pseudonym(&key, "a"));
        assert_ne!(pseudonym(&key, "a"), pseudonym(&key, "b"));
        let other = PseudonymKey::new(2, [2; 32]);
        assert_ne!(pseudonym(&key, "a"), pseudonym(&other, "a"));
        assert_eq!(format!("{key:?}"), "PseudonymKey(version 1, redacted)");
    }
}
