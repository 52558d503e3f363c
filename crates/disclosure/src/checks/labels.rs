//! Step 7: "per label: header signature, sid, certificate, erase_by; every field of l inside req;
//! manifest signature and inclusion of (i, l, alpha, SHA-256(ct)); x recomputed."

use std::collections::BTreeMap;

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::block::BatchManifest;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::{HeaderError, SessionHeader, VerifiedHeader};
use bailiwick_envelope::keys::SignatureError;
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::partition::partition_of;
use bailiwick_envelope::selection::{RecordPosition, Selection};
use bailiwick_tlog::{Hash, VerifyError, verify_inclusion};
use bailiwick_types::{
    Category, CertificateId, Digest, KeyId, Name, RequestId, Role, SessionId, Timestamp,
};

use crate::checks::partitions::TouchedPartitions;
use crate::checks::quorum::QuorumCertificate;
use crate::checks::request::LoggedRequest;
use crate::evidence::{EvidenceBlock, EvidencePage, EvidenceRecord, PAGE_RECORDS, ProvenLeaf};
use crate::trust::JurisdictionTrust;

/// A record whose label lies inside the request and was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerifiedRecord {
    pub(crate) position: RecordPosition,
    pub(crate) category: Category,
    pub(crate) x: Digest,
}

/// A session whose header is signed by a trusted edge.
#[derive(Clone, Debug)]
pub(crate) struct SessionEvidence {
    pub(crate) header: VerifiedHeader,
    pub(crate) certificate: CertificateId,
    pub(crate) kid: KeyId,
    edge_key: IdentityKey,
    erase_by: Timestamp,
}

/// A complete list of verified labels, in order of the selection. Only [`LabelVerifier::finish`]
/// makes one.
#[derive(Clone, Debug)]
pub struct VerifiedLabels {
    request: RequestId,
    records: Vec<VerifiedRecord>,
    sessions: BTreeMap<SessionId, SessionEvidence>,
    erase_by: Timestamp,
}

impl VerifiedLabels {
    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The recomputed `x` of every record with its kind, in order.
    pub fn inputs(&self) -> impl Iterator<Item = (Digest, Category)> {
        self.records
            .iter()
            .map(|record| (record.x, record.category))
    }

    /// The certificates under which the records are sealed.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateId> {
        self.sessions.values().map(|session| session.certificate)
    }

    /// The first instant at which a key involved is due for erasure.
    pub fn erase_by(&self) -> Timestamp {
        self.erase_by
    }

    pub(crate) fn records(&self) -> &[VerifiedRecord] {
        &self.records
    }

    pub(crate) fn sessions(&self) -> &BTreeMap<SessionId, SessionEvidence> {
        &self.sessions
    }
}

/// Why evidence is refused: the vault's fault that sent it, or the edge's that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelRefusal {
    /// The quorum is of another request.
    #[error("the quorum is of another request")]
    OtherRequest,
    /// A page has more records than [`PAGE_RECORDS`].
    #[error("a page of {0} records is too long")]
    Page(usize),
    /// A page without records, although records are missing.
    #[error("a page has no records although records are missing")]
    EmptyPage,
    /// More records than the logged selection has.
    #[error("more records than the logged selection's {0}")]
    TooMany(u32),
    /// The pages do not go on where they ended, or end early.
    #[error("record {got} was sent where record {expected} belongs")]
    Index {
        /// The next record's index.
        expected: u32,
        /// The index sent, or the number of records at the end.
        got: u32,
    },
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
    /// A session is sealed to no period of a certificate that the quorum is about.
    #[error("session {0} is sealed under no certificate that was approved")]
    Certificate(SessionId),
    /// A session's period is past its erasure.
    #[error("the keys of session {0} are due for erasure")]
    EraseBy(SessionId),
    /// A session of another jurisdiction.
    #[error("session {0} is of another jurisdiction")]
    Jurisdiction(SessionId),
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
    /// A record's or block's session was not sent.
    #[error("session {0} was not sent")]
    NoSession(SessionId),
    /// A record's block was not sent, or is outside its session.
    #[error("block {block} of session {sid} was not sent or is outside the session")]
    NoBlock {
        /// The session.
        sid: SessionId,
        /// The block.
        block: u16,
    },
    /// A label lies outside the request's scope, or names another edge than its session.
    #[error("the label of record {index} lies outside the request")]
    OutOfScope {
        /// Its place in the selection.
        index: u32,
    },
    /// A record, or a part, is of another partition than it was shown for, or one that is not touched,
    /// or not in order.
    #[error("partition {0}: not touched, out of order, or not where the record's subject lives")]
    Partition(u16),
    /// A partition's part of the selection is not in its log as the home log has it.
    #[error("the part of partition {partition} is not in its log")]
    PartNotLogged {
        /// The partition.
        partition: u16,
    },
    /// The records shown of a partition are not the part that it froze.
    #[error("the records shown of partition {partition} are not the part that it froze")]
    PartDiffers {
        /// The partition.
        partition: u16,
    },
    /// A block is not in its partition's log as the home log has it.
    #[error("block {block} of session {sid} is not in the log of its partition")]
    BlockNotLogged {
        /// The session.
        sid: SessionId,
        /// The block.
        block: u16,
    },
    /// A record stands twice or out of order.
    #[error("record {index} stands twice or out of order")]
    Order {
        /// Its place in the selection.
        index: u32,
    },
    /// A record was never written as it is shown: label, alpha or ciphertext differ.
    #[error("record {index} is not in its block as it is shown")]
    NotWritten {
        /// Its place in the selection.
        index: u32,
        /// Why.
        source: VerifyError,
    },
}

