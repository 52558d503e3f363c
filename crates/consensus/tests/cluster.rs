//! Three hosts over real mutual TLS: replication, failover, handover, catching up, and what is
//! refused.
#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bailiwick_consensus::{AdministerError, HostError, ProposeError, RaftTimings, ReadError, Step};
use bailiwick_transport::Operation;
use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;
use support::{Cluster, GROUP, quick, rows, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_are_read_back_and_followers_name_the_leader() {
    let cluster = Cluster::of_three(quick()).await;
    let leader = cluster.leader().await;
    for index in 0..20u64 {
        assert_eq!(
            cluster.propose(format!("command {index}").as_bytes()).await,
            index
        );
    }
    let view = cluster.host(leader).read(GROUP).await.unwrap();
    assert_eq!(rows(&view).len(), 20);
    assert_eq!(rows(&view)[7], b"command 7");
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let expected = cluster.address(follower, leader);
    let refused = cluster
        .host(follower)
        .propose(GROUP, Bytes::from_static(b"x"))
        .await;
    let Err(ProposeError::NotLeader {
        leader: Some(named),
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((named.id, named.address), (NodeId(leader), expected));
    let refused = cluster.host(follower).read(GROUP).await.map(|_| ());
    assert!(
        matches!(refused, Err(ReadError::NotLeader { leader: Some(_) })),
        "{refused:?}"
    );
    until("followers", || {
        (cluster.local_rows(follower).len() == 20).then_some(())
    })
    .await;
    let unknown = cluster
        .host(leader)
        .propose(GroupId(77), Bytes::new())
        .await;
    assert_eq!(unknown, Err(ProposeError::NoSuchGroup(GroupId(77))));
    let long = Bytes::from(vec![0; bailiwick_consensus::Host::COMMAND_BYTES + 1]);
    let refused = cluster.host(leader).propose(GROUP, long).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_leader_ends_another_leads_with_all_that_was_acknowledged() {
    let mut cluster = Cluster::of_three(quick()).await;
    let old = cluster.leader().await;
    for index in 0..30u64 {
        cluster.propose(&index.to_be_bytes()).await;
    }
    cluster.stop(old).await;
    let ended = Instant::now();
    let new = cluster.leader().await;
    let outcome = cluster
        .host(new)
        .propose(GROUP, Bytes::from_static(b"after"))
        .await;
    let took = ended.elapsed();
    assert_ne!(new, old);
    assert_eq!(
        support::number(&outcome.unwrap()),
        30,
        "all thirty are there"
    );
    // Two elections at most: a split vote is possible.
    assert!(took < Duration::from_millis(2500), "took {took:?}");
    let view = cluster.host(new).read(GROUP).await.unwrap();
    let expected: Vec<Vec<u8>> = (0..30u64)
        .map(|index| index.to_be_bytes().to_vec())
        .collect();
    assert_eq!(rows(&view)[..30], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::of_three(quick()).await;
    let old = cluster.leader().await;
    cluster.propose(b"before").await;
    let to = old % 3 + 1;
    let mut watched = cluster.host(old).watch_leadership(GROUP).unwrap();
    let asked = Instant::now();
    cluster
        .host(old)
        .transfer_leader(GROUP, NodeId(to))
        .await
        .unwrap();
    // An election timeout would take longer.
    assert!(
        asked.elapsed() < quick().election_min,
        "took {:?}",
        asked.elapsed()
    );
    assert_eq!(*watched.borrow_and_update(), Some(NodeId(to)));
    assert_eq!(cluster.propose(b"after").await, 1);
    assert!(cluster.host(to).is_leader(GROUP));
    let again = cluster.host(old).transfer_leader(GROUP, NodeId(to)).await;
    assert!(
        matches!(again, Err(AdministerError::NotLeader { .. })),
        "{again:?}"
    );
    let nobody = cluster.host(to).transfer_leader(GROUP, NodeId(4)).await;
    assert_eq!(nobody, Err(AdministerError::UnknownNode(NodeId(4))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_follower_has_what_it_had_and_catches_up() {
    let mut cluster = Cluster::of_three(quick()).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    for index in 0..10u64 {
        cluster.propose(&index.to_be_bytes()).await;
    }
    until("the follower", || {
        (cluster.local_rows(follower).len() == 10).then_some(())
    })
    .await;
    cluster.stop(follower).await;
    for index in 10..25u64 {
        cluster.propose(&index.to_be_bytes()).await;
    }
    cluster.start(follower).await;
    cluster.ensure(follower).await;
    assert!(
        cluster.local_rows(follower).len() >= 10,
        "what it had survives its restart"
    );
    until("catching up", || {
        (cluster.local_rows(follower).len() == 25).then_some(())
    })
    .await;
    // All three at once: what they acknowledged is on their disks.
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    for id in 1..=3 {
        cluster.ensure(id).await;
    }
    assert_eq!(cluster.propose(b"again").await, 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blank_learner_gets_a_snapshot_over_its_own_connection() {
    let timings = RaftTimings {
        keep_entries: 5,
        ..quick()
    };
    let mut cluster = Cluster::of_three(timings).await;
    let leader = cluster.leader().await;
    // More than a message, so that it comes in chunks.
    let command = vec![7; 100 << 10];
    for _ in 0..60 {
        cluster.propose(&command).await;
    }
    cluster.host(leader).snapshot(GROUP).await.unwrap();
    let purged = until("the purge", || {
        Some(cluster.status(leader).purged).filter(|at| *at > 40)
    });
    let purged = purged.await;
    cluster.start(4).await;
    cluster.ensure(4).await;
    let voters = cluster.spec().voters;
    let change = cluster
        .host(leader)
        .change_membership(GROUP, voters.clone(), vec![NodeId(4)]);
    change.await.unwrap();
    until("the learner", || {
        (cluster.local_rows(4).len() == 60).then_some(())
    })
    .await;
    // What the log no longer has cannot have come as log; the status tells it a moment later.
    until("the snapshot in the status", || {
        (cluster.status(4).snapshot >= purged).then_some(())
    })
    .await;
    assert!(cluster.local_rows(4).iter().all(|row| *row == command));
    let connections = cluster.links[&(leader, 4)]
        .connections
        .load(Ordering::SeqCst);
    assert_eq!(connections, 2, "one for messages, one for snapshots");
    // And then it follows the log, and survives a restart with what the snapshot brought.
    cluster.propose(b"after").await;
    until("the log", || {
        (cluster.local_rows(4).len() == 61).then_some(())
    })
    .await;
    cluster.stop(4).await;
    cluster.start(4).await;
    cluster.ensure(4).await;
    assert!(cluster.local_rows(4).len() >= 60);
    let members = cluster.status(leader).members;
    assert!(
        members
            .iter()
            .any(|member| member.node == NodeId(4) && !member.voter)
    );
    let without = cluster
        .host(leader)
        .change_membership(GROUP, voters, Vec::new());
    without.await.unwrap();
    until("three members", || {
        (cluster.status(leader).members.len() == 3).then_some(())
    })
    .await;
}

/// Attack: a deposed leader that was paused or cut off serves stale state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_serves_no_linearizable_reads() {
    let cluster = Cluster::of_three(quick()).await;
    let old = cluster.leader().await;
    cluster.propose(b"before").await;
    cluster.block(old, true);
    let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    let new = until("another leader", || {
        others
            .iter()
            .copied()
            .find(|id| cluster.host(*id).is_leader(GROUP))
    })
    .await;
    let outcome = cluster
        .host(new)
        .propose(GROUP, Bytes::from_static(b"behind its back"))
        .await;
    outcome.unwrap();
    let read = cluster.host(old).read(GROUP).await.map(|view| rows(&view));
    assert!(
        matches!(
            read,
            Err(ReadError::Unconfirmed | ReadError::NotLeader { .. })
        ),
        "{read:?}"
    );
    let lost = cluster
        .host(old)
        .propose(GROUP, Bytes::from_static(b"lost"))
        .await;
    assert!(lost.is_err(), "{lost:?}");
    cluster.block(old, false);
    until("the old leader", || {
        let rows = cluster.local_rows(old);
        (rows == [b"before".to_vec(), b"behind its back".to_vec()]).then_some(())
    })
    .await;
}

/// Attack: a leader with a clock that runs ahead moves log time, and with it every expiry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stamp_too_far_ahead_is_refused_and_its_leader_replaced() {
    let cluster = Cluster::of_three(quick()).await;
    let wrong = cluster.leader().await;
    cluster.propose(b"right").await;
    let before = cluster.host(wrong).log_time(GROUP);
    cluster.nodes[&wrong].clock.0.store(60, Ordering::SeqCst);
    let refused = cluster
        .host(wrong)
        .propose(GROUP, Bytes::from_static(b"wrong"))
        .await;
    assert!(refused.is_err(), "{refused:?}");
    let others: Vec<u64> = (1..=3).filter(|id| *id != wrong).collect();
    let new = until("another leader", || {
        others
            .iter()
            .copied()
            .find(|id| cluster.host(*id).is_leader(GROUP))
    })
    .await;
    let outcome = cluster
        .host(new)
        .propose(GROUP, Bytes::from_static(b"right again"))
        .await;
    assert_eq!(
        support::number(&outcome.unwrap()),
        1,
        "the wrong one never happened"
    );
    let log_time = cluster.host(new).log_time(GROUP);
    assert!(log_time >= before);
    assert!(
        log_time.since(before) < Duration::from_secs(40),
        "{log_time} after {before}"
    );
}

/// Attack: a node of a region that the jurisdiction does not allow is made to hold its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_region_refuses_the_group_and_its_log() {
    let cluster = Cluster::of_three(quick()).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.propose(b"allowed").await;
    until("the follower", || {
        (cluster.local_rows(follower).len() == 1).then_some(())
    })
    .await;
    cluster.nodes[&follower]
        .allowed
        .store(false, Ordering::SeqCst);
    let again = cluster.host(follower).ensure_group(cluster.spec()).await;
    assert!(
        matches!(again, Err(HostError::Placement(GROUP))),
        "{again:?}"
    );
    // At once, on the append stream that is open since before.
    cluster.propose(b"not for there").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        cluster.local_rows(follower).len(),
        1,
        "nothing arrives where it may not be"
    );
    cluster.nodes[&follower]
        .allowed
        .store(true, Ordering::SeqCst);
    until("the follower again", || {
        (cluster.local_rows(follower).len() == 2).then_some(())
    })
    .await;
}

/// Attack: a vault speaks in the name of another, such as of the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_another_nodes_name_is_refused() {
    let cluster = Cluster::of_three(quick()).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    let other = follower % 3 + 1;
    let heartbeat = until("a heartbeat", || {
        cluster.nodes[&follower].last_append.lock().unwrap().clone()
    })
    .await;
    let host = cluster.host(follower);
    let forged = host
        .handle_call(NodeId(other), Operation::RaftAppend, heartbeat.clone())
        .await;
    assert_eq!(forged.unwrap_err().code, 4);
    let genuine = host
        .handle_call(NodeId(leader), Operation::RaftAppend, heartbeat)
        .await;
    assert!(genuine.is_ok(), "{genuine:?}");
    let garbage = host.handle_call(
        NodeId(leader),
        Operation::RaftVote,
        Bytes::from_static(b"x"),
    );
    assert_eq!(garbage.await.unwrap_err().code, 1);
    let not_raft = host
        .handle_call(NodeId(leader), Operation::Directory, Bytes::new())
        .await;
    assert_eq!(not_raft.unwrap_err().code, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_group_leaves_nothing_and_the_rest_goes_on() {
    let mut cluster = Cluster::of_three(quick()).await;
    let leader = cluster.leader().await;
    cluster.propose(b"one").await;
    let gone = leader % 3 + 1;
    cluster.host(gone).remove_group(GROUP).await.unwrap();
    assert!(matches!(
        cluster.host(gone).read_local(GROUP),
        Err(ReadError::NoSuchGroup(_))
    ));
    let outcome = cluster
        .host(leader)
        .propose(GROUP, Bytes::from_static(b"two"))
        .await;
    assert!(outcome.is_ok(), "{outcome:?}");
    cluster.stop(gone).await;
}

/// Attack: a vault of the cluster, with a true certificate, that takes no part in the group asks for
/// votes in it or sends it a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_is_no_member_is_not_heard_in_the_group() {
    let mut cluster = Cluster::of_three(quick()).await;
    let leader = cluster.leader().await;
    cluster.start(4).await;
    let follower = leader % 3 + 1;
    let heartbeat = until("a heartbeat", || {
        cluster.nodes[&follower].last_append.lock().unwrap().clone()
    })
    .await;
    let host = cluster.host(follower);
    let ask = async || {
        let heartbeat = heartbeat.clone();
        let (from, operation) = (NodeId(4), Operation::RaftAppend);
        let answered = host.handle_call(from, operation, heartbeat).await;
        answered.unwrap_err().code
    };
    assert_eq!(ask().await, 9);
    // Listed by the directory it would be heard, as far as its certificate goes.
    let listed = [1, 2, 3, 4].map(NodeId).into();
    host.set_members([(GROUP, listed)].into());
    assert_eq!(ask().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_taken_from_the_membership_that_was_seen_and_no_other() {
    let mut cluster = Cluster::of_three(quick()).await;
    cluster.propose(b"one").await;
    let leader = cluster.leader().await;
    cluster.start(4).await;
    cluster.ensure(4).await;
    let host = cluster.host(leader);
    let seen = host.group_report(GROUP).unwrap();
    assert_eq!(seen.voters(), [1, 2, 3].map(NodeId));
    let add = Step::AddLearner(NodeId(4));
    host.take_step(GROUP, seen.membership, add).await.unwrap();
    let stale = Step::SetVoters(vec![NodeId(leader)]);
    let refused = host.take_step(GROUP, seen.membership, stale).await;
    assert!(
        matches!(refused, Err(AdministerError::Refused(_))),
        "{refused:?}"
    );
    let report = until("the learner to catch up", || {
        let report = host.group_report(GROUP)?;
        let member = *report.member(NodeId(4))?;
        (report.settled && member.trailing == Some(0)).then_some(report)
    })
    .await;
    let other = leader % 3 + 1;
    let mut voters = report.voters();
    voters.retain(|voter| voter.0 != other);
    voters.push(NodeId(4));
    voters.sort();
    let swap = Step::SetVoters(voters.clone());
    host.take_step(GROUP, report.membership, swap)
        .await
        .unwrap();
    let report = host.group_report(GROUP).unwrap();
    assert_eq!(report.voters(), voters);
    assert_eq!(
        report.member(NodeId(other)).map(|member| member.voter),
        Some(false)
    );
}
