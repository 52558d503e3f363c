//! The construction done by hand, from the definitions in `bailiwick-envelope` and the general
//! crates only: what a lying edge or a thief writes for himself.

use std::collections::BTreeMap;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use bailiwick_envelope::header::{
    Commitment, HeaderBody, SealedPart, SessionHeader, VerifiedHeader, edge_certificate_hash,
};
use bailiwick_envelope::label::Label;
use bailiwick_envelope::record::Plaintext;
use bailiwick_envelope::{Encoder, HashTag, HpkeTag, IdentityKey, MacTag, SUITE, hash, mac};
use bailiwick_threshold::{SelectedRecord, hpke};
use bailiwick_types::{
    Digest, KeyId, Minute, RecordId, Role, SessionId, SessionNonce, ShardId, Slot, SlotMask,
    SubjectPseudonym,
};
use hkdf::Hkdf;
use sha2::Sha256;

use super::{World, france};

/// Session keys by role and holder set, as a dealer holds them.
pub type Keys = BTreeMap<(Role, SlotMask), [u8; 32]>;

pub fn context(kid: &KeyId, nonce: &SessionNonce, role: Role, holders: SlotMask) -> Digest {
    hash(HashTag::Context, |e| {
        e.bytes(&kid.0)
            .bytes(&nonce.0)
            .u8(role.code())
            .u8(holders.0);
    })
}

/// `p(block)` of a session key.
pub fn block_key(key: &[u8; 32], context: &Digest, block: u16) -> [u8; 32] {
    let mut chain = mac(key, MacTag::Root, &context.0);
    for _ in 0..block {
        chain = mac(&chain, MacTag::Next, &[0; 32]);
    }
    mac(&chain, MacTag::Block, &[0; 32])
}

/// The value of a record under a session key.
pub fn value(key: &[u8; 32], context: &Digest, block: u16, x: &Digest) -> [u8; 32] {
    mac(&block_key(key, context, block), MacTag::Value, &x.0)
}

/// `k` from all values in canonical order.
pub fn record_key(sid: &SessionId, values: &[u8], x: &Digest) -> [u8; 32] {
    let mut info = Encoder::new();
    info.text("rec").digest(x);
    let mut key = [0; 32];
    let kdf = Hkdf::<Sha256>::new(Some(&sid.0), values);
    kdf.expand(info.as_bytes(), &mut key).unwrap();
    key
}

pub fn encrypt(key: &[u8; 32], x: &Digest, message: &[u8]) -> Vec<u8> {
    let payload = Payload {
        msg: message,
        aad: &x.0,
    };
    let cipher = Aes256Gcm::new(key.into());
    cipher.encrypt(&[0; 12].into(), payload).unwrap()
}

pub fn decrypt(key: &[u8; 32], x: &Digest, sealed: &[u8]) -> Option<Vec<u8>> {
    let payload = Payload {
        msg: sealed,
        aad: &x.0,
    };
    let cipher = Aes256Gcm::new(key.into());
    cipher.decrypt(&[0; 12].into(), payload).ok()
}

/// Whether a full set of values, in canonical order, decrypts a record: the thief's own test, which
/// does not even ask for alpha.
pub fn values_open(record: &SelectedRecord, values: &[u8]) -> bool {
    let x = record.label.record_input(&record.alpha);
    let key = record_key(&record.label.sid, values, &x);
    decrypt(&key, &x, &record.ciphertext).is_some()
}

/// A session dealt by an edge that lies: `keys` are committed to, `dealt` says what each slot gets.
pub fn deal(
    world: &mut World,
    keys: &Keys,
    dealt: impl Fn(Role, Slot, SlotMask, [u8; 32]) -> [u8; 32],
) -> VerifiedHeader {
    let kid = world.certificate.kid(0).unwrap();
    let edge = "edge-1".parse().unwrap();
    let nonce = SessionNonce([3; 16]);
    let commitment = |((role, holders), key): (&(Role, SlotMask), &[u8; 32])| Commitment {
        role: *role,
        holders: *holders,
        value: mac(
            key,
            MacTag::Commitment,
            &context(&kid, &nonce, *role, *holders).0,
        ),
    };
    let body = HeaderBody {
        suite: SUITE,
        kid,
        shard: ShardId::home(france()),
        edge_certificate: edge_certificate_hash(&edge, &IdentityKey::of(&world.edge_key)),
        edge,
        nonce,
        opened_at: world.now,
        expires_at: world.now.plus(std::time::Duration::from_secs(600)),
        max_block: 16,
        commitments: keys.iter().map(commitment).collect(),
    };
    let mut parts = Vec::new();
    for (role, member) in world.certificate.body().members() {
        let slot = member.slot;
        let mut part = Encoder::new();
        for ((_, holders), key) in keys
            .iter()
            .filter(|((r, set), _)| *r == role && set.contains(slot))
        {
            part.u8(holders.0).bytes(&dealt(role, slot, *holders, *key));
        }
        let info = part_info(&body, role, slot);
        let to = &member.periods[0];
        let sealed = hpke::seal(&mut world.rng, to, &info, part.as_bytes()).unwrap();
        parts.push(SealedPart { role, slot, sealed });
    }
    let header = SessionHeader::sign(body, parts, &world.edge_key);
    world.verify(header).unwrap()
}

pub fn part_info(body: &HeaderBody, role: Role, slot: Slot) -> Vec<u8> {
    HpkeTag::Part.info(|e| {
        e.digest(&body.hash()).u8(role.code()).u8(slot.number());
    })
}

/// Fresh session keys for both committees of the world.
pub fn keys(world: &World) -> Keys {
    let mut keys = Keys::new();
    for role in Role::ALL {
        for holders in world
            .certificate
            .body()
            .committee(role)
            .threshold
            .holder_sets()
        {
            let seed = [role.code(), holders.0];
            keys.insert((role, holders), bailiwick_envelope::sha256(&seed).0);
        }
    }
    keys
}

/// Record 0 of block 0 of a session, sealed under given keys.
pub fn seal(header: &VerifiedHeader, keys: &Keys, plaintext: &Plaintext) -> SelectedRecord {
    let body = header.body();
    let label = Label {
        sid: header.sid(),
        block: 0,
        index: 0,
        jurisdiction: france(),
        edge: body.edge.clone(),
        record: RecordId([1; 16]),
        pseudonym_version: 1,
        subject: SubjectPseudonym([1; 16]),
        category: plaintext.category(),
        minute: Minute(plaintext.observed_at().minute().0),
    };
    let padded = plaintext.to_padded().unwrap();
    let rho = mac(&[5; 32], MacTag::Rho, &label.plaintext_hash(&padded).0);
    let alpha = label.alpha(&rho, &padded);
    let x = label.record_input(&alpha);
    let key = record_key(&header.sid(), &all_values(header, keys, &x), &x);
    SelectedRecord {
        index: 0,
        label,
        alpha,
        ciphertext: encrypt(&key, &x, &[&rho[..], &padded].concat()),
        kid: body.kid,
    }
}

/// All values of block 0 in canonical order.
pub fn all_values(header: &VerifiedHeader, keys: &Keys, x: &Digest) -> Vec<u8> {
    let body = header.body();
    let of = |((role, holders), key): (&(Role, SlotMask), &[u8; 32])| {
        value(key, &context(&body.kid, &body.nonce, *role, *holders), 0, x)
    };
    keys.iter().flat_map(of).collect()
}
