//! The commands of a jurisdiction's shard: what enters its Raft log, encoded with
//! [`bailiwick_types::codec`].
//!
//! Not here: what a command does ([`crate::apply()`]) and who may propose which (the node's
//! authorisation). A command carries everything that applying it may look at besides the store.

use bailiwick_envelope::acknowledgement::SessionAcknowledgement;
use bailiwick_envelope::approval::Approval;
use bailiwick_envelope::certificate::{KeyCertificate, MemberSignature, Period};
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::keys::{SignatureError, SigningKey, sign};
use bailiwick_envelope::offer::KeyOffer;
use bailiwick_envelope::partition::PartitionRoot;
use bailiwick_envelope::release::ReleaseIntent;
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::selection::Selection;
use bailiwick_envelope::{EncapsulationKey, Encoder, IdentityKey, Signature, SignatureTag};
use bailiwick_types::codec::{self, CodecError};
use bailiwick_types::{
    CertificateId, ClusterId, CommandKey, Digest, KeyId, Name, RequestId, Role, ShardId, Slot,
    Threshold, Timestamp,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Makes a retry the same command: the same key gives the first success again.
    pub key: CommandKey,
    /// 32 random bytes from the proposer, for the salts of the leaves that the command logs.
    pub salt: [u8; 32],
    /// The authenticated peer's id; `system` for what a node proposes by itself.
    pub by: Name,
    /// What to do.
    pub body: CommandBody,
}

impl Command {
    /// The command's encoding.
    ///
    /// # Errors
    /// [`CodecError`] when it is longer than the codec's limit.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }
}

/// What a command does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CommandBody {
    /// The shard begins. Must be the first command of a group.
    Genesis {
        /// The cluster.
        cluster: ClusterId,
        /// The shard.
        shard: ShardId,
        /// The origin line of its transparency log.
        origin: String,
    },
    /// An edge may write to the shard. Enrolling a known edge replaces its key.
    EnrolEdge {
        /// Its id.
        edge: Name,
        /// The key that signs its headers and manifests.
        key: IdentityKey,
    },
    /// An edge may not write any more.
    RevokeEdge {
        /// Its id.
        edge: Name,
    },
    /// A recipient may be named in requests. Enrolling a known one replaces its key.
    EnrolRecipient {
        /// Its id.
        name: Name,
        /// Its X-Wing key.
        key: EncapsulationKey,
        /// SHA-256 of the certificate that vouches for the key.
        certificate: Digest,
    },
    /// A recipient may not be named in new requests.
    RevokeRecipient {
        /// Its id.
        name: Name,
    },
    /// A disclosure workflow's service may submit requests.
    EnrolIntake {
        /// Its id.
        name: Name,
    },
    /// It may not any more.
    RevokeIntake {
        /// Its id.
        name: Name,
    },
    /// The policy that new requests must pin.
    SetPolicy {
        /// Digest of the policy file.
        digest: Digest,
        /// Its version; never decreases.
        version: u32,
    },
    /// An operator plans a key certificate; the members are asked for keys.
    CallForKeys(CertificatePlan),
    /// A member offers its keys for a draft.
    OfferKeys {
        /// The signed offer.
        offer: KeyOffer,
    },
    /// A member signs the certificate that a draft became.
    SignCertificate {
        /// The certificate.
        certificate: CertificateId,
        /// The member's signature.
        signature: MemberSignature,
    },
    /// An edge opens a session.
    OpenSession {
        /// Its header.
        header: SessionHeader,
    },
    /// A member answers a session's header.
    AcknowledgeSession {
        /// The signed answer.
        acknowledgement: SessionAcknowledgement,
    },
    /// An edge appends a block of sealed records.
    AppendBlock {
        /// The block's wire form ([`bailiwick_envelope::block::SealedBlock::to_wire`]).
        block: Bytes,
    },
    /// Intake submits a request. The selection is found and frozen at once.
    SubmitRequest {
        /// The request.
        request: Box<DisclosureRequest>,
        /// The order's sealed documents; the request holds [`crate::documents_digest`] of them.
        documents: Bytes,
    },
    /// A reviewer decides.
    Decide {
        /// The signed decision.
        approval: Box<Approval>,
    },
    /// A member is about to release.
    RecordRelease {
        /// The signed intent.
        intent: ReleaseIntent,
    },
    /// A member will not release.
    RefuseRelease {
        /// What it says.
        refusal: MemberRefusal,
        /// `Sig(m, "refuse", rd, R, m, reason)`; without one the command must come from the
        /// member's own authenticated identity.
        signature: Option<Signature>,
    },
    /// Nothing more is released for a request.
    RecallRequest {
        /// The request.
        request: RequestId,
        /// Why, in a person's words; at most 1,024 bytes.
        reason: String,
    },
    /// The recipient acknowledges what it received.
    RecordDelivery {
        /// The request.
        request: RequestId,
        /// How many records it opened.
        count: u32,
    },
    /// Nothing is written, requested, granted or released until the shard is unfrozen.
    Freeze {
        /// Why, in a person's words; at most 1,024 bytes.
        reason: String,
    },
    /// The freeze is over.
    Unfreeze,
    /// In how many groups the jurisdiction's records are; only where there are several, once.
    SetPartitions {
        /// How many, 2 to 64.
        count: u16,
    },
    /// A further partition takes over the home group's state.
    MirrorHome(HomeState),
    /// A further partition takes over a certificate that the home group made valid.
    InstallCertificate {
        /// The certificate.
        certificate: Box<KeyCertificate>,
    },
    /// A partition freezes its part of a request's selection.
    FreezePart {
        /// The request.
        request: Box<DisclosureRequest>,
    },
    /// The home group logs how far further partitions have come.
    RecordRoots {
        /// At most one for each partition.
        roots: Vec<PartitionRoot>,
    },
    /// Intake submits a request of a partitioned jurisdiction; its parts are frozen.
    SubmitParts(Box<PartedRequest>),
}

