//! The objects of the legal process: one encoding each, signatures over every field, and tags that
//! keep them apart.

use bailiwick_envelope::approval::{Approval, ApprovalStatement, Decision, RefusalCode};
use bailiwick_envelope::assessment::{AssessedDisposition, Assessment};
use bailiwick_envelope::change::{
    AuthorityChange, LoggedOrder, PolicyChange, PreservationChange, PreservationPhase,
    SubjectErasure,
};
use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_envelope::order::{CaseDocument, FINDINGS_BYTES, OrderDocument};
use bailiwick_envelope::panel::PanelDecision;
use bailiwick_envelope::statement::{CaseStatement, Stated};
use bailiwick_envelope::ticket::{
    OrderTicket, OrderValidation, TicketError, TicketPriority, order_digest,
};
use bailiwick_envelope::{Canonical, IdentityKey, Signature, SigningKey};
use bailiwick_types::limits::ORDER_BYTES;
use bailiwick_types::{Digest, HoldId, Name, RequestId, Role, SelectionId, Slot, Timestamp};

const ORDER: &[u8] = br#"{"reference":"2026/1"}"#;
const SALT: [u8; 32] = [0x51; 32];
const AT: Timestamp = Timestamp(1_764_000_000_000_000);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn slot(number: u8) -> Slot {
    Slot::new(number).expect("1 to 7")
}

fn unsigned() -> OrderTicket {
    OrderTicket {
        forum: "FR".parse().expect("France"),
        instrument: name("epoc"),
        authority: name("parquet-paris"),
        officer: name("officer-1"),
        order: order_digest(ORDER, &SALT),
        priority: TicketPriority::Routine,
        signature: None,
    }
}

fn validation() -> OrderValidation {
    OrderValidation::sign(name("court-paris"), unsigned().order, AT, &key(2))
}

fn statement(what: Stated) -> CaseStatement {
    CaseStatement::sign(RequestId([1; 32]), what, name("intake-1"), AT, &key(3))
}

fn assessment(disposition: AssessedDisposition) -> Assessment {
    let unsigned = Assessment {
        request: RequestId([1; 32]),
        role: Role::LegalReview,
        slot: slot(2),
        disposition,
        findings: Digest([9; 32]),
        at: AT,
        signature: Signature([0; 64]),
    };
    Assessment::sign(unsigned, &key(4))
}

fn panel(decision: Decision) -> PanelDecision {
    let unsigned = PanelDecision {
        request: RequestId([1; 32]),
        selection: SelectionId([2; 32]),
        seat: slot(1),
        decision,
        checklist: Digest([3; 32]),
        at: AT,
        key: IdentityKey([0; 32]),
        signature: Signature([0; 64]),
    };
    PanelDecision::sign(unsigned, &key(5))
}

fn document(case: Option<CaseDocument>) -> OrderDocument {
    OrderDocument {
        reference: "2026/1".to_owned(),
        pseudonym_version: 1,
        accounts: vec!["account-1".to_owned()],
        attachments: vec![Digest([7; 32])],
        salt: [8; 32],
        case,
    }
}

fn case() -> CaseDocument {
    CaseDocument {
        order: ORDER.to_vec(),
        order_salt: SALT,
        ticket: unsigned().sign(&key(1), AT),
        validation: Some(validation()),
        findings: vec![1, 2, 3],
    }
}

