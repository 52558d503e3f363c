//! Checkpoints, signature lines, keys and notes as text: round trips, and one
//! case for each malformation.

use bailiwick_tlog::{
    AddSignatureError, Checkpoint, CheckpointError, MAX_NOTE_BYTES, MAX_ORIGIN_BYTES,
    MAX_SIGNATURE_BYTES, MAX_SIGNATURES, NoteError, NoteSignature, NoteSignatureError,
    NoteVerifier, NoteVerifierError, NoteVerifyError, SignedCheckpoint, sign_checkpoint,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;

use crate::support::{MapLog, ORIGIN, key, leaves};

const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

fn signed() -> SignedCheckpoint {
    let checkpoint = MapLog::of(&leaves(5)).checkpoint(5);
    let signature = sign_checkpoint(ORIGIN, &key(1), &checkpoint).unwrap();
    SignedCheckpoint::new(checkpoint, signature).unwrap()
}

fn verifier() -> NoteVerifier {
    NoteVerifier::ed25519(ORIGIN, key(1).verifying_key()).unwrap()
}

#[test]
fn checkpoint_of_the_specification() {
    let text = format!("example.com/behind-the-sofa\n20852163\n{ROOT}\n");
    let checkpoint = Checkpoint::parse(&text).unwrap();
    assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size, 20_852_163);
    assert_eq!(checkpoint.body().unwrap(), text);
}

#[test]
fn malformed_checkpoints() {
    let unpadded = ROOT.trim_end_matches('=');
    let loose_bits = ROOT.replace("I=", "J=");
    let url_safe = ROOT.replace('/', "_");
    let short = BASE64_STANDARD.encode([1; 31]);
    let long_origin = "o".repeat(MAX_ORIGIN_BYTES + 1);
    let cases = [
        (String::new(), CheckpointError::Lines),
        (format!("o\n1\n{ROOT}"), CheckpointError::Lines),
        ("o\n1\n".to_owned(), CheckpointError::Lines),
        (format!("o\n1\n{ROOT}\n\n"), CheckpointError::Lines),
        (format!("o\n1\n{ROOT}\nextension\n"), CheckpointError::Lines),
        (format!("\no\n1\n{ROOT}\n"), CheckpointError::Lines),
        (format!("\n1\n{ROOT}\n"), CheckpointError::Origin),
        (format!("o\r\n1\n{ROOT}\n"), CheckpointError::Origin),
        (format!("o\u{0}\n1\n{ROOT}\n"), CheckpointError::Origin),
        (format!("o\u{85}\n1\n{ROOT}\n"), CheckpointError::Origin),
        (
            format!("{long_origin}\n1\n{ROOT}\n"),
            CheckpointError::Origin,
        ),
        (format!("o\n\n{ROOT}\n"), CheckpointError::Size),
        (format!("o\n01\n{ROOT}\n"), CheckpointError::Size),
        (format!("o\n00\n{ROOT}\n"), CheckpointError::Size),
        (format!("o\n+1\n{ROOT}\n"), CheckpointError::Size),
        (format!("o\n-1\n{ROOT}\n"), CheckpointError::Size),
        (format!("o\n 1\n{ROOT}\n"), CheckpointError::Size),
        (format!("o\n1 \n{ROOT}\n"), CheckpointError::Size),
        (format!("o\n0x1\n{ROOT}\n"), CheckpointError::Size),
        (format!("o\n\u{661}\n{ROOT}\n"), CheckpointError::Size),
        (
            format!("o\n9223372036854775808\n{ROOT}\n"),
            CheckpointError::Size,
        ),
        (
            format!("o\n18446744073709551616\n{ROOT}\n"),
            CheckpointError::Size,
        ),
        ("o\n1\n\n".to_owned(), CheckpointError::Root),
        (format!("o\n1\n{unpadded}\n"), CheckpointError::Root),
        (format!("o\n1\n{loose_bits}\n"), CheckpointError::Root),
        (format!("o\n1\n{url_safe}\n"), CheckpointError::Root),
        (format!("o\n1\n{short}\n"), CheckpointError::Root),
        (format!("o\n1\n{ROOT} \n"), CheckpointError::Root),
        (format!("o\n0\n{ROOT}\n"), CheckpointError::EmptyTreeRoot),
    ];
    for (text, expected) in cases {
        assert_eq!(Checkpoint::parse(&text), Err(expected), "{text:?}");
    }
    Checkpoint::parse(&format!("o\n9223372036854775807\n{ROOT}\n")).unwrap();
}