/// What a further partition takes over from its home group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeState {
    /// Size of the home log when the state was this.
    pub leaves: u64,
    /// The enrolled edges with their keys.
    pub edges: Vec<(Name, IdentityKey)>,
    /// The enrolled intake services.
    pub intakes: Vec<Name>,
    /// Why and by whom the jurisdiction is frozen, if it is.
    pub frozen: Option<(String, Name)>,
}

/// A request with the parts of its selection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartedRequest {
    /// The request.
    pub request: Box<DisclosureRequest>,
    /// The order's sealed documents; the request holds [`crate::documents_digest`] of them.
    pub documents: Bytes,
    /// The selection over all parts, in order of the partition.
    pub selection: Selection,
    /// The part of each partition that the scope touches, ascending.
    pub parts: Vec<PartClaim>,
    /// How far the further ones among them have come.
    pub roots: Vec<PartitionRoot>,
}

/// A partition's part of a selection, as it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartClaim {
    /// The partition.
    pub partition: u16,
    /// The part.
    pub selection: Selection,
    /// The index of its leaf in the partition's log.
    pub leaf_index: u64,
    /// The key periods of its records.
    pub kids: Vec<KeyId>,
}

impl CommandBody {
    /// Whether the command is for the home group only, whatever it says: who may act, keys, policy
    /// and freezes reach a further partition as the home group's state.
    pub(crate) fn is_of_home(&self) -> bool {
        matches!(
            self,
            Self::EnrolEdge { .. }
                | Self::RevokeEdge { .. }
                | Self::EnrolRecipient { .. }
                | Self::RevokeRecipient { .. }
                | Self::EnrolIntake { .. }
                | Self::RevokeIntake { .. }
                | Self::SetPolicy { .. }
                | Self::CallForKeys(_)
                | Self::OfferKeys { .. }
                | Self::SignCertificate { .. }
                | Self::Freeze { .. }
                | Self::Unfreeze
        )
    }
}

/// A key certificate as an operator plans it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatePlan {
    /// The workflow committee.
    pub workflow: CommitteePlan,
    /// The legal-review committee.
    pub legal_review: CommitteePlan,
    /// Begin of validity, inclusive.
    pub not_before: Timestamp,
    /// End of validity, exclusive.
    pub not_after: Timestamp,
    /// The periods, in order.
    pub periods: Vec<PlannedPeriod>,
}

impl CertificatePlan {
    /// A role's plan.
    pub fn committee(&self, role: Role) -> &CommitteePlan {
        match role {
            Role::Workflow => &self.workflow,
            Role::LegalReview => &self.legal_review,
        }
    }
}

/// A key period as an operator plans it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPeriod {
    /// First instant at which its keys may seal, inclusive.
    pub not_before: Timestamp,
    /// First instant at which they may not any more.
    pub not_after: Timestamp,
    /// When its private keys are destroyed.
    pub erase_by: Timestamp,
}

impl From<PlannedPeriod> for Period {
    fn from(period: PlannedPeriod) -> Self {
        Self {
            not_before: period.not_before,
            not_after: period.not_after,
            erase_by: period.erase_by,
        }
    }
}

impl From<Period> for PlannedPeriod {
    fn from(period: Period) -> Self {
        Self {
            not_before: period.not_before,
            not_after: period.not_after,
            erase_by: period.erase_by,
        }
    }
}

/// A committee as an operator plans it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitteePlan {
    /// How many of how many.
    pub threshold: Threshold,
    /// The members, slots 1 to n in order.
    pub members: Vec<PlannedMember>,
}

/// A member as an operator plans it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMember {
    /// Its slot.
    pub slot: Slot,
    /// Its organisation.
    pub organisation: Name,
    /// Its id.
    pub name: Name,
    /// Its identity key.
    pub identity: IdentityKey,
}

/// A member's word that it will not release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRefusal {
    /// The request.
    pub request: RequestId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// Which check failed, in words; at most 1,024 bytes.
    pub reason: String,
}

impl MemberRefusal {
    /// `Sig(m, "refuse", rd, R, m, reason)`.
    pub fn sign(&self, key: &SigningKey) -> Signature {
        sign(key, SignatureTag::Refuse, |e| self.fields(e))
    }

    /// Verifies the member's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the key did not sign this refusal.
    pub fn verify(
        &self,
        member: &IdentityKey,
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        member.verify(SignatureTag::Refuse, |e| self.fields(e), signature)
    }

    fn fields(&self, encoder: &mut Encoder) {
        encoder
            .bytes(&self.request.0)
            .u8(self.role.code())
            .u8(self.slot.number())
            .text(&self.reason);
    }
}
