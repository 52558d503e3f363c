//! A jurisdiction of several partitions: what an approver believes of a further one is what the home log,
//! which it folded itself, says of that partition's log.

use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_envelope::partition::{PartitionRoot, partition_of};
use bailiwick_envelope::selection::Selection;
use bailiwick_tlog::{MerkleTree, leaf_hash};
use bailiwick_types::{Digest, RequestId, Role, ShardId, Timestamp, codec};

use super::world::{Case, NOON, World, france, persist, seat, subject};
use crate::checks::{LabelRefusal, PartitionRefusal};
use crate::evidence::ProvenLeaf;
use crate::follower::{FollowError, LogFollower};
use crate::partitions::PartitionFacts;
use crate::refusal::ReleaseRefusal;

/// Of eight partitions, subject 1 lives in the third.
const COUNT: u16 = 8;
const HERE: u16 = 2;

fn shard(partition: u16) -> ShardId {
    ShardId {
        jurisdiction: france(),
        partition,
    }
}

/// A home log, and the log of the partition in which subject 1's records are.
struct Partitioned {
    world: World,
    log: Vec<OpenedLeaf>,
    /// Sizes that the home log committed to.
    rooted: u64,
}

impl Partitioned {
    /// Two blocks of subject 1's records, both in the partition's log; no root of it yet.
    fn new() -> Self {
        assert_eq!(partition_of(&subject(1), COUNT), HERE);
        let mut world = World::of_shard(shard(HERE));
        world.log(LeafContent::Partitions { count: COUNT });
        let minute = NOON.minute().0 - 60;
        world.write(&[(1, 0, minute), (1, 1, minute)]);
        world.write(&[(1, 1, minute + 5)]);
        let mut partitioned = Self {
            world,
            log: Vec::new(),
            rooted: 0,
        };
        let origin = "bailiwick.example/FR/2".to_owned();
        partitioned.append(LeafContent::Genesis { origin });
        for block in 0..2 {
            partitioned.append_block(block);
        }
        partitioned
    }

    fn append(&mut self, content: LeafContent) -> u64 {
        let index = self.log.len() as u64;
        let leaf = OpenedLeaf::new(NOON, content, &[4; 32], index as u32);
        self.log.push(leaf);
        index
    }

    fn append_block(&mut self, block: usize) -> u64 {
        let manifest = self.world.blocks[block].manifest.hash();
        self.append(LeafContent::Block { manifest })
    }

    fn tree(&self, size: u64) -> MerkleTree {
        let leaves = self.log.iter().take(size as usize);
        MerkleTree::from_leaves(leaves.map(|leaf| leaf_hash(&leaf.data())).collect())
    }

    /// A root of the whole log, as an honest leader takes it to the home group.
    fn root(&self) -> PartitionRoot {
        let size = self.log.len() as u64;
        let proof = match self.rooted {
            0 => Vec::new(),
            known => consistency(&self.log, known),
        };
        PartitionRoot {
            partition: HERE,
            size,
            root: Digest(self.tree(size).root()),
            proof,
        }
    }

    fn commit(&mut self) {
        let root = self.root();
        self.rooted = root.size;
        self.world.log(LeafContent::PartitionRoot(root));
    }

    fn proven(&self, index: u64, size: u64) -> ProvenLeaf {
        let proof = self.tree(size).prove(index).unwrap();
        ProvenLeaf {
            index,
            leaf: self.log[index as usize].clone(),
            proof: proof.into_iter().map(Digest).collect(),
        }
    }

    /// What an honest partition shows of a request, everything proven under its last root.
    fn shown(&mut self, case: &Case) -> Case {
        let part = self.append(LeafContent::Part(case.selection.clone()));
        self.commit();
        self.show(case, part)
    }

    fn show(&self, case: &Case, part: u64) -> Case {
        let mut shown = case.clone();
        for (at, block) in (1..).zip(&mut shown.pages[0].blocks) {
            block.logged = Some(self.proven(at, self.rooted));
        }
        shown.part = Some((HERE, self.proven(part, self.rooted)));
        shown
    }

