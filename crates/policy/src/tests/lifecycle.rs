//! The life cycle: every row of the table in docs/legal-process.md, every decision that does not
//! count, and the clocks. The invariants are in `invariants`.

use bailiwick_envelope::approval::{Decision, RefusalCode};
use bailiwick_types::{Digest, Role, SelectionId, Slot, Timestamp};

use super::world::{DAY, HOUR, NOON, World, line, name};
use crate::Deadlines;
use crate::lifecycle::{
    AuthorityVerified, Binding, BindingMismatch, Correction, DecisionRefusal, Event, HoldPlaced,
    Narrowing, RequestProcess, RevisionError, Seat, State, Terms, TransitionRefusal, Triaged,
    Verdict,
};
use crate::vocabulary::{DataCategory, Priority};

pub(super) const SELECTION: SelectionId = SelectionId([4; 32]);

pub(super) fn at(hours: u64) -> Timestamp {
    Timestamp(NOON.0 + hours * HOUR)
}

fn deadlines(category: DataCategory, priority: Priority, validated: bool) -> Deadlines {
    let world = World::new();
    let law = world.policy.law().unwrap();
    let terms = law
        .instruments
        .values()
        .next()
        .unwrap()
        .terms(category)
        .unwrap();
    let expires = Timestamp(NOON.0 + 30 * DAY);
    Deadlines::new(&law.intake, terms, priority, validated, NOON, expires).unwrap()
}

fn terms(deadlines: Deadlines) -> Terms {
    Terms::new(&World::new().policy, [3, 3], 3, deadlines)
}

pub(super) fn routine() -> Terms {
    terms(deadlines(
        DataCategory::Identification,
        Priority::Routine,
        true,
    ))
}

pub(super) fn urgent() -> Terms {
    terms(deadlines(
        DataCategory::Identification,
        Priority::Emergency,
        false,
    ))
}

pub(super) fn start(terms: Terms) -> RequestProcess {
    let binding = Binding::of(&World::new().request, SELECTION);
    RequestProcess::new(binding, name("clerk"), terms, NOON)
}

pub(super) fn intake() -> Event {
    Event::IntakeLogged(HoldPlaced::of(&World::new().evaluate()).unwrap())
}

pub(super) fn verified() -> Event {
    Event::AuthorityVerified(AuthorityVerified::of(&World::new().evaluate()).unwrap())
}

pub(super) fn triaged(world: &World) -> Event {
    Event::Triaged(Triaged::of(&world.evaluate()))
}

pub(super) fn verdict(
    process: &RequestProcess,
    seat: Seat,
    person: &str,
    decision: Decision,
) -> Event {
    Event::Decided(Verdict {
        seat,
        person: name(person),
        binding: *process.binding(),
        decision,
    })
}

pub(super) fn slot(number: u8) -> Slot {
    Slot::new(number).unwrap()
}

fn person(role: Role, number: u8) -> String {
    format!("person-{role}-{number}")
}

pub(super) fn decide(
    process: &RequestProcess,
    role: Role,
    number: u8,
    decision: Decision,
) -> Event {
    let seat = Seat::Committee(role, slot(number));
    verdict(process, seat, &person(role, number), decision)
}

pub(super) fn panel(process: &RequestProcess, number: u8, decision: Decision) -> Event {
    verdict(
        process,
        Seat::Panel(number),
        &format!("panel-{number}"),
        decision,
    )
}

pub(super) const APPROVE: Decision = Decision::Approve;
pub(super) const REFUSE: Decision = Decision::Refuse(RefusalCode::Overbroad);

#[track_caller]
fn apply(process: &mut RequestProcess, hours: u64, event: Event, expected: State) {
    let word = event.as_str();
    assert_eq!(process.apply(at(hours), event), Ok(()), "{word}");
    assert_eq!(process.state(), expected, "{word}");
}

