//! The rules over the request itself, its decisions, its log and its recipient: R14 to R18, R26 and
//! R28 to R30.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_envelope::request::{Purpose, ScopeLine};
use bailiwick_types::{Category, Digest, Name, Role, Slot};

use super::{Context, finding, unknown_case};
use crate::case::{AttributionPoint, CaseFacts};
use crate::evaluation::Finding;
use crate::facts::{RequestFacts, Stage};
use crate::policy::Policy;
use crate::rule::Outcome;
use crate::vocabulary::Route;

/// "R14 identifiers well-formed, unique": no line is empty, no subject is asked twice for the same
/// kind and minute, no subject is the nil pseudonym.
pub(super) fn identifiers_unique(facts: &RequestFacts<'_>) -> Finding {
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
pub(super) fn window_bounded(context: &Context<'_>) -> Finding {
    let (policy, facts) = (context.policy, context.facts);
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
    let terms = match context.terms() {
        Ok(terms) => terms,
        Err(unknown) => return unknown,
    };
    let most = terms.map_or(u32::MAX, |terms| terms.max_window_minutes);
    if longest > limits.max_window_minutes.min(most) {
        let reason = "scope: the window is longer than the policy allows";
        return finding(Outcome::fail(RefusalCode::Overbroad, reason), evidence);
    }
    if let Some(outcome) = facts.case.and_then(|case| points_exact(case, facts)) {
        return finding(outcome, evidence);
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

/// "an IP attribution has exact instant (and port for shared IPv4)"; and an address that no
/// provider can have seen from outside attributes nothing. `None` when nothing stands against it.
fn points_exact(case: &CaseFacts, facts: &RequestFacts<'_>) -> Option<Outcome> {
    let wrong = |point: &AttributionPoint| {
        let vague = RefusalCode::InsufficientInformation;
        let bad = RefusalCode::ManifestErrors;
        if !is_public(point.address) {
            Some((bad, "points.address: not a public address"))
        } else if point.at.is_none() {
            Some((vague, "points.at: no exact instant"))
        } else if point.at.is_some_and(|at| at > facts.now) {
            Some((bad, "points.at: in the future"))
        } else if point.port == Some(0) {
            Some((bad, "points.port: zero"))
        } else if point.address.is_ipv4() && point.shared == Some(true) && point.port.is_none() {
            Some((vague, "points.port: missing for a shared address"))
        } else {
            None
        }
    };
    if let Some((code, reason)) = case.points.iter().find_map(wrong) {
        return Some(Outcome::fail(code, reason));
    }
    let unsure = |point: &AttributionPoint| {
        point.address.is_ipv4() && point.shared.is_none() && point.port.is_none()
    };
    let reason = "points.port: missing, and nobody knows whether the address is shared".to_owned();
    let needed = case.points.iter().any(unsure);
    needed.then_some(Outcome::NeedsHuman { reason })
}

/// Whether an address can be seen on the open internet: neither private, shared by a carrier's
/// translation, for documentation, mapped, local, nor reserved.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, third, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_multicast()
                || first == 0
                || first >= 240
                || (first == 100 && (64..128).contains(&second))
                || (first == 198 && (second & 0xfe) == 18)
                || (first == 192 && second == 0 && third == 0))
        }
        IpAddr::V6(v6) => {
            let documentation = v6.segments()[..2] == [0x2001, 0x0db8];
            !documentation && v6.to_ipv4_mapped().is_none() && (v6.segments()[0] & 0xe000) == 0x2000
        }
    }
}

