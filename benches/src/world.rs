//! One shard in memory with two committees, an edge and a recipient: made by the same commands that
//! make a real one, so that what is measured is what a replica does.
//!
//! Not here: replication, sockets and disks; the cluster has those.

use std::collections::BTreeMap;
use std::time::Duration;

use bailiwick_envelope::block::{BlockContext, SealedBlock};
use bailiwick_envelope::certificate::{
    Committee, Member, MemberSignature, TrustRoster, TrustedCommittee, TrustedMember,
    TrustedReviewer, VerifiedCertificate, kid,
};
use bailiwick_envelope::header::{SessionHeader, VerifiedHeader};
use bailiwick_envelope::offer::KeyOffer;
use bailiwick_envelope::release::{PartialBody, PartialPlace};
use bailiwick_envelope::selection::Selection;
use bailiwick_envelope::{IdentityKey, SigningKey};
use bailiwick_shard::{
    CertificatePlan, Command, CommandBody, CommitteePlan, Outcome, PlannedMember, PlannedPeriod,
    query,
};
use bailiwick_threshold::{
    DecapsulationKey, MemberPart, Opening, OpeningError, Sealer, SelectedRecord, SessionParameters,
    VerifiedPartial, open_part, open_partial, open_records, open_session, seal_partial,
};
use bailiwick_types::store::{MemoryStore, StoreError, WriteStore};
use bailiwick_types::{
    ClusterId, CommandKey, Digest, Jurisdiction, Name, RequestId, Role, ShardId, Slot, Threshold,
    Timestamp,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The shard's time: 2027-01-15T08:00:00Z.
pub const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
/// The edge of the world.
pub const EDGE: &str = "edge-1";
const DAY: Duration = Duration::from_secs(86_400);
/// The request that openings are for.
const REQUEST: RequestId = RequestId([9; 32]);

/// What a member keeps to itself.
struct MemberKeys {
    identity: SigningKey,
    period: DecapsulationKey,
}

/// The shard and everybody's keys.
pub struct World {
    /// The shard.
    pub store: MemoryStore,
    /// The certificate, verified as an edge verifies it.
    pub certificate: VerifiedCertificate,
    /// The edge's key.
    pub edge_key: SigningKey,
    /// Every command applied so far, to make the same shard on another store.
    pub history: Vec<Vec<u8>>,
    members: BTreeMap<(Role, Slot), MemberKeys>,
    recipient: DecapsulationKey,
    rng: StdRng,
}

fn name(text: &str) -> Name {
    text.parse().expect("names of the benches are valid")
}

fn france() -> Jurisdiction {
    "FR".parse().expect("FR is assigned")
}

fn signing_key(rng: &mut StdRng) -> SigningKey {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    SigningKey::from_bytes(&seed)
}

fn slot(number: u8) -> Slot {
    Slot::new(number).expect("benches use slots 1 to 5")
}

fn committee(
    threshold: Threshold,
    role: Role,
    members: &BTreeMap<(Role, Slot), MemberKeys>,
) -> CommitteePlan {
    let member = |slot: Slot| PlannedMember {
        slot,
        organisation: name(&format!("organisation-{role}-{slot}")),
        name: name(&format!("{role}-{slot}")),
        identity: IdentityKey::of(&members[&(role, slot)].identity),
    };
    CommitteePlan {
        threshold,
        members: threshold.slots().map(member).collect(),
    }
}

fn plan(threshold: Threshold, members: &BTreeMap<(Role, Slot), MemberKeys>) -> CertificatePlan {
    let begin = NOW.minus(Duration::from_secs(3600));
    let period = PlannedPeriod {
        not_before: begin,
        not_after: begin.plus(DAY),
        erase_by: begin.plus(DAY * 31),
    };
    CertificatePlan {
        workflow: committee(threshold, Role::Workflow, members),
        legal_review: committee(threshold, Role::LegalReview, members),
        not_before: begin,
        not_after: begin.plus(DAY),
        periods: vec![period],
    }
}

fn trusted(committee: &Committee) -> TrustedCommittee {
    let member = |member: &Member| TrustedMember {
        slot: member.slot,
        name: member.name.clone(),
        organisation: member.organisation.clone(),
        identity: member.identity,
        reviewers: vec![TrustedReviewer {
            person: name("person"),
            key: member.reviewers[0],
        }],
    };
    TrustedCommittee {
        needed: committee.threshold.needed(),
        members: committee.members.iter().map(member).collect(),
    }
}

/// A command's bytes; `number` makes its key its own.
pub fn command(number: u64, by: &str, body: CommandBody) -> Vec<u8> {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&number.to_be_bytes());
    let command = Command {
        key: CommandKey(key),
        salt: [7; 32],
        by: name(by),
        body,
    };
    command
        .to_bytes()
        .expect("commands of the benches are under the limit")
}

