//! The shipped past requests against the five shipped policies, drafts that decide otherwise, and
//! files that cannot be replayed.

use super::world::{SHIPPED, shipped};
use crate::Policy;
use crate::replay::{ReplayError, parse_past_requests};

const PAST: &str = include_str!("../../../../config/policies/past-requests.json");

#[test]
fn the_shipped_policies_do_what_the_shipped_requests_expect() {
    let past = parse_past_requests(PAST).unwrap();
    for (name, _) in SHIPPED {
        let policy = shipped(name);
        let mut count = 0;
        for one in past
            .iter()
            .filter(|one| one.forum() == policy.jurisdiction())
        {
            let evaluation = one.evaluate(&policy);
            let is = evaluation.disposition().to_string();
            assert_eq!(
                Some(is.as_str()),
                one.expected(),
                "{}: {:?}",
                one.label(),
                evaluation.objection()
            );
            count += 1;
        }
        assert_eq!(count, 8, "{name}");
    }
}

/// A draft that is not in force yet is replayed as if it had been.
#[test]
fn a_draft_shows_what_it_would_decide_otherwise() {
    let text = SHIPPED[0].1;
    let draft = text
        .replace("2026-08-18T00:00:00Z", "2030-01-01T00:00:00Z")
        .replace("\"insult\", ", "")
        .replace("max_subjects = 10", "max_subjects = 20");
    let (current, draft) = (shipped("EU"), Policy::parse(&draft).unwrap());
    let past = parse_past_requests(PAST).unwrap();
    let otherwise: Vec<_> = past
        .iter()
        .filter(|one| one.forum() == current.jurisdiction())
        .filter(|one| one.evaluate(&current).disposition() != one.evaluate(&draft).disposition())
        .map(|one| one.label())
        .collect();
    assert_eq!(otherwise, ["eu-speech", "eu-overbroad"]);
}

#[test]
fn files_that_cannot_be_replayed_name_request_and_field() {
    for (from, to, expected) in [
        ("2026-09-01T10:00:00Z", "yesterday", "received_at"),
        ("\"purpose\": \"identify\",", "", "scope.purpose"),
        (
            "\"cap\": 50",
            "\"cap\": 50, \"cap\": 51",
            "duplicate field cap",
        ),
        ("\"cap\": 50", "\"cap\": NaN", "no JSON"),
        ("\"cap\": 50", "\"cup\": 50", "unknown field cup"),
    ] {
        let text = PAST.replacen(from, to, 1);
        assert_ne!(text, PAST, "{from}");
        let error = parse_past_requests(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let long = " ".repeat(crate::replay::REPLAY_BYTES + 1);
    assert!(matches!(
        parse_past_requests(&long),
        Err(ReplayError::TooLong)
    ));
}
