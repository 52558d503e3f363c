//! What queries answer. The fields follow the messages of `bailiwick-api`, which a node fills from
//! these.

use bailiwick_envelope::approval::{Approval, RefusalCode, RosterReference};
use bailiwick_envelope::block::BatchManifest;
use bailiwick_envelope::certificate::{CertificateBody, KeyCertificate};
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::label::Label;
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::selection::{RecordPosition, Selection};
use bailiwick_envelope::{EncapsulationKey, IdentityKey, Signature};
use bailiwick_types::{
    Category, ClusterId, Digest, KeyId, Minute, Name, RecordId, RequestId, Role, SessionId,
    ShardId, Slot, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::command::{CertificatePlan, MemberRefusal};

/// What a shard is and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// The cluster.
    pub cluster: ClusterId,
    /// The shard.
    pub shard: ShardId,
    /// The log's origin.
    pub origin: String,
    /// The policy's digest and version, once set.
    pub policy: Option<(Digest, u32)>,
    /// Why and by whom the shard is frozen, if it is.
    pub frozen: Option<(String, Name)>,
    /// The last command's log time.
    pub last_stamp: Timestamp,
    /// Records stored, in all live periods.
    pub records: u64,
    /// How many of them are phone numbers.
    pub phones: u64,
    /// Sessions opened.
    pub sessions: u32,
    /// Requests logged.
    pub requests: u32,
    /// Leaves in the log.
    pub leaves: u64,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    /// Waits for decisions.
    InReview,
    /// Both quorums approved; approvers are checking.
    Approved,
    /// At least one approver logged its release.
    Releasing,
    /// A quorum of each role logged its release.
    Disclosed,
    /// The recipient acknowledged.
    Delivered,
    /// Nothing in scope.
    NoData,
    /// Refused, finally.
    Refused,
    /// Recalled or withdrawn.
    Recalled,
    /// Lapsed before it was disclosed.
    Lapsed,
}

impl RequestState {
    /// The state's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InReview => "in-review",
            Self::Approved => "approved",
            Self::Releasing => "releasing",
            Self::Disclosed => "disclosed",
            Self::Delivered => "delivered",
            Self::NoData => "no-data",
            Self::Refused => "refused",
            Self::Recalled => "recalled",
            Self::Lapsed => "lapsed",
        }
    }

    /// Whether a release may be logged in this state.
    pub fn may_release(self) -> bool {
        matches!(self, Self::Approved | Self::Releasing | Self::Disclosed)
    }
}

/// Where a session stands; see [`crate::query::session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// The members have not all answered.
    Pending,
    /// At least min(n, t + 1) members of each role opened their parts.
    Confirmed,
    /// Exactly t members of a role opened theirs, for 10 s: confirmed, but one short of spare.
    Degraded,
    /// Fewer than t members of a role opened theirs, for 60 s: nothing may be sealed under it.
    Failed,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// The session.
    pub sid: SessionId,
    /// The edge.
    pub edge: Name,
    /// Its key period.
    pub kid: KeyId,
    /// When the shard committed its header, by log time.
    pub committed_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The number of the block that may come next.
    pub next_block: u16,
    /// Where it stands.
    pub state: SessionState,
    /// Members that opened their parts and did not complain.
    pub oks: Vec<(Role, Slot)>,
    /// Members that complained, contradicting ones included.
    pub complaints: Vec<(Role, Slot)>,
    /// Members that said ok and complained: both signed answers are kept.
    pub contradictions: Vec<(Role, Slot)>,
}

/// A valid certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateView {
    /// The certificate.
    pub certificate: KeyCertificate,
    /// Its leaf, opened.
    pub leaf: OpenedLeaf,
    /// The leaf's index.
    pub leaf_index: u64,
}

/// A certificate on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftView {
    /// The draft.
    pub draft: Digest,
    /// The plan.
    pub plan: CertificatePlan,
    /// When it was called for, by log time.
    pub called_at: Timestamp,
    /// Members that offered keys.
    pub offered: Vec<(Role, Slot)>,
    /// The body, once all have offered.
    pub body: Option<CertificateBody>,
    /// Members that signed it.
    pub signed: Vec<(Role, Slot)>,
}

