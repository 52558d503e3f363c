//! A request's selection in a jurisdiction of several partitions: each partition that the scope
//! touches freezes its part, the home group joins them (docs/decisions/0008-partitions.md).

use std::collections::BTreeSet;

use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::partition::partition_of;
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::selection::Selection;
use bailiwick_types::RequestId;
use bailiwick_types::limits::SELECTION_RECORDS;
use bailiwick_types::store::{ReadStore, StoreError};
use serde::{Deserialize, Serialize};

use crate::certificates::period_of;
use crate::command::{PartClaim, PartedRequest};
use crate::machine::{Machine, Stop};
use crate::outcome::Outcome;
use crate::partitions::{check_roots, count, log_roots, root_of};
use crate::rejection::{PartitionRejection, RequestRejection};
use crate::requests::{self, load};
use crate::rows::{read, write};
use crate::selection::{Found, find_records};
use crate::tables::{PARTS, SELECTIONS, selection_key};

/// A frozen part of a request's selection, with its leaf in this group's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) selection: Selection,
    pub(crate) leaf_index: u64,
    /// Numbers of the periods involved, ascending.
    pub(crate) periods: Vec<u32>,
}

/// A part of a request's selection.
pub(crate) fn part(store: &dyn ReadStore, rd: &RequestId) -> Result<Option<PartRow>, StoreError> {
    read(store, PARTS, &rd.0)
}

/// Freezes what this group holds in a request's scope; again, it is the same part.
pub(crate) fn freeze(
    machine: &mut Machine<'_>,
    request: &DisclosureRequest,
) -> Result<Outcome, Stop> {
    let rd = request.id();
    if let Some(row) = part(machine.reader(), &rd)? {
        return Ok(frozen(row));
    }
    machine.check_not_frozen()?;
    check_part_of(machine, request)?;
    let found = find_records(machine.reader(), machine.state.shard, &rd, request)?;
    store_entries(machine, &rd, &found)?;
    let leaf_index = machine.log(LeafContent::Part(found.selection.clone()))?;
    let row = PartRow {
        selection: found.selection,
        leaf_index,
        periods: found.periods,
    };
    write(machine.store, PARTS, &rd.0, &row)?;
    Ok(frozen(row))
}

fn frozen(row: PartRow) -> Outcome {
    Outcome::PartFrozen {
        selection: row.selection,
        leaf_index: row.leaf_index,
    }
}

fn check_part_of(machine: &Machine<'_>, request: &DisclosureRequest) -> Result<(), Stop> {
    let shard = machine.state.shard;
    if request.jurisdiction != shard.jurisdiction {
        return Err(RequestRejection::OtherJurisdiction.into());
    }
    let (cap, limit) = (request.cap, SELECTION_RECORDS);
    if cap == 0 || cap > limit {
        return Err(RequestRejection::Cap { cap, limit }.into());
    }
    let not_after = request.not_after;
    if not_after <= machine.stamp {
        return Err(RequestRejection::Lapsed { not_after }.into());
    }
    let count = count(machine.reader())?;
    if count == 1 || !touched(request, count).contains(&shard.partition) {
        let partition = shard.partition;
        return Err(PartitionRejection::Part { partition }.into());
    }
    Ok(())
}

/// The partitions that a request's subjects are in.
pub(crate) fn touched(request: &DisclosureRequest, count: u16) -> BTreeSet<u16> {
    let lines = request.scope.iter();
    lines
        .map(|line| partition_of(&line.subject, count))
        .collect()
}

/// Writes the list of a selection, or of this group's part of one.
pub(crate) fn store_entries(
    machine: &mut Machine<'_>,
    rd: &RequestId,
    found: &Found,
) -> Result<(), StoreError> {
    for (index, entry) in found.entries.iter().enumerate() {
        // A selection has at most 100,000 records.
        let key = selection_key(rd, index as u32);
        machine.store.put(SELECTIONS, &key, &entry.to_row())?;
    }
    Ok(())
}

