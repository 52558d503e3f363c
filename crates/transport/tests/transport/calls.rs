//! Calls: replies, refusals, deadlines, concurrency, and what is known after a failure.

use std::time::Duration;

use bailiwick_transport::{
    CallError, ConnectError, ConnectOptions, Connection, ExpectedPeer, Hello, Operation, Pool,
    PoolOptions, Purpose, RefusalReason, ServerOptions,
};
use bailiwick_types::ClusterId;
use bailiwick_types::limits::MESSAGE_BYTES;
use bytes::Bytes;

use crate::support::{EDGE, Rig, SOON, eventually};

#[tokio::test]
async fn calls_reach_the_handler_with_the_callers_identity() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    assert_eq!(client.peer(), &rig.server_tls.identity());
    let reply = client.call(Operation::Directory, Bytes::new(), SOON).await;
    assert_eq!(reply, Ok(Bytes::from_static(EDGE.as_bytes())));
    let largest = Bytes::from(vec![5; MESSAGE_BYTES]);
    let reply = client
        .call(Operation::AppendBlock, largest.clone(), SOON)
        .await;
    assert_eq!(reply, Ok(largest));
}

#[tokio::test]
async fn refusals_are_the_handlers_own_and_their_outcome_is_known() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let refused = client
        .call(Operation::OpenSession, Bytes::new(), SOON)
        .await;
    let expected = CallError::Refused {
        code: 77,
        message: Bytes::from_static(b"not today"),
    };
    assert!(!expected.outcome_unknown());
    assert_eq!(refused, Err(expected));
}

#[tokio::test]
async fn a_panicking_handler_harms_only_its_own_call() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let failed = client
        .call(Operation::ReadCertificate, Bytes::new(), SOON)
        .await;
    assert_eq!(failed, Err(CallError::Internal));
    assert!(CallError::Internal.outcome_unknown());
    assert_eq!(
        rig.server.counters().refused(RefusalReason::HandlerFailed),
        1
    );
    assert!(
        client
            .call(Operation::Directory, Bytes::new(), SOON)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_handler_is_stopped_at_its_deadline_and_none_is_refused() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let allowance = Duration::from_millis(100);
    let late = client
        .call(Operation::SessionStatus, Bytes::new(), allowance)
        .await;
    assert_eq!(late, Err(CallError::Deadline));
    assert!(CallError::Deadline.outcome_unknown());
    eventually("the handler was dropped", || rig.running() == 0).await;
    let counters = rig.server.counters();
    eventually("counted", || counters.refused(RefusalReason::Deadline) == 1).await;
    let none = client
        .call(Operation::Directory, Bytes::new(), Duration::ZERO)
        .await;
    assert_eq!(none, Err(CallError::NoDeadline));
}

#[tokio::test]
async fn calls_overtake_each_other_and_end_unknown_when_the_server_goes() {
    let rig = Rig::new(ServerOptions::default()).await;
    let client = rig.client(EDGE).await;
    let slow = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .call(Operation::SessionStatus, Bytes::new(), SOON)
                .await
        }
    });
    eventually("the slow call runs", || rig.running() == 1).await;
    assert!(
        client
            .call(Operation::Directory, Bytes::new(), SOON)
            .await
            .is_ok()
    );
    rig.server.shutdown();
    assert_eq!(slow.await.expect("joins"), Err(CallError::Closed));
    assert!(CallError::Closed.outcome_unknown());
    client.closed().await;
    let after = client.call(Operation::Directory, Bytes::new(), SOON).await;
    assert_eq!(after, Err(CallError::NotSent), "known not to have run");
    eventually("nothing runs on", || rig.running() == 0).await;
}

