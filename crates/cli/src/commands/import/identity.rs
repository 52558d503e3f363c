//! Record ids of an import: the same file and line give the same id, whenever they are sent.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bailiwick_envelope::sha256;
use bailiwick_types::Digest;
use sha2::{Digest as _, Sha256};

/// What one reading of a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// SHA-256 of its content.
    pub digest: Digest,
    /// How many line ends it has, for the progress bar only.
    pub line_ends: u64,
}

/// Reads a file once, in pieces.
///
/// # Errors
/// The disk's error.
pub fn scan(path: &Path) -> std::io::Result<Scan> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut line_ends = 0;
    let mut piece = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(Scan {
                digest: Digest(hasher.finalize().into()),
                line_ends,
            });
        }
        let piece = &piece[..count];
        hasher.update(piece);
        line_ends += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}

/// The id of a line's record: 16 bytes in the form of a lower-case UUID.
pub fn record_id(file: &Digest, line: u64) -> String {
    let mut input = Vec::with_capacity(40);
    input.extend_from_slice(&file.0);
    input.extend_from_slice(&line.to_be_bytes());
    let text = hex::encode(&sha256(&input).0[..16]);
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_stable_distinct_uuids() {
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        assert_eq!(record_id(&one, 7), record_id(&one, 7));
        let ids: BTreeSet<String> = [(&one, 1), (&one, 2), (&other, 1), (&other, 2)]
            .into_iter()
            .map(|(file, line)| record_id(file, line))
            .collect();
        assert_eq!(ids.len(), 4);
        assert!(
            ids.iter()
                .all(|id| id.len() == 36 && id.matches('-').count() == 4)
        );
    }
}
