//! From messages to commands: what a peer asked becomes a proposal, and its outcome an answer.
//!
//! A command's key is the hash of who asked what: the same message sent again is the same command.
//! Messages that may be repeated on purpose carry a key of their own, which is part of what is hashed.

use bailiwick_api::Refusal;
use bailiwick_api::cluster::{
    Accepted, ChangePolicy, CreateJurisdiction, Enrol, Enrolment, EnrolmentKind, Initialise, Revoke,
};
use bailiwick_api::evidence::{AppendRelease, MemberAnswer, MemberAnswered};
use bailiwick_api::request::{
    AcknowledgeDelivery, Decide, Freeze, RecallRequest, RequestView, SubmitRequest,
};
use bailiwick_api::session::{
    AcknowledgeSession, AppendBlock, BlockStored, CallForKeys, CallForKeysReply, CommitteePlan,
    OfferKeys, OpenSession, SignCertificate,
};
use bailiwick_consensus::ProposeError;
use bailiwick_envelope::block::SealedBlock;
use bailiwick_envelope::{HashTag, hash};
use bailiwick_shard::directory::{
    self, DirectoryCommand, DirectoryCommandBody, DirectoryOutcome, NodeEntry,
};
use bailiwick_shard::{
    CertificatePlan, Command, CommandBody, MemberRefusal, Outcome, PlannedMember, Rejection,
};
use bailiwick_transport::Operation;
use bailiwick_types::limits::{LIVE_CERTIFICATES, PARTIAL_CHUNK_RECORDS};
use bailiwick_types::{CommandKey, GroupId, Identity, Name, RequestId, ShardId};
use bytes::Bytes;

use super::Vault;
use crate::clock;

/// Who asked for what: the key of the command that comes of it.
pub(super) struct Asked<'a> {
    /// The authenticated peer.
    pub(super) peer: &'a Identity,
    /// What it asked.
    pub(super) operation: Operation,
    /// Its message.
    pub(super) payload: &'a Bytes,
}

/// Bytes of a block's message that name session and block: what the key of a block is made of.
const BLOCK_KEY_BYTES: usize = 128;

/// A sealed partial without its records: encapsulated key, place, selection, signature.
const PARTIAL_HEAD_BYTES: usize = 4096;
/// A record's values in a partial: at most 20 of a member's holder sets (4-of-7), 41 bytes each, and
/// its index.
const PARTIAL_RECORD_BYTES: usize = 1024;

impl Asked<'_> {
    fn key(&self) -> CommandKey {
        let payload = match self.operation {
            // The shard recognises a repeated block by its session and manifest; hashing all of it
            // here would hash every record once more.
            Operation::AppendBlock => &self.payload[..self.payload.len().min(BLOCK_KEY_BYTES)],
            _ => self.payload,
        };
        let digest = hash(HashTag::CommandKey, |e| {
            e.text(&self.peer.to_string())
                .u16(self.operation.code())
                .bytes(payload);
        });
        let mut key = [0; 16];
        key.copy_from_slice(&digest.0[..16]);
        CommandKey(key)
    }
}

fn rejected(rejection: &Rejection) -> Refusal {
    // The leader is about to propose the shard's first command.
    if *rejection == Rejection::NotInitialised {
        return Refusal::Unavailable;
    }
    Refusal::Rejected {
        code: rejection.code().to_owned(),
        message: rejection.to_string(),
    }
}

fn unexpected(outcome: &Outcome) -> Refusal {
    tracing::error!(?outcome, "the state machine answered with another outcome");
    Refusal::Store
}

pub(super) fn refusal(error: ProposeError) -> Refusal {
    match error {
        ProposeError::NotLeader { leader } => Refusal::NotLeader {
            leader: leader.map(|leader| (leader.id, leader.address)),
        },
        ProposeError::Retry | ProposeError::ShuttingDown => Refusal::Unavailable,
        // This node has not been let in yet.
        ProposeError::NoSuchGroup(GroupId::DIRECTORY) => Refusal::Unavailable,
        ProposeError::Unknown => Refusal::Unknown,
        ProposeError::NoSuchGroup(group) => Refusal::NotFound(format!("group {group} here")),
        ProposeError::Overloaded => Refusal::Overloaded,
        ProposeError::TooLarge { length } => {
            Refusal::Malformed(format!("a command of {length} bytes is too long"))
        }
    }
}

fn plan(committee: CommitteePlan) -> bailiwick_shard::CommitteePlan {
    let member = |member: bailiwick_api::session::PlannedMember| PlannedMember {
        slot: member.slot,
        organisation: member.organisation,
        name: member.name,
        identity: member.identity,
    };
    bailiwick_shard::CommitteePlan {
        threshold: committee.threshold,
        members: committee.members.into_iter().map(member).collect(),
    }
}

