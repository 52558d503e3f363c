//! The rules as pure functions (docs/legal-process.md, "Rules"). Each says what it looked at
//! without naming a person or an identifier.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_envelope::request::{Purpose, ScopeLine};
use bailiwick_types::{Category, Digest, Name, Role, Slot};

use crate::evaluation::Finding;
use crate::facts::{RequestFacts, Stage};
use crate::policy::Policy;
use crate::rule::{Outcome, RuleId};

/// Applies one rule.
pub(crate) fn apply(rule: RuleId, policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
    match rule {
        RuleId::R01 => authority_allowed(policy, facts),
        RuleId::R14 => identifiers_unique(facts),
        RuleId::R15 => window_bounded(policy, facts),
        RuleId::R16 => subjects_and_records(policy, facts),
        RuleId::R17 => kinds_allowed(policy, facts),
        RuleId::R18 => forum_reaches(policy, facts),
        RuleId::R26 => separate_persons(policy, facts),
        RuleId::R28 => policies_pinned(policy, facts),
        RuleId::R29 => logged_and_included(facts),
        RuleId::R30 => recipient_belongs(facts),
    }
}

fn finding(outcome: Outcome, evidence: impl Into<String>) -> Finding {
    Finding {
        outcome,
        evidence: evidence.into(),
    }
}

/// "R01 authority known": on the policy's allow-list. An empty list is nobody.
fn authority_allowed(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
    let authorities = &policy.reach().authorities;
    let outcome = if authorities.contains(&facts.request.authority) {
        Outcome::Pass
    } else {
        let reason = "authority: not on the policy's list";
        Outcome::fail(RefusalCode::InvalidIssuingAuthority, reason)
    };
    finding(
        outcome,
        format!("{} authorities allowed", authorities.len()),
    )
}

/// "R14 identifiers well-formed, unique": no line is empty, no subject is asked twice for the same
/// kind and minute, no subject is the nil pseudonym.
fn identifiers_unique(facts: &RequestFacts<'_>) -> Finding {
    let scope = &facts.request.scope;
    let evidence = format!("{} scope lines", scope.len());
    let reason = if scope.is_empty() {
        "scope: no line"
    } else if scope.iter().any(|line| line.subject.0 == [0; 16]) {
        "scope.subject: nil"
    } else if scope.iter().any(|line| line.categories.is_empty()) {
        "scope.categories: none"
    } else if overlaps(scope) {
        "scope: a subject is asked twice for the same kind and minute"
    } else {
        return finding(Outcome::Pass, evidence);
    };
    let outcome = Outcome::fail(RefusalCode::ManifestErrors, reason);
    finding(outcome, evidence)
}

/// Sorted by start within each subject and kind, so that only neighbours can overlap.
fn overlaps(scope: &[ScopeLine]) -> bool {
    let mut windows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in scope {
        for category in &line.categories {
            let key = (line.subject, *category);
            windows.entry(key).or_default().push((line.from, line.to));
        }
    }
    windows.values_mut().any(|list| {
        list.sort_unstable();
        list.windows(2).any(|pair| pair[1].0 < pair[0].1)
    })
}

/// "R15 window bounded, not in the future, within policy maximum"; and a long window under the
/// purpose `identify` is a history, which a person must look at.
fn window_bounded(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
    let limits = policy.limits();
    let request = facts.request;
    let length = |line: &ScopeLine| line.to.0.saturating_sub(line.from.0);
    let longest = request.scope.iter().map(length).max().unwrap_or(0);
    let evidence = format!("{longest} of {} minutes", limits.max_window_minutes);
    if request.scope.iter().any(|line| line.from >= line.to) {
        let reason = "scope: a window ends before it starts";
        return finding(Outcome::fail(RefusalCode::ManifestErrors, reason), evidence);
    }
    // Rounding outward may end a window at most one minute after now.
    if request
        .scope
        .iter()
        .any(|line| line.to.0 > facts.now.minute().0.saturating_add(1))
    {
        let reason = "scope.to: in the future";
        return finding(Outcome::fail(RefusalCode::ManifestErrors, reason), evidence);
    }
    if longest > limits.max_window_minutes {
        let reason = "scope: the window is longer than the policy allows";
        return finding(Outcome::fail(RefusalCode::Overbroad, reason), evidence);
    }
    let history = |line: &ScopeLine| {
        let bound = limits
            .max_identify_minutes
            .unwrap_or(limits.max_window_minutes);
        line.categories.contains(&Category::Ip) && length(line) > bound
    };
    if request.purpose == Purpose::Identify && request.scope.iter().any(history) {
        let reason = "purpose: identification asked over a window that is a history".to_owned();
        return finding(Outcome::NeedsHuman { reason }, evidence);
    }
    finding(Outcome::Pass, evidence)
}

