//! Checks of one service on its own machine: what `config check`, `operator diagnose` and `operator debug`
//! find. Each check gives lines with a level and, when something is wrong, what to do about it.
//!
//! Nothing here changes a file but one probe of the disk, which is removed again.

pub mod bundle;
mod certificate;
mod disk;
mod files;
mod peers;
mod ports;
pub mod scrub;
pub mod service;
mod time;
mod wal;

use serde::Serialize;

use crate::output::Output;
use service::ServiceFile;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warn,
    /// The service does not work so, or not for long.
    Fail,
}

impl Level {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One line of a diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// What was looked at.
    pub check: &'static str,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when nothing is.
    pub remedy: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Level::Ok, check, found, "")
    }

    /// Somebody should look.
    pub fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Level::Warn, check, found, remedy)
    }

    /// It does not work so.
    pub fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Level::Fail, check, found, remedy)
    }

    fn new(
        level: Level,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level,
            check,
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}

/// What can be said of a configuration before the service runs: files, permissions, the certificate's
/// name, ports. A certificate that has expired is no fault of the configuration.
pub async fn of_configuration(service: &ServiceFile) -> Vec<Finding> {
    let mut findings = files::check(service);
    findings.extend(certificate::check_identity(service));
    findings.extend(ports::check(service).await);
    findings
}

/// Everything: the above, and disk, clock, certificate's life, write-ahead log, and every peer.
pub async fn of_service(service: &ServiceFile) -> Vec<Finding> {
    let mut findings = of_configuration(service).await;
    findings.extend(certificate::check_life(service));
    findings.extend(disk::check(service));
    findings.extend(time::check(service));
    findings.extend(wal::check(service));
    findings.extend(peers::check(service).await);
    findings
}

/// Prints a diagnosis; a line each.
pub fn print(findings: &[Finding], output: Output) {
    let headings = ["level", "check", "found", "to do"];
    output.list(headings, findings, |finding| {
        [
            finding.level.as_str().to_owned(),
            finding.check.to_owned(),
            finding.found.clone(),
            finding.remedy.clone(),
        ]
    });
}

/// The worst level of a diagnosis.
pub fn worst(findings: &[Finding]) -> Level {
    let levels = findings.iter().map(|finding| finding.level);
    levels.max().unwrap_or(Level::Ok)
}