/// Applies a command that must not be rejected.
///
/// # Errors
/// [`StoreError`] when the disk fails, or the command is rejected.
pub fn apply(store: &mut dyn WriteStore, command: &[u8]) -> Result<Outcome, StoreError> {
    let outcome = bailiwick_shard::apply(store, NOW, command)?;
    match Outcome::from_bytes(&outcome) {
        Ok(Outcome::Rejected(rejection)) => Err(StoreError(format!("rejected: {rejection}"))),
        Ok(outcome) => Ok(outcome),
        Err(error) => Err(StoreError(format!("no outcome: {error}"))),
    }
}

impl World {
    /// A shard with one certificate, `needed`-of-`members` in both roles, and an enrolled edge.
    pub fn new(needed: u8, members: u8) -> Self {
        let threshold = Threshold::new(needed, members).expect("benches use possible thresholds");
        let mut rng = StdRng::seed_from_u64(7);
        let mut keys = BTreeMap::new();
        for role in Role::ALL {
            for slot in threshold.slots() {
                let identity = signing_key(&mut rng);
                let (period, _) = DecapsulationKey::generate(&mut rng);
                keys.insert((role, slot), MemberKeys { identity, period });
            }
        }
        let (mut store, mut history) = (MemoryStore::default(), Vec::new());
        let edge_key = signing_key(&mut rng);
        let mut by = |who: &str, body: CommandBody, store: &mut MemoryStore| {
            let bytes = command(history.len() as u64, who, body);
            let outcome = apply(store, &bytes).expect("the world's own commands are taken");
            history.push(bytes);
            outcome
        };
        let genesis = CommandBody::Genesis {
            cluster: ClusterId([1; 16]),
            shard: ShardId::home(france()),
            origin: "bailiwick.example/FR".to_owned(),
        };
        by("system", genesis, &mut store);
        let key = IdentityKey::of(&edge_key);
        by(
            "operator",
            CommandBody::EnrolEdge {
                edge: name(EDGE),
                key,
            },
            &mut store,
        );
        let called = by(
            "operator",
            CommandBody::CallForKeys(plan(threshold, &keys)),
            &mut store,
        );
        let Outcome::Drafted { draft } = called else {
            unreachable!("a call makes a draft")
        };
        for ((role, slot), member) in &keys {
            let offer = offer(draft, *role, *slot, member, &mut rng);
            by("member", CommandBody::OfferKeys { offer }, &mut store);
        }
        let drafts = query::drafts(&store).expect("memory does not fail");
        let body = drafts
            .last()
            .and_then(|draft| draft.body.clone())
            .expect("all have offered");
        for ((role, slot), member) in &keys {
            let signature = body.sign(&member.identity);
            let signature = MemberSignature {
                role: *role,
                slot: *slot,
                signature,
            };
            let certificate = body.id();
            by(
                "member",
                CommandBody::SignCertificate {
                    certificate,
                    signature,
                },
                &mut store,
            );
        }
        let certificates = query::certificates(&store).expect("memory does not fail");
        let certificate = certificates
            .last()
            .expect("all have signed")
            .certificate
            .clone();
        let trust = TrustRoster {
            workflow: trusted(&certificate.body.workflow),
            legal_review: trusted(&certificate.body.legal_review),
        };
        let certificate = certificate
            .verify(&trust)
            .expect("exactly the trusted members");
        let (recipient, _) = DecapsulationKey::generate(&mut rng);
        Self {
            store,
            certificate,
            edge_key,
            history,
            members: keys,
            recipient,
            rng,
        }
    }

    /// Opens a session, without telling the shard.
    pub fn open_session(&mut self) -> (SessionHeader, Sealer) {
        let parameters = SessionParameters {
            certificate: &self.certificate,
            period: 0,
            high_water: None,
            shard: ShardId::home(france()),
            edge: name(EDGE),
            edge_key: &self.edge_key,
            now: NOW,
            lifetime: Duration::from_secs(600),
            max_block: bailiwick_types::limits::SESSION_BLOCKS,
        };
        open_session(&mut self.rng, parameters).expect("the parameters are possible")
    }

    /// Opens a session in the shard.
    pub fn session(&mut self) -> Sealer {
        let (header, sealer) = self.open_session();
        self.take(EDGE, CommandBody::OpenSession { header });
        sealer
    }

    /// Applies a command and keeps it.
    pub fn take(&mut self, by: &str, body: CommandBody) -> Outcome {
        let bytes = command(self.history.len() as u64, by, body);
        let outcome = apply(&mut self.store, &bytes).expect("the world's own commands are taken");
        self.history.push(bytes);
        outcome
    }

