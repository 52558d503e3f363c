//! Every vault node that the service dials: reached over mutual TLS with the service's own certificate,
//! and who answers there in which version.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bailiwick_api::cluster::{ClusterDescription, NodeStatus};
use bailiwick_client::{CallFailure, Cluster, ClusterOptions};
use bailiwick_transport::Operation;
use tokio::task::JoinSet;

use super::service::{Peer, ServiceFile};
use super::{Finding, certificate};
use crate::failure::chain;

/// How long one peer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// A round trip above which Raft's timings need a look.
const SLOW: Duration = Duration::from_millis(100);

/// Asks every peer, all at once. Without a certificate nobody can be asked; that is told elsewhere.
pub(super) async fn check(service: &ServiceFile) -> Vec<Finding> {
    let Ok(tls) = certificate::load(service) else {
        return Vec::new();
    };
    let status = matches!(service, ServiceFile::Vault(_));
    let mut asked = JoinSet::new();
    for (place, peer) in service.peers().into_iter().enumerate() {
        let cluster = Cluster::new(ClusterOptions {
            seeds: vec![peer.address.clone()],
            tls: tls.clone(),
            deadline: DEADLINE,
        });
        asked.spawn(async move { (place, ask(cluster, peer, status).await) });
    }
    // A peer whose question panicked has no line.
    let mut answers: BTreeMap<usize, _> = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer.ok());
    }
    let (mut findings, mut versions) = (Vec::new(), BTreeSet::new());
    for (finding, version) in answers.into_values() {
        findings.push(finding);
        versions.extend(version);
    }
    if let Some(finding) = compare(&versions) {
        findings.push(finding);
    }
    findings
}

fn compare(versions: &BTreeSet<String>) -> Option<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let others: Vec<_> = versions.iter().filter(|version| *version != own).collect();
    if versions.is_empty() {
        return None;
    }
    if others.is_empty() {
        return Some(Finding::ok("versions", format!("all peers run {own}")));
    }
    let others: Vec<_> = others.into_iter().map(String::as_str).collect();
    let found = format!("this is {own}, peers run {}", others.join(", "));
    let remedy = "fine during an upgrade; finish it within a day";
    Some(Finding::warn("versions", found, remedy))
}

async fn ask(cluster: Cluster, peer: Peer, status: bool) -> (Finding, Option<String>) {
    let address = &peer.address;
    let begun = Instant::now();
    let described: Result<ClusterDescription, CallFailure> = cluster
        .call_node::<(), _>(address, Operation::Directory, None)
        .await;
    let took = begun.elapsed();
    let described = match described {
        Ok(described) => described,
        Err(error) => {
            let remedy = "is it up, is the port open from here, and do both believe each other's \
                          authorities?";
            return (Finding::fail("peers", chain(&error), remedy), None);
        }
    };
    let answered = described.answered_by;
    if let Some(expected) = peer.node.filter(|expected| *expected != answered) {
        let found = format!("{address} is node {answered}, the seeds say {expected}");
        return (Finding::fail("peers", found, "correct the seeds"), None);
    }
    // Approvers and edges may not ask for a node's status; its version is not theirs to judge.
    let version = match status {
        false => None,
        true => cluster
            .call_node::<(), NodeStatus>(address, Operation::Status, None)
            .await
            .ok()
            .map(|status| status.version),
    };
    let found = format!("{address} is node {answered}, answered in {took:.0?}");
    let finding = if described.cluster.is_none() {
        let remedy = "initialise the cluster: `bailiwick operator init`";
        Finding::warn("peers", format!("{found}, not initialised"), remedy)
    } else if took > SLOW {
        let remedy =
            "the first call includes a handshake; when it stays slow, raise [raft] timings";
        Finding::warn("peers", found, remedy)
    } else {
        Finding::ok("peers", found)
    };
    (finding, version)
}
