//! Attack list 2, 10: certificates that are not who they should be, in both directions.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_transport::{
    ConnectError, ConnectOptions, Connection, ExpectedPeer, Operation, RefusalReason,
    ServerOptions, TlsError, TlsFiles, TlsIdentity,
};
use bailiwick_types::PeerRole;
use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::{
    Authority, Claims, DOMAIN, EDGE, Issued, Rig, SOON, VAULT, eventually, load, name,
};

/// Loads a certificate that this crate would refuse as its own: only the peer's word counts in
/// these tests, so the attacker's client is built from rustls directly.
fn attacker(issued: &Issued) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let honest = Authority::new().tls(EDGE);
    let mut config = (*honest.client_config()).clone();
    let chain = CertificateDer::pem_file_iter(&issued.files.certificate)
        .expect("reads")
        .collect::<Result<Vec<_>, _>>()
        .expect("parses");
    let key = PrivateKeyDer::from_pem_file(&issued.files.key).expect("parses");
    let provider = config.crypto_provider().clone();
    let signer = provider.key_provider.load_private_key(key).expect("loads");
    let certified = rustls::sign::CertifiedKey::new(chain, signer);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(TrustAnybody(provider)));
    config
}

/// The attacker does not care who the server is.
#[derive(Debug)]
struct TrustAnybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("no TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether the server let this certificate in: it answers the hello.
async fn let_in(rig: &Rig, config: rustls::ClientConfig) -> bool {
    let socket = TcpStream::connect(rig.address()).await.expect("connects");
    let name = ServerName::try_from("peer.invalid").expect("valid");
    let connector = TlsConnector::from(Arc::new(config));
    let Ok(mut stream) = connector.connect(name, socket).await else {
        return false;
    };
    let hello = [
        &18_u32.to_be_bytes()[..],
        &[1, 0, 0],
        &[0; 8],
        &[0; 4],
        &[0, 1, 0],
    ]
    .concat();
    if stream.write_all(&hello).await.is_err() {
        return false;
    }
    let mut answer = [0; 5];
    let read = timeout(SOON, stream.read_exact(&mut answer)).await;
    read.expect("answers or closes").is_ok() && answer[4] == 1
}

async fn refused(claims: Claims) {
    let rig = Rig::new(ServerOptions::default()).await;
    let control = rig.authority.issue(&Claims::of(EDGE));
    assert!(
        let_in(&rig, attacker(&control)).await,
        "the control is let in"
    );
    let bad = rig.authority.issue(&claims);
    assert!(!let_in(&rig, attacker(&bad)).await, "let in");
    let counters = rig.server.counters();
    eventually("counted", || {
        counters.refused(RefusalReason::Handshake) == 1
    })
    .await;
    assert_eq!(counters.calls(), 0);
}

/// Attack list 2, 10.
#[tokio::test]
async fn certificates_with_two_uri_names_are_refused() {
    let mut claims = Claims::of(EDGE);
    claims.uris.push(VAULT.to_owned());
    refused(claims).await;
}

/// Attack list 2, 10: neither the common name nor a DNS name stands in for the URI.
#[tokio::test]
async fn certificates_without_a_uri_name_are_refused() {
    let mut claims = Claims::of(EDGE);
    claims.uris.clear();
    claims.common_name = EDGE.to_owned();
    claims.dns = vec!["edge-1.bailiwick.example".to_owned()];
    refused(claims).await;
}

/// Attack list 2, 10.
#[tokio::test]
async fn certificates_with_a_uri_that_is_no_identity_are_refused() {
    refused(Claims::of("spiffe://bailiwick.example/root/1")).await;
    refused(Claims::of("https://bailiwick.example/edge/edge-1")).await;
}

/// Attack list 2, 10: chained to our authority, yet another domain's.
#[tokio::test]
async fn certificates_of_another_trust_domain_are_refused() {
    refused(Claims::of("spiffe://evil.example/edge/edge-1")).await;
}

/// Attack list 2, 10.
#[tokio::test]
async fn expired_and_not_yet_valid_certificates_are_refused() {
    for years in [(2020, 2021), (2080, 2090)] {
        let mut claims = Claims::of(EDGE);
        claims.years = years;
        refused(claims).await;
    }
}

/// Attack list 2, 10: right name, somebody else's authority.
#[tokio::test]
async fn certificates_of_another_authority_are_refused() {
    let rig = Rig::new(ServerOptions::default()).await;
    let forged = Authority::new().issue(&Claims::of(EDGE));
    assert!(!let_in(&rig, attacker(&forged)).await);
}

/// Attack list 2, 10.
#[tokio::test]
async fn revoked_certificates_are_refused() {
    let authority = Authority::new();
    let revoked = authority.issue(&Claims::of(EDGE));
    let honest = authority.issue(&Claims::of(EDGE));
    let mut server = authority.issue(&Claims::of(VAULT));
    authority.revoke(&[revoked.serial], &mut server);
    let tls = load(&server);
    let rig = Rig::with(authority, tls, ServerOptions::default()).await;
    assert!(!let_in(&rig, attacker(&revoked)).await);
    assert!(let_in(&rig, attacker(&honest)).await);
}

/// Attack list 2, 10: revocation holds in the client's direction as well.
#[tokio::test]
async fn clients_refuse_a_revoked_expired_or_nameless_server() {
    let authority = Authority::new();
    let server = authority.issue(&Claims::of(VAULT));
    let mut client = authority.issue(&Claims::of(EDGE));
    let tls = load(&server);
    let rig = Rig::with(authority, tls, ServerOptions::default()).await;
    rig.authority.revoke(&[1], &mut client);
    assert!(
        rig.dial(&load(&client)).await.is_ok(),
        "the control connects"
    );
    rig.authority.revoke(&[server.serial], &mut client);
    let dialled = rig.dial(&load(&client)).await;
    assert!(matches!(dialled, Err(ConnectError::Handshake { .. })));

    let mut expired = Claims::of(VAULT);
    expired.years = (2020, 2021);
    let authority = Authority::new();
    let tls = load(&authority.issue(&expired));
    let rig = Rig::with(authority, tls, ServerOptions::default()).await;
    let dialled = rig.dial(&rig.authority.tls(EDGE)).await;
    assert!(matches!(dialled, Err(ConnectError::Handshake { .. })));
}

/// Attack list 2, 10: an edge's certificate on a vault's address, another vault than the one
/// asked for, and the empty list of roles, which means nobody.
#[tokio::test]
async fn servers_of_the_wrong_role_or_id_are_refused_by_the_client() {
    let rig = Rig::new(ServerOptions::default()).await;
    let tls = rig.authority.tls(EDGE);
    let dial = async |expect| {
        let options = ConnectOptions::default();
        Connection::connect(&rig.address(), &tls, expect, options).await
    };
    let nobody = ExpectedPeer {
        roles: Vec::new(),
        id: None,
    };
    let wrong = [
        ExpectedPeer::edge(),
        ExpectedPeer::vault().with_id(name("2")),
        ExpectedPeer::role(PeerRole::ApproverWorkflow),
        nobody,
    ];
    for expect in wrong {
        let dialled = dial(expect.clone()).await;
        assert!(
            matches!(dialled, Err(ConnectError::Handshake { .. })),
            "{expect:?}"
        );
    }
    assert!(dial(ExpectedPeer::vault().with_id(name("1"))).await.is_ok());
}

/// The role decides what may be called, whatever the caller claims.
#[tokio::test]
async fn certificates_of_the_wrong_role_reach_no_handler() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client("spiffe://bailiwick.example/operator/root").await;
    for operation in [
        Operation::RaftAppend,
        Operation::PutPartial,
        Operation::ReadCiphertext,
        Operation::Decide,
    ] {
        assert!(client.call(operation, Bytes::new(), SOON).await.is_err());
    }
    assert_eq!(rig.server.counters().calls(), 0);
    assert_eq!(
        rig.server.counters().refused(RefusalReason::NotAuthorised),
        4
    );
}

