//! Attacks on the evidence: a vault that shows records which were not asked, not written, or not as
//! they were written.

use bailiwick_envelope::label::Label;
use bailiwick_types::{Category, Digest, Role};

use super::world::{Case, NOON, World, seat, subject};
use crate::checks::LabelRefusal;
use crate::evidence::EvidencePage;
use crate::refusal::ReleaseRefusal;

/// What an approver says of evidence for a request that everybody approved as shown.
fn refused(world: &mut World, case: &Case) -> LabelRefusal {
    match world.refused(case, seat(Role::Workflow, 1)) {
        ReleaseRefusal::Labels(refusal) => refusal,
        other => panic!("another refusal: {other}"),
    }
}

fn approve_all(world: &mut World, case: &Case) {
    world.submit_case(case);
    for role in Role::ALL {
        world.approve(case, seat(role, 1));
        world.approve(case, seat(role, 2));
    }
}

/// Attack: the vault selects more than the request covers, and gets even the reviewers to approve
/// that selection. Each approver looks at every field of every label itself.
#[test]
fn part_for_more_than_the_scope_refused() {
    // Another subject.
    let mut world = World::new();
    let request = world.request(1);
    let case = world.show(&request, |_| true);
    approve_all(&mut world, &case);
    assert_eq!(
        refused(&mut world, &case),
        LabelRefusal::OutOfScope { index: 2 }
    );

    // A minute outside the window: the window ends before the second block's records.
    let mut world = World::new();
    let mut request = world.request(1);
    request.scope[0].to.0 = NOON.minute().0 - 57;
    let case = world.show(&request, |label: &Label| label.subject == subject(1));
    approve_all(&mut world, &case);
    assert_eq!(
        refused(&mut world, &case),
        LabelRefusal::OutOfScope { index: 2 }
    );

    // Another category: only phones were asked.
    let mut world = World::new();
    let mut request = world.request(1);
    request.scope[0].categories = vec![Category::Phone];
    let case = world.show(&request, |label: &Label| label.subject == subject(1));
    approve_all(&mut world, &case);
    assert_eq!(
        refused(&mut world, &case),
        LabelRefusal::OutOfScope { index: 1 }
    );
}

/// Attack: a label that no edge wrote is slipped into the selection to get its values.
#[test]
fn release_of_unwritten_label_refused() {
    let mut world = World::new();
    let request = world.request(1);
    let mut case = world.find(&request);
    // The vault invents a record of the subject: it has no place in any signed block.
    case.pages[0].records[0].label.record.0[15] ^= 1;
    let inputs = case.pages[0].records.iter().map(|record| {
        let x = record.label.record_input(&record.alpha);
        (x, record.label.category)
    });
    case.selection = bailiwick_envelope::selection::Selection::of(request.id(), inputs);
    approve_all(&mut world, &case);
    assert!(matches!(
        refused(&mut world, &case),
        LabelRefusal::NotWritten { index: 0, .. }
    ));
}

/// Attack: any field of a label is changed on the way. The subject's own record is moved into
/// another's scope, or another's record into this scope.
#[test]
fn tampered_label_refused() {
    let change: [fn(&mut Label); 5] = [
        |label| label.record.0[0] ^= 1,
        |label| label.minute.0 += 1,
        |label| label.pseudonym_version += 1,
        |label| label.index += 1,
        |label| label.category = Category::Ip,
    ];
    for change in change {
        let mut world = World::new();
        let case = world.approved();
        let mut tampered = case.clone();
        change(&mut tampered.pages[0].records[0].label);
        assert!(matches!(
            refused(&mut world, &tampered),
            LabelRefusal::NotWritten { index: 0, .. }
        ));
    }
    let mut world = World::new();
    let request = world.request(1);
    let mut case = world.show(&request, |label: &Label| label.subject == subject(2));
    for record in &mut case.pages[0].records {
        record.label.subject = subject(1);
    }
    approve_all(&mut world, &case);
    assert!(matches!(
        refused(&mut world, &case),
        LabelRefusal::NotWritten { .. }
    ));
}

