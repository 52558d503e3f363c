//! The test vectors of keys that outlive people and machines (docs/cryptography.md sections 10 and
//! 11), as one JSON value: a roster update, a re-supplied session, erasure, a hold with a capsule and
//! an order's document, with every secret. The world and its session are those of `vectors`.

use bailiwick_envelope::certificate::Member;
use bailiwick_envelope::erasure::{EraseIntent, ErasureAttestation};
use bailiwick_envelope::hold::{
    CapsulePlace, CapsuleStatement, HoldAction, HoldDecision, HoldOrder, HoldQuorum, HoldStatement,
    VerifiedHold,
};
use bailiwick_envelope::order::{CaseDocument, OrderDocument, SealedDocument};
use bailiwick_envelope::request::ScopeLine;
use bailiwick_envelope::roster::{
    Departure, ROSTER_DELAY, Roster, RosterUpdate, SignedRosterUpdate,
};
use bailiwick_envelope::ticket::{OrderTicket, OrderValidation, TicketPriority, order_digest};
use bailiwick_envelope::{Canonical, IdentityKey, MacTag, Signature, SigningKey, mac, sha256};
use bailiwick_threshold::{
    DecapsulationKey, HoldKey, SelectedRecord, hpke, resupply, seal_capsules,
};
use bailiwick_types::{Category, Digest, Minute, Role, SubjectPseudonym};
use serde_json::{Value, json};

use super::{DAY, START, World, france, selected, slot, some_records, trust};

fn text(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

fn fixed_key(label: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(label.as_bytes()).0)
}

/// The whole file.
pub fn keys_and_time() -> Value {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let block = world.seal(&mut sealer, &some_records());
    let records = selected(&header, &block, 0);
    json!({
        "about": "Test vectors of roster updates, erasure and hold; see README.md beside this file. All secrets are fixed and public.",
        "suite": 1,
        "certid": world.certificate.id().to_string(),
        "kid": header.body().kid.to_string(),
        "resupply": resupply_vector(&mut world, &header),
        "erasure": erasure_vector(&world),
        "hold": hold_vector(&world, &header, &records),
        "document": document_vector(&world),
    })
}

fn member_value(member: &Member) -> Value {
    json!({
        "slot": member.slot.number(),
        "organisation": member.organisation.as_str(),
        "name": member.name.as_str(),
        "identity": member.identity.to_string(),
        "reviewers": member.reviewers.iter().map(|key| key.to_string()).collect::<Vec<_>>(),
        "documents": text(member.documents.as_bytes()),
        "periods": member.periods.iter().map(|key| text(key.as_bytes())).collect::<Vec<_>>(),
    })
}

fn resupply_vector(
    world: &mut World,
    header: &bailiwick_envelope::header::VerifiedHeader,
) -> Value {
    let seeds = [1u8, 2, 3].map(|seed| DecapsulationKey::from_bytes(&[seed; 32]));
    let public = |key: &DecapsulationKey| key.encapsulation_key();
    let update = RosterUpdate {
        certificate: world.certificate.id(),
        number: 1,
        previous: Digest([0; 32]),
        role: Role::Workflow,
        slot: slot(1),
        departure: Departure::Lost,
        successor: Some(Member {
            slot: slot(1),
            organisation: "workflow-organisation-1".parse().unwrap(),
            name: "workflow-1-b".parse().unwrap(),
            identity: IdentityKey::of(&fixed_key("successor")),
            reviewers: vec![IdentityKey::of(&fixed_key("successor-reviewer"))],
            documents: public(&seeds[0]),
            periods: vec![public(&seeds[1]), public(&seeds[2])],
        }),
    };
    let signers = [
        (Role::Workflow, slot(2)),
        (Role::Workflow, slot(3)),
        (Role::LegalReview, slot(1)),
        (Role::LegalReview, slot(3)),
    ];
    let sign = |(role, slot)| update.sign(role, slot, &world.members[&(role, slot)].identity);
    let signed = SignedRosterUpdate {
        signatures: signers.map(sign).into(),
        update: update.clone(),
    };
    let mut roster = Roster::new(world.certificate.clone());
    let id = roster.admit(signed.clone(), world.now).unwrap();
    let in_force = roster.in_force(&id, world.now.plus(ROSTER_DELAY)).unwrap();
    let (role, holder) = (Role::Workflow, slot(3));
    let part = header.header().part(role, holder).unwrap();
    let key = DecapsulationKey::from_bytes(&world.key(header, role, holder).to_bytes());
    let identity = world.members[&(role, holder)].identity.clone();
    let sent = resupply(&mut world.rng, &in_force, header, part, &key, &identity).unwrap();
    let plaintext = hpke::open(&seeds[1], &sent.place.info(), &sent.sealed).unwrap();
    let signatures = signed.signatures.iter().map(|signature| {
        let member = world.certificate.body().committee(signature.role);
        json!({
            "role": signature.role.code(),
            "slot": signature.slot.number(),
            "identity": member.member(signature.slot).unwrap().identity.to_string(),
            "signature": text(signature.signature.0),
        })
    });
    json!({
        "number": update.number,
        "previous": update.previous.to_string(),
        "role": update.role.code(),
        "slot": update.slot.number(),
        "departure": update.departure as u8,
        "successor": member_value(update.successor.as_ref().unwrap()),
        "update": text(update.to_bytes()),
        "id": id.to_string(),
        "signatures": signatures.collect::<Vec<_>>(),
        "sid": header.sid().to_string(),
        "holder": holder.number(),
        "holder_identity": IdentityKey::of(&identity).to_string(),
        "private_key": text(*seeds[1].to_bytes()),
        "info": text(sent.place.info()),
        "plaintext": text(plaintext.as_slice()),
        "sealed": text(&sent.sealed),
        "signature": text(sent.signature.0),
    })
}

