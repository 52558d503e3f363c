//! This process's certificate, authorities and revocations, as rustls configurations.
//!
//! TLS 1.3 only, aws-lc-rs named explicitly, hybrid X25519MLKEM768 first, no tickets, no early
//! data, client certificates required. rustls bakes revocation lists into a configuration, so a
//! reload builds everything anew and swaps it whole; servers look it up for each connection and
//! check their open connections against it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bailiwick_types::{Identity, Name, PeerRole, Timestamp};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::limits::TLS_FILE_BYTES;
use crate::peer::{ExpectedPeer, IdentityError, peer_identity};
use crate::verifier::{ByRole, PeerVerifier, ServerChain, ServerVerifier};

/// The protocol name of frames.
pub const ALPN_FRAMES: &[u8] = b"bailiwick/1";
const ALPN_HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the PEM files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its intermediates, end entity first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities that peers must chain to whose role no family has.
    pub authorities: PathBuf,
    /// Authorities that vouch for some roles only, and are alone in that. A role of several families
    /// may chain to each of them.
    pub families: Vec<AuthorityFamily>,
    /// Revocation lists. If given, every authority in use needs one here: a certificate whose
    /// status is unknown is refused.
    pub revocations: Option<PathBuf>,
}

/// Authorities that vouch for certificates of these roles and of no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityFamily {
    /// The roles.
    pub roles: Vec<PeerRole>,
    /// The authorities, PEM.
    pub authorities: PathBuf,
}

/// Why the files make no configuration. The operator is at fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file is longer than any of its kind.
    #[error("{path} is over {TLS_FILE_BYTES} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file is not the PEM that it should be.
    #[error("{path} is no PEM of the kind expected")]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// A family of authorities has no roles.
    #[error("the family of {path} vouches for no role")]
    NoRoles {
        /// Its authorities' file.
        path: PathBuf,
    },
    /// The certificate is not this process's identity.
    #[error("{path} is no identity")]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: IdentityError,
    },
    /// A reload brought a certificate of another identity; a process does not change who it is.
    #[error("the new certificate is {found}, this process is {expected}")]
    IdentityChanged {
        /// Who this process is.
        expected: Box<Identity>,
        /// What the new certificate says.
        found: Box<Identity>,
    },
    /// rustls refuses the key, the certificate or the protocol selection.
    #[error("certificate and key make no configuration")]
    Configuration(#[from] rustls::Error),
    /// The authorities or revocation lists make no verifier.
    #[error("authorities and revocations make no verifier")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// One loaded generation; immutable.
struct Loaded {
    identity: Identity,
    not_after: Timestamp,
    server: Arc<ServerConfig>,
    server_http: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    client_http: Arc<ClientConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    server_verifier: ServerVerifier,
}

/// The loaded configuration of this process, shared and swappable.
pub struct TlsIdentity {
    files: TlsFiles,
    trust_domain: Name,
    current: ArcSwap<Loaded>,
    generation: watch::Sender<u64>,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsIdentity")
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}

impl TlsIdentity {
    /// Loads the files. An expired own certificate is loaded with a warning: peers refuse it.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(files: TlsFiles, trust_domain: Name) -> Result<Arc<Self>, TlsError> {
        let loaded = Loaded::from_files(&files, &trust_domain)?;
        Ok(Arc::new(Self {
            files,
            trust_domain,
            current: ArcSwap::from_pointee(loaded),
            generation: watch::Sender::new(0),
        }))
    }

    /// Loads the same files again and swaps everything at once. On an error the old
    /// configuration stays in force.
    ///
    /// # Errors
    /// As [`TlsIdentity::load`], and [`TlsError::IdentityChanged`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = Loaded::from_files(&self.files, &self.trust_domain)?;
        let expected = self.identity();
        if loaded.identity != expected {
            return Err(TlsError::IdentityChanged {
                expected: Box::new(expected),
                found: Box::new(loaded.identity),
            });
        }
        self.current.store(Arc::new(loaded));
        self.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// Who this process is.
    pub fn identity(&self) -> Identity {
        self.current.load().identity.clone()
    }

    /// The last instant at which the certificate is valid.
    pub fn not_after(&self) -> Timestamp {
        self.current.load().not_after
    }

    /// For accepting frames; [`ALPN_FRAMES`].
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.current.load().server.clone()
    }

    /// For accepting HTTP/2 and HTTP/1.1 under the same identities.
    pub fn server_config_http(&self) -> Arc<ServerConfig> {
        self.current.load().server_http.clone()
    }

    /// For dialling frames to any serving role of the trust domain ([`ExpectedPeer::servers`]).
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.current.load().client.clone()
    }

    /// For dialling HTTP to any serving role of the trust domain.
    pub fn client_config_http(&self) -> Arc<ClientConfig> {
        self.current.load().client_http.clone()
    }

    /// For dialling frames to exactly whom the caller expects.
    pub fn client_config_for(&self, expected: &ExpectedPeer) -> Arc<ClientConfig> {
        let loaded = self.current.load();
        loaded.expecting(&loaded.client, expected)
    }

    /// For dialling HTTP to exactly whom the caller expects.
    pub fn client_config_http_for(&self, expected: &ExpectedPeer) -> Arc<ClientConfig> {
        let loaded = self.current.load();
        loaded.expecting(&loaded.client_http, expected)
    }

    /// Verifies a client's chain (end entity first) as of now under the current configuration, and
    /// returns who it is. For connections that outlive a reload.
    ///
    /// # Errors
    /// rustls' reason: untrusted, expired, revoked, or no identity of the trust domain.
    pub fn verify_client(
        &self,
        certificates: &[CertificateDer<'_>],
    ) -> Result<Identity, rustls::Error> {
        let (end_entity, intermediates) = certificates
            .split_first()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        let verifier = self.current.load().verifier.clone();
        verifier.verify_client_cert(end_entity, intermediates, UnixTime::now())?;
        peer_identity(certificates)
            .map_err(|_| rustls::Error::General("verified certificate names no identity".into()))
    }

    /// Tells of every reload.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Reloads whenever a file's time or length changes, looking every `period`, until this
    /// identity is dropped. A failing reload is logged and tried again.
    pub fn watch(self: &Arc<Self>, period: Duration) -> tokio::task::JoinHandle<()> {
        let weak = Arc::downgrade(self);
        let mut seen = self.files.stamps();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(identity) = weak.upgrade() else {
                    return;
                };
                let stamps = identity.files.stamps();
                if stamps == seen {
                    continue;
                }
                let reloaded = tokio::task::spawn_blocking(move || identity.reload()).await;
                match reloaded {
                    Ok(Ok(())) => {
                        tracing::info!("certificate, authorities and revocations reloaded");
                        seen = stamps;
                    }
                    Ok(Err(error)) => tracing::error!(%error, "reload failed, old files in force"),
                    Err(error) => tracing::error!(%error, "reload did not run"),
                }
            }
        })
    }
}

