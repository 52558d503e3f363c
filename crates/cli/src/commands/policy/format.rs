//! `bailiwick policy fmt`: the one layout of a policy file. Lines are moved and spaced, never
//! rewritten, so that comments stay; the result must mean the same or nothing is written.

use std::path::Path;

use bailiwick_policy::Policy;

use super::load;
use crate::failure::Failure;
use crate::output::{self, Output};

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when the file is no policy, cannot be written, or lacks the layout under `--check`.
pub(super) fn run(path: &Path, write: bool, check: bool, output: Output) -> Result<(), Failure> {
    let (text, policy) = load(path)?;
    let formatted = format(&text);
    let after = Policy::parse(&formatted).map_err(|error| Failure::file(path, &error))?;
    if meaning(&text) != meaning(&formatted) {
        return Err(Failure::refused(
            format!("{} was not formatted", path.display()),
            "the layout would change what it means; this program is at fault",
            "report it with the file",
        ));
    }
    if check {
        return match formatted == text {
            true => {
                output.fields(&[("layout", "kept".to_owned())]);
                Ok(())
            }
            false => Err(Failure::refused(
                format!("{} does not have the layout", path.display()),
                "its author did not format it",
                "run `bailiwick policy fmt --write` before the policy is set",
            )),
        };
    }
    if !write {
        output::print(formatted.trim_end());
        return Ok(());
    }
    if formatted != text {
        std::fs::write(path, &formatted).map_err(|error| Failure::file(path, &error))?;
    }
    output.fields(&[
        ("file", path.display().to_string()),
        ("digest before", policy.digest().to_string()),
        ("digest after", after.digest().to_string()),
    ]);
    if after.digest() != policy.digest() {
        output
            .say("The digest differs: a policy that is in force must be set again by its digest.");
    }
    Ok(())
}

/// What a text means as TOML, whatever its layout.
fn meaning(text: &str) -> Option<toml::Table> {
    text.parse().ok()
}

/// One space around `=`, none at line ends, one empty line before each table and never two, one line
/// end at the end.
fn format(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut quoted = false;
    for line in text.lines() {
        let toggles = line.matches("\"\"\"").count() + line.matches("'''").count();
        if quoted || toggles > 0 {
            // Inside a text of several lines every space is meant.
            lines.push(line.to_owned());
            quoted ^= toggles % 2 == 1;
            continue;
        }
        let line = spaced(line.trim_end());
        if line.starts_with('[') && !line.starts_with("[\"") {
            separate(&mut lines);
        }
        let empty_before = lines.last().is_none_or(String::is_empty);
        if !(line.is_empty() && empty_before) {
            lines.push(line);
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

/// Puts one empty line before a table's heading and the comments that stand over it.
fn separate(lines: &mut Vec<String>) {
    let comments = lines.iter().rev().take_while(|line| line.starts_with('#'));
    let place = lines.len() - comments.count();
    if place > 0 && !lines[place - 1].is_empty() {
        lines.insert(place, String::new());
    }
}

/// A `key=value` line with one space on either side of its first `=`; any other line as it is.
fn spaced(line: &str) -> String {
    let Some((key, value)) = line.split_once('=') else {
        return line.to_owned();
    };
    let bare = key.trim();
    let is_key = !bare.is_empty()
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    match is_key {
        true => format!("{bare} = {}", value.trim_start()),
        false => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_keeps_comments_and_meaning() {
        let untidy =
            "# top\na=1   \n\n\n\nb   =  \"x = y\"\n# over t\n[t]\nc = [\n  \"d=e\",\n]\n\n\n";
        let tidy = "# top\na = 1\n\nb = \"x = y\"\n\n# over t\n[t]\nc = [\n  \"d=e\",\n]\n";
        assert_eq!(format(untidy), tidy);
        assert_eq!(format(tidy), tidy);
        assert_eq!(meaning(untidy), meaning(tidy));
        let several = "a = \"\"\"\n x=1  \n\n\n\"\"\"\n";
        assert_eq!(format(several), several);
    }

    #[test]
    fn every_shipped_policy_has_the_layout() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/policies");
        let files = std::fs::read_dir(folder).map(|files| files.flatten().collect::<Vec<_>>());
        let mut count = 0;
        for file in files.unwrap_or_default() {
            let path = file.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                assert_eq!(format(&text), text, "{}", path.display());
                count += 1;
            }
        }
        assert!(count >= 6, "{count} policies");
    }
}
