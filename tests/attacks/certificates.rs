//! Keys that somebody else hands out: a rogue directory, a rogue operator. Certificates are checked
//! against what the verifier itself was given in person, wherever they come from.

use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use bailiwick_api::cluster::Accepted;
use bailiwick_api::session::{
    CallForKeys, Certificates, LoggedCertificate, OfferKeys, SignCertificate,
};
use bailiwick_cli::commands::key::plan;
use bailiwick_cli::dev::layout::OPERATOR;
use bailiwick_cli::dev::stage::home;
use bailiwick_client::certificates::{CertificatesError, read_certificates};
use bailiwick_envelope::certificate::{
    CertificateBody, CertificateError, Committee, KeyCertificate, Member, MemberSignature, Period,
    TrustRoster, TrustedCommittee, TrustedMember, TrustedReviewer,
};
use bailiwick_envelope::offer::KeyOffer;
use bailiwick_envelope::{IdentityKey, SUITE, SigningKey};
use bailiwick_tests::lying_vault::LyingVault;
use bailiwick_tests::{NOTHING, PATIENCE, cluster_at, eventually, failed};
use bailiwick_threshold::DecapsulationKey;
use bailiwick_transport::Operation;
use bailiwick_types::{
    CommandKey, Digest, Jurisdiction, Name, PeerRole, Role, ShardId, Slot, Threshold, Timestamp,
    codec,
};

use crate::story;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn seed(role: Role, slot: u8) -> u8 {
    role.code() * 32 + slot
}

fn member(role: Role, slot: u8, identity: &SigningKey) -> Member {
    let fresh = || DecapsulationKey::generate(&mut rand::rng()).1;
    Member {
        slot: Slot::new(slot).expect("a slot"),
        organisation: name(&format!("{role}-org")),
        name: name(&format!("{role}-{slot}")),
        identity: IdentityKey::of(identity),
        reviewers: vec![IdentityKey::of(&key(seed(role, slot) + 16))],
        documents: fresh(),
        periods: vec![fresh()],
    }
}

/// A certificate whose members are these identities.
fn certificate(identity: impl Fn(Role, u8) -> SigningKey, needed: u8) -> KeyCertificate {
    let committee = |role| Committee {
        threshold: Threshold::new(needed, 3).expect("a threshold"),
        members: (1..=3)
            .map(|slot| member(role, slot, &identity(role, slot)))
            .collect(),
    };
    let (from, to) = (Timestamp::from_seconds(0), Timestamp::from_seconds(86_400));
    let body = CertificateBody {
        suite: SUITE,
        jurisdiction: "FR".parse().expect("a code"),
        not_before: from,
        not_after: to,
        periods: vec![Period {
            not_before: from,
            not_after: to,
            erase_by: to,
        }],
        workflow: committee(Role::Workflow),
        legal_review: committee(Role::LegalReview),
    };
    let signatures = Role::ALL
        .into_iter()
        .flat_map(|role| (1..=3).map(move |slot| (role, slot)))
        .map(|(role, slot)| MemberSignature {
            role,
            slot: Slot::new(slot).expect("a slot"),
            signature: body.sign(&identity(role, slot)),
        })
        .collect();
    KeyCertificate { body, signatures }
}

/// The verifier's own trust file: the true members, two of three.
fn trust() -> TrustRoster {
    let committee = |role: Role| TrustedCommittee {
        needed: 2,
        members: (1..=3)
            .map(|slot| TrustedMember {
                slot: Slot::new(slot).expect("a slot"),
                name: name(&format!("{role}-{slot}")),
                organisation: name(&format!("{role}-org")),
                identity: IdentityKey::of(&key(seed(role, slot))),
                reviewers: vec![TrustedReviewer {
                    person: name(&format!("person-{}-{slot}", role.code())),
                    key: IdentityKey::of(&key(seed(role, slot) + 16)),
                }],
            })
            .collect(),
    };
    TrustRoster {
        workflow: committee(Role::Workflow),
        legal_review: committee(Role::LegalReview),
    }
}