/// A partition's part of the selection.
#[derive(Debug)]
struct Part {
    partition: u16,
    begin: usize,
    selection: Selection,
}

/// Verifies a selection's evidence page by page, partition by partition in ascending order.
#[derive(Debug)]
pub struct LabelVerifier<'a> {
    request: &'a LoggedRequest,
    quorum: &'a QuorumCertificate,
    partitions: &'a TouchedPartitions,
    trust: &'a JurisdictionTrust,
    now: Timestamp,
    /// The parts begun, each with the number of records before it; complete but for the last.
    parts: Vec<Part>,
    sessions: BTreeMap<SessionId, SessionEvidence>,
    blocks: BTreeMap<(SessionId, u16), BatchManifest>,
    records: Vec<VerifiedRecord>,
    erase_by: Timestamp,
}

impl<'a> LabelVerifier<'a> {
    /// A verifier for the selection that a quorum approved.
    ///
    /// # Errors
    /// [`LabelRefusal::OtherRequest`] when the quorum is of another request.
    pub fn new(
        request: &'a LoggedRequest,
        quorum: &'a QuorumCertificate,
        partitions: &'a TouchedPartitions,
        trust: &'a JurisdictionTrust,
        now: Timestamp,
    ) -> Result<Self, LabelRefusal> {
        let together = quorum.request() == request.id()
            && quorum.checkpoint() == request.checkpoint()
            && partitions.request() == request.id()
            && partitions.checkpoint() == request.checkpoint();
        if !together {
            return Err(LabelRefusal::OtherRequest);
        }
        Ok(Self {
            request,
            quorum,
            partitions,
            trust,
            now,
            parts: Vec::new(),
            sessions: BTreeMap::new(),
            blocks: BTreeMap::new(),
            records: Vec::new(),
            erase_by: Timestamp(u64::MAX),
        })
    }

    /// The index within its part of the next record of a partition: the `from` of the next page.
    pub fn next_index(&self, partition: u16) -> u32 {
        match self.parts.last() {
            Some(part) if part.partition == partition => (self.records.len() - part.begin) as u32,
            _ => 0,
        }
    }

    /// Whether all records of a partition's part were verified.
    pub fn is_complete(&self, partition: u16) -> bool {
        let mut parts = self.parts.iter().enumerate();
        let Some((at, part)) = parts.find(|(_, part)| part.partition == partition) else {
            return false;
        };
        let end = self
            .parts
            .get(at + 1)
            .map_or(self.records.len(), |next| next.begin);
        end - part.begin == part.selection.count as usize
    }

    /// Verifies a page of the home group that goes on where the last one ended.
    ///
    /// # Errors
    /// [`LabelRefusal`] names the first record, block or session that fails.
    pub fn page(&mut self, page: &EvidencePage) -> Result<(), LabelRefusal> {
        if self.parts.is_empty() {
            let part = self.partitions.home_part(self.quorum.selection());
            self.begin(0, part.ok_or(LabelRefusal::Partition(0))?)?;
        }
        self.page_of(0, page)
    }

