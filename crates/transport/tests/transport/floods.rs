//! Attack list 2, 9: oversized frames, length bombs, slow clients and connection floods are
//! bounded, and others are unaffected.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_transport::{
    CallError, ConnectError, Connection, Operation, RefusalReason, ServerOptions,
};
use bailiwick_types::limits::MESSAGE_BYTES;
use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{EDGE, Rig, SOON, eventually};

/// A client below the frames: authenticated, but it writes what it likes.
async fn raw(rig: &Rig) -> TlsStream<TcpStream> {
    let tls = rig
        .authority
        .tls("spiffe://bailiwick.example/edge/attacker");
    let socket = TcpStream::connect(rig.address()).await.expect("connects");
    let name = ServerName::try_from("peer.invalid").expect("valid");
    let connector = TlsConnector::from(tls.client_config());
    connector.connect(name, socket).await.expect("handshake")
}

fn frame(kind: u8, operation: u16, stream: u64, deadline_ms: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(15 + payload.len()).expect("fits");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(operation.to_be_bytes());
    bytes.extend(stream.to_be_bytes());
    bytes.extend(deadline_ms.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Raw, and past the hello.
async fn greeted(rig: &Rig) -> TlsStream<TcpStream> {
    let mut stream = raw(rig).await;
    stream
        .write_all(&frame(1, 0, 0, 0, &[0, 1, 0]))
        .await
        .expect("writes");
    let mut answer = [0; 22];
    stream.read_exact(&mut answer).await.expect("answers");
    assert_eq!(answer[4], 1, "a hello");
    stream
}

async fn closes(stream: &mut TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    // An abortive close is a close as well.
    let _ = timeout(SOON, stream.read_to_end(&mut rest))
        .await
        .expect("closes");
}

async fn others_unaffected(client: &Connection) {
    let started = Instant::now();
    assert!(
        client
            .call(Operation::Directory, Bytes::new(), SOON)
            .await
            .is_ok()
    );
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

/// Attack list 2, 9: the claimed length alone closes the connection, whatever follows.
#[tokio::test]
async fn oversized_frames_close_their_connection_only() {
    let rig = Rig::new(ServerOptions::default()).await;
    let honest = rig.client(EDGE).await;
    for length in [
        u32::MAX,
        u32::try_from(16 + MESSAGE_BYTES).expect("fits"),
        14,
        0,
    ] {
        let mut stream = greeted(&rig).await;
        stream
            .write_all(&length.to_be_bytes())
            .await
            .expect("writes");
        stream.flush().await.expect("flushes");
        closes(&mut stream).await;
    }
    assert_eq!(rig.server.counters().refused(RefusalReason::Frame), 4);
    others_unaffected(&honest).await;
}

/// Attack list 2, 9: what cannot be sent whole is refused before it leaves.
#[tokio::test]
async fn oversized_payloads_are_refused_before_sending() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let length = MESSAGE_BYTES + 1;
    let over = Bytes::from(vec![0; length]);
    let called = client
        .call(Operation::AppendBlock, over.clone(), SOON)
        .await;
    assert_eq!(called, Err(CallError::TooLarge { length }));
    let opened = client.open(Operation::AppendBlock, over).await;
    assert!(matches!(opened, Err(CallError::TooLarge { .. })));
    others_unaffected(&client).await;
}

/// Attack list 2, 9: before the hello, a frame may have a hello's length and no more.
#[tokio::test]
async fn length_bombs_before_the_hello_are_refused() {
    let rig = Rig::new(ServerOptions::default()).await;
    let mut stream = raw(&rig).await;
    stream
        .write_all(&4096_u32.to_be_bytes())
        .await
        .expect("writes");
    closes(&mut stream).await;
    assert_eq!(rig.server.counters().refused(RefusalReason::Hello), 1);
}

/// Attack list 2, 9: many connections that each claim 4 MiB and send nothing cost a read buffer
/// each, not 4 MiB each.
#[tokio::test]
async fn length_bombs_cost_no_memory_until_their_bytes_arrive() {
    let options = ServerOptions {
        connections_per_peer: 200,
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let mut streams = Vec::new();
    let before = resident_bytes();
    for _ in 0..100 {
        let mut stream = greeted(&rig).await;
        let claim = u32::try_from(15 + MESSAGE_BYTES).expect("fits");
        stream
            .write_all(&claim.to_be_bytes())
            .await
            .expect("writes");
        stream.write_all(&[2, 3, 1]).await.expect("writes");
        stream.flush().await.expect("flushes");
        streams.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MiB for 400 MiB claimed", grown >> 20);
    assert_eq!(rig.server.counters().open(), 100);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("linux");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number") * 4096
}

/// Attack list 2, 9: each frame that breaks the protocol ends its connection, and only that.
#[tokio::test]
async fn malformed_frames_close_their_connection_only() {
    let rig = Rig::new(ServerOptions::default()).await;
    let honest = rig.client(EDGE).await;
    let open = frame(5, Operation::OpenSession.code(), 4, 0, b"");
    let bad = [
        frame(0, 0, 1, 0, b""),
        frame(200, 0, 1, 0, b""),
        frame(1, 0, 0, 0, &[0, 1, 0]),
        frame(3, 0, 1, 0, b"a reply that nobody asked for"),
        frame(
            2,
            Operation::Directory.code(),
            0,
            1000,
            b"stream 0 is the connection",
        ),
        [open.clone(), open.clone()].concat(),
        [open, frame(8, 0, 4, 0, b"short")].concat(),
    ];
    let count = bad.len() as u64;
    for bytes in bad {
        let mut stream = greeted(&rig).await;
        stream.write_all(&bytes).await.expect("writes");
        closes(&mut stream).await;
    }
    assert_eq!(rig.server.counters().refused(RefusalReason::Frame), count);
    others_unaffected(&honest).await;
}

/// Attack list 2, 9: a sender that ignores its credit is cut off at the window.
#[tokio::test]
async fn data_beyond_the_credit_closes_the_connection() {
    let rig = Rig::new(ServerOptions::default()).await;
    let mut stream = greeted(&rig).await;
    let open = frame(5, Operation::AppendBlock.code(), 1, 0, b"");
    stream.write_all(&open).await.expect("writes");
    let data = frame(6, 0, 1, 0, &vec![0; 256 * 1024]);
    for _ in 0..12 {
        if stream.write_all(&data).await.is_err() {
            break;
        }
    }
    closes(&mut stream).await;
    assert_eq!(rig.server.counters().refused(RefusalReason::Credit), 1);
    eventually("its handler was dropped", || rig.running() == 0).await;
}

/// A deadline of zero over the wire is refused without running anything.
#[tokio::test]
async fn a_call_without_a_deadline_reaches_no_handler() {
    let rig = Rig::new(ServerOptions::default()).await;
    let mut stream = greeted(&rig).await;
    let call = frame(2, Operation::Directory.code(), 1, 0, b"");
    stream.write_all(&call).await.expect("writes");
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).await.expect("answers");
    assert_eq!((answer[4], answer[19]), (4, 4), "an error frame of class 4");
    assert_eq!(rig.server.counters().calls(), 0);
}

/// Attack list 2, 9: clients that stop in the middle of the handshake are dropped.
#[tokio::test]
async fn slow_clients_are_dropped_at_the_handshake_timeout() {
    let options = ServerOptions {
        handshake_timeout: Duration::from_millis(300),
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let mut silent = TcpStream::connect(rig.address()).await.expect("connects");
    let mut rest = Vec::new();
    let read = timeout(SOON, silent.read_to_end(&mut rest)).await;
    let _ = read.expect("dropped");
    // Authenticated, but no hello.
    let mut stream = raw(&rig).await;
    closes(&mut stream).await;
    let counters = rig.server.counters();
    let timeouts =
        counters.refused(RefusalReason::HandshakeTimeout) + counters.refused(RefusalReason::Hello);
    assert_eq!(timeouts, 2);
}

/// Attack list 2, 9: a frame that comes byte by byte is no sign of life.
#[tokio::test]
async fn slow_clients_that_trickle_a_frame_are_dropped_at_the_idle_timeout() {
    let options = ServerOptions {
        idle_timeout: Duration::from_millis(400),
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let mut stream = greeted(&rig).await;
    let slow = frame(2, Operation::Directory.code(), 1, 1000, &[0; 1000]);
    let started = Instant::now();
    for byte in slow {
        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if rig.server.counters().refused(RefusalReason::Idle) == 1 {
            break;
        }
    }
    assert_eq!(rig.server.counters().refused(RefusalReason::Idle), 1);
    assert!(started.elapsed() < Duration::from_secs(8));
}

/// Attack list 2, 9: a peer that calls and never reads the replies is cut off.
#[tokio::test]
async fn slow_clients_that_never_read_are_dropped() {
    let options = ServerOptions {
        idle_timeout: Duration::from_millis(700),
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let honest = rig.client("spiffe://bailiwick.example/edge/honest").await;
    let mut stream = greeted(&rig).await;
    let payload = vec![0; 1 << 20];
    let call = frame(2, Operation::AppendBlock.code(), 9, 60_000, &payload);
    let flood = async { while stream.write_all(&call).await.is_ok() {} };
    let counters = rig.server.counters();
    tokio::select! {
        () = flood => {}
        () = eventually("cut off", || {
            counters.refused(RefusalReason::WriteStalled) + counters.refused(RefusalReason::Idle) >= 1
        }) => {}
    }
    drop(honest);
}

/// Attack list 2, 9: idle sockets cannot shut others out; the oldest handshake gives way.
#[tokio::test]
async fn connection_floods_without_a_handshake_shut_nobody_out() {
    let options = ServerOptions {
        handshakes_pending: 8,
        handshake_timeout: Duration::from_secs(60),
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(TcpStream::connect(rig.address()).await.expect("connects"));
    }
    let client = rig.client(EDGE).await;
    others_unaffected(&client).await;
    let gave_way = rig
        .server
        .counters()
        .refused(RefusalReason::HandshakesPending);
    assert_eq!(gave_way, 93, "100 and ours, of which 8 may be pending");
    // Giving way means that the socket is gone, not only counted.
    for mut socket in sockets.into_iter().take(92) {
        let read = timeout(SOON, socket.read(&mut [0; 1])).await;
        assert!(matches!(read.expect("closed"), Ok(0) | Err(_)));
    }
}

/// Attack list 2, 9: one peer's connections are capped, others still come in.
#[tokio::test]
async fn connection_floods_are_capped_per_peer_and_others_unaffected() {
    let options = ServerOptions {
        connections_per_peer: 3,
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let greedy = rig.authority.tls("spiffe://bailiwick.example/edge/greedy");
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(rig.dial(&greedy).await.expect("connects"));
    }
    for _ in 0..20 {
        assert!(matches!(rig.dial(&greedy).await, Err(ConnectError::Busy)));
    }
    assert_eq!(
        rig.server
            .counters()
            .refused(RefusalReason::ConnectionsPerPeer),
        20
    );
    others_unaffected(&rig.client(EDGE).await).await;
    drop(held);
    let counters = rig.server.counters();
    eventually("places are given back", || counters.open() == 0).await;
    assert!(rig.dial(&greedy).await.is_ok());
}

/// Attack list 2, 9.
#[tokio::test]
async fn connection_floods_are_capped_in_total() {
    let options = ServerOptions {
        connections_total: 4,
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let mut held = Vec::new();
    for number in 0..4 {
        let uri = format!("spiffe://bailiwick.example/edge/edge-{number}");
        held.push(rig.client(&uri).await);
    }
    let one_more = rig.authority.tls("spiffe://bailiwick.example/edge/late");
    assert!(matches!(rig.dial(&one_more).await, Err(ConnectError::Busy)));
    assert_eq!(
        rig.server
            .counters()
            .refused(RefusalReason::ConnectionsTotal),
        1
    );
    for client in &held {
        others_unaffected(client).await;
    }
}

/// Attack list 2, 9: calls beyond the limit wait in the socket, not in memory.
#[tokio::test]
async fn call_floods_on_one_connection_wait_and_others_are_unaffected() {
    let options = ServerOptions {
        calls_in_flight_per_connection: 4,
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let greedy = Arc::new(rig.client("spiffe://bailiwick.example/edge/greedy").await);
    let honest = rig.client(EDGE).await;
    let mut calls = Vec::new();
    for _ in 0..40 {
        let greedy = greedy.clone();
        calls.push(tokio::spawn(async move {
            greedy
                .call(Operation::SessionStatus, Bytes::new(), SOON)
                .await
        }));
    }
    eventually("four run", || rig.running() == 4).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.running(), 4, "no more than four");
    others_unaffected(&honest).await;
    rig.behaviours.gate.add_permits(40);
    for call in calls {
        assert!(call.await.expect("joins").is_ok());
    }
}
