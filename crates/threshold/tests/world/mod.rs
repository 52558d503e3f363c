//! A small world to test the construction in: two committees, an edge, a recipient, all keys from a
//! fixed seed. It plays every honest party and hands out what an attacker may steal.
// Each test file uses its own part of the world.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod by_hand;
pub mod time_vectors;
pub mod vectors;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use bailiwick_envelope::block::{BlockContext, SealedBlock};
use bailiwick_envelope::certificate::{
    CertificateBody, Committee, KeyCertificate, Member, MemberSignature, Period, TrustRoster,
    TrustedCommittee, TrustedMember, TrustedReviewer, VerifiedCertificate,
};
use bailiwick_envelope::header::{SessionHeader, VerifiedHeader};
use bailiwick_envelope::record::{IpEvent, IpRecord, PhoneRecord, Plaintext, TransportProtocol};
use bailiwick_envelope::release::{PartialBody, PartialPlace, RecordValues};
use bailiwick_envelope::selection::Selection;
use bailiwick_envelope::{EncapsulationKey, IdentityKey, SUITE, SigningKey};
use bailiwick_threshold::{
    DecapsulationKey, MemberPart, Opening, OpeningError, RecordToSeal, Sealer, SelectedRecord,
    SessionParameters, VerifiedPartial, open_part, open_partial, open_records, open_session,
    seal_partial,
};
use bailiwick_types::{
    Digest, Jurisdiction, KeyId, RecordId, RequestId, Role, ShardId, Slot, SubjectPseudonym,
    Threshold, Timestamp,
};
use rand_core::{TryCryptoRng, TryRng};

/// The world's start: 2026-11-24T00:00:00Z.
pub const START: Timestamp = Timestamp(1_795_478_400_000_000);
/// One day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// SHA-256 in counter mode: the same bytes on every machine and version, and a record of them.
pub struct FixedRng {
    seed: [u8; 32],
    counter: u64,
    /// Every draw in order; the vectors name secrets from it.
    pub drawn: Vec<Vec<u8>>,
}

impl FixedRng {
    pub fn new(seed: u8) -> Self {
        Self {
            seed: [seed; 32],
            counter: 0,
            drawn: Vec::new(),
        }
    }
}

impl TryRng for FixedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        for chunk in into.chunks_mut(32) {
            let mut message = self.seed.to_vec();
            message.extend_from_slice(&self.counter.to_be_bytes());
            self.counter += 1;
            let block = bailiwick_envelope::sha256(&message).0;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        self.drawn.push(into.to_vec());
        Ok(())
    }
}

impl TryCryptoRng for FixedRng {}

/// What a member has.
pub struct MemberKeys {
    pub identity: SigningKey,
    pub periods: Vec<DecapsulationKey>,
}

/// All parties.
pub struct World {
    pub rng: FixedRng,
    pub certificate: VerifiedCertificate,
    pub members: BTreeMap<(Role, Slot), MemberKeys>,
    pub edge_key: SigningKey,
    pub recipient: DecapsulationKey,
    pub request: RequestId,
    pub now: Timestamp,
}

pub fn slot(number: u8) -> Slot {
    Slot::new(number).unwrap()
}

pub fn france() -> Jurisdiction {
    "FR".parse().unwrap()
}

fn signing_key(rng: &mut FixedRng) -> SigningKey {
    let mut seed = [0; 32];
    rng.try_fill_bytes(&mut seed).unwrap();
    SigningKey::from_bytes(&seed)
}

fn committee(
    rng: &mut FixedRng,
    role: Role,
    (needed, members): (u8, u8),
    keys: &mut BTreeMap<(Role, Slot), MemberKeys>,
) -> Committee {
    let threshold = Threshold::new(needed, members).unwrap();
    let member = |slot: Slot| {
        let identity = signing_key(rng);
        let reviewer = IdentityKey::of(&signing_key(rng));
        let (_, documents) = DecapsulationKey::generate(rng);
        let pairs = [(); 2].map(|()| DecapsulationKey::generate(rng));
        let (private, public): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let member = Member {
            slot,
            organisation: format!("{role}-organisation-{slot}").parse().unwrap(),
            name: format!("{role}-{slot}").parse().unwrap(),
            identity: IdentityKey::of(&identity),
            reviewers: vec![reviewer],
            documents,
            periods: public,
        };
        let periods = private;
        keys.insert((role, slot), MemberKeys { identity, periods });
        member
    };
    Committee {
        threshold,
        members: threshold.slots().map(member).collect(),
    }
}

fn trusted(committee: &Committee) -> TrustedCommittee {
    let member = |member: &Member| TrustedMember {
        slot: member.slot,
        name: member.name.clone(),
        organisation: member.organisation.clone(),
        identity: member.identity,
        reviewers: vec![TrustedReviewer {
            person: "person".parse().unwrap(),
            key: member.reviewers[0],
        }],
    };
    TrustedCommittee {
        needed: committee.threshold.needed(),
        members: committee.members.iter().map(member).collect(),
    }
}