/// Accepts a request whose parts are frozen, and logs how far their partitions have come.
///
/// What can be checked here is: the touched partitions and no others are there, the parts make up the
/// selection in number (and, when one is touched, in every record), each lies under a logged root, and
/// the home group's own part is its own. The rest every approver recomputes.
pub(crate) fn submit(machine: &mut Machine<'_>, parted: PartedRequest) -> Result<Outcome, Stop> {
    let rd = parted.request.id();
    if let Some(row) = load(machine.reader(), &rd)? {
        return Ok(requests::logged(rd, &row));
    }
    machine.check_home()?;
    machine.check_not_frozen()?;
    requests::check_request(machine, &parted.request, &parted.documents)?;
    requests::check_recipient(machine, &parted.request)?;
    check_roots(machine, &parted.roots)?;
    check_parts(machine, &rd, &parted)?;
    let periods = periods(machine, &parted.parts)?;
    let lapsed = requests::check_open(machine)?;
    log_roots(machine, parted.roots)?;
    let found = Found {
        selection: parted.selection,
        entries: Vec::new(),
        periods,
    };
    requests::accept(machine, lapsed, *parted.request, found, &parted.documents)
}

fn check_parts(machine: &Machine<'_>, rd: &RequestId, parted: &PartedRequest) -> Result<(), Stop> {
    let expected = touched(&parted.request, count(machine.reader())?);
    let got = parted.parts.iter().map(|part| part.partition);
    if !got.eq(expected) {
        return Err(PartitionRejection::Touched.into());
    }
    let whole = &parted.selection;
    let (found, cap) = (whole.count, parted.request.cap);
    if found > cap {
        return Err(RequestRejection::OverCap { found, cap }.into());
    }
    let sum = |of: fn(&Selection) -> u32| -> u64 {
        let parts = parted.parts.iter();
        parts.map(|part| u64::from(of(&part.selection))).sum()
    };
    let adds_up = sum(|part| part.count) == u64::from(whole.count)
        && sum(|part| part.phones) == u64::from(whole.phones);
    let is_only = match &parted.parts[..] {
        [only] => only.selection == *whole,
        _ => true,
    };
    if whole.request != *rd || !adds_up || !is_only {
        return Err(PartitionRejection::Whole.into());
    }
    for claim in &parted.parts {
        check_claim(machine, rd, claim, &parted.roots)?;
    }
    Ok(())
}

/// The part is of this request; the own one is the own row, another's leaf lies under its root.
fn check_claim(
    machine: &Machine<'_>,
    rd: &RequestId,
    claim: &PartClaim,
    roots: &[bailiwick_envelope::partition::PartitionRoot],
) -> Result<(), Stop> {
    let partition = claim.partition;
    let refused = PartitionRejection::Part { partition };
    if claim.selection.request != *rd {
        return Err(refused.into());
    }
    if partition == 0 {
        let own = part(machine.reader(), rd)?;
        return match own.is_some_and(|own| own.selection == claim.selection) {
            true => Ok(()),
            false => Err(refused.into()),
        };
    }
    let logged = root_of(machine.reader(), partition)?.map_or(0, |row| row.size);
    let given = roots.iter().find(|root| root.partition == partition);
    let size = given.map_or(0, |root| root.size).max(logged);
    match claim.leaf_index < size {
        true => Ok(()),
        false => Err(PartitionRejection::Root { partition }.into()),
    }
}

/// The numbers that the home group gave the parts' key periods, ascending.
fn periods(machine: &Machine<'_>, parts: &[PartClaim]) -> Result<Vec<u32>, Stop> {
    let mut numbers = BTreeSet::new();
    for claim in parts {
        let partition = claim.partition;
        for kid in &claim.kids {
            let known = period_of(machine.reader(), kid)?;
            let (number, _) = known.ok_or(PartitionRejection::Part { partition })?;
            numbers.insert(number);
        }
    }
    Ok(numbers.into_iter().collect())
}
