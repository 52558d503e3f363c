//! Calls: leaders are found and followed, what may pass is repeated with the same bytes, what is
//! definite is not, and nobody is told "not done" of what may have been done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::session::{AppendBlock, BlockStored};
use bailiwick_client::{CallFailure, Cluster};
use bailiwick_transport::Operation;
use bailiwick_types::NodeId;
use tokio::net::TcpListener;

use crate::support::{Answer, Vault, answer, cluster, directory, home, rejected};

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(400);

fn message() -> AppendBlock {
    AppendBlock {
        shard: home(),
        block: vec![7; 100].into(),
    }
}

fn stored() -> BlockStored {
    BlockStored {
        duplicates: vec![3],
    }
}

async fn append(cluster: &Cluster) -> Result<BlockStored, CallFailure> {
    cluster
        .call(Some(home()), Operation::AppendBlock, &message())
        .await
}

/// One node that gives these answers one after the other, the last one for ever.
async fn alone(answers: Vec<Answer>) -> Vault {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let own = listener.local_addr().expect("bound").to_string();
    let count = AtomicUsize::new(0);
    Vault::on(listener, move |operation, _| match operation {
        Operation::Directory => answer(&directory(std::slice::from_ref(&own))),
        _ => {
            let at = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            answers[at].clone()
        }
    })
}

#[tokio::test]
async fn a_follower_is_left_for_its_leader_and_not_asked_again() {
    let leader = Arc::new(std::sync::OnceLock::<String>::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let own = listener.local_addr().expect("bound").to_string();
    let named = leader.clone();
    // The directory names the follower as the only voter, so that it is always asked first.
    let follower = Vault::on(listener, move |operation, _| match operation {
        Operation::Directory => answer(&directory(std::slice::from_ref(&own))),
        _ => Err(Refusal::NotLeader {
            leader: named.get().map(|address| (NodeId(2), address.clone())),
        }),
    });
    let other = Vault::start(|_, _| answer(&stored())).await;
    leader.set(other.address()).expect("set once");
    let cluster = cluster(&[&follower], "edge", SOON);
    for _ in 0..3 {
        assert_eq!(append(&cluster).await.expect("answered"), stored());
    }
    assert_eq!(follower.asked(Operation::AppendBlock).len(), 1);
    assert_eq!(other.asked(Operation::AppendBlock).len(), 3);
}

#[tokio::test]
async fn what_may_pass_is_repeated_with_identical_bytes() {
    let vault = alone(vec![
        Err(Refusal::Overloaded),
        Err(Refusal::Unavailable),
        Err(Refusal::Unknown),
        answer(&stored()),
    ])
    .await;
    let cluster = cluster(&[&vault], "edge", SOON);
    assert_eq!(append(&cluster).await.expect("answered"), stored());
    let asked = vault.asked(Operation::AppendBlock);
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|payload| *payload == asked[0]));
}

#[tokio::test]
async fn a_rejection_is_final_and_keeps_its_code() {
    let vault = alone(vec![rejected("block-root"), answer(&stored())]).await;
    let cluster = cluster(&[&vault], "edge", SOON);
    let failure = append(&cluster).await.expect_err("rejected");
    assert_eq!(failure.code(), Some("block-root"));
    assert_eq!(vault.asked(Operation::AppendBlock).len(), 1);
}

/// A timed-out write is unknown, never absent; and what certainly was not done is not called unknown.
#[tokio::test]
async fn a_deadline_says_whether_anything_may_have_been_done() {
    for (refusal, expected) in [
        (Refusal::Unavailable, false),
        (Refusal::Overloaded, false),
        (Refusal::NotLeader { leader: None }, false),
        (Refusal::Unknown, true),
    ] {
        let vault = alone(vec![Err(refusal.clone())]).await;
        let cluster = cluster(&[&vault], "edge", SHORT);
        match append(&cluster).await {
            Err(CallFailure::Deadline {
                outcome_unknown, ..
            }) => assert_eq!(outcome_unknown, expected, "{refusal:?}"),
            other => panic!("{refusal:?}: {other:?}"),
        }
    }
    // Unknown once stays unknown, whatever the last answer was.
    let vault = alone(vec![Err(Refusal::Unknown), Err(Refusal::Unavailable)]).await;
    let failure = append(&cluster(&[&vault], "edge", SHORT)).await;
    assert!(matches!(
        failure,
        Err(CallFailure::Deadline {
            outcome_unknown: true,
            ..
        })
    ));
}

#[tokio::test]
async fn a_cluster_outlives_its_leader_its_seed_and_its_old_directory() {
    // The seed describes itself and a second node; then it dies, and the second has moved the
    // group to a third, which the old description does not name.
    let third = Vault::start(|_, _| answer(&stored())).await;
    let moved = directory(&[third.address()]);
    let second = Vault::start(move |operation, _| match operation {
        Operation::Directory => answer(&moved),
        _ => Err(Refusal::NoSuchShard(home())),
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let own = listener.local_addr().expect("bound").to_string();
    let both = directory(&[own, second.address()]);
    let seed = Vault::on(listener, move |operation, _| match operation {
        Operation::Directory => answer(&both),
        _ => Err(Refusal::NotLeader { leader: None }),
    });
    let cluster = cluster(&[&seed], "edge", SOON);
    cluster.describe().await.expect("described");
    seed.stop();
    assert_eq!(append(&cluster).await.expect("answered"), stored());
    assert_eq!(third.asked(Operation::AppendBlock).len(), 1);
}

#[tokio::test]
async fn a_silent_node_uses_up_no_more_than_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = silent.local_addr().expect("bound").to_string();
    let mut options = bailiwick_client::ClusterOptions {
        seeds: vec![address],
        tls: crate::support::tls("edge"),
        deadline: Duration::from_millis(300),
    };
    let begun = std::time::Instant::now();
    let failed = Cluster::new(options.clone()).describe().await;
    assert!(matches!(failed, Err(CallFailure::Deadline { .. })));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    // Nobody to ask is a deadline too, not a hang.
    options.seeds.clear();
    assert!(Cluster::new(options).describe().await.is_err());
}

#[tokio::test]
async fn a_role_that_may_not_is_told_so_at_once() {
    let vault = alone(vec![answer(&stored())]).await;
    let cluster = cluster(&[&vault], "recipient", SOON);
    assert!(matches!(
        append(&cluster).await,
        Err(CallFailure::NotAuthorised(Operation::AppendBlock))
    ));
    assert!(vault.asked(Operation::AppendBlock).is_empty());
}

#[tokio::test]
async fn an_answer_of_another_form_is_a_fault_of_the_program() {
    let vault = alone(vec![Ok(vec![9; 40].into())]).await;
    let failure = append(&cluster(&[&vault], "edge", SOON)).await;
    assert!(
        matches!(failure, Err(CallFailure::Malformed(_))),
        "{failure:?}"
    );
}
