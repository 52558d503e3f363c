//! `bailiwick record import`: a file of records through the edge, in calls of 1,000 with several
//! under way, resumable, and with every refused line kept.
//!
//! ```text
//! <FILE>.progress         {"digest":"<sha256 of FILE>","lines":N}   replaced atomically
//! <FILE>.refused.ndjson   {"line":N,"field":"..","code":"..","message":".."}   appended
//! record id = first 16 bytes of sha256(sha256(FILE) || line number as u64, big-endian)
//! ```
//! A line counts as acknowledged when the edge said stored, duplicate or refused. `lines` is the
//! last line up to which all are. Lines after it are sent again after an interruption, with the
//! same ids, so that nothing is stored twice.

pub mod identity;
pub mod journal;
pub mod source;
pub mod transfer;
