//! Certificates, revocations and age: what was true at the handshake must stay true.

use std::time::Duration;

use bailiwick_transport::{
    CallError, ConnectError, Operation, RefusalReason, ServerOptions, TlsError,
};
use bytes::Bytes;
use tokio::time::timeout;

use crate::support::{Authority, Claims, EDGE, Rig, SOON, VAULT, eventually, load};

/// Attack list 2, 10: a revocation bites without a restart, on new and on open connections.
#[tokio::test]
async fn reload_picks_up_a_new_revocation_list_and_closes_what_it_revokes() {
    let authority = Authority::new();
    let victim = authority.issue(&Claims::of("spiffe://bailiwick.example/edge/lost"));
    let mut server = authority.issue(&Claims::of(VAULT));
    authority.revoke(&[1], &mut server);
    let rig = Rig::with(authority, load(&server), ServerOptions::default()).await;
    let victim_tls = load(&victim);
    let lost = rig.dial(&victim_tls).await.expect("not yet revoked");
    let honest = rig.client(EDGE).await;

    rig.authority.revoke(&[victim.serial], &mut server);
    rig.server_tls.reload().expect("reloads");
    timeout(SOON, lost.closed())
        .await
        .expect("the open connection closes");
    let counters = rig.server.counters();
    eventually("counted", || {
        counters.refused(RefusalReason::CertificateWithdrawn) == 1
    })
    .await;
    let again = rig.dial(&victim_tls).await;
    assert!(matches!(again, Err(ConnectError::Handshake { .. })));
    assert!(
        honest
            .call(Operation::Directory, Bytes::new(), SOON)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn watching_picks_up_a_new_certificate_without_a_restart() {
    let authority = Authority::new();
    let mut server = authority.issue(&Claims::of(VAULT));
    let rig = Rig::with(authority, load(&server), ServerOptions::default()).await;
    let before = rig.server_tls.not_after();
    let watching = rig.server_tls.watch(Duration::from_millis(20));
    let mut longer = Claims::of(VAULT);
    longer.years = (2020, 2095);
    rig.authority.reissue(&longer, &mut server);
    eventually("reloaded", || rig.server_tls.not_after() > before).await;
    let client = rig.client(EDGE).await;
    assert!(
        client
            .call(Operation::Directory, Bytes::new(), SOON)
            .await
            .is_ok()
    );
    watching.abort();
}

#[tokio::test]
async fn a_bad_reload_changes_nothing() {
    let authority = Authority::new();
    let mut server = authority.issue(&Claims::of(VAULT));
    let rig = Rig::with(authority, load(&server), ServerOptions::default()).await;
    let other = Claims::of("spiffe://bailiwick.example/vault/eu-west/2");
    rig.authority.reissue(&other, &mut server);
    let changed = rig.server_tls.reload();
    assert!(matches!(changed, Err(TlsError::IdentityChanged { .. })));
    std::fs::write(&server.files.certificate, "garbage").expect("written");
    assert!(matches!(rig.server_tls.reload(), Err(TlsError::Pem { .. })));
    assert!(rig.dial(&rig.authority.tls(EDGE)).await.is_ok());
}

/// The age cap: new calls go elsewhere first, what runs may end, then it closes.
#[tokio::test]
async fn connections_close_at_their_maximum_age() {
    let options = ServerOptions {
        maximum_age: Duration::from_millis(300),
        age_grace: Duration::from_millis(500),
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let client = rig.client(EDGE).await;
    let running = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .call(Operation::SessionStatus, Bytes::new(), SOON)
                .await
        }
    });
    eventually("told to go elsewhere", || client.is_closed()).await;
    let late = client.call(Operation::Directory, Bytes::new(), SOON).await;
    assert_eq!(late, Err(CallError::NotSent));
    rig.behaviours.gate.add_permits(1);
    assert!(
        running.await.expect("joins").is_ok(),
        "a running call may end"
    );
    timeout(SOON, client.closed()).await.expect("closes");
    let counters = rig.server.counters();
    eventually("counted", || counters.refused(RefusalReason::Age) == 1).await;
}

/// Signs of life keep an idle connection; without them it would close here.
#[tokio::test]
async fn signs_of_life_keep_an_idle_connection() {
    let options = ServerOptions {
        idle_timeout: Duration::from_millis(500),
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let tls = rig.authority.tls(EDGE);
    let connect = bailiwick_transport::ConnectOptions {
        keepalive: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(500),
        ..Default::default()
    };
    let expect = bailiwick_transport::ExpectedPeer::vault();
    let client =
        bailiwick_transport::Connection::connect(&rig.address(), &tls, expect, connect).await;
    let client = client.expect("connects");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!client.is_closed());
    assert_eq!(rig.server.counters().refused(RefusalReason::Idle), 0);
}
