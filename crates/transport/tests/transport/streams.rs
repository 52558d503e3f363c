//! Streams: order, ends, refusals, giving up, and credit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bailiwick_transport::limits::{STREAM_WINDOW_BYTES, STREAMS_PER_CONNECTION};
use bailiwick_transport::{CallError, Operation, RefusalReason, ServerOptions, StreamError};
use bytes::Bytes;
use tokio::time::timeout;

use crate::support::{EDGE, Rig, SOON, eventually};

#[tokio::test]
async fn messages_keep_their_order_in_both_directions() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let header = Bytes::from_static(b"header");
    let opened = client.open(Operation::SessionStatus, header.clone()).await;
    let (mut sender, mut receiver) = opened.expect("opens");
    let sending = tokio::spawn(async move {
        for number in 0..3000_u32 {
            // 1 KiB each: 3 MiB in all, so that credit has to come back several times.
            let mut message = number.to_be_bytes().to_vec();
            message.resize(1024, 0);
            sender.send(message.into()).await.expect("sends");
        }
        sender.finish().await.expect("finishes");
    });
    assert_eq!(receiver.recv().await, Ok(Some(header)));
    for number in 0..3000_u32 {
        let message = receiver.recv().await.expect("arrives").expect("a message");
        assert_eq!(message[..4], number.to_be_bytes());
    }
    assert_eq!(receiver.recv().await, Ok(None));
    assert_eq!(receiver.recv().await, Ok(None), "the end stays the end");
    sending.await.expect("joins");
}

#[tokio::test]
async fn refused_streams_say_why() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let (_sender, mut receiver) = client
        .open(Operation::ReadCertificate, Bytes::new())
        .await
        .expect("sent");
    let refused = CallError::Refused {
        code: 78,
        message: Bytes::from_static(b"no such stream"),
    };
    assert_eq!(receiver.recv().await, Err(StreamError::Refused(refused)));
    let (_sender, mut receiver) = client
        .open(Operation::RaftSnapshot, Bytes::new())
        .await
        .expect("sent");
    assert_eq!(
        receiver.recv().await,
        Err(StreamError::Refused(CallError::NotAuthorised))
    );
}

#[tokio::test]
async fn dropping_a_half_gives_the_stream_up_and_frees_the_handler() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let (sender, receiver) = client
        .open(Operation::OpenSession, Bytes::new())
        .await
        .expect("opens");
    eventually("the handler runs", || rig.running() == 1).await;
    drop(sender);
    eventually("the handler was dropped", || rig.running() == 0).await;
    drop(receiver);
    assert!(
        client
            .call(Operation::Directory, Bytes::new(), SOON)
            .await
            .is_ok()
    );
}

/// Attack list 2, 9: a reader that stops must stop its own sender only, at a bounded amount.
#[tokio::test]
async fn slow_stream_readers_are_bounded_by_credit_and_block_nobody() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let (mut sender, _receiver) = client
        .open(Operation::AppendBlock, Bytes::new())
        .await
        .expect("opens");
    let message = Bytes::from(vec![1; 64 * 1024]);
    let mut sent = 0;
    let pause = Duration::from_millis(300);
    while let Ok(result) = timeout(pause, sender.send(message.clone())).await {
        result.expect("sends");
        sent += message.len();
        assert!(
            sent <= STREAM_WINDOW_BYTES + message.len(),
            "unbounded: {sent}"
        );
    }
    assert!(
        sent >= STREAM_WINDOW_BYTES - 2 * message.len(),
        "only {sent}"
    );
    // The connection is as good as before for everybody else.
    assert!(
        client
            .call(Operation::Directory, Bytes::new(), SOON)
            .await
            .is_ok()
    );
    rig.behaviours.gate.add_permits(1);
    sender.send(message).await.expect("credit came back");
    sender.finish().await.expect("finishes");
}

/// Attack list 2, 9: the other direction; a client that does not read holds its stream only.
#[tokio::test]
async fn clients_that_do_not_read_their_stream_stop_its_handler_only() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let (_sender, mut receiver) = client
        .open(Operation::Directory, Bytes::new())
        .await
        .expect("opens");
    let sent = || rig.behaviours.read.load(Ordering::SeqCst);
    eventually("the window fills", || sent() >= 15).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        sent() <= 17,
        "{} messages of 64 KiB for a 1 MiB window",
        sent()
    );
    assert!(
        client
            .call(Operation::Directory, Bytes::new(), SOON)
            .await
            .is_ok()
    );
    for _ in 0..40 {
        assert!(receiver.recv().await.expect("arrives").is_some());
    }
}

/// Attack list 2, 9.
#[tokio::test]
async fn stream_floods_are_refused_beyond_the_connections_limit() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS_PER_CONNECTION {
        let opened = client.open(Operation::OpenSession, Bytes::new()).await;
        streams.push(opened.expect("opens"));
    }
    let over = client.open(Operation::OpenSession, Bytes::new()).await;
    assert!(matches!(over, Err(CallError::Busy)));
    assert_eq!(
        rig.server
            .counters()
            .refused(RefusalReason::StreamsPerConnection),
        0
    );
    drop(streams);
    eventually("all handlers dropped", || rig.running() == 0).await;
    assert!(
        client
            .open(Operation::OpenSession, Bytes::new())
            .await
            .is_ok()
    );
}
