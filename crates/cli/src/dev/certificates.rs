//! Certificates of a development cluster: one authority, one certificate per identity, each with
//! exactly one URI name. For a real cluster, certificates come from the organisation's own issuer:
//! see deploy/.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bailiwick_envelope::sha256;
use bailiwick_types::{Digest, Identity, Name, PeerRole, Region};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// Days that development certificates are valid.
pub const VALID_DAYS: i64 = 30;

/// An authority whose key is at hand.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    trust_domain: Name,
}

impl Authority {
    /// Makes a new authority and writes `authority.pem` into the folder. Its key stays in memory:
    /// whoever finds the folder cannot make another identity.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(folder: &Path, trust_domain: &Name) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Bailiwick development authority");
        set_validity(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        fs::write(folder.join("authority.pem"), certificate.pem())?;
        let issuer = Issuer::new(params, key);
        Ok(Self {
            issuer,
            folder: folder.to_owned(),
            trust_domain: trust_domain.clone(),
        })
    }

    /// Issues a certificate, writes `<id>.pem` and `<id>.key` into the folder, and returns the
    /// SHA-256 of the certificate (DER), by which requests and trust files name it.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn issue(
        &self,
        role: PeerRole,
        region: Option<&Region>,
        id: &Name,
    ) -> anyhow::Result<Digest> {
        let identity = Identity {
            trust_domain: self.trust_domain.clone(),
            role,
            region: region.cloned(),
            id: id.clone(),
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![
            SanType::URI(identity.to_string().try_into()?),
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        params
            .distinguished_name
            .push(DnType::CommonName, id.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        set_validity(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.folder.join(format!("{id}.pem")), certificate.pem())?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.folder.join(format!("{id}.key")))?;
        file.write_all(key.serialize_pem().as_bytes())?;
        Ok(sha256(certificate.der()))
    }
}

fn set_validity(params: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(VALID_DAYS);
}
