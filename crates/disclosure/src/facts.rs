//! What a log says, folded leaf by leaf. Facts are what was logged, not what is true: whether a
//! logged approval counts is for [`crate::checks::QuorumCertificate`] to say.

use std::collections::BTreeMap;

use bailiwick_envelope::approval::{Approval, RefusalCode};
use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_envelope::release::ReleaseIntent;
use bailiwick_envelope::selection::Selection;
use bailiwick_types::{CertificateId, Name, RequestId, SelectionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::trust::Seat;

/// Where and when a leaf stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafPlace {
    /// The leaf's index.
    pub index: u64,
    /// When it was logged, by log time.
    pub logged_at: Timestamp,
}

/// A logged decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedDecision {
    /// The decision as it was logged; not yet verified.
    pub approval: Approval,
    /// Where.
    pub place: LeafPlace,
}

/// A logged release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedRelease {
    /// The intent as it was logged; not yet verified.
    pub intent: ReleaseIntent,
    /// Where.
    pub place: LeafPlace,
}

/// Everything that the log says about one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHistory {
    request: Option<LeafPlace>,
    selections: Vec<(Selection, LeafPlace)>,
    decisions: Vec<LoggedDecision>,
    releases: Vec<LoggedRelease>,
    refusal: Option<(RefusalCode, LeafPlace)>,
    recall: Option<LeafPlace>,
    delivery: Option<(u32, LeafPlace)>,
}

impl RequestHistory {
    /// Where the request itself was logged first.
    pub fn logged(&self) -> Option<LeafPlace> {
        self.request
    }

    /// The frozen selections, in order of the log; usually one.
    pub fn selections(&self) -> &[(Selection, LeafPlace)] {
        &self.selections
    }

    /// The selection with this id and where it was logged first.
    pub fn selection(&self, id: SelectionId) -> Option<(&Selection, LeafPlace)> {
        let found = self.selections.iter().find(|(s, _)| s.id() == id)?;
        Some((&found.0, found.1))
    }

    /// The decisions, in order of the log.
    pub fn decisions(&self) -> &[LoggedDecision] {
        &self.decisions
    }

    /// The releases, in order of the log.
    pub fn releases(&self) -> &[LoggedRelease] {
        &self.releases
    }

    /// The releases of one member.
    pub fn releases_of(&self, seat: Seat) -> impl Iterator<Item = &LoggedRelease> {
        self.releases.iter().filter(move |release| {
            release.intent.role == seat.role && release.intent.slot == seat.slot
        })
    }

    /// The first refusal.
    pub fn refusal(&self) -> Option<(RefusalCode, LeafPlace)> {
        self.refusal
    }

    /// The first recall or withdrawal.
    pub fn recall(&self) -> Option<LeafPlace> {
        self.recall
    }

    /// The first delivery, with how many records the recipient opened.
    pub fn delivery(&self) -> Option<(u32, LeafPlace)> {
        self.delivery
    }
}

/// Everything that a log says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFacts {
    requests: BTreeMap<RequestId, RequestHistory>,
    certificates: BTreeMap<CertificateId, LeafPlace>,
    freeze: Option<Freeze>,
}

/// A freeze that was not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Where it was logged.
    pub place: LeafPlace,
    /// Who ordered it.
    pub by: Name,
}

impl LogFacts {
    /// What the log says about a request, if anything.
    pub fn request(&self, id: RequestId) -> Option<&RequestHistory> {
        self.requests.get(&id)
    }

    /// All requests that the log names, in order of their ids.
    pub fn requests(&self) -> impl Iterator<Item = (&RequestId, &RequestHistory)> {
        self.requests.iter()
    }

    /// All certificates that the log names, in order of their ids.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateId> {
        self.certificates.keys().copied()
    }

    /// Where a certificate was logged first.
    pub fn certificate(&self, id: CertificateId) -> Option<LeafPlace> {
        self.certificates.get(&id).copied()
    }

    /// The freeze in force, if there is one.
    pub fn freeze(&self) -> Option<&Freeze> {
        self.freeze.as_ref()
    }

    /// Records that a member's logged releases of a UTC day of log time let out, without those of
    /// one request. A request that is released again counts once.
    pub fn released_on(&self, seat: Seat, day: u64, except: RequestId) -> u64 {
        let of_day = |history: &RequestHistory| {
            history
                .releases_of(seat)
                .filter(|release| release.place.logged_at.seconds() / SECONDS_PER_DAY == day)
                .map(|release| u64::from(release.intent.count))
                .max()
                .unwrap_or(0)
        };
        let others = self.requests.iter().filter(|(id, _)| **id != except);
        others.map(|(_, history)| of_day(history)).sum()
    }

    /// Folds the leaf with this index.
    pub(crate) fn fold(&mut self, index: u64, leaf: &OpenedLeaf) {
        let logged_at = leaf.logged_at;
        let place = LeafPlace { index, logged_at };
        match &leaf.content {
            // What it says of partitions is folded, and verified, in `crate::partitions`.
            LeafContent::Genesis { .. }
            | LeafContent::Enrolment { .. }
            | LeafContent::Partitions { .. }
            | LeafContent::PartitionRoot(_)
            | LeafContent::Block { .. }
            // What concerns the keys' own lives is folded apart from it.
            | LeafContent::Part(_)
            | LeafContent::Roster(_)
            | LeafContent::EraseIntent(_)
            | LeafContent::Erased(_)
            | LeafContent::Hold(_)
            | LeafContent::HoldDecision(_)
            // What is said about the order behind a request is folded in `crate::docket`.
            | LeafContent::Statement(_)
            | LeafContent::Assessment(_)
            | LeafContent::Panel(_)
            | LeafContent::AuthorityChange(_)
            | LeafContent::PolicyChange(_)
            | LeafContent::Preservation(_)
            | LeafContent::Order(_)
            | LeafContent::SubjectErasure(_) => {}
            LeafContent::Certificate { certificate } => {
                self.certificates.entry(*certificate).or_insert(place);
            }
            LeafContent::Freeze { by, .. } => {
                let by = by.clone();
                self.freeze = Some(Freeze { place, by });
            }
            LeafContent::Unfreeze { .. } => self.freeze = None,
            LeafContent::Request { request } => {
                self.history(*request).request.get_or_insert(place);
            }
            LeafContent::Selection(selection) => {
                let history = self.history(selection.request);
                history.selections.push((selection.clone(), place));
            }
            LeafContent::Decision(approval) => {
                let history = self.history(approval.statement.request);
                let approval = Approval::clone(approval);
                history.decisions.push(LoggedDecision { approval, place });
            }
            LeafContent::Release(intent) => {
                let intent = *intent;
                let history = self.history(intent.request);
                history.releases.push(LoggedRelease { intent, place });
            }
            LeafContent::Refusal { request, code } => {
                self.history(*request).refusal.get_or_insert((*code, place));
            }
            LeafContent::Recall { request, .. } => {
                self.history(*request).recall.get_or_insert(place);
            }
            LeafContent::Delivery { request, count } => {
                let delivery = (*count, place);
                self.history(*request).delivery.get_or_insert(delivery);
            }
        }
    }

    fn history(&mut self, request: RequestId) -> &mut RequestHistory {
        self.requests.entry(request).or_default()
    }
}

/// Seconds of a UTC day.
pub(crate) const SECONDS_PER_DAY: u64 = 86_400;
