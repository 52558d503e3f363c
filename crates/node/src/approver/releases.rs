//! An approver's releases: from an approved request to sealed partials, through every check of
//! docs/cryptography.md section 8. The checks are `bailiwick-disclosure`'s; here is only their order
//! in time: what must be fetched, what must be waited for, what is posted.
//!
//! ```text
//! Due --checks hold--> Intended (leaf posted) --leaf under a cosigned checkpoint--> Sealed
//!     --partials in the spool--> Delivered
//! ```
//! A lost leader sends `Intended` and `Sealed` through the post again: the leaf is idempotent, and
//! the spool drops what it has.

use bailiwick_api::cluster::Accepted;
use bailiwick_api::evidence::{
    AppendRelease, Evidence, MemberAnswer, MemberAnswered, PAGE_RECORDS, PutPartial, ReadEvidence,
};
use bailiwick_api::partition::{PartPage, ReadPart};
use bailiwick_api::request::{ReadRequest, RequestView};
use bailiwick_disclosure::checks::{
    CheckpointRefusal, CosignedCheckpoint, LabelVerifier, LoggedRequest, NotFrozen,
    OwnReviewerApproved, PolicyPassed, QuorumCertificate, ReleaseLogged, TouchedPartitions,
    VerifiedLabels, VerifiedSelection,
};
use bailiwick_disclosure::{
    Approvable, Checks, EvidenceBlock, EvidencePage, EvidenceRecord, ForkEvidence, ProvenLeaf,
    ReleaseOrder, ReleaseRefusal, VouchedCheckpoint,
};
use bailiwick_envelope::Canonical;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::release::SealedPartial;
use bailiwick_tlog::SignedCheckpoint;
use bailiwick_transport::Operation;
use bailiwick_types::{RequestId, ShardId};

use super::Outgoing;
use super::attendant::{AttendError, Attendant, tolerate};
use super::link::{Link, LinkError};
use crate::clock;

/// Where one request stands with this member.
#[derive(Default)]
pub(super) enum Release {
    /// To be checked.
    #[default]
    Due,
    /// All checks held; the leaf is posted.
    Intended(Box<Approvable>),
    /// The values are computed and sealed; on their way to the spool.
    Sealed(Vec<SealedPartial>),
    /// In the spool of the leader that is attended.
    Delivered(Vec<SealedPartial>),
    /// A check failed for good; said once.
    Refused,
}

/// Why a sealed partial is not sent.
enum Stopped {
    /// The request was recalled.
    Recalled,
    /// The jurisdiction is frozen.
    Frozen,
}

/// What a step towards a release came to.
enum Step {
    /// Go on at once.
    Next(Release),
    /// The log must grow, or be cosigned, first.
    Wait(Release),
}

/// Why a step failed.
enum StepError {
    /// A check failed: data, not an error.
    Refused(ReleaseRefusal),
    /// The leader or the disk.
    Attend(AttendError),
    /// A further partition does not answer: nobody's release fails for it.
    Behind,
}

impl From<AttendError> for StepError {
    fn from(error: AttendError) -> Self {
        Self::Attend(error)
    }
}

impl From<LinkError> for StepError {
    fn from(error: LinkError) -> Self {
        Self::Attend(error.into())
    }
}

impl<R: Into<ReleaseRefusal>> From<Check<R>> for StepError {
    fn from(check: Check<R>) -> Self {
        Self::Refused(check.0.into())
    }
}

/// A failed check on its way to becoming a refusal.
struct Check<R>(R);

impl Attendant {
    /// A new leader has an empty spool: what was delivered to the old one is to be sent again,
    /// unless the recipient has acknowledged it.
    pub(super) fn forget_deliveries(&mut self) {
        let facts = self.follower.follower().facts();
        self.releases.retain(|request, _| {
            facts
                .request(*request)
                .is_none_or(|history| history.delivery().is_none() && history.recall().is_none())
        });
        for release in self.releases.values_mut() {
            match release {
                Release::Delivered(partials) => {
                    *release = Release::Sealed(std::mem::take(partials))
                }
                // The leaf may be lost, or the checks may rest on what this leader shows otherwise;
                // they are made again, and the same intent gives the same leaf.
                Release::Intended(_) | Release::Refused => *release = Release::Due,
                Release::Due | Release::Sealed(_) => {}
            }
        }
        self.resume_own_releases();
    }

    /// Own releases that are logged but whose partials are not at hand: this process was restarted
    /// between leaf and spool.
    fn resume_own_releases(&mut self) {
        let facts = self.follower.follower().facts();
        let seat = self.seat;
        let lost = facts.requests().filter(|(_, history)| {
            history.releases_of(seat).next().is_some()
                && history.delivery().is_none()
                && history.recall().is_none()
        });
        let lost: Vec<RequestId> = lost.map(|(request, _)| *request).collect();
        for request in lost {
            self.releases.entry(request).or_default();
        }
    }

