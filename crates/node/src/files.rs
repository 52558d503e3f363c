//! Small files of secrets and marks: 32-byte keys as hexadecimal, written once, never world-readable.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bailiwick_envelope::SigningKey;
use zeroize::Zeroizing;

/// A key file that cannot be used: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("key file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not 64 hexadecimal digits.
    #[error("key file {path} does not hold 64 hexadecimal digits")]
    Form {
        /// The file.
        path: PathBuf,
    },
}

/// Makes a folder, and those above it, that only its owner enters; one that is there stays as it is.
///
/// # Errors
/// The system's error.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Reads 32 secret bytes.
///
/// # Errors
/// [`KeyFileError`] names the file.
pub fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), bytes.as_mut_slice()).map_err(|_| KeyFileError::Form {
        path: path.to_owned(),
    })?;
    Ok(bytes)
}

/// Writes 32 secret bytes to a new file that only its owner reads.
///
/// # Errors
/// [`KeyFileError::Io`], also when the file exists: a key is never overwritten.
pub fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<(), KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let text = Zeroizing::new(hex::encode(secret) + "\n");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io)?;
    sync_parent(path).map_err(io)
}

/// Reads a signing key.
///
/// # Errors
/// [`KeyFileError`] names the file.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, KeyFileError> {
    read_secret(path).map(|secret| SigningKey::from_bytes(&secret))
}

/// Replaces a file as a whole: written beside it, synced, renamed, directory synced. A crash leaves
/// the old or the new content.
///
/// # Errors
/// The disk's error.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_overwritten_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        write_secret(&path, &[7; 32]).expect("written");
        assert_eq!(*read_secret(&path).expect("read"), [7; 32]);
        assert!(write_secret(&path, &[8; 32]).is_err());
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mark");
        replace(&path, b"one").expect("written");
        replace(&path, b"two").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
    }
}
