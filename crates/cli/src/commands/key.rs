//! `bailiwick key`: call the committees for keys and watch them sign; show, verify, generate.

use std::path::Path;
use std::time::Duration;

use bailiwick_api::session::{
    CallForKeys, CertificateDraft, Certificates, CommitteePlan, PlannedMember,
};
use bailiwick_client::certificates::{live_certificate, read_certificates};
use bailiwick_client::operator::Operator;
use bailiwick_client::{Cluster, JurisdictionTrust};
use bailiwick_envelope::certificate::{CertificateBody, TrustedCommittee};
use bailiwick_envelope::sha256;
use bailiwick_types::limits::CERTIFICATE_PERIODS;
use bailiwick_types::{
    CertificateId, CommandKey, Digest, Jurisdiction, Name, Role, ShardId, Slot, Threshold,
    Timestamp,
};
use serde::Serialize;
use tokio::time::Instant;

use super::operator::command_key;
use crate::args::{KeyKind, KeyVerb};
use crate::connect::{of_call, of_certificates};
use crate::failure::{Failure, FailureKind};
use crate::keys::{RecipientCard, generate_recipient_key, generate_signing_key};
use crate::output::{self, Output};
use crate::profile::Profile;

const DAY: u64 = 86_400;
/// How often a draft is looked at.
const WATCH: Duration = Duration::from_millis(250);

/// Runs a verb that needs the cluster.
///
/// # Errors
/// [`Failure`].
pub async fn run(
    cluster: &Cluster,
    profile: &Profile,
    verb: &KeyVerb,
    output: Output,
) -> Result<(), Failure> {
    match verb {
        KeyVerb::Certify {
            code,
            days,
            from,
            keep_days,
            wait_seconds,
        } => {
            let trust = profile.trust_of(*code)?;
            let from = first_day(from.as_deref())?;
            let plan = plan(&trust, from, *days, *keep_days, command_key()?)?;
            let wait = Duration::from_secs(*wait_seconds);
            let operator = Operator::new(cluster.clone());
            let id = certify(&operator, &plan, wait, |line| output::note(&line)).await?;
            output.fields(&[
                ("jurisdiction", code.to_string()),
                ("certificate", id.to_string()),
                ("days", days.to_string()),
                ("valid from", plan.not_before.to_string()),
                ("valid until", plan.not_after.to_string()),
            ]);
            Ok(())
        }
        KeyVerb::Show { code } => {
            let shown = Operator::new(cluster.clone()).certificates(*code).await;
            let what = format!("the certificates of {code} were not read");
            show(&shown.map_err(|error| of_call(what, &error))?, output);
            Ok(())
        }
        KeyVerb::Verify { code } => verify(cluster, profile, *code, output).await,
        KeyVerb::Generate { .. } | KeyVerb::Audit { .. } | KeyVerb::Wrap { .. } => Ok(()),
    }
}

/// Makes a key pair; needs no cluster.
///
/// # Errors
/// [`Failure`] when a file exists or cannot be written, or a recipient's options are missing.
pub fn generate(
    kind: KeyKind,
    out: &Path,
    name: Option<&Name>,
    certificate: Option<&Path>,
    output: Output,
) -> Result<(), Failure> {
    if kind != KeyKind::Recipient {
        let key = generate_signing_key(out)?;
        output.fields(&[
            ("private", out.display().to_string()),
            ("public", key.to_string()),
        ]);
        return Ok(());
    }
    let (Some(name), Some(certificate)) = (name, certificate) else {
        return Err(Failure::usage(
            "no recipient's key was made",
            "a recipient's card names its id and the certificate that vouches for the key",
            "give --name and --certificate",
        ));
    };
    let digest = certificate_digest(certificate)?;
    let key = generate_recipient_key(out)?;
    let card = RecipientCard::new(name.clone(), digest, &key);
    let path = RecipientCard::beside(out);
    let text = toml::to_string(&card).map_err(|error| Failure::file(&path, &error))?;
    std::fs::write(&path, text).map_err(|error| Failure::file(&path, &error))?;
    output.fields(&[
        ("private", out.display().to_string()),
        ("card", path.display().to_string()),
        ("public", key.recipient_hash().to_string()),
    ]);
    Ok(())
}

/// SHA-256 of a PEM file's first certificate (DER).
fn certificate_digest(path: &Path) -> Result<Digest, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let wrong = || {
        let what = format!("{} is no PEM certificate", path.display());
        Failure::usage(
            what,
            "it has no certificate in it",
            "name the recipient's certificate",
        )
    };
    let begin = "-----BEGIN CERTIFICATE-----";
    let body = text.split_once(begin).ok_or_else(wrong)?.1;
    let body = body
        .split_once("-----END CERTIFICATE-----")
        .ok_or_else(wrong)?
        .0;
    let body: String = body.split_whitespace().collect();
    base64_decode(&body)
        .map(|der| sha256(&der))
        .ok_or_else(wrong)
}