impl Vault {
    async fn propose(
        &self,
        asked: &Asked<'_>,
        shard: ShardId,
        body: CommandBody,
    ) -> Result<Outcome, Refusal> {
        self.propose_keyed(asked.key(), &asked.peer.id, shard, body)
            .await
    }

    /// Proposes in the name of a peer a command that is idempotent by what it says.
    pub(super) async fn propose_as(
        &self,
        by: &Name,
        shard: ShardId,
        body: CommandBody,
    ) -> Result<Outcome, Refusal> {
        let key = CommandKey(rand::random());
        self.propose_keyed(key, by, shard, body).await
    }

    /// Proposes in this node's own name a command that is idempotent by what it says.
    pub(super) async fn propose_own(
        &self,
        shard: ShardId,
        body: CommandBody,
    ) -> Result<Outcome, Refusal> {
        self.propose_as(self.name(), shard, body).await
    }

    async fn propose_keyed(
        &self,
        key: CommandKey,
        by: &Name,
        shard: ShardId,
        body: CommandBody,
    ) -> Result<Outcome, Refusal> {
        let group = self.group(shard).ok_or(Refusal::NoSuchShard(shard))?;
        self.check_serving(&body, shard)?;
        let command = Command {
            key,
            salt: rand::random(),
            by: by.clone(),
            body,
        };
        let bytes = command
            .to_bytes()
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let outcome = self
            .host
            .propose(group, bytes.into())
            .await
            .map_err(refusal)?;
        match Outcome::from_bytes(&outcome).map_err(|_| Refusal::Store)? {
            Outcome::Rejected(rejection) => Err(rejected(&rejection)),
            outcome => Ok(outcome),
        }
    }

    pub(super) async fn open_session(
        &self,
        asked: &Asked<'_>,
        message: OpenSession,
    ) -> Result<Accepted, Refusal> {
        let body = CommandBody::OpenSession {
            header: message.header,
        };
        self.propose(asked, message.shard, body)
            .await
            .map(|_| Accepted)
    }

    pub(super) async fn acknowledge_session(
        &self,
        asked: &Asked<'_>,
        message: AcknowledgeSession,
    ) -> Result<Accepted, Refusal> {
        let acknowledgement = message.acknowledgement;
        let body = CommandBody::AcknowledgeSession { acknowledgement };
        self.propose(asked, message.shard, body)
            .await
            .map(|_| Accepted)
    }

    pub(super) async fn append_block(
        &self,
        asked: &Asked<'_>,
        message: AppendBlock,
    ) -> Result<BlockStored, Refusal> {
        let count = SealedBlock::count_of(&message.block);
        let body = CommandBody::AppendBlock {
            block: message.block,
        };
        match self.propose(asked, message.shard, body).await? {
            Outcome::BlockStored(stored) => {
                let new = usize::from(count).saturating_sub(stored.duplicates.len());
                self.metrics.stored(new as u64);
                Ok(BlockStored {
                    duplicates: stored.duplicates,
                })
            }
            outcome => Err(unexpected(&outcome)),
        }
    }

    pub(super) async fn call_for_keys(
        &self,
        asked: &Asked<'_>,
        message: CallForKeys,
    ) -> Result<CallForKeysReply, Refusal> {
        let periods = message.certificate_periods();
        let plan = CertificatePlan {
            workflow: plan(message.workflow),
            legal_review: plan(message.legal_review),
            not_before: message.not_before,
            not_after: message.not_after,
            periods: periods.into_iter().map(Into::into).collect(),
        };
        match self
            .propose(asked, message.shard, CommandBody::CallForKeys(plan))
            .await?
        {
            Outcome::Drafted { draft } => Ok(CallForKeysReply { draft }),
            outcome => Err(unexpected(&outcome)),
        }
    }

    pub(super) async fn offer_keys(
        &self,
        asked: &Asked<'_>,
        message: OfferKeys,
    ) -> Result<Accepted, Refusal> {
        let body = CommandBody::OfferKeys {
            offer: message.offer,
        };
        self.propose(asked, message.shard, body)
            .await
            .map(|_| Accepted)
    }

    pub(super) async fn sign_certificate(
        &self,
        asked: &Asked<'_>,
        message: SignCertificate,
    ) -> Result<Accepted, Refusal> {
        let SignCertificate {
            shard,
            certificate,
            signature,
        } = message;
        let body = CommandBody::SignCertificate {
            certificate,
            signature,
        };
        self.propose(asked, shard, body).await.map(|_| Accepted)
    }

