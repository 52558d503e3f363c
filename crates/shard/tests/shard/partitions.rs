//! A jurisdiction of three groups: where a subject lives, what a further partition takes over, how a
//! request's parts become its selection, and what the home group refuses of its own leader.

use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::partition::{PartitionRoot, partition_of};
use bailiwick_envelope::request::{DisclosureRequest, ScopeLine};
use bailiwick_envelope::selection::Selection;
use bailiwick_shard::rejection::{PartitionRejection, RequestRejection};
use bailiwick_shard::{
    CommandBody, Outcome, PartClaim, PartedRequest, Rejection, RequestState, query,
};
use bailiwick_tlog::verify_inclusion;
use bailiwick_types::store::{MemoryStore, ReadStore};
use bailiwick_types::{RequestId, Role};

use crate::world::*;

const COUNT: u16 = 3;

/// A subject of a partition.
fn of(partition: u16) -> u8 {
    let found = (1..=255).find(|number| partition_of(&subject(*number), COUNT) == partition);
    found.expect("one of many subjects")
}

/// The home group and two further ones.
struct Trio {
    groups: [World; 3],
}

impl Trio {
    fn new() -> Self {
        let home = World::partitioned(COUNT);
        let further = [World::further(&home, 1), World::further(&home, 2)];
        let [first, second] = further;
        Self {
            groups: [home, first, second],
        }
    }

    /// Three records of a subject in each partition.
    fn filled() -> Self {
        let mut trio = Self::new();
        for partition in 0..COUNT {
            let world = &mut trio.groups[usize::from(partition)];
            let mut session = world.open("edge-1", 1);
            let records = world.records_of(of(partition), 3);
            world.append(&mut session, records);
        }
        trio
    }

    fn home(&mut self) -> &mut World {
        &mut self.groups[0]
    }

    /// A request for one subject of each of these partitions.
    fn request(&self, partitions: &[u16]) -> DisclosureRequest {
        let mut request = self.groups[0].request(of(partitions[0]), 1);
        let window = request.scope[0].clone();
        let line = |partition: &u16| ScopeLine {
            subject: subject(of(*partition)),
            ..window.clone()
        };
        request.scope = partitions.iter().map(line).collect();
        request.scope.sort_by_key(|line| line.subject);
        request
    }

