//! Each rule with what passes and what fails it; the policy file with each malformation; and that
//! evaluation denies by itself what parsing refuses.
#![allow(
    clippy::unwrap_used,
    reason = "a story that cannot be set up is a failed test"
)]

use std::time::Instant;

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_envelope::certificate::{
    TrustRoster, TrustedCommittee, TrustedMember, TrustedReviewer,
};
use bailiwick_envelope::request::{DisclosureRequest, Purpose, Recipient, ScopeLine};
use bailiwick_envelope::{EncapsulationKey, IdentityKey};
use bailiwick_types::{Category, Digest, Minute, Role, Slot, SubjectPseudonym, Timestamp};
use proptest::prelude::*;

use super::world::{code, name, reviewer_key as key};

use crate::{
    DecisionFact, InclusionFact, Outcome, Policy, PolicyError, PolicyPins, Quorum, RecipientFact,
    RequestFacts, RuleId, Stage, evaluate,
};

const NOON: Timestamp = Timestamp(1_795_521_600_000_000);

const TEXT: &str = r#"
jurisdiction = "FR"
version = 1
in_force = "2026-01-01T00:00:00Z"
illustrative = "not legal advice"
sources = ["none: a test"]
rules = ["R14", "R15", "R16", "R17", "R26", "R28", "R29", "R30"]
kinds = ["phone", "ip"]
[quorum]
workflow = 2
legal-review = 2
[limits]
max_subjects = 2
max_window_minutes = 1440
max_records = 100
max_identify_minutes = 180
[reach]
forums = ["FR", "DE"]
authorities = ["tribunal-paris"]
"#;

fn committee(role: Role) -> TrustedCommittee {
    let member = |slot: u8| TrustedMember {
        slot: Slot::new(slot).unwrap(),
        name: name(&format!("{role}-{slot}")),
        organisation: name(role.as_str()),
        identity: IdentityKey([role.code() * 16 + 8 + slot; 32]),
        reviewers: vec![TrustedReviewer {
            person: name(&format!("person-{role}-{slot}")),
            key: key(role, slot),
        }],
    };
    TrustedCommittee {
        needed: 2,
        members: (1..=3).map(member).collect(),
    }
}

/// A lawful request and everything that is known about it.
struct Story {
    policy: Policy,
    request: DisclosureRequest,
    stage: Stage,
    selected: Option<u32>,
    decisions: Vec<DecisionFact>,
    roster: TrustRoster,
    inclusion: Option<InclusionFact>,
    pins: Option<PolicyPins>,
    recipients: Vec<RecipientFact>,
}

impl Story {
    fn new() -> Self {
        let policy = Policy::parse(TEXT).unwrap();
        let digest = policy.digest();
        let recipient = Recipient {
            name: name("desk"),
            key: EncapsulationKey::new(&[7; 1216]).unwrap(),
            certificate: Digest([6; 32]),
        };
        let recipients = vec![RecipientFact {
            name: recipient.name.clone(),
            key: recipient.key.recipient_hash(),
            certificate: recipient.certificate,
            authorities: vec![name("tribunal-paris")],
        }];
        let mut story = Self {
            request: DisclosureRequest {
                jurisdiction: code("FR"),
                forum: code("FR"),
                scope: vec![line(1, -120, 0)],
                purpose: Purpose::Identify,
                legal_basis: "CPP 60-1".to_owned(),
                authority: name("tribunal-paris"),
                reference: "2026/1".to_owned(),
                entered_by: name("clerk"),
                documents: Digest([5; 32]),
                recipient,
                cap: 50,
                not_after: Timestamp(u64::MAX),
                forum_policy: digest,
                custody_policy: digest,
                generation: 1,
                salt: [0; 32],
            },
            stage: Stage::Release,
            selected: Some(3),
            decisions: decisions(&[1, 2], &[1, 3]),
            roster: TrustRoster {
                workflow: committee(Role::Workflow),
                legal_review: committee(Role::LegalReview),
            },
            inclusion: None,
            pins: Some(PolicyPins {
                forum: digest,
                custody: digest,
            }),
            recipients,
            policy,
        };
        story.include();
        story
    }

    /// The inclusion of the request as it now is.
    fn include(&mut self) {
        self.inclusion = Some(InclusionFact {
            request: self.request.id(),
            leaf_index: 4,
            size: 9,
        });
    }

    fn changed(change: impl FnOnce(&mut Self)) -> Self {
        let mut story = Self::new();
        change(&mut story);
        story
    }