pub(super) fn in_review_under(terms: Terms) -> RequestProcess {
    let mut process = start(terms);
    apply(&mut process, 0, intake(), State::AuthorityCheck);
    apply(&mut process, 0, verified(), State::Triage);
    apply(&mut process, 0, triaged(&World::new()), State::InReview);
    process
}

fn in_review() -> RequestProcess {
    in_review_under(routine())
}

fn approve_by_both(process: &mut RequestProcess, hours: u64) {
    for (role, number) in [
        (Role::Workflow, 1),
        (Role::LegalReview, 1),
        (Role::Workflow, 2),
    ] {
        let event = decide(process, role, number, APPROVE);
        apply(process, hours, event, State::InReview);
    }
    let event = decide(process, Role::LegalReview, 2, APPROVE);
    apply(process, hours, event, State::Approved);
}

fn disclosed_under(terms: Terms) -> RequestProcess {
    let mut process = in_review_under(terms);
    approve_by_both(&mut process, 1);
    apply(&mut process, 1, Event::InclusionVerified, State::Releasing);
    apply(
        &mut process,
        1,
        Event::Released(Role::Workflow, slot(1)),
        State::Releasing,
    );
    // The same member again is one member.
    apply(
        &mut process,
        1,
        Event::Released(Role::Workflow, slot(1)),
        State::Releasing,
    );
    apply(
        &mut process,
        1,
        Event::Released(Role::Workflow, slot(2)),
        State::Releasing,
    );
    apply(
        &mut process,
        1,
        Event::Released(Role::LegalReview, slot(1)),
        State::Releasing,
    );
    apply(
        &mut process,
        1,
        Event::Released(Role::LegalReview, slot(3)),
        State::Disclosed,
    );
    process
}

#[test]
fn a_request_is_disclosed_delivered_and_closed() {
    let mut process = disclosed_under(routine());
    apply(&mut process, 2, Event::Acknowledged, State::Delivered);
    apply(&mut process, 3, Event::NoticeSettled, State::Closed);
    apply(&mut process, 4, Event::Annulled, State::Recalled);
}

#[test]
fn an_order_that_nobody_verified_never_gets_past_the_authority_check() {
    let unsigned = World::changed(|w| w.case.document = None);
    assert_eq!(AuthorityVerified::of(&unsigned.evaluate()), None);
    let without = World::changed(|w| w.case.hold = None);
    assert_eq!(HoldPlaced::of(&without.evaluate()), None);
    let mut process = start(routine());
    apply(&mut process, 0, intake(), State::AuthorityCheck);
    apply(&mut process, 0, Event::AuthorityRejected, State::Refused);
    assert_eq!(process.refusal(), Some(RefusalCode::Authenticity));
}

#[test]
fn triage_leads_where_the_rules_say() {
    let triage = |world: &World| {
        let mut process = start(routine());
        apply(&mut process, 0, intake(), State::AuthorityCheck);
        apply(&mut process, 0, verified(), State::Triage);
        let result = process.apply(at(0), triaged(world));
        (process, result)
    };
    let suspect =
        World::changed(|w| w.case.order.subject_role = crate::vocabulary::SubjectRole::Witness);
    let (process, _) = triage(&suspect);
    assert_eq!(process.refusal(), Some(RefusalCode::NotSuspect));
    let (process, _) = triage(&World::changed(|w| w.offence().code = name("insult")));
    assert_eq!(process.state(), State::Escalated);
    let world = World::new();
    let none = world.policy.with(world.policy.quorum(), &[]);
    let mut denied = start(routine());
    apply(&mut denied, 0, intake(), State::AuthorityCheck);
    apply(&mut denied, 0, verified(), State::Triage);
    let event = Event::Triaged(Triaged::of(&world.evaluate_under(&none)));
    assert_eq!(
        denied.apply(at(0), event),
        Err(TransitionRefusal::PolicyDenies)
    );
    assert_eq!(denied.state(), State::Triage);
    // Incomplete: corrected in time it is triaged again; else it lapses.
    let (mut process, _) = triage(&World::changed(|w| w.case.notice = None));
    assert_eq!(process.state(), State::Incomplete);
    let mut late = process.clone();
    apply(&mut late, 120, Event::TimePassed, State::Lapsed);
    let mut later = world.request.clone();
    later.generation = 2;
    let correction = Correction::new(&world.request, &later, SELECTION).unwrap();
    apply(
        &mut process,
        119,
        Event::Corrected(correction),
        State::Triage,
    );
    assert_eq!(process.binding().generation, 2);
    assert_eq!(
        late.apply(at(121), Event::Corrected(correction)),
        Err(TransitionRefusal::Illegal {
            state: State::Lapsed,
            event: "corrected"
        })
    );
}

