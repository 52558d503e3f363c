//! Attacks that change a record's label, commitment or ciphertext, or reuse a released key.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use bailiwick_envelope::block::{BlockContext, BlockError};
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_envelope::label::Label;
use bailiwick_envelope::{IdentityKey, MacTag, mac};
use bailiwick_threshold::{OpeningError, SelectedRecord, open_records, open_session};
use bailiwick_types::{Category, Digest, Minute, Role};
use world::*;

fn scene() -> (World, VerifiedHeader, Vec<SelectedRecord>) {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let block = world.seal(&mut sealer, &some_records());
    let records = selected(&header, &block, 0);
    (world, header, records)
}

type Change = (&'static str, fn(&mut Label));

const CHANGES: [Change; 9] = [
    ("sid", |label| label.sid.0[0] ^= 1),
    ("block", |label| label.block += 1),
    ("index", |label| label.index += 1),
    ("jurisdiction", |label| {
        label.jurisdiction = "DE".parse().unwrap()
    }),
    ("edge", |label| label.edge = "edge-2".parse().unwrap()),
    ("record", |label| label.record.0[0] ^= 1),
    ("pseudonym version", |label| label.pseudonym_version += 1),
    ("subject", |label| label.subject.0[0] ^= 1),
    ("minute", |label| label.minute = Minute(label.minute.0 + 1)),
];

/// Attack: an insider stores a record again under another subject, minute or place that a request
/// covers, and all members release for that label. Their values are another record's.
#[test]
fn relabelled_record_gets_useless_values() {
    let (mut world, header, records) = scene();
    for (what, change) in CHANGES {
        let mut relabelled = vec![records[0].clone()];
        change(&mut relabelled[0].label);
        // The members of this session answer for block 0 whatever the label says.
        let mut partials = Vec::new();
        for (role, number) in [(Role::Workflow, 1), (Role::LegalReview, 1)] {
            for number in number..=3 {
                let mut body = world.body(&header, &relabelled, role, slot(number));
                let x = relabelled[0].label.record_input(&relabelled[0].alpha);
                body.records = world.part(&header, role, slot(number)).values(0, &[(0, x)]);
                partials.push(world.send(&body));
            }
        }
        let refused = world.open(&relabelled, &partials).unwrap_err();
        assert_eq!(
            refused,
            OpeningError::EdgeFaultOrTooManyLiars { index: 0 },
            "{what}"
        );
    }
}

/// Attack: the recipient is handed records whose label differs from the logged selection.
#[test]
fn tampered_label_refused() {
    let (mut world, header, records) = scene();
    let partials = world.partials(&header, &records, [&[1, 2], &[1, 2]]);
    let selection = world.selection(&records);
    let certificates = [(header.body().kid, &world.certificate)].into();
    let open = |records: &[SelectedRecord]| {
        let opened = open_records(&certificates, world.request, &selection, records, &partials);
        opened.map(|opening| opening.records.len())
    };
    assert_eq!(open(&records), Ok(3));
    for (what, change) in CHANGES {
        let mut tampered = records.clone();
        change(&mut tampered[1].label);
        assert_eq!(
            open(&tampered),
            Err(OpeningError::NotTheSelection),
            "{what}"
        );
    }
    let mut category = records.clone();
    category[0].label.category = Category::Ip;
    assert_eq!(open(&category), Err(OpeningError::NotTheSelection));
    assert_eq!(open(&records[..2]), Err(OpeningError::NotTheSelection));
    let mut swapped = records.clone();
    swapped.swap(0, 1);
    assert_eq!(open(&swapped), Err(OpeningError::NotTheSelection));
}

/// Attack: alpha is changed, so that it commits to something else. Neither the logged selection nor
/// the record's key goes with it.
#[test]
fn tampered_alpha_refused() {
    let (mut world, header, records) = scene();
    let mut tampered = records.clone();
    tampered[0].alpha = flip(&tampered[0].alpha);
    let partials = world.partials(&header, &records, [&[1, 2], &[1, 2]]);
    let selection = world.selection(&records);
    let certificates = [(header.body().kid, &world.certificate)].into();
    let opened = open_records(
        &certificates,
        world.request,
        &selection,
        &tampered,
        &partials,
    );
    assert_eq!(opened.unwrap_err(), OpeningError::NotTheSelection);
    // A shard that logs the tampered selection too gets values for an x that nothing was sealed
    // under; the untouched records still open.
    let all: &[u8] = &[1, 2, 3];
    let partials = world.partials(&header, &tampered, [all, all]);
    let opening = world.open(&tampered, &partials).unwrap();
    let error = &opening.unopened[0].error;
    assert_eq!(*error, OpeningError::EdgeFaultOrTooManyLiars { index: 0 });
    assert_eq!(opening.records.len(), 2);
}

/// Attack: a recipient, who learns a record's key, forges another plaintext under it. The record's
/// alpha and its leaf in the edge's manifest refuse it, and another alpha has another key.
#[test]
fn released_key_cannot_forge_record() {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let block = world.seal(&mut sealer, &some_records());
    let records = selected(&header, &block, 0);
    let x = records[0].label.record_input(&records[0].alpha);
    let mut values = Vec::new();
    for role in Role::ALL {
        let answers = [1, 2].map(|n| world.part(&header, role, slot(n)).values(0, &[(0, x)]));
        let mut all: Vec<_> = answers.iter().flat_map(|a| a[0].values.clone()).collect();
        all.sort();
        all.dedup();
        values.extend(all.into_iter().flat_map(|(_, value)| value));
    }
    let key = by_hand::record_key(&header.sid(), &values, &x);
    let known = by_hand::decrypt(&key, &x, &records[0].ciphertext).expect("the released key");

    let other = phone(1, "33699999999").plaintext.to_padded().unwrap();
    let forged = by_hand::encrypt(&key, &x, &[&known[..32], &other].concat());
    let mut replaced = records.clone();
    replaced[0].ciphertext = forged.clone();
    let all: &[u8] = &[1, 2, 3];
    let partials = world.partials(&header, &replaced, [all, all]);
    let opening = world.open(&replaced, &partials).unwrap();
    assert_eq!(opening.records.len(), 2, "the forgery does not open");

    let mut planted = block.clone();
    planted.records[0].ciphertext = forged;
    let edge = "edge-1".parse().unwrap();
    let context = BlockContext {
        sid: header.sid(),
        next_block: 0,
        max_block: 16,
        previous: Digest::default(),
        jurisdiction: france(),
        edge: &edge,
        edge_key: &IdentityKey::of(&world.edge_key),
    };
    assert_eq!(planted.verify(&context).map(|_| ()), Err(BlockError::Root));

    // With a commitment of its own the forgery has another x, for which the key is not known.
    let rho: [u8; 32] = known[..32].try_into().unwrap();
    replaced[0].alpha = replaced[0].label.alpha(&rho, &other);
    let partials = world.partials(&header, &replaced, [all, all]);
    assert_eq!(world.open(&replaced, &partials).unwrap().records.len(), 2);
}

/// Attack: an edge's memory is restored and the same label seals two plaintexts. alpha is part of
/// the key's input: two keys, two keystreams.
#[test]
fn same_label_two_plaintexts_two_keys() {
    let world = World::new();
    let mut seen = Vec::new();
    for digits in ["33600000001", "33600000002"] {
        // The same seed is the same memory: same session, same keys, same label.
        let (header, mut sealer) = open_session(&mut FixedRng::new(5), world.parameters()).unwrap();
        let header = world.verify(header).unwrap();
        let record = phone(1, digits);
        let block = world.seal(&mut sealer, std::slice::from_ref(&record));
        let padded = record.plaintext.to_padded().unwrap();
        let record = selected(&header, &block, 0).remove(0);
        let x = record.label.record_input(&record.alpha);
        let value = world
            .part(&header, Role::Workflow, slot(1))
            .values(0, &[(0, x)])
            .remove(0);
        seen.push((record, padded, value));
    }
    let [(first, one, one_value), (second, two, two_value)] = &seen[..] else {
        unreachable!("two records");
    };
    assert_eq!(first.label, second.label);
    assert_ne!(first.alpha, second.alpha);
    assert!(one_value.values[0].0 == two_value.values[0].0);
    assert!(one_value.values[0].1 != two_value.values[0].1);
    let xor = |a: &[u8], b: &[u8]| -> Vec<u8> { a.iter().zip(b).map(|(a, b)| a ^ b).collect() };
    let streams = xor(&first.ciphertext[32..64], &second.ciphertext[32..64]);
    assert_ne!(streams, xor(one, two), "one keystream for both");
}

/// Attack: who reads the store guesses a phone number and looks whether alpha fits. alpha also
/// hashes rho, which is 32 secret bytes: no guess can be checked without the record's key.
#[test]
fn alpha_hides_low_entropy() {
    let (mut world, header, records) = scene();
    let record = &records[0];
    let padded = |last: u32| {
        let digits = format!("33612345{last:03}");
        phone(1, &digits).plaintext.to_padded().unwrap()
    };
    let guesses_of_rho = |padded: &[u8]| {
        let hash = record.label.plaintext_hash(padded);
        let sid = record.label.sid.0;
        [
            [0; 32],
            hash.0,
            record.alpha.0,
            sid,
            mac(&[0; 32], MacTag::Rho, &hash.0),
            mac(&sid, MacTag::Rho, &hash.0),
        ]
    };
    for last in 0..1000 {
        let padded = padded(last);
        for rho in guesses_of_rho(&padded) {
            assert_ne!(record.label.alpha(&rho, &padded), record.alpha);
        }
    }
    // The control: with rho, which only the opened record shows, the true number fits.
    let partials = world.partials(&header, &records, [&[1, 2], &[1, 2]]);
    assert_eq!(
        world.open(&records, &partials).unwrap().records[0].plaintext,
        some_records()[0].plaintext
    );

    // And two sessions commit to the same number under one label differently.
    let keys = by_hand::keys(&world);
    let dealt = by_hand::deal(&mut world, &keys, |_, _, _, key| key);
    let by_hand = by_hand::seal(&dealt, &keys, &some_records()[0].plaintext);
    let padded = padded(678);
    let with = |key: [u8; 32]| {
        let label = &by_hand.label;
        label.alpha(
            &mac(&key, MacTag::Rho, &label.plaintext_hash(&padded).0),
            &padded,
        )
    };
    assert_eq!(with([5; 32]), by_hand.alpha);
    assert_ne!(with([6; 32]), by_hand.alpha);
}
