//! `bailiwick review`: a person decides, with a key that never leaves this device.
//!
//! What is signed is shown in words first: subject, kinds, window, count and recipient, as this
//! program computed them from the request itself. The signature binds request, frozen selection,
//! role, slot and every roster involved.

use bailiwick_api::request::{RequestState, RequestView};
use bailiwick_client::Cluster;
use bailiwick_client::reviewer::{ReviewError, Reviewer};
use bailiwick_envelope::approval::{Decision, RefusalCode};

use super::request::{approvals, in_words, read};
use crate::args::ReviewVerb;
use crate::connect::of_review;
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::profile::{Profile, ReviewerSection};

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when the person does not agree, or the cluster refuses or does not answer.
pub async fn run(
    cluster: &Cluster,
    profile: &Profile,
    verb: &ReviewVerb,
    output: Output,
) -> Result<(), Failure> {
    let (options, decision) = match verb {
        ReviewVerb::Approve(options) => (options, Decision::Approve),
        ReviewVerb::Refuse { review, code } => (review, Decision::Refuse(refusal_code(code)?)),
    };
    let (section, key) = profile.reviewer()?;
    let code = profile.jurisdiction_or(options.jurisdiction)?;
    let view = read(cluster, code, options.request).await?;
    if view.request.id() != options.request || view.id != options.request {
        return Err(of_review(&ReviewError::OtherRequest(options.request)));
    }
    if view.state != RequestState::InReview {
        return Err(Failure::refused(
            "nothing was signed",
            format!("the request is {}", view.state.as_str()),
            "only a request in review can be decided",
        ));
    }
    agree(&view, section, decision, options.yes)?;
    let checklist = match &options.checklist {
        Some(path) => std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?,
        None => String::new(),
    };
    let reviewer = Reviewer::new(cluster.clone(), section.role, section.slot, key);
    let decided = reviewer.decide(&view, decision, &checklist).await;
    let after = decided.map_err(|error| of_review(&error))?;
    output.fields(&[
        ("request", after.id.to_string()),
        ("state", after.state.as_str().to_owned()),
        ("approved by", approvals(&after)),
    ]);
    Ok(())
}

fn agree(
    view: &RequestView,
    section: &ReviewerSection,
    decision: Decision,
    yes: bool,
) -> Result<(), Failure> {
    for (name, value) in in_words(view) {
        output::note(&format!("{name:14}  {value}"));
    }
    let deed = match decision {
        Decision::Approve => "approve its disclosure".to_owned(),
        Decision::Refuse(code) => format!("refuse it, finally, as {}", code.as_str()),
    };
    let question = format!(
        "{} signs for {} slot {}: {deed}.",
        section.person, section.role, section.slot
    );
    if yes || output::confirm(&question)? {
        return Ok(());
    }
    Err(Failure::refused(
        "nothing was signed",
        "the reviewer did not agree",
        "decide later",
    ))
}

fn refusal_code(word: &str) -> Result<RefusalCode, Failure> {
    RefusalCode::ALL
        .into_iter()
        .find(|code| code.as_str() == word)
        .ok_or_else(|| {
            let words: Vec<_> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
            let why = format!("the codes are {}", words.join(", "));
            Failure::usage(
                format!("{word} is no refusal code"),
                why,
                "choose one of them",
            )
        })
}
