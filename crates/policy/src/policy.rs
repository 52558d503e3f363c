//! A policy file: one TOML file per jurisdiction and version. Unknown keys, unknown rules and
//! quorums below two are refused; an absent list allows nobody.
//!
//! ```text
//! jurisdiction = "FR"
//! version = 1
//! in_force = "2026-01-01T00:00:00Z"
//! illustrative = "not legal advice"
//! sources = ["..."]
//! rules = ["R14", "R15", "R16", "R17", "R26", "R28", "R29", "R30"]
//! kinds = ["phone", "ip"]
//! [quorum]   workflow = 2              legal-review = 2
//! [limits]   max_subjects = 5          max_window_minutes = 525600     max_records = 10000
//! [reach]    forums = ["FR"]           authorities = ["tribunal-paris"]
//! ```
//! `digest = H("policy", the file's bytes)`. [`crate::law`] draws the sections of a policy that
//! knows instruments.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_envelope::{HashTag, hash};
use bailiwick_types::limits::{SCOPE_LINES, SELECTION_RECORDS, TEXT_BYTES};
use bailiwick_types::{Category, Digest, Jurisdiction, Name, Role, Slot, Timestamp};
use serde::Deserialize;

use crate::law::{
    Instrument, Intake, Law, Notice, Preservation, Report, Retention, Safeguards, Sections,
};
use crate::rule::RuleId;

/// Longest policy file in bytes: 256 authorities of 64 characters, sources, and slack.
pub const POLICY_BYTES: usize = 64 * 1024;

/// How many members of each role must decide to approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quorum {
    /// Of the workflow role; 2 to 7.
    pub workflow: u8,
    /// Of the legal-review role; 2 to 7.
    pub legal_review: u8,
    /// Of the rights panel, the third quorum; 2 to 7. Absent: nothing that escalates is disclosed.
    pub rights_panel: Option<u8>,
}

impl Quorum {
    /// The quorum of a role.
    pub fn of(&self, role: Role) -> u8 {
        match role {
            Role::Workflow => self.workflow,
            Role::LegalReview => self.legal_review,
        }
    }

    /// Whether both roles, and the rights panel where there is one, need at least two: a quorum of 0
    /// or 1 is never one.
    pub fn is_quorum(&self) -> bool {
        let bounds = 2..=Slot::LIMIT;
        bounds.contains(&self.workflow)
            && bounds.contains(&self.legal_review)
            && self
                .rights_panel
                .is_none_or(|panel| bounds.contains(&panel))
    }
}

/// Upper bounds on what one request may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Most distinct subjects.
    pub max_subjects: u32,
    /// Longest window of one scope line, in minutes.
    pub max_window_minutes: u32,
    /// Most records that one request may disclose.
    pub max_records: u32,
    /// A longer IP window under the purpose `identify` needs a human: it is a history. Absent:
    /// only the window's maximum bounds it.
    pub max_identify_minutes: Option<u32>,
}

/// Who may ask. Empty means nobody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// Forums whose orders reach this custody jurisdiction directly.
    pub forums: BTreeSet<Jurisdiction>,
    /// Authorities that may ask.
    pub authorities: BTreeSet<Name>,
    /// Forums that are answered by no way at all, not even mutual legal assistance. A forum that
    /// stands in neither list is referred to it.
    #[serde(default)]
    pub never: BTreeSet<Jurisdiction>,
}

/// One jurisdiction's policy. Only [`Policy::parse`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    jurisdiction: Jurisdiction,
    family: Option<String>,
    version: u32,
    in_force: Timestamp,
    illustrative: Option<String>,
    sources: Vec<String>,
    rules: BTreeSet<RuleId>,
    kinds: BTreeSet<Category>,
    quorum: Quorum,
    limits: Limits,
    reach: Reach,
    law: Option<Law>,
    unverified: BTreeSet<String>,
    digest: Digest,
}

/// The file as TOML states it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    jurisdiction: Jurisdiction,
    family: Option<String>,
    version: u32,
    in_force: String,
    illustrative: Option<String>,
    sources: Vec<String>,
    rules: Vec<String>,
    kinds: BTreeSet<Category>,
    quorum: Quorum,
    limits: Limits,
    reach: Reach,
    #[serde(default)]
    unverified: BTreeSet<String>,
    intake: Option<Intake>,
    #[serde(default)]
    instruments: BTreeMap<Name, Instrument>,
    preservation: Option<Preservation>,
    safeguards: Option<Safeguards>,
    notice: Option<Notice>,
    retention: Option<Retention>,
    report: Option<Report>,
}