fn erasure_vector(world: &World) -> Value {
    let kid = world.certificate.kid(0).unwrap();
    let (role, slot) = (Role::LegalReview, slot(2));
    let identity = &world.members[&(role, slot)].identity;
    let erase_by = world.certificate.body().periods[0].erase_by;
    let intent = EraseIntent::sign(kid, role, slot, erase_by, identity);
    let attestation = ErasureAttestation::sign(kid, role, slot, identity);
    json!({
        "role": role.code(),
        "slot": slot.number(),
        "identity": IdentityKey::of(identity).to_string(),
        "erase_by": erase_by.0,
        "intent": text(intent.to_bytes()),
        "intent_signature": text(intent.signature.0),
        "attestation": text(attestation.to_bytes()),
        "attestation_signature": text(attestation.signature.0),
    })
}

fn hold_vector(
    world: &World,
    header: &bailiwick_envelope::header::VerifiedHeader,
    records: &[SelectedRecord],
) -> Value {
    let line = |subject: u8, categories: Vec<Category>| ScopeLine {
        subject: SubjectPseudonym([subject; 16]),
        categories,
        from: START.minute(),
        to: Minute(START.minute().0 + 60),
    };
    let order = HoldOrder {
        jurisdiction: france(),
        scope: vec![line(1, Category::ALL.to_vec()), line(2, vec![Category::Ip])],
        authority: "tribunal-paris".parse().unwrap(),
        basis: "CPP 60-2".to_owned(),
        entered_by: "clerk".parse().unwrap(),
        placed_at: START,
        expires_at: START.plus(DAY * 60),
        salt: [0x44; 32],
    };
    let selection = world.selection(records);
    let statement = HoldStatement {
        hold: order.id(),
        action: HoldAction::Place,
        until: order.expires_at,
        root: selection.root,
    };
    let mut roster = trust(world.certificate.body());
    let mut decisions = Vec::new();
    for (role, committee) in [
        (Role::Workflow, &mut roster.workflow),
        (Role::LegalReview, &mut roster.legal_review),
    ] {
        let key = fixed_key(&format!("{role}-reviewer"));
        committee.members[0].reviewers[0].key = IdentityKey::of(&key);
        committee.members[0].reviewers[0].person = format!("{role}-person").parse().unwrap();
        decisions.push(HoldDecision::sign(statement, role, slot(1), &key));
    }
    let quorum = HoldQuorum::new(1, 1).unwrap();
    let hold = VerifiedHold::place(order.clone(), selection.root, &decisions, &roster, quorum);
    let hold = hold.unwrap();
    let decisions = decisions.iter().map(|decision| {
        json!({
            "role": decision.role.code(),
            "slot": decision.slot.number(),
            "reviewer": decision.reviewer.to_string(),
            "decision": text(decision.to_bytes()),
            "signature": text(decision.signature.0),
        })
    });
    let lines = order.scope.iter().map(|line| {
        let kinds: Vec<u8> = line.categories.iter().map(|kind| kind.code()).collect();
        json!({
            "subject": text(line.subject.0),
            "kinds": kinds,
            "from": line.from.0,
            "to": line.to.0,
        })
    });
    json!({
        "jurisdiction": order.jurisdiction.as_str(),
        "scope": lines.collect::<Vec<_>>(),
        "authority": order.authority.as_str(),
        "basis": order.basis,
        "entered_by": order.entered_by.as_str(),
        "placed_at": order.placed_at.0,
        "expires_at": order.expires_at.0,
        "salt": text(order.salt),
        "order": text(order.to_bytes()),
        "id": hold.id().to_string(),
        "root": selection.root.to_string(),
        "decisions": decisions.collect::<Vec<_>>(),
        "capsules": capsule_vectors(world, header, records, &hold),
        "statement": statement_vector(world, header, &hold, selection.count),
    })
}

