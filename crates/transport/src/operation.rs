//! Every operation that one process may ask of another, and its code on the wire.
//!
//! Who may call which is in [`crate::authorisation`]. Codes are never reused; each hundred is one
//! family and leaves room.

use std::fmt;

/// Which kind of process answers an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedBy {
    /// Vault nodes.
    Vault,
    /// Edges.
    Edge,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $served:ident;)*) => {
        /// An operation of the cluster.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Operation {
            $($(#[$doc])* $name = $code,)*
        }

        impl Operation {
            /// All operations, by code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The operation of a code; `None` for an unknown one.
            pub fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name used in logs and metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Which kind of process answers it.
            pub fn served_by(self) -> ServedBy {
                match self {
                    $(Self::$name => ServedBy::$served,)*
                }
            }
        }
    };
}

operations! {
    /// Raft: append entries, and heartbeats.
    RaftAppend = 0x0100, "raft-append", Vault;
    /// Raft: request a vote.
    RaftVote = 0x0101, "raft-vote", Vault;
    /// Raft: ask whether a vote would be granted.
    RaftPreVote = 0x0102, "raft-pre-vote", Vault;
    /// Raft: a snapshot, as a stream.
    RaftSnapshot = 0x0103, "raft-snapshot", Vault;
    /// Raft: hand leadership to the callee.
    RaftTransfer = 0x0104, "raft-transfer", Vault;
    /// A voter's checkpoint signature, or its alarm over a diverging replica.
    RaftCheckpoint = 0x0105, "raft-checkpoint", Vault;
    /// Find leaders; describe the cluster.
    Directory = 0x0200, "directory", Vault;
    /// A node's health, groups and lag.
    Status = 0x0201, "status", Vault;
    /// Initialise, add and remove nodes, place groups, hand over leaders.
    AdministerCluster = 0x0202, "administer-cluster", Vault;
    /// Create a jurisdiction and its group.
    CreateJurisdiction = 0x0203, "create-jurisdiction", Vault;
    /// Change a jurisdiction's policy.
    ChangePolicy = 0x0204, "change-policy", Vault;
    /// Enrol an identity in a jurisdiction.
    Enrol = 0x0205, "enrol", Vault;
    /// Withdraw an enrolment.
    Revoke = 0x0206, "revoke", Vault;
    /// Stream a snapshot of a group, to be kept elsewhere.
    SaveSnapshot = 0x0220, "save-snapshot", Vault;
    /// The whole directory: nodes, jurisdictions, wanted and actual members.
    ReadDirectory = 0x0230, "read-directory", Vault;
    /// Change nodes, jurisdictions, wanted voters, or the autopilot's settings.
    ChangeDirectory = 0x0231, "change-directory", Vault;
    /// A vault node's word that it begins with a disk.
    BeginNode = 0x0232, "begin-node", Vault;
    /// What a node says of the groups that it leads.
    ReportGroups = 0x0233, "report-groups", Vault;
    /// The directory's leader has a group's leader take a step.
    StepGroup = 0x0234, "step-group", Vault;
    /// Hand a group's leadership over.
    TransferGroup = 0x0235, "transfer-group", Vault;
    /// Look through a node's data folder for what must not be there.
    CheckPlacement = 0x0236, "check-placement", Vault;
    /// Open a sealing session.
    OpenSession = 0x0300, "open-session", Vault;
    /// Append a block of sealed records.
    AppendBlock = 0x0301, "append-block", Vault;
    /// What became of a session.
    SessionStatus = 0x0302, "session-status", Vault;
    /// An approver's word that its part of a session opens.
    AcknowledgeSession = 0x0303, "acknowledge-session", Vault;
    /// Ask the approvers for keys of coming periods.
    CallForKeys = 0x0400, "call-for-keys", Vault;
    /// An approver's public keys for coming periods.
    OfferKeys = 0x0401, "offer-keys", Vault;
    /// An approver's signature on a key certificate.
    SignCertificate = 0x0402, "sign-certificate", Vault;
    /// Read key certificates and their proofs.
    ReadCertificate = 0x0403, "read-certificate", Vault;
    /// An approver's cosignature on a checkpoint.
    Cosign = 0x0500, "cosign", Vault;
    /// Read the log: checkpoints, tiles, proofs.
    ReadLog = 0x0501, "read-log", Vault;
    /// The long stream of events that an approver works from.
    Attend = 0x0600, "attend", Vault;
    /// Enter a request.
    SubmitRequest = 0x0601, "submit-request", Vault;
    /// A reviewer's signed decision.
    Decide = 0x0602, "decide", Vault;
    /// Recall a request.
    RecallRequest = 0x0603, "recall-request", Vault;
    /// Freeze all releases of a jurisdiction.
    Freeze = 0x0604, "freeze", Vault;
    /// Read one request.
    ReadRequest = 0x0605, "read-request", Vault;
    /// List requests.
    ListRequests = 0x0606, "list-requests", Vault;
    /// Read a request's evidence: labels, headers, manifests, proofs.
    ReadEvidence = 0x0607, "read-evidence", Vault;
    /// Place, extend or lift a hold.
    Hold = 0x0608, "hold", Vault;
    /// List the labels of a subject's records.
    ListLabels = 0x0700, "list-labels", Vault;
    /// Log an approver's release.
    AppendRelease = 0x0701, "append-release", Vault;
    /// Store an approver's sealed partial in the spool.
    PutPartial = 0x0702, "put-partial", Vault;
    /// Fetch the partials of a request.
    ReadPartials = 0x0703, "read-partials", Vault;
    /// Fetch the ciphertext of a released selection.
    ReadCiphertext = 0x0704, "read-ciphertext", Vault;
    /// Acknowledge a delivery with the receipt.
    AcknowledgeDelivery = 0x0705, "acknowledge-delivery", Vault;
    /// Between vaults: freeze a partition's part of a request's selection.
    FreezePart = 0x0900, "freeze-part", Vault;
    /// Between vaults: read the list of a frozen part.
    ReadPartInputs = 0x0901, "read-part-inputs", Vault;
    /// Between vaults: a further partition takes over its home group's state.
    MirrorHome = 0x0902, "mirror-home", Vault;
    /// Between vaults: whether a request's release to a recipient stands.
    CheckRelease = 0x0903, "check-release", Vault;
    /// Read a further partition's part of a request's evidence.
    ReadPart = 0x0904, "read-part", Vault;
    /// Hand records to an edge for sealing.
    PutRecords = 0x0800, "put-records", Edge;
    /// An edge's health and queues.
    EdgeStatus = 0x0801, "edge-status", Edge;
}

impl Operation {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_and_names_are_unique_and_round_trip() {
        let mut names = BTreeSet::new();
        for operation in Operation::ALL {
            assert_eq!(Operation::from_code(operation.code()), Some(*operation));
            assert!(names.insert(operation.as_str()), "{operation} twice");
        }
        assert_eq!(Operation::from_code(0), None);
        assert_eq!(Operation::from_code(0xffff), None);
    }
}
