//! The text of a checkpoint: which log, how many leaves, which root.
//!
//! Follows C2SP `tlog-checkpoint`, without extension lines. Parsing is
//! strict: for each checkpoint there is exactly one text.
//!
//! ```text
//! <origin>\n
//! <size in decimal, no leading zero>\n
//! <root in standard base64, 44 characters>\n
//! ```
//!
//! Not here: signatures ([`crate::signed`]). An unsigned text proves nothing.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hash::{HASH_BYTES, Hash, empty_root};
use crate::log::MAX_TREE_SIZE;

/// Most bytes of an origin.
pub const MAX_ORIGIN_BYTES: usize = 255;

/// Most bytes of a checkpoint's text: origin, 19 digits of [`MAX_TREE_SIZE`],
/// 44 characters of base64 and three newlines.
pub const MAX_CHECKPOINT_BYTES: usize = MAX_ORIGIN_BYTES + 19 + 44 + 3;

/// A log's state: all that its signers sign.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Name of the log, unique in the world; at most [`MAX_ORIGIN_BYTES`],
    /// without control characters.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root over those leaves.
    pub root: Hash,
}

/// Why a text is no checkpoint, or a value has no text. The author of the
/// text is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The origin is empty, too long, or has control characters.
    #[error("origin is empty, longer than {MAX_ORIGIN_BYTES} bytes or has control characters")]
    Origin,
    /// The size is not a canonical decimal number up to [`MAX_TREE_SIZE`].
    #[error("size is not a canonical decimal number up to {MAX_TREE_SIZE}")]
    Size,
    /// The root is not 32 bytes in canonical base64.
    #[error("root is not {HASH_BYTES} bytes in canonical base64")]
    Root,
    /// The size is 0 and the root not that of the empty tree.
    #[error("size is 0 but the root is not that of the empty tree")]
    EmptyTreeRoot,
    /// The text has not exactly three lines, each ended by a newline.
    #[error("text is not exactly three lines that end in a newline")]
    Lines,
}

impl Checkpoint {
    /// A checkpoint that has a text.
    ///
    /// # Errors
    /// See [`Self::validate`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        let checkpoint = Self {
            origin: origin.to_owned(),
            size,
            root,
        };
        checkpoint.validate()?;
        Ok(checkpoint)
    }

    /// Checks what the text could not say, or could say in two ways.
    ///
    /// # Errors
    /// The origin or size breaks its limits, or the empty tree has a wrong
    /// root.
    pub fn validate(&self) -> Result<(), CheckpointError> {
        let origin = &self.origin;
        if origin.is_empty()
            || origin.len() > MAX_ORIGIN_BYTES
            || origin.chars().any(char::is_control)
        {
            return Err(CheckpointError::Origin);
        }
        if self.size > MAX_TREE_SIZE {
            return Err(CheckpointError::Size);
        }
        if self.size == 0 && self.root != empty_root() {
            return Err(CheckpointError::EmptyTreeRoot);
        }
        Ok(())
    }

    /// The text that is signed; at most [`MAX_CHECKPOINT_BYTES`].
    ///
    /// # Errors
    /// See [`Self::validate`]: the fields are public, and a newline in the
    /// origin would make the text say something else.
    pub fn body(&self) -> Result<String, CheckpointError> {
        self.validate()?;
        let root = BASE64_STANDARD.encode(self.root);
        Ok(format!("{}\n{}\n{root}\n", self.origin, self.size))
    }

    /// Reads the text back.
    ///
    /// # Errors
    /// Any text that [`Self::body`] does not produce is refused.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text
            .strip_suffix('\n')
            .ok_or(CheckpointError::Lines)?
            .split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        if lines.next().is_some() {
            return Err(CheckpointError::Lines);
        }
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        let root = parse_root(root).ok_or(CheckpointError::Root)?;
        Self::new(origin, size, root)
    }
}

/// A decimal number without sign, leading zero or anything around it.
fn parse_decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero {
        text.parse().ok()
    } else {
        None
    }
}

fn parse_root(text: &str) -> Option<Hash> {
    if text.len() != HASH_BYTES.div_ceil(3) * 4 {
        return None;
    }
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}
