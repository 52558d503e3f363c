//! What an approver keeps on disk: the keys of its drafts and certificates, and the followed logs.
//!
//! ```text
//! <data>/<jurisdiction>/draft-<digest>.keys     seeds of keys offered, not certified yet
//! <data>/<jurisdiction>/<certid>.draft         which draft became the certificate
//! <data>/<jurisdiction>/<certid>.keys           seeds of a certificate's keys, in period order
//! <data>/<jurisdiction>/<certid>.certificate    the certificate, canonical
//! <data>/<jurisdiction>/keys, wraps             instead of it, the same seeds wrapped one by one
//! <data>/<jurisdiction>/log                     the followed log, replaced as a whole
//! ```
//! Where the configuration names a master, keys rest wrapped (`crate::wrapping`); else as files that
//! only the approver's user reads. A draft's seeds are wiped when its certificate's are kept: a second
//! copy would outlive an erasure. A follower is replaced on disk before its checkpoint is cosigned.

use std::io;
use std::path::{Path, PathBuf};

use bailiwick_disclosure::{DraftKeys, ForkEvidence, LogFollower, MemberKeys, PartitionFacts};
use bailiwick_envelope::Canonical;
use bailiwick_envelope::certificate::{KeyCertificate, kid};
use bailiwick_threshold::DecapsulationKey;
use bailiwick_types::{CertificateId, Digest, Jurisdiction, codec};
use zeroize::Zeroizing;

use crate::files;
use crate::wrapping::{KeyFolder, MasterSource, Rest, Wrapping, WrappingError, empty};

/// Bytes of a key's seed.
const SEED: usize = 32;

/// Why the key store cannot be used: the disk's or the operator's fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeystoreError {
    /// A file cannot be read or written.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is damaged.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        reason: &'static str,
    },
    /// The keys at rest cannot be wrapped or unwrapped.
    #[error(transparent)]
    Wrapping(#[from] WrappingError),
}

/// The approver's data folder.
pub(super) struct Keystore {
    data: PathBuf,
    wrapping: Option<Wrapping>,
}

impl Keystore {
    /// Opens the folder, made when it is not there.
    pub(super) fn open(data: &Path, master: Option<&MasterSource>) -> Result<Self, KeystoreError> {
        files::create_private_folder(data).map_err(|source| KeystoreError::Io {
            path: data.to_owned(),
            source,
        })?;
        let wrapping = match master {
            Some(master) => Some(Wrapping::open(data, master, &mut rand::rng())?),
            None => None,
        };
        Ok(Self {
            data: data.to_owned(),
            wrapping,
        })
    }

