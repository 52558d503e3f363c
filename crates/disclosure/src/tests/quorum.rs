//! Attacks on the counting of approvals.

use bailiwick_envelope::approval::{Decision, RefusalCode};
use bailiwick_envelope::{IdentityKey, SigningKey};
use bailiwick_types::{Digest, Role};

use super::world::{Case, World, name, seat};
use crate::checks::{PolicyRefusal, QuorumRefusal};
use crate::refusal::ReleaseRefusal;

fn quorum(world: &mut World, case: &Case) -> Result<(), QuorumRefusal> {
    let checkpoint = world.checkpoint();
    match world.quorum(&checkpoint, case) {
        Ok(_) => Ok(()),
        Err(ReleaseRefusal::Quorum(refusal)) => Err(refusal),
        Err(other) => panic!("another refusal: {other}"),
    }
}

fn too_few(role: Role, counted: usize) -> Result<(), QuorumRefusal> {
    Err(QuorumRefusal::TooFew {
        role,
        counted,
        needed: 2,
    })
}

/// Attack: workflow approves request 1, legal review approves request 2, and the recipients pool
/// the values. Neither has a quorum.
#[test]
fn mix_two_requests_releases_nothing() {
    let mut world = World::new();
    let first = world.submit(&world.request(1));
    let second = world.submit(&world.request(2));
    for slot in [1, 2, 3] {
        world.approve(&first, seat(Role::Workflow, slot));
        world.approve(&second, seat(Role::LegalReview, slot));
    }
    assert_eq!(quorum(&mut world, &first), too_few(Role::LegalReview, 0));
    assert_eq!(quorum(&mut world, &second), too_few(Role::Workflow, 0));
    assert!(matches!(
        world.refused(&first, seat(Role::Workflow, 1)),
        ReleaseRefusal::Quorum(_)
    ));
}

/// Attack: approved with nobody's approval (openbao #3666).
#[test]
fn approvals_omitted_or_zero_is_refused() {
    let mut world = World::new();
    let case = world.submit(&world.request(1));
    assert_eq!(quorum(&mut world, &case), too_few(Role::Workflow, 0));
    // A trust file that asks for none asks for two all the same.
    world.trust.roster.workflow.needed = 0;
    world.trust.roster.legal_review.needed = 0;
    let checkpoint = world.checkpoint();
    assert!(matches!(
        world.quorum(&checkpoint, &case),
        Err(ReleaseRefusal::Quorum(QuorumRefusal::Certificate(_)))
    ));
    // And one that says so is no trust file.
    let text = world.trust_text.replace("needed = 2", "needed = 0");
    assert!(crate::TrustFile::parse(&text).is_err());
    let text = world.trust_text.replace("needed = 2\n", "");
    assert!(crate::TrustFile::parse(&text).is_err());
}

/// Attack: one role alone, even all of it, releases nothing.
#[test]
fn quorum_of_one_role_only_releases_nothing() {
    for (role, missing) in [
        (Role::Workflow, Role::LegalReview),
        (Role::LegalReview, Role::Workflow),
    ] {
        let mut world = World::new();
        let case = world.submit(&world.request(1));
        for slot in [1, 2, 3] {
            world.approve(&case, seat(role, slot));
        }
        assert_eq!(quorum(&mut world, &case), too_few(missing, 0));
        world.approve(&case, seat(missing, 1));
        assert_eq!(quorum(&mut world, &case), too_few(missing, 1));
        world.approve(&case, seat(missing, 2));
        assert_eq!(quorum(&mut world, &case), Ok(()));
    }
}

/// Attack: the requester approves the own request (vault #19214).
#[test]
fn requester_cannot_approve() {
    let mut world = World::new();
    let mut request = world.request(1);
    let at = seat(Role::Workflow, 1);
    request.entered_by = world.member(at).person.clone();
    let case = world.submit(&request);
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
        world.approve(&case, seat(role, 2));
        world.approve(&case, seat(role, 3));
    }
    assert_eq!(quorum(&mut world, &case), Err(QuorumRefusal::Requester(at)));
}

/// Attack: a reviewer of the same name somewhere else approves (openbao #3815). A name is nothing
/// without the key that the own trust file gives it at that slot.
#[test]
fn namesake_elsewhere_does_not_approve() {
    let mut world = World::new();
    let case = world.submit(&world.request(1));
    for role in Role::ALL {
        world.approve(&case, seat(role, 1));
    }
    world.approve(&case, seat(Role::LegalReview, 2));
    // A key that another jurisdiction knows under the name of workflow 2's person.
    let namesake = SigningKey::from_bytes(&[77; 32]);
    let statement = world.statement(&case, seat(Role::Workflow, 2));
    world.decide(statement, &namesake);
    assert_eq!(quorum(&mut world, &case), too_few(Role::Workflow, 1));
    // A reviewer of another slot of the same role.
    let statement = world.statement(&case, seat(Role::Workflow, 2));
    let neighbour = world.member(seat(Role::Workflow, 3)).reviewer.clone();
    world.decide(statement, &neighbour);
    assert_eq!(quorum(&mut world, &case), too_few(Role::Workflow, 1));
}

