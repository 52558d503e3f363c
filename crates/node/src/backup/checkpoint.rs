//! The last cosigned checkpoints that are known when a log is about to come back from a copy, and
//! the one rule that is written here: a log never comes back shorter, or other, than what was
//! cosigned.
//!
//! Signatures are not verified here, because a forged checkpoint can only forbid more. Who withholds
//! one permits more; therefore none at all must be said aloud, and every approver still refuses a log
//! that does not go on from what it folded.

use std::path::{Path, PathBuf};

use bailiwick_tlog::{Checkpoint, SignedCheckpoint};
use bailiwick_types::{Digest, Jurisdiction};

use crate::approver::decode_follower;

/// A checkpoint file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointsError {
    /// It cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no signed checkpoint.
    #[error("{} is no signed checkpoint: {reason}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An approver has folded nothing yet.
    #[error("the approver has folded nothing of {0} yet")]
    Blank(Jurisdiction),
}

/// A log that must not come back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// It is shorter than what was cosigned.
    #[error("its log {origin} has {leaves} leaves, {cosigned} were cosigned")]
    BelowCosigned {
        /// The log.
        origin: String,
        /// Leaves that would come back.
        leaves: u64,
        /// Leaves that were cosigned.
        cosigned: u64,
    },
    /// It has another leaf somewhere below the cosigned size.
    #[error("its log {origin} is another than the one cosigned at {size} leaves")]
    Fork {
        /// The log.
        origin: String,
        /// The cosigned size.
        size: u64,
    },
    /// Nobody said what was cosigned.
    #[error("no cosigned checkpoint of log {origin} is known")]
    Unknown {
        /// The log.
        origin: String,
    },
}

impl LogFault {
    /// The fault's name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BelowCosigned { .. } => "below_cosigned",
            Self::Fork { .. } => "fork",
            Self::Unknown { .. } => "no_checkpoint",
        }
    }
}

/// Checkpoints from whoever remembers them, the largest of each log.
#[derive(Clone, Debug, Default)]
pub struct KnownCheckpoints {
    known: Vec<Checkpoint>,
}

impl KnownCheckpoints {
    /// Reads signed notes.
    ///
    /// # Errors
    /// [`CheckpointsError`] names the first file that cannot be used.
    pub fn read(paths: &[PathBuf]) -> Result<Self, CheckpointsError> {
        let mut known = Self::default();
        for path in paths {
            let text = std::fs::read_to_string(path).map_err(|source| CheckpointsError::Read {
                path: path.clone(),
                source,
            })?;
            known.add(&text).map_err(|reason| CheckpointsError::Form {
                path: path.clone(),
                reason,
            })?;
        }
        Ok(known)
    }

    /// Adds a signed note.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn add(&mut self, note: &str) -> Result<(), String> {
        let signed = SignedCheckpoint::parse(note).map_err(|error| error.to_string())?;
        self.known.push(signed.checkpoint().clone());
        Ok(())
    }

    /// The largest checkpoint of a log.
    pub fn of(&self, origin: &str) -> Option<&Checkpoint> {
        let of_origin = self.known.iter().filter(|known| known.origin == origin);
        of_origin.max_by_key(|known| known.size)
    }

    /// Whether a log of this size, with `root_then` at the cosigned size, may come back.
    ///
    /// # Errors
    /// [`LogFault`].
    pub fn check(
        &self,
        origin: &str,
        leaves: u64,
        root_then: Option<Digest>,
    ) -> Result<(), LogFault> {
        let origin_text = origin.to_owned();
        let Some(cosigned) = self.of(origin) else {
            return Err(LogFault::Unknown {
                origin: origin_text,
            });
        };
        if leaves < cosigned.size {
            return Err(LogFault::BelowCosigned {
                origin: origin_text,
                leaves,
                cosigned: cosigned.size,
            });
        }
        if root_then != Some(Digest(cosigned.root)) {
            return Err(LogFault::Fork {
                origin: origin_text,
                size: cosigned.size,
            });
        }
        Ok(())
    }
}

/// The last checkpoint that an approver folded, persisted and cosigned, as a signed note; read from
/// its data folder, whether it runs or not.
///
/// # Errors
/// [`CheckpointsError`] names the file.
pub fn of_approver(data: &Path, of: Jurisdiction) -> Result<String, CheckpointsError> {
    let path = data.join(of.as_str()).join("log");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CheckpointsError::Blank(of));
        }
        Err(source) => return Err(CheckpointsError::Read { path, source }),
    };
    let follower = decode_follower(&bytes).ok_or_else(|| CheckpointsError::Form {
        path: path.clone(),
        reason: "no followed log".to_owned(),
    })?;
    let last = follower.last_checkpoint();
    last.map(SignedCheckpoint::to_text)
        .ok_or(CheckpointsError::Blank(of))
}

#[cfg(test)]
mod tests {
    use bailiwick_envelope::SigningKey;
    use bailiwick_tlog::sign_checkpoint;

    use super::*;

    fn note(origin: &str, size: u64, root: u8) -> String {
        let checkpoint = Checkpoint::new(origin, size, [root; 32]).expect("valid");
        let key = SigningKey::from_bytes(&[7; 32]);
        let signature = sign_checkpoint("vault-1", &key, &checkpoint).expect("signs");
        let signed = SignedCheckpoint::new(checkpoint, signature).expect("a note");
        signed.to_text()
    }

    #[test]
    fn a_log_comes_back_at_the_largest_cosigned_size_or_above_and_as_it_was() {
        let mut known = KnownCheckpoints::default();
        for (origin, size, root) in [("a/FR", 3, 3), ("a/FR", 7, 7), ("a/DE", 90, 90)] {
            known.add(&note(origin, size, root)).expect("a note");
        }
        let digest = |byte: u8| Some(Digest([byte; 32]));
        assert_eq!(known.of("a/FR").map(|known| known.size), Some(7));
        assert_eq!(known.check("a/FR", 7, digest(7)), Ok(()));
        assert_eq!(known.check("a/FR", 8, digest(7)), Ok(()));
        let below = known.check("a/FR", 6, None).expect_err("refused");
        assert_eq!(below.code(), "below_cosigned");
        let fork = known.check("a/FR", 8, digest(8)).expect_err("refused");
        assert_eq!(fork.code(), "fork");
        let unknown = known.check("a/US", 8, digest(8)).expect_err("refused");
        assert_eq!(unknown.code(), "no_checkpoint");
    }
}