/// Signs a body with every member's key.
pub fn certify(
    body: CertificateBody,
    members: &BTreeMap<(Role, Slot), MemberKeys>,
) -> KeyCertificate {
    let signature = |(role, member): (Role, &Member)| MemberSignature {
        role,
        slot: member.slot,
        signature: body.sign(&members[&(role, member.slot)].identity),
    };
    let signatures = body.members().map(signature).collect();
    KeyCertificate { body, signatures }
}

/// The trust file that names exactly a body's members.
pub fn trust(body: &CertificateBody) -> TrustRoster {
    TrustRoster {
        workflow: trusted(&body.workflow),
        legal_review: trusted(&body.legal_review),
    }
}

impl World {
    /// 2-of-3 in both roles.
    pub fn new() -> Self {
        Self::with((2, 3), (2, 3))
    }

    /// Given thresholds; two periods of one day.
    pub fn with(workflow: (u8, u8), legal_review: (u8, u8)) -> Self {
        let mut rng = FixedRng::new(7);
        let mut members = BTreeMap::new();
        let period = |day: u32| Period {
            not_before: START.plus(DAY * day),
            not_after: START.plus(DAY * (day + 1)),
            erase_by: START.plus(DAY * (day + 30)),
        };
        let body = CertificateBody {
            suite: SUITE,
            jurisdiction: france(),
            not_before: START,
            not_after: START.plus(DAY * 2),
            periods: vec![period(0), period(1)],
            workflow: committee(&mut rng, Role::Workflow, workflow, &mut members),
            legal_review: committee(&mut rng, Role::LegalReview, legal_review, &mut members),
        };
        let trust = trust(&body);
        let certificate = certify(body, &members).verify(&trust).unwrap();
        Self {
            certificate,
            members,
            edge_key: signing_key(&mut rng),
            recipient: DecapsulationKey::generate(&mut rng).0,
            request: RequestId([9; 32]),
            now: START.plus(Duration::from_secs(3600)),
            rng,
        }
    }

    pub fn parameters(&self) -> SessionParameters<'_> {
        SessionParameters {
            certificate: &self.certificate,
            period: self.certificate.period_at(self.now).unwrap_or(0),
            high_water: None,
            shard: ShardId::home(france()),
            edge: "edge-1".parse().unwrap(),
            edge_key: &self.edge_key,
            now: self.now,
            lifetime: Duration::from_secs(600),
            max_block: 16,
        }
    }

    /// A new session with its header as a shard verified it.
    pub fn session(&mut self) -> (VerifiedHeader, Sealer) {
        let mut rng = std::mem::replace(&mut self.rng, FixedRng::new(0));
        rng.drawn.clear();
        let (header, sealer) = open_session(&mut rng, self.parameters()).unwrap();
        self.rng = rng;
        (self.verify(header).unwrap(), sealer)
    }

    pub fn verify(
        &self,
        header: SessionHeader,
    ) -> Result<VerifiedHeader, bailiwick_envelope::header::HeaderError> {
        let body = self.certificate.body();
        header.verify(
            &IdentityKey::of(&self.edge_key),
            body.workflow.threshold,
            body.legal_review.threshold,
        )
    }

    /// Seals a block and verifies it as a shard does.
    pub fn seal(&self, sealer: &mut Sealer, records: &[RecordToSeal]) -> SealedBlock {
        let (number, edge) = (sealer.next_block(), "edge-1".parse().unwrap());
        let block = sealer.seal(records, 1, self.now).unwrap();
        let context = BlockContext {
            sid: sealer.sid(),
            next_block: number,
            max_block: 16,
            previous: block.manifest.previous,
            jurisdiction: france(),
            edge: &edge,
            edge_key: &IdentityKey::of(&self.edge_key),
        };
        block.clone().verify(&context).unwrap();
        block
    }

    pub fn key(&self, header: &VerifiedHeader, role: Role, slot: Slot) -> &DecapsulationKey {
        let period = self.certificate.period_of(&header.body().kid).unwrap();
        &self.members[&(role, slot)].periods[period]
    }

    pub fn part(&self, header: &VerifiedHeader, role: Role, slot: Slot) -> MemberPart {
        let key = self.key(header, role, slot);
        open_part(header, &self.certificate, role, slot, key).unwrap()
    }

    pub fn selection(&self, records: &[SelectedRecord]) -> Selection {
        let input = |record: &SelectedRecord| {
            let x = record.label.record_input(&record.alpha);
            (x, record.label.category)
        };
        Selection::of(self.request, records.iter().map(input))
    }

    pub fn place(&self, header: &VerifiedHeader, role: Role, slot: Slot) -> PartialPlace {
        PartialPlace {
            request: self.request,
            leaf_index: 40,
            kid: header.body().kid,
            role,
            slot,
            chunk: 0,
        }
    }

    /// An honest member's body for records of one session.
    pub fn body(
        &self,
        header: &VerifiedHeader,
        records: &[SelectedRecord],
        role: Role,
        slot: Slot,
    ) -> PartialBody {
        PartialBody {
            place: self.place(header, role, slot),
            selection: self.selection(records).id(),
            roster: 1,
            records: values(&mut self.part(header, role, slot), records),
        }
    }

    /// A body on its way: signed by its member, sealed, opened and verified.
    pub fn send(&mut self, body: &PartialBody) -> VerifiedPartial {
        let identity = &self.members[&(body.place.role, body.place.slot)].identity;
        let to = self.recipient.encapsulation_key();
        let sealed = seal_partial(&mut self.rng, &to, body, identity).unwrap();
        open_partial(&self.recipient, &sealed, &IdentityKey::of(identity)).unwrap()
    }

    /// What these slots of workflow and legal review send.
    pub fn partials(
        &mut self,
        header: &VerifiedHeader,
        records: &[SelectedRecord],
        slots: [&[u8]; 2],
    ) -> Vec<VerifiedPartial> {
        let mut partials = Vec::new();
        for (role, slots) in Role::ALL.into_iter().zip(slots) {
            for number in slots {
                let body = self.body(header, records, role, slot(*number));
                partials.push(self.send(&body));
            }
        }
        partials
    }

    pub fn open(
        &self,
        records: &[SelectedRecord],
        partials: &[VerifiedPartial],
    ) -> Result<Opening, OpeningError> {
        let kids = (0..2).filter_map(|period| self.certificate.kid(period));
        let certificates: BTreeMap<KeyId, &VerifiedCertificate> =
            kids.map(|kid| (kid, &self.certificate)).collect();
        let selection = self.selection(records);
        open_records(&certificates, self.request, &selection, records, partials)
    }

    pub fn recipient_key(&self) -> EncapsulationKey {
        self.recipient.encapsulation_key()
    }
}

