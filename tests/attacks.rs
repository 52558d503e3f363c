//! Attacks from around the construction that need no cluster: keys that somebody else hands out.

use bailiwick_envelope::certificate::{
    CertificateBody, CertificateError, Committee, KeyCertificate, Member, MemberSignature, Period,
    TrustRoster, TrustedCommittee, TrustedMember, TrustedReviewer,
};
use bailiwick_envelope::{IdentityKey, SUITE, SigningKey};
use bailiwick_threshold::DecapsulationKey;
use bailiwick_types::{Name, Role, Slot, Threshold, Timestamp};

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

/// attacks 2.8: the directory hands an edge another key certificate, or a roster with an approver of
/// its own. Nobody takes a key on the directory's word.
#[test]
fn the_directory_cannot_hand_out_its_own_keys() {
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
