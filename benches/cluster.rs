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
use bailiwick_benches::processor::Reading;
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
    let start = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        runtime.block_on(BenchCluster::start(folder))
    };
    // A cluster each, and what is held against a goal first: a store that fills gets slower.
    let cluster = start()?;
    let put = sealed_ahead(&mut criterion, &runtime, &cluster)?;
    sealed_on_the_way(&mut criterion, &runtime, &cluster)?;
    drop(cluster);
    let json = through_the_edge(&mut criterion, &runtime, &start()?)?;
    criterion.final_summary();
    put.print();
    json.print();
    Ok(())
}

/// A group whose samples are one round each.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.measurement_time(Duration::from_secs(4));
    group
}

/// Rounds of one figure: how many records each has, what they took, and the first error, which
/// criterion has no way to pass on.
struct Rounds {
    what: String,
    records: usize,
    taken: Vec<Duration>,
    failed: Option<anyhow::Error>,
    before: Reading,
}

impl Rounds {
    fn new(what: String, blocks: usize) -> Self {
        let records = blocks * BATCH;
        Self {
            what,
            records,
            taken: Vec::new(),
            failed: None,
            before: Reading::take(),
        }
    }

    /// Measures `round`, as often as criterion asks.
    fn run(
        &mut self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        mut round: impl FnMut() -> anyhow::Result<Duration>,
    ) {
        group.throughput(Throughput::Elements(self.records as u64));
        let what = self.what.clone();
        group.bench_function(what, |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| self.one(&mut round)).sum());
        });
    }

    fn one(&mut self, round: &mut impl FnMut() -> anyhow::Result<Duration>) -> Duration {
        match round() {
            Ok(took) => {
                self.taken.push(took);
                took
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                // Criterion refuses a time of zero.
                Duration::from_secs(1)
            }
        }
    }

    /// Prints what a record cost, notes the rates for a goal, and tells the first error.
    fn end(self, goal: Option<&mut Goal>) -> anyhow::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let records = self.records * self.taken.len();
        Reading::take().print_since(&self.before, &self.what, records);
        if let Some(goal) = goal {
            self.taken
                .iter()
                .for_each(|took| goal.note(self.records, *took));
        }
        Ok(())
    }
}

fn sealed_ahead(
    criterion: &mut Criterion,
    runtime: &Runtime,
    cluster: &BenchCluster,
) -> anyhow::Result<Goal> {
    let mut goal = Goal::new(
        "durable put of sealed blocks of 1,000, 3 nodes, 4 lanes",
        40_000.0,
    );
    let (client, identity) = (cluster.as_edge()?, cluster.sealing_identity()?);
    let mut group = group(criterion, "put sealed blocks of 1,000 on 3 nodes");
    for count in [4, 1] {
        let mut lanes = runtime.block_on(Lanes::open(&client, &identity, count))?;
        let mut rounds = Rounds::new(format!("{count} under way"), count * BLOCKS);
        rounds.run(&mut group, || {
            let blocks = lanes.seal_ahead(BLOCKS)?;
            runtime.block_on(lanes.put(blocks))
        });
        rounds.end((count == 4).then_some(&mut goal))?;
    }
    group.finish();
    Ok(goal)
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
    let mut rounds = Rounds::new(format!("{LANES} lanes"), LANES * BLOCKS);
    rounds.run(&mut group, || {
        let jobs: Vec<_> = (0..LANES * BLOCKS).map(|_| to_seal(BATCH, now())).collect();
        runtime.block_on(async {
            let begun = Instant::now();
            let put = jobs.into_iter().map(|job| sealing.put(job, 1));
            for results in futures::future::try_join_all(put).await? {
                let stored = results.iter().all(|result| *result == Sealed::Stored);
                ensure!(stored, "a record is not stored");
            }
            Ok(begun.elapsed())
        })
    });
    rounds.end(None)?;
    group.finish();
    Ok(())
}

fn through_the_edge(
    criterion: &mut Criterion,
    runtime: &Runtime,
    cluster: &BenchCluster,
) -> anyhow::Result<Goal> {
    let what = "JSON through an edge process to durable, batches of 1,000, 4 clients";
    let mut goal = Goal::new(what, 20_000.0);
    let backend = cluster.backend()?;
    let mut group = group(criterion, "JSON batches of 1,000 through the edge");
    for count in [4, 1] {
        let clients = vec![backend.clone(); count];
        let mut rounds = Rounds::new(format!("{count} clients"), count * BLOCKS);
        rounds.run(&mut group, || {
            let batch = |_| to_hand_in(BATCH, now());
            let batches = (0..count).map(|_| (0..BLOCKS).map(batch).collect());
            runtime.block_on(hand_in(&clients, batches.collect()))
        });
        rounds.end((count == 4).then_some(&mut goal))?;
    }
    group.finish();
    Ok(goal)
}
