//! Attacks by members and edges who lie while records are opened.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use std::collections::BTreeSet;

use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_threshold::adjudication::{Finding, adjudicate, session_key};
use bailiwick_threshold::{
    Opening, OpeningError, RecordToSeal, SelectedRecord, UnfitReason, VerifiedPartial,
};
use bailiwick_types::{Role, SlotMask};
use world::*;

struct Scene {
    world: World,
    header: VerifiedHeader,
    sealed: Vec<RecordToSeal>,
    records: Vec<SelectedRecord>,
}

impl Scene {
    fn new(workflow: (u8, u8), legal_review: (u8, u8)) -> Self {
        let mut world = World::with(workflow, legal_review);
        let (header, mut sealer) = world.session();
        let sealed = some_records();
        let block = world.seal(&mut sealer, &sealed);
        let records = selected(&header, &block, 0);
        Self {
            world,
            header,
            sealed,
            records,
        }
    }

    fn honest(&mut self, slots: [&[u8]; 2]) -> Vec<VerifiedPartial> {
        self.world.partials(&self.header, &self.records, slots)
    }

    /// A slot's partial with every value changed by `lie(index, set, value)`.
    fn lying(
        &mut self,
        role: Role,
        number: u8,
        lie: impl Fn(u32, SlotMask, &mut [u8; 32]),
    ) -> VerifiedPartial {
        let mut body = self
            .world
            .body(&self.header, &self.records, role, slot(number));
        for record in &mut body.records {
            for (set, value) in &mut record.values {
                lie(record.index, *set, value);
            }
        }
        self.world.send(&body)
    }

    fn open(&self, partials: &[VerifiedPartial]) -> Result<Opening, OpeningError> {
        self.world.open(&self.records, partials)
    }
}

fn blamed(opening: &Opening) -> BTreeSet<(Role, u8)> {
    let contradicted = opening.contradicted.iter();
    contradicted.map(|c| (c.role, c.slot.number())).collect()
}

/// Attack: a liar changes two values by the same difference, which would cancel if values were
/// xored, open the record, and frame the honest holders of both sets. Values are concatenated: the
/// lie opens nothing, and the liar alone is contradicted.
#[test]
fn xor_cancel_does_not_frame() {
    let mut scene = Scene::new((2, 3), (2, 3));
    // Slot 1 holds {1,2} and {1,3}; in subset {1,2} both of its answers are taken.
    let liar = scene.lying(Role::Workflow, 1, |_, _, value| value[7] ^= 0x40);
    let mut partials = vec![liar];
    partials.extend(scene.honest([&[2], &[1, 2]]));
    assert_eq!(
        scene.open(&partials).unwrap_err(),
        OpeningError::Unattributed { index: 0 }
    );
    partials.extend(scene.honest([&[3], &[]]));
    let opening = scene.open(&partials);
    assert!(opens_all(&opening, &scene.sealed), "{opening:?}");
    assert_eq!(
        blamed(&opening.unwrap()),
        BTreeSet::from([(Role::Workflow, 1)])
    );
}

/// Attack: an edge seals under a key that it shares with one member instead of the one it committed
/// to. The record opens with the accomplice's answer and the honest holder looks like the liar; the
/// adjudication from the commitment clears it and finds the accomplice and the edge.
#[test]
fn edge_member_framing_adjudicated_to_edge() {
    let mut world = World::new();
    let committed = by_hand::keys(&world);
    let header = by_hand::deal(&mut world, &committed, |_, _, _, key| key);
    let shared = (Role::Workflow, SlotMask(0b011));
    let mut used = committed.clone();
    used.insert(shared, [0xee; 32]);
    let sealed = phone(1, "33612345678");
    let records = vec![by_hand::seal(&header, &used, &sealed.plaintext)];
    let x = records[0].label.record_input(&records[0].alpha);
    let body = header.body();
    let context = by_hand::context(&body.kid, &body.nonce, shared.0, shared.1);
    let planted = by_hand::value(&used[&shared], &context, 0, &x);

    let mut accomplice = world.body(&header, &records, Role::Workflow, slot(1));
    let values = &mut accomplice.records[0].values;
    values
        .iter_mut()
        .find(|(set, _)| *set == shared.1)
        .unwrap()
        .1 = planted;
    let mut partials = vec![world.send(&accomplice)];
    partials.extend(world.partials(&header, &records, [&[2, 3], &[1, 2]]));
    let opening = world.open(&records, &partials).unwrap();
    assert_eq!(opening.records[0].plaintext, sealed.plaintext);
    assert_eq!(
        blamed(&opening),
        BTreeSet::from([(Role::Workflow, 2)]),
        "framed"
    );

    let key = world.key(&header, Role::Workflow, slot(2));
    let own = session_key(
        &header,
        &world.certificate,
        Role::Workflow,
        slot(2),
        shared.1,
        key,
    );
    let own = own.unwrap();
    let of = |number: u8| {
        let member = partials.iter().find(|partial| {
            (partial.place().role, partial.place().slot) == (Role::Workflow, slot(number))
        });
        let values = &member.unwrap().body().records[0].values;
        values.iter().find(|(set, _)| *set == shared.1).unwrap().1
    };
    let judge = |key: &[u8; 32], value: [u8; 32]| {
        adjudicate(&header, shared.0, shared.1, key, 0, &x, &value)
    };
    assert_eq!(
        judge(&own, of(2)),
        Finding::AsCommitted,
        "the framed member is cleared"
    );
    assert_eq!(
        judge(&own, of(1)),
        Finding::NotAsCommitted,
        "the accomplice is not"
    );
    assert_eq!(judge(&used[&shared], of(1)), Finding::NotTheCommittedKey);
}

