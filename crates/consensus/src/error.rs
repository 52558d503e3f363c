//! How each operation of a [`crate::Host`] fails, and whether its outcome is known.

use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;

use crate::group::Leader;

/// Why a host or a group did not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The write-ahead log, a record store or a snapshot could not be opened: this node's disk.
    #[error("storage of this node: {0}")]
    Storage(String),
    /// The configured timings contradict each other: the operator's configuration.
    #[error("raft timings: {0}")]
    Timings(String),
    /// The group may not be placed on a node of this region.
    #[error("group {0} is not allowed on this node")]
    Placement(GroupId),
    /// This node runs the group already with another state machine.
    #[error("group {0} already runs here with another state machine")]
    KindChanged(GroupId),
    /// The group stopped with a fatal error.
    #[error("group {0} stopped: {1}")]
    Stopped(GroupId, String),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

/// Why a proposal brought no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead the group. Nothing was appended.
    #[error("this node does not lead the group")]
    NotLeader {
        /// Who does, when known.
        leader: Option<Leader>,
    },
    /// Definitely not appended, for a passing reason, until the deadline: repeat it here.
    #[error("not appended for a passing reason, try again")]
    Retry,
    /// The outcome is unknown: repeat with the same idempotency key.
    #[error("the outcome is unknown")]
    Unknown,
    /// This node has no such group.
    #[error("this node has no group {0}")]
    NoSuchGroup(GroupId),
    /// Too many proposals are under way in the group. Nothing was appended.
    #[error("too many proposals are under way")]
    Overloaded,
    /// The command is longer than [`crate::Host::COMMAND_BYTES`].
    #[error("a command of {length} bytes is over the limit")]
    TooLarge {
        /// The command's length in bytes.
        length: usize,
    },
    /// The host is shutting down. Nothing was appended.
    #[error("the host is shutting down")]
    ShuttingDown,
}

/// Why a read was not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node does not lead the group.
    #[error("this node does not lead the group")]
    NotLeader {
        /// Who does, when known.
        leader: Option<Leader>,
    },
    /// No quorum confirmed the leadership within the deadline: try again.
    #[error("no quorum confirmed the leadership in time")]
    Unconfirmed,
    /// This node has no such group.
    #[error("this node has no group {0}")]
    NoSuchGroup(GroupId),
    /// This node's disk.
    #[error("storage of this node: {0}")]
    Storage(String),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

/// Why a change of leadership or membership, or a snapshot, did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdministerError {
    /// This node does not lead the group.
    #[error("this node does not lead the group")]
    NotLeader {
        /// Who does, when known.
        leader: Option<Leader>,
    },
    /// This node has no such group.
    #[error("this node has no group {0}")]
    NoSuchGroup(GroupId),
    /// The node is no voter of the group, or no peer of this cluster.
    #[error("node {0} cannot take this part")]
    UnknownNode(NodeId),
    /// Another change of the membership is under way.
    #[error("another change is under way")]
    InProgress,
    /// The change itself is not allowed: no voter would be left, for example.
    #[error("refused: {0}")]
    Refused(String),
    /// It did not finish within its deadline; it may still happen.
    #[error("not finished in time, outcome unknown")]
    Unknown,
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

/// Why another vault node did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It said no; the payload is its own.
    #[error("refused")]
    Refused(Bytes),
    /// No answer: whether it was done is unknown.
    #[error("no answer: {0}")]
    NoAnswer(String),
}
