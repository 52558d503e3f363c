//! One jurisdiction as an approver attends it: fold, persist, cosign; acknowledge sessions; offer and
//! sign keys; release. Everything happens in one task, in the order in which the leader's stream
//! tells it, so that no two steps race.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::approver::{Answer, Attend, Event, LOG_SHORTER};
use bailiwick_api::cluster::Accepted;
use bailiwick_api::session::{
    CertificateDraft, Certificates, OfferKeys, ReadCertificates, SignCertificate,
};
use bailiwick_disclosure::{
    DraftKeys, FollowError, ForkEvidence, JurisdictionTrust, PersistedFollower, PolicyCopies, Seat,
    VouchedCheckpoint,
};
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_tlog::SignedCheckpoint;
use bailiwick_transport::{Operation, StreamError, StreamReceiver, StreamSender};
use bailiwick_types::limits::CERTIFICATE_PERIODS;
use bailiwick_types::{CertificateId, KeyId, RequestId, ShardId, codec};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Approver;
use super::link::{Link, LinkError, link_error};
use super::partitions::{Certificates as Known, PartitionAttendant, PartitionLinks};
use super::releases::Release;
use super::sessions::acknowledge;
use crate::clock;

/// Wait before the next attempt to reach a leader; doubled up to [`RETRY_CEILING`].
pub(super) const RETRY: Duration = Duration::from_millis(50);
/// How often a forked log is complained of, and looked whether an operator has acted.
const FORK_REMINDER: Duration = Duration::from_secs(5);
/// Most releases under way or remembered at once; the busiest day has a few hundred requests.
const PENDING_RELEASES: usize = 16_384;
/// Most drafts kept of a jurisdiction that became no certificate: 2 MB of keys. An operator may delete
/// their files, `draft-*.keys`, when calls for keys were given up so often.
const UNFINISHED_DRAFTS: usize = 64;
/// Most sessions that wait for their certificate to be folded.
pub(super) const WAITING_SESSIONS: usize = 256;
/// Wait before a release that a partition did not answer for is tried again.
const PARTITION_RETRY: Duration = Duration::from_millis(500);
/// Wait before a leader that was named is asked; two that name each other are not spun between.
const REDIRECT: Duration = Duration::from_millis(10);
/// Wait after a log that was brought back from too old a copy: nothing but people's work mends it.
const ALARM_PAUSE: Duration = Duration::from_secs(5);
pub(super) const RETRY_CEILING: Duration = Duration::from_millis(200);

