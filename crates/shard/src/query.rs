//! Reading a shard's state: every function is pure over one consistent view of the store. `now` is
//! the caller's: nothing here reads a clock.
//!
//! Not here: who may read what; the node's authorisation says that.

use std::collections::BTreeMap;
use std::ops::Bound;

use bailiwick_envelope::Canonical;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_tlog::{self as tlog, Hash};
use bailiwick_types::store::{ReadStore, StoreError, prefix_end};
use bailiwick_types::{
    CertificateId, KeyId, Minute, RequestId, Role, SessionId, Slot, SubjectPseudonym, Timestamp,
};

use crate::command::HomeState;
use crate::log::{LogNodes, store_error};
pub use crate::part_evidence::{
    frozen_part, part_ciphertexts, part_inputs, part_page, partition_root,
};
use crate::rows::{
    CertificateRow, PeriodStatistics, RequestRow, ShardState, array, corrupt, demand, parse, read,
    tail_u32,
};
use crate::tables::{
    CERTIFICATES, DOCUMENTS, LEAVES, OPEN_REQUESTS, Position, REQUEST_NUMBERS, REQUESTS, STATE,
    STATISTICS, UNANSWERED, member_key, records, subject_bound, subject_key_parts, subjects,
};
use crate::view::{
    CertificateView, CiphertextPage, DraftView, Enrolled, EvidencePage, LabelPage, RequestState,
    RequestView, SessionView, ShardInfo,
};
use crate::{
    certificates as certificate_rows, enrolment, evidence as pages, partitions, requests, sessions,
};

/// Most requests, labels or leaves of one page, whatever is asked.
const PAGE: usize = 1024;

fn state(store: &dyn ReadStore) -> Result<Option<ShardState>, StoreError> {
    read(store, STATE, &[])
}

/// What the shard is and holds; `None` before genesis.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn shard_info(store: &dyn ReadStore) -> Result<Option<ShardInfo>, StoreError> {
    Ok(state(store)?.map(|state| ShardInfo {
        cluster: state.cluster,
        shard: state.shard,
        origin: state.origin,
        policy: state.policy,
        frozen: state.frozen,
        last_stamp: state.last_stamp,
        records: state.records,
        phones: state.phones,
        sessions: state.sessions,
        requests: state.requests,
        leaves: state.leaves,
    }))
}

/// A session and where it stands at `now`; `None` when it was never committed.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn session(
    store: &dyn ReadStore,
    sid: SessionId,
    now: Timestamp,
) -> Result<Option<SessionView>, StoreError> {
    sessions::view(store, &sid, now)
}

/// A session's header.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn session_header(
    store: &dyn ReadStore,
    sid: SessionId,
) -> Result<Option<SessionHeader>, StoreError> {
    match sessions::place(store, &sid)? {
        Some((period, number)) => sessions::header(store, period, number).map(Some),
        None => Ok(None),
    }
}

/// Unanswered rows that are looked at: more than all edges may open in a session's lifetime.
const UNANSWERED_LOOK: usize = 16_384;
/// Expired ones after which the look ends.
const EXPIRED_IN_A_ROW: usize = 64;

/// At most `limit` headers of sessions that have not expired by log time and that a member has not
/// answered, newest first: what it cannot answer never stands before what it can.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn unanswered_sessions(
    store: &dyn ReadStore,
    role: Role,
    slot: Slot,
    limit: usize,
) -> Result<Vec<SessionHeader>, StoreError> {
    let prefix = member_key(&[], role, slot, &[]);
    let Some(info) = shard_info(store)? else {
        return Ok(Vec::new());
    };
    let first = info.sessions.saturating_sub(UNANSWERED_LOOK as u32);
    let from = member_key(&[], role, slot, &first.to_be_bytes());
    let end = prefix_end(&prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let rows = store.scan(UNANSWERED, Bound::Included(&from), to, UNANSWERED_LOOK + 1)?;
    let (mut headers, mut expired) = (Vec::new(), 0);
    for (key, value) in rows.iter().rev() {
        // Sessions expire about in the order of their numbers: behind many that have, all have.
        if headers.len() == limit || expired == EXPIRED_IN_A_ROW {
            break;
        }
        let period = tail_u32(UNANSWERED, value)?;
        let number = tail_u32(UNANSWERED, key)?;
        let header = sessions::header(store, period, number)?;
        if header.body.expires_at > info.last_stamp {
            headers.push(header);
        } else {
            expired += 1;
        }
    }
    Ok(headers)
}

/// All valid certificates, oldest first.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn certificates(store: &dyn ReadStore) -> Result<Vec<CertificateView>, StoreError> {
    let rows = store.scan_prefix(CERTIFICATES, &[], PAGE)?;
    rows.iter()
        .map(|(_, row)| certificate_view(store, parse(CERTIFICATES, row)?))
        .collect()
}

