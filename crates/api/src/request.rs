//! Requests, decisions, delivery and what people read of them.

use bailiwick_envelope::approval::{Approval, RefusalCode, RosterReference};
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::selection::Selection;
use bailiwick_types::{
    Category, CommandKey, Jurisdiction, Minute, Name, RecordId, RequestId, Role, ShardId, Slot,
    SubjectPseudonym, Timestamp,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// `Operation::SubmitRequest`; answers [`RequestView`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubmitRequest {
    /// The home shard.
    pub shard: ShardId,
    /// The request.
    pub request: DisclosureRequest,
    /// The order's documents, sealed to the members; their digest is in the request.
    pub documents: Bytes,
}

/// `Operation::Decide`; answers [`RequestView`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decide {
    /// The home shard.
    pub shard: ShardId,
    /// The signed decision.
    pub approval: Approval,
}

/// `Operation::RecallRequest`; answers [`RequestView`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecallRequest {
    /// Makes a retry the same command.
    pub key: CommandKey,
    /// The home shard.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// Why, in a person's words.
    pub reason: String,
}

/// `Operation::Freeze`; answers [`crate::cluster::Accepted`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Freeze {
    /// Makes a retry the same command.
    pub key: CommandKey,
    /// The home shard.
    pub shard: ShardId,
    /// Whether to freeze or to unfreeze.
    pub frozen: bool,
    /// Why, in a person's words.
    pub reason: String,
}

/// `Operation::ReadRequest`; answers [`RequestView`]. Waits up to `wait_ms` for a state other than
/// `unless`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadRequest {
    /// The home shard.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// The state that the caller knows.
    pub unless: Option<RequestState>,
    /// How long to wait, at most 30,000 ms.
    pub wait_ms: u32,
}

/// `Operation::ListRequests`; answers [`RequestList`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListRequests {
    /// The home shard.
    pub shard: ShardId,
    /// Begin after this request.
    pub after: Option<RequestId>,
    /// At most this many, at most 1,000.
    pub limit: u32,
    /// Only requests that wait for decisions.
    pub open_only: bool,
}

/// A page of requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestList {
    /// The requests.
    pub requests: Vec<RequestSummary>,
    /// Whether there are more.
    pub more: bool,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Lapsed before it was decided.
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
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSummary {
    /// The request.
    pub id: RequestId,
    /// The custody jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The state that issued the order.
    pub forum: Jurisdiction,
    /// The authority.
    pub authority: Name,
    /// Its case reference.
    pub reference: String,
    /// Where it stands.
    pub state: RequestState,
    /// How many records were found.
    pub count: u32,
    /// When it lapses.
    pub not_after: Timestamp,
    /// Workflow slots that approved.
    pub workflow_approvals: Vec<Slot>,
    /// Legal-review slots that approved.
    pub legal_approvals: Vec<Slot>,
}

/// A request with everything that happened to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestView {
    /// The request.
    pub request: DisclosureRequest,
    /// Its id.
    pub id: RequestId,
    /// Where it stands.
    pub state: RequestState,
    /// When it was logged.
    pub logged_at: Timestamp,
    /// The frozen selection.
    pub selection: Selection,
    /// Every certificate and roster involved.
    pub rosters: Vec<RosterReference>,
    /// The decisions so far.
    pub decisions: Vec<Approval>,
    /// The logged releases: role, slot, leaf index.
    pub releases: Vec<(Role, Slot, u64)>,
    /// Members that refused to release, with their words.
    pub member_refusals: Vec<(Role, Slot, String)>,
    /// The code, when it was refused.
    pub refusal: Option<RefusalCode>,
}

/// `Operation::AcknowledgeDelivery`; answers [`crate::cluster::Accepted`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AcknowledgeDelivery {
    /// The home shard.
    pub shard: ShardId,
    /// The request.
    pub request: RequestId,
    /// How many records were opened.
    pub count: u32,
}

/// `Operation::ListLabels`; answers [`LabelList`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListLabels {
    /// The shard.
    pub shard: ShardId,
    /// The subject.
    pub subject: SubjectPseudonym,
    /// First minute, inclusive.
    pub from: Minute,
    /// First minute after the window.
    pub to: Minute,
    /// At most this many, at most 1,000.
    pub limit: u32,
}

/// What is known of a subject's records without opening any.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelList {
    /// Kind, minute and id of each.
    pub labels: Vec<(Category, Minute, RecordId)>,
    /// Whether there are more.
    pub more: bool,
}
