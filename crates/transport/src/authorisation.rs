//! Which role may call which operation: one table, default deny.
//!
//! This is the coarse gate. It is checked by the server before a handler runs. What it does not
//! know: jurisdictions, enrolment, slots, and whether a request is lawful; those are checked by the
//! state machines and, independently, by every approver.

use bailiwick_types::PeerRole;

use crate::operation::Operation;

use PeerRole::{
    ApproverLegalReview, ApproverWorkflow, Auditor, Edge, Intake, Operator, Recipient, Reviewer,
    Vault, Witness,
};

const VAULTS: &[PeerRole] = &[Vault];
const OPERATORS: &[PeerRole] = &[Operator];
const EDGES: &[PeerRole] = &[Edge];
const APPROVERS: &[PeerRole] = &[ApproverWorkflow, ApproverLegalReview];
/// Everybody but backends: those may call nothing at vaults.
const VAULT_CLIENTS: &[PeerRole] = &[
    Vault,
    Edge,
    Intake,
    ApproverWorkflow,
    ApproverLegalReview,
    Reviewer,
    Recipient,
    Operator,
    Auditor,
    Witness,
];
const REQUEST_READERS: &[PeerRole] = &[
    Intake,
    ApproverWorkflow,
    ApproverLegalReview,
    Reviewer,
    Recipient,
    Operator,
    Auditor,
];
const LOG_READERS: &[PeerRole] = &[
    Intake,
    ApproverWorkflow,
    ApproverLegalReview,
    Reviewer,
    Recipient,
    Operator,
    Auditor,
    Witness,
];

/// The matrix. An operation that is missing here may be called by nobody.
const TABLE: &[(Operation, &[PeerRole])] = &[
    (Operation::RaftAppend, VAULTS),
    (Operation::RaftVote, VAULTS),
    (Operation::RaftPreVote, VAULTS),
    (Operation::RaftSnapshot, VAULTS),
    (Operation::RaftTransfer, VAULTS),
    (Operation::RaftCheckpoint, VAULTS),
    (Operation::Directory, VAULT_CLIENTS),
    (Operation::Status, &[Operator, Auditor, Vault]),
    (Operation::AdministerCluster, OPERATORS),
    (Operation::CreateJurisdiction, OPERATORS),
    (Operation::ChangePolicy, OPERATORS),
    (Operation::Enrol, OPERATORS),
    (Operation::Revoke, OPERATORS),
    (Operation::SaveSnapshot, OPERATORS),
    (Operation::ReadDirectory, &[Vault, Operator, Auditor]),
    (Operation::ChangeDirectory, OPERATORS),
    (Operation::BeginNode, VAULTS),
    (Operation::ReportGroups, &[Vault, Operator, Auditor]),
    (Operation::StepGroup, VAULTS),
    (Operation::TransferGroup, OPERATORS),
    (Operation::CheckPlacement, &[Operator, Auditor]),
    (Operation::OpenSession, EDGES),
    (Operation::AppendBlock, EDGES),
    (Operation::SessionStatus, &[Edge, Operator]),
    (Operation::AcknowledgeSession, APPROVERS),
    (Operation::CallForKeys, OPERATORS),
    (Operation::OfferKeys, APPROVERS),
    (Operation::SignCertificate, APPROVERS),
    (Operation::ReadCertificate, VAULT_CLIENTS),
    (Operation::Cosign, APPROVERS),
    (Operation::ReadLog, LOG_READERS),
    (Operation::Attend, APPROVERS),
    (Operation::SubmitRequest, &[Intake]),
    (Operation::Decide, &[Reviewer]),
    (Operation::RecallRequest, &[Intake, Operator]),
    (Operation::Freeze, OPERATORS),
    (Operation::ReadRequest, REQUEST_READERS),
    (Operation::ListRequests, REQUEST_READERS),
    (Operation::ReadEvidence, APPROVERS),
    (Operation::Hold, &[Intake]),
    (Operation::ListLabels, &[Intake, Auditor]),
    (Operation::AppendRelease, APPROVERS),
    (Operation::PutPartial, APPROVERS),
    (Operation::ReadPartials, &[Recipient]),
    (Operation::ReadCiphertext, &[Recipient]),
    (Operation::AcknowledgeDelivery, &[Recipient]),
    (Operation::FreezePart, VAULTS),
    (Operation::ReadPartInputs, VAULTS),
    (Operation::MirrorHome, VAULTS),
    (Operation::CheckRelease, VAULTS),
    (Operation::ReadPart, APPROVERS),
    (Operation::PutRecords, &[PeerRole::Backend]),
    (Operation::EdgeStatus, &[Operator, PeerRole::Backend]),
];

/// Whether a peer of this role may call this operation.
pub fn allowed(role: PeerRole, operation: Operation) -> bool {
    TABLE
        .iter()
        .find(|(listed, _)| *listed == operation)
        .is_some_and(|(_, roles)| roles.contains(&role))
}