#[test]
fn malformed_signature_lines() {
    let good = signed().signatures()[0].to_line();
    let (start, encoded) = good.rsplit_once(' ').unwrap();
    let longest = BASE64_STANDARD.encode(vec![1; 4 + MAX_SIGNATURE_BYTES]);
    let too_long = BASE64_STANDARD.encode(vec![1; 4 + MAX_SIGNATURE_BYTES + 1]);
    let far_too_long = "A".repeat(1 << 16);
    let long_name = "n".repeat(256);
    let cases = [
        (String::new(), NoteSignatureError::Format),
        (good.replace('\u{2014}', "-"), NoteSignatureError::Format),
        (
            good.replace("\u{2014} ", "\u{2014}"),
            NoteSignatureError::Format,
        ),
        (start.to_owned(), NoteSignatureError::Format),
        (
            good.trim_end_matches('=').to_owned(),
            NoteSignatureError::Format,
        ),
        (format!("{good} "), NoteSignatureError::Format),
        (format!("{good}\r"), NoteSignatureError::Format),
        (format!("{start}  {encoded}"), NoteSignatureError::Format),
        (format!("\u{2014}  {encoded}"), NoteSignatureError::Name),
        (format!("\u{2014} a+b {encoded}"), NoteSignatureError::Name),
        (
            format!("\u{2014} a\u{a0}b {encoded}"),
            NoteSignatureError::Name,
        ),
        (format!("\u{2014} a\tb {encoded}"), NoteSignatureError::Name),
        (
            format!("\u{2014} a\u{1}b {encoded}"),
            NoteSignatureError::Name,
        ),
        (
            format!("\u{2014} {long_name} {encoded}"),
            NoteSignatureError::Name,
        ),
        (format!("{start} "), NoteSignatureError::Length),
        (format!("{start} AAAA"), NoteSignatureError::Length),
        (format!("{start} AAAAAA=="), NoteSignatureError::Length),
        (format!("{start} {too_long}"), NoteSignatureError::Length),
        (
            format!("{start} {far_too_long}"),
            NoteSignatureError::Length,
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(NoteSignature::parse(&line), Err(expected), "{line:?}");
    }
    NoteSignature::parse(&format!("{start} {longest}")).unwrap();
}

#[test]
fn malformed_keys() {
    let good = verifier().to_vkey();
    let (name_and_id, encoded) = good.rsplit_once('+').unwrap();
    let bytes = BASE64_STANDARD.decode(encoded).unwrap();
    let key_of = |bytes: &[u8]| format!("{name_and_id}+{}", BASE64_STANDARD.encode(bytes));
    let not_a_point = [&[1][..], &[2], &[0; 31]].concat();
    let small_order = [&[1][..], &[1], &[0; 31]].concat();
    let id = format!("{:08x}", verifier().key_id());
    let cases = [
        (String::new(), NoteVerifierError::Format),
        (ORIGIN.to_owned(), NoteVerifierError::Format),
        (name_and_id.to_owned(), NoteVerifierError::Format),
        (format!("{name_and_id}+"), NoteVerifierError::Format),
        (format!("{good}+"), NoteVerifierError::Format),
        (
            good.trim_end_matches('=').to_owned() + "!",
            NoteVerifierError::Format,
        ),
        (
            key_of(&[&[2], &bytes[1..]].concat()),
            NoteVerifierError::KeyType(2),
        ),
        (key_of(&bytes[..32]), NoteVerifierError::PublicKey),
        (key_of(&not_a_point), NoteVerifierError::PublicKey),
        (key_of(&small_order), NoteVerifierError::PublicKey),
        // The id is bound to name and kind, so that neither can be swapped.
        (
            key_of(&[&[4], &bytes[1..]].concat()),
            NoteVerifierError::KeyId,
        ),
        (good.replace("/j1", "/j2"), NoteVerifierError::KeyId),
        (
            good.replace(&id, &id.to_uppercase()),
            NoteVerifierError::KeyId,
        ),
        (
            good.replace(&id, &format!("0{id}")),
            NoteVerifierError::KeyId,
        ),
        (good.replace(ORIGIN, ""), NoteVerifierError::Name),
        (good.replace(ORIGIN, "a b"), NoteVerifierError::Name),
    ];
    assert_ne!(id, id.to_uppercase(), "choose a key whose id has a letter");
    for (vkey, expected) in cases {
        assert_eq!(NoteVerifier::parse(&vkey), Err(expected), "{vkey:?}");
    }
    assert_eq!(NoteVerifier::parse(&good), Ok(verifier()));
}

#[test]
fn malformed_notes() {
    let text = signed().to_text();
    let (body, lines) = text.split_once("\n\n").unwrap();
    let line = |line, source| NoteError::Signature { line, source };
    let format = NoteSignatureError::Format;
    let duplicate = AddSignatureError::Duplicate {
        key_id: verifier().key_id(),
    };
    let forged = NoteSignature::new(ORIGIN, verifier().key_id(), vec![0; 64]).unwrap();
    let cases = [
        (String::new(), NoteError::NoBlankLine),
        (format!("{body}\n{lines}"), NoteError::NoBlankLine),
        (format!("{body}\n\n"), NoteError::NoSignature),
        (text.trim_end().to_owned(), NoteError::NoSignature),
        (format!("{text}\n"), line(1, format)),
        (format!("{body}\n\n\n{lines}"), line(0, format)),
        (format!("{text}more\n"), line(1, format)),
        (
            format!("{body}\nextension\n\n{lines}"),
            CheckpointError::Lines.into(),
        ),
        (format!("\n\n{text}"), CheckpointError::Lines.into()),
        (text.replace('\n', "\r\n"), NoteError::NoBlankLine),
        (
            format!("{text}{forged}\n"),
            NoteError::Add {
                line: 1,
                source: duplicate,
            },
        ),
        (
            "x".repeat(MAX_NOTE_BYTES + 1),
            NoteError::TooLong {
                bytes: MAX_NOTE_BYTES + 1,
            },
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(SignedCheckpoint::parse(&text), Err(expected), "{text:?}");
    }
    assert_eq!(SignedCheckpoint::parse(&text), Ok(signed()));
}

/// The largest note there can be is exactly as large as the limit says.
#[test]
fn signature_limit() {
    let origin = "o".repeat(MAX_ORIGIN_BYTES);
    let checkpoint = Checkpoint::new(&origin, i64::MAX as u64, [1; 32]).unwrap();
    let signature = |number: usize| {
        let name = format!("{number:0>255}");
        NoteSignature::new(&name, 1, vec![1; MAX_SIGNATURE_BYTES]).unwrap()
    };
    let mut note = SignedCheckpoint::new(checkpoint, signature(0)).unwrap();
    for number in 1..MAX_SIGNATURES {
        note.add_signature(signature(number)).unwrap();
    }
    assert_eq!(note.to_text().len(), MAX_NOTE_BYTES);
    assert_eq!(SignedCheckpoint::parse(&note.to_text()), Ok(note.clone()));
    note.add_signature(signature(3)).unwrap();
    assert_eq!(note.signatures().len(), MAX_SIGNATURES);
    let one_more = signature(MAX_SIGNATURES);
    assert_eq!(
        note.add_signature(one_more.clone()),
        Err(AddSignatureError::TooMany)
    );

    // Small lines, so that the number is the limit and not the length.
    let mut text = format!("{}\n", note.body());
    for number in 0..=MAX_SIGNATURES {
        text.push_str(
            &NoteSignature::new(&format!("n{number}"), 1, vec![1])
                .unwrap()
                .to_line(),
        );
        text.push('\n');
    }
    let expected = NoteError::Add {
        line: MAX_SIGNATURES,
        source: AddSignatureError::TooMany,
    };
    assert_eq!(SignedCheckpoint::parse(&text), Err(expected));
}

/// Attack: a stranger signs under the log's name, or over another text.
#[test]
fn signatures_by_others_or_over_other_texts() {
    let checkpoint = signed().checkpoint().clone();
    let stranger = sign_checkpoint(ORIGIN, &key(2), &checkpoint).unwrap();
    let mut note = SignedCheckpoint::new(checkpoint.clone(), stranger.clone()).unwrap();
    let key_id = verifier().key_id();
    assert_eq!(
        note.verify_by(&verifier()),
        Err(NoteVerifyError::NotSigned { key_id })
    );
    note.add_signature(signed().signatures()[0].clone())
        .unwrap();
    note.verify_by(&verifier()).unwrap();

    let relabelled = NoteSignature::new(ORIGIN, key_id, stranger.signature().to_vec()).unwrap();
    let bad = Err(NoteVerifyError::BadSignature { key_id });
    let note = SignedCheckpoint::new(checkpoint.clone(), relabelled).unwrap();
    assert_eq!(note.verify_by(&verifier()), bad);
    let other = Checkpoint {
        size: 6,
        ..checkpoint.clone()
    };
    let note = SignedCheckpoint::new(other, signed().signatures()[0].clone()).unwrap();
    assert_eq!(note.verify_by(&verifier()), bad);
    let short = NoteSignature::new(ORIGIN, key_id, vec![0; 63]).unwrap();
    let note = SignedCheckpoint::new(checkpoint, short).unwrap();
    assert_eq!(
        note.verify_by(&verifier()),
        Err(NoteVerifyError::Length { key_id, bytes: 63 })
    );
}

proptest! {
    #[test]
    fn checkpoint_round_trip(origin in "[^\\p{Cc}]{1,60}", size in 1..=i64::MAX as u64, root: [u8; 32]) {
        let checkpoint = Checkpoint::new(&origin, size, root).unwrap();
        let text = checkpoint.body().unwrap();
        prop_assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
    }

    #[test]
    fn signature_line_round_trip(
        name in "[^\\s\\p{Cc}+]{1,60}",
        key_id: u32,
        bytes in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let signature = NoteSignature::new(&name, key_id, bytes).unwrap();
        prop_assert_eq!(NoteSignature::parse(&signature.to_line()), Ok(signature));
    }

    #[test]
    fn note_round_trip(
        names in prop::collection::btree_set("[^\\s\\p{Cc}+]{1,20}", 1..10),
        bytes in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let mut note = signed();
        for name in names {
            note.add_signature(NoteSignature::new(&name, 9, bytes.clone()).unwrap()).unwrap();
        }
        prop_assert_eq!(SignedCheckpoint::parse(&note.to_text()), Ok(note));
    }

    /// There is one text for each note: whatever parses is written back as it
    /// was, so no one can make a second text of the same meaning.
    #[test]
    fn what_parses_is_canonical(
        at: prop::sample::Index, byte in 0..128_u8, insert: bool,
    ) {
        let text = signed().to_text();
        let at = at.index(text.len());
        prop_assume!(text.is_char_boundary(at) && text.is_char_boundary(at + 1));
        let end = if insert { at } else { at + 1 };
        let spoiled = format!("{}{}{}", &text[..at], char::from(byte), &text[end..]);
        if let Ok(note) = SignedCheckpoint::parse(&spoiled) {
            prop_assert_eq!(note.to_text(), spoiled.clone());
            if note.body() != signed().body() {
                note.verify_by(&verifier()).unwrap_err();
            }
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC*", lines in prop::collection::vec("[ -~\u{2014}]{0,30}", 0..8)) {
        for text in [text, lines.join("\n")] {
            let _ = Checkpoint::parse(&text);
            let _ = NoteSignature::parse(&text);
            let _ = NoteVerifier::parse(&text);
            let _ = SignedCheckpoint::parse(&text);
        }
    }
}

/// Attack: a stored or sent value goes around the parser by way of serde.
#[test]
fn deserialization_parses() {
    use serde::Deserialize as _;
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StringDeserializer};

    let from = |text: String| -> StringDeserializer<Error> { text.into_deserializer() };
    let (note, text) = (signed(), signed().to_text());
    assert_eq!(
        SignedCheckpoint::deserialize(from(text.clone())),
        Ok(note.clone())
    );
    SignedCheckpoint::deserialize(from(text.replace("\n5\n", "\n05\n"))).unwrap_err();
    let line = note.signatures()[0].to_line();
    assert_eq!(
        NoteSignature::deserialize(from(line.clone())).unwrap(),
        note.signatures()[0]
    );
    NoteSignature::deserialize(from(format!("{line}\n"))).unwrap_err();
    assert_eq!(
        NoteVerifier::deserialize(from(verifier().to_vkey())),
        Ok(verifier())
    );
    NoteVerifier::deserialize(from(verifier().to_vkey() + "+")).unwrap_err();
}
