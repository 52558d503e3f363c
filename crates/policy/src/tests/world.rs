//! A lawful order with everything that was found out about it, under a shipped policy; each test
//! changes one thing.

use std::collections::BTreeSet;

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_envelope::certificate::{
    TrustRoster, TrustedCommittee, TrustedMember, TrustedReviewer,
};
use bailiwick_envelope::request::{DisclosureRequest, Purpose, Recipient, ScopeLine};
use bailiwick_envelope::{EncapsulationKey, IdentityKey};
use bailiwick_types::{
    Category, Digest, Jurisdiction, Minute, Name, Role, Slot, SubjectPseudonym, Timestamp,
};

use crate::case::{
    AuthorityFact, CallbackFact, CaseFacts, DocumentFact, DualCriminalityFact, HoldFact,
    NoticeFact, OfficerFact,
};
use crate::order::{Offence, Order, OrderScope, Threat};
use crate::vocabulary::{
    AuthorityStatus, CaseType, Conflict, DataCategory, IssuerKind, Priority, SubjectRole,
    VictimClass,
};
use crate::{
    DecisionFact, Evaluation, InclusionFact, Outcome, Policy, PolicyPins, RecipientFact,
    RequestFacts, RuleId, Stage, evaluate,
};

pub(super) const NOON: Timestamp = Timestamp(1_795_521_600_000_000);
pub(super) const HOUR: u64 = 3_600_000_000;
pub(super) const DAY: u64 = 24 * HOUR;

/// The five worked examples, as they are shipped.
pub(super) const SHIPPED: [(&str, &str); 5] = [
    ("EU", include_str!("../../../../config/policies/EU.toml")),
    ("FR", include_str!("../../../../config/policies/FR.toml")),
    ("US", include_str!("../../../../config/policies/US.toml")),
    ("GB", include_str!("../../../../config/policies/GB.toml")),
    ("AE", include_str!("../../../../config/policies/AE.toml")),
];

pub(super) fn shipped(name: &str) -> Policy {
    let (_, text) = SHIPPED.iter().find(|(known, _)| *known == name).unwrap();
    Policy::parse(text).unwrap()
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn code(text: &str) -> Jurisdiction {
    text.parse().unwrap()
}

pub(super) fn reviewer_key(role: Role, slot: u8) -> IdentityKey {
    IdentityKey([role.code() * 16 + slot; 32])
}

fn committee(role: Role) -> TrustedCommittee {
    let member = |slot: u8| TrustedMember {
        slot: Slot::new(slot).unwrap(),
        name: name(&format!("{role}-{slot}")),
        organisation: name(role.as_str()),
        identity: IdentityKey([role.code() * 16 + 8 + slot; 32]),
        reviewers: vec![TrustedReviewer {
            person: name(&format!("person-{role}-{slot}")),
            key: reviewer_key(role, slot),
        }],
    };
    TrustedCommittee {
        needed: 2,
        members: (1..=4).map(member).collect(),
    }
}

pub(super) fn decided(slots: u8) -> Vec<DecisionFact> {
    let of = |role: Role, slot: u8| DecisionFact {
        role,
        slot: Slot::new(slot).unwrap(),
        key: reviewer_key(role, slot),
    };
    let both = |slot| Role::ALL.into_iter().map(move |role| of(role, slot));
    (1..=slots).flat_map(both).collect()
}

pub(super) fn line(subject: u8, minutes: u32) -> ScopeLine {
    let now = NOON.minute().0;
    ScopeLine {
        subject: SubjectPseudonym([subject; 16]),
        categories: Category::ALL.to_vec(),
        from: Minute(now - minutes),
        to: Minute(now),
    }
}

/// Everything that is known of one lawful request.
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) request: DisclosureRequest,
    pub(super) case: CaseFacts,
    pub(super) stage: Stage,
    pub(super) now: Timestamp,
    pub(super) received_at: Option<Timestamp>,
    pub(super) decisions: Vec<DecisionFact>,
    pub(super) handed: bool,
    /// What the verifier's own copies digest to, when they are not the policy's.
    pub(super) pins: Option<Digest>,
    roster: TrustRoster,
}