    /// Verifies a page of a further partition, with the leaf of its part.
    ///
    /// # Errors
    /// [`LabelRefusal`] names the part, or the first record, block or session that fails.
    pub fn part_page(
        &mut self,
        partition: u16,
        part: &ProvenLeaf,
        page: &EvidencePage,
    ) -> Result<(), LabelRefusal> {
        let begun = self
            .parts
            .last()
            .is_some_and(|last| last.partition == partition);
        if !begun {
            let refused = LabelRefusal::PartNotLogged { partition };
            let LeafContent::Part(selection) = &part.leaf.content else {
                return Err(refused);
            };
            if selection.request != self.request.id()
                || self.partitions.includes(partition, part).is_err()
            {
                return Err(refused);
            }
            self.begin(partition, selection.clone())?;
        }
        self.page_of(partition, page)
    }

    /// Begins a touched partition's part, when the one before it is complete.
    fn begin(&mut self, partition: u16, selection: Selection) -> Result<(), LabelRefusal> {
        let expected = self.partitions.partitions().nth(self.parts.len());
        let complete = |part: &Part| self.is_complete(part.partition);
        if expected != Some(partition) || !self.parts.last().is_none_or(complete) {
            return Err(LabelRefusal::Partition(partition));
        }
        let begin = self.records.len();
        self.parts.push(Part {
            partition,
            begin,
            selection,
        });
        Ok(())
    }

    fn page_of(&mut self, partition: u16, page: &EvidencePage) -> Result<(), LabelRefusal> {
        if self
            .parts
            .last()
            .is_none_or(|part| part.partition != partition)
        {
            return Err(LabelRefusal::Partition(partition));
        }
        if page.records.len() > PAGE_RECORDS {
            return Err(LabelRefusal::Page(page.records.len()));
        }
        // A record has one session and one block: more of them are no evidence for anything.
        if page.sessions.len() > PAGE_RECORDS || page.blocks.len() > PAGE_RECORDS {
            let longest = page.sessions.len().max(page.blocks.len());
            return Err(LabelRefusal::Page(longest));
        }
        // A driver that asks until the list is complete must not be kept asking for ever.
        if page.records.is_empty() && !self.is_complete(partition) {
            return Err(LabelRefusal::EmptyPage);
        }
        for header in &page.sessions {
            self.session(header)?;
        }
        self.blocks.clear();
        for block in &page.blocks {
            self.block(block)?;
        }
        for record in &page.records {
            let verified = self.record(partition, record)?;
            self.records.push(verified);
        }
        Ok(())
    }

    /// The list, once it is as long as the logged selection.
    ///
    /// # Errors
    /// [`LabelRefusal::Index`] when records are missing.
    pub fn finish(mut self) -> Result<VerifiedLabels, LabelRefusal> {
        let (expected, got) = (self.quorum.selection().count, self.records.len() as u32);
        if expected != got {
            return Err(LabelRefusal::Index { expected, got });
        }
        self.check_parts()?;
        // A session that no record is of is not part of the release.
        let mut used: BTreeMap<SessionId, SessionEvidence> = BTreeMap::new();
        for record in &self.records {
            let sid = record.position.sid;
            if let Some(session) = self.sessions.remove(&sid) {
                self.erase_by = self.erase_by.min(session.erase_by);
                used.insert(sid, session);
            }
        }
        Ok(VerifiedLabels {
            request: self.request.id(),
            records: self.records,
            sessions: used,
            erase_by: self.erase_by,
        })
    }

    /// Every touched partition was read, and what was read of it is the part that it froze, to the last
    /// record: a vault cannot leave out what a group of others has found.
    fn check_parts(&self) -> Result<(), LabelRefusal> {
        for (at, partition) in self.partitions.partitions().enumerate() {
            let part = self.parts.get(at);
            let part = part.ok_or(LabelRefusal::PartNotLogged { partition })?;
            let end = self
                .parts
                .get(at + 1)
                .map_or(self.records.len(), |next| next.begin);
            let inputs = self.records[part.begin..end].iter();
            let inputs = inputs.map(|record| (record.x, record.category));
            // Where there is one partition its part is the selection, which is compared next.
            let whole = self.partitions.count() == 1;
            if !whole && Selection::of(self.request.id(), inputs) != part.selection {
                return Err(LabelRefusal::PartDiffers { partition });
            }
        }
        Ok(())
    }