/// Why a text is no policy: the author's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than [`POLICY_BYTES`].
    #[error("policy: {0} bytes are more than a policy file may have")]
    TooLong(usize),
    /// Not TOML, or a field is missing, unknown or of the wrong type.
    #[error("policy: {0}")]
    Form(String),
    /// A field's value is not allowed.
    #[error("policy field {field}: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Policy {
    /// Parses a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] names the field and the reason.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES {
            return Err(PolicyError::TooLong(text.len()));
        }
        let file: PolicyFile = toml::from_str(text)
            .map_err(|error| PolicyError::Form(describe_toml_error(text, &error)))?;
        let in_force = Timestamp::parse_rfc3339(&file.in_force)
            .map_err(|error| field("in_force", error.to_string()))?;
        check_texts(&file)?;
        if !file.quorum.is_quorum() {
            return Err(field("quorum", "each role needs 2 to 7"));
        }
        check_limits(&file.limits)?;
        check_reach(&file.reach)?;
        check_unverified(text, &file.unverified)?;
        let law = Sections {
            intake: file.intake,
            instruments: file.instruments,
            preservation: file.preservation,
            safeguards: file.safeguards,
            notice: file.notice,
            retention: file.retention,
            report: file.report,
        };
        let law = law.assemble()?;
        if law.is_some() && file.limits.max_identify_minutes.is_none() {
            let reason = "missing beside [instruments]: it separates identification from traffic";
            return Err(field("limits.max_identify_minutes", reason));
        }
        Ok(Self {
            jurisdiction: file.jurisdiction,
            family: file.family,
            version: file.version,
            in_force,
            illustrative: file.illustrative,
            sources: file.sources,
            rules: parse_rules(&file.rules)?,
            kinds: file.kinds,
            quorum: file.quorum,
            limits: file.limits,
            reach: file.reach,
            law,
            unverified: file.unverified,
            digest: policy_digest(text),
        })
    }

    /// The jurisdiction whose policy this is.
    pub fn jurisdiction(&self) -> Jurisdiction {
        self.jurisdiction
    }

    /// The family of instruments that the policy belongs to, such as `EU`, if it belongs to one.
    pub fn family(&self) -> Option<&str> {
        self.family.as_deref()
    }

    /// The version, from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// First instant of validity.
    pub fn in_force(&self) -> Timestamp {
        self.in_force
    }

    /// The notice that the policy only illustrates, where it carries one.
    pub fn illustrative(&self) -> Option<&str> {
        self.illustrative.as_deref()
    }

    /// Where the policy's rules come from.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The enabled rules. None: nothing is permitted.
    pub fn rules(&self) -> &BTreeSet<RuleId> {
        &self.rules
    }

    /// The kinds that may be asked. None: nothing may.
    pub fn kinds(&self) -> &BTreeSet<Category> {
        &self.kinds
    }

    /// The quorum.
    pub fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Who may ask.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Instruments and all that goes with them. `None`: the policy is of scope and quorums only.
    pub fn law(&self) -> Option<&Law> {
        self.law.as_ref()
    }

    /// Paths of the file's fields that rest on facts nobody verified, such as
    /// `instruments.requisition.traffic.deadline_hours`.
    pub fn unverified(&self) -> &BTreeSet<String> {
        &self.unverified
    }

    /// The longest window of an identification, in minutes; what is longer is a history.
    pub fn identify_minutes(&self) -> u32 {
        let limits = &self.limits;
        limits
            .max_identify_minutes
            .unwrap_or(limits.max_window_minutes)
    }

    /// `H("policy", the file's bytes as read)`.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A copy that was in force by an instant, to ask what a draft would have done then.
    pub(crate) fn as_in_force_by(&self, instant: Timestamp) -> Self {
        Self {
            in_force: self.in_force.min(instant),
            ..self.clone()
        }
    }

    /// A copy with another quorum and other rules, to show that evaluation denies by itself what
    /// [`Policy::parse`] refuses.
    #[cfg(test)]
    pub(crate) fn with(&self, quorum: Quorum, rules: &[RuleId]) -> Self {
        Self {
            quorum,
            rules: rules.iter().copied().collect(),
            ..self.clone()
        }
    }
}

