//! Who may make a member's values: the release order of `bailiwick-disclosure` and nobody else.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::{Path, PathBuf};

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Values come out of an opened part only, so that whoever cannot name one cannot make one.
#[test]
fn only_disclosure_opens_parts() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    for entry in std::fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut files = Vec::new();
        if path.join("src").is_dir() {
            sources(&path.join("src"), &mut files);
        }
        seen += files.len();
        if ["threshold", "disclosure"].contains(&name.as_str()) {
            continue;
        }
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for word in [
                "open_part(",
                "open_sealed_part(",
                "seal_capsules(",
                "open_capsule(",
                "MemberPart",
                "adjudication::session_key",
            ] {
                assert!(!text.contains(word), "{} uses {word}", file.display());
            }
        }
    }
    assert!(seen > 30, "the sources were not found");
}
