//! The crate cut of docs/architecture.md, held against `cargo metadata`: arrows run only as listed,
//! pure crates draw in nothing that has a clock, a socket or a file, and openraft stays in one crate.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its own workspace must fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of our crates may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("tlog", &[]),
    ("envelope", &["types", "tlog"]),
    ("threshold", &["types", "envelope"]),
    ("policy", &["types", "envelope"]),
    ("shard", &["types", "envelope", "tlog", "policy"]),
    (
        "disclosure",
        &["types", "envelope", "tlog", "threshold", "policy"],
    ),
    ("storage", &["types"]),
    ("transport", &["types"]),
    ("api", &["types", "envelope"]),
    (
        "consensus",
        &["types", "envelope", "shard", "storage", "transport"],
    ),
    (
        "client",
        &["types", "envelope", "tlog", "threshold", "transport", "api"],
    ),
    (
        "node",
        &[
            "types",
            "envelope",
            "tlog",
            "threshold",
            "policy",
            "shard",
            "disclosure",
            "storage",
            "transport",
            "api",
            "consensus",
            "client",
        ],
    ),
    (
        "cli",
        &[
            "types",
            "envelope",
            "tlog",
            "threshold",
            "policy",
            "shard",
            "disclosure",
            "storage",
            "transport",
            "api",
            "consensus",
            "client",
            "node",
        ],
    ),
];

/// Crates without tokio, sockets, files, clocks or OS randomness.
const PURE: &[&str] = &[
    "types",
    "envelope",
    "tlog",
    "threshold",
    "policy",
    "shard",
    "disclosure",
];

/// What a pure crate's own manifest may never name.
const IMPURE: &[&str] = &[
    "tokio", "hyper", "axum", "rustls", "redb", "rand", "libc", "openraft",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The normal (not dev) dependencies of each of our crates, by short name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let normal = package["dependencies"].as_array().unwrap().iter();
            let names = normal
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned());
            (
                package["name"].as_str().unwrap().replace("bailiwick-", ""),
                names.collect(),
            )
        })
        .collect()
}

#[test]
fn arrows_run_only_as_listed() {
    let dependencies = dependencies();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for name in dependencies
        .keys()
        .filter(|name| !["tests", "benches"].contains(&name.as_str()))
    {
        assert!(
            listed.contains(name.as_str()),
            "crate {name} is not in the architecture"
        );
    }
    for (name, allowed) in ARROWS {
        let ours = dependencies[*name]
            .iter()
            .filter_map(|d| d.strip_prefix("bailiwick-"));
        for used in ours {
            assert!(allowed.contains(&used), "{name} must not use {used}");
        }
    }
}

#[test]
fn pure_crates_are_pure() {
    let dependencies = dependencies();
    for name in PURE {
        for impure in IMPURE {
            assert!(
                !dependencies[*name].contains(*impure),
                "{name} must not use {impure}"
            );
        }
    }
    for name in PURE {
        for file in sources(&root().join("crates").join(name).join("src")) {
            // Test modules may read a clock to time what they test.
            let is_test = file.ends_with("tests.rs")
                || file.components().any(|part| part.as_os_str() == "tests");
            if is_test {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for word in [
                "SystemTime",
                "Instant::now",
                "HashMap",
                "HashSet",
                "std::fs",
                "std::net::Tcp",
            ] {
                assert!(!code.contains(word), "{} uses {word}", file.display());
            }
        }
    }
}

#[test]
fn openraft_stays_in_one_crate() {
    for (name, uses) in dependencies() {
        assert!(
            name == "consensus" || !uses.contains("openraft"),
            "{name} must not use openraft"
        );
    }
}

#[test]
fn the_architecture_page_shows_the_same_arrows() {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    for (name, allowed) in ARROWS {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/architecture.md has no row for {name}"));
        let shown = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let shown: BTreeSet<&str> = shown
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty() && *word != "-")
            .collect();
        assert_eq!(shown, allowed.iter().copied().collect(), "row of {name}");
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    for file in sources(&root().join("crates"))
        .into_iter()
        .chain(sources(&root().join("tests")))
    {
        // Compile-fail samples are read by the compiler's harness, not by people looking for rooms.
        if file.components().any(|part| part.as_os_str() == "ui") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("//!"),
            "{} does not open with //!",
            file.display()
        );
    }
}

#[test]
fn the_tests_that_the_lessons_name_exist() {
    let page = std::fs::read_to_string(root().join("docs/lessons.md")).unwrap();
    let mut code = String::new();
    for file in sources(&root().join("crates"))
        .into_iter()
        .chain(sources(&root().join("tests")))
    {
        code.push_str(&std::fs::read_to_string(file).unwrap());
    }
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'));
    let mut named = 0;
    for row in rows {
        let test = row.rsplit('`').nth(1).unwrap();
        assert!(
            code.contains(&format!("fn {test}(")),
            "docs/lessons.md names {test}"
        );
        named += 1;
    }
    assert!(named > 10, "the table was read: {named} rows");
}

fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
