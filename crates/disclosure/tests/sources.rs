//! Over the sources of all crates: who may make a partial.

use std::fs;
use std::path::{Path, PathBuf};

/// A file's production part: unit tests come last by the house style.
fn production(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file is readable");
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].to_owned()
}

fn sources(under: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(under) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a text calls a method `values` with arguments: an ordered map's takes none.
fn calls_values(text: &str) -> bool {
    text.match_indices(".values(")
        .any(|(at, found)| !text[at + found.len()..].trim_start().starts_with(')'))
}

/// What only the release order may name.
fn names_a_partials_making(text: &str) -> bool {
    calls_values(text)
        || [
            "MemberPart",
            "open_part(",
            "open_sealed_part(",
            "open_capsule(",
            "seal_partial",
        ]
        .iter()
        .any(|word| text.contains(word))
}

/// Attack: an endpoint that relies on its callers to check access (zama kms). There is one choke
/// point where a partial is made: in all crates nothing but `release.rs` of this crate, and the
/// construction itself, names what makes one.
#[test]
fn callers_are_not_trusted_to_check_access() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for entry in fs::read_dir(crates).expect("the crates' folder is readable") {
        let path = entry.expect("a folder is readable").path();
        if !path.ends_with("threshold") {
            sources(&path.join("src"), &mut found);
        }
    }
    assert!(
        found.len() > 50,
        "only {} files were looked at",
        found.len()
    );
    let makers: Vec<&PathBuf> = found
        .iter()
        .filter(|path| !path.ends_with("disclosure/src/tests/release.rs"))
        .filter(|path| !path.ends_with("disclosure/src/tests/held.rs"))
        .filter(|path| names_a_partials_making(&production(path)))
        .collect();
    let [only] = makers[..] else {
        panic!("partials can be made from {makers:?}");
    };
    assert!(only.ends_with("disclosure/src/release.rs"), "{only:?}");
    let text = production(only);
    assert_eq!(text.matches("seal_partial(").count(), 1);
    assert_eq!(text.matches("part.values(").count(), 1);
    // Capsules come from held records only, which are values of their checks.
    let sealers = found
        .iter()
        .filter(|path| production(path).contains("seal_capsules("));
    let sealers: Vec<&PathBuf> = sealers.collect();
    assert!(
        matches!(sealers[..], [only] if only.ends_with("disclosure/src/held.rs")),
        "capsules can be made from {sealers:?}"
    );
}

#[test]
fn the_scan_sees_what_it_looks_for() {
    assert!(names_a_partials_making("part.values(3, &inputs)"));
    assert!(names_a_partials_making(
        "part\n    .values(\n        3, &x)"
    ));
    assert!(names_a_partials_making(
        "use bailiwick_threshold::MemberPart;"
    ));
    assert!(names_a_partials_making("threshold::seal_partial(rng)"));
    assert!(!names_a_partials_making(
        "map.values().count() + map.values(\n).len()"
    ));
}