    /// Takes every release as far as it goes under the latest cosigned checkpoint.
    pub(super) async fn pursue_releases(&mut self, link: &Link) -> Result<(), AttendError> {
        let requests: Vec<RequestId> = self.releases.keys().copied().collect();
        for request in requests {
            self.pursue(link, request).await?;
        }
        Ok(())
    }

    async fn pursue(&mut self, link: &Link, request: RequestId) -> Result<(), AttendError> {
        loop {
            let Some(release) = self.releases.remove(&request) else {
                return Ok(());
            };
            let stepped = match release {
                Release::Due => self.check(link, request).await,
                Release::Intended(approvable) => self.execute(link, *approvable).await,
                Release::Sealed(partials) => {
                    match self.stopped(request) {
                        Some(Stopped::Recalled) => return Ok(()),
                        Some(Stopped::Frozen) => {
                            self.releases.insert(request, Release::Sealed(partials));
                            return Ok(());
                        }
                        None => {}
                    }
                    let put = self.put(link, &partials).await;
                    let kept = match put {
                        Ok(()) => Release::Delivered(partials),
                        Err(_) => Release::Sealed(partials),
                    };
                    self.releases.insert(request, kept);
                    return put;
                }
                done @ (Release::Delivered(_) | Release::Refused) => Ok(Step::Wait(done)),
            };
            match stepped {
                Ok(Step::Next(next)) => {
                    self.releases.insert(request, next);
                }
                Ok(Step::Wait(next)) => {
                    self.releases.insert(request, next);
                    return Ok(());
                }
                Err(StepError::Refused(refusal)) => {
                    return self.refused(link, request, &refusal).await;
                }
                Err(StepError::Attend(AttendError::Link(LinkError::Refused(refusal))))
                    if !refusal.is_transient() =>
                {
                    // One request that this leader does not have, or cannot show, ends neither the
                    // stream nor the other requests.
                    tracing::warn!(shard = %self.shard, %request, %refusal, "not shown");
                    return Ok(());
                }
                Err(StepError::Behind) => {
                    self.behind = true;
                    self.releases.insert(request, Release::Due);
                    return Ok(());
                }
                Err(StepError::Attend(error)) => {
                    self.releases.insert(request, Release::Due);
                    return Err(error);
                }
            }
        }
    }

    /// What was folded may forbid what is sealed already: a recall for good, a freeze for now.
    fn stopped(&self, request: RequestId) -> Option<Stopped> {
        let facts = self.follower.follower().facts();
        let recalled = facts
            .request(request)
            .is_some_and(|history| history.recall().is_some());
        if recalled {
            return Some(Stopped::Recalled);
        }
        facts.freeze().map(|_| Stopped::Frozen)
    }

    /// A failed check: waited for when it may pass later, else said once and logged.
    async fn refused(
        &mut self,
        link: &Link,
        request: RequestId,
        refusal: &ReleaseRefusal,
    ) -> Result<(), AttendError> {
        if refusal.may_pass_later() {
            tracing::debug!(shard = %self.shard, %request, %refusal, "not yet");
            self.releases.insert(request, Release::Due);
            return Ok(());
        }
        tracing::warn!(shard = %self.shard, %request, %refusal, "this member does not release");
        self.approver.metrics.refused.inc();
        self.releases.insert(request, Release::Refused);
        let (role, slot) = (self.seat.role, self.seat.slot);
        let reason = refusal.to_string();
        let answer = MemberAnswer::Refuse {
            request,
            role,
            slot,
            reason,
        };
        let message = AppendRelease {
            shard: self.shard,
            answer,
        };
        let posted: Result<MemberAnswered, LinkError> =
            link.call(Operation::AppendRelease, &message).await;
        tolerate(self.shard, "a refusal", posted.map(|_| ()))
    }

