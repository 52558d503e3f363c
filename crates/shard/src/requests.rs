//! Requests: submission with the frozen selection, recall, delivery; and the one way in which a
//! request's row is written (docs/cryptography.md section 7).

use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::{HashTag, hash};
use bailiwick_types::limits::SELECTION_RECORDS;
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{RequestId, Role, Slot, Timestamp};

use crate::certificates::period;
use crate::documents_digest;
use crate::enrolment::{Kind, find};
use crate::machine::{Machine, Stop, check_text};
use crate::outcome::Outcome;
use crate::partitions::count;
use crate::parts::store_entries;
use crate::rejection::{PartitionRejection, RequestRejection, TextField};
use crate::rows::{RequestRow, array, demand, read, write};
use crate::selection::{Found, find_records};
use crate::tables::{
    AWAITING, DOCUMENTS, OPEN_REQUESTS, ORDERS, REQUEST_NUMBERS, REQUESTS, member_key,
};
use crate::view::{Enrolled, RequestState};

/// Most requests open at once: the busiest day of the largest services is a few hundred.
pub(crate) const OPEN_LIMIT: u32 = 10_000;
/// Open requests looked at for lapsed ones at each submission.
const SWEEP: usize = 32;
/// Longest sealed documents, in bytes: half a message.
const DOCUMENTS_BYTES: usize = bailiwick_types::limits::MESSAGE_BYTES / 2;
/// Earlier generations of one order that a new one is compared with.
const GENERATIONS: usize = 64;

pub(crate) fn submit(
    machine: &mut Machine<'_>,
    request: DisclosureRequest,
    documents: &[u8],
) -> Result<Outcome, Stop> {
    let rd = request.id();
    if let Some(row) = load(machine.reader(), &rd)? {
        return Ok(logged(rd, &row));
    }
    machine.check_home()?;
    machine.check_not_frozen()?;
    if count(machine.reader())? > 1 {
        return Err(PartitionRejection::Missing.into());
    }
    check_request(machine, &request, documents)?;
    check_recipient(machine, &request)?;
    let lapsed = check_open(machine)?;
    let found = find_records(machine.reader(), machine.state.shard, &rd, &request)?;
    store_entries(machine, &rd, &found)?;
    accept(machine, lapsed, request, found, documents)
}

/// Takes a request that passed every check, with what was found.
pub(crate) fn accept(
    machine: &mut Machine<'_>,
    lapsed: Vec<RequestRow>,
    request: DisclosureRequest,
    found: Found,
    documents: &[u8],
) -> Result<Outcome, Stop> {
    let rd = request.id();
    for mut row in lapsed {
        row.state = row.state_at(machine.stamp);
        save(machine, &row)?;
    }
    supersede(machine, &request)?;
    let row = store_request(machine, rd, request, found, documents)?;
    Ok(logged(rd, &row))
}

pub(crate) fn logged(request: RequestId, row: &RequestRow) -> Outcome {
    Outcome::RequestLogged {
        request,
        selection: row.selection.id(),
        count: row.selection.count,
        state: row.state,
    }
}

pub(crate) fn check_request(
    machine: &Machine<'_>,
    request: &DisclosureRequest,
    documents: &[u8],
) -> Result<(), Stop> {
    let by = machine.by.clone();
    if request.entered_by != by {
        let entered_by = request.entered_by.clone();
        return Err(RequestRejection::OtherPerson { entered_by, by }.into());
    }
    if find(machine.reader(), Kind::Intake, &by)?.is_none() {
        return Err(RequestRejection::NotIntake(by).into());
    }
    if request.jurisdiction != machine.state.shard.jurisdiction {
        return Err(RequestRejection::OtherJurisdiction.into());
    }
    if request.generation == 0 {
        return Err(RequestRejection::Generation.into());
    }
    let not_after = request.not_after;
    if not_after <= machine.stamp {
        return Err(RequestRejection::Lapsed { not_after }.into());
    }
    let (cap, limit) = (request.cap, SELECTION_RECORDS);
    if cap == 0 || cap > limit {
        return Err(RequestRejection::Cap { cap, limit }.into());
    }
    let (policy, _) = machine.state.policy.ok_or(RequestRejection::NoPolicy)?;
    if request.custody_policy != policy || request.forum_policy != policy {
        return Err(RequestRejection::Policy { policy }.into());
    }
    if documents.len() > DOCUMENTS_BYTES || documents_digest(documents) != request.documents {
        return Err(RequestRejection::Documents.into());
    }
    Ok(())
}

