//! `bailiwick policy diff`: what differs between two versions, field by field.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::load;
use crate::failure::Failure;
use crate::output::Output;

/// One field that differs.
#[derive(Serialize)]
struct Difference {
    field: String,
    earlier: String,
    later: String,
}

/// Shows the differences.
///
/// # Errors
/// [`Failure`] (usage) when a file is no policy, or they are of two jurisdictions.
pub(super) fn run(earlier: &Path, later: &Path, output: Output) -> Result<(), Failure> {
    let (before, old) = load(earlier)?;
    let (after, new) = load(later)?;
    if old.jurisdiction() != new.jurisdiction() {
        return Err(Failure::usage(
            "the policies were not compared",
            format!(
                "one is of {}, the other of {}",
                old.jurisdiction(),
                new.jurisdiction()
            ),
            "name two versions of one jurisdiction's policy",
        ));
    }
    let (before, after) = (fields(&before), fields(&after));
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let absent = || "-".to_owned();
    let differences: Vec<Difference> = paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| Difference {
            field: path.clone(),
            earlier: before.get(path).cloned().unwrap_or_else(absent),
            later: after.get(path).cloned().unwrap_or_else(absent),
        })
        .collect();
    output.list(["field", "earlier", "later"], &differences, |one| {
        [one.field.clone(), one.earlier.clone(), one.later.clone()]
    });
    if differences.is_empty() {
        output.say("They mean the same; only their digests differ, or nothing.");
    } else if new.version() <= old.version() {
        output.say(
            "The later file's version is not above the earlier one's: no cluster would take it.",
        );
    }
    Ok(())
}

fn fields(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        collect("", &toml::Value::Table(table), &mut found);
    }
    found
}

fn collect(path: &str, value: &toml::Value, found: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let dot = if path.is_empty() { "" } else { "." };
                collect(&format!("{path}{dot}{key}"), value, found);
            }
        }
        value => {
            found.insert(path.to_owned(), plain(value));
        }
    }
}

/// A value on one line, lists without their brackets.
pub(super) fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) if values.is_empty() => "none".to_owned(),
        toml::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
