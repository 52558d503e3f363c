//! The world that the stories play in. All parties are honest until a story says otherwise.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use bailiwick_envelope::approval::{Approval, ApprovalStatement, Decision, RosterReference};
use bailiwick_envelope::block::{SealedBlock, block_leaves};
use bailiwick_envelope::certificate::{
    CertificateBody, Committee, KeyCertificate, Period, VerifiedCertificate,
};
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_envelope::record::{IpEvent, IpRecord, PhoneRecord, Plaintext, TransportProtocol};
use bailiwick_envelope::request::{DisclosureRequest, Purpose, Recipient, ScopeLine};
use bailiwick_envelope::selection::Selection;
use bailiwick_envelope::{Canonical, EncapsulationKey, IdentityKey, SUITE, SigningKey, sha256};
use bailiwick_policy::Policy;
use bailiwick_threshold::{
    DecapsulationKey, RecordToSeal, Sealer, SessionParameters, open_session,
};
use bailiwick_tlog::{Checkpoint, MerkleTree, SignedCheckpoint, leaf_hash, sign_checkpoint};
use bailiwick_types::{
    Category, Digest, Jurisdiction, Minute, Name, RecordId, Role, ShardId, Slot, SubjectPseudonym,
    Threshold, Timestamp,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::checks::{
    CosignedCheckpoint, LabelVerifier, LoggedRequest, NotFrozen, OwnReviewerApproved, PolicyPassed,
    QuorumCertificate, ReleaseLogged, TouchedPartitions, VerifiedSelection,
};
use crate::evidence::{EvidenceBlock, EvidencePage, EvidenceRecord, ProvenLeaf};
use crate::follower::{LogFollower, PersistedFollower};
use crate::keys::{DraftKeys, MemberKeys};
use crate::refusal::ReleaseRefusal;
use crate::release::{Approvable, Checks, ReleaseOrder};
use crate::trust::{JurisdictionTrust, PolicyCopies, Seat, TrustFile};
use crate::voucher::VouchedCheckpoint;

/// 2026-11-24T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp(1_795_521_600_000_000);
pub(crate) const ORIGIN: &str = "bailiwick.example/FR";

const POLICY: &str = r#"
jurisdiction = "FR"
version = 1
in_force = "2026-01-01T00:00:00Z"
illustrative = "not legal advice"
sources = ["none: a test"]
rules = ["R03", "R08", "R14", "R15", "R16", "R17", "R26", "R28", "R29", "R30"]
kinds = ["phone", "ip"]
[quorum]
workflow = 2
legal-review = 2
[limits]
max_subjects = 2
max_window_minutes = 1440
max_records = 5000
[reach]
forums = ["FR"]
authorities = ["tribunal-paris"]
"#;

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn france() -> Jurisdiction {
    "FR".parse().unwrap()
}

pub(crate) fn seat(role: Role, slot: u8) -> Seat {
    let slot = Slot::new(slot).unwrap();
    Seat { role, slot }
}

pub(crate) fn subject(number: u8) -> SubjectPseudonym {
    SubjectPseudonym([number; 16])
}

pub(crate) fn signing_key(label: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(label.as_bytes()).0)
}

pub(crate) struct MemberWorld {
    pub(crate) seat: Seat,
    pub(crate) keys: MemberKeys,
    pub(crate) reviewer: SigningKey,
    pub(crate) person: Name,
}

pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) now: Timestamp,
    pub(crate) members: Vec<MemberWorld>,
    pub(crate) recipient: DecapsulationKey,
    pub(crate) trust_text: String,
    pub(crate) trust: JurisdictionTrust,
    pub(crate) policies: PolicyCopies,
    pub(crate) certificate: VerifiedCertificate,
    pub(crate) edge: SigningKey,
    pub(crate) header: SessionHeader,
    pub(crate) sealer: Sealer,
    pub(crate) blocks: Vec<SealedBlock>,
    pub(crate) leaves: Vec<OpenedLeaf>,
    pub(crate) follower: LogFollower,
}

/// A request with its evidence, logged with its selection.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) request: DisclosureRequest,
    pub(crate) selection: Selection,
    pub(crate) pages: Vec<EvidencePage>,
    /// The further partition that shows the pages, with its part's leaf; the home group without one.
    pub(crate) part: Option<(u16, ProvenLeaf)>,
}

impl World {
    /// 2-of-3 and 2-of-3; one session with two blocks: subject 1's phone and two addresses, and
    /// one of each of subject 2.
    pub(crate) fn new() -> Self {
        let mut world = Self::without_records();
        let minute = NOON.minute().0 - 60;
        world.write(&[(1, 0, minute), (1, 1, minute), (2, 1, minute + 1)]);
        world.write(&[(1, 1, minute + 5), (2, 0, minute + 6)]);
        world
    }