/// Attacks 8, the check by itself: nobody takes a key on the directory's word.
#[test]
fn a_certificate_of_other_members_is_refused() {
    let honest = |role, slot| key(seed(role, slot));
    assert!(
        certificate(honest, 2).verify(&trust()).is_ok(),
        "the control: the true one verifies"
    );

    // All keys its own, correctly signed by its own members.
    let rogue = certificate(|role, slot| key(seed(role, slot) + 100), 2);
    assert!(rogue.check_signed_by_its_members().is_ok(), "it is whole");
    let refused = rogue.verify(&trust()).expect_err("not the trusted members");
    assert!(
        matches!(refused, CertificateError::NotTrusted { .. }),
        "{refused}"
    );

    // One member of its own among true ones, in either role.
    for role in Role::ALL {
        let one = certificate(
            |of, slot| {
                if (of, slot) == (role, 3) {
                    key(200)
                } else {
                    honest(of, slot)
                }
            },
            2,
        );
        let refused = one.verify(&trust()).expect_err("one member is not trusted");
        let slot = Some(Slot::new(3).expect("a slot"));
        assert_eq!(refused, CertificateError::NotTrusted { role, slot });
    }

    // A true body that one true member has not signed.
    let mut unsigned = certificate(honest, 2);
    unsigned.signatures[4].signature = unsigned.body.sign(&key(200));
    let refused = unsigned
        .verify(&trust())
        .expect_err("one signature is forged");
    assert!(
        matches!(refused, CertificateError::Signature { .. }),
        "{refused}"
    );
}

/// Thresholds come from the verifier's trust file too: a certificate with a lower one is refused.
#[test]
fn a_certificate_with_a_lower_threshold_is_refused() {
    let mut strict = trust();
    strict.legal_review.needed = 3;
    let offered = certificate(|role, slot| key(seed(role, slot)), 2);
    let refused = offered
        .verify(&strict)
        .expect_err("two of three is fewer than three");
    let role = Role::LegalReview;
    assert_eq!(refused, CertificateError::BelowTrustedThreshold { role });
}

/// attacks 2.8: the directory hands an edge another key certificate, or a roster with an approver of
/// its own, from a lying vault over TLS. The edge's own read refuses all of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_directory_cannot_hand_out_its_own_keys() -> anyhow::Result<()> {
    story(async |cluster| {
        type Forge = Arc<dyn Fn(&mut LoggedCertificate) + Send + Sync>;
        let forge: Arc<Mutex<Option<Forge>>> = Arc::default();
        let forged = forge.clone();
        let lie = move |operation, reply: bytes::Bytes| {
            let forge = forged.lock().expect("nothing panics here").clone();
            match (operation, forge) {
                (Operation::ReadCertificate, Some(forge)) => {
                    let mut read: Certificates = codec::decode(&reply).expect("a vault's answer");
                    read.valid.iter_mut().for_each(|found| forge(found));
                    codec::encode(&read).expect("encodes").into()
                }
                _ => reply,
            }
        };
        let liar = LyingVault::start(cluster, &["edge-1"], Arc::new(lie)).await?;
        let reach = cluster_at(vec![liar.address.clone()], cluster.tls("edge-1")?);
        let trust = cluster.stage.profile(OPERATOR).map_err(failed)?;
        let trust = trust.trust_file().map_err(failed)?;
        let read = || async {
            let now = bailiwick_client::now();
            read_certificates(&reach, &trust, home(), now).await
        };
        let tell = |lie: Forge| *forge.lock().expect("nothing panics here") = Some(lie);

        // The control: what the true leader says is believed, though it comes through the liar.
        ensure!(read().await?.len() == 1, "the true certificate");

        // The attacker's own certificate, whole and signed by all of its own members.
        tell(Arc::new(|found| {
            let period = found.certificate.body.clone();
            let mut rogue = certificate(|role, slot| key(seed(role, slot) + 100), 2);
            rogue.body.not_before = period.not_before;
            rogue.body.not_after = period.not_after;
            found.certificate = rogue;
        }));
        let refused = read().await.err().context("a rogue certificate")?;
        ensure!(
            matches!(refused, CertificatesError::Certificate { .. }),
            "{refused}"
        );

        // One approver of the attacker's own among the true ones: its signature is the only right one.
        tell(Arc::new(|found| {
            let body = &mut found.certificate.body;
            let thief = key(200);
            body.legal_review.members[2].identity = IdentityKey::of(&thief);
            let signature = body.sign(&thief);
            found.certificate.signatures[5].signature = signature;
        }));
        let refused = read().await.err().context("a rogue member")?;
        ensure!(
            matches!(refused, CertificatesError::Certificate { .. }),
            "{refused}"
        );

        // Only a period key is exchanged, and the true signatures kept.
        tell(Arc::new(|found| {
            let fresh = DecapsulationKey::generate(&mut rand::rng()).1;
            found.certificate.body.workflow.members[0].periods[0] = fresh;
        }));
        let refused = read().await.err().context("a rogue period key")?;
        ensure!(
            matches!(refused, CertificatesError::Certificate { .. }),
            "{refused}"
        );

        // A true certificate of which the log says something else: it has no place under the checkpoint.
        tell(Arc::new(|found| found.leaf_index += 1));
        let refused = read().await.err().context("another leaf")?;
        ensure!(
            matches!(refused, CertificatesError::Checkpoint(_)),
            "{refused}"
        );
        Ok(())
    })
    .await
}