    /// A header as the shard and every member verifies it.
    pub fn verify(&self, header: SessionHeader) -> VerifiedHeader {
        let body = self.certificate.body();
        let (workflow, legal) = (body.workflow.threshold, body.legal_review.threshold);
        let key = IdentityKey::of(&self.edge_key);
        header
            .verify(&key, workflow, legal)
            .expect("an honest header")
    }

    /// A member's part of a session.
    pub fn part(&self, header: &VerifiedHeader, role: Role, number: u8) -> MemberPart {
        let key = &self.members[&(role, slot(number))].period;
        open_part(header, &self.certificate, role, slot(number), key).expect("an honest part")
    }

    /// What a quorum of both roles sends for these records, opened by the recipient.
    pub fn partials(
        &mut self,
        header: &VerifiedHeader,
        records: &[SelectedRecord],
    ) -> Vec<VerifiedPartial> {
        let needed = self.certificate.body().workflow.threshold.needed();
        let mut partials = Vec::new();
        for role in Role::ALL {
            for number in 1..=needed {
                let mut part = self.part(header, role, number);
                let place = PartialPlace {
                    request: REQUEST,
                    leaf_index: 40,
                    kid: header.body().kid,
                    role,
                    slot: slot(number),
                    chunk: 0,
                };
                let inputs = inputs(records);
                let records_values = part.values(records[0].label.block, &inputs);
                let selection = selection(records).id();
                let body = PartialBody {
                    place,
                    selection,
                    roster: 1,
                    records: records_values,
                };
                let identity = &self.members[&(role, slot(number))].identity;
                let to = self.recipient.encapsulation_key();
                let sealed = seal_partial(&mut self.rng, &to, &body, identity)
                    .expect("the recipient's key is one");
                let member = IdentityKey::of(identity);
                let opened = open_partial(&self.recipient, &sealed, &member);
                partials.push(opened.expect("an honest partial"));
            }
        }
        partials
    }

    /// Opens records as a recipient does.
    ///
    /// # Errors
    /// [`OpeningError`].
    pub fn open(
        &self,
        records: &[SelectedRecord],
        partials: &[VerifiedPartial],
    ) -> Result<Opening, OpeningError> {
        let kid = kid(&self.certificate.id(), 0);
        let certificates = BTreeMap::from([(kid, &self.certificate)]);
        open_records(
            &certificates,
            REQUEST,
            &selection(records),
            records,
            partials,
        )
    }

    /// Verifies a block as a session's next one: what every replica does.
    pub fn verify_block(&self, block: SealedBlock, key: &IdentityKey, edge: &Name) -> bool {
        let manifest = &block.manifest;
        let context = BlockContext {
            sid: manifest.sid,
            next_block: manifest.block,
            max_block: bailiwick_types::limits::SESSION_BLOCKS,
            previous: manifest.previous,
            jurisdiction: france(),
            edge,
            edge_key: key,
        };
        block.verify(&context).is_ok()
    }
}

fn offer(draft: Digest, role: Role, slot: Slot, keys: &MemberKeys, rng: &mut StdRng) -> KeyOffer {
    let (_, documents) = DecapsulationKey::generate(rng);
    let member = Member {
        slot,
        organisation: name(&format!("organisation-{role}-{slot}")),
        name: name(&format!("{role}-{slot}")),
        identity: IdentityKey::of(&keys.identity),
        reviewers: vec![IdentityKey::of(&signing_key(rng))],
        documents,
        periods: vec![keys.period.encapsulation_key()],
    };
    KeyOffer::sign(draft, role, member, &keys.identity)
}

/// What a member computes values for.
pub fn inputs(records: &[SelectedRecord]) -> Vec<(u32, Digest)> {
    let input = |record: &SelectedRecord| (record.index, record.label.record_input(&record.alpha));
    records.iter().map(input).collect()
}

fn selection(records: &[SelectedRecord]) -> Selection {
    let input = |record: &SelectedRecord| {
        (
            record.label.record_input(&record.alpha),
            record.label.category,
        )
    };
    Selection::of(REQUEST, records.iter().map(input))
}

/// A block's records as a selection.
pub fn selected(header: &VerifiedHeader, block: &SealedBlock) -> Vec<SelectedRecord> {
    let place = block.place(france(), &header.body().edge);
    let record = |(at, record): (usize, &bailiwick_envelope::block::SealedRecord)| SelectedRecord {
        index: at as u32,
        label: record.label(&place, at as u16),
        alpha: record.alpha,
        ciphertext: record.ciphertext.clone(),
        kid: header.body().kid,
    };
    block.records.iter().enumerate().map(record).collect()
}