/// The recipient is enrolled with exactly the key and certificate that the request names.
pub(crate) fn check_recipient(
    machine: &Machine<'_>,
    request: &DisclosureRequest,
) -> Result<(), Stop> {
    let named = &request.recipient;
    match find(machine.reader(), Kind::Recipient, &named.name)? {
        Some(Enrolled::Recipient {
            key, certificate, ..
        }) if key == named.key && certificate == named.certificate => Ok(()),
        _ => Err(RequestRejection::Recipient(named.name.clone()).into()),
    }
}

/// Rejects when too many are open; returns open requests that are not any more by now.
pub(crate) fn check_open(machine: &Machine<'_>) -> Result<Vec<RequestRow>, Stop> {
    let open = machine.state.open_requests;
    let look = if open >= OPEN_LIMIT {
        OPEN_LIMIT as usize
    } else {
        SWEEP
    };
    let mut lapsed = Vec::new();
    for (_, rd) in machine.reader().scan_prefix(OPEN_REQUESTS, &[], look)? {
        let row: RequestRow = demand(machine.reader(), REQUESTS, &rd)?;
        if row.state_at(machine.stamp) == RequestState::Lapsed {
            lapsed.push(row);
        }
    }
    let limit = OPEN_LIMIT;
    if open - lapsed.len() as u32 >= limit {
        return Err(RequestRejection::TooManyOpen { limit }.into());
    }
    Ok(lapsed)
}

/// A request with a higher generation of the same order takes the place of earlier ones that are
/// not being released yet: their decisions are void.
fn supersede(machine: &mut Machine<'_>, request: &DisclosureRequest) -> Result<(), StoreError> {
    let order = order_digest(request);
    let earlier = machine.reader().scan_prefix(ORDERS, &order, GENERATIONS)?;
    for (_, rd) in earlier {
        let mut row: RequestRow = demand(machine.reader(), REQUESTS, &rd)?;
        let pending = matches!(row.state, RequestState::InReview | RequestState::Approved);
        if pending && row.request.generation < request.generation {
            row.state = RequestState::Recalled;
            save(machine, &row)?;
            let reason = format!("superseded by generation {}", request.generation);
            let (request, by) = (row.request.id(), machine.by.clone());
            machine.log(LeafContent::Recall {
                request,
                reason,
                by,
            })?;
        }
    }
    Ok(())
}

/// `H("command", "order", forum, authority, reference)`: names an order across its generations.
fn order_digest(request: &DisclosureRequest) -> [u8; 32] {
    let digest = hash(HashTag::CommandKey, |e| {
        e.text("order")
            .text(request.forum.as_str())
            .text(request.authority.as_str())
            .text(&request.reference);
    });
    digest.0
}

fn store_request(
    machine: &mut Machine<'_>,
    rd: RequestId,
    request: DisclosureRequest,
    found: Found,
    documents: &[u8],
) -> Result<RequestRow, StoreError> {
    let leaf_index = machine.log(LeafContent::Request { request: rd })?;
    machine.log(LeafContent::Selection(found.selection.clone()))?;
    machine.state.requests += 1;
    let number = machine.state.requests;
    let mut rosters = Vec::new();
    for number in &found.periods {
        rosters.push((period(machine.reader(), *number)?.certificate, 0));
    }
    rosters.sort();
    rosters.dedup();
    let state = match found.selection.count == 0 {
        true => RequestState::NoData,
        false => RequestState::InReview,
    };
    let order = order_digest(&request);
    let row = RequestRow {
        number,
        request,
        state,
        logged_at: machine.stamp,
        leaf_index,
        selection: found.selection,
        rosters,
        periods: found.periods,
        decisions: Vec::new(),
        releases: Vec::new(),
        member_refusals: Vec::new(),
        refusal: None,
        delivered: None,
    };
    machine.store.put(DOCUMENTS, &rd.0, documents)?;
    machine
        .store
        .put(REQUEST_NUMBERS, &number.to_be_bytes(), &rd.0)?;
    let order = [&order[..], &number.to_be_bytes()].concat();
    machine.store.put(ORDERS, &order, &rd.0)?;
    save(machine, &row)?;
    Ok(row)
}

