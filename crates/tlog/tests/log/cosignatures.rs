//! `cosignature/v1`: a vector from elsewhere, round trips, malformations.

use bailiwick_tlog::{
    Checkpoint, KeyType, MAX_TIME_SECONDS, NoteSignature, NoteVerifier, NoteVerifyError, SignError,
    SignedCheckpoint, cosign, sign_checkpoint, verify_cosignature,
};
use ed25519_dalek::Signer as _;
use proptest::prelude::*;

use crate::support::{MapLog, ORIGIN, key, leaves};

const WITNESS: &str = "witness.example/w1";
const TIME: u64 = 1_679_315_147;

/// Made by a script over another Ed25519 implementation (OpenSSL's) from the
/// key of 32 bytes 0x07 and the checkpoint text below.
const BODY: &str = "log.example/j1\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
const VKEY: &str = "witness.example/w1+aa4a09d1+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
const COSIGNATURE: &str = "\u{2014} witness.example/w1 qkoJ0QAAAABkGFDL9gklVY2EJZnruXE1y6RNXFHJfWYxmcWq7pkMB1/xONppmVFuLhLx1pdm+2MXzRf/jEdOvesZMXJZEafXe8MzBQ==";
const LOG_SIGNATURE: &str = "\u{2014} log.example/j1 P7GQ97kWvVTYqiZLljye1sQqB2rEDmCPgxhabjFswEvGOyyqz7XtfybKZEOZiYHKSqmC6fXuQkzxUoTyKj6gWtoTFAc=";

fn verifier() -> NoteVerifier {
    NoteVerifier::cosigner(WITNESS, key(7).verifying_key()).unwrap()
}

fn cosigned() -> SignedCheckpoint {
    let checkpoint = MapLog::of(&leaves(5)).checkpoint(5);
    let signature = cosign(WITNESS, &key(7), &checkpoint, TIME).unwrap();
    SignedCheckpoint::new(checkpoint, signature).unwrap()
}

/// The note above with its signature bytes replaced.
fn with_bytes(bytes: Vec<u8>) -> SignedCheckpoint {
    let signature = NoteSignature::new(WITNESS, verifier().key_id(), bytes).unwrap();
    SignedCheckpoint::new(cosigned().checkpoint().clone(), signature).unwrap()
}

#[test]
fn known_vector() {
    let checkpoint = Checkpoint::parse(BODY).unwrap();
    assert_eq!(
        cosign(WITNESS, &key(7), &checkpoint, TIME)
            .unwrap()
            .to_line(),
        COSIGNATURE
    );
    assert_eq!(
        sign_checkpoint(ORIGIN, &key(7), &checkpoint)
            .unwrap()
            .to_line(),
        LOG_SIGNATURE
    );
    assert_eq!(verifier().to_vkey(), VKEY);
    let note = format!("{BODY}\n{LOG_SIGNATURE}\n{COSIGNATURE}\n");
    let note = SignedCheckpoint::parse(&note).unwrap();
    assert_eq!(
        verify_cosignature(&NoteVerifier::parse(VKEY).unwrap(), &note),
        Ok(TIME)
    );
    let log = NoteVerifier::ed25519(ORIGIN, key(7).verifying_key()).unwrap();
    note.verify_by(&log).unwrap();
    note.verify_by(&verifier()).unwrap();
}

#[test]
fn missing_cosignature() {
    let key_id = verifier().key_id();
    let plain = sign_checkpoint(WITNESS, &key(7), cosigned().checkpoint()).unwrap();
    let note = SignedCheckpoint::new(cosigned().checkpoint().clone(), plain).unwrap();
    let expected = Err(NoteVerifyError::NotSigned { key_id });
    assert_eq!(verify_cosignature(&verifier(), &note), expected);
}

/// Attack: a plain signature is shown as a cosignature, or the reverse, by
/// writing the other kind's key id over it.
#[test]
fn signature_of_one_kind_is_none_of_the_other() {
    let (cosigner, checkpoint) = (verifier(), cosigned().checkpoint().clone());
    let plain_key = NoteVerifier::ed25519(WITNESS, key(7).verifying_key()).unwrap();
    assert_ne!(plain_key.key_id(), cosigner.key_id());
    let expected = NoteVerifyError::KeyType {
        key_id: plain_key.key_id(),
    };
    assert_eq!(verify_cosignature(&plain_key, &cosigned()), Err(expected));

    let key_id = cosigner.key_id();
    let plain = sign_checkpoint(WITNESS, &key(7), &checkpoint).unwrap();
    let timed = [&TIME.to_be_bytes(), plain.signature()].concat();
    let expected = Err(NoteVerifyError::BadSignature { key_id });
    assert_eq!(verify_cosignature(&cosigner, &with_bytes(timed)), expected);

    let key_id = plain_key.key_id();
    let untimed = cosigned().signatures()[0].signature()[8..].to_vec();
    let untimed = NoteSignature::new(WITNESS, key_id, untimed).unwrap();
    let note = SignedCheckpoint::new(checkpoint, untimed).unwrap();
    assert_eq!(
        note.verify_by(&plain_key),
        Err(NoteVerifyError::BadSignature { key_id })
    );
}

#[test]
fn shortened_or_lengthened_cosignature() {
    let key_id = verifier().key_id();
    let whole = cosigned().signatures()[0].signature().to_vec();
    for (keep, reported) in [(1, 1), (7, 7), (8, 0), (64, 56), (71, 63)] {
        let expected = Err(NoteVerifyError::Length {
            key_id,
            bytes: reported,
        });
        let note = with_bytes(whole[..keep].to_vec());
        assert_eq!(
            verify_cosignature(&verifier(), &note),
            expected,
            "{keep} bytes"
        );
    }
    let note = with_bytes([&whole[..], &[0]].concat());
    let expected = Err(NoteVerifyError::Length { key_id, bytes: 65 });
    assert_eq!(verify_cosignature(&verifier(), &note), expected);
}