fn base64_decode(text: &str) -> Option<Vec<u8>> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.decode(text).ok()
}

fn first_day(from: Option<&str>) -> Result<Timestamp, Failure> {
    let Some(date) = from else {
        let now = bailiwick_node::clock::now().seconds();
        return Ok(Timestamp::from_seconds(now - now % DAY));
    };
    Timestamp::parse_rfc3339(&format!("{date}T00:00:00Z")).map_err(|error| {
        Failure::usage(
            format!("{date} is no day"),
            error.to_string(),
            "write it as 2026-11-24",
        )
    })
}

/// The call for keys of `days` daily periods, with the members of the caller's own trust file.
///
/// # Errors
/// [`Failure`] (usage) when there are too many or no days, or the trust file's roster is none.
pub fn plan(
    trust: &JurisdictionTrust,
    from: Timestamp,
    days: u16,
    keep_days: u16,
    key: CommandKey,
) -> Result<CallForKeys, Failure> {
    if days == 0 || usize::from(days) > CERTIFICATE_PERIODS {
        return Err(Failure::usage(
            format!("{days} days are not certified"),
            format!("one certificate has 1 to {CERTIFICATE_PERIODS} periods"),
            "give --days within that, and certify again later",
        ));
    }
    let day = |number: u64| Timestamp::from_seconds(from.seconds() + number * DAY);
    let periods = (0..u64::from(days)).map(|number| {
        (
            day(number),
            day(number + 1),
            day(number + 1 + u64::from(keep_days)),
        )
    });
    Ok(CallForKeys {
        key,
        shard: ShardId::home(trust.jurisdiction),
        workflow: committee(trust.roster.committee(Role::Workflow))?,
        legal_review: committee(trust.roster.committee(Role::LegalReview))?,
        not_before: from,
        not_after: day(u64::from(days)),
        periods: periods.collect(),
    })
}

fn committee(trusted: &TrustedCommittee) -> Result<CommitteePlan, Failure> {
    let members = u8::try_from(trusted.members.len()).unwrap_or(u8::MAX);
    let threshold = Threshold::new(trusted.needed, members).map_err(|error| {
        Failure::usage(
            "the trust file names no committee",
            error.to_string(),
            "correct its roster",
        )
    })?;
    let member = |member: &bailiwick_envelope::certificate::TrustedMember| PlannedMember {
        slot: member.slot,
        organisation: member.organisation.clone(),
        name: member.name.clone(),
        identity: member.identity,
    };
    Ok(CommitteePlan {
        threshold,
        members: trusted.members.iter().map(member).collect(),
    })
}

/// Calls for keys and watches until the certificate is valid. `tell` gets a line per change.
///
/// # Errors
/// [`Failure`]; unknown when the wait is over: the call stands, and members may still answer.
pub async fn certify(
    operator: &Operator,
    plan: &CallForKeys,
    wait: Duration,
    mut tell: impl FnMut(String),
) -> Result<CertificateId, Failure> {
    let code = plan.shard.jurisdiction;
    let what = format!("no keys were called for in {code}");
    let called = operator.call_for_keys(plan.clone()).await;
    let name = called.map_err(|error| of_call(&what, &error))?;
    let until = Instant::now() + wait;
    let mut told = String::new();
    loop {
        let certificates = operator.certificates(code).await;
        let certificates = certificates.map_err(|error| of_call(&what, &error))?;
        if let Some(id) = find_valid(&certificates, plan) {
            return Ok(id);
        }
        let draft = certificates.drafts.iter().find(|draft| draft.draft == name);
        let line = draft.map_or_else(|| "waiting for the draft".to_owned(), progress);
        if line != told {
            tell(format!("{code}: {line}"));
            told = line;
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                FailureKind::Unknown,
                format!("the certificate of {code} is not valid yet"),
                format!("{told}; the members named as missing have not answered"),
                "see that they run; `bailiwick key show` shows when all have signed",
            ));
        }
        tokio::time::sleep(WATCH).await;
    }
}

/// The valid certificate that fits a plan.
fn find_valid(certificates: &Certificates, plan: &CallForKeys) -> Option<CertificateId> {
    let periods = plan.certificate_periods();
    let fits =
        |body: &CertificateBody| body.periods == periods && body.not_before == plan.not_before;
    let found = certificates
        .valid
        .iter()
        .find(|logged| fits(&logged.certificate.body))?;
    Some(found.certificate.body.id())
}