fn capsule_vectors(
    world: &World,
    header: &bailiwick_envelope::header::VerifiedHeader,
    records: &[SelectedRecord],
    hold: &VerifiedHold,
) -> Value {
    let hold_key = [0x66; 32];
    let (role, slot) = (Role::Workflow, slot(2));
    let labels: Vec<_> = records.iter().map(|r| (r.label.clone(), r.alpha)).collect();
    let held = (
        header.header().part(role, slot).unwrap(),
        world.key(header, role, slot),
    );
    let capsules = seal_capsules(
        hold,
        &HoldKey::from_bytes(&hold_key),
        header,
        &world.certificate,
        held,
        &labels,
        world.now,
    );
    let rows = capsules
        .unwrap()
        .into_iter()
        .zip(records)
        .map(|(capsule, record)| {
            let place: CapsulePlace = capsule.place;
            let values = super::values(
                &mut world.part(header, role, slot),
                std::slice::from_ref(record),
            );
            let values = values[0]
                .values
                .iter()
                .map(|(holders, value)| json!({ "holders": holders.0, "value": text(value) }));
            json!({
                "role": place.role.code(),
                "slot": place.slot.number(),
                "x": place.x.to_string(),
                "hash": place.hash().to_string(),
                "hold_key": text(hold_key),
                "key": text(mac(&hold_key, MacTag::Hold, &place.hash().0)),
                "values": values.collect::<Vec<_>>(),
                "sealed": text(&capsule.sealed),
            })
        });
    rows.collect()
}

fn statement_vector(
    world: &World,
    header: &bailiwick_envelope::header::VerifiedHeader,
    hold: &VerifiedHold,
    count: u32,
) -> Value {
    let (role, slot) = (Role::Workflow, slot(2));
    let identity = &world.members[&(role, slot)].identity;
    let unsigned = CapsuleStatement {
        hold: hold.id(),
        kid: header.body().kid,
        role,
        slot,
        count,
        root: hold.root(),
        signature: Signature([0; 64]),
    };
    let statement = CapsuleStatement::sign(unsigned, identity);
    json!({
        "role": role.code(),
        "slot": slot.number(),
        "identity": IdentityKey::of(identity).to_string(),
        "count": count,
        "statement": text(statement.to_bytes()),
        "signature": text(statement.signature.0),
    })
}

fn document_vector(world: &World) -> Value {
    let document = OrderDocument {
        reference: "2026/1".to_owned(),
        pseudonym_version: 1,
        accounts: vec!["account-1".to_owned(), "account-2".to_owned()],
        attachments: vec![Digest([0x77; 32])],
        salt: [0x88; 32],
        case: Some(case()),
    };
    let (role, slot) = (Role::LegalReview, slot(3));
    let digest = document.digest();
    let info = SealedDocument::info(&world.certificate.id(), &digest, role, slot);
    json!({
        "reference": document.reference,
        "pseudonym_version": document.pseudonym_version,
        "accounts": document.accounts,
        "attachments": [text(document.attachments[0].0)],
        "salt": text(document.salt),
        "case": case_vector(),
        "document": text(document.to_bytes()),
        "digest": digest.to_string(),
        "role": role.code(),
        "slot": slot.number(),
        "info": text(info),
    })
}

const ORDER: &[u8] = br#"{"reference":"2026/1"}"#;
const ORDER_SALT: [u8; 32] = [0x99; 32];

fn ticket() -> OrderTicket {
    let ticket = OrderTicket {
        forum: france(),
        instrument: "epoc".parse().expect("a name"),
        authority: "court-paris".parse().expect("a name"),
        officer: "officer-1".parse().expect("a name"),
        order: order_digest(ORDER, &ORDER_SALT),
        priority: TicketPriority::Emergency,
        signature: None,
    };
    ticket.sign(&SigningKey::from_bytes(&[0xAA; 32]), START)
}

fn validation() -> OrderValidation {
    let key = SigningKey::from_bytes(&[0xBB; 32]);
    let order = ticket().order;
    OrderValidation::sign("court-lyon".parse().expect("a name"), order, START, &key)
}

fn case() -> CaseDocument {
    CaseDocument {
        order: ORDER.to_vec(),
        order_salt: ORDER_SALT,
        ticket: ticket(),
        validation: Some(validation()),
        findings: vec![1, 2, 3],
    }
}

fn case_vector() -> Value {
    let (ticket, validation, case) = (ticket(), validation(), case());
    let signature = ticket.signature.expect("signed above");
    json!({
        "order": text(&case.order),
        "order_salt": text(case.order_salt),
        "findings": text(&case.findings),
        "forum": ticket.forum.as_str(),
        "instrument": ticket.instrument,
        "authority": ticket.authority,
        "officer": ticket.officer,
        "priority": ticket.priority as u8,
        "order_digest": ticket.order.to_string(),
        "key": text(signature.key.0),
        "signed_at": signature.signed_at.0,
        "signature": text(signature.signature.0),
        "validator": validation.authority,
        "validator_key": text(validation.key.0),
        "validation": text(validation.signature.0),
    })
}
