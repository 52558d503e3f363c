//! Private keys at rest (docs/cryptography.md section 10): each period's key is wrapped by a key of
//! its own, and that one by the approver's master, which comes from a passphrase (argon2id), a key
//! file, a systemd credential, or a key inside a PKCS#11 token.
//!
//! ```text
//! <data>/wrapping                        how the master is had: method, argon2id's cost, salt, check
//! <data>/<jurisdiction>/keys/<id>.key    seed, under the wrapping key      may be backed up
//! <data>/<jurisdiction>/wraps/<id>.wrap  wrapping key, under the master    never backed up
//! file = E(1, salt, AES-256-GCM(HKDF-SHA256(salt, key, E("bailiwick/v1/wrap", name)), nonce 0, aad name; secret))
//! ```
//! The name says jurisdiction, id and kind, so that a file in another's place does not open. To erase a
//! period is to destroy its wrapping key: what a backup has of it opens no more.
//!
//! What it gives: a copied `keys` folder, or a disk that is read while the approver is off, says
//! nothing without the master. What it does not: a passphrase or key file on the same disk protects
//! against a copied folder only, and whoever is root while the approver runs reads its memory.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use argon2::{Algorithm, Argon2, Params, Version};
use bailiwick_envelope::certificate::kid;
use bailiwick_envelope::{Decoder, Encoder};
use bailiwick_types::{CertificateId, Digest, Jurisdiction};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::files;

pub use token::{TokenError, TokenKey};

/// Least bytes of a passphrase.
pub const PASSPHRASE_BYTES: usize = 12;
/// Longest passphrase file in bytes.
const PASSPHRASE_LIMIT: usize = 1024;
/// argon2id's memory in KiB, passes and lanes: the second choice of RFC 9106, with one lane.
const COST: (u32, u32, u32) = (64 * 1024, 3, 1);
/// The most memory in KiB and passes that a `wrapping` file may ask for: it is no denial of service.
const COST_CEILING: (u32, u32) = (1024 * 1024, 16);

/// Where the master comes from: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum MasterSource {
    /// A file with a passphrase; its first line counts. Put it on a memory file system.
    PassphraseFile(PathBuf),
    /// A file with 32 bytes, hexadecimal, that only the approver's user reads.
    KeyFile(PathBuf),
    /// The name of a systemd credential with 32 bytes, hexadecimal (`LoadCredentialEncrypted=`).
    Credential(String),
    /// A key inside a PKCS#11 token.
    #[serde(rename = "pkcs11")]
    Token(TokenKey),
}

impl MasterSource {
    /// What this choice protects, in a sentence for the operator.
    pub fn protects(&self) -> &'static str {
        match self {
            Self::PassphraseFile(_) => {
                "a disk or backup without the passphrase says nothing; a weak passphrase is guessed"
            }
            Self::KeyFile(_) => {
                "a copy of the data folder says nothing without the key file; the whole disk does"
            }
            Self::Credential(_) => {
                "a disk without this machine's TPM or host key says nothing, as systemd-creds sealed it"
            }
            Self::Token(_) => {
                "a disk or backup without the token and its PIN says nothing; the token's key never leaves it"
            }
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::PassphraseFile(_) => 1,
            Self::KeyFile(_) => 2,
            Self::Credential(_) => 3,
            Self::Token(_) => 4,
        }
    }
}

/// Why keys at rest cannot be used: the operator's or the disk's fault.
#[derive(Debug, thiserror::Error)]
pub enum WrappingError {
    /// A file cannot be read or written.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key file or credential does not hold 64 hexadecimal digits.
    #[error(transparent)]
    KeyFile(#[from] files::KeyFileError),
    /// The passphrase is too short or too long.
    #[error("the passphrase in {0} has fewer than {PASSPHRASE_BYTES} or more than 1,024 bytes")]
    Passphrase(PathBuf),
    /// The service manager gave no credentials.
    #[error("credential {0}: CREDENTIALS_DIRECTORY is not set; start the approver under systemd")]
    NoCredentials(String),
    /// The token gives no master.
    #[error("{key}")]
    Token {
        /// Which key of which token.
        key: TokenKey,
        /// Why.
        source: Box<TokenError>,
    },
    /// The folder's keys are wrapped by another method, or another master.
    #[error(
        "{0}: another passphrase, key file, credential or token than the one that wrapped these keys"
    )]
    OtherMaster(PathBuf),
    /// A file is no wrapped key, or not the one that its name says.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        reason: &'static str,
    },
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> WrappingError {
    let path = path.to_owned();
    move |source| WrappingError::Io { path, source }
}