/// "R16 number of subjects within policy maximum; no ranges, no wildcards", and the cap on records.
fn subjects_and_records(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
    let limits = policy.limits();
    let request = facts.request;
    let subjects: BTreeSet<_> = request.scope.iter().map(|line| line.subject).collect();
    let evidence = format!(
        "{} of {} subjects, cap {} of {} records, {} selected",
        subjects.len(),
        limits.max_subjects,
        request.cap,
        limits.max_records,
        facts
            .selected
            .map_or("none yet".to_owned(), |n| n.to_string()),
    );
    let reason = if subjects.is_empty() {
        "scope: no subject"
    } else if subjects.len() > limits.max_subjects as usize {
        "scope: more subjects than the policy allows"
    } else if request.cap == 0 || request.cap > limits.max_records {
        "cap: zero or more records than the policy allows"
    } else if facts
        .selected
        .is_some_and(|selected| selected > request.cap)
    {
        "selection: more records than the cap"
    } else {
        return finding(Outcome::Pass, evidence);
    };
    finding(Outcome::fail(RefusalCode::Overbroad, reason), evidence)
}

/// "R17 kinds within {ip, phone}": among those that the policy allows.
fn kinds_allowed(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
    let asked: BTreeSet<Category> = facts
        .request
        .scope
        .iter()
        .flat_map(|line| line.categories.iter().copied())
        .collect();
    let evidence = format!(
        "{} kinds asked, {} allowed",
        asked.len(),
        policy.kinds().len()
    );
    let outcome = if !asked.is_empty() && asked.is_subset(policy.kinds()) {
        Outcome::Pass
    } else {
        let reason = "scope.categories: a kind that the policy does not allow";
        Outcome::fail(RefusalCode::ServiceNotCovered, reason)
    };
    finding(outcome, evidence)
}

/// "R18 reach table permits a direct answer, else refer to mutual legal assistance". The table is
/// the custody jurisdiction's: a forum's own policy does not say whom it reaches abroad.
fn forum_reaches(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
    let request = facts.request;
    let forums = &policy.reach().forums;
    let evidence = format!("{} forums allowed", forums.len());
    let outcome = if policy.jurisdiction() == request.jurisdiction {
        if forums.contains(&request.forum) {
            Outcome::Pass
        } else {
            let reason = "forum: its orders do not reach this custody jurisdiction directly";
            Outcome::fail(RefusalCode::NotReachableUseMla, reason)
        }
    } else if policy.jurisdiction() == request.forum {
        Outcome::NotApplicable
    } else {
        let reason = "policy: of neither the forum nor the custody jurisdiction";
        Outcome::fail(RefusalCode::NotReachableUseMla, reason)
    };
    finding(outcome, evidence)
}