    fn evaluate(&self) -> crate::Evaluation {
        let facts = RequestFacts {
            request: &self.request,
            stage: self.stage,
            now: NOON,
            selected: self.selected,
            decisions: &self.decisions,
            roster: &self.roster,
            inclusion: self.inclusion,
            policies: self.pins,
            recipients: &self.recipients,
            received_at: Some(NOON),
            case: None,
        };
        evaluate(&self.policy, &facts)
    }

    fn outcome(&self, rule: RuleId) -> Outcome {
        self.evaluate().findings()[&rule].outcome.clone()
    }

    /// The rule fails with this code, its reason names this field, and nothing is permitted.
    fn fails(&self, rule: RuleId, expected: RefusalCode, field: &str) {
        match self.outcome(rule) {
            Outcome::Fail { code, reason } => {
                assert_eq!(code, expected, "{reason}");
                assert!(reason.contains(field), "{reason}");
            }
            other => panic!("{rule}: {other:?}"),
        }
        assert!(!self.evaluate().permits());
    }
}

fn line(subject: u8, from: i64, to: i64) -> ScopeLine {
    let minute = |offset: i64| Minute((i64::from(NOON.minute().0) + offset) as u32);
    ScopeLine {
        subject: SubjectPseudonym([subject; 16]),
        categories: Category::ALL.to_vec(),
        from: minute(from),
        to: minute(to),
    }
}

fn decisions(workflow: &[u8], legal_review: &[u8]) -> Vec<DecisionFact> {
    let of = |role: Role, slot: u8| DecisionFact {
        role,
        slot: Slot::new(slot).unwrap(),
        key: key(role, slot),
    };
    let workflow = workflow.iter().map(|slot| of(Role::Workflow, *slot));
    let legal_review = legal_review.iter().map(|slot| of(Role::LegalReview, *slot));
    workflow.chain(legal_review).collect()
}

#[test]
fn a_lawful_request_is_permitted() {
    let evaluation = Story::new().evaluate();
    assert!(evaluation.permits(), "{:?}", evaluation.objection());
    assert_eq!(evaluation.objection(), None);
    assert!(
        evaluation
            .findings()
            .values()
            .all(|f| f.outcome == Outcome::Pass)
    );
}

#[test]
fn r01_authority_on_the_list() {
    let story = Story::changed(|s| s.request.authority = name("tribunal-lyon"));
    story.fails(
        RuleId::R01,
        RefusalCode::InvalidIssuingAuthority,
        "authority",
    );
}

#[test]
fn r14_identifiers_well_formed_and_unique() {
    let fails = |scope: Vec<ScopeLine>, field| {
        let story = Story::changed(|s| s.request.scope = scope);
        story.fails(RuleId::R14, RefusalCode::ManifestErrors, field);
    };
    fails(vec![], "no line");
    fails(vec![line(0, -5, 0)], "nil");
    fails(vec![line(1, -9, -4), line(1, -5, 0)], "asked twice");
    let mut none = line(1, -5, 0);
    none.categories.clear();
    fails(vec![none], "categories");
    // Adjacent windows, and the same window for two subjects or kinds, are no repetition.
    let mut phone = line(2, -9, 0);
    phone.categories = vec![Category::Phone];
    let mut ip = line(2, -9, 0);
    ip.categories = vec![Category::Ip];
    let scope = vec![line(1, -9, -5), line(1, -5, 0), phone, ip];
    let story = Story::changed(|s| s.request.scope = scope);
    assert_eq!(story.outcome(RuleId::R14), Outcome::Pass);
}

#[test]
fn r15_window_bounded_and_not_in_the_future() {
    let story = |from, to| Story::changed(|s| s.request.scope = vec![line(1, from, to)]);
    story(0, -5).fails(RuleId::R15, RefusalCode::ManifestErrors, "ends before");
    story(-5, 2).fails(RuleId::R15, RefusalCode::ManifestErrors, "future");
    story(-1441, 0).fails(RuleId::R15, RefusalCode::Overbroad, "longer");
    assert_eq!(story(-5, 1).outcome(RuleId::R15), Outcome::Pass);
    // Identification over a window that is a history needs a human, and permits nothing by itself.
    let long = story(-181, 0);
    assert!(matches!(
        long.outcome(RuleId::R15),
        Outcome::NeedsHuman { .. }
    ));
    assert!(!long.evaluate().permits());
    assert!(long.evaluate().objection().unwrap().1.contains("R15"));
    let history = Story::changed(|s| {
        s.request.scope = vec![line(1, -1440, 0)];
        s.request.purpose = Purpose::History;
    });
    assert_eq!(history.outcome(RuleId::R15), Outcome::Pass);
    let mut phone = line(1, -1440, 0);
    phone.categories = vec![Category::Phone];
    let phone = Story::changed(|s| s.request.scope = vec![phone]);
    assert_eq!(phone.outcome(RuleId::R15), Outcome::Pass);
}