    pub(crate) fn without_records() -> Self {
        Self::of_shard(ShardId::home(france()))
    }

    /// A world whose one session is of this shard.
    pub(crate) fn of_shard(shard: ShardId) -> Self {
        let mut rng = StdRng::seed_from_u64(7);
        let recipient = DecapsulationKey::from_bytes(&[9; 32]);
        let mut members = members();
        let edge = signing_key("edge");
        let trust_text = trust_text(&members, &recipient.encapsulation_key(), &edge);
        let file = TrustFile::parse(&trust_text).unwrap();
        let trust = file.jurisdiction(france()).unwrap().clone();
        let policy = Policy::parse(POLICY).unwrap();
        let policies = PolicyCopies::new(&trust, vec![policy]).unwrap();
        let certificate = certify(&mut rng, &mut members, &trust);
        let parameters = SessionParameters {
            certificate: &certificate,
            period: 0,
            high_water: None,
            shard,
            edge: name("edge-1"),
            edge_key: &edge,
            now: NOON,
            lifetime: Duration::from_secs(600),
            max_block: 16,
        };
        let (header, sealer) = open_session(&mut rng, parameters).unwrap();
        let mut world = Self {
            rng,
            now: NOON,
            members,
            recipient,
            trust_text,
            trust,
            policies,
            certificate,
            edge,
            header,
            sealer,
            blocks: Vec::new(),
            leaves: Vec::new(),
            follower: LogFollower::new(ORIGIN),
        };
        let origin = ORIGIN.to_owned();
        world.log(LeafContent::Genesis { origin });
        let certificate = world.certificate.id();
        world.log(LeafContent::Certificate { certificate });
        world
    }

    /// The approver takes another policy into its trust file and its own copies.
    pub(crate) fn use_policy(&mut self, change: impl Fn(&str) -> String) {
        let text = change(POLICY);
        assert_ne!(text, POLICY);
        let policy = Policy::parse(&text).unwrap();
        self.trust.policies[0].digest = policy.digest();
        self.policies = PolicyCopies::new(&self.trust, vec![policy]).unwrap();
    }

    /// Seals `(subject, 0 phone or 1 IP, minute)` as one block.
    pub(crate) fn write(&mut self, records: &[(u8, u8, u32)]) {
        let records: Vec<RecordToSeal> = records
            .iter()
            .enumerate()
            .map(|(at, (of, kind, minute))| {
                let mut record = RecordId([*of; 16]);
                record.0[0] = self.blocks.len() as u8;
                record.0[1..5].copy_from_slice(&(at as u32).to_be_bytes());
                RecordToSeal {
                    record,
                    subject: subject(*of),
                    plaintext: plaintext(*kind, Minute(*minute)),
                }
            })
            .collect();
        let block = self.sealer.seal(&records, 1, self.now).unwrap();
        self.blocks.push(block);
    }

    /// A request for all of subject 1 within the last two hours.
    pub(crate) fn request(&self, salt: u8) -> DisclosureRequest {
        let digest = self.policies.of(france()).unwrap().digest();
        DisclosureRequest {
            jurisdiction: france(),
            forum: france(),
            scope: vec![ScopeLine {
                subject: subject(1),
                categories: Category::ALL.to_vec(),
                from: Minute(NOON.minute().0 - 120),
                to: NOON.minute(),
            }],
            purpose: Purpose::Identify,
            legal_basis: "CPP 60-1".to_owned(),
            authority: name("tribunal-paris"),
            reference: "2026/1".to_owned(),
            entered_by: name("clerk"),
            documents: Digest([5; 32]),
            recipient: Recipient {
                name: name("desk"),
                key: self.recipient.encapsulation_key(),
                certificate: Digest([6; 32]),
            },
            cap: 5000,
            not_after: NOON.plus(Duration::from_secs(86_400)),
            forum_policy: digest,
            custody_policy: digest,
            generation: 1,
            salt: [salt; 32],
        }
    }

    /// What an honest vault finds for a request.
    pub(crate) fn find(&self, request: &DisclosureRequest) -> Case {
        self.show(request, |label| request.covers(label))
    }

