//! The stream that an approver works from (`Operation::Attend`): it dials out, the home group's
//! leader wakes it. On this stream the leader only says what there is; what an approver decides, it
//! decides on what it verified itself.
//!
//! ```text
//! approver -> leader   Attend (the stream's header)
//! leader   -> approver Event ..
//! approver -> leader   Answer ..
//! ```

use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_types::{RequestId, Role, ShardId, Slot};
use serde::{Deserialize, Serialize};

use crate::session::CertificateDraft;

/// The code of the refusal of an approver that has folded more leaves than the committed log has. An
/// alarm: the log was brought back from an older copy.
pub const LOG_SHORTER: &str = "log_shorter";

/// The stream's header: who attends what, and from where in the log.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Attend {
    /// The home shard.
    pub shard: ShardId,
    /// The approver's role.
    pub role: Role,
    /// The approver's slot.
    pub slot: Slot,
    /// How many leaves it has folded and persisted.
    pub log_size: u64,
}

/// Most leaves of one event; a longer log comes in several.
pub const EVENT_LEAVES: usize = 1024;
/// Most headers of one event.
pub const EVENT_SESSIONS: usize = 32;

/// What the leader says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The log grew: fold these leaves, which end exactly at the checkpoint, and cosign it.
    Checkpoint {
        /// The leader's signed checkpoint, as a note.
        note: String,
        /// The leaves from what the approver has to the checkpoint's size.
        leaves: Vec<OpenedLeaf>,
    },
    /// A checkpoint has cosignatures of t and more than half of each role.
    Cosigned {
        /// The checkpoint with its cosignatures, as a note.
        note: String,
    },
    /// Sessions that this member has not answered.
    Sessions(Vec<SessionHeader>),
    /// Certificates that this member has not offered keys for or not signed.
    Drafts(Vec<CertificateDraft>),
    /// Approved requests that this member has not released or refused. Only a hint.
    Approved(Vec<RequestId>),
}

/// What the approver says on the stream; everything else goes by calls of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Its cosignature of the checkpoint of this size, as a note's signature line. It has folded
    /// and persisted all leaves below that size.
    Cosignature {
        /// The checkpoint's size.
        size: u64,
        /// The signature line.
        line: String,
    },
    /// It does not cosign, and why: a fork, a bad proof. An alarm.
    Refused {
        /// The checkpoint's size.
        size: u64,
        /// Why.
        reason: String,
    },
}
