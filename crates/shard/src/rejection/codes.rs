//! The stable word of each rejection, and who is to blame for it. The words are part of the outside
//! API: one is never changed or given to another reason.

use super::{
    BlockRejection, CertificateRejection, DecisionRejection, EnrolmentRejection, Fault, Rejection,
    ReleaseRejection, RequestRejection, SessionRejection,
};

impl Rejection {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotInitialised => "not-initialised",
            Self::AlreadyInitialised { .. } => "already-initialised",
            Self::KeyReused => "key-reused",
            Self::Frozen => "frozen",
            Self::NotHome { .. } => "not-home",
            Self::Text { .. } => "text",
            Self::Enrolment(rejection) => rejection.code(),
            Self::Certificate(rejection) => rejection.code(),
            Self::Session(rejection) => rejection.code(),
            Self::Block(rejection) => rejection.code(),
            Self::Request(rejection) => rejection.code(),
            Self::Decision(rejection) => rejection.code(),
            Self::Release(rejection) => rejection.code(),
            Self::Partition(rejection) => rejection.code(),
        }
    }

    /// Who is to blame.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Malformed | Self::NotInitialised | Self::KeyReused | Self::NotHome { .. } => {
                Fault::Node
            }
            Self::Frozen => Fault::Nobody,
            Self::AlreadyInitialised { .. } | Self::Text { .. } | Self::Enrolment(_) => {
                Fault::Operator
            }
            Self::Certificate(rejection) => rejection.fault(),
            Self::Session(rejection) => rejection.fault(),
            Self::Block(_) => Fault::Edge,
            Self::Request(rejection) => rejection.fault(),
            Self::Decision(rejection) => rejection.fault(),
            Self::Release(rejection) => rejection.fault(),
            Self::Partition(rejection) => rejection.fault(),
        }
    }
}

impl CertificateRejection {
    fn fault(&self) -> Fault {
        match self {
            Self::PlanMembers { .. }
            | Self::PlanPeriods
            | Self::TooManyLive { .. }
            | Self::TooManyDrafts { .. } => Fault::Operator,
            _ => Fault::Member,
        }
    }
}

impl SessionRejection {
    fn fault(&self) -> Fault {
        match self {
            Self::Unknown(_) | Self::NoSuchMember { .. } | Self::Signature { .. } => Fault::Member,
            _ => Fault::Edge,
        }
    }
}

impl RequestRejection {
    fn fault(&self) -> Fault {
        match self {
            Self::NoPolicy => Fault::Operator,
            Self::TooManyOpen { .. } | Self::State { .. } => Fault::Nobody,
            Self::NotRecipient { .. } | Self::DeliveredCount { .. } => Fault::Recipient,
            _ => Fault::Intake,
        }
    }
}

impl DecisionRejection {
    fn fault(&self) -> Fault {
        match self {
            Self::NotInReview { .. } => Fault::Nobody,
            _ => Fault::Reviewer,
        }
    }
}

impl ReleaseRejection {
    fn fault(&self) -> Fault {
        match self {
            Self::NotApproved { .. } => Fault::Nobody,
            _ => Fault::Member,
        }
    }
}

impl EnrolmentRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "enrolment-unknown",
            Self::TooMany { .. } => "enrolment-too-many",
            Self::PolicyVersion { .. } => "enrolment-policy-version",
        }
    }
}

impl CertificateRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::PlanMembers { .. } => "certificate-plan-members",
            Self::PlanPeriods => "certificate-plan-periods",
            Self::TooManyLive { .. } => "certificate-too-many-live",
            Self::TooManyDrafts { .. } => "certificate-too-many-drafts",
            Self::UnknownDraft(_) => "certificate-unknown-draft",
            Self::NotPlanned { .. } => "certificate-not-planned",
            Self::OfferKeys { .. } => "certificate-offer-keys",
            Self::OfferedBefore { .. } => "certificate-offered-before",
            Self::Signature { .. } => "certificate-signature",
            Self::Body { .. } => "certificate-body",
            Self::UnknownCertificate(_) => "certificate-unknown-certificate",
        }
    }
}

impl SessionRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::WrongShard { .. } => "session-wrong-shard",
            Self::OtherEdge { .. } => "session-other-edge",
            Self::NotEnrolled(_) => "session-not-enrolled",
            Self::UnknownPeriod(_) => "session-unknown-period",
            Self::PeriodNotNow(_) => "session-period-not-now",
            Self::Times { .. } => "session-times",
            Self::Header { .. } => "session-header",
            Self::Duplicate(_) => "session-duplicate",
            Self::NonceUsed => "session-nonce-used",
            Self::Rate { .. } => "session-rate",
            Self::Unknown(_) => "session-unknown",
            Self::NoSuchMember { .. } => "session-no-such-member",
            Self::Signature { .. } => "session-signature",
        }
    }
}

impl BlockRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "block-malformed",
            Self::UnknownSession(_) => "block-unknown-session",
            Self::OtherEdge { .. } => "block-other-edge",
            Self::NotEnrolled(_) => "block-not-enrolled",
            Self::Expired { .. } => "block-expired",
            Self::OutOfOrder { .. } => "block-out-of-order",
            Self::Chain => "block-chain",
            Self::EdgeTime { .. } => "block-edge-time",
            Self::FutureMinute { .. } => "block-future-minute",
            Self::Root => "block-root",
            Self::Signature => "block-signature",
        }
    }
}

impl RequestRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::NotIntake(_) => "request-not-intake",
            Self::OtherPerson { .. } => "request-other-person",
            Self::OtherJurisdiction => "request-other-jurisdiction",
            Self::Generation => "request-generation",
            Self::Lapsed { .. } => "request-lapsed",
            Self::Cap { .. } => "request-cap",
            Self::Recipient(_) => "request-recipient",
            Self::NoPolicy => "request-no-policy",
            Self::Policy { .. } => "request-policy",
            Self::Documents => "request-documents",
            Self::OverCap { .. } => "request-over-cap",
            Self::TooManyOpen { .. } => "request-too-many-open",
            Self::Unknown(_) => "request-unknown",
            Self::State { .. } => "request-state",
            Self::NotRecipient { .. } => "request-not-recipient",
            Self::DeliveredCount { .. } => "request-delivered-count",
        }
    }
}

impl DecisionRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownRequest(_) => "decision-unknown-request",
            Self::NotInReview { .. } => "decision-not-in-review",
            Self::Selection => "decision-selection",
            Self::Rosters => "decision-rosters",
            Self::Signature => "decision-signature",
            Self::NotReviewer { .. } => "decision-not-reviewer",
            Self::OwnRequest(_) => "decision-own-request",
            Self::SamePerson { .. } => "decision-same-person",
            Self::SlotDecided { .. } => "decision-slot-decided",
        }
    }
}

impl ReleaseRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownRequest(_) => "release-unknown-request",
            Self::NotApproved { .. } => "release-not-approved",
            Self::Selection => "release-selection",
            Self::Count { .. } => "release-count",
            Self::Recipient => "release-recipient",
            Self::NoSuchMember { .. } => "release-no-such-member",
            Self::Signature { .. } => "release-signature",
        }
    }
}
