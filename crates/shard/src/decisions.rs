//! Reviewers' decisions (docs/cryptography.md section 7). Both quorums must approve one request and
//! one selection.

use bailiwick_envelope::approval::{Approval, ApprovalStatement, Decision};
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_types::store::StoreError;
use bailiwick_types::{Role, Slot, Threshold};

use crate::certificates::{member, period};
use crate::machine::{Machine, Stop};
use crate::outcome::Outcome;
use crate::rejection::DecisionRejection;
use crate::requests::{load, save};
use crate::rows::{PeriodRow, RequestRow};
use crate::view::{LoggedDecision, RequestState};

pub(crate) fn decide(machine: &mut Machine<'_>, approval: Approval) -> Result<Outcome, Stop> {
    let statement = &approval.statement;
    let rd = statement.request;
    let unknown = DecisionRejection::UnknownRequest(rd);
    let mut row = load(machine.reader(), &rd)?.ok_or(unknown)?;
    let (role, slot) = (statement.role, statement.slot);
    if let Some(known) = row
        .decisions
        .iter()
        .find(|known| place(known) == (role, slot))
    {
        return match known.approval == approval {
            true => Ok(Outcome::Decided {
                leaf_index: known.leaf_index,
                state: row.state_at(machine.stamp),
            }),
            false => Err(DecisionRejection::SlotDecided { role, slot }.into()),
        };
    }
    check_open(machine, &row, statement.decision)?;
    check_statement(&row, statement)?;
    let certificates = certificates(machine, &row)?;
    check_reviewer(machine, &certificates, &approval)?;
    check_person(machine, &row)?;
    let content = LeafContent::Decision(Box::new(approval.clone()));
    let leaf_index = machine.log(content)?;
    let by = machine.by.clone();
    let decision = approval.statement.decision;
    row.decisions.push(LoggedDecision {
        approval,
        by,
        leaf_index,
    });
    if row.state == RequestState::InReview {
        count(machine, &mut row, &certificates, decision)?;
    }
    save(machine, &row)?;
    let state = row.state;
    Ok(Outcome::Decided { leaf_index, state })
}

fn place(decision: &LoggedDecision) -> (Role, Slot) {
    let statement = &decision.approval.statement;
    (statement.role, statement.slot)
}

/// A request in review takes any decision. One that is approved still takes approvals, since a
/// member releases only what its own reviewer approved; a refusal then is a recall.
fn check_open(
    machine: &Machine<'_>,
    row: &RequestRow,
    decision: Decision,
) -> Result<(), DecisionRejection> {
    let state = row.state_at(machine.stamp);
    match (state, decision) {
        (RequestState::InReview, _) => Ok(()),
        (state, Decision::Approve) if state.may_release() => Ok(()),
        _ => Err(DecisionRejection::NotInReview { state }),
    }
}

fn check_statement(
    row: &RequestRow,
    statement: &ApprovalStatement,
) -> Result<(), DecisionRejection> {
    if statement.selection != row.selection.id() {
        return Err(DecisionRejection::Selection);
    }
    if statement.rosters != row.roster_references() {
        return Err(DecisionRejection::Rosters);
    }
    Ok(())
}

/// One period of each certificate involved.
pub(crate) fn certificates(
    machine: &Machine<'_>,
    row: &RequestRow,
) -> Result<Vec<PeriodRow>, StoreError> {
    let mut rows: Vec<PeriodRow> = Vec::new();
    for number in &row.periods {
        let period = period(machine.reader(), *number)?;
        let known = |row: &PeriodRow| row.certificate_number == period.certificate_number;
        if !rows.iter().any(known) {
            rows.push(period);
        }
    }
    Ok(rows)
}

/// The signature is by a key that every certificate involved names as the slot's reviewer.
fn check_reviewer(
    machine: &Machine<'_>,
    certificates: &[PeriodRow],
    approval: &Approval,
) -> Result<(), Stop> {
    let (role, slot) = (approval.statement.role, approval.statement.slot);
    for certificate in certificates {
        let number = certificate.certificate_number;
        let member = member(machine.reader(), number, role, slot)?;
        let known = member.is_some_and(|member| member.reviewers.contains(&approval.reviewer));
        if !known {
            return Err(DecisionRejection::NotReviewer { role, slot }.into());
        }
    }
    approval
        .verify()
        .map_err(|_| DecisionRejection::Signature)?;
    Ok(())
}

/// Requester, approver in one role and approver in the other are three persons.
fn check_person(machine: &Machine<'_>, row: &RequestRow) -> Result<(), DecisionRejection> {
    let by = machine.by.clone();
    if row.request.entered_by == by {
        return Err(DecisionRejection::OwnRequest(by));
    }
    match row.decisions.iter().find(|known| known.by == by) {
        Some(known) => {
            let (role, slot) = place(known);
            Err(DecisionRejection::SamePerson { by, role, slot })
        }
        None => Ok(()),
    }
}

/// Approved when both roles reach t of every certificate involved; refused, finally, when one role
/// cannot any more.
fn count(
    machine: &mut Machine<'_>,
    row: &mut RequestRow,
    certificates: &[PeriodRow],
    decision: Decision,
) -> Result<(), StoreError> {
    let decided = |role: Role, approve: bool| {
        let decisions = row.decisions.iter().map(|known| &known.approval.statement);
        let counts =
            |s: &&ApprovalStatement| s.role == role && (s.decision == Decision::Approve) == approve;
        decisions.filter(counts).count()
    };
    let all = |reached: &dyn Fn(Role, Threshold) -> bool| {
        Role::ALL.into_iter().all(|role| {
            let thresholds = certificates.iter().map(|period| period.threshold(role));
            thresholds
                .into_iter()
                .all(|threshold| reached(role, threshold))
        })
    };
    let approved = all(&|role, t| decided(role, true) >= usize::from(t.needed()));
    let possible = all(&|role, t| decided(role, false) <= usize::from(t.members() - t.needed()));
    match decision {
        Decision::Approve if approved => row.state = RequestState::Approved,
        Decision::Refuse(code) if !possible => {
            row.state = RequestState::Refused;
            row.refusal = Some(code);
            let request = row.request.id();
            machine.log(LeafContent::Refusal { request, code })?;
        }
        _ => {}
    }
    Ok(())
}

/// How many slots of a role every certificate involved needs.
pub(crate) fn needed(certificates: &[PeriodRow], role: Role) -> usize {
    let thresholds = certificates.iter().map(|period| period.threshold(role));
    let needed = thresholds.map(|threshold| usize::from(threshold.needed()));
    // A request without certificates has no records; it never comes here.
    needed.max().unwrap_or(usize::MAX)
}