    /// What a vault shows that selects as it likes.
    pub(crate) fn show(
        &self,
        request: &DisclosureRequest,
        selects: impl Fn(&bailiwick_envelope::label::Label) -> bool,
    ) -> Case {
        let mut pages = vec![EvidencePage::default()];
        let mut inputs = Vec::new();
        for block in &self.blocks {
            let place = block.place(france(), &self.header.body.edge);
            let tree = MerkleTree::from_leaves(block_leaves(&place, &block.records));
            let evidence = EvidenceBlock {
                manifest: block.manifest.clone(),
                signature: block.signature,
                logged: None,
            };
            pages.last_mut().unwrap().blocks.push(evidence.clone());
            for (at, record) in (0u16..).zip(&block.records) {
                let label = record.label(&place, at);
                if !selects(&label) {
                    continue;
                }
                if pages.last().unwrap().records.len() == crate::evidence::PAGE_RECORDS {
                    let blocks = vec![evidence.clone()];
                    pages.push(EvidencePage {
                        blocks,
                        ..EvidencePage::default()
                    });
                }
                let proof = tree.prove(u64::from(at)).unwrap();
                let index = inputs.len() as u32;
                inputs.push((label.record_input(&record.alpha), label.category));
                pages.last_mut().unwrap().records.push(EvidenceRecord {
                    index,
                    label,
                    alpha: record.alpha,
                    ciphertext_hash: sha256(&record.ciphertext),
                    proof: proof.into_iter().map(Digest).collect(),
                });
            }
        }
        pages[0].sessions.push(self.header.clone());
        Case {
            request: request.clone(),
            selection: Selection::of(request.id(), inputs),
            pages,
            part: None,
        }
    }

    /// Logs a request with what an honest vault finds.
    pub(crate) fn submit(&mut self, request: &DisclosureRequest) -> Case {
        let case = self.find(request);
        self.submit_case(&case);
        case
    }

    pub(crate) fn submit_case(&mut self, case: &Case) {
        let request = case.request.id();
        self.log(LeafContent::Request { request });
        self.log(LeafContent::Selection(case.selection.clone()));
    }

    /// A logged and approved request: two reviewers of each role.
    pub(crate) fn approved(&mut self) -> Case {
        let case = self.submit(&self.request(1));
        for role in Role::ALL {
            self.approve(&case, seat(role, 1));
            self.approve(&case, seat(role, 2));
        }
        case
    }

    pub(crate) fn member(&self, at: Seat) -> &MemberWorld {
        self.members.iter().find(|m| m.seat == at).unwrap()
    }

    pub(crate) fn statement(&self, case: &Case, at: Seat) -> ApprovalStatement {
        ApprovalStatement {
            request: case.request.id(),
            selection: case.selection.id(),
            role: at.role,
            slot: at.slot,
            rosters: vec![RosterReference {
                certificate: self.certificate.id(),
                roster: 0,
            }],
            decision: Decision::Approve,
            checklist: Digest([4; 32]),
            decided_at: self.now,
        }
    }

    /// The slot's own reviewer approves, and it is logged.
    pub(crate) fn approve(&mut self, case: &Case, at: Seat) {
        let statement = self.statement(case, at);
        let key = self.member(at).reviewer.clone();
        self.decide(statement, &key);
    }

    pub(crate) fn decide(&mut self, statement: ApprovalStatement, key: &SigningKey) {
        let approval = Approval::sign(statement, key);
        self.log(LeafContent::Decision(Box::new(approval)));
    }

    pub(crate) fn log(&mut self, content: LeafContent) {
        let number = self.leaves.len() as u32;
        let leaf = OpenedLeaf::new(self.now, content, &[3; 32], number);
        self.leaves.push(leaf);
    }

    /// The checkpoint over the first `size` leaves, signed by the log only.
    pub(crate) fn checkpoint_of(&self, leaves: &[OpenedLeaf]) -> SignedCheckpoint {
        let hashes = leaves.iter().map(|leaf| leaf_hash(&leaf.data())).collect();
        let root = MerkleTree::from_leaves(hashes).root();
        let checkpoint = Checkpoint::new(ORIGIN, leaves.len() as u64, root).unwrap();
        let voter = sign_checkpoint("vault-1", &signing_key("vault"), &checkpoint).unwrap();
        SignedCheckpoint::new(checkpoint, voter).unwrap()
    }

    /// The checkpoint as its voter sends it.
    pub(crate) fn vouched(&self, signed: &SignedCheckpoint) -> VouchedCheckpoint {
        VouchedCheckpoint::verify(signed.clone(), &self.trust, &name("vault-1")).unwrap()
    }

    /// The follower folds what was logged; the members of the given places cosign.
    pub(crate) fn cosigned_by(&mut self, seats: &[Seat], at: Timestamp) -> SignedCheckpoint {
        let mut signed = self.checkpoint_of(&self.leaves);
        let from = self.follower.size() as usize;
        self.follower = self
            .follower
            .advance(&self.leaves[from..], &self.vouched(&signed), self.now)
            .unwrap();
        let persisted = persist(self.follower.clone());
        for place in seats {
            let keys = &self.member(*place).keys;
            signed
                .add_signature(persisted.cosign(keys, at).unwrap())
                .unwrap();
        }
        signed
    }