#[test]
fn the_enforcing_authority_is_waited_for() {
    let traffic = terms(deadlines(DataCategory::Traffic, Priority::Routine, true));
    let held = || {
        let mut process = start(traffic);
        let mut open = World::traffic();
        open.case.notification = None;
        apply(&mut process, 0, intake(), State::AuthorityCheck);
        apply(&mut process, 0, verified(), State::Triage);
        apply(&mut process, 0, triaged(&open), State::HeldForAuthority);
        process
    };
    apply(&mut held(), 1, Event::EnforcingCleared, State::InReview);
    apply(&mut held(), 240, Event::TimePassed, State::InReview);
    apply(&mut held(), 239, Event::TimePassed, State::HeldForAuthority);
    let mut refused = held();
    apply(&mut refused, 1, Event::EnforcingObjected, State::Refused);
    assert_eq!(refused.refusal(), Some(RefusalCode::EnforcingAuthority));
    let mut narrowed = held();
    apply(
        &mut narrowed,
        1,
        Event::Narrowed(narrowing()),
        State::HeldForAuthority,
    );
    assert_eq!(narrowed.binding().generation, 2);
}

fn narrowing() -> Narrowing {
    let earlier = World::new().request;
    let mut later = earlier.clone();
    later.generation = 2;
    later.cap = 10;
    Narrowing::new(&earlier, &later, SELECTION).unwrap()
}

#[test]
fn narrowing_voids_every_earlier_decision() {
    let mut process = in_review();
    for (role, number) in [
        (Role::Workflow, 1),
        (Role::LegalReview, 1),
        (Role::Workflow, 2),
    ] {
        let event = decide(&process, role, number, APPROVE);
        apply(&mut process, 1, event, State::InReview);
    }
    let stale = decide(&process, Role::LegalReview, 2, APPROVE);
    apply(
        &mut process,
        2,
        Event::Narrowed(narrowing()),
        State::InReview,
    );
    assert_eq!(process.approvals(Role::Workflow), 0);
    let mismatch = BindingMismatch::Generation { current: 2, got: 1 };
    assert_eq!(
        process.apply(at(2), stale),
        Err(DecisionRefusal::Binding(mismatch).into())
    );
    // Twice the same narrowing is one of an older generation.
    assert_eq!(
        process.apply(at(2), Event::Narrowed(narrowing())),
        Err(TransitionRefusal::OtherRequest)
    );
    // The same persons decide anew, but nobody for the other committee.
    let seat = Seat::Committee(Role::LegalReview, slot(3));
    let changed = verdict(&process, seat, &person(Role::Workflow, 1), APPROVE);
    assert_eq!(
        process.apply(at(2), changed),
        Err(DecisionRefusal::TwoRoles.into())
    );
    approve_by_both(&mut process, 3);
}

