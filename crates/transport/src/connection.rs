//! The client's end of a connection: one TLS connection, many calls and streams at once.
//!
//! One writer task joins the frames of all callers into one write; one reader task hands replies
//! out and never waits for a caller, so that a slow one cannot stop the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bailiwick_types::Identity;
use bailiwick_types::limits::MESSAGE_BYTES;
use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::duplex::{AddStream, Link, lock};
use crate::error::{CallError, ConnectError, StreamError};
use crate::frame::{Frame, FrameError, Hello, Kind, call_error, split_error};
use crate::limits::{
    CALLS_WAITING, FRAME_BYTES, HEADER_BYTES, HELLO_BYTES, STREAMS_PER_CONNECTION,
};
use crate::operation::Operation;
use crate::peer::{ExpectedPeer, peer_identity};
use crate::stream::{StreamReceiver, StreamSender, StreamState};
use crate::tls::{ALPN_FRAMES, TlsIdentity};
use crate::wire::{FrameReader, ReadError, WriterTiming, spawn_writer};

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// For TCP, TLS and hello together. Default 5 s.
    pub connect_timeout: Duration,
    /// What this side says first.
    pub hello: Hello,
    /// A connection on which nothing arrives for this long is dead. Default 30 s; the server sends
    /// a sign of life every second.
    pub idle_timeout: Duration,
    /// A sign of life is sent after this long without output. Default 10 s; below the server's
    /// idle timeout.
    pub keepalive: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            hello: Hello::default(),
            idle_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(10),
        }
    }
}

/// A connection to one server. Clones share it; the last clone and the last stream half close it.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    owner: Arc<DropGuard>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("peer", &self.shared.peer)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

type Reply = Result<Bytes, CallError>;

struct Shared {
    peer: Identity,
    hello: Hello,
    link: Arc<Link>,
    next: AtomicU64,
    calls: Mutex<Calls>,
    draining: AtomicBool,
    closed: CancellationToken,
}

struct Calls {
    open: bool,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
}

impl Connection {
    /// Connects, proves this process's identity and checks the peer's inside the handshake.
    ///
    /// # Errors
    /// [`ConnectError`] says whether the network, a certificate or the peer's limits are in the way.
    pub async fn connect(
        address: &str,
        tls: &Arc<TlsIdentity>,
        expect: ExpectedPeer,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let mut offered = options.clone();
        let established = async {
            match establish(address, tls, &expect, &offered).await {
                // A server of before ranges knows one version and refuses all others by its own.
                Err(ConnectError::Protocol { theirs, oldest, .. })
                    if (oldest..offered.hello.protocol).contains(&theirs) =>
                {
                    offered.hello.protocol = theirs;
                    establish(address, tls, &expect, &offered).await
                }
                established => established,
            }
        };
        let (peer, hello, reader, writer) = timeout(options.connect_timeout, established)
            .await
            .map_err(|_| ConnectError::Timeout {
            address: address.to_owned(),
        })??;
        Ok(Self::start(peer, hello, reader, writer, &options))
    }

    fn start(
        peer: Identity,
        hello: Hello,
        reader: Reader,
        writer: WriteHalf<TlsStream<TcpStream>>,
        options: &ConnectOptions,
    ) -> Self {
        let closed = CancellationToken::new();
        let stop = closed.child_token();
        let timing = WriterTiming {
            keepalive: options.keepalive,
            stall: options.idle_timeout,
        };
        let (outbound, _writer) = spawn_writer(writer, timing, stop.clone());
        let shared = Arc::new(Shared {
            peer,
            hello,
            link: Link::new(outbound),
            next: AtomicU64::new(1),
            calls: Mutex::new(Calls {
                open: true,
                waiting: HashMap::new(),
            }),
            draining: AtomicBool::new(false),
            closed: closed.clone(),
        });
        tokio::spawn(
            shared
                .clone()
                .read_until_closed(reader, stop, options.idle_timeout),
        );
        Self {
            shared,
            owner: Arc::new(closed.drop_guard()),
        }
    }

    /// Who the server proved to be.
    pub fn peer(&self) -> &Identity {
        &self.shared.peer
    }

    /// What the server said first: its protocol version and cluster.
    pub fn peer_hello(&self) -> &Hello {
        &self.shared.hello
    }

    /// The protocol version of this connection: the newest that both sides speak.
    pub fn protocol(&self) -> u16 {
        self.shared.hello.protocol
    }