/// Who is enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Enrolled {
    /// An edge.
    Edge {
        /// Its id.
        name: Name,
        /// Its key.
        key: IdentityKey,
    },
    /// A disclosure workflow's service.
    Intake {
        /// Its id.
        name: Name,
    },
    /// A recipient.
    Recipient {
        /// Its id.
        name: Name,
        /// Its X-Wing key.
        key: EncapsulationKey,
        /// SHA-256 of the certificate that vouches for the key.
        certificate: Digest,
    },
}

/// A logged decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedDecision {
    /// The signed decision.
    pub approval: Approval,
    /// Who sent it.
    pub by: Name,
    /// Its leaf.
    pub leaf_index: u64,
}

/// A request with everything that happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    /// Its id.
    pub id: RequestId,
    /// The request.
    pub request: DisclosureRequest,
    /// Where it stands.
    pub state: RequestState,
    /// When it was logged.
    pub logged_at: Timestamp,
    /// Its leaf; the selection's is the next one.
    pub leaf_index: u64,
    /// The frozen selection.
    pub selection: Selection,
    /// Every certificate and roster involved, ascending.
    pub rosters: Vec<RosterReference>,
    /// Every key period involved, ascending.
    pub periods: Vec<KeyId>,
    /// The decisions so far, in the order of the log.
    pub decisions: Vec<LoggedDecision>,
    /// The logged releases: role, slot, leaf index.
    pub releases: Vec<(Role, Slot, u64)>,
    /// Members that refused to release, with their words.
    pub member_refusals: Vec<MemberRefusal>,
    /// The code, when it was refused.
    pub refusal: Option<RefusalCode>,
    /// Records that the recipient acknowledged.
    pub delivered: Option<u32>,
}

/// A page of a selection for approvers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidencePage {
    /// Every session of the page once, in order of its id.
    pub sessions: Vec<SessionHeader>,
    /// Every block of the page once, in order.
    pub blocks: Vec<EvidenceBlock>,
    /// The records in order of the selection.
    pub records: Vec<EvidenceRecord>,
}

/// A block's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceBlock {
    /// The manifest.
    pub manifest: BatchManifest,
    /// The edge's signature.
    pub signature: Signature,
}

/// A record without its ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// Its place in the selection.
    pub index: u32,
    /// Where it stands in its jurisdiction.
    pub position: RecordPosition,
    /// Its label.
    pub label: Label,
    /// The commitment to its plaintext.
    pub alpha: Digest,
    /// SHA-256 of its ciphertext.
    pub ciphertext_hash: Digest,
    /// Inclusion proof of its leaf under the manifest's root, the leaf's sibling first.
    pub proof: Vec<Digest>,
}

/// A frozen part of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartView {
    /// The part.
    pub selection: Selection,
    /// Its leaf in this group's log.
    pub leaf_index: u64,
    /// The key periods of its records, ascending.
    pub kids: Vec<KeyId>,
}

/// A leaf of this group's log with its inclusion proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogProof {
    /// Its index.
    pub index: u64,
    /// What is behind its commitments.
    pub leaf: OpenedLeaf,
    /// Its inclusion proof, the sibling first.
    pub proof: Vec<Digest>,
}

/// A page of a part for approvers, everything proven in the log of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPage {
    /// The part's own leaf.
    pub part: LogProof,
    /// The records; their indices count within the part.
    pub page: EvidencePage,
    /// The leaf of each block of the page, in the page's order.
    pub blocks: Vec<LogProof>,
}

/// A page of a released selection for the recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CiphertextPage {
    /// The records in order of the selection.
    pub records: Vec<CiphertextRecord>,
    /// The key period of each session of the page, in order of the session's id.
    pub periods: Vec<(SessionId, KeyId)>,
}

/// A record with its ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CiphertextRecord {
    /// Its place in the selection.
    pub index: u32,
    /// Its label.
    pub label: Label,
    /// The commitment to its plaintext.
    pub alpha: Digest,
    /// AES-256-GCM of rho and the padded plaintext.
    pub ciphertext: Vec<u8>,
}

/// A subject's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelPage {
    /// Kind, minute and id of each, by key period, then minute.
    pub labels: Vec<(Category, Minute, RecordId)>,
    /// Whether there are more.
    pub more: bool,
}
