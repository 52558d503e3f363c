//! The release order: the one way to a partial.
//!
//! ```text
//! Checks (all values of section 8's steps 1 to 7) -> Approvable -> signed intent -> leaf
//!   -> ReleaseLogged -> ReleaseOrder -> execute -> sealed partials
//! ```
//! Each step takes the one before by value; an order is spent when it is executed.

use std::collections::BTreeMap;

use bailiwick_envelope::Signature;
use bailiwick_envelope::release::{
    PartialBody, PartialPlace, RecordValues, ReleaseIntent, SealedPartial,
};
use bailiwick_threshold::{MemberPart, SealToError, open_part, seal_partial};
use bailiwick_types::limits::PARTIAL_CHUNK_RECORDS;
use bailiwick_types::{Digest, KeyId, SessionId};
use rand_core::CryptoRng;

use crate::checks::{
    CheckpointReference, CosignedCheckpoint, LoggedRequest, NotFrozen, OwnReviewerApproved,
    PolicyPassed, QuorumCertificate, ReleaseLogged, SessionEvidence, VerifiedLabels,
    VerifiedSelection,
};
use crate::keys::MemberKeys;
use crate::trust::Seat;

/// Everything that must have been checked before a release is logged. Each field can be had only
/// from its check, and a literal that leaves one out does not compile.
#[derive(Debug)]
pub struct Checks {
    /// Step 1.
    pub checkpoint: CosignedCheckpoint,
    /// Step 2.
    pub request: LoggedRequest,
    /// Step 3.
    pub quorum: QuorumCertificate,
    /// Step 3.
    pub not_frozen: NotFrozen,
    /// Step 4.
    pub own_reviewer: OwnReviewerApproved,
    /// Step 5.
    pub policy: PolicyPassed,
    /// Step 6.
    pub selection: VerifiedSelection,
    /// Step 7.
    pub labels: VerifiedLabels,
}

/// Checks that were made for different requests, selections, checkpoints or members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the check of the {check} does not belong with the others")]
pub struct MismatchError {
    /// The check that differs.
    pub check: &'static str,
}

/// All checks before the leaf have passed for one request and this member.
#[derive(Debug)]
pub struct Approvable {
    checks: Checks,
    seat: Seat,
    intent: ReleaseIntent,
}

impl Approvable {
    /// Takes all checks and signs the intent that must be logged before anything is computed.
    ///
    /// # Errors
    /// [`MismatchError`] names a check that was made for something else.
    pub fn new(checks: Checks, keys: &MemberKeys) -> Result<Self, MismatchError> {
        check_together(&checks)?;
        let seat = checks.own_reviewer.seat();
        let identity = keys.identity();
        let of_seat = checks.quorum.certificates().values().all(|certificate| {
            let member = certificate.body().committee(seat.role).member(seat.slot);
            member.is_some_and(|member| member.identity == identity)
        });
        if !of_seat {
            let check = "own reviewer";
            return Err(MismatchError { check });
        }
        let unsigned = ReleaseIntent {
            request: checks.request.id(),
            selection: checks.selection.id(),
            role: seat.role,
            slot: seat.slot,
            count: checks.selection.count(),
            recipient: checks.request.request().recipient.key.recipient_hash(),
            signature: Signature([0; 64]),
        };
        let intent = ReleaseIntent::sign(unsigned, keys.signing_key());
        Ok(Self {
            checks,
            seat,
            intent,
        })
    }

    /// The signed intent to log. The same checks give the same bytes again.
    pub fn intent(&self) -> &ReleaseIntent {
        &self.intent
    }

    /// The member's place.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// The checkpoint under which the checks were made.
    pub fn checkpoint(&self) -> CheckpointReference {
        self.checks.checkpoint.reference()
    }

    /// The request.
    pub fn request(&self) -> &LoggedRequest {
        &self.checks.request
    }

    /// The quorum.
    pub fn quorum(&self) -> &QuorumCertificate {
        &self.checks.quorum
    }

    /// The labels.
    pub fn labels(&self) -> &VerifiedLabels {
        &self.checks.labels
    }
}

/// Else values of two honest checks for two requests could be combined.
fn check_together(checks: &Checks) -> Result<(), MismatchError> {
    let reference = checks.checkpoint.reference();
    let (request, selection) = (checks.request.id(), checks.selection.id());
    let together = [
        ("request", checks.request.checkpoint() == reference),
        (
            "quorum",
            checks.quorum.checkpoint() == reference
                && checks.quorum.request() == request
                && checks.quorum.selection().id() == selection,
        ),
        ("freeze", checks.not_frozen.checkpoint() == reference),
        (
            "own reviewer",
            checks.own_reviewer.request() == request
                && checks.own_reviewer.selection() == selection,
        ),
        (
            "policy",
            checks.policy.request() == request && checks.policy.selection() == selection,
        ),
        (
            "selection",
            checks.selection.request() == request && checks.selection.checkpoint() == reference,
        ),
        (
            "labels",
            checks.labels.request() == request
                && checks
                    .labels
                    .certificates()
                    .all(|id| checks.quorum.certificates().contains_key(&id)),
        ),
    ];
    match together.into_iter().find(|(_, holds)| !holds) {
        Some((check, _)) => Err(MismatchError { check }),
        None => Ok(()),
    }
}

/// A release that is logged and may be carried out once.
#[derive(Debug)]
pub struct ReleaseOrder {
    approvable: Approvable,
    logged: ReleaseLogged,
}

