//! Determinism, totality, idempotence, and "snapshot and tail equal full replay", over random
//! sequences of valid and invalid commands.

use bailiwick_envelope::acknowledgement::Verdict;
use bailiwick_envelope::approval::{Decision, RefusalCode};
use bailiwick_shard::{CommandBody, Outcome, Rejection, query};
use bailiwick_types::store::{MemoryStore, ReadStore, Row, Table, WriteStore};
use bailiwick_types::{CommandKey, Digest, RequestId, Role, Timestamp};
use proptest::prelude::*;

use crate::world::*;

/// Every row of every table that has one.
fn dump(store: &dyn ReadStore) -> Vec<(Table, Vec<Row>)> {
    let tables = store.tables().unwrap().into_iter();
    tables
        .map(|table| (table, store.scan_prefix(table, &[], usize::MAX).unwrap()))
        .filter(|(_, rows)| !rows.is_empty())
        .collect()
}

fn restore(dump: &[(Table, Vec<Row>)]) -> MemoryStore {
    let mut store = MemoryStore::default();
    for (table, rows) in dump {
        for (key, value) in rows {
            store.put(*table, key, value).unwrap();
        }
    }
    store
}

fn run(store: &mut MemoryStore, history: &[(Timestamp, Vec<u8>)]) -> Vec<Vec<u8>> {
    let apply = |(stamp, command): &(Timestamp, Vec<u8>)| {
        bailiwick_shard::apply(store, *stamp, command).unwrap()
    };
    history.iter().map(apply).collect()
}

/// A shard, what its clients know, and a random command after another.
struct Story {
    world: World,
    sessions: Vec<Session>,
    requests: Vec<RequestId>,
}

impl Story {
    /// Begins where one request is approved, so that releases and recalls are reached often.
    fn new() -> Self {
        let mut world = World::ready();
        let mut session = world.open("edge-1", 255);
        let records = world.records_of(1, 20);
        world.append(&mut session, records);
        let approved = world.submitted(1, 255);
        world.approve(approved);
        let (sessions, requests) = (vec![session], vec![approved]);
        Self {
            world,
            sessions,
            requests,
        }
    }

    /// Applies the step and checks that a rejection changed nothing.
    fn step(&mut self, kind: u8, a: u8, b: u8) {
        let before = dump(&self.world.store);
        let commands = self.world.history.len();
        let rejected = self
            .take(kind, a, b)
            .is_some_and(|o| matches!(o, Outcome::Rejected(_)));
        if rejected && self.world.history.len() == commands + 1 {
            assert_eq!(dump(&self.world.store), before, "step {kind} {a} {b}");
        }
    }

