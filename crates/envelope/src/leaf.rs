//! The transparency log's leaves. A public leaf is two salted commitments; what is behind them opens
//! to its roles at once, to the public when the gag ends (docs/cryptography.md section 13).
//!
//! ```text
//! leaf       = E(report commitment, private commitment)
//! commitment = H("commit", salt, content)
//! salt       = H("salt", command salt, leaf's number within the command, "report" or "private")
//! ```

use bailiwick_types::limits::TEXT_BYTES;
use bailiwick_types::{CertificateId, Digest, Name, RequestId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::approval::{Approval, RefusalCode};
use crate::assessment::Assessment;
use crate::canonical_serde;
use crate::change::{
    AuthorityChange, LoggedOrder, PolicyChange, PreservationChange, SubjectErasure,
};
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::erasure::{EraseIntent, ErasureAttestation};
use crate::hold::{HoldDecision, HoldOrder};
use crate::panel::PanelDecision;
use crate::partition::{PARTITIONS, PartitionRoot};
use crate::release::ReleaseIntent;
use crate::roster::SignedRosterUpdate;
use crate::selection::Selection;
use crate::statement::CaseStatement;
use crate::tags::{HashTag, hash};

/// What happened: the private content of a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafContent {
    /// The log begins: names its origin.
    Genesis {
        /// The log's origin line.
        origin: String,
    },
    /// An identity was enrolled in, or removed from, the jurisdiction.
    Enrolment {
        /// `H` of the enrolment's canonical form.
        digest: Digest,
    },
    /// A key certificate became valid.
    Certificate {
        /// The certificate.
        certificate: CertificateId,
    },
    /// A request was accepted.
    Request {
        /// The request.
        request: RequestId,
    },
    /// The request's selection was frozen.
    Selection(Selection),
    /// A reviewer decided.
    Decision(Box<Approval>),
    /// A member is about to release.
    Release(ReleaseIntent),
    /// The request was refused.
    Refusal {
        /// The request.
        request: RequestId,
        /// Why.
        code: RefusalCode,
    },
    /// The request was recalled or withdrawn: nothing more is released for it.
    Recall {
        /// The request.
        request: RequestId,
        /// Why, in a person's words.
        reason: String,
        /// Who.
        by: Name,
    },
    /// The recipient acknowledged what it received.
    Delivery {
        /// The request.
        request: RequestId,
        /// How many records it opened.
        count: u32,
    },
    /// Nothing is released in this jurisdiction until it is unfrozen.
    Freeze {
        /// Why.
        reason: String,
        /// Who.
        by: Name,
    },
    /// The freeze is over.
    Unfreeze {
        /// Who.
        by: Name,
    },
    /// The jurisdiction's subjects are spread over so many groups.
    Partitions {
        /// How many, 2 to 64.
        count: u16,
    },
    /// How far the log of a further partition has come. Only in the home log.
    PartitionRoot(PartitionRoot),
    /// A block is stored. Only in the log of a further partition.
    Block {
        /// The hash of its manifest, which names session and block.
        manifest: Digest,
    },
    /// A partition froze its part of a request's selection; in the log of that partition.
    Part(Selection),
    /// A certificate's roster changes, a day from now.
    Roster(Box<SignedRosterUpdate>),
    /// A member is about to destroy a period's keys.
    EraseIntent(EraseIntent),
    /// A member has destroyed a period's keys.
    Erased(ErasureAttestation),
    /// Records are to be kept from deletion, once enough reviewers have decided so.
    Hold(Box<HoldOrder>),
    /// A reviewer decided about a hold.
    HoldDecision(HoldDecision),
    /// A person stated something about a case.
    Statement(Box<CaseStatement>),
    /// A member opened the order and assessed the request.
    Assessment(Assessment),
    /// A person of the rights panel decided.
    Panel(Box<PanelDecision>),
    /// An entry of the register of authorities changed.
    AuthorityChange(AuthorityChange),
    /// A policy comes into force.
    PolicyChange(PolicyChange),
    /// A preservation came to another phase.
    Preservation(PreservationChange),
    /// The order behind a request. Only next to the request's own leaf.
    Order(Box<LoggedOrder>),
    /// A user's request for erasure was answered.
    SubjectErasure(SubjectErasure),
}