/// Why a release is not carried out. No partial was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// There is no key of a period: never adopted, or erased.
    #[error("no private key for period {0}")]
    NoKey(KeyId),
    /// The own part of a session does not open or does not match its commitments.
    #[error("the own part of session {0} is not usable")]
    Part(SessionId),
    /// The recipient's bytes are no X-Wing key.
    #[error("the recipient's key cannot be sealed to")]
    Recipient(#[from] SealToError),
}

impl ReleaseOrder {
    /// Takes what was approved and the proof that its leaf is logged.
    ///
    /// # Errors
    /// [`MismatchError`] when the leaf is of another request.
    pub fn new(approvable: Approvable, logged: ReleaseLogged) -> Result<Self, MismatchError> {
        if logged.request() != approvable.request().id() {
            let check = "release leaf";
            return Err(MismatchError { check });
        }
        Ok(Self { approvable, logged })
    }

    /// Carries the release out: step 8, "open its part, check every commitment, ratchet to b", and
    /// step 10, "compute the values". Chunks of at most 1,024 records for each key period, each
    /// signed and sealed to the recipient that the request names.
    ///
    /// All parts are opened before any value is computed.
    ///
    /// # Errors
    /// [`ReleaseError`]; no partial was made.
    ///
    /// # Security
    /// This is the only function that makes partials.
    pub fn execute(
        self,
        keys: &MemberKeys,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<SealedPartial>, ReleaseError> {
        let mut parts = self.open_parts(keys)?;
        let mut chunks = Chunks::new(&self, keys);
        let labels = self.approvable.labels();
        let records: Vec<_> = (0u32..).zip(labels.records()).collect();
        let of_block = |record: &(u32, &crate::checks::VerifiedRecord)| {
            (record.1.position.sid, record.1.position.block)
        };
        for block in records.chunk_by(|a, b| of_block(a) == of_block(b)) {
            let (sid, number) = of_block(&block[0]);
            let (kid, part) = parts.get_mut(&sid).ok_or(ReleaseError::Part(sid))?;
            for piece in block.chunks(PARTIAL_CHUNK_RECORDS) {
                let inputs: Vec<(u32, Digest)> = piece
                    .iter()
                    .map(|(index, record)| (*index, record.x))
                    .collect();
                chunks.add(*kid, part.values(number, &inputs), rng)?;
            }
        }
        chunks.finish(rng)
    }

    fn open_parts(
        &self,
        keys: &MemberKeys,
    ) -> Result<BTreeMap<SessionId, (KeyId, MemberPart)>, ReleaseError> {
        let seat = self.approvable.seat;
        let checks = &self.approvable.checks;
        let jurisdiction = self.approvable.checkpoint().jurisdiction;
        let mut parts = BTreeMap::new();
        for (sid, session) in checks.labels.sessions() {
            let SessionEvidence {
                header,
                certificate,
                kid,
                ..
            } = session;
            let key = keys.period_key(jurisdiction, *kid);
            let key = key.ok_or(ReleaseError::NoKey(*kid))?;
            let certificate = checks.quorum.certificates().get(certificate);
            let certificate = certificate.ok_or(ReleaseError::Part(*sid))?;
            let part = open_part(header, certificate, seat.role, seat.slot, key)
                .map_err(|_| ReleaseError::Part(*sid))?;
            parts.insert(*sid, (*kid, part));
        }
        Ok(parts)
    }
}

/// Values on their way into sealed chunks, for each key period at most one unfinished chunk.
struct Chunks<'a> {
    order: &'a ReleaseOrder,
    keys: &'a MemberKeys,
    open: BTreeMap<KeyId, (u32, Vec<RecordValues>)>,
    sealed: Vec<SealedPartial>,
}

impl<'a> Chunks<'a> {
    fn new(order: &'a ReleaseOrder, keys: &'a MemberKeys) -> Self {
        Self {
            order,
            keys,
            open: BTreeMap::new(),
            sealed: Vec::new(),
        }
    }

    fn add(
        &mut self,
        kid: KeyId,
        values: Vec<RecordValues>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), ReleaseError> {
        for value in values {
            let (_, records) = self.open.entry(kid).or_default();
            records.push(value);
            if records.len() == PARTIAL_CHUNK_RECORDS {
                self.seal(kid, rng)?;
            }
        }
        Ok(())
    }

    fn seal(&mut self, kid: KeyId, rng: &mut impl CryptoRng) -> Result<(), ReleaseError> {
        let (chunk, records) = self.open.entry(kid).or_default();
        let records = std::mem::take(records);
        let approvable = &self.order.approvable;
        let body = PartialBody {
            place: PartialPlace {
                request: approvable.request().id(),
                leaf_index: self.order.logged.leaf_index(),
                kid,
                role: approvable.seat.role,
                slot: approvable.seat.slot,
                chunk: *chunk,
            },
            selection: approvable.checks.selection.id(),
            // Roster updates are not part of this version: see `checks::quorum`.
            roster: 0,
            records,
        };
        *chunk += 1;
        let recipient = &approvable.request().request().recipient.key;
        let sealed = seal_partial(rng, recipient, &body, self.keys.signing_key())?;
        self.sealed.push(sealed);
        Ok(())
    }

    fn finish(mut self, rng: &mut impl CryptoRng) -> Result<Vec<SealedPartial>, ReleaseError> {
        let unfinished: Vec<KeyId> = self
            .open
            .iter()
            .filter(|(_, (_, records))| !records.is_empty())
            .map(|(kid, _)| *kid)
            .collect();
        for kid in unfinished {
            self.seal(kid, rng)?;
        }
        Ok(self.sealed)
    }
}
