//! The log against a model, with calls in flight: random calls of three groups, not waited for one
//! by one, and random restarts and power cuts between them.

use std::collections::BTreeMap;
use std::sync::mpsc;

use bailiwick_storage::{LogRecord, SimulatedDisk, Wal, WalError, WalOptions};
use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        group: u32,
        count: u64,
        bytes: usize,
    },
    Vote {
        group: u32,
    },
    Committed {
        group: u32,
    },
    Truncate {
        group: u32,
        back: u64,
    },
    Purge {
        group: u32,
        back: u64,
    },
    Remove {
        group: u32,
    },
    Wait,
    Restart,
    PowerCut {
        torn: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let group = 1..4_u32;
    prop_oneof![
        12 => (group.clone(), 1..4_u64, 0..200_usize)
            .prop_map(|(group, count, bytes)| Step::Append { group, count, bytes }),
        3 => group.clone().prop_map(|group| Step::Vote { group }),
        2 => group.clone().prop_map(|group| Step::Committed { group }),
        3 => (group.clone(), 0..4_u64).prop_map(|(group, back)| Step::Truncate { group, back }),
        4 => (group.clone(), 0..4_u64).prop_map(|(group, back)| Step::Purge { group, back }),
        1 => group.prop_map(|group| Step::Remove { group }),
        2 => Just(Step::Wait),
        1 => Just(Step::Restart),
        2 => any::<bool>().prop_map(|torn| Step::PowerCut { torn }),
    ]
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    entries: BTreeMap<u64, Bytes>,
    vote: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
}

struct Run {
    disk: SimulatedDisk,
    wal: Wal,
    models: BTreeMap<u32, Model>,
    answers: Vec<mpsc::Receiver<Result<(), WalError>>>,
    counter: u64,
}

impl Run {
    fn options() -> WalOptions {
        WalOptions {
            segment_bytes: 1_000,
            cache_bytes: 200,
            retained_bytes: 2_500,
            ..WalOptions::new(NodeId(1))
        }
    }

    fn wait(&mut self) {
        for answer in self.answers.drain(..) {
            answer.recv().expect("answered").expect("the disk is well");
        }
    }

    fn reopen(&mut self) {
        self.wal = Wal::open(self.disk.shared(), Self::options()).expect("opens");
    }

    fn step(&mut self, step: &Step) {
        self.counter += 1;
        let (sender, receiver) = mpsc::channel();
        let done = Box::new(move |result| sender.send(result).expect("test waits"));
        let unique = Bytes::copy_from_slice(&self.counter.to_be_bytes());
        match *step {
            Step::Append {
                group,
                count,
                bytes,
            } => {
                let model = self.models.entry(group).or_default();
                let after_last = model.entries.keys().next_back().map(|last| last + 1);
                let after_purged = model.purged.as_ref().map(|(upto, _)| upto + 1);
                let next = after_last.or(after_purged).unwrap_or(self.counter);
                let payload = Bytes::from([&unique[..], &vec![7; bytes]].concat());
                let records: Vec<_> = (next..next + count)
                    .map(|index| LogRecord {
                        index,
                        payload: payload.clone(),
                    })
                    .collect();
                model
                    .entries
                    .extend(records.iter().map(|r| (r.index, r.payload.clone())));
                self.wal.group(GroupId(group)).append(records, done);
            }
            Step::Vote { group } => {
                self.models.entry(group).or_default().vote = Some(unique.clone());
                self.wal.group(GroupId(group)).save_vote(unique, done);
            }
            Step::Committed { group } => {
                self.wal.group(GroupId(group)).save_committed(unique);
                return;
            }
            Step::Truncate { group, back } => {
                let model = self.models.entry(group).or_default();
                let last = model
                    .entries
                    .keys()
                    .next_back()
                    .and_then(|last| last.checked_sub(back));
                model
                    .entries
                    .retain(|index, _| last.is_some_and(|last| *index <= last));
                self.wal.group(GroupId(group)).truncate_after(last, done);
            }
            Step::Purge { group, back } => {
                let model = self.models.entry(group).or_default();
                let last = model
                    .entries
                    .keys()
                    .next_back()
                    .copied()
                    .unwrap_or(self.counter);
                let first = model
                    .entries
                    .keys()
                    .next()
                    .map_or(0, |first| first.saturating_sub(1));
                let upto = last.saturating_sub(back).max(first);
                if model
                    .purged
                    .as_ref()
                    .is_none_or(|(purged, _)| *purged <= upto)
                {
                    model.entries.retain(|index, _| *index > upto);
                    model.purged = Some((upto, unique.clone()));
                }
                self.wal.group(GroupId(group)).purge(upto, unique, done);
            }
            Step::Remove { group } => {
                self.models.remove(&group);
                self.wal.group(GroupId(group)).remove(done);
            }
            Step::Wait => return self.wait(),
            Step::Restart => {
                self.wait();
                self.wal.clone().close();
                self.disk.kill_process();
                return self.reopen();
            }
            Step::PowerCut { torn } => {
                self.wait();
                if torn {
                    self.disk.crash_torn();
                } else {
                    self.disk.crash();
                }
                return self.reopen();
            }
        }
        self.answers.push(receiver);
    }

    fn check(&self) {
        for group in 1..4 {
            let model = self.models.get(&group).cloned().unwrap_or_default();
            let log = self.wal.group(GroupId(group));
            let state = log.state();
            assert_eq!(state.vote, model.vote);
            assert_eq!(state.purged, model.purged);
            assert_eq!(state.first, model.entries.keys().next().copied());
            assert_eq!(state.last, model.entries.keys().next_back().copied());
            let entries = log.read(0..u64::MAX, usize::MAX).expect("read");
            let entries: BTreeMap<_, _> =
                entries.into_iter().map(|r| (r.index, r.payload)).collect();
            assert_eq!(entries, model.entries, "group {group}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn log_equals_its_model(steps in prop::collection::vec(step(), 1..120), seed in any::<u64>()) {
        let disk = SimulatedDisk::new(seed);
        let wal = Wal::open(disk.shared(), Run::options()).expect("new");
        let (models, answers) = (BTreeMap::new(), Vec::new());
        let mut run = Run { disk, wal, models, answers, counter: 0 };
        for step in &steps {
            run.step(step);
            run.check();
        }
        run.step(&Step::PowerCut { torn: true });
        run.check();
    }
}
