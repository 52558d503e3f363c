//! The rules that protect the subject: R10 to R13, R19 and R25.

use bailiwick_envelope::approval::RefusalCode;

use super::{Context, Ruling, failed, finding, needs_human, not_applicable, passed};
use crate::rule::Outcome;
use crate::vocabulary::{Conflict, SubjectRole};

/// "R10 offence meets the threshold", or is listed.
pub(super) fn offence_threshold(context: &Context<'_>) -> Ruling {
    let forum = context.forum()?;
    let Some(minimum) = forum.terms.minimum_offence_years else {
        return passed("any offence");
    };
    let evidence = format!("at least {minimum} years");
    match &forum.case.order.offence {
        None => failed(RefusalCode::Incomplete, "offence: missing", evidence),
        Some(offence) if forum.terms.listed_offences.contains(&offence.code) => {
            passed("a listed offence")
        }
        Some(offence) if offence.maximum_years < minimum => {
            let reason = "offence.maximum_years: below the threshold for this category of data";
            failed(RefusalCode::OffenceNotCovered, reason, evidence)
        }
        Some(_) => passed(evidence),
    }
}

/// "R11 dual criminality (custody and establishment), listed offences excepted".
pub(super) fn dual_criminality(context: &Context<'_>) -> Ruling {
    let case = context.case()?;
    if !context.law()?.safeguards.dual_criminality {
        return not_applicable("the policy does not ask for it");
    }
    let listed = context
        .instrument
        .and_then(|one| one.terms(context.category));
    let offence = case.order.offence.as_ref();
    if let (Some(terms), Some(offence)) = (listed, offence)
        && terms.listed_offences.contains(&offence.code)
    {
        return not_applicable("a listed offence");
    }
    let evidence = "custody and establishment";
    match case.dual_criminality {
        None => needs_human("dual_criminality: nobody looked", evidence),
        Some(found) if found.custody && found.establishment => passed(evidence),
        Some(_) => {
            let reason = "offence: no offence at custody or establishment";
            failed(RefusalCode::OffenceNotCovered, reason, evidence)
        }
    }
}

/// "R12 offence not on the speech/political list, else escalate". The conduct counts, not the
/// label: the case type is looked at as well.
pub(super) fn speech_or_political(context: &Context<'_>) -> Ruling {
    let case = context.case()?;
    let safeguards = &context.law()?.safeguards;
    let evidence = format!("case type {}", case.order.case_type);
    let Some(offence) = &case.order.offence else {
        return failed(RefusalCode::Incomplete, "offence: missing", evidence);
    };
    if let Some(code) = safeguards.refused_offences.get(&offence.code) {
        let reason = "offence: one for which nothing is disclosed";
        return failed(*code, reason, evidence);
    }
    let reason = if safeguards.speech_offences.contains(&offence.code) {
        "offence: on the list of speech and political offences"
    } else if safeguards
        .escalate_case_types
        .contains(&case.order.case_type)
    {
        "case_type: one that the rights panel decides"
    } else if safeguards.escalate_every_case {
        "forum: every case goes to the rights panel"
    } else {
        return passed(evidence);
    };
    Ok(finding(context.escalated(reason), evidence))
}

/// "R13 subject is a suspect where policy demands", and breaks the terms of service where it does.
pub(super) fn subject_is_suspect(context: &Context<'_>) -> Ruling {
    let case = context.case()?;
    let safeguards = &context.law()?.safeguards;
    let role = case.order.subject_role;
    let evidence = format!("subject is {role}");
    if safeguards.require_terms_violation && !case.order.terms_violation {
        let reason = "terms_violation: the conduct breaks no term of service";
        return failed(RefusalCode::OffenceNotCovered, reason, evidence);
    }
    if !safeguards.require_suspect {
        return not_applicable("the policy does not ask for it");
    }
    match role {
        SubjectRole::Suspect | SubjectRole::Accused => passed(evidence),
        SubjectRole::Convicted => needs_human(
            "subject_role: convicted; is it a sentence's execution?",
            evidence,
        ),
        SubjectRole::Victim if Context::is_emergency(case) => {
            needs_human("subject_role: the victim of an emergency", evidence)
        }
        SubjectRole::Victim | SubjectRole::Witness => failed(
            RefusalCode::NotSuspect,
            "subject_role: no suspect",
            evidence,
        ),
        SubjectRole::Unstated => {
            let reason = "subject_role: the order does not say";
            failed(RefusalCode::InsufficientInformation, reason, evidence)
        }
    }
}

/// "R19 conflict-of-law marker".
pub(super) fn no_conflict(context: &Context<'_>) -> Ruling {
    let evidence = "third countries' law";
    match context.case()?.conflict {
        Some(Conflict::None) => passed(evidence),
        Some(Conflict::Confirmed) => {
            let reason = "conflict: a third country's law forbids it";
            failed(RefusalCode::ConflictOfLaw, reason, evidence)
        }
        Some(Conflict::Possible) => {
            let outcome = context.escalated("conflict: a third country's law may forbid it");
            Ok(finding(outcome, evidence))
        }
        None => Ok(finding(
            Outcome::NeedsHuman {
                reason: "conflict: nobody looked".to_owned(),
            },
            evidence,
        )),
    }
}

/// "R25 protected subject marker (journalist, lawyer, member of parliament, refugee, NGO)
/// escalates". Who it is stays out of the finding.
pub(super) fn protected_subject(context: &Context<'_>) -> Ruling {
    let evidence = "markers looked at";
    match &context.case()?.protected {
        None => needs_human("protected: nobody looked", "no markers"),
        Some(found) if found.is_empty() => passed(evidence),
        Some(_) => {
            let outcome = context.escalated("protected: the subject may be protected");
            Ok(finding(outcome, evidence))
        }
    }
}
