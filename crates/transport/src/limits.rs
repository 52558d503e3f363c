//! The limits of a connection, with their arithmetic.
//!
//! What one authenticated connection can make a server hold is at most
//! [`CALL_BYTES_PER_CONNECTION`] plus one frame of calls (20 MiB), [`STREAMS_PER_CONNECTION`] times
//! a window plus one message of stream data (160 MiB, only against a receiver that does not
//! read), and [`WRITE_QUEUE_BYTES`] plus one frame of output (12 MiB).

use std::time::Duration;

use bailiwick_types::limits::MESSAGE_BYTES;

/// Bytes of a frame's header after its length: kind 1, operation 2, stream 8, deadline 4.
pub const HEADER_BYTES: usize = 15;
/// Longest frame in bytes after its length field.
pub const FRAME_BYTES: usize = HEADER_BYTES + MESSAGE_BYTES;
/// Longest hello payload in bytes: protocol 2, presence 1, cluster 16.
pub const HELLO_BYTES: usize = 19;
/// What a stream may have under way unread, in bytes; a message is sent whole once any credit is
/// left, so that at most this and one message are held for each stream.
pub const STREAM_WINDOW_BYTES: usize = 1 << 20;
/// What a stream's message costs besides its payload, so that empty messages are bounded too:
/// 1 MiB / 64 = 16,384 messages unread at most.
pub const MESSAGE_OVERHEAD_BYTES: usize = 64;
/// The receiver returns credit in steps of this many bytes: a quarter of the window.
pub const CREDIT_STEP_BYTES: usize = STREAM_WINDOW_BYTES / 4;
/// Most streams that a peer may hold open on one connection.
pub const STREAMS_PER_CONNECTION: usize = 32;
/// Request payloads of one connection's running calls, in bytes; above it, reading pauses.
pub const CALL_BYTES_PER_CONNECTION: usize = 4 * MESSAGE_BYTES;
/// Frames waiting for the writer, in bytes of payload.
pub const WRITE_QUEUE_BYTES: usize = 2 * MESSAGE_BYTES;
/// Frames waiting for the writer.
pub const WRITE_QUEUE_FRAMES: usize = 1024;
/// Payloads up to this size are copied into the writer's buffer, so that many small frames leave in
/// one write; longer ones are written from where they lie.
pub const COALESCE_BYTES: usize = 16 << 10;
/// Bytes that one read asks for.
pub const READ_BYTES: usize = 64 << 10;
/// Received payloads below this are copied out, so that a small message cannot keep a large read
/// buffer alive.
pub const COPY_BELOW_BYTES: usize = 4 << 10;
/// Longest deadline that a call may carry; a longer one is cut to it.
pub const DEADLINE_CEILING: Duration = Duration::from_secs(10 * 60);
/// Calls that one client connection may have waiting for replies.
pub const CALLS_WAITING: usize = 4096;
/// Longest refusal message in bytes.
pub const REFUSAL_BYTES: usize = 16 << 10;
/// Connections that a pool keeps; closed ones go first.
pub const POOL_CONNECTIONS: usize = 1024;
/// Most bytes of a certificate, key, authority or revocation file.
pub const TLS_FILE_BYTES: u64 = 4 << 20;