/// An approver's master, ready to wrap and unwrap. Zeroed on drop, redacted `Debug`, no `Clone`.
pub struct Wrapping {
    master: Zeroizing<[u8; 32]>,
}

impl Wrapping {
    /// The master of a data folder. The first time, the folder notes the method, its cost, a salt and
    /// a check value, so that a wrong passphrase is told from a damaged file.
    ///
    /// # Errors
    /// [`WrappingError`] names the file; nothing was unwrapped.
    pub fn open(
        data: &Path,
        source: &MasterSource,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, WrappingError> {
        let path = data.join("wrapping");
        let note = match read(&path)? {
            Some(bytes) => Some(Note::from_bytes(&bytes).ok_or(WrappingError::Damaged {
                path: path.clone(),
                reason: "no note of a wrapping",
            })?),
            None => None,
        };
        let (mut note, known) = match note {
            Some(note) => (note, true),
            None => (Note::draw(source, rng), false),
        };
        if note.method != source.code() {
            return Err(WrappingError::OtherMaster(path));
        }
        let wrapping = Self {
            master: note.derive(&secret_of(source, &note.salt, !known)?, &path)?,
        };
        let check = wrapping.derive(&note.salt, "check");
        if !known {
            note.check = *check;
            files::replace(&path, &note.to_bytes()).map_err(io_at(&path))?;
        } else if note.check != *check {
            return Err(WrappingError::OtherMaster(path));
        }
        Ok(wrapping)
    }

    fn derive(&self, salt: &[u8; 32], name: &str) -> Zeroizing<[u8; 32]> {
        derive(&self.master, salt, name)
    }

    /// Wraps a secret under the master and a name.
    pub fn seal(&self, name: &str, secret: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        seal(&self.master, name, secret, rng)
    }

    /// Unwraps what [`Wrapping::seal`] made under the same name; `None` for anything else.
    pub fn unseal(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        unseal(&self.master, name, sealed)
    }
}

impl fmt::Debug for Wrapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Wrapping(redacted)")
    }
}

/// The file `wrapping`: `E(1, method, memory in KiB, passes, lanes, salt, check)`.
struct Note {
    method: u8,
    cost: (u32, u32, u32),
    salt: [u8; 32],
    check: [u8; 32],
}

impl Note {
    fn draw(source: &MasterSource, rng: &mut impl CryptoRng) -> Self {
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        Self {
            method: source.code(),
            cost: COST,
            salt,
            check: [0; 32],
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        let (memory, passes, lanes) = self.cost;
        encoder.u8(1).u8(self.method);
        encoder.u32(memory).u32(passes).u32(lanes);
        encoder.bytes(&self.salt).bytes(&self.check);
        encoder.finish()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u8("wrapping.version").ok()?;
        let method = decoder.u8("wrapping.method").ok()?;
        let memory = decoder.u32("wrapping.memory").ok()?;
        let passes = decoder.u32("wrapping.passes").ok()?;
        let lanes = decoder.u32("wrapping.lanes").ok()?;
        let note = Self {
            method,
            cost: (memory, passes, lanes),
            salt: decoder.array("wrapping.salt").ok()?,
            check: decoder.array("wrapping.check").ok()?,
        };
        decoder.finish().ok()?;
        let bounded = memory <= COST_CEILING.0 && passes <= COST_CEILING.1 && lanes == COST.2;
        (version == 1 && bounded).then_some(note)
    }

    /// The master: argon2id of a passphrase; of 32 random bytes, their own HKDF.
    fn derive(&self, secret: &[u8], path: &Path) -> Result<Zeroizing<[u8; 32]>, WrappingError> {
        let mut master = Zeroizing::new([0; 32]);
        if self.method != 1 {
            let key = secret
                .try_into()
                .expect("a key file or token gives 32 bytes");
            return Ok(derive(&Zeroizing::new(key), &self.salt, "master"));
        }
        let damaged = |_| WrappingError::Damaged {
            path: path.to_owned(),
            reason: "its cost is none that argon2id takes",
        };
        let (memory, passes, lanes) = self.cost;
        let cost = Params::new(memory, passes, lanes, Some(32)).map_err(damaged)?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, cost)
            .hash_password_into(secret, &self.salt, master.as_mut_slice())
            .map_err(damaged)?;
        Ok(master)
    }
}

