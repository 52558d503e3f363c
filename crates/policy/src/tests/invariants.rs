//! The invariants of docs/legal-process.md over random sequences of events, against an onlooker that
//! knows nothing but the events that were accepted.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_types::{Name, Role, Timestamp};
use proptest::prelude::*;

use super::lifecycle::{
    APPROVE, REFUSE, SELECTION, at, decide, in_review_under, intake, panel, routine, slot, start,
    triaged, urgent, verdict, verified,
};
use super::world::{DAY, NOON, World, name};
use crate::lifecycle::{Correction, Event, Narrowing, RequestProcess, Seat, State};

/// A random event, as numbers that proptest can shrink.
fn event(process: &RequestProcess, kind: u8, who: u8, world: &Fixtures) -> Event {
    let role = if who.is_multiple_of(2) {
        Role::Workflow
    } else {
        Role::LegalReview
    };
    let number = 1 + (who / 2) % 4;
    match kind % 24 {
        0 => world.intake.clone(),
        1 => world.verified.clone(),
        2 => world.triaged[usize::from(who) % world.triaged.len()].clone(),
        3 => Event::AuthorityRejected,
        4 => world.narrow(process, who),
        5 => world.correct(process),
        6 => Event::EnforcingCleared,
        7 => Event::EnforcingObjected,
        8 => Event::InclusionVerified,
        9 | 10 => Event::Released(role, slot(number)),
        11 => Event::Acknowledged,
        12 => Event::NoticeSettled,
        13 => Event::Validated,
        14 if who > 200 => Event::Withdrawn,
        14 => Event::ReleaseImpossible,
        15 => Event::Retried(*process.binding()),
        16 if who > 200 => Event::Annulled,
        16 => panel(process, 1 + who % 3, APPROVE),
        17 => decide(process, role, number, REFUSE),
        18 => verdict(
            process,
            Seat::Committee(role, slot(number)),
            "clerk",
            APPROVE,
        ),
        19 if who > 220 => Event::NothingInScope,
        19 => panel(
            process,
            1 + who % 3,
            if who.is_multiple_of(5) {
                REFUSE
            } else {
                APPROVE
            },
        ),
        _ => decide(process, role, number, APPROVE),
    }
}

struct Fixtures {
    intake: Event,
    verified: Event,
    triaged: Vec<Event>,
    requests: Vec<bailiwick_envelope::request::DisclosureRequest>,
}

impl Fixtures {
    fn new() -> Self {
        let mut requests = vec![World::new().request];
        for generation in 2..40 {
            let mut next = requests[requests.len() - 1].clone();
            next.generation = generation;
            next.cap -= 1;
            requests.push(next);
        }
        let mut open = World::traffic();
        open.case.notification = None;
        let incomplete = World::changed(|w| w.case.notice = None);
        let speech = World::changed(|w| w.offence().code = name("insult"));
        let good = World::new();
        Self {
            intake: intake(),
            verified: verified(),
            triaged: [&good, &good, &good, &open, &incomplete, &speech]
                .map(triaged)
                .to_vec(),
            requests,
        }
    }

    fn pair(&self, process: &RequestProcess) -> (usize, usize) {
        let current = process.binding().generation as usize;
        (current - 1, current.min(self.requests.len() - 1))
    }

    fn narrow(&self, process: &RequestProcess, who: u8) -> Event {
        let (from, to) = self.pair(process);
        // Sometimes a revision of an older generation.
        let from = if who > 230 { 0 } else { from };
        let to = if who > 230 { 1 } else { to };
        match Narrowing::new(&self.requests[from], &self.requests[to], SELECTION) {
            Ok(narrowing) => Event::Narrowed(narrowing),
            Err(_) => Event::TimePassed,
        }
    }

    fn correct(&self, process: &RequestProcess) -> Event {
        let (from, to) = self.pair(process);
        match Correction::new(&self.requests[from], &self.requests[to], SELECTION) {
            Ok(correction) => Event::Corrected(correction),
            Err(_) => Event::TimePassed,
        }
    }
}

