//! Capsules of held records (docs/cryptography.md section 11): "it runs section 8's checks 1, 2, 6-8
//! for the held labels (the hold's own lower quorum in place of the QC, since nothing leaves the
//! member)".
//!
//! ```text
//! CosignedCheckpoint -> LoggedHold -> HeldRecords -> MemberKeys::make_capsules -> CapsuleStatement
//! ```
//! Each is a value that only its check makes. Nothing here releases a value: a release from capsules
//! needs all of section 8 for a request of its own.

use std::collections::BTreeMap;

use bailiwick_envelope::block::BatchManifest;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::{HeaderError, SessionHeader, VerifiedHeader};
use bailiwick_envelope::hold::{
    Capsule, CapsuleStatement, HoldAction, HoldError, HoldQuorum, HoldStatement, VerifiedHold,
};
use bailiwick_envelope::keys::SignatureError;
use bailiwick_envelope::label::Label;
use bailiwick_envelope::selection::RecordPosition;
use bailiwick_envelope::{IdentityKey, Signature};
use bailiwick_threshold::{CapsuleError, HoldKey, seal_capsules};
use bailiwick_tlog::{Hash, MerkleTree, VerifyError, verify_inclusion};
use bailiwick_types::{Digest, HoldId, KeyId, Name, Role, SessionId, Timestamp};

use crate::checks::CosignedCheckpoint;
use crate::evidence::{EvidenceBlock, EvidencePage, EvidenceRecord, PAGE_RECORDS};
use crate::key_life::KeyLife;
use crate::keys::{KeysError, MemberKeys};
use crate::trust::JurisdictionTrust;

/// A live hold whose order and decisions the log carries. Only [`LoggedHold::verify`] makes one.
#[derive(Clone, Debug)]
pub struct LoggedHold(VerifiedHold);

/// Why no capsule is made for a hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeldRefusal {
    /// The log was not folded up to the checkpoint, or the checkpoint is another jurisdiction's.
    #[error("the checkpoint is of another log, or was not folded to its end")]
    Checkpoint,
    /// The log has no such hold.
    #[error("hold {0} is not logged")]
    NotLogged(HoldId),
    /// Too few decisions, or none that fit.
    #[error("the hold is refused")]
    Hold(#[from] HoldError),
    /// The hold has ended.
    #[error("hold {0} has ended")]
    Ended(HoldId),
    /// A page has more records, sessions or blocks than a page may have.
    #[error("a page of {0} is too long")]
    Page(usize),
    /// The own trust file does not name the session's edge.
    #[error("edge {0} is not in the trust file")]
    UnknownEdge(Name),
    /// A session's header is refused.
    #[error("the header of session {sid} is refused")]
    Header {
        /// The session.
        sid: SessionId,
        /// Why.
        source: HeaderError,
    },
    /// A session is sealed under no certificate that is known, or is another jurisdiction's.
    #[error("session {0} is of no known certificate of this jurisdiction")]
    Certificate(SessionId),
    /// The edge did not sign a manifest.
    #[error("the manifest of block {block} of session {sid} is refused")]
    Manifest {
        /// The session.
        sid: SessionId,
        /// The block.
        block: u16,
        /// Why.
        source: SignatureError,
    },
    /// A record's session or block was not sent.
    #[error("the session or block of record {0} was not sent")]
    NoBlock(usize),
    /// A label lies outside the hold, or names another edge than its session.
    #[error("the label of record {0} lies outside the hold")]
    OutOfHold(usize),
    /// A record stands twice or out of order.
    #[error("record {0} stands twice or out of order")]
    Order(usize),
    /// A record was never written as it is shown.
    #[error("record {index} is not in its block as it is shown")]
    NotWritten {
        /// Its place, from 0.
        index: usize,
        /// Why.
        source: VerifyError,
    },
    /// The records are not those that the hold was placed for.
    #[error("the records are not those of the hold")]
    OtherRecords,
    /// The member has no seat, or no key of a period.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A capsule is not made.
    #[error(transparent)]
    Capsule(#[from] CapsuleError),
}

impl LoggedHold {
    /// Checks 1 and 2: the hold's order and enough decisions are in the log, folded up to a checkpoint
    /// that others cosigned minutes ago, and the hold is live. Extensions and the hold's end are
    /// followed in the order of the log.
    ///
    /// # Errors
    /// [`HeldRefusal`] names what is missing.
    pub fn verify(
        checkpoint: &CosignedCheckpoint,
        life: &KeyLife,
        trust: &JurisdictionTrust,
        quorum: HoldQuorum,
        (id, root): (HoldId, Digest),
        now: Timestamp,
    ) -> Result<Self, HeldRefusal> {
        let of_log = checkpoint.reference().jurisdiction == trust.jurisdiction();
        if !of_log || life.size() < checkpoint.size() {
            return Err(HeldRefusal::Checkpoint);
        }
        let (order, decisions) = life.hold(id).ok_or(HeldRefusal::NotLogged(id))?;
        let roster = trust.roster();
        let mut hold = VerifiedHold::place(order.clone(), root, decisions, roster, quorum)?;
        let mut followed: Vec<HoldStatement> = Vec::new();
        for decision in decisions {
            let statement = decision.statement;
            let later = statement.action != HoldAction::Place;
            if later && !followed.contains(&statement) {
                // Too few decisions of a statement so far, or ever: the hold stays as it was.
                if hold.follow(&statement, decisions, roster, quorum).is_ok() {
                    followed.push(statement);
                }
            }
        }
        if hold.order().jurisdiction != trust.jurisdiction() || !hold.is_live(now) {
            return Err(HeldRefusal::Ended(id));
        }
        Ok(Self(hold))
    }

    /// The hold.
    pub fn hold(&self) -> &VerifiedHold {
        &self.0
    }
}

/// A session with held records.
#[derive(Clone, Debug)]
struct HeldSession {
    header: VerifiedHeader,
    certificate: VerifiedCertificate,
    edge_key: IdentityKey,
    records: Vec<(Label, Digest)>,
}

/// The records of a hold, each written by a trusted edge. Only [`HeldRecords::verify`] makes one.
#[derive(Clone, Debug)]
pub struct HeldRecords {
    hold: HoldId,
    sessions: BTreeMap<SessionId, HeldSession>,
}

/// Verifies pages.
struct Verifier<'a> {
    hold: &'a VerifiedHold,
    trust: &'a JurisdictionTrust,
    certificates: &'a [VerifiedCertificate],
    sessions: BTreeMap<SessionId, HeldSession>,
    blocks: BTreeMap<(SessionId, u16), BatchManifest>,
    inputs: Vec<Hash>,
    last: Option<RecordPosition>,
}

