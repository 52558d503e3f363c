//! What a recipient does: collect sealed partials, fetch the selection's ciphertext, open, compare,
//! acknowledge (docs/cryptography.md section 9).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bailiwick_api::cluster::Accepted;
use bailiwick_api::evidence::{Ciphertexts, PAGE_RECORDS, Partials, ReadCiphertext, ReadPartials};
use bailiwick_api::request::{AcknowledgeDelivery, RequestView};
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::partition::partition_of;
use bailiwick_envelope::release::{ReleaseIntent, SealedPartial};
use bailiwick_threshold::{
    DecapsulationKey, Opening, OpeningError, SelectedRecord, VerifiedPartial, open_partial,
    open_records,
};
use bailiwick_transport::Operation;
use bailiwick_types::{Jurisdiction, KeyId, RequestId, Role, ShardId, Slot, Timestamp};
use tokio::time::Instant;

use crate::auditor::{AuditError, read_leaf};
use crate::certificates::{CertificatesError, read_certificates};
use crate::cluster::{CallFailure, Cluster};
use crate::intake::read_request;
use crate::partitions::count;
use crate::trust::TrustFile;

/// Longest single wait for more partials.
const WAIT: Duration = Duration::from_secs(1);

/// Why nothing is opened.
#[derive(Debug, thiserror::Error)]
pub enum DiscloseError {
    /// The cluster did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// The certificates are not believed.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// The request shown is not the one asked for, or names another recipient key.
    #[error("the request that was shown is not {0}, or is for another recipient's key")]
    OtherRequest(RequestId),
    /// The key period of a record is of no believed certificate.
    #[error("record {0} is sealed under a period of no believed certificate")]
    UnknownPeriod(u32),
    /// Not enough members have released in time.
    #[error(
        "{workflow} workflow and {legal_review} legal-review members have released so far; \
         the request is {state}"
    )]
    NotReleased {
        /// Workflow members whose partials are here.
        workflow: usize,
        /// Legal-review members whose partials are here.
        legal_review: usize,
        /// The request's state.
        state: &'static str,
    },
    /// The partials do not open the records.
    #[error(transparent)]
    Opening(#[from] OpeningError),
}

/// What came out.
#[derive(Debug)]
pub struct Disclosure {
    /// The request as it stands.
    pub view: RequestView,
    /// Opened records, and who was contradicted.
    pub opening: Opening,
    /// Members whose partials were read.
    pub members: Vec<(Role, Slot)>,
    /// The release leaves that those partials name, as their members signed them.
    pub leaves: Vec<(Role, Slot, u64)>,
}

/// A release that was found in the log, as the member signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedRelease {
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// Its leaf's index.
    pub leaf_index: u64,
    /// When it was logged, by log time.
    pub logged_at: Timestamp,
}

/// Why a partial's release is not believed to be logged: the member's or the vault's fault, and an
/// alarm. What was opened stays opened.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The leaf is not in the cosigned log.
    #[error("the leaf of {role} slot {slot} is not in the log")]
    Leaf {
        /// The member's role.
        role: Role,
        /// The member's slot.
        slot: Slot,
        /// Why.
        source: AuditError,
    },
    /// The leaf is another one than this member's release of this selection to this recipient.
    #[error("leaf {leaf_index} is not the release that {role} slot {slot} names")]
    OtherLeaf {
        /// The member's role.
        role: Role,
        /// The member's slot.
        slot: Slot,
        /// The leaf's index.
        leaf_index: u64,
    },
}

/// A recipient with its key on this device.
pub struct Recipient {
    cluster: Cluster,
    trust: TrustFile,
    key: DecapsulationKey,
}

impl Recipient {
    /// A recipient.
    pub fn new(cluster: Cluster, trust: TrustFile, key: DecapsulationKey) -> Self {
        Self {
            cluster,
            trust,
            key,
        }
    }