/// "R16 number of subjects within policy maximum; no ranges, no wildcards", and the cap on records.
pub(super) fn subjects_and_records(context: &Context<'_>) -> Finding {
    let (policy, facts) = (context.policy, context.facts);
    let limits = policy.limits();
    let request = facts.request;
    let subjects: BTreeSet<_> = request.scope.iter().map(|line| line.subject).collect();
    let terms = match context.terms() {
        Ok(terms) => terms,
        Err(unknown) => return unknown,
    };
    let most = terms.map_or(u32::MAX, |terms| terms.max_subjects);
    let max_subjects = limits.max_subjects.min(most);
    let evidence = format!(
        "{} of {max_subjects} subjects, cap {} of {} records, {} selected",
        subjects.len(),
        request.cap,
        limits.max_records,
        facts
            .selected
            .map_or("none yet".to_owned(), |n| n.to_string()),
    );
    let reason = if subjects.is_empty() {
        "scope: no subject"
    } else if subjects.len() > max_subjects as usize {
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
pub(super) fn kinds_allowed(context: &Context<'_>) -> Finding {
    let (policy, facts) = (context.policy, context.facts);
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
    let terms = match context.terms() {
        Ok(terms) => terms,
        Err(unknown) => return unknown,
    };
    let kinds = terms.map_or(policy.kinds(), |terms| &terms.kinds);
    let purpose = facts.request.purpose;
    let reason = if asked.is_empty() || !asked.is_subset(policy.kinds()) {
        "scope.categories: a kind that the policy does not allow"
    } else if !asked.is_subset(kinds) {
        "scope.categories: a kind that the instrument does not allow"
    } else if terms.is_some_and(|terms| !terms.purposes.contains(&purpose)) {
        "purpose: one that the instrument does not allow"
    } else {
        return finding(Outcome::Pass, evidence);
    };
    let outcome = Outcome::fail(RefusalCode::ServiceNotCovered, reason);
    finding(outcome, evidence)
}

/// "R18 reach table permits a direct answer, else refer to mutual legal assistance". The table is
/// the custody jurisdiction's: what a forum's own policy claims to reach abroad can only narrow it.
pub(super) fn forum_reaches(context: &Context<'_>) -> Finding {
    let (policy, facts) = (context.policy, context.facts);
    let request = facts.request;
    let forums = &policy.reach().forums;
    let evidence = format!("{} forums allowed", forums.len());
    let (of_custody, of_forum) = (
        policy.jurisdiction() == request.jurisdiction,
        policy.jurisdiction() == request.forum,
    );
    let reason = if !of_custody && !of_forum {
        "policy: of neither the forum nor the custody jurisdiction"
    } else if of_custody && policy.reach().never.contains(&request.forum) {
        "forum: its orders are never answered"
    } else if of_custody && !forums.contains(&request.forum) {
        "forum: its orders do not reach this custody jurisdiction directly"
    } else if policy.law().is_none() || !of_forum {
        let outcome = match of_custody {
            true => Outcome::Pass,
            false => Outcome::NotApplicable,
        };
        return finding(outcome, evidence);
    } else {
        match context.instrument {
            None if facts.case.is_none() => return unknown_case(),
            None => return finding(Outcome::NotApplicable, "no instrument; R04 says"),
            Some(instrument) if instrument.route == Route::MutualLegalAssistance => {
                "instrument: it takes the way of mutual legal assistance"
            }
            Some(instrument) if !instrument.reach.contains(&request.jurisdiction) => {
                "instrument: it does not reach this custody jurisdiction directly"
            }
            Some(_) => return finding(Outcome::Pass, evidence),
        }
    };
    let outcome = Outcome::fail(RefusalCode::NotReachableUseMla, reason);
    finding(outcome, evidence)
}

/// "R26 nobody decides twice, in two roles, or on a request they entered"; and each role's quorum
/// of distinct slots is met. Persons are told apart by their immutable id in the trust roster: a
/// name that somebody else carries elsewhere, or a key that the roster does not know, is nobody.
pub(super) fn separate_persons(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
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
pub(super) fn policies_pinned(policy: &Policy, facts: &RequestFacts<'_>) -> Finding {
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
pub(super) fn logged_and_included(facts: &RequestFacts<'_>) -> Finding {
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
pub(super) fn recipient_belongs(facts: &RequestFacts<'_>) -> Finding {
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
