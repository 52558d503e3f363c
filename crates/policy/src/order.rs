//! An authority's order as intake reads it from JSON: parsed once, after which its times, numbers
//! and identifiers are known to be what they look like. Whether the order is lawful is for the rules
//! to say; here is only whether it can be read at all.
//!
//! Not here: the order's signature (the facts carry what was verified), and the translation of a
//! subject into a pseudonym.

use std::collections::BTreeSet;

use bailiwick_envelope::approval::RefusalCode;
use bailiwick_envelope::request::Purpose;
use bailiwick_types::limits::{ACCOUNT_BYTES, SCOPE_LINES, TEXT_BYTES};
use bailiwick_types::{Category, Digest, Jurisdiction, Name, Timestamp};
use serde::Deserialize;

use crate::vocabulary::{CaseType, IssuerKind, Priority, SubjectRole, VictimClass};

pub use bailiwick_types::limits::ORDER_BYTES;

/// The offence that the order names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offence {
    /// Its code in the forum's list.
    pub code: Name,
    /// The conduct in words.
    pub label: String,
    /// The maximum sentence in years.
    pub maximum_years: u32,
}

/// Who validated an order that its issuer could not issue alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// In which role.
    pub kind: IssuerKind,
    /// For which authority.
    pub authority: Name,
}

/// The threat to life that an emergency states.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threat {
    /// Whose life.
    pub victim: VictimClass,
    /// What threatens it, in words.
    pub statement: String,
}

/// Whom the order asks about, by account id. Ranges and wildcards are no subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderScope {
    /// Account ids, distinct; 1 to 256.
    pub subjects: Vec<String>,
    /// Kinds; at least one.
    pub kinds: BTreeSet<Category>,
    /// What for.
    pub purpose: Purpose,
    /// First instant.
    pub from: Timestamp,
    /// First instant after the window.
    pub to: Timestamp,
}

/// An order that could be read. Only [`Order::parse`] makes one from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The state that issued it.
    pub forum: Jurisdiction,
    /// The policy's name of the instrument.
    pub instrument: Name,
    /// The law that it cites.
    pub legal_basis: String,
    /// The issuing authority, as enrolled.
    pub authority: Name,
    /// The officer who signed it, as enrolled.
    pub officer: Name,
    /// In which role it was issued.
    pub issuer: IssuerKind,
    /// Who validated it, if anybody.
    pub validator: Option<Validator>,
    /// The authority's case reference.
    pub reference: String,
    /// The offence, if it names one.
    pub offence: Option<Offence>,
    /// What kind of case it is.
    pub case_type: CaseType,
    /// The subject's part in it.
    pub subject_role: SubjectRole,
    /// Whether the conduct breaks the provider's terms of service.
    pub terms_violation: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// The threat to life, if it states one.
    pub threat: Option<Threat>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// First instant of its validity. The data window is another interval and may end later.
    pub valid_from: Timestamp,
    /// First instant after its validity.
    pub valid_until: Timestamp,
    /// When its gag ends, if it has one.
    pub gag_until: Option<Timestamp>,
    /// Digest of its documents.
    pub documents: Digest,
    /// Whom and what it asks about.
    pub scope: OrderScope,
}

/// Why an order cannot be read: the authority's to correct, unless it was forged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason} ({})", .code.as_str())]
pub struct OrderRefusal {
    /// The refusal's code.
    pub code: RefusalCode,
    /// The field, or `json` where no field was reached.
    pub field: &'static str,
    /// What is wrong with it; never the value, which may identify somebody.
    pub reason: String,
}

