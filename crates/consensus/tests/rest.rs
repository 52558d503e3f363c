//! Groups in which nothing happens rest, keep their leader, and lose nothing of what a group at work
//! has: a command is taken at once, and a leader that falls silent is replaced.
#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::time::{Duration, Instant};

use bailiwick_types::NodeId;
use support::{Cluster, GROUP, quick, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_at_rest_keeps_its_leader_works_at_once_and_replaces_a_silent_one() {
    let cluster = Cluster::of_three(quick()).await;
    let leader = cluster.leader().await;
    cluster.propose(b"before").await;
    let term = cluster.status(leader).term;
    until("all three to rest", || {
        (1..=3)
            .all(|id| cluster.host(id).rests(GROUP))
            .then_some(())
    })
    .await;
    // Many leases long.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cluster.status(leader).term, term, "no election");
    let asked = Instant::now();
    assert_eq!(cluster.propose(b"after").await, 1);
    assert!(asked.elapsed() < Duration::from_millis(500));
    assert!(!cluster.host(leader).rests(GROUP), "it works again");
    until("all three to rest again", || {
        (1..=3)
            .all(|id| cluster.host(id).rests(GROUP))
            .then_some(())
    })
    .await;

    // The leader is cut off without a word: nothing refuses, so only silence tells.
    cluster.block(leader, true);
    let silent = Instant::now();
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    let new = until("another leader", || {
        let known = cluster.host(others[0]).leader(GROUP)?;
        (known.id != NodeId(leader)).then_some(known.id.0)
    })
    .await;
    assert_ne!(new, leader);
    // A lease, an election timeout, and a split vote.
    let took = silent.elapsed();
    assert!(took < Duration::from_secs(5), "took {took:?}");
}