    fn take(&mut self, kind: u8, a: u8, b: u8) -> Option<Outcome> {
        let role = Role::ALL[usize::from(a & 1)];
        let number = 1 + b % 3;
        let world = &mut self.world;
        match kind {
            0 => {
                let header = world.header("edge-1", a);
                let sid = header.id();
                let outcome = world.by("edge-1", CommandBody::OpenSession { header });
                if outcome == (Outcome::SessionOpened { sid }) {
                    let (edge, previous) = ("edge-1".to_owned(), Digest::default());
                    self.sessions.push(Session {
                        sid,
                        edge,
                        next: 0,
                        previous,
                    });
                }
                Some(outcome)
            }
            1..=3 => {
                let at = usize::from(a) % self.sessions.len().max(1);
                let session = self.sessions.get_mut(at)?;
                let records = world.records_of(b % 4, usize::from(b % 37) + 1);
                let block = session.block(world.now, records);
                let outcome = world.by("edge-1", append(&block));
                if matches!(outcome, Outcome::BlockStored(_)) && !a.is_multiple_of(5) {
                    session.advance(&block);
                }
                Some(outcome)
            }
            4 => {
                let session = self
                    .sessions
                    .get(usize::from(a) % self.sessions.len().max(1))?;
                let verdict = if b & 8 == 0 {
                    Verdict::Ok
                } else {
                    Verdict::Complaint
                };
                Some(world.answer(session.sid, role, number, verdict))
            }
            5 => {
                let mut request = world.request(a % 5, b);
                request.generation = u32::from(b % 3);
                request.reference = "case".to_owned();
                let outcome = world.submit(&request);
                if let Outcome::RequestLogged { request, .. } = outcome {
                    self.requests.push(request);
                }
                Some(outcome)
            }
            6..=8 => {
                let id = *self
                    .requests
                    .get(usize::from(a >> 1) % self.requests.len().max(1))?;
                let refuse = Decision::Refuse(RefusalCode::Overbroad);
                let decision = if b > 200 { refuse } else { Decision::Approve };
                Some(world.decide(id, role, number, decision))
            }
            9..=10 => {
                let id = *self
                    .requests
                    .get(usize::from(a >> 1) % self.requests.len().max(1))?;
                Some(world.release(id, role, number))
            }
            11 => {
                let request = *self
                    .requests
                    .get(usize::from(a) % self.requests.len().max(1))?;
                let body = match b % 3 {
                    0 => CommandBody::RecallRequest {
                        request,
                        reason: "r".to_owned(),
                    },
                    1 => CommandBody::RecallRequest {
                        request,
                        reason: String::new(),
                    },
                    _ => CommandBody::RecordDelivery {
                        request,
                        count: u32::from(b),
                    },
                };
                Some(world.by("desk", body))
            }
            12 => Some(world.by(
                "operator",
                match a % 4 {
                    0 => CommandBody::Freeze {
                        reason: "f".to_owned(),
                    },
                    1 => CommandBody::RevokeIntake {
                        name: name("nobody"),
                    },
                    2 => CommandBody::SetPolicy {
                        digest: Digest([5; 32]),
                        version: u32::from(b),
                    },
                    _ => CommandBody::CallForKeys(plan(world.now)),
                },
            )),
            13 => Some(world.by("operator", CommandBody::Unfreeze)),
            14 => {
                world.wait(u64::from(a) * u64::from(b) / 8);
                None
            }
            // An earlier command again, whole, cut or with a bit flipped.
            _ => {
                let at = usize::from(a) * usize::from(b) % world.history.len();
                let mut command = world.history[at].1.clone();
                let middle = command.len() / 2;
                match b % 3 {
                    0 => command.truncate(middle),
                    1 => command[middle] ^= 1 << (a % 8),
                    _ => {}
                }
                Some(world.apply(command))
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two replicas agree; one that starts from a snapshot and the log's tail agrees with both, in
    /// every row and every outcome.
    #[test]
    fn snapshot_and_tail_equal_full_replay(
        steps in proptest::collection::vec((0..17u8, any::<u8>(), any::<u8>()), 1..60),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut story = Story::new();
        for (kind, a, b) in steps {
            story.step(kind, a, b);
        }
        let history = story.world.history;
        let mut full = MemoryStore::default();
        let outcomes = run(&mut full, &history);
        prop_assert_eq!(dump(&full), dump(&story.world.store));
        let cut = cut.index(history.len());
        let mut first = MemoryStore::default();
        run(&mut first, &history[..cut]);
        let mut second = restore(&dump(&first));
        let tail = run(&mut second, &history[cut..]);
        prop_assert_eq!(dump(&second), dump(&full));
        prop_assert_eq!(&tail[..], &outcomes[cut..]);
    }

    /// Bytes that are no command are an outcome and change nothing.
    #[test]
    fn apply_is_total(bytes in any::<Vec<u8>>()) {
        let mut world = World::blank();
        world.genesis();
        let before = world.store.clone();
        let outcome = world.apply(bytes);
        prop_assert_eq!(outcome, Outcome::Rejected(Rejection::Malformed));
        prop_assert_eq!(world.store, before);
    }
}

#[test]
fn a_repeated_command_gives_its_first_outcome_and_changes_nothing() {
    let mut world = World::ready();
    let mut session = world.open("edge-1", 1);
    let records = world.records_of(1, 3);
    world.append(&mut session, records);
    let request = world.request(1, 1);
    let command = world.command("intake-1", submit(&request));
    let first = world.apply(command.clone());
    let Outcome::RequestLogged { request: id, .. } = first else {
        panic!("{first:?}");
    };
    world.approve(id);
    let before = world.store.clone();
    assert_eq!(world.apply(command), first);
    assert_eq!(world.store, before);
}

#[test]
fn a_reused_key_is_refused_and_a_rejected_command_may_be_tried_again() {
    let mut world = World::ready();
    let header = world.header("edge-1", 1);
    world.by(
        "operator",
        CommandBody::Freeze {
            reason: "test".to_owned(),
        },
    );
    let command = world.command("edge-1", CommandBody::OpenSession { header });
    let frozen = Outcome::Rejected(Rejection::Frozen);
    assert_eq!(world.apply(command.clone()), frozen);
    world.by("operator", CommandBody::Unfreeze);
    assert!(matches!(
        world.apply(command.clone()),
        Outcome::SessionOpened { .. }
    ));
    let mut other: bailiwick_shard::Command = bailiwick_types::codec::decode(&command).unwrap();
    other.body = CommandBody::Unfreeze;
    let reused = world.apply(other.to_bytes().unwrap());
    assert_eq!(reused, Outcome::Rejected(Rejection::KeyReused));
    other.key = CommandKey([255; 16]);
    assert_eq!(world.apply(other.to_bytes().unwrap()), Outcome::Accepted);
}

#[test]
fn nothing_happens_before_genesis_and_genesis_happens_once() {
    let mut world = World::blank();
    let edge = name("edge-1");
    let refused = world.by("operator", CommandBody::RevokeEdge { edge });
    assert_eq!(refused, Outcome::Rejected(Rejection::NotInitialised));
    assert_eq!(world.store, MemoryStore::default());
    world.genesis();
    world.genesis();
    assert_eq!(query::log_size(&world.store).unwrap(), 1);
    let shard = query::shard_info(&world.store).unwrap().unwrap().shard;
    let body = CommandBody::Genesis {
        cluster: bailiwick_types::ClusterId([2; 16]),
        shard,
        origin: "other".to_owned(),
    };
    let refused = world.by("system", body);
    assert_eq!(
        refused,
        Outcome::Rejected(Rejection::AlreadyInitialised { shard })
    );
}

/// The stamp never goes back, whatever a new leader's clock says.
#[test]
fn log_time_never_goes_back() {
    let mut world = World::ready();
    let latest = world.now;
    world.now = Timestamp(5);
    world.by(
        "operator",
        CommandBody::Freeze {
            reason: "test".to_owned(),
        },
    );
    let info = query::shard_info(&world.store).unwrap().unwrap();
    assert_eq!(info.last_stamp, latest);
    let leaf = query::leaves(&world.store, info.leaves - 1, 1)
        .unwrap()
        .remove(0);
    assert_eq!(leaf.logged_at, latest);
}