    pub(super) async fn enrol(
        &self,
        asked: &Asked<'_>,
        message: Enrol,
    ) -> Result<Accepted, Refusal> {
        let body = match message.who {
            Enrolment::Edge { name, key } => CommandBody::EnrolEdge { edge: name, key },
            Enrolment::Intake { name } => CommandBody::EnrolIntake { name },
            Enrolment::Recipient {
                name,
                key,
                certificate,
            } => CommandBody::EnrolRecipient {
                name,
                key,
                certificate,
            },
        };
        self.propose(asked, message.shard, body).await?;
        self.everywhere(message.shard).await
    }

    pub(super) async fn revoke(
        &self,
        asked: &Asked<'_>,
        message: Revoke,
    ) -> Result<Accepted, Refusal> {
        let body = match message.kind {
            EnrolmentKind::Edge => CommandBody::RevokeEdge { edge: message.name },
            EnrolmentKind::Intake => CommandBody::RevokeIntake { name: message.name },
            EnrolmentKind::Recipient => CommandBody::RevokeRecipient { name: message.name },
        };
        self.propose(asked, message.shard, body).await?;
        self.everywhere(message.shard).await
    }

    pub(super) async fn change_policy(
        &self,
        asked: &Asked<'_>,
        message: ChangePolicy,
    ) -> Result<Accepted, Refusal> {
        let ChangePolicy {
            shard,
            digest,
            version,
            ..
        } = message;
        self.propose(asked, shard, CommandBody::SetPolicy { digest, version })
            .await?;
        Ok(Accepted)
    }

    pub(super) async fn submit_request(
        &self,
        asked: &Asked<'_>,
        message: SubmitRequest,
    ) -> Result<RequestView, Refusal> {
        let count = self.partitions(message.shard).await?;
        if count > 1 {
            return self.submit_parts(asked, message, count).await;
        }
        let id = message.request.id();
        let (request, documents) = (Box::new(message.request), message.documents);
        let body = CommandBody::SubmitRequest { request, documents };
        self.propose(asked, message.shard, body).await?;
        self.after_change(message.shard, id).await
    }

    pub(super) async fn decide(
        &self,
        asked: &Asked<'_>,
        message: Decide,
    ) -> Result<RequestView, Refusal> {
        let id = message.approval.statement.request;
        let body = CommandBody::Decide {
            approval: Box::new(message.approval),
        };
        self.propose(asked, message.shard, body).await?;
        self.after_change(message.shard, id).await
    }

    pub(super) async fn recall(
        &self,
        asked: &Asked<'_>,
        message: RecallRequest,
    ) -> Result<RequestView, Refusal> {
        let RecallRequest {
            shard,
            request,
            reason,
            ..
        } = message;
        self.check_enrolled(asked.peer, shard).await?;
        self.propose(asked, shard, CommandBody::RecallRequest { request, reason })
            .await?;
        self.spool.remove(&request);
        self.after_change(shard, request).await
    }

    pub(super) async fn append_release(
        &self,
        asked: &Asked<'_>,
        message: AppendRelease,
    ) -> Result<MemberAnswered, Refusal> {
        match message.answer {
            MemberAnswer::Release(intent) => {
                let body = CommandBody::RecordRelease { intent };
                match self.propose(asked, message.shard, body).await? {
                    Outcome::ReleaseLogged { leaf_index, .. } => Ok(MemberAnswered {
                        leaf_index: Some(leaf_index),
                    }),
                    outcome => Err(unexpected(&outcome)),
                }
            }
            MemberAnswer::Refuse {
                request,
                role,
                slot,
                reason,
            } => {
                let refusal = MemberRefusal {
                    request,
                    role,
                    slot,
                    reason,
                };
                let body = CommandBody::RefuseRelease {
                    refusal,
                    signature: None,
                };
                self.propose(asked, message.shard, body).await?;
                Ok(MemberAnswered { leaf_index: None })
            }
        }
    }

    pub(super) async fn acknowledge_delivery(
        &self,
        asked: &Asked<'_>,
        message: AcknowledgeDelivery,
    ) -> Result<Accepted, Refusal> {
        let AcknowledgeDelivery {
            shard,
            request,
            count,
        } = message;
        self.propose(asked, shard, CommandBody::RecordDelivery { request, count })
            .await?;
        self.spool.remove(&request);
        Ok(Accepted)
    }

    pub(super) async fn freeze(
        &self,
        asked: &Asked<'_>,
        message: Freeze,
    ) -> Result<Accepted, Refusal> {
        let Freeze {
            shard,
            frozen,
            reason,
            ..
        } = message;
        let body = if frozen {
            CommandBody::Freeze { reason }
        } else {
            CommandBody::Unfreeze
        };
        self.propose(asked, shard, body).await?;
        self.everywhere(shard).await
    }