/// The stranger's own entry: as good as any member's, but for who it is.
fn stranger_offer(draft: Digest, call: &CallForKeys, identity: &SigningKey) -> OfferKeys {
    let planned = &call.legal_review.members[2];
    let fresh = || DecapsulationKey::generate(&mut rand::rng()).1;
    let member = Member {
        slot: planned.slot,
        organisation: planned.organisation.clone(),
        name: planned.name.clone(),
        identity: planned.identity,
        reviewers: vec![IdentityKey::of(&key(201))],
        documents: fresh(),
        periods: call.periods.iter().map(|_| fresh()).collect(),
    };
    OfferKeys {
        shard: call.shard,
        offer: KeyOffer::sign(draft, Role::LegalReview, member, identity),
    }
}

/// Attacks 8, from the operator's side: keys are called for with an approver of the operator's own
/// among the members, who offers keys and signs. No true member signs, so it never is a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn members_sign_no_certificate_with_a_stranger_among_them() -> anyhow::Result<()> {
    story(async |cluster| {
        let operator = cluster.stage.operator().map_err(failed)?;
        let profile = cluster.stage.profile(OPERATOR).map_err(failed)?;
        let germany: Jurisdiction = "DE".parse()?;
        let shard = ShardId::home(germany);
        let trust = profile.trust_of(germany).map_err(failed)?;
        let day = |seconds: u64| Timestamp::from_seconds(seconds / 86_400 * 86_400);
        let tomorrow = day(bailiwick_client::now().seconds() + 86_400);
        let call = |key: u8| plan(&trust, tomorrow, 2, 30, CommandKey([key; 16])).map_err(failed);

        // The rogue plan: five true members and a stranger, who offers; so do the others, not knowing yet
        // with whom.
        let (tls, _) = cluster.stranger(PeerRole::ApproverLegalReview, "legal-9")?;
        let stranger = cluster.as_peer(tls);
        let identity = key(200);
        let mut rogue = call(1)?;
        rogue.legal_review.members[2].name = name("legal-9");
        rogue.legal_review.members[2].identity = IdentityKey::of(&identity);
        let draft = operator.call_for_keys(rogue.clone()).await?;
        let offer = stranger_offer(draft, &rogue, &identity);
        let _: Accepted = stranger
            .call(Some(shard), Operation::OfferKeys, &offer)
            .await?;
        let body = eventually("the rogue certificate's body", PATIENCE, || async {
            let read = operator.certificates(germany).await?;
            let found = read.drafts.into_iter().find(|found| found.draft == draft);
            Ok(found.and_then(|found| found.body))
        })
        .await?;
        let signature = MemberSignature {
            role: Role::LegalReview,
            slot: Slot::new(3)?,
            signature: body.sign(&identity),
        };
        let certificate = body.id();
        let signing = SignCertificate {
            shard,
            certificate,
            signature,
        };
        let _: Accepted = stranger
            .call(Some(shard), Operation::SignCertificate, &signing)
            .await?;

        // The control: the true committee, called for afterwards, has its certificate within a moment.
        operator.call_for_keys(call(2)?).await?;
        let read = eventually("the true committee's certificate", PATIENCE, || async {
            let read = operator.certificates(germany).await?;
            let begins = |found: &LoggedCertificate| found.certificate.body.not_before == tomorrow;
            Ok(read.valid.iter().any(begins).then_some(read))
        })
        .await?;
        tokio::time::sleep(NOTHING).await;
        let strangers = |found: &LoggedCertificate| found.certificate.body == body;
        ensure!(!read.valid.iter().any(strangers), "it is no certificate");
        let drafts = operator.certificates(germany).await?.drafts;
        let rogue = drafts.into_iter().find(|found| found.draft == draft);
        let signed = rogue.context("the rogue draft still waits")?.signed;
        ensure!(
            signed == [(Role::LegalReview, Slot::new(3)?)],
            "nobody but the stranger signed: {signed:?}"
        );
        Ok(())
    })
    .await
}
