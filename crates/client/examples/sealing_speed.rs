//! How many records a second go through the sealing lanes into a vault that stores nothing: sealing,
//! encoding, TLS and the frames of both ends, on this machine alone.
//!
//! `cargo run --release -p bailiwick-client --example sealing_speed`
#![allow(
    clippy::print_stdout,
    reason = "an example shows its figures to whoever runs it"
)]
#![allow(dead_code, reason = "the tests' scripted vault can do more")]

#[path = "../tests/client/support.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_api::cluster::Accepted;
use bailiwick_api::session::{BlockStored, SessionState};
use bailiwick_client::sealing::{MemoryHighWater, Sealing, SealingIdentity};
use bailiwick_envelope::SigningKey;
use bailiwick_envelope::record::{PhoneRecord, Plaintext};
use bailiwick_threshold::RecordToSeal;
use bailiwick_transport::Operation;
use bailiwick_types::{RecordId, SubjectPseudonym};
use support::{Vault, World, answer, cluster, directory, home, name};
use tokio::net::TcpListener;

const RUN: Duration = Duration::from_secs(4);

fn record() -> RecordToSeal {
    RecordToSeal {
        record: RecordId(rand::random()),
        subject: SubjectPseudonym(rand::random()),
        plaintext: Plaintext::Phone(PhoneRecord {
            digits: "33612345678".to_owned(),
            confirmed_at: bailiwick_client::now().minus(Duration::from_secs(60)),
        }),
    }
}

async fn vault(world: &World) -> Vault {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let own = listener.local_addr().expect("bound").to_string();
    let certificates = world.certificates();
    let script = move |operation, _: &bytes::Bytes| match operation {
        Operation::Directory => answer(&directory(std::slice::from_ref(&own))),
        Operation::ReadCertificate => answer(&certificates),
        Operation::OpenSession => answer(&Accepted),
        Operation::SessionStatus => answer(&SessionState::Confirmed),
        _ => answer(&BlockStored {
            duplicates: Vec::new(),
        }),
    };
    Vault::on(listener, script)
}

/// Records a second with this many callers of this many records each.
async fn measure(lanes: usize, callers: usize, records: usize) -> f64 {
    let world = World::new();
    let vault = vault(&world).await;
    let identity = Arc::new(SealingIdentity {
        edge: name("edge-1"),
        key: SigningKey::from_bytes(&[42; 32]),
        trust: world.trust(),
        session_lifetime: Duration::from_secs(600),
        high_water: Arc::new(MemoryHighWater::default()),
    });
    let cluster = cluster(&[&vault], "edge", Duration::from_secs(10));
    let sealing = Arc::new(Sealing::start(cluster, home(), identity, lanes));
    sealing
        .put(vec![record()], 1)
        .await
        .expect("a first session");
    let begun = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let sealing = sealing.clone();
        running.spawn(async move {
            let mut stored = 0;
            while begun.elapsed() < RUN {
                let batch = (0..records).map(|_| record()).collect();
                stored += sealing.put(batch, 1).await.expect("stored").len();
            }
            stored
        });
    }
    let stored: usize = running.join_all().await.into_iter().sum();
    stored as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    for (lanes, callers, records) in [
        (1, 64, 1),
        (2, 64, 1),
        (2, 500, 1),
        (2, 16, 100),
        (1, 4, 1000),
        (2, 8, 1000),
    ] {
        let rate = measure(lanes, callers, records).await;
        println!("{lanes} lanes, {callers} callers, {records} records a call: {rate:.0} records/s");
    }
}