impl HeldRecords {
    /// Checks 6 and 7 for the held labels: every label inside the hold, under a trusted edge's header
    /// and manifest; and all of them together are what the hold was placed for.
    ///
    /// # Errors
    /// [`HeldRefusal`] names the first that fails.
    pub fn verify(
        logged: &LoggedHold,
        trust: &JurisdictionTrust,
        certificates: &[VerifiedCertificate],
        pages: &[EvidencePage],
    ) -> Result<Self, HeldRefusal> {
        let mut verifier = Verifier {
            hold: logged.hold(),
            trust,
            certificates,
            sessions: BTreeMap::new(),
            blocks: BTreeMap::new(),
            inputs: Vec::new(),
            last: None,
        };
        for page in pages {
            verifier.page(page)?;
        }
        let root = Digest(MerkleTree::from_leaves(verifier.inputs).root());
        if root != logged.hold().root() {
            return Err(HeldRefusal::OtherRecords);
        }
        let mut sessions = verifier.sessions;
        sessions.retain(|_, session| !session.records.is_empty());
        Ok(Self {
            hold: logged.hold().id(),
            sessions,
        })
    }

    /// The hold.
    pub fn hold(&self) -> HoldId {
        self.hold
    }

    /// The periods that the records are sealed under.
    pub fn periods(&self) -> Vec<KeyId> {
        let mut kids: Vec<KeyId> = self
            .sessions
            .values()
            .map(|s| s.header.body().kid)
            .collect();
        kids.sort_unstable();
        kids.dedup();
        kids
    }
}

