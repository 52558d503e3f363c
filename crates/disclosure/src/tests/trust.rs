//! Malformed trust files: one vector per malformation; each error names field and reason.

use super::world::{World, france};
use crate::trust::{PolicyCopies, PolicyCopyError, TrustError, TrustFile};

fn error_of(text: &str) -> String {
    TrustFile::parse(text).unwrap_err().to_string()
}

#[test]
fn trust_files_are_refused_with_field_and_reason() {
    let text = World::without_records().trust_text;
    let cases = [
        ("needed = 2", "needed = 1", "roster.workflow"),
        ("needed = 2", "needed = 3", "roster.workflow"),
        ("slot = 1", "slot = 4", "the slots are not 1 to n"),
        ("slot = 1", "slot = 0", "slot 0"),
        (
            "name = \"workflow-1\"",
            "name = \"workflow-2\"",
            "a member's name stands twice",
        ),
        ("legal-review-house", "workflow-house", "organisation"),
        (
            "origin = \"bailiwick.example/FR\"",
            "origin = \"\"",
            "origin",
        ),
        ("records_per_day", "records_per_week", "records_per_week"),
        (
            "jurisdiction = \"FR\"\norigin",
            "jurisdiction = \"UK\"\norigin",
            "UK",
        ),
        ("slot = 1\n", "slot = 1\nextra = 1\n", "extra"),
        (
            "[[jurisdictions]]",
            "verify = false\n[[jurisdictions]]",
            "verify",
        ),
        (
            "name = \"desk\", key = \"",
            "name = \"desk\", key = \"00",
            "recipients.key",
        ),
        (
            "edges = [{",
            "edges = [{ name = \"edge-1\", key = \"aa\" }, {",
            "key",
        ),
    ];
    for (from, to, expected) in cases {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let error = error_of(&changed);
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
    let duplicate = format!("{text}\n{text}");
    assert!(error_of(&duplicate).contains("stands twice"));
    let long = " ".repeat(super::super::trust::TRUST_FILE_BYTES + 1);
    assert!(matches!(
        TrustFile::parse(&long),
        Err(TrustError::TooLong(_))
    ));
}

/// A key that stands twice would be two votes, be it a member's or a reviewer's.
#[test]
fn duplicate_keys_refused() {
    let world = World::without_records();
    let [first, second] = [0, 4].map(|at| world.members[at].keys.identity().to_string());
    let error = error_of(&world.trust_text.replace(&second, &first));
    assert!(error.contains("a key stands twice"), "{error}");
}

/// Nothing at all is nobody at all.
#[test]
fn an_empty_trust_file_trusts_nobody() {
    let file = TrustFile::parse("").unwrap();
    assert!(file.jurisdiction(france()).is_none());
    assert_eq!(file.jurisdictions().count(), 0);
}

/// A recipient's key may be written in base64 as well.
#[test]
fn recipient_keys_in_base64() {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let world = World::without_records();
    let key = &world.trust.recipients()[0].key;
    let begin = world.trust_text.find("name = \"desk\", key = \"").unwrap() + 22;
    let mut text = world.trust_text.clone();
    let encoded = BASE64_STANDARD.encode(key.as_bytes());
    text.replace_range(begin..begin + 2432, &encoded);
    let file = TrustFile::parse(&text).unwrap();
    let trust = file.jurisdiction(france()).unwrap();
    assert_eq!(trust.recipients(), world.trust.recipients());
}

/// A policy file that is not the pinned one is no own copy.
#[test]
fn policy_copies_are_pinned() {
    let mut world = World::without_records();
    let policy = world.policies.of(france()).unwrap().clone();
    world.trust.policies[0].digest.0[0] ^= 1;
    let error = PolicyCopies::new(&world.trust, vec![policy.clone()]).unwrap_err();
    assert!(matches!(error, PolicyCopyError::Digest { .. }));
    world.trust.policies.clear();
    let error = PolicyCopies::new(&world.trust, vec![policy]).unwrap_err();
    assert_eq!(error, PolicyCopyError::Unknown(france()));
}
