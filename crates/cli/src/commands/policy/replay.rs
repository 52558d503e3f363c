//! `bailiwick policy test` and `simulate`: past requests against a policy or a draft.

use std::path::Path;

use bailiwick_policy::Policy;
use bailiwick_policy::replay::{PastRequest, parse_past_requests};
use serde::Serialize;

use super::load;
use crate::failure::Failure;
use crate::output::Output;

/// A request that would be decided otherwise.
#[derive(Serialize)]
struct Otherwise {
    request: String,
    current: String,
    draft: String,
    why: String,
}

/// Reads past requests and keeps those of the policy's own forum.
fn read(path: &Path, policy: &Policy) -> Result<(Vec<PastRequest>, usize), Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let all = parse_past_requests(&text).map_err(|error| Failure::file(path, &error))?;
    let count = all.len();
    let of_forum = |past: &PastRequest| past.forum() == policy.jurisdiction();
    let kept: Vec<_> = all.into_iter().filter(of_forum).collect();
    if kept.is_empty() {
        return Err(Failure::usage(
            "nothing was replayed",
            format!("none of {count} requests is of {}", policy.jurisdiction()),
            "name a file with requests of the policy's forum",
        ));
    }
    let others = count - kept.len();
    Ok((kept, others))
}

fn why(past: &PastRequest, policy: &Policy) -> String {
    match past.evaluate(policy).objection() {
        Some((_, reason)) => reason,
        None => "every rule passes".to_owned(),
    }
}

/// Replays past requests against a draft.
///
/// # Errors
/// [`Failure`] (usage) when a file is wrong or the policies are of two jurisdictions.
pub(super) fn simulate(
    current: &Path,
    draft: &Path,
    requests: &Path,
    output: Output,
) -> Result<(), Failure> {
    let (_, current) = load(current)?;
    let (_, draft) = load(draft)?;
    if current.jurisdiction() != draft.jurisdiction() {
        return Err(Failure::usage(
            "nothing was replayed",
            "the policies are of two jurisdictions",
            "name two versions of one jurisdiction's policy",
        ));
    }
    let (past, others) = read(requests, &current)?;
    let otherwise: Vec<Otherwise> = past
        .iter()
        .filter_map(|past| {
            let was = past.evaluate(&current).disposition();
            let is = past.evaluate(&draft).disposition();
            (was != is).then(|| Otherwise {
                request: past.label().to_owned(),
                current: was.to_string(),
                draft: is.to_string(),
                why: why(past, &draft),
            })
        })
        .collect();
    let headings = ["request", "current", "draft", "why"];
    output.list(headings, &otherwise, |one| {
        [&one.request, &one.current, &one.draft, &one.why].map(String::clone)
    });
    output.say(&format!(
        "{} of {} requests would be decided otherwise; {others} are of other forums.",
        otherwise.len(),
        past.len()
    ));
    Ok(())
}

/// Checks that a policy does with past requests what their file expects.
///
/// # Errors
/// [`Failure`] (refused) when it does not.
pub(super) fn test(policy: &Path, requests: &Path, output: Output) -> Result<(), Failure> {
    let (_, policy) = load(policy)?;
    let (past, _) = read(requests, &policy)?;
    let expecting = past.iter().filter(|past| past.expected().is_some());
    let count = expecting.clone().count();
    let wrong: Vec<Otherwise> = expecting
        .filter_map(|past| {
            let is = past.evaluate(&policy).disposition().to_string();
            let expected = past.expected().unwrap_or_default();
            (is != expected).then(|| Otherwise {
                request: past.label().to_owned(),
                current: expected.to_owned(),
                draft: is,
                why: why(past, &policy),
            })
        })
        .collect();
    if count == 0 {
        return Err(Failure::usage(
            "nothing was tested",
            "no request of the file says what is expected",
            "add `expected` to its requests",
        ));
    }
    if wrong.is_empty() {
        output.fields(&[
            ("requests", count.to_string()),
            ("as expected", "all".to_owned()),
        ]);
        return Ok(());
    }
    let headings = ["request", "expected", "is", "why"];
    output.list(headings, &wrong, |one| {
        [&one.request, &one.current, &one.draft, &one.why].map(String::clone)
    });
    Err(Failure::refused(
        format!(
            "{} of {count} requests are not handled as expected",
            wrong.len()
        ),
        "the policy or the expectation is wrong; their authors must say which",
        "look at the named rule in `bailiwick policy show`",
    ))
}
