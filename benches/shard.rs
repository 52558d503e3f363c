//! What one node does with a block once it has it: apply it to the shard's state, on a record store
//! on disk and on ordered maps in memory, and append it to the write-ahead log.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bailiwick_benches::records::{BATCH, to_seal};
use bailiwick_benches::world::{EDGE, NOW, World, apply, command};
use bailiwick_shard::CommandBody;
use bailiwick_storage::{
    Disk, LogRecord, OsDisk, RecordStore, RecordStoreOptions, Wal, WalOptions,
};
use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;
use criterion::{Criterion, Throughput};

/// Bytes of a block of 1,000 records in the mix of `bailiwick_benches::records`.
const BLOCK_BYTES: usize = 161_000;
/// Commands are numbered from here, past those that made the world.
const FIRST: u64 = 1 << 32;

fn main() {
    let mut criterion = bailiwick_benches::criterion();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.expect("the target folder can be written");
    applying(&mut criterion, folder.path());
    log(&mut criterion, folder.path());
    criterion.final_summary();
}

/// Commands of a session, sealed one by one as they are needed, outside the time.
struct Blocks {
    world: World,
    sealer: bailiwick_threshold::Sealer,
    next: u64,
}

impl Blocks {
    fn new() -> Self {
        let mut world = World::new(2, 3);
        let sealer = world.session();
        Self {
            world,
            sealer,
            next: FIRST,
        }
    }

    fn next(&mut self) -> Vec<u8> {
        let block = self.sealer.seal(&to_seal(BATCH, NOW), 1, NOW);
        let block = block
            .expect("a session has more blocks than a bench takes")
            .to_wire()
            .into();
        self.next += 1;
        command(self.next, EDGE, CommandBody::AppendBlock { block })
    }

    /// The time that `take` needs for `rounds` times so many blocks at once.
    fn time(
        &mut self,
        rounds: u64,
        at_once: usize,
        mut take: impl FnMut(&mut World, &[Vec<u8>]),
    ) -> Duration {
        let mut took = Duration::ZERO;
        for _ in 0..rounds {
            let commands: Vec<_> = (0..at_once).map(|_| self.next()).collect();
            let begun = Instant::now();
            take(&mut self.world, &commands);
            took += begun.elapsed();
        }
        took
    }
}

fn applying(criterion: &mut Criterion, folder: &Path) {
    let mut group = criterion.benchmark_group("apply a block of 1,000");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut blocks = Blocks::new();
    group.bench_function("maps in memory", |bencher| {
        bencher.iter_custom(|rounds| {
            blocks.time(rounds, 1, |world, commands| {
                let taken = apply(&mut world.store, &commands[0]);
                taken.expect("the block is its session's next");
            })
        });
    });
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder.to_owned()));
    let default = RecordStoreOptions::default().overlay_bytes;
    for (name, at_once, overlay_bytes) in [
        ("record store on disk", 1, default),
        ("record store, 8 blocks a transaction", 8, default),
        ("record store, every block into the file at once", 1, 0),
    ] {
        let mut blocks = Blocks::new();
        let path = format!("{at_once}-{overlay_bytes}.redb");
        let options = RecordStoreOptions {
            overlay_bytes,
            ..RecordStoreOptions::default()
        };
        let store = RecordStore::open(&disk, &path, &options).expect("a new store opens");
        for command in &blocks.world.history {
            let taken = store.write(|tables| apply(tables, command));
            taken.expect("another store takes what made the world");
        }
        group.throughput(Throughput::Elements((BATCH * at_once) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let writing = blocks.time(rounds, at_once, |_, commands| {
                    let taken = store.write(|tables| {
                        commands
                            .iter()
                            .try_for_each(|command| apply(tables, command).map(|_| ()))
                    });
                    taken.expect("the blocks are their session's next");
                });
                // What is in memory only has its way to the file before it.
                let begun = Instant::now();
                store.checkpoint().expect("the disk is well");
                writing + begun.elapsed()
            });
        });
    }
    group.finish();
}

/// Appends of a block each until they are on disk: one at a time, and four at a time of one group,
/// which share a sync.
fn log(criterion: &mut Criterion, folder: &Path) {
    let mut group = criterion.benchmark_group("log append until synced");
    for (name, bytes, under_way) in [
        ("200 B, 64 under way", 200, 64),
        ("a block of 1,000, 1 under way", BLOCK_BYTES, 1),
        ("a block of 1,000, 4 under way", BLOCK_BYTES, 4),
    ] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder.to_owned()));
        let directory = format!("log-{bytes}-{under_way}");
        let options = WalOptions {
            directory,
            ..WalOptions::new(NodeId(1))
        };
        let wal = Wal::open(disk, options).expect("a new log opens");
        let payload = Bytes::from(vec![7; bytes]);
        let mut index = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let begun = Instant::now();
                append(&wal, &payload, &mut index, rounds, under_way);
                begun.elapsed()
            });
        });
    }
    group.finish();
}

fn append(wal: &Wal, payload: &Bytes, index: &mut u64, count: u64, under_way: u64) {
    let group = wal.group(GroupId(1));
    let (sender, receiver) = mpsc::channel();
    let mut append = || {
        let sender = sender.clone();
        let record = LogRecord {
            index: *index,
            payload: payload.clone(),
        };
        *index += 1;
        let done = Box::new(move |result: Result<(), _>| {
            result.expect("the disk is well");
            // The bench waits for every answer.
            let _ = sender.send(());
        });
        group.append(vec![record], done);
    };
    let first = count.min(under_way);
    (0..first).for_each(|_| append());
    for _ in 0..count - first {
        receiver.recv().expect("answered");
        append();
    }
    (0..first).for_each(|_| receiver.recv().expect("answered"));
}
