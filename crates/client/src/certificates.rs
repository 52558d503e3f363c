//! Key certificates as an edge, reviewer or recipient takes them: verified against the own trust
//! file, found in the log under a fresh cosigned checkpoint (docs/cryptography.md section 4).

use bailiwick_api::session::{Certificates, LoggedCertificate, ReadCertificates};
use bailiwick_envelope::certificate::{CertificateError, VerifiedCertificate};
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_transport::Operation;
use bailiwick_types::limits::CERTIFICATE_CHECKPOINT_AGE;
use bailiwick_types::{Jurisdiction, ShardId, Timestamp};
use tokio::time::Instant;

use crate::checkpoint::{CheckpointError, LOOK, PATIENCE, VerifiedCheckpoint};
use crate::cluster::{CallFailure, Cluster};
use crate::trust::{JurisdictionTrust, TrustFile};

/// Why there is no certificate to use.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The own trust file does not know the jurisdiction.
    #[error("the trust file has no jurisdiction {0}")]
    NotTrusted(Jurisdiction),
    /// The cluster did not answer.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// The checkpoint or a proof is not believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A certificate is not the trusted members'. An alarm: somebody offers keys of its own.
    #[error("a certificate of {jurisdiction} is not the trusted members'")]
    Certificate {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// Why.
        source: CertificateError,
    },
    /// The leaf is another one than the certificate's.
    #[error("the leaf that was shown for a certificate is another one's")]
    OtherLeaf,
    /// No certificate has a period that covers now.
    #[error("no certificate of {0} has a period that covers now")]
    NoPeriod(Jurisdiction),
}

/// A certificate and the period whose keys seal now.
#[derive(Clone, Debug)]
pub struct LiveCertificate {
    /// The certificate.
    pub certificate: VerifiedCertificate,
    /// The index of the period.
    pub period: usize,
}

/// Reads and verifies all certificates of a jurisdiction, oldest first.
///
/// # Errors
/// [`CertificatesError`]; one certificate that is not the trusted members' fails all.
pub async fn read_certificates(
    cluster: &Cluster,
    trust: &TrustFile,
    jurisdiction: Jurisdiction,
    now: Timestamp,
) -> Result<Vec<VerifiedCertificate>, CertificatesError> {
    let trusted = trust
        .jurisdiction(jurisdiction)
        .ok_or(CertificatesError::NotTrusted(jurisdiction))?;
    let shard = ShardId::home(jurisdiction);
    let message = ReadCertificates { shard };
    let until = Instant::now() + PATIENCE;
    loop {
        let read: Certificates = cluster
            .call(Some(shard), Operation::ReadCertificate, &message)
            .await?;
        if read.valid.is_empty() {
            return Ok(Vec::new());
        }
        let note = read.checkpoint.as_deref();
        match VerifiedCheckpoint::verify(note, trusted, now, CERTIFICATE_CHECKPOINT_AGE) {
            Ok(checkpoint) => {
                let found = read.valid.into_iter();
                return found
                    .map(|found| verify(found, trusted, &checkpoint))
                    .collect();
            }
            Err(error) if error.may_pass_later() && Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn verify(
    found: LoggedCertificate,
    trust: &JurisdictionTrust,
    checkpoint: &VerifiedCheckpoint,
) -> Result<VerifiedCertificate, CertificatesError> {
    let jurisdiction = trust.jurisdiction;
    let certificate = found.certificate.verify(&trust.roster).map_err(|source| {
        CertificatesError::Certificate {
            jurisdiction,
            source,
        }
    })?;
    if certificate.body().jurisdiction != jurisdiction {
        return Err(CertificatesError::OtherLeaf);
    }
    match found.leaf.content {
        LeafContent::Certificate { certificate: id } if id == certificate.id() => {}
        _ => return Err(CertificatesError::OtherLeaf),
    }
    checkpoint.includes(&found.leaf, found.leaf_index, &found.proof)?;
    Ok(certificate)
}

/// The newest certificate with a period that covers `now`.
///
/// # Errors
/// [`CertificatesError`].
pub async fn live_certificate(
    cluster: &Cluster,
    trust: &TrustFile,
    jurisdiction: Jurisdiction,
    now: Timestamp,
) -> Result<LiveCertificate, CertificatesError> {
    let certificates = read_certificates(cluster, trust, jurisdiction, now).await?;
    let live = certificates.into_iter().rev().find_map(|certificate| {
        let period = certificate.period_at(now)?;
        Some(LiveCertificate {
            certificate,
            period,
        })
    });
    live.ok_or(CertificatesError::NoPeriod(jurisdiction))
}
