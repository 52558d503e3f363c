//! A disk in memory whose power can be cut: loses what was not synced, tears, fails, fills up, rots.
//!
//! It is for tests only; nothing of it reaches a real file. The model is the pessimist's: a write
//! survives a power cut only if its file was synced after it, a name only if its directory was, and
//! a failed sync drops the writes it should have made durable while reads go on showing them, which
//! is what Linux does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};

/// The unit in which a disk writes; a torn write keeps some sectors and loses others.
pub const SECTOR_BYTES: usize = 512;

/// The simulated disk. A clone is the same disk, whatever happens to it.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    /// The epoch whose end is the end of this handle too; `None` outlives crashes.
    bound_to: Option<u64>,
}

/// What kind of operation a planned failure hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`DiskFile::write_at`] and [`DiskFile::set_length`].
    Write,
    /// [`DiskFile::sync_data`].
    Sync,
    /// [`Disk::sync_directory`].
    SyncDirectory,
    /// [`Disk::create`], [`Disk::remove`] and [`Disk::rename`].
    Name,
}

/// One file's content, by its number: names point here, and handles too.
#[derive(Default)]
struct Inode {
    /// What reads see.
    content: Vec<u8>,
    /// What a power cut leaves.
    durable: Vec<u8>,
    /// What was done since the last sync, in order.
    pending: Vec<Change>,
}

/// One change to a file that no sync has covered yet.
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }

    /// Keeps each sector with even odds.
    fn apply_torn(&self, content: &mut Vec<u8>, random: &mut Random) {
        let Self::Write { offset, bytes } = self else {
            return;
        };
        let mut at = 0;
        while at < bytes.len() {
            let sector_end = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
            let piece = &bytes[at..bytes.len().min(at + sector_end)];
            if random.below(2) == 0 {
                let change = Self::Write {
                    offset: offset + at,
                    bytes: piece.to_vec(),
                };
                change.apply(content);
            }
            at += piece.len();
        }
    }
}

struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    directories: Vec<String>,
    next_inode: u64,
    /// Handles from before a crash are dead.
    epoch: u64,
    operations: u64,
    /// The operation count from which on everything fails.
    power_fails_at: Option<u64>,
    planned: Vec<(Operation, u64, io::ErrorKind)>,
    capacity: Option<u64>,
    random: Random,
}

/// SplitMix64: enough randomness to choose which sectors survive.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl SimulatedDisk {
    /// An empty disk; the seed decides what a torn crash keeps.
    pub fn new(seed: u64) -> Self {
        let state = State {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            directories: vec![String::new()],
            next_inode: 0,
            epoch: 0,
            operations: 0,
            power_fails_at: None,
            planned: Vec::new(),
            capacity: None,
            random: Random(seed),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            bound_to: None,
        }
    }

    /// This disk for one process: dead after the next crash, so that threads of a process that is
    /// meant to be dead cannot go on changing names.
    pub fn shared(&self) -> Arc<dyn Disk> {
        let bound_to = Some(self.lock().epoch);
        Arc::new(Self {
            state: Arc::clone(&self.state),
            bound_to,
        })
    }

    /// The state, if the process that this handle belongs to is alive.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if self.bound_to.is_some_and(|epoch| epoch != state.epoch) {
            return Err(io::Error::other(
                "disk of a process from before the simulated crash",
            ));
        }
        state.check_power()?;
        Ok(state)
    }

    /// The power goes and comes back: whatever no sync covered is gone, open handles are dead, and
    /// planned failures are forgotten.
    pub fn crash(&self) {
        self.lock().crash(false);
    }

    /// As [`SimulatedDisk::crash`], but of what no sync covered, the seed decides what survives:
    /// some first writes of each file whole, some sectors of the next, and some names.
    pub fn crash_torn(&self) {
        self.lock().crash(true);
    }

    /// The process dies but not the machine: nothing written is lost, open handles are dead.
    pub fn kill_process(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        state.power_fails_at = None;
        state.planned.clear();
    }

    /// Lets `count` more changing operations succeed; from then on everything fails until
    /// [`SimulatedDisk::crash`].
    pub fn fail_power_after(&self, count: u64) {
        let mut state = self.lock();
        state.power_fails_at = Some(state.operations + count);
    }

    /// How many changing operations (writes, syncs, creations, removals, renames) succeeded.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes the `nth` operation of that kind from now (1 is the next) fail once. A failed sync
    /// loses what it should have made durable.
    pub fn fail_nth(&self, operation: Operation, nth: u64, kind: io::ErrorKind) {
        self.lock().planned.push((operation, nth, kind));
    }

    /// Limits the bytes that all files together may have; writes beyond fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Flips one bit of a file, durably; false when the file has no such byte.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.lock();
        let Some(inode) = state.inode_of(path) else {
            return false;
        };
        let at = offset as usize;
        let mask = 1 << (bit % 8);
        let durable = inode.durable.get_mut(at).map(|byte| *byte ^= mask);
        inode
            .content
            .get_mut(at)
            .map(|byte| *byte ^= mask)
            .is_some()
            || durable.is_some()
    }

    /// What reads of a file see; `None` when there is none.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.lock()
            .inode_of(path)
            .map(|inode| inode.content.clone())
    }

    /// What a power cut now would leave of a file; `None` when it would leave none.
    pub fn durable_content(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let number = state.durable_names.get(path)?;
        state.inodes.get(number).map(|inode| inode.durable.clone())
    }

    /// The paths of all files, ascending.
    pub fn paths(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, inode: u64, epoch: u64) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile {
            disk: self.clone(),
            inode,
            epoch,
        })
    }
}

impl State {
    fn inode_of(&mut self, path: &str) -> Option<&mut Inode> {
        let number = self.names.get(path)?;
        self.inodes.get_mut(number)
    }