    /// Whether new calls are pointless: closed, or the server takes no new ones.
    pub fn is_closed(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire) || self.shared.closed.is_cancelled()
    }

    /// Waits until the connection is closed.
    pub async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    /// Closes the connection; calls under way end as [`CallError::Closed`].
    pub fn close(&self) {
        self.shared.closed.cancel();
    }

    /// Calls an operation. `deadline` is from now, above zero; the callee stops at it too.
    ///
    /// # Errors
    /// [`CallError`]; ask it for [`CallError::outcome_unknown`] before repeating anything.
    pub async fn call(&self, operation: Operation, payload: Bytes, deadline: Duration) -> Reply {
        if payload.len() > MESSAGE_BYTES {
            return Err(CallError::TooLarge {
                length: payload.len(),
            });
        }
        if deadline.is_zero() {
            return Err(CallError::NoDeadline);
        }
        if self.is_closed() {
            return Err(CallError::NotSent);
        }
        let milliseconds = deadline.as_millis().clamp(1, u128::from(u32::MAX));
        let frame = Frame {
            kind: Kind::Call,
            operation: operation.code(),
            stream: self.shared.next.fetch_add(1, Ordering::Relaxed),
            deadline_ms: u32::try_from(milliseconds).unwrap_or(u32::MAX),
            payload,
        };
        let waiting = self.shared.register(frame.stream)?;
        let exchange = async {
            let sent = self.shared.link.outbound.send(frame).await;
            sent.map_err(|_| CallError::NotSent)?;
            waiting.reply().await
        };
        timeout(deadline, exchange)
            .await
            .unwrap_or(Err(CallError::Deadline))
    }

    /// Opens a stream in both directions. A refusal shows at the receiver as
    /// [`StreamError::Refused`].
    ///
    /// # Errors
    /// [`CallError::TooLarge`], [`CallError::NotSent`] or [`CallError::Busy`].
    pub async fn open(
        &self,
        operation: Operation,
        header: Bytes,
    ) -> Result<(StreamSender, StreamReceiver), CallError> {
        if header.len() > MESSAGE_BYTES {
            return Err(CallError::TooLarge {
                length: header.len(),
            });
        }
        if self.is_closed() {
            return Err(CallError::NotSent);
        }
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let owner: Arc<dyn Send + Sync> = self.owner.clone();
        let (state, sender, receiver) = StreamState::new(id, &self.shared.link, Some(owner));
        self.shared
            .link
            .add_stream(id, state, STREAMS_PER_CONNECTION)
            .map_err(|error| match error {
                AddStream::Busy => CallError::Busy,
                AddStream::Closed | AddStream::Reused => CallError::NotSent,
            })?;
        let mut frame = Frame::new(Kind::Open, id, header);
        frame.operation = operation.code();
        let sent = self.shared.link.outbound.send(frame).await;
        sent.map_err(|_| CallError::NotSent)?;
        Ok((sender, receiver))
    }
}

/// A call's place in the table; leaves it when dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
    reply: oneshot::Receiver<Reply>,
}

impl Waiting<'_> {
    async fn reply(mut self) -> Reply {
        (&mut self.reply).await.unwrap_or(Err(CallError::Closed))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.shared.calls).waiting.remove(&self.id);
    }
}

impl Shared {
    fn register(&self, id: u64) -> Result<Waiting<'_>, CallError> {
        let (sender, reply) = oneshot::channel();
        let mut calls = lock(&self.calls);
        if !calls.open {
            return Err(CallError::NotSent);
        }
        if calls.waiting.len() >= CALLS_WAITING {
            return Err(CallError::Busy);
        }
        calls.waiting.insert(id, sender);
        Ok(Waiting {
            shared: self,
            id,
            reply,
        })
    }

    async fn read_until_closed(
        self: Arc<Self>,
        mut reader: Reader,
        stop: CancellationToken,
        idle: Duration,
    ) {
        let reading = async {
            loop {
                let frame = reader.next(FRAME_BYTES, idle).await?;
                self.handle(frame)?;
            }
        };
        let ended: Result<(), ReadError> = tokio::select! {
            ended = reading => ended,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "connection ended");
        }
        self.closed.cancel();
        let waiting = {
            let mut calls = lock(&self.calls);
            calls.open = false;
            std::mem::take(&mut calls.waiting)
        };
        // Dropping the senders tells the callers.
        drop(waiting);
        self.link.close();
    }

    fn handle(&self, frame: Frame) -> Result<(), ReadError> {
        match (frame.kind, frame.stream) {
            (Kind::Credit, 0) => {}
            (Kind::Reset, 0) => self.draining.store(true, Ordering::Release),
            (Kind::Reply, id) => self.answer(id, Ok(frame.payload)),
            (Kind::Error, id) if self.link.stream(id).is_none() => {
                self.answer(id, Err(call_error(&frame.payload)?));
            }
            (Kind::Data | Kind::End | Kind::Credit | Kind::Reset | Kind::Error, _) => self
                .link
                .stream_frame(frame)
                .map_err(|_| FrameError::Unexpected(Kind::Data))?,
            (kind, _) => return Err(FrameError::Unexpected(kind).into()),
        }
        Ok(())
    }

    /// Hands a reply to its caller; one that came after the caller's deadline has none.
    fn answer(&self, id: u64, reply: Reply) {
        let caller = lock(&self.calls).waiting.remove(&id);
        if let Some(caller) = caller {
            let _ = caller.send(reply);
        }
    }
}