/// Attack: alpha, or the hash of the ciphertext, is not what the edge signed.
#[test]
fn tampered_alpha_refused() {
    let mut world = World::new();
    let case = world.approved();
    let mut tampered = case.clone();
    tampered.pages[0].records[1].alpha.0[0] ^= 1;
    assert!(matches!(
        refused(&mut world, &tampered),
        LabelRefusal::NotWritten { index: 1, .. }
    ));
    let mut tampered = case;
    tampered.pages[0].records[1].ciphertext_hash = Digest([1; 32]);
    assert!(matches!(
        refused(&mut world, &tampered),
        LabelRefusal::NotWritten { index: 1, .. }
    ));
}

/// Attack: records left out, sent twice, or in another order than was frozen.
#[test]
fn incomplete_repeated_or_reordered_list_refused() {
    let mut world = World::new();
    let case = world.approved();
    let mut short = case.clone();
    short.pages[0].records.pop();
    let expected = LabelRefusal::Index {
        expected: 3,
        got: 2,
    };
    assert_eq!(refused(&mut world, &short), expected);
    let mut twice = case.clone();
    let record = twice.pages[0].records[0].clone();
    twice.pages[0].records[1] = record;
    twice.pages[0].records[1].index = 1;
    assert_eq!(
        refused(&mut world, &twice),
        LabelRefusal::Order { index: 1 }
    );
    let mut more = case;
    let mut record = more.pages[0].records[2].clone();
    record.index = 3;
    more.pages[0].records.push(record);
    assert_eq!(refused(&mut world, &more), LabelRefusal::TooMany(3));
}

/// Attack: an edge that the own trust file does not name, a manifest or header that another key
/// signed, a session of no approved certificate.
#[test]
fn foreign_edges_and_manifests_refused() {
    let mut world = World::new();
    let case = world.approved();
    let mut forged = case.clone();
    forged.pages[0].blocks[0].manifest.count += 1;
    assert!(matches!(
        refused(&mut world, &forged),
        LabelRefusal::Manifest { block: 0, .. }
    ));
    let mut forged = case.clone();
    forged.pages[0].sessions[0].body.max_block += 1;
    assert!(matches!(
        refused(&mut world, &forged),
        LabelRefusal::Header { .. }
    ));
    let mut forged = case.clone();
    forged.pages[0].sessions[0].body.kid.0[0] ^= 1;
    assert!(matches!(
        refused(&mut world, &forged),
        LabelRefusal::Certificate(_)
    ));
    let mut missing = case.clone();
    missing.pages[0].sessions.clear();
    assert!(matches!(
        refused(&mut world, &missing),
        LabelRefusal::NoSession(_)
    ));
    let mut missing = case.clone();
    missing.pages[0].blocks.pop();
    assert!(matches!(
        refused(&mut world, &missing),
        LabelRefusal::NoBlock { block: 1, .. }
    ));
    let mut empty = case.clone();
    empty.pages.insert(0, EvidencePage::default());
    assert_eq!(refused(&mut world, &empty), LabelRefusal::EmptyPage);
    let mut long = case;
    long.pages.insert(0, EvidencePage::default());
    let record = long.pages[1].records[0].clone();
    long.pages[0].records = vec![record; 1025];
    assert_eq!(refused(&mut world, &long), LabelRefusal::Page(1025));
}

/// Keys that are due for erasure open nothing any more, also for what was approved in time.
#[test]
fn keys_due_for_erasure_release_nothing() {
    let mut world = World::new();
    let erase_by = world.certificate.body().periods[0].erase_by;
    let mut request = world.request(1);
    request.not_after = erase_by.plus(std::time::Duration::from_secs(60));
    let case = world.submit(&request);
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
        world.approve(&case, seat(role, 2));
    }
    world.now = erase_by;
    assert!(matches!(
        refused(&mut world, &case),
        LabelRefusal::EraseBy(_)
    ));
}

/// A vault that swaps the frozen list for another of the same length is caught by the root.
#[test]
fn another_list_than_the_frozen_one_refused() {
    let mut world = World::new();
    let case = world.approved();
    world.write(&[(1, 1, NOON.minute().0 - 30)]);
    let mut other = world.show(&case.request, |label: &Label| {
        case.request.covers(label) && !(label.block == 0 && label.index == 0)
    });
    assert_eq!(other.selection.count, case.selection.count);
    other.selection = case.selection;
    let refusal = world.refused(&other, seat(Role::Workflow, 1));
    assert!(matches!(refusal, ReleaseRefusal::Selection(_)), "{refusal}");
}
