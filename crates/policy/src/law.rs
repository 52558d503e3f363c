//! The part of a policy that knows instruments: who may order which category of data by what, how
//! long it may take, and what protects the subject. A policy without it is one of scope and
//! quorums only; a policy that states instruments states all of it.
//!
//! ```text
//! [intake]            correct_within_hours  emergencies_per_officer_day
//! [instruments.NAME]  label channel route legal_bases reach
//! [instruments.NAME.subscriber|identification|traffic]
//!                     kinds purposes issuers validated_others minimum_offence_years
//!                     listed_offences deadline_hours emergency_hours validate_within_hours
//!                     max_subjects max_window_minutes
//! [instruments.NAME.CATEGORY.notify]   window_hours objection_hours
//! [preservation]      initial_days extension_days extensions quorum
//! [safeguards]        escalate_every_case escalate_case_types speech_offences refused_offences
//!                     dual_criminality require_suspect require_terms_violation
//! [notice]            inform_subject gag_max_days
//! [retention.ip|phone]  min_days max_days
//! [report]            band suppress_below
//! ```
//! All periods count from receipt by log time. Zero is refused wherever a number permits something.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_envelope::request::Purpose;
use bailiwick_types::limits::{SCOPE_LINES, TEXT_BYTES};
use bailiwick_types::{Category, Jurisdiction, Name};
use serde::Deserialize;

use crate::policy::{PolicyError, field};
use crate::vocabulary::{CaseType, DataCategory, IssuerKind, Route};

/// Most instruments of one policy.
pub const INSTRUMENTS: usize = 32;
/// Longest period in hours that a policy may set: ten years, so that instants never overflow.
pub const PERIOD_HOURS: u32 = 24 * 3660;

/// What happens on receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// An incomplete request lapses when it is not corrected within this many hours.
    pub correct_within_hours: u32,
    /// Emergencies that one officer may claim on a UTC day.
    pub emergencies_per_officer_day: u32,
}

/// The enforcing authority's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// The request waits this many hours for it, unless it clears the request earlier.
    pub window_hours: u32,
    /// In an emergency, which does not wait, it may object this many hours after being notified.
    pub objection_hours: u32,
}

/// The terms on which an instrument reaches one category of data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoryTerms {
    /// Kinds that may be asked. None: nothing may.
    pub kinds: BTreeSet<Category>,
    /// Purposes that may be stated. None: none may.
    pub purposes: BTreeSet<Purpose>,
    /// Who may issue it without anybody's validation. None: nobody.
    pub issuers: BTreeSet<IssuerKind>,
    /// Whether others may issue it when one of `issuers` validated it.
    pub validated_others: bool,
    /// The offence's maximum sentence is at least this many years. Absent: any offence.
    pub minimum_offence_years: Option<u32>,
    /// Offences for which neither the minimum nor dual criminality is asked.
    #[serde(default)]
    pub listed_offences: BTreeSet<Name>,
    /// Whether the enforcing authority is notified, and how long it has.
    pub notify: Option<Notify>,
    /// The decision is due this many hours after receipt.
    pub deadline_hours: u32,
    /// The same in an emergency. Absent: no emergency path for this category.
    pub emergency_hours: Option<u32>,
    /// An emergency order that nobody validated is recalled unless validated within this many hours
    /// of receipt. Absent: an order that nobody validated is refused in an emergency too.
    pub validate_within_hours: Option<u32>,
    /// Most distinct subjects.
    pub max_subjects: u32,
    /// Longest window of one scope line, in minutes.
    pub max_window_minutes: u32,
}

/// One instrument of a forum's law.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// Its name in words.
    pub label: String,
    /// How it arrives, in words.
    pub channel: String,
    /// Which way it takes.
    pub route: Route,
    /// Texts of which an order under it cites at least one. None: no order is under it.
    pub legal_bases: BTreeSet<String>,
    /// Custody jurisdictions that it claims to reach directly. None: nowhere.
    pub reach: BTreeSet<Jurisdiction>,
    /// Terms for subscriber data. Absent: it does not reach them.
    pub subscriber: Option<CategoryTerms>,
    /// Terms for identification. Absent: it does not reach it.
    pub identification: Option<CategoryTerms>,
    /// Terms for traffic data. Absent: it does not reach them.
    pub traffic: Option<CategoryTerms>,
}

