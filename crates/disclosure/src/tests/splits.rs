//! Budgets across requests.

use std::time::Duration;

use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_types::Role;

use super::world::{World, name, seat, subject};
use crate::splits::{ReleasedRequest, SplitBy, split_alerts};

const DAY: Duration = Duration::from_secs(86_400);

/// Brings a request through both quorums and the own release's leaf.
fn release(world: &mut World, request: &DisclosureRequest) -> u32 {
    let case = world.submit(request);
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
        world.approve(&case, seat(role, 2));
    }
    let approvable = world.approvable(&case, seat(Role::Workflow, 1)).unwrap();
    let count = approvable.intent().count;
    world.order(approvable).unwrap();
    count
}

/// What of these requests was released, by the log.
fn released<'a>(world: &World, requests: &'a [DisclosureRequest]) -> Vec<ReleasedRequest<'a>> {
    let facts = world.follower.facts();
    requests
        .iter()
        .filter_map(|request| ReleasedRequest::of(request, facts.request(request.id())?))
        .collect()
}

/// Attack: an authority that may have four records of a request asks three times for three, in one
/// case or for one person. Each request passes; together they are noticed, by case and by person.
#[test]
fn cap_split_alerts() {
    let mut world = World::new();
    let mut requests: Vec<DisclosureRequest> = (1..=3).map(|salt| world.request(salt)).collect();
    requests[2].reference = "2026/2".to_owned();
    let cap = 4;
    for request in &mut requests {
        request.cap = cap;
    }
    let mut counts = Vec::new();
    for (at, request) in requests.iter().enumerate() {
        let known = split_alerts(&released(&world, &requests), cap, DAY);
        assert_eq!(known.is_empty(), at < 2, "before request {at}");
        counts.push(release(&mut world, request));
        assert!(counts[at] <= cap, "each request is within its cap");
    }
    let released = released(&world, &requests);
    let alerts = split_alerts(&released, cap, DAY);
    let authority = || name("tribunal-paris");
    let [by_case, by_subject] = &alerts[..] else {
        panic!("{alerts:?}");
    };
    let reference = "2026/1".to_owned();
    let authority_of = authority();
    let case = SplitBy::Case {
        authority: authority_of,
        reference,
    };
    assert_eq!(by_case.by, case);
    assert_eq!(by_case.total, u64::from(counts[0] + counts[1]));
    assert_eq!(
        by_case.requests,
        requests[..2].iter().map(|r| r.id()).collect()
    );
    let person = SplitBy::Subject {
        authority: authority(),
        subject: subject(1),
    };
    assert_eq!(by_subject.by, person);
    assert_eq!(by_subject.requests.len(), 3);
    assert_eq!(
        by_subject.total,
        counts.iter().map(|c| u64::from(*c)).sum::<u64>()
    );

    // No alert for one request, however often released, nor within a cap that holds all of them.
    assert_eq!(split_alerts(&released[..1], 1, DAY), []);
    assert_eq!(split_alerts(&[released[0], released[0]], 1, DAY), []);
    assert_eq!(split_alerts(&released, 100, DAY), []);
}

/// What lies further apart than the window is not one request any more; what lies in one is, even
/// when nothing else does.
#[test]
fn splits_are_counted_within_a_window() {
    let mut world = World::new();
    let requests: Vec<DisclosureRequest> = (1..=3)
        .map(|salt| {
            let mut request = world.request(salt);
            request.not_after = request.not_after.plus(DAY * 3);
            request
        })
        .collect();
    for request in &requests {
        release(&mut world, request);
        world.now = world.now.plus(Duration::from_secs(3600));
    }
    let released = released(&world, &requests);
    assert_eq!(released.len(), 3);
    let hour = Duration::from_secs(3600);
    assert_eq!(split_alerts(&released, 4, hour), []);
    let two = split_alerts(&released, 4, hour * 2);
    assert!(!two.is_empty() && two.iter().all(|alert| alert.requests.len() == 2));
    let three = split_alerts(&released, 4, hour * 3);
    assert!(three.iter().all(|alert| alert.requests.len() == 3));
}