    fn folder(&self, jurisdiction: Jurisdiction) -> Result<PathBuf, KeystoreError> {
        let path = self.data.join(jurisdiction.as_str());
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(KeystoreError::Io { path, source }),
        }
    }

    fn draft_path(&self, of: Jurisdiction, draft: Digest) -> Result<PathBuf, KeystoreError> {
        Ok(self.folder(of)?.join(format!("draft-{draft}.keys")))
    }

    /// The keys offered for a draft, if any.
    pub(super) fn draft(
        &self,
        of: Jurisdiction,
        draft: Digest,
    ) -> Result<Option<DraftKeys>, KeystoreError> {
        let path = self.draft_path(of, draft)?;
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        // A list of seeds is a multiple of 32 bytes long; a wrapped one never is.
        let seeds = match (&self.wrapping, bytes.len() % SEED) {
            (_, 0) => Some(bytes),
            (Some(wrapping), _) => wrapping.unseal(&draft_name(of, draft), &bytes),
            (None, _) => None,
        };
        match seeds.and_then(|seeds| DraftKeys::from_bytes(&seeds)) {
            Some(keys) => Ok(Some(keys)),
            None => Err(KeystoreError::Damaged {
                path,
                reason: "neither a list of seeds nor one wrapped by this approver's master",
            }),
        }
    }

    /// How many drafts have keys here and became no certificate.
    pub(super) fn unfinished_drafts(&self, of: Jurisdiction) -> Result<usize, KeystoreError> {
        let path = self.folder(of)?;
        let io = |source| KeystoreError::Io {
            path: path.clone(),
            source,
        };
        let (mut drafts, mut named) = (0_usize, 0_usize);
        for entry in std::fs::read_dir(&path).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let name = name.to_string_lossy();
            drafts += usize::from(name.starts_with("draft-") && name.ends_with(".keys"));
            named += usize::from(name.ends_with(".draft"));
        }
        Ok(drafts.saturating_sub(named))
    }

    /// Keeps the keys of a draft, before they are offered.
    pub(super) fn keep_draft(
        &self,
        of: Jurisdiction,
        draft: Digest,
        keys: &DraftKeys,
    ) -> Result<(), KeystoreError> {
        let seeds = keys.to_bytes();
        let path = self.draft_path(of, draft)?;
        match &self.wrapping {
            None => replace(&path, &seeds),
            Some(wrapping) => {
                let name = draft_name(of, draft);
                replace(&path, &wrapping.seal(&name, &seeds, &mut rand::rng()))
            }
        }
    }

    /// Notes which certificate a draft became, before it is signed.
    pub(super) fn name_draft(
        &self,
        of: Jurisdiction,
        draft: Digest,
        certificate: CertificateId,
    ) -> Result<(), KeystoreError> {
        let path = self.folder(of)?.join(format!("{certificate}.draft"));
        replace(&path, draft.to_string().as_bytes())
    }

    /// The keys offered for the draft that became this certificate.
    pub(super) fn draft_of(
        &self,
        of: Jurisdiction,
        certificate: CertificateId,
    ) -> Result<Option<DraftKeys>, KeystoreError> {
        match self.named_draft(of, certificate)? {
            Some(draft) => self.draft(of, draft),
            None => Ok(None),
        }
    }

    fn named_draft(
        &self,
        of: Jurisdiction,
        certificate: CertificateId,
    ) -> Result<Option<Digest>, KeystoreError> {
        let path = self.folder(of)?.join(format!("{certificate}.draft"));
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).ok();
        let draft = text.and_then(|text| text.parse().ok());
        draft.map(Some).ok_or(KeystoreError::Damaged {
            path,
            reason: "no draft's digest",
        })
    }

    /// Whether a draft has become a certificate whose keys are kept: its seeds are wiped, and no
    /// other ones are to be made for it.
    pub(super) fn is_spent(&self, of: Jurisdiction, draft: Digest) -> Result<bool, KeystoreError> {
        let path = self.draft_path(of, draft)?;
        Ok(std::fs::metadata(&path).is_ok_and(|file| file.len() == 0))
    }

    /// Wipes the seeds of the draft that became this certificate, which are kept elsewhere now. An
    /// empty file stays, which says that the draft is spent.
    fn forget_draft(
        &self,
        of: Jurisdiction,
        certificate: CertificateId,
    ) -> Result<(), KeystoreError> {
        let Some(draft) = self.named_draft(of, certificate)? else {
            return Ok(());
        };
        let path = self.draft_path(of, draft)?;
        empty(&path).map_err(|source| KeystoreError::Io { path, source })?;
        Ok(())
    }

    /// Keeps a certificate's keys beside it: from now on they are loaded at every start.
    pub(super) fn keep_certificate(
        &self,
        certificate: &KeyCertificate,
        keys: &DraftKeys,
    ) -> Result<(), KeystoreError> {
        let (of, id) = (certificate.body.jurisdiction, certificate.body.id());
        let seeds = keys.to_bytes();
        match &self.wrapping {
            None => replace(&self.folder(of)?.join(format!("{id}.keys")), &seeds)?,
            Some(wrapping) => {
                let folder = KeyFolder::new(&self.data, of);
                folder.keep_all(wrapping, &id, &seeds, &mut rand::rng())?;
            }
        }
        replace(
            &self.folder(of)?.join(format!("{id}.certificate")),
            &certificate.to_bytes(),
        )?;
        self.forget_draft(of, id)
    }

    /// Whether a certificate's keys are here.
    pub(super) fn has_certificate(&self, of: Jurisdiction, id: CertificateId) -> bool {
        self.data
            .join(of.as_str())
            .join(format!("{id}.certificate"))
            .exists()
    }

    /// Loads all certified keys of a jurisdiction.
    pub(super) fn load(
        &self,
        of: Jurisdiction,
        keys: &mut MemberKeys,
    ) -> Result<(), KeystoreError> {
        let folder = self.folder(of)?;
        let io = |source| KeystoreError::Io {
            path: folder.clone(),
            source,
        };
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path
                .extension()
                .is_none_or(|extension| extension != "certificate")
            {
                continue;
            }
            let bytes = read(&path)?.unwrap_or_default();
            let certificate =
                KeyCertificate::from_bytes(&bytes).map_err(|_| KeystoreError::Damaged {
                    path: path.clone(),
                    reason: "no certificate",
                })?;
            let path = path.with_extension("keys");
            let id = certificate.body.id();
            let Some(seeds) = read(&path)? else {
                self.load_wrapped(&certificate, keys)?;
                self.forget_draft(of, id)?;
                continue;
            };
            let (seeds, []) = seeds.as_chunks::<SEED>() else {
                return Err(KeystoreError::Damaged {
                    path,
                    reason: "not a list of seeds",
                });
            };
            // The first seed is the document key's, which only intake's sealed orders need.
            for (period, seed) in (0u16..).zip(seeds.iter().skip(1)) {
                keys.insert(of, kid(&id, period), DecapsulationKey::from_bytes(seed));
            }
            self.forget_draft(of, id)?;
        }
        Ok(())
    }

    /// Unwraps the keys of a certificate's periods that are still there.
    fn load_wrapped(
        &self,
        certificate: &KeyCertificate,
        keys: &mut MemberKeys,
    ) -> Result<(), KeystoreError> {
        let (of, id) = (certificate.body.jurisdiction, certificate.body.id());
        let folder = KeyFolder::new(&self.data, of);
        for period in 0..certificate.body.periods.len() as u16 {
            let kid = kid(&id, period);
            let rests = folder.rest(Digest(kid.0));
            match &self.wrapping {
                Some(wrapping) => {
                    if let Some(seed) = folder.read(wrapping, Digest(kid.0))? {
                        keys.insert(of, kid, DecapsulationKey::from_bytes(&seed));
                    }
                }
                None if rests == Rest::Wrapped => {
                    return Err(KeystoreError::Damaged {
                        path: self.folder(of)?.join("wraps"),
                        reason: "keys are wrapped, and the configuration names no `wrapping`",
                    });
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The followed log as it was last persisted; a blank one when there is none.
    pub(super) fn follower(
        &self,
        of: Jurisdiction,
        origin: &str,
    ) -> Result<LogFollower, KeystoreError> {
        let path = self.folder(of)?.join("log");
        match read(&path)? {
            None => Ok(LogFollower::new(origin)),
            Some(bytes) => decode_follower(&bytes).ok_or(KeystoreError::Damaged {
                path,
                reason: "no followed log",
            }),
        }
    }

    /// Where a fork's evidence is kept. While it is there, nothing of this log is cosigned or released.
    pub(super) fn fork_path(&self, of: Jurisdiction) -> PathBuf {
        self.data.join(of.as_str()).join("fork-evidence")
    }

    /// Keeps both checkpoints of a fork; those of an earlier one stay.
    pub(super) fn keep_fork(
        &self,
        of: Jurisdiction,
        evidence: &ForkEvidence,
    ) -> Result<(), KeystoreError> {
        self.folder(of)?;
        let path = self.fork_path(of);
        if path.exists() {
            return Ok(());
        }
        replace(&path, evidence.to_text().as_bytes())
    }

    /// Persists a followed log: what is on disk afterwards is this state, whole.
    pub(super) fn persist(
        &self,
        of: Jurisdiction,
        follower: &LogFollower,
    ) -> Result<(), KeystoreError> {
        let path = self.folder(of)?.join("log");
        let bytes = encode_follower(follower).map_err(|_| KeystoreError::Damaged {
            path: path.clone(),
            reason: "too long",
        })?;
        replace(&path, &bytes)
    }
}

/// `follower`, and behind it what the log says of partitions where it says anything: a follower of a
/// jurisdiction of one partition is on disk what it was before there were several.
fn encode_follower(follower: &LogFollower) -> Result<Vec<u8>, codec::CodecError> {
    let partitions = follower.partitions();
    match partitions.is_empty() {
        true => codec::encode_file(follower),
        false => codec::encode_file(&(follower, partitions)),
    }
}

/// The followed log of a file's bytes; `None` when they are of no form that was ever written.
pub(crate) fn decode_follower(bytes: &[u8]) -> Option<LogFollower> {
    if let Ok(follower) = codec::decode_file::<LogFollower>(bytes) {
        return Some(follower);
    }
    let both = codec::decode_file::<(LogFollower, PartitionFacts)>(bytes);
    let (follower, partitions) = both.ok()?;
    Some(follower.with_partitions(partitions))
}

fn draft_name(of: Jurisdiction, draft: Digest) -> String {
    format!("{of}/draft/{draft}")
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeystoreError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    files::replace(path, bytes).map_err(|source| KeystoreError::Io {
        path: path.to_owned(),
        source,
    })
}
