//! The committed test vectors of roster updates, erasure and hold are what the code makes, and a
//! second implementation agrees.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors"))
}

fn committed() -> serde_json::Value {
    let text = std::fs::read_to_string(folder().join("keys_and_time.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A change of any byte of the format shows here.
#[test]
fn committed_time_vectors_are_what_the_code_makes() {
    let (committed, made) = (committed(), world::time_vectors::keys_and_time());
    for (section, value) in made.as_object().unwrap() {
        assert_eq!(&committed[section], value, "{section}");
    }
    assert_eq!(committed, made);
}

fn check(file: &Path) -> std::io::Result<Output> {
    Command::new("python3")
        .arg(folder().join("check_time.py"))
        .arg(file)
        .output()
}

/// The second implementation recomputes the vectors, and refuses a file in which one digit differs.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped check must be seen")]
fn second_implementation_agrees_about_time() {
    let Ok(output) = check(&folder().join("keys_and_time.json")) else {
        eprintln!("python3 is absent: the second implementation was not run");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    for pointer in [
        "/resupply/id",
        "/resupply/update",
        "/resupply/signatures/2/signature",
        "/resupply/info",
        "/resupply/plaintext",
        "/resupply/signature",
        "/erasure/intent",
        "/erasure/attestation_signature",
        "/hold/id",
        "/hold/decisions/1/decision",
        "/hold/capsules/2/hash",
        "/hold/capsules/0/sealed",
        "/hold/statement/signature",
        "/document/digest",
        "/document/info",
    ] {
        let mut changed = committed();
        let value = changed.pointer_mut(pointer).unwrap();
        let text = value.as_str().unwrap();
        let last = if text.ends_with('0') { '1' } else { '0' };
        *value = format!("{}{last}", &text[..text.len() - 1]).into();
        let name = format!("bailiwick-time-vectors-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, changed.to_string()).unwrap();
        let output = check(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!output.status.success(), "{pointer} was not compared");
    }
}
