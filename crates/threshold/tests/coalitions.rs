//! Attacks by coalitions: members below the threshold, and thieves of keys.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod world;

use std::collections::BTreeMap;

use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_threshold::{SelectedRecord, open_part};
use bailiwick_types::{Role, SlotMask, Threshold};
use world::*;

/// A slot's values by holder set.
type Answer = Vec<(SlotMask, [u8; 32])>;

struct Scene {
    world: World,
    record: SelectedRecord,
    /// What each slot would answer, by role.
    answers: BTreeMap<Role, BTreeMap<SlotMask, Answer>>,
}

impl Scene {
    fn new(threshold: (u8, u8)) -> Self {
        let mut world = World::with(threshold, threshold);
        let (header, mut sealer) = world.session();
        let block = world.seal(&mut sealer, &some_records());
        let record = selected(&header, &block, 0).remove(0);
        let x = record.label.record_input(&record.alpha);
        let mut answers: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (role, slot) in world.members.keys() {
            let values = world.part(&header, *role, *slot).values(0, &[(0, x)]);
            let by_slot = answers.entry(*role).or_default();
            by_slot.insert(SlotMask::of(*slot), values[0].values.clone());
        }
        Self {
            world,
            record,
            answers,
        }
    }

    fn threshold(&self) -> Threshold {
        self.world.certificate.body().workflow.threshold
    }

    /// All groups of exactly this many slots.
    fn groups(&self, size: u8) -> Vec<SlotMask> {
        let all = (0..1u8 << self.threshold().members()).map(SlotMask);
        all.filter(|mask| mask.count() == size).collect()
    }

    /// Tries all that a coalition knows: its values, and for each one that it misses a guess from
    /// what it has. Says whether the record opened and how many values were missing.
    fn coalition_opens(&self, workflow: SlotMask, legal_review: SlotMask) -> (bool, usize) {
        let mut known: BTreeMap<(Role, SlotMask), [u8; 32]> = BTreeMap::new();
        for (role, group) in Role::ALL.into_iter().zip([workflow, legal_review]) {
            for (slot, values) in &self.answers[&role] {
                if slot.0 & group.0 != 0 {
                    known.extend(values.iter().map(|(set, value)| ((role, *set), *value)));
                }
            }
        }
        let needed: Vec<(Role, SlotMask)> = Role::ALL
            .into_iter()
            .flat_map(|role| {
                let sets = self
                    .world
                    .certificate
                    .body()
                    .committee(role)
                    .threshold
                    .holder_sets();
                sets.into_iter().map(move |set| (role, set))
            })
            .collect();
        let missing = needed.iter().filter(|key| !known.contains_key(key)).count();
        let fillers = [[0; 32]].into_iter().chain(known.values().copied());
        let opened = fillers.into_iter().any(|filler| {
            let values = needed
                .iter()
                .map(|key| known.get(key).copied().unwrap_or(filler));
            let values: Vec<u8> = values.flatten().collect();
            by_hand::values_open(&self.record, &values)
        });
        (opened, missing)
    }
}

fn for_thresholds(check: impl Fn(&Scene, u8, u8)) {
    for threshold in [(2, 3), (3, 5)] {
        let scene = Scene::new(threshold);
        check(&scene, threshold.0, threshold.1);
    }
}

/// Attack: t - 1 members of each role pool all they know. Every such pair of groups misses at least
/// one value of each role; every pair of groups of t opens (the control).
#[test]
fn t_minus_1_all_subsets_cannot_open() {
    for_thresholds(|scene, t, _| {
        for left in scene.groups(t - 1) {
            for right in scene.groups(t - 1) {
                let (opened, missing) = scene.coalition_opens(left, right);
                assert!(!opened && missing >= 2, "{left:?} {right:?}");
            }
        }
        for left in scene.groups(t) {
            for right in scene.groups(t) {
                assert_eq!(scene.coalition_opens(left, right), (true, 0));
            }
        }
    });
}

/// Attack: all members of one role and t - 1 of the other.
#[test]
fn full_role_plus_t_minus_1_cannot_open() {
    for_thresholds(|scene, t, n| {
        let all = SlotMask(((1u16 << n) - 1) as u8);
        for few in scene.groups(t - 1) {
            for (left, right) in [(all, few), (few, all)] {
                let (opened, missing) = scene.coalition_opens(left, right);
                assert!(!opened && missing >= 1, "{left:?} {right:?}");
            }
        }
    });
}

/// Every part that some stolen keys open, by (role, slot) and session.
fn opened_parts(
    world: &World,
    headers: &[VerifiedHeader],
    stolen: impl Fn(Role, usize) -> bool,
) -> Vec<(usize, Role)> {
    let mut opened = Vec::new();
    for (at, header) in headers.iter().enumerate() {
        for (role, slot) in world.members.keys() {
            let keys = world.members.iter().flat_map(|((owner, _), keys)| {
                let periods = keys.periods.iter().enumerate();
                periods
                    .filter(|(period, _)| stolen(*owner, *period))
                    .map(|(_, key)| key)
            });
            for key in keys {
                if open_part(header, &world.certificate, *role, *slot, key).is_ok() {
                    opened.push((at, *role));
                }
            }
        }
    }
    opened
}

/// Attack: every private key of one role, of all periods, is stolen. No part of the other role opens
/// with any of them, and a full role alone opens nothing (full_role_plus_t_minus_1_cannot_open).
#[test]
fn stolen_keys_one_role_insufficient() {
    let mut world = World::new();
    let headers = vec![world.session().0];
    for role in Role::ALL {
        let opened = opened_parts(&world, &headers, |owner, _| owner == role);
        assert_eq!(opened, vec![(0, role); 3]);
    }
}

/// Attack: every private key of one period is stolen, of both roles. It opens that period's
/// sessions and no other's.
#[test]
fn stolen_keys_bounded_to_period() {
    let mut world = World::new();
    let mut headers = vec![world.session().0];
    world.now = world.now.plus(DAY);
    headers.push(world.session().0);
    for period in [0, 1] {
        let opened = opened_parts(&world, &headers, |_, stolen| stolen == period);
        assert_eq!(opened.len(), 6);
        assert!(opened.iter().all(|(session, _)| *session == period));
    }
}