    fn session(&mut self, header: &SessionHeader) -> Result<(), LabelRefusal> {
        let sid = header.id();
        if self.sessions.contains_key(&sid) {
            return Ok(());
        }
        let body = &header.body;
        if body.shard.jurisdiction != self.request.request().jurisdiction {
            return Err(LabelRefusal::Jurisdiction(sid));
        }
        let edge_key = self.trust.edge(&body.edge);
        let edge_key = *edge_key.ok_or_else(|| LabelRefusal::UnknownEdge(body.edge.clone()))?;
        let certificate = self.certificate_of(&body.kid);
        let (certificate, period) = certificate.ok_or(LabelRefusal::Certificate(sid))?;
        let erase_by = certificate.body().periods[period].erase_by;
        if erase_by <= self.now {
            return Err(LabelRefusal::EraseBy(sid));
        }
        let threshold = |role: Role| certificate.body().committee(role).threshold;
        let kid = body.kid;
        let verified = header.clone().verify(
            &edge_key,
            threshold(Role::Workflow),
            threshold(Role::LegalReview),
        );
        let header = verified.map_err(|source| LabelRefusal::Header { sid, source })?;
        let evidence = SessionEvidence {
            header,
            certificate: certificate.id(),
            kid,
            edge_key,
            erase_by,
        };
        self.sessions.insert(sid, evidence);
        Ok(())
    }

    fn certificate_of(&self, kid: &KeyId) -> Option<(&'a VerifiedCertificate, usize)> {
        let mut certificates = self.quorum.certificates().values();
        certificates.find_map(|certificate| Some((certificate, certificate.period_of(kid)?)))
    }

    fn block(&mut self, block: &EvidenceBlock) -> Result<(), LabelRefusal> {
        let manifest = &block.manifest;
        let (sid, number) = (manifest.sid, manifest.block);
        let session = self
            .sessions
            .get(&sid)
            .ok_or(LabelRefusal::NoSession(sid))?;
        if number >= session.header.body().max_block {
            return Err(LabelRefusal::NoBlock { sid, block: number });
        }
        let partition = session.header.body().shard.partition;
        if partition > 0 && !self.is_logged(partition, block) {
            return Err(LabelRefusal::BlockNotLogged { sid, block: number });
        }
        let signed = manifest.verify(&session.edge_key, &block.signature);
        signed.map_err(|source| LabelRefusal::Manifest {
            sid,
            block: number,
            source,
        })?;
        self.blocks.insert((sid, number), manifest.clone());
        Ok(())
    }

    /// Whether a further partition's log, as the home log has it, lists a block: its manifest, and with
    /// the session's id in it the header.
    fn is_logged(&self, partition: u16, block: &EvidenceBlock) -> bool {
        let hash = block.manifest.hash();
        block.logged.as_ref().is_some_and(|proven| {
            matches!(&proven.leaf.content, LeafContent::Block { manifest } if *manifest == hash)
                && self.partitions.includes(partition, proven).is_ok()
        })
    }

    fn record(
        &self,
        partition: u16,
        record: &EvidenceRecord,
    ) -> Result<VerifiedRecord, LabelRefusal> {
        let (expected, index) = (self.next_index(partition), record.index);
        if expected != index {
            return Err(LabelRefusal::Index {
                expected,
                got: index,
            });
        }
        let part = self.parts.last().map_or(0, |part| part.selection.count);
        let whole = self.quorum.selection().count;
        if index >= part || self.records.len() as u32 >= whole {
            return Err(LabelRefusal::TooMany(part.min(whole)));
        }
        let label = &record.label;
        let (sid, block) = (label.sid, label.block);
        let session = self
            .sessions
            .get(&sid)
            .ok_or(LabelRefusal::NoSession(sid))?;
        let manifest = self.blocks.get(&(sid, block));
        let manifest = manifest.ok_or(LabelRefusal::NoBlock { sid, block })?;
        let inside = self.request.request().covers(label);
        if !inside || label.edge != session.header.body().edge {
            return Err(LabelRefusal::OutOfScope { index });
        }
        let home = partition_of(&label.subject, self.partitions.count());
        if session.header.body().shard.partition != partition || home != partition {
            return Err(LabelRefusal::Partition(partition));
        }
        let position = RecordPosition {
            partition,
            sid,
            block,
            index: label.index,
        };
        if self
            .records
            .last()
            .is_some_and(|last| last.position >= position)
        {
            return Err(LabelRefusal::Order { index });
        }
        let leaf = label.manifest_leaf(&record.alpha, &record.ciphertext_hash);
        let proof: Vec<Hash> = record.proof.iter().map(|hash| hash.0).collect();
        let (at, of) = (u64::from(label.index), u64::from(manifest.count));
        verify_inclusion(&leaf.0, at, of, &manifest.root.0, &proof)
            .map_err(|source| LabelRefusal::NotWritten { index, source })?;
        Ok(VerifiedRecord {
            position,
            category: label.category,
            x: label.record_input(&record.alpha),
        })
    }
}
