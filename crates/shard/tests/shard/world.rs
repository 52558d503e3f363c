//! A small shard to test against: two committees of 2-of-3, an edge, intake, a recipient, and
//! blocks made by hand. The shard never opens a ciphertext, so that random bytes stand for one.

use bailiwick_envelope::acknowledgement::{SessionAcknowledgement, Verdict};
use bailiwick_envelope::approval::{Approval, ApprovalStatement, Decision};
use bailiwick_envelope::block::{BatchManifest, BlockPlace, SealedBlock, SealedRecord, block_root};
use bailiwick_envelope::certificate::{CertificateBody, Member, MemberSignature};
use bailiwick_envelope::header::{
    Commitment, HeaderBody, SealedPart, SessionHeader, edge_certificate_hash,
};
use bailiwick_envelope::offer::KeyOffer;
use bailiwick_envelope::release::ReleaseIntent;
use bailiwick_envelope::request::{DisclosureRequest, Purpose, Recipient, ScopeLine};
use bailiwick_envelope::{EncapsulationKey, IdentityKey, SUITE, Signature, SigningKey};
use bailiwick_shard::view::{CertificateView, RequestView};
use bailiwick_shard::{
    CertificatePlan, Command, CommandBody, CommitteePlan, Outcome, PlannedMember, PlannedPeriod,
    documents_digest, query,
};
use bailiwick_threshold::DecapsulationKey;
use bailiwick_types::store::MemoryStore;
use bailiwick_types::{
    Category, ClusterId, CommandKey, Digest, Jurisdiction, KeyId, Minute, Name, RecordId,
    RequestId, Role, SessionId, SessionNonce, ShardId, Slot, SubjectPseudonym, Threshold,
    Timestamp,
};
use std::time::Duration;

pub const START: Timestamp = Timestamp(1_800_000_000_000_000);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

pub fn slot(number: u8) -> Slot {
    Slot::new(number).expect("1 to 7")
}

pub fn jurisdiction() -> Jurisdiction {
    "FR".parse().expect("a state")
}

pub fn subject(number: u8) -> SubjectPseudonym {
    SubjectPseudonym([number; 16])
}

fn key(kind: u8, role: Role, slot: Slot) -> SigningKey {
    SigningKey::from_bytes(&[kind * 32 + role.code() * 8 + slot.number(); 32])
}

pub fn identity(role: Role, slot: Slot) -> SigningKey {
    key(1, role, slot)
}

pub fn reviewer(role: Role, slot: Slot) -> SigningKey {
    key(2, role, slot)
}

pub fn edge_key(edge: &str) -> SigningKey {
    let mut seed = [200; 32];
    seed[..edge.len()].copy_from_slice(edge.as_bytes());
    SigningKey::from_bytes(&seed)
}

/// A decapsulation key by its number.
pub fn decapsulation_key(number: u16) -> DecapsulationKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    DecapsulationKey::from_bytes(&seed)
}

pub fn encapsulation_key(number: u16) -> EncapsulationKey {
    decapsulation_key(number).encapsulation_key()
}

pub fn members() -> Vec<(Role, Slot)> {
    let slots = |role| (1..=3).map(move |number| (role, slot(number)));
    Role::ALL.into_iter().flat_map(slots).collect()
}

pub fn member_name(role: Role, slot: Slot) -> Name {
    name(&format!("{role}-{slot}"))
}

fn committee(role: Role) -> CommitteePlan {
    let member = |number| PlannedMember {
        slot: slot(number),
        organisation: name(&format!("org-{role}-{number}")),
        name: member_name(role, slot(number)),
        identity: IdentityKey::of(&identity(role, slot(number))),
    };
    CommitteePlan {
        threshold: Threshold::new(2, 3).expect("a threshold"),
        members: (1..=3).map(member).collect(),
    }
}