/// Attack: the time is moved, to make an old cosignature look fresh; or any
/// other bit is flipped.
#[test]
fn every_flipped_bit_of_a_cosignature_fails() {
    let mut bytes = cosigned().signatures()[0].signature().to_vec();
    verify_cosignature(&verifier(), &with_bytes(bytes.clone())).unwrap();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        verify_cosignature(&verifier(), &with_bytes(bytes.clone())).unwrap_err();
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// C2SP: the time "MUST NOT exceed 2^63 - 1", even with a true signature.
#[test]
fn impossible_time() {
    let checkpoint = cosigned().checkpoint().clone();
    let time_seconds = MAX_TIME_SECONDS + 1;
    let refusal = cosign(WITNESS, &key(7), &checkpoint, time_seconds);
    assert_eq!(refusal, Err(SignError::Time { time_seconds }));
    let message = format!(
        "cosignature/v1\ntime {time_seconds}\n{}",
        checkpoint.body().unwrap()
    );
    let signature = key(7).sign(message.as_bytes()).to_bytes();
    let note = with_bytes([&time_seconds.to_be_bytes()[..], &signature].concat());
    let expected = NoteVerifyError::Time {
        key_id: verifier().key_id(),
        time_seconds,
    };
    assert_eq!(verify_cosignature(&verifier(), &note), Err(expected));
    cosign(WITNESS, &key(7), &checkpoint, MAX_TIME_SECONDS).unwrap();
}

/// Attack: a true cosignature is moved to another checkpoint, or shown under
/// another witness's name.
#[test]
fn cosignature_of_another_checkpoint_or_witness() {
    let key_id = verifier().key_id();
    let signature = cosigned().signatures()[0].clone();
    let good = cosigned().checkpoint().clone();
    let mut others = vec![good.clone(), good.clone(), good];
    others[0].origin = "log.example/j2".to_owned();
    others[1].size += 1;
    others[2].root[0] ^= 1;
    for other in others {
        let note = SignedCheckpoint::new(other, signature.clone()).unwrap();
        let expected = Err(NoteVerifyError::BadSignature { key_id });
        assert_eq!(verify_cosignature(&verifier(), &note), expected);
    }
    let stranger = NoteVerifier::cosigner(WITNESS, key(8).verifying_key()).unwrap();
    let expected = Err(NoteVerifyError::NotSigned {
        key_id: stranger.key_id(),
    });
    assert_eq!(verify_cosignature(&stranger, &cosigned()), expected);
    let key_id = stranger.key_id();
    let relabelled = NoteSignature::new(WITNESS, key_id, signature.signature().to_vec()).unwrap();
    let note = SignedCheckpoint::new(cosigned().checkpoint().clone(), relabelled).unwrap();
    let expected = Err(NoteVerifyError::BadSignature { key_id });
    assert_eq!(verify_cosignature(&stranger, &note), expected);
}

/// Attack: an encoding of the signature's scalar that is not reduced, which a
/// lax verifier takes for a second signature of the same text.
#[test]
fn unreduced_scalar() {
    // The group order, little endian (RFC 8032 section 5.1).
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = hex::decode(order).unwrap();
    let mut bytes = cosigned().signatures()[0].signature().to_vec();
    let mut carry = 0_u16;
    for (byte, add) in bytes[8 + 32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    let expected = NoteVerifyError::BadSignature {
        key_id: verifier().key_id(),
    };
    assert_eq!(
        verify_cosignature(&verifier(), &with_bytes(bytes)),
        Err(expected)
    );
}

#[test]
fn malformed_name_or_origin_is_not_signed() {
    let good = cosigned().checkpoint().clone();
    for name in ["", "a b", "a+b", "a\nb"] {
        assert!(matches!(
            cosign(name, &key(7), &good, TIME),
            Err(SignError::Signature(_))
        ));
        assert!(matches!(
            sign_checkpoint(name, &key(7), &good),
            Err(SignError::Signature(_))
        ));
    }
    let bad = Checkpoint {
        origin: "log.example\n7".to_owned(),
        ..good
    };
    assert!(matches!(
        cosign(WITNESS, &key(7), &bad, TIME),
        Err(SignError::Checkpoint(_))
    ));
    assert!(matches!(
        sign_checkpoint(WITNESS, &key(7), &bad),
        Err(SignError::Checkpoint(_))
    ));
}

proptest! {
    #[test]
    fn cosignature_round_trip(
        seed: [u8; 32],
        origin in "[^\\p{Cc}]{1,60}",
        name in "[a-z./0-9-]{1,40}",
        size in 1..=i64::MAX as u64,
        root: [u8; 32],
        time in 0..=MAX_TIME_SECONDS,
    ) {
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        let checkpoint = Checkpoint::new(&origin, size, root).unwrap();
        let signature = cosign(&name, &key, &checkpoint, time).unwrap();
        let note = SignedCheckpoint::new(checkpoint.clone(), signature).unwrap();
        let read = SignedCheckpoint::parse(&note.to_text()).unwrap();
        prop_assert_eq!(read.checkpoint(), &checkpoint);
        let verifier = NoteVerifier::cosigner(&name, key.verifying_key()).unwrap();
        prop_assert_eq!(verifier.key_type(), KeyType::CosignatureV1);
        prop_assert_eq!(verify_cosignature(&verifier, &read), Ok(time));
    }
}
