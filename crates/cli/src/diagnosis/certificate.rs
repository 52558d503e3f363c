//! The service's own certificate: whose it is, and how long it lives.

use std::sync::Arc;

use bailiwick_transport::{TlsError, TlsIdentity};

use super::Finding;
use super::service::ServiceFile;
use crate::failure::chain;

/// Days before the end at which somebody should look.
const WARN_DAYS: u64 = 7;

/// Loads the TLS files as the service would.
pub(super) fn load(service: &ServiceFile) -> Result<Arc<TlsIdentity>, TlsError> {
    TlsIdentity::load(service.tls().files(), service.trust_domain().clone())
}

/// Whether the certificate says what the configuration says.
pub(super) fn check_identity(service: &ServiceFile) -> Vec<Finding> {
    let expected = service.identity();
    let finding = match load(service) {
        Err(error) => {
            let remedy = "correct the [tls] section; a certificate has exactly one spiffe:// name";
            Finding::fail("certificate", chain(&error), remedy)
        }
        Ok(tls) if tls.identity() != expected => {
            let found = tls.identity();
            let found = format!("it is {found}, the configuration is of {expected}");
            let remedy = "issue another certificate, or correct role, region or name";
            Finding::fail("certificate", found, remedy)
        }
        Ok(_) => Finding::ok("certificate", format!("it is {expected}")),
    };
    vec![finding]
}

/// How long the certificate lives. Files that do not load are told of elsewhere.
pub(super) fn check_life(service: &ServiceFile) -> Vec<Finding> {
    let Ok(tls) = load(service) else {
        return Vec::new();
    };
    let (now, end) = (bailiwick_client::now(), tls.not_after());
    let days = end.since(now).as_secs() / 86_400;
    let found = format!("it ends {end}, in {days} days");
    let remedy = "replace the files; the service reads them again by itself";
    vec![if end <= now {
        Finding::fail("certificate", format!("it ended {end}"), remedy)
    } else if days < WARN_DAYS {
        Finding::warn("certificate", found, remedy)
    } else {
        Finding::ok("certificate", found)
    }]
}
