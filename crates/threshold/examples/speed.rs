//! What the construction costs on one core: `cargo run --release --example speed`.
//!
//! Medians of 9 rounds of blocks of 4,096 records, in CPU time of the thread where Linux tells it, so that
//! other processes disturb less. Not a benchmark against peers: those run in `benches/`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "its output is its purpose"
)]

#[path = "../tests/world/mod.rs"]
mod world;

use std::time::{Duration, Instant};

use bailiwick_threshold::open_session;
use bailiwick_types::Role;
use world::*;

const RECORDS: usize = 4096;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(60);

fn main() {
    for threshold in [(2, 3), (3, 5)] {
        measure(threshold);
    }
}

/// Microseconds per item: the median of the rounds.
fn median(mut work: impl FnMut(), items: usize) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (wall, cpu) = (Instant::now(), cpu_nanoseconds());
            let mut times = 0;
            // The system counts CPU time in ticks of some milliseconds.
            while times == 0 || wall.elapsed() < ROUND {
                work();
                times += 1;
            }
            let items = items * times;
            let wall = wall.elapsed().as_secs_f64() * 1e9;
            let spent = cpu_nanoseconds()
                .zip(cpu)
                .map(|(end, begin)| (end - begin) as f64);
            spent.unwrap_or(wall) / 1e3 / items as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Nanoseconds that this thread has run, if the system tells.
fn cpu_nanoseconds() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn show(what: &str, micros: f64) {
    println!("{what:<44} {micros:>8.2} us {:>10.0} /s", 1e6 / micros);
}

fn measure((needed, members): (u8, u8)) {
    let mut world = World::with((needed, members), (needed, members));
    let mut parameters = world.parameters();
    parameters.max_block = 4096;
    let mut rng = FixedRng::new(1);
    let (header, mut sealer) = open_session(&mut rng, parameters).unwrap();
    let header = world.verify(header).unwrap();
    let records: Vec<_> = (0..RECORDS)
        .map(|number| match number % 4 {
            0 => phone(number as u8, "33612345678"),
            _ => address(number as u8, "203.0.113.9"),
        })
        .collect();
    println!("{needed}-of-{members} and {needed}-of-{members}");
    let mut block = None;
    let seal = median(
        || block = Some(sealer.seal(&records, 1, world.now).unwrap()),
        RECORDS,
    );
    show("seal a record", seal);
    let selected = selected(&header, &block.unwrap(), 0);
    let mut part = world.part(&header, Role::Workflow, slot(1));
    let inputs: Vec<_> = selected
        .iter()
        .map(|record| (record.index, record.label.record_input(&record.alpha)))
        .collect();
    let number = selected[0].label.block;
    let values = median(|| drop(part.values(number, &inputs)), RECORDS);
    show("one member's values for a record", values);
    let slots: Vec<u8> = (1..=needed).collect();
    let chunk = &selected[..1024];
    let partials = world.partials(&header, chunk, [&slots, &slots]);
    let open = median(
        || assert_eq!(world.open(chunk, &partials).unwrap().records.len(), 1024),
        1024,
    );
    show("open a record", open);
    let session = median(|| drop(world.session()), 1);
    show("open and verify a session", session);
    let acknowledge = median(|| drop(world.part(&header, Role::Workflow, slot(1))), 1);
    show("open a member's part", acknowledge);
}
