//! A jurisdiction's partitions on this node (docs/decisions/0008-partitions.md): the home group's
//! leader carries state down and roots up, and has parts frozen for a request; a partition's leader
//! freezes, shows and takes over.
//!
//! Leaders of different groups talk as clients do, under their own vault certificates; what one tells
//! the other enters a group by command only, and which regions may ask is the directory's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::cluster::Accepted;
use bailiwick_api::evidence::{Ciphertexts, ReadCiphertext};
use bailiwick_api::log::ProvenLeaf;
use bailiwick_api::partition::{
    CheckRelease, FreezePart, FrozenPart, Mirror, MirrorHome, Mirrored, PartInputs, PartPage,
    ReadPart, ReadPartInputs,
};
use bailiwick_api::request::{RequestView, SubmitRequest};
use bailiwick_client::cluster::CallFailure;
use bailiwick_envelope::certificate::KeyCertificate;
use bailiwick_envelope::partition::{PartitionRoot, partition_of};
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::selection::Selection;
use bailiwick_shard::view::{self, LogProof};
use bailiwick_shard::{CommandBody, HomeState, PartClaim, PartedRequest, query};
use bailiwick_transport::Operation;
use bailiwick_types::{
    Category, CertificateId, Digest, GroupId, Identity, Jurisdiction, Name, PeerRole, RequestId,
    ShardId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Vault;
use super::commands::Asked;
use super::queries::{blocking, ciphertexts, evidence_of};

/// How often the home log commits to partitions that no request has asked for meanwhile.
const ROOT_PERIOD: Duration = Duration::from_secs(10 * 60);
/// How often a home group's leader looks for something to carry.
const TEND_PERIOD: Duration = Duration::from_millis(200);
/// Attempts to log a request whose roots another request has overtaken.
const SUBMISSIONS: usize = 5;

/// A further partition's shard.
fn further(jurisdiction: Jurisdiction, partition: u16) -> ShardId {
    ShardId {
        jurisdiction,
        partition,
    }
}

/// What a failed call to another group's leader says to whoever asked for it.
fn refused(failure: CallFailure) -> Refusal {
    match failure {
        CallFailure::Refused(refusal) => refusal,
        CallFailure::Deadline {
            outcome_unknown: true,
            ..
        } => Refusal::Unknown,
        failure => {
            tracing::warn!(%failure, "another partition does not answer");
            Refusal::Unavailable
        }
    }
}

/// What the home group's leader knows to be taken over already.
#[derive(Default)]
struct Carried {
    /// Size of the home log when it was last looked at and everything was carried.
    leaves: u64,
    /// What each further partition has taken over, with 0 for the log's size.
    states: BTreeMap<u16, (HomeState, usize)>,
    rooted_at: Option<Instant>,
}

impl Vault {
    /// In how many groups the records of a shard's jurisdiction are. The number never changes, so that
    /// what this replica has applied is enough, unless the directory knows of more.
    pub(super) async fn partitions(&self, shard: ShardId) -> Result<u16, Refusal> {
        let group = self.group(shard).ok_or(Refusal::NoSuchShard(shard))?;
        let store = self.host.read_local(group);
        let store = store.map_err(|_| Refusal::Unavailable)?;
        let applied = blocking(move || query::partitions(&store)).await?;
        let view = self.cluster_view().await;
        let entry = view
            .as_ref()
            .and_then(|view| view.jurisdiction(shard.jurisdiction));
        if entry.is_none_or(|entry| entry.partitions == applied) {
            return Ok(applied);
        }
        self.query(shard, |store| query::partitions(store)).await
    }

    async fn ask<Request: Serialize, Reply: DeserializeOwned>(
        &self,
        shard: ShardId,
        operation: Operation,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let asked = self.peers.call(Some(shard), operation, request);
        asked.await.map_err(refused)
    }

    /// Refuses vault nodes of regions that may not hold the jurisdiction's records.
    async fn check_region(
        &self,
        peer: &Identity,
        jurisdiction: Jurisdiction,
    ) -> Result<(), Refusal> {
        let view = self.cluster_view().await.ok_or(Refusal::Unavailable)?;
        let node = view.nodes.iter().find(|node| node.name == peer.id);
        let rules = view.jurisdiction(jurisdiction);
        let allowed = node.zip(rules).is_some_and(|(node, rules)| {
            peer.region.as_ref() == Some(&node.region)
                && rules.allowed_regions.contains(&node.region)
        });
        if peer.role == PeerRole::Vault && allowed {
            return Ok(());
        }
        Err(Refusal::Rejected {
            code: "region".to_owned(),
            message: format!("{} may not hold records of {jurisdiction}", peer.id),
        })
    }

    /// Freezes this partition's part of a request's selection for the home group's leader.
    pub(super) async fn freeze_part(
        &self,
        asked: &Asked<'_>,
        message: FreezePart,
    ) -> Result<FrozenPart, Refusal> {
        let FreezePart {
            shard,
            request,
            known,
        } = message;
        self.check_region(asked.peer, shard.jurisdiction).await?;
        let id = request.id();
        let request = Box::new(request);
        self.propose_own(shard, CommandBody::FreezePart { request })
            .await?;
        self.frozen_part(shard, id, known).await
    }

    async fn frozen_part(
        &self,
        shard: ShardId,
        id: RequestId,
        known: u64,
    ) -> Result<FrozenPart, Refusal> {
        let read = self.query(shard, move |store| {
            let part = query::frozen_part(store, id)?;
            Ok((part, query::partition_root(store, known)?))
        });
        let (part, root) = read.await?;
        let part = part.ok_or(Refusal::NotFound(format!("a part of request {id}")))?;
        Ok(FrozenPart {
            selection: part.selection,
            leaf_index: part.leaf_index,
            kids: part.kids,
            root,
        })
    }

    /// A page of a frozen part's list, for the home group's leader.
    pub(super) async fn read_part_inputs(
        &self,
        peer: &Identity,
        message: ReadPartInputs,
    ) -> Result<PartInputs, Refusal> {
        let ReadPartInputs {
            shard,
            request,
            from,
        } = message;
        self.check_region(peer, shard.jurisdiction).await?;
        let read = self.query(shard, move |store| query::part_inputs(store, request, from));
        let inputs = read.await?;
        Ok(PartInputs { inputs })
    }

    /// Takes over something of the home group.
    pub(super) async fn mirror_home(
        &self,
        peer: &Identity,
        message: MirrorHome,
    ) -> Result<Mirrored, Refusal> {
        let MirrorHome { shard, what, known } = message;
        self.check_region(peer, shard.jurisdiction).await?;
        let body = match what {
            Mirror::Settings {
                leaves,
                edges,
                intakes,
                frozen,
            } => CommandBody::MirrorHome(HomeState {
                leaves,
                edges,
                intakes,
                frozen,
            }),
            Mirror::Certificate(certificate) => CommandBody::InstallCertificate { certificate },
        };
        self.propose_own(shard, body).await?;
        let read = self.query(shard, move |store| {
            let certificates = query::certificates(store)?.into_iter();
            let certificates = certificates.map(|found| found.certificate.body.id());
            Ok((certificates.collect(), query::partition_root(store, known)?))
        });
        let (certificates, root) = read.await?;
        Ok(Mirrored { certificates, root })
    }

    /// Whether ciphertext of a request may be handed to a recipient just now: asked by the leader of a
    /// further partition, which has not the request.
    pub(super) async fn check_release(
        &self,
        peer: &Identity,
        message: CheckRelease,
    ) -> Result<Accepted, Refusal> {
        let CheckRelease {
            shard,
            request,
            recipient,
        } = message;
        self.check_region(peer, shard.jurisdiction).await?;
        use view::RequestState as State;
        let missing = Refusal::NotFound(format!("request {request}"));
        let now = crate::clock::now();
        let read = self.query(shard, move |store| query::request(store, request, now));
        let found = read.await?.ok_or(missing.clone())?;
        let stands = matches!(
            found.state,
            State::Releasing | State::Disclosed | State::Delivered
        );
        if !stands || found.request.recipient.name != recipient {
            return Err(missing);
        }
        match self.may_release(shard, request).await? {
            true => Ok(Accepted),
            false => Err(missing),
        }
    }

    /// A page of this partition's part, for approvers.
    pub(super) async fn read_part(
        &self,
        peer: &Identity,
        read: ReadPart,
    ) -> Result<PartPage, Refusal> {
        self.check_enrolled(peer, read.shard).await?;
        let page = self
            .query(read.shard, move |store| {
                query::part_page(store, read.request, read.from, read.limit, read.size)
            })
            .await?
            .ok_or(Refusal::NotFound(format!(
                "a part of request {}",
                read.request
            )))?;
        Ok(PartPage {
            part: proven(page.part),
            evidence: evidence_of(page.page),
            blocks: page.blocks.into_iter().map(proven).collect(),
        })
    }

    /// The ciphertext of this partition's part, for the recipient that the home group names.
    pub(super) async fn read_part_ciphertext(
        &self,
        recipient: &Name,
        read: ReadCiphertext,
    ) -> Result<Ciphertexts, Refusal> {
        let home = ShardId::home(read.shard.jurisdiction);
        let check = CheckRelease {
            shard: home,
            request: read.request,
            recipient: recipient.clone(),
        };
        let _: Accepted = self.ask(home, Operation::CheckRelease, &check).await?;
        let page = self
            .query(read.shard, move |store| {
                query::part_ciphertexts(store, read.request, read.from, read.limit)
            })
            .await?
            .ok_or(Refusal::NotFound(format!("request {}", read.request)))?;
        Ok(ciphertexts(page))
    }

    /// Accepts a request in a jurisdiction of several partitions: has each that the scope touches
    /// freeze its part, and logs the parts' roots, the request and the selection together.
    pub(super) async fn submit_parts(
        &self,
        asked: &Asked<'_>,
        message: SubmitRequest,
        count: u16,
    ) -> Result<RequestView, Refusal> {
        let SubmitRequest {
            shard,
            request,
            documents,
        } = message;
        let id = request.id();
        if shard.partition > 0 {
            return Err(Refusal::Rejected {
                code: "not-home".to_owned(),
                message: format!("{shard} is not its jurisdiction's home shard"),
            });
        }
        self.leads(shard)?;
        self.check_enrolled(asked.peer, shard).await?;
        let mut attempts = 0;
        loop {
            if let Some(view) = self.request_view(shard, id).await? {
                return Ok(view);
            }
            attempts += 1;
            let (parts, roots, inputs) = self.gather(shard, &request, count).await?;
            let parted = PartedRequest {
                request: Box::new(request.clone()),
                documents: documents.clone(),
                selection: Selection::of(id, inputs),
                parts,
                roots,
            };
            let body = CommandBody::SubmitParts(Box::new(parted));
            match self.propose_as(&asked.peer.id, shard, body).await {
                Ok(_) => return self.after_change(shard, id).await,
                // Another request has logged a larger root meanwhile: ask again from there.
                Err(Refusal::Rejected { code, .. })
                    if code == "partition-root" && attempts < SUBMISSIONS => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// The parts of a request's selection, roots that cover them, and the list itself.
    async fn gather(
        &self,
        home: ShardId,
        request: &DisclosureRequest,
        count: u16,
    ) -> Result<(Vec<PartClaim>, Vec<PartitionRoot>, Vec<(Digest, Category)>), Refusal> {
        let known = self
            .query(home, |store| query::partition_sizes(store))
            .await?;
        let lines = request.scope.iter();
        let touched: BTreeSet<u16> = lines
            .map(|line| partition_of(&line.subject, count))
            .collect();
        let (mut parts, mut roots, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        for partition in touched {
            let known = known.get(&partition).copied().unwrap_or(0);
            let shard = further(home.jurisdiction, partition);
            let frozen = self.have_frozen(shard, request, known).await?;
            if partition > 0 {
                roots.extend(frozen.root);
            }
            let read = self.list(shard, request.id(), frozen.selection.count);
            inputs.extend(read.await?);
            parts.push(PartClaim {
                partition,
                selection: frozen.selection,
                leaf_index: frozen.leaf_index,
                kids: frozen.kids,
            });
        }
        Ok((parts, roots, inputs))
    }

    /// Has a group freeze its part: the own one by a command, another by its leader.
    async fn have_frozen(
        &self,
        shard: ShardId,
        request: &DisclosureRequest,
        known: u64,
    ) -> Result<FrozenPart, Refusal> {
        let request = request.clone();
        if shard.partition > 0 {
            let message = FreezePart {
                shard,
                request,
                known,
            };
            return self.ask(shard, Operation::FreezePart, &message).await;
        }
        let id = request.id();
        let request = Box::new(request);
        self.propose_own(shard, CommandBody::FreezePart { request })
            .await?;
        self.frozen_part(shard, id, known).await
    }

    /// The whole list of a frozen part.
    async fn list(
        &self,
        shard: ShardId,
        request: RequestId,
        count: u32,
    ) -> Result<Vec<(Digest, Category)>, Refusal> {
        let mut inputs: Vec<(Digest, Category)> = Vec::new();
        while (inputs.len() as u32) < count {
            let from = inputs.len() as u32;
            let page = match shard.partition {
                0 => {
                    let read =
                        self.query(shard, move |store| query::part_inputs(store, request, from));
                    read.await?
                }
                _ => {
                    let message = ReadPartInputs {
                        shard,
                        request,
                        from,
                    };
                    let asked = self.ask(shard, Operation::ReadPartInputs, &message);
                    let page: PartInputs = asked.await?;
                    page.inputs
                }
            };
            if page.is_empty() {
                return Err(Refusal::Unavailable);
            }
            inputs.extend(page);
        }
        inputs.truncate(count as usize);
        Ok(inputs)
    }

    /// After a change of who may act, or of a freeze: answers when every partition has it. The change
    /// stands in any case, and its leader goes on to carry it.
    pub(super) async fn everywhere(&self, shard: ShardId) -> Result<Accepted, Refusal> {
        let count = self.partitions(shard).await?;
        let carried = (1..count).map(|partition| async move {
            let carried = self.carry(further(shard.jurisdiction, partition), 0).await;
            carried.map_err(|refusal| (partition, refusal))
        });
        for carried in futures::future::join_all(carried).await {
            if let Err((partition, refusal)) = carried {
                tracing::warn!(%shard, partition, %refusal, "a partition has not taken a change over");
                return Err(Refusal::Unknown);
            }
        }
        Ok(Accepted)
    }

    /// Carries the home group's state to a further partition; returns how far its log has come.
    async fn carry(&self, shard: ShardId, known: u64) -> Result<Option<PartitionRoot>, Refusal> {
        let home = ShardId::home(shard.jurisdiction);
        let read = self.query(home, |store| {
            let certificates = query::certificates(store)?;
            Ok((query::home_state(store)?, certificates))
        });
        let (state, certificates) = read.await?;
        let state = state.ok_or(Refusal::Unavailable)?;
        let leaves = state.leaves;
        let what = Mirror::Settings {
            leaves,
            edges: state.edges,
            intakes: state.intakes,
            frozen: state.frozen,
        };
        let message = MirrorHome { shard, what, known };
        let mut mirrored: Mirrored = self.ask(shard, Operation::MirrorHome, &message).await?;
        let has: BTreeSet<CertificateId> = mirrored.certificates.iter().copied().collect();
        let missing = certificates.into_iter().map(|found| found.certificate);
        let missing = missing.filter(|certificate| !has.contains(&certificate.body.id()));
        for certificate in missing.collect::<Vec<KeyCertificate>>() {
            let what = Mirror::Certificate(Box::new(certificate));
            let message = MirrorHome { shard, what, known };
            mirrored = self.ask(shard, Operation::MirrorHome, &message).await?;
        }
        Ok(mirrored.root)
    }

    /// While this node leads a home group of several partitions: carries its state down, and from time
    /// to time their roots up. Never returns.
    pub(super) async fn tend(&self, shard: ShardId, group: GroupId) {
        let count = match shard.partition {
            0 => self.known_count(shard).await,
            _ => 1,
        };
        if count == 1 {
            std::future::pending::<()>().await;
        }
        let (mut carried, mut behind) = (Carried::default(), false);
        loop {
            let tended = match self.host.is_leader(group) {
                true => self.tend_once(shard, count, &mut carried).await,
                false => Ok(()),
            };
            if let Err(refusal) = &tended
                && !behind
            {
                tracing::warn!(%shard, %refusal, "a partition is behind its home group");
            }
            behind = tended.is_err();
            tokio::time::sleep(TEND_PERIOD).await;
        }
    }

    async fn known_count(&self, shard: ShardId) -> u16 {
        loop {
            if let Ok(count) = self.partitions(shard).await {
                return count;
            }
            tokio::time::sleep(TEND_PERIOD).await;
        }
    }

    async fn tend_once(
        &self,
        shard: ShardId,
        count: u16,
        carried: &mut Carried,
    ) -> Result<(), Refusal> {
        let leaves = self.query(shard, |store| query::log_size(store)).await?;
        let due = carried
            .rooted_at
            .is_none_or(|at| at.elapsed() >= ROOT_PERIOD);
        if leaves == carried.leaves && !due {
            return Ok(());
        }
        let read = self.query(shard, |store| {
            let sizes = query::partition_sizes(store)?;
            let certificates = query::certificates(store)?.len();
            Ok((query::home_state(store)?, certificates, sizes))
        });
        let (state, certificates, sizes) = read.await?;
        let state = HomeState {
            leaves: 0,
            ..state.ok_or(Refusal::Unavailable)?
        };
        let state = (state, certificates);
        let behind: Vec<u16> = (1..count)
            .filter(|partition| due || carried.states.get(partition) != Some(&state))
            .collect();
        let asked = behind.into_iter().map(|partition| {
            let known = sizes.get(&partition).copied().unwrap_or(0);
            async move {
                let carried = self.carry(further(shard.jurisdiction, partition), known);
                (partition, carried.await)
            }
        });
        let (mut roots, mut failed) = (Vec::new(), None);
        for (partition, answer) in futures::future::join_all(asked).await {
            match answer {
                Ok(root) => {
                    carried.states.insert(partition, state.clone());
                    roots.extend(root);
                }
                Err(refusal) => failed = Some(refusal),
            }
        }
        if due && failed.is_none() {
            carried.rooted_at = Some(Instant::now());
            if !roots.is_empty() {
                self.propose_own(shard, CommandBody::RecordRoots { roots })
                    .await?;
            }
        }
        match failed {
            Some(refusal) => Err(refusal),
            None => {
                carried.leaves = leaves;
                Ok(())
            }
        }
    }
}

fn proven(proof: LogProof) -> ProvenLeaf {
    ProvenLeaf {
        index: proof.index,
        leaf: proof.leaf,
        proof: proof.proof,
    }
}
