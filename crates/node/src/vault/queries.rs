//! Reads: every one of them is a ReadIndex read on the leader, done off the async workers, and turned
//! into the API's shapes. Only status and directory answer from what this node happens to know.

use std::collections::BTreeMap;
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::cluster::{
    ClusterDescription, GroupDescription, GroupStatus, NodeDescription, NodeStatus,
};
use bailiwick_api::evidence::{
    CiphertextRecord, Ciphertexts, Evidence, EvidenceBlock, EvidenceRecord, PAGE_RECORDS, Partials,
    ReadCiphertext, ReadEvidence, ReadPartials,
};
use bailiwick_api::log::{LogPage, ProvenLeaf, ReadLog};
use bailiwick_api::request::{
    LabelList, ListLabels, ListRequests, ReadRequest, RequestList, RequestState, RequestSummary,
    RequestView,
};
use bailiwick_api::session::{
    CallForKeys, CertificateDraft, Certificates, CommitteePlan, LoggedCertificate, PlannedMember,
    ReadCertificates, ReadSession, SessionState,
};
use bailiwick_consensus::{GroupKind, ReadError};
use bailiwick_envelope::approval::Decision;
use bailiwick_shard::directory::GroupEntry;
use bailiwick_shard::{query, view};
use bailiwick_storage::StoreView;
use bailiwick_types::store::StoreError;
use bailiwick_types::{
    CommandKey, Digest, Identity, Name, NodeId, PeerRole, RequestId, Role, ShardId, Slot,
};
use tokio::time::Instant;

use super::Vault;
use crate::clock;

/// Whom to ask about a group: the wanted voters that are there already, else those that are.
fn who_answers(group: &GroupEntry) -> Vec<NodeId> {
    let here = |node: &&NodeId| group.members.contains(node);
    let there: Vec<NodeId> = group.voters.iter().filter(here).copied().collect();
    match (there.is_empty(), group.members.is_empty()) {
        (false, _) => there,
        (true, false) => group.members.clone(),
        (true, true) => group.voters.clone(),
    }
}

/// Longest that a read may wait for news.
const WAIT_CEILING: Duration = Duration::from_secs(30);
/// Most rows of a listing.
const LIST_ROWS: u32 = 1000;
/// Bytes of partials that one answer may carry: under a message, with room for framing.
const PARTIALS_BYTES: usize = 3 << 20;

fn wait_until(wait_ms: u32) -> Instant {
    Instant::now() + Duration::from_millis(u64::from(wait_ms)).min(WAIT_CEILING)
}

pub(super) fn refusal(error: ReadError) -> Refusal {
    match error {
        ReadError::NotLeader { leader } => Refusal::NotLeader {
            leader: leader.map(|leader| (leader.id, leader.address)),
        },
        ReadError::Unconfirmed | ReadError::ShuttingDown => Refusal::Unavailable,
        // This node has not been let in yet.
        ReadError::NoSuchGroup(bailiwick_types::GroupId::DIRECTORY) => Refusal::Unavailable,
        ReadError::NoSuchGroup(group) => Refusal::NotFound(format!("group {group} here")),
        ReadError::Storage(reason) => {
            tracing::error!(reason, "a read failed");
            Refusal::Store
        }
    }
}