fn refuse(code: RefusalCode, field: &'static str, reason: impl Into<String>) -> OrderRefusal {
    let reason = reason.into();
    OrderRefusal {
        code,
        field,
        reason,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderFile {
    forum: Jurisdiction,
    instrument: Name,
    #[serde(default)]
    legal_basis: String,
    authority: Name,
    officer: Name,
    issuer: IssuerKind,
    validator: Option<Validator>,
    #[serde(default)]
    reference: String,
    offence: Option<Offence>,
    case_type: CaseType,
    subject_role: SubjectRole,
    terms_violation: bool,
    priority: Priority,
    threat: Option<Threat>,
    issued_at: String,
    valid_from: String,
    valid_until: String,
    gag_until: Option<String>,
    documents: Digest,
    scope: ScopeFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeFile {
    subjects: Vec<String>,
    kinds: BTreeSet<Category>,
    purpose: Option<Purpose>,
    from: String,
    to: Option<String>,
}

impl Order {
    /// Reads an order: one JSON object, without a byte-order mark, unknown or repeated keys.
    ///
    /// # Errors
    /// [`OrderRefusal`] with the code that is answered to the authority.
    pub fn parse(text: &str) -> Result<Self, OrderRefusal> {
        if text.len() > ORDER_BYTES {
            let reason = format!("more than {ORDER_BYTES} bytes");
            return Err(refuse(RefusalCode::ManifestErrors, "json", reason));
        }
        if text.starts_with('\u{feff}') {
            let reason = "begins with a byte-order mark";
            return Err(refuse(RefusalCode::ManifestErrors, "json", reason));
        }
        let file: OrderFile = serde_json::from_str(text)
            .map_err(|error| refuse(RefusalCode::ManifestErrors, "json", describe(&error)))?;
        Self::of(file)
    }

    pub(crate) fn of(file: OrderFile) -> Result<Self, OrderRefusal> {
        let order = Self {
            scope: scope(file.scope)?,
            issued_at: instant("issued_at", &file.issued_at)?,
            valid_from: instant("valid_from", &file.valid_from)?,
            valid_until: instant("valid_until", &file.valid_until)?,
            gag_until: file
                .gag_until
                .map(|text| instant("gag_until", &text))
                .transpose()?,
            forum: file.forum,
            instrument: file.instrument,
            legal_basis: file.legal_basis,
            authority: file.authority,
            officer: file.officer,
            issuer: file.issuer,
            validator: file.validator,
            reference: file.reference,
            offence: file.offence,
            case_type: file.case_type,
            subject_role: file.subject_role,
            terms_violation: file.terms_violation,
            priority: file.priority,
            threat: file.threat,
            documents: file.documents,
        };
        order.check_texts()?;
        if order.valid_from >= order.valid_until {
            let reason = "ends before it starts";
            return Err(refuse(RefusalCode::ManifestErrors, "valid_until", reason));
        }
        Ok(order)
    }

    fn check_texts(&self) -> Result<(), OrderRefusal> {
        let label = self.offence.as_ref().map_or("-", |offence| &offence.label);
        let threat = self.threat.as_ref().map_or("-", |threat| &threat.statement);
        for (field, text) in [
            ("legal_basis", self.legal_basis.as_str()),
            ("reference", &self.reference),
            ("offence.label", label),
            ("threat.statement", threat),
        ] {
            if text.trim().is_empty() {
                return Err(refuse(RefusalCode::Incomplete, field, "missing"));
            }
            if text.len() > TEXT_BYTES {
                let reason = format!("longer than {TEXT_BYTES} bytes");
                return Err(refuse(RefusalCode::ManifestErrors, field, reason));
            }
        }
        Ok(())
    }
}

/// What the JSON reader says, without the value that it stumbled over.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!("line {} column {}", error.line(), error.column());
    // Names of keys are ours; quoted values are the sender's.
    let named = [
        "missing field",
        "unknown field",
        "duplicate field",
        "unknown variant",
    ];
    match named.iter().find(|kind| text.starts_with(**kind)) {
        Some(kind) => {
            let key = text[kind.len()..].split('`').nth(1).unwrap_or_default();
            let known = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_graphic());
            let key = if known { key } else { "a key" };
            format!("{kind} {key} at {place}")
        }
        None if error.is_data() => format!("a value of the wrong kind at {place}"),
        None => format!("no JSON at {place}"),
    }
}

fn instant(field: &'static str, text: &str) -> Result<Timestamp, OrderRefusal> {
    Timestamp::parse_rfc3339(text)
        .map_err(|error| refuse(RefusalCode::ManifestErrors, field, error.to_string()))
}

fn scope(file: ScopeFile) -> Result<OrderScope, OrderRefusal> {
    let count = file.subjects.len();
    if count == 0 {
        return Err(refuse(RefusalCode::Incomplete, "scope.subjects", "none"));
    }
    if count > SCOPE_LINES {
        let reason = format!("{count} subjects, more than {SCOPE_LINES}");
        return Err(refuse(RefusalCode::Overbroad, "scope.subjects", reason));
    }
    for subject in &file.subjects {
        check_subject(subject)?;
    }
    let distinct: BTreeSet<&String> = file.subjects.iter().collect();
    if distinct.len() < count {
        let reason = "a subject is named twice";
        return Err(refuse(
            RefusalCode::ManifestErrors,
            "scope.subjects",
            reason,
        ));
    }
    if file.kinds.is_empty() {
        return Err(refuse(RefusalCode::Incomplete, "scope.kinds", "none"));
    }
    let missing = |field, reason| refuse(RefusalCode::Incomplete, field, reason);
    let purpose = file
        .purpose
        .ok_or_else(|| missing("scope.purpose", "missing: identify or history"))?;
    let unbounded = || refuse(RefusalCode::Overbroad, "scope.to", "the window has no end");
    let from = instant("scope.from", &file.from)?;
    let to = instant("scope.to", &file.to.ok_or_else(unbounded)?)?;
    if from >= to {
        let reason = "the window ends before it starts";
        return Err(refuse(RefusalCode::ManifestErrors, "scope.to", reason));
    }
    Ok(OrderScope {
        subjects: file.subjects,
        kinds: file.kinds,
        purpose,
        from,
        to,
    })
}

/// "R16 no ranges, no wildcards": an account id is letters, digits and a few marks.
fn check_subject(subject: &str) -> Result<(), OrderRefusal> {
    let field = "scope.subjects";
    let overbroad = |reason| Err(refuse(RefusalCode::Overbroad, field, reason));
    if subject.is_empty() || subject.len() > ACCOUNT_BYTES {
        let reason = "a subject is empty or too long";
        return Err(refuse(RefusalCode::ManifestErrors, field, reason));
    }
    if subject.contains(['*', '?', '%']) {
        return overbroad("a wildcard is no subject");
    }
    if subject.contains('/') || subject.contains("..") {
        return overbroad("a range is no subject");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@+".contains(&byte);
    if !subject.bytes().all(plain) {
        let reason = "a subject has characters that no account id has";
        return Err(refuse(RefusalCode::ManifestErrors, field, reason));
    }
    Ok(())
}
