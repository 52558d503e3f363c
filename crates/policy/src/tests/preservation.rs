//! Preservation: its states, its expiry, and what is refused.

use bailiwick_types::{RequestId, Timestamp};

use super::world::{DAY, NOON, name, shipped};
use crate::preservation::{
    HoldOrigin, PreservationProcess, PreservationRefusal as Refusal, PreservationState as State,
};

fn at(days: u64) -> Timestamp {
    Timestamp(NOON.0 + days * DAY)
}

fn active() -> PreservationProcess {
    let terms = shipped("EU").law().unwrap().preservation;
    let origin = HoldOrigin::Moderation("case-7".to_owned());
    let mut process = PreservationProcess::new(origin, terms, NOON);
    process.agree(NOON, name("anna")).unwrap();
    process
}

#[test]
fn a_hold_is_extended_once_linked_and_released() {
    let mut process = active();
    assert_eq!(process.state(at(59)), State::Active);
    assert_eq!(process.state(at(60)), State::Expired);
    process.extend(at(59)).unwrap();
    assert_eq!(process.until(), at(90));
    assert_eq!(process.extend(at(60)), Err(Refusal::Extensions(1)));
    process.link(at(89), RequestId([1; 32])).unwrap();
    // Linked it stands until it is released.
    assert_eq!(process.state(at(400)), State::Linked);
    assert!(process.state(at(400)).holds());
    process.end(at(400), State::Released).unwrap();
    assert_eq!(
        process.extend(at(401)),
        Err(Refusal::State(State::Released))
    );
    assert!(!process.state(at(401)).holds());
}

#[test]
fn what_has_ended_stays_so() {
    let mut late = active();
    assert_eq!(late.extend(at(60)), Err(Refusal::State(State::Expired)));
    assert_eq!(
        late.link(at(60), RequestId([1; 32])),
        Err(Refusal::State(State::Expired))
    );
    let mut cancelled = active();
    cancelled.end(at(1), State::Cancelled).unwrap();
    assert_eq!(
        cancelled.end(at(2), State::Released),
        Err(Refusal::State(State::Cancelled))
    );
    assert_eq!(
        cancelled.agree(at(2), name("emil")),
        Err(Refusal::State(State::Cancelled))
    );
    assert_eq!(
        active().end(at(1), State::Rejected),
        Err(Refusal::State(State::Active))
    );
    assert_eq!(
        active().end(at(1), State::Expired),
        Err(Refusal::State(State::Active))
    );
    let mut early = active();
    early.extend(at(2)).unwrap();
    assert_eq!(early.extend(at(1)), Err(Refusal::TimeBackwards));
}

#[test]
fn a_hold_needs_its_quorum_of_distinct_persons() {
    let mut terms = shipped("EU").law().unwrap().preservation;
    terms.quorum = 2;
    let origin = HoldOrigin::Authority(name("amtsgericht-berlin"));
    let mut process = PreservationProcess::new(origin, terms, NOON);
    process.agree(NOON, name("anna")).unwrap();
    assert_eq!(process.state(NOON), State::Received);
    assert_eq!(process.agree(NOON, name("anna")), Err(Refusal::AgreedTwice));
    assert_eq!(process.extend(NOON), Err(Refusal::State(State::Received)));
    process.agree(NOON, name("emil")).unwrap();
    assert_eq!(process.state(NOON), State::Active);
    terms.quorum = 0;
    let origin = HoldOrigin::Authority(name("amtsgericht-berlin"));
    let mut none = PreservationProcess::new(origin, terms, NOON);
    none.agree(NOON, name("anna")).unwrap();
    assert_eq!(none.state(NOON), State::Received);
}
