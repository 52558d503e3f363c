//! Measures proposals a second of three hosts in one process over real mutual TLS on the loopback.
//!
//! `cargo run --release -p bailiwick-consensus --example raft_throughput -- [seconds]`. Not a benchmark of
//! record: one process runs all three nodes, and its disk is the temporary directory's.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A tool for the terminal.

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bailiwick_consensus::{Host, RaftTimings};
use bytes::Bytes;
use support::{Cluster, GROUP};

async fn measure(host: &Arc<Host>, bytes: usize, under_way: usize, seconds: u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let command = Bytes::from(vec![5u8; bytes]);
    let syncs = host.log_statistics().syncs;
    let begun = Instant::now();
    let proposers: Vec<_> = (0..under_way)
        .map(|_| {
            let (host, stop, command) = (host.clone(), stop.clone(), command.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    host.propose(GROUP, command.clone()).await.unwrap();
                    latencies.push(begun.elapsed());
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for proposer in proposers {
        latencies.extend(proposer.await.unwrap());
    }
    let elapsed = begun.elapsed().as_secs_f64();
    latencies.sort();
    let rate = |count: usize| (count as f64 / elapsed).round();
    let syncs = host.log_statistics().syncs - syncs;
    println!(
        "{bytes:>7} bytes, {under_way:>3} under way: {:>6}/s, {:>6.1} MB/s, p50 {:?}, p99 {:?}, {:.0} syncs/s on the leader",
        rate(latencies.len()),
        rate(latencies.len()) * bytes as f64 / 1e6,
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
        syncs as f64 / elapsed,
    );
}

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut cluster = Cluster::new(3, RaftTimings::default(), true).await;
        cluster.start_voters().await;
        let leader = cluster.host(cluster.leader().await).clone();
        for (bytes, under_way) in [(200, 1), (200, 64), (200, 256), (200_000, 4), (200_000, 16)] {
            measure(&leader, bytes, under_way, seconds).await;
        }
        let begun = Instant::now();
        for _ in 0..500 {
            leader.read(GROUP).await.unwrap();
        }
        println!("linearizable read: {:?} each", begun.elapsed() / 500);
    });
}
