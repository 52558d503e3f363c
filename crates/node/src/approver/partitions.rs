//! Further partitions of a jurisdiction, as an approver attends them (docs/decisions/0008-partitions.md):
//! for sessions to answer, and to read their parts of a selection. How many there are, the home log
//! says; which certificates are valid, the home group's attendant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::approver::{Attend, Event};
use bailiwick_api::partition::{PartPage, ReadPart};
use bailiwick_disclosure::{JurisdictionTrust, Seat};
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_transport::{Operation, StreamError, StreamReceiver};
use bailiwick_types::{CertificateId, ShardId, codec};
use tokio::sync::watch;

use super::Approver;
use super::attendant::{AttendError, RETRY, RETRY_CEILING, WAITING_SESSIONS};
use super::link::{Link, LinkError, link_error};
use super::sessions::acknowledge;

/// How long a partition's leader may take to be found and to answer: the home group's attendant does
/// nothing else meanwhile.
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// Wait before a leader that was named is asked.
const REDIRECT: Duration = Duration::from_millis(10);

/// The certificates that the home group's attendant has verified and found in the log.
pub(super) type Certificates = Arc<BTreeMap<CertificateId, VerifiedCertificate>>;

/// Answers the sessions of one further partition.
pub(super) struct PartitionAttendant {
    pub(super) approver: Arc<Approver>,
    pub(super) shard: ShardId,
    pub(super) seat: Seat,
    pub(super) trust: JurisdictionTrust,
    pub(super) certificates: watch::Receiver<Certificates>,
}

impl PartitionAttendant {
    /// Attends until the home group's attendant is gone.
    pub(super) async fn run(mut self) {
        let (mut retry, mut hint) = (RETRY, None);
        while self.certificates.has_changed().is_ok() {
            let named = hint.is_some();
            let ended = self.attend_once(&mut hint).await;
            if let Err(error) = ended {
                tracing::debug!(shard = %self.shard, %error, "not attending");
            }
            // A follower has said who leads: hardly any need to wait before asking there.
            let pause = if hint.is_some() && !named {
                REDIRECT
            } else {
                retry
            };
            tokio::time::sleep(pause).await;
            retry = (retry * 2).min(RETRY_CEILING);
        }
    }

    async fn attend_once(&mut self, hint: &mut Option<String>) -> Result<(), AttendError> {
        let attend = Attend {
            shard: self.shard,
            role: self.seat.role,
            slot: self.seat.slot,
            log_size: 0,
        };
        let approver = self.approver.clone();
        let seeds = &approver.config.seeds;
        let attended = Link::attend(seeds, &approver.tls, attend, hint.take()).await?;
        let (link, _sender, receiver) = attended;
        let ended = self.serve(&link, receiver).await;
        if let Err(AttendError::Link(LinkError::Refused(Refusal::NotLeader {
            leader: Some((_, address)),
        }))) = &ended
        {
            *hint = Some(address.clone());
        }
        ended
    }

    async fn serve(
        &mut self,
        link: &Link,
        mut receiver: StreamReceiver,
    ) -> Result<(), AttendError> {
        let mut waiting: Vec<SessionHeader> = Vec::new();
        loop {
            self.answer(link, &mut waiting).await?;
            let bytes = tokio::select! {
                received = receiver.recv() => match received {
                    Ok(Some(bytes)) => bytes,
                    Err(StreamError::Refused(call)) => return Err(link_error(call).into()),
                    Ok(None) | Err(_) => return Err(AttendError::Ended),
                },
                changed = self.certificates.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
            };
            let event: Event = codec::decode(&bytes).map_err(|_| LinkError::Malformed)?;
            // Requests, drafts and checkpoints are the home group's: from here they are nobody's word.
            if let Event::Sessions(headers) = event {
                let of_here = |header: &SessionHeader| header.body.shard == self.shard;
                waiting.extend(headers.into_iter().filter(of_here));
                waiting.truncate(WAITING_SESSIONS);
            }
        }
    }

    /// Answers the sessions whose certificate is known; the others wait for it.
    async fn answer(
        &mut self,
        link: &Link,
        waiting: &mut Vec<SessionHeader>,
    ) -> Result<(), AttendError> {
        let certificates = self.certificates.borrow_and_update().clone();
        for header in std::mem::take(waiting) {
            let kid = header.body.kid;
            let mut known = certificates.values();
            match known.find(|certificate| certificate.period_of(&kid).is_some()) {
                Some(certificate) => {
                    let (approver, trust) = (&self.approver, &self.trust);
                    acknowledge(approver, trust, self.shard, link, header, certificate).await?;
                }
                None => waiting.push(header),
            }
        }
        Ok(())
    }
}

/// Connections to the leaders of further partitions, to read from.
#[derive(Default)]
pub(super) struct PartitionLinks {
    links: BTreeMap<ShardId, Link>,
}

impl PartitionLinks {
    /// Reads a page of a part from whoever leads its partition.
    ///
    /// # Errors
    /// [`LinkError`] when nobody does, or it refuses.
    pub(super) async fn read(
        &mut self,
        approver: &Approver,
        message: &ReadPart,
    ) -> Result<PartPage, LinkError> {
        let read = tokio::time::timeout(READ_PATIENCE, self.read_patiently(approver, message));
        match read.await {
            Ok(page) => page,
            Err(_) => {
                self.links.remove(&message.shard);
                Err(LinkError::NoLeader(message.shard))
            }
        }
    }

    async fn read_patiently(
        &mut self,
        approver: &Approver,
        message: &ReadPart,
    ) -> Result<PartPage, LinkError> {
        let (seeds, shard) = (&approver.config.seeds, message.shard);
        let mut hint = None;
        loop {
            let link = match self.links.remove(&shard) {
                Some(link) => link,
                None => Link::to_leader(seeds, &approver.tls, shard, hint.take()).await?,
            };
            match link.call(Operation::ReadPart, message).await {
                Ok(page) => {
                    self.links.insert(shard, link);
                    return Ok(page);
                }
                Err(LinkError::Refused(Refusal::NotLeader { leader })) => {
                    hint = leader.map(|(_, address)| address);
                }
                Err(LinkError::Refused(refusal)) if !refusal.is_transient() => {
                    return Err(LinkError::Refused(refusal));
                }
                Err(LinkError::Malformed) => return Err(LinkError::Malformed),
                Err(error) => tracing::debug!(%shard, %error, "a partition does not answer"),
            }
            tokio::time::sleep(REDIRECT).await;
        }
    }
}
