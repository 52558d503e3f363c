//! Accepting connections: handshake, limits, age. What runs on a connection is `session`'s part.
//!
//! Every step has its own bound, so that no peer can take what another needs: handshakes under way
//! (the oldest gives way, so that idle sockets cannot shut others out), connections of one peer,
//! connections in total.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bailiwick_types::{Identity, PeerRole};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::counters::{Counters, RefusalReason};
use crate::duplex::lock;
use crate::error::Refusal;
use crate::frame::{ErrorClass, Frame, FrameError, Hello, Kind, error_frame};
use crate::limits::{HEADER_BYTES, HELLO_BYTES};
use crate::operation::Operation;
use crate::session;
use crate::stream::{StreamReceiver, StreamSender};
use crate::tls::{ALPN_FRAMES, TlsIdentity};
use crate::wire::FrameReader;

/// What a server does for its peers. The matrix has been asked before either method runs.
pub trait Handler: Send + Sync + 'static {
    /// Answers one call. Dropped at its deadline or when the connection closes, at any await.
    fn call(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        payload: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, Refusal>>;

    /// Runs one stream; its return ends both directions. Dropped when the peer gives up or the
    /// connection closes.
    fn stream(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        header: Bytes,
        sender: StreamSender,
        receiver: StreamReceiver,
    ) -> BoxFuture<'_, Result<(), Refusal>>;
}

/// A server's limits.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// What this side says first.
    pub hello: Hello,
    /// For TLS and hello together. Default 5 s.
    pub handshake_timeout: Duration,
    /// A connection from which no complete frame arrives for this long is closed; also the longest
    /// a write may stall. Default 30 s; clients send a sign of life every 10 s.
    pub idle_timeout: Duration,
    /// A sign of life is sent after this long without output, and at least three times in the idle
    /// timeout. Default 1 s: a peer that hears nothing for a few seconds may take this process for
    /// suspended or cut off.
    pub keepalive: Duration,
    /// A connection closes at this age, so that every peer proves itself again. Default 1 h.
    pub maximum_age: Duration,
    /// Running calls may end this long after the maximum age. Default 5 s.
    pub age_grace: Duration,
    /// Handshakes under way; one more makes the oldest give way. Default 256.
    pub handshakes_pending: usize,
    /// Connections of one identity. Default 16.
    pub connections_per_peer: usize,
    /// Authenticated connections in total. Default 1,024.
    pub connections_total: usize,
    /// Calls running on one connection; above it, reading pauses. Default 256.
    pub calls_in_flight_per_connection: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            hello: Hello::default(),
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(1),
            maximum_age: Duration::from_secs(60 * 60),
            age_grace: Duration::from_secs(5),
            handshakes_pending: 256,
            connections_per_peer: 16,
            connections_total: 1024,
            calls_in_flight_per_connection: 256,
        }
    }
}

/// Accepts frames connections.
#[derive(Debug)]
pub struct Server;

/// A running server; dropping it shuts it down.
pub struct ServerHandle {
    local_address: SocketAddr,
    context: Arc<Context>,
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ServerHandle({})", self.local_address)
    }
}

impl ServerHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address
    }

    /// Stops accepting and closes every connection.
    pub fn shutdown(&self) {
        self.context.stop.cancel();
    }

    /// What it counted.
    pub fn counters(&self) -> &Counters {
        &self.context.counters
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// What all connections of a server share.
pub(crate) struct Context {
    pub(crate) tls: Arc<TlsIdentity>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) options: ServerOptions,
    pub(crate) counters: Counters,
    pub(crate) role: PeerRole,
    pub(crate) stop: CancellationToken,
    open: Mutex<Open>,
    pending: Mutex<VecDeque<(u64, CancellationToken)>>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_peer: HashMap<Identity, usize>,
}

impl Server {
    /// Serves until the handle is dropped or shut down.
    ///
    /// # Errors
    /// The listener's address cannot be read.
    pub fn serve(
        listener: TcpListener,
        tls: Arc<TlsIdentity>,
        handler: Arc<dyn Handler>,
        options: ServerOptions,
    ) -> std::io::Result<ServerHandle> {
        let context = Arc::new(Context {
            role: tls.identity().role,
            tls,
            handler,
            options,
            counters: Counters::default(),
            stop: CancellationToken::new(),
            open: Mutex::default(),
            pending: Mutex::default(),
        });
        let local_address = listener.local_addr()?;
        tokio::spawn(context.clone().accept(listener));
        Ok(ServerHandle {
            local_address,
            context,
        })
    }
}

