//! Why a vault node did not do what it was asked.

use bailiwick_types::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

/// A typed refusal. It travels as the payload of a refused call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// This node does not lead the group: ask the named one. Nothing was done.
    #[error("this node does not lead the group")]
    NotLeader {
        /// The leader's id and address, when known.
        leader: Option<(NodeId, String)>,
    },
    /// No such shard in the cluster, or none on this node.
    #[error("no shard {0} here")]
    NoSuchShard(ShardId),
    /// The message is not of the operation's form: the caller's fault.
    #[error("the message does not decode: {0}")]
    Malformed(String),
    /// The state machine said no: `code` is stable, `message` names field and reason.
    #[error("{message}")]
    Rejected {
        /// A stable word for programs.
        code: String,
        /// What is wrong, for persons.
        message: String,
    },
    /// Too much is under way; nothing was done. Try again later.
    #[error("too much is under way; nothing was done")]
    Overloaded,
    /// The group has no leader that can commit just now; nothing was done.
    #[error("the group cannot commit just now; nothing was done")]
    Unavailable,
    /// The outcome is unknown: send the same command with the same key again.
    #[error("the outcome is unknown; send the same command again")]
    Unknown,
    /// What was asked for does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The node's disk failed.
    #[error("the node's store failed")]
    Store,
}

impl Refusal {
    /// Whether the same call may succeed later or elsewhere without being changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotLeader { .. } | Self::Overloaded | Self::Unavailable | Self::Unknown => true,
            Self::NoSuchShard(_)
            | Self::Malformed(_)
            | Self::Rejected { .. }
            | Self::NotFound(_)
            | Self::Store => false,
        }
    }
}
