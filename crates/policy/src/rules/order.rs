//! The rules over who ordered what by which instrument: R01 to R09.

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_types::Name;

use super::{Context, Ruling, failed, finding, not_applicable, passed};
use crate::evaluation::Finding;
use crate::rule::Outcome;
use crate::vocabulary::AuthorityStatus;

/// "R01 authority known, active, key pinned": on the policy's allow-list, which names nobody when
/// it is empty, and active in the verifier's own register where the order is at hand.
pub(super) fn authority_known(context: &Context<'_>) -> Finding {
    let asked = &context.facts.request.authority;
    let listed = &context.policy.reach().authorities;
    let evidence = format!("{} authorities allowed", listed.len());
    let fail = |code, reason: &str| finding(Outcome::fail(code, reason), evidence.clone());
    let invalid = RefusalCode::InvalidIssuingAuthority;
    if !listed.contains(asked) {
        return match listed.iter().any(|known| look_alike(known, asked)) {
            true => {
                let reason = "authority: looks like one that is on the policy's list";
                fail(RefusalCode::Authenticity, reason)
            }
            false => fail(invalid, "authority: not on the policy's list"),
        };
    }
    let Some(case) = context.facts.case else {
        // A policy without instruments goes by its list alone; with them, R02 misses the order.
        return finding(Outcome::Pass, evidence);
    };
    match &case.authority {
        _ if case.order.authority != *asked => fail(
            RefusalCode::ManifestErrors,
            "authority: the order names another one",
        ),
        None => fail(invalid, "authority: not in the verifier's register"),
        Some(known) if known.name != *asked => {
            fail(invalid, "authority: the register's entry is of another one")
        }
        Some(known) if known.status != AuthorityStatus::Active => {
            fail(invalid, "authority: pending, suspended or revoked")
        }
        Some(known) if !known.key_pinned => {
            fail(RefusalCode::Authenticity, "authority.keys: none is pinned")
        }
        Some(_) => finding(Outcome::Pass, evidence),
    }
}

/// Whether two different names are one or two keystrokes apart, or differ only in characters that
/// look alike: the usual forgery.
fn look_alike(known: &Name, asked: &Name) -> bool {
    let plain = |name: &Name| -> Vec<char> {
        let alike = |c| match c {
            '0' => 'o',
            '1' | 'i' => 'l',
            '5' => 's',
            '_' | '.' => '-',
            other => other,
        };
        name.as_str().chars().map(alike).collect()
    };
    let (known, asked) = (plain(known), plain(asked));
    known.len() >= 6 && distance(&known, &asked) <= 2
}

/// The edit distance of two names of at most 64 characters.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

/// "R02 the sender's key belongs to that authority and to the named officer".
pub(super) fn sender_is_officer(context: &Context<'_>) -> Ruling {
    let case = context.case()?;
    let evidence = "key, officer and authority compared";
    let fail = |reason| failed(RefusalCode::Authenticity, reason, evidence);
    let Some(document) = &case.document else {
        return fail("order: unsigned, so it is unverified and can never be approved");
    };
    match &case.officer {
        None => fail("officer: not in the verifier's register"),
        Some(officer) if officer.name != case.order.officer => {
            fail("officer: the register's entry is of another one")
        }
        Some(officer) if officer.authority != context.facts.request.authority => {
            fail("officer: of another authority")
        }
        Some(officer) if officer.status != AuthorityStatus::Active => {
            fail("officer: pending, suspended or revoked")
        }
        Some(officer) if officer.key != document.signer => {
            fail("order: signed by another key than the officer's")
        }
        Some(_) => passed(evidence),
    }
}

/// "R03 the forum has a policy in force at receipt": receipt is the log time of the request's leaf.
pub(super) fn in_force_at_receipt(context: &Context<'_>) -> Finding {
    let in_force = context.policy.in_force();
    let evidence = format!("in force since {in_force}");
    let reason = match context.facts.received_at {
        None => "receipt: the time is not known",
        Some(received) if in_force > received => "policy: not in force at receipt",
        Some(_) => return finding(Outcome::Pass, evidence),
    };
    finding(Outcome::fail(RefusalCode::ManifestErrors, reason), evidence)
}

/// "R04 instrument allowed for the derived category".
pub(super) fn instrument_for_category(context: &Context<'_>) -> Ruling {
    if !context.is_forum {
        return not_applicable("the forum's own policy says");
    }
    context.case()?;
    context.law()?;
    let category = context.category;
    let evidence = format!("category {category}");
    match context.instrument {
        None => {
            let reason = "instrument: unknown to the forum's policy";
            failed(RefusalCode::ManifestErrors, reason, evidence)
        }
        Some(instrument) if instrument.terms(category).is_none() => {
            let reason = "instrument: it does not reach this category of data";
            failed(RefusalCode::ServiceNotCovered, reason, evidence)
        }
        Some(_) => passed(evidence),
    }
}