impl Vault {
    /// Runs a query over a view that holds everything acknowledged before.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        shard: ShardId,
        query: impl FnOnce(&StoreView) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let group = self.group(shard).ok_or(Refusal::NoSuchShard(shard))?;
        let view = self.host.read(group).await.map_err(refusal)?;
        blocking(move || query(&view)).await
    }

    pub(super) async fn request_view(
        &self,
        shard: ShardId,
        id: RequestId,
    ) -> Result<Option<RequestView>, Refusal> {
        let now = clock::now();
        let found = self
            .query(shard, move |store| query::request(store, id, now))
            .await?;
        Ok(found.map(request_view))
    }

    /// Refuses intake services and recipients that are not enrolled in the jurisdiction, and approvers
    /// that are no members of it: a certificate says who somebody is, not where they may act.
    pub(super) async fn check_enrolled(
        &self,
        peer: &Identity,
        shard: ShardId,
    ) -> Result<(), Refusal> {
        if peer.role.committee().is_some() {
            return self.check_member(peer, shard).await;
        }
        if !matches!(peer.role, PeerRole::Intake | PeerRole::Recipient) {
            return Ok(());
        }
        let enrolments = self.query(shard, |store| query::enrolments(store)).await?;
        let enrolled = enrolments
            .iter()
            .any(|enrolled| match (peer.role, enrolled) {
                (PeerRole::Intake, view::Enrolled::Intake { name })
                | (PeerRole::Recipient, view::Enrolled::Recipient { name, .. }) => *name == peer.id,
                _ => false,
            });
        if enrolled {
            return Ok(());
        }
        Err(Refusal::Rejected {
            code: "not_enrolled".to_owned(),
            message: format!("{} is not enrolled in {}", peer.id, shard.jurisdiction),
        })
    }

    pub(super) async fn read_request(
        &self,
        peer: &Identity,
        message: ReadRequest,
    ) -> Result<RequestView, Refusal> {
        self.check_enrolled(peer, message.shard).await?;
        let until = wait_until(message.wait_ms);
        let mut applied = self.applied(message.shard)?;
        loop {
            applied.borrow_and_update();
            let view = self.request_view(message.shard, message.request).await?;
            // A recipient sees its own requests, and of others not even that they are there.
            let own = |view: &RequestView| {
                peer.role != PeerRole::Recipient || view.request.recipient.name == peer.id
            };
            let missing = Refusal::NotFound(format!("request {}", message.request));
            let view = view.filter(own).ok_or(missing)?;
            if Some(view.state) != message.unless {
                return Ok(view);
            }
            if tokio::time::timeout_at(until, applied.changed())
                .await
                .is_err()
            {
                return Ok(view);
            }
        }
    }

    pub(super) async fn read_session(&self, message: ReadSession) -> Result<SessionState, Refusal> {
        let until = wait_until(message.wait_ms);
        let mut applied = self.applied(message.shard)?;
        loop {
            applied.borrow_and_update();
            let (sid, now) = (message.sid, clock::now());
            let found = self
                .query(message.shard, move |store| query::session(store, sid, now))
                .await?;
            let state = found.map_or(SessionState::Unknown, |session| match session.state {
                view::SessionState::Pending => SessionState::Pending,
                view::SessionState::Confirmed => SessionState::Confirmed,
                view::SessionState::Degraded => SessionState::Degraded,
                view::SessionState::Failed => SessionState::Failed,
            });
            // A pending session may also change by time alone: look again within a second.
            let step = until.min(Instant::now() + Duration::from_secs(1));
            if state != SessionState::Pending || Instant::now() >= until {
                return Ok(state);
            }
            let _ = tokio::time::timeout_at(step, applied.changed()).await;
        }
    }

    fn applied(&self, shard: ShardId) -> Result<tokio::sync::watch::Receiver<u64>, Refusal> {
        let group = self.group(shard).ok_or(Refusal::NoSuchShard(shard))?;
        self.host
            .watch_applied(group)
            .ok_or(Refusal::NoSuchShard(shard))
    }

    pub(super) async fn list_requests(
        &self,
        peer: &Identity,
        list: ListRequests,
    ) -> Result<RequestList, Refusal> {
        self.check_enrolled(peer, list.shard).await?;
        let limit = list.limit.min(LIST_ROWS) as usize;
        let now = clock::now();
        let (requests, more) = self
            .query(list.shard, move |store| {
                query::requests(store, list.after, limit, list.open_only, now)
            })
            .await?;
        let own = |found: &&view::RequestView| {
            peer.role != PeerRole::Recipient || found.request.recipient.name == peer.id
        };
        Ok(RequestList {
            requests: requests.iter().filter(own).map(summary).collect(),
            more,
        })
    }

    pub(super) async fn list_labels(
        &self,
        peer: &Identity,
        list: ListLabels,
    ) -> Result<LabelList, Refusal> {
        self.check_enrolled(peer, list.shard).await?;
        let limit = list.limit.min(LIST_ROWS) as usize;
        let page = self
            .query(list.shard, move |store| {
                query::labels(store, list.subject, list.from, list.to, limit)
            })
            .await?;
        Ok(LabelList {
            labels: page.labels,
            more: page.more,
        })
    }

    pub(super) async fn read_evidence(
        &self,
        peer: &Identity,
        read: ReadEvidence,
    ) -> Result<Evidence, Refusal> {
        self.check_enrolled(peer, read.shard).await?;
        let limit = read.limit.min(PAGE_RECORDS);
        let page = self
            .query(read.shard, move |store| {
                query::evidence(store, read.request, read.from, limit)
            })
            .await?
            .ok_or(Refusal::NotFound(format!("request {}", read.request)))?;
        Ok(evidence_of(page))
    }

    /// The ciphertext of a selection whose release is under way, for the recipient that the request
    /// names and for nobody else.
    pub(super) async fn read_ciphertext(
        &self,
        recipient: &bailiwick_types::Name,
        read: ReadCiphertext,
    ) -> Result<Ciphertexts, Refusal> {
        if read.shard.partition > 0 {
            return self.read_part_ciphertext(recipient, read).await;
        }
        self.released_to(recipient, read.shard, read.request)
            .await?;
        let limit = read.limit.min(PAGE_RECORDS);
        let page = self
            .query(read.shard, move |store| {
                query::ciphertexts(store, read.request, read.from, limit)
            })
            .await?
            .ok_or(Refusal::NotFound(format!("request {}", read.request)))?;
        Ok(ciphertexts(page))
    }

    pub(super) async fn read_partials(
        &self,
        recipient: &bailiwick_types::Name,
        read: ReadPartials,
    ) -> Result<Partials, Refusal> {
        self.released_to(recipient, read.shard, read.request)
            .await?;
        self.leads(read.shard)?;
        let until = wait_until(read.wait_ms);
        let mut changes = self.spool.changes();
        loop {
            changes.borrow_and_update();
            let (partials, held) = self.spool.read(&read.request, read.known, PARTIALS_BYTES);
            // Asked of a quorum after the wait, not before it: this process may have been suspended
            // meanwhile. What lies here of a recalled request, or under a freeze, is not handed out.
            let released =
                partials.is_empty() || self.may_release(read.shard, read.request).await?;
            if released && !partials.is_empty() {
                return Ok(Partials { partials, held });
            }
            let step = if released {
                until
            } else {
                until.min(Instant::now() + Duration::from_millis(200))
            };
            // Woken by a partial, or it is time to look again.
            let _ = tokio::time::timeout_at(step, changes.changed()).await;
            if Instant::now() >= until {
                let held = if released { held } else { read.known };
                let partials = Vec::new();
                return Ok(Partials { partials, held });
            }
        }
    }

    /// Whether values of a request may be handed on just now: not recalled, not frozen.
    pub(super) async fn may_release(&self, shard: ShardId, id: RequestId) -> Result<bool, Refusal> {
        let now = clock::now();
        self.query(shard, move |store| {
            let frozen = query::shard_info(store)?.is_none_or(|info| info.frozen.is_some());
            let request = query::request(store, id, now)?;
            let stopped = request.is_none_or(|request| {
                matches!(
                    request.state,
                    view::RequestState::Recalled
                        | view::RequestState::Refused
                        | view::RequestState::Lapsed
                )
            });
            Ok(!frozen && !stopped)
        })
        .await
    }

    async fn released_to(
        &self,
        recipient: &bailiwick_types::Name,
        shard: ShardId,
        id: RequestId,
    ) -> Result<(), Refusal> {
        let missing = Refusal::NotFound(format!("request {id}"));
        let view = self.request_view(shard, id).await?.ok_or(missing.clone())?;
        if view.request.recipient.name != *recipient {
            return Err(missing);
        }
        Ok(())
    }

    pub(super) async fn read_log(
        &self,
        peer: &Identity,
        read: ReadLog,
    ) -> Result<LogPage, Refusal> {
        if peer.role == PeerRole::Witness {
            // An outside witness needs sizes and roots; what is behind a leaf opens to the roles
            // that take part, and to the public when the gag ends.
            return Err(Refusal::Rejected {
                code: "opened_leaves".to_owned(),
                message: "this answer holds opened leaves, which are not for witnesses".to_owned(),
            });
        }
        self.check_enrolled(peer, read.shard).await?;
        self.leads(read.shard)?;
        let Some((size, note)) = self.hub(read.shard).cosigned() else {
            return Ok(LogPage {
                checkpoint: None,
                leaves: Vec::new(),
            });
        };
        let limit = u64::from(read.limit.min(LIST_ROWS)).min(size.saturating_sub(read.from));
        let recipient = (peer.role == PeerRole::Recipient).then(|| peer.id.clone());
        let leaves = self
            .query(read.shard, move |store| {
                let mut leaves = proven_leaves(store, read.from, limit, size)?;
                if let Some(recipient) = recipient {
                    keep_own(store, &recipient, &mut leaves)?;
                }
                Ok(leaves)
            })
            .await?;
        Ok(LogPage {
            checkpoint: Some(note),
            leaves,
        })
    }

    pub(super) async fn read_certificates(
        &self,
        read: ReadCertificates,
    ) -> Result<Certificates, Refusal> {
        self.leads(read.shard)?;
        let cosigned = self.hub(read.shard).cosigned();
        let size = cosigned.as_ref().map(|(size, _)| *size);
        let shard = read.shard;
        let (valid, drafts) = self
            .query(shard, move |store| {
                let mut valid = Vec::new();
                for found in query::certificates(store)? {
                    valid.push(logged_certificate(store, found, size)?);
                }
                Ok((valid, drafts(store, shard)?))
            })
            .await?;
        Ok(Certificates {
            valid,
            drafts,
            checkpoint: cosigned.map(|(_, note)| note),
        })
    }

    /// The cluster as this node knows it; who leads a group is known where the group is.
    pub(super) async fn directory(&self) -> ClusterDescription {
        let view = self.cluster_view().await;
        let (cluster, version) = match &view {
            Some(view) => (Some(view.cluster), view.version),
            None => (None, 0),
        };
        let leader = |id| self.host.leader(id).map(|leader| leader.id);
        let mut description = ClusterDescription {
            cluster,
            version,
            answered_by: self.config.node,
            nodes: Vec::new(),
            groups: Vec::new(),
        };
        match view {
            None => {
                description
                    .nodes
                    .extend(self.config.seeds.iter().map(|seed| NodeDescription {
                        id: seed.id,
                        name: seed.name.clone(),
                        region: seed.region.clone(),
                        address: seed.address.clone(),
                    }));
            }
            Some(view) => {
                description
                    .nodes
                    .extend(view.nodes.into_iter().map(|node| NodeDescription {
                        id: node.id,
                        name: node.name,
                        region: node.region,
                        address: node.address,
                    }));
                description.groups.push(GroupDescription {
                    id: bailiwick_types::GroupId::DIRECTORY,
                    shard: None,
                    voters: view.directory_voters,
                    leader: leader(bailiwick_types::GroupId::DIRECTORY),
                });
                description
                    .groups
                    .extend(view.groups.into_iter().map(|group| GroupDescription {
                        id: group.id,
                        shard: Some(group.shard),
                        voters: who_answers(&group),
                        leader: leader(group.id),
                    }));
            }
        }
        description
    }

    /// This node's status, from what it has applied.
    pub(super) async fn status(&self) -> Result<NodeStatus, Refusal> {
        let mut groups = Vec::new();
        for status in self.host.group_status() {
            let shard = match status.kind {
                GroupKind::Directory => None,
                GroupKind::Shard(shard) => Some(shard),
            };
            let info = match (shard, self.host.read_local(status.id)) {
                (Some(_), Ok(store)) => blocking(move || query::shard_info(&store)).await?,
                _ => None,
            };
            let voters = status.members.iter().filter(|member| member.voter);
            groups.push(GroupStatus {
                id: status.id,
                shard,
                leader: status.leader,
                term: status.term,
                last_log: status.last_log,
                applied: status.applied,
                voters: voters.map(|member| member.node).collect(),
                records: info.as_ref().map_or(0, |info| info.records),
                leaves: info.as_ref().map_or(0, |info| info.leaves),
                frozen: info.is_some_and(|info| info.frozen.is_some()),
            });
        }
        Ok(NodeStatus {
            node: self.config.node,
            name: self.config.name.clone(),
            region: self.config.region.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            groups,
        })
    }
}

