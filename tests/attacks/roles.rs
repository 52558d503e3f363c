//! Certificates of the wrong role: what each may ask is written down here once more, by hand, and not
//! taken from the table that is tested.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_api::edge::{PutRecords, RecordStatus};
use bailiwick_client::edge_http::EdgeClient;
use bailiwick_tests::{inside, ip, window};
use bailiwick_transport::{
    CallError, ConnectOptions, Connection, ExpectedPeer, Operation, ServedBy, StreamError,
    TlsIdentity,
};
use bailiwick_types::PeerRole;
use bytes::Bytes;

use crate::story;

const DEADLINE: Duration = Duration::from_secs(5);

/// What somebody of each role may ask a vault, by the operations' names.
const MAY: [(&str, &str); 11] = [
    (
        "vault-2",
        "raft-append raft-vote raft-pre-vote raft-snapshot raft-transfer raft-checkpoint directory \
         status read-certificate read-directory begin-node report-groups step-group freeze-part \
         read-part-inputs mirror-home check-release",
    ),
    (
        "edge-1",
        "directory open-session append-block session-status read-certificate",
    ),
    ("backend-1", ""),
    (
        "intake-1",
        "directory read-certificate read-log submit-request recall-request read-request \
         list-requests hold list-labels",
    ),
    (
        "workflow-1",
        "directory read-certificate read-log acknowledge-session offer-keys sign-certificate cosign \
         attend read-request list-requests read-evidence read-part append-release put-partial",
    ),
    (
        "legal-1",
        "directory read-certificate read-log acknowledge-session offer-keys sign-certificate cosign \
         attend read-request list-requests read-evidence read-part append-release put-partial",
    ),
    (
        "anna",
        "directory read-certificate read-log decide read-request list-requests",
    ),
    (
        "desk-1",
        "directory read-certificate read-log read-request list-requests read-partials \
         read-ciphertext acknowledge-delivery",
    ),
    (
        "operator-1",
        "directory read-certificate read-log status administer-cluster create-jurisdiction \
         change-policy enrol revoke save-snapshot read-directory change-directory report-groups \
         transfer-group check-placement session-status call-for-keys recall-request freeze read-request \
         list-requests",
    ),
    (
        "auditor-1",
        "directory read-certificate read-log status read-directory report-groups check-placement \
         read-request list-requests list-labels",
    ),
    ("witness", "directory read-certificate read-log"),
];

/// How a vault answers to an operation without a message, as a call.
async fn call(connection: &Connection, operation: Operation) -> Result<(), CallError> {
    let answered = connection.call(operation, Bytes::new(), DEADLINE).await;
    answered.map(|_| ())
}

/// The same as a stream; an empty header is refused by whatever would serve it.
async fn stream(connection: &Connection, operation: Operation) -> anyhow::Result<CallError> {
    let (_sender, mut receiver) = connection.open(operation, Bytes::new()).await?;
    match tokio::time::timeout(DEADLINE, receiver.recv()).await? {
        Err(StreamError::Refused(error)) => Ok(error),
        other => anyhow::bail!("stream {operation} was not refused: {other:?}"),
    }
}

async fn check(who: &str, may: &str, vault: &Connection) -> anyhow::Result<()> {
    let may: Vec<&str> = may.split_whitespace().collect();
    let known = |name: &&str| Operation::ALL.iter().any(|o| o.as_str() == *name);
    ensure!(may.iter().all(known), "the table names operations");
    for operation in Operation::ALL {
        let answer = call(vault, *operation).await;
        let denied = answer == Err(CallError::NotAuthorised);
        if operation.served_by() == ServedBy::Edge {
            let absent = answer == Err(CallError::NotServed);
            ensure!(denied || absent, "{who}: {operation}: {answer:?}");
        } else if may.contains(&operation.as_str()) {
            ensure!(!denied, "{who} may {operation}");
        } else {
            ensure!(denied, "{who} may not {operation}, but: {answer:?}");
            let streamed = stream(vault, *operation).await?;
            ensure!(
                streamed == CallError::NotAuthorised,
                "{who} may not stream {operation}, but: {streamed:?}"
            );
        }
    }
    Ok(())
}

/// Attacks 10: every role's certificate tries every operation, as a call and as a stream, at the node
/// that leads a jurisdiction; and every one but a backend's tries to hand in records at the edge.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_wrong_role_cannot_do_anothers_work() -> anyhow::Result<()> {
    story(async |cluster| {
        let vault = cluster.vaults().remove(0);
        let edge = format!("127.0.0.1:{}", cluster.stage.layout.ports().edge());
        let record = ip("roles", "FR", "192.0.2.9", 4009, &inside(window(), 2));
        let records = PutRecords {
            records: vec![record],
        };
        let (witness, _) = cluster.stranger(PeerRole::Witness, "witness-1")?;
        for (who, may) in MAY {
            let tls: Arc<TlsIdentity> = match who {
                "witness" => witness.clone(),
                known => cluster.tls(known)?,
            };
            let options = ConnectOptions::default();
            let connected = Connection::connect(&vault, &tls, ExpectedPeer::vault(), options).await;
            let connection = connected.with_context(|| format!("{who} connects"))?;
            check(who, may, &connection).await?;

            let put = EdgeClient::new(edge.clone(), tls, DEADLINE)
                .put(&records)
                .await;
            if who == "backend-1" {
                let status = put?.results[0].status;
                ensure!(status == RecordStatus::Stored, "a backend may: {status:?}");
            } else {
                ensure!(put.is_err(), "{who} hands in no records: {put:?}");
            }
        }
        Ok(())
    })
    .await
}
