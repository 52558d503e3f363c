//! What people sign and receive: a reviewer signs only what belongs together, and a recipient finds
//! the release of every member whose values it used in the cosigned log.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::log::ReadLog;
use bailiwick_api::request::{RequestState, RequestView};
use bailiwick_client::intake::scope_line;
use bailiwick_client::recipient::{Disclosure, Recipient, ReleaseError};
use bailiwick_client::reviewer::{ReviewError, Reviewer, checklist_digest};
use bailiwick_envelope::approval::Decision;
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::release::ReleaseIntent;
use bailiwick_envelope::request::{self, DisclosureRequest, Purpose};
use bailiwick_envelope::selection::Selection;
use bailiwick_envelope::{IdentityKey, Signature, SigningKey};
use bailiwick_threshold::{DecapsulationKey, Opening};
use bailiwick_transport::Operation;
use bailiwick_types::{
    Category, Digest, Minute, RequestId, Role, Slot, SubjectPseudonym, Timestamp, codec,
};
use tokio::net::TcpListener;

use crate::support::{Vault, World, answer, cluster, directory, france, name, slot};

const SOON: Duration = Duration::from_secs(5);

fn recipient_key(number: u8) -> DecapsulationKey {
    DecapsulationKey::from_bytes(&[number; 32])
}

fn view() -> RequestView {
    let (from, to) = (Timestamp::from_seconds(0), Timestamp::from_seconds(60));
    let request = DisclosureRequest {
        jurisdiction: france(),
        forum: france(),
        scope: vec![scope_line(
            SubjectPseudonym([1; 16]),
            vec![Category::Ip],
            from,
            to,
        )],
        purpose: Purpose::Identify,
        legal_basis: "a law".to_owned(),
        authority: name("court-1"),
        reference: "case 1".to_owned(),
        entered_by: name("clerk-1"),
        documents: Digest([0; 32]),
        recipient: request::Recipient {
            name: name("desk-1"),
            key: recipient_key(5).encapsulation_key(),
            certificate: Digest([0; 32]),
        },
        cap: 10,
        not_after: bailiwick_client::now().plus(Duration::from_secs(3600)),
        forum_policy: Digest([0; 32]),
        custody_policy: Digest([0; 32]),
        generation: 1,
        salt: [3; 32],
    };
    let id = request.id();
    RequestView {
        id,
        request,
        state: RequestState::Disclosed,
        logged_at: bailiwick_client::now(),
        selection: Selection::of(id, [(Digest([7; 32]), Category::Ip)]),
        rosters: Vec::new(),
        decisions: Vec::new(),
        releases: Vec::new(),
        member_refusals: Vec::new(),
        refusal: None,
    }
}

#[test]
fn a_scope_is_rounded_outward_to_whole_minutes() {
    let window = |from: u64, to: u64| {
        let categories = vec![Category::Ip, Category::Phone, Category::Ip];
        let (from, to) = (Timestamp(from), Timestamp(to));
        let line = scope_line(SubjectPseudonym([1; 16]), categories, from, to);
        assert_eq!(line.categories, [Category::Phone, Category::Ip]);
        (line.from, line.to)
    };
    const MINUTE: u64 = 60_000_000;
    assert_eq!(window(MINUTE, 2 * MINUTE), (Minute(1), Minute(2)));
    assert_eq!(
        window(2 * MINUTE - 1, 2 * MINUTE + 1),
        (Minute(1), Minute(3))
    );
    assert_eq!(window(MINUTE + 1, MINUTE + 2), (Minute(1), Minute(2)));
}

#[tokio::test]
async fn a_reviewer_signs_only_what_belongs_together() {
    let vault = Vault::start(|_, _| unreachable!("nothing is sent")).await;
    let key = SigningKey::from_bytes(&[8; 32]);
    let cluster = cluster(&[&vault], "auditor", SOON);
    let reviewer = Reviewer::new(cluster, Role::Workflow, slot(2), key.clone());
    let (view, now) = (view(), bailiwick_client::now());
    let sign = |asked: RequestId, view: &RequestView| {
        reviewer.sign(asked, view, Decision::Approve, "answers", now)
    };
    let approval = sign(view.id, &view).expect("signed");
    approval.verify().expect("by this reviewer");
    assert_eq!(approval.reviewer, IdentityKey::of(&key));
    let statement = &approval.statement;
    assert_eq!(
        (statement.request, statement.selection),
        (view.id, view.selection.id())
    );
    assert_eq!((statement.role, statement.slot), (Role::Workflow, slot(2)));
    assert_eq!(statement.checklist, checklist_digest("answers"));

    let other = sign(RequestId([9; 32]), &view);
    assert!(matches!(other, Err(ReviewError::OtherRequest(_))));
    // The vault widens the scope behind the id that the reviewer asked for.
    let mut widened = view.clone();
    widened.request.scope[0].to = Minute(99);
    assert!(matches!(
        sign(view.id, &widened),
        Err(ReviewError::OtherRequest(_))
    ));
    let mut swapped = view.clone();
    swapped.selection.request = RequestId([9; 32]);
    assert!(matches!(
        sign(view.id, &swapped),
        Err(ReviewError::OtherSelection)
    ));
}