    /// The honest case, approved by everybody.
    fn approved(&mut self) -> Case {
        let request = self.world.request(1);
        let case = self.world.find(&request);
        let shown = self.shown(&case);
        self.approve(&shown);
        shown
    }

    fn approve(&mut self, case: &Case) {
        self.world.submit_case(case);
        for role in Role::ALL {
            self.world.approve(case, seat(role, 1));
            self.world.approve(case, seat(role, 2));
        }
    }

    fn refused(&mut self, case: &Case) -> ReleaseRefusal {
        self.world.refused(case, seat(Role::Workflow, 1))
    }

    fn refused_labels(&mut self, case: &Case) -> LabelRefusal {
        match self.refused(case) {
            ReleaseRefusal::Labels(refusal) => refusal,
            other => panic!("another refusal: {other}"),
        }
    }
}

/// The consistency proof from `known` leaves to all, for logs of at most 8 leaves that grew by appending:
/// checked against the verifier, which is the log crate's and has its own vectors.
fn consistency(log: &[OpenedLeaf], known: u64) -> Vec<Digest> {
    let leaves: Vec<_> = log.iter().map(|leaf| leaf_hash(&leaf.data())).collect();
    subproof(known as usize, &leaves, true)
        .into_iter()
        .map(Digest)
        .collect()
}

/// RFC 6962, section 2.1.2, word by word.
fn subproof(known: usize, leaves: &[[u8; 32]], whole: bool) -> Vec<[u8; 32]> {
    let root = |leaves: &[[u8; 32]]| MerkleTree::from_leaves(leaves.to_vec()).root();
    if known == leaves.len() {
        return match whole {
            true => Vec::new(),
            false => vec![root(leaves)],
        };
    }
    let split = leaves.len().next_power_of_two() / 2;
    if known <= split {
        let mut proof = subproof(known, &leaves[..split], whole);
        proof.push(root(&leaves[split..]));
        proof
    } else {
        let mut proof = subproof(known - split, &leaves[split..], false);
        proof.push(root(&leaves[..split]));
        proof
    }
}

#[test]
fn records_of_a_further_partition_are_released() {
    let mut partitioned = Partitioned::new();
    let case = partitioned.approved();
    let at = seat(Role::Workflow, 1);
    let approvable = partitioned.world.approvable(&case, at).unwrap();
    assert_eq!(approvable.labels().len(), 3);
    let order = partitioned.world.order(approvable).unwrap();
    let member = partitioned.world.members.iter().find(|m| m.seat == at);
    let keys = &member.unwrap().keys;
    let mut rng = rand::rng();
    assert_eq!(order.execute(keys, &mut rng).unwrap().len(), 1);
}

/// Attack: a vault shows a block that the home log does not commit to: it came after the last root, or
/// never entered the partition's log, or another block's leaf stands for it.
#[test]
fn a_block_that_the_home_log_does_not_cover_is_refused() {
    let unlogged = |case: &Case, logged: Option<ProvenLeaf>| {
        let mut shown = case.clone();
        shown.pages[0].blocks[1].logged = logged;
        shown
    };
    let refusal = |partitioned: &mut Partitioned, case: &Case| {
        let refusal = partitioned.refused_labels(case);
        assert!(
            matches!(refusal, LabelRefusal::BlockNotLogged { block: 1, .. }),
            "{refusal}"
        );
    };
    let mut partitioned = Partitioned::new();
    let case = partitioned.approved();
    refusal(&mut partitioned, &unlogged(&case, None));
    let other = partitioned.proven(1, partitioned.rooted);
    refusal(&mut partitioned, &unlogged(&case, Some(other)));
    // The same leaf, logged once more after the root.
    let late = partitioned.append_block(1);
    let size = partitioned.log.len() as u64;
    let late = partitioned.proven(late, size);
    refusal(&mut partitioned, &unlogged(&case, Some(late)));
    // A leaf that opens to something else than was committed.
    let mut reopened = partitioned.proven(2, partitioned.rooted);
    reopened.leaf.logged_at = Timestamp(1);
    refusal(&mut partitioned, &unlogged(&case, Some(reopened)));
    // What is refused is the evidence, not the request.
    let at = seat(Role::Workflow, 1);
    partitioned.world.approvable(&case, at).unwrap();
}