    fn check_power(&self) -> io::Result<()> {
        if self.power_fails_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("simulated power cut"));
        }
        Ok(())
    }

    /// Counts a changing operation, or fails it if that was planned.
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        self.check_power()?;
        let mut failure = None;
        self.planned.retain_mut(|(kind, left, error)| {
            if *kind == operation {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    failure = Some(*error);
                    return false;
                }
            }
            true
        });
        if let Some(kind) = failure {
            return Err(io::Error::new(kind, "simulated failure"));
        }
        self.operations += 1;
        Ok(())
    }

    fn crash(&mut self, torn: bool) {
        self.epoch += 1;
        self.power_fails_at = None;
        self.planned.clear();
        if torn {
            let paths: Vec<String> = self
                .names
                .keys()
                .chain(self.durable_names.keys())
                .cloned()
                .collect();
            for path in paths {
                if self.random.below(2) == 0 {
                    self.settle_name(&path);
                }
            }
        }
        self.names = self.durable_names.clone();
        for inode in self.inodes.values_mut() {
            if torn && !inode.pending.is_empty() {
                let kept = self.random.below(inode.pending.len() as u64 + 1) as usize;
                for change in &inode.pending[..kept] {
                    change.apply(&mut inode.durable);
                }
                if let Some(change) = inode.pending.get(kept) {
                    change.apply_torn(&mut inode.durable, &mut self.random);
                }
            }
            inode.pending.clear();
            inode.content = inode.durable.clone();
        }
        let named: Vec<u64> = self.names.values().copied().collect();
        self.inodes.retain(|number, _| named.contains(number));
    }

    /// Makes what a name now points to, or that it is gone, durable.
    fn settle_name(&mut self, path: &str) {
        match self.names.get(path) {
            Some(number) => self.durable_names.insert(path.to_owned(), *number),
            None => self.durable_names.remove(path),
        };
    }

    fn check_capacity(&self, growth: u64) -> io::Result<()> {
        let Some(capacity) = self.capacity else {
            return Ok(());
        };
        let used: u64 = self
            .names
            .values()
            .filter_map(|number| self.inodes.get(number))
            .map(|inode| inode.content.len() as u64)
            .sum();
        if used + growth > capacity {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "simulated disk is full",
            ));
        }
        Ok(())
    }
}

/// The directory part of a path; empty at the root.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.to_owned())
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.alive()?;
        if !state.directories.iter().any(|known| known == parent(path)) {
            return Err(missing(path));
        }
        state.begin(Operation::Name)?;
        let number = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(number, Inode::default());
        state.names.insert(path.to_owned(), number);
        let epoch = state.epoch;
        drop(state);
        Ok(self.handle(number, epoch))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.alive()?;
        let number = *state.names.get(path).ok_or_else(|| missing(path))?;
        let epoch = state.epoch;
        drop(state);
        Ok(self.handle(number, epoch))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let state = self.alive()?;
        if !state.directories.iter().any(|known| known == directory) {
            return Err(missing(directory));
        }
        let inside = state.names.keys().filter(|path| parent(path) == directory);
        let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(inside.map(name).collect())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        if !state.names.contains_key(path) {
            return Err(missing(path));
        }
        state.begin(Operation::Name)?;
        state.names.remove(path);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        let number = *state.names.get(from).ok_or_else(|| missing(from))?;
        state.begin(Operation::Name)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        state.begin(Operation::SyncDirectory)?;
        let all = state.names.keys().chain(state.durable_names.keys());
        let inside: Vec<String> = all
            .filter(|path| parent(path) == directory)
            .cloned()
            .collect();
        for path in inside {
            state.settle_name(&path);
        }
        Ok(())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        let state = self.alive()?;
        Ok(state.names.contains_key(path) || state.directories.iter().any(|known| known == path))
    }

    fn create_directory(&self, path: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        let mut directory = path;
        while !directory.is_empty() {
            if !state.directories.iter().any(|known| known == directory) {
                state.directories.push(directory.to_owned());
            }
            directory = parent(directory);
        }
        Ok(())
    }
}

/// A handle to a file of a [`SimulatedDisk`].
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: u64,
    epoch: u64,
}

impl SimulatedFile {
    fn with<T>(
        &self,
        operation: Option<Operation>,
        act: impl FnOnce(&mut Inode) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.lock();
        state.check_power()?;
        if state.epoch != self.epoch {
            return Err(io::Error::other("handle from before the simulated crash"));
        }
        let begun = operation.map_or(Ok(()), |operation| state.begin(operation));
        let inode = state
            .inodes
            .get_mut(&self.inode)
            .ok_or_else(|| missing("unlinked"))?;
        if let Err(error) = begun {
            if operation == Some(Operation::Sync) {
                inode.pending.clear();
            }
            return Err(error);
        }
        act(inode)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let end = match &change {
            Change::Write { offset, bytes } => offset + bytes.len(),
            Change::Length(length) => *length,
        };
        let length = self.length()?;
        let growth = (end as u64).saturating_sub(length);
        if growth > 0 {
            self.disk.lock().check_capacity(growth)?;
        }
        self.with(Some(Operation::Write), |inode| {
            change.apply(&mut inode.content);
            inode.pending.push(change);
            Ok(())
        })
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write {
            offset: offset as usize,
            bytes: bytes.to_vec(),
        })
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.with(None, |inode| {
            let start = offset as usize;
            let source = inode.content.get(start..start + bytes.len());
            bytes.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Some(Operation::Sync), |inode| {
            for change in std::mem::take(&mut inode.pending) {
                change.apply(&mut inode.durable);
            }
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(None, |inode| Ok(inode.content.len() as u64))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(length as usize))
    }
}
