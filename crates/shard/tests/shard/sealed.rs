//! What an edge really seals, the shard takes, and its evidence is what a member needs.

use std::time::Duration;

use bailiwick_envelope::certificate::{
    Committee, Member, TrustRoster, TrustedCommittee, TrustedMember, TrustedReviewer,
    VerifiedCertificate,
};
use bailiwick_envelope::record::{PhoneRecord, Plaintext};
use bailiwick_shard::{BlockStored, CommandBody, Outcome, SessionState, query};
use bailiwick_threshold::{RecordToSeal, SessionParameters, acknowledge, open_session};
use bailiwick_types::{RecordId, ShardId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::world::*;

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

/// The shard's certificate as an edge verifies it against its own trust file.
fn verified(world: &World) -> VerifiedCertificate {
    let certificate = world.newest_certificate().certificate;
    let trust = TrustRoster {
        workflow: trusted(&certificate.body.workflow),
        legal_review: trusted(&certificate.body.legal_review),
    };
    certificate.verify(&trust).unwrap()
}

fn phone(number: u8, world: &World) -> RecordToSeal {
    RecordToSeal {
        record: RecordId([number; 16]),
        subject: subject(1),
        plaintext: Plaintext::Phone(PhoneRecord {
            digits: format!("336123456{number:02}"),
            confirmed_at: world.now,
        }),
    }
}

#[test]
fn a_sealed_session_is_stored_answered_and_proven() {
    let mut world = World::ready();
    let certificate = verified(&world);
    let key = edge_key("edge-1");
    let (header, mut sealer) = open_session(
        &mut StdRng::seed_from_u64(1),
        SessionParameters {
            certificate: &certificate,
            period: 0,
            high_water: None,
            shard: ShardId::home(jurisdiction()),
            edge: name("edge-1"),
            edge_key: &key,
            now: world.now,
            lifetime: Duration::from_secs(600),
            max_block: 16,
        },
    )
    .unwrap();
    let sid = header.id();
    let opened = world.by("edge-1", CommandBody::OpenSession { header });
    assert_eq!(opened, Outcome::SessionOpened { sid });
    // Every member takes the header from the shard, opens its part and says so.
    for (at, (role, slot)) in members().into_iter().enumerate() {
        let header = query::unanswered_sessions(&world.store, role, slot, 1)
            .unwrap()
            .remove(0);
        let (workflow, legal) = (
            &certificate.body().workflow,
            &certificate.body().legal_review,
        );
        let header = header
            .verify(
                &bailiwick_envelope::IdentityKey::of(&key),
                workflow.threshold,
                legal.threshold,
            )
            .unwrap();
        let period_key = decapsulation_key(10 * (at as u16 + 1) + 1);
        let signer = identity(role, slot);
        let acknowledgement = acknowledge(&header, &certificate, role, slot, &period_key, &signer);
        let body = CommandBody::AcknowledgeSession { acknowledgement };
        assert_eq!(world.by("member", body), Outcome::Accepted);
    }
    let view = query::session(&world.store, sid, world.now)
        .unwrap()
        .unwrap();
    assert_eq!(
        (view.state, view.complaints),
        (SessionState::Confirmed, vec![])
    );
    for (first, duplicates) in [(1, vec![]), (3, vec![0])] {
        let records = [
            phone(first, &world),
            phone(first + 1, &world),
            phone(first + 2, &world),
        ];
        let block = sealer.seal(&records, 1, world.now).unwrap();
        let stored = Outcome::BlockStored(BlockStored { duplicates });
        assert_eq!(world.by("edge-1", append(&block)), stored);
    }
    let id = world.submitted(1, 1);
    let page = query::evidence(&world.store, id, 0, 100).unwrap().unwrap();
    assert_eq!(
        (page.records.len(), page.blocks.len(), page.sessions.len()),
        (5, 2, 1)
    );
}
