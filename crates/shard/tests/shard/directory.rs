//! The directory: nodes, placement, groups.

use bailiwick_shard::directory::{
    CreateJurisdiction, DirectoryCommand, DirectoryCommandBody as Body, DirectoryOutcome,
    DirectoryRejection, NodeEntry, apply, description,
};
use bailiwick_types::store::MemoryStore;
use bailiwick_types::{ClusterId, CommandKey, Digest, GroupId, NodeId, ShardId};
use proptest::prelude::*;

use crate::world::{START, name};

fn node(id: u64, region: &str) -> NodeEntry {
    NodeEntry {
        id: NodeId(id),
        name: name(&format!("node-{id}")),
        region: name(region),
        address: format!("10.0.0.{id}:7000"),
    }
}

fn create(code: &str, regions: &[&str], replicas: u8, partitions: u16) -> Body {
    Body::CreateJurisdiction(CreateJurisdiction {
        jurisdiction: code.parse().unwrap(),
        allowed_regions: regions.iter().map(|region| name(region)).collect(),
        replicas,
        partitions,
        policy: Digest([1; 32]),
    })
}

#[derive(Default, Clone)]
struct Directory {
    store: MemoryStore,
    history: Vec<Vec<u8>>,
}

impl Directory {
    fn started() -> Self {
        let mut directory = Self::default();
        let nodes = vec![
            node(3, "eu"),
            node(1, "eu"),
            node(2, "us"),
            node(4, "eu"),
            node(5, "eu"),
        ];
        let outcome = directory.by(Body::Initialise {
            cluster: ClusterId([1; 16]),
            trust_domain: name("bailiwick.example"),
            nodes,
        });
        assert_eq!(outcome, DirectoryOutcome::Accepted { version: 1 });
        directory
    }

    fn by(&mut self, body: Body) -> DirectoryOutcome {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&(self.history.len() as u64).to_be_bytes());
        let (key, by) = (CommandKey(key), name("operator"));
        self.send(DirectoryCommand { key, by, body }.to_bytes().unwrap())
    }

    fn send(&mut self, command: Vec<u8>) -> DirectoryOutcome {
        let outcome = apply(&mut self.store, START, &command).unwrap();
        self.history.push(command);
        DirectoryOutcome::from_bytes(&outcome).unwrap()
    }

    fn rejected(&mut self, body: Body) -> DirectoryRejection {
        let before = self.store.clone();
        match self.by(body) {
            DirectoryOutcome::Rejected(rejection) => {
                assert_eq!(self.store, before);
                rejection
            }
            other => panic!("not rejected: {other:?}"),
        }
    }

    fn voters(&self, group: u32) -> Vec<u64> {
        let view = description(&self.store).unwrap().unwrap();
        let group = view
            .groups
            .iter()
            .find(|entry| entry.id == GroupId(group))
            .unwrap();
        group.voters.iter().map(|node| node.0).collect()
    }
}

#[test]
fn groups_go_to_the_least_loaded_nodes_of_allowed_regions() {
    let mut directory = Directory::started();
    let outcome = directory.by(create("FR", &["eu"], 3, 1));
    let shard = ShardId::home("FR".parse().unwrap());
    let groups = vec![(GroupId(1), shard)];
    assert_eq!(outcome, DirectoryOutcome::Created { version: 2, groups });
    assert_eq!(directory.voters(1), [1, 3, 4]);
    directory.by(create("DE", &["eu"], 3, 1));
    assert_eq!(directory.voters(2), [1, 3, 5]);
    directory.by(create("US", &["us"], 1, 1));
    assert_eq!(directory.voters(3), [2]);
    directory.by(create("ES", &["eu"], 1, 3));
    assert_eq!(
        [4, 5, 6].map(|group| directory.voters(group)),
        [[4], [5], [1]]
    );
    let view = description(&directory.store).unwrap().unwrap();
    assert_eq!(view.version, 5);
    let voters: Vec<_> = view.directory_voters.iter().map(|node| node.0).collect();
    assert_eq!(voters, [1, 2, 3, 4, 5]);
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let mut directory = Directory::started();
    let (eligible, needed) = (1, 3);
    let few = DirectoryRejection::TooFewNodes { eligible, needed };
    assert_eq!(directory.rejected(create("US", &["us"], 3, 1)), few);
    // An empty list allows nobody.
    let (eligible, needed) = (0, 1);
    let none = DirectoryRejection::TooFewNodes { eligible, needed };
    assert_eq!(directory.rejected(create("US", &[], 1, 1)), none);
    let even = DirectoryRejection::Replicas(2);
    assert_eq!(directory.rejected(create("FR", &["eu"], 2, 1)), even);
    let zero = DirectoryRejection::Replicas(0);
    assert_eq!(directory.rejected(create("FR", &["eu"], 0, 1)), zero);
    let zero = DirectoryRejection::Partitions(0);
    assert_eq!(directory.rejected(create("FR", &["eu"], 3, 0)), zero);
    directory.by(create("FR", &["eu"], 3, 1));
    let exists = DirectoryRejection::JurisdictionExists("FR".parse().unwrap());
    assert_eq!(directory.rejected(create("FR", &["eu"], 3, 1)), exists);
    let reused = DirectoryRejection::NodeId(NodeId(2));
    assert_eq!(
        directory.rejected(Body::AddNode {
            node: node(2, "eu")
        }),
        reused
    );
    let mut taken = node(9, "eu");
    taken.address = "10.0.0.1:7000".to_owned();
    let expected = DirectoryRejection::NodeTaken(NodeId(9));
    assert_eq!(directory.rejected(Body::AddNode { node: taken }), expected);
    let in_use = DirectoryRejection::NodeInUse(NodeId(1));
    assert_eq!(
        directory.rejected(Body::RemoveNode { node: NodeId(1) }),
        in_use
    );
    let (group, remove, add) = (GroupId(1), NodeId(1), NodeId(2));
    let (node, region) = (add, name("us"));
    let elsewhere = DirectoryRejection::RegionNotAllowed { node, region };
    assert_eq!(
        directory.rejected(Body::ReplaceVoter { group, remove, add }),
        elsewhere
    );
    let again = Body::Initialise {
        cluster: ClusterId([2; 16]),
        trust_domain: name("x"),
        nodes: vec![],
    };
    let cluster = ClusterId([1; 16]);
    assert_eq!(
        directory.rejected(again),
        DirectoryRejection::AlreadyInitialised(cluster)
    );
}

