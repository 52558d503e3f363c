//! The frame format of a connection.
//!
//! Not the payloads' format: those are the users'. Integers are big-endian.
//!
//! ```text
//!  0        4      5           7        15            19
//!  | length | kind | operation | stream | deadline_ms | payload ... |
//!  | u32    | u8   | u16       | u64    | u32         | length - 15 |
//!
//!  kind      operation  stream        deadline_ms  payload
//!  1 hello   oldest     0             0            protocol u16 | 0, or 1 and cluster [16]
//!  2 call    its code   caller's id   above 0      request
//!  3 reply   0          caller's id   0            reply
//!  4 error   0          id, or 0      0            class u8 | code u16 | message
//!  5 open    its code   caller's id   0            header
//!  6 data    0          stream's id   0            one message
//!  7 end     0          stream's id   0            empty: no more data from this side
//!  8 credit  0          stream's id   0            bytes u32; on stream 0 a sign of life
//!  9 reset   0          id, or 0      0            empty: given up; on 0: takes no new calls
//! ```
//! A hello of the client says the range of protocol versions that it speaks: `protocol` is the newest,
//! `oldest` the oldest, 0 for "no other". The server answers with the newest that both speak, which
//! is the connection's. Before ranges there was `oldest` 0 and version 1 alone, so that a process of
//! then and one of now find version 1.
//!
//! Ids are drawn by the client, from 1 upward, never reused on a connection. A frame over
//! [`FRAME_BYTES`] closes the connection before its payload is read.

use bailiwick_types::ClusterId;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{CallError, Refusal};
use crate::limits::{
    COPY_BELOW_BYTES, FRAME_BYTES, HEADER_BYTES, HELLO_BYTES, READ_BYTES, REFUSAL_BYTES,
};

/// The newest version of this protocol that this program speaks.
pub const PROTOCOL: u16 = 1;
/// The oldest one: a rolling upgrade passes through clusters of two versions.
pub const OLDEST_PROTOCOL: u16 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Version and cluster, first frame of each side.
    Hello = 1,
    /// A request that wants one reply.
    Call = 2,
    /// The reply.
    Reply = 3,
    /// A call or stream failed.
    Error = 4,
    /// Opens a stream.
    Open = 5,
    /// One message of a stream.
    Data = 6,
    /// The sender's direction of a stream has ended.
    End = 7,
    /// The receiver has room for more.
    Credit = 8,
    /// The stream is given up.
    Reset = 9,
}

impl Kind {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Hello,
            2 => Self::Call,
            3 => Self::Reply,
            4 => Self::Error,
            5 => Self::Open,
            6 => Self::Data,
            7 => Self::End,
            8 => Self::Credit,
            9 => Self::Reset,
            _ => return None,
        })
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The operation's code, for call and open; else 0.
    pub operation: u16,
    /// The call or stream; 0 is the connection itself.
    pub stream: u64,
    /// Milliseconds from arrival, for call; else 0.
    pub deadline_ms: u32,
    /// The payload.
    pub payload: Bytes,
}

impl Frame {
    /// A frame without operation and deadline.
    pub fn new(kind: Kind, stream: u64, payload: Bytes) -> Self {
        Self {
            kind,
            operation: 0,
            stream,
            deadline_ms: 0,
            payload,
        }
    }

    pub(crate) fn credit(stream: u64, bytes: u32) -> Self {
        Self::new(
            Kind::Credit,
            stream,
            Bytes::copy_from_slice(&bytes.to_be_bytes()),
        )
    }

    /// Writes length and header, without the payload.
    pub fn encode_header(&self, buffer: &mut BytesMut) {
        let length = u32::try_from(HEADER_BYTES + self.payload.len())
            .expect("payloads are checked against MESSAGE_BYTES when they enter");
        buffer.put_u32(length);
        buffer.put_u8(self.kind as u8);
        buffer.put_u16(self.operation);
        buffer.put_u64(self.stream);
        buffer.put_u32(self.deadline_ms);
    }

    /// Writes the whole frame.
    pub(crate) fn encode_whole(&self, buffer: &mut BytesMut) {
        self.encode_header(buffer);
        buffer.put_slice(&self.payload);
    }
}

/// Why bytes are no frame. The peer is at fault; the connection closes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is over the limit.
    #[error("frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The length claimed.
        length: usize,
        /// The limit that holds here.
        limit: usize,
    },
    /// The length is shorter than a header.
    #[error("frame of {length} bytes is shorter than its header")]
    TooShort {
        /// The length claimed.
        length: usize,
    },
    /// The kind is unknown.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// The payload does not have the kind's form.
    #[error("malformed payload of a {0:?} frame")]
    Payload(Kind),
    /// This kind is not expected from this side or at this point.
    #[error("unexpected {0:?} frame")]
    Unexpected(Kind),
    /// An id was used again.
    #[error("stream id {0} used again")]
    Reused(u64),
}