    /// The request as it stands after a command of ours.
    pub(super) async fn after_change(
        &self,
        shard: ShardId,
        id: RequestId,
    ) -> Result<RequestView, Refusal> {
        self.request_view(shard, id)
            .await?
            .ok_or(Refusal::NotFound(format!("request {id}")))
    }

    pub(super) async fn propose_to_directory(
        &self,
        asked: &Asked<'_>,
        body: DirectoryCommandBody,
    ) -> Result<Accepted, Refusal> {
        let command = DirectoryCommand {
            key: asked.key(),
            by: asked.peer.id.clone(),
            body,
        };
        let bytes = command
            .to_bytes()
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let outcome = self.host.propose(GroupId::DIRECTORY, bytes.into()).await;
        match DirectoryOutcome::from_bytes(&outcome.map_err(refusal)?) {
            Ok(DirectoryOutcome::Rejected(rejection)) => Err(super::members::rejected(&rejection)),
            Ok(_) => Ok(Accepted),
            Err(_) => Err(Refusal::Store),
        }
    }

    pub(super) async fn initialise(
        &self,
        asked: &Asked<'_>,
        message: Initialise,
    ) -> Result<Accepted, Refusal> {
        let nodes = message.nodes.into_iter().map(|node| NodeEntry {
            id: node.id,
            name: node.name,
            region: node.region,
            address: node.address,
        });
        let body = DirectoryCommandBody::Initialise {
            cluster: message.cluster,
            trust_domain: self.config.trust_domain.clone(),
            nodes: nodes.collect(),
        };
        self.propose_to_directory(asked, body).await
    }

    pub(super) async fn create_jurisdiction(
        &self,
        asked: &Asked<'_>,
        message: CreateJurisdiction,
    ) -> Result<Accepted, Refusal> {
        let body = directory::CreateJurisdiction {
            jurisdiction: message.jurisdiction,
            allowed_regions: message.allowed_regions,
            replicas: message.replicas,
            partitions: message.partitions,
            policy: message.policy,
        };
        self.propose_to_directory(asked, DirectoryCommandBody::CreateJurisdiction(body))
            .await
    }

    /// Takes a partial into the spool, if it is by the member that sends it and its release is
    /// logged.
    pub(super) async fn put_partial(
        &self,
        peer: &Identity,
        message: bailiwick_api::evidence::PutPartial,
    ) -> Result<Accepted, Refusal> {
        let place = message.partial.place;
        self.leads(message.shard)?;
        self.check_seat(peer, message.shard, place.role, place.slot)
            .await?;
        let view = self.after_change(message.shard, place.request).await?;
        let logged = (place.role, place.slot, place.leaf_index);
        if !view.releases.contains(&logged) || peer.role.committee() != Some(place.role) {
            return Err(Refusal::Rejected {
                code: "release_not_logged".to_owned(),
                message: "partial: its release is not a leaf of the log".to_owned(),
            });
        }
        if !self.may_release(message.shard, place.request).await? {
            return Err(Refusal::Rejected {
                code: "not_releasing".to_owned(),
                message: "partial: the request was recalled, or the jurisdiction is frozen"
                    .to_owned(),
            });
        }
        let records = (view.selection.count as usize).min(PARTIAL_CHUNK_RECORDS);
        if message.partial.sealed.len() > PARTIAL_HEAD_BYTES + records * PARTIAL_RECORD_BYTES {
            return Err(Refusal::Malformed(
                "a partial longer than its selection".to_owned(),
            ));
        }
        // As many chunks as the selection needs, and one unfinished for each period.
        let chunks = (view.selection.count as usize).div_ceil(PARTIAL_CHUNK_RECORDS);
        let most = chunks * 2 + LIVE_CERTIFICATES;
        self.spool
            .put(message.partial, most, clock::now())
            .map_err(|error| match error {
                super::spool::SpoolError::Full => Refusal::Overloaded,
                oversize => Refusal::Malformed(oversize.to_string()),
            })?;
        Ok(Accepted)
    }

    /// Refuses unless this node leads the shard's group.
    pub(super) fn leads(&self, shard: ShardId) -> Result<GroupId, Refusal> {
        let group = self.group(shard).ok_or(Refusal::NoSuchShard(shard))?;
        if self.host.is_leader(group) {
            return Ok(group);
        }
        let leader = self
            .host
            .leader(group)
            .map(|leader| (leader.id, leader.address));
        Err(Refusal::NotLeader { leader })
    }

    /// This node's id, as in its certificate name.
    pub(super) fn name(&self) -> &Name {
        &self.config.name
    }
}