impl Context {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut number = 0_u64;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Out of descriptors: the next accept would fail at once, so wait.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            self.counters.count_accepted();
            number += 1;
            let give_way = self.enter_handshake(number);
            let context = self.clone();
            tokio::spawn(async move { context.connection(number, socket, give_way).await });
        }
    }

    fn enter_handshake(&self, number: u64) -> CancellationToken {
        let token = CancellationToken::new();
        let mut pending = lock(&self.pending);
        if pending.len() >= self.options.handshakes_pending.max(1)
            && let Some((_, oldest)) = pending.pop_front()
        {
            oldest.cancel();
            self.counters.count(RefusalReason::HandshakesPending);
        }
        pending.push_back((number, token.clone()));
        token
    }

    fn leave_handshake(&self, number: u64) {
        lock(&self.pending).retain(|(pending, _)| *pending != number);
    }

    async fn connection(
        self: Arc<Self>,
        number: u64,
        socket: TcpStream,
        give_way: CancellationToken,
    ) {
        let greeted = tokio::select! {
            greeted = timeout(self.options.handshake_timeout, self.greet(socket)) => {
                greeted.unwrap_or(Err(RefusalReason::HandshakeTimeout))
            }
            () = give_way.cancelled() => {
                // Counted by whoever made it give way.
                return;
            }
            () = self.stop.cancelled() => return,
        };
        self.leave_handshake(number);
        match greeted {
            Ok((stream, reader, place)) => {
                let peer = place.peer.clone();
                if let Some(reason) = session::run(self.clone(), place, stream, reader).await {
                    self.refuse(reason, Some(&peer));
                }
            }
            Err(reason) => self.refuse(reason, None),
        }
    }

    pub(crate) fn refuse(&self, reason: RefusalReason, peer: Option<&Identity>) {
        self.counters.count(reason);
        let peer = peer.map(ToString::to_string);
        tracing::debug!(reason = reason.as_str(), peer, "refused");
    }

    /// TLS, limits, hello.
    async fn greet(self: &Arc<Self>, socket: TcpStream) -> Result<Greeted, RefusalReason> {
        // Without it only latency suffers, so a failure is not worth a refusal.
        let _ = socket.set_nodelay(true);
        let acceptor = TlsAcceptor::from(self.tls.server_config());
        let stream = acceptor.accept(socket).await.map_err(|error| {
            tracing::debug!(%error, "handshake failed");
            RefusalReason::Handshake
        })?;
        let peer = self.peer_of(&stream)?;
        let (read, write) = split(stream);
        let mut greeting = Greeting {
            reader: FrameReader::new(read),
            write,
        };
        match greeting.exchange(self, peer).await {
            Ok(place) => Ok((greeting.write, greeting.reader, place)),
            Err((reason, answer)) => {
                greeting.refuse(answer).await;
                Err(reason)
            }
        }
    }

    fn peer_of(&self, stream: &TlsStream<TcpStream>) -> Result<Peer, RefusalReason> {
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN_FRAMES) {
            return Err(RefusalReason::Handshake);
        }
        let certificates = session.peer_certificates().unwrap_or_default();
        let identity =
            crate::peer::peer_identity(certificates).map_err(|_| RefusalReason::Handshake)?;
        Ok(Peer {
            identity: Arc::new(identity),
            certificates: certificates
                .iter()
                .map(|one| CertificateDer::from(one.as_ref().to_vec()))
                .collect(),
        })
    }

    fn take_place(self: &Arc<Self>, peer: Peer) -> Result<Place, RefusalReason> {
        let mut open = lock(&self.open);
        let of_peer = open.by_peer.get(&*peer.identity).copied().unwrap_or(0);
        if of_peer >= self.options.connections_per_peer {
            return Err(RefusalReason::ConnectionsPerPeer);
        }
        if open.total >= self.options.connections_total {
            return Err(RefusalReason::ConnectionsTotal);
        }
        open.total += 1;
        *open.by_peer.entry((*peer.identity).clone()).or_default() += 1;
        self.counters.opened();
        Ok(Place {
            context: self.clone(),
            peer: peer.identity,
            certificates: peer.certificates,
        })
    }
}

pub(crate) type Writer = tokio::io::WriteHalf<TlsStream<TcpStream>>;
pub(crate) type Reader = FrameReader<tokio::io::ReadHalf<TlsStream<TcpStream>>>;
type Greeted = (Writer, Reader, Place);

struct Peer {
    identity: Arc<Identity>,
    certificates: Vec<CertificateDer<'static>>,
}

/// A connection's place among the limits; given back when dropped.
pub(crate) struct Place {
    context: Arc<Context>,
    pub(crate) peer: Arc<Identity>,
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.context.open);
        open.total -= 1;
        if let Some(count) = open.by_peer.get_mut(&*self.peer) {
            *count -= 1;
            if *count == 0 {
                open.by_peer.remove(&*self.peer);
            }
        }
        drop(open);
        self.context.counters.closed();
    }
}

/// A connection before its first call: hellos, and the place it takes.
struct Greeting<R, W> {
    reader: FrameReader<R>,
    write: W,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Greeting<R, W> {
    async fn exchange(
        &mut self,
        context: &Arc<Context>,
        peer: Peer,
    ) -> Result<Place, (RefusalReason, Option<Frame>)> {
        let options = &context.options;
        let frame = self
            .reader
            .next(HEADER_BYTES + HELLO_BYTES, options.handshake_timeout)
            .await
            .map_err(|_| (RefusalReason::Hello, None))?;
        let theirs = match frame.kind {
            Kind::Hello => Hello::decode(&frame),
            kind => Err(FrameError::Unexpected(kind)),
        }
        .map_err(|_| (RefusalReason::Hello, None))?;
        let ours = options.hello;
        let refusal = |class| Some(error_frame(0, class, ours.protocol));
        let Some(protocol) = ours.common(&theirs) else {
            return Err((RefusalReason::Hello, refusal(ErrorClass::Protocol)));
        };
        if !ours.same_cluster(&theirs) {
            return Err((RefusalReason::Hello, refusal(ErrorClass::Cluster)));
        }
        let place = context
            .take_place(peer)
            .map_err(|reason| (reason, refusal(ErrorClass::Busy)))?;
        self.say(Hello { protocol, ..ours }.frame())
            .await
            .map_err(|_| (RefusalReason::Hello, None))?;
        Ok(place)
    }

    async fn say(&mut self, frame: Frame) -> std::io::Result<()> {
        let mut buffer = BytesMut::new();
        frame.encode_whole(&mut buffer);
        self.write.write_all(&buffer).await?;
        self.write.flush().await
    }

    async fn refuse(&mut self, answer: Option<Frame>) {
        if let Some(frame) = answer {
            // The peer may be gone; the refusal is counted anyway.
            let _ = self.say(frame).await;
        }
        let _ = self.write.shutdown().await;
    }
}
