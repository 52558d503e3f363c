//! Edges that write where they may not: without enrolment, or under another edge's id.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_api::cluster::{Accepted, Enrolment, EnrolmentKind};
use bailiwick_api::edge::{BODY_BYTES, PutRecords, RecordStatus};
use bailiwick_api::session::{AppendBlock, BlockStored, OpenSession, ReadSession, SessionState};
use bailiwick_cli::connect::edge;
use bailiwick_cli::dev::layout::{BACKEND, EDGE, OPERATOR};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::certificates::live_certificate;
use bailiwick_client::edge_http::EdgeFailure;
use bailiwick_client::{CallFailure, Cluster};
use bailiwick_envelope::record::{IpEvent, IpRecord, Plaintext, TransportProtocol};
use bailiwick_envelope::{IdentityKey, SigningKey};
use bailiwick_node::files::read_signing_key;
use bailiwick_tests::{PATIENCE, Running, eventually, failed, inside, ip, window};
use bailiwick_threshold::{RecordToSeal, Sealer, SessionParameters, open_session};
use bailiwick_transport::Operation;
use bailiwick_types::{Jurisdiction, PeerRole, RecordId, ShardId};

use crate::story;

/// A session's opening as an edge of this id and key makes it, with what seals under it.
async fn session(
    cluster: &Running,
    reach: &Cluster,
    jurisdiction: Jurisdiction,
    id: &str,
    key: &SigningKey,
) -> anyhow::Result<(OpenSession, Sealer)> {
    let trust = cluster.stage.profile(OPERATOR).map_err(failed)?;
    let trust = trust.trust_file().map_err(failed)?;
    let now = bailiwick_client::now();
    let live = live_certificate(reach, &trust, jurisdiction, now).await?;
    let shard = ShardId::home(jurisdiction);
    let parameters = SessionParameters {
        certificate: &live.certificate,
        period: live.period,
        high_water: None,
        shard,
        edge: id.parse()?,
        edge_key: key,
        now,
        lifetime: Duration::from_secs(600),
        max_block: 16,
    };
    let (header, sealer) = open_session(&mut rand::rng(), parameters)?;
    Ok((OpenSession { shard, header }, sealer))
}

async fn open(reach: &Cluster, message: &OpenSession) -> Result<Accepted, CallFailure> {
    reach
        .call(Some(message.shard), Operation::OpenSession, message)
        .await
}

fn refused_with<T>(answer: Result<T, CallFailure>, code: &str) -> anyhow::Result<()> {
    match answer {
        Err(failure) if failure.code() == Some(code) => Ok(()),
        Err(other) => Err(other).context(format!("refused otherwise than with {code}")),
        Ok(_) => anyhow::bail!("accepted, and not refused with {code}"),
    }
}

/// Records in the United States, by a node's own count.
async fn american_records(cluster: &Running) -> anyhow::Result<u64> {
    let america = ShardId::home("US".parse()?);
    let operator = cluster.stage.operator().map_err(failed)?;
    let mut most = 0;
    for (_, status) in operator.status().await? {
        let groups = status.map(|status| status.groups).unwrap_or_default();
        let of_america = groups.iter().filter(|g| g.shard == Some(america));
        most = of_america.map(|group| group.records).fold(most, u64::max);
    }
    Ok(most)
}