fn certificate_view(
    store: &dyn ReadStore,
    row: CertificateRow,
) -> Result<CertificateView, StoreError> {
    let leaf = leaf(store, row.leaf_index)?.ok_or_else(|| corrupt(LEAVES))?;
    Ok(CertificateView {
        certificate: row.certificate,
        leaf,
        leaf_index: row.leaf_index,
    })
}

/// A valid certificate by its id.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn certificate(
    store: &dyn ReadStore,
    id: CertificateId,
) -> Result<Option<CertificateView>, StoreError> {
    certificate_rows::by_id(store, &id)?
        .map(|row| certificate_view(store, row))
        .transpose()
}

/// The valid certificate that has this key period, and the period's index in it.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn certificate_of(
    store: &dyn ReadStore,
    kid: KeyId,
) -> Result<Option<(CertificateView, u16)>, StoreError> {
    let Some((_, period)) = certificate_rows::period_of(store, &kid)? else {
        return Ok(None);
    };
    let key = period.certificate_number.to_be_bytes();
    let view = certificate_view(store, demand(store, CERTIFICATES, &key)?)?;
    Ok(Some((view, period.index)))
}

/// Certificates on their way, in order of the draft's id.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn drafts(store: &dyn ReadStore) -> Result<Vec<DraftView>, StoreError> {
    let Some(state) = state(store)? else {
        return Ok(Vec::new());
    };
    let drafts = certificate_rows::drafts(store)?.into_iter();
    let view = |(draft, row): (_, crate::rows::DraftRow)| DraftView {
        draft,
        called_at: row.called_at,
        offered: row.offers.iter().map(|(r, s, _)| (*r, *s)).collect(),
        body: certificate_rows::body_of(&row, state.shard.jurisdiction),
        signed: row.signatures.iter().map(|(r, s, _)| (*r, *s)).collect(),
        plan: row.plan,
    };
    Ok(drafts.map(view).collect())
}

/// Everybody enrolled, by kind (edges, intakes, recipients) and id.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn enrolments(store: &dyn ReadStore) -> Result<Vec<Enrolled>, StoreError> {
    enrolment::all(store)
}

/// A request as it stands at `now`.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn request(
    store: &dyn ReadStore,
    id: RequestId,
    now: Timestamp,
) -> Result<Option<RequestView>, StoreError> {
    requests::load(store, &id)?
        .map(|row| request_view(store, id, row, now))
        .transpose()
}

fn request_view(
    store: &dyn ReadStore,
    id: RequestId,
    row: RequestRow,
    now: Timestamp,
) -> Result<RequestView, StoreError> {
    let mut periods = Vec::with_capacity(row.periods.len());
    for number in &row.periods {
        periods.push(certificate_rows::period(store, *number)?.kid);
    }
    periods.sort();
    Ok(RequestView {
        id,
        state: row.state_at(now),
        rosters: row.roster_references(),
        request: row.request,
        logged_at: row.logged_at,
        leaf_index: row.leaf_index,
        selection: row.selection,
        periods,
        decisions: row.decisions,
        releases: row.releases,
        member_refusals: row.member_refusals,
        refusal: row.refusal,
        delivered: row.delivered,
    })
}

/// The sealed documents of a request.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn documents(store: &dyn ReadStore, id: RequestId) -> Result<Option<Vec<u8>>, StoreError> {
    store.get(DOCUMENTS, &id.0)
}