/// Why attending ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttendError {
    /// The leader is gone or refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The stream ended.
    #[error("the stream ended")]
    Ended,
    /// What the leader sent is not followed. No cosignature.
    #[error("the leader's log does not follow: {0}")]
    Follow(#[from] Box<FollowError>),
    /// Two checkpoints by voters that cannot both be true. An alarm; nothing is cosigned or released
    /// until an operator has acted.
    #[error("the log is forked")]
    Fork(Box<ForkEvidence>),
    /// The own disk failed.
    #[error("the own disk failed: {0}")]
    Disk(#[from] super::keystore::KeystoreError),
}

/// One jurisdiction's attendant.
pub(super) struct Attendant {
    pub(super) approver: Arc<Approver>,
    pub(super) shard: ShardId,
    pub(super) seat: Seat,
    pub(super) trust: JurisdictionTrust,
    pub(super) policies: PolicyCopies,
    pub(super) follower: PersistedFollower,
    pub(super) certificates: BTreeMap<CertificateId, VerifiedCertificate>,
    pub(super) cosigned: Option<SignedCheckpoint>,
    pub(super) releases: BTreeMap<RequestId, Release>,
    /// Sessions whose certificate is not logged under what was folded yet.
    waiting: Vec<SessionHeader>,
    /// Where the last node asked said that its leader is.
    hint: Option<String>,
    /// Leaders of further partitions.
    pub(super) partitions: PartitionLinks,
    /// Whether a release waits for a partition that did not answer.
    pub(super) behind: bool,
    /// What the attendants of further partitions may answer under; how many of those there are.
    known: watch::Sender<Known>,
    attended: u16,
    /// Certificates that were asked for, whatever came of it.
    asked: BTreeSet<CertificateId>,
}

impl Attendant {
    /// An attendant with the log as it was last persisted.
    ///
    /// # Errors
    /// When the persisted log is damaged.
    pub(super) fn new(
        approver: Arc<Approver>,
        shard: ShardId,
        seat: Seat,
        trust: JurisdictionTrust,
        policies: PolicyCopies,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !trust.voters().is_empty(),
            "the trust file lists no voters of {}: without [[jurisdictions.voters]], the note keys of \
             its vaults, no log is followed",
            shard.jurisdiction,
        );
        let load = || {
            approver
                .keystore
                .follower(shard.jurisdiction, trust.origin())
        };
        let follower = PersistedFollower::load(load)?;
        anyhow::ensure!(
            follower.follower().origin() == trust.origin(),
            "the followed log is {}, the trust file says {}",
            follower.follower().origin(),
            trust.origin(),
        );
        Ok(Self {
            approver,
            shard,
            seat,
            trust,
            policies,
            follower,
            certificates: BTreeMap::new(),
            cosigned: None,
            releases: BTreeMap::new(),
            waiting: Vec::new(),
            hint: None,
            partitions: PartitionLinks::default(),
            behind: false,
            known: watch::Sender::new(Known::default()),
            attended: 1,
            asked: BTreeSet::new(),
        })
    }

    /// Attends until `stop`, from one leader to the next.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut retry = RETRY;
        self.wait_for_operator(&stop).await;
        loop {
            let before = self.follower.follower().size();
            let ended = tokio::select! {
                ended = self.attend_once() => ended,
                () = stop.cancelled() => return,
            };
            self.approver
                .metrics
                .attending(self.shard.jurisdiction, false);
            match ended {
                Ok(()) => {}
                Err(AttendError::Fork(evidence)) => {
                    self.approver.metrics.not_cosigned.inc();
                    self.forked(&evidence, &stop).await;
                }
                Err(AttendError::Follow(error)) => {
                    self.approver.metrics.not_cosigned.inc();
                    tracing::error!(shard = %self.shard, %error, "alarm: this log is not followed");
                }
                Err(AttendError::Link(LinkError::Refused(Refusal::Rejected { code, message })))
                    if code == LOG_SHORTER =>
                {
                    self.approver.metrics.not_cosigned.inc();
                    tracing::error!(shard = %self.shard, message, "alarm: this log is shorter than what was cosigned");
                    retry = ALARM_PAUSE;
                }
                Err(error) => tracing::debug!(shard = %self.shard, %error, "not attending"),
            }
            if self.follower.follower().size() > before {
                retry = RETRY;
            }
            if self.hint.is_some() {
                // A follower has said who leads: hardly any need to wait before asking there.
                tokio::time::sleep(REDIRECT).await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = stop.cancelled() => return,
            }
            retry = (retry * 2).min(RETRY_CEILING);
        }
    }

    /// Keeps the evidence of a fork, raises the alarm, and waits for an operator.
    async fn forked(&self, evidence: &ForkEvidence, stop: &CancellationToken) {
        let jurisdiction = self.shard.jurisdiction;
        let (offered, folded) = (evidence.offered.to_text(), evidence.folded.as_ref());
        let folded = folded.map(|folded| folded.to_text());
        tracing::error!(shard = %self.shard, offered, folded, "alarm: this log is forked");
        if let Err(error) = self.approver.keystore.keep_fork(jurisdiction, evidence) {
            // Both checkpoints stand in the line above. Without the file no operator can release the
            // jurisdiction but by a restart.
            tracing::error!(shard = %self.shard, %error, "the evidence of a fork is not kept");
            let path = self.approver.keystore.fork_path(jurisdiction);
            self.approver.metrics.forked(jurisdiction, Some(path));
            return stop.cancelled().await;
        }
        self.wait_for_operator(stop).await;
    }

    /// While a fork's evidence lies in the key store, across restarts too, this log is not attended.
    async fn wait_for_operator(&self, stop: &CancellationToken) {
        let jurisdiction = self.shard.jurisdiction;
        let path = self.approver.keystore.fork_path(jurisdiction);
        while path.exists() {
            self.approver
                .metrics
                .forked(jurisdiction, Some(path.clone()));
            tracing::error!(shard = %self.shard, evidence = %path.display(), "alarm: this log is forked, nothing of it is cosigned or released");
            tokio::select! {
                () = tokio::time::sleep(FORK_REMINDER) => {}
                () = stop.cancelled() => return,
            }
        }
        self.approver.metrics.forked(jurisdiction, None);
    }

    async fn attend_once(&mut self) -> Result<(), AttendError> {
        let attend = Attend {
            shard: self.shard,
            role: self.seat.role,
            slot: self.seat.slot,
            log_size: self.follower.follower().size(),
        };
        let approver = self.approver.clone();
        let seeds = &approver.config.seeds;
        let (link, sender, receiver) =
            Link::attend(seeds, &approver.tls, attend, self.hint.take()).await?;
        // What a leader of before vouched for says nothing about what this one has.
        self.cosigned = None;
        self.waiting.clear();
        self.forget_deliveries();
        self.serve(&link, sender, receiver).await
    }

    async fn serve(
        &mut self,
        link: &Link,
        mut sender: StreamSender,
        mut receiver: StreamReceiver,
    ) -> Result<(), AttendError> {
        loop {
            let received = tokio::select! {
                received = receiver.recv() => received,
                () = tokio::time::sleep(PARTITION_RETRY), if self.behind => {
                    self.behind = false;
                    self.pursue_releases(link).await?;
                    continue;
                }
            };
            let bytes = match received {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Err(AttendError::Ended),
                Err(error) => return Err(self.stream_ended(error)),
            };
            let event: Event = codec::decode(&bytes).map_err(|_| LinkError::Malformed)?;
            self.approver
                .metrics
                .attending(self.shard.jurisdiction, true);
            match event {
                Event::Checkpoint { note, leaves } => {
                    self.checkpoint(link, &note, &leaves, &mut sender).await?;
                    self.acknowledge_waiting(link).await?;
                    self.attend_partitions(link).await?;
                }
                Event::Cosigned { note } => {
                    self.cosigned = SignedCheckpoint::parse(&note).ok();
                    self.pursue_releases(link).await?;
                }
                Event::Sessions(headers) => {
                    self.waiting.extend(headers);
                    self.waiting.truncate(WAITING_SESSIONS);
                    self.acknowledge_waiting(link).await?;
                }
                Event::Drafts(drafts) => {
                    for draft in drafts {
                        self.draft(link, draft).await?;
                    }
                }
                Event::Approved(requests) => {
                    for request in requests {
                        // A hint only: bounded, because the leader's word is nobody's.
                        if self.releases.len() < PENDING_RELEASES {
                            self.releases.entry(request).or_default();
                        }
                    }
                    self.pursue_releases(link).await?;
                }
            }
        }
    }

    /// As many further partitions as the log says are attended, and know the certificates that it has.
    async fn attend_partitions(&mut self, link: &Link) -> Result<(), AttendError> {
        let follower = self.follower.follower();
        let count = follower.partitions().count();
        if count == 1 {
            return Ok(());
        }
        let logged = follower.facts().certificates();
        let unknown =
            |id: &CertificateId| !self.certificates.contains_key(id) && !self.asked.contains(id);
        let unknown: Vec<CertificateId> = logged.filter(unknown).collect();
        if !unknown.is_empty() {
            self.learn_certificates(link).await?;
            self.asked.extend(unknown);
        }
        if self.known.borrow().len() < self.certificates.len() {
            self.known.send_replace(Arc::new(self.certificates.clone()));
        }
        for partition in self.attended..count {
            let attendant = PartitionAttendant {
                approver: self.approver.clone(),
                shard: ShardId {
                    jurisdiction: self.shard.jurisdiction,
                    partition,
                },
                seat: self.seat,
                trust: self.trust.clone(),
                certificates: self.known.subscribe(),
            };
            tokio::spawn(attendant.run());
        }
        self.attended = count;
        Ok(())
    }

    /// Why the stream ended; a node that does not lead says who does.
    fn stream_ended(&mut self, error: StreamError) -> AttendError {
        let StreamError::Refused(call) = error else {
            return AttendError::Ended;
        };
        let refused = link_error(call);
        if let LinkError::Refused(Refusal::NotLeader {
            leader: Some((_, address)),
        }) = &refused
        {
            self.hint = Some(address.clone());
        }
        refused.into()
    }

    /// Folds the leaves, persists, and only then cosigns.
    async fn checkpoint(
        &mut self,
        link: &Link,
        note: &str,
        leaves: &[OpenedLeaf],
        sender: &mut StreamSender,
    ) -> Result<(), AttendError> {
        let signed = SignedCheckpoint::parse(note).map_err(|_| LinkError::Malformed)?;
        let vouched = VouchedCheckpoint::verify(signed, &self.trust, link.node());
        let advanced = vouched.and_then(|vouched| {
            let follower = self.follower.follower();
            follower.advance(leaves, &vouched, clock::now())
        });
        let advanced = advanced.map_err(|error| match ForkEvidence::of(&error) {
            Some(evidence) => AttendError::Fork(Box::new(evidence)),
            None => AttendError::Follow(Box::new(error)),
        })?;
        let (approver, jurisdiction) = (self.approver.clone(), self.shard.jurisdiction);
        let persisted = tokio::task::spawn_blocking(move || {
            advanced.persisted(|follower| approver.keystore.persist(jurisdiction, follower))
        });
        self.follower = persisted.await.map_err(|_| AttendError::Ended)??;
        let keys = self.approver.keys.lock().await;
        let signature = self.follower.cosign(&keys, clock::now());
        drop(keys);
        let line = signature.map_err(|_| LinkError::Malformed)?.to_line();
        let size = self.follower.follower().size();
        self.approver
            .metrics
            .followed(self.shard.jurisdiction, size);
        let answer = codec::encode(&Answer::Cosignature { size, line });
        let answer = answer.map_err(|_| LinkError::Malformed)?;
        sender
            .send(answer.into())
            .await
            .map_err(|_| AttendError::Ended)?;
        self.approver.metrics.cosigned.inc();
        Ok(())
    }

    /// Answers the sessions whose certificate is known and logged; keeps the others for later.
    async fn acknowledge_waiting(&mut self, link: &Link) -> Result<(), AttendError> {
        for header in std::mem::take(&mut self.waiting) {
            match self.certificate_of(link, &header.body.kid).await? {
                Some(certificate) => {
                    let (approver, trust) = (&self.approver, &self.trust);
                    acknowledge(approver, trust, self.shard, link, header, &certificate).await?;
                }
                None => self.waiting.push(header),
            }
        }
        Ok(())
    }

    /// The certificate of a key period, verified against the own trust file and found in the log as
    /// it was folded; `None` while either is missing.
    pub(super) async fn certificate_of(
        &mut self,
        link: &Link,
        kid: &KeyId,
    ) -> Result<Option<VerifiedCertificate>, AttendError> {
        let known = |attendant: &Self| {
            let mut certificates = attendant.certificates.values();
            certificates
                .find(|certificate| certificate.period_of(kid).is_some())
                .cloned()
        };
        if let Some(certificate) = known(self) {
            return Ok(Some(certificate));
        }
        self.learn_certificates(link).await?;
        Ok(known(self))
    }

    /// Fetches the jurisdiction's certificates and keeps those that verify and are logged.
    pub(super) async fn learn_certificates(&mut self, link: &Link) -> Result<(), AttendError> {
        let message = ReadCertificates { shard: self.shard };
        let read: Certificates = link.call(Operation::ReadCertificate, &message).await?;
        for found in read.valid {
            let id = found.certificate.body.id();
            let logged = self.follower.follower().facts().certificate(id).is_some();
            if !logged || self.certificates.contains_key(&id) {
                continue;
            }
            match found.certificate.verify(self.trust.roster()) {
                Ok(certificate) => {
                    self.adopt(&certificate).await?;
                    self.certificates.insert(id, certificate);
                }
                Err(error) => {
                    tracing::error!(shard = %self.shard, %error, "alarm: a certificate not ours");
                }
            }
        }
        Ok(())
    }

    /// Takes the keys that were offered for this certificate into use.
    async fn adopt(&self, certificate: &VerifiedCertificate) -> Result<(), AttendError> {
        let (jurisdiction, id) = (self.shard.jurisdiction, certificate.id());
        let keystore = &self.approver.keystore;
        if keystore.has_certificate(jurisdiction, id) {
            return Ok(());
        }
        let Some(draft) = keystore.draft_of(jurisdiction, id)? else {
            tracing::error!(shard = %self.shard, certificate = %id, "no keys for a certificate");
            return Ok(());
        };
        keystore.keep_certificate(certificate.certificate(), &draft)?;
        let mut keys = self.approver.keys.lock().await;
        if let Err(error) = keys.adopt(certificate, &self.trust, draft) {
            tracing::error!(shard = %self.shard, %error, "a certificate's keys are not the own");
        }
        Ok(())
    }

    /// Offers keys for a draft, or signs the body that all offers determined.
    async fn draft(&mut self, link: &Link, draft: CertificateDraft) -> Result<(), AttendError> {
        let (jurisdiction, digest) = (self.shard.jurisdiction, draft.draft);
        let keystore = &self.approver.keystore;
        if keystore.is_spent(jurisdiction, digest)? {
            return Ok(());
        }
        let kept = match keystore.draft(jurisdiction, digest)? {
            Some(kept) => kept,
            None => {
                // Who calls for keys is a vault, whose word is nobody's: neither its periods nor its
                // drafts may fill this disk.
                let periods = draft.call.periods.len();
                let kept = keystore.unfinished_drafts(jurisdiction)?;
                if !(1..=CERTIFICATE_PERIODS).contains(&periods) || kept >= UNFINISHED_DRAFTS {
                    tracing::warn!(shard = %self.shard, %digest, periods, kept, "no keys are offered: too many periods, or drafts that became no certificate");
                    return Ok(());
                }
                let fresh = DraftKeys::generate(&mut rand::rng(), draft.call.periods.len());
                keystore.keep_draft(jurisdiction, digest, &fresh)?;
                fresh
            }
        };
        let keys = self.approver.keys.lock().await;
        let posted: Result<Accepted, LinkError> = match &draft.body {
            None => {
                let offered = keys.offer(digest, &self.trust, &kept);
                drop(keys);
                let Ok(offer) = offered else { return Ok(()) };
                let message = OfferKeys {
                    shard: self.shard,
                    offer,
                };
                link.call(Operation::OfferKeys, &message).await
            }
            Some(body) => {
                let signed = keys.sign_certificate(body, &self.trust, &kept);
                drop(keys);
                let signature = match signed {
                    Ok(signature) => signature,
                    Err(error) => {
                        tracing::error!(shard = %self.shard, %error, "a certificate is not signed");
                        return Ok(());
                    }
                };
                let certificate = body.id();
                keystore.name_draft(jurisdiction, digest, certificate)?;
                let message = SignCertificate {
                    shard: self.shard,
                    certificate,
                    signature,
                };
                link.call(Operation::SignCertificate, &message).await
            }
        };
        tolerate(self.shard, "a key offer or signature", posted.map(|_| ()))
    }
}

/// A refusal of one message does not end the stream; anything else does.
pub(super) fn tolerate(
    shard: ShardId,
    what: &'static str,
    posted: Result<(), LinkError>,
) -> Result<(), AttendError> {
    match posted {
        Err(LinkError::Refused(refusal)) if !refusal.is_transient() => {
            tracing::warn!(%shard, what, %refusal, "refused by the leader");
            Ok(())
        }
        other => Ok(other?),
    }
}
