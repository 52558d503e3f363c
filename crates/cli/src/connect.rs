//! From a profile to a cluster, and from the SDK's errors to failures of three lines.

use std::time::Duration;

use bailiwick_client::auditor::AuditError;
use bailiwick_client::certificates::CertificatesError;
use bailiwick_client::checkpoint::CheckpointError;
use bailiwick_client::edge_http::{EdgeClient, EdgeFailure};
use bailiwick_client::recipient::DiscloseError;
use bailiwick_client::reviewer::ReviewError;
use bailiwick_client::{CallFailure, Cluster, ClusterOptions};
use bailiwick_transport::TlsIdentity;

use crate::failure::{Failure, FailureKind, chain};
use crate::profile::{Profile, missing};

/// How long a command follows leaders before it gives up.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// How long one call of an edge may take.
const EDGE_DEADLINE: Duration = Duration::from_secs(20);

/// The cluster of a profile; nothing is dialled yet.
///
/// # Errors
/// [`Failure`] (usage) when the profile's TLS files make no identity, or it names no node.
pub fn cluster(profile: &Profile) -> Result<Cluster, Failure> {
    if profile.seeds.is_empty() {
        return Err(missing("seeds", "addresses of vault nodes"));
    }
    let (seeds, deadline) = (profile.seeds.clone(), DEADLINE);
    Ok(Cluster::new(ClusterOptions {
        seeds,
        tls: identity(profile)?,
        deadline,
    }))
}

/// The edge of a profile; nothing is dialled yet.
///
/// # Errors
/// [`Failure`] (usage) when the profile names none, or not as `https://host:port`.
pub fn edge(profile: &Profile) -> Result<EdgeClient, Failure> {
    let url = profile
        .edge
        .as_ref()
        .ok_or_else(|| missing("edge", "an edge"))?;
    let address = url
        .strip_prefix("https://")
        .map(|rest| rest.trim_end_matches('/'));
    let address = address.filter(|address| address.contains(':') && !address.contains('/'));
    let address = address.ok_or_else(|| {
        let why = "an edge is https://host:port";
        Failure::usage(
            format!("{url} is no edge"),
            why,
            "correct `edge` in the profile",
        )
    })?;
    Ok(EdgeClient::new(
        address.to_owned(),
        identity(profile)?,
        EDGE_DEADLINE,
    ))
}

/// The failure of a call of an edge.
pub fn of_edge(error: &EdgeFailure) -> Failure {
    let what = "the edge did not take the records";
    match error {
        EdgeFailure::Refused { .. } if error.is_transient() => Failure::new(
            FailureKind::Unreachable,
            what,
            format!("{error}: it has too much to do, or no session yet"),
            "wait a few seconds and repeat; its health port says what is missing",
        ),
        EdgeFailure::Refused { .. } => {
            Failure::refused(what, error.to_string(), "correct what is named and repeat")
        }
        EdgeFailure::Unreachable { .. } => Failure::new(
            FailureKind::Unreachable,
            what,
            chain(error),
            "check `edge` in the profile, and that the edge runs",
        ),
        EdgeFailure::Unknown(_) | EdgeFailure::Malformed(_) => Failure::new(
            FailureKind::Unknown,
            what,
            chain(error),
            "repeat with the same record ids; a record sent twice is stored once",
        ),
    }
}

/// The TLS identity of a profile.
///
/// # Errors
/// [`Failure`] (usage) names the file.
pub fn identity(profile: &Profile) -> Result<std::sync::Arc<TlsIdentity>, Failure> {
    TlsIdentity::load(profile.tls.files(), profile.trust_domain.clone()).map_err(|error| {
        Failure::usage(
            "the profile's TLS files make no identity",
            chain(&error),
            "correct the [tls] section; the certificate needs exactly one spiffe:// name",
        )
    })
}

/// The failure of a call.
pub fn of_call(what: impl AsRef<str>, error: &CallFailure) -> Failure {
    let what = what.as_ref();
    match error {
        CallFailure::Refused(refusal) => Failure::of_refusal(what, refusal),
        CallFailure::NotAuthorised(operation) => Failure::refused(
            what,
            format!("this profile's role may not call {operation}"),
            "use the profile of somebody whose role may",
        ),
        CallFailure::Deadline {
            outcome_unknown: true,
            last,
        } => Failure::new(
            FailureKind::Unknown,
            what,
            format!("no answer in time: {last}"),
            "look with the same profile whether it was done before repeating it",
        ),
        CallFailure::Deadline {
            outcome_unknown: false,
            last,
        } => Failure::new(
            FailureKind::Unreachable,
            what,
            format!("nobody answered who could do it: {last}"),
            "check the profile's seeds, and `bailiwick status`",
        ),
        CallFailure::Malformed(operation) => Failure::refused(
            what,
            format!("this program and the node differ about {operation}"),
            "use the nodes' version of bailiwick; `bailiwick status` shows it",
        ),
    }
}

/// A failure of something that the cluster showed and that this device does not believe.
pub fn not_believed(what: impl AsRef<str>, error: &dyn std::error::Error) -> Failure {
    Failure::refused(
        what.as_ref(),
        format!("{}; the cluster or the trust file is wrong", chain(error)),
        "compare the trust file with the members' own words; if it is right, raise an alarm",
    )
}

fn of_checkpoint(what: &str, error: &CheckpointError) -> Failure {
    match error {
        CheckpointError::Missing | CheckpointError::TooFew { .. } => Failure::refused(
            what,
            format!("{error}: too few approvers are up"),
            "see that enough approvers of both committees run, and repeat",
        ),
        other => not_believed(what, other),
    }
}

fn not_trusted(what: &str, code: impl std::fmt::Display) -> Failure {
    Failure::usage(
        what,
        format!("the profile's trust file says nothing about {code}"),
        "add the jurisdiction to it, from what its members handed over in person",
    )
}

/// The failure of certificates.
pub fn of_certificates(what: impl AsRef<str>, error: &CertificatesError) -> Failure {
    let what = what.as_ref();
    match error {
        CertificatesError::NotTrusted(code) => not_trusted(what, code),
        CertificatesError::Call(call) => of_call(what, call),
        CertificatesError::Checkpoint(checkpoint) => of_checkpoint(what, checkpoint),
        CertificatesError::NoPeriod(code) => Failure::refused(
            what,
            error.to_string(),
            format!("run bailiwick key certify {code}"),
        ),
        other => not_believed(what, other),
    }
}

/// The failure of a log.
pub fn of_audit(what: impl AsRef<str>, error: &AuditError) -> Failure {
    let what = what.as_ref();
    match error {
        AuditError::NotTrusted(code) => not_trusted(what, code),
        AuditError::Call(call) => of_call(what, call),
        AuditError::Checkpoint(checkpoint) => of_checkpoint(what, checkpoint),
        other => not_believed(what, other),
    }
}

/// The failure of a decision.
pub fn of_review(error: &ReviewError) -> Failure {
    let what = "the decision was not taken";
    match error {
        ReviewError::Call(call) => of_call(what, call),
        other => not_believed(what, other),
    }
}

/// The failure of a disclosure.
pub fn of_disclose(error: &DiscloseError) -> Failure {
    let what = "nothing was opened";
    match error {
        DiscloseError::Call(call) => of_call(what, call),
        DiscloseError::Certificates(error) => of_certificates(what, error),
        DiscloseError::NotReleased { .. } => Failure::refused(
            what,
            error.to_string(),
            "see with `bailiwick request show` who has approved and released, and repeat",
        ),
        other => not_believed(what, other),
    }
}