/// "R05 issuer's role allowed for the category", and within the authority's competences.
pub(super) fn issuer_allowed(context: &Context<'_>) -> Ruling {
    let forum = context.forum()?;
    let (issuer, category) = (forum.case.order.issuer, context.category);
    let evidence = format!("{issuer} asks {category} data");
    let fail = |reason| {
        failed(
            RefusalCode::InvalidIssuingAuthority,
            reason,
            evidence.clone(),
        )
    };
    match &forum.case.authority {
        None => return fail("authority: not in the verifier's register"),
        Some(known) if known.kind != issuer => {
            return fail("issuer: not the role in which the authority is enrolled");
        }
        Some(known) if !known.competences.contains(&category) => {
            return fail("authority.competences: not for this category of data");
        }
        Some(_) => {}
    }
    if forum.terms.issuers.contains(&issuer) || forum.terms.validated_others {
        return passed(evidence);
    }
    fail("issuer: may not order this category of data")
}

/// "R06 validator present where the issuer is not judicial": where the terms do not let the issuer
/// issue alone. An emergency may come first where the policy lets it be validated later (R22).
pub(super) fn validator_present(context: &Context<'_>) -> Ruling {
    let forum = context.forum()?;
    let order = &forum.case.order;
    if forum.terms.issuers.contains(&order.issuer) {
        return not_applicable("the issuer may issue alone");
    }
    let evidence = format!("issued by {}", order.issuer);
    let fail = |code, reason| failed(code, reason, evidence.clone());
    let Some(validator) = &order.validator else {
        let later =
            Context::is_emergency(forum.case) && forum.terms.validate_within_hours.is_some();
        return match later {
            true => passed("an emergency, to be validated later"),
            false => fail(RefusalCode::InvalidIssuingAuthority, "validator: missing"),
        };
    };
    if !forum.terms.issuers.contains(&validator.kind) {
        let reason = "validator: may not order this category of data itself";
        return fail(RefusalCode::InvalidIssuingAuthority, reason);
    }
    let document = forum.case.document.as_ref();
    let signed = document.and_then(|document| document.validated_by.as_ref());
    match signed == Some(&validator.authority) {
        true => passed(evidence),
        false => fail(
            RefusalCode::Authenticity,
            "validator: its signature was not verified",
        ),
    }
}

/// "R07 document attached, digest and signature valid, signed inside its validity".
pub(super) fn document_valid(context: &Context<'_>) -> Ruling {
    let case = context.case()?;
    let (request, order, now) = (context.facts.request, &case.order, context.facts.now);
    let evidence = format!("valid {} to {}", order.valid_from, order.valid_until);
    let fail = |code, reason| failed(code, reason, evidence.clone());
    let Some(document) = &case.document else {
        return fail(RefusalCode::Incomplete, "documents: none attached");
    };
    if document.digest != request.documents || document.digest != order.documents {
        return fail(RefusalCode::Authenticity, "documents: the digest differs");
    }
    let certified = document.certificate_from <= document.signed_at
        && document.signed_at < document.certificate_until;
    if !certified {
        let reason = "documents: signed outside the certificate's validity";
        return fail(RefusalCode::Authenticity, reason);
    }
    if document.signed_at < order.issued_at {
        return fail(
            RefusalCode::ManifestErrors,
            "documents: signed before the order was issued",
        );
    }
    let received = context.facts.received_at.unwrap_or(now);
    if received < order.valid_from || received < order.issued_at {
        return fail(
            RefusalCode::ManifestErrors,
            "valid_from: the order is not valid yet",
        );
    }
    if now >= order.valid_until {
        return fail(RefusalCode::Expired, "valid_until: the order has expired");
    }
    passed(evidence)
}

/// "R08 legal basis cited": the request cites what the order cites, and the instrument knows it.
pub(super) fn legal_basis_cited(context: &Context<'_>) -> Ruling {
    let cited = context.facts.request.legal_basis.trim();
    let evidence = format!("{} characters", cited.chars().count());
    if cited.is_empty() {
        return failed(RefusalCode::Incomplete, "legal_basis: missing", evidence);
    }
    if context.policy.law().is_none() {
        return passed(evidence);
    }
    if !context.is_forum {
        return not_applicable("the forum's own policy says");
    }
    let case = context.case()?;
    if case.order.legal_basis.trim() != cited {
        let reason = "legal_basis: the order cites another";
        return failed(RefusalCode::ManifestErrors, reason, evidence);
    }
    let known = context.instrument.is_some_and(|one| {
        one.legal_bases
            .iter()
            .any(|basis| cited.contains(basis.as_str()))
    });
    match known {
        true => passed(evidence),
        false => {
            let reason = "legal_basis: none that the instrument rests on";
            failed(RefusalCode::InsufficientInformation, reason, evidence)
        }
    }
}

/// "R09 case reference and offence present".
pub(super) fn reference_and_offence(context: &Context<'_>) -> Ruling {
    let request = context.facts.request;
    let evidence = "reference and offence looked at";
    if request.reference.trim().is_empty() {
        return failed(RefusalCode::Incomplete, "reference: missing", evidence);
    }
    let case = context.case()?;
    if case.order.reference != request.reference {
        let reason = "reference: the order states another";
        return failed(RefusalCode::ManifestErrors, reason, evidence);
    }
    match &case.order.offence {
        None => failed(RefusalCode::Incomplete, "offence: missing", evidence),
        Some(offence) if offence.label.trim().is_empty() => {
            let reason = "offence.label: the conduct is not described";
            failed(RefusalCode::InsufficientInformation, reason, evidence)
        }
        Some(_) => passed(evidence),
    }
}
