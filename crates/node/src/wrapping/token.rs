//! An approver's master from a PKCS#11 token: the token's key never leaves it; what leaves is
//! `HMAC-SHA256(key, salt of the folder)`, from which the master is derived.

use std::fmt;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest PIN file in bytes.
const PIN_LIMIT: u64 = 256;

/// Where a token's key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TokenKey {
    /// The vendor's PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The label of a generic secret key in it; the first time, the token makes one.
    pub key: String,
    /// A file whose first line is the user's PIN, readable by the approver's user only.
    pub pin_file: PathBuf,
}

/// Why a token gives no master: its operator's fault, or the token's.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The library, or the token behind it, answers with an error.
    #[error("the token refuses to {step}")]
    Refused {
        /// What was asked of it.
        step: &'static str,
        /// What it says.
        source: Error,
    },
    /// No token, or several, have the label.
    #[error("{found} tokens have the label {label}")]
    Token {
        /// The label.
        label: String,
        /// How many have it.
        found: usize,
    },
    /// No key, or several, have the label.
    #[error("{found} secret keys in the token have the label {label}")]
    Key {
        /// The label.
        label: String,
        /// How many have it.
        found: usize,
    },
    /// The key could be read out of the token: then it protects no more than a file.
    #[error("key {0} may be taken out of its token")]
    Extractable(String),
    /// The PIN file cannot be read.
    #[error("pin file {path}")]
    Pin {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token gave something else than 32 bytes.
    #[error("the token's key gave {0} bytes, not 32")]
    Length(usize),
}

fn refused(step: &'static str) -> impl FnOnce(Error) -> TokenError {
    move |source| TokenError::Refused { step, source }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "key {} of token {}", self.key, self.token)
    }
}

impl TokenKey {
    /// `HMAC-SHA256(key, salt)`, 32 bytes, computed inside the token. With `make`, a token without
    /// a key of this label makes one: sensitive, never extractable.
    ///
    /// # Errors
    /// [`TokenError`] says what is missing or what the token refuses.
    pub(super) fn secret(
        &self,
        salt: &[u8; 32],
        make: bool,
    ) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let session = self.session()?;
        let key = match (self.find(&session)?, make) {
            (Some(key), _) => key,
            (None, true) => self.make(&session)?,
            (None, false) => return Err(self.missing(0)),
        };
        self.check_stays(&session, key)?;
        let mac = session.sign(&Mechanism::Sha256Hmac, key, salt);
        let mac = Zeroizing::new(mac.map_err(refused("compute with the key"))?);
        match mac.len() {
            32 => Ok(mac),
            other => Err(TokenError::Length(other)),
        }
    }

    fn session(&self) -> Result<Session, TokenError> {
        let library = Pkcs11::new(&self.module).map_err(refused("load its library"))?;
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another approver of this process did.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(source) => return Err(refused("start")(source)),
        }
        let slots = library.get_slots_with_initialized_token();
        let mut named = Vec::new();
        for slot in slots.map_err(refused("list tokens"))? {
            let info = library.get_token_info(slot);
            if info.map_err(refused("say its label"))?.label().trim_end() == self.token {
                named.push(slot);
            }
        }
        let [slot] = named[..] else {
            let (label, found) = (self.token.clone(), named.len());
            return Err(TokenError::Token { label, found });
        };
        let session = library.open_rw_session(slot);
        let session = session.map_err(refused("open a session"))?;
        match session.login(UserType::User, Some(&pin(&self.pin_file)?)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(source) => Err(refused("take the PIN")(source)),
        }
    }

    fn label(&self) -> Attribute {
        Attribute::Label(self.key.as_bytes().to_vec())
    }

    fn missing(&self, found: usize) -> TokenError {
        let label = self.key.clone();
        TokenError::Key { label, found }
    }

    fn find(&self, session: &Session) -> Result<Option<ObjectHandle>, TokenError> {
        let template = [Attribute::Class(ObjectClass::SECRET_KEY), self.label()];
        let found = session.find_objects(&template);
        match found.map_err(refused("look for the key"))?[..] {
            [] => Ok(None),
            [key] => Ok(Some(key)),
            ref several => Err(self.missing(several.len())),
        }
    }

    fn make(&self, session: &Session) -> Result<ObjectHandle, TokenError> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::ValueLen(32.into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            self.label(),
        ];
        let made = session.generate_key(&Mechanism::GenericSecretKeyGen, &template);
        made.map_err(refused("make a key"))
    }

    /// A key that can be read out protects no more than a file.
    fn check_stays(&self, session: &Session, key: ObjectHandle) -> Result<(), TokenError> {
        let asked = [AttributeType::Sensitive, AttributeType::Extractable];
        let said = session.get_attributes(key, &asked);
        let said = said.map_err(refused("describe the key"))?;
        let stays = said.contains(&Attribute::Sensitive(true))
            && said.contains(&Attribute::Extractable(false));
        match stays {
            true => Ok(()),
            false => Err(TokenError::Extractable(self.key.clone())),
        }
    }
}

fn pin(path: &Path) -> Result<AuthPin, TokenError> {
    let pin_error = |source| {
        let path = path.to_owned();
        TokenError::Pin { path, source }
    };
    let file = std::fs::File::open(path).map_err(pin_error)?;
    let content = std::io::read_to_string(std::io::Read::take(file, PIN_LIMIT));
    let content = Zeroizing::new(content.map_err(pin_error)?);
    let line = content.lines().next().unwrap_or_default();
    Ok(AuthPin::new(line.into()))
}
