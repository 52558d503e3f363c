//! The rules over what must have happened around a request: R20 to R24 and R27.

use std::time::Duration;

use bailiwick_envelope::approval::RefusalCode;

use super::{Context, Ruling, failed, finding, needs_human, not_applicable, passed};
use crate::case::{EnforcingAnswer, NoticeFact};
use crate::deadline::hours;

/// "R20 not answered before (same authority, case, scope)". The same documents or the same subjects
/// asked by others is order shopping, which a person must see.
pub(super) fn not_answered_before(context: &Context<'_>) -> Ruling {
    let case = context.case()?;
    let request = context.facts.request;
    let Some(earlier) = &case.earlier else {
        return needs_human("earlier: nobody looked", "none");
    };
    let evidence = format!("{} earlier requests", earlier.len());
    let same = earlier.iter().any(|one| {
        one.authority == request.authority
            && one.reference == request.reference
            && one.scope == request.scope
    });
    if same {
        let reason = "request: same authority, case and scope as an earlier one";
        return failed(RefusalCode::Duplicate, reason, evidence);
    }
    let shopped = earlier.iter().any(|one| {
        let subject = |line: &bailiwick_envelope::request::ScopeLine| {
            request
                .scope
                .iter()
                .any(|asked| asked.subject == line.subject)
        };
        one.documents == request.documents || one.scope.iter().any(subject)
    });
    match shopped {
        true => needs_human(
            "earlier: the same order or subject was asked elsewhere",
            evidence,
        ),
        false => passed(evidence),
    }
}

/// "R21 emergency: stated threat to life, victim class, call-back done by another person on the
/// registered number, cap per officer per day"; and a new officer's first request escalates.
pub(super) fn emergency_stated(context: &Context<'_>) -> Ruling {
    let case = context.case()?;
    if !Context::is_emergency(case) {
        return not_applicable("no emergency");
    }
    let forum = context.forum()?;
    let evidence = "threat, call-back and cap looked at";
    let fail = |code, reason| failed(code, reason, evidence);
    if forum.terms.emergency_hours.is_none() {
        let reason = "priority: no emergency for this category of data";
        return fail(RefusalCode::ManifestErrors, reason);
    }
    let (Some(_), Some(authority), Some(officer)) =
        (&case.order.threat, &case.authority, &case.officer)
    else {
        return match case.order.threat {
            None => fail(RefusalCode::InsufficientInformation, "threat: none stated"),
            Some(_) => fail(RefusalCode::Authenticity, "officer: not in the register"),
        };
    };
    match &case.callback {
        None => return fail(RefusalCode::Authenticity, "callback: none was made"),
        Some(call) if call.by == context.facts.request.entered_by => {
            return fail(
                RefusalCode::Authenticity,
                "callback: by whoever entered the request",
            );
        }
        Some(call) if call.contact != authority.callback_contact => {
            return fail(
                RefusalCode::Authenticity,
                "callback: not on the registered number",
            );
        }
        Some(call) if !call.confirmed => {
            return fail(
                RefusalCode::Authenticity,
                "callback: the authority did not confirm",
            );
        }
        Some(_) => {}
    }
    if officer.emergencies_today >= forum.law.intake.emergencies_per_officer_day {
        let reason = "officer: more emergencies today than one officer may claim";
        return fail(RefusalCode::Authenticity, reason);
    }
    if officer.earlier_orders == 0 {
        let outcome = context.escalated("officer: a first order, and an emergency");
        return Ok(finding(outcome, evidence));
    }
    passed(evidence)
}

/// "R22 post-validation timer set", no later than the policy allows after receipt.
pub(super) fn validation_timed(context: &Context<'_>) -> Ruling {
    let forum = context.forum()?;
    let order = &forum.case.order;
    let alone = forum.terms.issuers.contains(&order.issuer) || order.validator.is_some();
    if alone || !Context::is_emergency(forum.case) {
        return not_applicable("validated before");
    }
    let Some(within) = forum.terms.validate_within_hours else {
        return not_applicable("no later validation; R06 asks for a validator");
    };
    let evidence = format!("within {within} hours of receipt");
    let received = context.facts.received_at.unwrap_or(context.facts.now);
    match forum.case.validate_by {
        None => {
            let reason = "validate_by: no timer is set";
            failed(RefusalCode::InsufficientInformation, reason, evidence)
        }
        Some(due) if due > received.plus(hours(within)) => {
            let reason = "validate_by: later than the policy allows";
            failed(RefusalCode::ManifestErrors, reason, evidence)
        }
        Some(_) => passed(evidence),
    }
}

/// "R23 enforcing authority notified, window over or cleared". An emergency does not wait, but is
/// notified all the same.
pub(super) fn enforcing_authority_notified(context: &Context<'_>) -> Ruling {
    let forum = context.forum()?;
    let Some(notify) = forum.terms.notify else {
        return not_applicable("no notification for this category of data");
    };
    let evidence = format!("window of {} hours", notify.window_hours);
    let code = RefusalCode::EnforcingAuthority;
    let Some(notification) = forum.case.notification else {
        return needs_human(
            "notification: the enforcing authority was not notified",
            evidence,
        );
    };
    let over = notification.notified_at.plus(hours(notify.window_hours)) <= context.facts.now;
    match notification.answer {
        EnforcingAnswer::Objected => failed(
            code,
            "notification: the enforcing authority objects",
            evidence,
        ),
        EnforcingAnswer::Cleared => passed(evidence),
        EnforcingAnswer::None if over || Context::is_emergency(forum.case) => passed(evidence),
        EnforcingAnswer::None => needs_human(
            "notification: the enforcing authority's window is open",
            evidence,
        ),
    }
}

/// "R24 notice to the user or gag with expiry recorded".
pub(super) fn notice_recorded(context: &Context<'_>) -> Ruling {
    let forum = context.forum()?;
    let (order, notice) = (&forum.case.order, forum.law.notice);
    let evidence = format!("gag of at most {} days", notice.gag_max_days);
    let most = Duration::from_secs(u64::from(notice.gag_max_days) * 86_400);
    let fail = |code, reason| failed(code, reason, evidence.clone());
    match forum.case.notice {
        None => fail(RefusalCode::Incomplete, "notice: nothing is recorded"),
        Some(NoticeFact::ProviderInforms) if !notice.inform_subject => {
            let reason = "notice: the provider does not inform under this policy";
            fail(RefusalCode::ManifestErrors, reason)
        }
        Some(NoticeFact::ProviderInforms) if order.gag_until.is_some() => {
            fail(RefusalCode::ManifestErrors, "notice: the order has a gag")
        }
        Some(NoticeFact::Gagged { until }) if order.gag_until != Some(until) => {
            fail(RefusalCode::ManifestErrors, "notice: not the order's gag")
        }
        Some(NoticeFact::Gagged { until }) if until > order.issued_at.plus(most) => fail(
            RefusalCode::ManifestErrors,
            "gag_until: longer than the policy allows",
        ),
        Some(_) => passed(evidence),
    }
}

/// "R27 hold placed before review": it stands, and it stood when the rules were first evaluated.
pub(super) fn hold_placed(context: &Context<'_>) -> Ruling {
    let case = context.case()?;
    let now = context.facts.now;
    let evidence = "hold looked at";
    let fail = |reason| failed(RefusalCode::Incomplete, reason, evidence);
    match case.hold {
        None => fail("hold: none was placed"),
        Some(hold) if hold.placed_at > now => fail("hold: not placed yet"),
        Some(hold) if hold.until <= now => fail("hold: it has ended"),
        Some(_) => passed(evidence),
    }
}
