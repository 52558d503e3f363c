//! What a server counted: connections accepted, and refusals by reason. No label can carry personal
//! data: reasons are an enum.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a server refused a connection, a call or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// Too many handshakes were pending; the oldest gave way.
    HandshakesPending,
    /// The handshake did not finish in time.
    HandshakeTimeout,
    /// TLS failed: certificate, version or protocol name.
    Handshake,
    /// The hello was malformed, or of another protocol version or cluster.
    Hello,
    /// The peer is at its own connection limit.
    ConnectionsPerPeer,
    /// The server is at its total connection limit.
    ConnectionsTotal,
    /// The role may not call the operation.
    NotAuthorised,
    /// The operation is unknown or not served by this process.
    NotServed,
    /// A call without a deadline.
    NoDeadline,
    /// A handler was stopped at its deadline.
    Deadline,
    /// A stream over the connection's limit.
    StreamsPerConnection,
    /// A frame over the length limit, or one that breaks the protocol.
    Frame,
    /// Data beyond a stream's credit.
    Credit,
    /// Nothing arrived for the idle timeout, or a begun frame did not finish within it.
    Idle,
    /// The peer stopped reading.
    WriteStalled,
    /// The connection reached its maximum age.
    Age,
    /// The peer's certificate expired or was revoked while connected.
    CertificateWithdrawn,
    /// A handler panicked.
    HandlerFailed,
}

impl RefusalReason {
    /// All reasons, in order.
    pub const ALL: [Self; 18] = [
        Self::HandshakesPending,
        Self::HandshakeTimeout,
        Self::Handshake,
        Self::Hello,
        Self::ConnectionsPerPeer,
        Self::ConnectionsTotal,
        Self::NotAuthorised,
        Self::NotServed,
        Self::NoDeadline,
        Self::Deadline,
        Self::StreamsPerConnection,
        Self::Frame,
        Self::Credit,
        Self::Idle,
        Self::WriteStalled,
        Self::Age,
        Self::CertificateWithdrawn,
        Self::HandlerFailed,
    ];

    /// The name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HandshakesPending => "handshakes-pending",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::Handshake => "handshake",
            Self::Hello => "hello",
            Self::ConnectionsPerPeer => "connections-per-peer",
            Self::ConnectionsTotal => "connections-total",
            Self::NotAuthorised => "not-authorised",
            Self::NotServed => "not-served",
            Self::NoDeadline => "no-deadline",
            Self::Deadline => "deadline",
            Self::StreamsPerConnection => "streams-per-connection",
            Self::Frame => "frame",
            Self::Credit => "credit",
            Self::Idle => "idle",
            Self::WriteStalled => "write-stalled",
            Self::Age => "age",
            Self::CertificateWithdrawn => "certificate-withdrawn",
            Self::HandlerFailed => "handler-failed",
        }
    }
}

/// Counters of one server; they only grow, except [`Counters::open`].
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    calls: AtomicU64,
    refused: [AtomicU64; RefusalReason::ALL.len()],
}

impl Counters {
    /// TCP connections accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Authenticated connections open now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Calls and streams handed to the handler.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Refusals for one reason.
    pub fn refused(&self, reason: RefusalReason) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, reason: RefusalReason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
