//! Reading a log: every leaf under a checkpoint that the own members cosigned, and all checkpoints
//! of one history.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bailiwick_api::log::{LogPage, ReadLog};
use bailiwick_client::auditor::{AuditError, read_log};
use bailiwick_client::checkpoint::{CheckpointError, VerifiedCheckpoint};
use bailiwick_transport::Operation;
use bailiwick_types::{Role, codec};
use tokio::net::TcpListener;

use crate::support::{Vault, World, answer, cluster, directory, france, slot};

const SOON: Duration = Duration::from_secs(15);
const AGE: Duration = Duration::from_secs(600);

/// A vault that answers the number-th read of the log.
async fn log(page: impl Fn(usize, &ReadLog) -> LogPage + Send + Sync + 'static) -> Vault {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let own = listener.local_addr().expect("bound").to_string();
    let count = AtomicUsize::new(0);
    Vault::on(listener, move |operation, payload| match operation {
        Operation::Directory => answer(&directory(std::slice::from_ref(&own))),
        _ => {
            let read: ReadLog = codec::decode(payload).expect("a read");
            answer(&page(count.fetch_add(1, Ordering::SeqCst), &read))
        }
    })
}

#[tokio::test]
async fn a_log_that_grows_while_it_is_read_is_read_to_its_end() {
    let mut world = World::new();
    world.fill(1100, 1);
    let (trust, total) = (world.trust(), world.leaves.len());
    // Every page comes under a later checkpoint; one comes from a node that is behind.
    let sizes = [900, 1050, 600, 1102];
    let vault = log(move |number, read| world.page(read, sizes[number.min(3)])).await;
    let cluster = cluster(&[&vault], "auditor", SOON);
    let read = read_log(&cluster, &trust, france(), 0)
        .await
        .expect("believed");
    assert_eq!(read.leaves.len(), total);
    assert_eq!(read.checkpoint.size() as usize, total);
    assert!((0..).zip(&read.leaves).all(|(at, (index, _))| at == *index));
}

/// Attack 3, a log fork: the first page comes of one history, the next of another; each leaf stands
/// under the cosigned checkpoint that it came with.
#[tokio::test]
async fn forked_log_refused_between_pages() {
    let (mut one, mut other) = (World::new(), World::new());
    one.fill(800, 1);
    other.leaves = one.leaves[..2].to_vec();
    other.fill(1000, 2);
    let trust = one.trust();
    let vault = log(move |number, read| match number {
        0 => one.page(read, 802),
        _ => other.page(read, 1002),
    })
    .await;
    let cluster = cluster(&[&vault], "auditor", SOON);
    let read = read_log(&cluster, &trust, france(), 0).await;
    assert!(matches!(read, Err(AuditError::Forked(_))), "{read:?}");
}

#[tokio::test]
async fn from_a_later_leaf_all_pages_come_under_one_checkpoint() {
    let mut world = World::new();
    world.fill(1100, 1);
    let trust = world.trust();
    let vault =
        log(move |number, read| world.page(read, if number == 0 { 900 } else { 1102 })).await;
    let cluster = cluster(&[&vault], "auditor", SOON);
    let read = read_log(&cluster, &trust, france(), 10)
        .await
        .expect("believed");
    assert_eq!((read.leaves.len(), read.checkpoint.size()), (1092, 1102));
    let reads = vault.asked(Operation::ReadLog);
    let from = |payload| codec::decode::<ReadLog>(payload).expect("a read").from;
    assert_eq!(
        reads.iter().filter(|payload| from(payload) == 10).count(),
        2,
        "began anew"
    );
}

#[tokio::test]
async fn a_changed_or_misplaced_leaf_is_refused() {
    let changed = |change: fn(&mut LogPage)| async move {
        let mut world = World::new();
        world.fill(20, 1);
        let trust = world.trust();
        let vault = log(move |_, read| {
            let mut page = world.page(read, 22);
            change(&mut page);
            page
        })
        .await;
        let cluster = cluster(&[&vault], "auditor", SOON);
        read_log(&cluster, &trust, france(), 0).await
    };
    let other = changed(|page| page.leaves[7].leaf.logged_at.0 += 1).await;
    let expected = CheckpointError::Inclusion(7);
    assert!(matches!(other, Err(AuditError::Checkpoint(error)) if error == expected));
    let left_out = changed(|page| drop(page.leaves.remove(7))).await;
    let gap = matches!(
        left_out,
        Err(AuditError::Gap {
            expected: 7,
            got: 8
        })
    );
    assert!(gap, "{left_out:?}");
}

/// stale_checkpoint_refused, and a quorum that is short: t and more than half of each role, counted
/// by the own trust file, fresh, and each member once.
#[tokio::test]
async fn a_checkpoint_counts_only_with_both_roles_quorums() {
    let world = World::new();
    let trust = world.trust();
    let trust = trust.jurisdiction(france()).expect("trusted");
    let now = bailiwick_client::now();
    let verify = |note: &str| VerifiedCheckpoint::verify(Some(note), trust, now, AGE);
    let two = |role| [(role, slot(1)), (role, slot(3))];
    let both = [two(Role::Workflow), two(Role::LegalReview)].concat();
    let good = world.checkpoint_by(2, now, both.clone());
    assert_eq!(verify(&good).expect("a quorum").size(), 2);

    let short = world.checkpoint_by(2, now, both[..3].to_vec());
    let (role, have, need) = (Role::LegalReview, 1, 2);
    assert_eq!(
        verify(&short),
        Err(CheckpointError::TooFew { role, have, need })
    );

    let (role, have) = (Role::Workflow, 0);
    let too_few = Err(CheckpointError::TooFew { role, have, need });
    let old = now.minus(AGE + Duration::from_secs(2));
    assert_eq!(verify(&world.checkpoint_by(2, old, both.clone())), too_few);
    let future = now.plus(Duration::from_secs(60));
    assert_eq!(verify(&world.checkpoint_by(2, future, both)), too_few);

    // Another size under the same signatures.
    let resized = good.replacen("\n2\n", "\n3\n", 1);
    assert_ne!(resized, good);
    assert_eq!(verify(&resized), too_few);
    let renamed = good.replacen("bailiwick.example/fr", "bailiwick.example/de", 1);
    assert_eq!(verify(&renamed), Err(CheckpointError::OtherOrigin));
    assert_eq!(verify("no note"), Err(CheckpointError::Note));
    let none = VerifiedCheckpoint::verify(None, trust, now, AGE);
    assert_eq!(none, Err(CheckpointError::Missing));
}