/// What the master is derived from. A token makes its key the first time only.
fn secret_of(
    source: &MasterSource,
    salt: &[u8; 32],
    first: bool,
) -> Result<Zeroizing<Vec<u8>>, WrappingError> {
    let path = match source {
        MasterSource::PassphraseFile(path) => return passphrase(path),
        MasterSource::KeyFile(path) => path.clone(),
        MasterSource::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
            let folder = folder.ok_or_else(|| WrappingError::NoCredentials(name.clone()))?;
            PathBuf::from(folder).join(name)
        }
        MasterSource::Token(key) => {
            return key
                .secret(salt, first)
                .map_err(|source| WrappingError::Token {
                    key: key.clone(),
                    source: Box::new(source),
                });
        }
    };
    Ok(Zeroizing::new(files::read_secret(&path)?.to_vec()))
}

fn passphrase(path: &Path) -> Result<Zeroizing<Vec<u8>>, WrappingError> {
    let content = Zeroizing::new(std::fs::read(path).map_err(io_at(path))?);
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    if (PASSPHRASE_BYTES..=PASSPHRASE_LIMIT).contains(&line.len()) {
        Ok(Zeroizing::new(line.to_vec()))
    } else {
        Err(WrappingError::Passphrase(path.to_owned()))
    }
}

/// `HKDF-SHA256(salt, key, E("bailiwick/v1/wrap", name))`.
fn derive(key: &[u8; 32], salt: &[u8; 32], name: &str) -> Zeroizing<[u8; 32]> {
    let mut info = Encoder::new();
    info.text("bailiwick/v1/wrap").text(name);
    let mut derived = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), key)
        .expand(info.as_bytes(), derived.as_mut_slice())
        .expect("HKDF-SHA256 gives 32 bytes");
    derived
}

fn seal(key: &[u8; 32], name: &str, secret: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    let derived = derive(key, &salt, name);
    let payload = Payload {
        msg: secret,
        aad: name.as_bytes(),
    };
    // The derived key has a fresh salt and seals this one message: hence the zero nonce.
    let sealed = Aes256Gcm::new((&*derived).into()).encrypt(&[0; 12].into(), payload);
    let mut encoder = Encoder::new();
    encoder.u8(1).bytes(&salt);
    encoder.bytes(&sealed.expect("a key is far below the cipher's limit"));
    encoder.finish()
}

fn unseal(key: &[u8; 32], name: &str, file: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoder = Decoder::new(file);
    let version = decoder.u8("wrapped.version").ok()?;
    let salt = decoder.array("wrapped.salt").ok()?;
    let sealed = decoder.bytes("wrapped.sealed").ok()?;
    decoder.finish().ok()?;
    let derived = derive(key, &salt, name);
    let payload = Payload {
        msg: sealed,
        aad: name.as_bytes(),
    };
    let opened = Aes256Gcm::new((&*derived).into()).decrypt(&[0; 12].into(), payload);
    opened.ok().filter(|_| version == 1).map(Zeroizing::new)
}

/// The ids under which a certificate's seeds are kept, in the order of `DraftKeys::to_bytes`.
pub(crate) fn key_ids(certificate: &CertificateId) -> impl Iterator<Item = Digest> {
    let periods = (0..u16::MAX).map(|period| Digest(kid(certificate, period).0));
    std::iter::once(Digest(certificate.0)).chain(periods)
}

/// How a key rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rest {
    /// Key and wrapping key are there.
    Wrapped,
    /// The wrapping key is gone: what is left opens no more.
    Erased,
    /// Nothing is there.
    Absent,
}

/// The wrapped keys of one jurisdiction.
#[derive(Debug)]
pub struct KeyFolder {
    jurisdiction: Jurisdiction,
    folder: PathBuf,
}

impl KeyFolder {
    /// The folder of a jurisdiction inside an approver's data folder. Nothing is made or read.
    pub fn new(data: &Path, jurisdiction: Jurisdiction) -> Self {
        let folder = data.join(jurisdiction.as_str());
        Self {
            jurisdiction,
            folder,
        }
    }

    fn key_path(&self, id: Digest) -> PathBuf {
        self.folder.join("keys").join(format!("{id}.key"))
    }

    fn wrap_path(&self, id: Digest) -> PathBuf {
        self.folder.join("wraps").join(format!("{id}.wrap"))
    }

    fn name(&self, kind: &str, id: Digest) -> String {
        format!("{}/{kind}/{id}", self.jurisdiction)
    }

