//! Members' releases and refusals (docs/cryptography.md section 8, step 9). The leaf comes before
//! any value: "No partial exists that is not preceded by a leaf in the transparency log".

use bailiwick_envelope::Signature;
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::release::ReleaseIntent;
use bailiwick_types::{Role, Slot};

use crate::certificates::member;
use crate::command::MemberRefusal;
use crate::decisions::{certificates, needed};
use crate::machine::{Machine, Stop, check_text};
use crate::outcome::Outcome;
use crate::rejection::{ReleaseRejection, TextField};
use crate::requests::{load, save};
use crate::rows::{MemberRow, PeriodRow, RequestRow};
use crate::view::RequestState;

pub(crate) fn record(machine: &mut Machine<'_>, intent: ReleaseIntent) -> Result<Outcome, Stop> {
    let rd = intent.request;
    let unknown = ReleaseRejection::UnknownRequest(rd);
    let mut row = load(machine.reader(), &rd)?.ok_or(unknown)?;
    machine.check_not_frozen()?;
    check_state(machine, &row)?;
    check_intent(&row, &intent)?;
    let certificates = certificates(machine, &row)?;
    let (role, slot) = (intent.role, intent.slot);
    for member in members(machine, &certificates, role, slot)? {
        intent
            .verify(&member.identity)
            .map_err(|_| ReleaseRejection::Signature { role, slot })?;
    }
    let known = row
        .releases
        .iter()
        .find(|(r, s, _)| (*r, *s) == (role, slot));
    if let Some((_, _, leaf_index)) = known {
        return Ok(Outcome::ReleaseLogged {
            leaf_index: *leaf_index,
            state: row.state,
        });
    }
    let leaf_index = machine.log(LeafContent::Release(intent))?;
    row.releases.push((role, slot, leaf_index));
    let released = |role: Role| row.releases.iter().filter(|(r, _, _)| *r == role).count();
    let whole = Role::ALL
        .into_iter()
        .all(|role| released(role) >= needed(&certificates, role));
    row.state = match whole {
        true => RequestState::Disclosed,
        false => RequestState::Releasing,
    };
    save(machine, &row)?;
    let state = row.state;
    Ok(Outcome::ReleaseLogged { leaf_index, state })
}

/// Approved, neither recalled nor lapsed. A disclosed request still takes releases of further
/// members: a recipient may need more when some lie.
fn check_state(machine: &Machine<'_>, row: &RequestRow) -> Result<(), ReleaseRejection> {
    let mut state = row.state_at(machine.stamp);
    if state.may_release() && machine.stamp >= row.request.not_after {
        state = RequestState::Lapsed;
    }
    match state.may_release() {
        true => Ok(()),
        false => Err(ReleaseRejection::NotApproved { state }),
    }
}

fn check_intent(row: &RequestRow, intent: &ReleaseIntent) -> Result<(), ReleaseRejection> {
    if intent.selection != row.selection.id() {
        return Err(ReleaseRejection::Selection);
    }
    let (selected, got) = (row.selection.count, intent.count);
    if got != selected {
        return Err(ReleaseRejection::Count { selected, got });
    }
    if intent.recipient != row.request.recipient.key.recipient_hash() {
        return Err(ReleaseRejection::Recipient);
    }
    Ok(())
}

/// The slot's member in every certificate involved.
fn members(
    machine: &Machine<'_>,
    certificates: &[PeriodRow],
    role: Role,
    slot: Slot,
) -> Result<Vec<MemberRow>, Stop> {
    let mut members = Vec::new();
    for certificate in certificates {
        let number = certificate.certificate_number;
        let member = member(machine.reader(), number, role, slot)?;
        members.push(member.ok_or(ReleaseRejection::NoSuchMember { role, slot })?);
    }
    match members.is_empty() {
        true => Err(ReleaseRejection::NoSuchMember { role, slot }.into()),
        false => Ok(members),
    }
}

pub(crate) fn refuse(
    machine: &mut Machine<'_>,
    refusal: MemberRefusal,
    signature: Option<&Signature>,
) -> Result<Outcome, Stop> {
    check_text(TextField::Reason, &refusal.reason)?;
    let unknown = ReleaseRejection::UnknownRequest(refusal.request);
    let mut row = load(machine.reader(), &refusal.request)?.ok_or(unknown)?;
    let (role, slot) = (refusal.role, refusal.slot);
    let state = row.state_at(machine.stamp);
    if !state.may_release() {
        return Err(ReleaseRejection::NotApproved { state }.into());
    }
    let certificates = certificates(machine, &row)?;
    for member in members(machine, &certificates, role, slot)? {
        let genuine = match signature {
            Some(signature) => refusal.verify(&member.identity, signature).is_ok(),
            None => member.name == machine.by,
        };
        if !genuine {
            return Err(ReleaseRejection::Signature { role, slot }.into());
        }
    }
    let place = |known: &MemberRefusal| (known.role, known.slot) == (role, slot);
    if !row.member_refusals.iter().any(place) {
        row.member_refusals.push(refusal);
        save(machine, &row)?;
    }
    Ok(Outcome::Accepted)
}
