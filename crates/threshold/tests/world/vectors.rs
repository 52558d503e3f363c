//! The test vectors of suite 1 as one JSON value: two blocks of one session of a fixed world, with
//! every secret and every intermediate value, computed by hand from the definitions and compared
//! with what the crate seals.

use bailiwick_envelope::certificate::Committee;
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_envelope::label::Label;
use bailiwick_envelope::{Canonical, HashTag, IdentityKey, MacTag, hash, mac};
use bailiwick_types::{Category, Digest, Role, SlotMask};
use serde_json::{Value, json};

use super::by_hand::{self, Keys};
use super::{FixedRng, RecordToSeal, SelectedRecord, World, address, phone, selected, slot};

fn text(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

/// The whole file.
pub fn suite_1() -> Value {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let drawn = world.rng.drawn.clone();
    let keys = dealt_keys(&world, &drawn);
    let rho: [u8; 32] = drawn.last().unwrap().as_slice().try_into().unwrap();
    let batches = [
        vec![phone(1, "33612345678")],
        vec![
            address(2, "203.0.113.9"),
            phone(3, "4915112345678"),
            address(4, "2001:db8::7"),
        ],
    ];
    let mut blocks = Vec::new();
    let mut records = Vec::new();
    for batch in &batches {
        let block = world.seal(&mut sealer, batch);
        let chosen = selected(&header, &block, records.len() as u32);
        let rows = batch.iter().zip(&chosen);
        let rows: Vec<Value> = rows
            .map(|(sealed, record)| record_vector(&header, &keys, &rho, sealed, record))
            .collect();
        blocks.push(json!({
            "block": block.manifest.block,
            "pseudonym_version": block.pseudonym_version,
            "edge_time": block.manifest.edge_time.0,
            "previous": block.manifest.previous.to_string(),
            "records": rows,
            "root": block.manifest.root.to_string(),
            "manifest": text(block.manifest.to_bytes()),
            "manifest_hash": block.manifest.hash().to_string(),
            "signature": text(block.signature.0),
            "wire": text(block.to_wire()),
        }));
        records.extend(chosen);
    }
    json!({
        "about": "Test vectors of suite 1; see README.md beside this file. All secrets are fixed and public.",
        "suite": 1,
        "certificate": certificate_vector(&world),
        "session": session_vector(&world, &header, &keys, &rho),
        "blocks": blocks,
        "selection": selection_vector(&world, &records),
        "partials": partial_vectors(&mut world, &header, &records),
        "opened": opened_vector(&mut world, &header, &records),
    })
}

/// The draws of `open_session` in order: the nonce, a key per set, 64 bytes a part, rho's key.
fn dealt_keys(world: &World, drawn: &[Vec<u8>]) -> Keys {
    let mut keys = by_hand::keys(world);
    for (key, draw) in keys.values_mut().zip(&drawn[1..]) {
        key.copy_from_slice(draw);
    }
    keys
}

fn certificate_vector(world: &World) -> Value {
    let body = world.certificate.body();
    let committee = |committee: &Committee| -> Value {
        let members = committee.members.iter().map(|member| {
            json!({
                "slot": member.slot.number(),
                "organisation": member.organisation.as_str(),
                "name": member.name.as_str(),
                "identity": member.identity.to_string(),
                "reviewers": member.reviewers.iter().map(|key| key.to_string()).collect::<Vec<_>>(),
                "documents": text(member.documents.as_bytes()),
                "periods": member.periods.iter().map(|key| text(key.as_bytes())).collect::<Vec<_>>(),
            })
        });
        let threshold = committee.threshold;
        json!({
            "t": threshold.needed(),
            "n": threshold.members(),
            "members": members.collect::<Vec<_>>(),
        })
    };
    let periods = body
        .periods
        .iter()
        .map(|p| [p.not_before.0, p.not_after.0, p.erase_by.0]);
    let signatures = &world.certificate.certificate().signatures;
    let kids = [0, 1].map(|period| world.certificate.kid(period).unwrap().to_string());
    json!({
        "jurisdiction": body.jurisdiction.as_str(),
        "not_before": body.not_before.0,
        "not_after": body.not_after.0,
        "periods": periods.collect::<Vec<_>>(),
        "workflow": committee(&body.workflow),
        "legal_review": committee(&body.legal_review),
        "certid": world.certificate.id().to_string(),
        "kids": kids,
        "signatures": signatures.iter().map(|s| text(s.signature.0)).collect::<Vec<_>>(),
    })
}

fn session_vector(world: &World, header: &VerifiedHeader, keys: &Keys, rho: &[u8; 32]) -> Value {
    let body = header.body();
    let dealt = keys
        .iter()
        .zip(&body.commitments)
        .map(|(((role, holders), key), c)| {
            json!({
                "role": role.code(),
                "holders": holders.0,
                "key": text(key),
                "commitment": text(c.value),
            })
        });
    let parts = header.header().parts.iter().map(|part| {
        let key = &world.members[&(part.role, part.slot)].periods[0];
        let info = by_hand::part_info(body, part.role, part.slot);
        let plaintext = bailiwick_threshold::hpke::open(key, &info, &part.sealed).unwrap();
        json!({
            "role": part.role.code(),
            "slot": part.slot.number(),
            "private_key": text(*key.to_bytes()),
            "info": text(info),
            "plaintext": text(plaintext.as_slice()),
            "sealed": text(&part.sealed),
        })
    });
    json!({
        "kid": body.kid.to_string(),
        "partition": body.shard.partition,
        "edge": body.edge.as_str(),
        "edge_key": IdentityKey::of(&world.edge_key).to_string(),
        "edge_certificate": body.edge_certificate.to_string(),
        "nonce": text(body.nonce.0),
        "opened_at": body.opened_at.0,
        "expires_at": body.expires_at.0,
        "max_block": body.max_block,
        "keys": dealt.collect::<Vec<_>>(),
        "rho_key": text(rho),
        "body_hash": body.hash().to_string(),
        "parts": parts.collect::<Vec<_>>(),
        "sid": header.sid().to_string(),
        "signature": text(header.header().signature.0),
    })
}

fn block_key_of_rho(header: &VerifiedHeader, rho: &[u8; 32], block: u16) -> [u8; 32] {
    let body = header.body();
    let context = hash(HashTag::Context, |e| {
        e.bytes(&body.kid.0).bytes(&body.nonce.0).u8(0).u8(0);
    });
    by_hand::block_key(rho, &context, block)
}

fn record_vector(
    header: &VerifiedHeader,
    keys: &Keys,
    rho_key: &[u8; 32],
    sealed: &RecordToSeal,
    record: &SelectedRecord,
) -> Value {
    let label: &Label = &record.label;
    let body = header.body();
    let padded = sealed.plaintext.to_padded().unwrap();
    let plaintext_hash = label.plaintext_hash(&padded);
    let rho = mac(
        &block_key_of_rho(header, rho_key, label.block),
        MacTag::Rho,
        &plaintext_hash.0,
    );
    let x = label.record_input(&record.alpha);
    let value = |((role, holders), key): (&(Role, SlotMask), &[u8; 32])| {
        let context = by_hand::context(&body.kid, &body.nonce, *role, *holders);
        by_hand::value(key, &context, label.block, &x)
    };
    let values: Vec<[u8; 32]> = keys.iter().map(value).collect();
    let key = by_hand::record_key(&header.sid(), &values.concat(), &x);
    let ciphertext = by_hand::encrypt(&key, &x, &[&rho[..], &padded].concat());
    assert_eq!(
        label.alpha(&rho, &padded),
        record.alpha,
        "the crate's alpha is by hand's"
    );
    assert_eq!(
        ciphertext, record.ciphertext,
        "the crate's ciphertext is by hand's"
    );
    let leaf: Digest = label.manifest_leaf_of(&record.alpha, &ciphertext);
    json!({
        "index": label.index,
        "record": text(label.record.0),
        "subject": text(label.subject.0),
        "category": label.category.code(),
        "minute": label.minute.0,
        "padded": text(padded.as_slice()),
        "label": text(label.to_bytes()),
        "rho": text(rho),
        "alpha": record.alpha.to_string(),
        "x": x.to_string(),
        "values": values.iter().map(text).collect::<Vec<_>>(),
        "key": text(key),
        "ciphertext": text(&ciphertext),
        "leaf": leaf.to_string(),
    })
}

fn selection_vector(world: &World, records: &[SelectedRecord]) -> Value {
    let selection = world.selection(records);
    json!({
        "request": selection.request.to_string(),
        "count": selection.count,
        "phones": selection.phones,
        "root": selection.root.to_string(),
        "id": selection.id().to_string(),
    })
}

fn partial_vectors(
    world: &mut World,
    header: &VerifiedHeader,
    records: &[SelectedRecord],
) -> Value {
    let mut partials = Vec::new();
    for (role, slots) in [(Role::Workflow, [1, 3]), (Role::LegalReview, [2, 3])] {
        for number in slots {
            let body = world.body(header, records, role, slot(number));
            let identity = &world.members[&(role, slot(number))].identity;
            partials.push(json!({
                "role": role.code(),
                "slot": number,
                "leaf_index": body.place.leaf_index,
                "roster": body.roster,
                "info": text(body.place.info()),
                "body": text(body.to_bytes()),
                "signature": text(body.sign(identity).0),
            }));
        }
    }
    Value::Array(partials)
}

fn opened_vector(world: &mut World, header: &VerifiedHeader, records: &[SelectedRecord]) -> Value {
    world.rng = FixedRng::new(8);
    let partials = world.partials(header, records, [&[1, 3], &[2, 3]]);
    let opening = world.open(records, &partials).unwrap();
    let opened = opening.records.iter().map(|record| {
        let padded = record.plaintext.to_padded().unwrap();
        json!({
            "index": record.index,
            "kind": match record.label.category {
                Category::Phone => "phone",
                Category::Ip => "ip",
            },
            "padded": text(padded.as_slice()),
        })
    });
    Value::Array(opened.collect())
}