/// Runs a read on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::error!(%error, "a read failed");
            Err(Refusal::Store)
        }
        Err(_) => Err(Refusal::Unavailable),
    }
}

/// A page of evidence in the API's shape.
pub(super) fn evidence_of(page: view::EvidencePage) -> Evidence {
    let block = |block: view::EvidenceBlock| EvidenceBlock {
        manifest: block.manifest,
        signature: block.signature,
    };
    let record = |record: view::EvidenceRecord| EvidenceRecord {
        index: record.index,
        label: record.label,
        alpha: record.alpha,
        ciphertext_hash: record.ciphertext_hash,
        proof: record.proof,
    };
    Evidence {
        sessions: page.sessions,
        blocks: page.blocks.into_iter().map(block).collect(),
        records: page.records.into_iter().map(record).collect(),
    }
}

/// A page of ciphertext in the API's shape.
pub(super) fn ciphertexts(page: view::CiphertextPage) -> Ciphertexts {
    let record = |record: view::CiphertextRecord| CiphertextRecord {
        index: record.index,
        label: record.label,
        alpha: record.alpha,
        ciphertext: record.ciphertext.into(),
    };
    Ciphertexts {
        records: page.records.into_iter().map(record).collect(),
        periods: page.periods,
    }
}

fn digests(hashes: Option<Vec<[u8; 32]>>) -> Vec<Digest> {
    hashes.unwrap_or_default().into_iter().map(Digest).collect()
}