/// Attack: a record is left out, and even the reviewers approve the shorter list. The group froze more.
#[test]
fn a_record_left_out_of_a_part_is_refused() {
    let mut partitioned = Partitioned::new();
    let request = partitioned.world.request(1);
    let whole = partitioned.world.find(&request);
    let part = partitioned.append(LeafContent::Part(whole.selection.clone()));
    partitioned.commit();
    let mut short = partitioned.world.show(&request, |label| label.block == 0);
    short.pages[0].blocks.truncate(1);
    let short = partitioned.show(&short, part);
    partitioned.approve(&short);
    assert_eq!(
        partitioned.refused_labels(&short),
        LabelRefusal::PartDiffers { partition: HERE }
    );
}

/// Attack: a part that the partition's log has not, or another request's, stands for this one's.
#[test]
fn a_part_that_was_not_frozen_is_refused() {
    let mut partitioned = Partitioned::new();
    let request = partitioned.world.request(1);
    let other = LeafContent::Part(Selection {
        request: RequestId([9; 32]),
        ..partitioned.world.find(&request).selection
    });
    let other = partitioned.append(other);
    let case = partitioned.approved();
    let own = partitioned.append(LeafContent::Part(case.selection.clone()));
    let size = partitioned.log.len() as u64;
    let refusal = LabelRefusal::PartNotLogged { partition: HERE };
    let rooted = partitioned.rooted;
    for (index, size) in [(1, rooted), (other, rooted), (own, size)] {
        let mut shown = case.clone();
        shown.part = Some((HERE, partitioned.proven(index, size)));
        assert_eq!(partitioned.refused_labels(&shown), refusal);
    }
}

/// Attack: records of a further partition are shown as the home group's, of whose blocks the log lists
/// none; with a log that says there are partitions, and with one that does not.
#[test]
fn a_further_partition_does_not_pass_for_the_home_group() {
    let mut partitioned = Partitioned::new();
    let mut case = partitioned.approved();
    case.part = None;
    for block in &mut case.pages[0].blocks {
        block.logged = None;
    }
    let refusal = partitioned.refused_labels(&case);
    assert_eq!(refusal, LabelRefusal::Partition(0));

    let mut world = World::of_shard(shard(HERE));
    world.write(&[(1, 0, NOON.minute().0 - 60)]);
    let case = world.approved();
    let refusal = world.refused(&case, seat(Role::Workflow, 1));
    assert!(
        matches!(
            refusal,
            ReleaseRefusal::Labels(LabelRefusal::BlockNotLogged { .. })
        ),
        "{refusal}"
    );
}

/// Attack: an edge seals a subject's record in a partition where it does not live, or a vault shows one
/// that the request does not touch.
#[test]
fn a_partition_where_the_subject_does_not_live_is_refused() {
    let mut partitioned = Partitioned::new();
    let strayed = (2..).find(|number| {
        let home = partition_of(&subject(*number), COUNT);
        home > HERE
    });
    let strayed = strayed.unwrap();
    let elsewhere = partition_of(&subject(strayed), COUNT);
    let minute = NOON.minute().0 - 60;
    partitioned.world.write(&[(strayed, 1, minute)]);
    let late = partitioned.append_block(2);
    let mut request = partitioned.world.request(1);
    request.scope[0].subject = subject(strayed);
    let case = partitioned.world.find(&request);
    let shown = partitioned.shown(&case);
    partitioned.approve(&shown);
    // The subject's own partition has shown nothing at all.
    assert_eq!(
        partitioned.refused(&shown),
        ReleaseRefusal::Partitions(PartitionRefusal::NoRoot {
            partition: elsewhere,
            size: partitioned.world.leaves.len() as u64,
        })
    );
    let root = PartitionRoot {
        partition: elsewhere,
        ..partitioned.first_root()
    };
    partitioned.world.log(LeafContent::PartitionRoot(root));
    assert_eq!(
        partitioned.refused_labels(&shown),
        LabelRefusal::PartNotLogged { partition: HERE },
        "not touched: no root of it counts"
    );
    // Touched for another subject's sake, the partition shows the strayed one's records as well.
    let mut request = partitioned.world.request(2);
    let mut line = request.scope[0].clone();
    line.subject = subject(strayed);
    request.scope.push(line);
    let both = partitioned.world.find(&request);
    let mut both = partitioned.shown(&both);
    both.pages[0].blocks[2].logged = Some(partitioned.proven(late, partitioned.rooted));
    partitioned.approve(&both);
    assert_eq!(
        partitioned.refused_labels(&both),
        LabelRefusal::Partition(HERE),
        "the subject does not live there"
    );
}