/// At most `limit` requests in the order of the log, after `after`, and whether there are more.
/// With `open_only`, those that are in review at `now`. An unknown `after` begins at the start.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn requests(
    store: &dyn ReadStore,
    after: Option<RequestId>,
    limit: usize,
    open_only: bool,
    now: Timestamp,
) -> Result<(Vec<RequestView>, bool), StoreError> {
    let after = match after {
        Some(id) => requests::load(store, &id)?.map_or(0, |row| row.number),
        None => 0,
    };
    let table = match open_only {
        true => OPEN_REQUESTS,
        false => REQUEST_NUMBERS,
    };
    let limit = limit.clamp(1, PAGE);
    let mut page = Vec::new();
    let mut from = after.to_be_bytes().to_vec();
    loop {
        let rows = store.scan(table, Bound::Excluded(&from), Bound::Unbounded, PAGE)?;
        let Some((last, _)) = rows.last() else {
            return Ok((page, false));
        };
        from = last.clone();
        for (_, rd) in rows {
            let id = RequestId(array(table, &rd)?);
            let row: RequestRow = demand(store, REQUESTS, &rd)?;
            if open_only && row.state_at(now) != RequestState::InReview {
                continue;
            }
            if page.len() == limit {
                return Ok((page, true));
            }
            page.push(request_view(store, id, row, now)?);
        }
    }
}

/// At most `limit` approved requests that the member's own reviewer approved and that the member
/// has neither released nor refused; what wakes an approver.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn awaiting_release(
    store: &dyn ReadStore,
    role: Role,
    slot: Slot,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<RequestId>, StoreError> {
    requests::awaiting(store, role, slot, now, limit)
}

/// The records `from` to `from + limit` (at most 1,024) of a selection, for approvers; `None` when
/// the request is unknown.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn evidence(
    store: &dyn ReadStore,
    id: RequestId,
    from: u32,
    limit: u32,
) -> Result<Option<EvidencePage>, StoreError> {
    let (Some(state), Some(_)) = (state(store)?, requests::load(store, &id)?) else {
        return Ok(None);
    };
    pages::evidence(store, state.shard, &id, from, limit).map(Some)
}

/// The records `from` to `from + limit` (at most 1,024) of a selection with their ciphertext, for
/// the recipient; `None` when the request is unknown or no release of it stands.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn ciphertexts(
    store: &dyn ReadStore,
    id: RequestId,
    from: u32,
    limit: u32,
) -> Result<Option<CiphertextPage>, StoreError> {
    use RequestState as State;
    let (Some(state), Some(row)) = (state(store)?, requests::load(store, &id)?) else {
        return Ok(None);
    };
    match row.state {
        State::Releasing | State::Disclosed | State::Delivered => {
            pages::ciphertexts(store, state.shard, &id, from, limit).map(Some)
        }
        _ => Ok(None),
    }
}

/// In how many groups the jurisdiction's records are.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn partitions(store: &dyn ReadStore) -> Result<u16, StoreError> {
    partitions::count(store)
}

/// How many leaves of each further partition's log the home log has committed to, by partition.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn partition_sizes(store: &dyn ReadStore) -> Result<BTreeMap<u16, u64>, StoreError> {
    let roots = partitions::roots(store)?.into_iter();
    Ok(roots
        .map(|(partition, row)| (partition, row.size))
        .collect())
}

/// What further partitions take over from this home group; `None` before genesis.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn home_state(store: &dyn ReadStore) -> Result<Option<HomeState>, StoreError> {
    let Some(state) = state(store)? else {
        return Ok(None);
    };
    let mut home = HomeState {
        leaves: state.leaves,
        edges: Vec::new(),
        intakes: Vec::new(),
        frozen: state.frozen,
    };
    for enrolled in enrolment::all(store)? {
        match enrolled {
            Enrolled::Edge { name, key } => home.edges.push((name, key)),
            Enrolled::Intake { name } => home.intakes.push(name),
            // Whether a recipient may fetch anything, the home group is asked.
            Enrolled::Recipient { .. } => {}
        }
    }
    Ok(Some(home))
}