/// Attack: with exactly t answers one lies. Nothing opens, and nobody is named, since any of them
/// may be the liar.
#[test]
fn liar_at_exactly_t_is_reported_unattributed() {
    let mut scene = Scene::new((2, 3), (2, 3));
    for role in Role::ALL {
        let liar = scene.lying(role, 2, |_, _, value| value[0] ^= 1);
        let honest: [&[u8]; 2] = match role {
            Role::Workflow => [&[1], &[1, 3]],
            Role::LegalReview => [&[1, 3], &[1]],
        };
        let mut partials = scene.honest(honest);
        partials.push(liar);
        let refused = scene.open(&partials).unwrap_err();
        assert_eq!(refused, OpeningError::Unattributed { index: 0 });
    }
}

/// Attack: liars make the recipient search for ever. With 14 answers that all differ it tries
/// 35 x 35 pairs for a record and stops; the next record opens at once with the last good pair.
#[test]
fn subset_search_bounded() {
    let mut scene = Scene::new((4, 7), (4, 7));
    let mut partials = Vec::new();
    for role in Role::ALL {
        for number in 1..=7 {
            partials.push(scene.lying(role, number, |index, _, value| {
                if index == 1 {
                    value[0] ^= number;
                }
            }));
        }
    }
    let opening = scene.open(&partials).unwrap();
    assert_eq!(opening.tried, 1 + 35 * 35 + 1);
    let opened: Vec<u32> = opening.records.iter().map(|record| record.index).collect();
    assert_eq!(opened, [0, 2]);
    let error = OpeningError::EdgeFaultOrTooManyLiars { index: 1 };
    assert_eq!(
        (opening.unopened[0].index, &opening.unopened[0].error),
        (1, &error)
    );
}

/// Up to n - t liars in each role change nothing but who is contradicted, whatever they answer:
/// other values, values for other sets, or none.
#[test]
fn liars_up_to_n_minus_t_do_not_prevent_opening() {
    let mut scene = Scene::new((3, 5), (2, 3));
    let mut partials = vec![
        scene.lying(Role::Workflow, 1, |index, set, value| {
            value[3] ^= set.0 ^ index as u8
        }),
        scene.lying(Role::LegalReview, 3, |_, _, value| *value = [0; 32]),
    ];
    let mut malformed = scene
        .world
        .body(&scene.header, &scene.records, Role::Workflow, slot(4));
    malformed.records[1].values.pop();
    partials.push(scene.world.send(&malformed));
    partials.extend(scene.honest([&[2, 3, 5], &[1, 2]]));
    let opening = scene.open(&partials);
    assert!(opens_all(&opening, &scene.sealed), "{opening:?}");
    let opening = opening.unwrap();
    let liars = [
        (Role::Workflow, 1),
        (Role::Workflow, 4),
        (Role::LegalReview, 3),
    ];
    assert_eq!(blamed(&opening), BTreeSet::from(liars));
    // The search remembers the good pair, so that a liar costs a bounded number of tries once.
    assert!(opening.tried <= 3 + 10 * 3, "{}", opening.tried);
    for contradiction in &opening.contradicted {
        let identity = &scene.world.members[&(contradiction.role, contradiction.slot)].identity;
        let public = bailiwick_envelope::IdentityKey::of(identity);
        assert_eq!(
            contradiction.signed.verify(&public),
            Ok(()),
            "evidence stands alone"
        );
    }
}

/// Attack: a member sends two bodies for one chunk. The first counts, the second is kept as
/// evidence, and an exact repeat is nothing.
#[test]
fn one_body_per_slot() {
    let mut scene = Scene::new((2, 3), (2, 3));
    let mut partials = scene.honest([&[1, 2], &[1, 2]]);
    partials.extend(scene.honest([&[1], &[]]));
    // Answering again after a crash means another leaf with the same values: no fault.
    let mut again = scene
        .world
        .body(&scene.header, &scene.records, Role::Workflow, slot(1));
    again.place.leaf_index += 1;
    partials.push(scene.world.send(&again));
    partials.push(scene.lying(Role::Workflow, 1, |_, _, value| value[0] ^= 1));
    let opening = scene.open(&partials);
    assert!(opens_all(&opening, &scene.sealed));
    let unfit = opening.unwrap().unfit;
    let reasons: Vec<_> = unfit.iter().map(|unfit| unfit.reason).collect();
    assert_eq!(reasons, [UnfitReason::SecondBody]);
}
