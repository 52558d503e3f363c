//! What an approver keeps on disk: the keys of its drafts and certificates, and the followed logs.
//!
//! ```text
//! <data>/<jurisdiction>/draft-<digest>.keys     seeds of keys offered, not certified yet
//! <data>/<jurisdiction>/<certid>.draft         which draft became the certificate
//! <data>/<jurisdiction>/<certid>.keys           seeds of a certificate's keys, in period order
//! <data>/<jurisdiction>/<certid>.certificate    the certificate, canonical
//! <data>/<jurisdiction>/log                     the followed log, replaced as a whole
//! ```
//! Keys rest as files that only the approver's user reads; wrapping them at rest is the business of
//! the key-management commands. A follower is replaced on disk before its checkpoint is cosigned.

use std::io;
use std::path::{Path, PathBuf};

use bailiwick_disclosure::{DraftKeys, ForkEvidence, LogFollower, MemberKeys, PartitionFacts};
use bailiwick_envelope::Canonical;
use bailiwick_envelope::certificate::{KeyCertificate, kid};
use bailiwick_threshold::DecapsulationKey;
use bailiwick_types::{CertificateId, Digest, Jurisdiction, codec};
use zeroize::Zeroizing;

use crate::files;

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
}

/// The approver's data folder.
pub(super) struct Keystore {
    data: PathBuf,
}

impl Keystore {
    /// Opens the folder, made when it is not there.
    pub(super) fn open(data: &Path) -> Result<Self, KeystoreError> {
        files::create_private_folder(data).map_err(|source| KeystoreError::Io {
            path: data.to_owned(),
            source,
        })?;
        Ok(Self {
            data: data.to_owned(),
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
        match DraftKeys::from_bytes(&bytes) {
            Some(keys) => Ok(Some(keys)),
            None => Err(KeystoreError::Damaged {
                path,
                reason: "not a list of seeds",
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
        replace(&self.draft_path(of, draft)?, &keys.to_bytes())
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
        let path = self.folder(of)?.join(format!("{certificate}.draft"));
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).ok();
        match text.and_then(|text| text.parse().ok()) {
            Some(draft) => self.draft(of, draft),
            None => Err(KeystoreError::Damaged {
                path,
                reason: "no draft's digest",
            }),
        }
    }

    /// Keeps a certificate's keys beside it: from now on they are loaded at every start.
    pub(super) fn keep_certificate(
        &self,
        certificate: &KeyCertificate,
        keys: &DraftKeys,
    ) -> Result<(), KeystoreError> {
        let (of, id) = (certificate.body.jurisdiction, certificate.body.id());
        replace(
            &self.folder(of)?.join(format!("{id}.keys")),
            &keys.to_bytes(),
        )?;
        replace(
            &self.folder(of)?.join(format!("{id}.certificate")),
            &certificate.to_bytes(),
        )
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
            let seeds = read(&path)?.unwrap_or_default();
            let (seeds, []) = seeds.as_chunks::<SEED>() else {
                return Err(KeystoreError::Damaged {
                    path,
                    reason: "not a list of seeds",
                });
            };
            let id = certificate.body.id();
            // The first seed is the document key's, which only intake's sealed orders need.
            for (period, seed) in (0u16..).zip(seeds.iter().skip(1)) {
                keys.insert(of, kid(&id, period), DecapsulationKey::from_bytes(seed));
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
