//! An authority, identities issued by it, a handler with a few behaviours, and a server around it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bailiwick_transport::{
    ConnectError, ConnectOptions, Connection, ExpectedPeer, Handler, Operation, Refusal, Server,
    ServerHandle, ServerOptions, StreamReceiver, StreamSender, TlsFiles, TlsIdentity,
};
use bailiwick_types::{Identity, Name};
use bytes::Bytes;
use futures::future::BoxFuture;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) const DOMAIN: &str = "bailiwick.example";
pub(crate) const VAULT: &str = "spiffe://bailiwick.example/vault/eu-west/1";
pub(crate) const EDGE: &str = "spiffe://bailiwick.example/edge/edge-1";
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    serial: AtomicU64,
}

/// What a certificate says; the defaults are valid.
pub(crate) struct Claims {
    pub(crate) uris: Vec<String>,
    pub(crate) common_name: String,
    pub(crate) dns: Vec<String>,
    /// First and last year of validity.
    pub(crate) years: (i32, i32),
}

impl Claims {
    pub(crate) fn of(uri: &str) -> Self {
        Self {
            uris: vec![uri.to_owned()],
            common_name: "nobody".to_owned(),
            dns: Vec::new(),
            years: (2020, 2090),
        }
    }
}

/// An issued certificate in files of its own.
pub(crate) struct Issued {
    pub(crate) directory: TempDir,
    pub(crate) files: TlsFiles,
    pub(crate) serial: u64,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("self-signed");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            serial: AtomicU64::new(100),
        }
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues into a fresh directory.
    pub(crate) fn issue(&self, claims: &Claims) -> Issued {
        let directory = TempDir::new().expect("directory");
        let at = |file: &str| directory.path().join(file);
        let files = TlsFiles {
            certificate: at("certificate.pem"),
            key: at("key.pem"),
            authorities: at("authorities.pem"),
            families: Vec::new(),
            revocations: None,
        };
        fs::write(&files.authorities, &self.pem).expect("written");
        let mut issued = Issued {
            directory,
            files,
            serial: 0,
        };
        self.reissue(claims, &mut issued);
        issued
    }

    /// Issues over the files of an earlier certificate.
    pub(crate) fn reissue(&self, claims: &Claims, issued: &mut Issued) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(serial));
        params
            .distinguished_name
            .push(DnType::CommonName, claims.common_name.clone());
        let uris = claims.uris.iter();
        params.subject_alt_names = uris
            .map(|uri| SanType::URI(uri.as_str().try_into().expect("ascii")))
            .chain(
                (claims.dns.iter())
                    .map(|dns| SanType::DnsName(dns.as_str().try_into().expect("ascii"))),
            )
            .collect();
        params.not_before = date_time_ymd(claims.years.0, 1, 1);
        params.not_after = date_time_ymd(claims.years.1, 1, 1);
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        fs::write(&issued.files.certificate, certificate.pem()).expect("written");
        fs::write(&issued.files.key, key.serialize_pem()).expect("written");
        issued.serial = serial;
    }

    /// Writes a revocation list over the serials beside an identity's files.
    pub(crate) fn revoke(&self, serials: &[u64], issued: &mut Issued) {
        let path: PathBuf = issued.directory.path().join("revocations.pem");
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2089, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed");
        fs::write(&path, list.pem().expect("pem")).expect("written");
        issued.files.revocations = Some(path);
    }

    pub(crate) fn tls(&self, uri: &str) -> Arc<TlsIdentity> {
        load(&self.issue(&Claims::of(uri)))
    }
}

pub(crate) fn load(issued: &Issued) -> Arc<TlsIdentity> {
    TlsIdentity::load(issued.files.clone(), name(DOMAIN)).expect("loads")
}

/// A handler whose behaviour hangs on the operation called.
pub(crate) struct Behaviours {
    /// `SessionStatus` and the stream of `OpenSession` wait here.
    pub(crate) gate: Semaphore,
    /// Calls and streams inside the handler now.
    pub(crate) running: AtomicUsize,
    /// Messages that `AppendBlock` streams read.
    pub(crate) read: AtomicUsize,
}

pub(crate) struct Running(Arc<Behaviours>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The handler type; the behaviours stay reachable for the test.
pub(crate) struct TestHandler(pub(crate) Arc<Behaviours>);

impl TestHandler {
    fn enter(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        Running(self.0.clone())
    }
}

impl Handler for TestHandler {
    fn call(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        payload: Bytes,
        _deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, Refusal>> {
        Box::pin(async move {
            let _running = self.enter();
            match operation {
                Operation::Directory => Ok(Bytes::from(peer.to_string())),
                Operation::SessionStatus => {
                    self.0.gate.acquire().await.expect("open gate").forget();
                    Ok(payload)
                }
                Operation::OpenSession => Err(Refusal::new(77, &b"not today"[..])),
                Operation::ReadCertificate => panic!("the handler fails on purpose"),
                _ => Ok(payload),
            }
        })
    }

    fn stream(
        &self,
        _peer: Arc<Identity>,
        operation: Operation,
        header: Bytes,
        mut sender: StreamSender,
        mut receiver: StreamReceiver,
    ) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            let _running = self.enter();
            match operation {
                Operation::SessionStatus => {
                    sender.send(header).await.expect("echoes the header");
                    while let Ok(Some(message)) = receiver.recv().await {
                        if sender.send(message).await.is_err() {
                            break;
                        }
                    }
                    Ok(())
                }
                Operation::OpenSession => {
                    self.0.gate.acquire().await.expect("open gate").forget();
                    Ok(())
                }
                Operation::AppendBlock => {
                    self.0.gate.acquire().await.expect("open gate").forget();
                    while let Ok(Some(_)) = receiver.recv().await {
                        self.0.read.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(())
                }
                Operation::Directory => {
                    while sender.send(Bytes::from_static(&[7; 65_536])).await.is_ok() {
                        self.0.read.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(())
                }
                _ => Err(Refusal::new(78, &b"no such stream"[..])),
            }
        })
    }
}

/// A vault server on loopback.
pub(crate) struct Rig {
    pub(crate) authority: Authority,
    pub(crate) server: ServerHandle,
    pub(crate) behaviours: Arc<Behaviours>,
    pub(crate) server_tls: Arc<TlsIdentity>,
}

impl Rig {
    pub(crate) async fn new(options: ServerOptions) -> Self {
        let authority = Authority::new();
        let tls = authority.tls(VAULT);
        Self::with(authority, tls, options).await
    }

    pub(crate) async fn with(
        authority: Authority,
        server_tls: Arc<TlsIdentity>,
        options: ServerOptions,
    ) -> Self {
        let behaviours = Arc::new(Behaviours {
            gate: Semaphore::new(0),
            running: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let handler = Arc::new(TestHandler(behaviours.clone()));
        let server = Server::serve(listener, server_tls.clone(), handler, options).expect("serves");
        Self {
            authority,
            server,
            behaviours,
            server_tls,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.server.local_addr().to_string()
    }

    pub(crate) async fn dial(&self, tls: &Arc<TlsIdentity>) -> Result<Connection, ConnectError> {
        let options = ConnectOptions::default();
        Connection::connect(&self.address(), tls, ExpectedPeer::vault(), options).await
    }

    /// A connection as a fresh certificate of this identity.
    pub(crate) async fn client(&self, uri: &str) -> Connection {
        let tls = self.authority.tls(uri);
        self.dial(&tls).await.expect("connects")
    }

    pub(crate) fn running(&self) -> usize {
        self.behaviours.running.load(Ordering::SeqCst)
    }
}

/// Waits until the condition holds, at most [`SOON`].
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