impl LeafContent {
    /// The content's kind, as one word.
    pub fn kind(&self) -> LeafKind {
        match self {
            Self::Genesis { .. } => LeafKind::Genesis,
            Self::Enrolment { .. } => LeafKind::Enrolment,
            Self::Certificate { .. } => LeafKind::Certificate,
            Self::Request { .. } => LeafKind::Request,
            Self::Selection(_) => LeafKind::Selection,
            Self::Decision(_) => LeafKind::Decision,
            Self::Release(_) => LeafKind::Release,
            Self::Refusal { .. } => LeafKind::Refusal,
            Self::Recall { .. } => LeafKind::Recall,
            Self::Delivery { .. } => LeafKind::Delivery,
            Self::Freeze { .. } => LeafKind::Freeze,
            Self::Unfreeze { .. } => LeafKind::Unfreeze,
            Self::Partitions { .. } => LeafKind::Partitions,
            Self::PartitionRoot(_) => LeafKind::PartitionRoot,
            Self::Block { .. } => LeafKind::Block,
            Self::Part(_) => LeafKind::Part,
            Self::Roster(_) => LeafKind::Roster,
            Self::EraseIntent(_) => LeafKind::EraseIntent,
            Self::Erased(_) => LeafKind::Erased,
            Self::Hold(_) => LeafKind::Hold,
            Self::HoldDecision(_) => LeafKind::HoldDecision,
            Self::Statement(_) => LeafKind::Statement,
            Self::Assessment(_) => LeafKind::Assessment,
            Self::Panel(_) => LeafKind::Panel,
            Self::AuthorityChange(_) => LeafKind::AuthorityChange,
            Self::PolicyChange(_) => LeafKind::PolicyChange,
            Self::Preservation(_) => LeafKind::Preservation,
            Self::Order(_) => LeafKind::Order,
            Self::SubjectErasure(_) => LeafKind::SubjectErasure,
        }
    }

    /// The request that the leaf is about, if it is about one.
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Self::Request { request }
            | Self::Refusal { request, .. }
            | Self::Recall { request, .. }
            | Self::Delivery { request, .. } => Some(*request),
            Self::Selection(selection) | Self::Part(selection) => Some(selection.request),
            Self::Decision(approval) => Some(approval.statement.request),
            Self::Release(intent) => Some(intent.request),
            Self::Statement(statement) => Some(statement.request),
            Self::Assessment(assessment) => Some(assessment.request),
            Self::Panel(decision) => Some(decision.request),
            Self::Preservation(change) => change.request,
            Self::Order(order) => Some(order.request),
            Self::Genesis { .. }
            | Self::Enrolment { .. }
            | Self::Certificate { .. }
            | Self::Freeze { .. }
            | Self::Unfreeze { .. }
            | Self::Partitions { .. }
            | Self::PartitionRoot(_)
            | Self::Block { .. }
            | Self::Roster(_)
            | Self::EraseIntent(_)
            | Self::Erased(_)
            | Self::Hold(_)
            | Self::HoldDecision(_)
            | Self::AuthorityChange(_)
            | Self::PolicyChange(_)
            | Self::SubjectErasure(_) => None,
        }
    }
}

/// A leaf's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
#[allow(
    missing_docs,
    reason = "each is the kind of the LeafContent variant of the same name"
)]
pub enum LeafKind {
    Genesis = 1,
    Enrolment = 2,
    Certificate = 3,
    Request = 4,
    Selection = 5,
    Decision = 6,
    Release = 7,
    Refusal = 8,
    Recall = 9,
    Delivery = 10,
    Freeze = 11,
    Unfreeze = 12,
    Partitions = 32,
    PartitionRoot = 33,
    Block = 34,
    Part = 35,
    Roster = 21,
    EraseIntent = 22,
    Erased = 23,
    Hold = 24,
    HoldDecision = 25,
    Statement = 26,
    Assessment = 27,
    Panel = 28,
    AuthorityChange = 29,
    PolicyChange = 30,
    Preservation = 31,
    Order = 45,
    SubjectErasure = 46,
}

impl LeafKind {
    /// The kind's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Enrolment => "enrolment",
            Self::Certificate => "certificate",
            Self::Request => "request",
            Self::Selection => "selection",
            Self::Decision => "decision",
            Self::Release => "release",
            Self::Refusal => "refusal",
            Self::Recall => "recall",
            Self::Delivery => "delivery",
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Partitions => "partitions",
            Self::PartitionRoot => "partition-root",
            Self::Block => "block",
            Self::Part => "part",
            Self::Roster => "roster",
            Self::EraseIntent => "erase-intent",
            Self::Erased => "erased",
            Self::Hold => "hold",
            Self::HoldDecision => "hold-decision",
            Self::Statement => "statement",
            Self::Assessment => "assessment",
            Self::Panel => "panel",
            Self::AuthorityChange => "authority-change",
            Self::PolicyChange => "policy-change",
            Self::Preservation => "preservation",
            Self::Order => "order",
            Self::SubjectErasure => "subject-erasure",
        }
    }
}

