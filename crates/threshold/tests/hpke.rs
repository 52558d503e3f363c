//! HPKE against what others published, and its failures.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::convert::Infallible;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use bailiwick_envelope::EncapsulationKey;
use bailiwick_threshold::hpke::{self, OVERHEAD};
use bailiwick_threshold::{DecapsulationKey, OpenError, SealToError};
use hkdf::Hkdf;
use rand_core::{TryCryptoRng, TryRng};
use sha2::Sha256;

/// Gives the bytes of a vector.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(into.len());
        into.copy_from_slice(&std::mem::replace(&mut self.0, rest));
        Ok(())
    }
}

impl TryCryptoRng for Given {}

/// X-Wing KEM 0x647a, HKDF-SHA256 0x0001, AES-256-GCM 0x0002.
const SUITE_ID: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x02";

fn labeled_extract(salt: &[u8], label: &[u8], ikm: &[u8]) -> Hkdf<Sha256> {
    let ikm = [b"HPKE-v1", SUITE_ID, label, ikm].concat();
    Hkdf::extract(Some(salt), &ikm).1
}

fn labeled_extract_bytes(label: &[u8], ikm: &[u8]) -> Vec<u8> {
    let ikm = [b"HPKE-v1", SUITE_ID, label, ikm].concat();
    Hkdf::<Sha256>::extract(Some(&[]), &ikm).0.to_vec()
}

fn labeled_expand<const N: usize>(secret: &Hkdf<Sha256>, label: &[u8], info: &[u8]) -> [u8; N] {
    let length = (N as u16).to_be_bytes();
    let info = [&length[..], b"HPKE-v1", SUITE_ID, label, info].concat();
    let mut bytes = [0; N];
    secret.expand(&info, &mut bytes).unwrap();
    bytes
}

/// RFC 9180 sections 5.1 and 6.1 in base mode, from a shared secret.
fn seal_from(shared: &[u8], info: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let psk_id_hash = labeled_extract_bytes(b"psk_id_hash", b"");
    let info_hash = labeled_extract_bytes(b"info_hash", info);
    let context = [&[0][..], &psk_id_hash, &info_hash].concat();
    let secret = labeled_extract(shared, b"secret", b"");
    let key: [u8; 32] = labeled_expand(&secret, b"key", &context);
    let nonce: [u8; 12] = labeled_expand(&secret, b"base_nonce", &context);
    let payload = Payload {
        msg: plaintext,
        aad: &[],
    };
    Aes256Gcm::new(&key.into())
        .encrypt(&nonce.into(), payload)
        .unwrap()
}

/// The key encapsulation gives the published X-Wing vectors' keys and ciphertexts, and the message
/// is RFC 9180's for their shared secret; so a later version of a library that computes anything
/// else does not pass unseen.
#[test]
fn hpke_kem_vectors() {
    let file = include_str!("../../../docs/vectors/xwing.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let bytes = |field: &str| hex::decode(vector[field].as_str().unwrap()).unwrap();
        let seed: [u8; 32] = bytes("seed").try_into().unwrap();
        let key = DecapsulationKey::from_bytes(&seed);
        assert_eq!(*key.to_bytes(), seed);
        let public = key.encapsulation_key();
        assert_eq!(public.as_bytes(), bytes("pk"));
        let (generated, its_public) = DecapsulationKey::generate(&mut Given(seed.to_vec()));
        assert_eq!((*generated.to_bytes(), &its_public), (seed, &public));
        let (info, plaintext) = (b"what it is for", b"what it says");
        let mut rng = Given(bytes("eseed"));
        let sealed = hpke::seal(&mut rng, &public, info, plaintext).unwrap();
        assert_eq!(sealed.len(), plaintext.len() + OVERHEAD);
        assert_eq!(sealed[..1120], bytes("ct"));
        assert_eq!(sealed[1120..], seal_from(&bytes("ss"), info, plaintext));
        assert_eq!(
            hpke::open(&key, info, &sealed).unwrap().as_slice(),
            plaintext
        );
    }
}

#[test]
fn every_changed_byte_and_every_other_context_fails_alike() {
    let (key, public) = DecapsulationKey::generate(&mut Given((0..32).collect()));
    let sealed = hpke::seal(&mut Given(vec![7; 64]), &public, b"info", b"message").unwrap();
    let open = |info: &[u8], sealed: &[u8]| hpke::open(&key, info, sealed).map(|_| ());
    assert_eq!(open(b"info", &sealed), Ok(()));
    assert_eq!(open(b"other", &sealed), Err(OpenError));
    for at in (0..sealed.len())
        .step_by(13)
        .chain([0, 1119, 1120, sealed.len() - 1])
    {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(open(b"info", &changed), Err(OpenError), "byte {at}");
    }
    for length in [0, 1, 1119, 1120, 1135, sealed.len() - 1] {
        assert_eq!(
            open(b"info", &sealed[..length]),
            Err(OpenError),
            "{length} bytes"
        );
    }
    assert_eq!(format!("{key:?}"), "DecapsulationKey(redacted)");
}

/// 1,216 bytes that are no ML-KEM key (coefficients at or above q) are refused, not sealed to.
#[test]
fn a_key_that_is_none_is_refused() {
    let none = EncapsulationKey::new(&[0xff; EncapsulationKey::LENGTH]).unwrap();
    let refused = hpke::seal(&mut Given(vec![7; 64]), &none, b"info", b"message");
    assert_eq!(refused, Err(SealToError));
}
