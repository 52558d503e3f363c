//! Sessions: their headers, the members' answers, and where they stand
//! (docs/cryptography.md sections 5 and 6).

use std::time::Duration;

use bailiwick_envelope::Canonical;
use bailiwick_envelope::acknowledgement::{SessionAcknowledgement, Verdict};
use bailiwick_envelope::header::{HeaderBody, SessionHeader};
use bailiwick_types::limits::{HEADER_CLOCK_SKEW, SESSION_LIFETIME, SESSIONS_PER_LIFETIME};
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{Digest, Role, SessionId, Slot, SlotMask, Timestamp};

use crate::certificates::{member, period, period_of};
use crate::enrolment::edge_key;
use crate::machine::{Machine, Stop};
use crate::outcome::{BlockStored, Outcome};
use crate::rejection::{Rejection, SessionRejection};
use crate::rows::{PeriodRow, SessionRow, corrupt, demand, read, read_array, write};
use crate::tables::{
    NONCES, RATES, SESSION_OF, UNANSWERED, answers, headers, member_key, sessions,
};
use crate::view::{SessionState, SessionView};

/// Exactly t oks of a role confirm a session after this long.
const DEGRADED_AFTER: Duration = Duration::from_secs(10);
/// Fewer than t oks of a role fail a session after this long.
const FAILED_AFTER: Duration = Duration::from_secs(60);

pub(crate) fn open(machine: &mut Machine<'_>, header: SessionHeader) -> Result<Outcome, Stop> {
    machine.check_not_frozen()?;
    let (store, body) = (machine.reader(), &header.body);
    check_place(machine, body)?;
    let edge = body.edge.clone();
    let not_enrolled = SessionRejection::NotEnrolled(edge.clone());
    let key = edge_key(store, &edge)?.ok_or(not_enrolled)?;
    let unknown = SessionRejection::UnknownPeriod(body.kid);
    let (number, period) = period_of(store, &body.kid)?.ok_or(unknown)?;
    check_times(machine.stamp, body, &period)?;
    let verified = header
        .verify(&key, period.workflow, period.legal_review)
        .map_err(|error| SessionRejection::Header {
            reason: error.to_string(),
        })?;
    let (sid, body) = (verified.sid(), verified.body());
    if store.get(SESSION_OF, &sid.0)?.is_some() {
        return Err(SessionRejection::Duplicate(sid).into());
    }
    let nonce = [edge.as_str().as_bytes(), &body.nonce.0].concat();
    if store.get(NONCES, &nonce)?.is_some() {
        return Err(SessionRejection::NonceUsed.into());
    }
    let rate = check_rate(machine, &edge)?;
    machine.store.put(NONCES, &nonce, &[])?;
    write(machine.store, RATES, edge.as_str().as_bytes(), &rate)?;
    let row = SessionRow {
        sid,
        edge,
        edge_key: key,
        committed_at: machine.stamp,
        opened_at: body.opened_at,
        expires_at: body.expires_at,
        max_block: body.max_block,
        next_block: 0,
        previous: Digest::default(),
        last_edge_time: body.opened_at,
        last_outcome: BlockStored::default(),
    };
    store_session(
        machine,
        number,
        &period,
        &row,
        &verified.header().to_bytes(),
    )?;
    Ok(Outcome::SessionOpened { sid })
}

/// The header is for this shard and comes from the edge that it names.
fn check_place(machine: &Machine<'_>, body: &HeaderBody) -> Result<(), SessionRejection> {
    let (named, here) = (body.shard, machine.state.shard);
    if named != here {
        return Err(SessionRejection::WrongShard { named, here });
    }
    if body.edge != machine.by {
        let (edge, by) = (body.edge.clone(), machine.by.clone());
        return Err(SessionRejection::OtherEdge { edge, by });
    }
    Ok(())
}

/// Section 6: "times against the leader's stamped time"; the period covers the stamp and the
/// session ends within it.
fn check_times(
    stamp: Timestamp,
    body: &HeaderBody,
    period: &PeriodRow,
) -> Result<(), SessionRejection> {
    if stamp < period.not_before || stamp >= period.not_after {
        return Err(SessionRejection::PeriodNotNow(body.kid));
    }
    let skew = body.opened_at.since(stamp).max(stamp.since(body.opened_at));
    let ended = body.expires_at <= stamp || body.expires_at > period.not_after;
    if skew > HEADER_CLOCK_SKEW || ended {
        return Err(SessionRejection::Times { stamp });
    }
    Ok(())
}

/// The edge's openings within the last ten minutes, this one included.
fn check_rate(machine: &Machine<'_>, edge: &bailiwick_types::Name) -> Result<Vec<Timestamp>, Stop> {
    let recent: Option<Vec<Timestamp>> = read(machine.reader(), RATES, edge.as_str().as_bytes())?;
    let mut recent = recent.unwrap_or_default();
    recent.retain(|opened| machine.stamp.since(*opened) < SESSION_LIFETIME);
    let limit = SESSIONS_PER_LIFETIME;
    if recent.len() >= limit as usize {
        return Err(SessionRejection::Rate { limit }.into());
    }
    recent.push(machine.stamp);
    Ok(recent)
}