/// "R26 nobody decides twice, in two roles, or on a request they entered"; and each role's quorum
/// of distinct slots is met. Persons are told apart by their immutable id in the trust roster: a
/// name that somebody else carries elsewhere, or a key that the roster does not know, is nobody.
fn separate_persons(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
    if facts.stage == Stage::Intake {
        return finding(Outcome::NotApplicable, "nobody has decided yet");
    }
    let evidence = format!("{} decisions", facts.decisions.len());
    let fail = |reason: &str| {
        let outcome = Outcome::fail(RefusalCode::Authenticity, reason);
        finding(outcome, evidence.clone())
    };
    let mut persons: BTreeSet<&Name> = BTreeSet::new();
    let mut slots: BTreeSet<(Role, Slot)> = BTreeSet::new();
    for decision in facts.decisions {
        let (role, slot) = (decision.role, decision.slot);
        let Some(person) = facts.roster.reviewer(role, slot, &decision.key) else {
            return fail("decision: by a key that is no reviewer's of that slot");
        };
        if *person == facts.request.entered_by {
            return fail("decision: by the person who entered the request");
        }
        if !persons.insert(person) {
            return fail("decision: one person decided twice");
        }
        if !slots.insert((role, slot)) {
            return fail("decision: one slot decided twice");
        }
    }
    let met = Role::ALL.into_iter().all(|role| {
        let decided = slots.iter().filter(|(decided, _)| *decided == role).count();
        let needed = policy.quorum().of(role);
        needed >= 2 && decided >= usize::from(needed)
    });
    if met {
        finding(Outcome::Pass, evidence)
    } else {
        fail("decision: fewer than the policy's quorum of each role")
    }
}

/// "R28 policy version pinned": the digests in the request are those of the verifier's own copies,
/// and the policy at hand is one of them and in force.
fn policies_pinned(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
    let request = facts.request;
    let evidence = format!("version {}, {}", policy.version(), policy.digest().short());
    let own: Option<Digest> = facts.policies.and_then(|own| {
        let equal = own.forum == request.forum_policy && own.custody == request.custody_policy;
        let same = request.forum != request.jurisdiction || own.forum == own.custody;
        let is_custody = policy.jurisdiction() == request.jurisdiction;
        let at_hand = if is_custody { own.custody } else { own.forum };
        (equal && same).then_some(at_hand)
    });
    let outcome = if own != Some(policy.digest()) {
        let reason = "forum_policy, custody_policy: not the verifier's own copies";
        Outcome::fail(RefusalCode::ManifestErrors, reason)
    } else if policy.in_force() > facts.now {
        let reason = "policy: not in force yet";
        Outcome::fail(RefusalCode::ManifestErrors, reason)
    } else {
        Outcome::Pass
    };
    finding(outcome, evidence)
}

/// "R29 logged, inclusion verified by each approver".
fn logged_and_included(facts: &RequestFacts<'_>) -> Finding {
    match facts.inclusion {
        Some(inclusion) => {
            let evidence = format!("leaf {} of {}", inclusion.leaf_index, inclusion.size);
            let included =
                inclusion.request == facts.request.id() && inclusion.leaf_index < inclusion.size;
            let outcome = if included {
                Outcome::Pass
            } else {
                let reason = "inclusion: of another request, or outside the checkpoint";
                Outcome::fail(RefusalCode::Authenticity, reason)
            };
            finding(outcome, evidence)
        }
        None if facts.stage == Stage::Intake => {
            finding(Outcome::NotApplicable, "logged on acceptance")
        }
        None => {
            let reason = "inclusion: not verified";
            finding(Outcome::fail(RefusalCode::Authenticity, reason), "none")
        }
    }
}

/// "R30 recipient key belongs to the verified authority or the desk", by the verifier's own list.
fn recipient_belongs(facts: &RequestFacts<'_>) -> Finding {
    let request = facts.request;
    let asked = &request.recipient;
    let evidence = format!("{} recipients trusted", facts.recipients.len());
    let key = asked.key.recipient_hash();
    let known = facts
        .recipients
        .iter()
        .find(|known| known.name == asked.name && known.key == key);
    let reason = match known {
        None => "recipient.key: not the trusted recipient's",
        Some(known) if known.certificate != asked.certificate => {
            "recipient.certificate: not the trusted recipient's"
        }
        Some(known) if !known.authorities.contains(&request.authority) => {
            "recipient: may not receive for this authority"
        }
        Some(_) => return finding(Outcome::Pass, evidence),
    };
    finding(Outcome::fail(RefusalCode::Authenticity, reason), evidence)
}