impl Verifier<'_> {
    fn page(&mut self, page: &EvidencePage) -> Result<(), HeldRefusal> {
        let longest = page.sessions.len().max(page.blocks.len());
        let longest = longest.max(page.records.len());
        if longest > PAGE_RECORDS {
            return Err(HeldRefusal::Page(longest));
        }
        for header in &page.sessions {
            self.session(header)?;
        }
        self.blocks.clear();
        for block in &page.blocks {
            self.block(block)?;
        }
        page.records
            .iter()
            .try_for_each(|record| self.record(record))
    }

    fn session(&mut self, header: &SessionHeader) -> Result<(), HeldRefusal> {
        let (sid, body) = (header.id(), &header.body);
        if self.sessions.contains_key(&sid) {
            return Ok(());
        }
        let edge_key = self.trust.edge(&body.edge);
        let edge_key = *edge_key.ok_or_else(|| HeldRefusal::UnknownEdge(body.edge.clone()))?;
        let jurisdiction = self.trust.jurisdiction();
        let mut known = self.certificates.iter();
        let certificate = known.find(|certificate| certificate.period_of(&body.kid).is_some());
        let certificate = certificate
            .filter(|c| c.body().jurisdiction == jurisdiction)
            .filter(|_| body.shard.jurisdiction == jurisdiction)
            .ok_or(HeldRefusal::Certificate(sid))?;
        let threshold = |role: Role| certificate.body().committee(role).threshold;
        let (left, right) = (threshold(Role::Workflow), threshold(Role::LegalReview));
        let verified = header.clone().verify(&edge_key, left, right);
        let session = HeldSession {
            header: verified.map_err(|source| HeldRefusal::Header { sid, source })?,
            certificate: certificate.clone(),
            edge_key,
            records: Vec::new(),
        };
        self.sessions.insert(sid, session);
        Ok(())
    }

    fn block(&mut self, block: &EvidenceBlock) -> Result<(), HeldRefusal> {
        let manifest = &block.manifest;
        let (sid, number) = (manifest.sid, manifest.block);
        let session = self.sessions.get(&sid);
        let session = session.ok_or(HeldRefusal::NoBlock(self.inputs.len()))?;
        let signed = manifest.verify(&session.edge_key, &block.signature);
        signed.map_err(|source| HeldRefusal::Manifest {
            sid,
            block: number,
            source,
        })?;
        self.blocks.insert((sid, number), manifest.clone());
        Ok(())
    }

    fn record(&mut self, record: &EvidenceRecord) -> Result<(), HeldRefusal> {
        let (label, index) = (&record.label, self.inputs.len());
        let missing = HeldRefusal::NoBlock(index);
        let session = self.sessions.get_mut(&label.sid);
        let session = session.ok_or(missing.clone())?;
        let manifest = self.blocks.get(&(label.sid, label.block)).ok_or(missing)?;
        let body = session.header.body();
        if !self.hold.order().covers(label) || label.edge != body.edge {
            return Err(HeldRefusal::OutOfHold(index));
        }
        let position = RecordPosition {
            partition: body.shard.partition,
            sid: label.sid,
            block: label.block,
            index: label.index,
        };
        if self.last.is_some_and(|last| last >= position) {
            return Err(HeldRefusal::Order(index));
        }
        let leaf = label.manifest_leaf(&record.alpha, &record.ciphertext_hash);
        let proof: Vec<Hash> = record.proof.iter().map(|hash| hash.0).collect();
        let (at, of) = (u64::from(label.index), u64::from(manifest.count));
        verify_inclusion(&leaf.0, at, of, &manifest.root.0, &proof)
            .map_err(|source| HeldRefusal::NotWritten { index, source })?;
        self.last = Some(position);
        self.inputs.push(label.record_input(&record.alpha).0);
        session.records.push((label.clone(), record.alpha));
        Ok(())
    }
}

/// A member's capsules of one period of a hold, to be kept before the statement is posted.
#[derive(Debug)]
pub struct PeriodCapsules {
    /// The period.
    pub kid: KeyId,
    /// The capsules, in order of the hold's records.
    pub capsules: Vec<Capsule>,
    unsigned: CapsuleStatement,
}

impl PeriodCapsules {
    /// Signs the statement after `write` has made the capsules durable: a period is erased on its
    /// word.
    ///
    /// # Errors
    /// The driver's; there is no statement then.
    pub fn kept<E>(
        self,
        keys: &MemberKeys,
        write: impl FnOnce(&[Capsule]) -> Result<(), E>,
    ) -> Result<CapsuleStatement, E> {
        write(&self.capsules)?;
        Ok(CapsuleStatement::sign(self.unsigned, keys.signing_key()))
    }
}

impl MemberKeys {
    /// Check 8 and the capsules: opens the own part of every session, checks every commitment, and
    /// seals the values under the hold's own key. One result per period.
    ///
    /// # Errors
    /// [`HeldRefusal`]; no capsule is made then.
    ///
    /// # Security
    /// Nothing leaves: the values are sealed inside the construction's crate, under a key that only
    /// this member has.
    pub fn make_capsules(
        &self,
        logged: &LoggedHold,
        held: &HeldRecords,
        trust: &JurisdictionTrust,
        hold_key: &HoldKey,
        now: Timestamp,
    ) -> Result<Vec<PeriodCapsules>, HeldRefusal> {
        let hold = logged.hold();
        if held.hold() != hold.id() {
            return Err(HeldRefusal::OtherRecords);
        }
        let seat = self.seat(trust)?;
        let mut made: BTreeMap<KeyId, Vec<Capsule>> = BTreeMap::new();
        for session in held.sessions.values() {
            let kid = session.header.body().kid;
            let key = self.period_key(trust.jurisdiction(), kid);
            let key = key.ok_or(KeysError::NoKey(kid))?;
            let part = session.header.header().part(seat.role, seat.slot);
            let part = part.ok_or(KeysError::OtherCertificate)?;
            let (header, certificate) = (&session.header, &session.certificate);
            let records = &session.records;
            let sealed = seal_capsules(
                hold,
                hold_key,
                header,
                certificate,
                (part, key),
                records,
                now,
            )?;
            made.entry(kid).or_default().extend(sealed);
        }
        let period = |(kid, capsules): (KeyId, Vec<Capsule>)| {
            let inputs = capsules.iter().map(|capsule| capsule.place.x.0).collect();
            let unsigned = CapsuleStatement {
                hold: hold.id(),
                kid,
                role: seat.role,
                slot: seat.slot,
                count: capsules.len() as u32,
                root: Digest(MerkleTree::from_leaves(inputs).root()),
                signature: Signature([0; 64]),
            };
            PeriodCapsules {
                kid,
                capsules,
                unsigned,
            }
        };
        Ok(made.into_iter().map(period).collect())
    }
}