fn store_session(
    machine: &mut Machine<'_>,
    period_number: u32,
    period: &PeriodRow,
    row: &SessionRow,
    header: &[u8],
) -> Result<(), StoreError> {
    machine.state.sessions += 1;
    let number = machine.state.sessions.to_be_bytes();
    let place = [period_number.to_be_bytes(), number].concat();
    machine.store.put(SESSION_OF, &row.sid.0, &place)?;
    write(machine.store, sessions(period_number), &number, row)?;
    machine.store.put(headers(period_number), &number, header)?;
    for role in Role::ALL {
        for slot in period.threshold(role).slots() {
            let key = member_key(&[], role, slot, &number);
            machine
                .store
                .put(UNANSWERED, &key, &period_number.to_be_bytes())?;
        }
    }
    Ok(())
}

pub(crate) fn acknowledge(
    machine: &mut Machine<'_>,
    answer: &SessionAcknowledgement,
) -> Result<Outcome, Stop> {
    let (role, slot) = (answer.role, answer.slot);
    let unknown = Rejection::from(SessionRejection::Unknown(answer.sid));
    let (period_number, number) = place(machine.reader(), &answer.sid)?.ok_or(unknown)?;
    let certificate = period(machine.reader(), period_number)?.certificate_number;
    let member = member(machine.reader(), certificate, role, slot)?
        .ok_or(SessionRejection::NoSuchMember { role, slot })?;
    answer
        .verify(&member.identity)
        .map_err(|_| SessionRejection::Signature { role, slot })?;
    let number = number.to_be_bytes();
    // One row per verdict: a member that says both leaves both, signed.
    let key = member_key(&number, role, slot, &[answer.verdict as u8]);
    machine
        .store
        .put(answers(period_number), &key, &answer.to_bytes())?;
    machine
        .store
        .delete(UNANSWERED, &member_key(&[], role, slot, &number))?;
    Ok(Outcome::Accepted)
}

/// A session's period and number.
pub(crate) fn place(
    store: &dyn ReadStore,
    sid: &SessionId,
) -> Result<Option<(u32, u32)>, StoreError> {
    let place = read_array::<8>(store, SESSION_OF, &sid.0)?.map(u64::from_be_bytes);
    Ok(place.map(|place| ((place >> 32) as u32, place as u32)))
}

/// A session and where it stands at `now`.
pub(crate) fn view(
    store: &dyn ReadStore,
    sid: &SessionId,
    now: Timestamp,
) -> Result<Option<SessionView>, StoreError> {
    let Some((period_number, number)) = place(store, sid)? else {
        return Ok(None);
    };
    let row: SessionRow = demand(store, sessions(period_number), &number.to_be_bytes())?;
    let period = period(store, period_number)?;
    let answers = read_answers(store, period_number, number)?;
    let (mut oks, mut complaints, mut contradictions) = (Vec::new(), Vec::new(), Vec::new());
    for role in Role::ALL {
        let (ok, complained) = &answers[usize::from(role.code()) - 1];
        for slot in period.threshold(role).slots() {
            match (ok.contains(slot), complained.contains(slot)) {
                (true, false) => oks.push((role, slot)),
                (false, true) => complaints.push((role, slot)),
                (true, true) => {
                    complaints.push((role, slot));
                    contradictions.push((role, slot));
                }
                (false, false) => {}
            }
        }
    }
    let state = standing(&period, &oks, now.since(row.committed_at));
    Ok(Some(SessionView {
        sid: *sid,
        edge: row.edge,
        kid: period.kid,
        committed_at: row.committed_at,
        expires_at: row.expires_at,
        next_block: row.next_block,
        state,
        oks,
        complaints,
        contradictions,
    }))
}

/// Which slots of each role said ok, and which complained.
fn read_answers(
    store: &dyn ReadStore,
    period_number: u32,
    number: u32,
) -> Result<[(SlotMask, SlotMask); 2], StoreError> {
    let table = answers(period_number);
    let mut masks = [(SlotMask::default(), SlotMask::default()); 2];
    // Two verdicts of each of at most 14 members.
    for (_, value) in store.scan_prefix(table, &number.to_be_bytes(), 28)? {
        let answer = SessionAcknowledgement::from_bytes(&value).map_err(|_| corrupt(table))?;
        let (ok, complained) = &mut masks[usize::from(answer.role.code()) - 1];
        let mask = match answer.verdict {
            Verdict::Ok => ok,
            Verdict::Complaint => complained,
        };
        *mask = mask.with(answer.slot);
    }
    Ok(masks)
}

/// Section 5: "Confirmed at min(n, t+1) oks per role; at exactly t after 10 s confirmed and marked
/// degraded; below t after 60 s: a new session".
fn standing(period: &PeriodRow, oks: &[(Role, Slot)], age: Duration) -> SessionState {
    let count = |role: Role| oks.iter().filter(|(r, _)| *r == role).count() as u8;
    let reach = |spare: u8| {
        Role::ALL.into_iter().all(|role| {
            let threshold = period.threshold(role);
            count(role) >= (threshold.needed() + spare).min(threshold.members())
        })
    };
    if reach(1) {
        SessionState::Confirmed
    } else if reach(0) && age >= DEGRADED_AFTER {
        SessionState::Degraded
    } else if !reach(0) && age >= FAILED_AFTER {
        SessionState::Failed
    } else {
        SessionState::Pending
    }
}

/// A session's header.
pub(crate) fn header(
    store: &dyn ReadStore,
    period_number: u32,
    number: u32,
) -> Result<SessionHeader, StoreError> {
    let table = headers(period_number);
    let bytes = store.get(table, &number.to_be_bytes())?;
    let bytes = bytes.ok_or_else(|| corrupt(table))?;
    SessionHeader::from_bytes(&bytes).map_err(|_| corrupt(table))
}