    /// Checks 1 to 7 of section 8, then the leaf.
    async fn check(&mut self, link: &Link, request: RequestId) -> Result<Step, StepError> {
        let Some(signed) = self.cosigned.clone() else {
            return Ok(Step::Wait(Release::Due));
        };
        let read = ReadRequest {
            shard: self.shard,
            request,
            unless: None,
            wait_ms: 0,
        };
        let view: RequestView = link.call(Operation::ReadRequest, &read).await?;
        self.learn_certificates(link).await?;
        let now = clock::now();
        let checkpoint = self.cosigned_checkpoint(link, &signed)?;
        let follower = self.follower.follower();
        let bytes = view.request.to_bytes();
        let logged = LoggedRequest::verify(&bytes, &checkpoint, follower, &self.trust, now);
        let logged = logged.map_err(Check)?;
        let certificates: Vec<VerifiedCertificate> = view
            .rosters
            .iter()
            .filter_map(|roster| self.certificates.get(&roster.certificate).cloned())
            .collect();
        let selection = view.selection.id();
        let quorum = QuorumCertificate::verify(
            &checkpoint,
            follower,
            &logged,
            selection,
            &certificates,
            &self.trust,
        );
        let quorum = quorum.map_err(Check)?;
        let not_frozen = NotFrozen::verify(&checkpoint, follower).map_err(Check)?;
        let own_reviewer = OwnReviewerApproved::verify(&quorum, self.seat).map_err(Check)?;
        let policy = PolicyPassed::verify(
            &self.policies,
            &self.trust,
            follower,
            &logged,
            &quorum,
            self.seat,
            now,
        );
        let policy = policy.map_err(Check)?;
        let touched = TouchedPartitions::verify(&checkpoint, follower, &logged);
        let touched = touched.map_err(Check)?;
        let labels = self.labels(link, &logged, &quorum, &touched).await?;
        let follower = self.follower.follower();
        let selection = VerifiedSelection::verify(&checkpoint, follower, &logged, &labels);
        let checks = Checks {
            selection: selection.map_err(Check)?,
            request: logged,
            checkpoint,
            quorum,
            not_frozen,
            own_reviewer,
            policy,
            labels,
        };
        let keys = self.approver.keys.lock().await;
        let approvable = Approvable::new(checks, &keys).map_err(Check)?;
        drop(keys);
        if self.intend(link, &approvable).await? {
            Ok(Step::Next(Release::Intended(Box::new(approvable))))
        } else {
            // Refused, by a freeze most likely: everything is checked again when the log has moved.
            Ok(Step::Wait(Release::Due))
        }
    }

    /// The checkpoint that enough members cosigned. One that its voter signed and that does not follow
    /// is a fork, whoever cosigned it.
    fn cosigned_checkpoint(
        &self,
        link: &Link,
        signed: &SignedCheckpoint,
    ) -> Result<CosignedCheckpoint, StepError> {
        let follower = self.follower.follower();
        let verified = CosignedCheckpoint::verify(signed, &self.trust, follower, clock::now());
        let vouched = || VouchedCheckpoint::verify(signed.clone(), &self.trust, link.node());
        match verified {
            Err(CheckpointRefusal::Fork { .. }) if vouched().is_ok() => Err(StepError::Attend(
                AttendError::Fork(Box::new(ForkEvidence {
                    offered: signed.clone(),
                    folded: follower.last_checkpoint().cloned(),
                })),
            )),
            other => Ok(other.map_err(Check)?),
        }
    }

    /// Every label of the selection, partition by partition, page by page.
    async fn labels(
        &mut self,
        link: &Link,
        request: &LoggedRequest,
        quorum: &QuorumCertificate,
        touched: &TouchedPartitions,
    ) -> Result<VerifiedLabels, StepError> {
        let trust = self.trust.clone();
        let verifier = LabelVerifier::new(request, quorum, touched, &trust, clock::now());
        let mut verifier = verifier.map_err(Check)?;
        for partition in touched.partitions() {
            while !verifier.is_complete(partition) {
                let from = verifier.next_index(partition);
                if partition > 0 {
                    let page = self.part(request.id(), partition, from, touched).await?;
                    let evidence = partition_page(page.evidence, page.blocks);
                    let part = proven(page.part);
                    verifier
                        .part_page(partition, &part, &evidence)
                        .map_err(Check)?;
                    continue;
                }
                let read = ReadEvidence {
                    shard: self.shard,
                    request: request.id(),
                    from,
                    limit: PAGE_RECORDS,
                };
                // A home group's part may be empty, and is then begun by an empty page.
                let page: Evidence = link.call(Operation::ReadEvidence, &read).await?;
                verifier.page(&evidence_page(page)).map_err(Check)?;
            }
        }
        Ok(verifier.finish().map_err(Check)?)
    }

    /// A page of a further partition's part, from whoever leads it.
    async fn part(
        &mut self,
        request: RequestId,
        partition: u16,
        from: u32,
        touched: &TouchedPartitions,
    ) -> Result<PartPage, StepError> {
        let shard = ShardId {
            jurisdiction: self.shard.jurisdiction,
            partition,
        };
        let read = ReadPart {
            shard,
            request,
            from,
            limit: PAGE_RECORDS,
            size: touched.size_of(partition),
        };
        let approver = self.approver.clone();
        let page = self.partitions.read(&approver, &read).await;
        page.map_err(|error| {
            tracing::warn!(%shard, %request, %error, "a part cannot be read yet");
            StepError::Behind
        })
    }

