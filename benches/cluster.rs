//! Records on their way to a quorum's disks: three vault nodes, six approvers and an edge in ten
//! processes on the loopback, mutual TLS everywhere.
//!
//! - sealed blocks of 1,000, sealed before the time begins: what replication takes;
//! - the same sealed on the way by this process, as a backend with the SDK does;
//! - JSON in batches of 1,000 over HTTPS through the edge process.
//!
//! The client runs on the same cores as all of the cluster, and its share is part of every figure.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bailiwick_benches::cluster::{BenchCluster, Lanes, hand_in, shard};
use bailiwick_benches::goal::Goal;
use bailiwick_benches::records::{BATCH, to_hand_in, to_seal};
use bailiwick_benches::service::serve_if_asked;
use bailiwick_client::now;
use bailiwick_client::sealing::{Sealed, Sealing};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use tokio::runtime::Runtime;

/// Blocks that each lane or client hands in, one after the other, in one round.
const BLOCKS: usize = 5;

fn main() -> ExitCode {
    if let Some(code) = serve_if_asked() {
        return code;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            bailiwick_cli::output::note(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure() -> anyhow::Result<()> {
    let mut criterion = bailiwick_benches::criterion();
    let runtime = Runtime::new().context("start the runtime")?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let cluster = runtime.block_on(BenchCluster::start(folder))?;
    let put = sealed_ahead(&mut criterion, &runtime, &cluster)?;
    sealed_on_the_way(&mut criterion, &runtime, &cluster)?;
    let json = through_the_edge(&mut criterion, &runtime, &cluster)?;
    criterion.final_summary();
    put.print();
    json.print();
    Ok(())
}

/// A group whose samples are one round each.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sampling_mode(SamplingMode::Flat)
        .measurement_time(Duration::from_secs(4));
    group
}

/// Runs rounds, notes their rate, and keeps the first error for after the bench.
fn rounds(
    rounds: u64,
    records: usize,
    failed: &mut Option<anyhow::Error>,
    mut note: impl FnMut(usize, Duration),
    mut round: impl FnMut() -> anyhow::Result<Duration>,
) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..rounds {
        match round() {
            Ok(this) => {
                note(records, this);
                took += this;
            }
            Err(error) => {
                failed.get_or_insert(error);
                // Criterion refuses a time of zero.
                took += Duration::from_secs(1);
            }
        }
    }
    took
}

fn sealed_ahead(
    criterion: &mut Criterion,
    runtime: &Runtime,
    cluster: &BenchCluster,
) -> anyhow::Result<Goal> {
    let mut goal = Goal::new(
        "durable put of sealed blocks of 1,000 on 3 nodes, 4 lanes",
        40_000.0,
    );
    let (client, identity) = (cluster.as_edge()?, cluster.sealing_identity()?);
    let mut group = group(criterion, "put sealed blocks of 1,000 on 3 nodes");
    let mut failed = None;
    for count in [1, 4, 8] {
        let mut lanes = runtime.block_on(Lanes::open(&client, &identity, count))?;
        let records = count * BLOCKS * BATCH;
        group.throughput(Throughput::Elements(records as u64));
        let note = |records, took| {
            if count == 4 {
                goal.note(records, took)
            }
        };
        let mut note = note;
        group.bench_function(format!("{count} under way"), |bencher| {
            bencher.iter_custom(|count| {
                rounds(count, records, &mut failed, &mut note, || {
                    let blocks = lanes.seal_ahead(BLOCKS)?;
                    runtime.block_on(lanes.put(blocks))
                })
            });
        });
    }
    group.finish();
    failed.map_or(Ok(goal), Err)
}

fn sealed_on_the_way(
    criterion: &mut Criterion,
    runtime: &Runtime,
    cluster: &BenchCluster,
) -> anyhow::Result<()> {
    const LANES: usize = 4;
    let (client, identity) = (cluster.as_edge()?, Arc::new(cluster.sealing_identity()?));
    let entered = runtime.enter();
    let sealing = Sealing::start(client, shard(), identity, LANES);
    drop(entered);
    let mut group = group(criterion, "seal and put 1,000 on 3 nodes");
    let records = LANES * BLOCKS * BATCH;
    group.throughput(Throughput::Elements(records as u64));
    let mut failed = None;
    group.bench_function(format!("{LANES} under way"), |bencher| {
        bencher.iter_custom(|count| {
            rounds(
                count,
                records,
                &mut failed,
                |_, _| {},
                || {
                    let jobs: Vec<_> = (0..LANES * BLOCKS).map(|_| to_seal(BATCH, now())).collect();
                    runtime.block_on(async {
                        let begun = Instant::now();
                        let put = jobs.into_iter().map(|job| sealing.put(job, 1));
                        for results in futures::future::try_join_all(put).await? {
                            ensure!(
                                results.iter().all(|result| *result == Sealed::Stored),
                                "not stored"
                            );
                        }
                        Ok(begun.elapsed())
                    })
                },
            )
        });
    });
    group.finish();
    failed.map_or(Ok(()), Err)
}

fn through_the_edge(
    criterion: &mut Criterion,
    runtime: &Runtime,
    cluster: &BenchCluster,
) -> anyhow::Result<Goal> {
    let mut goal = Goal::new(
        "JSON through an edge process to durable, batches of 1,000, 4 clients",
        20_000.0,
    );
    let backend = cluster.backend()?;
    let mut group = group(criterion, "JSON batches of 1,000 through the edge");
    let mut failed = None;
    for count in [1, 4] {
        let clients = vec![backend.clone(); count];
        let records = count * BLOCKS * BATCH;
        group.throughput(Throughput::Elements(records as u64));
        let mut note = |records, took| {
            if count == 4 {
                goal.note(records, took)
            }
        };
        group.bench_function(format!("{count} clients"), |bencher| {
            bencher.iter_custom(|rounds_asked| {
                rounds(rounds_asked, records, &mut failed, &mut note, || {
                    let batch = |_| to_hand_in(BATCH, now());
                    let batches = (0..count)
                        .map(|_| (0..BLOCKS).map(batch).collect())
                        .collect();
                    runtime.block_on(hand_in(&clients, batches))
                })
            });
        });
    }
    group.finish();
    failed.map_or(Ok(goal), Err)
}