    /// Opens a request's records as soon as enough members have released, waiting up to `patience`.
    /// With `everybody`, waits for all members that have logged a release, and compares them all.
    ///
    /// # Errors
    /// [`DiscloseError`].
    pub async fn open(
        &self,
        jurisdiction: Jurisdiction,
        request: RequestId,
        patience: Duration,
        everybody: bool,
    ) -> Result<Disclosure, DiscloseError> {
        let until = Instant::now() + patience;
        let view = read_request(&self.cluster, jurisdiction, request).await?;
        if view.request.id() != request
            || view.request.recipient.key != self.key.encapsulation_key()
        {
            return Err(DiscloseError::OtherRequest(request));
        }
        let certificates =
            read_certificates(&self.cluster, &self.trust, jurisdiction, crate::now()).await?;
        let by_period = by_period(&certificates);
        let mut records: Option<Vec<SelectedRecord>> = None;
        let mut collected = Collected::default();
        loop {
            let view = read_request(&self.cluster, jurisdiction, request).await?;
            self.collect(jurisdiction, request, &by_period, &mut collected)
                .await?;
            let enough = collected.enough(&view, &certificates, everybody);
            if enough {
                if records.is_none() {
                    records = Some(self.ciphertexts(jurisdiction, &view).await?);
                }
                let selected = records.as_deref().unwrap_or_default();
                let partials = &collected.partials;
                let opened = open_records(&by_period, request, &view.selection, selected, partials);
                match opened {
                    // More members may still answer; when none has in time, this is the answer.
                    Ok(opening) if opening.unopened.is_empty() || Instant::now() >= until => {
                        return Ok(collected.disclosure(view, opening));
                    }
                    Err(error) if Instant::now() >= until => return Err(error.into()),
                    Ok(_) | Err(_) => {}
                }
            }
            if Instant::now() >= until {
                return Err(collected.not_released(&view));
            }
        }
    }

    async fn collect(
        &self,
        jurisdiction: Jurisdiction,
        request: RequestId,
        by_period: &BTreeMap<KeyId, &VerifiedCertificate>,
        collected: &mut Collected,
    ) -> Result<(), DiscloseError> {
        let shard = ShardId::home(jurisdiction);
        let wait_ms = WAIT.as_millis() as u32;
        let message = ReadPartials {
            shard,
            request,
            known: collected.known,
            wait_ms,
        };
        let read: Partials = self
            .cluster
            .call_waiting(Some(shard), Operation::ReadPartials, &message, WAIT)
            .await?;
        if read.held < collected.known {
            // Another node leads: its spool is filled anew.
            collected.known = 0;
            return Ok(());
        }
        for sealed in read.partials {
            collected.known += 1;
            self.take(sealed, by_period, collected);
        }
        Ok(())
    }

    fn take(
        &self,
        sealed: SealedPartial,
        by_period: &BTreeMap<KeyId, &VerifiedCertificate>,
        collected: &mut Collected,
    ) {
        let place = sealed.place;
        let seen = collected
            .partials
            .iter()
            .any(|partial| *partial.place() == place);
        let member = by_period
            .get(&place.kid)
            .and_then(|certificate| certificate.body().committee(place.role).member(place.slot));
        let Some(member) = member.filter(|_| !seen) else {
            return;
        };
        match open_partial(&self.key, &sealed, &member.identity) {
            Ok(partial) => collected.partials.push(partial),
            Err(error) => {
                tracing::warn!(role = %place.role, slot = %place.slot, %error, "not a partial");
            }
        }
    }

    async fn ciphertexts(
        &self,
        jurisdiction: Jurisdiction,
        view: &RequestView,
    ) -> Result<Vec<SelectedRecord>, DiscloseError> {
        let count = count(&self.cluster, jurisdiction).await?;
        let lines = view.request.scope.iter();
        let touched: BTreeSet<u16> = lines
            .map(|line| partition_of(&line.subject, count))
            .collect();
        let mut records: Vec<SelectedRecord> = Vec::new();
        for partition in touched {
            let shard = ShardId {
                jurisdiction,
                partition,
            };
            self.part(shard, view, &mut records).await?;
        }
        // Whether these are all, in order, the selection's root says.
        match records.len() == view.selection.count as usize {
            true => Ok(records),
            false => Err(DiscloseError::OtherRequest(view.id)),
        }
    }

    /// Reads what one partition holds of a selection, up to the selection's own number of records.
    async fn part(
        &self,
        shard: ShardId,
        view: &RequestView,
        records: &mut Vec<SelectedRecord>,
    ) -> Result<(), DiscloseError> {
        let begin = records.len() as u32;
        while (records.len() as u32) < view.selection.count {
            let from = records.len() as u32 - begin;
            let message = ReadCiphertext {
                shard,
                request: view.id,
                from,
                limit: PAGE_RECORDS,
            };
            let page: Ciphertexts = self
                .cluster
                .call(Some(shard), Operation::ReadCiphertext, &message)
                .await?;
            if page.records.is_empty() {
                return Ok(());
            }
            let periods: BTreeMap<_, _> = page.periods.into_iter().collect();
            for record in page.records {
                let missing = DiscloseError::UnknownPeriod(record.index);
                let kid = *periods.get(&record.label.sid).ok_or(missing)?;
                records.push(SelectedRecord {
                    index: record.index.saturating_add(begin),
                    label: record.label,
                    alpha: record.alpha,
                    ciphertext: record.ciphertext.to_vec(),
                    kid,
                });
            }
        }
        Ok(())
    }

