//! Who is at the other end: the one URI name of a certificate, and whom a client expects.
//!
//! The common name and DNS names are never read. Trust in the certificate itself (chain, time,
//! revocation) is `verifier`'s part.

use bailiwick_types::identity::{Identity, ParseIdentityError};
use bailiwick_types::{Name, PeerRole};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate names no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The peer sent no certificate.
    #[error("no certificate")]
    NoCertificate,
    /// The certificate does not parse.
    #[error("the certificate does not parse")]
    Malformed,
    /// Not exactly one URI name.
    #[error("{found} URI names where exactly one is required")]
    UriNames {
        /// How many were found.
        found: usize,
    },
    /// The URI is no identity.
    #[error("the URI name is no identity")]
    Parse(#[source] ParseIdentityError),
    /// The identity belongs to another trust domain.
    #[error("identity of trust domain {found}")]
    TrustDomain {
        /// The certificate's trust domain.
        found: Name,
    },
    /// The identity has a role that is not expected here.
    #[error("identity of role {found} where it is not expected")]
    Role {
        /// The certificate's role.
        found: PeerRole,
    },
    /// The identity has another id than the one expected.
    #[error("identity with id {found} where another is expected")]
    Id {
        /// The certificate's id.
        found: Name,
    },
}

/// The identity that the end-entity certificate (the first) carries.
///
/// # Errors
/// [`IdentityError`] unless it has exactly one URI name and that is an identity.
///
/// # Security
/// Says nothing about who issued the certificate; call it only on a verified chain.
pub fn peer_identity(certificates: &[CertificateDer<'_>]) -> Result<Identity, IdentityError> {
    let certificate = certificates.first().ok_or(IdentityError::NoCertificate)?;
    let (rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| IdentityError::Malformed)?;
    if !rest.is_empty() {
        return Err(IdentityError::Malformed);
    }
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| IdentityError::Malformed)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [uri] => uri.parse().map_err(IdentityError::Parse),
        other => Err(IdentityError::UriNames { found: other.len() }),
    }
}

/// Whom a client is willing to talk to. No role listed means nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedPeer {
    /// The roles that are acceptable.
    pub roles: Vec<PeerRole>,
    /// The id that is required, if one is.
    pub id: Option<Name>,
}

impl ExpectedPeer {
    /// Any vault.
    pub fn vault() -> Self {
        Self::role(PeerRole::Vault)
    }

    /// Any edge.
    pub fn edge() -> Self {
        Self::role(PeerRole::Edge)
    }

    /// Anybody of one role.
    pub fn role(role: PeerRole) -> Self {
        Self {
            roles: vec![role],
            id: None,
        }
    }

    /// Anybody of a role that serves others: vaults, edges and witnesses.
    pub fn servers() -> Self {
        Self {
            roles: vec![PeerRole::Vault, PeerRole::Edge, PeerRole::Witness],
            id: None,
        }
    }

    /// The same, with a required id.
    #[must_use]
    pub fn with_id(mut self, id: Name) -> Self {
        self.id = Some(id);
        self
    }

    /// Checks an identity against the expectation.
    ///
    /// # Errors
    /// [`IdentityError::Role`] or [`IdentityError::Id`].
    pub fn check(&self, identity: &Identity) -> Result<(), IdentityError> {
        if !self.roles.contains(&identity.role) {
            return Err(IdentityError::Role {
                found: identity.role,
            });
        }
        match &self.id {
            Some(id) if *id != identity.id => Err(IdentityError::Id {
                found: identity.id.clone(),
            }),
            _ => Ok(()),
        }
    }
}
