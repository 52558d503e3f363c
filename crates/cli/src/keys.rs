//! Key files that the program writes and reads: private halves as 64 hexadecimal digits, never
//! overwritten; a recipient's public half as a card.
//!
//! ```text
//! name = "desk-1"                     # its id, as in its certificate name
//! certificate = "<64 hex digits>"     # SHA-256 of the certificate that vouches for the key
//! key = "<2,432 hex digits>"          # X-Wing encapsulation key, 1,216 bytes
//! ```

use std::path::{Path, PathBuf};

use bailiwick_envelope::request::Recipient;
use bailiwick_envelope::{EncapsulationKey, IdentityKey, SigningKey};
use bailiwick_node::files::{KeyFileError, read_secret, write_secret};
use bailiwick_threshold::{DecapsulationKey, PseudonymKey};
use bailiwick_types::{Digest, Name};
use rand::TryRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The version that pseudonym key files hold; a later version is a later file format.
pub const PSEUDONYM_KEY_VERSION: u16 = 1;

/// A recipient's public half, as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipientCard {
    /// Its id, as in its certificate name.
    pub name: Name,
    /// SHA-256 of the certificate that vouches for the key.
    pub certificate: Digest,
    /// The X-Wing encapsulation key, hexadecimal.
    pub key: String,
}

impl RecipientCard {
    /// The card of a key.
    pub fn new(name: Name, certificate: Digest, key: &EncapsulationKey) -> Self {
        Self {
            name,
            certificate,
            key: hex::encode(key.as_bytes()),
        }
    }

    /// Reads a card.
    ///
    /// # Errors
    /// [`Failure`] (usage) names the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<Recipient, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let card: Self = toml::from_str(&text).map_err(|error| Failure::file(path, &error))?;
        let key = hex::decode(&card.key).map_err(|error| Failure::file(path, &error))?;
        let key = EncapsulationKey::new(&key).map_err(|error| Failure::file(path, &error))?;
        Ok(Recipient {
            name: card.name,
            key,
            certificate: card.certificate,
        })
    }

    /// Where the card of a private key's file is written.
    pub fn beside(private: &Path) -> PathBuf {
        private.with_extension("card.toml")
    }
}

/// Draws 32 bytes from the operating system.
///
/// # Errors
/// When the operating system gives none.
pub fn draw() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

/// Makes an Ed25519 key, writes its private half to a new file, and returns its public half.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn generate_signing_key(path: &Path) -> anyhow::Result<IdentityKey> {
    let secret = draw()?;
    write_secret(path, &secret)?;
    Ok(IdentityKey::of(&SigningKey::from_bytes(&secret)))
}

/// Makes an X-Wing key, writes its private half to a new file, and returns its public half.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn generate_recipient_key(path: &Path) -> anyhow::Result<EncapsulationKey> {
    let secret = draw()?;
    write_secret(path, &secret)?;
    Ok(DecapsulationKey::from_bytes(&secret).encapsulation_key())
}

/// Reads a recipient's private key.
///
/// # Errors
/// [`KeyFileError`] names the file.
pub fn read_recipient_key(path: &Path) -> Result<DecapsulationKey, KeyFileError> {
    read_secret(path).map(|secret| DecapsulationKey::from_bytes(&secret))
}

/// Reads a jurisdiction's pseudonym key.
///
/// # Errors
/// [`KeyFileError`] names the file.
pub fn read_pseudonym_key(path: &Path) -> Result<PseudonymKey, KeyFileError> {
    read_secret(path).map(|secret| PseudonymKey::new(PSEUDONYM_KEY_VERSION, *secret))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
    use super::*;

    #[test]
    fn a_recipients_card_and_private_key_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let private = folder.path().join("desk-1.key");
        let key = generate_recipient_key(&private).unwrap();
        let card = RecipientCard::new("desk-1".parse().unwrap(), Digest([7; 32]), &key);
        let path = RecipientCard::beside(&private);
        std::fs::write(&path, toml::to_string(&card).unwrap()).unwrap();
        let recipient = RecipientCard::load(&path).unwrap();
        assert_eq!(
            recipient.key,
            read_recipient_key(&private).unwrap().encapsulation_key()
        );
        assert!(
            generate_recipient_key(&private).is_err(),
            "a key is never overwritten"
        );
    }
}