impl TlsFiles {
    fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let paths = [&self.certificate, &self.key, &self.authorities];
        let families = self.families.iter().map(|family| &family.authorities);
        paths
            .into_iter()
            .chain(families)
            .chain(&self.revocations)
            .map(|path| {
                let metadata = fs::metadata(path).ok()?;
                Some((metadata.modified().ok()?, metadata.len()))
            })
            .collect()
    }
}

impl Loaded {
    fn from_files(files: &TlsFiles, trust_domain: &Name) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let chain = read_certificates(&files.certificate)?;
        let key_pem = read_bounded(&files.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| TlsError::Pem {
            path: files.key.clone(),
        })?;
        let (identity, not_after) =
            own_identity(&chain, trust_domain).map_err(|source| TlsError::Identity {
                path: files.certificate.clone(),
                source,
            })?;
        warn_if_expired(not_after);
        let roots = roots_by_role(files)?;
        let revocations = match &files.revocations {
            Some(path) => read_revocations(path)?,
            None => Vec::new(),
        };
        let verifier = client_verifier(&roots, &revocations, &provider, trust_domain)?;
        let server_verifier = server_verifier(&roots, &revocations, &provider, trust_domain)?;
        let server = server_config(&provider, verifier.clone(), &chain, &key)?;
        let client = client_config(&provider, &server_verifier, chain, key)?;
        Ok(Self {
            identity,
            not_after,
            server_http: Arc::new(with_http(server.clone(), |config| {
                &mut config.alpn_protocols
            })),
            client_http: Arc::new(with_http(client.clone(), |config| {
                &mut config.alpn_protocols
            })),
            server: Arc::new(server),
            client: Arc::new(client),
            verifier,
            server_verifier,
        })
    }

    fn expecting(&self, base: &ClientConfig, expected: &ExpectedPeer) -> Arc<ClientConfig> {
        let mut config = base.clone();
        let mut verifier = self.server_verifier.clone();
        verifier.expected = expected.clone();
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        Arc::new(config)
    }
}

