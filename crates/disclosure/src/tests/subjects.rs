//! Who is asked for: the order's accounts against the request's pseudonyms.

use bailiwick_envelope::Canonical;
use bailiwick_envelope::order::{OrderDocument, SealedDocument};
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_threshold::{PseudonymKey, hpke, pseudonym};
use bailiwick_types::{Digest, Role};

use super::world::{World, seat, subject};
use crate::subjects::{SubjectRefusal, SubjectsConfirmed};
use crate::trust::Seat;

const KEY: [u8; 32] = [0x21; 32];

fn key(version: u16) -> PseudonymKey {
    PseudonymKey::new(version, KEY)
}

fn document(accounts: &[&str]) -> OrderDocument {
    OrderDocument {
        reference: "2026/1".to_owned(),
        pseudonym_version: 1,
        accounts: accounts
            .iter()
            .map(|account| (*account).to_owned())
            .collect(),
        attachments: vec![Digest([7; 32])],
        salt: [8; 32],
        case: None,
    }
}

/// Seals a document's bytes to a member under a digest that may be another's.
fn seal(world: &mut World, document: &[u8], digest: Digest, at: Seat) -> SealedDocument {
    let certificate = world.certificate.id();
    let body = world.certificate.body();
    let to = &body.committee(at.role).member(at.slot).unwrap().documents;
    let info = SealedDocument::info(&certificate, &digest, at.role, at.slot);
    let sealed = SealedDocument {
        certificate,
        digest,
        role: at.role,
        slot: at.slot,
        sealed: hpke::seal(&mut world.rng, to, &info, document).unwrap(),
    };
    SealedDocument::from_bytes(&sealed.to_bytes()).unwrap()
}

/// A request for the pseudonyms of these accounts.
fn request(world: &World, accounts: &[&str], documents: Digest) -> DisclosureRequest {
    let mut request = world.request(1);
    let line = request.scope[0].clone();
    request.scope = accounts
        .iter()
        .map(|account| {
            let mut line = line.clone();
            line.subject = pseudonym(&key(1), account);
            line
        })
        .collect();
    request.scope.sort();
    request.documents = documents;
    request
}

fn verify(
    world: &World,
    at: Seat,
    request: &DisclosureRequest,
    sealed: &SealedDocument,
) -> Result<SubjectsConfirmed, SubjectRefusal> {
    let keys = &world.member(at).keys;
    SubjectsConfirmed::verify(keys, &world.trust, &key(1), request, sealed)
}

fn everybody(world: &World) -> Vec<Seat> {
    world.members.iter().map(|member| member.seat).collect()
}

/// Attack: one role, with the vault's help, puts another person into the request than the order
/// names. Every member of the other role finds it by itself, from its own copy of the document and its
/// own pseudonym key; so does every honest member of the same role.
#[test]
fn pseudonym_checked_by_each_role() {
    let mut world = World::without_records();
    let order = document(&["dissident-7", "suspect-1"]);
    let (bytes, digest) = (order.to_bytes(), order.digest());
    let good = request(&world, &["suspect-1", "dissident-7"], digest);
    let other = request(&world, &["suspect-1", "neighbour-3"], digest);
    let fewer = request(&world, &["suspect-1"], digest);
    let mut more = request(&world, &["suspect-1", "dissident-7"], digest);
    more.scope[1].subject = subject(1);
    let mut by_role = [0, 0];
    for at in everybody(&world) {
        let sealed = seal(&mut world, &bytes, digest, at);
        let confirmed = verify(&world, at, &good, &sealed).unwrap();
        assert_eq!((confirmed.request(), confirmed.seat()), (good.id(), at));
        let refused = verify(&world, at, &other, &sealed).unwrap_err();
        assert!(
            matches!(refused, SubjectRefusal::NotNamed { .. }),
            "{refused:?}"
        );
        let refused = verify(&world, at, &more, &sealed).unwrap_err();
        assert_eq!(refused, SubjectRefusal::NotNamed { line: 1 });
        let refused = verify(&world, at, &fewer, &sealed).unwrap_err();
        assert_eq!(refused, SubjectRefusal::NotAsked(1));
        by_role[usize::from(at.role == Role::LegalReview)] += 1;
    }
    assert_eq!(by_role, [3, 3]);

    // Two documents: workflow is shown one that names the neighbour, legal review the true one.
    let forged = document(&["neighbour-3", "suspect-1"]);
    for at in [seat(Role::Workflow, 1), seat(Role::LegalReview, 1)] {
        let sealed = seal(&mut world, &forged.to_bytes(), digest, at);
        let refused = verify(&world, at, &other, &sealed).unwrap_err();
        let (expected, got) = (digest, forged.digest());
        assert_eq!(refused, SubjectRefusal::Digest { expected, got });
        let named = seal(&mut world, &forged.to_bytes(), forged.digest(), at);
        let refused = verify(&world, at, &other, &named).unwrap_err();
        assert_eq!(refused, SubjectRefusal::OtherDocument);
    }
}

/// What is not the member's own document of this case, under its own key, is refused.
#[test]
fn documents_of_others_are_refused() {
    let mut world = World::without_records();
    let order = document(&["suspect-1"]);
    let (bytes, digest) = (order.to_bytes(), order.digest());
    let (at, colleague) = (seat(Role::Workflow, 1), seat(Role::Workflow, 2));
    let good = request(&world, &["suspect-1"], digest);
    let mine = seal(&mut world, &bytes, digest, at);
    assert!(verify(&world, at, &good, &mine).is_ok());
    let theirs = seal(&mut world, &bytes, digest, colleague);
    let refused = verify(&world, at, &good, &theirs).unwrap_err();
    assert_eq!(refused, SubjectRefusal::OtherDocument);
    let relabelled = SealedDocument {
        slot: at.slot,
        ..theirs
    };
    let refused = verify(&world, at, &good, &relabelled).unwrap_err();
    assert!(matches!(refused, SubjectRefusal::Sealed(_)));
    let mut elsewhere = good.clone();
    elsewhere.jurisdiction = "DE".parse().unwrap();
    let refused = verify(&world, at, &elsewhere, &mine).unwrap_err();
    assert_eq!(refused, SubjectRefusal::Jurisdiction);
    let mut case = good.clone();
    case.reference = "2026/2".to_owned();
    assert_eq!(
        verify(&world, at, &case, &mine),
        Err(SubjectRefusal::Reference)
    );
    let keys = &world.member(at).keys;
    let old = SubjectsConfirmed::verify(keys, &world.trust, &key(2), &good, &mine);
    assert_eq!(old, Err(SubjectRefusal::Version { own: 2, got: 1 }));
    let junk = seal(&mut world, b"no document", digest, at);
    let refused = verify(&world, at, &good, &junk).unwrap_err();
    assert!(matches!(refused, SubjectRefusal::Malformed(_)));
    let unordered = document(&["b", "a"]).to_bytes();
    assert!(OrderDocument::from_bytes(&unordered).is_err());
    assert!(OrderDocument::from_bytes(&document(&[]).to_bytes()).is_err());
    assert!(format!("{:?}", document(&["suspect-1"])).contains("redacted"));
}