/// Who offered, who signed, who is missing.
fn progress(draft: &CertificateDraft) -> String {
    let members = |plan: &CommitteePlan, role: Role| -> Vec<(Role, Slot, Name)> {
        plan.members
            .iter()
            .map(|member| (role, member.slot, member.name.clone()))
            .collect()
    };
    let mut all = members(&draft.call.workflow, Role::Workflow);
    all.extend(members(&draft.call.legal_review, Role::LegalReview));
    let missing = |answered: &[(Role, Slot)]| -> Vec<String> {
        let open = all
            .iter()
            .filter(|(role, slot, _)| !answered.contains(&(*role, *slot)));
        open.map(|(_, _, name)| name.to_string()).collect()
    };
    let (step, answered) = match &draft.body {
        None => ("offered", &draft.offered),
        Some(_) => ("signed", &draft.signed),
    };
    let open = missing(answered);
    let count = answered.len();
    if open.is_empty() {
        format!("{count} of {} {step}", all.len())
    } else {
        format!(
            "{count} of {} {step}, missing {}",
            all.len(),
            open.join(", ")
        )
    }
}

#[derive(Serialize)]
struct PeriodRow {
    certificate: String,
    state: String,
    period: usize,
    from: String,
    until: String,
    erase_by: String,
}

fn show(certificates: &Certificates, output: Output) {
    let now = bailiwick_node::clock::now();
    let mut rows = Vec::new();
    for logged in &certificates.valid {
        let body = &logged.certificate.body;
        for (number, period) in body.periods.iter().enumerate() {
            let state = match now {
                now if now < period.not_before => "coming",
                now if now < period.not_after => "sealing",
                now if now < period.erase_by => "readable",
                _ => "to be erased",
            };
            rows.push(PeriodRow {
                certificate: Digest(body.id().0).short(),
                state: state.to_owned(),
                period: number,
                from: period.not_before.to_string(),
                until: period.not_after.to_string(),
                erase_by: period.erase_by.to_string(),
            });
        }
    }
    output.list(
        [
            "certificate",
            "period",
            "state",
            "from",
            "until",
            "erase by",
        ],
        &rows,
        |row| {
            [
                row.certificate.clone(),
                row.period.to_string(),
                row.state.clone(),
                row.from.clone(),
                row.until.clone(),
                row.erase_by.clone(),
            ]
        },
    );
    for draft in &certificates.drafts {
        output.say(&format!(
            "draft {}: {}",
            draft.draft.short(),
            progress(draft)
        ));
    }
}

async fn verify(
    cluster: &Cluster,
    profile: &Profile,
    code: Jurisdiction,
    output: Output,
) -> Result<(), Failure> {
    let trust = profile.trust_file()?;
    let now = bailiwick_client::now();
    let what = format!("the keys of {code} do not hold");
    let held = read_certificates(cluster, &trust, code, now).await;
    let held = held.map_err(|error| of_certificates(&what, &error))?;
    let live = live_certificate(cluster, &trust, code, now).await;
    let live = live.map_err(|error| of_certificates(&what, &error))?;
    let period = &live.certificate.body().periods[live.period];
    output.fields(&[
        ("jurisdiction", code.to_string()),
        ("certificates that hold", held.len().to_string()),
        ("current certificate", live.certificate.id().to_string()),
        ("current period", live.period.to_string()),
        ("seals until", period.not_after.to_string()),
        ("keys destroyed by", period.erase_by.to_string()),
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
    use super::*;

    #[test]
    fn a_week_of_daily_periods_from_the_sample_trust_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/trust.toml");
        let trust = std::fs::read_to_string(path).unwrap();
        let trust: bailiwick_client::TrustFile = toml::from_str(&trust).unwrap();
        let trust = &trust.jurisdictions[0];
        let from = first_day(Some("2026-11-24")).unwrap();
        let plan = plan(trust, from, 7, 30, CommandKey([1; 16])).unwrap();
        assert_eq!(plan.periods.len(), 7);
        let (begin, end, erase) = plan.periods[0];
        assert_eq!((begin, end.seconds() - begin.seconds()), (from, DAY));
        assert_eq!(erase.seconds() - end.seconds(), 30 * DAY);
        assert_eq!(plan.periods[6].1, plan.not_after);
        assert_eq!(plan.workflow.members.len(), 3);
        assert!(self::plan(trust, from, 41, 30, CommandKey([1; 16])).is_err());
    }
}
