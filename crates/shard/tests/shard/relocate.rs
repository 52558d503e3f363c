//! The directory goes on on new nodes: numbers are never used twice, rules stay, regions hold.

use bailiwick_shard::directory::{
    ClusterView, CreateJurisdiction, DirectoryCommand, DirectoryCommandBody as Body,
    DirectoryRejection, NodeEntry, RelocateError, apply, description, relocate,
};
use bailiwick_types::store::MemoryStore;
use bailiwick_types::{ClusterId, CommandKey, Digest, NodeId};

use crate::world::{START, name};

fn node(id: u64, region: &str) -> NodeEntry {
    NodeEntry {
        id: NodeId(id),
        name: name(&format!("node-{id}")),
        region: name(region),
        address: format!("10.0.0.{id}:7000"),
    }
}

fn started() -> MemoryStore {
    let mut store = MemoryStore::default();
    let create = |code: &str, region: &str, replicas| {
        Body::CreateJurisdiction(CreateJurisdiction {
            jurisdiction: code.parse().unwrap(),
            allowed_regions: vec![name(region)],
            replicas,
            partitions: 2,
            policy: Digest([1; 32]),
        })
    };
    let bodies = [
        Body::Initialise {
            cluster: ClusterId([1; 16]),
            trust_domain: name("bailiwick.example"),
            nodes: vec![node(1, "eu"), node(2, "eu"), node(3, "eu"), node(4, "us")],
        },
        create("FR", "eu", 3),
        create("US", "us", 1),
    ];
    for (number, body) in (0..).zip(bodies) {
        let command = DirectoryCommand {
            key: CommandKey([number; 16]),
            by: name("operator"),
            body,
        };
        apply(&mut store, START, &command.to_bytes().unwrap()).unwrap();
    }
    store
}

fn view(store: &MemoryStore) -> ClusterView {
    description(store).unwrap().unwrap()
}

#[test]
fn groups_keep_their_numbers_and_move_to_the_new_nodes() {
    let mut store = started();
    let before = view(&store);
    let nodes = vec![node(8, "us"), node(5, "eu"), node(6, "eu"), node(7, "eu")];
    let after = relocate(&mut store, nodes).unwrap();
    assert_eq!(after, view(&store));
    assert_eq!(after.cluster, before.cluster);
    assert_eq!(after.jurisdictions, before.jurisdictions);
    assert_eq!(after.version, before.version + 1);
    assert_eq!(after.directory_voters.len(), 3);
    for (group, was) in after.groups.iter().zip(&before.groups) {
        assert_eq!((group.id, group.shard), (was.id, was.shard));
        let expected: &[u64] = match group.shard.jurisdiction.as_str() {
            "FR" => &[5, 6, 7],
            _ => &[8],
        };
        let voters: Vec<u64> = group.voters.iter().map(|voter| voter.0).collect();
        assert_eq!(voters, expected, "{}", group.shard);
    }
}

#[test]
fn a_used_number_and_a_missing_region_are_refused_and_change_nothing() {
    let mut store = started();
    let before = store.clone();
    let used = relocate(&mut store, vec![node(4, "us"), node(5, "eu")]);
    assert!(matches!(
        used,
        Err(RelocateError::Nodes(DirectoryRejection::NodeId(NodeId(4))))
    ));
    let nodes = vec![node(5, "eu"), node(6, "eu"), node(7, "eu")];
    let missing = relocate(&mut store, nodes);
    assert!(matches!(
        missing,
        Err(RelocateError::Placement { jurisdiction, .. }) if jurisdiction.as_str() == "US"
    ));
    assert_eq!(store, before);
    let blank = relocate(&mut MemoryStore::default(), vec![node(1, "eu")]);
    assert!(matches!(blank, Err(RelocateError::Blank)));
}
