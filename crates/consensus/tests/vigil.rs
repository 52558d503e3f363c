//! A leader whose process has ended is replaced before its lease runs out; one that lives is not,
//! whatever a single node cannot reach.
#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use bailiwick_consensus::RaftTimings;
use bailiwick_types::NodeId;
use support::{Cluster, GROUP, number, quick, until};

/// Three voters that dial each other without anything between, so that a closed port refuses.
async fn direct() -> Cluster {
    // Timeouts so long that only evidence explains an election in time.
    let timings = RaftTimings {
        election_min: Duration::from_secs(3),
        election_max: Duration::from_secs(4),
        ..quick()
    };
    let mut cluster = Cluster::new(3, timings, true).await;
    cluster.start_voters().await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_process_ended_is_replaced_before_its_lease_runs_out() {
    let mut cluster = direct().await;
    let old = cluster.leader().await;
    for index in 0..10 {
        assert_eq!(cluster.propose(b"before").await, index);
    }
    // What a watch holds by then is a connection that breaks.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ended = Instant::now();
    cluster.stop(old).await;
    let new = cluster.leader().await;
    assert_ne!(new, old);
    let outcome = cluster.host(new).propose(GROUP, b"after"[..].into()).await;
    assert_eq!(number(&outcome.unwrap()), 10, "all ten are there");
    let took = ended.elapsed();
    assert!(took < Duration::from_millis(2500), "took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_that_is_refused_by_a_living_leader_deposes_nobody() {
    let cluster = direct().await;
    let leader = cluster.leader().await;
    cluster.propose(b"before").await;
    let term = cluster.status(leader).term;
    // One follower has a wrong address for the leader: it finds nobody there.
    let follower = leader % 3 + 1;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap().to_string();
    drop(closed);
    let mut peers = cluster.peers(follower);
    let wrong = peers.iter_mut().find(|peer| peer.id == NodeId(leader));
    wrong.unwrap().address = nobody;
    cluster.host(follower).set_peers(peers);
    until("the follower's evidence", || {
        cluster.host(follower).leader(GROUP).is_none().then_some(())
    })
    .await;
    // It asks for pre-votes meanwhile.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.status(leader).term, term);
    assert!(cluster.host(leader).is_leader(GROUP));
    let other = follower % 3 + 1;
    let other = if other == leader {
        other % 3 + 1
    } else {
        other
    };
    assert_eq!(
        cluster.host(other).leader(GROUP).map(|known| known.id),
        Some(NodeId(leader)),
    );
    assert_eq!(
        cluster
            .host(leader)
            .propose(GROUP, b"after"[..].into())
            .await
            .map(|outcome| number(&outcome)),
        Ok(1)
    );
}
