//! The directory: nodes, placement, groups.

use bailiwick_shard::directory::{
    Autopilot, ChangeJurisdiction, ClusterView, CreateJurisdiction, DirectoryCommand,
    DirectoryCommandBody as Body, DirectoryOutcome, DirectoryRejection, JurisdictionState,
    NodeEntry, apply, description,
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

    fn view(&self) -> ClusterView {
        description(&self.store).unwrap().unwrap()
    }

    fn done(&mut self, body: Body) {
        if let DirectoryOutcome::Rejected(rejection) = self.by(body) {
            panic!("{rejection}");
        }
    }

    fn version_of(&self, code: &str) -> u64 {
        let view = self.view();
        view.jurisdiction(code.parse().unwrap()).unwrap().version
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
    // The lowest of its first voters makes the group: it is needed until that is done.
    let in_use = DirectoryRejection::NodeInUse(NodeId(1));
    let remove = Body::RemoveNode { node: NodeId(1) };
    assert_eq!(directory.rejected(remove.clone()), in_use);
    let members = vec![NodeId(3), NodeId(4), NodeId(5)];
    directory.done(Body::GroupMembers { group, members });
    directory.done(remove);
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
    assert_eq!(added, DirectoryOutcome::Accepted { version: 7 });
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

fn change(directory: &Directory, code: &str, regions: &[&str]) -> ChangeJurisdiction {
    ChangeJurisdiction {
        jurisdiction: code.parse().unwrap(),
        expected: directory.version_of(code),
        allowed_regions: Some(regions.iter().map(|region| name(region)).collect()),
        replicas: None,
        policy: None,
    }
}

#[test]
fn a_draining_node_is_replaced_where_there_is_another_and_needed_where_not() {
    let mut directory = Directory::started();
    directory.done(create("FR", &["eu"], 3, 1));
    directory.done(create("US", &["us"], 1, 1));
    let drain = |id, draining| Body::DrainNode {
        node: NodeId(id),
        draining,
    };
    let needed = DirectoryRejection::NodeNeeded {
        node: NodeId(2),
        jurisdiction: "US".parse().unwrap(),
        eligible: 0,
        needed: 1,
    };
    assert_eq!(directory.rejected(drain(2, true)), needed);
    // What a dry run asks: it says the same of every node.
    let view = description(&directory.store).unwrap().unwrap();
    let us = ShardId::home("US".parse().unwrap());
    assert_eq!(view.stays_when_drained(NodeId(2)), [us]);
    assert_eq!(view.stays_when_drained(NodeId(3)), []);
    assert_eq!(directory.voters(1), [1, 3, 4]);
    directory.done(drain(3, true));
    assert_eq!(directory.voters(1), [1, 4, 5]);
    // Nothing comes back by itself: placement is stable.
    directory.done(drain(3, false));
    assert_eq!(directory.voters(1), [1, 4, 5]);
    // In fact it is a member still.
    let members = vec![NodeId(1), NodeId(3), NodeId(4)];
    directory.done(Body::GroupMembers {
        group: GroupId(1),
        members,
    });
    let remove = || Body::RemoveNode { node: NodeId(3) };
    let in_use = DirectoryRejection::NodeInUse(NodeId(3));
    assert_eq!(directory.rejected(remove()), in_use);
    let members = vec![NodeId(1), NodeId(4), NodeId(5)];
    directory.done(Body::GroupMembers {
        group: GroupId(1),
        members,
    });
    directory.done(remove());
    let mut reused = node(9, "eu");
    reused.name = name("node-3");
    let taken = DirectoryRejection::NodeTaken(NodeId(9));
    assert_eq!(directory.rejected(Body::AddNode { node: reused }), taken);
}

#[test]
fn a_lost_node_is_replaced_and_stays_for_want_of_another() {
    let mut directory = Directory::started();
    directory.done(create("FR", &["eu"], 3, 1));
    directory.done(create("US", &["us"], 1, 1));
    let lost = |id| Body::NodeContact {
        node: NodeId(id),
        lost_since: Some(START),
    };
    directory.done(lost(2));
    assert_eq!(directory.voters(2), [2]);
    directory.done(lost(1));
    assert_eq!(directory.voters(1), [3, 4, 5]);
    directory.done(lost(4));
    assert_eq!(directory.voters(1), [3, 4, 5]);
    // One is back: it is another.
    directory.done(Body::NodeContact {
        node: NodeId(1),
        lost_since: None,
    });
    assert_eq!(directory.voters(1), [1, 3, 5]);
    // An operator may want to do it by hand.
    let by_hand = Autopilot {
        cleanup_dead_servers: false,
        ..Autopilot::default()
    };
    directory.done(Body::ConfigureAutopilot(by_hand));
    directory.done(lost(1));
    assert_eq!(directory.voters(1), [1, 3, 5]);
    let impossible = Autopilot {
        dead_server_last_contact_threshold_ms: 1,
        ..by_hand
    };
    let refused = directory.rejected(Body::ConfigureAutopilot(impossible));
    assert!(matches!(refused, DirectoryRejection::Autopilot { .. }));
}

#[test]
fn a_jurisdiction_leaves_a_region_step_by_step() {
    let mut directory = Directory::started();
    directory.done(create("FR", &["eu"], 1, 1));
    assert_eq!(directory.voters(1), [1]);
    let (fr, eu, us) = ("FR".parse().unwrap(), name("eu"), name("us"));
    let stale = ChangeJurisdiction {
        expected: 1,
        ..change(&directory, "FR", &["us"])
    };
    let rejection = directory.rejected(Body::ChangeJurisdiction(stale));
    assert!(matches!(
        rejection,
        DirectoryRejection::Version { found: 2, .. }
    ));
    directory.done(Body::ChangeJurisdiction(change(&directory, "FR", &["us"])));
    assert_eq!(directory.voters(1), [2]);
    let view = directory.view();
    assert!(view.may_hold(fr, &eu) && view.may_hold(fr, &us));
    assert!(view.groups[0].belongs_on(NodeId(1)));
    // Both are members, then only the new one: now nothing may be in the old region any more.
    for (members, holds) in [(vec![NodeId(1), NodeId(2)], true), (vec![NodeId(2)], false)] {
        let group = GroupId(1);
        directory.done(Body::GroupMembers { group, members });
        assert_eq!(directory.view().may_hold(fr, &eu), holds);
    }
    assert!(!directory.view().groups[0].belongs_on(NodeId(1)));
    let nobody = change(&directory, "FR", &["mars"]);
    let (eligible, needed) = (0, 1);
    let few = DirectoryRejection::TooFewNodes { eligible, needed };
    assert_eq!(directory.rejected(Body::ChangeJurisdiction(nobody)), few);
}

#[test]
fn a_retired_jurisdiction_is_deleted_and_its_code_never_comes_back() {
    let mut directory = Directory::started();
    directory.done(create("FR", &["eu"], 3, 1));
    let jurisdiction = "FR".parse().unwrap();
    let delete = |expected| Body::DeleteJurisdiction {
        jurisdiction,
        expected,
    };
    let serving = DirectoryRejection::JurisdictionState {
        jurisdiction,
        state: JurisdictionState::Serving,
    };
    assert_eq!(directory.rejected(delete(2)), serving);
    directory.done(Body::RetireJurisdiction {
        jurisdiction,
        expected: 2,
    });
    assert_eq!(directory.view().groups.len(), 1);
    directory.done(delete(3));
    assert!(directory.view().groups.is_empty());
    assert!(!directory.view().may_hold(jurisdiction, &name("eu")));
    let exists = DirectoryRejection::JurisdictionExists(jurisdiction);
    assert_eq!(directory.rejected(create("FR", &["eu"], 3, 1)), exists);
}

#[test]
fn a_node_begins_with_one_disk_for_good() {
    let mut directory = Directory::started();
    let begin = |byte| Body::BeginNode {
        node: NodeId(1),
        disk: Digest([byte; 32]),
    };
    directory.done(begin(1));
    directory.done(begin(1));
    let other = DirectoryRejection::OtherDisk(NodeId(1));
    assert_eq!(directory.rejected(begin(2)), other);
}

/// The last sound voter leaves, and only draining nodes are there: one of them votes.
#[test]
fn a_directory_is_never_without_a_voter() {
    let mut directory = Directory::started();
    let drain = |id| Body::DrainNode {
        node: NodeId(id),
        draining: true,
    };
    for body in [
        Body::RemoveNode { node: NodeId(3) },
        drain(4),
        Body::RemoveNode { node: NodeId(1) },
        drain(5),
        Body::RemoveNode { node: NodeId(2) },
    ] {
        directory.by(body);
        let voters = directory.view().directory_voters;
        assert_eq!(voters.len() % 2, 1, "{voters:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn directory_is_total_and_deterministic(
        steps in proptest::collection::vec((0..13u8, 0..9u64, 0..4u8), 0..60),
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
                4 => Body::DrainNode { node: NodeId(a), draining: b < 2 },
                5 => Body::NodeContact {
                    node: NodeId(a),
                    lost_since: (b < 2).then_some(START),
                },
                6 => Body::GroupMembers { group, members: vec![NodeId(a), remove] },
                7 | 8 => {
                    let known = directory.view();
                    let Some(entry) = known.jurisdictions.first() else { continue };
                    let (jurisdiction, expected) = (entry.jurisdiction, entry.version);
                    match a {
                        0 => Body::RetireJurisdiction { jurisdiction, expected },
                        1 => Body::DeleteJurisdiction { jurisdiction, expected },
                        _ => Body::ChangeJurisdiction(ChangeJurisdiction {
                            jurisdiction,
                            expected,
                            allowed_regions: Some(vec![name(region)]),
                            replicas: (b > 1).then_some(b),
                            policy: None,
                        }),
                    }
                }
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