#[test]
fn r16_subjects_and_records_within_the_maximum() {
    let scope = vec![line(1, -5, 0), line(2, -5, 0), line(3, -5, 0)];
    let story = Story::changed(|s| s.request.scope = scope.clone());
    story.fails(RuleId::R16, RefusalCode::Overbroad, "subjects");
    let story = Story::changed(|s| s.request.scope = scope[..2].to_vec());
    assert_eq!(story.outcome(RuleId::R16), Outcome::Pass);
    Story::changed(|s| s.request.cap = 0).fails(RuleId::R16, RefusalCode::Overbroad, "cap");
    Story::changed(|s| s.request.cap = 101).fails(RuleId::R16, RefusalCode::Overbroad, "cap");
    let story = Story::changed(|s| s.selected = Some(51));
    story.fails(RuleId::R16, RefusalCode::Overbroad, "selection");
}

#[test]
fn r17_kinds_that_the_policy_allows() {
    let phones = TEXT.replace(r#"["phone", "ip"]"#, r#"["phone"]"#);
    let story = Story::changed(|s| s.policy = Policy::parse(&phones).unwrap());
    story.fails(RuleId::R17, RefusalCode::ServiceNotCovered, "categories");
    let none = TEXT.replace(r#"["phone", "ip"]"#, "[]");
    let story = Story::changed(|s| s.policy = Policy::parse(&none).unwrap());
    story.fails(RuleId::R17, RefusalCode::ServiceNotCovered, "categories");
}

#[test]
fn r18_forum_reaches_the_custody_or_is_referred() {
    let story = Story::changed(|s| s.request.forum = code("AE"));
    story.fails(RuleId::R18, RefusalCode::NotReachableUseMla, "forum");
    let story = Story::changed(|s| s.request.forum = code("DE"));
    assert_eq!(story.outcome(RuleId::R18), Outcome::Pass);
    // The forum's own policy says nothing about reach; a third state's says no.
    let story = Story::changed(|s| s.request.jurisdiction = code("US"));
    assert_eq!(story.outcome(RuleId::R18), Outcome::NotApplicable);
    let story = Story::changed(|s| {
        s.request.jurisdiction = code("US");
        s.request.forum = code("DE");
    });
    story.fails(RuleId::R18, RefusalCode::NotReachableUseMla, "policy");
}

#[test]
fn r26_three_persons_and_both_quorums() {
    let fails = |change: fn(&mut Story), reason| {
        let story = Story::changed(change);
        story.fails(RuleId::R26, RefusalCode::Authenticity, reason);
    };
    fails(|s| s.decisions.clear(), "quorum");
    fails(|s| s.decisions = decisions(&[1, 2, 3], &[]), "quorum");
    fails(|s| s.decisions = decisions(&[1, 2], &[1]), "quorum");
    fails(
        |s| s.decisions = decisions(&[1, 1, 2], &[1, 2]),
        "decided twice",
    );
    fails(
        |s| s.request.entered_by = name("person-workflow-2"),
        "entered the request",
    );
    fails(
        |s| s.roster.legal_review.members[0].reviewers[0].person = name("person-workflow-1"),
        "one person decided twice",
    );
    // A namesake's key, and a neighbour's.
    fails(
        |s| s.decisions[0].key = IdentityKey([99; 32]),
        "no reviewer's",
    );
    fails(
        |s| s.decisions[0].key = key(Role::Workflow, 3),
        "no reviewer's",
    );
    // Two persons of one slot are one slot.
    fails(
        |s| {
            let second = IdentityKey([98; 32]);
            let person = name("person-workflow-1b");
            let reviewers = &mut s.roster.workflow.members[0].reviewers;
            reviewers.push(TrustedReviewer {
                person,
                key: second,
            });
            s.decisions = decisions(&[1, 1], &[1, 2]);
            s.decisions[1].key = second;
        },
        "one slot decided twice",
    );
    let intake = Story::changed(|s| {
        s.stage = Stage::Intake;
        s.decisions.clear();
    });
    assert_eq!(intake.outcome(RuleId::R26), Outcome::NotApplicable);
}

#[test]
fn r28_policy_version_pinned() {
    let fails = |change: fn(&mut Story)| {
        let story = Story::changed(change);
        let field = "policy";
        story.fails(RuleId::R28, RefusalCode::ManifestErrors, field);
    };
    fails(|s| s.request.custody_policy = Digest([1; 32]));
    fails(|s| s.request.forum_policy = Digest([1; 32]));
    fails(|s| s.pins = None);
    fails(|s| {
        // Both agree with each other but not with the policy at hand.
        let other = Digest([1; 32]);
        (s.request.forum_policy, s.request.custody_policy) = (other, other);
        s.pins = Some(PolicyPins {
            forum: other,
            custody: other,
        });
    });
    fails(|s| {
        let later = TEXT.replace("2026-01-01", "2027-01-01");
        s.policy = Policy::parse(&later).unwrap();
        let digest = s.policy.digest();
        (s.request.forum_policy, s.request.custody_policy) = (digest, digest);
        s.pins = Some(PolicyPins {
            forum: digest,
            custody: digest,
        });
    });
}

#[test]
fn r29_logged_and_included() {
    let none = Story::changed(|s| s.inclusion = None);
    none.fails(RuleId::R29, RefusalCode::Authenticity, "inclusion");
    let other = Story::changed(|s| s.request.salt = [1; 32]);
    other.fails(RuleId::R29, RefusalCode::Authenticity, "inclusion");
    let outside = Story::changed(|s| s.inclusion.as_mut().unwrap().size = 4);
    outside.fails(RuleId::R29, RefusalCode::Authenticity, "inclusion");
    let intake = Story::changed(|s| {
        s.stage = Stage::Intake;
        s.inclusion = None;
    });
    assert_eq!(intake.outcome(RuleId::R29), Outcome::NotApplicable);
}

#[test]
fn r30_recipient_of_the_authority() {
    let fails = |change: fn(&mut Story), field| {
        let story = Story::changed(change);
        story.fails(RuleId::R30, RefusalCode::Authenticity, field);
    };
    fails(|s| s.recipients.clear(), "recipient.key");
    fails(|s| s.recipients[0].name = name("other"), "recipient.key");
    fails(|s| s.recipients[0].key = Digest([1; 32]), "recipient.key");
    fails(
        |s| s.recipients[0].certificate = Digest([1; 32]),
        "recipient.certificate",
    );
    fails(|s| s.recipients[0].authorities.clear(), "authority");
}

/// Attack: approvals omitted or 0 (openbao #3666). Refused at parse, and at evaluation for a policy
/// that came about in any other way.
#[test]
fn a_quorum_of_zero_one_or_none_is_refused() {
    for (from, to) in [
        ("workflow = 2", "workflow = 0"),
        ("workflow = 2", "workflow = 1"),
        ("legal-review = 2", "legal-review = 1"),
        ("legal-review = 2", "legal-review = 8"),
        ("legal-review = 2", ""),
        ("[quorum]\nworkflow = 2\nlegal-review = 2\n", ""),
    ] {
        let error = Policy::parse(&TEXT.replace(from, to))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("quorum") || error.contains("legal-review"),
            "{error}"
        );
    }
    for quorum in [(0, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let (workflow, legal_review) = quorum;
        let quorum = Quorum {
            workflow,
            legal_review,
            rights_panel: None,
        };
        let rules: Vec<RuleId> = Story::new().policy.rules().iter().copied().collect();
        let mut story = Story::changed(|s| s.policy = s.policy.with(quorum, &rules));
        assert!(!story.evaluate().permits());
        story.decisions.clear();
        assert!(!story.evaluate().permits());
    }
}

/// Attack: no applicable rule equals all rules passed (openbao control_group.go).
#[test]
fn empty_or_partial_rule_sets_deny() {
    let quorum = Story::new().policy.quorum();
    let mut sets = vec![vec![], vec![RuleId::R01, RuleId::R18]];
    for missing in RuleId::MANDATORY {
        let rest = RuleId::ALL.into_iter().filter(|rule| *rule != missing);
        sets.push(rest.collect());
    }
    for rules in sets {
        let story = Story::changed(|s| s.policy = s.policy.with(quorum, &rules));
        let evaluation = story.evaluate();
        assert!(!evaluation.permits(), "{rules:?}");
        let (code, reason) = evaluation.objection().unwrap();
        assert_eq!(code, None);
        assert!(reason.contains("does not enable"), "{reason}");
    }
}

/// Attack: an empty allow-list is everybody (redoctober #119).
#[test]
fn empty_allow_lists_are_nobody() {
    for (list, rule) in [
        (r#"forums = ["FR", "DE"]"#, RuleId::R18),
        (r#"authorities = ["tribunal-paris"]"#, RuleId::R01),
    ] {
        let key = list.split(' ').next().unwrap();
        let text = TEXT.replace(list, &format!("{key} = []"));
        let story = Story::changed(|s| s.policy = Policy::parse(&text).unwrap());
        assert!(matches!(story.outcome(rule), Outcome::Fail { .. }));
        assert!(!story.evaluate().permits());
        // Leaving the list out altogether is an error of the file.
        let error = Policy::parse(&TEXT.replace(list, "")).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn policy_files_are_refused_with_field_and_reason() {
    for (from, to, expected) in [
        ("\"R14\"", "\"R99\"", "rules"),
        ("\"R14\"", "\"R15\"", "listed twice"),
        ("version = 1", "version = 0", "version"),
        ("version = 1", "version = -1", "version"),
        ("version = 1", "version = 1\nversion = 1", "version"),
        ("version = 1", "version = 1\nfree = true", "free"),
        ("\"FR\"\nversion", "\"EU\"\nversion", "EU"),
        ("2026-01-01T00:00:00Z", "2026-01-01", "in_force"),
        ("\"not legal advice\"", "\" \"", "illustrative"),
        ("\"none: a test\"", "\"\"", "sources"),
        ("\"phone\"", "\"email\"", "kinds"),
        ("max_subjects = 2", "max_subjects = 0", "max_subjects"),
        ("max_subjects = 2", "max_subjects = 10000", "max_subjects"),
        (
            "max_window_minutes = 1440",
            "max_window_minutes = 0",
            "max_window_minutes",
        ),
        ("max_records = 100", "max_records = 100001", "max_records"),
        ("\"tribunal-paris\"", "\"Tribunal Paris\"", "authorities"),
    ] {
        let text = TEXT.replacen(from, to, 1);
        assert_ne!(text, TEXT, "{from}");
        let error = Policy::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
    let long = format!("{TEXT}# {}", "x".repeat(64 * 1024));
    assert!(matches!(Policy::parse(&long), Err(PolicyError::TooLong(_))));
}

/// The digest is over the bytes as read: a comment is another version.
#[test]
fn the_digest_is_of_the_files_bytes() {
    let policy = Policy::parse(TEXT).unwrap();
    assert_eq!(policy.digest(), crate::policy::policy_digest(TEXT));
    let commented = Policy::parse(&format!("{TEXT}# x")).unwrap();
    assert_ne!(policy.digest(), commented.digest());
}

/// Evidence and reasons are logged and shown: no identifier, person or authority may stand in them.
#[test]
fn findings_name_nobody() {
    let story = Story::changed(|s| {
        s.request.entered_by = name("person-workflow-2");
        s.request.authority = name("tribunal-lyon");
        s.recipients.clear();
    });
    let text = format!("{:?}", story.evaluate());
    for secret in ["person-", "lyon", "desk", "clerk", "01010101"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

/// A full evaluation of the largest scope stays under a millisecond.
#[test]
fn an_evaluation_takes_less_than_a_millisecond() {
    let scope = (0..256).map(|n| line(1 + (n % 2) as u8, -512 + n, -511 + n));
    let mut story = Story::new();
    story.request.scope = scope.collect();
    story.include();
    let best = (0..20)
        .map(|_| {
            let begun = Instant::now();
            let evaluation = story.evaluate();
            let taken = begun.elapsed();
            assert!(evaluation.permits(), "{:?}", evaluation.objection());
            taken
        })
        .min()
        .unwrap();
    assert!(best.as_micros() < 1000, "{best:?}");
}

proptest! {
    /// Whatever a file says: an error, or a policy whose quorum is one.
    #[test]
    fn parsing_never_panics(text in "[a-zA-Z0-9=\\[\\]\"., \n_-]{0,200}") {
        if let Ok(policy) = Policy::parse(&text) {
            prop_assert!(policy.quorum().is_quorum());
        }
    }

    /// No window, cap or count, however wild, makes a rule panic or lets a request over the limits
    /// pass.
    #[test]
    fn wild_scopes_never_pass(from in any::<u32>(), to in any::<u32>(), cap in any::<u32>()) {
        let story = Story::changed(|s| {
            s.request.scope[0].from = Minute(from);
            s.request.scope[0].to = Minute(to);
            s.request.cap = cap;
            s.include();
        });
        let within = from < to
            && to <= NOON.minute().0 + 1
            && to - from <= 180
            && (3..=100).contains(&cap);
        prop_assert_eq!(story.evaluate().permits(), within);
    }
}