    /// Finds every release that the opened partials name in the cosigned log: "no partial exists
    /// that is not preceded by a leaf" (section 1, 6).
    ///
    /// # Errors
    /// [`ReleaseError`] names the first member whose leaf is not there.
    pub async fn logged_releases(
        &self,
        disclosure: &Disclosure,
    ) -> Result<Vec<LoggedRelease>, ReleaseError> {
        let jurisdiction = disclosure.view.request.jurisdiction;
        let mut releases = Vec::with_capacity(disclosure.leaves.len());
        for (role, slot, leaf_index) in disclosure.leaves.iter().copied() {
            let read = read_leaf(&self.cluster, &self.trust, jurisdiction, leaf_index).await;
            let leaf = read.map_err(|source| ReleaseError::Leaf { role, slot, source })?;
            let trusted = self.trust.jurisdiction(jurisdiction);
            let member = trusted.and_then(|trust| trust.roster.committee(role).member(slot));
            let logged = member.is_some_and(|member| match &leaf.content {
                LeafContent::Release(intent) => {
                    self.is_release(disclosure, role, slot, intent)
                        && intent.verify(&member.identity).is_ok()
                }
                _ => false,
            });
            if !logged {
                return Err(ReleaseError::OtherLeaf {
                    role,
                    slot,
                    leaf_index,
                });
            }
            let logged_at = leaf.logged_at;
            releases.push(LoggedRelease {
                role,
                slot,
                leaf_index,
                logged_at,
            });
        }
        Ok(releases)
    }

    fn is_release(
        &self,
        disclosure: &Disclosure,
        role: Role,
        slot: Slot,
        intent: &ReleaseIntent,
    ) -> bool {
        let selection = &disclosure.view.selection;
        intent.request == disclosure.view.id
            && intent.selection == selection.id()
            && intent.count == selection.count
            && intent.recipient == self.key.encapsulation_key().recipient_hash()
            && (intent.role, intent.slot) == (role, slot)
    }

    /// Tells the shard that the records were received.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn acknowledge(&self, disclosure: &Disclosure) -> Result<(), CallFailure> {
        let shard = ShardId::home(disclosure.view.request.jurisdiction);
        let (request, count) = (disclosure.view.id, disclosure.opening.records.len() as u32);
        let message = AcknowledgeDelivery {
            shard,
            request,
            count,
        };
        let _: Accepted = self
            .cluster
            .call(Some(shard), Operation::AcknowledgeDelivery, &message)
            .await?;
        Ok(())
    }
}

fn by_period(certificates: &[VerifiedCertificate]) -> BTreeMap<KeyId, &VerifiedCertificate> {
    let mut by_period = BTreeMap::new();
    for certificate in certificates {
        for period in 0..certificate.body().periods.len() {
            if let Some(kid) = certificate.kid(period) {
                by_period.insert(kid, certificate);
            }
        }
    }
    by_period
}

/// Partials as they come in.
#[derive(Default)]
struct Collected {
    known: u32,
    partials: Vec<VerifiedPartial>,
}

impl Collected {
    fn disclosure(&self, view: RequestView, opening: Opening) -> Disclosure {
        let place = |partial: &VerifiedPartial| {
            let place = partial.place();
            (place.role, place.slot, place.leaf_index)
        };
        let mut leaves: Vec<_> = self.partials.iter().map(place).collect();
        leaves.sort();
        leaves.dedup();
        Disclosure {
            view,
            opening,
            members: self.members(),
            leaves,
        }
    }

    fn members(&self) -> Vec<(Role, Slot)> {
        let mut members: Vec<_> = self
            .partials
            .iter()
            .map(|partial| (partial.place().role, partial.place().slot))
            .collect();
        members.sort();
        members.dedup();
        members
    }

    fn of_role(&self, role: Role) -> usize {
        self.members().iter().filter(|(of, _)| *of == role).count()
    }

    /// Whether opening is worth a try: t members of each role of every certificate that the request
    /// involves, or everybody who has logged a release.
    fn enough(
        &self,
        view: &RequestView,
        certificates: &[VerifiedCertificate],
        everybody: bool,
    ) -> bool {
        let involved = certificates.iter().filter(|certificate| {
            view.rosters
                .iter()
                .any(|roster| roster.certificate == certificate.id())
        });
        let mut any = false;
        for certificate in involved {
            any = true;
            for role in Role::ALL {
                let needed = certificate.body().committee(role).threshold.needed();
                if self.of_role(role) < usize::from(needed) {
                    return false;
                }
            }
        }
        let all = view
            .releases
            .iter()
            .all(|(role, slot, _)| self.members().contains(&(*role, *slot)));
        any && (!everybody || all)
    }

    fn not_released(&self, view: &RequestView) -> DiscloseError {
        DiscloseError::NotReleased {
            workflow: self.of_role(Role::Workflow),
            legal_review: self.of_role(Role::LegalReview),
            state: view.state.as_str(),
        }
    }
}