    /// All members cosign now.
    pub(crate) fn sync(&mut self) -> SignedCheckpoint {
        let seats: Vec<Seat> = self.members.iter().map(|member| member.seat).collect();
        self.cosigned_by(&seats, self.now)
    }

    pub(crate) fn checkpoint(&mut self) -> CosignedCheckpoint {
        let signed = self.sync();
        CosignedCheckpoint::verify(&signed, &self.trust, &self.follower, self.now).unwrap()
    }

    pub(crate) fn logged(
        &self,
        checkpoint: &CosignedCheckpoint,
        request: &DisclosureRequest,
    ) -> Result<LoggedRequest, ReleaseRefusal> {
        let bytes = request.to_bytes();
        let logged =
            LoggedRequest::verify(&bytes, checkpoint, &self.follower, &self.trust, self.now)?;
        Ok(logged)
    }

    pub(crate) fn quorum(
        &self,
        checkpoint: &CosignedCheckpoint,
        case: &Case,
    ) -> Result<QuorumCertificate, ReleaseRefusal> {
        let request = self.logged(checkpoint, &case.request)?;
        let certificates = std::slice::from_ref(&self.certificate);
        let quorum = QuorumCertificate::verify(
            checkpoint,
            &self.follower,
            &request,
            case.selection.id(),
            certificates,
            &self.trust,
        )?;
        Ok(quorum)
    }

    /// Steps 1 to 7 as an honest approver makes them.
    pub(crate) fn checks(&mut self, case: &Case, at: Seat) -> Result<Checks, ReleaseRefusal> {
        let checkpoint = self.checkpoint();
        let request = self.logged(&checkpoint, &case.request)?;
        let quorum = self.quorum(&checkpoint, case)?;
        let not_frozen = NotFrozen::verify(&checkpoint, &self.follower)?;
        let own_reviewer = OwnReviewerApproved::verify(&quorum, at)?;
        let (policies, trust, follower) = (&self.policies, &self.trust, &self.follower);
        let policy =
            PolicyPassed::verify(policies, trust, follower, &request, &quorum, at, self.now)?;
        let touched = TouchedPartitions::verify(&checkpoint, follower, &request)?;
        let mut verifier = LabelVerifier::new(&request, &quorum, &touched, trust, self.now)?;
        for page in &case.pages {
            match &case.part {
                Some((partition, part)) => verifier.part_page(*partition, part, page)?,
                None => verifier.page(page)?,
            }
        }
        let labels = verifier.finish()?;
        let selection = VerifiedSelection::verify(&checkpoint, follower, &request, &labels)?;
        Ok(Checks {
            checkpoint,
            request,
            quorum,
            not_frozen,
            own_reviewer,
            policy,
            selection,
            labels,
        })
    }

    pub(crate) fn approvable(
        &mut self,
        case: &Case,
        at: Seat,
    ) -> Result<Approvable, ReleaseRefusal> {
        let checks = self.checks(case, at)?;
        Ok(Approvable::new(checks, &self.member(at).keys)?)
    }

    /// Logs the intent and looks at everything once more.
    pub(crate) fn order(&mut self, approvable: Approvable) -> Result<ReleaseOrder, ReleaseRefusal> {
        self.log(LeafContent::Release(*approvable.intent()));
        let logged = self.release_logged(&approvable)?;
        Ok(ReleaseOrder::new(approvable, logged)?)
    }

    pub(crate) fn release_logged(
        &mut self,
        approvable: &Approvable,
    ) -> Result<ReleaseLogged, ReleaseRefusal> {
        let later = self.checkpoint();
        let (follower, trust) = (&self.follower, &self.trust);
        Ok(ReleaseLogged::verify(
            approvable, &later, follower, trust, self.now,
        )?)
    }

    /// The refusal that a release of this case meets at a member, wherever it meets it.
    pub(crate) fn refused(&mut self, case: &Case, at: Seat) -> ReleaseRefusal {
        self.approvable(case, at).expect_err("a refusal")
    }
}

pub(crate) fn persist(follower: LogFollower) -> PersistedFollower {
    follower.persisted(|_| Ok::<(), Infallible>(())).unwrap()
}