impl Partitioned {
    /// A root of the whole log as if it were its partition's first.
    fn first_root(&self) -> PartitionRoot {
        PartitionRoot {
            proof: Vec::new(),
            ..self.root()
        }
    }
}

/// The home group's own part is a leaf of the log itself: without it nothing is believed of partition 0.
#[test]
fn the_home_groups_own_part_is_in_its_log() {
    let number = (1..).find(|number| partition_of(&subject(*number), COUNT) == 0);
    let number = number.unwrap();
    let mut world = World::of_shard(shard(0));
    world.log(LeafContent::Partitions { count: COUNT });
    let minute = NOON.minute().0 - 60;
    world.write(&[(number, 0, minute), (number, 1, minute)]);
    let mut request = world.request(1);
    request.scope[0].subject = subject(number);
    let case = world.find(&request);
    world.submit_case(&case);
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
        world.approve(&case, seat(role, 2));
    }
    let at = seat(Role::Workflow, 1);
    let refusal = world.refused(&case, at);
    let size = world.leaves.len() as u64;
    let missing = ReleaseRefusal::Partitions(PartitionRefusal::NoPart { size });
    assert_eq!(refusal, missing);
    assert!(refusal.may_pass_later());
    world.log(LeafContent::Part(case.selection.clone()));
    world.approvable(&case, at).unwrap();
}

/// Attack: the home log is made to say that a partition's log was another one. It is a fork: the follower
/// does not go on, and cosigns nothing.
#[test]
fn a_root_that_forks_a_partition_stops_the_follower() {
    let mut partitioned = Partitioned::new();
    partitioned.approved();
    let before = partitioned.world.follower.clone();
    partitioned.world.sync();
    assert_ne!(partitioned.world.follower, before);
    partitioned.append_block(0);
    let good = partitioned.root();
    let mut forked = good.clone();
    forked.root.0[0] ^= 1;
    let mut beyond = good.clone();
    beyond.partition = COUNT;
    let count = LeafContent::Partitions { count: COUNT };
    let index = partitioned.world.leaves.len() as u64;
    for content in [
        LeafContent::PartitionRoot(forked),
        LeafContent::PartitionRoot(partitioned.first_root()),
        LeafContent::PartitionRoot(beyond),
        count,
    ] {
        let refused = folded_with(&partitioned.world, content);
        assert_eq!(refused.unwrap_err(), FollowError::Partitions { index });
    }
    folded_with(&partitioned.world, LeafContent::PartitionRoot(good)).unwrap();
}

fn folded_with(world: &World, content: LeafContent) -> Result<LogFollower, FollowError> {
    let leaf = OpenedLeaf::new(NOON, content, &[3; 32], 99);
    let mut leaves = world.leaves.clone();
    leaves.push(leaf.clone());
    let signed = world.checkpoint_of(&leaves);
    world
        .follower
        .advance(&[leaf], &world.vouched(&signed), world.now)
}

/// A follower of one partition is on disk what it was before there were several; what it knows of
/// partitions goes beside it.
#[test]
fn partitions_are_persisted_beside_the_follower() {
    let mut partitioned = Partitioned::new();
    partitioned.approved();
    partitioned.world.sync();
    let follower = &partitioned.world.follower;
    assert!(!follower.partitions().is_empty());
    let bytes = codec::encode_file(&(follower, follower.partitions())).unwrap();
    assert!(codec::decode_file::<LogFollower>(&bytes).is_err());
    let (alone, partitions): (LogFollower, PartitionFacts) = codec::decode_file(&bytes).unwrap();
    assert!(alone.partitions().is_empty());
    let again = alone.with_partitions(partitions);
    assert_eq!(&again, follower);
    assert_eq!(persist(again).follower(), follower);
}