type Reader = FrameReader<ReadHalf<TlsStream<TcpStream>>>;
type Established = (Identity, Hello, Reader, WriteHalf<TlsStream<TcpStream>>);

async fn establish(
    address: &str,
    tls: &TlsIdentity,
    expect: &ExpectedPeer,
    options: &ConnectOptions,
) -> Result<Established, ConnectError> {
    let handshake_failed = |source| ConnectError::Handshake {
        address: address.to_owned(),
        source,
    };
    let unreachable = |source| ConnectError::Unreachable {
        address: address.to_owned(),
        source,
    };
    let socket = TcpStream::connect(address).await.map_err(unreachable)?;
    socket.set_nodelay(true).map_err(unreachable)?;
    let connector = TlsConnector::from(tls.client_config_for(expect));
    // The verifier does not look at this name, and it is not sent.
    let name = ServerName::try_from("peer.invalid").expect("a constant DNS name is valid");
    let stream = connector
        .connect(name, socket)
        .await
        .map_err(handshake_failed)?;
    let peer = established_peer(&stream).map_err(handshake_failed)?;
    if expect.check(&peer).is_err() {
        return Err(ConnectError::UnexpectedPeer {
            address: address.to_owned(),
            found: Box::new(peer),
        });
    }
    let (read, mut write) = split(stream);
    let mut reader = FrameReader::new(read);
    let theirs = exchange_hello(&mut reader, &mut write, options)
        .await
        .map_err(|error| match error {
            HelloError::Refused(error) => error,
            HelloError::Read(source) => handshake_failed(source),
        })?;
    Ok((peer, theirs, reader, write))
}

fn established_peer(stream: &TlsStream<TcpStream>) -> Result<Identity, std::io::Error> {
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(ALPN_FRAMES) {
        return Err(std::io::Error::other(
            "the server does not speak this protocol",
        ));
    }
    peer_identity(session.peer_certificates().unwrap_or_default()).map_err(std::io::Error::other)
}

enum HelloError {
    Refused(ConnectError),
    Read(std::io::Error),
}

/// TLS 1.3 lets the client finish before the server has looked at its certificate, so a refused
/// certificate shows here, as a failing read.
async fn exchange_hello(
    reader: &mut Reader,
    writer: &mut WriteHalf<TlsStream<TcpStream>>,
    options: &ConnectOptions,
) -> Result<Hello, HelloError> {
    let mut buffer = bytes::BytesMut::new();
    options.hello.frame().encode_whole(&mut buffer);
    writer.write_all(&buffer).await.map_err(HelloError::Read)?;
    writer.flush().await.map_err(HelloError::Read)?;
    let frame = reader
        .next(HEADER_BYTES + HELLO_BYTES, options.connect_timeout)
        .await
        .map_err(|error| match error {
            ReadError::Io(source) => HelloError::Read(source),
            other => HelloError::Read(std::io::Error::other(other)),
        })?;
    let theirs = match frame.kind {
        Kind::Hello => {
            Hello::decode(&frame).map_err(|error| HelloError::Read(std::io::Error::other(error)))?
        }
        Kind::Error => return Err(refused_hello(&frame.payload, options)),
        kind => {
            let error = FrameError::Unexpected(kind);
            return Err(HelloError::Read(std::io::Error::other(error)));
        }
    };
    // The server has chosen, from the range that it was told.
    let ours = options.hello;
    if !(ours.oldest..=ours.protocol).contains(&theirs.protocol) {
        return Err(HelloError::Refused(ConnectError::Protocol {
            ours: ours.protocol,
            oldest: ours.oldest,
            theirs: theirs.protocol,
        }));
    }
    if !options.hello.same_cluster(&theirs) {
        return Err(HelloError::Refused(ConnectError::Cluster));
    }
    Ok(theirs)
}

fn refused_hello(payload: &Bytes, options: &ConnectOptions) -> HelloError {
    match split_error(payload) {
        Ok((9, theirs, _)) => HelloError::Refused(ConnectError::Protocol {
            ours: options.hello.protocol,
            oldest: options.hello.oldest,
            theirs,
        }),
        Ok((10, ..)) => HelloError::Refused(ConnectError::Cluster),
        Ok(_) => HelloError::Refused(ConnectError::Busy),
        Err(error) => HelloError::Read(std::io::Error::other(error)),
    }
}

impl From<StreamError> for CallError {
    /// A stream's failure as a call's: what was sent before may have taken effect.
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Refused(error) => error,
            StreamError::Reset | StreamError::Closed => Self::Closed,
            StreamError::TooLarge { length } => Self::TooLarge { length },
            StreamError::Finished => Self::NotSent,
        }
    }
}
