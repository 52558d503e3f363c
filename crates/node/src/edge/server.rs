//! HTTPS with mutual authentication: the handshake decides who calls, and only backends pass.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bailiwick_transport::{Operation, TlsIdentity, allowed, peer_identity};
use bailiwick_types::Identity;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Connections at once; a further one waits in the socket's backlog.
const CONNECTIONS: usize = 512;
/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest wait for a request's header.
const HEADER: Duration = Duration::from_secs(10);
/// A connection is closed at this age, so that a revocation bites.
const AGE: Duration = Duration::from_secs(60 * 60);

/// Serves until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Arc<TlsIdentity>,
    router: Router,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: let some close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            connection(stream, &tls, router, stop).await;
        });
    }
}

async fn connection(stream: TcpStream, tls: &TlsIdentity, router: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let acceptor = TlsAcceptor::from(tls.server_config_http());
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        tracing::debug!("a handshake failed");
        return;
    };
    let certificates = stream
        .get_ref()
        .1
        .peer_certificates()
        .unwrap_or_default()
        .to_vec();
    let peer = match peer_identity(&certificates) {
        Ok(peer) if allowed(peer.role, Operation::PutRecords) => Arc::new(peer),
        Ok(peer) => {
            tracing::warn!(peer = %peer, "this role may not hand in records");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "a certificate without one name");
            return;
        }
    };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request
            .extensions_mut()
            .insert::<Arc<Identity>>(peer.clone());
        router.clone().oneshot(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64);
    let io = TokioIo::new(stream);
    let served = builder.serve_connection(io, service);
    tokio::pin!(served);
    tokio::select! {
        _ = &mut served => return,
        () = tokio::time::sleep(AGE) => {}
        () = revoked(tls, &certificates) => return,
        () = stop.cancelled() => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(HEADER, served).await;
}

/// Ends when a reload of authorities or revocation lists no longer accepts an open connection's peer.
async fn revoked(tls: &TlsIdentity, certificates: &[CertificateDer<'static>]) {
    let mut changes = tls.changes();
    while changes.changed().await.is_ok() {
        if let Err(error) = tls.verify_client(certificates) {
            tracing::warn!(%error, "an open connection's certificate is not accepted any more");
            return;
        }
    }
    // The identity is gone, and with it whoever could reload it.
    std::future::pending().await
}
