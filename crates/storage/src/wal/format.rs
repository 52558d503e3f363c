//! The bytes of a segment file. Not what records mean: that is [`super::durable`].
//!
//! All integers are little-endian.
//!
//! ```text
//! segment  = header record*
//! header   = magic "BWKWAL\r\n" | version u32 | node u64 | sequence u64 | crc u32     32 bytes
//!            crc: CRC32C of the 28 bytes before it
//! record   = length u32 | crc u32 | group u32 | kind u8 | index u64 | payload[length]  21 + length
//!            crc: CRC32C of length, group, kind, index and payload
//!
//! kind       index                          payload
//! 1 entry    the entry's                    the entry
//! 2 vote     0                              the vote
//! 3 committed 0                             the committed position, a hint
//! 4 truncate first index that is dropped    none
//! 5 purge    last index that is dropped     the caller's marker
//! 6 remove   0                              none; all the group had is dropped
//! 7 moved    the entry's                    an entry copied forward from an older segment
//! 8 batch    the batch's number             none; opens each batch, group 0
//! 9 floor    oldest segment that is needed  none; written before older ones are deleted, group 0
//! ```
//!
//! A batch is what one write and one sync put on disk. Batch numbers rise by one through all
//! segments, so that a cut in the middle shows, and a batch mark behind a damaged record proves
//! that the damaged one had been synced.

use bailiwick_types::{GroupId, NodeId};

/// The format's version.
pub(super) const VERSION: u32 = 1;
/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER_BYTES: usize = 21;
/// The longest payload: 32 MiB, four times the greatest block (4,096 records of 2 KiB).
pub const MAXIMUM_PAYLOAD_BYTES: usize = 32 << 20;

const MAGIC: &[u8; 8] = b"BWKWAL\r\n";

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Entry = 1,
    Vote = 2,
    Committed = 3,
    Truncate = 4,
    Purge = 5,
    Remove = 6,
    Moved = 7,
    Batch = 8,
    Floor = 9,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Entry,
            2 => Self::Vote,
            3 => Self::Committed,
            4 => Self::Truncate,
            5 => Self::Purge,
            6 => Self::Remove,
            7 => Self::Moved,
            8 => Self::Batch,
            9 => Self::Floor,
            _ => return None,
        })
    }
}

/// A record whose checksum was checked.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) group: GroupId,
    pub(super) kind: Kind,
    pub(super) index: u64,
    pub(super) payload: &'a [u8],
}

impl Record<'_> {
    /// Bytes in the file, header included.
    pub(super) fn length(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload.len()
    }
}

/// What a segment's header says.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) node: NodeId,
    pub(super) sequence: u64,
}

pub(super) fn encode_header(node: NodeId, sequence: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&node.0.to_le_bytes());
    bytes[20..28].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The header that a segment begins with; `None` when it begins with none.
pub(super) fn decode_header(bytes: &[u8]) -> Option<Header> {
    let header = bytes.get(..HEADER_BYTES)?;
    if &header[..8] != MAGIC || crc32c::crc32c(&header[..28]) != u32_at(header, 28)? {
        return None;
    }
    Some(Header {
        version: u32_at(header, 8)?,
        node: NodeId(u64_at(header, 12)?),
        sequence: u64_at(header, 20)?,
    })
}

/// Appends a record; the caller has checked the payload's length.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    group: GroupId,
    kind: Kind,
    index: u64,
    payload: &[u8],
) {
    let length = u32::try_from(payload.len()).expect("payloads are at most MAXIMUM_PAYLOAD_BYTES");
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&group.0.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The record that `bytes` begin with; `None` when they begin with no whole and valid one.
pub(super) fn decode_record(bytes: &[u8]) -> Option<Record<'_>> {
    let length = u32_at(bytes, 0)? as usize;
    let kind = Kind::from_byte(*bytes.get(12)?)?;
    if length > MAXIMUM_PAYLOAD_BYTES {
        return None;
    }
    let record = bytes.get(..RECORD_HEADER_BYTES + length)?;
    if checksum(record) != u32_at(record, 4)? {
        return None;
    }
    Some(Record {
        group: GroupId(u32_at(record, 8)?),
        kind,
        index: u64_at(record, 13)?,
        payload: &record[RECORD_HEADER_BYTES..],
    })
}

fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..])
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Old segments must stay readable: these bytes may never change for version 1.
    #[test]
    fn the_bytes_of_version_1_are_fixed() {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, GroupId(7), Kind::Entry, 3, b"ab");
        assert_eq!(bytes[..4], [2, 0, 0, 0]);
        assert_eq!(bytes[8..], *b"\x07\0\0\0\x01\x03\0\0\0\0\0\0\0ab");
        assert_eq!(encode_header(NodeId(5), 9)[..8], *MAGIC);
        assert_eq!(encode_header(NodeId(5), 9)[8..13], [1, 0, 0, 0, 5]);
    }

    #[test]
    fn every_flipped_bit_of_a_record_and_of_a_header_is_seen() {
        let mut record = Vec::new();
        encode_record(&mut record, GroupId(7), Kind::Purge, 300, b"marker");
        assert!(decode_record(&record).is_some());
        let header = encode_header(NodeId(5), 9).to_vec();
        assert!(decode_header(&header).is_some());
        for bit in 0..record.len() * 8 {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_record(&damaged).is_none(), "bit {bit}");
        }
        for bit in 0..header.len() * 8 {
            let mut damaged = header.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_header(&damaged).is_none(), "bit {bit}");
        }
        assert!(decode_record(&[0; 64]).is_none(), "zeros are no record");
    }
}
