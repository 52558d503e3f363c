//! What the Raft operations carry between vault nodes.
//!
//! Every call's payload and every stream's header begins with a [`Target`]: which group, and which
//! state machine the sender takes it for. Small messages are bincode; an append is bincode of its head
//! and then the entries' records, each after its length, so that commands are sliced and not copied.

use std::io;

use bailiwick_transport::Refusal;
use bailiwick_types::{GroupId, NodeId};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::group::GroupKind;
use crate::raft::{
    Entry, LogId, SnapshotMeta, Types, Vote, decode, encode, entry, malformed, put_record,
    record_length,
};

/// Most entries of one append; openraft is told the same.
pub(crate) const APPEND_ENTRIES: u64 = 1024;

/// The refusal codes of the Raft operations.
pub(crate) mod refusal {
    /// The payload is malformed.
    pub(crate) const MALFORMED: u16 = 1;
    /// This node does not run the group.
    pub(crate) const NO_SUCH_GROUP: u16 = 2;
    /// The group may not be on this node, or is another kind of group here.
    pub(crate) const PLACEMENT: u16 = 3;
    /// The message claims to come from another node than the certificate names.
    pub(crate) const IDENTITY: u16 = 4;
    /// A stamp is too far ahead of this node's clock.
    pub(crate) const STAMP: u16 = 5;
    /// The group has stopped on this node.
    pub(crate) const STOPPED: u16 = 6;
    /// The operation is no Raft operation.
    pub(crate) const NOT_RAFT: u16 = 7;
    /// A snapshot was not received whole, or does not check.
    pub(crate) const SNAPSHOT: u16 = 8;
    /// The sender is no member of the group.
    pub(crate) const MEMBER: u16 = 9;
}

/// A refusal with a reason in words, for the other node's log.
pub(crate) fn refuse(code: u16, reason: impl Into<String>) -> Refusal {
    Refusal::new(code, Bytes::from(reason.into()))
}

/// Which group a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) group: GroupId,
    pub(crate) kind: GroupKind,
}

/// A target and a small message.
#[derive(Serialize, Deserialize)]
pub(crate) struct Addressed<T> {
    pub(crate) target: Target,
    pub(crate) message: T,
}

/// Encodes a small message for a group.
pub(crate) fn address<T: Serialize>(target: Target, message: T) -> io::Result<Bytes> {
    encode(&Addressed { target, message })
}

/// Decodes a small message and whom it is for.
pub(crate) fn addressed<T: DeserializeOwned>(payload: &[u8]) -> Result<Addressed<T>, Refusal> {
    decode(payload).map_err(|error| refuse(refusal::MALFORMED, error.to_string()))
}

/// What precedes the entries of an append.
#[derive(Serialize, Deserialize)]
struct AppendHead {
    vote: Vote,
    prev_log_id: Option<LogId>,
    leader_commit: Option<LogId>,
    entries: u32,
}