/// A certificate of two periods of a day, the first of which began an hour before `from`.
pub fn plan(from: Timestamp) -> CertificatePlan {
    let begin = from.minus(Duration::from_secs(3600));
    let period = |day: u32| PlannedPeriod {
        not_before: begin.plus(DAY * day),
        not_after: begin.plus(DAY * (day + 1)),
        erase_by: begin.plus(DAY * (day + 31)),
    };
    CertificatePlan {
        workflow: committee(Role::Workflow),
        legal_review: committee(Role::LegalReview),
        not_before: begin,
        not_after: begin.plus(DAY * 2),
        periods: vec![period(0), period(1)],
    }
}

/// A shard with the commands that made it.
#[derive(Clone)]
pub struct World {
    pub store: MemoryStore,
    pub shard: ShardId,
    pub now: Timestamp,
    pub history: Vec<(Timestamp, Vec<u8>)>,
    commands: u64,
    records: u64,
    offered: u16,
}

impl World {
    /// A shard before its genesis.
    pub fn blank() -> Self {
        Self {
            store: MemoryStore::default(),
            shard: ShardId::home(jurisdiction()),
            now: START,
            history: Vec::new(),
            commands: 0,
            records: 0,
            offered: 0,
        }
    }

    /// A shard that is ready to be written to and asked.
    pub fn ready() -> Self {
        let mut world = Self::blank();
        world.genesis();
        world.furnish();
        world
    }

    /// The home shard of a jurisdiction of several partitions.
    pub fn partitioned(count: u16) -> Self {
        let mut world = Self::blank();
        world.genesis();
        let body = CommandBody::SetPartitions { count };
        assert_eq!(world.by("system", body), Outcome::Accepted);
        world.furnish();
        world
    }

    /// A further partition of a home shard, with what it takes over from it.
    pub fn further(home: &Self, partition: u16) -> Self {
        let mut world = Self::blank();
        world.now = home.now;
        world.shard.partition = partition;
        // Record ids of different groups' blocks differ.
        world.records = u64::from(partition) << 32;
        world.genesis();
        let count = query::partitions(&home.store).expect("memory");
        let body = CommandBody::SetPartitions { count };
        assert_eq!(world.by("system", body), Outcome::Accepted);
        world.mirror(home);
        let certificate = Box::new(home.newest_certificate().certificate);
        let body = CommandBody::InstallCertificate { certificate };
        let outcome = world.by("vault-1", body);
        assert!(matches!(outcome, Outcome::CertificateValid { .. }));
        world
    }

    pub fn mirror(&mut self, home: &Self) {
        let state = query::home_state(&home.store).expect("memory");
        let body = CommandBody::MirrorHome(state.expect("the home shard has begun"));
        assert_eq!(self.by("vault-1", body), Outcome::Accepted);
    }

    fn furnish(&mut self) {
        let world = self;
        world.enrol("edge-1");
        let body = CommandBody::EnrolIntake {
            name: name("intake-1"),
        };
        assert_eq!(world.by("operator", body), Outcome::Accepted);
        let body = CommandBody::EnrolRecipient {
            name: name("desk"),
            key: encapsulation_key(9999),
            certificate: Digest([9; 32]),
        };
        assert_eq!(world.by("operator", body), Outcome::Accepted);
        let (digest, version) = (Digest([5; 32]), 1);
        let body = CommandBody::SetPolicy { digest, version };
        assert_eq!(world.by("operator", body), Outcome::Accepted);
        world.certificate();
    }

    pub fn genesis(&mut self) {
        let body = CommandBody::Genesis {
            cluster: ClusterId([1; 16]),
            shard: self.shard,
            origin: "bailiwick.example/FR".to_owned(),
        };
        assert_eq!(self.by("system", body), Outcome::Accepted);
    }

    pub fn enrol(&mut self, edge: &str) {
        let body = CommandBody::EnrolEdge {
            edge: name(edge),
            key: IdentityKey::of(&edge_key(edge)),
        };
        assert_eq!(self.by("operator", body), Outcome::Accepted);
    }

