//! What an import has done: the progress file and the file of refused lines.
//!
//! Refused lines are written and synced before the progress that covers them, so that a crash may
//! repeat a refused line in that file but never lose one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bailiwick_api::edge::FieldError;
use bailiwick_node::files::replace;
use bailiwick_types::Digest;
use serde::{Deserialize, Serialize};

/// What the progress file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// SHA-256 of the imported file.
    pub digest: Digest,
    /// The last line up to which all are acknowledged.
    pub lines: u64,
}

/// A refused line, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// The line's number, from 1.
    pub line: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub error: FieldError,
}

/// Keeps both files.
pub struct Journal {
    path: PathBuf,
    refused_path: PathBuf,
    refused: Option<File>,
    progress: Progress,
    /// Acknowledged batches that wait for an earlier one: first line, last line.
    waiting: BTreeMap<u64, u64>,
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

impl Journal {
    /// Opens the journal of a file; progress of another content is begun anew.
    ///
    /// # Errors
    /// The disk's error.
    pub fn open(file: &Path, digest: Digest) -> std::io::Result<Self> {
        let path = beside(file, ".progress");
        let before = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let fresh = Progress { digest, lines: 0 };
        let progress = before.filter(|before: &Progress| before.digest == digest);
        Ok(Self {
            path,
            refused_path: beside(file, ".refused.ndjson"),
            refused: None,
            progress: progress.unwrap_or(fresh),
            waiting: BTreeMap::new(),
        })
    }

    /// The last line up to which all are acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.progress.lines
    }

    /// Where refused lines are kept.
    pub fn refused_path(&self) -> &Path {
        &self.refused_path
    }

    /// Keeps refused lines, on disk when this returns.
    ///
    /// # Errors
    /// The disk's error.
    pub fn refuse(&mut self, lines: &[RefusedLine]) -> std::io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        let file = match &mut self.refused {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                options.create(true).append(true).mode(0o600);
                self.refused.insert(options.open(&self.refused_path)?)
            }
        };
        file.write_all(&text)?;
        file.sync_data()
    }

    /// Notes that a batch's lines are acknowledged; the progress file moves when all lines before
    /// it are too. `after` is the last line before the batch's own.
    ///
    /// # Errors
    /// The disk's error.
    pub fn acknowledge(&mut self, after: u64, last: u64) -> std::io::Result<()> {
        self.waiting.insert(after, last);
        let before = self.progress.lines;
        while let Some(last) = self.waiting.remove(&self.progress.lines) {
            self.progress.lines = last;
        }
        if self.progress.lines == before {
            return Ok(());
        }
        replace(&self.path, &serde_json::to_vec(&self.progress)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
    use super::*;

    #[test]
    fn progress_moves_only_over_contiguous_batches_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.csv");
        let digest = Digest([1; 32]);
        let mut journal = Journal::open(&file, digest).unwrap();
        journal.acknowledge(1000, 2000).unwrap();
        assert_eq!(
            journal.acknowledged(),
            0,
            "the first batch is still under way"
        );
        assert_eq!(Journal::open(&file, digest).unwrap().acknowledged(), 0);
        journal.acknowledge(0, 1000).unwrap();
        assert_eq!(Journal::open(&file, digest).unwrap().acknowledged(), 2000);
        let other = Journal::open(&file, Digest([2; 32])).unwrap();
        assert_eq!(other.acknowledged(), 0, "another content begins anew");
    }

    #[test]
    fn refused_lines_are_kept_with_field_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.csv");
        let mut journal = Journal::open(&file, Digest([1; 32])).unwrap();
        let error = FieldError::new("ip.port", "missing", "a port is needed");
        journal.refuse(&[RefusedLine { line: 7, error }]).unwrap();
        let text = std::fs::read_to_string(journal.refused_path()).unwrap();
        let kept: RefusedLine = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((kept.line, kept.error.field.as_str()), (7, "ip.port"));
    }
}