/// Takes the next frame from the buffer, `None` if it is not there yet. Reserves room only in
/// step with what has arrived, so that a claimed length costs the peer those bytes first.
///
/// # Errors
/// [`FrameError`] as soon as the length or the header shows it.
pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Frame>, FrameError> {
    if buffer.len() < 4 {
        return Ok(None);
    }
    let claimed = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
    let length = usize::try_from(claimed).unwrap_or(usize::MAX);
    if length > limit.min(FRAME_BYTES) {
        return Err(FrameError::TooLong {
            length,
            limit: limit.min(FRAME_BYTES),
        });
    }
    if length < HEADER_BYTES {
        return Err(FrameError::TooShort { length });
    }
    if buffer.len() < 4 + length {
        let missing = 4 + length - buffer.len();
        buffer.reserve(missing.min(buffer.len().max(READ_BYTES)));
        return Ok(None);
    }
    let mut frame = buffer.split_to(4 + length);
    frame.advance(4);
    let kind = frame.get_u8();
    let kind = Kind::from_code(kind).ok_or(FrameError::Kind(kind))?;
    let operation = frame.get_u16();
    let stream = frame.get_u64();
    let deadline_ms = frame.get_u32();
    let payload = if frame.len() < COPY_BELOW_BYTES {
        Bytes::copy_from_slice(&frame)
    } else {
        frame.freeze()
    };
    Ok(Some(Frame {
        kind,
        operation,
        stream,
        deadline_ms,
        payload,
    }))
}

/// What each side says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The cluster; `None` while this side does not know it yet, which matches any.
    pub cluster: Option<ClusterId>,
    /// The newest version of the protocol that this side speaks; in a server's answer the one that
    /// the connection uses.
    pub protocol: u16,
    /// The oldest one, at most `protocol`.
    pub oldest: u16,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            cluster: None,
            protocol: PROTOCOL,
            oldest: OLDEST_PROTOCOL,
        }
    }
}

impl Hello {
    /// The newest version that both speak; `None` when there is none.
    pub fn common(&self, other: &Self) -> Option<u16> {
        let newest = self.protocol.min(other.protocol);
        (newest >= self.oldest && newest >= other.oldest).then_some(newest)
    }

    pub(crate) fn frame(&self) -> Frame {
        let mut payload = BytesMut::with_capacity(HELLO_BYTES);
        payload.put_u16(self.protocol);
        match &self.cluster {
            None => payload.put_u8(0),
            Some(cluster) => {
                payload.put_u8(1);
                payload.put_slice(cluster.as_bytes());
            }
        }
        let mut frame = Frame::new(Kind::Hello, 0, payload.freeze());
        frame.operation = self.oldest;
        frame
    }

    pub(crate) fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let malformed = FrameError::Payload(Kind::Hello);
        let (protocol, rest) = frame
            .payload
            .split_first_chunk::<2>()
            .ok_or(malformed.clone())?;
        let cluster = match rest {
            [0] => None,
            [1, cluster @ ..] => Some(ClusterId(
                cluster.try_into().map_err(|_| malformed.clone())?,
            )),
            _ => return Err(malformed),
        };
        let protocol = u16::from_be_bytes(*protocol);
        let oldest = match frame.operation {
            0 => protocol,
            oldest if oldest <= protocol => oldest,
            _ => return Err(malformed),
        };
        Ok(Self {
            cluster,
            protocol,
            oldest,
        })
    }

    /// Whether both may be of one cluster.
    pub(crate) fn same_cluster(&self, other: &Self) -> bool {
        match (&self.cluster, &other.cluster) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }
}

/// The classes of an error frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ErrorClass {
    Refused = 1,
    NotAuthorised = 2,
    NotServed = 3,
    NoDeadline = 4,
    Deadline = 5,
    ReplyTooLarge = 6,
    Busy = 7,
    Internal = 8,
    /// Connection level: the hello does not match; the code is the server's protocol version.
    Protocol = 9,
    /// Connection level: another cluster.
    Cluster = 10,
}

/// An error frame without a handler's message.
pub(crate) fn error_frame(stream: u64, class: ErrorClass, code: u16) -> Frame {
    let mut payload = BytesMut::with_capacity(3);
    payload.put_u8(class as u8);
    payload.put_u16(code);
    Frame::new(Kind::Error, stream, payload.freeze())
}

/// The error frame of a handler's refusal; an overlong message is left out.
pub(crate) fn refusal_frame(stream: u64, refusal: &Refusal) -> Frame {
    let mut payload = BytesMut::with_capacity(3 + refusal.message.len().min(REFUSAL_BYTES));
    payload.put_u8(ErrorClass::Refused as u8);
    payload.put_u16(refusal.code);
    if refusal.message.len() <= REFUSAL_BYTES {
        payload.put_slice(&refusal.message);
    }
    Frame::new(Kind::Error, stream, payload.freeze())
}