/// Attacks 12: an edge that writes into a jurisdiction it is not enrolled for. First the true edge
/// process, whose enrolment for the United States ends; then an edge with a certificate and key of its
/// own, which is enrolled for Germany only.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_cannot_write_where_it_is_not_enrolled_end_to_end() -> anyhow::Result<()> {
    story(async |cluster| {
        let operator = cluster.stage.operator().map_err(failed)?;
        let america: Jurisdiction = "US".parse()?;
        let backend = edge(&cluster.stage.profile(BACKEND).map_err(failed)?).map_err(failed)?;
        let at = inside(window(), 3);
        let both = PutRecords {
            records: vec![
                ip("yves", "FR", "192.0.2.71", 4071, &at),
                ip("yuri", "US", "192.0.2.72", 4072, &at),
            ],
        };
        let stored = |of: usize| {
            let (backend, both) = (&backend, &both);
            async move {
                Ok(
                    (backend.put(both).await?.results[of].status == RecordStatus::Stored)
                        .then_some(()),
                )
            }
        };
        eventually("both are taken while it is enrolled", PATIENCE, || {
            stored(1)
        })
        .await?;

        // It ends: the session that is open is worth nothing any more, and no other opens.
        operator
            .revoke(america, EnrolmentKind::Edge, EDGE.parse()?)
            .await?;
        let before = american_records(cluster).await?;
        for _ in 0..3 {
            let reply = backend.put(&both).await?;
            let (french, american) = (&reply.results[0], &reply.results[1]);
            ensure!(french.status == RecordStatus::Stored, "France: {french:?}");
            let refused = american.status != RecordStatus::Stored && american.error.is_some();
            ensure!(refused, "the United States: {american:?}");
        }
        let after = american_records(cluster).await?;
        ensure!(after == before, "{after} records where there were {before}");

        // The control: enrolled again, it writes again.
        let key = IdentityKey::of(&read_signing_key(&cluster.stage.layout.key(EDGE))?);
        let name = EDGE.parse()?;
        operator
            .enrol(america, Enrolment::Edge { name, key })
            .await?;
        eventually("enrolled again, it writes", PATIENCE, || stored(1)).await?;

        // A stranger with an edge's certificate, enrolled for Germany only.
        let (tls, _) = cluster.stranger(PeerRole::Edge, "edge-2")?;
        let reach = cluster.as_peer(tls);
        let key = SigningKey::from_bytes(&[77; 32]);
        let germany: Jurisdiction = "DE".parse()?;
        let (french, _) = session(cluster, &reach, home(), "edge-2", &key).await?;
        let (german, _) = session(cluster, &reach, germany, "edge-2", &key).await?;
        refused_with(open(&reach, &french).await, "session-not-enrolled")?;
        refused_with(open(&reach, &german).await, "session-not-enrolled")?;
        let (name, key) = ("edge-2".parse()?, IdentityKey::of(&key));
        operator
            .enrol(germany, Enrolment::Edge { name, key })
            .await?;
        open(&reach, &german).await.context("Germany took it in")?;
        refused_with(open(&reach, &french).await, "session-not-enrolled")?;
        // A German session handed to France is refused for what it names, not for who brings it.
        let astray = OpenSession {
            shard: ShardId::home(home()),
            header: german.header.clone(),
        };
        refused_with(open(&reach, &astray).await, "session-wrong-shard")
    })
    .await
}

/// Attacks 12: an edge that writes under another edge's id, with that edge's stolen signing key. The
/// certificate on the wire decides, and it is the thief's own.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_cannot_write_under_another_edges_id_end_to_end() -> anyhow::Result<()> {
    story(async |cluster| {
        let (tls, _) = cluster.stranger(PeerRole::Edge, "edge-3")?;
        let thief = cluster.as_peer(tls);
        let owner = cluster.as_peer(cluster.tls(EDGE)?);
        let stolen = read_signing_key(&cluster.stage.layout.key(EDGE))?;
        let (opening, mut sealer) = session(cluster, &owner, home(), EDGE, &stolen).await?;
        refused_with(open(&thief, &opening).await, "session-other-edge")?;

        // The control: the same bytes are good when their owner brings them.
        open(&owner, &opening).await?;
        let shard = opening.shard;
        let read = ReadSession {
            shard,
            sid: sealer.sid(),
            wait_ms: 2_000,
        };
        eventually("the session's confirmation", PATIENCE, || async {
            let state: SessionState = owner
                .call_waiting(
                    Some(shard),
                    Operation::SessionStatus,
                    &read,
                    Duration::from_secs(2),
                )
                .await?;
            Ok((state == SessionState::Confirmed).then_some(()))
        })
        .await?;

        // And so it is with a block.
        let address = IpRecord {
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 81)),
            port: Some(4081),
            transport: TransportProtocol::Tcp,
            event: IpEvent::Login,
            seen_at: window().from,
            accuracy_ms: 0,
        };
        let record = RecordToSeal {
            record: RecordId([81; 16]),
            subject: cluster.subject("zoe")?,
            plaintext: Plaintext::Ip(address),
        };
        let block = sealer.seal(&[record], 1, bailiwick_client::now())?;
        let block = AppendBlock {
            shard,
            block: block.to_wire().into(),
        };
        let append = |reach: Cluster| {
            let block = &block;
            async move {
                let stored = reach.call(Some(shard), Operation::AppendBlock, block);
                stored.await as Result<BlockStored, CallFailure>
            }
        };
        refused_with(append(thief).await, "block-other-edge")?;
        ensure!(
            cluster.request("zoe", "zoe-1").await?.selection.count == 0,
            "nothing was stored"
        );
        append(owner).await.context("its owner may")?;
        ensure!(
            cluster.request("zoe", "zoe-2").await?.selection.count == 1,
            "one is stored"
        );
        Ok(())
    })
    .await
}

/// A body of any length gets an answer that says what is wrong and that nothing was stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused_by_name() -> anyhow::Result<()> {
    story(async |cluster| {
        let backend = edge(&cluster.stage.profile(BACKEND).map_err(failed)?).map_err(failed)?;
        let mut record = ip("yves", "FR", "192.0.2.83", 4083, &inside(window(), 1));
        record.account = "y".repeat(BODY_BYTES);
        let refused = backend.put_one(&record).await;
        let Err(EdgeFailure::Refused { status, error }) = refused else {
            anyhow::bail!("a body of over {BODY_BYTES} bytes: {refused:?}");
        };
        ensure!(status == 413 && error.field == "body", "{status} {error}");
        ensure!(error.code == "too_long", "{error}");
        Ok(())
    })
    .await
}
