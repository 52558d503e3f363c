//! Agreement with independent implementations of the same specifications:
//! `tlog_tiles` for trees and checkpoints, `signed_note` for notes.

use bailiwick_tlog::{
    Checkpoint, Hash, NoteVerifier, SignedCheckpoint, prove_consistency, prove_inclusion, root,
    sign_checkpoint, verify_consistency, verify_inclusion,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand_core::SeedableRng as _;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::tlog;

use crate::support::{MapLog, ORIGIN, key, leaves};

/// Their log: hashes in the order in which they become complete.
struct PeerLog(Vec<tlog::Hash>);

impl tlog::HashReader for PeerLog {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes
            .iter()
            .map(|index| self.0[*index as usize])
            .collect())
    }
}

impl PeerLog {
    fn of(leaves: &[Hash]) -> Self {
        let mut log = Self(Vec::new());
        for (index, leaf) in leaves.iter().enumerate() {
            let leaf = tlog::Hash(*leaf);
            let new = tlog::stored_hashes_for_record_hash(index as u64, leaf, &log).unwrap();
            log.0.extend(new);
        }
        log
    }
}

fn plain(proof: &[tlog::Hash]) -> Vec<Hash> {
    proof.iter().map(|hash| hash.0).collect()
}

fn random_leaves(seed: u64, count: u64) -> Vec<Hash> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut leaf = || {
        let mut leaf = [0; 32];
        rng.fill_bytes(&mut leaf);
        leaf
    };
    (0..count).map(|_| leaf()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn trees_agree_with_tlog_tiles(seed: u64, size in 1..600_u64, pick: prop::sample::Index) {
        let leaves = random_leaves(seed, size);
        let (log, peer) = (MapLog::of(&leaves), PeerLog::of(&leaves));
        for ((level, index), hash) in &log.nodes {
            let at = tlog::stored_hash_index(*level, *index) as usize;
            prop_assert_eq!(peer.0[at].0, *hash);
        }
        prop_assert_eq!(peer.0.len(), log.nodes.len());
        let our_root = root(&log, size).unwrap();
        let peer_root = tlog::tree_hash(size, &peer).unwrap();
        prop_assert_eq!(our_root, peer_root.0);

        let index = pick.index(size as usize) as u64;
        let leaf = leaves[index as usize];
        let proof = tlog::prove_record(size, index, &peer).unwrap();
        prop_assert_eq!(prove_inclusion(&log, index, size).unwrap(), plain(&proof));
        tlog::check_record(&proof, size, peer_root, index, tlog::Hash(leaf)).unwrap();
        verify_inclusion(&leaf, index, size, &our_root, &plain(&proof)).unwrap();

        let old = index + 1;
        let old_root = root(&log, old).unwrap();
        let proof = tlog::prove_tree(size, old, &peer).unwrap();
        prop_assert_eq!(prove_consistency(&log, old, size).unwrap(), plain(&proof));
        tlog::check_tree(&proof, size, peer_root, old, tlog::Hash(old_root)).unwrap();
        verify_consistency(old, &old_root, size, &our_root, &plain(&proof)).unwrap();
    }
}

/// Their signer for the same key as `key(seed)`.
fn peer_signer(name: &str, seed: u8) -> StandardSigner {
    let public = [&[1][..], key(seed).verifying_key().as_bytes()].concat();
    let id = signed_note::key_id(name, &public);
    let secret = BASE64_STANDARD.encode([&[1][..], &[seed; 32]].concat());
    StandardSigner::new(&format!("PRIVATE+KEY+{name}+{id:08x}+{secret}")).unwrap()
}

#[test]
fn notes_agree_with_signed_note() {
    let checkpoint = MapLog::of(&leaves(21)).checkpoint(21);
    let verifier = NoteVerifier::ed25519(ORIGIN, key(1).verifying_key()).unwrap();
    let other = NoteVerifier::ed25519("other.example", key(2).verifying_key()).unwrap();

    // Theirs: text by tlog_tiles, signed twice by signed_note.
    let root = tlog::Hash(checkpoint.root);
    let text = tlog_tiles::Checkpoint::new(ORIGIN, 21, root, "")
        .unwrap()
        .to_bytes();
    let mut theirs = Note::new(&text, &[]).unwrap();
    theirs
        .add_sigs(&[&peer_signer(ORIGIN, 1), &peer_signer("other.example", 2)])
        .unwrap();
    let theirs = String::from_utf8(theirs.to_bytes()).unwrap();

    // Ours reads theirs.
    let read = SignedCheckpoint::parse(&theirs).unwrap();
    assert_eq!(read.checkpoint(), &checkpoint);
    read.verify_by(&verifier).unwrap();
    read.verify_by(&other).unwrap();

    // Ours is the same to the byte (Ed25519 is deterministic).
    let first = sign_checkpoint(ORIGIN, &key(1), &checkpoint).unwrap();
    let mut ours = SignedCheckpoint::new(checkpoint.clone(), first).unwrap();
    ours.add_signature(sign_checkpoint("other.example", &key(2), &checkpoint).unwrap())
        .unwrap();
    assert_eq!(ours.to_text(), theirs);

    // Theirs reads ours, with the keys as ours writes them.
    let note = Note::from_bytes(ours.to_text().as_bytes()).unwrap();
    let known = [&verifier, &other].map(|verifier| {
        Box::new(StandardVerifier::new(&verifier.to_vkey()).unwrap())
            as Box<dyn signed_note::Verifier>
    });
    let (verified, unverified) = note.verify(&VerifierList::new(known.into())).unwrap();
    assert_eq!((verified.len(), unverified.len()), (2, 0));
    let text = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(
        (text.origin(), text.size(), text.hash().0),
        (ORIGIN, 21, checkpoint.root)
    );
}

/// The key of the Go implementation's documentation.
#[test]
fn key_of_the_first_implementation() {
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let verifier = NoteVerifier::parse(vkey).unwrap();
    assert_eq!(
        (verifier.name(), verifier.key_id()),
        ("PeterNeumann", 0xc74f_20a3)
    );
    assert_eq!(verifier.to_vkey(), vkey);
}

proptest! {
    /// Ours is the stricter: what it accepts of a spoiled note, they accept
    /// with the same meaning.
    #[test]
    fn what_ours_accepts_theirs_accepts(at: prop::sample::Index, byte in 0..128_u8) {
        let checkpoint = Checkpoint::new(ORIGIN, 120, [5; 32]).unwrap();
        let signature = sign_checkpoint(ORIGIN, &key(1), &checkpoint).unwrap();
        let text = SignedCheckpoint::new(checkpoint, signature).unwrap().to_text();
        let mut spoiled = text.into_bytes();
        let at = at.index(spoiled.len());
        prop_assume!(spoiled[at].is_ascii());
        spoiled[at] = byte;
        let spoiled = String::from_utf8(spoiled).unwrap();
        if let Ok(ours) = SignedCheckpoint::parse(&spoiled) {
            let theirs = Note::from_bytes(spoiled.as_bytes()).unwrap();
            prop_assert_eq!(theirs.text(), ours.body().as_bytes());
            let text = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
            prop_assert_eq!(text.size(), ours.checkpoint().size);
            prop_assert_eq!(text.origin(), &ours.checkpoint().origin);
            prop_assert_eq!(text.hash().0, ours.checkpoint().root);
        }
    }
}