#[test]
fn a_node_is_replaced_and_its_id_never_comes_back() {
    let mut directory = Directory::started();
    directory.by(create("FR", &["eu"], 3, 1));
    let (group, remove, add) = (GroupId(1), NodeId(1), NodeId(5));
    directory.by(Body::ReplaceVoter { group, remove, add });
    assert_eq!(directory.voters(1), [3, 4, 5]);
    directory.by(Body::RemoveNode { node: NodeId(1) });
    directory.by(Body::RemoveNode { node: NodeId(2) });
    let view = description(&directory.store).unwrap().unwrap();
    let voters: Vec<_> = view.directory_voters.iter().map(|node| node.0).collect();
    assert_eq!(voters, [3, 4, 5]);
    let reused = DirectoryRejection::NodeId(NodeId(1));
    assert_eq!(
        directory.rejected(Body::AddNode {
            node: node(1, "eu")
        }),
        reused
    );
    let added = directory.by(Body::AddNode {
        node: node(6, "eu"),
    });
    assert_eq!(added, DirectoryOutcome::Accepted { version: 6 });
}

#[test]
fn a_retried_command_is_the_same_command() {
    let mut directory = Directory::started();
    let first = directory.by(create("FR", &["eu"], 3, 1));
    let command = directory.history.last().unwrap().clone();
    directory.by(create("DE", &["eu"], 3, 1));
    let before = directory.store.clone();
    assert_eq!(directory.send(command), first);
    assert_eq!(directory.store, before);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn directory_is_total_and_deterministic(
        steps in proptest::collection::vec((0..7u8, 0..9u64, 0..4u8), 0..40),
        noise in any::<Vec<u8>>(),
    ) {
        let mut directory = Directory::started();
        for (kind, a, b) in steps {
            let region = ["eu", "us"][usize::from(b & 1)];
            let (group, remove, add) = (GroupId(a as u32), NodeId(u64::from(b)), NodeId(a));
            let code = ["FR", "DE", "US", "GB"][usize::from(b)];
            directory.by(match kind {
                0 => Body::AddNode { node: node(a + 3, region) },
                1 => Body::RemoveNode { node: NodeId(a) },
                2 => Body::ReplaceVoter { group, remove, add },
                3 => Body::ChangeAddress { node: NodeId(a), address: format!("h{b}:1") },
                _ => create(code, &[region], a as u8 % 4, u16::from(b)),
            });
            let view = description(&directory.store).unwrap().unwrap();
            for group in &view.groups {
                let rules = view.jurisdiction(group.shard.jurisdiction).unwrap();
                prop_assert_eq!(group.voters.len(), usize::from(rules.replicas));
                for voter in &group.voters {
                    let region = &view.node(*voter).unwrap().region;
                    prop_assert!(rules.allowed_regions.contains(region));
                }
            }
            prop_assert_eq!(view.directory_voters.len() % 2, 1);
        }
        directory.send(noise);
        let mut replica = MemoryStore::default();
        for command in &directory.history {
            apply(&mut replica, START, command).unwrap();
        }
        prop_assert_eq!(replica, directory.store);
    }
}
