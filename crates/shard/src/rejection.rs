//! Why a command changed nothing: data with a stable code, not an error. Each names field and
//! reason; [`Rejection::fault`] says who is to blame.

mod codes;
mod partition;

use bailiwick_types::{
    CertificateId, Digest, KeyId, Name, RequestId, Role, SessionId, ShardId, Slot, Timestamp,
};
use serde::{Deserialize, Serialize};

pub use partition::PartitionRejection;

use crate::view::RequestState;

/// Who is to blame for a rejected command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The node that proposed it.
    Node,
    /// An operator.
    Operator,
    /// An edge.
    Edge,
    /// A committee's member.
    Member,
    /// A reviewer.
    Reviewer,
    /// The disclosure workflow's service.
    Intake,
    /// The recipient.
    Recipient,
    /// Nobody: the shard is frozen, or the state has moved on.
    Nobody,
}

/// A rejected command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The bytes are no command.
    #[error("the command does not decode")]
    Malformed,
    /// No genesis yet.
    #[error("the shard has not begun")]
    NotInitialised,
    /// A second, different genesis.
    #[error("the shard has begun already, as {shard}")]
    AlreadyInitialised {
        /// What it is.
        shard: ShardId,
    },
    /// The key was used for another command before.
    #[error("the command key was used for another command")]
    KeyReused,
    /// The shard is frozen.
    #[error("the shard is frozen")]
    Frozen,
    /// The command belongs to partition 0.
    #[error("{shard} is not its jurisdiction's home shard")]
    NotHome {
        /// This shard.
        shard: ShardId,
    },
    /// A text is empty or too long.
    #[error("{field}: a text has 1 to 1024 bytes")]
    Text {
        /// The field.
        field: TextField,
    },
    /// An enrolment or policy change.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentRejection),
    /// A call for keys, an offer or a certificate's signature.
    #[error(transparent)]
    Certificate(#[from] CertificateRejection),
    /// A session's header or answer.
    #[error(transparent)]
    Session(#[from] SessionRejection),
    /// A block.
    #[error(transparent)]
    Block(#[from] BlockRejection),
    /// A request, its recall or delivery.
    #[error(transparent)]
    Request(#[from] RequestRejection),
    /// A decision.
    #[error(transparent)]
    Decision(#[from] DecisionRejection),
    /// A release or a member's refusal.
    #[error(transparent)]
    Release(#[from] ReleaseRejection),
    /// A command about partitions, or one that lacks what they need.
    #[error(transparent)]
    Partition(#[from] PartitionRejection),
}

/// A text field of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextField {
    /// The log's origin.
    Origin,
    /// A reason.
    Reason,
}

impl std::fmt::Display for TextField {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Origin => "origin",
            Self::Reason => "reason",
        })
    }
}

/// Why an enrolment, revocation or policy change is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnrolmentRejection {
    /// Nobody of that kind has this id.
    #[error("{0} is not enrolled")]
    Unknown(Name),
    /// Too many of this kind.
    #[error("at most {limit} of a kind can be enrolled")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// An older policy, or another one under the same version.
    #[error("policy version {got} is not above {current}")]
    PolicyVersion {
        /// The version in force.
        current: u32,
        /// The version given.
        got: u32,
    },
}

/// Why a call for keys, an offer or a certificate's signature is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CertificateRejection {
    /// The plan's slots are not 1 to n, or an organisation, id or key stands twice.
    #[error("the {role} plan's members are not slots 1 to n, or one of them stands twice")]
    PlanMembers {
        /// The role.
        role: Role,
    },
    /// The plan's periods are missing, too many, out of order or outside the validity.
    #[error("the plan's periods are missing, too many, out of order or outside the validity")]
    PlanPeriods,
    /// Too many certificates are live.
    #[error("at most {limit} certificates can be live")]
    TooManyLive {
        /// The limit.
        limit: usize,
    },
    /// Too many drafts are under way.
    #[error("at most {limit} drafts can be under way")]
    TooManyDrafts {
        /// The limit.
        limit: usize,
    },
    /// No such draft.
    #[error("draft {0} does not exist")]
    UnknownDraft(Digest),
    /// The plan has no such member, or names another organisation, id or key for the slot.
    #[error("the offer's member is not the one planned for {role} slot {slot}")]
    NotPlanned {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// Not exactly one key per period, or no reviewers.
    #[error("the offer of {role} slot {slot} has not one key per period and at least one reviewer")]
    OfferKeys {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// The slot offered other keys before.
    #[error("{role} slot {slot} has offered other keys before")]
    OfferedBefore {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// A signature does not verify.
    #[error("{role} slot {slot} did not sign this")]
    Signature {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// The certificate that the offers give is not whole.
    #[error("the offers give no valid certificate: {reason}")]
    Body {
        /// The check that failed.
        reason: String,
    },
    /// No draft has become this certificate.
    #[error("certificate {0} is not under way")]
    UnknownCertificate(CertificateId),
}

/// Why a session's header or a member's answer is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SessionRejection {
    /// Another shard's session.
    #[error("the session is for {named}, not for {here}")]
    WrongShard {
        /// The shard of the header.
        named: ShardId,
        /// This shard.
        here: ShardId,
    },
    /// Sent under another identity than the header's.
    #[error("{by} sent a session of edge {edge}")]
    OtherEdge {
        /// The edge of the header.
        edge: Name,
        /// Who sent it.
        by: Name,
    },
    /// The edge is not enrolled.
    #[error("edge {0} is not enrolled here")]
    NotEnrolled(Name),
    /// No valid certificate has this key period.
    #[error("key period {0} belongs to no valid certificate")]
    UnknownPeriod(KeyId),
    /// The key period does not cover the log's time.
    #[error("key period {0} does not cover now")]
    PeriodNotNow(KeyId),
    /// The header's times do not fit the log's time.
    #[error("the session's times do not fit the log's time {stamp}")]
    Times {
        /// The log's time.
        stamp: Timestamp,
    },
    /// The header's form, bounds or signature.
    #[error("the header is invalid: {reason}")]
    Header {
        /// The check that failed.
        reason: String,
    },
    /// The session exists.
    #[error("session {0} exists already")]
    Duplicate(SessionId),
    /// The edge used the nonce before.
    #[error("the edge used this nonce before")]
    NonceUsed,
    /// Too many sessions.
    #[error("the edge opened {limit} sessions within ten minutes")]
    Rate {
        /// The limit.
        limit: u32,
    },
    /// No such session.
    #[error("session {0} does not exist")]
    Unknown(SessionId),
    /// Who answers is no member.
    #[error("the session has no {role} slot {slot}")]
    NoSuchMember {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// The answer's signature does not verify.
    #[error("{role} slot {slot} did not sign this answer")]
    Signature {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
}

/// Why a block is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum BlockRejection {
    /// The bytes are no block.
    #[error("the block does not decode: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The session was never committed here.
    #[error("session {0} does not exist")]
    UnknownSession(SessionId),
    /// Sent under another identity than the session's.
    #[error("{by} sent a block of edge {edge}")]
    OtherEdge {
        /// The session's edge.
        edge: Name,
        /// Who sent it.
        by: Name,
    },
    /// The edge is not enrolled any more, or with another key.
    #[error("edge {0} is not enrolled with the session's key")]
    NotEnrolled(Name),
    /// The session has ended.
    #[error("the session expired at {expires_at}")]
    Expired {
        /// When it did.
        expires_at: Timestamp,
    },
    /// Not the session's next block.
    #[error("block {got} is not the session's next, {expected}")]
    OutOfOrder {
        /// The next block's number.
        expected: u16,
        /// The number it has.
        got: u16,
    },
    /// The manifest names another predecessor.
    #[error("the manifest does not follow the session's last one")]
    Chain,
    /// The manifest's time is before the session or its last block, or ahead of the log's time.
    #[error("the manifest's time {edge_time} does not fit the session and the log's time")]
    EdgeTime {
        /// The manifest's time.
        edge_time: Timestamp,
    },
    /// A label's minute is in the future.
    #[error("record {index}: its minute is in the future")]
    FutureMinute {
        /// The record's index in the block.
        index: u16,
    },
    /// The records are not those of the manifest's root.
    #[error("the manifest's root is not the records'")]
    Root,
    /// The signature does not verify.
    #[error("the edge did not sign this manifest")]
    Signature,
}

/// Why a request, its recall or its delivery is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestRejection {
    /// Who sent it is not enrolled as intake.
    #[error("{0} is not enrolled as intake")]
    NotIntake(Name),
    /// Another person than the request names.
    #[error("{by} sent a request entered by {entered_by}")]
    OtherPerson {
        /// Who entered it, by the request.
        entered_by: Name,
        /// Who sent it.
        by: Name,
    },
    /// Another jurisdiction's records.
    #[error("the request is for another jurisdiction's records")]
    OtherJurisdiction,
    /// Generation 0.
    #[error("a request's generation begins at 1")]
    Generation,
    /// It has lapsed, or does at once.
    #[error("the request lapses at {not_after}, which is not after now")]
    Lapsed {
        /// Its end.
        not_after: Timestamp,
    },
    /// The cap is 0 or too high.
    #[error("cap {cap} is outside 1 to {limit}")]
    Cap {
        /// The request's cap.
        cap: u32,
        /// The highest cap.
        limit: u32,
    },
    /// The recipient is not enrolled with exactly this key and certificate.
    #[error("recipient {0} is not enrolled with this key and certificate")]
    Recipient(Name),
    /// No policy is set.
    #[error("the shard has no policy")]
    NoPolicy,
    /// The request pins another policy.
    #[error("the request pins another policy than {policy}")]
    Policy {
        /// The policy in force.
        policy: Digest,
    },
    /// The documents are not those of the request's digest, or too long.
    #[error("the sealed documents are not those of the request's digest")]
    Documents,
    /// More records than the cap.
    #[error("the scope selects {found} records, above the cap of {cap}")]
    OverCap {
        /// How many; counting stops one above the highest cap.
        found: u32,
        /// The request's cap.
        cap: u32,
    },
    /// Too many requests are open.
    #[error("at most {limit} requests can be open")]
    TooManyOpen {
        /// The limit.
        limit: u32,
    },
    /// No such request.
    #[error("request {0} does not exist")]
    Unknown(RequestId),
    /// The state does not allow it.
    #[error("the request is {}", state.as_str())]
    State {
        /// The state.
        state: RequestState,
    },
    /// Only the recipient acknowledges delivery.
    #[error("{by} is not the request's recipient")]
    NotRecipient {
        /// Who sent it.
        by: Name,
    },
    /// More records delivered than selected.
    #[error("{count} records cannot be delivered of {selected}")]
    DeliveredCount {
        /// The count given.
        count: u32,
        /// The selection's count.
        selected: u32,
    },
}

/// Why a decision is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DecisionRejection {
    /// No such request.
    #[error("request {0} does not exist")]
    UnknownRequest(RequestId),
    /// The request does not wait for decisions.
    #[error("the request is {}", state.as_str())]
    NotInReview {
        /// Its state.
        state: RequestState,
    },
    /// Another selection.
    #[error("the decision is on another selection than the frozen one")]
    Selection,
    /// Other rosters.
    #[error("the decision does not name exactly the rosters involved")]
    Rosters,
    /// The signature does not verify.
    #[error("the reviewer did not sign this decision")]
    Signature,
    /// The key is no reviewer of the slot in every certificate involved.
    #[error("the key is no reviewer of {role} slot {slot} in every certificate involved")]
    NotReviewer {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// Who entered the request does not decide on it.
    #[error("{0} entered the request")]
    OwnRequest(Name),
    /// One person decides once.
    #[error("{by} has decided for {role} slot {slot} already")]
    SamePerson {
        /// The person.
        by: Name,
        /// The role decided for.
        role: Role,
        /// The slot decided for.
        slot: Slot,
    },
    /// The slot has decided otherwise.
    #[error("{role} slot {slot} has decided already")]
    SlotDecided {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
}

/// Why a release or a member's refusal is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ReleaseRejection {
    /// No such request.
    #[error("request {0} does not exist")]
    UnknownRequest(RequestId),
    /// Not approved, or recalled, refused or lapsed.
    #[error("the request is {}", state.as_str())]
    NotApproved {
        /// Its state.
        state: RequestState,
    },
    /// Another selection.
    #[error("the release is of another selection than the approved one")]
    Selection,
    /// Another number of records.
    #[error("the release is of {got} records, the selection has {selected}")]
    Count {
        /// The selection's count.
        selected: u32,
        /// The release's count.
        got: u32,
    },
    /// Another recipient.
    #[error("the release is for another recipient than the approved one")]
    Recipient,
    /// The certificates involved have no such slot.
    #[error("the certificates involved have no common {role} slot {slot}")]
    NoSuchMember {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// The signature does not verify, or the peer is not the member.
    #[error("{role} slot {slot} did not sign this")]
    Signature {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
}