    /// A command with a key of its own.
    pub fn command(&mut self, by: &str, body: CommandBody) -> Vec<u8> {
        self.commands += 1;
        let mut key = [0; 16];
        key[8..].copy_from_slice(&self.commands.to_be_bytes());
        let mut salt = [7; 32];
        salt[..8].copy_from_slice(&self.commands.to_be_bytes());
        let command = Command {
            key: CommandKey(key),
            salt,
            by: name(by),
            body,
        };
        command.to_bytes().expect("encodes")
    }

    pub fn by(&mut self, by: &str, body: CommandBody) -> Outcome {
        let command = self.command(by, body);
        self.apply(command)
    }

    pub fn apply(&mut self, command: Vec<u8>) -> Outcome {
        let outcome = bailiwick_shard::apply(&mut self.store, self.now, &command).expect("memory");
        self.history.push((self.now, command));
        Outcome::from_bytes(&outcome).expect("an outcome")
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// A certificate with everybody's keys and signatures; returns the first period's key id.
    pub fn certificate(&mut self) -> KeyId {
        let body = CommandBody::CallForKeys(plan(self.now));
        let Outcome::Drafted { draft } = self.by("operator", body) else {
            panic!("a draft");
        };
        for (role, slot) in members() {
            let offer = self.offer(draft, role, slot);
            self.by("member", CommandBody::OfferKeys { offer });
        }
        let drafts = query::drafts(&self.store).expect("memory");
        let body = drafts.last().and_then(|d| d.body.clone()).expect("built");
        for (role, slot) in members() {
            self.sign(&body, role, slot);
        }
        let certificate = self.newest_certificate();
        assert_eq!(certificate.certificate.body, body);
        bailiwick_envelope::certificate::kid(&body.id(), 0)
    }

    pub fn newest_certificate(&self) -> CertificateView {
        let certificates = query::certificates(&self.store).expect("memory");
        certificates.last().expect("one").clone()
    }

    pub fn offer(&mut self, draft: Digest, role: Role, slot: Slot) -> KeyOffer {
        self.offered += 10;
        let number = self.offered;
        let member = Member {
            slot,
            organisation: name(&format!("org-{role}-{slot}")),
            name: member_name(role, slot),
            identity: IdentityKey::of(&identity(role, slot)),
            reviewers: vec![IdentityKey::of(&reviewer(role, slot))],
            documents: encapsulation_key(number),
            periods: vec![encapsulation_key(number + 1), encapsulation_key(number + 2)],
        };
        KeyOffer::sign(draft, role, member, &identity(role, slot))
    }

    pub fn sign(&mut self, body: &CertificateBody, role: Role, slot: Slot) -> Outcome {
        let signature = MemberSignature {
            role,
            slot,
            signature: body.sign(&identity(role, slot)),
        };
        let certificate = body.id();
        self.by(
            "member",
            CommandBody::SignCertificate {
                certificate,
                signature,
            },
        )
    }

    /// A header that the shard takes.
    pub fn header(&self, edge: &str, nonce: u8) -> SessionHeader {
        SessionHeader::sign(self.header_body(edge, nonce), parts(), &edge_key(edge))
    }

    pub fn header_body(&self, edge: &str, nonce: u8) -> HeaderBody {
        let certificate = self.newest_certificate().certificate.body.id();
        HeaderBody {
            suite: SUITE,
            kid: bailiwick_envelope::certificate::kid(&certificate, 0),
            shard: self.shard,
            edge: name(edge),
            edge_certificate: edge_certificate_hash(&name(edge), &IdentityKey::of(&edge_key(edge))),
            nonce: SessionNonce([nonce; 16]),
            opened_at: self.now,
            expires_at: self.now.plus(Duration::from_secs(600)),
            max_block: 100,
            commitments: commitments(),
        }
    }

    pub fn open(&mut self, edge: &str, nonce: u8) -> Session {
        let header = self.header(edge, nonce);
        let sid = header.id();
        let outcome = self.by(edge, CommandBody::OpenSession { header });
        assert_eq!(outcome, Outcome::SessionOpened { sid });
        Session {
            sid,
            edge: edge.to_owned(),
            next: 0,
            previous: Digest::default(),
        }
    }

    /// A record with an id of its own.
    pub fn record(&mut self, subject_number: u8, minute: Minute) -> SealedRecord {
        self.records += 1;
        let number = self.records;
        let category = match number % 3 {
            0 => Category::Phone,
            _ => Category::Ip,
        };
        let mut record = [0; 16];
        record[..8].copy_from_slice(&number.to_be_bytes());
        SealedRecord {
            record: RecordId(record),
            subject: subject(subject_number),
            category,
            minute,
            alpha: bailiwick_envelope::sha256(&number.to_be_bytes()),
            ciphertext: vec![number as u8; SealedRecord::ciphertext_length(category)],
        }
    }

    pub fn records_of(&mut self, subject_number: u8, count: usize) -> Vec<SealedRecord> {
        let minute = self.now.minute();
        let record = |_| self.record(subject_number, minute);
        (0..count).map(record).collect()
    }

    /// Appends a block and gives the duplicates.
    pub fn append(&mut self, session: &mut Session, records: Vec<SealedRecord>) -> Vec<u16> {
        let block = session.block(self.now, records);
        let by = session.edge.clone();
        match self.by(&by, append(&block)) {
            Outcome::BlockStored(stored) => {
                session.advance(&block);
                stored.duplicates
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn answer(&mut self, sid: SessionId, role: Role, number: u8, verdict: Verdict) -> Outcome {
        let key = identity(role, slot(number));
        let acknowledgement = SessionAcknowledgement::sign(sid, role, slot(number), verdict, &key);
        self.by(
            "member",
            CommandBody::AcknowledgeSession { acknowledgement },
        )
    }

    /// A request for one subject's records around now.
    pub fn request(&self, subject_number: u8, salt: u8) -> DisclosureRequest {
        let minute = self.now.minute();
        DisclosureRequest {
            jurisdiction: jurisdiction(),
            forum: jurisdiction(),
            scope: vec![ScopeLine {
                subject: subject(subject_number),
                categories: Category::ALL.to_vec(),
                from: Minute(minute.0 - 600),
                to: Minute(minute.0 + 600),
            }],
            purpose: Purpose::History,
            legal_basis: "CPP 60-1".to_owned(),
            authority: name("parquet-paris"),
            reference: format!("case-{salt}"),
            entered_by: name("intake-1"),
            documents: documents_digest(b"sealed"),
            recipient: Recipient {
                name: name("desk"),
                key: encapsulation_key(9999),
                certificate: Digest([9; 32]),
            },
            cap: 1000,
            not_after: self.now.plus(DAY),
            forum_policy: Digest([5; 32]),
            custody_policy: Digest([5; 32]),
            generation: 1,
            salt: [salt; 32],
        }
    }

    pub fn submit(&mut self, request: &DisclosureRequest) -> Outcome {
        self.by("intake-1", submit(request))
    }

    /// Submits a request that finds something.
    pub fn submitted(&mut self, subject_number: u8, salt: u8) -> RequestId {
        let request = self.request(subject_number, salt);
        match self.submit(&request) {
            Outcome::RequestLogged { request, .. } => request,
            other => panic!("{other:?}"),
        }
    }

    pub fn view(&self, id: RequestId) -> RequestView {
        let view = query::request(&self.store, id, self.now).expect("memory");
        view.expect("the request exists")
    }

    pub fn statement(&self, id: RequestId, role: Role, number: u8) -> ApprovalStatement {
        let view = self.view(id);
        ApprovalStatement {
            request: id,
            selection: view.selection.id(),
            role,
            slot: slot(number),
            rosters: view.rosters,
            decision: Decision::Approve,
            checklist: Digest([3; 32]),
            decided_at: self.now,
        }
    }

    pub fn decide(&mut self, id: RequestId, role: Role, number: u8, decision: Decision) -> Outcome {
        let mut statement = self.statement(id, role, number);
        statement.decision = decision;
        let approval = Approval::sign(statement, &reviewer(role, slot(number)));
        self.by(&format!("person-{role}-{number}"), decide(approval))
    }

    /// Both quorums approve.
    pub fn approve(&mut self, id: RequestId) {
        for role in Role::ALL {
            for number in 1..=2 {
                let outcome = self.decide(id, role, number, Decision::Approve);
                assert!(matches!(outcome, Outcome::Decided { .. }), "{outcome:?}");
            }
        }
    }

    pub fn intent(&self, id: RequestId, role: Role, number: u8) -> ReleaseIntent {
        let view = self.view(id);
        let unsigned = ReleaseIntent {
            request: id,
            selection: view.selection.id(),
            role,
            slot: slot(number),
            count: view.selection.count,
            recipient: view.request.recipient.key.recipient_hash(),
            signature: Signature([0; 64]),
        };
        ReleaseIntent::sign(unsigned, &identity(role, slot(number)))
    }

    pub fn release(&mut self, id: RequestId, role: Role, number: u8) -> Outcome {
        let intent = self.intent(id, role, number);
        self.by("member", CommandBody::RecordRelease { intent })
    }
}

pub fn append(block: &SealedBlock) -> CommandBody {
    CommandBody::AppendBlock {
        block: block.to_wire().into(),
    }
}

pub fn submit(request: &DisclosureRequest) -> CommandBody {
    CommandBody::SubmitRequest {
        request: Box::new(request.clone()),
        documents: b"sealed".as_slice().into(),
    }
}

pub fn decide(approval: Approval) -> CommandBody {
    CommandBody::Decide {
        approval: Box::new(approval),
    }
}

pub fn parts() -> Vec<SealedPart> {
    let part = |(role, slot)| SealedPart {
        role,
        slot,
        sealed: vec![1; 1200],
    };
    members().into_iter().map(part).collect()
}

fn commitments() -> Vec<Commitment> {
    let sets = Threshold::new(2, 3).expect("a threshold").holder_sets();
    let commitment = |role| {
        sets.clone().into_iter().map(move |holders| Commitment {
            role,
            holders,
            value: [holders.0; 32],
        })
    };
    Role::ALL.into_iter().flat_map(commitment).collect()
}

/// An edge's view of a session.
#[derive(Clone)]
pub struct Session {
    pub sid: SessionId,
    pub edge: String,
    pub next: u16,
    pub previous: Digest,
}

impl Session {
    /// The session's next block.
    pub fn block(&self, edge_time: Timestamp, records: Vec<SealedRecord>) -> SealedBlock {
        let place = BlockPlace {
            sid: self.sid,
            block: self.next,
            jurisdiction: jurisdiction(),
            edge: name(&self.edge),
            pseudonym_version: 1,
        };
        let manifest = BatchManifest {
            sid: self.sid,
            block: self.next,
            count: records.len() as u16,
            root: block_root(&place, &records),
            previous: self.previous,
            edge_time,
        };
        self.signed(manifest, records)
    }

    /// A block under any manifest, signed.
    pub fn signed(&self, manifest: BatchManifest, records: Vec<SealedRecord>) -> SealedBlock {
        SealedBlock {
            signature: manifest.sign(&edge_key(&self.edge)),
            manifest,
            pseudonym_version: 1,
            records,
        }
    }

    /// The shard took the block.
    pub fn advance(&mut self, block: &SealedBlock) {
        self.next += 1;
        self.previous = block.manifest.hash();
    }
}
