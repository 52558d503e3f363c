//! What the log says about the keys' own lives: roster updates, erasures, holds. Folded beside
//! [`crate::LogFollower`], which answers for the leaves being the log's.
//!
//! Only what is signed by whom it names is kept: anybody can write a leaf that claims an erasure.

use std::collections::BTreeMap;

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::erasure::ErasureAttestation;
use bailiwick_envelope::hold::{HoldDecision, HoldOrder};
use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_envelope::roster::{ROSTER_UPDATES, Roster, RosterError, SignedRosterUpdate};
use bailiwick_types::limits::{CERTIFICATE_PERIODS, LIVE_CERTIFICATES};
use bailiwick_types::{CertificateId, Digest, HoldId, KeyId, Timestamp};

/// Most attestations kept of one period: each of 14 slots by each of its occupants, and slack.
const ATTESTATIONS: usize = 14 * ROSTER_UPDATES;
/// Most holds of which anything is kept; a jurisdiction with more live ones needs a larger limit.
const HOLDS: usize = 65_536;
/// Most decisions kept about one hold: 14 slots for each of a year's monthly extensions, and slack.
const HOLD_DECISIONS: usize = 512;
/// Most periods of which anything is kept; more are no periods of live certificates.
const PERIODS: usize = LIVE_CERTIFICATES * CERTIFICATE_PERIODS;

/// Everything that a log says about keys' lives, up to its size.
#[derive(Clone, Debug, Default)]
pub struct KeyLife {
    size: u64,
    updates: BTreeMap<CertificateId, Vec<(SignedRosterUpdate, Timestamp)>>,
    attestations: BTreeMap<KeyId, Vec<ErasureAttestation>>,
    /// Periods that a logged intent or attestation of the member itself says are to be erased.
    own: BTreeMap<KeyId, Timestamp>,
    /// Orders, each with the decisions about it in the order of the log.
    holds: BTreeMap<HoldId, (HoldOrder, Vec<HoldDecision>)>,
}

impl KeyLife {
    /// Folds the next leaf. `identity` is the member's own: what it signed itself is what it
    /// re-erases.
    pub fn fold(&mut self, leaf: &OpenedLeaf, identity: &IdentityKey) {
        self.size += 1;
        match &leaf.content {
            LeafContent::Roster(signed) => {
                let updates = self.updates.entry(signed.update.certificate).or_default();
                updates.push((SignedRosterUpdate::clone(signed), leaf.logged_at));
            }
            LeafContent::EraseIntent(intent) if intent.verify(identity).is_ok() => {
                self.own.entry(intent.kid).or_insert(leaf.logged_at);
            }
            LeafContent::Erased(attestation) => {
                if attestation.verify(identity).is_ok() {
                    self.own.entry(attestation.kid).or_insert(leaf.logged_at);
                }
                self.keep(attestation);
            }
            LeafContent::Hold(order) if self.holds.len() < HOLDS => {
                let entry = self.holds.entry(order.id());
                entry.or_insert_with(|| (HoldOrder::clone(order), Vec::new()));
            }
            LeafContent::HoldDecision(decision) => {
                let hold = self.holds.get_mut(&decision.statement.hold);
                if let Some((_, decisions)) = hold.filter(|(_, d)| d.len() < HOLD_DECISIONS) {
                    decisions.push(*decision);
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, attestation: &ErasureAttestation) {
        let known = self.attestations.contains_key(&attestation.kid);
        if !known && self.attestations.len() >= PERIODS {
            return;
        }
        let of_period = self.attestations.entry(attestation.kid).or_default();
        if of_period.len() < ATTESTATIONS && !of_period.contains(attestation) {
            of_period.push(*attestation);
        }
    }

    /// How many leaves were folded.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When the member itself logged that it erases a period, if it did.
    pub fn erased(&self, kid: KeyId) -> Option<Timestamp> {
        self.own.get(&kid).copied()
    }

    /// The logged attestations of a period, for `shred_status`; not verified.
    pub fn attestations(&self, kid: KeyId) -> &[ErasureAttestation] {
        self.attestations.get(&kid).map_or(&[], Vec::as_slice)
    }

    /// A logged hold with the decisions about it; not verified.
    pub fn hold(&self, id: HoldId) -> Option<(&HoldOrder, &[HoldDecision])> {
        let (order, decisions) = self.holds.get(&id)?;
        Some((order, decisions))
    }

    /// The roster of a certificate by the logged updates; those that a roster refuses count for
    /// nothing, and come back with the reason.
    pub fn roster(
        &self,
        certificate: &VerifiedCertificate,
    ) -> (Roster, Vec<(Digest, RosterError)>) {
        let mut roster = Roster::new(certificate.clone());
        let mut refused = Vec::new();
        for (signed, logged_at) in self.updates.get(&certificate.id()).into_iter().flatten() {
            if let Err(reason) = roster.admit(signed.clone(), *logged_at) {
                refused.push((signed.update.id(), reason));
            }
        }
        (roster, refused)
    }
}
