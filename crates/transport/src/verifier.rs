//! Verification of the peer's certificate inside the handshake, in both directions.
//!
//! Chain, validity and revocation are webpki's; on top, the certificate must carry exactly one URI
//! name, of our trust domain, and for a client also the role (and id) that it expects. DNS names
//! and common names are never used: the name that a client dials is an address, not an identity.
//! Which authorities may vouch for a certificate depends on the role that it names: a committee's
//! authority makes no vault nodes, and the provider's makes no approvers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_types::{Identity, Name, PeerRole};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::peer::{ExpectedPeer, IdentityError, peer_identity};

fn refused(error: IdentityError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

fn check_identity(end_entity: &CertificateDer<'_>, trust_domain: &Name) -> Result<Identity, Error> {
    let identity = peer_identity(std::slice::from_ref(end_entity)).map_err(refused)?;
    if identity.trust_domain != *trust_domain {
        return Err(refused(IdentityError::TrustDomain {
            found: identity.trust_domain,
        }));
    }
    Ok(identity)
}

/// What is chosen by the role that a certificate names.
#[derive(Debug, Clone)]
pub(crate) struct ByRole<T> {
    /// For roles that no family has to itself.
    pub(crate) general: T,
    pub(crate) families: BTreeMap<PeerRole, T>,
}

impl<T> ByRole<T> {
    fn of(&self, role: PeerRole) -> &T {
        self.families.get(&role).unwrap_or(&self.general)
    }

    /// The same choice of what `make` makes of each.
    pub(crate) fn map<U, E>(&self, make: impl Fn(&T) -> Result<U, E>) -> Result<ByRole<U>, E> {
        let families = self.families.iter();
        Ok(ByRole {
            general: make(&self.general)?,
            families: families
                .map(|(role, one)| Ok((*role, make(one)?)))
                .collect::<Result<_, E>>()?,
        })
    }
}

/// A server's check of its clients: any role of our trust domain; what the role may do is the
/// matrix's business.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    pub(crate) chains: ByRole<Arc<dyn ClientCertVerifier>>,
    pub(crate) trust_domain: Name,
}

impl ClientCertVerifier for PeerVerifier {
    /// None: whoever dials has one certificate, and its authority depends on the role.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Not to be believed before its chain is verified: it only says by which one.
        let identity = check_identity(end_entity, &self.trust_domain)?;
        let chain = self.chains.of(identity.role);
        chain.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .general
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .general
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.general.supported_verify_schemes()
    }
}

/// One set of authorities for servers.
#[derive(Debug, Clone)]
pub(crate) struct ServerChain {
    pub(crate) chain: Arc<WebPkiServerVerifier>,
    pub(crate) roots: Arc<RootCertStore>,
}

/// A client's check of the server.
#[derive(Debug, Clone)]
pub(crate) struct ServerVerifier {
    pub(crate) chains: ByRole<ServerChain>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) trust_domain: Name,
    pub(crate) expected: ExpectedPeer,
}

impl ServerVerifier {
    /// Chain and revocation without a DNS name. webpki offers revocation only together with the
    /// name check, which it does last; so a mismatch of the name, and nothing else, is passed over.
    /// The chain is checked by itself first, so that this does not hang on that order alone.
    fn verify_chain(
        &self,
        role: PeerRole,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let ServerChain { chain, roots } = self.chains.of(role);
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let verified = chain.verify_server_cert(end_entity, intermediates, server_name, &[], now);
        match verified {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Not to be believed before its chain is verified: it only says by which one.
        let identity = check_identity(end_entity, &self.trust_domain)?;
        self.verify_chain(identity.role, end_entity, intermediates, server_name, now)?;
        self.expected.check(&identity).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .general
            .chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .general
            .chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.general.chain.supported_verify_schemes()
    }
}