impl World {
    /// A prosecutor identifies a suspect of fraud under the European Production Order.
    pub(super) fn new() -> Self {
        let policy = shipped("EU");
        Self::under(
            policy,
            "european-production-order",
            "Regulation (EU) 2023/1543",
            "staatsanwaltschaft-berlin",
            IssuerKind::Prosecutor,
        )
    }

    /// A lawful identification under a policy.
    pub(super) fn under(
        policy: Policy,
        instrument: &str,
        basis: &str,
        authority: &str,
        issuer: IssuerKind,
    ) -> Self {
        let forum = policy.jurisdiction();
        let slots = policy.quorum().workflow;
        let mut world = Self {
            request: request(forum, authority, basis, policy.digest()),
            case: case(forum, instrument, basis, authority, issuer),
            stage: Stage::Release,
            now: NOON,
            received_at: Some(Timestamp(NOON.0 - HOUR)),
            decisions: decided(slots),
            handed: true,
            pins: None,
            roster: TrustRoster {
                workflow: committee(Role::Workflow),
                legal_review: committee(Role::LegalReview),
            },
            policy,
        };
        world.case.order.documents = world.request.documents;
        world
    }

    pub(super) fn changed(change: impl FnOnce(&mut Self)) -> Self {
        let mut world = Self::new();
        change(&mut world);
        world
    }

    /// The same as traffic data: a history of a month, ordered by a court.
    pub(super) fn traffic() -> Self {
        Self::changed(|w| {
            w.request.purpose = Purpose::History;
            w.request.scope = vec![line(1, 43_200)];
            w.set_issuer(IssuerKind::Court);
            w.case.notification = Some(crate::case::NotificationFact {
                notified_at: Timestamp(NOON.0 - HOUR),
                answer: crate::case::EnforcingAnswer::Cleared,
            });
        })
    }

    /// The same as an emergency, with all that it needs.
    pub(super) fn emergency() -> Self {
        Self::changed(|w| {
            w.case.order.priority = Priority::Emergency;
            w.case.order.threat = Some(Threat {
                victim: VictimClass::Child,
                statement: "a child is missing".to_owned(),
            });
            w.case.callback = Some(CallbackFact {
                by: name("second-clerk"),
                contact: Digest([9; 32]),
                confirmed: true,
            });
        })
    }

    pub(super) fn set_issuer(&mut self, issuer: IssuerKind) {
        self.case.order.issuer = issuer;
        self.case.authority.as_mut().unwrap().kind = issuer;
    }

    pub(super) fn offence(&mut self) -> &mut Offence {
        self.case.order.offence.as_mut().unwrap()
    }

    pub(super) fn evaluate(&self) -> Evaluation {
        self.evaluate_under(&self.policy)
    }

    pub(super) fn evaluate_under(&self, policy: &Policy) -> Evaluation {
        let digest = policy.digest();
        let mut request = self.request.clone();
        (request.forum_policy, request.custody_policy) = (digest, digest);
        let recipients = [RecipientFact {
            name: request.recipient.name.clone(),
            key: request.recipient.key.recipient_hash(),
            certificate: request.recipient.certificate,
            authorities: vec![request.authority.clone()],
        }];
        let facts = RequestFacts {
            request: &request,
            stage: self.stage,
            now: self.now,
            selected: Some(3),
            decisions: &self.decisions,
            roster: &self.roster,
            inclusion: Some(InclusionFact {
                request: request.id(),
                leaf_index: 4,
                size: 9,
            }),
            policies: Some(PolicyPins {
                forum: self.pins.unwrap_or(digest),
                custody: self.pins.unwrap_or(digest),
            }),
            recipients: &recipients,
            received_at: self.received_at,
            case: self.handed.then_some(&self.case),
        };
        evaluate(policy, &facts)
    }

    pub(super) fn outcome(&self, rule: RuleId) -> Outcome {
        self.evaluate().findings()[&rule].outcome.clone()
    }

    /// The rule fails with this code, its reason names this field, and nothing is permitted.
    #[track_caller]
    pub(super) fn fails(&self, rule: RuleId, expected: RefusalCode, field: &str) {
        match self.outcome(rule) {
            Outcome::Fail { code, reason } => {
                assert_eq!(code, expected, "{reason}");
                assert!(reason.contains(field), "{reason}");
            }
            other => panic!("{rule}: {other:?}"),
        }
        assert!(!self.evaluate().permits());
    }

