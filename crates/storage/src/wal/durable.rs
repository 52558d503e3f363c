//! What is on disk: the state that a replay of all segments gives.
//!
//! Recovery builds it from the segments and the writer keeps it up with every batch it has synced,
//! through the same [`Durable::apply`]. It runs behind what callers see (see [`super::shared`]), and
//! it alone decides which segments are still needed: a segment goes only when the records that make
//! it useless are themselves on disk.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_types::GroupId;
use bytes::Bytes;

use super::format::Kind;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The segment's sequence number.
    pub(super) segment: u64,
    /// Bytes from the start of the segment to the record.
    pub(super) offset: u64,
    /// Bytes of the record, header included.
    pub(super) length: u32,
}

/// One group's records that still count.
#[derive(Debug, Default)]
pub(super) struct DurableGroup {
    pub(super) entries: BTreeMap<u64, Location>,
    pub(super) vote: Option<(Bytes, Location)>,
    pub(super) committed: Option<(Bytes, Location)>,
    pub(super) purged: Option<(u64, Bytes, Location)>,
}

impl DurableGroup {
    /// The locations of vote, committed position and purge marker.
    pub(super) fn state_locations(&self) -> impl Iterator<Item = Location> {
        let vote = self.vote.as_ref().map(|(_, location)| *location);
        let committed = self.committed.as_ref().map(|(_, location)| *location);
        let purged = self.purged.as_ref().map(|(_, _, location)| *location);
        [vote, committed, purged].into_iter().flatten()
    }

    /// The first entry that does not follow the one before it, or the purged ones.
    pub(super) fn gap(&self) -> Option<Location> {
        let mut expected = self.purged.as_ref().map(|(upto, _, _)| upto.checked_add(1));
        for (index, location) in &self.entries {
            if expected.is_some_and(|expected| expected != Some(*index)) {
                return Some(*location);
            }
            expected = Some(index.checked_add(1));
        }
        None
    }
}

/// All groups, and how much of each segment still counts.
#[derive(Debug, Default)]
pub(super) struct Durable {
    pub(super) groups: BTreeMap<GroupId, DurableGroup>,
    /// Groups whose removal is on disk, with older segments that may still have bytes of them.
    pub(super) removed: BTreeSet<GroupId>,
    /// The oldest segment that was needed when segments were last deleted.
    pub(super) floor: u64,
    live: BTreeMap<u64, u64>,
}

impl Durable {
    /// Bytes of a segment's records that still count.
    pub(super) fn live_bytes(&self, segment: u64) -> u64 {
        self.live.get(&segment).copied().unwrap_or(0)
    }

    /// Bytes of all records that still count.
    pub(super) fn total_live_bytes(&self) -> u64 {
        self.live.values().sum()
    }

    /// Takes one record into account, in the order of the log.
    pub(super) fn apply(
        &mut self,
        group: GroupId,
        kind: Kind,
        index: u64,
        payload: &Bytes,
        location: Location,
    ) {
        match kind {
            Kind::Batch => {}
            Kind::Floor => self.floor = index,
            Kind::Remove => {
                self.removed.insert(group);
                let state = self.groups.remove(&group).unwrap_or_default();
                for location in state.entries.values().copied() {
                    self.release(location);
                }
                for location in state.state_locations() {
                    self.release(location);
                }
            }
            Kind::Entry | Kind::Moved => {
                self.retain(location);
                let entries = &mut self.groups.entry(group).or_default().entries;
                let old = entries.insert(index, location);
                self.release_all(old);
            }
            Kind::Truncate => {
                let entries = &mut self.groups.entry(group).or_default().entries;
                let dropped = entries.split_off(&index);
                self.release_all(dropped.into_values());
            }
            Kind::Purge => {
                self.retain(location);
                let state = self.groups.entry(group).or_default();
                let kept = index
                    .checked_add(1)
                    .map(|next| state.entries.split_off(&next));
                let dropped = std::mem::replace(&mut state.entries, kept.unwrap_or_default());
                let old = state.purged.replace((index, payload.clone(), location));
                self.release_all(dropped.into_values());
                self.release_all(old.map(|(_, _, location)| location));
            }
            Kind::Vote => {
                self.retain(location);
                let state = self.groups.entry(group).or_default();
                let old = state.vote.replace((payload.clone(), location));
                self.release_all(old.map(|(_, location)| location));
            }
            Kind::Committed => {
                self.retain(location);
                let state = self.groups.entry(group).or_default();
                let old = state.committed.replace((payload.clone(), location));
                self.release_all(old.map(|(_, location)| location));
            }
        }
    }

    /// Forgets a segment that was deleted.
    pub(super) fn forget_segment(&mut self, segment: u64) {
        let live = self.live.remove(&segment).unwrap_or(0);
        debug_assert_eq!(
            live, 0,
            "a segment is deleted only when nothing of it counts"
        );
    }

    fn retain(&mut self, location: Location) {
        *self.live.entry(location.segment).or_default() += u64::from(location.length);
    }

    fn release_all(&mut self, locations: impl IntoIterator<Item = Location>) {
        for location in locations {
            self.release(location);
        }
    }

    fn release(&mut self, location: Location) {
        if let Some(live) = self.live.get_mut(&location.segment) {
            *live = live.saturating_sub(u64::from(location.length));
        }
    }
}