fn members() -> Vec<MemberWorld> {
    let mut members = Vec::new();
    for role in Role::ALL {
        for number in 1..=3 {
            let at = seat(role, number);
            let label = format!("{role}-{number}");
            let identity = signing_key(&label);
            members.push(MemberWorld {
                seat: at,
                keys: MemberKeys::new(name(&label), identity),
                reviewer: signing_key(&format!("{label}-reviewer")),
                person: name(&format!("person-{label}")),
            });
        }
    }
    members
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The trust file as an operator writes it.
pub(crate) fn trust_text(
    members: &[MemberWorld],
    recipient: &EncapsulationKey,
    edge: &SigningKey,
) -> String {
    let policy = Policy::parse(POLICY).unwrap().digest();
    let mut text = format!(
        "[[jurisdictions]]\njurisdiction = \"FR\"\norigin = \"{ORIGIN}\"\n\
         budget = {{ records_per_request = 4000, records_per_day = 6000 }}\n\
         voters = [{{ name = \"vault-1\", key = \"{}\" }}]\n\
         edges = [{{ name = \"edge-1\", key = \"{}\" }}]\n\
         policies = [{{ jurisdiction = \"FR\", path = \"fr.toml\", digest = \"{policy}\" }}]\n\
         recipients = [{{ name = \"desk\", key = \"{}\", certificate = \"{}\", \
         authorities = [\"tribunal-paris\"] }}]\n",
        IdentityKey::of(&signing_key("vault")),
        IdentityKey::of(edge),
        hex(recipient.as_bytes()),
        Digest([6; 32]),
    );
    for role in Role::ALL {
        write!(text, "[jurisdictions.roster.{role}]\nneeded = 2\n").unwrap();
        for member in members.iter().filter(|member| member.seat.role == role) {
            write!(
                text,
                "[[jurisdictions.roster.{role}.members]]\nslot = {}\nname = \"{}\"\n\
                 organisation = \"{role}-house\"\nidentity = \"{}\"\n\
                 reviewers = [{{ person = \"{}\", key = \"{}\" }}]\n",
                member.seat.slot,
                member.keys.name(),
                member.keys.identity(),
                member.person,
                IdentityKey::of(&member.reviewer),
            )
            .unwrap();
        }
    }
    text
}

/// Offers, body, signatures, adoption: as the members make a certificate without a meeting.
fn certify(
    rng: &mut StdRng,
    members: &mut [MemberWorld],
    trust: &JurisdictionTrust,
) -> VerifiedCertificate {
    let draft = Digest([8; 32]);
    let drafts: Vec<DraftKeys> = members
        .iter()
        .map(|_| DraftKeys::generate(rng, 1))
        .collect();
    let body = offered_body(members, &drafts, trust, draft);
    let signatures = members
        .iter()
        .zip(&drafts)
        .map(|(member, keys)| member.keys.sign_certificate(&body, trust, keys).unwrap())
        .collect();
    let certificate = KeyCertificate { body, signatures };
    let certificate = certificate.verify(trust.roster()).unwrap();
    for (member, keys) in members.iter_mut().zip(drafts) {
        member.keys.adopt(&certificate, trust, keys).unwrap();
    }
    certificate
}

pub(crate) fn offered_body(
    members: &[MemberWorld],
    drafts: &[DraftKeys],
    trust: &JurisdictionTrust,
    draft: Digest,
) -> CertificateBody {
    let offers: Vec<_> = members
        .iter()
        .zip(drafts)
        .map(|(member, keys)| member.keys.offer(draft, trust, keys).unwrap())
        .collect();
    let day = Duration::from_secs(86_400);
    let period = Period {
        not_before: NOON.minus(day),
        not_after: NOON.plus(day),
        erase_by: NOON.plus(30 * day),
    };
    let committee = |role: Role| Committee {
        threshold: Threshold::new(2, 3).unwrap(),
        members: offers
            .iter()
            .filter(|offer| offer.role == role)
            .map(|offer| offer.member.clone())
            .collect(),
    };
    CertificateBody {
        suite: SUITE,
        jurisdiction: france(),
        not_before: period.not_before,
        not_after: period.not_after,
        periods: vec![period],
        workflow: committee(Role::Workflow),
        legal_review: committee(Role::LegalReview),
    }
}

fn plaintext(kind: u8, minute: Minute) -> Plaintext {
    match kind {
        0 => Plaintext::Phone(PhoneRecord {
            digits: "33612345678".to_owned(),
            confirmed_at: minute.start(),
        }),
        _ => Plaintext::Ip(IpRecord {
            address: "203.0.113.9".parse().unwrap(),
            port: Some(443),
            transport: TransportProtocol::Tcp,
            event: IpEvent::Login,
            seen_at: minute.start(),
            accuracy_ms: 50,
        }),
    }
}