impl Canonical for LeafContent {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.u8(self.kind() as u8);
        match self {
            Self::Genesis { origin } => encoder.text(origin),
            Self::Enrolment { digest } => encoder.digest(digest),
            Self::Certificate { certificate } => encoder.bytes(&certificate.0),
            Self::Request { request } => encoder.bytes(&request.0),
            Self::Selection(selection) => encoder.list(|e| selection.encode(e)),
            Self::Decision(approval) => encoder.list(|e| approval.encode(e)),
            Self::Release(intent) => encoder.list(|e| intent.encode(e)),
            Self::Refusal { request, code } => encoder.bytes(&request.0).u8(*code as u8),
            Self::Recall {
                request,
                reason,
                by,
            } => encoder.bytes(&request.0).text(reason).text(by.as_str()),
            Self::Delivery { request, count } => encoder.bytes(&request.0).u32(*count),
            Self::Freeze { reason, by } => encoder.text(reason).text(by.as_str()),
            Self::Unfreeze { by } => encoder.text(by.as_str()),
            Self::Partitions { count } => encoder.u16(*count),
            Self::PartitionRoot(root) => encoder.list(|e| root.encode(e)),
            Self::Block { manifest } => encoder.digest(manifest),
            Self::Part(selection) => encoder.list(|e| selection.encode(e)),
            Self::Roster(signed) => encoder.list(|e| signed.encode(e)),
            Self::EraseIntent(intent) => encoder.list(|e| intent.encode(e)),
            Self::Erased(attestation) => encoder.list(|e| attestation.encode(e)),
            Self::Hold(order) => encoder.list(|e| order.encode(e)),
            Self::HoldDecision(decision) => encoder.list(|e| decision.encode(e)),
            Self::Statement(content) => encoder.list(|e| content.encode(e)),
            Self::Assessment(content) => encoder.list(|e| content.encode(e)),
            Self::Panel(content) => encoder.list(|e| content.encode(e)),
            Self::AuthorityChange(content) => encoder.list(|e| content.encode(e)),
            Self::PolicyChange(content) => encoder.list(|e| content.encode(e)),
            Self::Preservation(content) => encoder.list(|e| content.encode(e)),
            Self::Order(content) => encoder.list(|e| content.encode(e)),
            Self::SubjectErasure(content) => encoder.list(|e| content.encode(e)),
        };
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let kind = decoder.u8("leaf.kind")?;
        let request = |decoder: &mut Decoder<'_>| decoder.array("leaf.request").map(RequestId);
        Ok(match kind {
            1 => Self::Genesis {
                origin: decoder.text("leaf.origin", TEXT_BYTES)?,
            },
            2 => Self::Enrolment {
                digest: decoder.digest("leaf.digest")?,
            },
            3 => Self::Certificate {
                certificate: CertificateId(decoder.array("leaf.certificate")?),
            },
            4 => Self::Request {
                request: request(decoder)?,
            },
            5 => Self::Selection(Selection::from_bytes(decoder.bytes("leaf.selection")?)?),
            6 => Self::Decision(Box::new(Approval::from_bytes(
                decoder.bytes("leaf.approval")?,
            )?)),
            7 => Self::Release(ReleaseIntent::from_bytes(decoder.bytes("leaf.release")?)?),
            8 => {
                let request = request(decoder)?;
                let code = decoder.u8("leaf.code")?;
                let known = RefusalCode::ALL
                    .into_iter()
                    .find(|known| *known as u8 == code);
                let code = known.ok_or(DecodeError::value("leaf.code", "unknown refusal code"))?;
                Self::Refusal { request, code }
            }
            9 => Self::Recall {
                request: request(decoder)?,
                reason: decoder.text("leaf.reason", TEXT_BYTES)?,
                by: decoder.parse("leaf.by")?,
            },
            10 => Self::Delivery {
                request: request(decoder)?,
                count: decoder.u32("leaf.count")?,
            },
            11 => Self::Freeze {
                reason: decoder.text("leaf.reason", TEXT_BYTES)?,
                by: decoder.parse("leaf.by")?,
            },
            12 => Self::Unfreeze {
                by: decoder.parse("leaf.by")?,
            },
            32 => match decoder.u16("leaf.count")? {
                count if (2..=PARTITIONS).contains(&count) => Self::Partitions { count },
                _ => return Err(DecodeError::value("leaf.count", "not 2 to 64")),
            },
            33 => Self::PartitionRoot(PartitionRoot::from_bytes(decoder.bytes("leaf.root")?)?),
            34 => Self::Block {
                manifest: decoder.digest("leaf.manifest")?,
            },
            35 => Self::Part(Selection::from_bytes(decoder.bytes("leaf.part")?)?),
            21 => Self::Roster(Box::new(SignedRosterUpdate::from_bytes(
                decoder.bytes("leaf.roster")?,
            )?)),
            22 => Self::EraseIntent(EraseIntent::from_bytes(decoder.bytes("leaf.intent")?)?),
            23 => Self::Erased(ErasureAttestation::from_bytes(
                decoder.bytes("leaf.erased")?,
            )?),
            24 => Self::Hold(Box::new(HoldOrder::from_bytes(
                decoder.bytes("leaf.hold")?,
            )?)),
            25 => Self::HoldDecision(HoldDecision::from_bytes(
                decoder.bytes("leaf.hold_decision")?,
            )?),
            26 => Self::Statement(Box::new(CaseStatement::from_bytes(
                decoder.bytes("leaf.statement")?,
            )?)),
            27 => Self::Assessment(Assessment::from_bytes(decoder.bytes("leaf.assessment")?)?),
            28 => Self::Panel(Box::new(PanelDecision::from_bytes(
                decoder.bytes("leaf.panel")?,
            )?)),
            29 => Self::AuthorityChange(AuthorityChange::from_bytes(
                decoder.bytes("leaf.authority_change")?,
            )?),
            30 => Self::PolicyChange(PolicyChange::from_bytes(
                decoder.bytes("leaf.policy_change")?,
            )?),
            31 => Self::Preservation(PreservationChange::from_bytes(
                decoder.bytes("leaf.preservation")?,
            )?),
            45 => Self::Order(Box::new(LoggedOrder::from_bytes(
                decoder.bytes("leaf.order")?,
            )?)),
            46 => Self::SubjectErasure(SubjectErasure::from_bytes(
                decoder.bytes("leaf.subject_erasure")?,
            )?),
            _ => return Err(DecodeError::value("leaf.kind", "unknown kind")),
        })
    }
}