    /// Keeps a seed under a new wrapping key of its own. A crash leaves the old key, or the new one
    /// whole: the wrapping key is written last.
    ///
    /// # Errors
    /// [`WrappingError::Io`].
    pub fn keep(
        &self,
        wrapping: &Wrapping,
        id: Digest,
        seed: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<(), WrappingError> {
        for folder in ["keys", "wraps"] {
            let folder = self.folder.join(folder);
            files::create_private_folder(&folder).map_err(io_at(&folder))?;
        }
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut_slice());
        let (key_path, wrap_path) = (self.key_path(id), self.wrap_path(id));
        let sealed = seal(&key, &self.name("key", id), seed, rng);
        files::replace(&key_path, &sealed).map_err(io_at(&key_path))?;
        let wrap = wrapping.seal(&self.name("wrap", id), key.as_slice(), rng);
        files::replace(&wrap_path, &wrap).map_err(io_at(&wrap_path))
    }

    /// Keeps the seeds of a certificate as `DraftKeys::to_bytes` lists them: the documents key under
    /// the certificate's id, then each period's under its key id.
    ///
    /// # Errors
    /// [`WrappingError`]; some may then be kept, and keeping them again is no harm.
    pub fn keep_all(
        &self,
        wrapping: &Wrapping,
        certificate: &CertificateId,
        seeds: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), WrappingError> {
        let (seeds, _) = seeds.as_chunks::<32>();
        for (id, seed) in key_ids(certificate).zip(seeds) {
            self.keep(wrapping, id, seed, rng)?;
        }
        Ok(())
    }

    /// The seed, if it is there; an erased one is not.
    ///
    /// # Errors
    /// [`WrappingError::Damaged`] when a file is not what its name says.
    pub fn read(
        &self,
        wrapping: &Wrapping,
        id: Digest,
    ) -> Result<Option<Zeroizing<[u8; 32]>>, WrappingError> {
        let (key_path, wrap_path) = (self.key_path(id), self.wrap_path(id));
        let (Some(sealed), Some(wrap)) = (read(&key_path)?, read(&wrap_path)?) else {
            return Ok(None);
        };
        let key = wrapping.unseal(&self.name("wrap", id), &wrap);
        let key = secret(key, wrap_path)?;
        let seed = unseal(&key, &self.name("key", id), &sealed);
        secret(seed, key_path).map(Some)
    }

    /// Destroys a key: its wrapping key is renamed away, after which the key is erased for every
    /// reader, then overwritten and unlinked, then the rest. When it returns, neither is there after a
    /// power cut; when it was interrupted, the same call goes on. Says whether anything was there.
    ///
    /// # Errors
    /// [`WrappingError::Io`]; the key must then be taken to be there.
    ///
    /// # Security
    /// Overwriting reaches what the file system rewrites in place. Where it copies on write, or the
    /// disk remaps, old blocks stay until they are reused: they are still under the master.
    pub fn destroy(&self, id: Digest) -> Result<bool, WrappingError> {
        let wrap = self.wrap_path(id);
        let gone = wrap.with_extension("gone");
        let mut there = match std::fs::rename(&wrap, &gone) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(io_at(&wrap)(error)),
        };
        for path in [gone, self.key_path(id)] {
            there |= wipe(&path).map_err(io_at(&path))?;
        }
        Ok(there)
    }

    /// How a key rests; nothing is unwrapped.
    pub fn rest(&self, id: Digest) -> Rest {
        match (self.key_path(id).exists(), self.wrap_path(id).exists()) {
            (true, true) => Rest::Wrapped,
            (false, false) => Rest::Absent,
            _ => Rest::Erased,
        }
    }
}

fn secret(
    opened: Option<Zeroizing<Vec<u8>>>,
    path: PathBuf,
) -> Result<Zeroizing<[u8; 32]>, WrappingError> {
    let bytes = opened.and_then(|bytes| Some(Zeroizing::new(bytes.as_slice().try_into().ok()?)));
    bytes.ok_or(WrappingError::Damaged {
        path,
        reason: "not a key of this name under this master",
    })
}

/// Overwrites a file, syncs it, unlinks it and syncs its folder.
///
/// # Errors
/// The disk's error.
pub(crate) fn wipe(path: &Path) -> io::Result<bool> {
    if !empty(path)? {
        return Ok(false);
    }
    std::fs::remove_file(path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(true)
}

/// Overwrites a file, syncs it, and leaves it empty. Says whether there was one.
///
/// # Errors
/// The disk's error.
pub(crate) fn empty(path: &Path) -> io::Result<bool> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut io::Read::take(io::repeat(0), length), &mut file)?;
    file.flush()?;
    file.sync_all()?;
    file.set_len(0)?;
    file.sync_all()?;
    Ok(true)
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, WrappingError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_at(path)(source)),
    }
}

mod token;

#[cfg(test)]
mod tests;