    #[track_caller]
    pub(super) fn passes(&self, rule: RuleId) {
        assert_eq!(self.outcome(rule), Outcome::Pass, "{rule}");
    }

    #[track_caller]
    pub(super) fn is_not_about(&self, rule: RuleId) {
        assert_eq!(self.outcome(rule), Outcome::NotApplicable, "{rule}");
    }

    #[track_caller]
    pub(super) fn needs_human(&self, rule: RuleId, about: &str) {
        match self.outcome(rule) {
            Outcome::NeedsHuman { reason } => assert!(reason.contains(about), "{reason}"),
            other => panic!("{rule}: {other:?}"),
        }
        assert!(!self.evaluate().permits());
    }
}

pub(super) fn request(
    forum: Jurisdiction,
    authority: &str,
    basis: &str,
    digest: Digest,
) -> DisclosureRequest {
    DisclosureRequest {
        jurisdiction: forum,
        forum,
        scope: vec![line(1, 30)],
        purpose: Purpose::Identify,
        legal_basis: basis.to_owned(),
        authority: name(authority),
        reference: "2026/1".to_owned(),
        entered_by: name("clerk"),
        documents: Digest([5; 32]),
        recipient: Recipient {
            name: name("desk"),
            key: EncapsulationKey::new(&[7; 1216]).unwrap(),
            certificate: Digest([6; 32]),
        },
        cap: 50,
        not_after: Timestamp(NOON.0 + 30 * DAY),
        forum_policy: digest,
        custody_policy: digest,
        generation: 1,
        salt: [0; 32],
    }
}

fn case(
    forum: Jurisdiction,
    instrument: &str,
    basis: &str,
    authority: &str,
    issuer: IssuerKind,
) -> CaseFacts {
    let order = Order {
        forum,
        instrument: name(instrument),
        legal_basis: basis.to_owned(),
        authority: name(authority),
        officer: name("officer-weber"),
        issuer,
        validator: None,
        reference: "2026/1".to_owned(),
        offence: Some(Offence {
            code: name("fraud"),
            label: "sold phones that never existed".to_owned(),
            maximum_years: 5,
        }),
        case_type: CaseType::Fraud,
        subject_role: SubjectRole::Suspect,
        terms_violation: true,
        priority: Priority::Routine,
        threat: None,
        issued_at: Timestamp(NOON.0 - DAY),
        valid_from: Timestamp(NOON.0 - DAY),
        valid_until: Timestamp(NOON.0 + 30 * DAY),
        gag_until: None,
        documents: Digest([5; 32]),
        scope: OrderScope {
            subjects: vec!["u1".to_owned()],
            kinds: Category::ALL.into_iter().collect(),
            purpose: Purpose::Identify,
            from: Timestamp(NOON.0 - HOUR / 2),
            to: NOON,
        },
    };
    CaseFacts {
        authority: Some(AuthorityFact {
            name: name(authority),
            kind: issuer,
            status: AuthorityStatus::Active,
            key_pinned: true,
            competences: DataCategory::ALL.iter().copied().collect(),
            callback_contact: Digest([9; 32]),
        }),
        officer: Some(OfficerFact {
            name: name("officer-weber"),
            authority: name(authority),
            key: IdentityKey([3; 32]),
            status: AuthorityStatus::Active,
            earlier_orders: 4,
            emergencies_today: 0,
        }),
        document: Some(DocumentFact {
            digest: Digest([5; 32]),
            signer: IdentityKey([3; 32]),
            signed_at: Timestamp(NOON.0 - DAY),
            certificate_from: Timestamp(NOON.0 - 100 * DAY),
            certificate_until: Timestamp(NOON.0 + 100 * DAY),
            validated_by: None,
        }),
        callback: None,
        notification: None,
        notice: Some(NoticeFact::AuthorityInforms),
        hold: Some(HoldFact {
            placed_at: Timestamp(NOON.0 - HOUR),
            until: Timestamp(NOON.0 + 60 * DAY),
        }),
        earlier: Some(Vec::new()),
        dual_criminality: Some(DualCriminalityFact {
            custody: true,
            establishment: true,
        }),
        conflict: Some(Conflict::None),
        protected: Some(BTreeSet::new()),
        points: Vec::new(),
        validate_by: None,
        panel: Vec::new(),
        order,
    }
}