    /// Posts the leaf that must come first; false when the shard refuses it. The same intent gives the
    /// same leaf again.
    async fn intend(&self, link: &Link, approvable: &Approvable) -> Result<bool, StepError> {
        let answer = MemberAnswer::Release(*approvable.intent());
        let message = AppendRelease {
            shard: self.shard,
            answer,
        };
        let posted: Result<MemberAnswered, LinkError> =
            link.call(Operation::AppendRelease, &message).await;
        match posted {
            Ok(_) => Ok(true),
            Err(LinkError::Refused(refusal)) if !refusal.is_transient() => {
                tracing::warn!(shard = %self.shard, %refusal, "a release leaf is refused");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// With the own leaf under a cosigned checkpoint, and recall and freeze looked at once more:
    /// computes, seals, signs.
    async fn execute(&mut self, link: &Link, approvable: Approvable) -> Result<Step, StepError> {
        let Some(signed) = self.cosigned.clone() else {
            return Ok(Step::Wait(Release::Intended(Box::new(approvable))));
        };
        let now = clock::now();
        let checkpoint = match self.cosigned_checkpoint(link, &signed) {
            Ok(checkpoint) => Ok(checkpoint),
            Err(StepError::Refused(refusal)) => Err(refusal),
            Err(error) => return Err(error),
        };
        let follower = self.follower.follower();
        let logged = checkpoint.and_then(|checkpoint| {
            let logged =
                ReleaseLogged::verify(&approvable, &checkpoint, follower, &self.trust, now);
            logged.map_err(ReleaseRefusal::from)
        });
        let logged = match logged {
            Ok(logged) => logged,
            Err(refusal) if refusal.may_pass_later() => {
                return Ok(Step::Wait(Release::Intended(Box::new(approvable))));
            }
            Err(refusal) => return Err(StepError::Refused(refusal)),
        };
        let count = approvable.labels().len() as u32;
        let selection = approvable.intent().selection;
        let order = ReleaseOrder::new(approvable, logged).map_err(Check)?;
        let approver = self.approver.clone();
        let executed = tokio::task::spawn_blocking(move || {
            let keys = approver.keys.blocking_lock();
            order.execute(&keys, &mut rand::rng())
        });
        let partials = executed
            .await
            .map_err(|_| AttendError::Ended)?
            .map_err(Check)?;
        self.approver
            .metrics
            .released_records
            .inc_by(u64::from(count));
        Ok(Step::Next(Release::Sealed(
            match &self.approver.options.tamper {
                Some(tamper) => partials
                    .into_iter()
                    .map(|sealed| {
                        tamper(Outgoing {
                            sealed,
                            selection,
                            count,
                        })
                    })
                    .collect(),
                None => partials,
            },
        )))
    }

    async fn put(&self, link: &Link, partials: &[SealedPartial]) -> Result<(), AttendError> {
        for partial in partials {
            let message = PutPartial {
                shard: self.shard,
                partial: partial.clone(),
            };
            let put: Result<Accepted, LinkError> = link.call(Operation::PutPartial, &message).await;
            tolerate(self.shard, "a partial", put.map(|_| ()))?;
        }
        Ok(())
    }
}

fn evidence_page(page: Evidence) -> EvidencePage {
    partition_page(page, Vec::new())
}

/// A page of evidence, with the leaf of each block where its partition's log lists them.
fn partition_page(page: Evidence, leaves: Vec<bailiwick_api::log::ProvenLeaf>) -> EvidencePage {
    let logged = leaves.into_iter().map(|leaf| Some(proven(leaf)));
    let logged = logged.chain(std::iter::repeat_with(|| None));
    let block = |(block, logged): (bailiwick_api::evidence::EvidenceBlock, _)| EvidenceBlock {
        manifest: block.manifest,
        signature: block.signature,
        logged,
    };
    let record = |record: bailiwick_api::evidence::EvidenceRecord| EvidenceRecord {
        index: record.index,
        label: record.label,
        alpha: record.alpha,
        ciphertext_hash: record.ciphertext_hash,
        proof: record.proof,
    };
    EvidencePage {
        sessions: page.sessions,
        blocks: page.blocks.into_iter().zip(logged).map(block).collect(),
        records: page.records.into_iter().map(record).collect(),
    }
}

fn proven(leaf: bailiwick_api::log::ProvenLeaf) -> ProvenLeaf {
    ProvenLeaf {
        index: leaf.index,
        leaf: leaf.leaf,
        proof: leaf.proof,
    }
}