pub(crate) fn recall(
    machine: &mut Machine<'_>,
    rd: RequestId,
    reason: String,
) -> Result<Outcome, Stop> {
    check_text(TextField::Reason, &reason)?;
    let unknown = RequestRejection::Unknown(rd);
    let mut row = load(machine.reader(), &rd)?.ok_or(unknown)?;
    let state = row.state_at(machine.stamp);
    if is_final(state) {
        return Err(RequestRejection::State { state }.into());
    }
    row.state = RequestState::Recalled;
    let by = machine.by.clone();
    let leaf_index = machine.log(LeafContent::Recall {
        request: rd,
        reason,
        by,
    })?;
    save(machine, &row)?;
    let state = row.state;
    Ok(Outcome::StateChanged { leaf_index, state })
}

fn is_final(state: RequestState) -> bool {
    use RequestState as State;
    matches!(
        state,
        State::NoData | State::Refused | State::Recalled | State::Lapsed
    )
}

pub(crate) fn deliver(
    machine: &mut Machine<'_>,
    rd: RequestId,
    count: u32,
) -> Result<Outcome, Stop> {
    let unknown = RequestRejection::Unknown(rd);
    let mut row = load(machine.reader(), &rd)?.ok_or(unknown)?;
    if row.request.recipient.name != machine.by {
        let by = machine.by.clone();
        return Err(RequestRejection::NotRecipient { by }.into());
    }
    let state = row.state_at(machine.stamp);
    if state != RequestState::Disclosed {
        return Err(RequestRejection::State { state }.into());
    }
    let selected = row.selection.count;
    if count > selected {
        return Err(RequestRejection::DeliveredCount { count, selected }.into());
    }
    row.state = RequestState::Delivered;
    row.delivered = Some(count);
    let leaf_index = machine.log(LeafContent::Delivery { request: rd, count })?;
    save(machine, &row)?;
    let state = row.state;
    Ok(Outcome::StateChanged { leaf_index, state })
}

/// A request's row.
pub(crate) fn load(
    store: &dyn ReadStore,
    rd: &RequestId,
) -> Result<Option<RequestRow>, StoreError> {
    read(store, REQUESTS, &rd.0)
}

/// Writes a request's row, and with it whether it is open and whom it waits for.
pub(crate) fn save(machine: &mut Machine<'_>, row: &RequestRow) -> Result<(), StoreError> {
    let rd = row.request.id();
    let number = row.number.to_be_bytes();
    write(machine.store, REQUESTS, &rd.0, row)?;
    let was_open = machine.store.get(OPEN_REQUESTS, &number)?.is_some();
    match (was_open, is_open(row.state)) {
        (false, true) => {
            machine.state.open_requests += 1;
            machine.store.put(OPEN_REQUESTS, &number, &rd.0)?;
        }
        (true, false) => {
            machine.state.open_requests -= 1;
            machine.store.delete(OPEN_REQUESTS, &number)?;
        }
        _ => {}
    }
    for (role, slot, waits) in members_asked(row) {
        let key = member_key(&[], role, slot, &number);
        match waits {
            true => machine.store.put(AWAITING, &key, &rd.0)?,
            false => machine.store.delete(AWAITING, &key)?,
        }
    }
    Ok(())
}

fn is_open(state: RequestState) -> bool {
    use RequestState as State;
    matches!(state, State::InReview | State::Approved | State::Releasing)
}

/// Members whose reviewer approved, and whether the request waits for them.
fn members_asked(row: &RequestRow) -> Vec<(Role, Slot, bool)> {
    let approved = row
        .decisions
        .iter()
        .map(|decision| &decision.approval.statement);
    approved
        .filter(|statement| statement.decision == bailiwick_envelope::approval::Decision::Approve)
        .map(|statement| {
            let place = (statement.role, statement.slot);
            let released = row.releases.iter().any(|(r, s, _)| (*r, *s) == place);
            let refused = row
                .member_refusals
                .iter()
                .any(|r| (r.role, r.slot) == place);
            let waits = row.state.may_release() && !released && !refused;
            (place.0, place.1, waits)
        })
        .collect()
}

/// At most `limit` requests that wait for a member at `now`.
pub(crate) fn awaiting(
    store: &dyn ReadStore,
    role: Role,
    slot: Slot,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<RequestId>, StoreError> {
    let mut waiting = Vec::new();
    let prefix = member_key(&[], role, slot, &[]);
    for (_, rd) in store.scan_prefix(AWAITING, &prefix, OPEN_LIMIT as usize)? {
        let row: RequestRow = demand(store, REQUESTS, &rd)?;
        if now < row.request.not_after {
            waiting.push(RequestId(array(AWAITING, &rd)?));
        }
        if waiting.len() == limit {
            break;
        }
    }
    Ok(waiting)
}
