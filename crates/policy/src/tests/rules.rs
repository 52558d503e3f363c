//! R01 to R13 with the order at hand: what passes, fails, and needs a human.

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::approval::RefusalCode as Code;
use bailiwick_envelope::request::Purpose;
use bailiwick_types::{Category, Digest, Timestamp};

use super::world::{DAY, HOUR, NOON, World, code, line, name, shipped};
use crate::order::Validator;
use crate::vocabulary::{AuthorityStatus, CaseType, DataCategory, IssuerKind, SubjectRole};
use crate::{Disposition, RuleId as R};

/// A change of the lawful world, the code and the field that its rule then names.
type Fault = (fn(&mut World), Code, &'static str);

#[track_caller]
fn each_fails(rule: R, faults: &[Fault]) {
    for (change, code, field) in faults {
        World::changed(change).fails(rule, *code, field);
    }
}

#[test]
fn a_lawful_order_is_permitted_and_every_rule_is_evaluated() {
    for world in [World::new(), World::traffic(), World::emergency()] {
        let evaluation = world.evaluate();
        assert!(evaluation.permits(), "{:?}", evaluation.objection());
        assert_eq!(evaluation.findings().len(), R::ALL.len());
        assert_eq!(evaluation.disposition(), Disposition::Review);
    }
}

/// Nothing about the order is assumed by a verifier that was handed none of it.
#[test]
fn without_the_order_nothing_is_permitted() {
    let world = World::changed(|w| w.handed = false);
    assert!(!world.evaluate().permits());
    for rule in [
        R::R02,
        R::R04,
        R::R05,
        R::R07,
        R::R09,
        R::R12,
        R::R16,
        R::R18,
        R::R27,
    ] {
        world.fails(rule, Code::InsufficientInformation, "order");
    }
}

/// With instruments every rule is mandatory: a policy that leaves one out permits nothing.
#[test]
fn every_rule_is_mandatory_beside_instruments() {
    let world = World::new();
    for missing in R::ALL {
        let rules: Vec<R> = R::ALL.into_iter().filter(|rule| *rule != missing).collect();
        let policy = world.policy.with(world.policy.quorum(), &rules);
        let evaluation = world.evaluate_under(&policy);
        let always = R::ALWAYS.contains(&missing);
        assert_eq!(evaluation.permits(), always, "{missing}");
        assert_eq!(evaluation.disposition() == Disposition::Deny, !always);
    }
}

#[test]
fn r01_authority_known_active_pinned() {
    World::new().passes(R::R01);
    let invalid = Code::InvalidIssuingAuthority;
    each_fails(
        R::R01,
        &[
            (
                |w| w.request.authority = name("tribunal-lyon"),
                invalid,
                "list",
            ),
            // One keystroke off, and characters that look alike.
            (
                |w| w.request.authority = name("staatsanwa1tschaft-berlin"),
                Code::Authenticity,
                "looks like",
            ),
            (
                |w| w.request.authority = name("staatsanwaltschaft-berlim"),
                Code::Authenticity,
                "looks like",
            ),
            (|w| w.case.authority = None, invalid, "register"),
            (
                |w| w.case.authority.as_mut().unwrap().status = AuthorityStatus::Suspended,
                invalid,
                "suspended",
            ),
            (
                |w| w.case.authority.as_mut().unwrap().status = AuthorityStatus::Pending,
                invalid,
                "pending",
            ),
            (
                |w| w.case.authority.as_mut().unwrap().key_pinned = false,
                Code::Authenticity,
                "keys",
            ),
            (
                |w| w.case.order.authority = name("amtsgericht-berlin"),
                Code::ManifestErrors,
                "another",
            ),
        ],
    );
}

#[test]
fn r02_key_of_the_named_officer() {
    World::new().passes(R::R02);
    each_fails(
        R::R02,
        &[
            (|w| w.case.document = None, Code::Authenticity, "unsigned"),
            (|w| w.case.officer = None, Code::Authenticity, "register"),
            (
                |w| w.case.order.officer = name("officer-klein"),
                Code::Authenticity,
                "officer",
            ),
            (
                |w| w.case.officer.as_mut().unwrap().authority = name("polizei-berlin"),
                Code::Authenticity,
                "another authority",
            ),
            (
                |w| w.case.officer.as_mut().unwrap().status = AuthorityStatus::Revoked,
                Code::Authenticity,
                "revoked",
            ),
            (
                |w| w.case.document.as_mut().unwrap().signer = IdentityKey([8; 32]),
                Code::Authenticity,
                "another key",
            ),
        ],
    );
}

#[test]
fn r03_policy_in_force_at_receipt() {
    World::new().passes(R::R03);
    each_fails(
        R::R03,
        &[
            (|w| w.received_at = None, Code::ManifestErrors, "receipt"),
            (
                |w| w.received_at = Some(Timestamp(0)),
                Code::ManifestErrors,
                "in force",
            ),
        ],
    );
}

#[test]
fn r04_instrument_for_the_derived_category() {
    World::new().passes(R::R04);
    each_fails(
        R::R04,
        &[(
            |w| w.case.order.instrument = name("a-letter"),
            Code::ManifestErrors,
            "unknown",
        )],
    );
    // A subpoena identifies, but reaches no history.
    let us = || {
        World::under(
            shipped("US"),
            "subpoena",
            "18 USC 2703(c)(2)",
            "fbi",
            IssuerKind::Agency,
        )
    };
    us().passes(R::R04);
    let mut history = us();
    history.request.purpose = Purpose::History;
    history.fails(R::R04, Code::ServiceNotCovered, "category");
    history.is_not_about(R::R05);
    // The forum's own policy says; a custody policy of another state does not.
    let mut abroad = World::new();
    abroad.request.forum = code("FR");
    abroad.is_not_about(R::R04);
}

/// "The category is not a property of a record": purpose and window decide, not the word alone.
#[test]
fn the_category_is_derived_from_purpose_and_scope() {
    let of = |purpose, minutes, kinds: &[Category]| {
        let mut asked = line(1, minutes);
        asked.categories = kinds.to_vec();
        DataCategory::of(purpose, &[asked], 60)
    };
    use Category::{Ip, Phone};
    assert_eq!(
        of(Purpose::Identify, 500_000, &[Phone]),
        DataCategory::Subscriber
    );
    assert_eq!(
        of(Purpose::Identify, 60, &[Phone, Ip]),
        DataCategory::Identification
    );
    assert_eq!(of(Purpose::Identify, 61, &[Ip]), DataCategory::Traffic);
    assert_eq!(of(Purpose::History, 1, &[Ip]), DataCategory::Traffic);
    assert_eq!(
        DataCategory::of(Purpose::Identify, &[], 60),
        DataCategory::Traffic
    );
}

#[test]
fn r05_issuer_for_the_category() {
    World::new().passes(R::R05);
    // A prosecutor may identify but not order traffic data, unless a judge validated it (R06).
    let mut traffic = World::traffic();
    traffic.set_issuer(IssuerKind::Prosecutor);
    traffic.passes(R::R05);
    traffic.fails(R::R06, Code::InvalidIssuingAuthority, "validator");
    let us = shipped("US");
    let basis = "18 USC 2703(c)(2)";
    let police = World::under(us, "subpoena", basis, "fbi", IssuerKind::Police);
    police.fails(R::R05, Code::InvalidIssuingAuthority, "issuer");
    let invalid = Code::InvalidIssuingAuthority;
    each_fails(
        R::R05,
        &[
            (
                |w| w.case.order.issuer = IssuerKind::Judge,
                invalid,
                "enrolled",
            ),
            (
                |w| w.case.authority.as_mut().unwrap().competences.clear(),
                invalid,
                "competences",
            ),
            (|w| w.case.authority = None, invalid, "register"),
        ],
    );
}

#[test]
fn r06_validator_where_the_issuer_may_not_alone() {
    World::new().is_not_about(R::R06);
    let police = |change: fn(&mut World)| {
        World::changed(|w| {
            w.set_issuer(IssuerKind::Police);
            w.case.order.validator = Some(Validator {
                kind: IssuerKind::Prosecutor,
                authority: name("staatsanwaltschaft-berlin"),
            });
            let document = w.case.document.as_mut().unwrap();
            document.validated_by = Some(name("staatsanwaltschaft-berlin"));
            change(w);
        })
    };
    police(|_| {}).passes(R::R06);
    let invalid = Code::InvalidIssuingAuthority;
    police(|w| w.case.order.validator = None).fails(R::R06, invalid, "missing");
    police(|w| w.case.order.validator.as_mut().unwrap().kind = IssuerKind::Police).fails(
        R::R06,
        invalid,
        "validator",
    );
    police(|w| w.case.document.as_mut().unwrap().validated_by = None).fails(
        R::R06,
        Code::Authenticity,
        "signature",
    );
    // An emergency may be validated later, where the policy says so.
    let mut emergency = World::emergency();
    emergency.set_issuer(IssuerKind::Police);
    emergency.passes(R::R06);
}

#[test]
fn r07_document_valid_and_in_time() {
    World::new().passes(R::R07);
    each_fails(
        R::R07,
        &[
            (|w| w.case.document = None, Code::Incomplete, "documents"),
            (
                |w| w.request.documents = Digest([1; 32]),
                Code::Authenticity,
                "digest",
            ),
            (
                |w| w.case.order.documents = Digest([1; 32]),
                Code::Authenticity,
                "digest",
            ),
            (
                |w| w.case.document.as_mut().unwrap().certificate_until = Timestamp(0),
                Code::Authenticity,
                "certificate",
            ),
            (
                |w| w.case.document.as_mut().unwrap().signed_at = Timestamp(NOON.0 - 2 * DAY),
                Code::ManifestErrors,
                "before",
            ),
            (
                |w| w.case.order.valid_from = Timestamp(NOON.0 + HOUR),
                Code::ManifestErrors,
                "not valid yet",
            ),
            (
                |w| w.case.order.valid_until = NOON,
                Code::Expired,
                "expired",
            ),
        ],
    );
}

#[test]
fn r08_legal_basis_cited() {
    World::new().passes(R::R08);
    each_fails(
        R::R08,
        &[
            (
                |w| w.request.legal_basis = "  ".to_owned(),
                Code::Incomplete,
                "legal_basis",
            ),
            (
                |w| w.request.legal_basis = "CPP 60-1".to_owned(),
                Code::ManifestErrors,
                "another",
            ),
            (
                |w| {
                    w.request.legal_basis = "the public interest".to_owned();
                    w.case.order.legal_basis = "the public interest".to_owned();
                },
                Code::InsufficientInformation,
                "rests on",
            ),
        ],
    );
}

#[test]
fn r09_reference_and_offence_present() {
    World::new().passes(R::R09);
    each_fails(
        R::R09,
        &[
            (
                |w| w.request.reference.clear(),
                Code::Incomplete,
                "reference",
            ),
            (
                |w| w.case.order.reference = "2026/2".to_owned(),
                Code::ManifestErrors,
                "reference",
            ),
            (|w| w.case.order.offence = None, Code::Incomplete, "offence"),
            (
                |w| w.offence().label.clear(),
                Code::InsufficientInformation,
                "conduct",
            ),
        ],
    );
}

#[test]
fn r10_offence_meets_the_threshold() {
    World::new().passes(R::R10);
    World::traffic().passes(R::R10);
    let mut minor = World::traffic();
    minor.offence().maximum_years = 2;
    minor.fails(R::R10, Code::OffenceNotCovered, "maximum_years");
    minor.offence().code = name("child-sexual-abuse");
    minor.passes(R::R10);
    let mut none = World::traffic();
    none.case.order.offence = None;
    none.fails(R::R10, Code::Incomplete, "offence");
}

#[test]
fn r11_dual_criminality() {
    World::new().passes(R::R11);
    World::changed(|w| w.case.dual_criminality = None).needs_human(R::R11, "nobody looked");
    each_fails(
        R::R11,
        &[
            (
                |w| w.case.dual_criminality.as_mut().unwrap().custody = false,
                Code::OffenceNotCovered,
                "offence",
            ),
            (
                |w| w.case.dual_criminality.as_mut().unwrap().establishment = false,
                Code::OffenceNotCovered,
                "offence",
            ),
        ],
    );
    let mut listed = World::traffic();
    listed.offence().code = name("terrorist-offence");
    listed.case.dual_criminality = None;
    listed.is_not_about(R::R11);
}

#[test]
fn r12_speech_and_politics_go_to_the_panel_or_are_refused() {
    World::new().passes(R::R12);
    let speech = || World::changed(|w| w.offence().code = name("insult"));
    speech().needs_human(R::R12, "speech");
    assert!(matches!(
        speech().evaluate().disposition(),
        Disposition::Escalate { rule: R::R12 }
    ));
    // A harmless label over a case of speech.
    World::changed(|w| w.case.order.case_type = CaseType::Defamation)
        .needs_human(R::R12, "case_type");
    each_fails(
        R::R12,
        &[
            (
                |w| w.offence().code = name("insulting-the-state"),
                Code::PoliticalOffence,
                "offence",
            ),
            (
                |w| w.offence().code = name("apostasy"),
                Code::FundamentalRights,
                "offence",
            ),
            (|w| w.case.order.offence = None, Code::Incomplete, "offence"),
        ],
    );
    // The panel's quorum clears it; one person, a reviewer or the clerk do not make one.
    let cleared = |panel: &[&str]| {
        let mut world = speech();
        world.case.panel = panel.iter().map(|person| name(person)).collect();
        world
    };
    cleared(&["rita", "rosa"]).passes(R::R12);
    for panel in [
        vec!["rita"],
        vec!["rita", "rita"],
        vec!["rita", "person-workflow-1"],
        vec!["rita", "rosa", "clerk"],
    ] {
        cleared(&panel).needs_human(R::R12, "speech");
    }
    // Under the policy of the Emirates every case goes there.
    let ae = World::under(
        shipped("AE"),
        "court-order",
        "Federal Decree-Law 34/2021",
        "dubai-court",
        IssuerKind::Court,
    );
    ae.needs_human(R::R12, "every case");
}

#[test]
fn r13_subject_is_a_suspect() {
    World::new().passes(R::R13);
    let role = |role| World::changed(|w| w.case.order.subject_role = role);
    role(SubjectRole::Accused).passes(R::R13);
    role(SubjectRole::Convicted).needs_human(R::R13, "convicted");
    role(SubjectRole::Witness).fails(R::R13, Code::NotSuspect, "subject_role");
    role(SubjectRole::Victim).fails(R::R13, Code::NotSuspect, "subject_role");
    role(SubjectRole::Unstated).fails(R::R13, Code::InsufficientInformation, "subject_role");
    let mut missing = World::emergency();
    missing.case.order.subject_role = SubjectRole::Victim;
    missing.needs_human(R::R13, "victim");
    World::changed(|w| w.case.order.terms_violation = false).fails(
        R::R13,
        Code::OffenceNotCovered,
        "terms_violation",
    );
}