/// A cluster in the midst of a rolling upgrade: each pair finds the newest version that both speak.
#[tokio::test]
async fn processes_of_two_versions_find_the_newest_common_protocol() {
    let range = |oldest, protocol| Hello {
        protocol,
        oldest,
        ..Hello::default()
    };
    for (server, client, expected) in [
        (range(1, 1), range(1, 2), 1),
        (range(1, 2), range(1, 1), 1),
        (range(1, 2), range(1, 2), 2),
        (range(2, 3), range(1, 2), 2),
    ] {
        let options = ServerOptions {
            hello: server,
            ..ServerOptions::default()
        };
        let rig = Rig::new(options).await;
        let options = ConnectOptions {
            hello: client,
            ..ConnectOptions::default()
        };
        let tls = rig.authority.tls(EDGE);
        let dialled =
            Connection::connect(&rig.address(), &tls, ExpectedPeer::vault(), options).await;
        let connection = dialled.expect("a common version");
        assert_eq!(connection.protocol(), expected, "{server:?} {client:?}");
    }
}

#[tokio::test]
async fn other_clusters_and_protocol_versions_are_refused_by_name() {
    let options = ServerOptions {
        hello: Hello {
            cluster: Some(ClusterId([1; 16])),
            ..Hello::default()
        },
        ..ServerOptions::default()
    };
    let rig = Rig::new(options).await;
    let tls = rig.authority.tls(EDGE);
    let dial = async |hello| {
        let options = ConnectOptions {
            hello,
            ..ConnectOptions::default()
        };
        Connection::connect(&rig.address(), &tls, ExpectedPeer::vault(), options).await
    };
    let other = Hello {
        cluster: Some(ClusterId([2; 16])),
        ..Hello::default()
    };
    assert!(matches!(dial(other).await, Err(ConnectError::Cluster)));
    let newer = Hello {
        protocol: 3,
        oldest: 2,
        ..Hello::default()
    };
    assert!(matches!(
        dial(newer).await,
        Err(ConnectError::Protocol {
            ours: 3,
            oldest: 2,
            theirs: 1
        })
    ));
    assert_eq!(rig.server.counters().refused(RefusalReason::Hello), 2);
    let unknown = dial(Hello::default())
        .await
        .expect("an unknown cluster matches");
    assert_eq!(unknown.peer_hello().cluster, Some(ClusterId([1; 16])));
}

#[tokio::test]
async fn the_pool_shares_reconnects_and_backs_off() {
    let rig = Rig::new(ServerOptions::default()).await;
    let options = PoolOptions {
        backoff_first: Duration::from_secs(60),
        backoff_ceiling: Duration::from_secs(60),
        ..PoolOptions::default()
    };
    let pool = Pool::new(rig.authority.tls(EDGE), options);
    let expect = ExpectedPeer::vault();
    let address = rig.address();
    let first = pool
        .connection(&address, &expect, Purpose::Interactive)
        .await;
    let again = pool
        .connection(&address, &expect, Purpose::Interactive)
        .await;
    assert_eq!(rig.server.counters().open(), 1, "shared");
    let bulk = pool.connection(&address, &expect, Purpose::Bulk).await;
    assert_eq!(rig.server.counters().open(), 2, "bulk has its own");
    let edge = ExpectedPeer::edge();
    assert!(matches!(
        pool.connection(&address, &edge, Purpose::Interactive).await,
        Err(ConnectError::UnexpectedPeer { .. })
    ));
    first.expect("connects").close();
    again.expect("connects").closed().await;
    let fresh = pool
        .connection(&address, &expect, Purpose::Interactive)
        .await;
    assert!(!fresh.expect("reconnects").is_closed());
    drop(bulk);
    let nobody = "127.0.0.1:1";
    let refused = pool.connection(nobody, &expect, Purpose::Interactive).await;
    assert!(matches!(refused, Err(ConnectError::Unreachable { .. })));
    let waiting = pool.connection(nobody, &expect, Purpose::Interactive).await;
    assert!(matches!(
        waiting,
        Err(ConnectError::BackingOff { failures: 1, .. })
    ));
}