impl Instrument {
    /// The terms for a category, if the instrument reaches it.
    pub fn terms(&self, category: DataCategory) -> Option<&CategoryTerms> {
        match category {
            DataCategory::Subscriber => self.subscriber.as_ref(),
            DataCategory::Identification => self.identification.as_ref(),
            DataCategory::Traffic => self.traffic.as_ref(),
        }
    }
}

/// Preservation: fast, needs no key, enables no decryption, expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preservation {
    /// The first period in days.
    pub initial_days: u32,
    /// Each extension in days.
    pub extension_days: u32,
    /// How often it may be extended.
    pub extensions: u32,
    /// Persons who must agree; at least one.
    pub quorum: u8,
}

/// What protects the subject. An absent switch protects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Safeguards {
    /// Every case goes to the rights panel.
    pub escalate_every_case: bool,
    /// Case types that go to the rights panel.
    pub escalate_case_types: BTreeSet<CaseType>,
    /// Offences of speech or politics, which go to the rights panel.
    pub speech_offences: BTreeSet<Name>,
    /// Offences for which nothing is disclosed, and the code that says why.
    pub refused_offences: BTreeMap<Name, RefusalCode>,
    /// The conduct must be an offence in the custody jurisdiction and at the provider's
    /// establishment too, except for listed offences.
    #[serde(default = "protects")]
    pub dual_criminality: bool,
    /// The subject must be a suspect.
    #[serde(default = "protects")]
    pub require_suspect: bool,
    /// The conduct must break the provider's terms of service.
    #[serde(default = "protects")]
    pub require_terms_violation: bool,
}

fn protects() -> bool {
    true
}

/// What the subject is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Whether the provider itself informs the subject.
    pub inform_subject: bool,
    /// Longest gag in days from the order's issue; a gag without an end is refused.
    pub gag_max_days: u32,
}

/// How long one kind is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionPeriod {
    /// Days for which a duty forbids erasure; zero where there is no such duty.
    pub min_days: u32,
    /// Days after which storage limitation demands erasure.
    pub max_days: u32,
}

/// Retention of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// IP addresses.
    pub ip: RetentionPeriod,
    /// Phone numbers.
    pub phone: RetentionPeriod,
}

/// How the quarterly report shows counts of this forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Counts are shown in bands of this width; 1 shows exact counts.
    pub band: u32,
    /// Counts below this are shown as suppressed; 0 suppresses none. Zeros are always published.
    pub suppress_below: u32,
}

/// Everything that a policy with instruments states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Law {
    /// What happens on receipt.
    pub intake: Intake,
    /// The instruments by name.
    pub instruments: BTreeMap<Name, Instrument>,
    /// Preservation.
    pub preservation: Preservation,
    /// What protects the subject.
    pub safeguards: Safeguards,
    /// What the subject is told.
    pub notice: Notice,
    /// How long records are kept.
    pub retention: Retention,
    /// How the report shows counts.
    pub report: Report,
}

/// The sections as a file has them: all or none.
pub(crate) struct Sections {
    pub(crate) intake: Option<Intake>,
    pub(crate) instruments: BTreeMap<Name, Instrument>,
    pub(crate) preservation: Option<Preservation>,
    pub(crate) safeguards: Option<Safeguards>,
    pub(crate) notice: Option<Notice>,
    pub(crate) retention: Option<Retention>,
    pub(crate) report: Option<Report>,
}

impl Sections {
    /// The law of a file, when it states instruments.
    pub(crate) fn assemble(self) -> Result<Option<Law>, PolicyError> {
        if self.instruments.is_empty() {
            return self.check_absent().map(|()| None);
        }
        let missing = |name| field(name, "missing beside [instruments]");
        let law = Law {
            intake: self.intake.ok_or_else(|| missing("intake"))?,
            instruments: self.instruments,
            preservation: self.preservation.ok_or_else(|| missing("preservation"))?,
            safeguards: self.safeguards.ok_or_else(|| missing("safeguards"))?,
            notice: self.notice.ok_or_else(|| missing("notice"))?,
            retention: self.retention.ok_or_else(|| missing("retention"))?,
            report: self.report.ok_or_else(|| missing("report"))?,
        };
        law.check()?;
        Ok(Some(law))
    }

    /// Without instruments the other sections would promise what nothing applies.
    fn check_absent(&self) -> Result<(), PolicyError> {
        let stated = [
            ("intake", self.intake.is_some()),
            ("preservation", self.preservation.is_some()),
            ("safeguards", self.safeguards.is_some()),
            ("notice", self.notice.is_some()),
            ("retention", self.retention.is_some()),
            ("report", self.report.is_some()),
        ];
        match stated.into_iter().find(|(_, stated)| *stated) {
            Some((name, _)) => Err(field(name, "stated without any [instruments]")),
            None => Ok(()),
        }
    }
}