/// A leaf with what is behind its commitments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedLeaf {
    /// When the shard logged it, by log time.
    pub logged_at: Timestamp,
    /// What happened.
    pub content: LeafContent,
    /// The salt of the report commitment.
    pub report_salt: Digest,
    /// The salt of the private commitment.
    pub private_salt: Digest,
}

impl OpenedLeaf {
    /// A leaf with salts derived from its command's salt and its number within the command.
    pub fn new(
        logged_at: Timestamp,
        content: LeafContent,
        command_salt: &[u8; 32],
        number: u32,
    ) -> Self {
        let salt = |which: &str| {
            hash(HashTag::Salt, |e| {
                e.bytes(command_salt).u32(number).text(which);
            })
        };
        Self {
            logged_at,
            content,
            report_salt: salt("report"),
            private_salt: salt("private"),
        }
    }

    /// The leaf's data as it enters the log: `E(report commitment, private commitment)`.
    pub fn data(&self) -> Vec<u8> {
        let report = hash(HashTag::Commitment, |e| {
            e.digest(&self.report_salt).list(|e| self.report_tuple(e));
        });
        let private = hash(HashTag::Commitment, |e| {
            e.digest(&self.private_salt)
                .u64(self.logged_at.0)
                .list(|e| self.content.encode(e));
        });
        let mut encoder = Encoder::new();
        encoder.digest(&report).digest(&private);
        encoder.finish()
    }

    /// What the quarterly report may count: the kind, the day, and a refusal's code.
    fn report_tuple(&self, encoder: &mut Encoder) {
        let code = match &self.content {
            LeafContent::Refusal { code, .. } => *code as u8,
            _ => 0,
        };
        let day = (self.logged_at.seconds() / 86_400) as u32;
        encoder.u8(self.content.kind() as u8).u32(day).u8(code);
    }
}

impl Canonical for OpenedLeaf {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u64(self.logged_at.0)
            .list(|e| self.content.encode(e))
            .digest(&self.report_salt)
            .digest(&self.private_salt);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            logged_at: Timestamp(decoder.u64("leaf.logged_at")?),
            content: LeafContent::from_bytes(decoder.bytes("leaf.content")?)?,
            report_salt: decoder.digest("leaf.report_salt")?,
            private_salt: decoder.digest("leaf.private_salt")?,
        })
    }
}

canonical_serde!(OpenedLeaf);