fn proven_leaves(
    store: &StoreView,
    from: u64,
    limit: u64,
    size: u64,
) -> Result<Vec<ProvenLeaf>, StoreError> {
    let leaves = query::leaves(store, from, limit as usize)?;
    let mut proven = Vec::with_capacity(leaves.len());
    for (index, leaf) in (from..).zip(leaves) {
        let proof = digests(query::prove_inclusion(store, index, size)?);
        proven.push(ProvenLeaf { index, leaf, proof });
    }
    Ok(proven)
}

/// A recipient sees the leaves of its own requests; what others are about is not its to know.
fn keep_own(
    store: &StoreView,
    recipient: &Name,
    leaves: &mut Vec<ProvenLeaf>,
) -> Result<(), StoreError> {
    let mut own = BTreeMap::new();
    let now = clock::now();
    for id in leaves
        .iter()
        .filter_map(|proven| proven.leaf.content.request())
    {
        if let std::collections::btree_map::Entry::Vacant(entry) = own.entry(id) {
            let request = query::request(store, id, now)?;
            entry.insert(request.is_some_and(|found| found.request.recipient.name == *recipient));
        }
    }
    leaves.retain(|proven| {
        let id = proven.leaf.content.request();
        id.is_some_and(|id| own.get(&id).copied().unwrap_or(false))
    });
    Ok(())
}

