//! Looking into a segment without opening the log: whose groups have anything in it.
//!
//! Not recovery: nothing is mended, and records behind damaged bytes are found as well, since bytes of
//! a group are there whether or not a node would read them.

use std::collections::BTreeMap;

use bailiwick_types::{GroupId, NodeId};

use super::format::{self, HEADER_BYTES, Kind};

/// What is in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentContents {
    /// The node whose log it is part of.
    pub node: NodeId,
    /// Records with something of a group in them, by group.
    pub groups: BTreeMap<GroupId, u64>,
    /// Bytes that belong to no valid record and are not zero.
    pub foreign_bytes: u64,
}

/// Looks into the bytes of a segment; `None` when they do not begin as one.
pub fn inspect_segment(bytes: &[u8]) -> Option<SegmentContents> {
    inspect_entries(bytes, |_, _| {})
}

/// As [`inspect_segment`], and hands out every entry: its group and the payload that was appended.
pub fn inspect_entries<'a>(
    bytes: &'a [u8],
    mut entry: impl FnMut(GroupId, &'a [u8]),
) -> Option<SegmentContents> {
    let header = format::decode_header(bytes)?;
    let mut contents = SegmentContents {
        node: header.node,
        groups: BTreeMap::new(),
        foreign_bytes: 0,
    };
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        // The kind's byte first: it spares nearly all checksums.
        let record = match bytes.get(at + 12) {
            Some(1..=9) => format::decode_record(&bytes[at..]),
            _ => None,
        };
        let Some(record) = record else {
            contents.foreign_bytes += u64::from(bytes[at] != 0);
            at += 1;
            continue;
        };
        // A removal says only that there is nothing; marks belong to no group.
        if !matches!(record.kind, Kind::Remove | Kind::Batch | Kind::Floor) {
            *contents.groups.entry(record.group).or_default() += 1;
        }
        if matches!(record.kind, Kind::Entry | Kind::Moved) {
            entry(record.group, record.payload);
        }
        at += record.length();
    }
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_behind_damage_and_removals_count_for_nothing() {
        let mut bytes = format::encode_header(NodeId(4), 1).to_vec();
        format::encode_record(&mut bytes, GroupId(0), Kind::Batch, 1, b"");
        format::encode_record(&mut bytes, GroupId(2), Kind::Entry, 1, b"one");
        format::encode_record(&mut bytes, GroupId(9), Kind::Remove, 0, b"");
        bytes.extend(*b"torn");
        bytes.extend([0; 40]);
        format::encode_record(&mut bytes, GroupId(7), Kind::Moved, 5, b"planted");
        let mut entries = Vec::new();
        let contents = inspect_entries(&bytes, |group, payload| entries.push((group, payload)));
        let contents = contents.expect("a segment");
        assert_eq!(
            entries,
            [(GroupId(2), &b"one"[..]), (GroupId(7), &b"planted"[..])]
        );
        assert_eq!(contents.node, NodeId(4));
        assert_eq!(contents.groups, [(GroupId(2), 1), (GroupId(7), 1)].into());
        assert_eq!(contents.foreign_bytes, 4);
        assert_eq!(
            inspect_segment(b"no segment at all, nor anything like it"),
            None
        );
    }
}