/// `H("policy", bytes)` of a file's bytes.
pub fn policy_digest(text: &str) -> Digest {
    hash(HashTag::Policy, |e| {
        e.bytes(text.as_bytes());
    })
}

fn check_texts(file: &PolicyFile) -> Result<(), PolicyError> {
    if file.version == 0 {
        return Err(field("version", "versions begin at 1"));
    }
    let long = |text: &String| text.trim().is_empty() || text.len() > TEXT_BYTES;
    if file.illustrative.as_ref().is_some_and(long) {
        return Err(field("illustrative", "empty or too long"));
    }
    if file.family.as_ref().is_some_and(long) {
        return Err(field("family", "empty or too long"));
    }
    if file.sources.iter().any(long) {
        return Err(field("sources", "one is empty or too long"));
    }
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), PolicyError> {
    let lines = SCOPE_LINES as u32;
    if limits.max_subjects == 0 || limits.max_subjects > lines {
        return Err(field("limits.max_subjects", format!("not 1 to {lines}")));
    }
    if limits.max_window_minutes == 0 {
        return Err(field(
            "limits.max_window_minutes",
            "a window needs a minute",
        ));
    }
    if limits.max_records == 0 || limits.max_records > SELECTION_RECORDS {
        let reason = format!("not 1 to {SELECTION_RECORDS}");
        return Err(field("limits.max_records", reason));
    }
    Ok(())
}

fn check_reach(reach: &Reach) -> Result<(), PolicyError> {
    match reach.forums.intersection(&reach.never).next() {
        Some(both) => Err(field("reach.never", format!("{both} stands in forums too"))),
        None => Ok(()),
    }
}

/// A mark on a field that is not there marks nothing, and its author meant another one.
fn check_unverified(text: &str, paths: &BTreeSet<String>) -> Result<(), PolicyError> {
    if paths.is_empty() {
        return Ok(());
    }
    let root: toml::Table = text
        .parse()
        .map_err(|error| PolicyError::Form(describe_toml_error(text, &error)))?;
    for path in paths {
        let mut keys = path.split('.');
        let first = keys.next().and_then(|key| root.get(key));
        if keys.fold(first, |value, key| value?.get(key)).is_none() {
            return Err(field(
                "unverified",
                format!("{path:?} is no field of this file"),
            ));
        }
    }
    Ok(())
}

fn parse_rules(texts: &[String]) -> Result<BTreeSet<RuleId>, PolicyError> {
    let mut rules = BTreeSet::new();
    for text in texts {
        let rule: RuleId = text
            .parse()
            .map_err(|error| field("rules", format!("{text:?} is {error}")))?;
        if !rules.insert(rule) {
            return Err(field("rules", format!("{rule} is listed twice")));
        }
    }
    Ok(rules)
}

pub(crate) fn field(field: &'static str, reason: impl Into<String>) -> PolicyError {
    let reason = reason.into();
    PolicyError::Field { field, reason }
}

/// What a TOML parser says, with the line and the field that it is about and without the drawing.
pub fn describe_toml_error(text: &str, error: &toml::de::Error) -> String {
    let reason = error.message().replace('\n', " ");
    let Some(span) = error.span() else {
        return reason;
    };
    let (Some(before), Some(at)) = (text.get(..span.start), text.get(span)) else {
        return reason;
    };
    let line = before.matches('\n').count() + 1;
    let begun = before.rsplit('\n').next().unwrap_or(before);
    let key_byte = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    // The parser points at a value, whose key stands before it, or at a key.
    let field = match begun.rsplit_once('=') {
        Some((left, _)) => {
            let left = left.trim_end();
            left.rsplit(|c| !key_byte(c)).next().unwrap_or(left)
        }
        None if at.chars().all(key_byte) => at,
        None => "",
    };
    if field.is_empty() {
        format!("line {line}: {reason}")
    } else {
        format!("line {line}, field {field}: {reason}")
    }
}