fn with_http<C>(mut config: C, protocols: impl Fn(&mut C) -> &mut Vec<Vec<u8>>) -> C {
    *protocols(&mut config) = ALPN_HTTP.map(<[u8]>::to_vec).to_vec();
    config
}

fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// The authorities of each role.
fn roots_by_role(files: &TlsFiles) -> Result<ByRole<Arc<RootCertStore>>, TlsError> {
    let mut families: BTreeMap<PeerRole, RootCertStore> = BTreeMap::new();
    for family in &files.families {
        if family.roles.is_empty() {
            let path = family.authorities.clone();
            return Err(TlsError::NoRoles { path });
        }
        let authorities = read_certificates(&family.authorities)?;
        for role in &family.roles {
            let roots = families.entry(*role).or_insert_with(RootCertStore::empty);
            for authority in &authorities {
                roots.add(authority.clone())?;
            }
        }
    }
    let mut general = RootCertStore::empty();
    for authority in read_certificates(&files.authorities)? {
        general.add(authority)?;
    }
    Ok(ByRole {
        general: Arc::new(general),
        families: families
            .into_iter()
            .map(|(role, roots)| (role, Arc::new(roots)))
            .collect(),
    })
}

fn client_verifier(
    roots: &ByRole<Arc<RootCertStore>>,
    revocations: &[CertificateRevocationListDer<'static>],
    provider: &Arc<CryptoProvider>,
    trust_domain: &Name,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let chains = roots.map(|roots| {
        WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .with_crls(revocations.iter().cloned())
            .build()
    })?;
    Ok(Arc::new(PeerVerifier {
        chains,
        trust_domain: trust_domain.clone(),
    }))
}

fn server_verifier(
    roots: &ByRole<Arc<RootCertStore>>,
    revocations: &[CertificateRevocationListDer<'static>],
    provider: &Arc<CryptoProvider>,
    trust_domain: &Name,
) -> Result<ServerVerifier, TlsError> {
    let chains = roots.map(|roots| {
        let chain = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .with_crls(revocations.iter().cloned())
            .build()?;
        let roots = roots.clone();
        Ok::<_, TlsError>(ServerChain { chain, roots })
    })?;
    Ok(ServerVerifier {
        chains,
        algorithms: provider.signature_verification_algorithms,
        trust_domain: trust_domain.clone(),
        expected: ExpectedPeer::servers(),
    })
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.to_vec(), key.clone_key())?;
    config.alpn_protocols = vec![ALPN_FRAMES.to_vec()];
    // A resumed session would skip the client's certificate, and with it a revocation.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    verifier: &ServerVerifier,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier.clone()))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN_FRAMES.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Identity is the URI name, so the address dialled is nobody's business.
    config.enable_sni = false;
    Ok(config)
}

/// The last instant at which an end-entity certificate is valid.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> Result<Timestamp, IdentityError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| IdentityError::Malformed)?;
    let seconds = parsed.validity().not_after.timestamp();
    Ok(Timestamp::from_seconds(u64::try_from(seconds).unwrap_or(0)))
}

fn own_identity(
    chain: &[CertificateDer<'_>],
    trust_domain: &Name,
) -> Result<(Identity, Timestamp), IdentityError> {
    let identity = peer_identity(chain)?;
    if identity.trust_domain != *trust_domain {
        return Err(IdentityError::TrustDomain {
            found: identity.trust_domain,
        });
    }
    let end_entity = chain.first().ok_or(IdentityError::NoCertificate)?;
    Ok((identity, not_after(end_entity)?))
}

fn warn_if_expired(not_after: Timestamp) {
    let now = UnixTime::now().as_secs();
    if not_after.seconds() < now {
        tracing::warn!(%not_after, "this process's certificate has expired; peers will refuse it");
    }
}

/// Reads a file without ever holding more than the limit, even if it grows meanwhile.
fn read_bounded(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let mut bytes = Vec::new();
        fs::File::open(path)?
            .take(TLS_FILE_BYTES + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes: Vec<u8> = read().map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > TLS_FILE_BYTES {
        return Err(TlsError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    read_pem(path)
}

fn read_revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    read_pem(path)
}

/// At least one item, and nothing that does not parse: an empty file must not mean "no check".
fn read_pem<T: PemObject>(path: &Path) -> Result<Vec<T>, TlsError> {
    let malformed = || TlsError::Pem {
        path: path.to_owned(),
    };
    let items: Vec<T> = T::pem_slice_iter(&read_bounded(path)?)
        .collect::<Result<_, _>>()
        .map_err(|_| malformed())?;
    if items.is_empty() {
        return Err(malformed());
    }
    Ok(items)
}
