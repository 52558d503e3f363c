//! What an operator does to a stopped node's files, and that groups work on with what came of it.
#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::path::PathBuf;

use bailiwick_consensus::{OfflineError, OfflineNode, SaveError};
use bailiwick_storage::{OsDisk, SnapshotReader};
use bailiwick_types::{GroupId, NodeId};
use support::{Cluster, GROUP, quick, until};

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// Saves the group at its leader into a file outside the cluster.
async fn saved(cluster: &Cluster) -> (tempfile::TempDir, PathBuf) {
    let host = cluster.host(cluster.leader().await);
    let view = host.read(GROUP).await.unwrap();
    let saved = host.save_snapshot(GROUP, view, 1).await.unwrap();
    assert_eq!(saved.position().voters, nodes(&[1, 2, 3]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("group.snapshot");
    let bytes = saved.read(0, usize::MAX).unwrap();
    assert_eq!(bytes.len() as u64, saved.length());
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn reader(path: &std::path::Path) -> SnapshotReader {
    let disk = OsDisk::new(path.parent().unwrap().to_owned());
    SnapshotReader::open(&disk, path.file_name().unwrap().to_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_group_goes_on_on_other_nodes_with_what_the_snapshot_had() {
    let mut cluster = Cluster::new(6, quick(), false).await;
    cluster.start_voters().await;
    for number in 0..20u8 {
        cluster.propose(&[number]).await;
    }
    let blank =
        cluster
            .host(1)
            .save_snapshot(GroupId(7), cluster.host(1).read_local(GROUP).unwrap(), 1);
    assert!(matches!(blank.await, Err(SaveError::NoSuchGroup(_))));
    let (_folder, path) = saved(&cluster).await;
    cluster.propose(b"after the snapshot").await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    let voters = nodes(&[4, 5, 6]);
    for id in 4..=6 {
        let node = OfflineNode::open(NodeId(id), cluster.data(id)).unwrap();
        let restored = node.restore(GROUP, &reader(&path), &voters, &[], |_| Ok(()));
        assert_eq!(restored.unwrap().voters, voters);
        // Never over something that is there.
        let again = node.restore(GROUP, &reader(&path), &voters, &[], |_| Ok(()));
        assert!(matches!(again, Err(OfflineError::Exists(GROUP))));
        node.close();
    }
    for id in 4..=6 {
        cluster.start(id).await;
    }
    for id in 4..=6 {
        cluster.ensure(id).await;
    }
    assert_eq!(cluster.propose(b"goes on").await, 20);
    let mut expected: Vec<Vec<u8>> = (0..20u8).map(|number| vec![number]).collect();
    expected.push(b"goes on".to_vec());
    for id in 4..=6 {
        until("all replicas", || {
            (cluster.local_rows(id) == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_three_voters_takes_over_with_all_that_was_acknowledged() {
    let mut cluster = Cluster::of_three(quick()).await;
    for number in 0..20u8 {
        cluster.propose(&[number]).await;
    }
    let term = cluster.status(3).term;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    let kind = cluster.kind;
    let stranger = OfflineNode::open(NodeId(4), cluster.data(4)).unwrap();
    assert!(matches!(
        stranger.take_over(GROUP, &kind),
        Err(OfflineError::Missing(GROUP))
    ));
    stranger.close();
    let node = OfflineNode::open(NodeId(3), cluster.data(3)).unwrap();
    let (before, ()) = node.survey(GROUP, &kind, |_| Ok(())).unwrap();
    assert_eq!(before.voters, nodes(&[1, 2, 3]));
    let (same, ()) = node.survey(GROUP, &kind, |_| Ok(())).unwrap();
    assert_eq!(before, same, "a survey changes nothing");
    let after = node.take_over(GROUP, &kind).unwrap();
    assert_eq!(after.voters, nodes(&[3]));
    assert_eq!(after.last.1, before.last.1 + 1);
    assert!(after.last.0 > term, "above any term that was heard of");
    node.close();
    cluster.start(3).await;
    cluster.ensure(3).await;
    assert_eq!(cluster.propose(b"goes on").await, 20);
    assert_eq!(cluster.local_rows(3).len(), 21);
    let members = cluster.status(3).members;
    assert_eq!(members.len(), 1, "{members:?}");
}