/// A member's release, signed by a key.
fn intent(view: &RequestView, role: Role, slot: Slot, key: &SigningKey) -> ReleaseIntent {
    let unsigned = ReleaseIntent {
        request: view.id,
        selection: view.selection.id(),
        role,
        slot,
        count: view.selection.count,
        recipient: view.request.recipient.key.recipient_hash(),
        signature: Signature([0; 64]),
    };
    ReleaseIntent::sign(unsigned, key)
}

/// Logs these releases, and asks a recipient whose partials name these leaves.
async fn look(
    leaves: Vec<(Role, Slot, u64)>,
    log: impl FnOnce(&mut World, &RequestView),
) -> Result<usize, ReleaseError> {
    let (mut world, view) = (World::new(), view());
    log(&mut world, &view);
    let (world, trust) = (Arc::new(world), World::new().trust());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let own = listener.local_addr().expect("bound").to_string();
    let vault = Vault::on(listener, move |operation, payload| match operation {
        Operation::Directory => answer(&directory(std::slice::from_ref(&own))),
        _ => {
            let read: ReadLog = codec::decode(payload).expect("a read");
            answer(&world.page(&read, world.leaves.len()))
        }
    });
    let recipient = Recipient::new(
        cluster(&[&vault], "recipient", SOON),
        trust,
        recipient_key(5),
    );
    let opening = Opening {
        records: Vec::new(),
        unopened: Vec::new(),
        contradicted: Vec::new(),
        unfit: Vec::new(),
        tried: 0,
    };
    let members = Vec::new();
    let disclosure = Disclosure {
        view,
        opening,
        members,
        leaves,
    };
    recipient
        .logged_releases(&disclosure)
        .await
        .map(|found| found.len())
}

/// Section 1, 6: no partial exists that is not preceded by a leaf. A recipient sees for itself.
#[tokio::test]
async fn every_partial_is_preceded_by_its_leaf() {
    let (first, second) = ((Role::Workflow, slot(1)), (Role::LegalReview, slot(3)));
    let named = vec![(first.0, first.1, 2), (second.0, second.1, 3)];
    let found = look(named, |world, view| {
        for (role, slot) in [first, second] {
            let release = intent(view, role, slot, &world.members[&(role, slot)]);
            world.log(LeafContent::Release(release));
        }
    });
    assert_eq!(found.await.expect("logged"), 2);
}

#[tokio::test]
async fn a_leaf_of_another_release_is_none() {
    let (role, member) = (Role::Workflow, slot(1));
    let refused = |change: fn(&World, &mut ReleaseIntent)| async move {
        let named = vec![(role, member, 2)];
        let found = look(named, |world, view| {
            let mut release = intent(view, role, member, &world.members[&(role, member)]);
            change(world, &mut release);
            world.log(LeafContent::Release(release));
        });
        matches!(
            found.await,
            Err(ReleaseError::OtherLeaf { leaf_index: 2, .. })
        )
    };
    fn signed(world: &World, release: &mut ReleaseIntent) {
        let key = &world.members[&(Role::Workflow, slot(1))];
        *release = ReleaseIntent::sign(*release, key);
    }
    assert!(!refused(signed).await, "the unchanged one is found");
    assert!(
        refused(|world, release| {
            release.request = RequestId([1; 32]);
            signed(world, release);
        })
        .await,
        "another request's"
    );
    assert!(
        refused(|world, release| {
            release.recipient = Digest([1; 32]);
            signed(world, release);
        })
        .await,
        "to another recipient"
    );
    assert!(
        refused(|world, release| {
            release.count += 1;
            signed(world, release);
        })
        .await,
        "of more records"
    );
    assert!(
        refused(|world, release| {
            release.slot = slot(2);
            signed(world, release);
        })
        .await,
        "another member's"
    );
    assert!(
        refused(|world, release| {
            let stranger = &world.members[&(Role::LegalReview, slot(1))];
            *release = ReleaseIntent::sign(*release, stranger);
        })
        .await,
        "signed by somebody else"
    );
    let genesis = look(vec![(role, member, 0)], |_, _| {}).await;
    assert!(matches!(genesis, Err(ReleaseError::OtherLeaf { .. })));
}
