//! How a cluster of three vault processes carries hundreds of jurisdictions on one machine: creating
//! them, the processor and memory that they take while nothing happens, and durable commands to many
//! groups at once against one.
//!
//! ```text
//! cargo run --release -p bailiwick-benches --example scale [-- JURISDICTIONS]
//! ```
//! A few minutes. No approvers attend, so that what is measured is replication. A command enrols an
//! intake service: about 200 bytes and a leaf of the log.
#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bailiwick_api::cluster::Enrolment;
use bailiwick_benches::service::{NODES, SERVE, serve_if_asked};
use bailiwick_cli::commands::operator::NodesFile;
use bailiwick_cli::connect;
use bailiwick_cli::dev::ceremony::wait_ready;
use bailiwick_cli::dev::create::create;
use bailiwick_cli::dev::layout::{JURISDICTIONS, Layout, OPERATOR, name};
use bailiwick_cli::dev::ports::Ports;
use bailiwick_cli::dev::supervise::Fleet;
use bailiwick_cli::profile::Profile;
use bailiwick_client::now;
use bailiwick_client::operator::Operator;
use bailiwick_types::{Digest, Jurisdiction};

/// Jurisdictions created at once.
const LANES: usize = 8;
/// After creation, before the idle figures are taken.
const SETTLE: Duration = Duration::from_secs(15);
/// How long the idle figures are taken.
const IDLE: Duration = Duration::from_secs(30);
/// How long commands are counted.
const BUSY: Duration = Duration::from_secs(10);
/// Commands under way at once, to one group or shared out among many.
const UNDER_WAY: usize = 64;
/// Groups that are active at once.
const ACTIVE: usize = 64;
/// Creation may take this long before it is given up.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    if let Some(code) = serve_if_asked() {
        return code;
    }
    let asked = std::env::args().nth(1).and_then(|count| count.parse().ok());
    let measured = tokio::runtime::Runtime::new()
        .context("start the runtime")
        .and_then(|runtime| runtime.block_on(measure(asked.unwrap_or(250))));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            bailiwick_cli::output::note(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn measure(wanted: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let ports = (0..100).map(|_| rand::random_range(10_000..30_000_u16));
    let port = ports
        .into_iter()
        .find(|base| Ports::from_base(*base).check_free().is_ok())
        .context("no free ports on the loopback")?;
    let layout = create(&folder.path().join("cluster"), port, now())?;
    let fleet = start(&layout).await?;
    let mut profile = Profile::load(&layout.profile(OPERATOR))?;
    profile.seeds.truncate(NODES);
    let operator = Operator::new(connect::cluster(&profile)?);
    let mut nodes = NodesFile::load(&layout.root().join("nodes.toml"))?.nodes;
    nodes.truncate(NODES);
    operator.initialise(nodes).await.context("initialise")?;

    let codes = codes(wanted);
    let begun = Instant::now();
    create_all(&operator, &codes).await?;
    let answered = begun.elapsed();
    all_serve(&operator, &codes).await?;
    println!(
        "{} jurisdictions on {NODES} nodes: created in {:.1} s (answered after {:.1} s), at most 60 s are wanted",
        codes.len(),
        begun.elapsed().as_secs_f64(),
        answered.as_secs_f64(),
    );
    tokio::time::sleep(SETTLE).await;
    let terms = terms(&operator).await?;
    idle().await?;
    let one = rate(&operator, &codes[..1]).await?;
    let many = rate(&operator, &codes[..ACTIVE.min(codes.len())]).await?;
    println!(
        "durable commands, {UNDER_WAY} under way: one group {one:.0}/s, {ACTIVE} groups {many:.0}/s: {:.2} of one group's rate, at least 0.50 is wanted",
        many / one
    );
    let elections = self::terms(&operator).await?.saturating_sub(terms);
    println!("elections at rest and under load: {elections}, none is wanted");
    drop(fleet);
    Ok(())
}

async fn start(layout: &Layout) -> anyhow::Result<Fleet> {
    let mut fleet = Fleet::new(&layout.logs())?;
    for number in 1..=NODES {
        let id = format!("vault-{number}");
        let service = layout.service_of(&id).context("a vault of the layout")?;
        let config = service.config.display().to_string();
        fleet.start(&id, &[SERVE.to_owned(), "vault".to_owned(), config])?;
        wait_ready(&id, service.health, "/livez").await?;
    }
    Ok(fleet)
}

/// So many assigned country codes, or all there are.
fn codes(wanted: usize) -> Vec<Jurisdiction> {
    let letters = || 'A'..='Z';
    let all = letters().flat_map(|first| letters().map(move |second| format!("{first}{second}")));
    all.filter_map(|code| code.parse().ok())
        .take(wanted)
        .collect()
}

async fn create_all(operator: &Operator, codes: &[Jurisdiction]) -> anyhow::Result<()> {
    let lane = |codes: Vec<Jurisdiction>| async move {
        for code in codes {
            let regions = vec![name(JURISDICTIONS[0].1)];
            let created = operator.create_jurisdiction(code, regions, 3, Digest([7; 32]));
            created.await.with_context(|| format!("create {code}"))?;
        }
        anyhow::Ok(())
    };
    let lanes = codes.chunks(codes.len().div_ceil(LANES).max(1));
    futures::future::try_join_all(lanes.map(|codes| lane(codes.to_vec()))).await?;
    Ok(())
}

/// A jurisdiction serves when a command to it is acknowledged.
async fn all_serve(operator: &Operator, codes: &[Jurisdiction]) -> anyhow::Result<()> {
    let begun = Instant::now();
    for (number, code) in codes.iter().enumerate() {
        while enrol(operator, *code, number).await.is_err() {
            ensure!(begun.elapsed() < PATIENCE, "{code} does not serve");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

async fn enrol(operator: &Operator, code: Jurisdiction, number: usize) -> anyhow::Result<()> {
    let name = name(&format!("intake-{number}"));
    Ok(operator.enrol(code, Enrolment::Intake { name }).await?)
}

/// The terms of all groups, summed: it grows by one with every election.
async fn terms(operator: &Operator) -> anyhow::Result<u64> {
    let mut terms = BTreeMap::new();
    for (_, status) in operator.status().await? {
        for group in status?.groups {
            let known: &mut u64 = terms.entry(group.id).or_default();
            *known = group.term.max(*known);
        }
    }
    Ok(terms.values().sum())
}

/// Processor and memory of each node while nothing is asked of it.
async fn idle() -> anyhow::Result<()> {
    let nodes = children()?;
    let before: Vec<f64> = nodes.iter().map(|node| seconds(*node)).collect();
    tokio::time::sleep(IDLE).await;
    for (node, before) in nodes.into_iter().zip(before) {
        let share = (seconds(node) - before) / IDLE.as_secs_f64() * 100.0;
        println!(
            "idle: process {node}: {share:.1} % of a core (at most 3 % are wanted), {:.0} MB resident (at most 200 MB), {} threads",
            status(node, "VmRSS:") / 1024.0,
            status(node, "Threads:"),
        );
    }
    Ok(())
}

fn children() -> anyhow::Result<Vec<u32>> {
    let own = std::process::id();
    let tasks = Path::new("/proc").join(own.to_string()).join("task");
    let mut children = Vec::new();
    for task in std::fs::read_dir(tasks)? {
        let text = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(
            text.split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
    }
    Ok(children)
}

/// Processor seconds in user and system so far.
fn seconds(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let fields: Vec<f64> = fields
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    fields
        .get(11..13)
        .map_or(0.0, |ticks| ticks.iter().sum::<f64>() / 100.0)
}

fn status(process: u32, field: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Acknowledged commands a second, with as many under way to these groups in turn.
async fn rate(operator: &Operator, codes: &[Jurisdiction]) -> anyhow::Result<f64> {
    let (done, stop) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
    let begun = Instant::now();
    let worker = |worker: usize| {
        let (done, stop) = (&done, stop.clone());
        async move {
            let code = codes[worker % codes.len()];
            while !stop.load(Ordering::Relaxed) {
                enrol(operator, code, worker).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }
    };
    let workers = futures::future::try_join_all((0..UNDER_WAY).map(worker));
    let timer = async {
        tokio::time::sleep(BUSY).await;
        stop.store(true, Ordering::Relaxed);
        Ok(())
    };
    tokio::try_join!(async { workers.await.map(drop) }, timer)?;
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}
