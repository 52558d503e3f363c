//! The construction on one core (docs/cryptography.md sections 5 to 9): opening a session, sealing,
//! a member's values, opening, and checking a block's manifest.

use std::time::Instant;

use bailiwick_benches::goal::Goal;
use bailiwick_benches::records::{BATCH, to_seal};
use bailiwick_benches::world::{EDGE, NOW, World, inputs, selected};
use bailiwick_envelope::IdentityKey;
use bailiwick_types::Role;
use criterion::{BatchSize, Criterion, Throughput};

/// Committees of both roles: two of three, and three of five.
const COMMITTEES: [(u8, u8); 2] = [(2, 3), (3, 5)];

fn main() {
    let mut criterion = bailiwick_benches::criterion();
    let mut goal = Goal::new("seal on one core, 2-of-3 twice", 150_000.0);
    for (needed, members) in COMMITTEES {
        let mut world = World::new(needed, members);
        let committee = format!("{needed}-of-{members} twice");
        sessions(&mut criterion, &mut world, &committee);
        seal(&mut criterion, &mut world, &committee, &mut goal);
        disclosure(&mut criterion, &mut world, &committee);
    }
    manifest(&mut criterion, &mut World::new(2, 3));
    criterion.final_summary();
    goal.print();
}

/// The edge opens a session; a member opens its part of it.
fn sessions(criterion: &mut Criterion, world: &mut World, committee: &str) {
    let mut group = criterion.benchmark_group("session");
    group.bench_function(format!("open/{committee}"), |bencher| {
        bencher.iter(|| world.open_session());
    });
    let (header, _) = world.open_session();
    let header = world.verify(header);
    group.bench_function(format!("open a member's part/{committee}"), |bencher| {
        bencher.iter(|| world.part(&header, Role::Workflow, 1));
    });
    group.finish();
}

/// Blocks of 1,000 records; a session is left behind before its blocks are used up.
fn seal(criterion: &mut Criterion, world: &mut World, committee: &str, goal: &mut Goal) {
    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::Elements(BATCH as u64));
    let records = to_seal(BATCH, NOW);
    let (_, mut sealer) = world.open_session();
    group.bench_function(format!("block of 1,000/{committee}"), |bencher| {
        bencher.iter_custom(|rounds| {
            let mut took = std::time::Duration::ZERO;
            for _ in 0..rounds {
                if sealer.is_exhausted(NOW) {
                    (_, sealer) = world.open_session();
                }
                let begun = Instant::now();
                let block = sealer
                    .seal(&records, 1, NOW)
                    .expect("the session has blocks left");
                took += begun.elapsed();
                drop(block);
            }
            if committee.starts_with("2-of-3") {
                goal.note(BATCH * rounds as usize, took);
            }
            took
        });
    });
    group.finish();
}

/// One member's values, and a recipient's opening with a quorum of both roles.
fn disclosure(criterion: &mut Criterion, world: &mut World, committee: &str) {
    let (header, mut sealer) = world.open_session();
    let header = world.verify(header);
    let block = sealer
        .seal(&to_seal(BATCH, NOW), 1, NOW)
        .expect("the first block of its session");
    let records = selected(&header, &block);
    let mut group = criterion.benchmark_group("disclosure");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut part = world.part(&header, Role::Workflow, 1);
    let inputs = inputs(&records);
    group.bench_function(
        format!("a member's values of 1,000/{committee}"),
        |bencher| {
            bencher.iter(|| part.values(0, &inputs));
        },
    );
    let partials = world.partials(&header, &records);
    let opening = world
        .open(&records, &partials)
        .expect("honest members open");
    assert_eq!((opening.records.len(), opening.unopened.len()), (BATCH, 0));
    group.bench_function(format!("open 1,000/{committee}"), |bencher| {
        bencher.iter(|| world.open(&records, &partials));
    });
    group.finish();
}

/// What every replica checks of a block before it stores it.
fn manifest(criterion: &mut Criterion, world: &mut World) {
    let (_, mut sealer) = world.open_session();
    let block = sealer
        .seal(&to_seal(BATCH, NOW), 1, NOW)
        .expect("the first block of its session");
    let (key, edge) = (
        IdentityKey::of(&world.edge_key),
        EDGE.parse().expect("a valid name"),
    );
    assert!(world.verify_block(block.clone(), &key, &edge));
    let mut group = criterion.benchmark_group("manifest");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("verify a block of 1,000", |bencher| {
        bencher.iter_batched(
            || block.clone(),
            |block| world.verify_block(block, &key, &edge),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}
