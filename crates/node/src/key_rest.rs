//! What an operator does with an approver's keys at rest while the approver is off: look at how each
//! period's keys rest, and wrap what rests in clear (`bailiwick key audit`, `bailiwick key wrap`).
//!
//! Looking needs no master and opens nothing.

use std::io;
use std::path::{Path, PathBuf};

use bailiwick_envelope::Canonical;
use bailiwick_envelope::certificate::{KeyCertificate, kid};
use bailiwick_types::{CertificateId, Digest, Jurisdiction, KeyId, Timestamp};
use rand_core::CryptoRng;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::wrapping::{KeyFolder, Rest, Wrapping, WrappingError, key_ids, wipe};

/// How a period's private key rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// In a file that only the approver's user reads.
    Plain,
    /// Wrapped by a key of its own.
    Wrapped,
    /// Its wrapping key is destroyed; what is left opens no more.
    Erased,
    /// Nothing is there.
    Absent,
}

impl KeyState {
    /// The state as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Wrapped => "wrapped",
            Self::Erased => "erased",
            Self::Absent => "absent",
        }
    }
}

/// One period's private key on this disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeriodRest {
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The certificate.
    pub certificate: CertificateId,
    /// The period's key id.
    pub kid: KeyId,
    /// First instant at which the period seals.
    pub not_before: Timestamp,
    /// When the key is to be destroyed.
    pub erase_by: Timestamp,
    /// How it rests.
    pub state: KeyState,
    /// Whether it is still here although it was to be destroyed.
    pub overdue: bool,
}

/// What an approver's data folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyAudit {
    /// Every period of every certificate, by jurisdiction and time.
    pub periods: Vec<PeriodRest>,
    /// Files of seeds of drafts that became no certificate yet.
    pub drafts: Vec<PathBuf>,
}

/// Looks at an approver's data folder.
///
/// # Errors
/// [`WrappingError`] names the file that cannot be read.
pub fn audit(data: &Path, now: Timestamp) -> Result<KeyAudit, WrappingError> {
    let mut found = KeyAudit::default();
    for (jurisdiction, folder) in jurisdictions(data)? {
        for path in entries(&folder)? {
            let file = path.file_name().map(|name| name.to_string_lossy());
            let file = file.unwrap_or_default();
            if file.starts_with("draft-") && file.ends_with(".keys") {
                // An empty one is of a draft that became a certificate.
                if std::fs::metadata(&path).is_ok_and(|seeds| seeds.len() > 0) {
                    found.drafts.push(path);
                }
            } else if file.ends_with(".certificate") {
                let certificate = read_certificate(&path)?;
                found
                    .periods
                    .extend(rests(data, jurisdiction, &certificate, &path, now));
            }
        }
    }
    let order = |rest: &PeriodRest| (rest.jurisdiction, rest.not_before, rest.kid);
    found.periods.sort_by_key(order);
    found.drafts.sort();
    Ok(found)
}

fn rests(
    data: &Path,
    jurisdiction: Jurisdiction,
    certificate: &KeyCertificate,
    path: &Path,
    now: Timestamp,
) -> Vec<PeriodRest> {
    let id = certificate.body.id();
    let plain = path.with_extension("keys").exists();
    let folder = KeyFolder::new(data, jurisdiction);
    let periods = (0u16..).zip(&certificate.body.periods);
    let rest = |(at, period): (u16, &bailiwick_envelope::certificate::Period)| {
        let kid = kid(&id, at);
        let state = match folder.rest(Digest(kid.0)) {
            _ if plain => KeyState::Plain,
            Rest::Wrapped => KeyState::Wrapped,
            Rest::Erased => KeyState::Erased,
            Rest::Absent => KeyState::Absent,
        };
        let there = matches!(state, KeyState::Plain | KeyState::Wrapped);
        PeriodRest {
            jurisdiction,
            certificate: id,
            kid,
            not_before: period.not_before,
            erase_by: period.erase_by,
            state,
            overdue: there && period.erase_by <= now,
        }
    };
    periods.map(rest).collect()
}

/// A file of seeds that rests in clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlainFile {
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The certificate whose seeds it holds.
    pub certificate: CertificateId,
    /// The file.
    pub path: PathBuf,
}

/// The files of certified seeds that rest in clear: what [`wrap`] would wrap.
///
/// # Errors
/// [`WrappingError`] names the file that cannot be read.
pub fn plain_files(data: &Path) -> Result<Vec<PlainFile>, WrappingError> {
    let mut found = Vec::new();
    for (jurisdiction, folder) in jurisdictions(data)? {
        for path in entries(&folder)? {
            let seeds = path.with_extension("keys");
            let certified = path.extension().is_some_and(|kind| kind == "certificate");
            if certified && seeds.exists() {
                found.push(PlainFile {
                    jurisdiction,
                    certificate: read_certificate(&path)?.body.id(),
                    path: seeds,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Wraps the seeds of a file, reads every one back, and only then wipes the file. After a crash the
/// same call goes on; nothing is lost.
///
/// # Errors
/// [`WrappingError`]; the file is then still there.
pub fn wrap(
    data: &Path,
    file: &PlainFile,
    wrapping: &Wrapping,
    rng: &mut impl CryptoRng,
) -> Result<usize, WrappingError> {
    let at = |source| WrappingError::Io {
        path: file.path.clone(),
        source,
    };
    let damaged = |reason| WrappingError::Damaged {
        path: file.path.clone(),
        reason,
    };
    let bytes = Zeroizing::new(std::fs::read(&file.path).map_err(at)?);
    let (seeds, []) = bytes.as_chunks::<32>() else {
        return Err(damaged("not a list of seeds"));
    };
    let folder = KeyFolder::new(data, file.jurisdiction);
    folder.keep_all(wrapping, &file.certificate, &bytes, rng)?;
    for (id, seed) in key_ids(&file.certificate).zip(seeds) {
        let read = folder.read(wrapping, id)?;
        if read.as_deref() != Some(seed) {
            return Err(damaged("what was wrapped does not read back"));
        }
    }
    wipe(&file.path).map_err(at)?;
    Ok(seeds.len())
}

fn jurisdictions(data: &Path) -> Result<Vec<(Jurisdiction, PathBuf)>, WrappingError> {
    let folder = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.parse().ok()?;
        path.is_dir().then_some((name, path))
    };
    Ok(entries(data)?.into_iter().filter_map(folder).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, WrappingError> {
    let at = |source: io::Error| WrappingError::Io {
        path: folder.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(folder).map_err(at)?;
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    paths.map_err(at)
}

fn read_certificate(path: &Path) -> Result<KeyCertificate, WrappingError> {
    let bytes = std::fs::read(path).map_err(|source| WrappingError::Io {
        path: path.to_owned(),
        source,
    })?;
    KeyCertificate::from_bytes(&bytes).map_err(|_| WrappingError::Damaged {
        path: path.to_owned(),
        reason: "no certificate",
    })
}