/// What an onlooker who knows only accepted events can say about who approves what.
#[derive(Default)]
struct Onlooker {
    approvals: BTreeMap<Role, BTreeSet<Name>>,
    generation: u32,
}

impl Onlooker {
    fn accepted(&mut self, event: &Event, generation: u32) {
        if generation != self.generation {
            self.generation = generation;
            self.approvals.clear();
        }
        if let Event::Decided(verdict) = event
            && let (Seat::Committee(role, _), APPROVE) = (verdict.seat, verdict.decision)
        {
            let persons = self.approvals.entry(role).or_default();
            persons.insert(verdict.person.clone());
        }
    }

    /// Two distinct persons of each committee approve this generation, none in both, and none of
    /// them entered it.
    fn is_approved(&self) -> bool {
        let of = |role| self.approvals.get(&role).cloned().unwrap_or_default();
        let (workflow, legal) = (of(Role::Workflow), of(Role::LegalReview));
        workflow.len() >= 2
            && legal.len() >= 2
            && workflow.is_disjoint(&legal)
            && !workflow.contains(&name("clerk"))
            && !legal.contains(&name("clerk"))
    }
}

fn holds_approval(state: State) -> bool {
    matches!(
        state,
        State::Approved | State::Releasing | State::Failed | State::NoData
    ) || state.is_disclosed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The invariants of docs/legal-process.md, whatever comes in whatever order.
    #[test]
    fn invariants_hold_over_random_events(
        urgent_order in any::<bool>(),
        steps in proptest::collection::vec((any::<u8>(), any::<u8>(), 0u64..30), 1..90),
    ) {
        let fixtures = Fixtures::new();
        let terms = if urgent_order { urgent() } else { routine() };
        let mut process = start(terms);
        // Half of the runs begin in review, so that they get further.
        if steps[0].0 % 2 == 0 {
            process = in_review_under(terms);
        }
        let mut onlooker = Onlooker { generation: 1, ..Onlooker::default() };
        let mut now = NOON;
        let mut validated = false;
        for (kind, who, minutes) in steps {
            now.0 += minutes * 60_000_000 * u64::from(1 + who % 12);
            let event = event(&process, kind, who, &fixtures);
            let before = process.clone();
            let mut aged = process.clone();
            prop_assert_eq!(aged.apply(now, Event::TimePassed), Ok(()));
            let result = process.apply(now, event.clone());
            let (was, is) = (aged.state(), process.state());
            // A refused event leaves the request as time left it.
            if result.is_err() {
                prop_assert_eq!(&process, &aged);
            } else {
                onlooker.accepted(&event, process.binding().generation);
                validated |= event == Event::Validated;
            }
            // An end is final.
            if before.state().is_end() {
                prop_assert_eq!(process.state(), before.state());
            }
            // Releasing is reached only from Approved, or again from a failed release.
            if is == State::Releasing && was != State::Releasing {
                prop_assert!(matches!(was, State::Approved | State::Failed), "from {}", was);
            }
            // Nothing is approved without two distinct persons of each committee, for this
            // generation: decisions of an earlier one are void, urgent or not.
            if holds_approval(is) {
                prop_assert!(onlooker.is_approved(), "{}", is);
            }
            prop_assert!(process.binding().generation >= before.binding().generation);
            // What nobody validated in time is not left disclosed.
            if urgent_order && !validated && now >= at(48) {
                prop_assert!(!is.is_disclosed());
            }
            // Nothing goes on after the order expired.
            if now >= Timestamp(NOON.0 + 30 * DAY) {
                prop_assert!(is.is_end() || is.is_disclosed());
            }
            for role in Role::ALL {
                prop_assert_eq!(process.terms().bench(role), terms.bench(role));
            }
        }
    }
}
