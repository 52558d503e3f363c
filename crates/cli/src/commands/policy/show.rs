//! `bailiwick policy show` and `check`: a policy in words, and what a reader must know of it.

use std::path::Path;

use bailiwick_policy::law::CategoryTerms;
use bailiwick_policy::vocabulary::DataCategory;
use bailiwick_policy::{Policy, RuleId};
use serde::Serialize;

use super::load;
use crate::failure::Failure;
use crate::output::Output;

/// The mark on a fact that nobody verified.
const MARK: &str = " (unverified)";

/// One field of a policy as it is shown.
#[derive(Serialize)]
struct Shown {
    field: String,
    value: String,
    unverified: bool,
}

/// Shows a policy.
///
/// # Errors
/// [`Failure`] (usage) when the file is no policy.
pub(super) fn run(path: &Path, output: Output) -> Result<(), Failure> {
    let (text, policy) = load(path)?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| Failure::file(path, &error))?;
    let mut shown = Vec::new();
    flatten(&policy, "", &toml::Value::Table(table), &mut shown);
    shown.push(Shown {
        field: "digest".to_owned(),
        value: policy.digest().to_string(),
        unverified: false,
    });
    output.list(["field", "value"], &shown, |one| {
        let mark = if one.unverified { MARK } else { "" };
        [one.field.clone(), format!("{}{mark}", one.value)]
    });
    if let Some(notice) = policy.illustrative() {
        output.say(&format!("\nILLUSTRATIVE: {notice}"));
    }
    Ok(())
}

fn flatten(policy: &Policy, path: &str, value: &toml::Value, shown: &mut Vec<Shown>) {
    if let toml::Value::Table(table) = value {
        for (key, value) in table {
            if path.is_empty() && key == "unverified" {
                continue;
            }
            let dot = if path.is_empty() { "" } else { "." };
            flatten(policy, &format!("{path}{dot}{key}"), value, shown);
        }
        return;
    }
    let marked = |mark: &String| {
        path == mark
            || path
                .strip_prefix(mark.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
    };
    shown.push(Shown {
        field: path.to_owned(),
        value: super::difference::plain(value),
        unverified: policy.unverified().iter().any(marked),
    });
}

/// Checks a policy beyond its form: a file that parses may still permit nothing.
///
/// # Errors
/// [`Failure`] (usage) when the file is no policy, (refused) when it can never permit anything.
pub(super) fn check(path: &Path, output: Output) -> Result<(), Failure> {
    let (_, policy) = load(path)?;
    let blocks = blocking(&policy);
    if !blocks.is_empty() {
        return Err(Failure::refused(
            format!("{} permits nothing", path.display()),
            format!("its author left out {}", blocks.join("; ")),
            "add what is missing, or leave it so to refuse everything",
        ));
    }
    output.fields(&[
        ("file", path.display().to_string()),
        ("jurisdiction", policy.jurisdiction().to_string()),
        ("version", policy.version().to_string()),
        ("in force", policy.in_force().to_string()),
        ("digest", policy.digest().to_string()),
        (
            "instruments",
            policy
                .law()
                .map_or(0, |law| law.instruments.len())
                .to_string(),
        ),
        ("unverified facts", policy.unverified().len().to_string()),
        (
            "illustrative",
            policy.illustrative().unwrap_or("no").to_owned(),
        ),
    ]);
    Ok(())
}

/// What makes a policy permit nothing.
fn blocking(policy: &Policy) -> Vec<String> {
    let demanded: &[RuleId] = match policy.law() {
        Some(_) => &RuleId::ALL,
        None => &RuleId::MANDATORY,
    };
    let missing = |rule: &&RuleId| !policy.rules().contains(rule) && !RuleId::ALWAYS.contains(rule);
    let mut blocks: Vec<String> = demanded
        .iter()
        .filter(missing)
        .map(|rule| format!("rule {rule}"))
        .collect();
    for (list, empty) in [
        ("any kind in kinds", policy.kinds().is_empty()),
        (
            "any forum in reach.forums",
            policy.reach().forums.is_empty(),
        ),
        (
            "any authority in reach.authorities",
            policy.reach().authorities.is_empty(),
        ),
    ] {
        if empty {
            blocks.push(list.to_owned());
        }
    }
    if let Some(law) = policy.law() {
        let dead = |terms: &CategoryTerms| {
            terms.kinds.is_empty() || terms.purposes.is_empty() || terms.issuers.is_empty()
        };
        let usable = law.instruments.values().any(|one| {
            let reached = DataCategory::ALL
                .iter()
                .filter_map(|category| one.terms(*category));
            !one.legal_bases.is_empty() && !one.reach.is_empty() && !reached.clone().all(dead)
        });
        if !usable {
            blocks.push(
                "an instrument with legal bases, reach, kinds, purposes and issuers".to_owned(),
            );
        }
    }
    blocks
}