/// Attack: one person holds keys in both roles. No trust file may say so, and were one to, the
/// count would refuse.
#[test]
fn same_person_in_both_roles_is_refused() {
    let mut world = World::new();
    let case = world.approved();
    let (w, l) = (seat(Role::Workflow, 1), seat(Role::LegalReview, 1));
    let twice = world.trust_text.replace(
        world.member(l).person.as_str(),
        world.member(w).person.as_str(),
    );
    let error = crate::TrustFile::parse(&twice).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("one person decides for two slots")
    );
    let person = world.member(w).person.clone();
    world.trust.roster.legal_review.members[0].reviewers[0].person = person;
    let expected = QuorumRefusal::SamePerson {
        first: w,
        second: l,
    };
    assert_eq!(quorum(&mut world, &case), Err(expected));
}

/// Attack: one slot approves twice to look like two, by the same reviewer or by two of its own.
#[test]
fn same_slot_counted_twice_is_refused() {
    let mut world = World::new();
    let case = world.submit(&world.request(1));
    for _ in 0..2 {
        world.approve(&case, seat(Role::Workflow, 1));
    }
    world.approve(&case, seat(Role::LegalReview, 1));
    world.approve(&case, seat(Role::LegalReview, 2));
    assert_eq!(quorum(&mut world, &case), too_few(Role::Workflow, 1));
}

/// Attack: a reviewer who was removed from the own trust file still signs.
#[test]
fn decision_by_revoked_reviewer_is_refused() {
    let mut world = World::new();
    let case = world.approved();
    assert_eq!(quorum(&mut world, &case), Ok(()));
    // The certificate still names the key; a trust file that does not makes it nobody's.
    let revoked = IdentityKey::of(&world.member(seat(Role::Workflow, 1)).reviewer);
    let reviewers = &mut world.trust.roster.workflow.members[0].reviewers;
    reviewers.retain(|reviewer| reviewer.key != revoked);
    assert!(matches!(
        quorum(&mut world, &case),
        Err(QuorumRefusal::Certificate(_))
    ));
    // The trust file knows a second reviewer of the slot whom the certificate does not name.
    let mut world = World::new();
    let late = SigningKey::from_bytes(&[78; 32]);
    let reviewers = &mut world.trust.roster.workflow.members[1].reviewers;
    reviewers.push(bailiwick_envelope::certificate::TrustedReviewer {
        person: name("late"),
        key: IdentityKey::of(&late),
    });
    let case = world.submit(&world.request(1));
    world.approve(&case, seat(Role::Workflow, 1));
    let statement = world.statement(&case, seat(Role::Workflow, 2));
    world.decide(statement, &late);
    world.approve(&case, seat(Role::LegalReview, 1));
    world.approve(&case, seat(Role::LegalReview, 2));
    assert_eq!(quorum(&mut world, &case), too_few(Role::Workflow, 1));
}

/// Attack: approvals of generation 1 are used after the scope was narrowed to generation 2.
#[test]
fn approval_for_generation_one_is_void_after_narrowing() {
    let mut world = World::new();
    let first = world.approved();
    let mut narrowed = first.request.clone();
    narrowed.generation = 2;
    narrowed.scope[0].from.0 += 60;
    let second = world.submit(&narrowed);
    assert_eq!(quorum(&mut world, &second), too_few(Role::Workflow, 0));
    // Nor do they count when the vault logs them again, or relabels them.
    let statement = world.statement(&first, seat(Role::Workflow, 1));
    let mut relabelled = bailiwick_envelope::approval::Approval::sign(
        statement,
        &world.member(seat(Role::Workflow, 1)).reviewer.clone(),
    );
    relabelled.statement.request = second.request.id();
    relabelled.statement.selection = second.selection.id();
    let content = bailiwick_envelope::leaf::LeafContent::Decision(Box::new(relabelled));
    world.log(content);
    assert_eq!(quorum(&mut world, &second), too_few(Role::Workflow, 0));
}

/// A decision on another selection, or under other certificates, is a decision on something else.
#[test]
fn decisions_bind_selection_and_certificates() {
    let mut world = World::new();
    let case = world.submit(&world.request(1));
    world.approve(&case, seat(Role::LegalReview, 1));
    world.approve(&case, seat(Role::LegalReview, 2));
    world.approve(&case, seat(Role::Workflow, 1));
    let at = seat(Role::Workflow, 2);
    let key = world.member(at).reviewer.clone();
    let mut statement = world.statement(&case, at);
    statement.selection.0[0] ^= 1;
    world.decide(statement, &key);
    let mut statement = world.statement(&case, at);
    statement.rosters[0].roster = 1;
    world.decide(statement, &key);
    let mut statement = world.statement(&case, at);
    statement.rosters.clear();
    world.decide(statement, &key);
    assert_eq!(quorum(&mut world, &case), too_few(Role::Workflow, 1));
}