#[test]
fn only_what_is_narrower_is_a_narrowing() {
    let earlier = World::new().request;
    let attempt = |change: fn(&mut bailiwick_envelope::request::DisclosureRequest)| {
        let mut later = earlier.clone();
        later.generation = 2;
        change(&mut later);
        Narrowing::new(&earlier, &later, SELECTION).map(|_| ())
    };
    assert_eq!(attempt(|l| l.scope = vec![line(1, 10)]), Ok(()));
    assert_eq!(attempt(|_| {}), Err(RevisionError::Same));
    assert_eq!(
        attempt(|l| l.generation = 3),
        Err(RevisionError::Generation)
    );
    assert_eq!(
        attempt(|l| l.scope = vec![line(2, 10)]),
        Err(RevisionError::Wider("scope"))
    );
    assert_eq!(
        attempt(|l| l.scope = vec![line(1, 31)]),
        Err(RevisionError::Wider("scope"))
    );
    assert_eq!(attempt(|l| l.cap = 51), Err(RevisionError::Wider("cap")));
    assert_eq!(
        attempt(|l| l.not_after.0 += 1),
        Err(RevisionError::Wider("not_after"))
    );
    assert_eq!(
        attempt(|l| l.authority = name("other")),
        Err(RevisionError::Other("authority"))
    );
    assert_eq!(
        attempt(|l| l.reference = "2".to_owned()),
        Err(RevisionError::Other("reference"))
    );
    assert_eq!(
        attempt(|l| l.custody_policy = Digest([1; 32])),
        Err(RevisionError::Other("policies"))
    );
    assert_eq!(
        attempt(|l| l.recipient.certificate = Digest([1; 32])),
        Err(RevisionError::Other("recipient"))
    );
}

#[test]
fn decisions_that_do_not_count() {
    let mut process = in_review();
    let first = decide(&process, Role::Workflow, 1, APPROVE);
    apply(&mut process, 1, first.clone(), State::InReview);
    let mut refused = |change: fn(&mut Verdict), expected: DecisionRefusal| {
        let Event::Decided(mut verdict) = decide(&process, Role::LegalReview, 1, APPROVE) else {
            unreachable!("a decision was made");
        };
        change(&mut verdict);
        let before = process.clone();
        assert_eq!(
            process.apply(at(1), Event::Decided(verdict)),
            Err(expected.into())
        );
        assert_eq!(process, before);
    };
    refused(|v| v.person = name("clerk"), DecisionRefusal::SelfApproval);
    refused(
        |v| v.person = name("person-workflow-1"),
        DecisionRefusal::DecidedTwice,
    );
    refused(
        |v| v.seat = Seat::Committee(Role::Workflow, slot(1)),
        DecisionRefusal::SeatTaken,
    );
    refused(
        |v| v.seat = Seat::Committee(Role::Workflow, slot(4)),
        DecisionRefusal::NoSuchSeat,
    );
    refused(|v| v.seat = Seat::Panel(1), DecisionRefusal::NoSuchSeat);
    refused(
        |v| v.binding.forum_policy = Digest([1; 32]),
        BindingMismatch::Policy.into(),
    );
    refused(
        |v| v.binding.custody_policy = Digest([1; 32]),
        BindingMismatch::Policy.into(),
    );
    refused(
        |v| v.binding.recipient = Digest([1; 32]),
        BindingMismatch::Recipient.into(),
    );
    refused(
        |v| v.binding.request.0 = [1; 32],
        BindingMismatch::Request.into(),
    );
    refused(
        |v| v.binding.selection.0 = [1; 32],
        BindingMismatch::Selection.into(),
    );
    refused(
        |v| v.binding.generation = 0,
        BindingMismatch::Generation { current: 1, got: 0 }.into(),
    );
    assert_eq!(
        process.apply(at(1), first),
        Err(DecisionRefusal::DecidedTwice.into())
    );
    // A quorum of one role only is none.
    for number in [2, 3] {
        let event = decide(&process, Role::Workflow, number, APPROVE);
        apply(&mut process, 1, event, State::InReview);
    }
}

