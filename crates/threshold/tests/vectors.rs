//! The committed test vectors are what the code makes, and a second implementation agrees.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use std::path::PathBuf;
use std::process::Command;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors"))
}

/// A change of any byte of the format shows here. If it is meant, it is another suite.
#[test]
fn committed_vectors_are_what_the_code_makes() {
    let committed = std::fs::read_to_string(folder().join("suite1.json")).unwrap();
    let committed: serde_json::Value = serde_json::from_str(&committed).unwrap();
    let made = world::vectors::suite_1();
    for (section, value) in made.as_object().unwrap() {
        assert_eq!(&committed[section], value, "{section}");
    }
    assert_eq!(committed, made);
}

fn check(file: &std::path::Path) -> std::io::Result<std::process::Output> {
    Command::new("python3")
        .arg(folder().join("check.py"))
        .arg(file)
        .output()
}

/// The second implementation recomputes the vectors from their secrets; and it does compare, since
/// it refuses a file in which one digit of a derived value differs.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped check must be seen")]
fn second_implementation_agrees() {
    let file = folder().join("suite1.json");
    let Ok(output) = check(&file) else {
        eprintln!("python3 is absent: the second implementation was not run");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");

    let content = std::fs::read_to_string(&file).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&content).unwrap();
    for pointer in [
        "/blocks/1/records/2/ciphertext",
        "/blocks/1/records/0/values/4",
        "/session/keys/3/commitment",
        "/session/signature",
        "/certificate/kids/1",
        "/selection/root",
        "/partials/2/body",
    ] {
        let mut changed = vectors.clone();
        let value = changed.pointer_mut(pointer).unwrap();
        let text = value.as_str().unwrap();
        let last = if text.ends_with('0') { '1' } else { '0' };
        *value = format!("{}{last}", &text[..text.len() - 1]).into();
        let name = format!("bailiwick-vectors-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, changed.to_string()).unwrap();
        let output = check(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!output.status.success(), "{pointer} was not compared");
    }
}