    /// What an honest leader proposes: freezes the parts, reads roots and lists.
    fn parted(&mut self, request: &DisclosureRequest, partitions: &[u16]) -> PartedRequest {
        let rd = request.id();
        let known = query::partition_sizes(&self.groups[0].store).unwrap();
        let (mut parts, mut roots, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        for partition in partitions.iter().copied() {
            let world = &mut self.groups[usize::from(partition)];
            let outcome = freeze_part(world, request);
            let Outcome::PartFrozen {
                selection,
                leaf_index,
            } = outcome
            else {
                panic!("{outcome:?}");
            };
            let view = query::frozen_part(&world.store, rd).unwrap().unwrap();
            assert_eq!((&view.selection, view.leaf_index), (&selection, leaf_index));
            inputs.extend(query::part_inputs(&world.store, rd, 0).unwrap());
            let size = known.get(&partition).copied().unwrap_or(0);
            roots.extend(query::partition_root(&world.store, size).unwrap());
            parts.push(PartClaim {
                partition,
                selection,
                leaf_index,
                kids: view.kids,
            });
        }
        roots.retain(|root| root.partition > 0);
        PartedRequest {
            request: Box::new(request.clone()),
            documents: b"sealed".as_slice().into(),
            selection: Selection::of(rd, inputs),
            parts,
            roots,
        }
    }

    fn submit(&mut self, parted: &PartedRequest) -> Outcome {
        let body = CommandBody::SubmitParts(Box::new(parted.clone()));
        self.home().by("intake-1", body)
    }

    fn refused(&mut self, parted: &PartedRequest) -> Rejection {
        let before = self.home().store.clone();
        match self.submit(parted) {
            Outcome::Rejected(rejection) => {
                assert!(same(&before, &self.groups[0].store), "nothing has changed");
                rejection
            }
            other => panic!("{other:?}"),
        }
    }
}

fn same(one: &MemoryStore, other: &MemoryStore) -> bool {
    let rows = |store: &MemoryStore| {
        let tables = store.tables().unwrap().into_iter();
        let rows = tables.map(|table| store.scan_prefix(table, &[], usize::MAX).unwrap());
        rows.filter(|rows| !rows.is_empty()).collect::<Vec<_>>()
    };
    rows(one) == rows(other)
}

fn freeze_part(world: &mut World, request: &DisclosureRequest) -> Outcome {
    let request = Box::new(request.clone());
    world.by("vault-1", CommandBody::FreezePart { request })
}

fn rejected<T>(rejection: impl Into<Rejection>) -> Result<T, Rejection> {
    Err(rejection.into())
}

fn try_append(world: &mut World, session: &Session, subjects: &[u8]) -> Result<(), Rejection> {
    let minute = world.now.minute();
    let records = subjects.iter().map(|of| world.record(*of, minute));
    let records = records.collect();
    let block = session.block(world.now, records);
    match world.by("edge-1", append(&block)) {
        Outcome::Rejected(rejection) => Err(rejection),
        _ => Ok(()),
    }
}

#[test]
fn a_subject_lives_in_one_partition() {
    let mut trio = Trio::new();
    for here in 0..COUNT {
        let world = &mut trio.groups[usize::from(here)];
        let session = world.open("edge-1", 1);
        let stray = of((here + 1) % COUNT);
        let index = 1;
        assert_eq!(
            try_append(world, &session, &[of(here), stray]),
            rejected(PartitionRejection::Subject { index })
        );
        assert_eq!(try_append(world, &session, &[of(here), of(here)]), Ok(()));
        let info = query::shard_info(&world.store).unwrap().unwrap();
        assert_eq!(info.records, 2);
    }
}

#[test]
fn the_number_of_partitions_is_said_once_and_before_any_session() {
    let set = |world: &mut World, count| world.by("system", CommandBody::SetPartitions { count });
    let refused = |count| Outcome::Rejected(PartitionRejection::Count { count }.into());
    let mut world = World::blank();
    world.genesis();
    for count in [0, 1, 65] {
        assert_eq!(set(&mut world, count), refused(count));
    }
    assert_eq!(set(&mut world, 3), Outcome::Accepted);
    assert_eq!(set(&mut world, 3), Outcome::Accepted, "a second leader's");
    assert_eq!(set(&mut world, 4), refused(4));
    assert_eq!(query::partitions(&world.store).unwrap(), 3);
    let leaves = query::leaves(&world.store, 0, 10).unwrap();
    assert_eq!(leaves[1].content, LeafContent::Partitions { count: 3 });

    let mut late = World::ready();
    late.open("edge-1", 1);
    assert_eq!(set(&mut late, 3), refused(3));
    let mut beyond = World::blank();
    beyond.shard.partition = 3;
    beyond.genesis();
    assert_eq!(set(&mut beyond, 3), refused(3));
}

#[test]
fn a_further_partition_takes_over_what_the_home_group_says() {
    let mut trio = Trio::filled();
    let request = trio.request(&[1]);
    let freeze = CommandBody::Freeze {
        reason: "a raid".to_owned(),
    };
    assert_eq!(trio.home().by("operator", freeze), Outcome::Accepted);
    let [home, first, second] = &mut trio.groups;
    let stale = query::home_state(&home.store).unwrap().unwrap();
    first.mirror(home);
    second.mirror(home);
    let session = first.open_refused("edge-1", 9);
    assert_eq!(session, Rejection::Frozen);
    assert_eq!(
        freeze_part(first, &request),
        Outcome::Rejected(Rejection::Frozen)
    );

    assert_eq!(
        home.by("operator", CommandBody::Unfreeze),
        Outcome::Accepted
    );
    let edge = name("edge-1");
    let revoke = CommandBody::RevokeEdge { edge: edge.clone() };
    assert_eq!(home.by("operator", revoke), Outcome::Accepted);
    first.mirror(home);
    let info = query::shard_info(&first.store).unwrap().unwrap();
    assert_eq!(info.frozen, None);
    // What a deposed leader says late undoes nothing.
    assert_eq!(
        first.by("vault-2", CommandBody::MirrorHome(stale)),
        Outcome::Accepted
    );
    let info = query::shard_info(&first.store).unwrap().unwrap();
    assert_eq!(info.frozen, None);
    let session = first.open_refused("edge-1", 10);
    assert_eq!(session.code(), "session-not-enrolled");
}

#[test]
fn only_the_home_group_takes_orders_and_only_a_further_one_takes_over() {
    let mut trio = Trio::new();
    let [home, first, _] = &mut trio.groups;
    let state = query::home_state(&home.store).unwrap().unwrap();
    let certificate = Box::new(home.newest_certificate().certificate);
    let not_home = Outcome::Rejected(Rejection::NotHome { shard: first.shard });
    for body in [
        CommandBody::EnrolIntake {
            name: name("mallory"),
        },
        CommandBody::Unfreeze,
        CommandBody::CallForKeys(plan(first.now)),
    ] {
        assert_eq!(first.by("operator", body), not_home);
    }
    let not_further = Outcome::Rejected(PartitionRejection::NotFurther.into());
    for world in [home, &mut World::ready()] {
        let mirror = CommandBody::MirrorHome(state.clone());
        assert_eq!(world.by("vault-1", mirror), not_further);
        let install = CommandBody::InstallCertificate {
            certificate: certificate.clone(),
        };
        assert_eq!(world.by("vault-1", install), not_further);
    }
}

#[test]
fn a_certificate_is_taken_over_whole_or_not() {
    let mut trio = Trio::new();
    let [home, first, _] = &mut trio.groups;
    let good = home.newest_certificate().certificate;
    let mut install = |certificate: &bailiwick_envelope::certificate::KeyCertificate| {
        let certificate = Box::new(certificate.clone());
        first.by("vault-1", CommandBody::InstallCertificate { certificate })
    };
    assert!(matches!(install(&good), Outcome::CertificateValid { .. }));
    let mut unsigned = good.clone();
    unsigned.signatures.pop();
    unsigned.body.not_after.0 += 1;
    let mut german = good.clone();
    german.body.jurisdiction = "DE".parse().unwrap();
    for bad in [unsigned, german] {
        match install(&bad) {
            Outcome::Rejected(rejection) => assert_eq!(rejection.code(), "certificate-body"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_request_over_all_partitions_runs_its_course() {
    let mut trio = Trio::filled();
    let request = trio.request(&[0, 1, 2]);
    let plain = trio.home().submit(&request);
    assert_eq!(
        plain,
        Outcome::Rejected(PartitionRejection::Missing.into()),
        "without its parts a selection would be of one group only"
    );
    let parted = trio.parted(&request, &[0, 1, 2]);
    // What comes later is no part of it.
    for partition in 0..COUNT {
        let world = &mut trio.groups[usize::from(partition)];
        let mut session = world.open("edge-1", 2);
        let records = world.records_of(of(partition), 1);
        world.append(&mut session, records);
    }
    assert_eq!(
        trio.parted(&request, &[0, 1, 2]).selection,
        parted.selection
    );
    let logged = trio.submit(&parted);
    let state = RequestState::InReview;
    let id = request.id();
    let expected = Outcome::RequestLogged {
        request: id,
        selection: parted.selection.id(),
        count: 9,
        state,
    };
    assert_eq!(logged, expected);
    assert_eq!(trio.submit(&parted), expected, "the same request again");
    let home = trio.home();
    let contents = query::leaves(&home.store, 0, 1000).unwrap();
    let kinds: Vec<_> = contents.iter().map(|leaf| leaf.content.kind()).collect();
    use bailiwick_envelope::leaf::LeafKind as Kind;
    let end = &kinds[kinds.len() - 5..];
    assert_eq!(
        end,
        [
            Kind::Part,
            Kind::PartitionRoot,
            Kind::PartitionRoot,
            Kind::Request,
            Kind::Selection
        ]
    );
    home.approve(id);
    for role in Role::ALL {
        for number in 1..=2 {
            let outcome = home.release(id, role, number);
            assert!(matches!(outcome, Outcome::ReleaseLogged { .. }));
        }
    }
    assert_eq!(home.view(id).state, RequestState::Disclosed);
}

#[test]
fn a_request_that_finds_nothing_anywhere_says_so() {
    let mut trio = Trio::new();
    let request = trio.request(&[1, 2]);
    let parted = trio.parted(&request, &[1, 2]);
    match trio.submit(&parted) {
        Outcome::RequestLogged { count, state, .. } => {
            assert_eq!((count, state), (0, RequestState::NoData));
        }
        other => panic!("{other:?}"),
    }
}

/// Attack: the home group's leader leaves a partition out, or counts otherwise, or shows another list.
#[test]
fn a_leader_cannot_leave_a_part_out() {
    let mut trio = Trio::filled();
    let request = trio.request(&[0, 1, 2]);
    let good = trio.parted(&request, &[0, 1, 2]);

    let mut without = good.clone();
    let gone = without.parts.remove(1);
    without.selection.count -= gone.selection.count;
    without.selection.phones -= gone.selection.phones;
    assert_eq!(trio.refused(&without), PartitionRejection::Touched.into());
    let mut fewer = good.clone();
    fewer.selection.count -= 1;
    assert_eq!(trio.refused(&fewer), PartitionRejection::Whole.into());
    let mut own = good.clone();
    own.parts[0].selection.root.0[0] ^= 1;
    let partition = 0;
    assert_eq!(
        trio.refused(&own),
        PartitionRejection::Part { partition }.into()
    );
    let mut other = good.clone();
    other.parts[2].selection.request = RequestId([7; 32]);
    let partition = 2;
    assert_eq!(
        trio.refused(&other),
        PartitionRejection::Part { partition }.into()
    );
    // Where one partition is touched, the selection is its part, to the last record.
    let single = trio.request(&[2]);
    let mut forged = trio.parted(&single, &[2]);
    forged.selection.root.0[0] ^= 1;
    assert_eq!(trio.refused(&forged), PartitionRejection::Whole.into());
}

#[test]
fn more_than_the_cap_is_refused_over_all_parts() {
    let mut trio = Trio::filled();
    let mut request = trio.request(&[0, 1, 2]);
    request.cap = 8;
    let parted = trio.parted(&request, &[0, 1, 2]);
    let (found, cap) = (9, 8);
    assert_eq!(
        trio.refused(&parted),
        RequestRejection::OverCap { found, cap }.into()
    );
}

/// Attack: a root of another tree, or one that does not reach the part, is not logged.
#[test]
fn a_root_that_does_not_extend_the_last_one_is_refused() {
    let mut trio = Trio::filled();
    let record = |trio: &mut Trio, root: &PartitionRoot| {
        let roots = vec![root.clone()];
        trio.home()
            .by("vault-1", CommandBody::RecordRoots { roots })
    };
    let first = query::partition_root(&trio.groups[1].store, 0).unwrap();
    let first = first.expect("leaves");
    assert_eq!(record(&mut trio, &first), Outcome::Accepted);
    let size = trio.home().leaves();
    assert_eq!(record(&mut trio, &first), Outcome::Accepted);
    assert_eq!(trio.home().leaves(), size, "nothing new, no leaf");

    let world = &mut trio.groups[1];
    let mut session = world.open("edge-1", 3);
    let records = world.records_of(of(1), 1);
    world.append(&mut session, records);
    let second = query::partition_root(&trio.groups[1].store, first.size).unwrap();
    let second = second.expect("more leaves");
    let partition = 1;
    let refused = Outcome::Rejected(PartitionRejection::Root { partition }.into());
    let mut forked = second.clone();
    forked.root.0[0] ^= 1;
    assert_eq!(record(&mut trio, &forked), refused);
    let unproven = PartitionRoot {
        proof: Vec::new(),
        ..second.clone()
    };
    assert_eq!(record(&mut trio, &unproven), refused);
    let beyond = PartitionRoot {
        partition: 3,
        ..second.clone()
    };
    let refused = Outcome::Rejected(PartitionRejection::Root { partition: 3 }.into());
    assert_eq!(record(&mut trio, &beyond), refused);
    let home = PartitionRoot {
        partition: 0,
        ..second
    };
    assert_eq!(
        record(&mut trio, &home),
        Outcome::Rejected(Rejection::Malformed)
    );
    // A part that no logged root covers has no place in a selection.
    let request = trio.request(&[1]);
    let mut uncovered = trio.parted(&request, &[1]);
    uncovered.roots.clear();
    assert_eq!(
        trio.refused(&uncovered),
        PartitionRejection::Root { partition }.into()
    );
}

#[test]
fn a_part_is_shown_with_proofs_under_the_logged_root() {
    let mut trio = Trio::filled();
    let request = trio.request(&[1]);
    let parted = trio.parted(&request, &[1]);
    let root = parted.roots[0].clone();
    let id = request.id();
    let store = &trio.groups[1].store;
    let page = query::part_page(store, id, 0, 1024, root.size).unwrap();
    let page = page.expect("a part");
    let proven = |leaf: &bailiwick_shard::view::LogProof| {
        let hash = bailiwick_tlog::leaf_hash(&leaf.leaf.data());
        let proof: Vec<_> = leaf.proof.iter().map(|hash| hash.0).collect();
        verify_inclusion(&hash, leaf.index, root.size, &root.root.0, &proof).unwrap();
        leaf.leaf.content.clone()
    };
    let selection = parted.parts[0].selection.clone();
    assert_eq!(proven(&page.part), LeafContent::Part(selection));
    assert_eq!((page.page.records.len(), page.blocks.len()), (3, 1));
    let manifest = page.page.blocks[0].manifest.hash();
    assert_eq!(proven(&page.blocks[0]), LeafContent::Block { manifest });
    // Under a root from before the block nothing of it can be shown.
    let early = query::part_page(store, id, 0, 1024, 2).unwrap();
    assert!(early.is_none());
    let ciphertexts = query::part_ciphertexts(store, id, 0, 10).unwrap();
    assert_eq!(ciphertexts.expect("a part").records.len(), 3);
    let none = query::part_ciphertexts(store, RequestId([9; 32]), 0, 10).unwrap();
    assert!(none.is_none());
}

#[test]
fn where_there_is_one_partition_there_are_no_parts() {
    let mut world = World::ready();
    let size = world.leaves();
    let request = world.request(1, 1);
    let partition = 0;
    let refused = Outcome::Rejected(PartitionRejection::Part { partition }.into());
    assert_eq!(freeze_part(&mut world, &request), refused);
    let parted = PartedRequest {
        request: Box::new(request.clone()),
        documents: b"sealed".as_slice().into(),
        selection: Selection::of(request.id(), []),
        parts: Vec::new(),
        roots: Vec::new(),
    };
    let body = CommandBody::SubmitParts(Box::new(parted));
    let outcome = world.by("intake-1", body);
    let touched = Outcome::Rejected(PartitionRejection::Touched.into());
    assert_eq!(outcome, touched);
    assert_eq!(world.leaves(), size);
}

#[test]
fn a_replay_gives_the_same_rows() {
    let mut trio = Trio::filled();
    let request = trio.request(&[0, 1, 2]);
    let parted = trio.parted(&request, &[0, 1, 2]);
    trio.submit(&parted);
    for world in &trio.groups {
        let mut again = MemoryStore::default();
        for (stamp, command) in &world.history {
            bailiwick_shard::apply(&mut again, *stamp, command).unwrap();
        }
        assert!(same(&again, &world.store));
    }
}

impl World {
    fn leaves(&self) -> u64 {
        query::log_size(&self.store).unwrap()
    }

    fn open_refused(&mut self, edge: &str, nonce: u8) -> Rejection {
        let header = self.header(edge, nonce);
        match self.by(edge, CommandBody::OpenSession { header }) {
            Outcome::Rejected(rejection) => rejection,
            other => panic!("{other:?}"),
        }
    }
}
