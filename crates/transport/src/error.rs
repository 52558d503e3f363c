//! How a call, a stream or a connection attempt fails, and whether its outcome is known.

use bailiwick_types::identity::Identity;
use bytes::Bytes;

/// A handler's typed refusal: travels to the caller as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The handler's code; this crate does not interpret it.
    pub code: u16,
    /// The handler's encoded reason, at most [`crate::limits::REFUSAL_BYTES`] bytes.
    pub message: Bytes,
}

impl Refusal {
    /// A refusal with a code and an encoded reason.
    pub fn new(code: u16, message: impl Into<Bytes>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

/// Why a call brought no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The handler refused; the code and message are its own.
    #[error("refused by the callee with code {code}")]
    Refused {
        /// The handler's code.
        code: u16,
        /// The handler's encoded reason.
        message: Bytes,
    },
    /// The callee's matrix does not allow this role this operation; nothing ran.
    #[error("this role may not call this operation")]
    NotAuthorised,
    /// The callee does not know or does not serve this operation; nothing ran.
    #[error("the callee does not serve this operation")]
    NotServed,
    /// The call carried no deadline; nothing ran.
    #[error("a call needs a deadline above zero")]
    NoDeadline,
    /// The deadline passed; the outcome is unknown.
    #[error("the deadline passed, outcome unknown")]
    Deadline,
    /// The connection closed after the call was handed to it; the outcome is unknown.
    #[error("the connection closed, outcome unknown")]
    Closed,
    /// The connection was closed or closing before the call was sent; nothing ran.
    #[error("the connection is closed, nothing was sent")]
    NotSent,
    /// The payload is longer than a message may be; nothing ran.
    #[error("payload of {length} bytes is over the limit")]
    TooLarge {
        /// The payload's length in bytes.
        length: usize,
    },
    /// The handler's reply was longer than a message may be; it did run.
    #[error("the callee's reply was over the limit, outcome unknown")]
    ReplyTooLarge,
    /// Too many streams are open, or calls waiting, on this connection; nothing ran.
    #[error("too many calls or streams on this connection")]
    Busy,
    /// The callee failed inside; the outcome is unknown.
    #[error("the callee failed inside, outcome unknown")]
    Internal,
}

impl CallError {
    /// Whether the operation may have taken effect. A caller repeats it only with the same
    /// idempotency key.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Deadline | Self::Closed | Self::ReplyTooLarge | Self::Internal => true,
            Self::Refused { .. }
            | Self::NotAuthorised
            | Self::NotServed
            | Self::NoDeadline
            | Self::NotSent
            | Self::TooLarge { .. }
            | Self::Busy => false,
        }
    }
}

/// Why a stream stopped other than by its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The handler ended the stream with a refusal, or the server refused to open it.
    #[error("the stream was refused")]
    Refused(#[source] CallError),
    /// The other side gave the stream up before its end; what arrived so far may be incomplete.
    #[error("the peer gave the stream up")]
    Reset,
    /// The connection closed.
    #[error("the connection closed")]
    Closed,
    /// The message is longer than a message may be.
    #[error("message of {length} bytes is over the limit")]
    TooLarge {
        /// The message's length in bytes.
        length: usize,
    },
    /// This side has already ended its direction.
    #[error("this direction of the stream has ended")]
    Finished,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address does not answer.
    #[error("cannot reach {address}")]
    Unreachable {
        /// The address tried.
        address: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The handshake failed: a certificate was refused by one of both sides, or it is no TLS 1.3.
    #[error("TLS handshake with {address} failed")]
    Handshake {
        /// The address tried.
        address: String,
        /// rustls' reason.
        #[source]
        source: std::io::Error,
    },
    /// The peer proved another identity than the one expected.
    #[error("{address} is {found}, which was not expected")]
    UnexpectedPeer {
        /// The address tried.
        address: String,
        /// Who answered.
        found: Box<Identity>,
    },
    /// The peer speaks another protocol version.
    #[error("the peer speaks protocol {theirs}, this process {oldest} to {ours}")]
    Protocol {
        /// The newest version that this process speaks.
        ours: u16,
        /// The oldest version that this process speaks.
        oldest: u16,
        /// The peer's version.
        theirs: u16,
    },
    /// The peer belongs to another cluster.
    #[error("the peer belongs to another cluster")]
    Cluster,
    /// The peer is at its connection limit for this identity or in total.
    #[error("the peer takes no more connections")]
    Busy,
    /// Not done within the connect timeout.
    #[error("no connection to {address} within the timeout")]
    Timeout {
        /// The address tried.
        address: String,
    },
    /// The pool waits before it tries this address again.
    #[error("{address} failed {failures} times, waiting before the next attempt")]
    BackingOff {
        /// The address.
        address: String,
        /// Consecutive failures.
        failures: u32,
    },
}