/// A member's values for records of its session.
pub fn values(part: &mut MemberPart, records: &[SelectedRecord]) -> Vec<RecordValues> {
    let value = |record: &SelectedRecord| {
        let x = record.label.record_input(&record.alpha);
        part.values(record.label.block, &[(record.index, x)])
    };
    records.iter().flat_map(value).collect()
}

/// The records of a block as a selection, numbered from `first`.
pub fn selected(header: &VerifiedHeader, block: &SealedBlock, first: u32) -> Vec<SelectedRecord> {
    let place = block.place(france(), &header.body().edge);
    let record = |(at, record): (usize, &bailiwick_envelope::block::SealedRecord)| SelectedRecord {
        index: first + at as u32,
        label: record.label(&place, at as u16),
        alpha: record.alpha,
        ciphertext: record.ciphertext.clone(),
        kid: header.body().kid,
    };
    block.records.iter().enumerate().map(record).collect()
}

pub fn phone(number: u8, digits: &str) -> RecordToSeal {
    RecordToSeal {
        record: RecordId([number; 16]),
        subject: SubjectPseudonym([1; 16]),
        plaintext: Plaintext::Phone(PhoneRecord {
            digits: digits.to_owned(),
            confirmed_at: START.plus(Duration::from_secs(60 * u64::from(number))),
        }),
    }
}

pub fn address(number: u8, address: &str) -> RecordToSeal {
    RecordToSeal {
        record: RecordId([number; 16]),
        subject: SubjectPseudonym([2; 16]),
        plaintext: Plaintext::Ip(IpRecord {
            address: address.parse().unwrap(),
            port: Some(443),
            transport: TransportProtocol::Tcp,
            event: IpEvent::Login,
            seen_at: START.plus(Duration::from_secs(61 * u64::from(number))),
            accuracy_ms: 5,
        }),
    }
}

/// Three records of both kinds.
pub fn some_records() -> Vec<RecordToSeal> {
    vec![
        phone(1, "33612345678"),
        address(2, "203.0.113.9"),
        address(3, "2001:db8::7"),
    ]
}

/// Whether these partials open every one of the records to what was sealed.
pub fn opens_all(opening: &Result<Opening, OpeningError>, sealed: &[RecordToSeal]) -> bool {
    opening.as_ref().is_ok_and(|opening| {
        let opened = opening.records.iter().map(|record| &record.plaintext);
        opening.unopened.is_empty() && opened.eq(sealed.iter().map(|record| &record.plaintext))
    })
}

pub fn flip(digest: &Digest) -> Digest {
    let mut bytes = digest.0;
    bytes[0] ^= 1;
    Digest(bytes)
}