fn logged_certificate(
    store: &StoreView,
    found: view::CertificateView,
    size: Option<u64>,
) -> Result<LoggedCertificate, StoreError> {
    let under = size.filter(|size| found.leaf_index < *size);
    let proof = match under {
        Some(size) => digests(query::prove_inclusion(store, found.leaf_index, size)?),
        None => Vec::new(),
    };
    Ok(LoggedCertificate {
        certificate: found.certificate,
        leaf: found.leaf,
        leaf_index: found.leaf_index,
        proof,
    })
}

/// The drafts under way, in the API's shape.
pub(super) fn drafts(
    store: &StoreView,
    shard: ShardId,
) -> Result<Vec<CertificateDraft>, StoreError> {
    let drafts = query::drafts(store)?;
    Ok(drafts
        .into_iter()
        .map(|draft| certificate_draft(draft, shard))
        .collect())
}

fn certificate_draft(draft: view::DraftView, shard: ShardId) -> CertificateDraft {
    let committee = |plan: bailiwick_shard::CommitteePlan| CommitteePlan {
        threshold: plan.threshold,
        members: plan
            .members
            .into_iter()
            .map(|member| PlannedMember {
                slot: member.slot,
                organisation: member.organisation,
                name: member.name,
                identity: member.identity,
            })
            .collect(),
    };
    let periods = draft.plan.periods.iter();
    let call = CallForKeys {
        // The draft names the plan; the key of whoever called for it is not part of it.
        key: CommandKey([0; 16]),
        shard,
        not_before: draft.plan.not_before,
        not_after: draft.plan.not_after,
        periods: periods
            .map(|p| (p.not_before, p.not_after, p.erase_by))
            .collect(),
        workflow: committee(draft.plan.workflow),
        legal_review: committee(draft.plan.legal_review),
    };
    CertificateDraft {
        draft: draft.draft,
        call,
        offered: draft.offered,
        body: draft.body,
        signed: draft.signed,
    }
}

