//! The whole matrix, role by operation, against a text written by hand from the design.

use std::collections::BTreeSet;

use bailiwick_transport::{CallError, Operation, RefusalReason, ServerOptions, allowed};
use bailiwick_types::PeerRole;
use bytes::Bytes;

use crate::support::{Rig, SOON};

/// Who may call what. Everything else is denied.
const GOLDEN: &str = "
raft-append: vault
raft-vote: vault
raft-pre-vote: vault
raft-snapshot: vault
raft-transfer: vault
raft-checkpoint: vault
directory: vault edge intake approver-workflow approver-legal-review reviewer recipient operator auditor witness
status: operator auditor vault
administer-cluster: operator
create-jurisdiction: operator
change-policy: operator
enrol: operator
revoke: operator
save-snapshot: operator
read-directory: vault operator auditor
change-directory: operator
begin-node: vault
report-groups: vault operator auditor
step-group: vault
transfer-group: operator
check-placement: operator auditor
open-session: edge
append-block: edge
session-status: edge operator
acknowledge-session: approver-workflow approver-legal-review
call-for-keys: operator
offer-keys: approver-workflow approver-legal-review
sign-certificate: approver-workflow approver-legal-review
read-certificate: vault edge intake approver-workflow approver-legal-review reviewer recipient operator auditor witness
cosign: approver-workflow approver-legal-review
read-log: intake approver-workflow approver-legal-review reviewer recipient operator auditor witness
attend: approver-workflow approver-legal-review
submit-request: intake
decide: reviewer
recall-request: intake operator
freeze: operator
read-request: intake approver-workflow approver-legal-review reviewer recipient operator auditor
list-requests: intake approver-workflow approver-legal-review reviewer recipient operator auditor
read-evidence: approver-workflow approver-legal-review
hold: intake
list-labels: intake auditor
append-release: approver-workflow approver-legal-review
put-partial: approver-workflow approver-legal-review
read-partials: recipient
read-ciphertext: recipient
acknowledge-delivery: recipient
freeze-part: vault
read-part-inputs: vault
mirror-home: vault
check-release: vault
read-part: approver-workflow approver-legal-review
put-records: backend
edge-status: operator backend
";

fn golden() -> BTreeSet<(String, String)> {
    let lines = GOLDEN.lines().filter(|line| !line.is_empty());
    lines
        .flat_map(|line| {
            let (operation, roles) = line.split_once(": ").expect("operation: roles");
            roles
                .split(' ')
                .map(|role| (operation.to_owned(), role.to_owned()))
        })
        .collect()
}

#[test]
fn every_role_and_operation_is_as_the_golden_table_says() {
    let golden = golden();
    let mut seen = BTreeSet::new();
    for operation in Operation::ALL {
        for role in PeerRole::ALL {
            let cell = (operation.as_str().to_owned(), role.as_str().to_owned());
            assert_eq!(
                allowed(role, *operation),
                golden.contains(&cell),
                "{cell:?}"
            );
            seen.insert(cell);
        }
    }
    assert!(
        golden.is_subset(&seen),
        "the golden table names what does not exist"
    );
}

/// The gate stands in the server: every role is tried for every operation over the wire, against a
/// handler that would answer anything.
#[tokio::test]
async fn the_server_asks_the_matrix_before_the_handler_runs() {
    let golden = golden();
    let rig = Rig::new(ServerOptions::default()).await;
    let mut denied = 0;
    let mut not_served = 0;
    for role in PeerRole::ALL {
        let uri = match role {
            PeerRole::Vault => "spiffe://bailiwick.example/vault/eu-west/9".to_owned(),
            role => format!("spiffe://bailiwick.example/{role}/one"),
        };
        let client = rig.client(&uri).await;
        for operation in Operation::ALL {
            let waits = [Operation::SessionStatus, Operation::ReadCertificate];
            let may = golden.contains(&(operation.to_string(), role.to_string()));
            if may && waits.contains(operation) {
                continue;
            }
            let before = rig.server.counters().calls();
            let result = client.call(*operation, Bytes::new(), SOON).await;
            let ran = rig.server.counters().calls() - before;
            let here = !matches!(operation, Operation::PutRecords | Operation::EdgeStatus);
            match (may, here) {
                (false, _) => {
                    assert_eq!(result, Err(CallError::NotAuthorised), "{role} {operation}");
                    denied += 1;
                }
                (true, false) => {
                    assert_eq!(result, Err(CallError::NotServed), "{role} {operation}");
                    not_served += 1;
                }
                (true, true) => assert!(
                    matches!(result, Ok(_) | Err(CallError::Refused { code: 77, .. })),
                    "{role} {operation} {result:?}"
                ),
            }
            assert_eq!(ran, u64::from(may && here), "{role} {operation}");
        }
    }
    let counters = rig.server.counters();
    assert_eq!(counters.refused(RefusalReason::NotAuthorised), denied);
    assert_eq!(counters.refused(RefusalReason::NotServed), not_served);
}