/// A slot that refused does not count, in whatever order its decisions were logged.
#[test]
fn a_refusal_takes_the_slots_approval_back() {
    let mut world = World::new();
    let case = world.approved();
    let at = seat(Role::LegalReview, 2);
    let key = world.member(at).reviewer.clone();
    let mut statement = world.statement(&case, at);
    statement.decision = Decision::Refuse(RefusalCode::Overbroad);
    world.decide(statement, &key);
    assert_eq!(quorum(&mut world, &case), too_few(Role::LegalReview, 1));
    world.approve(&case, at);
    assert_eq!(quorum(&mut world, &case), too_few(Role::LegalReview, 1));
    world.approve(&case, seat(Role::LegalReview, 3));
    assert_eq!(quorum(&mut world, &case), Ok(()));
}

/// A selection that is not logged, and a certificate that is not, are nobody's.
#[test]
fn unlogged_selection_or_certificate_refused() {
    let mut world = World::new();
    let mut case = world.approved();
    case.selection.root = Digest([1; 32]);
    assert!(matches!(
        quorum(&mut world, &case),
        Err(QuorumRefusal::SelectionNotLogged { .. })
    ));
    let mut world = World::new();
    world.leaves.truncate(1);
    let case = world.approved();
    assert!(matches!(
        quorum(&mut world, &case),
        Err(QuorumRefusal::CertificateNotLogged(_))
    ));
}

/// Attack: no applicable factor equals all factors passed (openbao control_group.go). A policy
/// without rules, or without a mandatory one, denies a request that everybody approved.
#[test]
fn empty_rule_set_denies() {
    let all = r#"rules = ["R03", "R08", "R14", "R15", "R16", "R17", "R26", "R28", "R29", "R30"]"#;
    let some = r#"rules = ["R14", "R15", "R16", "R17", "R26", "R28", "R29"]"#;
    for rules in ["rules = []", some] {
        let refusal = with_policy(|policy| policy.replace(all, rules));
        assert!(refusal.contains("does not enable rule"), "{refusal}");
    }
}

/// A rule about the order denies as long as the order does not travel to the approver: what nobody
/// handed in is not assumed. What travels in the request is evaluated.
#[test]
fn rules_about_an_unseen_order_deny() {
    for rule in ["R02", "R05", "R09", "R13", "R25", "R27"] {
        let refusal = with_policy(|p| p.replace("\"R08\",", &format!("\"R08\", \"{rule}\",")));
        assert!(refusal.contains(rule), "{refusal}");
    }
    let late = with_policy(|p| p.replace("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"));
    assert!(late.contains("R03"), "{late}");
}

/// Attack: an empty allow-list is everybody (redoctober #119).
#[test]
fn empty_allow_list_is_nobody() {
    let refusal = with_policy(|p| p.replace(r#"["tribunal-paris"]"#, "[]"));
    assert!(refusal.contains("R01"), "{refusal}");
    let refusal = with_policy(|p| p.replace(r#"forums = ["FR"]"#, "forums = []"));
    assert!(refusal.contains("R18"), "{refusal}");
    let refusal = with_policy(|p| p.replace(r#"["phone", "ip"]"#, "[]"));
    assert!(refusal.contains("R17"), "{refusal}");
    // No recipients, no edges: nobody.
    let mut world = World::new();
    let case = world.approved();
    world.trust.recipients.clear();
    let at = seat(Role::Workflow, 1);
    assert!(matches!(
        world.refused(&case, at),
        ReleaseRefusal::Request(_)
    ));
    let mut world = World::new();
    let case = world.approved();
    world.trust.edges.clear();
    assert!(matches!(
        world.refused(&case, at),
        ReleaseRefusal::Labels(_)
    ));
    // No own copy of the policy: nothing passes.
    let mut world = World::new();
    let case = world.approved();
    world.policies = crate::PolicyCopies::default();
    let refusal = world.refused(&case, at);
    assert!(matches!(
        refusal,
        ReleaseRefusal::Policy(PolicyRefusal::NoCopy(_))
    ));
}

/// A request pins the policy; an approver with another copy refuses.
#[test]
fn another_policy_version_refused() {
    let mut world = World::new();
    let case = world.approved();
    world.use_policy(|policy| policy.replace("version = 1", "version = 2"));
    let refusal = world.refused(&case, seat(Role::Workflow, 1));
    assert!(refusal.to_string().contains("R28"), "{refusal}");
}

/// What a lawful and approved request meets under a changed policy that it pins.
fn with_policy(change: impl Fn(&str) -> String) -> String {
    let mut world = World::new();
    world.use_policy(change);
    let case = world.approved();
    let refusal = world.refused(&case, seat(Role::Workflow, 1));
    assert!(matches!(
        refusal,
        ReleaseRefusal::Policy(PolicyRefusal::Rule { .. })
    ));
    refusal.to_string()
}