fn state(state: view::RequestState) -> RequestState {
    match state {
        view::RequestState::InReview => RequestState::InReview,
        view::RequestState::Approved => RequestState::Approved,
        view::RequestState::Releasing => RequestState::Releasing,
        view::RequestState::Disclosed => RequestState::Disclosed,
        view::RequestState::Delivered => RequestState::Delivered,
        view::RequestState::NoData => RequestState::NoData,
        view::RequestState::Refused => RequestState::Refused,
        view::RequestState::Recalled => RequestState::Recalled,
        view::RequestState::Lapsed => RequestState::Lapsed,
    }
}

fn request_view(found: view::RequestView) -> RequestView {
    let refusals = found.member_refusals.into_iter();
    RequestView {
        id: found.id,
        state: state(found.state),
        logged_at: found.logged_at,
        selection: found.selection,
        rosters: found.rosters,
        decisions: found
            .decisions
            .into_iter()
            .map(|decision| decision.approval)
            .collect(),
        releases: found.releases,
        member_refusals: refusals.map(|r| (r.role, r.slot, r.reason)).collect(),
        refusal: found.refusal,
        request: found.request,
    }
}

fn summary(found: &view::RequestView) -> RequestSummary {
    let approvals = |role: Role| -> Vec<Slot> {
        let statements = found
            .decisions
            .iter()
            .map(|decision| &decision.approval.statement);
        let approved = statements
            .filter(|statement| statement.role == role && statement.decision == Decision::Approve);
        approved.map(|statement| statement.slot).collect()
    };
    RequestSummary {
        id: found.id,
        jurisdiction: found.request.jurisdiction,
        forum: found.request.forum,
        authority: found.request.authority.clone(),
        reference: found.request.reference.clone(),
        state: state(found.state),
        count: found.selection.count,
        not_after: found.request.not_after,
        workflow_approvals: approvals(Role::Workflow),
        legal_approvals: approvals(Role::LegalReview),
    }
}