impl Law {
    fn check(&self) -> Result<(), PolicyError> {
        if self.instruments.len() > INSTRUMENTS {
            let reason = format!("more than {INSTRUMENTS}");
            return Err(field("instruments", reason));
        }
        period(
            "intake.correct_within_hours",
            self.intake.correct_within_hours,
        )?;
        if self.intake.emergencies_per_officer_day == 0 {
            let reason = "zero; leave emergency_hours out to have no emergencies";
            return Err(field("intake.emergencies_per_officer_day", reason));
        }
        for (name, instrument) in &self.instruments {
            check_instrument(name, instrument)?;
        }
        let kept = self.preservation;
        period(
            "preservation.initial_days",
            kept.initial_days.saturating_mul(24),
        )?;
        period(
            "preservation.extension_days",
            kept.extension_days.saturating_mul(24),
        )?;
        if kept.quorum == 0 {
            return Err(field(
                "preservation.quorum",
                "a hold needs at least one person",
            ));
        }
        period(
            "notice.gag_max_days",
            self.notice.gag_max_days.saturating_mul(24),
        )?;
        for (name, kept) in [
            ("retention.ip", self.retention.ip),
            ("retention.phone", self.retention.phone),
        ] {
            if kept.max_days == 0 || kept.min_days > kept.max_days {
                return Err(field(name, "max_days is zero or below min_days"));
            }
        }
        if self.report.band == 0 {
            return Err(field("report.band", "zero; 1 shows exact counts"));
        }
        Ok(())
    }
}

fn period(name: &'static str, hours: u32) -> Result<(), PolicyError> {
    if hours == 0 || hours > PERIOD_HOURS {
        return Err(field(name, format!("not 1 to {PERIOD_HOURS} hours")));
    }
    Ok(())
}

fn check_instrument(name: &Name, instrument: &Instrument) -> Result<(), PolicyError> {
    let long = |text: &String| text.trim().is_empty() || text.len() > TEXT_BYTES;
    let texts = [&instrument.label, &instrument.channel];
    if texts.into_iter().chain(&instrument.legal_bases).any(long) {
        let reason = format!("{name}: a text is empty or too long");
        return Err(field("instruments", reason));
    }
    let mut reached = false;
    for category in DataCategory::ALL {
        if let Some(terms) = instrument.terms(*category) {
            reached = true;
            check_terms(name, *category, terms)?;
        }
    }
    if reached {
        return Ok(());
    }
    let reason = format!("{name}: it reaches no category");
    Err(field("instruments", reason))
}

fn check_terms(
    name: &Name,
    category: DataCategory,
    terms: &CategoryTerms,
) -> Result<(), PolicyError> {
    let wrong = |key: &str, reason: &str| {
        Err(field(
            "instruments",
            format!("{name}.{category}.{key}: {reason}"),
        ))
    };
    let within = |hours: u32| (1..=PERIOD_HOURS).contains(&hours);
    if !within(terms.deadline_hours) {
        return wrong("deadline_hours", "zero or too long");
    }
    if terms
        .emergency_hours
        .is_some_and(|hours| hours == 0 || hours > terms.deadline_hours)
    {
        return wrong(
            "emergency_hours",
            "zero, or longer than the ordinary deadline",
        );
    }
    match (terms.emergency_hours, terms.validate_within_hours) {
        (None, Some(_)) => {
            return wrong("validate_within_hours", "without emergency_hours");
        }
        (_, Some(hours)) if !within(hours) => {
            return wrong("validate_within_hours", "zero or too long");
        }
        _ => {}
    }
    if let Some(notify) = terms.notify
        && !(within(notify.window_hours) && within(notify.objection_hours))
    {
        return wrong("notify", "a period is zero or too long");
    }
    if terms.max_subjects == 0 || terms.max_subjects > SCOPE_LINES as u32 {
        return wrong("max_subjects", "zero or too many");
    }
    if terms.max_window_minutes == 0 {
        return wrong("max_window_minutes", "a window needs a minute");
    }
    if terms.minimum_offence_years == Some(0) {
        return wrong(
            "minimum_offence_years",
            "zero; leave it out to take any offence",
        );
    }
    Ok(())
}