/// The value is read back, and nothing shorter, longer or otherwise changed reads as the same.
fn one_encoding<T: Canonical + PartialEq + std::fmt::Debug>(value: &T) {
    let bytes = value.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
    for length in 0..bytes.len() {
        assert!(
            T::from_bytes(&bytes[..length]).is_err(),
            "{value:?} at {length}"
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(T::from_bytes(&longer).is_err());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_ne!(T::from_bytes(&changed).as_ref(), Ok(value), "byte {at}");
    }
}

fn all_stated() -> Vec<Stated> {
    vec![
        Stated::CalledBack {
            contact: Digest([4; 32]),
            confirmed: true,
        },
        Stated::Notified,
        Stated::EnforcingCleared,
        Stated::EnforcingObjected,
        Stated::Validated(Box::new(validation())),
        Stated::Annulled,
        Stated::NoticeSettled,
        Stated::Withdrawn,
    ]
}

fn all_dispositions() -> Vec<AssessedDisposition> {
    vec![
        AssessedDisposition::Review,
        AssessedDisposition::Escalate { rule: 12 },
        AssessedDisposition::HoldForAuthority,
        AssessedDisposition::Incomplete { rule: 7 },
        AssessedDisposition::Refuse {
            rule: 0,
            code: RefusalCode::Authenticity,
        },
    ]
}

#[test]
fn each_object_has_one_encoding() {
    one_encoding(&unsigned());
    one_encoding(&unsigned().sign(&key(1), AT));
    one_encoding(&validation());
    one_encoding(&document(None));
    one_encoding(&document(Some(case())));
    for what in all_stated() {
        one_encoding(&statement(what));
    }
    for disposition in all_dispositions() {
        one_encoding(&assessment(disposition));
    }
    for decision in [Decision::Approve, Decision::Refuse(RefusalCode::Overbroad)] {
        one_encoding(&panel(decision));
    }
}

/// Kinds are part of the format: they are what the report counts.
#[test]
fn leaves_have_fixed_kinds_and_one_encoding() {
    let preservation = PreservationChange {
        preservation: HoldId([6; 32]),
        phase: PreservationPhase::Linked,
        until: AT,
        request: Some(RequestId([1; 32])),
    };
    let authority = AuthorityChange {
        authority: name("court-paris"),
        digest: Digest([1; 32]),
    };
    let policy = PolicyChange {
        jurisdiction: "FR".parse().expect("France"),
        version: 2,
        digest: Digest([2; 32]),
        in_force: AT,
    };
    let order = LoggedOrder {
        request: RequestId([1; 32]),
        subjects: 1,
        ticket: unsigned(),
    };
    let erasure = SubjectErasure {
        receipt: Digest([3; 32]),
        records: 4,
        refused: true,
    };
    let request = Some(RequestId([1; 32]));
    let stated = LeafContent::Statement(Box::new(statement(Stated::Notified)));
    let assessed = LeafContent::Assessment(assessment(AssessedDisposition::Review));
    let decided = LeafContent::Panel(Box::new(panel(Decision::Approve)));
    let leaves = [
        (26, stated, request),
        (27, assessed, request),
        (28, decided, request),
        (29, LeafContent::AuthorityChange(authority), None),
        (30, LeafContent::PolicyChange(policy), None),
        (31, LeafContent::Preservation(preservation), request),
        (45, LeafContent::Order(Box::new(order)), request),
        (46, LeafContent::SubjectErasure(erasure), None),
    ];
    for (kind, content, about) in leaves {
        assert_eq!(content.kind() as u8, kind);
        assert_eq!(content.request(), about, "{}", content.kind().as_str());
        one_encoding(&content);
        one_encoding(&OpenedLeaf::new(AT, content, &[1; 32], 0));
    }
}

/// Every field is under the signature; a field that was left out would be anybody's to change.
#[test]
fn a_changed_field_is_not_what_was_signed() {
    let signed = unsigned().sign(&key(1), AT);
    signed.verify().expect("as signed");
    let changes: [fn(&mut OrderTicket); 7] = [
        |ticket| ticket.forum = "DE".parse().expect("Germany"),
        |ticket| ticket.instrument = "letter".parse().expect("a name"),
        |ticket| ticket.authority = "parquet-lyon".parse().expect("a name"),
        |ticket| ticket.officer = "officer-2".parse().expect("a name"),
        |ticket| ticket.order = Digest([0; 32]),
        |ticket| ticket.priority = TicketPriority::Emergency,
        |ticket| {
            let signature = ticket.signature.as_mut().expect("signed");
            signature.signed_at = Timestamp(AT.0 + 1);
        },
    ];
    for change in changes {
        let mut changed = signed.clone();
        change(&mut changed);
        assert!(matches!(changed.verify(), Err(TicketError::Signature(_))));
    }
    assert_eq!(unsigned().verify(), Err(TicketError::Unsigned));

    let mut other = validation();
    other.order = Digest([0; 32]);
    assert!(other.verify().is_err());

    let mut stated = statement(Stated::EnforcingObjected);
    stated.verify().expect("as signed");
    stated.what = Stated::EnforcingCleared;
    assert!(stated.verify().is_err());

    let member = IdentityKey::of(&key(4));
    let mut assessed = assessment(AssessedDisposition::Escalate { rule: 12 });
    assessed.verify(&member).expect("as signed");
    assessed.disposition = AssessedDisposition::Review;
    assert!(assessed.verify(&member).is_err());

    let mut decided = panel(Decision::Refuse(RefusalCode::PressOrExpression));
    decided.verify().expect("as signed");
    decided.decision = Decision::Approve;
    assert!(decided.verify().is_err());
}

/// The same person, request and selection: a reviewer's signature is no signature of the panel.
#[test]
fn a_reviewers_signature_is_none_of_the_panel() {
    let approval = Approval::sign(
        ApprovalStatement {
            request: RequestId([1; 32]),
            selection: SelectionId([2; 32]),
            role: Role::Workflow,
            slot: slot(1),
            rosters: Vec::new(),
            decision: Decision::Approve,
            checklist: Digest([3; 32]),
            decided_at: AT,
        },
        &key(5),
    );
    let mut forged = panel(Decision::Approve);
    forged.signature = approval.signature;
    assert!(forged.verify().is_err());
}

#[test]
fn what_no_honest_sender_writes_is_refused() {
    for (rule, code) in [(31, 1), (12, 99)] {
        let mut bytes = assessment(AssessedDisposition::Refuse {
            rule: 12,
            code: RefusalCode::Authenticity,
        })
        .to_bytes();
        // The request's 36 bytes, then fields of one byte each behind their length.
        bytes[36 + 3 * 5 + 4] = rule;
        bytes[36 + 4 * 5 + 4] = code;
        assert!(Assessment::from_bytes(&bytes).is_err(), "{rule} {code}");
    }
    for (order, findings) in [(ORDER_BYTES + 1, 0), (1, FINDINGS_BYTES + 1)] {
        let mut long = case();
        long.order = vec![b' '; order];
        long.findings = vec![0; findings];
        assert!(CaseDocument::from_bytes(&long.to_bytes()).is_err());
    }
    let mut twice = document(Some(case())).to_bytes();
    let start = document(None).to_bytes().len() - 4;
    let list = twice.split_off(start);
    let length = (2 * (list.len() - 4)) as u32;
    twice.extend(length.to_be_bytes());
    twice.extend(&list[4..]);
    twice.extend(&list[4..]);
    assert!(OrderDocument::from_bytes(&twice).is_err());
}

/// A vault that knows the order's every word but its salt cannot tell the digest from any other, and
/// nothing prints what an order says.
#[test]
fn the_order_hides_behind_its_salt() {
    assert_ne!(order_digest(ORDER, &SALT), order_digest(ORDER, &[0; 32]));
    assert_eq!(case().order_digest(), case().ticket.order);
    let printed = format!("{:?} {:?}", case(), document(Some(case())));
    assert!(!printed.contains("2026") && !printed.contains("account-1"));
}