#[test]
fn one_objection_escalates_and_the_panel_decides() {
    let mut process = in_review();
    let objection = decide(&process, Role::LegalReview, 3, REFUSE);
    apply(&mut process, 1, objection, State::Escalated);
    // Reviewers wait, and a reviewer is no member of the panel.
    let reviewer = decide(&process, Role::Workflow, 1, APPROVE);
    assert_eq!(
        process.apply(at(1), reviewer),
        Err(DecisionRefusal::NoSuchSeat.into())
    );
    let two_roles = verdict(
        &process,
        Seat::Panel(1),
        &person(Role::LegalReview, 3),
        APPROVE,
    );
    assert_eq!(
        process.apply(at(1), two_roles),
        Err(DecisionRefusal::DecidedTwice.into())
    );
    let mut refused = process.clone();
    let event = panel(&process, 1, APPROVE);
    apply(&mut process, 1, event, State::Escalated);
    let event = panel(&process, 2, APPROVE);
    apply(&mut process, 1, event, State::InReview);
    // The objection stands: two of three remain, and both must approve.
    approve_by_both(&mut process.clone(), 2);
    let second = decide(&process, Role::LegalReview, 2, REFUSE);
    apply(&mut process, 2, second, State::Refused);
    for number in [1, 2] {
        let code = Decision::Refuse(RefusalCode::PressOrExpression);
        let event = panel(&refused, number, code);
        let state = if number == 1 {
            State::Escalated
        } else {
            State::Refused
        };
        apply(&mut refused, 1, event, state);
    }
    assert_eq!(refused.refusal(), Some(RefusalCode::PressOrExpression));
}

#[test]
fn a_failed_release_is_tried_again_with_the_same_scope_only() {
    let mut process = in_review();
    approve_by_both(&mut process, 1);
    apply(&mut process, 1, Event::InclusionVerified, State::Releasing);
    let mut empty = process.clone();
    apply(&mut empty, 1, Event::NothingInScope, State::NoData);
    apply(&mut process, 1, Event::ReleaseImpossible, State::Failed);
    let mut other = *process.binding();
    other.selection.0 = [9; 32];
    assert_eq!(
        process.apply(at(1), Event::Retried(other)),
        Err(TransitionRefusal::Retry(BindingMismatch::Selection))
    );
    let same = *process.binding();
    apply(&mut process, 2, Event::Retried(same), State::Releasing);
}

#[test]
fn withdrawal_expiry_and_recall() {
    apply(&mut in_review(), 1, Event::Withdrawn, State::Withdrawn);
    apply(&mut in_review(), 30 * 24, Event::TimePassed, State::Lapsed);
    let mut late = in_review();
    let decision = decide(&late, Role::Workflow, 1, APPROVE);
    assert_eq!(
        late.apply(at(30 * 24), decision),
        Err(TransitionRefusal::Illegal {
            state: State::Lapsed,
            event: "decided"
        })
    );
    let mut process = disclosed_under(routine());
    assert_eq!(
        process.apply(at(1), Event::Withdrawn),
        Err(TransitionRefusal::Illegal {
            state: State::Disclosed,
            event: "withdrawn"
        })
    );
    assert_eq!(
        process.apply(at(0), Event::Annulled),
        Err(TransitionRefusal::TimeBackwards)
    );
    apply(&mut process, 40 * 24, Event::Annulled, State::Recalled);
    let mut withdrawn = in_review();
    apply(&mut withdrawn, 1, Event::Withdrawn, State::Withdrawn);
    let event = decide(&withdrawn, Role::Workflow, 1, APPROVE);
    assert_eq!(
        withdrawn.apply(at(1), event),
        Err(TransitionRefusal::Illegal {
            state: State::Withdrawn,
            event: "decided"
        })
    );
}