/// At most `limit` labels of a subject in the minutes `from` to `to`, exclusive.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn labels(
    store: &dyn ReadStore,
    subject: SubjectPseudonym,
    from: Minute,
    to: Minute,
    limit: usize,
) -> Result<LabelPage, StoreError> {
    let limit = limit.clamp(1, PAGE);
    let mut labels = Vec::new();
    let (low, high) = (subject_bound(&subject, from), subject_bound(&subject, to));
    for (key, value) in store.scan_prefix(STATISTICS, &[], usize::MAX)? {
        let period = tail_u32(STATISTICS, &key)?;
        let statistics: PeriodStatistics = parse(STATISTICS, &value)?;
        if statistics.last_minute < from || to <= statistics.first_minute {
            continue;
        }
        let table = subjects(period);
        let bounds = (Bound::Included(&low[..]), Bound::Excluded(&high[..]));
        let wanted = limit + 1 - labels.len();
        for (key, _) in store.scan(table, bounds.0, bounds.1, wanted)? {
            let (minute, category) = subject_key_parts(&key).ok_or_else(|| corrupt(table))?;
            let position = Position::of_tail(&key).ok_or_else(|| corrupt(table))?;
            let row = store.get(records(period), &position.key())?;
            let row = row.ok_or_else(|| corrupt(records(period)))?;
            let record = bailiwick_envelope::block::SealedRecord::from_row(&row)
                .map_err(|_| corrupt(records(period)))?;
            labels.push((category, minute, record.record));
        }
        if labels.len() > limit {
            labels.truncate(limit);
            return Ok(LabelPage { labels, more: true });
        }
    }
    let more = false;
    Ok(LabelPage { labels, more })
}

/// Leaves in the log.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn log_size(store: &dyn ReadStore) -> Result<u64, StoreError> {
    Ok(state(store)?.map_or(0, |state| state.leaves))
}

/// The log's root at a size; `None` above its own size.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn log_root(store: &dyn ReadStore, size: u64) -> Result<Option<Hash>, StoreError> {
    if size > log_size(store)? {
        return Ok(None);
    }
    tlog::root(&LogNodes(store), size)
        .map(Some)
        .map_err(store_error)
}

pub(crate) fn leaf(store: &dyn ReadStore, index: u64) -> Result<Option<OpenedLeaf>, StoreError> {
    let bytes = store.get(LEAVES, &index.to_be_bytes())?;
    bytes
        .map(|bytes| OpenedLeaf::from_bytes(&bytes).map_err(|_| corrupt(LEAVES)))
        .transpose()
}

/// At most `limit` leaves, at most 1,024, from an index.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn leaves(
    store: &dyn ReadStore,
    from: u64,
    limit: usize,
) -> Result<Vec<OpenedLeaf>, StoreError> {
    let from = from.to_be_bytes();
    let bounds = (Bound::Included(&from[..]), Bound::Unbounded);
    let rows = store.scan(LEAVES, bounds.0, bounds.1, limit.min(PAGE))?;
    rows.iter()
        .map(|(_, leaf)| OpenedLeaf::from_bytes(leaf).map_err(|_| corrupt(LEAVES)))
        .collect()
}

/// Inclusion proof of leaf `index` in the log of `size` leaves; `None` when the log has not so many
/// or the leaf lies outside.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn prove_inclusion(
    store: &dyn ReadStore,
    index: u64,
    size: u64,
) -> Result<Option<Vec<Hash>>, StoreError> {
    if index >= size || size > log_size(store)? {
        return Ok(None);
    }
    tlog::prove_inclusion(&LogNodes(store), index, size)
        .map(Some)
        .map_err(store_error)
}

/// Consistency proof from `old_size` to `new_size`; `None` when the log has not so many leaves or
/// the old size is the larger one.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn prove_consistency(
    store: &dyn ReadStore,
    old_size: u64,
    new_size: u64,
) -> Result<Option<Vec<Hash>>, StoreError> {
    if old_size > new_size || new_size > log_size(store)? {
        return Ok(None);
    }
    tlog::prove_consistency(&LogNodes(store), old_size, new_size)
        .map(Some)
        .map_err(store_error)
}
