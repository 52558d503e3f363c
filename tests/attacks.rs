//! Attacks against a real cluster over real TLS, one module for each kind of attacker. The stories take
//! turns with one cluster, and have subjects of their own.

use bailiwick_tests::Running;
use bailiwick_tests::shared::Shared;

#[path = "attacks/certificates.rs"]
mod certificates;
#[path = "attacks/edges.rs"]
mod edges;
#[path = "attacks/forks.rs"]
mod forks;
#[path = "attacks/members.rs"]
mod members;
#[path = "attacks/recipients.rs"]
mod recipients;
#[path = "attacks/roles.rs"]
mod roles;

static CLUSTER: Shared = Shared::new();
/// Just enough of both committees.
const BOTH_QUORUMS: [&str; 4] = ["anna", "ben", "dora", "emil"];

async fn story(tell: impl AsyncFnOnce(&mut Running) -> anyhow::Result<()>) -> anyhow::Result<()> {
    CLUSTER
        .story(env!("CARGO_BIN_EXE_bailiwick-process"), tell)
        .await
}