#[test]
fn an_emergency_shortens_timers_and_never_quorums() {
    let (slow, fast) = (routine(), urgent());
    assert!(fast.deadlines.decide_by < slow.deadlines.decide_by);
    assert_eq!(fast.deadlines.decide_by, at(8));
    assert!(fast.deadlines.is_overdue(Timestamp(at(8).0 + 1)));
    for role in Role::ALL {
        assert_eq!(fast.bench(role), slow.bench(role));
    }
    assert_eq!(fast.rights_panel(), slow.rights_panel());
    let world = World::new();
    let law = world.policy.law().unwrap();
    let traffic = law
        .instruments
        .values()
        .next()
        .unwrap()
        .terms(DataCategory::Traffic)
        .unwrap();
    assert!(
        Deadlines::new(
            &law.intake,
            traffic,
            Priority::Emergency,
            true,
            NOON,
            at(99)
        )
        .is_err()
    );
}

#[test]
fn an_emergency_is_validated_or_recalled() {
    assert_eq!(urgent().deadlines.validate_by, Some(at(48)));
    let mut validated = disclosed_under(urgent());
    apply(&mut validated, 47, Event::Validated, State::Disclosed);
    assert_eq!(
        validated.apply(at(47), Event::Validated),
        Err(TransitionRefusal::NoValidation)
    );
    apply(&mut validated, 49, Event::TimePassed, State::Disclosed);
    apply(
        &mut disclosed_under(urgent()),
        48,
        Event::TimePassed,
        State::Recalled,
    );
    // What was not disclosed by then never is.
    apply(
        &mut in_review_under(urgent()),
        48,
        Event::TimePassed,
        State::Lapsed,
    );
    let mut ordinary = in_review();
    assert_eq!(
        ordinary.apply(at(1), Event::Validated),
        Err(TransitionRefusal::NoValidation)
    );
}

#[test]
fn the_enforcing_authority_may_object_to_an_emergency_for_a_time() {
    let mut clocks = deadlines(DataCategory::Identification, Priority::Emergency, true);
    clocks.objection = Some(std::time::Duration::from_secs(96 * 3600));
    apply(
        &mut disclosed_under(terms(clocks)),
        95,
        Event::EnforcingObjected,
        State::Recalled,
    );
    apply(
        &mut in_review_under(terms(clocks)),
        95,
        Event::EnforcingObjected,
        State::Refused,
    );
    let mut late = disclosed_under(terms(clocks));
    assert_eq!(
        late.apply(at(96), Event::EnforcingObjected),
        Err(TransitionRefusal::ObjectionLate)
    );
    assert!(matches!(
        disclosed_under(routine()).apply(at(2), Event::EnforcingObjected),
        Err(TransitionRefusal::Illegal { .. })
    ));
}

/// Every pair of a state and an event that the table does not have is refused by name.
#[test]
fn what_the_table_does_not_have_is_refused() {
    let mut process = start(routine());
    for event in [
        verified(),
        triaged(&World::new()),
        Event::InclusionVerified,
        Event::Released(Role::Workflow, slot(1)),
        Event::Acknowledged,
        Event::NoticeSettled,
        Event::Annulled,
        Event::Narrowed(narrowing()),
        Event::EnforcingCleared,
        Event::SafeguardTriggered,
        Event::NothingInScope,
        Event::ReleaseImpossible,
        decide(&start(routine()), Role::Workflow, 1, APPROVE),
    ] {
        let word = event.as_str();
        let illegal = TransitionRefusal::Illegal {
            state: State::Received,
            event: word,
        };
        assert_eq!(process.apply(at(0), event), Err(illegal));
    }
    // Releasing is reached only from Approved.
    assert!(in_review().apply(at(1), Event::InclusionVerified).is_err());
    assert!(
        in_review()
            .apply(at(1), Event::Released(Role::Workflow, slot(1)))
            .is_err()
    );
}

#[test]
fn the_table_of_states_is_complete() {
    assert_eq!(State::ALL.len(), 18);
    assert_eq!(State::ALL.iter().filter(|state| state.is_end()).count(), 5);
}