/// A TLS 1.2 hello, as OpenSSL would send it, is answered with the alert `protocol_version`.
#[tokio::test]
async fn tls_1_2_clients_are_refused() {
    let rig = Rig::new(ServerOptions::default()).await;
    let mut socket = TcpStream::connect(rig.address()).await.expect("connects");
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    // supported_groups (x25519) and signature_algorithms (ecdsa_secp256r1_sha256).
    let extensions = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 4, 3];
    body.extend([0, 16]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).expect("short");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    socket.write_all(&record).await.expect("writes");
    let mut answer = Vec::new();
    let read = timeout(SOON, socket.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes");
    assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
    assert_eq!(answer.get(5..7), Some(&[2, 70][..]), "protocol_version");
}

/// Hybrid key exchange is what two of us agree on, and no ticket is handed out.
#[tokio::test]
async fn the_handshake_is_tls_1_3_and_post_quantum() {
    let rig = Rig::new(ServerOptions::default()).await;
    let tls = rig.authority.tls(EDGE);
    let socket = TcpStream::connect(rig.address()).await.expect("connects");
    let name = ServerName::try_from("peer.invalid").expect("valid");
    let stream = TlsConnector::from(tls.client_config())
        .connect(name, socket)
        .await
        .expect("connects");
    let (_, session) = stream.get_ref();
    assert_eq!(
        session.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let group = session
        .negotiated_key_exchange_group()
        .map(|group| group.name());
    assert_eq!(group, Some(rustls::NamedGroup::X25519MLKEM768));
    assert_eq!(session.tls13_tickets_received(), 0);
    assert_eq!(session.alpn_protocol(), Some(&b"bailiwick/1"[..]));
}

/// A client of the HTTP side does not get to speak frames, and the other way round.
#[tokio::test]
async fn other_protocol_names_are_refused() {
    let rig = Rig::new(ServerOptions::default()).await;
    let tls = rig.authority.tls(EDGE);
    assert!(!let_in(&rig, (*tls.client_config_http()).clone()).await);
    let mut none = (*tls.client_config()).clone();
    none.alpn_protocols.clear();
    assert!(!let_in(&rig, none).await);
    let protocols = &tls.server_config_http().alpn_protocols;
    assert_eq!(protocols, &[b"h2".to_vec(), b"http/1.1".to_vec()]);
}

/// The files of a process are checked when they are loaded, and each error names its file.
#[test]
fn unfit_files_are_refused_at_load() {
    let authority = Authority::new();
    let good = authority.issue(&Claims::of(EDGE));
    let other = authority.issue(&Claims::of(EDGE));
    let load = |files: TlsFiles| TlsIdentity::load(files, name(DOMAIN)).map(|_| ());
    assert!(load(good.files.clone()).is_ok());
    let mut missing = good.files.clone();
    missing.key = good.directory.path().join("absent.pem");
    assert!(matches!(load(missing), Err(TlsError::Read { .. })));
    let mut mismatched = good.files.clone();
    mismatched.key = other.files.key.clone();
    assert!(matches!(load(mismatched), Err(TlsError::Configuration(_))));
    let empty = good.directory.path().join("empty.pem");
    std::fs::write(&empty, "").expect("written");
    let mut none = good.files.clone();
    none.authorities = empty.clone();
    assert!(
        matches!(load(none), Err(TlsError::Pem { .. })),
        "no authorities"
    );
    let mut none = good.files.clone();
    none.revocations = Some(empty);
    assert!(
        matches!(load(none), Err(TlsError::Pem { .. })),
        "empty revocations"
    );
    let foreign = authority.issue(&Claims::of("spiffe://other.example/edge/edge-1"));
    assert!(matches!(
        load(foreign.files.clone()),
        Err(TlsError::Identity { .. })
    ));
}

/// A server that has no revocation list for a client's authority cannot know, so it refuses.
#[tokio::test]
async fn unknown_revocation_status_is_refused() {
    let authority = Authority::new();
    let mut server = authority.issue(&Claims::of(VAULT));
    Authority::new().revoke(&[1], &mut server);
    let tls = load(&server);
    let rig = Rig::with(authority, tls, ServerOptions::default()).await;
    let client = rig.authority.issue(&Claims::of(EDGE));
    let entered = timeout(Duration::from_secs(5), let_in(&rig, attacker(&client))).await;
    assert_eq!(entered, Ok(false));
}
