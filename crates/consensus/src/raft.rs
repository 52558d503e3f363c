//! The one instantiation of openraft's generics, and our encoding of its log entries.
//!
//! A record is what the write-ahead log keeps and what travels between nodes: version 1, kind 1,
//! term 8, index 8, then for a proposal stamp 8 and the command's bytes, for a membership its
//! bincode. Integers are little-endian as the codec of `bailiwick-types` writes them; the command is
//! sliced, never copied element by element.

use std::fmt;
use std::io;

use bailiwick_types::{Timestamp, codec};
use bytes::{BufMut, Bytes, BytesMut};
use openraft::{EntryPayload, Membership};
use serde::{Deserialize, Serialize};

use crate::state_machine::GroupMachine;

/// A command with the log time that its leader gave it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// The leader's stamp.
    pub(crate) stamp: Timestamp,
    /// The encoded command.
    pub(crate) command: Bytes,
}

impl fmt::Display for Proposal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes at {}", self.command.len(), self.stamp)
    }
}

// Commands are sealed records of persons; only their size may reach a log file.
impl fmt::Debug for Proposal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A command's encoded outcome; empty for entries that are no command.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome(pub(crate) Bytes);

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

openraft::declare_raft_types!(
    /// The types of our groups. A log id is (term, index): at most one leader in a term.
    pub(crate) Types:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = openraft::EmptyNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

pub(crate) type Raft = openraft::Raft<Types, GroupMachine>;
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub(crate) type CommittedLeader = openraft::alias::CommittedLeaderIdOf<Types>;

/// Version of the record encoding.
const RECORD_VERSION: u8 = 1;
/// Bytes before a record's payload: version, kind, term, index.
const RECORD_HEAD: usize = 18;

const BLANK: u8 = 0;
const PROPOSAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Bytes are no record, vote or log id of ours: a foreign or newer version, or a fault of ours.
pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Encodes a value that is small by construction.
pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Bytes> {
    codec::encode(value)
        .map(Bytes::from)
        .map_err(io::Error::other)
}

/// Decodes a value of our own making.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    codec::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Length of an entry's record in bytes, near enough for bounding messages.
pub(crate) fn record_length(entry: &Entry) -> usize {
    RECORD_HEAD
        + match &entry.payload {
            EntryPayload::Blank => 0,
            EntryPayload::Normal(proposal) => 8 + proposal.command.len(),
            EntryPayload::Membership(_) => 1024,
        }
}

/// Appends an entry's record to a buffer.
pub(crate) fn put_record(entry: &Entry, buffer: &mut BytesMut) -> io::Result<()> {
    let kind = match &entry.payload {
        EntryPayload::Blank => BLANK,
        EntryPayload::Normal(_) => PROPOSAL,
        EntryPayload::Membership(_) => MEMBERSHIP,
    };
    buffer.reserve(record_length(entry));
    buffer.put_u8(RECORD_VERSION);
    buffer.put_u8(kind);
    buffer.put_u64_le(entry.log_id.leader_id.term);
    buffer.put_u64_le(entry.log_id.index);
    match &entry.payload {
        EntryPayload::Blank => {}
        EntryPayload::Normal(proposal) => {
            buffer.put_u64_le(proposal.stamp.micros());
            buffer.put_slice(&proposal.command);
        }
        EntryPayload::Membership(membership) => buffer.put_slice(&encode(membership)?),
    }
    Ok(())
}

/// An entry's record.
pub(crate) fn record(entry: &Entry) -> io::Result<Bytes> {
    let mut buffer = BytesMut::new();
    put_record(entry, &mut buffer)?;
    Ok(buffer.freeze())
}

/// The entry of a record; a command keeps the record's memory alive instead of copying it.
pub(crate) fn entry(record: &Bytes) -> io::Result<Entry> {
    let (head, rest) = record
        .split_first_chunk::<RECORD_HEAD>()
        .ok_or_else(|| malformed("log record shorter than its head"))?;
    let [version, kind, numbers @ ..] = head;
    if *version != RECORD_VERSION {
        return Err(malformed("log record of an unknown version"));
    }
    let (term, index) = numbers.split_at(8);
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let payload = match (*kind, rest.len()) {
        (BLANK, 0) => EntryPayload::Blank,
        (PROPOSAL, 8..) => EntryPayload::Normal(Proposal {
            stamp: Timestamp(number(&rest[..8])),
            command: record.slice(RECORD_HEAD + 8..),
        }),
        (MEMBERSHIP, _) => {
            EntryPayload::Membership(decode::<Membership<u64, openraft::EmptyNode>>(rest)?)
        }
        _ => return Err(malformed("log record of an unknown kind or length")),
    };
    Ok(Entry {
        log_id: log_id(number(term), number(index)),
        payload,
    })
}

/// The command in an entry's record, as it lies in a log; `None` for an entry that has none.
///
/// # Errors
/// When the bytes are no entry of a group's log.
pub fn command_of_record(record: &[u8]) -> io::Result<Option<Bytes>> {
    Ok(match entry(&Bytes::copy_from_slice(record))?.payload {
        EntryPayload::Normal(proposal) => Some(proposal.command),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    })
}

/// The log id of a term and an index.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeader::from(term), index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn entries() -> [Entry; 3] {
        let voters = BTreeSet::from([1, 2]);
        let nodes = BTreeMap::from([(1, openraft::EmptyNode {}), (2, openraft::EmptyNode {})]);
        let membership = Membership::new(vec![voters], nodes).expect("every voter is a node");
        let proposal = Proposal {
            stamp: Timestamp(0x0102),
            command: Bytes::from_static(b"ab"),
        };
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(proposal),
            EntryPayload::Membership(membership),
        ];
        payloads.map(|payload| Entry {
            log_id: log_id(3, 7),
            payload,
        })
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// These bytes are on disks: version 1 may never change.
    #[test]
    fn golden_records() {
        let head = "03000000000000000700000000000000";
        let ids = "01000000000000000200000000000000";
        let expected = [
            format!("0100{head}"),
            format!("0101{head}02010000000000006162"),
            format!("0102{head}01000000000000000200000000000000{ids}0200000000000000{ids}"),
        ];
        for (original, expected) in entries().into_iter().zip(expected) {
            let bytes = record(&original).expect("encodes");
            assert_eq!(hex(&bytes), expected);
            assert_eq!(entry(&bytes).expect("decodes"), original);
        }
        let vote = encode(&Vote::new_committed(3, 1)).expect("encodes");
        assert_eq!(hex(&vote), "030000000000000001010000000000000001");
        let marker = encode(&log_id(3, 7)).expect("encodes");
        assert_eq!(hex(&marker), head);
    }

    #[test]
    fn malformed_records_are_errors() {
        for original in entries() {
            let bytes = record(&original).expect("encodes");
            let least = if matches!(original.payload, EntryPayload::Normal(_)) {
                RECORD_HEAD + 8
            } else {
                bytes.len()
            };
            for length in 0..least {
                assert!(entry(&bytes.slice(..length)).is_err(), "{length}");
            }
            for (at, value) in [(0, 2), (1, 3)] {
                let mut other = bytes.to_vec();
                other[at] = value;
                assert!(entry(&Bytes::from(other)).is_err(), "byte {at}");
            }
        }
    }
}