/// Splits an error frame's payload into class, code and message.
pub(crate) fn split_error(payload: &Bytes) -> Result<(u8, u16, Bytes), FrameError> {
    match payload.split_first_chunk::<3>() {
        Some((head, _)) => Ok((
            head[0],
            u16::from_be_bytes([head[1], head[2]]),
            payload.slice(3..),
        )),
        None => Err(FrameError::Payload(Kind::Error)),
    }
}

/// The caller's view of an error frame.
pub(crate) fn call_error(payload: &Bytes) -> Result<CallError, FrameError> {
    let (class, code, message) = split_error(payload)?;
    Ok(match class {
        1 => CallError::Refused { code, message },
        2 => CallError::NotAuthorised,
        3 => CallError::NotServed,
        4 => CallError::NoDeadline,
        5 => CallError::Deadline,
        6 => CallError::ReplyTooLarge,
        7 => CallError::Busy,
        _ => CallError::Internal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(frame: &Frame) -> BytesMut {
        let mut buffer = BytesMut::new();
        frame.encode_header(&mut buffer);
        buffer.extend_from_slice(&frame.payload);
        buffer
    }

    #[test]
    fn golden_frame() {
        let frame = Frame {
            kind: Kind::Call,
            operation: 0x0301,
            stream: 7,
            deadline_ms: 1500,
            payload: Bytes::from_static(b"ab"),
        };
        let mut buffer = encode(&frame);
        assert_eq!(
            &buffer[..],
            [
                0, 0, 0, 17, 2, 3, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 5, 220, b'a', b'b'
            ]
        );
        assert_eq!(decode(&mut buffer, FRAME_BYTES), Ok(Some(frame)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn partial_frames_wait_and_do_not_reserve_what_was_only_claimed() {
        let mut buffer = BytesMut::new();
        buffer.put_u32(u32::try_from(FRAME_BYTES).expect("fits"));
        buffer.put_u8(Kind::Call as u8);
        assert_eq!(decode(&mut buffer, FRAME_BYTES), Ok(None));
        assert!(
            buffer.capacity() <= 2 * READ_BYTES + 64,
            "{}",
            buffer.capacity()
        );
    }

    #[test]
    fn malformed_frames_are_typed_errors() {
        let mut long = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        assert!(matches!(
            decode(&mut long, FRAME_BYTES),
            Err(FrameError::TooLong { .. })
        ));
        let mut short = BytesMut::from(&[0u8, 0, 0, 3][..]);
        assert_eq!(
            decode(&mut short, FRAME_BYTES),
            Err(FrameError::TooShort { length: 3 })
        );
        let mut unknown = encode(&Frame::new(Kind::End, 1, Bytes::new()));
        unknown[4] = 99;
        assert_eq!(decode(&mut unknown, FRAME_BYTES), Err(FrameError::Kind(99)));
        for payload in [&[][..], &[0, 1], &[0, 1, 1, 9], &[0, 1, 0, 9], &[0, 1, 2]] {
            let hello = Frame::new(Kind::Hello, 0, Bytes::copy_from_slice(payload));
            assert!(Hello::decode(&hello).is_err(), "{payload:?}");
        }
    }

    /// What the program of before ranges sent: version 1 alone, and nothing where `oldest` is now.
    #[test]
    fn a_hello_of_before_ranges_is_version_one_alone() {
        let bytes = [&[0, 0, 0, 18, 1][..], &[0; 14], &[0, 1, 0]].concat();
        let mut buffer = BytesMut::from(&bytes[..]);
        let frame = decode(&mut buffer, FRAME_BYTES).expect("a frame");
        let before = Hello::decode(&frame.expect("whole")).expect("a hello");
        assert_eq!((before.oldest, before.protocol), (1, 1));
        assert_eq!(Hello::default().common(&before), Some(1));
    }

    #[test]
    fn the_newest_common_version_is_used_and_none_is_refused() {
        let range = |oldest, protocol| Hello {
            cluster: None,
            protocol,
            oldest,
        };
        for (ours, theirs, common) in [
            (range(1, 1), range(1, 1), Some(1)),
            (range(1, 2), range(1, 1), Some(1)),
            (range(1, 2), range(2, 3), Some(2)),
            (range(2, 3), range(1, 5), Some(3)),
            (range(2, 3), range(1, 1), None),
        ] {
            assert_eq!(ours.common(&theirs), common, "{ours:?} {theirs:?}");
            assert_eq!(theirs.common(&ours), common, "{ours:?} {theirs:?}");
        }
        let mut turned = range(1, 2).frame();
        turned.operation = 3;
        assert!(Hello::decode(&turned).is_err(), "oldest above newest");
    }

    #[test]
    fn hellos_round_trip_and_unknown_clusters_match_any() {
        let known = Hello {
            cluster: Some(ClusterId([7; 16])),
            protocol: 3,
            oldest: 2,
        };
        let other = Hello {
            cluster: Some(ClusterId([8; 16])),
            ..known
        };
        for hello in [known, Hello::default()] {
            assert_eq!(Hello::decode(&hello.frame()), Ok(hello));
        }
        assert!(known.same_cluster(&Hello::default()));
        assert!(!known.same_cluster(&other));
    }
}