/// Encodes an append: length of the head 4, head, and for each entry length 4 and record.
pub(crate) fn encode_append(request: &AppendEntriesRequest<Types>) -> io::Result<Bytes> {
    let head = encode(&AppendHead {
        vote: request.vote,
        prev_log_id: request.prev_log_id,
        leader_commit: request.leader_commit,
        entries: u32::try_from(request.entries.len()).map_err(io::Error::other)?,
    })?;
    let records: usize = request
        .entries
        .iter()
        .map(|entry| 4 + record_length(entry))
        .sum();
    let mut buffer = BytesMut::with_capacity(4 + head.len() + records);
    put_length(&mut buffer, head.len())?;
    buffer.put_slice(&head);
    for entry in &request.entries {
        let at = buffer.len();
        buffer.put_u32_le(0);
        put_record(entry, &mut buffer)?;
        let length = u32::try_from(buffer.len() - at - 4).map_err(io::Error::other)?;
        buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    Ok(buffer.freeze())
}

/// Joins a target and an append into one payload: length of the target 4, target, append.
pub(crate) fn join(target: &[u8], append: &[u8]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(4 + target.len() + append.len());
    // A target is a few bytes.
    buffer.put_u32_le(u32::try_from(target.len()).unwrap_or(0));
    buffer.put_slice(target);
    buffer.put_slice(append);
    buffer.freeze()
}

/// Takes apart what [`join`] joined.
pub(crate) fn split(mut payload: Bytes) -> io::Result<(Target, AppendEntriesRequest<Types>)> {
    let target = decode(&take(&mut payload)?)?;
    Ok((target, decode_append(payload)?))
}

fn put_length(buffer: &mut BytesMut, length: usize) -> io::Result<()> {
    buffer.put_u32_le(u32::try_from(length).map_err(io::Error::other)?);
    Ok(())
}

fn take(payload: &mut Bytes) -> io::Result<Bytes> {
    if payload.len() < 4 {
        return Err(malformed("append shorter than a length"));
    }
    let length = payload.get_u32_le() as usize;
    if payload.len() < length {
        return Err(malformed("append shorter than it says"));
    }
    Ok(payload.split_to(length))
}

/// Decodes an append; the commands share the payload's memory.
pub(crate) fn decode_append(mut payload: Bytes) -> io::Result<AppendEntriesRequest<Types>> {
    let head: AppendHead = decode(&take(&mut payload)?)?;
    if u64::from(head.entries) > APPEND_ENTRIES {
        return Err(malformed("append of too many entries"));
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(head.entries as usize);
    let mut next = head.prev_log_id.map_or(0, |id| id.index.saturating_add(1));
    for _ in 0..head.entries {
        let decoded = entry(&take(&mut payload)?)?;
        if decoded.log_id.index != next {
            return Err(malformed("append with a gap between its entries"));
        }
        next = next.saturating_add(1);
        entries.push(decoded);
    }
    if !payload.is_empty() {
        return Err(malformed("append with trailing bytes"));
    }
    Ok(AppendEntriesRequest {
        vote: head.vote,
        prev_log_id: head.prev_log_id,
        entries,
        leader_commit: head.leader_commit,
    })
}

/// A follower's answer to one append of a stream.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AppendAnswer {
    Matched(Option<LogId>),
    Conflict(LogId),
    HigherVote(Vote),
}

impl From<StreamAppendResult<Types>> for AppendAnswer {
    fn from(result: StreamAppendResult<Types>) -> Self {
        match result {
            Ok(matched) => Self::Matched(matched),
            Err(StreamAppendError::Conflict(at)) => Self::Conflict(at),
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote(vote),
        }
    }
}

impl From<AppendAnswer> for StreamAppendResult<Types> {
    fn from(answer: AppendAnswer) -> Self {
        match answer {
            AppendAnswer::Matched(matched) => Ok(matched),
            AppendAnswer::Conflict(at) => Err(StreamAppendError::Conflict(at)),
            AppendAnswer::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
        }
    }
}

/// What a snapshot's stream begins with.
#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotHead {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// Length of the file in bytes.
    pub(crate) length: u64,
}

/// Hands leadership over. openraft's own request keeps its fields to itself.
#[derive(Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) from_leader: Vote,
    pub(crate) to: NodeId,
    pub(crate) last_log_id: Option<LogId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Proposal, log_id};
    use bailiwick_types::Timestamp;
    use openraft::EntryPayload;

    fn request() -> AppendEntriesRequest<Types> {
        AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(log_id(2, 6)),
            entries: vec![
                Entry {
                    log_id: log_id(3, 7),
                    payload: EntryPayload::Blank,
                },
                Entry {
                    log_id: log_id(3, 8),
                    payload: EntryPayload::Normal(Proposal {
                        stamp: Timestamp(5),
                        command: Bytes::from_static(b"command"),
                    }),
                },
            ],
            leader_commit: Some(log_id(2, 5)),
        }
    }

    #[test]
    fn appends_round_trip() {
        let (sent, encoded) = (request(), encode_append(&request()).expect("encodes"));
        let decoded = decode_append(encoded).expect("decodes");
        assert_eq!(decoded.vote, sent.vote);
        assert_eq!(decoded.prev_log_id, sent.prev_log_id);
        assert_eq!(decoded.entries, sent.entries);
        assert_eq!(decoded.leader_commit, sent.leader_commit);
    }

    /// These bytes travel between nodes of two versions during an upgrade: protocol 1 keeps them.
    #[test]
    fn golden_append() {
        let (two, three) = ("0200000000000000", "0300000000000000");
        let expected = [
            "38000000", // the head's length
            three,
            "010100000000000000",
            "01", // vote: term, voted for, committed
            "01",
            two,
            "0600000000000000", // previous
            "01",
            two,
            "0500000000000000", // committed by the leader
            "02000000",         // entries
            "12000000",
            "0100",
            three,
            "0700000000000000",
            "21000000",
            "0101",
            three,
            "0800000000000000",
            "0500000000000000",
            "636f6d6d616e64",
        ];
        let encoded = encode_append(&request()).expect("encodes");
        let hex: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.concat());
    }

    #[test]
    fn malformed_appends_are_errors() {
        let encoded = encode_append(&request()).expect("encodes");
        for length in 0..encoded.len() {
            assert!(decode_append(encoded.slice(..length)).is_err(), "{length}");
        }
        let mut longer = BytesMut::from(&encoded[..]);
        longer.put_u8(0);
        assert!(decode_append(longer.freeze()).is_err());
        let mut gap = request();
        gap.prev_log_id = Some(log_id(2, 5));
        let gap = encode_append(&gap).expect("encodes");
        assert!(decode_append(gap).is_err());
    }
}
